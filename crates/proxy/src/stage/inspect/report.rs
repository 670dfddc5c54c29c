//! From what the engine found to what is refused and written down. What is told of a message is its shape.

use std::sync::Arc;

use bartizan_config::snapshot::InspectionPlan;
use bartizan_inspect::{Incomplete, MatchRecord, Verdict};
use bartizan_model::{Denial, Fault, Mode, OnFault, Reason, Stage};
use bartizan_telemetry::{RuleMatch, RuleRole, metrics::Inspected as Counted};

use super::pool::{Half, Trouble};
use crate::{core::Core, live::Live};

/// What a judgement came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nothing stands against the message.
    Passed,
    /// It could not be judged completely, and the policy lets such messages pass.
    PassedFault(Fault),
    /// It may not go on.
    Denied(Denial),
    /// The judge failed.
    Faulted(Fault),
}

impl Outcome {
    fn counted(&self) -> Counted {
        match self {
            Outcome::Passed => Counted::Passed,
            Outcome::Denied(denial) if denial.reason != Reason::InspectionIncomplete => Counted::Refused,
            _ => Counted::Incomplete,
        }
    }

    /// Counts it for the policy.
    pub(crate) fn count(&self, core: &Core, live: &Live, plan: &InspectionPlan) {
        let ids = live.inspection_ids(&plan.label);
        core.metrics.inspected(ids.policy, self.counted(), Mode::Enforce);
        if matches!(self, Outcome::PassedFault(_) | Outcome::Faulted(_)) {
            core.metrics.policy_fault(ids.policy, plan.bite.on_fault);
        }
    }
}

const fn stage(half: Half) -> Stage {
    match half {
        Half::Request => Stage::Inspect,
        Half::Response => Stage::Screen,
    }
}

/// What a refusal of this half is called.
const fn refusal_of(half: Half) -> Reason {
    match half {
        Half::Request => Reason::AttackDetected,
        Half::Response => Reason::ResponseRefused,
    }
}

/// What an answer that cannot be judged is called: to its caller that is the same as one that may not leave.
pub(crate) const fn incomplete_of(half: Half) -> Reason {
    match half {
        Half::Request => Reason::InspectionIncomplete,
        Half::Response => Reason::ResponseRefused,
    }
}

/// What the verdict means where the policy bites; `forgiven` causes of incompleteness have passed already.
pub(crate) fn outcome(plan: &InspectionPlan, verdict: &Verdict, half: Half, forgiven: usize) -> Outcome {
    if let Some(refusal) = &verdict.refusal {
        let denial = Denial::new(refusal_of(half)).because(why(verdict, refusal.rule)).by(plan.label.clone());
        return Outcome::Denied(denial);
    }
    // Of a body that two parsers may read in two ways nobody can say what the upstream will see: no policy admits that.
    let incomplete = verdict.incomplete.get(forgiven..).unwrap_or_default();
    let unreadable = incomplete.iter().find(|cause| matches!(cause, Incomplete::BodyUnreadable(_)));
    let Some(cause) = unreadable.or(incomplete.first()) else { return Outcome::Passed };
    let what = described(cause);
    if unreadable.is_none() && plan.bite.on_fault == OnFault::Allow {
        return Outcome::PassedFault(Fault::new(stage(half), what));
    }
    Outcome::Denied(Denial::new(incomplete_of(half)).because(what).by(plan.label.clone()))
}

/// What it means that there is no verdict.
pub(crate) fn troubled(plan: &InspectionPlan, trouble: Trouble, half: Half) -> Outcome {
    self::trouble(&plan.label, plan.bite.on_fault, trouble, half)
}

/// The same for any policy.
pub(crate) fn trouble(label: &Arc<str>, on_fault: OnFault, trouble: Trouble, half: Half) -> Outcome {
    let stage = stage(half);
    match (trouble, on_fault) {
        // More than can be judged is no fault of the judge: letting it pass would reward whoever floods.
        (Trouble::Full, _) => Outcome::Denied(
            Denial::new(Reason::Overloaded)
                .because("too many large bodies are being judged")
                .by(label.clone()),
        ),
        (Trouble::Broken, OnFault::Allow) => Outcome::PassedFault(Fault::new(stage, BROKEN)),
        (Trouble::Broken, OnFault::Deny) => Outcome::Faulted(Fault::new(stage, BROKEN)),
    }
}

const BROKEN: &str = "the judge broke";

/// Why a message could not be judged completely.
pub fn described(cause: &Incomplete) -> String {
    match cause {
        Incomplete::BodyUnreadable(why) => format!("the body cannot be judged: {why}"),
        Incomplete::BodyTooLong => "the body is longer than is judged".to_owned(),
        Incomplete::Matches => "more rules matched than are recorded".to_owned(),
        Incomplete::Memory => "judging takes more memory than one exchange may use".to_owned(),
        Incomplete::Values => "more arguments, cookies or parts than are judged".to_owned(),
        Incomplete::Pattern(rule) => format!("the pattern of rule {rule} could not be built"),
        Incomplete::Work => "judging takes more work than one exchange may cause".to_owned(),
    }
}

/// Why a rule refused: itself, what led to it, and what would let it pass.
pub(crate) fn why(verdict: &Verdict, rule: u32) -> String {
    let mut text = match verdict.matches.iter().rfind(|found| found.rule == rule) {
        Some(found) => line(found),
        None => format!("rule {rule}"),
    };
    // A rule that only adds scores up is explained by what it added up.
    let is_other = |found: &&MatchRecord| found.rule != rule && !found.shadow && is_cause(found);
    let mut causes: Vec<&MatchRecord> = verdict.matches.iter().filter(is_other).collect();
    causes.sort_by_key(|found| found.severity.map_or(u8::MAX, |severity| severity as u8));
    for found in causes.into_iter().take(CAUSES_MAX) {
        text.push_str("; ");
        text.push_str(&line(found));
    }
    text
}

/// Three causes fit into a line of the log.
const CAUSES_MAX: usize = 3;

fn line(found: &MatchRecord) -> String {
    let message = if found.message.is_empty() { "" } else { ": " };
    let at = if is_cause(found) { format!(" at {}", found.variable) } else { String::new() };
    format!("rule {} ({}){at}{message}{}", found.rule, found.place, found.message)
}

/// Whether it matched something of the message, and not a number that other rules made.
fn is_cause(found: &MatchRecord) -> bool {
    !found.variable.is_empty() && !found.variable.starts_with("TX")
}

/// The exclusion that would let a match pass.
fn exclusion(found: &MatchRecord) -> Option<Box<str>> {
    is_cause(found).then(|| {
        let target = found.variable.replace('\\', "\\\\").replace('"', "\\\"");
        format!("{{ rules: [{}], targets: [\"{target}\"] }}", found.rule).into()
    })
}

/// The matches from `from` on, as the record tells them.
pub(crate) fn matches<'v>(
    live: &'v Live,
    label: &'v Arc<str>,
    verdict: &'v Verdict,
    (from, half): (usize, Half),
    watches: bool,
) -> impl Iterator<Item = RuleMatch> + 'v {
    let decided = verdict.refusal.as_ref().map(|refusal| refusal.rule);
    let ids = live.inspection_ids(label);
    verdict.matches.iter().skip(from).map(move |found| RuleMatch {
        policy: label.clone(),
        rule: found.rule,
        group: ids.group(found.rule),
        role: match () {
            () if watches || found.shadow => RuleRole::Watched,
            () if decided == Some(found.rule) => RuleRole::Decided,
            () => RuleRole::Matched,
        },
        half: half.as_str(),
        at: found.place.to_string().into(),
        message: found.message.as_str().into(),
        variable: found.variable.as_str().into(),
        transforms: if found.transforms.is_empty() {
            "none".into()
        } else {
            found.transforms.join(",").into()
        },
        excerpt: found.excerpt.as_str().into(),
        exclusion: exclusion(found),
    })
}

#[cfg(test)]
mod tests {
    use bartizan_config::snapshot::Bite;
    use bartizan_inspect::{Loader, MemoryFiles, Overlay};

    use super::*;

    fn plan(on_fault: OnFault) -> InspectionPlan {
        let files = MemoryFiles::new();
        InspectionPlan {
            label: "InspectionPolicy/p".into(),
            bite: Bite { on_fault, ..Bite::FULL },
            rules: Arc::new(Loader::new(&files).finish().unwrap()),
            enforced: Arc::new(Overlay::new()),
            watching: Arc::new(Overlay::new()),
            request: None,
            response: None,
            leaks: None,
        }
    }

    fn short(outcome: Outcome) -> String {
        match outcome {
            Outcome::Passed => "passes".to_owned(),
            Outcome::PassedFault(fault) => format!("passes, {}", fault.stage),
            Outcome::Denied(denial) => denial.reason.as_str().to_owned(),
            Outcome::Faulted(fault) => format!("fault, {}", fault.stage),
        }
    }

    #[test]
    fn what_was_not_judged_is_refused_unless_the_policy_says_otherwise_and_never_when_it_can_be_read_in_two_ways()
     {
        let of =
            |incomplete: &[Incomplete]| Verdict { incomplete: incomplete.to_vec(), ..Verdict::default() };
        let unreadable = Incomplete::BodyUnreadable("two names");
        for (verdict, deny, allow) in [
            (of(&[]), "passes", "passes"),
            (of(&[Incomplete::Work]), "InspectionIncomplete", "passes, inspect"),
            (of(&[Incomplete::Pattern(7)]), "InspectionIncomplete", "passes, inspect"),
            (of(&[Incomplete::Work, unreadable]), "InspectionIncomplete", "InspectionIncomplete"),
        ] {
            for (on_fault, expected) in [(OnFault::Deny, deny), (OnFault::Allow, allow)] {
                let plan = plan(on_fault);
                assert_eq!(short(outcome(&plan, &verdict, Half::Request, 0)), expected, "{verdict:?}");
                assert_eq!(
                    short(outcome(&plan, &verdict, Half::Request, verdict.incomplete.len())),
                    "passes"
                );
            }
        }
        let answer = outcome(&plan(OnFault::Deny), &of(&[Incomplete::Memory]), Half::Response, 0);
        assert_eq!(short(answer), "ResponseRefused");
    }

    #[test]
    fn a_judge_that_broke_is_a_fault_and_one_that_is_busy_is_overload() {
        for (trouble, on_fault, expected) in [
            (Trouble::Broken, OnFault::Deny, "fault, inspect"),
            (Trouble::Broken, OnFault::Allow, "passes, inspect"),
            (Trouble::Full, OnFault::Deny, "Overloaded"),
            (Trouble::Full, OnFault::Allow, "Overloaded"),
        ] {
            assert_eq!(short(troubled(&plan(on_fault), trouble, Half::Request)), expected);
        }
    }
}
