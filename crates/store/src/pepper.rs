//! The pepper's file: 32 random bytes, mode 0600, made once and never changed.
//!
//! It lies beside the database and is no part of it, so that a stolen database or its backup alone confirms no guess.
//! Whether the two belong together is told by a fingerprint in the database.

use std::{io::Read, path::Path};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bartizan_identity::Pepper;
use zeroize::Zeroizing;

use crate::{error::Error, private_file};

/// Reads the pepper; `None` where it was never made.
pub(crate) fn read(path: &Path) -> Result<Option<Pepper>, Error> {
    let Some(file) = private_file::open(path)? else { return Ok(None) };
    // One byte more than is right tells a longer file; room for all of it, so that growing leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(Pepper::BYTES + 1));
    file.take(Pepper::BYTES as u64 + 1).read_to_end(&mut bytes).map_err(private_file::fault("read", path))?;
    match bytes.first_chunk() {
        Some(exact) if bytes.len() == Pepper::BYTES => Ok(Some(Pepper::new(exact))),
        _ => Err(Error::PepperLength { path: path.to_owned(), found: bytes.len() }),
    }
}

/// Makes a new pepper. The caller holds the setup lock and has seen that there is none.
pub(crate) fn create(path: &Path) -> Result<Pepper, Error> {
    let bytes = random::<{ Pepper::BYTES }>()?;
    private_file::create_whole(path, bytes.as_slice())?;
    Ok(Pepper::new(&bytes))
}

/// Bytes from the system's random source, wiped when dropped.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Error> {
    let mut bytes = Zeroizing::new([0; N]);
    SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| Error::Random)?;
    Ok(bytes)
}
