//! What quotas have counted and models were used for, written down each second.
//!
//! On a thread of its own, of the control plane: no request waits for the disk. A process that is killed loses what was
//! settled in its last second, and at most what the write that was under way took; one that is told to stop loses
//! nothing. While the store fails, everything is kept in memory and written when it answers again.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use bartizan_limit::Quotas;
use bartizan_proxy::runtime::Runtime;
use bartizan_store::{DataDir, Error, Store};

use super::keys::chain;
use crate::command::when;

/// The thread. Dropping it writes the rest down and ends it.
pub(crate) struct Spending {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// The accounts as they were written down. Where they cannot be read, quotas decide nothing until they can: a budget
/// that has forgotten what was spent is none.
pub(crate) fn remembered(dir: &DataDir) -> Arc<Quotas> {
    let quotas = Arc::<Quotas>::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let read = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        runtime.block_on(async {
            let store = Store::open_existing(dir).await.map_err(|error| chain(&error))?;
            let accounts = store.usage().accounts(when::now_ms()).await;
            store.close().await;
            accounts.map_err(|error| chain(&error))
        })
    });
    match read {
        Ok(accounts) => quotas.restore(accounts),
        Err(error) => {
            tracing::warn!(%error, "what quotas have counted cannot be read; they decide nothing until it can");
            quotas.forget();
        }
    }
    quotas
}

impl Spending {
    /// Begins to write down.
    pub(crate) fn start(dir: DataDir, data_plane: Arc<Runtime>) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("spending".into()).spawn(move || {
            let mut open = None;
            let mut failing = false;
            loop {
                // A dropped sender means the same as a sent message.
                let is_last = !matches!(stopped.recv_timeout(PAUSE), Err(mpsc::RecvTimeoutError::Timeout));
                match runtime.block_on(write_down(&mut open, &dir, &data_plane)) {
                    Ok(()) if failing => {
                        tracing::info!("what was used is written down again");
                        failing = false;
                    }
                    Ok(()) => {}
                    Err(error) => {
                        // A connection that failed is not asked again: the file may be another one by then.
                        open = None;
                        if !failing || is_last {
                            tracing::error!(error = %chain(&error), "what was used cannot be written down");
                        }
                        failing = true;
                    }
                }
                if is_last {
                    break;
                }
            }
            if let Some(store) = open {
                runtime.block_on(store.close());
            }
        })?;
        Ok(Spending { stop: Some(stop), thread: Some(thread) })
    }
}

async fn write_down(open: &mut Option<Store>, dir: &DataDir, data_plane: &Runtime) -> Result<(), Error> {
    let quotas = data_plane.quotas();
    if !quotas.knows() {
        let store = opened(open, dir).await?;
        quotas.restore(store.usage().accounts(when::now_ms()).await?);
    }
    let (accounts, rows) = (quotas.unsaved(), data_plane.usage().take());
    if accounts.is_empty() && rows.is_empty() {
        return Ok(());
    }
    let written = match opened(open, dir).await {
        Ok(store) => store.usage().save(&accounts, &rows).await,
        Err(error) => Err(error),
    };
    if written.is_err() {
        quotas.unsaved_still(&accounts);
        data_plane.usage().put_back(rows);
    }
    written
}

async fn opened<'s>(open: &'s mut Option<Store>, dir: &DataDir) -> Result<&'s Store, Error> {
    match open {
        Some(store) => Ok(store),
        none => Ok(none.insert(Store::open_existing(dir).await?)),
    }
}

impl Drop for Spending {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was logged by its thread; there is nothing to add at the end of the process.
            let _ = thread.join();
        }
    }
}

/// What a crash can lose: the calls that ended within this time.
const PAUSE: Duration = Duration::from_secs(1);
