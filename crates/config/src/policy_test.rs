//! PolicyTests run against a snapshot: every step through a rehearsal, what came of it beside what was expected.
//!
//! [`run_all`] is the one function that `apply` and the console call; `test` has [`run_tests`], which also chooses and
//! tells. Both read nothing but what they are given, so the same set always has the same report.

mod ask;
mod judge;
mod who;

use std::sync::Arc;

use bartizan_model::{
    document::{Document, Spec, policy_test::PolicyTestSpec},
    problem::Span,
};

pub(crate) use self::ask::header_problem;
pub use self::judge::Miss;
use crate::{
    rehearsal::{Outcome, Props, Rehearsal, Rehearse},
    snapshot::Snapshot,
};

/// Most requests that one test may send: a slip in `repeat` must not hold up a pipeline.
pub const REQUESTS_MAX: u64 = 100_000;

/// What came of all tests of a set.
#[derive(Debug, Default)]
pub struct Report {
    /// One per PolicyTest, in the order of the documents.
    pub cases: Vec<Case>,
}

/// What came of one PolicyTest.
#[derive(Debug)]
pub struct Case {
    /// Its name.
    pub name: Arc<str>,
    /// What it promises.
    pub description: Option<String>,
    /// Where it stands.
    pub at: Span,
    /// Its steps, up to the one that could not be sent.
    pub steps: Vec<Step>,
    /// How many requests were judged.
    pub requests: u64,
}

/// What came of one step.
#[derive(Debug)]
pub struct Step {
    /// What it shows, or its number from 1.
    pub name: String,
    /// Where it stands.
    pub at: Span,
    /// The request in words: method and URL.
    pub request: String,
    /// What differs from what was expected; empty when the step passed.
    pub misses: Vec<Miss>,
    /// Which of the repetitions it was that differed, from 1, where there are several.
    pub repetition: Option<u64>,
    /// What came of the request: of the first that differs, else of the last one. Nothing when it could not be sent.
    pub outcome: Option<Box<Outcome>>,
}

impl Report {
    /// Whether every test passed.
    pub fn passed(&self) -> bool {
        self.cases.iter().all(Case::passed)
    }

    /// How many failed.
    pub fn failures(&self) -> usize {
        self.cases.iter().filter(|case| !case.passed()).count()
    }
}

impl Case {
    /// Whether every step passed.
    pub fn passed(&self) -> bool {
        self.steps.iter().all(Step::passed)
    }
}

impl Step {
    /// Whether everything was as expected.
    pub fn passed(&self) -> bool {
        self.misses.is_empty()
    }
}

/// Runs every PolicyTest among `documents` against `snapshot`: what a set must pass before it goes live.
pub fn run_all(documents: &[Document], snapshot: &Arc<Snapshot>, rehearsal: &dyn Rehearsal) -> Report {
    run_tests(documents, snapshot, rehearsal, |_| true, |_| {})
}

/// Runs every PolicyTest among `documents` whose name `is_wanted`, against `snapshot`, telling each case when it is done.
/// The tests may come from another set than the snapshot.
pub fn run_tests(
    documents: &[Document],
    snapshot: &Arc<Snapshot>,
    rehearsal: &dyn Rehearsal,
    is_wanted: impl Fn(&str) -> bool,
    mut done: impl FnMut(&Case),
) -> Report {
    let mut report = Report::default();
    // One stage for all: setting one up costs more than a test.
    let mut stage = None;
    for document in documents {
        let Spec::PolicyTest(test) = &document.spec else { continue };
        if !is_wanted(document.name.as_str()) {
            continue;
        }
        let stage = stage.get_or_insert_with(|| rehearsal.set_up(snapshot.clone(), Props::default()));
        stage.reset();
        let case = run_one(document, test, snapshot, stage.as_mut());
        done(&case);
        report.cases.push(case);
    }
    report
}

fn run_one(
    document: &Document,
    test: &PolicyTestSpec,
    snapshot: &Snapshot,
    stage: &mut dyn Rehearse,
) -> Case {
    let mut case = Case {
        name: document.name.shared(),
        description: test.description.clone(),
        at: document.name.at,
        steps: Vec::new(),
        requests: 0,
    };
    if !case.at.is_place() {
        case.at = document.at;
    }
    let mut clock_ms = 0_u64;
    for (number, spanned) in (1..).zip(test.steps.iter()) {
        let after = u64::try_from(spanned.after.get().as_millis()).unwrap_or(u64::MAX);
        clock_ms = clock_ms.saturating_add(after);
        let mut step = Step {
            name: spanned.name.clone().unwrap_or_else(|| format!("step {number}")),
            at: spanned.at,
            request: String::new(),
            misses: Vec::new(),
            repetition: None,
            outcome: None,
        };
        let given = match ask::given(test, spanned, snapshot, clock_ms) {
            Ok(asked) => {
                step.request = asked.words;
                asked.given
            }
            Err(why) => {
                step.misses.push(Miss::unsendable(why));
                case.steps.push(step);
                break;
            }
        };
        let times = spanned.repeat.get().get();
        for repetition in 1..=times {
            if case.requests >= REQUESTS_MAX {
                step.misses.push(Miss::unsendable(format!("a test sends at most {REQUESTS_MAX} requests")));
                break;
            }
            case.requests += 1;
            let outcome = stage.run(given.clone());
            step.misses = judge::misses(&spanned.expect, &outcome);
            step.outcome = Some(Box::new(outcome));
            if !step.misses.is_empty() {
                step.repetition = (times > 1).then_some(repetition);
                break;
            }
        }
        case.steps.push(step);
    }
    case
}
