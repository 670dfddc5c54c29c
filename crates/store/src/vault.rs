//! What a store keeps secret: values sealed under its data key, which lies in the database wrapped under the root.
//!
//! Whoever has the database, or its write-ahead log, and not the root has nothing of them. Each value is bound to its
//! purpose, so that one cannot be put in the place of another.

use std::{fmt, path::Path};

use sqlx::SqliteConnection;
use zeroize::Zeroizing;

use crate::{
    data_dir::DataDir,
    error::Error,
    pepper,
    root::{self, RootKey},
    store::Store,
};

/// Seals and opens values of a store.
pub struct Vault(Zeroizing<[u8; 32]>);

impl Vault {
    /// Seals a value.
    ///
    /// # Errors
    /// What the random source reports.
    pub fn seal(&self, purpose: &str, plain: &[u8]) -> Result<Vec<u8>, Error> {
        root::seal(&self.0, purpose, plain)
    }

    /// Opens a value that was sealed for the same purpose; `None` where it was not.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        root::open(&self.0, purpose, sealed)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}

/// Where a store's root is from now on.
#[derive(Clone, Debug)]
pub enum NewRoot {
    /// A new one in the data directory's file.
    File,
    /// This one, which is kept elsewhere; the file is removed.
    Given(RootKey),
}

impl Store {
    /// Puts another root in the place of the store's. The old one opens nothing from then on, except in older copies.
    /// Running gateways go on; their next start needs the new root.
    ///
    /// # Errors
    /// What the file system or the database reports. A crash in between leaves either root in force, whole.
    pub async fn rotate_root(&self, new: NewRoot) -> Result<(), Error> {
        let dir = self.data_dir();
        let _setup = dir.lock_for_setup().await?;
        let (root, next) = match new {
            NewRoot::File => (RootKey::random()?, true),
            NewRoot::Given(root) => (root, false),
        };
        if next {
            // In its place before the database knows it: at the next opening whichever fits is taken.
            root.write(&dir.root_next())?;
        }
        let wrapped = root.seal(WRAPPED, self.vault().0.as_slice())?;
        sqlx::query("UPDATE setting SET value = $1 WHERE name = 'vault_key'")
            .bind(wrapped)
            .execute(self.writer())
            .await
            .map_err(self.fault("put a new root in force"))?;
        if next {
            settle_next(dir)
        } else {
            match std::fs::remove_file(dir.root()) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    Err(crate::private_file::fault("remove", &dir.root())(source))
                }
                _ => Ok(()),
            }
        }
    }
}

/// Reads or makes the root, and with it the data key.
pub(crate) async fn settle(connection: &mut SqliteConnection, dir: &DataDir) -> Result<Vault, Error> {
    let database = dir.database();
    let fault = || crate::store::fault(&database, "settle its data key");
    let wrapped: Option<Vec<u8>> = sqlx::query_scalar("SELECT value FROM setting WHERE name = 'vault_key'")
        .fetch_optional(&mut *connection)
        .await
        .map_err(fault())?;
    let given = dir.given_root().cloned();
    let (root, path) = match given {
        Some(root) => (Some(root), None),
        None => (RootKey::read(&dir.root())?, Some(dir.root())),
    };
    if let Some(wrapped) = wrapped {
        if let Some(vault) = root.as_ref().and_then(|root| unwrapped(root, &wrapped)) {
            return Ok(vault);
        }
        // A change of the root that was broken off after the database knew it.
        if path.is_some()
            && let Some(next) = RootKey::read(&dir.root_next())?
            && let Some(vault) = unwrapped(&next, &wrapped)
        {
            settle_next(dir)?;
            return Ok(vault);
        }
        return Err(match root {
            Some(_) => Error::RootForeign { path: path.unwrap_or(database) },
            None => Error::RootMissing { path: dir.root(), store: database },
        });
    }
    let root = match (root, path) {
        (Some(root), _) => root,
        (None, _) => {
            let root = RootKey::random()?;
            root.write(&dir.root())?;
            root
        }
    };
    let vault = Vault(pepper::random()?);
    sqlx::query("INSERT INTO setting (name, value) VALUES ('vault_key', $1)")
        .bind(root.seal(WRAPPED, vault.0.as_slice())?)
        .execute(connection)
        .await
        .map_err(fault())?;
    Ok(vault)
}

fn unwrapped(root: &RootKey, wrapped: &[u8]) -> Option<Vault> {
    let key = root.open(WRAPPED, wrapped)?;
    Some(Vault(Zeroizing::new(key.as_slice().try_into().ok()?)))
}

/// Puts the next root's file in the place of the root's.
fn settle_next(dir: &DataDir) -> Result<(), Error> {
    let (from, to) = (dir.root_next(), dir.root());
    let rename = || -> std::io::Result<()> {
        std::fs::rename(&from, &to)?;
        to.parent().map_or(Ok(()), |parent: &Path| std::fs::File::open(parent)?.sync_all())
    };
    rename().map_err(crate::private_file::fault("put in place", &to))
}

/// What the wrapped data key is sealed for.
const WRAPPED: &str = "data key";
