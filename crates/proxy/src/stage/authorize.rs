//! **authorize**: may they?
//!
//! Judged by the head alone, before a byte of the body is read. Roles come with their engine; until then a plan that
//! asks for them cannot be written, and one that did would be refused here.

use std::{net::IpAddr, sync::Arc};

use bartizan_config::snapshot::{ConsumerPlan, Engineless, RoutePlan};
use bartizan_identity::Identity;
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Reason, Stage};

use super::{Identified, Routed};
use crate::exchange::{Exchange, Stop};

/// The proof that the caller may do what the head asks for.
#[must_use]
pub struct Authorized {
    who: Identified,
}

impl Authorized {
    /// The head.
    pub(crate) fn head(&self) -> &RequestHead {
        self.who.head()
    }

    /// The rule.
    pub(crate) fn plan(&self) -> &Arc<RoutePlan> {
        self.who.plan()
    }

    /// Who it is.
    pub(crate) fn identity(&self) -> &Identity {
        self.who.identity()
    }

    /// The consumer's plan.
    pub(crate) fn consumer(&self) -> Option<&Arc<ConsumerPlan>> {
        self.who.consumer()
    }

    /// The proof of the route, for whoever sends the request on.
    pub(super) fn into_routed(self) -> Routed {
        self.who.into_routed()
    }
}

/// Judges by the head whether the caller may.
pub fn authorize(x: Exchange<Identified>) -> Result<Exchange<Authorized>, Stop> {
    match denial(&x.proof) {
        Some(denial) => Err(x.deny(Stage::Authorize, denial)),
        None => Ok(x.prove(|who| Authorized { who })),
    }
}

fn denial(who: &Identified) -> Option<Denial> {
    if who.plan().authorization != Engineless::NoSuchPolicy {
        let denial = Denial::new(Reason::NotAllowed);
        return Some(denial.because("the route asks for roles that this build cannot judge"));
    }
    judge_consumer(who.consumer()?, who.head().client())
}

/// Whether a consumer may call at all, and from this address.
pub fn judge_consumer(consumer: &ConsumerPlan, client: IpAddr) -> Option<Denial> {
    let at_home = consumer.addresses.as_ref().is_none_or(|addresses| addresses.contains(client));
    let detail = match (consumer.enabled, at_home) {
        (true, true) => return None,
        (false, _) => "the consumer is disabled",
        (true, false) => "the consumer may not call from this address",
    };
    let policy = format!("Consumer/{}", consumer.name);
    Some(Denial::new(Reason::NotAllowed).because(detail).by(policy.into()))
}
