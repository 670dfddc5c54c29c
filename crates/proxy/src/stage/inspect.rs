//! **inspect**: is it an attack?
//!
//! The engine comes later; its place, its proof and the body's cap are here from the start. A body that no policy
//! judges leaves this stage as [`RequestBody::Unjudged`]: capped and paced, but unread.

mod operation;

use std::sync::Arc;

use bartizan_config::snapshot::{ConsumerPlan, Engineless, RoutePlan};
use bartizan_identity::Identity;
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Reason, Stage};
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;

use super::Metered;
use crate::{
    body::{BodyWatch, RequestBody},
    exchange::{Exchange, Shared, Stop},
};

pub use operation::operation;
pub(super) use operation::{Asking, What};

/// The proof that the request was inspected as far as its policies ask, and that its body is capped.
#[must_use]
pub struct Inspected {
    head: Box<RequestHead>,
    body: RequestBody,
    watch: BodyWatch,
    upgrade: Option<OnUpgrade>,
    plan: Arc<RoutePlan>,
    prefix_bytes: usize,
    identity: Identity,
    consumer: Option<Arc<ConsumerPlan>>,
    /// What is asked of a model, on routes to models.
    asking: Option<Box<Asking>>,
}

/// What is sent on.
pub(super) struct Sendable {
    pub(super) head: Box<RequestHead>,
    pub(super) body: RequestBody,
    pub(super) watch: BodyWatch,
    pub(super) upgrade: Option<OnUpgrade>,
    pub(super) plan: Arc<RoutePlan>,
    pub(super) prefix_bytes: usize,
    pub(super) identity: Identity,
    pub(super) consumer: Option<Arc<ConsumerPlan>>,
    pub(super) asking: Option<Box<Asking>>,
}

impl Inspected {
    /// The rule.
    pub(crate) fn plan(&self) -> &Arc<RoutePlan> {
        &self.plan
    }

    /// Everything that is sent on, for `forward`.
    pub(super) fn into_sendable(self) -> Sendable {
        let Inspected { head, body, watch, upgrade, plan, prefix_bytes, identity, consumer, asking } = self;
        Sendable { head, body, watch, upgrade, plan, prefix_bytes, identity, consumer, asking }
    }
}

/// Caps the body and inspects what policies ask for.
pub fn inspect(x: Exchange<Metered>) -> Result<Exchange<Inspected>, Stop> {
    let bytes_max = bytes_max(&x.shared, x.proof.plan());
    if let Some(denial) = denial(&x.proof, bytes_max) {
        return Err(x.deny(Stage::Inspect, denial));
    }
    let Exchange { shared, proof } = x;
    let plan = proof.plan().clone();
    let identity = proof.identity().clone();
    let consumer = proof.consumer().cloned();
    let routed = proof.into_routed();
    let prefix_bytes = routed.prefix_bytes();
    let (head, incoming, upgrade) = routed.into_admitted().into_parts();
    let (body, watch) = if head.framing().announces_body() && !incoming.is_end_stream() {
        let watch = BodyWatch::new();
        (RequestBody::unjudged(incoming, &shared.connection, bytes_max, watch.clone()), watch)
    } else {
        (RequestBody::Empty, BodyWatch::default())
    };
    let proof =
        Inspected { head, body, watch, upgrade, plan, prefix_bytes, identity, consumer, asking: None };
    Ok(Exchange { shared, proof })
}

fn bytes_max(shared: &Shared, plan: &RoutePlan) -> u64 {
    plan.body_bytes_max.unwrap_or(shared.listener_plan().admission.body_bytes_max)
}

fn denial(metered: &Metered, bytes_max: u64) -> Option<Denial> {
    if metered.plan().inspection != Engineless::NoSuchPolicy {
        let denial = Denial::new(Reason::InspectionIncomplete);
        return Some(denial.because("the route asks for an inspection that this build cannot do"));
    }
    judge_announced(metered.head(), bytes_max)
}

/// Whether the head announces a body that is too large: it is refused before a byte of it is read.
pub fn judge_announced(head: &RequestHead, bytes_max: u64) -> Option<Denial> {
    let announced = head.framing().length()?;
    (announced > bytes_max).then(|| {
        Denial::new(Reason::BodyTooLarge)
            .because(format!("{announced} bytes announced, {bytes_max} admitted"))
    })
}
