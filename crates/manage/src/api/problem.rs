//! Refusals and failures as `application/problem+json` (RFC 9457). What the store says of its own inside stays in the
//! log; callers get what they can act on.

use axum::response::{IntoResponse, Response};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Why a request was not carried out.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: the code says which problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// What is wrong, in a sentence.
    title: String,
    /// The status of the answer.
    status: u16,
    /// A stable word for programs.
    code: &'static str,
    /// What is wrong with the documents, each with its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    problems: Vec<Value>,
    /// The tag of the active revision, where another one was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<String>,
    /// After how many seconds another try makes sense; sent as `Retry-After`.
    #[serde(skip)]
    retry_after: Option<u32>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, title: impl Into<String>) -> Self {
        Problem {
            kind: "about:blank",
            title: title.into(),
            status: status.as_u16(),
            code,
            problems: Vec::new(),
            active: None,
            retry_after: None,
        }
    }

    pub(crate) fn with_problems(mut self, problems: Vec<Value>) -> Self {
        self.problems = problems;
        self
    }

    pub(crate) fn with_active(mut self, active: Option<String>) -> Self {
        self.active = active;
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        self.retry_after = Some(seconds);
        self
    }

    /// Whether it is our failure, not a refusal.
    pub(crate) const fn is_failure(&self) -> bool {
        self.status >= 500
    }

    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    pub(crate) fn bad(title: impl Into<String>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, "BadRequest", title)
    }

    pub(crate) fn missing(title: impl Into<String>) -> Self {
        Problem::new(StatusCode::NOT_FOUND, "NotFound", title)
    }
}

impl From<bartizan_store::Error> for Problem {
    fn from(error: bartizan_store::Error) -> Self {
        use bartizan_store::Error;
        let (status, code) = match &error {
            Error::BadText { .. } | Error::ExpiryPast => (StatusCode::BAD_REQUEST, "BadRequest"),
            Error::KeyUnknown { .. }
            | Error::RevisionNone
            | Error::RevisionUnknown { .. }
            | Error::RolloutNone
            | Error::TokenUnknown { .. }
            | Error::UserUnknown { .. } => (StatusCode::NOT_FOUND, "NotFound"),
            Error::KeyEnded { .. }
            | Error::KeyReplaced { .. }
            | Error::LastAdmin { .. }
            | Error::RolloutOpen { .. }
            | Error::UserExists { .. } => (StatusCode::CONFLICT, "Conflict"),
            Error::LinkInvalid => (StatusCode::FORBIDDEN, "LinkInvalid"),
            Error::RevisionConflict { .. } => (StatusCode::PRECONDITION_FAILED, "RevisionConflict"),
            Error::RevisionTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "RevisionTooLarge"),
            _ => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(%error, cause, "management cannot use the store");
                let title = "The store cannot be used; the log of the gateway says why.";
                return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "StoreUnavailable", title);
            }
        };
        Problem::new(status, code, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // It has no map whose keys are not text, so this cannot fail.
        let json = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, json).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
