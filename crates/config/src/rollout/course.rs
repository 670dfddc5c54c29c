//! What follows from what was seen: the state machine of a rollout.
//!
//! Any gateway on the store asks it, and whoever is first writes the move down by comparing and swapping, so that a
//! rollout goes on wherever a part of it restarts. A step is left when it was held long enough **and** enough calls of
//! enough callers were judged: time without calls proves nothing.

use serde::{Deserialize, Serialize};

use super::{
    plan::{ALL, BasisPoints, OnTrip, RolloutPlan},
    tally::{Arm, Tally},
    weigh::{GROUPS_MIN, looks_due, tripped},
};

/// How far a rollout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Somebody ended it.
    Aborted,
    /// A guard tripped; it waits for somebody.
    Paused,
    /// The candidate is the active revision.
    Promoted,
    /// The last share was held; it waits for somebody to promote it.
    Proved,
    /// A guard tripped; the active set serves everybody again.
    RolledBack,
    /// The candidate is only watched.
    Shadow,
    /// The candidate serves a share of callers.
    Share,
}

impl Phase {
    /// All of them.
    pub const EVERY: [Phase; 7] = [
        Phase::Aborted,
        Phase::Paused,
        Phase::Promoted,
        Phase::Proved,
        Phase::RolledBack,
        Phase::Shadow,
        Phase::Share,
    ];

    /// The word in reports and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Aborted => "aborted",
            Phase::Paused => "paused",
            Phase::Promoted => "promoted",
            Phase::Proved => "proved",
            Phase::RolledBack => "rolled back",
            Phase::Shadow => "shadow",
            Phase::Share => "share",
        }
    }

    /// The phase of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Phase::EVERY.into_iter().find(|phase| phase.as_str() == word)
    }

    /// Whether nothing can follow it.
    pub const fn is_over(self) -> bool {
        matches!(self, Phase::Aborted | Phase::Promoted | Phase::RolledBack)
    }
}

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// How far it is.
    pub phase: Phase,
    /// The step, from 0; where it paused, the one it was in. `None`: the shadow.
    pub step: Option<usize>,
    /// Since when, in Unix milliseconds.
    pub since_ms: u64,
    /// How many looks this step has had.
    pub looks: u32,
}

/// What was seen in this step, by all gateways together.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The counts of this step.
    pub tally: Tally,
    /// The active set's counts of the step before: at 100 % there are no other callers to compare with.
    pub before: Arm,
}

/// What follows.
#[derive(Clone, Debug, PartialEq)]
pub enum Move {
    /// Nothing new.
    Stay,
    /// A look was taken, and nothing tripped.
    Looked(u32),
    /// Another phase or step.
    To {
        /// How far it is then.
        phase: Phase,
        /// The step.
        step: Option<usize>,
        /// Why, in a sentence.
        why: String,
    },
}

impl Course {
    /// Where a rollout begins.
    pub fn first(plan: &RolloutPlan, now_ms: u64) -> Self {
        let (phase, step) = if plan.shadow_ms > 0 { (Phase::Shadow, None) } else { (Phase::Share, Some(0)) };
        Course { phase, step, since_ms: now_ms, looks: 0 }
    }

    /// The share of callers that the candidate serves now.
    pub fn share(&self, plan: &RolloutPlan) -> BasisPoints {
        match self.phase {
            Phase::Share => self.step.and_then(|step| plan.steps.get(step)).copied().unwrap_or(0),
            // What was held is kept until somebody decides; so is the end, until the active set is the candidate.
            Phase::Proved | Phase::Promoted => plan.steps.last().copied().unwrap_or(0),
            Phase::Aborted | Phase::Paused | Phase::RolledBack | Phase::Shadow => 0,
        }
    }

    /// What follows from what was seen until now.
    pub fn next(&self, plan: &RolloutPlan, seen: &Seen, now_ms: u64) -> Move {
        let is_watched = matches!(self.phase, Phase::Shadow | Phase::Share | Phase::Proved);
        if !is_watched {
            return Move::Stay;
        }
        let calls = seen.tally.candidate.calls();
        let due = looks_due(calls);
        if due > self.looks {
            let is_whole = self.share(plan) == ALL;
            let active = if is_whole { &seen.before } else { &seen.tally.active };
            if let Some(tripped) = tripped(plan, active, &seen.tally.candidate, due) {
                let phase = match plan.on_trip {
                    OnTrip::RollBack => Phase::RolledBack,
                    OnTrip::Pause => Phase::Paused,
                };
                let where_ = match self.step {
                    None => "in the shadow".to_owned(),
                    Some(_) => format!("at {}", super::plan::percent(self.share(plan))),
                };
                let step = self.step;
                return Move::To { phase, step, why: format!("{where_}: {}", tripped.why) };
            }
        }
        let held = if self.phase == Phase::Shadow { plan.shadow_ms } else { plan.hold_ms };
        let is_held = now_ms.saturating_sub(self.since_ms) >= held;
        if self.phase != Phase::Proved
            && is_held
            && calls >= plan.calls_min
            && seen.tally.groups() >= GROUPS_MIN
        {
            return self.further(plan, calls);
        }
        if due > self.looks { Move::Looked(due) } else { Move::Stay }
    }

    fn further(&self, plan: &RolloutPlan, calls: u64) -> Move {
        let next = self.step.map_or(0, |step| step + 1);
        let held = match self.step {
            None => format!("{calls} calls were judged twice, and no guard tripped"),
            Some(_) => {
                format!("{calls} calls at {}, and no guard tripped", super::plan::percent(self.share(plan)))
            }
        };
        if next < plan.steps.len() {
            return Move::To { phase: Phase::Share, step: Some(next), why: held };
        }
        let phase = if plan.promote { Phase::Promoted } else { Phase::Proved };
        Move::To { phase, step: self.step, why: held }
    }

    /// What the step still waits for, in words; nothing where it waits for nothing.
    pub fn waits_for(&self, plan: &RolloutPlan, tally: &Tally, now_ms: u64) -> Option<String> {
        let held = match self.phase {
            Phase::Shadow => plan.shadow_ms,
            Phase::Share => plan.hold_ms,
            Phase::Proved => return Some("`bartizan rollout promote`".to_owned()),
            Phase::Paused => return Some("`bartizan rollout resume` or `abort`".to_owned()),
            Phase::Aborted | Phase::Promoted | Phase::RolledBack => return None,
        };
        let left = held.saturating_sub(now_ms.saturating_sub(self.since_ms));
        let (calls, groups) = (tally.candidate.calls(), tally.groups());
        Some(if left > 0 {
            format!("{} s", left.div_ceil(1000))
        } else if calls < plan.calls_min {
            format!("{} more calls", plan.calls_min - calls)
        } else if groups < GROUPS_MIN {
            format!("calls of more callers: {groups} of {GROUPS_MIN} groups have any")
        } else {
            return None;
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::tally::Outcome, *};

    fn plan(on_trip: OnTrip, promote: bool) -> RolloutPlan {
        RolloutPlan {
            shadow_ms: 1_000,
            steps: vec![1_000, ALL],
            hold_ms: 500,
            calls_min: 100,
            guards: RolloutPlan::usual_guards(),
            on_trip,
            promote,
        }
    }

    fn arm(calls: u64, groups: u64, refused_every: u64) -> Arm {
        let mut arm = Arm::default();
        for call in 0..calls {
            let refused = refused_every > 0 && call % refused_every == 0;
            let took = Duration::from_millis(1);
            arm.note((call % groups) as u8, Outcome { refused, failed: false, took });
        }
        arm
    }

    fn seen(candidate: Arm, active: Arm) -> Seen {
        Seen { tally: Tally { candidate, active: active.clone(), ..Tally::default() }, before: active }
    }

    fn at(phase: Phase, step: Option<usize>) -> Course {
        Course { phase, step, since_ms: 0, looks: 0 }
    }

    fn phase_of(next: &Move) -> Option<(Phase, Option<usize>)> {
        match next {
            Move::To { phase, step, .. } => Some((*phase, *step)),
            Move::Stay | Move::Looked(_) => None,
        }
    }

    #[test]
    fn a_rollout_goes_from_the_shadow_over_its_shares_to_the_end() {
        let plan = plan(OnTrip::RollBack, false);
        assert_eq!(
            Course::first(&plan, 5),
            Course { phase: Phase::Shadow, step: None, since_ms: 5, looks: 0 }
        );
        let good = || seen(arm(200, 20, 0), arm(2_000, 60, 0));
        let steps = [
            (at(Phase::Shadow, None), 999, None),
            (at(Phase::Shadow, None), 1_000, Some((Phase::Share, Some(0)))),
            (at(Phase::Share, Some(0)), 499, None),
            (at(Phase::Share, Some(0)), 500, Some((Phase::Share, Some(1)))),
            (at(Phase::Share, Some(1)), 500, Some((Phase::Proved, Some(1)))),
            (at(Phase::Proved, Some(1)), 10_000, None),
            (at(Phase::Paused, Some(0)), 10_000, None),
            (at(Phase::RolledBack, Some(0)), 10_000, None),
        ];
        for (course, now, expected) in steps {
            assert_eq!(phase_of(&course.next(&plan, &good(), now)), expected, "{course:?} at {now}");
        }
        let promoting = RolloutPlan { promote: true, ..plan };
        let next = at(Phase::Share, Some(1)).next(&promoting, &good(), 500);
        assert_eq!(phase_of(&next), Some((Phase::Promoted, Some(1))));
    }

    #[test]
    fn time_without_calls_or_callers_proves_nothing() {
        let plan = plan(OnTrip::RollBack, false);
        let course = at(Phase::Share, Some(0));
        for (candidate, waits) in [
            (arm(0, 1, 0), "100 more calls"),
            (arm(99, 20, 0), "1 more calls"),
            (arm(5_000, 4, 0), "more callers"),
        ] {
            let seen = seen(candidate, arm(2_000, 60, 0));
            assert_eq!(phase_of(&course.next(&plan, &seen, 1_000_000)), None);
            let told = course.waits_for(&plan, &seen.tally, 1_000_000).unwrap();
            assert!(told.contains(waits), "{told}");
        }
    }

    #[test]
    fn a_guard_that_trips_rolls_back_or_pauses_and_says_what_it_saw() {
        let bad = || seen(arm(1_000, 31, 5), arm(5_000, 60, 0));
        for (on_trip, phase) in [(OnTrip::RollBack, Phase::RolledBack), (OnTrip::Pause, Phase::Paused)] {
            for course in [
                at(Phase::Shadow, None),
                at(Phase::Share, Some(0)),
                at(Phase::Share, Some(1)),
                at(Phase::Proved, Some(1)),
            ] {
                let Move::To { phase: found, step, why } = course.next(&plan(on_trip, false), &bad(), 0)
                else {
                    panic!("{course:?} went on");
                };
                assert_eq!((found, step), (phase, course.step));
                assert!(why.contains("20.00 % of 1000 calls were refused"), "{why}");
            }
        }
        // A look that was taken is not taken again on the same calls.
        let good = seen(arm(1_000, 30, 0), arm(5_000, 60, 0));
        let course = at(Phase::Share, Some(0));
        let Move::Looked(looks) = course.next(&plan(OnTrip::RollBack, false), &good, 0) else { panic!() };
        assert_eq!(Course { looks, ..course }.next(&plan(OnTrip::RollBack, false), &good, 0), Move::Stay);
    }

    #[test]
    fn words_read_back() {
        for phase in Phase::EVERY {
            assert_eq!(Phase::parse(phase.as_str()), Some(phase));
        }
        assert_eq!(Phase::parse("other"), None);
    }
}
