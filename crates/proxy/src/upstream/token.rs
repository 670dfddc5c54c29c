//! Tokens for upstreams by OAuth 2.0 client credentials (RFC 6749 §4.4): one kept, renewed before it ends.
//!
//! Many requests that need a token wait for one exchange. A token that is soon to end is renewed beside the requests,
//! which go on with the old one. When the endpoint fails, it is left alone for a while, longer each time, and nothing is
//! sent to the upstream without a token: closed, with the reason in the record and nothing secret in it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ::aws_lc_rs::digest;
use bartizan_config::snapshot::upstream::TokenPlan;
use bartizan_fetch::{Access, Answer, Ask, Client, Destination, Fetcher, Flights, trusting};
use bartizan_telemetry::FetchPurpose;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::prepare::Secrets;
use bartizan_identity::base64::encode;

/// Where tokens for one upstream come from. Outlives a reload that changes nothing about it.
pub(super) struct TokenSource {
    endpoint: Arc<Endpoint>,
    kept: Arc<Mutex<Kept>>,
    flights: Flights<(), Result<HeaderValue, Arc<str>>>,
}

/// A token endpoint, and how it is asked.
pub(super) struct Endpoint {
    pub(super) at: Destination,
    pub(super) headers: HeaderMap,
    pub(super) form: Bytes,
    pub(super) timeout: Duration,
    /// Of everything that decides which token comes back.
    identity: [u8; 32],
}

#[derive(Default)]
struct Kept {
    token: Option<Token>,
    failure: Option<Failure>,
}

/// A token that came, and its times.
pub(super) struct Token {
    pub(super) value: HeaderValue,
    pub(super) since: Instant,
    /// From here on it is renewed.
    pub(super) renew_at: Instant,
    /// From here on it is not sent any more.
    pub(super) until: Instant,
}

/// A token endpoint that failed, and until when it is left alone.
pub(super) struct Failure {
    pub(super) why: Arc<str>,
    pub(super) again_at: Instant,
    in_a_row: u32,
}

impl Failure {
    /// One more after `before`; it rests longer each time.
    pub(super) fn after(before: Option<&Failure>, why: Arc<str>) -> Self {
        let in_a_row = before.map_or(0, |failure| failure.in_a_row).saturating_add(1);
        let rest = REST.saturating_mul(1 << in_a_row.min(5).saturating_sub(1)).min(REST_MAX);
        Failure { why, again_at: Instant::now() + rest, in_a_row }
    }
}

impl Endpoint {
    /// Reads what the plan refers to; `grant` begins the form. The error holds nothing of the secret.
    pub(super) fn prepare(plan: &TokenPlan, grant: &str, secrets: Secrets<'_>) -> Result<Self, String> {
        let secret = secrets(&plan.secret)?;
        let text = std::str::from_utf8(secret.expose()).map_err(|_| format!("{} is no text", plan.secret))?;
        if text.is_empty() {
            return Err(format!("{} is empty", plan.secret));
        }
        let pem = plan.authorities.as_ref().map(secrets).transpose()?;
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [
            format!("{plan:?}").as_bytes(),
            grant.as_bytes(),
            secret.expose(),
            pem.as_ref().map_or(b"", |pem| pem.expose()),
        ] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut identity = [0; 32];
        identity.copy_from_slice(context.finish().as_ref());
        let tls = match &pem {
            Some(pem) => Some(trusting(pem.expose()).map_err(|error| format!("the authorities: {error}"))?),
            None => None,
        };
        let access = Access { private_network: plan.private_network, clear_text: plan.clear_text };
        let at = Destination { url: plan.url.clone(), access, tls };
        let (headers, form) = ask_with(plan, grant, text)?;
        Ok(Endpoint { at, headers, form, timeout: plan.timeout, identity })
    }

    /// Whether both bring the same tokens.
    pub(super) fn is_same(&self, other: &Endpoint) -> bool {
        self.identity == other.identity
    }
}

impl TokenSource {
    /// Reads what the plan refers to; `before` goes on where nothing changed. The error holds nothing of the secret.
    pub(super) fn prepare(
        plan: &TokenPlan,
        secrets: Secrets<'_>,
        before: Option<&Arc<TokenSource>>,
    ) -> Result<Arc<Self>, String> {
        let endpoint = Endpoint::prepare(plan, "grant_type=client_credentials", secrets)?;
        if let Some(before) = before.filter(|before| before.endpoint.is_same(&endpoint)) {
            return Ok(Arc::clone(before));
        }
        Ok(Arc::new(TokenSource {
            endpoint: Arc::new(endpoint),
            kept: Arc::default(),
            flights: Flights::default(),
        }))
    }

    /// `Bearer` and a token that is good now. The error is a sentence for the record.
    pub(super) async fn header(&self, fetcher: &Fetcher, now: Instant) -> Result<HeaderValue, Arc<str>> {
        let fetch = || {
            let (endpoint, kept, client) =
                (Arc::clone(&self.endpoint), Arc::clone(&self.kept), fetcher.client());
            async move { fetch(&endpoint, &kept, &client).await }
        };
        match self.look(now) {
            Look::Good(value) => Ok(value),
            Look::Ageing(value) => {
                // Begun and not waited for.
                let _ = self.flights.join(fetcher, (), Duration::ZERO, fetch).await;
                Ok(value)
            }
            Look::Resting(why) => Err(why),
            Look::Nothing => {
                let came = self.flights.join(fetcher, (), self.endpoint.timeout, fetch).await;
                came.unwrap_or_else(|_| Err("the token endpoint did not answer in time".into()))
            }
        }
    }

    /// The upstream refused the token: unless it is fresh, the next request fetches another. A fresh one is kept, so that
    /// an upstream that refuses everything does not become a storm at the token endpoint.
    pub(super) fn doubt(&self, now: Instant) {
        let mut kept = self.kept();
        if kept.token.as_ref().is_some_and(|token| now.saturating_duration_since(token.since) > FRESH_FOR) {
            kept.token = None;
        }
    }

    fn look(&self, now: Instant) -> Look {
        let kept = self.kept();
        let rests = kept.failure.as_ref().filter(|failure| now < failure.again_at);
        match (&kept.token, rests) {
            (Some(token), None) if (token.renew_at..token.until).contains(&now) => {
                Look::Ageing(token.value.clone())
            }
            (Some(token), _) if now < token.until => Look::Good(token.value.clone()),
            (_, Some(failure)) => Look::Resting(Arc::clone(&failure.why)),
            _ => Look::Nothing,
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("url", &self.endpoint.at.url).finish_non_exhaustive()
    }
}

enum Look {
    Good(HeaderValue),
    /// Good, and to be renewed.
    Ageing(HeaderValue),
    /// The endpoint failed a moment ago.
    Resting(Arc<str>),
    Nothing,
}

/// One exchange on the fetching thread, and what is kept of it.
async fn fetch(endpoint: &Endpoint, kept: &Mutex<Kept>, client: &Client) -> Result<HeaderValue, Arc<str>> {
    // Before the exchange: the token's time began no earlier.
    let since = Instant::now();
    let answer = client
        .ask(
            &endpoint.at,
            Ask::form(FetchPurpose::Token, endpoint.headers.clone(), endpoint.form.clone()),
            endpoint.timeout,
        )
        .await;
    let read = match answer {
        Ok(answer) => read(&answer).map(|(value, lifetime, _)| (value, lifetime)),
        Err(error) => Err(format!("the token endpoint cannot be asked: {error}")),
    };
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    match read {
        Ok((value, lifetime)) => {
            kept.failure = None;
            kept.token = Some(Token::new(value.clone(), since, lifetime));
            Ok(value)
        }
        Err(why) => {
            tracing::warn!(url = %endpoint.at.url, %why, "no token for an upstream");
            let why: Arc<str> = why.into();
            kept.failure = Some(Failure::after(kept.failure.as_ref(), Arc::clone(&why)));
            Err(why)
        }
    }
}

impl Token {
    pub(super) fn new(value: HeaderValue, since: Instant, lifetime: Duration) -> Self {
        // A fifth of its time before the end, at most a minute; and a little earlier than it ends it is not sent, because
        // the way to the upstream takes time and clocks differ.
        let ahead = (lifetime / 5).min(RENEW_AHEAD_MAX);
        let (renew_at, until) = (since + (lifetime - ahead), since + (lifetime - ahead / 6));
        Token { value, since, renew_at, until }
    }
}

/// What the token endpoint is sent.
fn ask_with(plan: &TokenPlan, grant: &str, secret: &str) -> Result<(HeaderMap, Bytes), String> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let mut form = String::from(grant);
    let mut add = |name: &str, value: &str| {
        form.push('&');
        form.push_str(name);
        form.push('=');
        form.push_str(&form_encoded(value));
    };
    if !plan.scope.is_empty() {
        add("scope", &plan.scope);
    }
    if let Some(audience) = &plan.audience {
        add("audience", audience);
    }
    if plan.secret_in_form {
        add("client_id", &plan.client_id);
        add("client_secret", secret);
    } else {
        // RFC 6749 §2.3.1: both are form-encoded before they are joined.
        let pair = format!("{}:{}", form_encoded(&plan.client_id), form_encoded(secret));
        let mut value = HeaderValue::try_from(format!("Basic {}", encode(pair.as_bytes())))
            .map_err(|_| "the client's secret cannot be sent".to_owned())?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    Ok((headers, Bytes::from(form)))
}

/// `application/x-www-form-urlencoded`, strict: everything but letters, digits and `-._~` is escaped.
pub(super) fn form_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The token, its lifetime and the whole answer. The error is a sentence without a word of the answer's body.
pub(super) fn read(answer: &Answer) -> Result<(HeaderValue, Duration, serde_json::Value), String> {
    if answer.status != StatusCode::OK {
        return Err(format!("the token endpoint answered {}", answer.status.as_u16()));
    }
    let broken = |what: &str| format!("the token endpoint's answer {what}");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).map_err(|_| broken("is not JSON"))?;
    let kind = body.get("token_type").and_then(serde_json::Value::as_str).unwrap_or_default();
    // RFC 6749 §7.1: a token of a type that is not understood must not be used.
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err(broken("is no bearer token"));
    }
    let token = body.get("access_token").and_then(serde_json::Value::as_str).unwrap_or_default();
    // RFC 6750 §2.1: b64token.
    let sound = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
    };
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX || !token.bytes().all(sound) {
        return Err(broken("holds no usable token"));
    }
    let lifetime = match body.get("expires_in") {
        None => LIFETIME_UNSAID,
        Some(seconds) => match seconds.as_u64().or_else(|| seconds.as_str()?.parse().ok()) {
            Some(seconds @ 1..) => Duration::from_secs(seconds).min(LIFETIME_MAX),
            _ => return Err(broken("holds a token that has ended")),
        },
    };
    let mut value =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| broken("holds no usable token"))?;
    value.set_sensitive(true);
    Ok((value, lifetime, body))
}

/// Renewal begins at most this long before the end.
const RENEW_AHEAD_MAX: Duration = Duration::from_secs(60);
/// After the first failure; it doubles with each that follows.
const REST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(16);
/// RFC 6749 §5.1 only recommends to state a lifetime.
const LIFETIME_UNSAID: Duration = Duration::from_secs(300);
/// A day: a token that is said to live longer is renewed all the same.
const LIFETIME_MAX: Duration = Duration::from_secs(86_400);
/// So old a token must be to be doubted.
pub(super) const FRESH_FOR: Duration = Duration::from_secs(10);
/// Heads of upstreams rarely take more.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from(body.to_owned()),
        }
    }

    #[test]
    fn only_a_bearer_token_that_can_be_sent_is_one() {
        let good =
            read(&answer(200, r#"{"access_token":"a.b-c","token_type":"bearer","expires_in":90}"#)).unwrap();
        assert_eq!((good.0.to_str().unwrap(), good.1), ("Bearer a.b-c", Duration::from_secs(90)));
        let unsaid = read(&answer(200, r#"{"access_token":"a","token_type":"Bearer"}"#)).unwrap();
        assert_eq!(unsaid.1, LIFETIME_UNSAID);
        for (status, body) in [
            (401, r#"{"error":"canary"}"#),
            (302, "canary"),
            (200, "canary"),
            (200, r#"{"access_token":"canary"}"#),
            (200, r#"{"access_token":"canary","token_type":"mac"}"#),
            (200, r#"{"access_token":"","token_type":"bearer"}"#),
            (200, r#"{"access_token":"canary\r\nx: y","token_type":"bearer"}"#),
            (200, r#"{"access_token":"canary","token_type":"bearer","expires_in":0}"#),
            (200, r#"{"access_token":"canary","token_type":"bearer","expires_in":-5}"#),
        ] {
            let why = read(&answer(status, body)).unwrap_err();
            assert!(!why.contains("canary"), "{why}");
        }
    }

    #[test]
    fn a_token_is_renewed_before_it_ends_and_never_sent_after() {
        let now = Instant::now();
        for (lifetime, ahead) in [(3_600, 60), (100, 20), (10, 2)] {
            let token = Token::new(HeaderValue::from_static("x"), now, Duration::from_secs(lifetime));
            assert_eq!(token.renew_at, now + Duration::from_secs(lifetime - ahead));
            assert!(token.renew_at < token.until && token.until < now + Duration::from_secs(lifetime));
        }
    }

    #[test]
    fn what_is_sent_is_encoded_so_that_no_value_becomes_a_field() {
        assert_eq!(form_encoded("a&b=c d/ü"), "a%26b%3Dc%20d%2F%C3%BC");
    }
}
