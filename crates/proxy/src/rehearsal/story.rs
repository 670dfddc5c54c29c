//! Looks on while a request passes the stages, and keeps what each of them found out.

use bartizan_config::rehearsal::{End, StageOutcome, Told};
use bartizan_model::Stage;

use crate::{
    exchange::Exchange,
    pipeline::Onlooker,
    stage::{Admitted, Authorized, Identified, Inspected, Metered, Missed, Routed},
};

/// The stages so far.
pub(super) struct Story {
    stages: Vec<StageOutcome>,
}

impl Story {
    pub(super) fn new() -> Self {
        Story { stages: Vec::with_capacity(8) }
    }

    /// The stage whose turn it is.
    pub(super) fn next(&self) -> Stage {
        Stage::ALL.get(self.stages.len()).copied().unwrap_or(Stage::Record)
    }

    /// A stage let the request pass.
    pub(super) fn passed(&mut self, stage: Stage, told: Told) {
        self.stages.push(StageOutcome { stage, end: End::Passed, told });
    }

    /// The stage whose turn it was ended the request.
    pub(super) fn ends(&mut self, end: End, told: Told) {
        self.ends_in(self.next(), end, told);
    }

    /// This stage ended the request.
    pub(super) fn ends_in(&mut self, stage: Stage, end: End, told: Told) {
        self.stages.push(StageOutcome { stage, end, told });
    }

    pub(super) fn into_stages(self) -> Vec<StageOutcome> {
        self.stages
    }
}

impl Onlooker for Story {
    fn admitted(&mut self, x: &Exchange<Admitted>) {
        self.passed(Stage::Admit, Told::Client(x.proof.head().client()));
    }

    fn routed(&mut self, x: &Exchange<Routed>) {
        self.passed(Stage::Route, Told::Rule(x.proof.plan().label.clone()));
    }

    fn identified(&mut self, x: &Exchange<Identified>) {
        let identity = x.proof.identity();
        self.passed(Stage::Identify, Told::Caller(identity.consumer().cloned(), identity.method().as_str()));
    }

    fn authorized(&mut self, x: &Exchange<Authorized>) {
        self.passed(Stage::Authorize, x.proof.ground().cloned().map_or(Told::Nothing, Told::Ground));
    }

    fn metered(&mut self, x: &Exchange<Metered>) {
        let waited = x.shared.record.waited;
        self.passed(Stage::Limit, if waited.is_zero() { Told::Nothing } else { Told::Wait(waited) });
    }

    fn inspected(&mut self, _: &Exchange<Inspected>) {
        self.passed(Stage::Inspect, Told::Nothing);
    }

    fn missed(&mut self, _: &Exchange<Missed>) {
        self.passed(Stage::Cache, Told::Nothing);
    }
}
