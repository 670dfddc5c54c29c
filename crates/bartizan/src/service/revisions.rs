//! The documents of a gateway that runs on a store: the active revision, followed; the last good one, kept.
//!
//! A thread of its own looks for another active revision four times a second, reads it, and hands it to the main thread,
//! which alone compiles and publishes. What became of it goes back and into the store. A store that cannot be asked, or
//! that is not there, changes nothing: what serves goes on serving, and is told as a notice and in the log.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc::SyncSender},
    thread,
    time::Duration,
};

use bartizan_config::{
    Set,
    render::{self, Style},
    snapshot::Snapshot,
    source::Sources,
};
use bartizan_manage::ManagementState;
use bartizan_model::document::Document;
use bartizan_store::{
    DataDir, Error, LastGood, Revision, RevisionFeed, RevisionFile, RevisionNumber, RevisionRef, RevisionRow,
    SetDigest, Store, Went,
};
use tokio::sync::{mpsc, oneshot};

use super::{keys::chain, wish::Wish};

/// A set of documents that may be served, and which revision it is.
pub(super) struct Loaded {
    pub(super) number: RevisionNumber,
    pub(super) digest: SetDigest,
    pub(super) files: Vec<RevisionFile>,
    pub(super) snapshot: Arc<Snapshot>,
    /// What it was compiled from, for an audit.
    pub(super) documents: Vec<Document>,
}

impl Loaded {
    /// `r7-0a1b2c3d4e5f`
    pub(super) fn tag(&self) -> String {
        tag(self.number, self.digest)
    }
}

pub(super) fn tag(number: RevisionNumber, digest: SetDigest) -> String {
    format!("r{number}-{}", digest.short())
}

/// Compiles a revision. The error is every problem that it has, as text.
pub(super) fn load(
    number: RevisionNumber,
    digest: SetDigest,
    files: Vec<RevisionFile>,
) -> Result<Loaded, String> {
    let sources = Sources::kept(files.iter().map(|file| (file.name.clone(), file.text.clone())));
    if sources.digest() != *digest.bytes() {
        return Err("its texts are not those that its digest was made of".to_owned());
    }
    let set = Set::from_sources(sources);
    let text = || render::text(&set.compiled.problems, &set.sources, Style::Plain);
    let Some(snapshot) = set.compiled.snapshot else { return Err(text()) };
    if snapshot.listeners.is_empty() || snapshot.routes.is_empty() {
        return Err("it has no Listener or no Route: an empty set never goes live".to_owned());
    }
    Ok(Loaded { number, digest, files, snapshot, documents: set.documents })
}

/// What the data directory keeps for the day on which the store is gone.
pub(super) fn last_good(dir: &DataDir) -> Option<LastGood> {
    match LastGood::load(dir) {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(error = %chain(&error), "the last good revision cannot be used");
            None
        }
    }
}

/// Keeps a revision that serves. A disk that is full must not stop the gateway; that it would not start again without
/// its store is said.
pub(super) fn keep(
    dir: &DataDir,
    number: RevisionNumber,
    digest: SetDigest,
    files: Vec<RevisionFile>,
    state: &ManagementState,
) {
    let kept = LastGood { number, digest, saved_at_ms: now_ms(), files };
    match kept.save(dir) {
        Ok(()) => state.notices.clear(LAST_GOOD),
        Err(error) => {
            tracing::error!(error = %chain(&error), "the last good revision could not be kept");
            state.notices.set(LAST_GOOD, "the last good revision could not be kept; an older one may be");
        }
    }
}

/// The newest revision that was read and not taken up yet.
type Slot = Arc<Mutex<Option<Revision>>>;

/// The thread that follows the store. Dropping it ends the thread.
pub(super) struct RevisionWatch {
    slot: Slot,
    outcomes: mpsc::Sender<(RevisionNumber, Went, String)>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl RevisionWatch {
    /// Follows the store of `dir` and wishes for [`Wish::Revision`] when there is one to take up. A store that is not
    /// there is waited for; it is never made.
    pub(super) fn start(
        dir: DataDir,
        wishes: SyncSender<Wish>,
        state: Arc<ManagementState>,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let slot = Slot::default();
        let (outcomes, told) = mpsc::channel(UNTOLD_MAX);
        let (stop, stopped) = oneshot::channel::<()>();
        let follower = Follower { dir, slot: Arc::clone(&slot), wishes, state, handed: None, failing: false };
        let thread = thread::Builder::new()
            .name("revisions".into())
            .spawn(move || runtime.block_on(follower.run(told, stopped)))?;
        Ok(RevisionWatch { slot, outcomes, stop: Some(stop), thread: Some(thread) })
    }

    /// The revision that waits to be taken up.
    pub(super) fn take(&self) -> Option<Revision> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Says what became of a revision; it is written into the store when that can be.
    pub(super) fn tell(&self, number: RevisionNumber, went: Went, detail: &str) {
        if self.outcomes.try_send((number, went, detail.to_owned())).is_err() {
            tracing::warn!(
                number,
                went = went.as_str(),
                "what became of a revision could not be written down"
            );
        }
    }
}

impl Drop for RevisionWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was logged by its thread; there is nothing to add at the end of the process.
            let _ = thread.join();
        }
    }
}

struct Follower {
    dir: DataDir,
    slot: Slot,
    wishes: SyncSender<Wish>,
    state: Arc<ManagementState>,
    /// The revision that was handed over last.
    handed: Option<(RevisionNumber, SetDigest)>,
    failing: bool,
}

impl Follower {
    async fn run(
        mut self,
        mut told: mpsc::Receiver<(RevisionNumber, Went, String)>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        let mut store: Option<(Store, RevisionFeed)> = None;
        let mut untold: Vec<(RevisionNumber, Went, String)> = Vec::new();
        // The first look is at once: a start waits for it.
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                // A dropped sender means the same as a sent message.
                _ = &mut stopped => break,
                Some(one) = told.recv() => untold.push(one),
                () = tokio::time::sleep(pause) => {}
            }
            pause = RevisionFeed::POLL;
            while let Ok(one) = told.try_recv() {
                untold.push(one);
            }
            if store.is_none() {
                match Store::open_existing(&self.dir).await {
                    Ok(opened) => store = Some((opened.clone(), RevisionFeed::new(&opened))),
                    Err(error) => self.fails(&error),
                }
            }
            let Some((opened, feed)) = &mut store else { continue };
            match self.look(opened, feed).await {
                Ok(()) => self.works(),
                Err(error) => self.fails(&error),
            }
            while let Some((number, went, detail)) = untold.first() {
                if opened.revisions().tell(*number, *went, detail, now_ms()).await.is_err() {
                    // Another store may have come back that does not know the number; what is older is not worth more.
                    if untold.len() > UNTOLD_MAX {
                        untold.remove(0);
                    }
                    break;
                }
                untold.remove(0);
            }
        }
        if let Some((store, feed)) = store {
            feed.close().await;
            store.close().await;
        }
    }

    async fn look(&mut self, store: &Store, feed: &mut RevisionFeed) -> Result<(), Error> {
        let Some(active) = feed.poll().await? else { return Ok(()) };
        let Some(row) = active else {
            if self.handed.is_some() {
                tracing::error!("the store has no revision any more; the one in force stays");
            }
            return Ok(());
        };
        if self.handed == Some((row.number, row.digest)) {
            return Ok(());
        }
        match store.revisions().get(&RevisionRef::Number(row.number)).await {
            Ok(revision) => self.hand_over(revision).await,
            Err(error @ Error::RevisionDamaged { .. }) => {
                tracing::error!(error = %chain(&error), "the active revision cannot be read; the one in force stays");
                store.revisions().tell(row.number, Went::Failed, &chain(&error), now_ms()).await?;
                self.handed = Some((row.number, row.digest));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn hand_over(&mut self, revision: Revision) {
        let RevisionRow { number, digest, .. } = revision.row;
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(revision);
        self.handed = Some((number, digest));
        // A full queue is being worked off; the wish must not be lost, for nothing would repeat it.
        while self.wishes.try_send(Wish::Revision).is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn fails(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(error = %chain(error), "the store cannot be asked for revisions; the one in force stays");
            self.state.notices.set(STORE, format!("the store cannot be asked: {}", chain(error)));
        }
    }

    fn works(&mut self) {
        if std::mem::replace(&mut self.failing, false) {
            tracing::info!("the store answers again");
        }
        self.state.notices.clear(STORE);
    }
}

pub(super) fn now_ms() -> u64 {
    crate::command::now_ms()
}

/// The matters of notices.
pub(super) const STORE: &str = "store";
pub(super) const REVISION: &str = "revision";
const LAST_GOOD: &str = "lastGood";
/// Outcomes kept for a store that cannot be written to.
const UNTOLD_MAX: usize = 16;
