//! Signing in by an OpenID provider: code flow with PKCE, claims to a role.
//!
//! What an answer of the provider means is judged in `identity::oidc`; this is its wire. The provider, our client and the
//! mapping are the operator's, given at the start; nothing that a browser sends says where to go. An attempt is kept here
//! for ten minutes, used once, and bound to the browser that began it by a cookie. Whoever has no mapped role is nobody.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use bartizan_fetch::{Access, Ask, Destination, Fetcher, KeySetSource, KeySets};
use bartizan_identity::{
    SignatureAlgorithm, base64,
    json::Json,
    jwt::{NoRevocations, Sources, TokenIdentity, TokenJudge, Trust},
    oidc::{
        AuthorizationRequest, Callback, CallbackFlaw, ClientCredentials, Expected, ProviderMetadata, SignIn,
        SignInSecrets, SignedIn, TokenAnswer, id_token,
    },
};
use bartizan_model::scalar::FetchUrl;
use bartizan_store::{AuditPhase, Known};
use bartizan_telemetry::{FetchPurpose, FetchTable};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT, AUTHORIZATION, SET_COOKIE},
    request::Parts,
};
use rustls::ClientConfig;

use super::{
    App, Peer,
    auth::{named_cookie, peer, refuse_other_sites},
    login::{self, Stranger, sound_name},
    now_ms,
    problem::Problem,
    role::Role,
};

/// How administrators sign in elsewhere.
pub struct OpenIdTerms {
    /// What the provider is called on the page.
    pub name: String,
    /// The provider's identifier, exactly as it names itself.
    pub issuer: String,
    /// Our client there.
    pub client: ClientCredentials,
    /// Where browsers find this listener: scheme, name, port.
    pub origin: String,
    /// The claim that has groups or roles: a word or a list of words.
    pub claim: String,
    /// Which role a word of the claim gives; where several match, the one with most permissions counts.
    pub roles: Vec<(String, Role)>,
    /// Whom to trust; `None` for the system's roots.
    pub tls: Option<Arc<ClientConfig>>,
    /// Whether the provider may be on a private network.
    pub private_network: bool,
}

/// The provider, as far as it is known, and the attempts that are under way.
pub struct OpenId {
    terms: OpenIdTerms,
    issuer: Arc<str>,
    discovery: FetchUrl,
    judge: TokenJudge,
    fetcher: Arc<Fetcher>,
    key_sets: Arc<KeySets>,
    provider: Mutex<Option<(Arc<ProviderMetadata>, Instant)>>,
    attempts: Mutex<HashMap<String, SignIn>>,
}

impl fmt::Debug for OpenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenId").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl OpenId {
    /// Signs in by this provider; what is fetched for that is counted in `fetches`. Nothing is asked of it before somebody wants to sign in.
    ///
    /// # Errors
    /// What cannot be used, in a sentence for the operator.
    pub fn new(terms: OpenIdTerms, fetches: Arc<FetchTable>) -> Result<Self, String> {
        let issuer: Arc<str> = terms.issuer.clone().into();
        let address = format!("{}/.well-known/openid-configuration", terms.issuer.trim_end_matches('/'));
        let discovery: FetchUrl =
            address.parse().map_err(|_| format!("{:?} is no issuer's address", terms.issuer))?;
        if !discovery.is_https() {
            return Err(format!("the issuer {:?} is not `https`", terms.issuer));
        }
        if terms.roles.is_empty() {
            return Err("no group of the provider is given a role, so nobody could sign in".to_owned());
        }
        // The set of keys has the issuer's name; there is one.
        let trust = Trust::Fetched { key_set: Arc::clone(&issuer), algorithms: ALGORITHMS.to_vec() };
        let judge = id_token::judge_of(&issuer, terms.client.id(), trust, LEEWAY_MS)
            .map_err(|flaw| format!("the issuer cannot be used: {flaw}"))?;
        let fetcher =
            Fetcher::start(fetches).map_err(|error| format!("no thread to ask the provider: {error}"))?;
        let key_sets = KeySets::start(Arc::clone(&fetcher));
        let openid = OpenId {
            issuer,
            discovery,
            judge,
            fetcher,
            key_sets,
            provider: Mutex::default(),
            attempts: Mutex::default(),
            terms,
        };
        let source = KeySetSource {
            at: openid.destination(openid.discovery.clone()),
            discovered_for: Some(Arc::clone(&openid.issuer)),
        };
        openid.key_sets.watch(HashMap::from([(Arc::clone(&openid.issuer), source)]));
        Ok(openid)
    }

    /// What the provider is called.
    pub(crate) fn name(&self) -> &str {
        &self.terms.name
    }

    fn destination(&self, url: FetchUrl) -> Destination {
        let access = Access { private_network: self.terms.private_network, clear_text: false };
        Destination { url, access, tls: self.terms.tls.clone() }
    }

    fn redirect_uri(&self) -> String {
        format!("{}{CALLBACK}", self.terms.origin)
    }

    /// The provider as it describes itself; asked again after an hour.
    async fn provider(&self) -> Result<Arc<ProviderMetadata>, Flaw> {
        let known = self.provider.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((provider, at)) = known
            && at.elapsed() < KNOWN_FOR
        {
            return Ok(provider);
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let asked = self
            .fetcher
            .ask(
                &self.destination(self.discovery.clone()),
                Ask::get(FetchPurpose::Discovery, headers),
                PATIENCE,
            )
            .await;
        let answer = asked.map_err(|error| Flaw::Unreachable(error.to_string()))?;
        if answer.status != http::StatusCode::OK {
            return Err(Flaw::Unreachable(format!("it answers {}", answer.status)));
        }
        let provider = ProviderMetadata::read(&answer.body, &self.issuer, false)
            .map_err(|flaw| Flaw::Unreachable(flaw.to_string()))?;
        let provider = Arc::new(provider);
        let known = Some((Arc::clone(&provider), Instant::now()));
        *self.provider.lock().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(provider)
    }

    /// Remembers an attempt; those whose time is over go first, then the oldest.
    fn remember(&self, sign_in: SignIn) {
        let now = now_ms();
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if attempts.len() >= ATTEMPTS_MAX {
            attempts.retain(|_, attempt| !attempt.is_over(now));
        }
        if attempts.len() >= ATTEMPTS_MAX
            && let Some(oldest) =
                attempts.iter().min_by_key(|(_, one)| one.began_ms).map(|(state, _)| state.clone())
        {
            attempts.remove(&oldest);
        }
        attempts.insert(sign_in.secrets.state(), sign_in);
    }

    /// An attempt, which is used once whatever comes of it.
    fn take(&self, state: &str) -> Option<SignIn> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).remove(state)
    }

    /// Exchanges the code and judges the ID token.
    async fn redeem(
        &self,
        provider: &ProviderMetadata,
        sign_in: &SignIn,
        code: &str,
    ) -> Result<TokenIdentity, Flaw> {
        let request = self.terms.client.exchange(
            provider.client_authentication,
            code,
            &self.redirect_uri(),
            &sign_in.secrets.verifier(),
        );
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(basic) = &request.basic {
            let text = format!("Basic {}", base64::encode(basic.as_bytes()));
            let mut value = HeaderValue::try_from(text).map_err(|_| Flaw::Refused)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let form = Bytes::copy_from_slice(request.form.as_bytes());
        let at = self.destination(provider.token_endpoint.clone());
        let answer = self.fetcher.ask(&at, Ask::form(FetchPurpose::Token, headers, form), PATIENCE).await;
        let answer = answer.map_err(|error| Flaw::Unreachable(error.to_string()))?;
        let tokens = TokenAnswer::read(answer.status.as_u16(), &answer.body).map_err(|refusal| {
            tracing::warn!(%refusal, "the identity provider gives no token");
            Flaw::Refused
        })?;
        let token = tokens.id_token.ok_or(Flaw::Refused)?;
        self.judge(&token, sign_in).await
    }

    async fn judge(&self, token: &str, sign_in: &SignIn) -> Result<TokenIdentity, Flaw> {
        let nonce = sign_in.secrets.nonce();
        let expected = Expected { client_id: self.terms.client.id(), nonce: Some(&nonce), subject: None };
        // Once for keys that are not there yet, once for keys that have been rotated.
        for _ in 0..LOOKUPS_MAX {
            let outcome = {
                let ring = self.key_sets.current().load_full();
                let sources = Sources { keys: &*ring, revocations: &NoRevocations };
                id_token::judge(&self.judge, token, expected, &sources, now_ms())
            };
            match outcome {
                SignedIn::Yes(identity) => return Ok(identity),
                SignedIn::No(flaw) => {
                    tracing::warn!(%flaw, "an ID token does not hold");
                    return Err(Flaw::Refused);
                }
                SignedIn::Faulted(_) => return Err(Flaw::Unreachable("its keys cannot be had".to_owned())),
                SignedIn::Needs(_) => {
                    let looked = self.key_sets.look_up(Arc::clone(&self.issuer)).await;
                    looked.map_err(|_| Flaw::Unreachable("its keys cannot be had".to_owned()))?;
                }
            }
        }
        Err(Flaw::Unreachable("its keys cannot be had".to_owned()))
    }

    /// The role that the claims give; the one with most permissions where there are several.
    fn role(&self, identity: &TokenIdentity) -> Option<Role> {
        let words: Vec<&str> = match identity.claims().get(&self.terms.claim)? {
            Json::List(list) => list.iter().filter_map(Json::as_text).collect(),
            one => one.as_text().into_iter().collect(),
        };
        let given = self.terms.roles.iter().filter(|(word, _)| words.contains(&word.as_str()));
        given.map(|(_, role)| *role).max_by_key(|role| role.permissions().len())
    }
}

/// What somebody is called: what they chose there, else their address, else their number.
fn name(identity: &TokenIdentity) -> Option<String> {
    let claims = ["preferred_username", "email"].into_iter();
    let texts = claims.filter_map(|claim| identity.claims().get(claim).and_then(Json::as_text));
    texts.chain(identity.subject()).find_map(|text| sound_name(text.to_owned()).ok())
}

/// Why nobody was signed in; the word is what the browser gets.
#[derive(Debug)]
enum Flaw {
    /// It is not the answer to an attempt that began in this browser.
    Attempt,
    /// Somebody here has the name already.
    NameTaken,
    /// The claims give no role.
    NoRole,
    /// The user is disabled here.
    Disabled,
    /// The provider signed nobody in, or its token does not hold.
    Refused,
    /// The provider cannot be asked.
    Unreachable(String),
    /// We failed.
    Ours(Problem),
}

impl Flaw {
    const fn word(&self) -> &'static str {
        match self {
            Flaw::Attempt => "StaleAttempt",
            Flaw::Disabled => "Disabled",
            Flaw::NameTaken => "NameTaken",
            Flaw::NoRole => "NoRole",
            Flaw::Refused => "Refused",
            Flaw::Unreachable(_) => "Unreachable",
            Flaw::Ours(_) => "Failed",
        }
    }
}

impl From<bartizan_store::Error> for Flaw {
    fn from(error: bartizan_store::Error) -> Self {
        match error {
            bartizan_store::Error::UserExists { .. } => Flaw::NameTaken,
            error => Flaw::Ours(error.into()),
        }
    }
}

impl From<Problem> for Flaw {
    fn from(problem: Problem) -> Self {
        Flaw::Ours(problem)
    }
}

/// A browser that walks here: nothing is changed by what it brings but its own attempt.
pub(crate) struct Walker {
    peer: Peer,
    query: String,
    attempt: Option<String>,
    is_ours: bool,
    stranger: Stranger,
}

impl axum::extract::FromRequestParts<App> for Walker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        let peer = peer(parts)?;
        Ok(Walker {
            peer,
            query: parts.uri.query().unwrap_or_default().to_owned(),
            attempt: named_cookie(&parts.headers, attempt_cookie(peer))?.map(str::to_owned),
            is_ours: refuse_other_sites(&parts.headers).is_ok(),
            stranger: Stranger::walking(parts, peer),
        })
    }
}

/// Sends the browser to the provider.
#[utoipa::path(get, path = "/admin/v1/openid/begin", tag = "sign in", security(()),
    responses((status = 303, description = "To the provider"), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn begin(State(app): State<App>, walker: Walker) -> Result<Response, Problem> {
    let openid = openid(&app)?;
    if !walker.is_ours {
        return Err(Problem::new(http::StatusCode::FORBIDDEN, "OtherSite", "Sign in from the page."));
    }
    let provider = match openid.provider().await {
        Ok(provider) => provider,
        Err(flaw) => return Ok(failed(&flaw, walker.peer)),
    };
    let mut random = [0; SignInSecrets::BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Problem::from(bartizan_store::Error::Random))?;
    let sign_in = SignIn::begin(random, now_ms(), &openid.terms.origin, "/console/");
    let request = AuthorizationRequest {
        provider: &provider,
        client_id: openid.terms.client.id(),
        redirect_uri: &openid.redirect_uri(),
        scopes: &["openid", "profile", "email"],
        secrets: &sign_in.secrets,
    };
    let mut response = Redirect::to(&request.url()).into_response();
    attempt(&mut response, walker.peer, &sign_in.secrets.state(), ATTEMPT_SECONDS);
    openid.remember(sign_in);
    Ok(response)
}

/// Takes the browser back from the provider and signs it in.
#[utoipa::path(get, path = "/admin/v1/openid/callback", tag = "sign in", security(()),
    responses((status = 303, description = "To the page, signed in or told why not"), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn callback(State(app): State<App>, walker: Walker) -> Result<Response, Problem> {
    let openid = openid(&app)?;
    match come_back(&app, openid, &walker).await {
        Ok(mut response) => {
            attempt(&mut response, walker.peer, "", 0);
            Ok(response)
        }
        Err(flaw) => {
            let store = app.api.store().await?;
            let told = flaw.word();
            match &flaw {
                Flaw::Unreachable(why) => tracing::warn!(why, "the identity provider cannot be asked"),
                Flaw::Ours(problem) => tracing::error!(why = problem.title(), "nobody could be signed in"),
                _ => {}
            }
            login::note(store, "nobody", walker.peer, "session.begin", told, AuditPhase::Refused).await?;
            Ok(failed(&flaw, walker.peer))
        }
    }
}

async fn come_back(app: &App, openid: &OpenId, walker: &Walker) -> Result<Response, Flaw> {
    let callback = Callback::read(&walker.query).map_err(|_| Flaw::Attempt)?;
    // Whatever the answer says, its attempt is over.
    let sign_in = openid.take(callback.state()).ok_or(Flaw::Attempt)?;
    let own = walker.attempt.as_deref().is_some_and(|state| sign_in.secrets.is_state(state));
    if !own {
        return Err(Flaw::Attempt);
    }
    let provider = openid.provider().await?;
    let code = callback.code_for(&sign_in, &openid.terms.origin, &provider, now_ms()).map_err(|flaw| {
        tracing::warn!(%flaw, "the identity provider's answer does not hold");
        if matches!(flaw, CallbackFlaw::Refused(_)) { Flaw::Refused } else { Flaw::Attempt }
    })?;
    let identity = openid.redeem(&provider, &sign_in, code).await?;
    let role = openid.role(&identity).ok_or(Flaw::NoRole)?;
    let (Some(name), Some(subject)) = (name(&identity), identity.subject()) else {
        return Err(Flaw::Refused);
    };
    let store = app.api.store().await?;
    let known = Known { issuer: &openid.issuer, subject, name: &name, role: role.as_str() };
    let user = store.users().proven(known, now_ms()).await?;
    if !user.is_enabled() {
        return Err(Flaw::Disabled);
    }
    let begun = login::begin(store, user, &walker.stranger).await?;
    let mut response = Redirect::to("/console/").into_response();
    for cookie in begun.headers().get_all(SET_COOKIE) {
        response.headers_mut().append(SET_COOKIE, cookie.clone());
    }
    Ok(response)
}

fn openid(app: &App) -> Result<&OpenId, Problem> {
    let missing = || Problem::missing("No identity provider is set up here.");
    app.management.openid.as_deref().ok_or_else(missing)
}

/// Back to the page, which says why.
fn failed(flaw: &Flaw, peer: Peer) -> Response {
    let mut response = Redirect::to(&format!("/console/?signin={}", flaw.word())).into_response();
    attempt(&mut response, peer, "", 0);
    response
}

/// Binds an attempt to the browser. `Lax`, for the way back begins at the provider's site.
fn attempt(response: &mut Response, peer: Peer, state: &str, seconds: u64) {
    let secure = if peer.secure { "; Secure" } else { "" };
    let name = attempt_cookie(peer);
    let cookie = format!("{name}={state}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(mut value) = HeaderValue::try_from(cookie) {
        value.set_sensitive(true);
        response.headers_mut().append(SET_COOKIE, value);
    }
}

const fn attempt_cookie(peer: Peer) -> &'static str {
    if peer.secure { "__Host-bartizan-signin" } else { "bartizan-signin" }
}

/// What ID tokens may be signed with: everything asymmetric that is sound.
const ALGORITHMS: [SignatureAlgorithm; 8] = [
    SignatureAlgorithm::Ed25519,
    SignatureAlgorithm::Es256,
    SignatureAlgorithm::Es384,
    SignatureAlgorithm::Ps256,
    SignatureAlgorithm::Ps384,
    SignatureAlgorithm::Ps512,
    SignatureAlgorithm::Rs256,
    SignatureAlgorithm::Rs512,
];
const CALLBACK: &str = "/admin/v1/openid/callback";
/// A provider that takes longer is not there.
const PATIENCE: Duration = Duration::from_secs(10);
/// So long a provider's description is believed.
const KNOWN_FOR: Duration = Duration::from_secs(3_600);
/// Clocks of good hosts differ by less.
const LEEWAY_MS: u64 = 60_000;
/// As long as an attempt may take; see `oidc::SIGN_IN_MS_MAX`.
const ATTEMPT_SECONDS: u64 = 600;
/// Attempts at once: a team signs in, not a crowd.
const ATTEMPTS_MAX: usize = 1_000;
const LOOKUPS_MAX: usize = 3;
