//! Backups: database, pepper and root in one encrypted file, and the way back into an empty place.
//!
//! The file is a head (how the key is made) and chunks of AES-256-GCM, each bound to its number and to whether it is the
//! last, so that no part can be changed, moved or cut off unseen. It is written beside its place, read back and only
//! then put there. A restore builds the whole data directory beside its place and renames it: it is there whole or not
//! at all, and never over another one.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    digest,
};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use zeroize::Zeroizing;

use crate::{data_dir::DataDir, error::Error, pepper, private_file, root::RootKey, store::Store};

/// What a backup is encrypted with.
pub enum BackupKey {
    /// A passphrase; the key is made of it by Argon2id.
    Passphrase(Zeroizing<Vec<u8>>),
    /// A key of 256 bits.
    Key(RootKey),
}

/// What is in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupFacts {
    /// Names and sizes of the files.
    pub files: Vec<(String, u64)>,
}

impl Store {
    /// Writes a backup into a new file, and reads it back before it is put in its place. Gateways may go on meanwhile.
    ///
    /// # Errors
    /// [`Error::BackupExists`], [`Error::BackupUnsound`] where what was written does not read back, or what the file
    /// system and the database report; then there is no file.
    pub async fn back_up(&self, to: &Path, key: &BackupKey) -> Result<BackupFacts, Error> {
        if to.exists() {
            return Err(Error::BackupExists { path: to.to_owned() });
        }
        let dir = self.data_dir();
        let copy = dir.path().join("backup.partial.db");
        let partial = to.with_extension("partial");
        let outcome = self.written(&copy, &partial, key).await;
        for left in [&copy, &partial] {
            if left != &partial || outcome.is_err() {
                // What is not there need not go.
                let _ = fs::remove_file(left);
            }
        }
        let facts = outcome?;
        fs::rename(&partial, to).map_err(private_file::fault("put in place", to))?;
        Ok(facts)
    }

    async fn written(&self, copy: &Path, partial: &Path, key: &BackupKey) -> Result<BackupFacts, Error> {
        let dir = self.data_dir();
        let fault = private_file::fault("write", partial);
        let _ = fs::remove_file(copy);
        new_file(copy).map_err(private_file::fault("create", copy))?;
        // One consistent moment of the database, whatever is written meanwhile.
        sqlx::query("VACUUM INTO $1")
            .bind(copy.to_string_lossy().into_owned())
            .execute(self.writer())
            .await
            .map_err(self.fault("copy it for a backup"))?;
        whole(copy).await?;
        let root = match dir.given_root() {
            Some(root) => root.clone(),
            None => RootKey::read(&dir.root())?
                .ok_or_else(|| Error::RootMissing { path: dir.root(), store: dir.database() })?,
        };
        let pepper = fs::read(dir.pepper()).map_err(private_file::fault("read", &dir.pepper()))?;
        let pepper = Zeroizing::new(pepper);
        let size = fs::metadata(copy).map_err(private_file::fault("examine", copy))?.len();
        let _ = fs::remove_file(partial);
        let file = new_file(partial).map_err(&fault)?;
        let mut writer = Sealing::begin(BufWriter::new(file), key)?;
        let mut files = Vec::new();
        for (name, bytes) in [(ROOT, &root.bytes()[..]), (PEPPER, pepper.as_slice())] {
            writer.entry(name, bytes.len() as u64).and_then(|()| writer.put(bytes)).map_err(&fault)?;
            files.push((name.to_owned(), bytes.len() as u64));
        }
        writer.entry(DATABASE, size).map_err(&fault)?;
        let mut database = File::open(copy).map_err(private_file::fault("read", copy))?;
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let length = database.read(&mut buffer).map_err(private_file::fault("read", copy))?;
            let Some(part) = buffer.get(..length).filter(|part| !part.is_empty()) else { break };
            writer.put(part).map_err(&fault)?;
        }
        files.push((DATABASE.to_owned(), size));
        let written = writer.end().map_err(&fault)?;
        // Read back before anybody relies on it.
        let mut seen = digest::Context::new(&digest::SHA256);
        let opened = read_all(partial, key, |part| {
            seen.update(part);
            Ok(())
        })?;
        if opened && seen.finish().as_ref() == written.as_slice() {
            Ok(BackupFacts { files })
        } else {
            Err(Error::BackupUnsound { path: partial.to_owned() })
        }
    }
}

/// Restores a backup as the data directory `to`, which must not be there, or be empty. Where `given` is the backup's root
/// (it is kept elsewhere), it is not written to the disk.
///
/// # Errors
/// [`Error::RestoreOver`], [`Error::BackupUnsound`] for a wrong key or a damaged file, or what the file system reports;
/// then nothing is there that was not before.
pub async fn restore(
    from: &Path,
    key: &BackupKey,
    to: &Path,
    given: Option<&RootKey>,
) -> Result<BackupFacts, Error> {
    let to = std::path::absolute(to).map_err(private_file::fault("find", to))?;
    let is_free = match fs::read_dir(&to) {
        Ok(mut entries) => entries.next().is_none(),
        Err(source) if source.kind() == io::ErrorKind::NotFound => true,
        Err(source) => return Err(private_file::fault("examine", &to)(source)),
    };
    if !is_free {
        return Err(Error::RestoreOver { path: to });
    }
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    let partial = to.with_file_name(name);
    let outcome = rebuilt(from, key, &partial, given).await;
    let facts = match outcome {
        Ok(facts) => facts,
        Err(error) => {
            let _ = fs::remove_dir_all(&partial);
            return Err(error);
        }
    };
    // Over an empty directory a rename puts the whole one, or nothing.
    fs::rename(&partial, &to).map_err(private_file::fault("put in place", &to))?;
    Ok(facts)
}

async fn rebuilt(
    from: &Path,
    key: &BackupKey,
    at: &Path,
    given: Option<&RootKey>,
) -> Result<BackupFacts, Error> {
    let fault = private_file::fault("write", at);
    if at.exists() {
        return Err(Error::RestoreOver { path: at.to_owned() });
    }
    DirBuilder::new().recursive(true).mode(0o700).create(at).map_err(&fault)?;
    let mut unpacking = Unpacking {
        at: at.to_owned(),
        pending: Zeroizing::new(Vec::new()),
        current: None,
        files: Vec::new(),
    };
    let is_whole = read_all(from, key, |part| unpacking.take(part))?;
    let names: Vec<&str> = unpacking.files.iter().map(|(name, _)| name.as_str()).collect();
    if !is_whole
        || unpacking.current.is_some()
        || !unpacking.pending.is_empty()
        || names != [ROOT, PEPPER, DATABASE]
    {
        return Err(Error::BackupUnsound { path: from.to_owned() });
    }
    let root = at.join(ROOT);
    if let Some(given) = given {
        match RootKey::read(&root)? {
            Some(kept) if kept.bytes() == given.bytes() => {
                fs::remove_file(&root).map_err(private_file::fault("remove", &root))?;
            }
            _ => return Err(Error::RootForeign { path: from.to_owned() }),
        }
    }
    whole(&at.join(DATABASE)).await?;
    // Opened once, so that database, root and pepper are known to belong together.
    let dir = DataDir::open(at)?.with_root(given.cloned());
    Store::open_existing(&dir).await?.close().await;
    // Left by the opening; where there is none, nothing is to be done.
    let _ = fs::remove_file(at.join("setup.lock"));
    File::open(at).and_then(|dir| dir.sync_all()).map_err(&fault)?;
    Ok(BackupFacts { files: unpacking.files })
}

/// Whether a database is sound.
async fn whole(path: &Path) -> Result<(), Error> {
    let fault = |source| Error::Database { path: path.to_owned(), doing: "examine the copy", source };
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .disable_statement_logging()
        .connect()
        .await
        .map_err(fault)?;
    let said: String =
        sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut connection).await.map_err(fault)?;
    connection.close().await.map_err(fault)?;
    if said == "ok" { Ok(()) } else { Err(Error::BackupUnsound { path: path.to_owned() }) }
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Writes chunks.
struct Sealing<W> {
    out: W,
    cipher: LessSafeKey,
    prefix: [u8; PREFIX_BYTES],
    number: u32,
    buffer: Zeroizing<Vec<u8>>,
    seen: digest::Context,
}

impl<W: Write> Sealing<W> {
    fn begin(mut out: W, key: &BackupKey) -> Result<Self, Error> {
        let (salt, prefix) = (*pepper::random::<SALT_BYTES>()?, *pepper::random::<PREFIX_BYTES>()?);
        let kind: u8 = match key {
            BackupKey::Passphrase(_) => PASSPHRASE,
            BackupKey::Key(_) => KEY,
        };
        let cipher = cipher(key, kind, &salt)?;
        let mut head = MAGIC.to_vec();
        head.push(kind);
        head.extend_from_slice(&salt);
        head.extend_from_slice(&prefix);
        out.write_all(&head).map_err(private_file::fault("write", Path::new("the backup")))?;
        let seen = digest::Context::new(&digest::SHA256);
        Ok(Sealing {
            out,
            cipher,
            prefix,
            number: 0,
            buffer: Zeroizing::new(Vec::with_capacity(CHUNK_BYTES + 64)),
            seen,
        })
    }

    fn entry(&mut self, name: &str, size: u64) -> io::Result<()> {
        let length = u8::try_from(name.len()).map_err(io::Error::other)?;
        self.put(&[length])?;
        self.put(name.as_bytes())?;
        self.put(&size.to_be_bytes())
    }

    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.seen.update(bytes);
        while !bytes.is_empty() {
            if self.buffer.len() == CHUNK_BYTES {
                self.flush(false)?;
            }
            let room = CHUNK_BYTES - self.buffer.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn flush(&mut self, is_last: bool) -> io::Result<()> {
        let mut sealed = std::mem::take(&mut *self.buffer);
        self.cipher
            .seal_in_place_append_tag(nonce(self.prefix, self.number), aad(is_last), &mut sealed)
            .map_err(|_| io::Error::other("the cipher failed"))?;
        self.number =
            self.number.checked_add(1).ok_or_else(|| io::Error::other("the backup is too large"))?;
        self.out.write_all(&sealed)?;
        *self.buffer = Vec::with_capacity(CHUNK_BYTES + 64);
        Ok(())
    }

    /// Ends the file on the disk; gives the digest of what is in it.
    fn end(mut self) -> io::Result<Vec<u8>>
    where
        W: IntoSynced,
    {
        self.flush(true)?;
        self.out.synced()?;
        Ok(self.seen.finish().as_ref().to_vec())
    }
}

/// A writer whose bytes can be brought to the disk.
trait IntoSynced {
    fn synced(self) -> io::Result<()>;
}

impl IntoSynced for BufWriter<File> {
    fn synced(self) -> io::Result<()> {
        self.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

/// Opens all chunks in order; whether the last one was there.
fn read_all(
    path: &Path,
    key: &BackupKey,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<bool, Error> {
    let fault = private_file::fault("read", path);
    let unsound = || Error::BackupUnsound { path: path.to_owned() };
    let mut file = BufReader::with_capacity(CHUNK_BYTES, File::open(path).map_err(&fault)?);
    let mut head = [0; MAGIC.len() + 1 + SALT_BYTES + PREFIX_BYTES];
    file.read_exact(&mut head).map_err(|_| unsound())?;
    let rest = head.strip_prefix(MAGIC).ok_or_else(unsound)?;
    let (kind, rest) = rest.split_first().ok_or_else(unsound)?;
    let (salt, prefix) = rest.split_first_chunk::<SALT_BYTES>().ok_or_else(unsound)?;
    let prefix: [u8; PREFIX_BYTES] = prefix.try_into().map_err(|_| unsound())?;
    let cipher = cipher(key, *kind, salt)?;
    let mut number = 0_u32;
    let sealed_bytes = CHUNK_BYTES + AES_256_GCM.tag_len();
    let mut chunk = Zeroizing::new(Vec::with_capacity(sealed_bytes));
    loop {
        chunk.clear();
        (&mut file).take(sealed_bytes as u64).read_to_end(&mut chunk).map_err(&fault)?;
        if chunk.is_empty() {
            return Ok(false);
        }
        let is_last = io::BufRead::fill_buf(&mut file).map_err(&fault)?.is_empty();
        let text =
            cipher.open_in_place(nonce(prefix, number), aad(is_last), &mut chunk).map_err(|_| unsound())?;
        take(text)?;
        if is_last {
            return Ok(true);
        }
        number = number.checked_add(1).ok_or_else(unsound)?;
    }
}

fn nonce(prefix: [u8; PREFIX_BYTES], number: u32) -> Nonce {
    let mut bytes = [0; 12];
    for (to, from) in bytes.iter_mut().zip(prefix.into_iter().chain(number.to_be_bytes())) {
        *to = from;
    }
    Nonce::assume_unique_for_key(bytes)
}

fn aad(is_last: bool) -> Aad<&'static [u8]> {
    Aad::from(if is_last { b"last".as_slice() } else { b"more".as_slice() })
}

/// The key of a backup: made of a passphrase, or derived of the one given, for this file alone.
fn cipher(key: &BackupKey, kind: u8, salt: &[u8; SALT_BYTES]) -> Result<LessSafeKey, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    match (key, kind) {
        (BackupKey::Passphrase(passphrase), PASSPHRASE) => {
            let parameters =
                argon2::Params::new(MEMORY_KIB, ROUNDS, 1, Some(32)).map_err(|_| Error::Random)?;
            argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, parameters)
                .hash_password_into(passphrase, salt, bytes.as_mut_slice())
                .map_err(|_| Error::Random)?;
        }
        (BackupKey::Key(root), KEY) => {
            let mut context = aws_lc_rs::hmac::Context::with_key(&aws_lc_rs::hmac::Key::new(
                aws_lc_rs::hmac::HMAC_SHA256,
                root.bytes(),
            ));
            context.update(b"bartizan backup 1");
            context.update(salt);
            bytes.copy_from_slice(context.sign().as_ref());
        }
        _ => return Err(Error::BackupKeyKind { is_passphrase: kind == PASSPHRASE }),
    }
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes.as_slice()).map_err(|_| Error::Random)?))
}

/// Writes the files of a backup as they come.
struct Unpacking {
    at: PathBuf,
    /// The beginning of an entry that is not whole yet.
    pending: Zeroizing<Vec<u8>>,
    current: Option<(File, u64)>,
    files: Vec<(String, u64)>,
}

impl Unpacking {
    fn take(&mut self, mut part: &[u8]) -> Result<(), Error> {
        let at = self.at.clone();
        let fault = private_file::fault("write", &at);
        while !part.is_empty() {
            if let Some((file, left)) = &mut self.current {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(part.len());
                let (now, later) = part.split_at(length);
                file.write_all(now).map_err(&fault)?;
                *left -= length as u64;
                part = later;
                if *left == 0 {
                    file.sync_all().map_err(&fault)?;
                    self.current = None;
                }
                continue;
            }
            let (byte, later) = part.split_at(1);
            self.pending.extend_from_slice(byte);
            part = later;
            self.begin()?;
        }
        Ok(())
    }

    /// Begins a file once its name and size are known.
    fn begin(&mut self) -> Result<(), Error> {
        let unsound = || Error::BackupUnsound { path: self.at.clone() };
        let Some((length, rest)) = self.pending.split_first() else { return Ok(()) };
        let Some((name, size)) = rest.split_at_checked(usize::from(*length)) else { return Ok(()) };
        let Some(size) = size.first_chunk::<8>() else { return Ok(()) };
        let size = u64::from_be_bytes(*size);
        // Only these names: an archive never says where something is written.
        let name = [ROOT, PEPPER, DATABASE]
            .into_iter()
            .find(|known| known.as_bytes() == name)
            .ok_or_else(unsound)?;
        if self.files.iter().any(|(known, _)| known == name) || size == 0 {
            return Err(unsound());
        }
        let path = self.at.join(name);
        let file = new_file(&path).map_err(private_file::fault("create", &path))?;
        self.files.push((name.to_owned(), size));
        self.current = Some((file, size));
        self.pending.clear();
        Ok(())
    }
}

const MAGIC: &[u8] = b"bartizan backup 1\n";
const PASSPHRASE: u8 = 1;
const KEY: u8 = 2;
const SALT_BYTES: usize = 16;
const PREFIX_BYTES: usize = 8;
/// 1 MiB: what is held in memory at once, and up to 4 PiB of backup.
const CHUNK_BYTES: usize = 1 << 20;
/// 64 MiB and three rounds: a guess costs a tenth of a second and 64 MiB (RFC 9106 §4, second choice).
const MEMORY_KIB: u32 = 64 * 1024;
const ROUNDS: u32 = 3;
const ROOT: &str = "root";
const PEPPER: &str = "pepper";
const DATABASE: &str = "bartizan.db";
