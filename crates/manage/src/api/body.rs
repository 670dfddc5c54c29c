//! What callers send and ask: bodies, pages and conditions, each refused in the one form of refusals.

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Query, Request, rejection::JsonRejection},
};
use bartizan_store::{RevisionNumber, RevisionRef, RevisionRow};
use http::{
    HeaderMap, StatusCode,
    header::{IF_MATCH, IF_NONE_MATCH},
    request::Parts,
};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;

use super::{App, problem::Problem};

/// A JSON body. Only `application/json` is read, so that no form of another site is.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        match Json::<T>::from_request(request, app).await {
            Ok(Json(body)) => Ok(Body(body)),
            Err(rejection) => {
                let code = match rejection {
                    JsonRejection::MissingJsonContentType(_) => "JsonNeeded",
                    JsonRejection::BytesRejection(_) => "BodyUnreadable",
                    _ => "BadRequest",
                };
                Err(Problem::new(rejection.status(), code, rejection.body_text()))
            }
        }
    }
}

/// Query parameters.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, app).await {
            Ok(Query(asked)) => Ok(Asked(asked)),
            Err(rejection) => Err(Problem::bad(rejection.body_text())),
        }
    }
}

/// Which part of a list, newest first.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    /// Only what is older than this number: `next` of the page before.
    pub(crate) before: Option<u64>,
    /// At most so many, up to 200.
    #[param(minimum = 1, maximum = 200)]
    pub(crate) limit: Option<u32>,
}

impl Page {
    pub(crate) fn limit(&self) -> u32 {
        self.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX)
    }
}

/// Reads the name of a revision in a path or query.
pub(crate) fn revision(text: &str) -> Result<RevisionRef, Problem> {
    RevisionRef::parse(text).ok_or_else(|| {
        Problem::bad("A revision is named by its number, its tag, `active`, or seven digits of its digest.")
    })
}

/// The revision that the writer saw, by `If-Match`; or that there was none, by `If-None-Match: *`. One is needed: a
/// change that was made without having seen what it changes is refused.
pub(crate) fn expected(
    headers: &HeaderMap,
    active: Option<&RevisionRow>,
) -> Result<Option<RevisionNumber>, Problem> {
    let text =
        |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok()).map(str::trim);
    let conflict = |title: &str| {
        Problem::new(StatusCode::PRECONDITION_FAILED, "RevisionConflict", title)
            .with_active(active.map(RevisionRow::tag))
    };
    match (text(IF_MATCH), text(IF_NONE_MATCH), active) {
        (Some(_), Some(_), _) => Err(Problem::bad("Send If-Match or If-None-Match, not both.")),
        (Some("*"), None, Some(row)) => Ok(Some(row.number)),
        (Some(tag), None, Some(row)) if tag.trim_matches('"') == row.tag() => Ok(Some(row.number)),
        (Some(_), None, _) => Err(conflict("Another revision is active than the one you saw.")),
        (None, Some("*"), None) => Ok(None),
        (None, Some("*"), Some(_)) => Err(conflict("There is a revision already.")),
        (None, Some(_), _) => Err(Problem::bad("If-None-Match can only be `*` here.")),
        (None, None, _) => Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "ConditionNeeded",
            "Send If-Match with the ETag of the active revision, or If-None-Match: * for the first one.",
        )),
    }
}

const LIMIT: u32 = 50;
const LIMIT_MAX: u32 = 200;
