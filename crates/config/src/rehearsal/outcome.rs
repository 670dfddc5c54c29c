//! What comes of a rehearsed request, stage by stage.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use bartizan_access::Ground;
use bartizan_model::{Denial, Fault, Reason, Stage};
use bartizan_telemetry::{PassedFault, WouldDeny};
use http::{HeaderMap, Method, Uri};

/// What came of a request.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The decision.
    pub decision: Decision,
    /// The stages that looked at it, in order; the last one is the one that ended it.
    pub stages: Vec<StageOutcome>,
    /// The status that the gateway answers with; 0 where an upstream's would be passed on.
    pub status: u16,
    /// The headers of the gateway's own answer, or those that it sets in an upstream's.
    pub headers: HeaderMap,
    /// The route's name.
    pub route: Option<Arc<str>>,
    /// The verified consumer.
    pub consumer: Option<Arc<str>>,
    /// Where each limit that bears on it stands after it.
    pub limits: Vec<LimitState>,
    /// How long it would have waited for its slot. Nothing waits in a rehearsal.
    pub waited: Duration,
    /// What policies in shadow would have done.
    pub would_deny: Vec<WouldDeny>,
    /// Judges that could not decide while their policy lets such requests pass.
    pub faults: Vec<PassedFault>,
}

/// How it ended.
#[derive(Clone, Debug)]
pub enum Decision {
    /// It goes to an upstream, as this.
    Forwarded(Box<Sending>),
    /// It is refused.
    Refused(Stage, Denial),
    /// A judge could not decide, so it is refused.
    Faulted(Option<Arc<str>>, Fault),
    /// The gateway answers by itself: a redirect, a preflight.
    Answered,
    /// This stage needed something that was not given.
    NotJudgeable(Stage),
}

impl Decision {
    /// The word for it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Decision::Forwarded(_) => "forward",
            Decision::Refused(..) | Decision::Faulted(..) => "refuse",
            Decision::Answered => "answer",
            Decision::NotJudgeable(_) => "not judgeable",
        }
    }

    /// The reason that the caller sees.
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Decision::Refused(_, denial) => Some(denial.reason),
            Decision::Faulted(..) => Some(Reason::JudgeUnavailable),
            Decision::Forwarded(_) | Decision::Answered | Decision::NotJudgeable(_) => None,
        }
    }

    /// The policy that decided, as `Kind/name`.
    pub fn policy(&self) -> Option<&Arc<str>> {
        match self {
            Decision::Refused(_, denial) => denial.policy.as_ref(),
            Decision::Faulted(policy, _) => policy.as_ref(),
            Decision::Forwarded(_) | Decision::Answered | Decision::NotJudgeable(_) => None,
        }
    }

    /// The evidence, which callers do not see.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Decision::Refused(_, denial) => denial.detail.as_deref(),
            Decision::Faulted(_, fault) => Some(&fault.what),
            Decision::Forwarded(_) | Decision::Answered | Decision::NotJudgeable(_) => None,
        }
    }
}

/// What an upstream would be sent.
#[derive(Clone, Debug)]
pub struct Sending {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: Uri,
    /// The headers. The upstream's own credential is not among them: it is read when a set goes live.
    pub headers: HeaderMap,
}

/// What one stage made of it.
#[derive(Clone, Debug)]
pub struct StageOutcome {
    /// The stage.
    pub stage: Stage,
    /// Whether it went on.
    pub end: End,
    /// What the stage found out.
    pub told: Told,
}

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The next stage came.
    Passed,
    /// It refused.
    Denied,
    /// It could not decide.
    Faulted,
    /// It answered.
    Answered,
    /// It needed something that was not given.
    NotJudgeable,
}

impl End {
    /// The word in texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            End::Passed => "passed",
            End::Denied => "denied",
            End::Faulted => "could not decide",
            End::Answered => "answered",
            End::NotJudgeable => "not judgeable",
        }
    }
}

/// What a stage found out. Kept as it came, so that a replay of millions formats nothing.
#[derive(Clone, Debug)]
pub enum Told {
    /// Nothing worth a word.
    Nothing,
    /// The trusted address of the client.
    Client(IpAddr),
    /// The rule.
    Rule(Arc<str>),
    /// Who it is and how that is known.
    Caller(Option<Arc<str>>, &'static str),
    /// The rule and role by which the narrowest policy allows it.
    Ground(Ground),
    /// How long it would wait.
    Wait(Duration),
    /// Where it would go.
    Upstream(Arc<str>),
    /// Why it ended here.
    Reason(Reason),
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Told::Nothing => Ok(()),
            Told::Client(address) => write!(f, "client {address}"),
            Told::Rule(label) => write!(f, "route {label}"),
            Told::Caller(Some(name), method) => write!(f, "consumer {name} by {method}"),
            Told::Caller(None, method) => write!(f, "{method}"),
            Told::Ground(Ground { rule, role: None }) => write!(f, "allowed by rule {rule}"),
            Told::Ground(Ground { rule, role: Some(role) }) => {
                write!(f, "allowed by rule {rule}, role {role}")
            }
            Told::Wait(wait) => write!(f, "waits {} ms for its slot", wait.as_millis()),
            Told::Upstream(name) => write!(f, "to upstream {name}"),
            Told::Reason(reason) => write!(f, "{reason}"),
        }
    }
}

/// Where a limit stands after a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitState {
    /// The policy, as `Kind/name`.
    pub policy: Arc<str>,
    /// Which of its limits.
    pub limit: usize,
    /// Whose bucket it is, in words.
    pub bucket: Option<String>,
    /// Its number.
    pub quota: u64,
    /// Its window; none for a concurrency.
    pub window_seconds: Option<u64>,
    /// Calls left at once.
    pub remaining: u64,
    /// Until everything is there again; none for a concurrency.
    pub reset_seconds: Option<u64>,
}
