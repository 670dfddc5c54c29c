//! `Listener.spec.keyEndpoints`: owners of API keys replace them by themselves, report leaks, and spend claim links.
//!
//! Answered before any route: whoever holds a key may replace or withdraw it, whatever it opens. Identified by the old key
//! alone, and limited strictly by address, failed attempts included. Looking at a link spends nothing: mail scanners do
//! that. The secret part of a link is not written into the record.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bartizan_config::snapshot::KeyEndpointsPlan;
use bartizan_identity::{Claim, InvalidKind, KeyId};
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Reason, Stage};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use serde_json::json;

use super::{Admitted, answered};
use crate::{
    answer::AnswerBody,
    desk::{DeskAnswer, DeskAsk, KeyDesk},
    exchange::{Exchange, Shared, Stop},
    stage::authorize::judge_consumer,
};

/// What is asked for below the path of the endpoints.
enum Asked {
    Claim(String),
    Leaked,
    Look(String),
    Rotate,
    /// This path, by another method.
    Other(&'static str),
}

/// Whether the request is for the key endpoints of its listener.
pub(crate) fn is_asked(x: &Exchange<Admitted>) -> bool {
    let plan = x.shared.listener_plan();
    plan.key_endpoints.as_ref().is_some_and(|plan| below(plan, x.proof.head()).is_some())
}

fn below<'h>(plan: &KeyEndpointsPlan, head: &'h RequestHead) -> Option<&'h str> {
    head.path().as_str().strip_prefix(&*plan.path)?.strip_prefix('/')
}

/// Serves a request for the key endpoints; it never goes further.
pub(crate) async fn serve(x: Exchange<Admitted>) -> Stop {
    let mut x = x;
    if let Some(denial) = super::wrong_host(&x.shared, x.proof.head()) {
        return x.deny(Stage::Route, denial);
    }
    let nowhere = || Denial::new(Reason::NoRoute).because("the key endpoints have no such path");
    let Some(plan) = x.shared.listener_plan().key_endpoints.clone() else {
        return x.deny(Stage::Route, nowhere());
    };
    let asked = asked(&plan, x.proof.head());
    if let Some(Asked::Claim(_) | Asked::Look(_) | Asked::Other("GET, POST")) = &asked {
        x.shared.record.set_path(format!("{}/claim/…", plan.path).as_bytes());
    }
    let desk = x.shared.core.runtime.desk().cloned();
    // A rehearsal asks nobody.
    let (Some(asked), Some(desk), false) = (asked, desk, x.shared.rehearsing.is_some()) else {
        return x.deny(Stage::Route, nowhere());
    };
    let minute = x.shared.unix_ms(Stage::Route) / 60_000;
    if !x.shared.core.runtime.desk_visits().admits(x.proof.head().client(), minute, plan.requests_per_minute)
    {
        x.shared.dress(header::RETRY_AFTER, HeaderValue::from_static("60"));
        return x.deny(
            Stage::Admit,
            Denial::new(Reason::AddressLimited).because("too many at the key endpoints"),
        );
    }
    let answer = match asked {
        Asked::Other(allowed) => {
            x.shared.dress(header::ALLOW, HeaderValue::from_static(allowed));
            return x.deny(Stage::Route, Denial::new(Reason::MethodNotAllowed));
        }
        Asked::Rotate | Asked::Leaked => {
            let is_leak = matches!(asked, Asked::Leaked);
            match holder(&x.shared, x.proof.head(), is_leak) {
                Ok(key) => {
                    x.shared.record.set_credential_id(key.as_str());
                    let ask = if is_leak { DeskAsk::Leaked { key } } else { DeskAsk::Rotate { key } };
                    told(asked_of(&*desk, ask).await)
                }
                Err(denial) => {
                    x.shared.core.metrics.auth_failure(denial.reason);
                    return x.deny(Stage::Identify, denial);
                }
            }
        }
        Asked::Look(token) => page(asked_of(&*desk, DeskAsk::Look { token }).await),
        Asked::Claim(token) => page(asked_of(&*desk, DeskAsk::Claim { token }).await),
    };
    answered(x, answer)
}

async fn asked_of(desk: &dyn KeyDesk, ask: DeskAsk) -> DeskAnswer {
    tokio::time::timeout(PATIENCE, desk.ask(ask)).await.unwrap_or(DeskAnswer::Unavailable)
}

fn asked(plan: &KeyEndpointsPlan, head: &RequestHead) -> Option<Asked> {
    let method = head.method();
    match below(plan, head)? {
        "rotate" if method == Method::POST => Some(Asked::Rotate),
        "leaked" if method == Method::POST => Some(Asked::Leaked),
        "rotate" | "leaked" => Some(Asked::Other("POST")),
        rest => {
            let token = rest.strip_prefix("claim/").filter(|token| !token.contains('/'))?.to_owned();
            match *method {
                Method::GET => Some(Asked::Look(token)),
                Method::POST => Some(Asked::Claim(token)),
                _ => Some(Asked::Other("GET, POST")),
            }
        }
    }
}

/// Which key the caller holds. A leak may also be reported of one that has ended: it must be known as leaked all the same.
fn holder(shared: &Shared, head: &RequestHead, is_leak: bool) -> Result<KeyId, Denial> {
    let headers = head.headers();
    let mut given = headers.get_all(API_KEY).iter().map(HeaderValue::as_bytes).chain(
        headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| {
            let (scheme, key) = value.as_bytes().split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"Bearer ").then_some(key)
        }),
    );
    let key = given.next().ok_or_else(|| Denial::new(Reason::CredentialMissing))?;
    if given.next().is_some() {
        return Err(Denial::new(Reason::CredentialInvalid).because("more than one credential"));
    }
    let wrong = |why: &'static str| Denial::new(Reason::CredentialInvalid).because(why);
    let pepper = shared.core.runtime.pepper().ok_or_else(|| wrong("this gateway has no keys"))?;
    match shared.core.keys().judge(key, pepper, shared.unix_ms(Stage::Route)) {
        Claim::Valid(identity) if is_leak => Ok(identity.key()),
        Claim::Valid(identity) => match shared.snapshot().consumers.get(identity.consumer()) {
            Some(consumer) => match judge_consumer(consumer, head.client()) {
                None => Ok(identity.key()),
                Some(denial) => Err(denial),
            },
            None => Err(wrong("its consumer is not in the documents")),
        },
        Claim::Invalid(ended)
            if is_leak && matches!(ended.kind, InvalidKind::Expired | InvalidKind::Revoked) =>
        {
            ended.key.ok_or_else(|| wrong("the key has ended"))
        }
        Claim::Invalid(ended) => Err(Denial::new(ended.kind.reason()).because(ended.kind.as_str())),
        Claim::Absent => Err(Denial::new(Reason::CredentialMissing)),
    }
}

/// What a program is told.
fn told(answer: DeskAnswer) -> Response<AnswerBody> {
    let (status, body) = match answer {
        DeskAnswer::Made { id, text, old_ends_ms, .. } => (
            StatusCode::CREATED,
            json!({ "id": id.as_str(), "key": text.expose(), "oldKeyEndsAtMs": old_ends_ms }),
        ),
        DeskAnswer::Done => (StatusCode::OK, json!({ "revoked": true })),
        DeskAnswer::Conflict => {
            (StatusCode::CONFLICT, json!({ "detail": "The key was replaced before, or has ended." }))
        }
        DeskAnswer::Unknown => (StatusCode::NOT_FOUND, json!({ "detail": "There is no such key." })),
        DeskAnswer::Claimable { .. } | DeskAnswer::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            json!({ "detail": "Nobody can be asked now; nothing has changed, or the next answer says so." }),
        ),
    };
    answer_of(status, "application/json", body.to_string())
}

/// What a person is shown.
fn page(answer: DeskAnswer) -> Response<AnswerBody> {
    let (status, title, inside) = match answer {
        DeskAnswer::Claimable { consumer, key } => (
            StatusCode::OK,
            "Take over the new API key",
            format!(
                "<p>This link makes the successor of the API key <code>{}</code> of <b>{}</b> and shows it once. The \
                 old key works on for a while. The link opens once.</p>\
                 <form method=\"post\"><button>Make and show the new key</button></form>",
                key.as_str(),
                escaped(&consumer)
            ),
        ),
        DeskAnswer::Made { text, consumer, .. } => (
            StatusCode::OK,
            "The new API key",
            format!(
                "<p>The new API key of <b>{}</b>, shown this once:</p><pre>{}</pre><p>Keep it where secrets are kept.</p>",
                escaped(&consumer),
                escaped(text.expose())
            ),
        ),
        DeskAnswer::Unknown => (
            StatusCode::NOT_FOUND,
            "This link opens nothing",
            "<p>It was used, is older than 72 hours, or was never made. A new one comes by itself while the key is not \
             replaced.</p>"
                .to_owned(),
        ),
        DeskAnswer::Conflict => (
            StatusCode::CONFLICT,
            "The key was replaced before",
            "<p>Or it has ended. This link makes no other one.</p>".to_owned(),
        ),
        DeskAnswer::Done | DeskAnswer::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Try again in a moment",
            "<p>Nobody can be asked now.</p>".to_owned(),
        ),
    };
    let text = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\
         <body><h1>{title}</h1>{inside}</body></html>\n"
    );
    answer_of(status, "text/html; charset=utf-8", text)
}

fn answer_of(status: StatusCode, kind: &'static str, body: String) -> Response<AnswerBody> {
    let mut answer = Response::new(AnswerBody::whole(Bytes::from(body)));
    *answer.status_mut() = status;
    // A key is in it, or the way to one: nobody keeps it, frames it, or is told where it came from.
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; form-action 'self'; frame-ancestors 'none'"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// How often each address came in this minute.
#[derive(Default)]
pub(crate) struct Visits(Mutex<Minute>);

#[derive(Default)]
struct Minute {
    minute: u64,
    by_address: HashMap<IpAddr, u64>,
}

impl Visits {
    /// Counts a visit, and tells whether it is one too many. Where more addresses come than are counted, new ones wait.
    fn admits(&self, client: IpAddr, minute: u64, most: u64) -> bool {
        let client = match client {
            IpAddr::V4(_) => client,
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        };
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.minute != minute {
            *now = Minute { minute, by_address: HashMap::new() };
        }
        if now.by_address.len() >= ADDRESSES_MAX && !now.by_address.contains_key(&client) {
            return false;
        }
        let visits = now.by_address.entry(client).or_default();
        *visits += 1;
        *visits <= most
    }
}

/// The desk of a runtime, set once by the binary.
pub(crate) type Desk = Arc<dyn KeyDesk>;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// A rotation is one transaction; the store's own patience for a neighbour is five seconds.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
/// Rotations are rare; who comes from more addresses than this in a minute does not come to rotate.
const ADDRESSES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_admitted_so_often_in_a_minute_and_its_neighbours_in_ipv6_with_it() {
        let visits = Visits::default();
        let (one, near, far): (IpAddr, IpAddr, IpAddr) = (
            "2001:db8::1".parse().unwrap(),
            "2001:db8::2".parse().unwrap(),
            "2001:db8:0:1::1".parse().unwrap(),
        );
        assert!(visits.admits(one, 7, 2) && visits.admits(near, 7, 2));
        assert!(!visits.admits(one, 7, 2) && visits.admits(far, 7, 2));
        assert!(visits.admits(one, 8, 2));
    }
}
