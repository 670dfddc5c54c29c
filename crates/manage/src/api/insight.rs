//! What is unusual: the report of the detectors, as the gateway last made it.

use axum::extract::State;
use http::{StatusCode, header};

use super::{
    App,
    auth::{May, ReadKeys},
    problem::Problem,
};

/// Tells what is unusual: alerts, inventory, recommendations, and how far learning is. It names callers and ids of keys.
#[utoipa::path(get, path = "/admin/v1/insight", tag = "management", security(("token" = [])),
    responses((status = 200, body = serde_json::Value, content_type = "application/json"),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn report(
    State(app): State<App>,
    may: May<ReadKeys>,
) -> Result<([(header::HeaderName, &'static str); 1], String), Problem> {
    // It is about everybody: whoever is held to some documents has no part of it.
    if may.caller.is_narrow() {
        let title = "The report is for who may see all documents.";
        return Err(Problem::new(StatusCode::FORBIDDEN, "OutOfScope", title));
    }
    let report = app.management.insight.as_ref().and_then(|report| report());
    let report = report.ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "NoReport",
            "There is no report yet, or the gateway runs without insight.",
        )
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], report.to_string()))
}
