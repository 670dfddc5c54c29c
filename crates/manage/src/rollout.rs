//! A rollout as it is told: by the management API, and by the command that asks a store or a gateway for it.
//!
//! What phases and counts mean is `bartizan_config::rollout`, what is written down is the store's; here both become one
//! answer, the same wherever it is asked for.

use std::collections::BTreeMap;

use bartizan_config::rollout::{
    Arm, Course, Example, Felt, Guard, OnTrip, Phase, RolloutPlan, Seen, ShadowTally, Tally, plan, tally,
};
use bartizan_model::scalar::Time;
use bartizan_store::{Error, RevisionRef, RolloutRow, Standing, Store};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::moment;

/// A rollout.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutView {
    /// Its number.
    pub rollout: u64,
    /// `shadow`, `share`, `proved`, `promoted`, `rolled back`, `paused` or `aborted`.
    pub phase: String,
    /// The share of callers of its step, as `10%`; none in the shadow.
    pub step: Option<String>,
    /// Whether it is over.
    pub is_over: bool,
    /// Whether it was stopped: rolled back, paused or aborted.
    pub is_stopped: bool,
    /// Since when it stands there, RFC 3339.
    pub since: String,
    /// What the step waits for, in words.
    pub waits_for: Option<String>,
    /// The tag of the revision that is tried.
    pub candidate: String,
    /// The tag of the revision that was active when it began.
    pub base: String,
    /// Who began it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// What was asked for.
    #[schema(value_type = Object)]
    pub plan: RolloutPlan,
    /// What was seen in this step, by all gateways together.
    pub seen: SeenView,
    /// What callers of the candidate's share felt, by name.
    #[schema(value_type = Object)]
    pub felt: BTreeMap<String, Felt>,
    /// Some calls that it refused, or would have refused or let pass.
    #[schema(value_type = Vec<Object>)]
    pub examples: Vec<Example>,
    /// How it came to be there, in order.
    pub moves: Vec<MoveView>,
}

/// What was seen in a step.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SeenView {
    /// Callers of the candidate.
    pub candidate: ArmView,
    /// All others.
    pub active: ArmView,
    /// The active set in the step before, which the candidate is compared with where it serves everybody.
    pub before: ArmView,
    /// What both made of the same calls while the candidate was only watched.
    #[schema(value_type = Object)]
    pub shadow: ShadowTally,
}

/// The calls of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArmView {
    /// Calls.
    pub calls: u64,
    /// Refused ones.
    pub refused: u64,
    /// Failed ones.
    pub failed: u64,
    /// Within which time 95 of 100 ended, in milliseconds.
    pub p95_ms: Option<f64>,
}

impl From<&Arm> for ArmView {
    fn from(arm: &Arm) -> Self {
        let p95_ms = arm.bucket_of(95).map(|bucket| tally::bucket_end(bucket).as_secs_f64() * 1_000.0);
        ArmView { calls: arm.calls(), refused: arm.refused(), failed: arm.failed(), p95_ms }
    }
}

/// A move of a rollout.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MoveView {
    /// What it became.
    pub phase: String,
    /// At which share.
    pub step: Option<String>,
    /// When, RFC 3339.
    pub at: String,
    /// Who moved it.
    pub actor: String,
    /// Why.
    pub why: String,
}

/// Where a rollout stands; `None` where the word is another version's.
pub fn course(row: &RolloutRow) -> Option<Course> {
    Some(Course {
        phase: Phase::parse(&row.phase)?,
        step: row.step.map(|step| step as usize),
        since_ms: row.since_ms,
        looks: row.looks,
    })
}

/// What all gateways saw in the step, and the active set's counts of the last step in which it served callers.
///
/// # Errors
///
/// What the database reports.
pub async fn seen(store: &Store, row: &RolloutRow, plan: &RolloutPlan) -> Result<Seen, Error> {
    let tally = all(store, row, row.step).await?;
    let mut before = Arm::default();
    if let Some(step) = row.step.filter(|step| plan.steps.get(*step as usize) == Some(&plan::ALL))
        && let Some(step) = step.checked_sub(1)
    {
        before = all(store, row, Some(step)).await?.active;
    }
    Ok(Seen { tally, before })
}

async fn all(store: &Store, row: &RolloutRow, step: Option<u32>) -> Result<Tally, Error> {
    let mut all = Tally::default();
    for (_, text) in store.rollouts().tallies(row.number, step).await? {
        if let Ok(tally) = serde_json::from_str::<Tally>(&text) {
            all.add(&tally);
        }
    }
    Ok(all)
}

/// Tells a rollout; `None` where it was begun by another version.
///
/// # Errors
///
/// What the store reports.
pub async fn view(store: &Store, row: &RolloutRow, now_ms: u64) -> Result<Option<RolloutView>, Error> {
    let (Some(course), Ok(plan)) = (course(row), serde_json::from_str::<RolloutPlan>(&row.plan)) else {
        return Ok(None);
    };
    let tag = async |number| store.revisions().find(&RevisionRef::Number(number)).await.map(|row| row.tag());
    let share = |step: Option<u32>| plan.steps.get(step? as usize).map(|share| plan::percent(*share));
    let Seen { tally, before } = seen(store, row, &plan).await?;
    let moves = store.rollouts().moves(row.number).await?;
    Ok(Some(RolloutView {
        rollout: row.number,
        phase: course.phase.as_str().to_owned(),
        step: share(row.step),
        is_over: course.phase.is_over(),
        is_stopped: matches!(course.phase, Phase::Paused | Phase::RolledBack | Phase::Aborted),
        since: moment(course.since_ms),
        waits_for: course.waits_for(&plan, &tally, now_ms),
        candidate: tag(row.candidate).await?,
        base: tag(row.base).await?,
        author: row.author.clone(),
        reason: row.reason.clone(),
        seen: SeenView {
            candidate: (&tally.candidate).into(),
            active: (&tally.active).into(),
            before: (&before).into(),
            shadow: tally.shadow,
        },
        felt: tally.felt,
        examples: tally.examples,
        moves: moves
            .into_iter()
            .map(|made| MoveView {
                step: share(made.step),
                phase: made.phase,
                at: moment(made.at_ms),
                actor: made.actor,
                why: made.why,
            })
            .collect(),
        plan,
    }))
}

/// What is asked of a rollout, in the words of people; what is left out is as usual.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutTerms {
    /// How long the candidate only watches before it serves anybody, as `1h`; `0s` not at all. An hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<String>,
    /// The shares of callers it then serves, one after the other, as `1%`. 1%, 10%, 50%, 100%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<String>>,
    /// How long each share is held at least. Ten minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// How many calls the candidate must have judged in each step at least. 500.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_calls: Option<u64>,
    /// What stops it, as `refusals=+0.5%`. That, `errors=+0.5%` and `latency=+25%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guards: Option<Vec<String>>,
    /// Whether a guard that trips pauses it instead of ending it.
    #[serde(default)]
    pub pause_on_trip: bool,
    /// Whether the candidate becomes the active revision by itself once the last share was held.
    #[serde(default)]
    pub auto_promote: bool,
}

/// An hour, ten minutes and 500 calls, unless others are asked for.
const SHADOW_MS: u64 = 3_600_000;
const HOLD_MS: u64 = 600_000;
const CALLS_MIN: u64 = 500;
const STEPS: [plan::BasisPoints; 4] = [100, 1_000, 5_000, plan::ALL];

impl RolloutTerms {
    /// What it means.
    ///
    /// # Errors
    ///
    /// In words, what cannot be carried out.
    pub fn plan(&self) -> Result<RolloutPlan, String> {
        let time = |text: &Option<String>, usual: u64| match text {
            None => Ok(usual),
            Some(text) => {
                let time = Time::parse(text).map_err(|wrong| wrong.to_string())?;
                Ok::<u64, String>(u64::try_from(time.get().as_millis()).unwrap_or(u64::MAX))
            }
        };
        let steps = self.steps.as_ref().map(|steps| steps.iter().map(|step| plan::share(step)).collect());
        let guards: Option<Result<Vec<Guard>, String>> =
            self.guards.as_ref().map(|guards| guards.iter().map(|guard| guard.parse()).collect());
        let plan = RolloutPlan {
            shadow_ms: time(&self.shadow, SHADOW_MS)?,
            steps: steps.unwrap_or_else(|| Ok(STEPS.to_vec()))?,
            hold_ms: time(&self.hold, HOLD_MS)?,
            calls_min: self.min_calls.unwrap_or(CALLS_MIN),
            guards: guards.unwrap_or_else(|| Ok(RolloutPlan::usual_guards()))?,
            on_trip: if self.pause_on_trip { OnTrip::Pause } else { OnTrip::RollBack },
            promote: self.auto_promote,
        };
        match plan.problem() {
            None => Ok(plan),
            Some(problem) => Err(problem),
        }
    }
}

/// What somebody may do to a rollout that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Make the candidate the active revision now.
    Promote,
    /// End it.
    Abort,
    /// Go on after a pause.
    Resume,
}

impl Order {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Order::Promote => "promote",
            Order::Abort => "abort",
            Order::Resume => "resume",
        }
    }

    /// The word in the audit trail.
    pub const fn action(self) -> &'static str {
        match self {
            Order::Promote => "rollout.promote",
            Order::Abort => "rollout.abort",
            Order::Resume => "rollout.resume",
        }
    }

    /// What a rollout becomes by it.
    ///
    /// # Errors
    ///
    /// In words, where it cannot: it is over, or not paused.
    pub fn next(self, row: &RolloutRow) -> Result<(Phase, Option<u32>), String> {
        match Phase::parse(&row.phase) {
            Some(phase) if !phase.is_over() => {}
            _ => return Err(format!("rollout {} is over: {}", row.number, row.phase)),
        }
        let phase = match self {
            Order::Promote => Phase::Promoted,
            Order::Abort => Phase::Aborted,
            Order::Resume if row.phase != Phase::Paused.as_str() => {
                return Err(format!("rollout {} is not paused: {}", row.number, row.phase));
            }
            Order::Resume if row.step.is_some() => Phase::Share,
            Order::Resume => Phase::Shadow,
        };
        Ok((phase, row.step))
    }
}

/// Where a rollout begins, for the store.
pub fn standing(course: &Course) -> Standing<'static> {
    Standing { phase: course.phase.as_str(), step: course.step.and_then(|step| u32::try_from(step).ok()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_as_usual_and_what_cannot_be_is_told() {
        let plan = RolloutTerms::default().plan().unwrap();
        assert_eq!((plan.shadow_ms, plan.hold_ms, plan.calls_min), (SHADOW_MS, HOLD_MS, CALLS_MIN));
        assert_eq!((plan.steps, plan.guards.len(), plan.on_trip), (STEPS.to_vec(), 3, OnTrip::RollBack));
        let of = |change: fn(&mut RolloutTerms)| {
            let mut terms = RolloutTerms::default();
            change(&mut terms);
            terms.plan()
        };
        assert_eq!(of(|terms| terms.shadow = Some("0s".into())).unwrap().shadow_ms, 0);
        assert!(of(|terms| terms.steps = Some(vec!["1%".into(), "50%".into()])).is_ok());
        for (what, change) in [
            ("shadow", (|terms| terms.shadow = Some("soon".into())) as fn(&mut RolloutTerms)),
            ("steps", |terms| terms.steps = Some(vec!["50%".into(), "1%".into()])),
            ("share", |terms| terms.steps = Some(vec!["half".into()])),
            ("guards", |terms| terms.guards = Some(vec!["speed=+1%".into()])),
            ("no guard", |terms| terms.guards = Some(Vec::new())),
        ] {
            assert!(of(change).is_err(), "{what}");
        }
    }
}
