//! How the gateway is, and who is asking.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    App, DocumentSource,
    auth::{Caller, Known, May, ReadState, Who},
    problem::Problem,
    revisions::RevisionView,
    role::Permission,
};

/// How the gateway is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateView {
    /// `starting`, `ready` or `draining`.
    phase: &'static str,
    /// Where its documents come from: `files` or `store`.
    source: &'static str,
    /// The revision that it is to serve.
    active: Option<RevisionView>,
    /// What is wrong though it serves, by matter.
    notices: BTreeMap<String, String>,
    /// The addresses that are served.
    listeners: Vec<ListenerView>,
    /// The gateway's version.
    version: &'static str,
}

/// An address that is served.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListenerView {
    /// The Listener's name.
    name: String,
    /// The address.
    address: String,
    /// Whether TLS is spoken.
    tls: bool,
}

/// Tells how the gateway is.
#[utoipa::path(get, path = "/admin/v1/state", tag = "management", security(("token" = [])),
    responses((status = 200, body = StateView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn state(State(app): State<App>, _: May<ReadState>) -> Result<Json<StateView>, Problem> {
    let active = app.api.store().await?.revisions().active().await?;
    let served = app.management.served.now();
    let notices = app.management.notices.all().into_iter();
    Ok(Json(StateView {
        phase: app.management.readiness.phase().as_str(),
        source: match app.api.source {
            DocumentSource::Files => "files",
            DocumentSource::Store => "store",
        },
        active: active.as_ref().map(RevisionView::of),
        notices: notices.map(|(matter, text)| (matter.to_owned(), text)).collect(),
        listeners: served
            .listeners
            .into_iter()
            .map(|one| ListenerView { name: one.name, address: one.address.to_string(), tls: one.tls })
            .collect(),
        version: env!("CARGO_PKG_VERSION"),
    }))
}

/// Who is asking.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MeView {
    /// The user's name, or the token's.
    name: String,
    /// Whether it is somebody who signed in.
    session: bool,
    /// The role.
    role: super::role::Role,
    /// What they may do: the role's permissions, as far as every scope leaves them.
    permissions: Vec<Permission>,
    /// Whether they are held to some documents.
    narrow: bool,
}

impl MeView {
    pub(crate) fn of(caller: &Caller) -> Self {
        let may = |permission: &Permission| caller.may(*permission);
        MeView {
            name: match &caller.who {
                Who::Token(token, _) => token.name.clone(),
                Who::Session(_, user) => user.name.clone(),
            },
            session: matches!(caller.who, Who::Session(..)),
            role: caller.role,
            permissions: caller.role.permissions().iter().copied().filter(may).collect(),
            narrow: caller.is_narrow(),
        }
    }
}

/// Tells who is asking, and what they may do.
#[utoipa::path(get, path = "/admin/v1/me", tag = "management", security(("token" = [])),
    responses((status = 200, body = MeView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn me(Known(caller): Known) -> Json<MeView> {
    Json(MeView::of(&caller))
}
