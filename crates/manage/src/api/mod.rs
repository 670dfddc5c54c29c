//! The management API, `/admin/v1`: documents, revisions, plans, keys, tokens, the audit trail.
//!
//! Everything that the commands can do, for programs, other machines and the page. Callers prove who they are by a token
//! or a session (`auth`, `login`, `throttle`); both have a role, a table says what a role may do ([`role`]), and a scope
//! may narrow it ([`scope`]). What an endpoint needs is in its handler's type
//! (`auth::May`), so none can be added without saying it. Every change is written into the audit trail before it
//! begins and when it has ended (`trail`). Refusals are `application/problem+json` (`problem`).
//!
//! The store is opened when first asked, on this listener's own runtime, and never made here.

#![allow(unused_qualifications, reason = "what `utoipa::path` writes for parameters is qualified")]

mod alerts;
mod auth;
mod body;
mod cache;
mod documents;
mod insight;
mod keys;
mod login;
pub mod openid;
mod people;
mod problem;
mod requests;
mod revisions;
pub mod role;
mod rollout;
mod rotation;
pub mod scope;
mod state;
mod throttle;
mod trail;
mod users;

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{Router, extract::DefaultBodyLimit};
use bartizan_config::rehearsal::Rehearsal;
use bartizan_store::{DataDir, Store};
use tokio::sync::{OnceCell, Semaphore};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{
        ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::{
    openid::{OpenId, OpenIdTerms},
    revisions::moment,
};
use self::{problem::Problem, throttle::Throttle};
use crate::state::ManagementState;

/// Where the gateway's documents come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentSource {
    /// Files: changes to revisions are refused, for nobody would serve them.
    Files,
    /// The active revision of the store.
    Store,
}

/// What the API works on.
pub struct Api {
    dir: DataDir,
    store: OnceCell<Store>,
    source: DocumentSource,
    /// Runs the PolicyTests of sets that want to become a revision.
    rehearsal: Arc<dyn Rehearsal>,
    /// Compiling is work for a core; more at once would only take each other's.
    compiling: Semaphore,
    failures: Mutex<Failures>,
    throttle: Mutex<Throttle>,
    hashing: login::Hashing,
}

impl Api {
    /// An API on the store of this data directory.
    pub fn new(dir: DataDir, source: DocumentSource, rehearsal: Arc<dyn Rehearsal>) -> Self {
        Api {
            dir,
            store: OnceCell::new(),
            source,
            rehearsal,
            compiling: Semaphore::new(COMPILING_MAX),
            failures: Mutex::default(),
            throttle: Mutex::default(),
            hashing: login::Hashing::default(),
        }
    }

    /// Begins a try of a password; refused while the account or the address has to wait.
    fn try_password(&self, account: &str, address: IpAddr) -> Result<(), Problem> {
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = throttle.begin(account, address, now_ms());
        if wait == 0 {
            return Ok(());
        }
        let seconds = wait.div_ceil(1000);
        let title = format!("Too many attempts failed; wait {seconds} s.");
        let status = http::StatusCode::TOO_MANY_REQUESTS;
        Err(Problem::new(status, "TooManyFailures", title).retry_after(seconds))
    }

    /// The password of the try was the right one.
    fn password_held(&self, account: &str, address: IpAddr) {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner).held(account, address);
    }

    async fn store(&self) -> Result<&Store, Problem> {
        self.store.get_or_try_init(|| Store::open_existing(&self.dir)).await.map_err(Problem::from)
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("source", &self.source).finish_non_exhaustive()
    }
}

/// Tokens that did not hold, by address, in this minute.
#[derive(Debug, Default)]
struct Failures {
    minute: u64,
    by_address: HashMap<IpAddr, u32>,
}

/// What handlers work with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) api: Arc<Api>,
    pub(crate) management: Arc<ManagementState>,
}

/// The client of a connection; put into each request by the listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    /// Whether the connection is TLS.
    pub(crate) secure: bool,
}

impl axum::extract::FromRequestParts<App> for Peer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut http::request::Parts, _: &App) -> Result<Self, Problem> {
        auth::peer(parts)
    }
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Bartizan management API", description = "Documents, revisions, plans, keys, users, tokens and the audit trail of a gateway.", license(name = "Apache-2.0")),
    tags(
        (name = "documents", description = "What is in force"),
        (name = "revisions", description = "What was, and what is to be"),
        (name = "keys", description = "API keys of consumers"),
        (name = "alerts", description = "What fires, and what was told"),
        (name = "requests", description = "What callers were refused"),
        (name = "management", description = "The gateway, and who may manage it"),
        (name = "users", description = "People, their sessions and their own tokens"),
        (name = "sign in", description = "For browsers: a session in a cookie"),
    )
)]
struct Description;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("A management token, `bzt_…`; made by `bartizan tokens create`."))
                .build(),
        );
        let session = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
            "__Host-bartizan",
            "A session, begun by signing in (`bartizan` on loopback in clear text). Whatever is not GET also needs \
             `X-Bartizan-Request: 1`.",
        )));
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", scheme);
        components.add_security_scheme("session", session);
        // Whatever a token may, a session may too.
        for item in openapi.paths.paths.values_mut() {
            let operations =
                [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                let security = operation.security.get_or_insert_default();
                if security.contains(&SecurityRequirement::new("token", Vec::<String>::new())) {
                    security.push(SecurityRequirement::new("session", Vec::<String>::new()));
                }
            }
        }
        openapi.info.version = "1".to_owned();
    }
}

fn described() -> OpenApiRouter<App> {
    // Sets of documents are large, everything else is small.
    let sets = OpenApiRouter::new()
        .routes(routes!(revisions::plan))
        .routes(routes!(revisions::apply))
        .routes(routes!(rollout::plan))
        .routes(routes!(rollout::status, rollout::start))
        .layer(DefaultBodyLimit::max(SET_BYTES_MAX));
    let rest = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(state::state))
        .routes(routes!(state::me))
        .routes(routes!(insight::report))
        .routes(routes!(documents::list))
        .routes(routes!(documents::show))
        .routes(routes!(documents::routes))
        .routes(routes!(revisions::history))
        .routes(routes!(revisions::show))
        .routes(routes!(revisions::roll_back))
        .routes(routes!(rollout::promote))
        .routes(routes!(rollout::abort))
        .routes(routes!(rollout::resume))
        .routes(routes!(keys::list))
        .routes(routes!(keys::create))
        .routes(routes!(keys::show))
        .routes(routes!(keys::revoke))
        .routes(routes!(rotation::rotate))
        .routes(routes!(rotation::offer))
        .routes(routes!(rotation::leaked))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::silence))
        .routes(routes!(alerts::unsilence))
        .routes(routes!(alerts::notices))
        .routes(routes!(cache::purge))
        .routes(routes!(people::tokens))
        .routes(routes!(people::create_token))
        .routes(routes!(people::revoke_token))
        .routes(routes!(people::audit))
        .routes(routes!(requests::refusals))
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::change))
        .routes(routes!(users::reset))
        .routes(routes!(users::sessions))
        .routes(routes!(users::end_session))
        .routes(routes!(users::set_password))
        .routes(routes!(users::own_tokens, users::create_own_token))
        .routes(routes!(users::revoke_own_token))
        .routes(routes!(login::ways, login::log_in))
        .routes(routes!(login::log_out))
        .routes(routes!(openid::begin))
        .routes(routes!(openid::callback))
        .routes(routes!(login::look_at_link))
        .routes(routes!(login::spend_link))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    rest.merge(sets)
}

/// The description of the API, as it is committed under `schema/`.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut description = described().split_for_parts().1;
    Schemes.modify(&mut description);
    description
}

/// The API as a service.
pub(crate) fn router(app: App) -> Router {
    described()
        .split_for_parts()
        .0
        .fallback(async || {
            Problem::new(http::StatusCode::NOT_FOUND, "NoRoute", "There is nothing at this path.")
        })
        .method_not_allowed_fallback(async || {
            Problem::new(
                http::StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "This path is not asked by that method.",
            )
        })
        .with_state(app)
}

/// Whether whoever sends these headers may see the gateway's state; the refusal where they may not.
pub(crate) async fn may_read_state(
    parts: &mut http::request::Parts,
    app: &App,
) -> Result<(), axum::response::Response> {
    use axum::{extract::FromRequestParts, response::IntoResponse};
    let may = auth::May::<auth::ReadState>::from_request_parts(parts, app).await;
    may.map(|_| ()).map_err(IntoResponse::into_response)
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Sets that are compiled at once.
const COMPILING_MAX: usize = 2;
/// A set of 64 MiB with its quotes escaped.
const SET_BYTES_MAX: usize = 80 << 20;
/// A reason, a label, a name.
const BODY_BYTES_MAX: usize = 64 << 10;
