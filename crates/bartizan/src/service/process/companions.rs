//! What runs beside the gate, each on a thread of its own: keys, schedules, notices, alerts, audits, budgets, captures,
//! rollouts, detectors. None of them is on the way of a request.

use std::{
    fmt::Display,
    sync::{Arc, mpsc::SyncSender},
    time::Duration,
};

use bartizan_manage::{
    alert::{Feed, Watcher, Watching},
    notice::Sender,
};
use bartizan_proxy::runtime::Runtime;
use bartizan_store::DataDir;
use bartizan_telemetry::{AccessLog, Metrics, ProcessEvents, Tapped};

use super::{
    super::{
        alerts::{Certificates, Findings, House, Standing},
        audit::{Auditing, Auditor, Place},
        capture::Captures,
        desk::Desk,
        handover::Places,
        insight::{self, Insight},
        keys::{Following, Keys},
        notices,
        rollout::RolloutWatch,
        rotation::Schedule,
        spending::Spending,
        wish::Wish,
    },
    Failure,
};

/// What they need of the gateway.
pub(super) struct Given {
    /// What serves.
    pub(super) runtime: Arc<Runtime>,
    /// The data directory with the store.
    pub(super) store_dir: DataDir,
    /// The gateway's own, which may be the same.
    pub(super) data_dir: DataDir,
    /// The open store; none where it is gone.
    pub(super) keys: Option<Keys>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: Arc<AccessLog>,
    /// The lines of the access log, for the detectors.
    pub(super) lines: Tapped,
    /// Where the detectors leave what they found.
    pub(super) newest: insight::Newest,
    /// Whether the record store has all that the detectors would have seen before.
    pub(super) learns_from_store: bool,
    /// Where things that alerts are about are told, and what was told so far.
    pub(super) events: Feed,
    pub(super) watching: Watching,
    pub(super) happened: ProcessEvents,
    /// What an audit of the set in force finds.
    pub(super) findings: Findings,
    pub(super) audited: Place,
    pub(super) audit_every: Option<Duration>,
    /// Whether revisions of the store serve, so that there can be rollouts.
    pub(super) follows_store: bool,
    pub(super) wishes: SyncSender<Wish>,
    /// Where successors of keys are left.
    pub(super) places: Places,
}

/// All of them, running.
pub(super) struct Companions {
    /// With a store: the rollout that is under way.
    pub(super) rollout: Option<RolloutWatch>,
    /// Sends notices.
    pub(super) sender: Option<Sender>,
    auditor: Option<Auditor>,
    captures: Captures,
    following: Following,
    insight: Insight,
    schedule: Schedule,
    spending: Spending,
    watcher: Watcher,
}

impl Companions {
    /// Starts them in the order in which one hears the other.
    pub(super) fn start(given: Given) -> Result<Self, Failure> {
        let Given { runtime, store_dir, data_dir, happened, findings, .. } = given;
        let following = match given.keys {
            Some(keys) => keys.follow(runtime.clone()),
            None => Following::once_back(store_dir.clone(), runtime.clone()),
        };
        let following = following.map_err(cannot("the keys cannot be followed"))?;
        // Before anybody tells anything.
        let heard = happened.follow();
        let auditor = given.audit_every.map(|every| {
            Auditor::start(Auditing {
                place: given.audited,
                data_dir: data_dir.clone(),
                store: store_dir.clone(),
                data_plane: runtime.clone(),
                metrics: given.metrics.clone(),
                events: happened.clone(),
                grave: findings.clone(),
                every,
            })
        });
        let auditor = auditor.transpose().map_err(cannot("the set cannot be audited"))?;
        let rollout = given.follows_store.then(|| {
            RolloutWatch::start(store_dir.clone(), &data_dir, runtime.clone(), happened, given.wishes)
        });
        let rollout = rollout.transpose().map_err(cannot("rollouts cannot be followed"))?;
        let standing = Standing::default();
        let house = House {
            data_plane: runtime.clone(),
            findings,
            keys: standing.clone(),
            certificates: Certificates::default(),
        };
        let watcher = Watcher::start(store_dir.clone(), &given.events, given.watching, heard, house)
            .map_err(cannot("nothing can be watched"))?;
        let desk =
            Desk::open(store_dir.clone(), &runtime).map_err(cannot("owners of keys cannot be served"))?;
        runtime.set_desk(desk);
        let channels = notices::channels(&runtime.live().snapshot).map_err(Failure::Process)?;
        let sender = notices::start(store_dir.clone(), &runtime, channels)
            .map_err(cannot("notices cannot be sent"))?;
        let captures = Captures::start(data_dir.path().to_path_buf(), given.log)
            .map_err(cannot("captures cannot be taken"))?;
        let spending = Spending::start(store_dir.clone(), runtime.clone())
            .map_err(cannot("what is used cannot be followed"))?;
        let insight = Insight::start(insight::Given {
            lines: given.lines,
            data_dir,
            store: store_dir.clone(),
            data_plane: runtime.clone(),
            metrics: given.metrics,
            learns_from_store: given.learns_from_store,
            newest: given.newest,
        })
        .map_err(cannot("nobody can look for unusual behaviour"))?;
        let schedule = Schedule::start(store_dir, runtime, given.places, standing)
            .map_err(cannot("the lives of keys cannot be followed"))?;
        Ok(Companions { rollout, sender, auditor, captures, following, insight, schedule, spending, watcher })
    }

    /// Ends all but the detectors, which are to see the last lines of the access log. To be called when the cores have
    /// ended, so that everything is settled.
    pub(super) fn end(self) -> Insight {
        let Companions {
            rollout,
            sender,
            auditor,
            captures,
            following,
            insight,
            schedule,
            spending,
            watcher,
        } = self;
        drop((rollout, auditor, schedule, watcher, sender));
        drop((spending, following, captures));
        insight
    }
}

/// What could not be started, and why.
fn cannot<E: Display>(what: &'static str) -> impl Fn(E) -> Failure {
    move |error| Failure::Process(format!("{what}: {error}"))
}
