//! Rollout: a candidate beside the active set, first watched, then given a growing share of callers.
//!
//! Pure: counts and a clock in, a verdict out. The data plane counts ([`Tally`]), the control plane asks what to do next
//! ([`Course::next`]) and writes it down; any gateway may ask, and all would do the same. Reading order: [`plan`] (what was
//! asked for), [`tally`] (what was seen), [`weigh`] (whether that is chance), [`course`] (what follows). Decision 0047.

pub mod course;
pub mod plan;
pub mod tally;
pub mod weigh;

pub use self::{
    course::{Course, Move, Phase, Seen},
    plan::{Guard, OnTrip, RolloutPlan, Watched},
    tally::{Arm, Example, Felt, Outcome, ShadowTally, Tally},
    weigh::{ALPHA, GROUPS, Tripped},
};
