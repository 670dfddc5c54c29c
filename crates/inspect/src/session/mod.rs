//! One exchange: fed piece by piece, judged phase by phase, resumable in the middle of a phase. A session is made
//! for one exchange and never reused: fields that survive into the next request are a class of flaws we refuse.

mod facts;
mod feed;
mod groups;
mod judge;
mod mask;
mod start;
mod texts;
mod verdict;
mod view;

use std::{net::IpAddr, sync::Arc};

use facts::Facts;
use start::Due;
pub(crate) use start::Start;
use texts::Texts;
pub use verdict::{Decision, Incomplete, MatchRecord, Refusal, Step, Verdict};

use crate::{
    body::Processor,
    gate::Row,
    overlay::Overlay,
    rule::{AllowScope, Disruption, Exclusion, Phase, Severity},
    ruleset::{EngineMode, RuleSet},
};

/// 256 MiB of texts and their transformed forms for one exchange.
const HELD_BYTES_MAX: usize = 256 << 20;

/// What is known of an exchange besides its bytes.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// Its id; rules take random digits from it.
    pub id: String,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The client's port.
    pub client_port: u16,
    /// Our address.
    pub server: Option<IpAddr>,
    /// Our port.
    pub server_port: u16,
    /// Seconds since 1970.
    pub now_seconds: u64,
}

/// The head of a request as received.
#[derive(Clone, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The request target as received.
    pub target: &'a [u8],
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub protocol: &'a [u8],
    /// Names and values in order, pseudo-headers left out, `host` from `:authority` included.
    pub headers: &'a [(&'a [u8], &'a [u8])],
}

impl Default for RequestHead<'_> {
    fn default() -> Self {
        Self { method: b"GET", target: b"/", protocol: b"HTTP/1.1", headers: &[] }
    }
}

/// The head of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead<'a> {
    /// The status.
    pub status: u16,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub protocol: &'a [u8],
    /// Names and values in order.
    pub headers: &'a [(&'a [u8], &'a [u8])],
}

/// One exchange being judged.
pub struct Session {
    rules: Arc<RuleSet>,
    overlay: Option<Arc<Overlay>>,
    exchange: Exchange,
    facts: Facts,
    texts: Texts,
    mode: EngineMode,
    removed: Vec<u64>,
    excluded: Vec<(Row, Exclusion)>,
    pending: Option<Phase>,
    start: Arc<Start>,
    /// How many of the rules that are due in this phase were run or passed over.
    cursor: usize,
    /// The place among all rules of the phase before which none is run any more.
    go_on_at: usize,
    allowed: Option<(Phase, AllowScope)>,
    matched: Matched,
    highest: Option<Severity>,
    content_type: Vec<u8>,
    processor: Option<Processor>,
    force_body: bool,
    request_body_access: bool,
    response_body_access: bool,
    response_type_read: bool,
    body: Vec<u8>,
    body_cut: bool,
    is_prose: bool,
    verdict: Verdict,
}

/// What matched in the rule that runs: full names and values, in order.
#[derive(Default)]
struct Matched {
    all: Vec<(Vec<u8>, Arc<[u8]>)>,
}

impl Matched {
    fn last(&self) -> Option<&(Vec<u8>, Arc<[u8]>)> {
        self.all.last()
    }
}

impl Session {
    /// A session over a set, with a policy's changes.
    #[must_use]
    pub fn new(rules: Arc<RuleSet>, overlay: Option<Arc<Overlay>>, exchange: Exchange) -> Self {
        let start = Start::of(&rules, overlay.as_ref());
        Self::begin(rules, overlay, exchange, start)
    }

    fn begin(
        rules: Arc<RuleSet>,
        overlay: Option<Arc<Overlay>>,
        exchange: Exchange,
        start: Arc<Start>,
    ) -> Self {
        let settings = rules.settings();
        let mut session = Self {
            facts: Facts::new(rules.trie.nodes.len(), &rules.groups),
            texts: Texts::begin(Arc::clone(&start.tx), start.overflowed),
            start,
            mode: settings.mode,
            removed: vec![0; rules.rules.len().div_ceil(64)],
            excluded: Vec::new(),
            pending: None,
            cursor: 0,
            go_on_at: 0,
            allowed: None,
            matched: Matched::default(),
            highest: None,
            content_type: Vec::new(),
            processor: None,
            force_body: false,
            request_body_access: settings.request_body_access,
            response_body_access: settings.response_body_access,
            response_type_read: false,
            body: Vec::new(),
            body_cut: false,
            is_prose: false,
            verdict: Verdict { audit: true, ..Verdict::default() },
            exchange,
            overlay: None,
            rules,
        };
        if let Some(overlay) = overlay {
            session.apply(&overlay);
            session.overlay = Some(overlay);
        }
        session
    }

    fn apply(&mut self, overlay: &Overlay) {
        self.mode = overlay.mode.unwrap_or(self.mode);
        for row in &overlay.removed {
            self.removed.iter_mut().zip(row).for_each(|(word, removed)| *word |= removed);
        }
        self.excluded.extend(overlay.excluded.iter().cloned());
    }

    /// Judges the phase that was fed, for at most about `budget` bytes of work; see [`Step`].
    pub fn step(&mut self, budget: u64) -> Step {
        let Some(phase) = self.pending else { return Step::Done(self.decision()) };
        let rules = Arc::clone(&self.rules);
        if self.runs(phase) {
            let start = Arc::clone(&self.start);
            let due = start.due.get(phase.index()).map_or(&[][..], Vec::as_slice);
            let pause_at = self.facts.work.saturating_add(budget);
            while let Some(&Due { place, rule: index }) = due.get(self.cursor) {
                if self.facts.work >= pause_at {
                    return Step::More;
                }
                self.cursor += 1;
                // Each rule costs a little even when it looks at nothing.
                self.facts.work += 8;
                if place >= self.go_on_at && !self.is_removed(index) {
                    self.run_rule(&rules, index);
                }
                if !self.runs(phase) || self.has_overrun() {
                    break;
                }
            }
        }
        self.pending = None;
        self.cursor = 0;
        self.go_on_at = 0;
        self.sum_up();
        Step::Done(self.decision())
    }

    /// Judges the phase that was fed to its end.
    pub fn run(&mut self) -> Step {
        self.step(u64::MAX)
    }

    /// What to do now.
    #[must_use]
    pub fn decision(&self) -> Decision {
        if self.mode != EngineMode::Enforce {
            return Decision::Continue;
        }
        match (&self.verdict.refusal, self.verdict.incomplete.first()) {
            (Some(refusal), _) => Decision::Refuse(refusal.clone()),
            (None, Some(incomplete)) => Decision::Incomplete(incomplete.clone()),
            (None, None) => Decision::Continue,
        }
    }

    /// Everything found so far.
    #[must_use]
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Ends the session with everything it found.
    #[must_use]
    pub fn into_verdict(self) -> Verdict {
        self.verdict
    }

    /// A variable of the `TX` collection, for tests and explanations.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&[u8]> {
        self.texts.get(crate::rule::Variable::Tx, &name.to_ascii_lowercase()).map(|text| &**text)
    }

    /// Whether rules of a phase run now.
    fn runs(&self, phase: Phase) -> bool {
        if self.mode == EngineMode::Off {
            return false;
        }
        if phase == Phase::Logging {
            return true;
        }
        if self.mode == EngineMode::Enforce && self.verdict.refusal.is_some() {
            return false;
        }
        match self.allowed {
            None => true,
            Some((in_phase, AllowScope::Phase)) => in_phase != phase,
            Some((_, AllowScope::Request)) => phase > Phase::RequestBody,
            Some((_, AllowScope::Exchange)) => false,
        }
    }

    fn is_removed(&self, index: u32) -> bool {
        crate::gate::is_set(&self.removed, index)
    }

    fn has_overrun(&mut self) -> bool {
        let settings = self.rules.settings();
        let cause = if self.facts.work > settings.work_max {
            Incomplete::Work
        } else if self.facts.held() > HELD_BYTES_MAX {
            Incomplete::Memory
        } else if self.verdict.matches.len() > settings.matches_max || self.texts.overflowed {
            Incomplete::Matches
        } else {
            return false;
        };
        self.incomplete(cause);
        true
    }

    fn incomplete(&mut self, cause: Incomplete) {
        if !self.verdict.incomplete.contains(&cause) {
            self.verdict.incomplete.push(cause);
        }
    }

    /// The scores, where the set keeps them as CRS does; sets whose phase-2 sum did not run yet are asked per level.
    fn sum_up(&mut self) {
        self.verdict.inbound_score = self.texts.number("blocking_inbound_anomaly_score");
        self.verdict.outbound_score = self.texts.number("blocking_outbound_anomaly_score");
    }

    /// Whether a decision in this phase still reaches the client as an answer.
    fn refuse(&mut self, rule: u32, phase: Phase, status: Option<u16>, disruption: &Disruption) {
        if self.verdict.refusal.is_none() {
            self.verdict.refusal =
                Some(Refusal { rule, phase, status: status.unwrap_or(403), disruption: disruption.clone() });
        }
    }
}
