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
        Self::open_by(async || Store::open(data_dir).await)
    }

    /// As [`Keys::open`], but a store that is not there is not made.
    pub(crate) fn open_existing(data_dir: &DataDir) -> Result<Self, Failed> {
        Self::open_by(async || Store::open_existing(data_dir).await)
    }

    /// Opens the store of `store`, or makes it the first time. Where this gateway has served from it before (it kept a
    /// revision) and it cannot be opened now, there are no keys, loudly: an empty new store must not take its place.
    pub(crate) fn open_unless_gone(store: &DataDir, data_dir: &DataDir) -> Result<Option<Self>, Failed> {
        let has_served = super::revisions::last_good(data_dir).is_some();
        match if has_served { Self::open_existing(store) } else { Self::open(store) } {
            Ok(keys) => Ok(Some(keys)),
            Err(Failed::Store(error)) if has_served => {
                tracing::error!(error = %chain(&error), "the store is gone: every API key is refused until it is back");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn open_by(open: impl AsyncFnOnce() -> Result<Store, Error>) -> Result<Self, Failed> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (store, feed) = runtime.block_on(async {
            let store = open().await?;
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

impl Following {
    /// Waits for a store that is not there, then follows its keys. Until then every key is refused: none is known.
    pub(crate) fn once_back(data_dir: DataDir, data_plane: Arc<Runtime>) -> std::io::Result<Self> {
        let (stop, mut stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("keys".into()).spawn(move || {
            let mut following = None;
            // Whatever comes, also a dropped sender, means the end; until then each wait runs out.
            while runtime.block_on(async { tokio::time::timeout(LOOK_AGAIN, &mut stopped).await }).is_err() {
                if following.is_none()
                    && let Ok(keys) = Keys::open_existing(&data_dir)
                {
                    data_plane.set_pepper(Arc::clone(&keys.pepper));
                    data_plane.set_keys(Arc::clone(&keys.table));
                    tracing::info!("the store is there again; keys are judged by it");
                    following = keys.follow(Arc::clone(&data_plane)).ok();
                }
            }
            drop(following);
        })?;
        Ok(Following { stop: Some(stop), thread: Some(thread) })
    }
}

/// How often a store that is gone is looked for.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(250);

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
