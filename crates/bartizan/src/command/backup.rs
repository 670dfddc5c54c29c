//! `bartizan backup`, `restore` and `root`: what must not be lost, and the key under which it is encrypted.

use std::{error::Error, fs, path::PathBuf, process::ExitCode};

use bartizan_store::{BackupKey, NewRoot, RootKey, Store, restore};

use super::{
    data_dir::DataDirArg,
    print::{self, Outcome},
};
use crate::service;

/// What a backup is encrypted with.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct With {
    /// A file with a passphrase of at least 12 characters; its key is made by Argon2id.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// A file with a key: 64 hexadecimal digits, as `openssl rand -hex 32` writes them.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

/// What `backup` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// The new file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    with: With,
    #[command(flatten)]
    data_dir: DataDirArg,
}

/// What `restore` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The data directory to be made; it must not be there, or be empty.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    with: With,
}

/// What `root` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct RootArgs {
    #[command(subcommand)]
    what: RootWhat,
    #[command(flatten)]
    data_dir: DataDirArg,
}

#[derive(Debug, clap::Subcommand)]
enum RootWhat {
    /// Put another root in the place of the store's. Gateways that run go on; their next start needs it.
    Rotate {
        /// The new root is the one in this environment variable (64 hexadecimal digits) and is no more on the disk
        /// [default: a new one in the data directory's file].
        #[arg(long, value_name = "VARIABLE")]
        to_env: Option<String>,
    },
}

impl With {
    fn key(&self) -> Result<BackupKey, Box<dyn Error>> {
        let read = |path: &PathBuf| {
            fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
        };
        if let Some(path) = &self.passphrase_file {
            let mut bytes = read(path)?;
            while bytes.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
                bytes.pop();
            }
            if bytes.len() < PASSPHRASE_BYTES_MIN {
                return Err(
                    format!("the passphrase is shorter than {PASSPHRASE_BYTES_MIN} characters").into()
                );
            }
            return Ok(BackupKey::Passphrase(bytes.into()));
        }
        let path = self.key_file.as_ref().ok_or("a passphrase or a key is needed")?;
        let text = String::from_utf8(read(path)?).unwrap_or_default();
        let key = RootKey::parse(&text).ok_or("the key file has no 64 hexadecimal digits")?;
        Ok(BackupKey::Key(key))
    }
}

/// Makes a backup.
pub(crate) fn back_up(args: &BackupArgs) -> ExitCode {
    print::exit(blocking(async {
        let store = Store::open_existing(&args.data_dir.open()?).await?;
        let done = store.back_up(&args.file, &args.with.key()?).await;
        store.close().await;
        print::note(&format!("{} holds, verified:", args.file.display()));
        for (name, bytes) in done?.files {
            print::note(&format!("  {name}  {bytes} bytes"));
        }
        Ok(ExitCode::SUCCESS)
    }))
}

/// Restores a backup.
pub(crate) fn restored(args: &RestoreArgs) -> ExitCode {
    print::exit(blocking(async {
        let given = service::root_of_environment()?;
        restore(&args.file, &args.with.key()?, &args.to, given.as_ref()).await?;
        print::note(&format!(
            "{} is restored; `bartizan keys list --data-dir` shows its keys",
            args.to.display()
        ));
        Ok(ExitCode::SUCCESS)
    }))
}

/// Changes the root.
pub(crate) fn root(args: &RootArgs) -> ExitCode {
    print::exit(blocking(async {
        let RootWhat::Rotate { to_env } = &args.what;
        let new = match to_env {
            None => NewRoot::File,
            Some(name) => {
                let text =
                    std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"))?;
                let root =
                    RootKey::parse(&text).ok_or_else(|| format!("{name} has no 64 hexadecimal digits"))?;
                NewRoot::Given(root)
            }
        };
        let store = Store::open_existing(&args.data_dir.open()?).await?;
        let done = store.rotate_root(new).await;
        store.close().await;
        done?;
        print::note(match to_env {
            None => "a new root is in force; make a new backup, older ones hold the older root",
            Some(_) => {
                "the new root is in force; start gateways with it in BARTIZAN_ROOT_KEY, and make a new backup"
            }
        });
        Ok(ExitCode::SUCCESS)
    }))
}

fn blocking(work: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

const PASSPHRASE_BYTES_MIN: usize = 12;
