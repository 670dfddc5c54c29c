//! How a rollout reads: where it stands, what was seen, by whom it was felt, and how it came to be there.

use bartizan_config::rollout::{Arm, Course, Phase, RolloutPlan, Seen, Tally, plan};
use bartizan_store::{RevisionRow, RolloutMove, RolloutRow};
use serde_json::{Value, json};

use crate::command::{
    print::{self, BOLD, BOLD_GREEN, BOLD_RED, NONE, PLAIN, clean, counted},
    when,
};

/// What is shown.
pub(super) struct Shown<'r> {
    pub(super) row: &'r RolloutRow,
    pub(super) course: &'r Course,
    pub(super) plan: &'r RolloutPlan,
    pub(super) candidate: RevisionRow,
    pub(super) base: RevisionRow,
    pub(super) moves: Vec<RolloutMove>,
    pub(super) seen: Seen,
    pub(super) now: u64,
}

impl Shown<'_> {
    pub(super) fn text(&self) -> String {
        let Shown { row, course, plan, .. } = self;
        let colour = match course.phase {
            Phase::Paused | Phase::RolledBack | Phase::Aborted => BOLD_RED,
            Phase::Promoted | Phase::Proved => BOLD_GREEN,
            Phase::Shadow | Phase::Share => BOLD,
        };
        let mut out = format!(
            "{BOLD}rollout {}{PLAIN}: revision {} beside {}, by {}: {}\n{colour}{}{PLAIN}{}, since {}\n",
            row.number,
            self.candidate.tag(),
            self.base.tag(),
            clean(&row.author),
            clean(&row.reason),
            course.phase.as_str(),
            self.step().map(|step| format!(" at {step}")).unwrap_or_default(),
            when::moment(course.since_ms),
        );
        if let Some(waits) = course.waits_for(plan, &self.seen.tally, self.now) {
            out.push_str(&format!("waits for {waits}\n"));
        }
        out.push_str(&self.counts());
        out.push_str(&self.felt());
        out.push_str(&self.examples());
        out.push_str("\nhow it came to be there\n");
        for made in &self.moves {
            let step = self.step_of(made.step).map(|step| format!(" at {step}")).unwrap_or_default();
            let line = format!("{}{step}, by {}: {}", made.phase, made.actor, made.why);
            out.push_str(&format!("  {}  {}\n", when::moment(made.at_ms), clean(&line)));
        }
        out
    }

    fn step(&self) -> Option<String> {
        self.step_of(self.row.step)
    }

    fn step_of(&self, step: Option<u32>) -> Option<String> {
        self.plan.steps.get(step? as usize).map(|share| plan::percent(*share))
    }

    /// Two sides beside each other; in the shadow what both made of the same calls.
    fn counts(&self) -> String {
        let Tally { active, candidate, shadow, .. } = &self.seen.tally;
        if self.row.step.is_none() {
            let unseen: u64 = shadow.unseen.values().sum();
            let mut out = format!(
                "\njudged twice  {}: {} the same, {BOLD}{} newly refused{PLAIN}, {} newly allowed, {} changed otherwise\n",
                counted(shadow.judged, "call"),
                shadow.same,
                shadow.refused,
                shadow.allowed,
                shadow.changed
            );
            if unseen + shadow.missed > 0 {
                let causes: Vec<String> =
                    shadow.unseen.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
                out.push_str(&format!(
                    "not judged    {unseen} for want of facts ({}), {} came too fast\n",
                    clean(&causes.join(", ")),
                    shadow.missed
                ));
            }
            return out;
        }
        let share = |part: u64, arm: &Arm| match arm.calls() {
            0 => NONE.to_owned(),
            calls => format!("{part} ({:.2} %)", part as f64 * 100.0 / calls as f64),
        };
        let slow = |arm: &Arm| {
            let bucket = arm.bucket_of(95);
            bucket.map_or_else(
                || NONE.to_owned(),
                |bucket| format!("{:.1?}", bartizan_config::rollout::tally::bucket_end(bucket)),
            )
        };
        let line = |name: &str, arm: &Arm| {
            vec![
                name.to_owned(),
                arm.calls().to_string(),
                share(arm.refused(), arm),
                share(arm.failed(), arm),
                slow(arm),
            ]
        };
        let mut rows = vec![line("candidate", candidate), line("active", active)];
        if active.calls() == 0 && self.seen.before.calls() > 0 {
            rows.push(line("active, the step before", &self.seen.before));
        }
        format!("\n{}", print::table(&["", "CALLS", "REFUSED", "FAILED", "95 % WITHIN"], rows.into_iter()))
    }

    /// By whom it is felt.
    fn felt(&self) -> String {
        let Tally { felt, shadow, .. } = &self.seen.tally;
        let mut rows: Vec<(String, u64, u64, u64)> = match self.row.step {
            Some(_) => felt
                .iter()
                .filter(|(_, felt)| felt.refused + felt.failed > 0)
                .map(|(who, felt)| (who.clone(), felt.calls, felt.refused, felt.failed))
                .collect(),
            None => {
                shadow.consumers.iter().map(|(who, [refused, _])| (who.clone(), 0, *refused, 0)).collect()
            }
        };
        if rows.is_empty() {
            return String::new();
        }
        rows.sort_by(|one, other| {
            (other.2 + other.3).cmp(&(one.2 + one.3)).then_with(|| one.0.cmp(&other.0))
        });
        let title = if self.row.step.is_some() { "felt by" } else { "would be felt by" };
        let mut out = format!("\n{title}\n");
        for (who, calls, refused, failed) in rows.iter().take(ROWS_MAX) {
            let of = if *calls > 0 { format!(" of {calls}") } else { String::new() };
            let failed = if *failed > 0 { format!(", {failed} failed") } else { String::new() };
            out.push_str(&format!("  {}  {refused} refused{of}{failed}\n", clean(who)));
        }
        if rows.len() > ROWS_MAX {
            out.push_str(&format!("  and {} more\n", rows.len() - ROWS_MAX));
        }
        out
    }

    fn examples(&self) -> String {
        let examples = &self.seen.tally.examples;
        if examples.is_empty() {
            return String::new();
        }
        let mut out = "\nfor example\n".to_owned();
        for example in examples.iter().take(EXAMPLES_MAX) {
            let who = example.consumer.as_deref().map(|who| format!(" of {who}")).unwrap_or_default();
            let before =
                if example.before.is_empty() { String::new() } else { format!("{} → ", example.before) };
            let line = format!("{}{who}: {before}{} ({})", example.request, example.after, example.id);
            out.push_str(&format!("  {}\n", clean(&line)));
        }
        out
    }

    pub(super) fn json(&self) -> Value {
        let arm =
            |arm: &Arm| json!({ "calls": arm.calls(), "refused": arm.refused(), "failed": arm.failed() });
        let Tally { active, candidate, shadow, felt, examples } = &self.seen.tally;
        json!({
            "rollout": self.row.number,
            "phase": self.course.phase.as_str(),
            "step": self.step(),
            "since": when::moment(self.course.since_ms),
            "waitsFor": self.course.waits_for(self.plan, &self.seen.tally, self.now),
            "candidate": self.candidate.tag(),
            "base": self.base.tag(),
            "author": self.row.author,
            "reason": self.row.reason,
            "plan": self.plan,
            "seen": { "candidate": arm(candidate), "active": arm(active), "shadow": shadow },
            "felt": felt,
            "examples": examples,
            "moves": self.moves.iter().map(|made| json!({
                "phase": made.phase,
                "step": self.step_of(made.step),
                "at": when::moment(made.at_ms),
                "actor": made.actor,
                "why": made.why,
            })).collect::<Vec<_>>(),
        })
    }
}

/// A screen of callers.
const ROWS_MAX: usize = 20;
const EXAMPLES_MAX: usize = 5;
