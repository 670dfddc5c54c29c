//! **authorize**: may they?
//!
//! Judged by the head alone, before a byte of the body is read. Roles come with their engine; until then a plan that
//! asks for them cannot be written, and one that did would be refused here.

use std::sync::Arc;

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
    let not_allowed = |detail: &str| Some(Denial::new(Reason::NotAllowed).because(detail));
    if who.plan().authorization != Engineless::NoSuchPolicy {
        return not_allowed("the route asks for roles that this build cannot judge");
    }
    let consumer = who.consumer()?;
    let by = |denial: Denial| denial.by(format!("Consumer/{}", consumer.name).into());
    if !consumer.enabled {
        return not_allowed("the consumer is disabled").map(by);
    }
    let at_home = consumer.addresses.as_ref().is_none_or(|addresses| addresses.contains(who.head().client()));
    if at_home { None } else { not_allowed("the consumer may not call from this address").map(by) }
}
