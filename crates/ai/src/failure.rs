//! What a provider answers when it fails, in one form for all of them.
//!
//! Seven shapes of bodies are read. The status and the class are kept; the words are the provider's only where they
//! help the caller to mend the request, and then without addresses, keys and account names in them. All other words
//! are ours.

use std::fmt;

use crate::json::{Json, Object};

/// Bytes of a provider's message that are passed on.
const MESSAGE_BYTES_MAX: usize = 600;
/// A run of this many letters, digits, `-` and `_` with both letters and digits in it may be a key or an account.
const SECRET_LIKE_BYTES: usize = 20;

/// What kind of failure it is, which decides about retry and fallback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The request is not one that this model takes.
    Request,
    /// The prompt does not fit into the model's context.
    Context,
    /// The model is not there.
    Model,
    /// The provider does not take the gateway's key.
    Key,
    /// The account has no money or no quota left; waiting does not help.
    Quota,
    /// Too many requests or tokens just now.
    Rate,
    /// The provider is overloaded or in maintenance.
    Overloaded,
    /// The provider took too long.
    Timeout,
    /// The provider's content policy.
    Content,
    /// Any other failure of the provider.
    Server,
    /// The answer cannot be understood, or broke off.
    Broken,
}

/// A provider's failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind it is.
    pub class: Class,
    /// The provider's status; 0 where none belongs to it.
    pub native_status: u16,
    /// The provider's own word for it, for records; never a sentence.
    pub native_code: String,
    /// The sentence for the caller.
    pub message: String,
    /// Seconds after which the provider asks to come back.
    pub retry_after: Option<u32>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl Class {
    /// The status for the caller. A key that the provider refuses is the gateway's trouble, not the caller's: a 401
    /// would send them looking at their own key.
    pub fn status(self) -> u16 {
        match self {
            Class::Request | Class::Context | Class::Content => 400,
            Class::Model => 404,
            Class::Rate => 429,
            Class::Overloaded => 503,
            Class::Timeout => 504,
            Class::Key | Class::Quota | Class::Server | Class::Broken => 502,
        }
    }

    /// OpenAI's `type` of an error.
    pub fn kind(self) -> &'static str {
        match self {
            Class::Request | Class::Context | Class::Model | Class::Content => "invalid_request_error",
            Class::Rate => "rate_limit_error",
            _ => "api_error",
        }
    }

    /// OpenAI's `code` of an error, or ours where it has none; also the word in records.
    pub fn code(self) -> &'static str {
        match self {
            Class::Request => "invalid_request",
            Class::Context => "context_length_exceeded",
            Class::Model => "model_not_found",
            Class::Key => "provider_key_refused",
            Class::Quota => "provider_quota_exhausted",
            Class::Rate => "rate_limit_exceeded",
            Class::Overloaded => "provider_overloaded",
            Class::Timeout => "provider_timeout",
            Class::Content => "content_filter",
            Class::Server => "provider_error",
            Class::Broken => "provider_answer_broken",
        }
    }

    /// Whether the same call may succeed a little later with the same key.
    pub fn is_passing(self) -> bool {
        matches!(self, Class::Rate | Class::Overloaded | Class::Timeout | Class::Server | Class::Broken)
    }

    /// Whether another key or another target may serve the call: all but what lies in the request itself. A model
    /// that is not there is not there for this target only.
    pub fn is_elsewhere_possible(self) -> bool {
        self.is_passing() || matches!(self, Class::Key | Class::Quota | Class::Model)
    }

    fn sentence(self) -> &'static str {
        match self {
            Class::Request => "the provider does not take this request",
            Class::Context => "the prompt does not fit into the model's context",
            Class::Model => "the provider does not have this model",
            Class::Key => "the provider does not take the gateway's key",
            Class::Quota => "the gateway's account at the provider has nothing left",
            Class::Rate => "the provider asks to slow down",
            Class::Overloaded => "the provider is overloaded",
            Class::Timeout => "the provider took too long",
            Class::Content => "the provider's content policy held the call back",
            Class::Server => "the provider failed",
            Class::Broken => "the provider's answer cannot be understood",
        }
    }
}

impl Failure {
    /// A failure with the class's own words.
    pub fn of(class: Class) -> Failure {
        Failure {
            class,
            native_status: 0,
            native_code: String::new(),
            message: class.sentence().to_owned(),
            retry_after: None,
        }
    }

    /// The answer breaks a rule of its dialect.
    pub fn broken(message: &str) -> Failure {
        Failure { message: message.to_owned(), ..Failure::of(Class::Broken) }
    }

    /// Reads an answer with a failing status.
    pub fn from_answer(status: u16, body: &[u8], retry_after: Option<u32>) -> Failure {
        let body = Json::read(body).unwrap_or_default();
        let mut failure = Failure::from_json(status, &body);
        failure.retry_after = retry_after.or(failure.retry_after);
        failure
    }

    /// Reads an error object: of an answer, of a chunk, or of a body that came with status 200.
    pub fn from_json(status: u16, body: &Json) -> Failure {
        let said = Said::read(body);
        // An error inside a stream has no status of its own but may tell one.
        let status = match said.status {
            Some(inner) if (400..600).contains(&inner) && (status == 0 || status == 200) => inner,
            _ => status,
        };
        let class = classify(status, &said);
        let ours =
            matches!(class, Class::Key | Class::Quota | Class::Server | Class::Overloaded | Class::Broken);
        let message = match said.message.as_deref().map(scrub) {
            Some(words) if !ours && !words.is_empty() => words,
            _ => class.sentence().to_owned(),
        };
        let native_code = said.words.into_iter().next().map(|word| word.chars().take(64).collect());
        Failure {
            class,
            native_status: status,
            native_code: native_code.unwrap_or_default(),
            message,
            retry_after: said.retry_after,
        }
    }

    /// The body that OpenAI's clients understand.
    pub fn to_openai(&self) -> Json {
        error(&self.message, self.class.kind(), self.class.code())
    }
}

/// An error body in OpenAI's dialect.
pub fn error(message: &str, kind: &str, code: &str) -> Json {
    let error = Object::new()
        .with("message", message)
        .with("type", kind)
        .with("param", Json::Null)
        .with("code", code);
    Object::new().with("error", error).into()
}

/// What an error body says, whatever its shape.
#[derive(Default)]
struct Said {
    message: Option<String>,
    /// Codes and types, the most telling first.
    words: Vec<String>,
    status: Option<u16>,
    retry_after: Option<u32>,
}

impl Said {
    fn read(body: &Json) -> Said {
        let mut said = Said::default();
        // Gemini wraps the object into a list of one.
        let body = body.list().first().unwrap_or(body);
        // OpenAI's Responses API fails with `response.error`, after `response.created`.
        let response = body.get("response").get("error");
        let body_error = body.get("error");
        let inner = if response.object().is_some() { response } else { body_error };
        match inner {
            // Ollama: {"error":"text"}; xAI: {"code":…,"error":"text"}.
            Json::Text(text) => said.message = Some(text.clone()),
            Json::Object(_) => said.object(inner),
            _ => {}
        }
        said.object(body);
        // Mistral: {"detail":"…"} or {"detail":[{"msg":…}]}.
        let detail = body.get("detail");
        let detail =
            detail.text().or_else(|| detail.list().first().and_then(|first| first.get("msg").text()));
        said.message = said.message.take().or_else(|| detail.map(str::to_owned));
        said
    }

    fn object(&mut self, error: &Json) {
        if self.message.is_none() {
            self.message = error.get("message").words().map(str::to_owned);
        }
        for name in ["code", "status", "type"] {
            match error.get(name) {
                Json::Text(word) if !word.is_empty() && word != "error" => self.words.push(word.clone()),
                number @ Json::Number(_) if self.status.is_none() => self.status = status(number),
                _ => {}
            }
        }
        for name in ["status_code", "raw_status_code"] {
            self.status = self.status.or_else(|| status(error.get(name)));
        }
        if let Some(code) = error.get("details").get("error_code").words() {
            self.words.insert(0, code.to_owned());
        }
        for detail in error.get("details").list() {
            if let Some(reason) = detail.get("reason").words() {
                self.words.insert(0, reason.to_owned());
            }
            if let Some(delay) = detail.get("retryDelay").text().and_then(seconds) {
                self.retry_after = Some(delay);
            }
        }
    }
}

fn status(value: &Json) -> Option<u16> {
    value.count().and_then(|count| u16::try_from(count).ok())
}

/// Whole seconds of `34s` or `34.07s`, rounded up.
fn seconds(text: &str) -> Option<u32> {
    let number: f64 = text.strip_suffix('s')?.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "range checked")]
    (0.0..=1e6).contains(&number).then(|| number.ceil() as u32)
}

fn classify(status: u16, said: &Said) -> Class {
    let words: Vec<String> = said.words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let says = |needles: &[&str]| words.iter().any(|word| needles.iter().any(|needle| word.contains(needle)));
    let message = said.message.as_deref().unwrap_or_default().to_ascii_lowercase();
    if says(&["context_length", "exceed_context"]) || message.contains("maximum context length") {
        return Class::Context;
    }
    if says(&["content_filter", "datainspection", "content_policy"]) {
        return Class::Content;
    }
    // DashScope says so with 400, Gemini too.
    if says(&["api_key_invalid", "invalid_api_key", "invalidapikey", "authentication"]) {
        return Class::Key;
    }
    if says(&["insufficient_quota", "arrearage", "billing", "spend_limit", "insufficient_balance"]) {
        return Class::Quota;
    }
    match status {
        401 | 403 => Class::Key,
        402 => Class::Quota,
        404 => Class::Model,
        408 | 504 => Class::Timeout,
        429 => Class::Rate,
        503 | 529 => Class::Overloaded,
        500..600 => Class::Server,
        400..500 if says(&["model_not_found", "modelnotfound", "model.notexist"]) => Class::Model,
        400..500 => Class::Request,
        // No status: an error in the middle of a stream, or one that came with 200.
        _ if says(&["overloaded", "unavailable"]) => Class::Overloaded,
        _ if says(&["rate_limit", "throttling", "resource_exhausted"]) => Class::Rate,
        _ if says(&["model_not_found", "modelnotfound", "model.notexist", "not_found"]) => Class::Model,
        _ if says(&["permission", "accessdenied", "unauthenticated"]) => Class::Key,
        _ if says(&["invalid", "badrequest", "tool_use_failed"]) => Class::Request,
        _ => Class::Server,
    }
}

/// A provider's sentence without what may identify an account or lead inside: addresses, mail addresses, and long
/// runs that look like keys or ids. Control characters become blanks.
pub fn scrub(message: &str) -> String {
    let mut out = String::new();
    for word in message.split(|character: char| character.is_whitespace() || character.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        if out.len() + word.len() > MESSAGE_BYTES_MAX {
            out.push('…');
            break;
        }
        out.push_str(if is_telling(word) { "…" } else { word });
    }
    out
}

fn is_telling(word: &str) -> bool {
    if word.contains("://") || word.contains('@') || word.contains("***") {
        return true;
    }
    word.split(|character: char| !(character.is_ascii_alphanumeric() || character == '-' || character == '_'))
        .any(|run| {
            let accounts =
                ["org-", "proj_", "proj-", "user-", "user_", "sk-", "key-", "AIza", "gsk_", "req_"];
            accounts.iter().any(|prefix| run.starts_with(prefix) && run.len() >= prefix.len() + 4)
                || run.len() >= SECRET_LIKE_BYTES
                    && run.bytes().any(|byte| byte.is_ascii_digit())
                    && run.bytes().any(|byte| byte.is_ascii_alphabetic())
                    // Model names are long, lower case and hyphenated; keys and ids mix cases or have no hyphens.
                    && (run.bytes().any(|byte| byte.is_ascii_uppercase()) || !run.contains('-'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_an_error_is_understood() {
        let table = [
            (
                400,
                r#"{"error":{"message":"bad","type":"invalid_request_error","param":null,"code":"unsupported_value"}}"#,
                Class::Request,
                "bad",
            ),
            (
                401,
                r#"{"error":{"message":"Incorrect API key provided: sk-ab***yz","code":"invalid_api_key"}}"#,
                Class::Key,
                Class::Key.sentence(),
            ),
            (
                400,
                r#"{"error":{"message":"no such model","code":"model_not_found"}}"#,
                Class::Model,
                "no such model",
            ),
            (
                429,
                r#"{"error":{"message":"x","code":"insufficient_quota"}}"#,
                Class::Quota,
                Class::Quota.sentence(),
            ),
            (
                529,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":null}"#,
                Class::Overloaded,
                Class::Overloaded.sentence(),
            ),
            (
                400,
                r#"[{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]"#,
                Class::Key,
                Class::Key.sentence(),
            ),
            (
                429,
                r#"{"error":{"code":429,"message":"slow","status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"34.07s"}]}}"#,
                Class::Rate,
                "slow",
            ),
            (
                400,
                r#"{"object":"error","message":"Invalid model","type":"invalid_model","param":null,"code":"1500","raw_status_code":400}"#,
                Class::Request,
                "Invalid model",
            ),
            (401, r#"{"detail":"Invalid API Key"}"#, Class::Key, Class::Key.sentence()),
            (
                422,
                r#"{"detail":[{"loc":["body"],"msg":"Extra inputs","type":"x"}]}"#,
                Class::Request,
                "Extra inputs",
            ),
            (
                404,
                r#"{"error":"model \"x\" not found, try pulling it first"}"#,
                Class::Model,
                "model \"x\" not found, try pulling it first",
            ),
            (
                200,
                r#"{"code":"DataInspectionFailed","message":"Input data may contain inappropriate content.","request_id":"1"}"#,
                Class::Content,
                "Input data may contain inappropriate content.",
            ),
            (200, r#"{"code":"InvalidApiKey","message":"x"}"#, Class::Key, Class::Key.sentence()),
            (400, r#"{"code":"Arrearage","message":"x"}"#, Class::Quota, Class::Quota.sentence()),
            (
                200,
                r#"{"error":{"message":"Failed to call a function.","type":"invalid_request_error","code":"tool_use_failed","status_code":400}}"#,
                Class::Request,
                "Failed to call a function.",
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"too long","type":"exceed_context_size_error"}}"#,
                Class::Context,
                "too long",
            ),
            (500, "not json at all", Class::Server, Class::Server.sentence()),
            (
                0,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                Class::Overloaded,
                Class::Overloaded.sentence(),
            ),
        ];
        for (status, body, class, message) in table {
            let failure = Failure::from_answer(status, body.as_bytes(), None);
            assert_eq!((failure.class, failure.message.as_str()), (class, message), "{body}");
        }
        let delayed = r#"{"error":{"code":429,"details":[{"retryDelay":"34.07s"}]}}"#;
        assert_eq!(Failure::from_answer(429, delayed.as_bytes(), None).retry_after, Some(35));
    }

    #[test]
    fn a_sentence_keeps_its_sense_and_loses_accounts_keys_and_addresses() {
        let table = [
            (
                "max_tokens is too large: 9000. This model supports 4096",
                "max_tokens is too large: 9000. This model supports 4096",
            ),
            (
                "The model `claude-3-5-sonnet-20241022` is gone",
                "The model `claude-3-5-sonnet-20241022` is gone",
            ),
            (
                "Limit reached in organization org-AbCdEf12 on tokens",
                "Limit reached in organization … on tokens",
            ),
            ("see https://platform.example/account?x=1 now", "see … now"),
            ("ask admin@corp.example", "ask …"),
            ("key AIzaSyD4u8x7777777777777 bad", "key … bad"),
            ("line\r\nbreak\u{0}s", "line break s"),
            ("request 0f3ac2b7d9e84411b1c2d3e4f5061728 failed", "request … failed"),
        ];
        for (message, want) in table {
            assert_eq!(scrub(message), want);
        }
        assert!(scrub(&"word ".repeat(1000)).len() < MESSAGE_BYTES_MAX + 8);
    }
}
