//! The rollout that is under way, carried out by this gateway.
//!
//! A thread of its own follows the store twice a second, says what to try and how (the main thread, which alone prepares
//! and publishes, does it), writes down what was seen, and asks [`Course`] what follows. All state is in the store, the
//! counts of this gateway included: whatever restarts goes on from there. A store that cannot be asked changes nothing.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use bartizan_config::rollout::{Arm, Course, Move, Phase, RolloutPlan, Tally, plan};
use bartizan_manage::rollout::{course, seen};
use bartizan_proxy::{
    runtime::Runtime,
    trial::{Trial, TrialOptions},
};
use bartizan_store::{
    AuditNote, AuditPhase, DataDir, Error, NewMove, Revision, RevisionNumber, RevisionRef, RolloutRow,
    Standing, Store,
};
use bartizan_telemetry::{ProcessEvent, ProcessEvents, metrics::RolloutFigures};

use super::{keys::chain, revisions::tag, shadow::Shadow, wish::Wish};
use crate::command::now_ms;

/// What the main thread is asked to do.
pub(super) enum Order {
    /// Try this revision, as the options say.
    Try(Box<Revision>, TrialOptions),
    /// The set in force serves everybody again.
    End,
}

/// What it says: the trial that has begun, or why it could not.
pub(super) type Answer = Result<Option<Arc<Trial>>, String>;

/// The thread. Dropping it ends it; a trial goes on in the data plane until that ends.
pub(super) struct RolloutWatch {
    orders: Arc<Mutex<Option<Order>>>,
    /// `None` once it ends: then nobody waits for one.
    answers: Option<Sender<Answer>>,
    stop: Option<Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl RolloutWatch {
    /// Follows the rollouts of a store.
    pub(super) fn start(
        store: DataDir,
        data_dir: &DataDir,
        data_plane: Arc<Runtime>,
        events: ProcessEvents,
        wishes: SyncSender<Wish>,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = mpsc::channel::<()>();
        let (answers, answered) = mpsc::channel();
        let orders = Arc::default();
        let mut follower = Follower {
            dir: store,
            gateway: data_dir.path().display().to_string(),
            data_plane,
            events,
            wishes,
            orders: Arc::clone(&orders),
            answered,
            trying: None,
        };
        let thread = thread::Builder::new().name("rollout".into()).spawn(move || {
            let (mut open, mut failing) = (None, false);
            // A dropped sender means the same as a sent message.
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(PAUSE) {
                match runtime.block_on(follower.look(&mut open)) {
                    Ok(()) => failing = false,
                    Err(error) => {
                        open = None;
                        if !std::mem::replace(&mut failing, true) {
                            tracing::warn!(error = %chain(&error), "the rollout cannot be followed; it stays as it is");
                        }
                    }
                }
            }
            // What was seen until now is not lost with the process.
            if let (Some(store), Some(trying)) = (&open, &follower.trying) {
                let _ = runtime.block_on(follower.write(store, trying));
            }
        })?;
        Ok(RolloutWatch { orders, answers: Some(answers), stop: Some(stop), thread: Some(thread) })
    }

    /// What is to be done.
    pub(super) fn take(&self) -> Option<Order> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Says what came of it.
    pub(super) fn answer(&self, answer: Answer) {
        if let Some(answers) = &self.answers {
            // The thread ends before this does, and then nobody asks.
            let _ = answers.send(answer);
        }
    }
}

impl Drop for RolloutWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        drop(self.answers.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was logged by its thread; there is nothing to add at the end of the process.
            let _ = thread.join();
        }
    }
}

/// What is tried now.
struct Trying {
    wanted: Wanted,
    trial: Arc<Trial>,
    shadow: Option<Shadow>,
    /// What this gateway wrote down of the step before it restarted.
    earlier: Tally,
    written: Instant,
}

/// What is to be tried, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    rollout: u64,
    candidate: RevisionNumber,
    step: Option<u32>,
    share: plan::BasisPoints,
    watched: bool,
    since_ms: u64,
}

struct Follower {
    dir: DataDir,
    gateway: String,
    data_plane: Arc<Runtime>,
    events: ProcessEvents,
    wishes: SyncSender<Wish>,
    orders: Arc<Mutex<Option<Order>>>,
    answered: Receiver<Answer>,
    trying: Option<Trying>,
}

impl Follower {
    async fn look(&mut self, open: &mut Option<Store>) -> Result<(), Error> {
        let store = match open {
            Some(store) => store,
            None => open.insert(Store::open_existing(&self.dir).await?),
        };
        let Some(row) = store.rollouts().latest().await? else { return Ok(()) };
        let (Some(course), Ok(plan)) = (course(&row), serde_json::from_str::<RolloutPlan>(&row.plan)) else {
            // A newer version's: this one cannot carry it out, and must not end it.
            return Ok(());
        };
        if course.phase.is_over() && self.trying.is_none() {
            return Ok(());
        }
        let wanted = self.wanted(&row, &course, &plan, store).await?;
        if wanted != self.trying.as_ref().map(|trying| trying.wanted)
            && !self.change(store, &row, wanted).await?
        {
            return Ok(());
        }
        if course.phase.is_over() {
            return Ok(());
        }
        if let Some(why) = self.other_is_active(&row, store).await? {
            return self.advance(store, &row, (Phase::Aborted, course.step), why).await;
        }
        let Some(trying) = &self.trying else { return Ok(()) };
        if trying.written.elapsed() < WRITE {
            return Ok(());
        }
        self.write(store, trying).await?;
        if let Some(trying) = &mut self.trying {
            trying.written = Instant::now();
        }
        let seen = seen(store, &row, &plan).await?;
        match course.next(&plan, &seen, now_ms()) {
            Move::Stay => Ok(()),
            Move::Looked(looks) => store.rollouts().looked(&row, looks).await,
            Move::To { phase, step, why } => self.advance(store, &row, (phase, step), why).await,
        }
    }

    /// What is to be tried now. A candidate that was promoted serves on until it is the set in force.
    async fn wanted(
        &self,
        row: &RolloutRow,
        course: &Course,
        plan: &RolloutPlan,
        store: &Store,
    ) -> Result<Option<Wanted>, Error> {
        let share = course.share(plan);
        let is_tried = match course.phase {
            Phase::Shadow => true,
            Phase::Share | Phase::Proved => share > 0,
            Phase::Promoted => {
                let candidate = store.revisions().find(&RevisionRef::Number(row.candidate)).await?;
                let is_live = *self.data_plane.live().snapshot.revision.id == *candidate.digest.short();
                !is_live && now_ms().saturating_sub(row.since_ms) < PROMOTION_MAX_MS
            }
            Phase::Aborted | Phase::Paused | Phase::RolledBack => false,
        };
        Ok(is_tried.then_some(Wanted {
            rollout: row.number,
            candidate: row.candidate,
            step: row.step,
            share,
            watched: course.phase == Phase::Shadow,
            // What is proved or promoted goes on as it was: its counts too.
            since_ms: if course.phase == Phase::Shadow || course.phase == Phase::Share {
                row.since_ms
            } else {
                0
            },
        }))
    }

    /// Lets the main thread begin or end a trial; returns whether what follows may go on.
    async fn change(
        &mut self,
        store: &Store,
        row: &RolloutRow,
        wanted: Option<Wanted>,
    ) -> Result<bool, Error> {
        let same_step = |trying: &Trying| {
            wanted.is_some_and(|wanted| {
                (wanted.rollout, wanted.step, wanted.share)
                    == (trying.wanted.rollout, trying.wanted.step, trying.wanted.share)
            })
        };
        if let (Some(trying), Some(wanted)) =
            (self.trying.as_mut().filter(|trying| same_step(trying)), wanted)
        {
            // Proved after it was held: nothing of it changes in the data plane.
            if !wanted.watched {
                trying.wanted = wanted;
                return Ok(true);
            }
        }
        if let Some(trying) = self.trying.take() {
            self.write(store, &trying).await?;
        }
        let Some(wanted) = wanted else {
            // Ending cannot fail; that nobody answers means that the process ends.
            let _ = self.order(Order::End);
            self.data_plane.metrics().set_rollout(RolloutFigures::default());
            return Ok(true);
        };
        let earlier = store.rollouts().tallies(row.number, wanted.step).await?;
        let own = earlier.into_iter().find(|(gateway, _)| *gateway == self.gateway);
        let earlier = own.and_then(|(_, text)| serde_json::from_str(&text).ok()).unwrap_or_default();
        let revision = store.revisions().get(&RevisionRef::Number(row.candidate)).await?;
        let candidate = tag(revision.row.number, revision.row.digest);
        let (shadow, watched) = match wanted.watched {
            true => match Shadow::start(self.data_plane.live().snapshot.clone(), &revision) {
                Ok((shadow, sender)) => (Some(shadow), Some(sender)),
                Err(why) => return self.failed(store, row, why).await.map(|()| false),
            },
            false => (None, None),
        };
        let options = TrialOptions { rollout: row.number, share: wanted.share, salt: row.salt, watched };
        match self.order(Order::Try(Box::new(revision), options)) {
            Ok(Some(trial)) => {
                tracing::info!(
                    rollout = row.number,
                    candidate,
                    share = plan::percent(wanted.share),
                    phase = row.phase,
                    "a candidate is tried"
                );
                self.trying = Some(Trying { wanted, trial, shadow, earlier, written: Instant::now() });
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(why) => self.failed(store, row, why).await.map(|()| false),
        }
    }

    async fn failed(&self, store: &Store, row: &RolloutRow, why: String) -> Result<(), Error> {
        let why = format!("the candidate could not be prepared: {}", why.trim_end());
        let step = row.step.map(|step| step as usize);
        self.advance(store, row, (Phase::RolledBack, step), why).await
    }

    /// Gives an order and waits for what came of it.
    fn order(&self, order: Order) -> Answer {
        *self.orders.lock().unwrap_or_else(PoisonError::into_inner) = Some(order);
        // A full queue is being worked off; one that stays full is that of a process that ends.
        for _ in 0..WISHES_TRIED {
            if self.wishes.try_send(Wish::Rollout).is_ok() {
                break;
            }
            // What is in the queue may be a wish of ours already, and then this is what came of it.
            if let Ok(answer) = self.answered.recv_timeout(WISH_PAUSE) {
                return answer;
            }
        }
        // Preparing reads files and asks issuers, each within its own limits. Nobody answers when the process ends.
        self.answered.recv_timeout(PREPARE_MAX).unwrap_or(Ok(None))
    }

    /// Why the rollout cannot go on: what it began beside is no longer what serves.
    async fn other_is_active(&self, row: &RolloutRow, store: &Store) -> Result<Option<String>, Error> {
        let active = store.revisions().active().await?;
        Ok(active
            .filter(|active| active.number != row.base)
            .map(|active| format!("revision {} became the active one meanwhile", active.tag())))
    }

    /// Writes down what this gateway saw in the step.
    async fn write(&self, store: &Store, trying: &Trying) -> Result<(), Error> {
        let mut tally = trying.earlier.clone();
        tally.add(&trying.trial.tally());
        if let Some(shadow) = &trying.shadow {
            tally.add(&shadow.tally());
        }
        self.data_plane.metrics().set_rollout(figures(&tally, trying.trial.share()));
        // It has no map whose keys are not text or numbers, so this cannot fail.
        let text = serde_json::to_string(&tally).unwrap_or_default();
        let Wanted { rollout, step, .. } = trying.wanted;
        store.rollouts().put_tally(rollout, step, &self.gateway, &text, now_ms()).await
    }

    /// Moves the rollout on, unless somebody else was first; written into the audit trail, logged and told.
    async fn advance(
        &self,
        store: &Store,
        row: &RolloutRow,
        (phase, step): (Phase, Option<usize>),
        why: String,
    ) -> Result<(), Error> {
        let to = Standing { phase: phase.as_str(), step: step.and_then(|step| u32::try_from(step).ok()) };
        let activates = phase == Phase::Promoted;
        let next = NewMove { to, actor: ACTOR, why: &why, activates };
        let moved = match store.rollouts().advance(row.number, row.standing(), next, now_ms()).await {
            // Seen at the next look: then it is aborted.
            Err(Error::RevisionConflict { .. }) => return Ok(()),
            other => other?,
        };
        if moved.is_none() {
            return Ok(());
        }
        let (target, before) = (format!("rollout {}", row.number), row.phase.clone());
        let note = AuditNote {
            actor: ACTOR,
            source: "local",
            action: "rollout.move",
            target: &target,
            phase: AuditPhase::Done,
            before: &before,
            after: phase.as_str(),
            reason: &why,
        };
        store.audit().add(note, now_ms()).await?;
        let became = match phase {
            Phase::Paused => "paused",
            Phase::RolledBack | Phase::Aborted => "rolled back",
            Phase::Promoted | Phase::Proved | Phase::Shadow | Phase::Share => {
                tracing::info!(rollout = row.number, phase = phase.as_str(), "the rollout goes on: {why}");
                return Ok(());
            }
        };
        tracing::warn!(rollout = row.number, became, "rollout stopped: {why}");
        let candidate = store.revisions().find(&RevisionRef::Number(row.candidate)).await?.tag();
        let (candidate, why) = (candidate.into(), why.into());
        self.events.tell(&ProcessEvent::RolloutStopped { rollout: row.number, candidate, became, why });
        Ok(())
    }
}

/// What this gateway tells of a step.
fn figures(tally: &Tally, share: plan::BasisPoints) -> RolloutFigures {
    let side = |arm: &Arm| {
        let (refused, failed) = (arm.refused(), arm.failed());
        [arm.calls().saturating_sub(refused).saturating_sub(failed), refused, failed]
    };
    let seen = &tally.shadow;
    let is_shadow = share == 0;
    RolloutFigures {
        share: f64::from(share) / f64::from(plan::ALL),
        sides: if is_shadow { Default::default() } else { [side(&tally.candidate), side(&tally.active)] },
        shadow: vec![
            ("same", seen.same),
            ("newly_refused", seen.refused),
            ("newly_allowed", seen.allowed),
            ("changed", seen.changed),
            ("not_judged", seen.unseen.values().sum()),
            ("missed", seen.missed),
        ],
    }
}

/// How the audit trail names what no person did.
const ACTOR: &str = "gateway";
/// How often the store is asked.
const PAUSE: Duration = Duration::from_millis(500);
/// A second of waiting for room in the queue of wishes.
const WISHES_TRIED: u32 = 50;
const WISH_PAUSE: Duration = Duration::from_millis(20);
/// How often what was seen is written down and weighed.
const WRITE: Duration = Duration::from_secs(1);
/// How long the main thread may take to prepare a candidate.
const PREPARE_MAX: Duration = Duration::from_secs(60);
/// How long a promoted candidate serves on as one; by then it is the set in force, or could not be.
const PROMOTION_MAX_MS: u64 = 30_000;
