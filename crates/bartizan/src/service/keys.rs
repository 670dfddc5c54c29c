//! Follows the store: a key that is made or revoked is live within a second.

use std::{sync::Arc, thread};

use bartizan_identity::{KeyTable, Pepper};
use bartizan_proxy::runtime::Runtime;
use bartizan_store::{DataDir, Error, FeedEvent, KeyFeed, Store};
use tokio::sync::oneshot;

/// An open store and its first table of keys.
pub(crate) struct Keys {
    runtime: tokio::runtime::Runtime,
    feed: KeyFeed,
    pub(crate) table: Arc<KeyTable>,
    pub(crate) pepper: Arc<Pepper>,
    pub(crate) store: Store,
}

/// The thread that follows the store. Dropping it ends the thread after it has saved when keys were last used.
pub(crate) struct Following {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Keys {
    /// Opens the store of a data directory and loads all keys.
    pub(crate) fn open(data_dir: &DataDir) -> Result<Self, Failed> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (store, feed) = runtime.block_on(async {
            let store = Store::open(data_dir).await?;
            let feed = KeyFeed::open(&store).await?;
            Ok::<_, Error>((store, feed))
        })?;
        let table = feed.table().clone();
        let pepper = store.pepper().clone();
        Ok(Keys { runtime, feed, table, pepper, store })
    }

    /// Runs something on the store before it is followed.
    pub(crate) fn with<T>(&self, work: impl AsyncFnOnce(&Store) -> Result<T, Error>) -> Result<T, Error> {
        self.runtime.block_on(work(&self.store))
    }

    /// Hands every later table to the data plane, on a thread of its own.
    pub(crate) fn follow(self, data_plane: Arc<Runtime>) -> std::io::Result<Following> {
        let (stop, stopped) = oneshot::channel::<()>();
        let Keys { runtime, feed, .. } = self;
        let tell = move |event: FeedEvent<'_>| match event {
            FeedEvent::Changed(table) => data_plane.set_keys(Arc::clone(table)),
            FeedEvent::Failing(error) => {
                tracing::error!(error = %chain(error), "the store fails; keys known so far go on working");
            }
            FeedEvent::Recovered => tracing::info!("the store works again"),
        };
        let thread = thread::Builder::new().name("keys".into()).spawn(move || {
            // A dropped sender means the same as a sent message.
            runtime.block_on(feed.run(async { drop(stopped.await) }, tell));
        })?;
        Ok(Following { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was logged by its thread; there is nothing to add at the end of the process.
            let _ = thread.join();
        }
    }
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Store(#[from] Error),
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
