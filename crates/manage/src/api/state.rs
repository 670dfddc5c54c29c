//! How the gateway is, and who is asking.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    App, DocumentSource,
    auth::{Known, May, ReadState},
    problem::Problem,
    revisions::RevisionView,
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
    /// The gateway's version.
    version: &'static str,
}

/// Tells how the gateway is.
#[utoipa::path(get, path = "/admin/v1/state", tag = "management", security(("token" = [])),
    responses((status = 200, body = StateView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn state(State(app): State<App>, _: May<ReadState>) -> Result<Json<StateView>, Problem> {
    let active = app.api.store().await?.revisions().active().await?;
    let notices = app.management.notices.all().into_iter();
    Ok(Json(StateView {
        phase: app.management.readiness.phase().as_str(),
        source: match app.api.source {
            DocumentSource::Files => "files",
            DocumentSource::Store => "store",
        },
        active: active.as_ref().map(RevisionView::of),
        notices: notices.map(|(matter, text)| (matter.to_owned(), text)).collect(),
        version: env!("CARGO_PKG_VERSION"),
    }))
}

/// Who is asking.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MeView {
    /// The token's name.
    name: String,
    /// Its role.
    role: super::role::Role,
    /// What the role may do.
    permissions: Vec<String>,
}

/// Tells who is asking, and what they may do.
#[utoipa::path(get, path = "/admin/v1/me", tag = "management", security(("token" = [])),
    responses((status = 200, body = MeView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn me(Known(caller): Known) -> Json<MeView> {
    let permissions = caller.role.permissions().iter().map(|one| format!("{one:?}")).collect();
    Json(MeView { name: caller.token.name, role: caller.role, permissions })
}
