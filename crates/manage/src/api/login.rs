//! Signing in and out: by password, by a one-time link; what the browser is given.
//!
//! A password is checked away from this listener's thread, two at a time, and no more wait than a few: an Argon2id hash
//! costs 19 MiB. A name that nobody has costs the same as a wrong password and gets the same answer. Who fails waits
//! (`throttle`). The link that makes the first user is for this machine alone; it is spent in the transaction that uses it.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use bartizan_identity::password;
use bartizan_store::{AuditNote, AuditPhase, NewSession, Store, UserRow};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{SET_COOKIE, USER_AGENT},
    request::Parts,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{
    App, Peer,
    auth::{
        Caller, FAILURES_MAX, Known, SESSION_IDLE_MS, SESSION_LIFE_MS, Who, cookie_name, failures, own_page,
        peer,
    },
    body::Body,
    now_ms,
    problem::Problem,
    state::MeView,
    trail::Deed,
};

/// Hashes passwords, a few at a time.
pub(crate) struct Hashing {
    places: Semaphore,
    queue: Semaphore,
}

impl Default for Hashing {
    fn default() -> Self {
        Hashing { places: Semaphore::new(HASHES_MAX), queue: Semaphore::new(WAITING_MAX) }
    }
}

impl Hashing {
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let busy = || {
            let title = "Too many people sign in at once; try again in a moment.";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Overloaded", title).retry_after(2)
        };
        let _queued = self.queue.try_acquire().map_err(|_| busy())?;
        let _place = self.places.acquire().await.map_err(|_| busy())?;
        tokio::task::spawn_blocking(work).await.map_err(|_| {
            let title = "The password could not be checked; the log of the gateway says why.";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", title)
        })
    }

    /// Whether this is the password of which `kept` was kept; as slow where nothing was.
    pub(crate) async fn holds(&self, kept: Option<String>, given: Secret) -> Result<bool, Problem> {
        let is_known = kept.is_some();
        let kept = kept.unwrap_or_else(|| password::STAND_IN.to_owned());
        let holds = self.run(move || password::holds(&kept, &given.0)).await?;
        Ok(holds & is_known)
    }

    /// What is kept of a new password; refused where it is not good enough.
    pub(crate) async fn keep(&self, given: Secret, user: &str) -> Result<String, Problem> {
        password::judge(&given.0, user).map_err(|flaw| {
            let title = format!("Choose another password: {flaw}.");
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "PasswordWeak", title)
        })?;
        let mut salt = [0; 16];
        let failed = || {
            let title = "The password could not be kept; try again.";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "InternalError", title)
        };
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| failed())?;
        self.run(move || password::hash(&given.0, &salt)).await?.ok_or_else(failed)
    }
}

/// A password on its way; it is in no debug output, and wiped.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<String>);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Secret(Zeroizing::new(text)))
    }
}

/// Who wants to sign in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogIn {
    /// The user's name.
    name: String,
    /// Their password.
    #[schema(value_type = String)]
    password: Secret,
}

/// A one-time link, and what it is to set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpendLink {
    /// The link's text: what stands after `#link=`.
    #[schema(value_type = String)]
    link: Secret,
    /// What the first user is to be called; other links have their user.
    name: Option<String>,
    /// The new password.
    #[schema(value_type = String)]
    password: Secret,
}

/// A one-time link to be looked at.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LookAtLink {
    /// The link's text.
    #[schema(value_type = String)]
    link: Secret,
}

/// Whom a link is for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinkView {
    /// The user whose password it sets; none: it makes the first user.
    user: Option<String>,
}

/// How one signs in here.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WaysView {
    /// There is nobody yet: the one-time link makes the first user.
    first: bool,
    /// What the OpenID provider is called, where there is one.
    open_id: Option<String>,
}

/// A request to an endpoint that takes no credential: from our own page or a program, and from where.
pub(crate) struct Stranger {
    pub(crate) peer: Peer,
    agent: String,
}

impl axum::extract::FromRequestParts<App> for Stranger {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        let peer = peer(parts)?;
        own_page(&parts.headers, peer)?;
        Ok(Stranger { peer, agent: agent(&parts.headers) })
    }
}

impl Stranger {
    /// Somebody who comes by a link from elsewhere; nothing may be changed for them but by what they prove.
    pub(crate) fn walking(parts: &Parts, peer: Peer) -> Self {
        Stranger { peer, agent: agent(&parts.headers) }
    }
}

/// Tells how one signs in here.
#[utoipa::path(get, path = "/admin/v1/login", tag = "sign in", security(()),
    responses((status = 200, body = WaysView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn ways(State(app): State<App>) -> Result<Json<WaysView>, Problem> {
    let first = app.api.store().await?.users().is_empty().await?;
    let open_id = app.management.openid.as_deref().map(|openid| openid.name().to_owned());
    Ok(Json(WaysView { first, open_id }))
}

/// Signs in by name and password. The session is in the cookie of the answer.
#[utoipa::path(post, path = "/admin/v1/login", tag = "sign in", security(()), request_body = LogIn,
    params(("X-Bartizan-Request" = String, Header, description = "`1`: no other site's page can send it")),
    responses((status = 200, body = MeView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn log_in(
    State(app): State<App>,
    stranger: Stranger,
    Body(LogIn { name, password }): Body<LogIn>,
) -> Result<Response, Problem> {
    let store = app.api.store().await?;
    let address = stranger.peer.address;
    app.api.try_password(&name, address)?;
    let found = store.users().with_password(&name).await?;
    let known = found.as_ref().map(|(user, _)| user.name.clone());
    let (user, kept) = found.map_or((None, None), |(user, kept)| (Some(user), kept));
    let holds = app.api.hashing.holds(kept, password).await?;
    let user = user.filter(|user| holds && user.is_enabled());
    let Some(user) = user else {
        // A name that nobody has may be a password in the wrong field.
        let target = known.unwrap_or_else(|| "a name that nobody has".to_owned());
        note(store, "nobody", stranger.peer, "session.begin", &target, AuditPhase::Refused).await?;
        let title = "Name and password do not belong together.";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "LoginWrong", title));
    };
    app.api.password_held(&name, address);
    begin(store, user, &stranger).await
}

/// Tells whom a one-time link is for.
#[utoipa::path(post, path = "/admin/v1/links/look", tag = "sign in", security(()), request_body = LookAtLink,
    params(("X-Bartizan-Request" = String, Header, description = "`1`: no other site's page can send it")),
    responses((status = 200, body = LinkView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn look_at_link(
    State(app): State<App>,
    stranger: Stranger,
    Body(LookAtLink { link }): Body<LookAtLink>,
) -> Result<Json<LinkView>, Problem> {
    let user = of_link(&app, &stranger, &link).await?;
    Ok(Json(LinkView { user: user.map(|user| user.name) }))
}

/// Spends a one-time link: sets a password and signs in.
#[utoipa::path(post, path = "/admin/v1/links/spend", tag = "sign in", security(()), request_body = SpendLink,
    params(("X-Bartizan-Request" = String, Header, description = "`1`: no other site's page can send it")),
    responses((status = 200, body = MeView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn spend_link(
    State(app): State<App>,
    stranger: Stranger,
    Body(SpendLink { link, name, password }): Body<SpendLink>,
) -> Result<Response, Problem> {
    let store = app.api.store().await?;
    let name = match (of_link(&app, &stranger, &link).await?, name) {
        (Some(user), None) => user.name,
        (Some(_), Some(_)) => return Err(Problem::bad("This link has its user; send no name.")),
        (None, Some(name)) => sound_name(name)?,
        (None, None) => return Err(Problem::bad("The first user needs a name.")),
    };
    let kept = app.api.hashing.keep(password, &name).await?;
    note(store, "link", stranger.peer, "user.password", &name, AuditPhase::Begun).await?;
    let user = store.users().spend(&link.0, &name, &kept, now_ms()).await?;
    note(store, "link", stranger.peer, "user.password", &name, AuditPhase::Done).await?;
    begin(store, user, &stranger).await
}

/// Whose link it is; the one that makes the first user holds on this machine alone.
async fn of_link(app: &App, stranger: &Stranger, link: &Secret) -> Result<Option<UserRow>, Problem> {
    let address = stranger.peer.address;
    if failures(app, address, false) > FAILURES_MAX {
        let title = "Too many links did not hold; wait a minute.";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "TooManyFailures", title).retry_after(60));
    }
    let found = app.api.store().await?.users().of_link(&link.0, now_ms()).await?;
    let held = found.filter(|user| user.is_some() || address.to_canonical().is_loopback());
    held.ok_or_else(|| {
        failures(app, address, true);
        bartizan_store::Error::LinkInvalid.into()
    })
}

/// A name as people type it and as it can stand in a header, a table and a trail.
pub(crate) fn sound_name(name: String) -> Result<String, Problem> {
    let is_sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+');
    if (1..=NAME_MAX).contains(&name.len()) && name.chars().all(is_sound) {
        return Ok(name);
    }
    Err(Problem::bad("A user's name has up to 100 letters, digits and `. _ - @ +`."))
}

/// Begins a session for somebody who has just proven who they are.
pub(crate) async fn begin(store: &Store, user: UserRow, stranger: &Stranger) -> Result<Response, Problem> {
    let peer = stranger.peer;
    let actor = format!("user:{}", user.name);
    note(store, &actor, peer, "session.begin", &user.name, AuditPhase::Begun).await?;
    let new = NewSession {
        user: &user.id,
        address: &peer.address.to_string(),
        agent: &stranger.agent,
        life_ms: SESSION_LIFE_MS,
    };
    let now = now_ms();
    let (id, text) = store.sessions().begin(new, now).await?;
    store.users().signed_in(&user.id, now).await?;
    note(store, &actor, peer, "session.begin", &id, AuditPhase::Done).await?;
    let found = store.sessions().recognise(text.expose(), SESSION_IDLE_MS, now).await?;
    let caller = found.and_then(|(session, user)| {
        let role = super::role::Role::parse(&user.role)?;
        let scopes = vec![super::scope::Scope::parse(&user.scope)?];
        Some(Caller { who: Who::Session(session, user), role, scopes, address: peer.address })
    });
    let caller = caller.ok_or_else(|| {
        Problem::new(StatusCode::FORBIDDEN, "NotAllowed", "This user has no role that means anything here.")
    })?;
    let mut response = Json(MeView::of(&caller)).into_response();
    set_cookie(&mut response, peer, text.expose(), SESSION_LIFE_MS / 1000);
    Ok(response)
}

/// Signs out.
#[utoipa::path(post, path = "/admin/v1/logout", tag = "sign in", security(("session" = [])),
    responses((status = 204, description = "Signed out"), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn log_out(
    State(app): State<App>,
    peer: Peer,
    Known(caller): Known,
) -> Result<Response, Problem> {
    let store = app.api.store().await?;
    let (session, user) = caller.session()?;
    let deed = Deed { action: "session.end", target: &session.id, before: &user.name, reason: "" };
    let work = async { Ok(store.sessions().end(&session.id, Some(&user.id), now_ms()).await?) };
    deed.record(store, &caller, work, |_| String::new()).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&mut response, peer, "", 0);
    Ok(response)
}

/// Gives the browser a session, or takes it away. Scripts cannot read it; no other site's page makes the browser send it.
pub(crate) fn set_cookie(response: &mut Response, peer: Peer, text: &str, seconds: u64) {
    let secure = if peer.secure { "; Secure" } else { "" };
    let name = cookie_name(peer);
    let cookie = format!("{name}={text}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(mut value) = HeaderValue::try_from(cookie) {
        value.set_sensitive(true);
        response.headers_mut().append(SET_COOKIE, value);
    }
}

pub(crate) async fn note(
    store: &Store,
    actor: &str,
    peer: Peer,
    action: &str,
    target: &str,
    phase: AuditPhase,
) -> Result<(), Problem> {
    let source = peer.address.to_string();
    let note = AuditNote { actor, source: &source, action, target, phase, before: "", after: "", reason: "" };
    store.audit().add(note, now_ms()).await?;
    Ok(())
}

fn agent(headers: &HeaderMap) -> String {
    headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// Passwords that are hashed at once; each takes a core and 19 MiB for some tens of milliseconds.
const HASHES_MAX: usize = 2;
/// Hashes that run or wait; more would only be waited for in vain.
const WAITING_MAX: usize = 8;
const NAME_MAX: usize = 100;
