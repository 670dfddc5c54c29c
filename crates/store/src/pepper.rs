//! The pepper's file: 32 random bytes, mode 0600, made once and never changed.
//!
//! It lies beside the database and is no part of it, so that a stolen database or its backup alone confirms no guess.
//! Whether the two belong together is told by a fingerprint in the database. Where the root is kept elsewhere, the
//! pepper is sealed too; beside a root in a file that would protect nothing.

use std::{io::Read, path::Path};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bartizan_identity::Pepper;
use zeroize::Zeroizing;

use crate::{error::Error, private_file, vault::Vault};

/// Reads the pepper; `None` where it was never made. One that lies open and should not is sealed at once.
pub(crate) fn read(path: &Path, vault: &Vault, is_sealed: bool) -> Result<Option<Pepper>, Error> {
    let Some(bytes) = bytes(path, vault)? else { return Ok(None) };
    let Some(exact) = bytes.secret.first_chunk() else {
        return Err(Error::PepperLength { path: path.to_owned(), found: bytes.secret.len() });
    };
    if is_sealed && !bytes.was_sealed {
        write(path, exact, vault, true)?;
    }
    Ok(Some(Pepper::new(exact)))
}

/// What the file holds.
struct Found {
    secret: Zeroizing<Vec<u8>>,
    was_sealed: bool,
}

fn bytes(path: &Path, vault: &Vault) -> Result<Option<Found>, Error> {
    let Some(file) = private_file::open(path)? else { return Ok(None) };
    // More than is right tells a longer file; room for all of it, so that growing leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX));
    file.take(FILE_BYTES_MAX as u64).read_to_end(&mut bytes).map_err(private_file::fault("read", path))?;
    let wrong = |found| Error::PepperLength { path: path.to_owned(), found };
    if let Some(sealed) = bytes.strip_prefix(SEALED.as_slice()) {
        let secret = vault.open(PURPOSE, sealed).filter(|secret| secret.len() == Pepper::BYTES);
        return secret
            .map(|secret| Some(Found { secret, was_sealed: true }))
            .ok_or_else(|| wrong(bytes.len()));
    }
    if bytes.len() == Pepper::BYTES {
        return Ok(Some(Found { secret: bytes, was_sealed: false }));
    }
    // A longer file is not read to its end: it is too long, and that is all there is to say.
    Err(wrong(bytes.len().min(Pepper::BYTES + 1)))
}

/// Makes a new pepper. The caller holds the setup lock and has seen that there is none.
pub(crate) fn create(path: &Path, vault: &Vault, is_sealed: bool) -> Result<Pepper, Error> {
    let bytes = random::<{ Pepper::BYTES }>()?;
    write(path, &bytes, vault, is_sealed)?;
    Ok(Pepper::new(&bytes))
}

fn write(path: &Path, bytes: &[u8; Pepper::BYTES], vault: &Vault, is_sealed: bool) -> Result<(), Error> {
    if !is_sealed {
        return private_file::create_whole(path, bytes);
    }
    let mut sealed = SEALED.to_vec();
    sealed.extend(vault.seal(PURPOSE, bytes)?);
    private_file::create_whole(path, &sealed)
}

/// Bytes from the system's random source, wiped when dropped.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Error> {
    let mut bytes = Zeroizing::new([0; N]);
    SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| Error::Random)?;
    Ok(bytes)
}

/// How a sealed pepper begins; longer than a pepper with it, so no plain one is taken for it.
const SEALED: &[u8; 16] = b"bartizan sealed\n";
const PURPOSE: &str = "pepper";
/// A sealed pepper has 76 bytes.
const FILE_BYTES_MAX: usize = 128;
