//! Counting what a replay finds, in bounded memory whatever a log holds.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bartizan_model::Stage;
use bartizan_telemetry::record::Would;

use super::{
    bench::{Judged, Unseen},
    compare::{Difference, Finding},
    recording::{Cause, Recording},
};
use crate::rehearsal::{Decision, Outcome};

/// Most names of a dimension that are counted apart; the rest is counted together, so that a hostile log costs no memory.
pub const ROWS_MAX: usize = 2_000;

/// The name that stands for all that came after [`ROWS_MAX`].
const OTHERS: &str = "(others)";

/// What the counts are split by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// The route: by the candidate, else the recorded one.
    Route,
    /// The consumer.
    Consumer,
    /// The stage that refused or could not judge.
    Stage,
    /// The policy that refused or could not judge.
    Policy,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Dimension; 4] =
        [Dimension::Route, Dimension::Consumer, Dimension::Stage, Dimension::Policy];

    /// The word in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Dimension::Route => "route",
            Dimension::Consumer => "consumer",
            Dimension::Stage => "stage",
            Dimension::Policy => "policy",
        }
    }
}

/// The counts of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Requests that were the same.
    pub same: u64,
    /// Newly refused.
    pub refused: u64,
    /// Newly allowed.
    pub allowed: u64,
    /// Changed otherwise.
    pub changed: u64,
    /// Not judgeable.
    pub unseen: u64,
}

/// Whose counts: the set that is compared with, or the candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What was before.
    Before,
    /// The candidate.
    After,
}

/// A request that stands for others like it.
#[derive(Clone, Debug)]
pub struct Example {
    /// Its id or place.
    pub id: Box<str>,
    /// When, in nanoseconds since 1970.
    pub unix_nanos: u64,
    /// Method, host and path; never the query.
    pub request: String,
    /// Who.
    pub consumer: Option<Arc<str>>,
    /// What it got before, or which stage lacked what.
    pub before: String,
    /// What it gets now.
    pub after: String,
}

/// The counts of a replay.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests that were compared or could not be.
    pub requests: u64,
    /// Requests that got the same.
    pub same: u64,
    /// How many differ in what.
    pub differences: BTreeMap<Difference, u64>,
    /// How many of them rest on recomputed limits.
    pub estimates: u64,
    /// How many could not be judged, for what.
    pub unseen: BTreeMap<Cause, u64>,
    /// By name.
    pub rows: BTreeMap<Dimension, HashMap<Arc<str>, Row>>,
    /// What policies in shadow would have refused or delayed: before, and by the candidate.
    pub would: BTreeMap<Arc<str>, [u64; 2]>,
    /// What limits refused or delayed: before, and by the candidate.
    pub limited: BTreeMap<Arc<str>, [u64; 2]>,
    /// Some requests of each difference.
    pub examples: BTreeMap<Difference, Vec<Example>>,
    /// Some requests of each cause.
    pub unseen_examples: BTreeMap<Cause, Vec<Example>>,
    /// The time of the earliest and the latest request.
    pub span: Option<(u64, u64)>,
    examples_max: usize,
}

impl Tally {
    /// Counts, with at most so many examples of each difference and each cause.
    pub fn new(examples_max: usize) -> Self {
        Tally { examples_max, ..Tally::default() }
    }

    /// How many requests differ.
    pub fn different(&self) -> u64 {
        self.differences.values().sum()
    }

    /// How many could not be judged.
    pub fn not_judgeable(&self) -> u64 {
        self.unseen.values().sum()
    }

    /// Counts one request.
    pub fn add(&mut self, asked: &Recording, after: &Judged, finding: &Finding) {
        self.requests += 1;
        let at = asked.unix_nanos;
        self.span = Some(self.span.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
        let mut row = Row::default();
        let (mut stage, mut policy) = (None, None);
        match finding {
            Finding::Same => {
                self.same += 1;
                row.same = 1;
            }
            Finding::Differs(difference, change) => {
                *self.differences.entry(*difference).or_default() += 1;
                self.estimates += u64::from(change.is_estimate);
                match difference {
                    Difference::NewlyRefused => row.refused = 1,
                    Difference::NewlyAllowed => row.allowed = 1,
                    Difference::Reason | Difference::Route | Difference::Upstream | Difference::Answer => {
                        row.changed = 1;
                    }
                }
                (stage, policy) = (change.stage, change.policy.as_ref());
                let examples = self.examples.entry(*difference).or_default();
                if examples.len() < self.examples_max {
                    examples.push(Example::of(asked, change.before.clone(), change.after.clone()));
                }
            }
            Finding::NotJudgeable(unseen) => {
                *self.unseen.entry(unseen.cause).or_default() += 1;
                row.unseen = 1;
                // No stage is to blame where the recording does not tell what became of it.
                stage = (unseen.cause != Cause::RecordedOutcome).then_some(unseen.stage);
                policy = unseen.policy.as_ref();
                let examples = self.unseen_examples.entry(unseen.cause).or_default();
                if examples.len() < self.examples_max {
                    examples.push(Example::of(asked, unseen.words(), String::new()));
                }
            }
        }
        let route = after.outcome.as_ref().and_then(|outcome| outcome.route.clone());
        let route = route.or_else(|| asked.recorded.as_ref()?.route().cloned());
        self.count(Dimension::Route, route, row);
        self.count(Dimension::Consumer, asked.caller.consumer().cloned(), row);
        if row.same == 0 {
            self.count(Dimension::Stage, stage.map(|stage| stage.as_str().into()), row);
            self.count(Dimension::Policy, policy.cloned(), row);
        }
    }

    /// Counts what limits and policies in shadow did on one side, where it could be judged.
    pub fn note(&mut self, side: Side, judged: &Judged) {
        let (None, Some(outcome)) = (&judged.unseen, &judged.outcome) else { return };
        let place = match side {
            Side::Before => 0,
            Side::After => 1,
        };
        for would in outcome.would_deny.iter().filter(|would| would.outcome != Would::Incomplete) {
            bump(&mut self.would, &would.policy, place);
        }
        if let Some(policy) = limited(outcome) {
            bump(&mut self.limited, &policy, place);
        }
    }

    fn count(&mut self, dimension: Dimension, name: Option<Arc<str>>, by: Row) {
        let Some(name) = name else { return };
        let rows = self.rows.entry(dimension).or_default();
        let name = if rows.len() >= ROWS_MAX && !rows.contains_key(&name) { OTHERS.into() } else { name };
        let row = rows.entry(name).or_default();
        row.same += by.same;
        row.refused += by.refused;
        row.allowed += by.allowed;
        row.changed += by.changed;
        row.unseen += by.unseen;
    }
}

/// The limit that refused or delayed.
fn limited(outcome: &Outcome) -> Option<Arc<str>> {
    match &outcome.decision {
        Decision::Refused(Stage::Limit | Stage::Admit, denial)
            if denial.reason.as_str().contains("Limited") || denial.reason.stage() == Stage::Limit =>
        {
            Some(denial.policy.clone().unwrap_or_else(|| denial.reason.as_str().into()))
        }
        _ if !outcome.waited.is_zero() => Some("(throttled)".into()),
        _ => None,
    }
}

/// Names of policies come from documents, so there are few.
fn bump(counts: &mut BTreeMap<Arc<str>, [u64; 2]>, name: &Arc<str>, place: usize) {
    if let Some(count) = counts.entry(name.clone()).or_default().get_mut(place) {
        *count += 1;
    }
}

impl Row {
    /// Requests that are not the same.
    pub const fn notable(&self) -> u64 {
        self.refused + self.allowed + self.changed + self.unseen
    }
}

impl Unseen {
    /// Which stage lacked what, for which policy.
    pub fn words(&self) -> String {
        if self.cause == Cause::RecordedOutcome {
            return self.cause.as_str().to_owned();
        }
        let of = self.policy.as_ref().map(|policy| format!(" for {policy}")).unwrap_or_default();
        format!("{} in {}{of}", self.cause.as_str(), self.stage.as_str())
    }
}

/// Longest request line of an example: a log may hold paths of any length.
const REQUEST_CHARS_MAX: usize = 200;

impl Example {
    fn of(asked: &Recording, before: String, after: String) -> Self {
        let path = asked.target.split('?').next().unwrap_or_default();
        let mut request = format!("{} {}{path}", asked.method, asked.host);
        if request.chars().count() > REQUEST_CHARS_MAX {
            request = request.chars().take(REQUEST_CHARS_MAX).chain(['…']).collect();
        }
        let consumer = asked.caller.consumer().cloned();
        Example { id: asked.id.clone(), unix_nanos: asked.unix_nanos, request, consumer, before, after }
    }
}
