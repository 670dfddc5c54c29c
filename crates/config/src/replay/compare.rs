//! Two judgements of one request, told apart.

use std::sync::Arc;

use bartizan_model::{Reason, Stage};

use super::{
    bench::{Judged, Unseen},
    recording::{Cause, Recorded},
};
use crate::rehearsal::{Decision, Outcome};

/// What the candidate is compared with.
#[derive(Clone, Copy, Debug)]
pub enum Before<'a> {
    /// What another set says.
    Judged(&'a Judged),
    /// What the source says became of it; `None` where it does not tell.
    Recorded(Option<&'a Recorded>),
}

/// How two judgements stand to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// They are the same.
    Same,
    /// They differ.
    Differs(Difference, Box<Change>),
    /// One of them is none.
    NotJudgeable(Unseen),
}

/// In what two judgements differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Difference {
    /// It passed before and is refused now.
    NewlyRefused,
    /// It was refused before and passes now.
    NewlyAllowed,
    /// It is refused for another reason.
    Reason,
    /// It takes another route.
    Route,
    /// It goes to another upstream.
    Upstream,
    /// The gateway answers it now, or no longer.
    Answer,
}

impl Difference {
    /// All of them, the gravest first.
    pub const ALL: [Difference; 6] = [
        Difference::NewlyRefused,
        Difference::NewlyAllowed,
        Difference::Reason,
        Difference::Route,
        Difference::Upstream,
        Difference::Answer,
    ];

    /// The words in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Difference::NewlyRefused => "newly refused",
            Difference::NewlyAllowed => "newly allowed",
            Difference::Reason => "other reason",
            Difference::Route => "other route",
            Difference::Upstream => "other upstream",
            Difference::Answer => "answered or not",
        }
    }

    /// The word for programs.
    pub const fn key(self) -> &'static str {
        match self {
            Difference::NewlyRefused => "newlyRefused",
            Difference::NewlyAllowed => "newlyAllowed",
            Difference::Reason => "reasonChanged",
            Difference::Route => "routeChanged",
            Difference::Upstream => "upstreamChanged",
            Difference::Answer => "answerChanged",
        }
    }
}

/// A difference in words, and where it arose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it got before.
    pub before: String,
    /// What it gets now.
    pub after: String,
    /// The stage that refused, now or before.
    pub stage: Option<Stage>,
    /// The policy that refused, now or before.
    pub policy: Option<Arc<str>>,
    /// Whether it rests on limits, which are recomputed and so estimated.
    pub is_estimate: bool,
}

/// A judgement, whoever made it.
#[derive(Clone, Copy, Default)]
struct View<'a> {
    refused: Option<&'a str>,
    stage: Option<Stage>,
    policy: Option<&'a Arc<str>>,
    detail: Option<&'a str>,
    route: Option<&'a str>,
    upstream: Option<&'a str>,
    answered: Option<bool>,
}

/// Tells apart what a request got before and what it gets by the candidate.
pub fn compare(before: Before<'_>, after: &Judged) -> Finding {
    if let Some(unseen) = &after.unseen {
        return Finding::NotJudgeable(unseen.clone());
    }
    let Some(now) = after.outcome.as_ref().map(View::of) else {
        return Finding::NotJudgeable(Unseen::new(Stage::Admit, Cause::Head));
    };
    let was = match before {
        Before::Judged(Judged { unseen: Some(unseen), .. }) => return Finding::NotJudgeable(unseen.clone()),
        Before::Judged(Judged { outcome: Some(outcome), .. }) => View::of(outcome),
        Before::Recorded(Some(Recorded::Status(status))) => return by_status(*status, &now),
        Before::Recorded(Some(recorded)) => View::recorded(recorded),
        Before::Recorded(None) | Before::Judged(_) => {
            return Finding::NotJudgeable(Unseen::new(Stage::Record, Cause::RecordedOutcome));
        }
    };
    // How long calls ran is not rehearsed, so each has ended before the next one.
    if matches!(before, Before::Recorded(_))
        && let Some(policy) = was.policy.filter(|policy| after.counts_running(policy))
        && now.refused.is_none()
    {
        let policy = Some(policy.clone());
        return Finding::NotJudgeable(Unseen { stage: Stage::Limit, cause: Cause::CallsRunning, policy });
    }
    // A share of the requests goes to each; which one a recorded request drew is not recorded.
    let drew = matches!(before, Before::Recorded(_))
        && after
            .backends
            .as_ref()
            .is_some_and(|names| names.iter().any(|name| was.upstream == Some(&**name)));
    match difference(&was, &now, drew) {
        None => Finding::Same,
        Some(difference) => Finding::Differs(difference, Box::new(change(difference, &was, &now))),
    }
}

fn difference(was: &View<'_>, now: &View<'_>, drew: bool) -> Option<Difference> {
    match (was.refused, now.refused) {
        (None, Some(_)) => return Some(Difference::NewlyRefused),
        (Some(_), None) => return Some(Difference::NewlyAllowed),
        (Some(one), Some(other)) => return (one != other).then_some(Difference::Reason),
        (None, None) => {}
    }
    let differ = |one: Option<&str>, other: Option<&str>| one.is_some() && other.is_some() && one != other;
    if was.answered.zip(now.answered).is_some_and(|(was, now)| was != now) {
        return Some(Difference::Answer);
    }
    if differ(was.route, now.route) {
        return Some(Difference::Route);
    }
    (differ(was.upstream, now.upstream) && !drew).then_some(Difference::Upstream)
}

/// By another gateway's status alone: an error may have been the service's own, which nobody here can tell.
fn by_status(status: u16, now: &View<'_>) -> Finding {
    if status >= 400 {
        return Finding::NotJudgeable(Unseen::new(Stage::Record, Cause::RecordedOutcome));
    }
    if now.refused.is_none() {
        return Finding::Same;
    }
    let mut change = change(Difference::NewlyRefused, &View::default(), now);
    change.before = format!("status {status}");
    Finding::Differs(Difference::NewlyRefused, Box::new(change))
}

fn change(difference: Difference, was: &View<'_>, now: &View<'_>) -> Change {
    // Where it passes now, the one that refused before is what the change is about.
    let about = if difference == Difference::NewlyAllowed { was } else { now };
    Change {
        before: was.words(),
        after: now.words(),
        stage: about.stage,
        policy: about.policy.cloned(),
        is_estimate: was.stage == Some(Stage::Limit) || now.stage == Some(Stage::Limit),
    }
}

impl<'a> View<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        let decision = &outcome.decision;
        let stage = match decision {
            Decision::Refused(stage, _) => Some(*stage),
            Decision::Faulted(_, fault) => Some(fault.stage),
            Decision::Forwarded(_) | Decision::Answered | Decision::NotJudgeable(_) => None,
        };
        View {
            refused: decision.reason().map(Reason::as_str),
            stage,
            policy: decision.policy(),
            detail: decision.detail(),
            route: outcome.route.as_deref(),
            upstream: match decision {
                Decision::Forwarded(sending) => Some(&sending.upstream),
                _ => None,
            },
            answered: Some(matches!(decision, Decision::Answered)),
        }
    }

    fn recorded(recorded: &'a Recorded) -> Self {
        match recorded {
            Recorded::Passed { route, upstream, answered } => View {
                route: route.as_deref(),
                upstream: upstream.as_deref(),
                answered: *answered,
                ..View::default()
            },
            Recorded::Refused { stage, reason, policy, route } => View {
                refused: Some(reason),
                stage: *stage,
                policy: policy.as_ref(),
                route: route.as_deref(),
                ..View::default()
            },
            Recorded::Status(_) => View::default(),
        }
    }

    fn words(&self) -> String {
        let mut out = String::new();
        let mut add = |text: &str| out.push_str(text);
        match (self.refused, self.answered, self.upstream) {
            (Some(reason), ..) => {
                add(reason);
                if let Some(policy) = self.policy {
                    add(" by ");
                    add(policy);
                }
                if let Some(detail) = self.detail {
                    add(": ");
                    add(detail);
                }
            }
            (None, Some(true), _) => add("answered by the gateway"),
            (None, _, Some(upstream)) => {
                add("to upstream ");
                add(upstream);
            }
            (None, _, None) => add("passed"),
        }
        if let (None, Some(route)) = (self.refused, self.route) {
            add(", route ");
            add(route);
        }
        out
    }
}
