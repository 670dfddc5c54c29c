//! **inspect**: is it an attack?
//!
//! Every policy of the route must let the request pass. A route without one costs a branch: its body leaves this stage
//! as [`RequestBody::Unjudged`], capped and paced, but unread. What policies judge is read whole, and what is sent on is
//! what was judged (`inspect/examine.rs`).

mod examine;
mod judge;
mod leak;
mod operation;
mod pool;
mod report;
mod schema;
mod watch;

use std::sync::Arc;

use bartizan_config::snapshot::{ConsumerPlan, InspectionPlan, RoutePlan};
use bartizan_identity::Identity;
use bartizan_inspect::{Decision, EngineMode, Step};
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Reason, Stage};
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;

use self::examine::Examined;
pub use self::report::described;
pub(crate) use self::{
    examine::{Bench, Refused, count, deny, weigh, weigh_trouble},
    judge::{AnswerCopy, Judge, nothing},
    leak::{look, screen},
    pool::{Half, JudgePool, Piece},
    watch::{Watching, is_encoded},
};
use super::{Granted, Metered};
use crate::{
    body::{BodyWatch, Inbound, RequestBody},
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
    granted: Option<Arc<Granted>>,
    bench: Option<Box<Bench>>,
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
    pub(super) granted: Option<Arc<Granted>>,
    /// Policies that judge the answer too.
    pub(super) bench: Option<Box<Bench>>,
    pub(super) asking: Option<Box<Asking>>,
}

impl Inspected {
    /// The rule.
    pub(crate) fn plan(&self) -> &Arc<RoutePlan> {
        &self.plan
    }

    /// The head.
    pub(super) fn head(&self) -> &RequestHead {
        &self.head
    }

    /// The head, for conditions that the cache asks the upstream.
    pub(super) fn head_mut(&mut self) -> &mut RequestHead {
        &mut self.head
    }

    /// Who calls.
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The consumer, if there is one.
    pub(super) fn consumer(&self) -> Option<&Arc<ConsumerPlan>> {
        self.consumer.as_ref()
    }

    /// What the caller's token grants.
    pub(super) fn granted(&self) -> Option<&Arc<Granted>> {
        self.granted.as_ref()
    }

    /// Everything that is sent on, for `forward`.
    pub(super) fn into_sendable(self) -> Sendable {
        let Inspected {
            head,
            body,
            watch,
            upgrade,
            plan,
            prefix_bytes,
            identity,
            consumer,
            granted,
            bench,
            asking,
        } = self;
        Sendable {
            head,
            body,
            watch,
            upgrade,
            plan,
            prefix_bytes,
            identity,
            consumer,
            granted,
            bench,
            asking,
        }
    }
}

/// Caps the body and inspects what policies ask for.
pub async fn inspect(x: Exchange<Metered>) -> Result<Exchange<Inspected>, Stop> {
    let bytes_max = bytes_max(&x.shared, x.proof.plan());
    if let Some(denial) = judge_announced(x.proof.head(), bytes_max) {
        return Err(x.deny(Stage::Inspect, denial));
    }
    let of_consumer = x.proof.consumer().is_some_and(|consumer| !consumer.inspection.is_empty());
    if of_consumer || !x.proof.plan().inspection.is_empty() || !x.proof.plan().schemas.is_empty() {
        // Boxed, so that a request nobody inspects has the smaller future.
        return Box::pin(examine(x, bytes_max)).await;
    }
    let Exchange { shared, proof } = x;
    let (parts, incoming) = Parts::of(proof);
    let (body, watch) = match incoming {
        Some(incoming) => {
            let watch = BodyWatch::new();
            (RequestBody::unjudged(incoming, &shared.connection, bytes_max, watch.clone()), watch)
        }
        None => (RequestBody::Empty, BodyWatch::default()),
    };
    Ok(Exchange { shared, proof: parts.inspected(body, watch, None) })
}

/// Judges by the policies of the route and of the consumer.
async fn examine(x: Exchange<Metered>, bytes_max: u64) -> Result<Exchange<Inspected>, Stop> {
    let Exchange { mut shared, proof } = x;
    let (parts, incoming) = Parts::of(proof);
    let watch = if incoming.is_some() { BodyWatch::new() } else { BodyWatch::default() };
    let bench = Bench::open(&mut shared, &parts.head, &parts.plan, parts.consumer.as_deref());
    match bench.request(&mut shared, &parts.head, incoming, (bytes_max, watch.clone())).await {
        Ok(Examined { body, bench }) => Ok(Exchange { shared, proof: parts.inspected(body, watch, bench) }),
        Err(refused) => {
            shared.record.request_bytes = watch.bytes();
            let x = Exchange { shared, proof: () };
            Err(match refused {
                Refused::Denied(denial) => x.deny(Stage::Inspect, denial),
                Refused::Faulted(policy, fault) => x.fault(Some(policy), fault),
            })
        }
    }
}

/// What of the proofs before goes on.
struct Parts {
    head: Box<RequestHead>,
    upgrade: Option<OnUpgrade>,
    plan: Arc<RoutePlan>,
    prefix_bytes: usize,
    identity: Identity,
    consumer: Option<Arc<ConsumerPlan>>,
    granted: Option<Arc<Granted>>,
}

impl Parts {
    /// The parts, and the body if there is one.
    fn of(proof: Metered) -> (Self, Option<Inbound>) {
        let plan = proof.plan().clone();
        let identity = proof.identity().clone();
        let consumer = proof.consumer().cloned();
        let granted = proof.granted().cloned();
        let routed = proof.into_routed();
        let prefix_bytes = routed.prefix_bytes();
        let (head, incoming, upgrade) = routed.into_admitted().into_parts();
        let has_body = head.framing().announces_body() && !incoming.is_end_stream();
        (
            Parts { head, upgrade, plan, prefix_bytes, identity, consumer, granted },
            has_body.then_some(incoming),
        )
    }

    fn inspected(self, body: RequestBody, watch: BodyWatch, bench: Option<Box<Bench>>) -> Inspected {
        let Parts { head, upgrade, plan, prefix_bytes, identity, consumer, granted } = self;
        let asking = None;
        Inspected {
            head,
            body,
            watch,
            upgrade,
            plan,
            prefix_bytes,
            identity,
            consumer,
            granted,
            bench,
            asking,
        }
    }
}

fn bytes_max(shared: &Shared, plan: &RoutePlan) -> u64 {
    plan.body_bytes_max.unwrap_or(shared.listener_plan().admission.body_bytes_max)
}

/// The inspections of a route, then those of a consumer that are not among them.
pub fn policies<'p>(
    plan: &'p RoutePlan,
    consumer: Option<&'p ConsumerPlan>,
) -> impl Iterator<Item = &'p Arc<InspectionPlan>> {
    let of_consumer = consumer.into_iter().flat_map(|consumer| &consumer.inspection);
    let is_new =
        |policy: &&Arc<InspectionPlan>| !plan.inspection.iter().any(|known| known.label == policy.label);
    plan.inspection.iter().chain(of_consumer.filter(is_new))
}

/// What a policy that bites says of a head, and of there being no body where none is announced: for explaining.
pub fn judge_head(plan: &InspectionPlan, head: &RequestHead) -> Option<Denial> {
    plan.request?;
    let mut session = judge::HeadCopy::of(head, "", 0).session(plan, EngineMode::Enforce);
    let mut ended = session.run();
    if !head.framing().announces_body() && ended == Step::Done(Decision::Continue) {
        nothing(Half::Request).feed(&mut session);
        ended = session.run();
    }
    match ended {
        Step::Done(Decision::Continue) => None,
        _ => match report::outcome(plan, session.verdict(), Half::Request, 0) {
            report::Outcome::Denied(denial) => Some(denial),
            _ => None,
        },
    }
}

/// Whether the head announces a body that is too large: it is refused before a byte of it is read.
pub fn judge_announced(head: &RequestHead, bytes_max: u64) -> Option<Denial> {
    let announced = head.framing().length()?;
    (announced > bytes_max).then(|| {
        Denial::new(Reason::BodyTooLarge)
            .because(format!("{announced} bytes announced, {bytes_max} admitted"))
    })
}
