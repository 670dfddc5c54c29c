//! Asking an issuer about a token (RFC 7662), and keeping what it said.
//!
//! Answers are kept by the token's digest, for as long as a document says and never beyond the token's own end; a
//! token that is not active is kept shortly, so that a flood of it costs the issuer little. An issuer that does not
//! answer is left alone for a moment, and tokens cannot be judged meanwhile: that is a fault, never a no or a yes.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bartizan_config::snapshot::IntrospectionPlan;
use bartizan_fetch::{Ask, Client, Destination, Fetcher, Flights};
use bartizan_identity::{
    Claim,
    introspection::{AnswerSpec, TokenDigest},
    jwt::{InvalidToken, TokenIdentity},
};
use bartizan_model::SecretValue;
use bartizan_telemetry::FetchPurpose;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use bartizan_identity::base64;

/// 16,384 answers in all: about 2 KiB each.
const SHARDS: usize = 16;
const ANSWERS_PER_SHARD_MAX: usize = 1_024;

/// A second: so long an issuer that did not answer is not asked again.
const REST_MS: u64 = 1_000;

/// What an issuer says of a token.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// It is valid.
    Valid(TokenIdentity),
    /// It is not.
    Invalid(InvalidToken),
}

/// Asks one endpoint.
pub(crate) struct Introspector {
    at: Destination,
    /// `Authorization`, with the gateway's own credentials.
    credentials: HeaderValue,
    spec: Arc<AnswerSpec>,
    timeout: Duration,
    keep_ms: u64,
    keep_inactive_ms: u64,
    answers: Arc<Answers>,
    flights: Flights<TokenDigest, Option<Said>>,
    /// Tells from a reload's whether anything changed.
    pub(crate) print: [u8; 32],
}

#[derive(Default)]
struct Answers {
    shards: [Mutex<HashMap<TokenDigest, Kept>>; SHARDS],
    hasher: RandomState,
    rests_until_ms: AtomicU64,
}

struct Kept {
    said: Said,
    until_ms: u64,
}

/// How answers are judged.
pub(crate) fn answer_spec(plan: &IntrospectionPlan) -> AnswerSpec {
    AnswerSpec {
        name: plan.issuer.clone().unwrap_or_else(|| plan.url.to_string().into()),
        issuer: plan.issuer.clone(),
        audiences: plan.audiences.clone(),
        leeway_ms: ms(plan.leeway),
        consumer: plan.mapping.consumer.clone(),
        roles: plan.mapping.roles.clone(),
        tags: plan.mapping.tags.clone(),
    }
}

impl Introspector {
    pub(crate) fn new(
        plan: &IntrospectionPlan,
        at: Destination,
        secret: &SecretValue,
        print: [u8; 32],
    ) -> Result<Self, &'static str> {
        let secret = std::str::from_utf8(secret.expose()).map_err(|_| "the client's secret is not text")?;
        if secret.is_empty() {
            return Err("the client's secret is empty");
        }
        Ok(Introspector {
            at,
            credentials: basic(&plan.client_id, secret)?,
            spec: Arc::new(answer_spec(plan)),
            timeout: plan.timeout,
            keep_ms: ms(plan.cache_for),
            keep_inactive_ms: ms(plan.cache_inactive_for),
            answers: Arc::default(),
            flights: Flights::default(),
            print,
        })
    }

    /// What is known of a token.
    pub(crate) fn known(&self, token: &TokenDigest, now_ms: u64) -> Option<Said> {
        let shard = self.answers.shard(token).lock().unwrap_or_else(PoisonError::into_inner);
        shard.get(token).filter(|kept| now_ms < kept.until_ms).map(|kept| kept.said.clone())
    }

    /// Whether the issuer did not answer a moment ago.
    pub(crate) fn rests(&self, now_ms: u64) -> bool {
        let until = self.answers.rests_until_ms.load(Relaxed);
        // A clock that was turned back must not make it rest for long.
        now_ms < until && until - now_ms <= REST_MS
    }

    /// Asks about a token; many who ask about one token ask once. `None` when there is no answer.
    pub(crate) async fn ask(
        &self,
        fetcher: &Fetcher,
        token: &[u8],
        digest: TokenDigest,
        now_ms: u64,
    ) -> Option<Said> {
        let asking = Asking {
            client: fetcher.client(),
            at: self.at.clone(),
            credentials: self.credentials.clone(),
            spec: Arc::clone(&self.spec),
            timeout: self.timeout,
            keep_ms: self.keep_ms,
            keep_inactive_ms: self.keep_inactive_ms,
            answers: Arc::clone(&self.answers),
            form: form(token),
            digest,
            now_ms,
        };
        self.flights.join(fetcher, digest, self.timeout, || asking.run()).await.unwrap_or(None)
    }
}

/// One question on the fetching thread.
struct Asking {
    client: Client,
    at: Destination,
    credentials: HeaderValue,
    spec: Arc<AnswerSpec>,
    timeout: Duration,
    keep_ms: u64,
    keep_inactive_ms: u64,
    answers: Arc<Answers>,
    form: Bytes,
    digest: TokenDigest,
    now_ms: u64,
}

impl Asking {
    async fn run(self) -> Option<Said> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, self.credentials.clone());
        let asked = self
            .client
            .ask(&self.at, Ask::form(FetchPurpose::Introspection, headers, self.form.clone()), self.timeout)
            .await;
        let said = match asked {
            Ok(answer) if answer.status == StatusCode::OK => self
                .spec
                .judge(&answer.body, &self.digest, self.now_ms)
                .map_err(|_| "the answer cannot be read".to_owned()),
            Ok(answer) => Err(format!("status {}", answer.status)),
            Err(error) => Err(error.to_string()),
        };
        let said = match said {
            Ok(Claim::Valid(identity)) => Said::Valid(identity),
            Ok(Claim::Invalid(invalid)) => Said::Invalid(invalid),
            Ok(Claim::Absent) => return None,
            Err(error) => {
                tracing::warn!(url = %self.at.url, %error, "the issuer does not answer about tokens");
                self.answers.rests_until_ms.store(self.now_ms.saturating_add(REST_MS), Relaxed);
                return None;
            }
        };
        let until_ms = match &said {
            Said::Valid(identity) => self.now_ms.saturating_add(self.keep_ms).min(identity.until_unix_ms()),
            Said::Invalid(_) => self.now_ms.saturating_add(self.keep_inactive_ms),
        };
        self.answers.keep(self.digest, Kept { said: said.clone(), until_ms }, self.now_ms);
        Some(said)
    }
}

impl Answers {
    fn shard(&self, token: &TokenDigest) -> &Mutex<HashMap<TokenDigest, Kept>> {
        let [first, rest @ ..] = &self.shards;
        rest.get(self.hasher.hash_one(token) as usize % SHARDS).unwrap_or(first)
    }

    /// Keeps an answer. A full shard first loses what is over, then all that is not active, then everything: what is
    /// lost costs a question, and nobody can make the gateway keep more.
    fn keep(&self, token: TokenDigest, kept: Kept, now_ms: u64) {
        let mut shard = self.shard(&token).lock().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= ANSWERS_PER_SHARD_MAX {
            shard.retain(|_, kept| now_ms < kept.until_ms);
        }
        if shard.len() >= ANSWERS_PER_SHARD_MAX {
            shard.retain(|_, kept| matches!(kept.said, Said::Valid(_)));
        }
        if shard.len() >= ANSWERS_PER_SHARD_MAX {
            shard.clear();
        }
        shard.insert(token, kept);
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// RFC 7662 §2.1.
fn form(token: &[u8]) -> Bytes {
    let mut form = String::from("token=");
    encode(token, &mut form);
    form.push_str("&token_type_hint=access_token");
    form.into()
}

/// RFC 6749 §2.3.1: both are form-encoded before they are joined.
fn basic(id: &str, secret: &str) -> Result<HeaderValue, &'static str> {
    let mut joined = String::new();
    encode(id.as_bytes(), &mut joined);
    joined.push(':');
    encode(secret.as_bytes(), &mut joined);
    let mut value = HeaderValue::try_from(format!("Basic {}", base64::encode(joined.as_bytes())))
        .map_err(|_| "the client's credentials cannot be sent")?;
    value.set_sensitive(true);
    Ok(value)
}

/// `application/x-www-form-urlencoded`.
fn encode(bytes: &[u8], out: &mut String) {
    use std::fmt::Write as _;
    for byte in bytes {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'*' => {
                out.push(char::from(*byte))
            }
            // Writing to a string cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_encoded_before_they_are_joined() {
        let value = basic("gate:way", "s/ecret+").unwrap();
        assert_eq!(value.to_str().unwrap(), format!("Basic {}", base64::encode(b"gate%3Away:s%2Fecret%2B")));
        assert!(value.is_sensitive());
        assert_eq!(&form(b"a.b+c")[..], b"token=a.b%2Bc&token_type_hint=access_token");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let answers = Answers::default();
        let flaw = bartizan_identity::jwt::TokenFlaw::Inactive;
        for number in 0..40_000_u32 {
            let said = Said::Invalid(InvalidToken { flaw, issuer: None });
            answers.keep(TokenDigest::of(&number.to_be_bytes()), Kept { said, until_ms: 9 }, 1);
        }
        let kept: usize = answers.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(kept <= SHARDS * ANSWERS_PER_SHARD_MAX, "{kept}");
    }
}
