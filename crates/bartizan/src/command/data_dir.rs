//! `--data-dir`: where keys and state are kept.

use std::{error::Error as StdError, path::PathBuf};

use bartizan_store::{DataDir, Error, Store};

use crate::service;

/// `--data-dir DIR`.
#[derive(Debug, clap::Args)]
pub(crate) struct DataDirArg {
    /// Where keys and state are kept [default: $BARTIZAN_DATA_DIR, else /var/lib/bartizan for root, else
    /// $XDG_STATE_HOME/bartizan, else ~/.local/state/bartizan].
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

impl DataDirArg {
    /// Whether it was named, and not left to the environment.
    pub(crate) const fn is_named(&self) -> bool {
        self.data_dir.is_some()
    }

    /// Opens the directory; makes it where it does not exist.
    pub(crate) fn open(&self) -> Result<DataDir, Error> {
        service::data_dir(self.data_dir.as_deref())
    }

    /// Does one thing on the store in it, on a runtime of this thread, and closes the store.
    pub(crate) fn on_store<T>(
        &self,
        work: impl AsyncFnOnce(&Store) -> Result<T, Box<dyn StdError>>,
    ) -> Result<T, Box<dyn StdError>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let store = Store::open(&self.open()?).await?;
            let outcome = work(&store).await;
            store.close().await;
            outcome
        })
    }
}
