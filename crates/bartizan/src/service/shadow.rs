//! What a candidate would have made of the calls that the active set serves: both judge each one again, off its way.
//!
//! Through the stages of live traffic (a rehearsal), on one thread and on clocks and limit cells of their own, so that
//! both sets see the same calls in the same order and what differs is the documents. Credentials are facts, bodies are
//! not known: what hangs on them is not judgeable, and counted so. What comes faster than it is judged is missed.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use bartizan_config::{
    replay::{Before, Bench, Difference, Finding, Judged, Recording, compare},
    rollout::{Example, Outcome, Tally},
    snapshot::Snapshot,
};
use bartizan_proxy::{rehearsal::PipelineRehearsal, trial::group_of};
use bartizan_store::Revision;

use super::revisions;

/// The thread, and what it has counted. It ends when nothing can come any more.
pub(super) struct Shadow {
    tally: Arc<Mutex<Tally>>,
}

impl Shadow {
    /// Begins to judge by `active` and by a candidate; what is sent is judged.
    pub(super) fn start(
        active: Arc<Snapshot>,
        candidate: &Revision,
    ) -> Result<(Self, SyncSender<Box<Recording>>), String> {
        let row = &candidate.row;
        let loaded = revisions::load(row.number, row.digest, candidate.files.clone())?;
        let (sender, queue) = sync_channel(WAITING_MAX);
        let tally = Arc::<Mutex<Tally>>::default();
        let counts = Arc::clone(&tally);
        thread::Builder::new()
            .name("shadow".into())
            .spawn(move || judge(active, loaded.snapshot, &queue, &counts))
            .map_err(|error| error.to_string())?;
        Ok((Shadow { tally }, sender))
    }

    /// What was counted until now.
    pub(super) fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn judge(
    active: Arc<Snapshot>,
    candidate: Arc<Snapshot>,
    queue: &Receiver<Box<Recording>>,
    counts: &Mutex<Tally>,
) {
    // A stage belongs to the thread that sets it up.
    let mut before = Bench::new(active, &PipelineRehearsal);
    let mut after = Bench::new(candidate, &PipelineRehearsal);
    for (draw, asked) in (0_u64..).zip(queue.iter()) {
        // The same number for both: they draw the same backend.
        let draw = draw.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (was, is) = (before.judge(&asked, draw), after.judge(&asked, draw));
        let finding = compare(Before::Judged(&was), &is);
        note(&mut counts.lock().unwrap_or_else(PoisonError::into_inner), &asked, &is, &finding);
    }
}

fn note(tally: &mut Tally, asked: &Recording, judged: &Judged, finding: &Finding) {
    let shadow = &mut tally.shadow;
    let mut refused = false;
    match finding {
        Finding::NotJudgeable(unseen) => {
            *shadow.unseen.entry(unseen.words()).or_default() += 1;
            return;
        }
        Finding::Same => shadow.same += 1,
        Finding::Differs(difference, change) => {
            let route = judged.outcome.as_ref().and_then(|outcome| outcome.route.clone());
            let consumer = asked.caller.consumer().map(|name| &**name);
            match difference {
                Difference::NewlyRefused | Difference::NewlyAllowed => {
                    refused = *difference == Difference::NewlyRefused;
                    *if refused { &mut shadow.refused } else { &mut shadow.allowed } += 1;
                    shadow.differs(!refused, consumer, change.policy.as_deref(), route.as_deref());
                }
                Difference::Reason | Difference::Route | Difference::Upstream | Difference::Answer => {
                    shadow.changed += 1;
                }
            }
            tally.show(|| Example {
                id: asked.id.to_string(),
                request: request(asked),
                consumer: consumer.map(str::to_owned),
                before: change.before.clone(),
                after: change.after.clone(),
            });
        }
    }
    tally.shadow.judged += 1;
    let outcome = |refused| Outcome { refused, failed: false, took: Duration::ZERO };
    let group = group_of(asked);
    tally.candidate.note(group, outcome(refused));
    tally.active.note(group, outcome(false));
}

/// Method, host and path; never the query.
fn request(asked: &Recording) -> String {
    let path = asked.target.split('?').next().unwrap_or_default();
    let text = format!("{} {}{path}", asked.method, asked.host);
    text.chars().take(REQUEST_CHARS_MAX).collect()
}

/// As many calls as wait to be judged again: a tenth of a second of a busy gateway.
const WAITING_MAX: usize = 4_096;
const REQUEST_CHARS_MAX: usize = 200;
