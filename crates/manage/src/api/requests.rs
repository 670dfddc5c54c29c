//! Requests that were refused, each with its story. The records lie with the data plane; the binary looks them up.

use axum::{Json, extract::State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{
    App,
    auth::{May, ReadRequests},
    body::Asked,
    documents::read,
    problem::Problem,
};

/// How many.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct HowMany {
    /// At most so many, up to 100.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

/// Refusals, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusalList {
    /// Each as `bartizan why --format json` tells it: the record, the stages, the ending, what would change it.
    #[schema(value_type = Vec<Object>)]
    refusals: Vec<Value>,
}

/// Shows the last requests that were refused, and why.
#[utoipa::path(get, path = "/admin/v1/refusals", tag = "requests", security(("token" = [])), params(HowMany),
    responses((status = 200, body = RefusalList), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn refusals(
    State(app): State<App>,
    may: May<ReadRequests>,
    Asked(asked): Asked<HowMany>,
) -> Result<Json<RefusalList>, Problem> {
    let limit = asked.limit.unwrap_or(LIMIT).clamp(1, LIMIT);
    let Some(look) = app.management.refusals.clone() else {
        return Ok(Json(RefusalList { refusals: Vec::new() }));
    };
    let unreadable = || {
        let title = "The records of requests cannot be read; the log of the gateway says why.";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "RecordsUnavailable", title)
    };
    let found = tokio::task::spawn_blocking(move || look(limit as usize)).await.map_err(|_| unreadable())?;
    let mut refusals = found.map_err(|error| {
        tracing::error!(error, "the records of requests cannot be read");
        unreadable()
    })?;
    if may.caller.is_narrow() {
        // Held to some documents, one sees what was refused on their routes.
        let caller = may.caller;
        let names = read(&app, None, move |set| {
            let routes = set.documents.iter().filter(|document| caller.reaches(document));
            routes.map(|document| (document.kind(), document.name.to_string())).collect::<Vec<_>>()
        })
        .await
        .map_or_else(|_| Vec::new(), |(_, names)| names);
        let is_seen = |refusal: &Value| {
            let route = refusal.pointer("/record/route").and_then(Value::as_str);
            route.is_some_and(|label| {
                let name = label.split('/').next().unwrap_or_default();
                names.iter().any(|(kind, one)| kind.as_str() == "Route" && one == name)
            })
        };
        refusals.retain(is_seen);
    }
    Ok(Json(RefusalList { refusals }))
}

const LIMIT: u32 = 100;
