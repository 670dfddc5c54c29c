//! Errors of the gateway in the words of each dialect, so that every client raises the exception it has for them.

use crate::{
    dialect::Dialect,
    json::{Json, Object},
};

/// What is told.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The status that goes with it.
    pub status: u16,
    /// The sentence.
    pub message: &'a str,
    /// The stable word.
    pub code: &'a str,
    /// The field it is about, if any.
    pub field: Option<&'a str>,
    /// The request's id.
    pub id: &'a str,
}

impl Told<'_> {
    /// The body in a dialect.
    pub fn body(&self, dialect: Dialect) -> Json {
        match dialect {
            Dialect::Anthropic => Object::new()
                .with("type", "error")
                .with("error", Object::new().with("type", self.anthropic()).with("message", self.message))
                .with("request_id", self.id)
                .into(),
            Dialect::Gemini => {
                let error = Object::new()
                    .with("code", u32::from(self.status))
                    .with("message", self.message)
                    .with("status", self.google());
                Object::new().with("error", error).into()
            }
            Dialect::DashScope => Object::new()
                .with("code", self.code)
                .with("message", self.message)
                .with("request_id", self.id)
                .into(),
            Dialect::Ollama => Object::new().with("error", self.message).into(),
            _ => {
                let error = Object::new()
                    .with("message", self.message)
                    .with("type", self.openai())
                    .with("param", self.field.map_or(Json::Null, Json::from))
                    .with("code", self.code);
                Object::new().with("error", error).into()
            }
        }
    }

    fn openai(&self) -> &'static str {
        match self.status {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            400..500 => "invalid_request_error",
            _ => "api_error",
        }
    }

    fn anthropic(&self) -> &'static str {
        match self.status {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            503 => "overloaded_error",
            504 => "timeout_error",
            400..500 => "invalid_request_error",
            _ => "api_error",
        }
    }

    fn google(&self) -> &'static str {
        match self.status {
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            429 => "RESOURCE_EXHAUSTED",
            503 => "UNAVAILABLE",
            504 => "DEADLINE_EXCEEDED",
            400..500 => "INVALID_ARGUMENT",
            _ => "INTERNAL",
        }
    }
}

/// The one event that ends a stream of a dialect after it began.
pub fn error_event(dialect: Dialect, told: &Told<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match dialect {
        Dialect::Anthropic => out.extend_from_slice(b"event: error\ndata: "),
        Dialect::DashScope => out.extend_from_slice(b"event:error\ndata:"),
        Dialect::Ollama => {}
        _ => out.extend_from_slice(b"data: "),
    }
    told.body(dialect).write(&mut out);
    out.extend_from_slice(if dialect == Dialect::Ollama { b"\n" } else { b"\n\n" });
    out
}
