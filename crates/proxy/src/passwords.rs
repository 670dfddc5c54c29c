//! Checking passwords away from the cores: a few threads, a short queue, and a memory of what held a moment ago.
//!
//! Argon2 takes tens of milliseconds and tens of megabytes on purpose. On a core it would stop every other request; on an
//! unbounded pool it would be a way to use up the machine. So a few run at once, a few wait, and what comes on top is told
//! that the judge is busy, which refuses.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use aws_lc_rs::rand;
use bartizan_identity::{BasicCredentials, BasicIdentity, BasicUsers, Verified};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Checks that wait for their turn; at two threads and 50 ms each the last of them waits less than two seconds.
const WAITING_MAX: usize = 64;

/// The process's checks of passwords.
pub(crate) struct Passwords {
    verified: Verified,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    threads: usize,
    /// Started by the first check: a gateway without passwords has no threads for them.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    seed: [u8; 32],
    began: Instant,
}

struct Job {
    users: Arc<BasicUsers>,
    credentials: Arc<BasicCredentials>,
    answer: oneshot::Sender<Option<BasicIdentity>>,
    /// Held until the check has ended, also when nobody waits for it any more.
    _turn: OwnedSemaphorePermit,
}

/// Why a password was not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotChecked {
    /// Too many wait already.
    Busy,
    /// The threads could not be started, or one of them has ended.
    Broken,
    /// Whoever asked did not want it any more when its turn came.
    Given,
}

impl Passwords {
    /// At most `threads` checks at once. Fails when the system gives no randomness.
    pub(crate) fn new(threads: usize) -> io::Result<Self> {
        let random = || {
            let mut seed = [0; 32];
            rand::fill(&mut seed).map_err(|_| io::Error::other("the system gives no randomness"))?;
            Ok::<_, io::Error>(seed)
        };
        let threads = threads.max(1);
        Ok(Passwords {
            verified: Verified::new(&random()?),
            turns: Arc::new(Semaphore::new(threads)),
            waiting: AtomicUsize::new(0),
            threads,
            jobs: Mutex::default(),
            seed: random()?,
            began: Instant::now(),
        })
    }

    /// Reads a file of users.
    pub(crate) fn read_users(&self, text: &[u8]) -> Result<BasicUsers, Vec<String>> {
        BasicUsers::parse(text, &self.seed)
    }

    /// Whether these credentials held a moment ago.
    pub(crate) fn recall(&self, users: &BasicUsers, credentials: &BasicCredentials) -> Option<BasicIdentity> {
        self.verified.get(&self.verified.key_of(users, credentials), self.now())
    }

    /// Checks a password when its turn comes; `still_wanted` is asked then, because much may have failed meanwhile.
    pub(crate) async fn check(
        &self,
        users: &Arc<BasicUsers>,
        credentials: &Arc<BasicCredentials>,
        still_wanted: impl FnOnce() -> bool,
    ) -> Result<Option<BasicIdentity>, NotChecked> {
        let turn = {
            let _waiting = Waiting::enter(&self.waiting).ok_or(NotChecked::Busy)?;
            Arc::clone(&self.turns).acquire_owned().await.map_err(|_| NotChecked::Broken)?
        };
        if !still_wanted() {
            return Err(NotChecked::Given);
        }
        // The same caller may have waited in several requests at once; one check is enough for all that hold.
        if let Some(identity) = self.recall(users, credentials) {
            return Ok(Some(identity));
        }
        let (answer, answered) = oneshot::channel();
        let (users_of_job, credentials_of_job) = (Arc::clone(users), Arc::clone(credentials));
        let job = Job { users: users_of_job, credentials: credentials_of_job, answer, _turn: turn };
        self.send(job).map_err(|_| NotChecked::Broken)?;
        let identity = answered.await.map_err(|_| NotChecked::Broken)?;
        if let Some(identity) = &identity {
            self.verified.put(self.verified.key_of(users, credentials), identity, self.now());
        }
        Ok(identity)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn send(&self, job: Job) -> io::Result<()> {
        let gone = || io::Error::other("the threads for passwords have ended");
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = match &*jobs {
            Some(sender) => sender,
            None => jobs.insert(start(self.threads)?),
        };
        sender.send(job).map_err(|_| gone())
    }
}

/// Starts the threads; they end with the last sender.
fn start(threads: usize) -> io::Result<mpsc::Sender<Job>> {
    let (sender, jobs) = mpsc::channel::<Job>();
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..threads {
        let jobs = Arc::clone(&jobs);
        thread::Builder::new().name("passwords".into()).spawn(move || {
            loop {
                let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(Job { users, credentials, answer, _turn }) = next else { return };
                // Nobody waits any more: the work is done all the same, and the turn is given back.
                drop(answer.send(users.judge(&credentials)));
            }
        })?;
    }
    Ok(sender)
}

/// One of the places to wait in.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Option<Self> {
        let entered =
            count.fetch_update(Relaxed, Relaxed, |taken| (taken < WAITING_MAX).then_some(taken + 1));
        entered.is_ok().then_some(Waiting(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
