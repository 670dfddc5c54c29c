//! The way of a request over a compiled set, stage by stage, in the order of `proxy/src/pipeline.rs`.
//!
//! Each stage adds its findings and gives what the next one needs, or ends the way with a verdict, as in the
//! pipeline. What stages judge by a head and a plan alone is asked of the stages' own functions.

use std::sync::Arc;

use bartizan_config::snapshot::{Bite, RoutePlan, Segment};
use bartizan_identity::KeyId;
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Mode, Reason, Stage, document::Kind};
use bartizan_proxy::{answer::wording, stage::judge};

use super::{
    ask::{Ask, Entered},
    report::{Effect, Finding, Report, Request, Step, Verdict},
};
use crate::command::set::Sound;

mod authorize;
mod documents;
mod forward;
mod identify;
mod inspect;
mod limit;
mod route;

/// What a stage gives, or where the way ends.
type Way<T> = Result<T, Box<Verdict>>;

/// Walks the way of a request.
pub(super) fn walk(sound: &Sound, ask: &Ask, entered: &Entered<'_>) -> Report {
    let mut walk =
        Walk { sound, ask, entered, steps: Vec::new(), plan: None, template: None, has_token: false };
    let verdict = walk.way().unwrap_or_else(|verdict| *verdict);
    let record = walk.record();
    let reached = walk.steps.len();
    let mut stages = walk.steps;
    stages.extend(
        Stage::ALL.into_iter().skip(reached).filter(|stage| *stage != Stage::Record).map(Step::unreached),
    );
    stages.push(Step::new(Stage::Record, vec![record]));
    Report {
        request: Request {
            method: ask.method.clone(),
            url: ask.url(entered),
            consumer: ask.consumer.clone(),
            from: ask.from.to_string(),
            listener: entered.listener.plan.name.to_string(),
        },
        notes: entered.note.iter().cloned().collect(),
        stages,
        verdict,
    }
}

struct Walk<'w> {
    sound: &'w Sound,
    ask: &'w Ask,
    entered: &'w Entered<'w>,
    /// One per stage that was reached.
    steps: Vec<Step>,
    /// The rule, once it is known.
    plan: Option<Arc<RoutePlan>>,
    /// The template of the rule that matched, if it has one.
    template: Option<Arc<[Segment]>>,
    /// Whether the caller is known by a token.
    has_token: bool,
}

/// Whether a policy bites this caller.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bearing {
    Bites,
    /// Callers are told apart by the id of their key, which is not known here.
    BitesSome(u8),
    Watches,
}

impl Walk<'_> {
    fn way(&mut self) -> Way<Verdict> {
        let head = self.admit()?;
        let (plan, prefix_bytes) = self.route(&head)?;
        let consumer = self.identify(&head, &plan)?;
        self.authorize(&head, &plan, consumer.as_deref())?;
        self.limit(&head, &plan, consumer.as_deref())?;
        self.inspect(&head, &plan, consumer.as_deref())?;
        self.cache(&plan);
        let verdict = self.forward(&head, &plan, prefix_bytes, consumer.as_deref())?;
        self.screen(&plan, consumer.as_deref());
        Ok(verdict)
    }

    fn admit(&mut self) -> Way<RequestHead> {
        let plan = self.entered.listener.plan.clone();
        let at = self.sound.place_of(Kind::Listener, &plan.name);
        let by = |says: String| Finding {
            by: Some(format!("Listener/{}", plan.name)),
            at: at.clone(),
            says,
            ..Finding::default()
        };
        let head = match self.ask.admit(self.entered) {
            Ok(head) => head,
            Err(denial) => {
                // How large a head may be is the listener's word; its form is nobody's choice.
                let is_limit = matches!(denial.reason, Reason::HeaderTooLarge | Reason::UriTooLong);
                let finding = if is_limit { by(String::new()) } else { Finding::default() };
                return self.refuse(Stage::Admit, Vec::new(), finding, denial);
            }
        };
        let client = head.client();
        let mut says =
            format!("host {}, path {}, client {client}", head.authority().host(), head.path().as_str());
        if plan.trust.believes(head.peer().ip()) {
            says.push_str(&format!(", told by the trusted proxy {}", head.peer().ip()));
        }
        if head.dropped_aliases() > 0 {
            says.push_str(&format!("; {} headers with confusable names are dropped", head.dropped_aliases()));
        }
        let mut findings = vec![by(says)];
        if let Some(denial) = judge::judge_address(&plan.admission, client) {
            return self.refuse(Stage::Admit, findings, by(format!("address {client}")), denial);
        }
        if let Some(policy) = &plan.admission.rate_per_address {
            findings.push(by(limit::of_address(policy, client)));
        }
        self.step(Stage::Admit, findings);
        Ok(head)
    }

    /// What is kept is not known here; that the policy looks is.
    fn cache(&mut self, plan: &RoutePlan) {
        let finding = match &plan.caching {
            Some(policy) => Finding {
                by: Some(policy.label.to_string()),
                says: "a kept answer is given where there is one; else the answer may be kept".to_owned(),
                ..Finding::default()
            },
            None => Finding::of_stage("no such policy"),
        };
        self.step(Stage::Cache, vec![finding]);
    }

    fn step(&mut self, stage: Stage, findings: Vec<Finding>) {
        self.steps.push(Step::new(stage, findings));
    }

    /// Ends the way with a refusal of `finding`'s document.
    fn refuse<T>(
        &mut self,
        stage: Stage,
        findings: Vec<Finding>,
        finding: Finding,
        denial: Denial,
    ) -> Way<T> {
        self.refuse_some(stage, findings, finding, denial, None)
    }

    fn refuse_some<T>(
        &mut self,
        stage: Stage,
        mut findings: Vec<Finding>,
        mut finding: Finding,
        denial: Denial,
        for_percent: Option<u8>,
    ) -> Way<T> {
        let (status, _) = wording(denial.reason);
        let detail = denial.detail.as_deref().map(str::to_owned);
        finding.says = match (&detail, finding.says.is_empty()) {
            (Some(detail), _) => format!("{}: {detail}", denial.reason),
            (None, false) => format!("{}: {}", denial.reason, finding.says),
            (None, true) => format!("{}: {}", denial.reason, meaning(denial.reason)),
        };
        let by = finding.by.clone();
        findings.push(finding.effect(Effect::Refuses));
        let verdict = Verdict::Refused {
            stage: stage.as_str(),
            by,
            status: status.as_u16(),
            code: denial.reason.as_str(),
            detail,
            for_percent,
        };
        self.end(stage, findings, verdict)
    }

    fn end<T>(&mut self, stage: Stage, findings: Vec<Finding>, verdict: Verdict) -> Way<T> {
        self.step(stage, findings);
        Err(Box::new(verdict))
    }

    /// Whether a policy bites this caller. The share of a caller is that of its key's id, else that of its address.
    fn bearing(&self, bite: Bite, head: &RequestHead) -> Bearing {
        let settled = self.plan.iter().map(|plan| &plan.authentication);
        let policies = settled.flat_map(|settled| settled.enforced.iter().chain(&settled.shadow));
        let has_key = policies.flat_map(|policy| policy.api_key_headers()).any(|name| {
            let value = head.headers().get(name).and_then(|value| value.to_str().ok());
            value.and_then(KeyId::recognise).is_some()
        });
        let is_known = self.ask.consumer.is_none() || has_key;
        match (bite.mode, bite.percent) {
            (Mode::Enforce, percent @ 1..100) if !is_known => Bearing::BitesSome(percent),
            _ => {
                let caller = judge::share_on(self.plan.as_deref(), head.headers(), head.client());
                if bite.for_share(caller) == Mode::Enforce { Bearing::Bites } else { Bearing::Watches }
            }
        }
    }

    /// Weighs what a policy says against whether it bites: a refusal ends the way, or is only told.
    fn weigh(
        &mut self,
        stage: Stage,
        findings: &mut Vec<Finding>,
        finding: Finding,
        bearing: Bearing,
        denial: Option<Denial>,
    ) -> Way<()> {
        let Some(denial) = denial else {
            findings.push(finding);
            return Ok(());
        };
        let for_percent = match bearing {
            Bearing::Bites => None,
            Bearing::BitesSome(percent) => Some(percent),
            Bearing::Watches => {
                let detail = denial.detail.as_deref().unwrap_or(meaning(denial.reason));
                let says = format!("{}: {detail}", denial.reason);
                findings.push(Finding { says, effect: Effect::WouldRefuse, ..finding });
                return Ok(());
            }
        };
        self.refuse_some(stage, std::mem::take(findings), finding, denial, for_percent)
    }
}

/// A reason's meaning, as it stands within a line.
fn meaning(reason: Reason) -> &'static str {
    reason.meaning().trim().trim_end_matches('.')
}
