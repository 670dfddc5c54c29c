//! Where Bartizan keeps what it must not lose, and whose it may be.
//!
//! The environment is an argument: this crate reads none. The directory is made for its owner alone; one that others
//! may write in is refused, because whoever can exchange the pepper or the database can make keys. A lock of the
//! operating system marks the running gateway: it ends with the process, also by `kill -9`, and leaves nothing stale.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File, TryLockError},
    io::{ErrorKind, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{self, Path, PathBuf},
    process,
    time::Duration,
};

use crate::{error::Error, private_file, root::RootKey};

/// What decides where the data directory is. Empty values count as not set.
#[derive(Clone, Copy, Debug, Default)]
pub struct DataDirChoice<'a> {
    /// `--data-dir`.
    pub flag: Option<&'a Path>,
    /// `$BARTIZAN_DATA_DIR`.
    pub variable: Option<&'a OsStr>,
    /// `$XDG_STATE_HOME`.
    pub xdg_state_home: Option<&'a OsStr>,
    /// `$HOME`.
    pub home: Option<&'a OsStr>,
    /// Whether the process is root's; see [`is_root`].
    pub is_root: bool,
}

impl DataDirChoice<'_> {
    /// The directory's path, in this order: the flag, `$BARTIZAN_DATA_DIR`, for root `/var/lib/bartizan`, else
    /// `$XDG_STATE_HOME/bartizan`, else `~/.local/state/bartizan`.
    ///
    /// Root's place does not depend on `XDG_STATE_HOME` or `HOME`, which `sudo` may hand down from somebody else.
    ///
    /// # Errors
    /// [`Error::DataDirUnknown`] where only `HOME` could tell and it is not set.
    pub fn resolve(&self) -> Result<PathBuf, Error> {
        let set = |value: Option<&OsStr>| value.filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(chosen) = set(self.flag.map(Path::as_os_str)).or_else(|| set(self.variable)) {
            return Ok(chosen);
        }
        if self.is_root {
            return Ok(PathBuf::from("/var/lib/bartizan"));
        }
        // XDG Base Directory Specification: a relative path is to be ignored.
        let xdg = set(self.xdg_state_home).filter(|path| path.is_absolute());
        let home = || set(self.home).filter(|path| path.is_absolute()).map(|home| home.join(".local/state"));
        xdg.or_else(home).map(|state| state.join("bartizan")).ok_or(Error::DataDirUnknown)
    }
}

/// Whether this process runs with root's rights.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A data directory that exists, is ours, and that others cannot write in.
#[derive(Clone, Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The root, where it is kept elsewhere than in the directory.
    root: Option<RootKey>,
}

impl DataDir {
    /// Makes the directory where it does not exist (mode 0700, parents too) and examines it.
    ///
    /// # Errors
    /// [`Error::NotADirectory`], [`Error::DataDirWritable`], [`Error::DataDirForeign`], or [`Error::File`] where the
    /// system refuses.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let fault = |doing| private_file::fault(doing, path);
        // The working directory may change later, and SQLite takes `file:…` for a URI; an absolute path is neither.
        let path = path::absolute(path).map_err(fault("find"))?;
        if !path.exists() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700).create(&path).map_err(fault("create the data directory"))?;
        }
        let found = fs::metadata(&path).map_err(fault("examine the data directory"))?;
        let mode = found.mode() & 0o7777;
        let user = rustix::process::geteuid().as_raw();
        if !found.is_dir() {
            return Err(Error::NotADirectory { path });
        }
        if mode & 0o022 != 0 {
            return Err(Error::DataDirWritable { path, mode });
        }
        // Root may own it on everybody's behalf; anybody else could exchange what lies in it.
        if found.uid() != user && found.uid() != 0 {
            return Err(Error::DataDirForeign { path, owner: found.uid(), user });
        }
        Ok(DataDir { path, root: None })
    }

    /// The directory's absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// With a root that is kept elsewhere, so that nothing in the directory opens what is sealed.
    #[must_use]
    pub fn with_root(self, root: Option<RootKey>) -> Self {
        DataDir { root, ..self }
    }

    pub(crate) fn given_root(&self) -> Option<&RootKey> {
        self.root.as_ref()
    }

    /// Claims the directory for this process for as long as the lock is held. Only a gateway does; the `keys`
    /// commands work beside it. `command` is what a second gateway is told, for example `bartizan run`.
    ///
    /// # Errors
    /// [`Error::DataDirInUse`] names the process that holds it.
    pub fn lock_for_gateway(&self, command: &str) -> Result<GatewayLock, Error> {
        let path = self.path.join("gateway.lock");
        let fault = |doing| private_file::fault(doing, &path);
        let mut file = private_file::open_or_create(&path)?;
        // Whoever only asks whether a gateway runs holds a shared lock for a moment, which is waited for.
        let mut looks = 0;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if looks < LOCK_LOOKS => {
                    looks += 1;
                    std::thread::park_timeout(SETUP_LOOK);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::DataDirInUse { path: self.path.clone(), holder: holder(&mut file) });
                }
                Err(TryLockError::Error(source)) => return Err(fault("lock")(source)),
            }
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "`{command}` (pid {})", process::id()))
            .map_err(fault("write"))?;
        Ok(GatewayLock { _file: file })
    }

    /// The gateway that runs on the directory, as it wrote itself down; `None` where none runs.
    ///
    /// # Errors
    /// [`Error::File`] where the lock file cannot be examined.
    pub fn gateway(&self) -> Result<Option<GatewayHolder>, Error> {
        let path = self.path.join("gateway.lock");
        let Some(mut file) = private_file::open(&path)? else { return Ok(None) };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(GatewayHolder(holder(&mut file)))),
            Err(TryLockError::Error(source)) => Err(private_file::fault("lock", &path)(source)),
        }
    }

    /// The data directory that an address of a store means: `sqlite:PATH`, with PATH a data directory or the
    /// `bartizan.db` in it.
    ///
    /// # Errors
    /// [`Error::StoreUnknown`], or as [`DataDir::open`].
    pub fn of_store(address: &str) -> Result<Self, Error> {
        let unknown = || Error::StoreUnknown { address: address.to_owned() };
        let path = address.strip_prefix("sqlite:").filter(|path| !path.is_empty()).ok_or_else(unknown)?;
        let path = Path::new(path.strip_prefix("//").unwrap_or(path));
        if path.file_name() == Some(OsStr::new(DATABASE)) && !path.is_dir() {
            let around = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            return DataDir::open(around.unwrap_or(Path::new(".")));
        }
        if path.is_file() { Err(unknown()) } else { DataDir::open(path) }
    }

    /// Forgets keys, pepper and all else that this crate keeps; what others keep in the directory stays. Takes the
    /// lock as proof that no other gateway runs on it.
    ///
    /// # Errors
    /// [`Error::File`] for the first file that cannot be removed.
    pub fn forget(&self, _lock: &GatewayLock) -> Result<(), Error> {
        // The database goes first: a pepper without keys is harmless, keys without their pepper are refused.
        for path in [
            self.database(),
            self.path.join("bartizan.db-wal"),
            self.path.join("bartizan.db-shm"),
            self.pepper(),
            self.root(),
            self.root_next(),
            self.last_good(),
        ] {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != ErrorKind::NotFound => {
                    return Err(private_file::fault("remove", &path)(source));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    pub(crate) fn last_good(&self) -> PathBuf {
        self.path.join("last-good")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path.join("root")
    }

    /// A root that is about to take its place.
    pub(crate) fn root_next(&self) -> PathBuf {
        self.path.join("root.next")
    }

    /// The file with the keys that seal sessions, made the first time; see [`bartizan_identity::oidc::SealKeys`]. The lock
    /// is held so that nobody else makes it.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or others may read it.
    pub fn session_keys(&self, _lock: &GatewayLock) -> Result<PathBuf, Error> {
        let path = self.path.join("session-keys");
        crate::session_keys::ensure(&path)?;
        Ok(path)
    }

    pub(crate) fn pepper(&self) -> PathBuf {
        self.path.join("pepper")
    }

    /// Waits its turn to make or upgrade what lies in the directory: two first starts at once must not make two
    /// peppers or run one migration twice.
    pub(crate) async fn lock_for_setup(&self) -> Result<File, Error> {
        let path = self.path.join("setup.lock");
        let file = private_file::open_or_create(&path)?;
        for _ in 0..SETUP_WAIT.as_millis() / SETUP_LOOK.as_millis() {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(SETUP_LOOK).await,
                Err(TryLockError::Error(source)) => return Err(private_file::fault("lock", &path)(source)),
            }
        }
        Err(Error::SetupBusy { path, seconds: SETUP_WAIT.as_secs() })
    }
}

/// Held by the one gateway that runs on a data directory; released when dropped or when the process ends.
#[derive(Debug)]
#[must_use = "the data directory is free again as soon as the lock is dropped"]
pub struct GatewayLock {
    _file: File,
}

/// The gateway that holds a data directory, in its own words: its command and pid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayHolder(String);

impl GatewayHolder {
    /// What it wrote down.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it takes its documents from files, so that a revision would never reach it.
    pub fn is_on_files(&self) -> bool {
        !self.0.starts_with(&format!("`{ON_STORE}`"))
    }
}

/// The command that a gateway on the store writes into its lock.
pub const ON_STORE: &str = "bartizan run --store";

/// What the holder of the lock wrote about itself. It may be between locking and writing.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(200).read_to_string(&mut text);
    match text.trim() {
        name if read.is_ok() && !name.is_empty() && !name.contains(char::is_control) => name.to_owned(),
        _ => "another gateway".to_owned(),
    }
}

/// The database's file.
const DATABASE: &str = "bartizan.db";
/// A tenth of a second, far more than whoever only asks needs.
const LOCK_LOOKS: u32 = 10;
/// A migration of a large store takes seconds; a process that needs longer is stuck.
const SETUP_WAIT: Duration = Duration::from_secs(30);
const SETUP_LOOK: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn os(text: &str) -> Option<&OsStr> {
        Some(OsStr::new(text))
    }

    #[test]
    fn the_first_rule_that_applies_names_the_directory() {
        let all = DataDirChoice {
            flag: Some(Path::new("flag")),
            variable: os("/variable"),
            xdg_state_home: os("/xdg"),
            home: os("/home/ann"),
            is_root: false,
        };
        let none = DataDirChoice::default();
        for (name, choice, expected) in [
            ("the flag, also relative", all, Some("flag")),
            ("the variable", DataDirChoice { flag: None, ..all }, Some("/variable")),
            ("an empty flag is none", DataDirChoice { flag: Some(Path::new("")), ..all }, Some("/variable")),
            ("an empty variable is none", DataDirChoice { variable: os(""), home: os("/h"), ..none }, {
                Some("/h/.local/state/bartizan")
            }),
            ("XDG", DataDirChoice { flag: None, variable: None, ..all }, Some("/xdg/bartizan")),
            (
                "a relative XDG is ignored",
                DataDirChoice { xdg_state_home: os("xdg"), home: os("/h"), ..none },
                Some("/h/.local/state/bartizan"),
            ),
            ("home", DataDirChoice { home: os("/h"), ..none }, Some("/h/.local/state/bartizan")),
            ("a relative home is none", DataDirChoice { home: os("h"), ..none }, None),
            ("nothing", none, None),
            (
                "root, whatever its environment",
                DataDirChoice { flag: None, variable: None, is_root: true, ..all },
                Some("/var/lib/bartizan"),
            ),
            ("root with a flag", DataDirChoice { is_root: true, ..all }, Some("flag")),
            ("root with the variable", DataDirChoice { flag: None, is_root: true, ..all }, Some("/variable")),
        ] {
            assert_eq!(choice.resolve().ok().as_deref(), expected.map(Path::new), "{name}");
        }
    }
}
