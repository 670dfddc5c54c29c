//! Kept answers: dropped by URL, by the beginning of one, by tag.
//!
//! Whoever may change what is served may do it, for a purge makes callers see the upstream's present answers. It is
//! written into the audit trail like every change.

use axum::{Json, extract::State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    App,
    auth::{Apply, May},
    body::Body,
    problem::Problem,
    trail::Deed,
};
use crate::state::Purged;

/// Which kept answers are dropped: exactly one of `url`, `prefix`, `tag` and `all`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Purging {
    /// Those of this URL, of every caller: `https://api.example.com/orders?page=2`.
    url: Option<String>,
    /// Those whose URL begins so: `https://api.example.com/orders`.
    prefix: Option<String>,
    /// Those with this tag, which the answer said in a header that its CachePolicy names.
    tag: Option<String>,
    /// All of them.
    #[serde(default)]
    all: bool,
    /// Why, for the audit trail.
    #[serde(default)]
    reason: String,
}

/// What was dropped.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PurgedView {
    /// How many answers.
    dropped: usize,
}

/// Drops kept answers in this process.
#[utoipa::path(post, path = "/admin/v1/cache/purge", tag = "management", security(("token" = [])), request_body = Purging,
    responses((status = 200, body = PurgedView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn purge(
    State(app): State<App>,
    may: May<Apply>,
    Body(body): Body<Purging>,
) -> Result<Json<PurgedView>, Problem> {
    let (what, target) = match (&body.url, &body.prefix, &body.tag, body.all) {
        (Some(url), None, None, false) => (Purged::Url(url), format!("url {}", without_query(url))),
        (None, Some(prefix), None, false) => {
            (Purged::Prefix(prefix), format!("prefix {}", without_query(prefix)))
        }
        (None, None, Some(tag), false) => (Purged::Tag(tag), format!("tag {tag}")),
        (None, None, None, true) => (Purged::All, "all".to_owned()),
        _ => return Err(Problem::bad("Name exactly one of `url`, `prefix`, `tag` and `all`.")),
    };
    let Some(purge) = &app.management.purge else {
        let title = "This process keeps no answers.";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "NoCache", title));
    };
    let deed = Deed { action: "cache.purge", target: &target, before: "", reason: &body.reason };
    let work = async {
        let none = || Problem::bad("That is no URL; write `https://HOST/PATH`.");
        purge(&what).ok_or_else(none)
    };
    let store = app.api.store().await?;
    let dropped = deed.record(store, &may.caller, work, |dropped| format!("{dropped} dropped")).await?;
    Ok(Json(PurgedView { dropped }))
}

/// A query may hold secrets, which have no place in the trail.
fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}
