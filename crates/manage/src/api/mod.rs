//! The management API, `/admin/v1`: documents, revisions, plans, keys, tokens, the audit trail.
//!
//! Everything that the commands can do, for programs and other machines. Callers prove who they are by a token; a token
//! has a role, and a table says what a role may do ([`role`]). What an endpoint needs is in its handler's type
//! (`auth::May`), so none can be added without saying it. Every change is written into the audit trail before it
//! begins and when it has ended (`trail`). Refusals are `application/problem+json` (`problem`).
//!
//! The store is opened when first asked, on this listener's own runtime, and never made here.

#![allow(unused_qualifications, reason = "what `utoipa::path` writes for parameters is qualified")]

mod alerts;
mod auth;
mod body;
mod documents;
mod keys;
mod people;
mod problem;
mod revisions;
pub mod role;
mod rotation;
mod state;
mod trail;

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{Router, extract::DefaultBodyLimit};
use bartizan_config::rehearsal::Rehearsal;
use bartizan_store::{DataDir, Store};
use tokio::sync::{OnceCell, Semaphore};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::problem::Problem;
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
        }
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
pub(crate) struct Peer(pub(crate) IpAddr);

#[derive(OpenApi)]
#[openapi(
    info(title = "Bartizan management API", description = "Documents, revisions, plans, keys, tokens and the audit trail of a gateway.", license(name = "Apache-2.0")),
    modifiers(&Bearer),
    tags(
        (name = "documents", description = "What is in force"),
        (name = "revisions", description = "What was, and what is to be"),
        (name = "keys", description = "API keys of consumers"),
        (name = "alerts", description = "What fires, and what was told"),
        (name = "management", description = "The gateway, and who may manage it"),
    )
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("A management token, `bzt_…`; made by `bartizan tokens create`."))
                .build(),
        );
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", scheme);
        openapi.info.version = "1".to_owned();
    }
}

fn described() -> OpenApiRouter<App> {
    // Sets of documents are large, everything else is small.
    let sets = OpenApiRouter::new()
        .routes(routes!(revisions::plan))
        .routes(routes!(revisions::apply))
        .layer(DefaultBodyLimit::max(SET_BYTES_MAX));
    let rest = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(state::state))
        .routes(routes!(state::me))
        .routes(routes!(documents::list))
        .routes(routes!(documents::show))
        .routes(routes!(documents::routes))
        .routes(routes!(revisions::history))
        .routes(routes!(revisions::show))
        .routes(routes!(revisions::roll_back))
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
        .routes(routes!(people::tokens))
        .routes(routes!(people::create_token))
        .routes(routes!(people::revoke_token))
        .routes(routes!(people::audit))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    rest.merge(sets)
}

/// The description of the API, as it is committed under `schema/`.
pub fn openapi() -> utoipa::openapi::OpenApi {
    described().split_for_parts().1
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
