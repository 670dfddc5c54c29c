//! `forward` up to the point where an upstream would be asked: which one, and with what.

use bartizan_config::{rehearsal::Sending, snapshot::RouteAction};
use bartizan_model::{Denial, Reason, Stage};

use super::{compose, llm, subject};
use crate::{
    exchange::{Exchange, Shared, Stop},
    stage::Missed,
};

/// Makes the request that an upstream would be sent. Nobody is asked, so health and connections decide nothing.
pub(crate) fn rehearse(x: Exchange<Missed>) -> Result<(Box<Shared>, Sending), Stop> {
    let Exchange { mut shared, proof } = x;
    let mut sendable = proof.into_inspected().0.into_sendable();
    let given = shared.rehearsing.as_ref().and_then(|given| given.draw);
    let draw = given.unwrap_or_else(|| shared.core.draw());
    if let Some(asking) = sendable.asking.take() {
        return match llm::rehearse(&mut shared, &sendable, &asking, draw) {
            Ok(sending) => Ok((shared, sending)),
            Err(denial) => Err(Exchange { shared, proof: () }.deny(denial.reason.stage(), denial)),
        };
    }
    let is_judged = sendable.bench.take().is_some();
    let plan = sendable.plan.clone();
    let RouteAction::Forward(backends) = &plan.action else {
        let denial = Denial::new(Reason::InternalError).because("a redirect reached forward");
        return Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial));
    };
    let index = backends.pick(draw);
    let Some(upstream) = shared.snapshot().upstreams.get(index).cloned() else {
        let denial = Denial::new(Reason::NoEndpoint).because("the upstream is not in the documents");
        return Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial));
    };
    shared.record.upstream = Some(upstream.name.clone());
    if let Err(denial) = subject(&upstream, &sendable) {
        return Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial));
    }
    match compose(&shared, sendable, is_judged) {
        Ok(request) => {
            let (parts, _) = request.into_parts();
            let sending = Sending {
                upstream: upstream.name.clone(),
                method: parts.method,
                target: parts.uri,
                headers: parts.headers,
            };
            Ok((shared, sending))
        }
        Err(denial) => Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial)),
    }
}
