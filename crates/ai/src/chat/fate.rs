//! What becomes of each field of OpenAI's chat request in another dialect.
//!
//! Each dialect file has a table with every field. A field is carried, lost (told to the caller in `X-AI-Lost`), or
//! refused with a sentence, because an answer without it would not be what was asked for. A test holds the tables to
//! what the dialects do.

use super::{Chat, Refused};
use crate::json::Json;

/// Every field of OpenAI's chat request, and those that compatible servers added and clients use.
pub const FIELDS: [&str; 41] = [
    "model",
    "messages",
    "audio",
    "enable_thinking",
    "extra_content",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "modalities",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "thinking_budget",
    "tool_choice",
    "tools",
    "top_k",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

/// Fields by which a caller would choose the upstream, its key or its headers: refused everywhere.
pub const STEERING: [&str; 9] = [
    "api_base",
    "base_url",
    "api_key",
    "api_version",
    "api_type",
    "custom_llm_provider",
    "extra_headers",
    "extra_query",
    "extra_body",
];

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It reaches the provider, or is honoured by the gateway.
    Carried,
    /// It is left out, and the caller is told.
    Lost,
    /// The request is refused.
    Refused,
}

/// Whether a value asks for anything: many clients send defaults.
pub(super) fn asks(name: &str, value: &Json) -> bool {
    if name == "parallel_tool_calls" {
        // Several at once is what every model does unasked.
        return value.bool() == Some(false);
    }
    if value.is_idle() {
        return false;
    }
    match name {
        "n" => value.count() != Some(1),
        "frequency_penalty" | "presence_penalty" | "top_logprobs" => value.float() != Some(0.0),
        "service_tier" => !matches!(value.text(), Some("auto" | "default")),
        "modalities" => !matches!(value.list(), [Json::Text(only)] if only == "text"),
        _ => true,
    }
}

/// Judges the fields a request asks with by a dialect's table; gives the names of those that are lost. `open` says
/// that the caller's own object is sent on and that fields nobody knows reach the provider.
pub fn judge(
    chat: &Chat,
    table: &[(&str, Fate)],
    provider: &str,
    open: bool,
) -> Result<Vec<String>, Refused> {
    let mut lost = Vec::new();
    for name in &chat.asked {
        match table.iter().find(|(have, _)| have == name).map(|(_, fate)| *fate) {
            Some(Fate::Carried) => {}
            Some(Fate::Refused) => {
                return Err(Refused::of(name.as_str(), format!("`{name}` cannot be had from {provider}")));
            }
            None if open => {}
            // A field that nobody knows is lost too: what it would have done is unknown.
            Some(Fate::Lost) | None => lost.push(name.clone()),
        }
    }
    Ok(lost)
}
