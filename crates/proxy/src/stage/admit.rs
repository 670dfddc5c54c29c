//! **admit**: can this head be read in exactly one way, and is its sender welcome at all?
//!
//! After this stage there is one canonical path, one authority, one trusted client address, and no header that only
//! the gateway may set. It costs the least, so it stands first: nothing here looks at a credential or a body.

use std::net::IpAddr;

use bartizan_config::snapshot::AdmissionPlan;
use bartizan_limit::{Ask, Bite, Decision, Key, KeyFacts};
use bartizan_message::{HeadLimits, PeerFacts, RequestHead};
use bartizan_model::{Denial, Reason, Stage};
use http::{Method, header};
use hyper::upgrade::OnUpgrade;

use crate::{
    body::Inbound,
    exchange::{Exchange, Received, Shared, Stop},
    share::block_key,
};

/// The proof that a head was read strictly and its sender's address is admitted.
#[must_use]
pub struct Admitted {
    head: Box<RequestHead>,
    body: Inbound,
    upgrade: Option<OnUpgrade>,
}

impl Admitted {
    /// The head, as every later stage and the upstream see it.
    pub(crate) fn head(&self) -> &RequestHead {
        &self.head
    }

    /// The head, the body and the connection's end for an upgrade, for whoever sends them on.
    pub(super) fn into_parts(self) -> (Box<RequestHead>, Inbound, Option<OnUpgrade>) {
        (self.head, self.body, self.upgrade)
    }
}

/// Reads the head strictly and judges the client's address.
pub fn admit(x: Exchange<Received>) -> Result<Exchange<Admitted>, Stop> {
    let Exchange { mut shared, proof: Received { request } } = x;
    let (mut parts, body) = request.into_parts();
    shared.dress.is_head = parts.method == Method::HEAD;
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    note_unread(&mut shared, &parts);
    let read = read_head(&shared, &mut parts);
    let x = Exchange { shared, proof: () };
    let head = match read {
        Ok(head) => Box::new(head),
        Err(denial) => return Err(x.deny(Stage::Admit, denial)),
    };
    let mut x = x.prove(|()| Admitted { head, body, upgrade });
    note_read(&mut x.shared, &x.proof.head);
    match address_denial(&mut x.shared, &x.proof.head) {
        Some(denial) => Err(x.deny(Stage::Admit, denial)),
        None => Ok(x),
    }
}

/// What the record shows of a head that may turn out to be refused: as received.
fn note_unread(shared: &mut Shared, parts: &http::request::Parts) {
    if !shared.live.logs {
        return;
    }
    if let Some(agent) = parts.headers.get(header::USER_AGENT) {
        shared.record.set_user_agent(agent.as_bytes());
    }
}

fn read_head(shared: &Shared, parts: &mut http::request::Parts) -> Result<RequestHead, Denial> {
    let plan = shared.listener_plan();
    let facts = PeerFacts {
        peer: shared.connection.client,
        local: shared.connection.local,
        tls: shared.connection.tls.is_some(),
    };
    let limits = HeadLimits {
        header_bytes: plan.admission.header_bytes_max,
        header_count: plan.admission.header_count_max,
        uri_bytes: plan.admission.uri_bytes_max,
        tolerate: plan.admission.tolerate,
    };
    let mut memo = shared.core.authority.borrow_mut();
    RequestHead::admit(parts, &facts, &limits, &plan.trust, shared.id.clone(), &mut memo)
}

fn note_read(shared: &mut Shared, head: &RequestHead) {
    shared.record.client = head.client();
    if !shared.live.logs {
        return;
    }
    shared.record.set_host(head.authority().as_str().as_bytes());
    shared.record.set_path(head.path().as_str().as_bytes());
    if let Some(query) = head.path().raw_query() {
        shared.record.set_query(query.as_bytes());
    }
}

/// The client's address against the listener's lists and its rate. The connection's own address was judged before
/// the first byte; behind a trusted proxy the client is another.
fn address_denial(shared: &mut Shared, head: &RequestHead) -> Option<Denial> {
    let client = head.client();
    let admission = &shared.listener_plan().admission;
    if let Some(denial) = judge_address(admission, client) {
        return Some(denial);
    }
    let policy = admission.rate_per_address.clone()?;
    let facts =
        KeyFacts { route: "", consumer: None, team: None, client: block_key(client), header: &|_, _| {} };
    let key = match shared.core.runtime.cells().key_of(&policy, &facts) {
        Key::Of(key) => key,
        Key::Skip => return None,
        Key::Deny => return Some(Denial::new(Reason::AddressLimited).by(policy.label.clone())),
    };
    let ask = Ask { policy: &policy, key, bite: Bite::Enforce, cost: 1, tokens: None };
    let now = shared.core.runtime.nanos(shared.record.started);
    let verdict = shared.core.runtime.cells().reserve(&mut shared.core.cells.borrow_mut(), now, &[ask]);
    match verdict.decision {
        Decision::Refuse(refusal) => {
            shared
                .dress(header::RETRY_AFTER, bartizan_limit::header::retry_after(refusal.retry_after).into());
            Some(Denial::new(Reason::AddressLimited).by(policy.label.clone()).because(refusal.cause.as_str()))
        }
        // The policy rejects and never waits; one that did would be refused rather than let through.
        Decision::Wait { .. } => Some(Denial::new(Reason::AddressLimited).by(policy.label.clone())),
        Decision::Admit(_) => None,
    }
}

/// The client's address against the listener's lists.
pub fn judge_address(admission: &AdmissionPlan, client: IpAddr) -> Option<Denial> {
    let allowed = admission.allow.as_ref().is_none_or(|allow| allow.contains(client));
    (!allowed || admission.deny.contains(client)).then(|| Denial::new(Reason::AddressDenied))
}
