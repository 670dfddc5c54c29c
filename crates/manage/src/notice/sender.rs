//! The thread that works the outbox off: takes what is due, sends it, tries again with growing pauses, gives up.
//!
//! Any number of gateways may work off one store: what one has taken no other takes before its lease is over. A gateway
//! that dies between sending and writing that down sends again: at least once, with the same id.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use bartizan_fetch::Fetcher;
use bartizan_store::{DataDir, DueNotice, Error, Store};

use super::{channel::Channels, message::Message};
use crate::api::now_ms;

/// How a sender waits.
#[derive(Clone, Copy, Debug)]
pub struct SendPatience {
    /// How often it looks.
    pub look: Duration,
    /// The first pause after a failure; each further one is twice as long.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Default for SendPatience {
    fn default() -> Self {
        SendPatience {
            look: Duration::from_millis(500),
            pause: Duration::from_secs(2),
            pause_max: Duration::from_secs(3_600),
        }
    }
}

/// The sender of a gateway. Dropping it ends its thread; what was not sent is sent by the next one.
pub struct Sender {
    channels: Arc<Mutex<Arc<Channels>>>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Sender {
    /// Begins to send what is in the store of a data directory.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        store: DataDir,
        fetcher: Arc<Fetcher>,
        channels: Arc<Channels>,
        patience: SendPatience,
    ) -> io::Result<Self> {
        let channels = Arc::new(Mutex::new(channels));
        let current = Arc::clone(&channels);
        let (stop, stopped) = mpsc::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("notices".into()).spawn(move || {
            let mut post = Post { open: None, dir: store, fetcher, patience, failing: false, looks: 0 };
            // A dropped sender means the same as a sent message.
            while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(patience.look) {
                let channels = Arc::clone(&current.lock().unwrap_or_else(PoisonError::into_inner));
                runtime.block_on(post.round(&channels));
            }
            if let Some(store) = post.open {
                runtime.block_on(store.close());
            }
        })?;
        Ok(Sender { channels, stop: Some(stop), thread: Some(thread) })
    }

    /// Sends by other channels from now on.
    pub fn use_channels(&self, channels: Arc<Channels>) {
        *self.channels.lock().unwrap_or_else(PoisonError::into_inner) = channels;
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was logged by its thread; there is nothing to add at the end of the process.
            let _ = thread.join();
        }
    }
}

struct Post {
    open: Option<Store>,
    dir: DataDir,
    fetcher: Arc<Fetcher>,
    patience: SendPatience,
    failing: bool,
    looks: u64,
}

impl Post {
    async fn round(&mut self, channels: &Channels) {
        match self.work(channels).await {
            Ok(()) => self.failing = false,
            Err(error) => {
                // The file may be another one by the next look.
                self.open = None;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "notices cannot be sent; trying again");
                }
            }
        }
    }

    async fn work(&mut self, channels: &Channels) -> Result<(), Error> {
        let store = match &self.open {
            Some(store) => store.clone(),
            None => self.open.insert(Store::open_existing(&self.dir).await?).clone(),
        };
        self.looks += 1;
        if self.looks % LOOKS_PER_CLEANING == 1 {
            let now = now_ms();
            store.outbox().forget(now.saturating_sub(SENT_KEPT_MS), now.saturating_sub(DEAD_KEPT_MS)).await?;
        }
        // Looked at before anything is written: a write every half second would wake every follower of the store.
        let now = now_ms();
        if store.outbox().next_due_ms().await?.is_none_or(|due| due > now) {
            return Ok(());
        }
        let due = store.outbox().take(TAKEN_AT_ONCE, LEASE_MS, now).await?;
        let sends = due.iter().map(|notice| self.one(&store, channels, notice));
        for outcome in futures_joined(sends).await {
            outcome?;
        }
        Ok(())
    }

    async fn one(&self, store: &Store, channels: &Channels, notice: &DueNotice) -> Result<(), Error> {
        let outbox = store.outbox();
        let (id, channel, event) = (&*notice.id, &*notice.channel, &*notice.event);
        let message = notice.body.as_deref().and_then(|body| serde_json::from_slice::<Message>(body).ok());
        let Some(message) = message else {
            tracing::error!(notice = id, "a notice cannot be read and is given up");
            return outbox.give_up(id, "it cannot be read", now_ms()).await;
        };
        let way = channels.get(channel);
        let sent = match way {
            Some(way) => way.send(&self.fetcher, id, &message, now_ms()).await,
            None => Err(super::channel::Failed {
                why: "no NoticeChannel of this name is in force".to_owned(),
                is_final: false,
            }),
        };
        let now = now_ms();
        let Err(failed) = sent else {
            tracing::info!(notice = id, channel, event, attempts = notice.attempts, "a notice was sent");
            return outbox.sent(id, now).await;
        };
        let give_up_ms = way.map_or(GIVE_UP_MS, |way| millis(way.give_up_after()));
        if failed.is_final || now.saturating_sub(notice.created_at_ms) >= give_up_ms {
            tracing::error!(notice = id, channel, event, why = failed.why, "a notice was given up");
            return outbox.give_up(id, &failed.why, now).await;
        }
        let next = now.saturating_add(self.pause_ms(id, notice.attempts));
        tracing::warn!(
            notice = id,
            channel,
            event,
            attempts = notice.attempts,
            why = failed.why,
            "a notice was not taken"
        );
        outbox.failed(id, &failed.why, next).await
    }

    /// Twice as long each time, and not for all at the same moment: the digits of the id are as good as a die.
    fn pause_ms(&self, id: &str, attempts: u32) -> u64 {
        let doubled = millis(self.patience.pause).saturating_mul(1 << attempts.saturating_sub(1).min(20));
        let pause = doubled.min(millis(self.patience.pause_max));
        let die =
            id.bytes().fold(u64::from(attempts), |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        // Between three quarters and five quarters of it.
        pause.saturating_mul(750 + die % 500) / 1000
    }
}

/// Waits for all at once: a receiver that hangs must not hold the others up.
async fn futures_joined<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut is_pending = false;
        for (future, output) in &mut running {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(done) => *output = Some(done),
                    std::task::Poll::Pending => is_pending = true,
                }
            }
        }
        if is_pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A batch that one thread sends at once.
const TAKEN_AT_ONCE: u32 = 32;
/// Longer than any channel may take for one attempt (its timeout, at most a minute) and shorter than anybody waits.
const LEASE_MS: u64 = 90_000;
/// Where the channel is gone, as long as by default.
const GIVE_UP_MS: u64 = 259_200_000;
/// The record of what was sent is kept for 30 days, of what was given up for 90.
const SENT_KEPT_MS: u64 = 30 * 86_400_000;
const DEAD_KEPT_MS: u64 = 90 * 86_400_000;
/// Every half hour.
const LOOKS_PER_CLEANING: u64 = 3_600;
