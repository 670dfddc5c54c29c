//! Tokens for upstreams in exchange for the caller's own (RFC 8693): kept by the digest of the caller's token.
//!
//! What is exchanged is a token that the route's policy has verified, never what merely stands in a header. Many requests
//! with one token wait for one exchange. That the endpoint refuses one caller's token says nothing about others: it is
//! remembered for that token alone. That it fails is remembered for all, and it is left alone for a while. Without a
//! token nothing is sent.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bartizan_config::snapshot::upstream::ExchangePlan;
use bartizan_identity::introspection::TokenDigest;
use bartizan_model::SecretValue;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::{
    prepare::Secrets,
    token::{Endpoint, FRESH_FOR, Failure, Token, form_encoded, read},
};
use bartizan_fetch::{Answer, Ask, Client, Fetcher, Flights};
use bartizan_telemetry::FetchPurpose;

/// The caller's verified token.
pub struct Subject {
    token: SecretValue,
    digest: TokenDigest,
}

impl Subject {
    /// A token that the policy of the caller's route has verified; nothing else may become one.
    pub(crate) fn verified(token: &[u8]) -> Self {
        Subject { digest: TokenDigest::of(token), token: SecretValue::new(token.to_vec()) }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject(…)")
    }
}

/// Where tokens for one upstream come from. Outlives a reload that changes nothing about it.
pub(super) struct ExchangeSource {
    endpoint: Arc<Endpoint>,
    kept: Arc<Mutex<Kept>>,
    flights: Flights<TokenDigest, Result<HeaderValue, Arc<str>>>,
}

#[derive(Default)]
struct Kept {
    tokens: HashMap<TokenDigest, Entry>,
    failure: Option<Failure>,
}

enum Entry {
    Token(Token),
    /// The endpoint does not take this caller's token; why, and until when it is not asked again.
    Refused(Arc<str>, Instant),
}

impl Entry {
    fn until(&self) -> Instant {
        match self {
            Entry::Token(token) => token.until,
            Entry::Refused(_, until) => *until,
        }
    }
}

impl ExchangeSource {
    /// Reads what the plan refers to; `before` goes on where nothing changed. The error holds nothing of the secret.
    pub(super) fn prepare(
        plan: &ExchangePlan,
        secrets: Secrets<'_>,
        before: Option<&Arc<ExchangeSource>>,
    ) -> Result<Arc<Self>, String> {
        let endpoint = Endpoint::prepare(&plan.token, &grant(plan), secrets)?;
        if let Some(before) = before.filter(|before| before.endpoint.is_same(&endpoint)) {
            return Ok(Arc::clone(before));
        }
        Ok(Arc::new(ExchangeSource {
            endpoint: Arc::new(endpoint),
            kept: Arc::default(),
            flights: Flights::default(),
        }))
    }

    /// `Bearer` and a token that is good now for this caller. The error is a sentence for the record.
    pub(super) async fn header(
        &self,
        fetcher: &Fetcher,
        subject: &Subject,
        now: Instant,
    ) -> Result<HeaderValue, Arc<str>> {
        let ageing = match self.look(&subject.digest, now) {
            Some(Known { said, is_ageing: false }) => return said,
            Some(Known { said, is_ageing: true }) => Some(said),
            None => None,
        };
        let fetch = || {
            let (endpoint, kept, client) =
                (Arc::clone(&self.endpoint), Arc::clone(&self.kept), fetcher.client());
            let (form, digest) = (form(&endpoint.form, &subject.token), subject.digest);
            async move { fetch(&endpoint, form, digest, &kept, &client).await }
        };
        if let Some(said) = ageing {
            // Begun and not waited for: this request goes on with the old one.
            let _ = self.flights.join(fetcher, subject.digest, Duration::ZERO, fetch).await;
            return said;
        }
        let came = self.flights.join(fetcher, subject.digest, self.endpoint.timeout, fetch).await;
        came.unwrap_or_else(|_| Err("the token endpoint did not answer in time".into()))
    }

    /// The upstream refused the token: unless it is fresh, the caller's next request exchanges anew.
    pub(super) fn doubt(&self, subject: &Subject, now: Instant) {
        let mut kept = lock(&self.kept);
        if let Some(Entry::Token(token)) = kept.tokens.get(&subject.digest)
            && now.saturating_duration_since(token.since) > FRESH_FOR
        {
            kept.tokens.remove(&subject.digest);
        }
    }

    fn look(&self, digest: &TokenDigest, now: Instant) -> Option<Known> {
        let kept = lock(&self.kept);
        let rests = kept.failure.as_ref().filter(|failure| now < failure.again_at);
        match kept.tokens.get(digest).filter(|entry| now < entry.until()) {
            Some(Entry::Token(token)) => Some(Known {
                said: Ok(token.value.clone()),
                is_ageing: rests.is_none() && now >= token.renew_at,
            }),
            Some(Entry::Refused(why, _)) => Some(Known { said: Err(Arc::clone(why)), is_ageing: false }),
            None => rests.map(|failure| Known { said: Err(Arc::clone(&failure.why)), is_ageing: false }),
        }
    }
}

/// What is kept for a caller.
struct Known {
    said: Result<HeaderValue, Arc<str>>,
    /// Good, and to be renewed.
    is_ageing: bool,
}

impl fmt::Debug for ExchangeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeSource").field("url", &self.endpoint.at.url).finish_non_exhaustive()
    }
}

impl Kept {
    /// Keeps what came. A full table first loses what is over, then everything: what is lost costs an exchange, and
    /// nobody can make the gateway keep more.
    fn keep(&mut self, digest: TokenDigest, entry: Entry, now: Instant) {
        if self.tokens.len() >= TOKENS_MAX {
            self.tokens.retain(|_, entry| now < entry.until());
        }
        if self.tokens.len() >= TOKENS_MAX {
            self.tokens.clear();
        }
        self.tokens.insert(digest, entry);
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One exchange on the fetching thread, and what is kept of it.
async fn fetch(
    endpoint: &Endpoint,
    form: Bytes,
    digest: TokenDigest,
    kept: &Mutex<Kept>,
    client: &Client,
) -> Result<HeaderValue, Arc<str>> {
    // Before the exchange: the token's time began no earlier.
    let since = Instant::now();
    let answer = client
        .ask(&endpoint.at, Ask::form(FetchPurpose::Token, endpoint.headers.clone(), form), endpoint.timeout)
        .await;
    let judged = match answer {
        Ok(answer) => judge(&answer),
        Err(error) => Err(Wrong::Endpoint(format!("the token endpoint cannot be asked: {error}"))),
    };
    let now = Instant::now();
    let mut kept = lock(kept);
    match judged {
        Ok((value, lifetime)) => {
            kept.failure = None;
            kept.keep(digest, Entry::Token(Token::new(value.clone(), since, lifetime)), now);
            Ok(value)
        }
        Err(Wrong::Subject(why)) => {
            // It answers, so it does not fail.
            kept.failure = None;
            let why: Arc<str> = why.into();
            kept.keep(digest, Entry::Refused(Arc::clone(&why), now + REFUSED_FOR), now);
            Err(why)
        }
        Err(Wrong::Endpoint(why)) => {
            tracing::warn!(url = %endpoint.at.url, %why, "no token for an upstream");
            let why: Arc<str> = why.into();
            kept.failure = Some(Failure::after(kept.failure.as_ref(), Arc::clone(&why)));
            Err(why)
        }
    }
}

/// Whose fault it is that there is no token.
#[derive(Debug)]
enum Wrong {
    /// The caller's token is not taken.
    Subject(String),
    /// The endpoint, or what documents say of it.
    Endpoint(String),
}

fn judge(answer: &Answer) -> Result<(HeaderValue, Duration), Wrong> {
    // RFC 8693 §2.2.2: a subject token that is not acceptable, and a target that is none, are answered with 400. That is
    // also the answer to a client that is not known (RFC 6749 §5.2), which concerns all callers.
    if matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN) {
        let code = error_code(&answer.body);
        let why = format!("the token endpoint refused the exchange: {}", code.unwrap_or("no known error"));
        return Err(match code {
            Some("invalid_client" | "unauthorized_client" | "unsupported_grant_type") => Wrong::Endpoint(why),
            _ => Wrong::Subject(why),
        });
    }
    let (value, lifetime, body) = read(answer).map_err(Wrong::Endpoint)?;
    // RFC 8693 §2.2.1: REQUIRED. Anything else is nothing that an upstream is sent as a bearer token.
    match body.get("issued_token_type").and_then(serde_json::Value::as_str) {
        Some(ACCESS_TOKEN | JWT) => Ok((value, lifetime)),
        _ => Err(Wrong::Endpoint("the token endpoint's answer does not issue an access token".to_owned())),
    }
}

/// The error's code, where it is one that standards define; other words of an answer are never repeated.
fn error_code(body: &[u8]) -> Option<&'static str> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let code = body.get("error")?.as_str()?;
    ERRORS.into_iter().find(|known| *known == code)
}

/// RFC 6749 §5.2 and §4.1.2.1, RFC 8693 §2.2.2.
const ERRORS: [&str; 8] = [
    "access_denied",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "unauthorized_client",
    "unsupported_grant_type",
];

/// RFC 8693 §2.1, all but the caller's token.
fn grant(plan: &ExchangePlan) -> String {
    let mut form = format!("grant_type={}", form_encoded("urn:ietf:params:oauth:grant-type:token-exchange"));
    let mut add = |name: &str, value: &str| {
        form.push_str(&format!("&{name}={}", form_encoded(value)));
    };
    add("subject_token_type", plan.subject_token_type);
    add("requested_token_type", ACCESS_TOKEN);
    if let Some(resource) = &plan.resource {
        add("resource", resource);
    }
    form
}

fn form(begun: &Bytes, token: &SecretValue) -> Bytes {
    // What was verified is ASCII; whatever else it were, it would be escaped and refused there.
    let token = String::from_utf8_lossy(token.expose());
    let mut form = begun.to_vec();
    form.extend_from_slice(b"&subject_token=");
    form.extend_from_slice(form_encoded(&token).as_bytes());
    form.into()
}

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// 4,096 callers' tokens for an upstream, usually 2 KiB each.
const TOKENS_MAX: usize = 4_096;
/// Five seconds: so long a refused caller costs the endpoint nothing.
const REFUSED_FOR: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from(body.to_owned()),
        }
    }

    #[test]
    fn only_an_issued_access_token_is_sent_on() {
        let body = |issued: &str| {
            let issued = if issued.is_empty() {
                String::new()
            } else {
                format!(",\"issued_token_type\":\"{issued}\"")
            };
            format!("{{\"access_token\":\"a.b\",\"token_type\":\"Bearer\",\"expires_in\":60{issued}}}")
        };
        for issued in [ACCESS_TOKEN, JWT] {
            let (value, lifetime) = judge(&answer(200, &body(issued))).unwrap();
            assert_eq!((value.to_str().unwrap(), lifetime), ("Bearer a.b", Duration::from_secs(60)));
            assert!(value.is_sensitive());
        }
        for issued in ["", "urn:ietf:params:oauth:token-type:refresh_token", "access_token"] {
            assert!(matches!(judge(&answer(200, &body(issued))), Err(Wrong::Endpoint(_))), "{issued}");
        }
    }

    #[test]
    fn a_refused_caller_is_told_from_a_failing_endpoint_and_no_word_of_the_answer_is_repeated() {
        for (status, body, is_subject) in [
            (400, r#"{"error":"invalid_request","error_description":"canary"}"#, true),
            (400, r#"{"error":"invalid_target"}"#, true),
            (400, r#"{"error":"canary"}"#, true),
            (403, "canary", true),
            (400, r#"{"error":"invalid_client"}"#, false),
            (400, r#"{"error":"unsupported_grant_type"}"#, false),
            (401, r#"{"error":"canary"}"#, false),
            (500, "canary", false),
            (302, "canary", false),
        ] {
            let wrong = judge(&answer(status, body)).unwrap_err();
            let (found, why) = match wrong {
                Wrong::Subject(why) => (true, why),
                Wrong::Endpoint(why) => (false, why),
            };
            assert_eq!(found, is_subject, "{status} {body}");
            assert!(!why.contains("canary"), "{why}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut kept = Kept::default();
        let now = Instant::now();
        for number in 0..10_000_u32 {
            let entry = Entry::Refused("no".into(), now + REFUSED_FOR);
            kept.keep(TokenDigest::of(&number.to_be_bytes()), entry, now);
            assert!(kept.tokens.len() <= TOKENS_MAX);
        }
        assert!(kept.tokens.contains_key(&TokenDigest::of(&9_999_u32.to_be_bytes())), "the last one is kept");
    }

    #[test]
    fn a_token_becomes_one_field_of_the_form_and_nothing_else() {
        let begun = Bytes::from_static(b"grant_type=x");
        let whole = form(&begun, &SecretValue::new(b"a&audience=all".to_vec()));
        assert_eq!(&whole[..], b"grant_type=x&subject_token=a%26audience%3Dall");
    }
}
