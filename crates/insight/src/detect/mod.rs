//! The detectors: each looks at one kind of unusual behaviour and says what it found.
//!
//! They see a caller, an endpoint and the fleet, never each other. What they find is told or held back by the engine.
//!
//! [`volume`] D1, [`errors`] D2, [`enumeration`] D3, [`spray`] D4, [`exfiltration`] D5.

pub(crate) mod enumeration;
pub(crate) mod errors;
pub(crate) mod exfiltration;
pub(crate) mod spray;
pub(crate) mod volume;

use crate::{
    alert::Action,
    caller::Caller,
    endpoint::Endpoint,
    event::{Event, Outcome},
    fleet::Fleet,
    patch,
};

/// What a detector looks at.
pub(crate) struct Look<'a, 'e> {
    pub(crate) event: &'a Event<'e>,
    pub(crate) outcome: Outcome,
    pub(crate) now_ms: u64,
    pub(crate) learning_ms: u64,
    pub(crate) fleet: &'a Fleet,
}

impl Look<'_, '_> {
    pub(crate) const fn is_new(&self, first_ms: u64) -> bool {
        self.now_ms.saturating_sub(first_ms) < self.learning_ms
    }
}

/// The most that a probability bound is taken for; it is a bound of a model, and models are wrong.
pub(crate) const SURPRISE_MAX: f64 = 60.0;

/// What can be done about one caller on one route: a limit, tried in shadow first.
pub(crate) fn limit_action(
    caller: &Caller,
    endpoint: Option<&Endpoint>,
    requests: f64,
    window: &str,
) -> Action {
    let route = endpoint.and_then(|endpoint| endpoint.route.as_deref());
    let who = caller.shown();
    let requests = requests.ceil().max(1.0) as u64;
    match route {
        Some(route) => Action {
            sentence: format!(
                "look at the samples with `bartizan why`; if {who} should not do this, limit calls on route {route} to \
                 {requests} each {window} per caller, first in shadow"
            ),
            document: Some(patch::rate_limit(&format!("insight-{route}"), Some(route), requests, window)),
        },
        None => Action {
            sentence: format!(
                "look at the samples with `bartizan why`; disable the key or block the address of {who}"
            ),
            document: None,
        },
    }
}
