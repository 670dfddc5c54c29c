//! One provider: its discovery document, codes and refresh tokens for tokens, ID tokens judged.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::rand;
use bartizan_config::snapshot::OpenIdConnectPlan;
use bartizan_fetch::{Ask, Destination, Fetcher, Flights, KeySets};
use bartizan_identity::{
    introspection::TokenDigest,
    jwt::{Lookup, NoRevocations, Sources, TokenFlaw, TokenIdentity, TokenJudge, Trust},
    oidc::{
        AuthorizationRequest, Callback, ClientCredentials, EndSessionRequest, Expected, ProviderMetadata,
        Purpose, SealKeys, Session, SessionTerms, SignIn, SignInSecrets, SignedIn, TokenAnswer, TokenRefusal,
        TokenRequest, id_token, seal::NONCE_BYTES, session::SessionRules, sign_in::SIGN_IN_MS_MAX,
    },
};
use bartizan_model::SecretValue;
use bartizan_telemetry::FetchPurpose;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::memory::{Memory, Renewal};
use crate::runtime::Outside;
use bartizan_identity::base64;

/// An hour: so long a discovery document is believed; after that the old one serves only while a new one cannot be had.
const METADATA_MS: u64 = 3_600_000;

/// A day: so long an old one serves at most.
const METADATA_MS_MAX: u64 = 24 * 3_600_000;

/// A second: so long a provider that did not answer is not asked again.
const REST_MS: u64 = 1_000;

/// Tokens that are said to be good for less are renewed this often at most.
const FRESH_MS_MIN: u64 = 5_000;

/// Five minutes: where a renewed session brings neither an ID token nor a time.
const FRESH_MS: u64 = 300_000;

/// A provider, ready to be asked.
pub(crate) struct Provider {
    plan: OpenIdConnectPlan,
    at: Destination,
    client: ClientCredentials,
    judge: TokenJudge,
    keys: SealKeys,
    session: Purpose,
    sign_in: Purpose,
    metadata: Mutex<Option<Known>>,
    rests_until_ms: AtomicU64,
    lookups: Flights<(), Option<Arc<ProviderMetadata>>>,
    renewals: Flights<TokenDigest, Renewal>,
    memory: Arc<Memory>,
    /// Tells from a reload's whether anything changed.
    pub(crate) print: [u8; 32],
}

#[derive(Clone)]
struct Known {
    metadata: Arc<ProviderMetadata>,
    since_ms: u64,
}

/// Why nobody was signed in.
#[derive(Debug)]
pub(crate) enum SignInFailure {
    /// The answer does not hold; why, for the record.
    Refused(String),
    /// It cannot be decided; why, for the record.
    Unavailable(String),
}

impl Provider {
    /// A provider of a plan. `previous` is the one of the set before, whose sessions go on.
    pub(crate) fn new(
        plan: &OpenIdConnectPlan,
        at: Destination,
        secret: Option<&SecretValue>,
        keys: &SecretValue,
        previous: Option<&Provider>,
        print: [u8; 32],
    ) -> Result<Self, String> {
        let secret = match secret.map(|secret| std::str::from_utf8(secret.expose())) {
            None => None,
            Some(Ok("") | Err(_)) => return Err("the client's secret is not text".to_owned()),
            Some(Ok(secret)) => Some(secret.to_owned()),
        };
        let trust =
            Trust::Fetched { key_set: plan.key_set.name.clone(), algorithms: plan.algorithms.clone() };
        let judge = id_token::judge_of(&plan.issuer, &plan.client_id, trust, ms(plan.leeway))
            .map_err(|flaw| format!("issuer {}: {flaw}", plan.issuer))?;
        let purpose = |what: &str| Purpose::of(&[what, &plan.issuer, &plan.client_id, &plan.cookie]);
        Ok(Provider {
            client: ClientCredentials::new(&*plan.client_id, secret),
            keys: SealKeys::parse(keys.expose()).map_err(|flaw| format!("the session keys: {flaw}"))?,
            session: purpose("session"),
            sign_in: purpose("sign-in"),
            at,
            judge,
            metadata: Mutex::default(),
            rests_until_ms: AtomicU64::new(0),
            lookups: Flights::default(),
            renewals: Flights::default(),
            memory: previous.map(|previous| Arc::clone(&previous.memory)).unwrap_or_default(),
            plan: plan.clone(),
            print,
        })
    }

    /// Whether its sessions are those of `plan`, whatever else was changed.
    pub(crate) fn is_for(&self, plan: &OpenIdConnectPlan) -> bool {
        self.plan.issuer == plan.issuer
            && self.plan.client_id == plan.client_id
            && self.plan.cookie == plan.cookie
    }

    /// The plan; its index is that of the set it was made for.
    pub(crate) fn plan(&self) -> &OpenIdConnectPlan {
        &self.plan
    }

    /// What is remembered of its sessions.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// How long its sessions last.
    pub(crate) fn terms(&self) -> SessionTerms {
        SessionTerms { lifetime_ms: ms(self.plan.lifetime), idle_ms: ms(self.plan.idle) }
    }

    /// Who somebody is by a session.
    pub(crate) fn identity(&self, session: &Session) -> Result<TokenIdentity, TokenFlaw> {
        let mapping = &self.plan.mapping;
        let rules = SessionRules {
            issuer: &self.plan.issuer,
            consumer: mapping.consumer.as_ref(),
            roles: mapping.roles.as_ref(),
            tags: &mapping.tags,
        };
        session.identity(rules, self.terms())
    }

    // === Sealing ===

    /// A session as a browser keeps it; `None` where the system has no randomness.
    pub(crate) fn seal_session(&self, session: &Session) -> Option<String> {
        self.keys.seal(&self.session, &session.encode(), random::<NONCE_BYTES>()?)
    }

    /// The session in a cookie's text.
    pub(crate) fn open_session(&self, text: &[u8]) -> Option<Session> {
        Session::decode(&zeroize::Zeroizing::new(self.keys.open(&self.session, text)?))
    }

    /// Begins a sign-in: what the browser keeps of it, and where it is sent.
    pub(crate) fn begin(
        &self,
        metadata: &ProviderMetadata,
        origin: &str,
        target: &str,
        now_ms: u64,
    ) -> Option<(SignIn, String, String)> {
        let sign_in = SignIn::begin(random::<{ SignInSecrets::BYTES }>()?, now_ms, origin, target);
        let sealed = self.keys.seal(&self.sign_in, &sign_in.encode(), random::<NONCE_BYTES>()?)?;
        let scopes: Vec<&str> = self.plan.scopes.iter().map(|scope| &**scope).collect();
        let url = AuthorizationRequest {
            provider: metadata,
            client_id: &self.plan.client_id,
            redirect_uri: &self.redirect_uri(origin),
            scopes: &scopes,
            secrets: &sign_in.secrets,
        }
        .url();
        Some((sign_in, sealed, url))
    }

    /// The sign-in in a cookie's text.
    pub(crate) fn open_sign_in(&self, text: &[u8]) -> Option<SignIn> {
        SignIn::decode(&self.keys.open(&self.sign_in, text)?)
    }

    fn redirect_uri(&self, origin: &str) -> String {
        format!("{origin}{}", self.plan.redirect_path)
    }

    // === Asking ===

    /// What its discovery document says; `None` where it cannot be had.
    pub(crate) async fn metadata(self: &Arc<Self>, outside: &Outside) -> Option<Arc<ProviderMetadata>> {
        let now = now_ms();
        let known = self.metadata.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let age = |known: &Known| now.saturating_sub(known.since_ms);
        if let Some(known) = known.as_ref().filter(|known| age(known) < METADATA_MS) {
            return Some(known.metadata.clone());
        }
        let until = self.rests_until_ms.load(Relaxed);
        let rests = now < until && until - now <= REST_MS;
        let fresh = if rests {
            None
        } else {
            let (provider, client) = (Arc::clone(self), outside.fetcher.client());
            let fetch = || async move {
                let asked = client
                    .ask(
                        &provider.at,
                        Ask::get(FetchPurpose::Discovery, HeaderMap::new()),
                        provider.plan.timeout,
                    )
                    .await;
                provider.learn(asked)
            };
            self.lookups.join(&outside.fetcher, (), self.plan.timeout, fetch).await.unwrap_or(None)
        };
        fresh.or_else(|| known.filter(|known| age(known) < METADATA_MS_MAX).map(|known| known.metadata))
    }

    fn learn(
        &self,
        asked: Result<bartizan_fetch::Answer, bartizan_fetch::FetchError>,
    ) -> Option<Arc<ProviderMetadata>> {
        let read = match asked {
            Ok(answer) if answer.status == StatusCode::OK => {
                ProviderMetadata::read(&answer.body, &self.plan.issuer, self.plan.fetch.clear_text)
                    .map_err(|flaw| flaw.to_string())
            }
            Ok(answer) => Err(format!("status {}", answer.status)),
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                let known = Known { metadata: metadata.clone(), since_ms: now_ms() };
                *self.metadata.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
                Some(metadata)
            }
            Err(error) => {
                tracing::warn!(issuer = %self.plan.issuer, %error, "nobody can sign in: the provider does not say where");
                self.rests_until_ms.store(now_ms().saturating_add(REST_MS), Relaxed);
                None
            }
        }
    }

    /// The session that a callback brings.
    pub(crate) async fn finish(
        self: &Arc<Self>,
        outside: &Outside,
        callback: &Callback,
        sign_in: &SignIn,
        origin: &str,
    ) -> Result<Session, SignInFailure> {
        let metadata = self.metadata(outside).await.ok_or_else(|| {
            SignInFailure::Unavailable("the provider's discovery document cannot be had".to_owned())
        })?;
        let now = now_ms();
        let refused = |flaw: &dyn std::fmt::Display| SignInFailure::Refused(flaw.to_string());
        let code = callback.code_for(sign_in, origin, &metadata, now).map_err(|flaw| refused(&flaw))?;
        let until_ms = sign_in.began_ms.saturating_add(SIGN_IN_MS_MAX);
        if !self.memory.spend(&sign_in.secrets.state(), until_ms, now) {
            return Err(SignInFailure::Refused("the sign-in was answered before".to_owned()));
        }
        let request = self.client.exchange(
            metadata.client_authentication,
            code,
            &self.redirect_uri(origin),
            &sign_in.secrets.verifier(),
        );
        let answer = self.tokens(&outside.fetcher, &metadata, request).await?;
        let token = answer.id_token.clone().ok_or_else(|| refused(&"the provider gave no ID token"))?;
        let nonce = sign_in.secrets.nonce();
        let expected = Expected { client_id: &self.plan.client_id, nonce: Some(&nonce), subject: None };
        let identity = self.judge(&outside.key_sets, &token, expected).await?;
        let now = now_ms();
        let id = random().ok_or_else(|| SignInFailure::Unavailable("there is no randomness".to_owned()))?;
        Ok(Session {
            id,
            began_ms: now,
            seen_ms: now,
            fresh_until_ms: fresh_until(Some(&identity), answer.expires_in, now),
            id_token: token,
            refresh_token: answer.refresh_token,
        })
    }

    /// Renews a session's tokens. Many who ask with one refresh token ask once, and those who come a moment later are
    /// told the same: many providers take a refresh token once only, and end the session when it comes twice.
    pub(crate) async fn renew(self: &Arc<Self>, outside: &Outside, session: &Session) -> Renewal {
        let Some(token) = &session.refresh_token else { return Renewal::Ended };
        let digest = TokenDigest::of(token.as_bytes());
        if let Some(known) = self.memory.renewed(&digest, now_ms()) {
            return known;
        }
        let (provider, session) = (Arc::clone(self), session.clone());
        let (fetcher, key_sets) = (Arc::downgrade(&outside.fetcher), Arc::clone(&outside.key_sets));
        let fly = || async move {
            let Some(fetcher) = fetcher.upgrade() else { return Renewal::Unavailable };
            let renewal = match provider.renewed(&fetcher, &key_sets, &session).await {
                Ok(session) => Renewal::Anew(Arc::new(session)),
                Err(SignInFailure::Refused(why)) => {
                    tracing::debug!(issuer = %provider.plan.issuer, %why, "a session was not renewed");
                    Renewal::Ended
                }
                Err(SignInFailure::Unavailable(error)) => {
                    tracing::warn!(issuer = %provider.plan.issuer, %error, "sessions cannot be renewed now");
                    return Renewal::Unavailable;
                }
            };
            provider.memory.note_renewed(digest, renewal.clone(), now_ms());
            renewal
        };
        // The token endpoint, and where the provider has changed its keys those.
        let limit = self.plan.timeout + KEYS_MAX;
        self.renewals.join(&outside.fetcher, digest, limit, fly).await.unwrap_or(Renewal::Unavailable)
    }

    async fn renewed(
        self: &Arc<Self>,
        fetcher: &Arc<Fetcher>,
        key_sets: &Arc<KeySets>,
        session: &Session,
    ) -> Result<Session, SignInFailure> {
        let known = self.metadata.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let metadata = match known {
            Some(known) => known.metadata,
            // The process was started since: nobody has signed in yet.
            None => {
                let asked = fetcher
                    .client()
                    .ask(&self.at, Ask::get(FetchPurpose::Discovery, HeaderMap::new()), self.plan.timeout)
                    .await;
                self.learn(asked).ok_or_else(|| {
                    SignInFailure::Unavailable("the provider's discovery document cannot be had".to_owned())
                })?
            }
        };
        let token = session.refresh_token.as_ref().map(|token| token.as_str()).unwrap_or_default();
        let request = self.client.refresh(metadata.client_authentication, token);
        let answer = self.tokens(fetcher, &metadata, request).await?;
        let mut next = session.clone();
        let now = now_ms();
        next.fresh_until_ms = fresh_until(None, answer.expires_in, now);
        if let Some(token) = answer.id_token {
            // OpenID Connect Core 1.0 §12.2: the same person, and no nonce to compare.
            let before = self.identity(session).ok();
            let subject = before.as_ref().and_then(TokenIdentity::subject);
            let expected = Expected { client_id: &self.plan.client_id, nonce: None, subject };
            let identity = self.judge(key_sets, &token, expected).await?;
            next.fresh_until_ms = fresh_until(Some(&identity), answer.expires_in, now);
            next.id_token = token;
        }
        // RFC 6749 §6: where none comes, the old one goes on.
        if answer.refresh_token.is_some() {
            next.refresh_token = answer.refresh_token;
        }
        next.seen_ms = now;
        Ok(next)
    }

    async fn tokens(
        &self,
        fetcher: &Fetcher,
        metadata: &ProviderMetadata,
        request: TokenRequest,
    ) -> Result<TokenAnswer, SignInFailure> {
        let unavailable = |what: &dyn std::fmt::Display| SignInFailure::Unavailable(what.to_string());
        let mut headers = HeaderMap::new();
        if let Some(basic) = &request.basic {
            let mut value = HeaderValue::try_from(format!("Basic {}", base64::encode(basic.as_bytes())))
                .map_err(|_| unavailable(&"the client's credentials cannot be sent"))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        // The same rules as for the document that named it: an address in an answer opens no door that a document shut.
        let at = Destination { url: metadata.token_endpoint.clone(), ..self.at.clone() };
        let ask = Ask::form(FetchPurpose::Token, headers, Bytes::copy_from_slice(request.form.as_bytes()));
        let answer = fetcher.ask(&at, ask, self.plan.timeout).await.map_err(|error| unavailable(&error))?;
        TokenAnswer::read(answer.status.as_u16(), &answer.body).map_err(|refusal| match refusal {
            TokenRefusal::Grant => SignInFailure::Refused(refusal.to_string()),
            // The operator's to mend (`invalid_client`), or the provider's.
            TokenRefusal::Other(_) | TokenRefusal::Unreadable => {
                tracing::warn!(issuer = %self.plan.issuer, error = %refusal, status = %answer.status, "the provider gives no tokens");
                unavailable(&refusal)
            }
        })
    }

    /// Judges an ID token that came a moment ago, so by the clock of now.
    async fn judge(
        &self,
        key_sets: &Arc<KeySets>,
        token: &str,
        expected: Expected<'_>,
    ) -> Result<TokenIdentity, SignInFailure> {
        for _ in 0..2 {
            match self.judge_now(key_sets, token, expected) {
                SignedIn::Yes(identity) => return Ok(identity),
                SignedIn::No(flaw) => return Err(SignInFailure::Refused(flaw.to_string())),
                SignedIn::Faulted(fault) => return Err(SignInFailure::Unavailable(fault.what.to_string())),
                SignedIn::Needs(Lookup::KeySet { issuer }) => {
                    if key_sets.look_up(issuer).await.is_err() {
                        break;
                    }
                }
            }
        }
        Err(SignInFailure::Unavailable("the provider's keys cannot be had".to_owned()))
    }

    fn judge_now(&self, key_sets: &KeySets, token: &str, expected: Expected<'_>) -> SignedIn {
        let ring = key_sets.current().load_full();
        let sources = Sources { keys: &*ring, revocations: &NoRevocations };
        id_token::judge(&self.judge, token, expected, &sources, now_ms())
    }

    /// Where a browser signs out at the provider too; `None` where the provider has no such place or cannot be asked.
    pub(crate) async fn end_session_url(
        self: &Arc<Self>,
        outside: &Outside,
        session: &Session,
        back_to: &str,
    ) -> Option<String> {
        let metadata = self.metadata(outside).await?;
        let request = EndSessionRequest {
            provider: &metadata,
            client_id: &self.plan.client_id,
            id_token: &session.id_token,
            back_to: Some(back_to),
        };
        request.url()
    }
}

/// 4 s: as long as a request waits for a key set.
const KEYS_MAX: Duration = Duration::from_secs(4);

/// When tokens that came now are to be renewed.
fn fresh_until(identity: Option<&TokenIdentity>, expires_in: Option<u64>, now_ms: u64) -> u64 {
    let by_token = identity.map(TokenIdentity::until_unix_ms);
    let by_answer = expires_in.map(|seconds| now_ms.saturating_add(seconds.saturating_mul(1_000)));
    let until = by_token.into_iter().chain(by_answer).min().unwrap_or(now_ms.saturating_add(FRESH_MS));
    until.max(now_ms.saturating_add(FRESH_MS_MIN))
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).ok()?;
    Some(bytes)
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn now_ms() -> u64 {
    ms(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
