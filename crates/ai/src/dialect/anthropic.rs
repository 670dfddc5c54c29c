//! Anthropic's Messages.
//!
//! System messages become `system`; results of tools become one user message before any text; thinking blocks go
//! back unchanged, from `extra_content.anthropic.thinking_blocks`. Usage is taken from the last `message_delta`,
//! because the numbers of `message_start` are placeholders.
//!
//! Lost in answers: blocks of Anthropic's own tools, citations, compaction.

use super::{Outgoing, Target, arguments};
use crate::{
    chat::{Chat, Effort, Fate, Format, Message, Part, Refused, Role, Source, Tool, ToolChoice, texts},
    event::{Event, Stop},
    failure::Failure,
    json::{Json, Object},
    usage::Usage,
};

use Fate::{Carried, Lost, Refused as Refuse};

/// What becomes of OpenAI's fields.
pub const FATES: [(&str, Fate); 41] = [
    ("model", Carried),
    ("messages", Carried),
    ("audio", Refuse),
    ("enable_thinking", Lost),
    ("extra_content", Lost),
    ("frequency_penalty", Lost),
    ("function_call", Refuse),
    ("functions", Refuse),
    ("logit_bias", Refuse),
    ("logprobs", Refuse),
    ("max_completion_tokens", Carried),
    ("max_tokens", Carried),
    ("metadata", Lost),
    ("modalities", Refuse),
    ("moderation", Lost),
    ("n", Refuse),
    ("parallel_tool_calls", Carried),
    ("prediction", Lost),
    ("presence_penalty", Lost),
    ("prompt_cache_key", Lost),
    ("prompt_cache_options", Lost),
    ("prompt_cache_retention", Lost),
    ("reasoning_effort", Carried),
    ("response_format", Carried),
    ("safety_identifier", Lost),
    ("seed", Lost),
    ("service_tier", Lost),
    ("stop", Carried),
    ("store", Lost),
    ("stream", Carried),
    ("stream_options", Carried),
    ("temperature", Carried),
    ("thinking_budget", Lost),
    ("tool_choice", Carried),
    ("tools", Carried),
    ("top_k", Lost),
    ("top_logprobs", Refuse),
    ("top_p", Carried),
    ("user", Lost),
    ("verbosity", Lost),
    ("web_search_options", Refuse),
];

/// The version of the interface where none is pinned: the one that was recorded.
pub const VERSION: &str = "2023-06-01";
/// From this version on, sampling parameters are answered with 400.
const VERSION_WITHOUT_SAMPLING: &str = "2026-10-21";
/// Tokens an answer may have where neither caller nor document says: Anthropic demands a number.
const MAX_OUTPUT_DEFAULT: u64 = 4096;
/// The least budget for thinking that Anthropic takes.
const BUDGET_MIN: u64 = 1024;
/// Thinking that is kept whole for the caller to send back, per block.
const THINKING_BYTES_MAX: usize = 1024 * 1024;

pub(super) fn request(chat: &Chat, target: &Target<'_>) -> Result<Outgoing, Refused> {
    let mut lost = Vec::new();
    let mut max = chat.max_output.or(target.max_output).unwrap_or(MAX_OUTPUT_DEFAULT);
    let thinking = thinking(chat.effort, target.model, &mut max, &mut lost);
    let (system, messages) = conversation(chat, &mut lost)?;
    let version = target.version.unwrap_or(VERSION);
    let mut body =
        Object::new().with("model", target.model).with("max_tokens", max).with("messages", messages);
    if !system.is_empty() {
        body.set("system", system);
    }
    if chat.stream {
        body.set("stream", true);
    }
    sampling(chat, version, thinking.is_some(), &mut body, &mut lost);
    // An entry of blanks is answered with 400.
    let stop: Vec<Json> =
        chat.stop.iter().filter(|stop| !stop.trim().is_empty()).map(|stop| stop.as_str().into()).collect();
    if !stop.is_empty() {
        body.set("stop_sequences", stop);
    }
    if !chat.tools.is_empty() {
        body.set("tools", chat.tools.iter().map(tool).collect::<Vec<_>>());
        if let Some(choice) = tool_choice(chat, thinking.is_some(), &mut lost) {
            body.set("tool_choice", choice);
        }
    }
    let mut output = Object::new();
    match &chat.format {
        Format::Text => {}
        Format::Json => {
            return Err(Refused::of(
                "response_format",
                "`json_object` cannot be had from anthropic: give a schema with `json_schema`",
            ));
        }
        Format::Schema { schema, .. } => {
            let format = Object::new().with("type", "json_schema").with("schema", schema.clone());
            output.set("format", format);
        }
    }
    if let Some(Thinking::Effort(word)) = thinking {
        output.set("effort", word);
    }
    if !output.is_empty() {
        body.set("output_config", output);
    }
    match thinking {
        Some(Thinking::Effort(_)) => body.set("thinking", Object::new().with("type", "adaptive")),
        Some(Thinking::Budget(tokens)) => {
            body.set("thinking", Object::new().with("type", "enabled").with("budget_tokens", tokens));
        }
        None => {}
    }
    Ok(Outgoing {
        path: "/v1/messages".to_owned(),
        headers: vec![("anthropic-version", version.to_owned())],
        body: Json::from(body).to_bytes(),
        lost,
    })
}

#[derive(Clone, Copy)]
enum Thinking {
    Effort(&'static str),
    Budget(u64),
}

/// Which way of thinking a model knows. Models before 4.6 know a budget; those before 3.7 do not think.
fn thinking(effort: Option<Effort>, model: &str, max: &mut u64, lost: &mut Vec<String>) -> Option<Thinking> {
    let effort = effort?;
    if effort <= Effort::Minimal {
        return None;
    }
    let says = |needles: &[&str]| needles.iter().any(|needle| model.contains(needle));
    if says(&[
        "claude-2",
        "claude-instant",
        "claude-3-opus",
        "claude-3-haiku",
        "claude-3-sonnet",
        "claude-3-5",
    ]) {
        lost.push("reasoning_effort".to_owned());
        return None;
    }
    if says(&["claude-3-7", "-4-0", "-4-1", "-4-5", "opus-4-2025", "sonnet-4-2025"]) {
        let budget = match effort {
            Effort::Low => 1024,
            Effort::Medium => 4096,
            Effort::High => 8192,
            _ => 16_384,
        };
        // The budget counts against `max_tokens` and must be less; the caller's bound is about what they read.
        let budget = budget.max(BUDGET_MIN);
        *max = max.saturating_add(budget);
        return Some(Thinking::Budget(budget));
    }
    Some(Thinking::Effort(match effort {
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::Extra => "xhigh",
        _ => "max",
    }))
}

fn sampling(chat: &Chat, version: &str, thinks: bool, body: &mut Object, lost: &mut Vec<String>) {
    let refused = version >= VERSION_WITHOUT_SAMPLING || thinks;
    if let Some(temperature) = &chat.temperature {
        if refused {
            lost.push("temperature".to_owned());
        } else if temperature.as_f64().is_some_and(|temperature| temperature > 1.0) {
            // OpenAI's range ends at 2, Anthropic's at 1.
            body.set("temperature", 1_u64);
            lost.push("temperature".to_owned());
        } else {
            body.set("temperature", temperature.clone());
        }
    }
    if let Some(top_p) = &chat.top_p {
        // Models since 4.1 take one of the two only.
        if refused || chat.temperature.is_some() {
            lost.push("top_p".to_owned());
        } else {
            body.set("top_p", top_p.clone());
        }
    }
}

fn tool(tool: &Tool) -> Json {
    let mut schema = match &tool.parameters {
        Some(Json::Object(schema)) => schema.clone(),
        _ => Object::new(),
    };
    if schema.get("type").is_none() {
        schema.set("type", "object");
    }
    let mut out = Object::new()
        .with("name", tool.name.as_str())
        .with_some("description", tool.description.as_deref())
        .with("input_schema", schema);
    if tool.strict {
        out.set("strict", true);
    }
    out.into()
}

fn tool_choice(chat: &Chat, thinks: bool, lost: &mut Vec<String>) -> Option<Json> {
    let forced = matches!(chat.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_)));
    let mut choice = match &chat.tool_choice {
        // Thinking and a forced tool together are answered with 400.
        _ if forced && thinks => {
            lost.push("tool_choice".to_owned());
            Object::new().with("type", "auto")
        }
        Some(ToolChoice::Required) => Object::new().with("type", "any"),
        Some(ToolChoice::Named(name)) => Object::new().with("type", "tool").with("name", name.as_str()),
        Some(ToolChoice::Never) => return Some(Object::new().with("type", "none").into()),
        Some(ToolChoice::Auto) => Object::new().with("type", "auto"),
        None if chat.parallel_calls == Some(false) => Object::new().with("type", "auto"),
        None => return None,
    };
    if chat.parallel_calls == Some(false) {
        choice.set("disable_parallel_tool_use", true);
    }
    Some(choice.into())
}

/// Blocks of `system`, and the messages with same-role neighbours merged.
fn conversation(chat: &Chat, lost: &mut Vec<String>) -> Result<(Vec<Json>, Vec<Json>), Refused> {
    let mut system = Vec::new();
    let mut turns: Vec<(&str, Vec<Json>)> = Vec::new();
    for message in &chat.messages {
        if message.name.is_some() {
            lost.push("messages.name".to_owned());
        }
        if message.role == Role::System && turns.is_empty() {
            system.extend(message.parts.iter().filter_map(|part| match part {
                Part::Text(words) if !words.trim().is_empty() => Some(text(words)),
                _ => None,
            }));
            continue;
        }
        let (role, blocks) = turn(message, lost)?;
        match turns.last_mut() {
            Some((last, have)) if *last == role => have.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    let mut messages = Vec::new();
    for (role, mut blocks) in turns {
        // Results come before any text; their own order stays.
        blocks.sort_by_key(|block| block.get("type").text() != Some("tool_result") && role == "user");
        if !blocks.is_empty() {
            messages.push(Object::new().with("role", role).with("content", blocks).into());
        }
    }
    if messages.is_empty() {
        return Err(Refused::of("messages", "anthropic needs a message that is not of the system"));
    }
    Ok((system, messages))
}

fn turn(message: &Message, lost: &mut Vec<String>) -> Result<(&'static str, Vec<Json>), Refused> {
    let mut blocks = Vec::new();
    match message.role {
        Role::System => {
            // Most models take no system message between turns: it is said by the user, and marked.
            lost.push("messages.role".to_owned());
            let words = message.text();
            if !words.trim().is_empty() {
                blocks.push(text(&format!("[system] {words}")));
            }
            Ok(("user", blocks))
        }
        Role::Assistant => {
            for part in &message.parts {
                match part {
                    Part::Text(words) if !words.trim().is_empty() => blocks.push(text(words)),
                    Part::Call { id, name, arguments: words, .. } => {
                        let call = Object::new().with("type", "tool_use").with("id", id.as_str());
                        blocks.push(call.with("name", name.as_str()).with("input", arguments(words)?).into());
                    }
                    Part::Thought { owner, block, .. } if owner == "anthropic" => {
                        // Only what an answer gave: any other block would be a way past the reading of messages.
                        if !matches!(block.get("type").text(), Some("thinking" | "redacted_thinking")) {
                            return Err(Refused::of(
                                "messages",
                                "`thinking_blocks` holds thinking blocks only",
                            ));
                        }
                        blocks.push(block.clone());
                    }
                    // Reasoning without its signature is not taken back.
                    Part::Reasoning(_) | Part::Thought { .. } | Part::Text(_) => {}
                    _ => return Err(Refused::of("messages", "an assistant says text and calls only")),
                }
            }
            Ok(("assistant", blocks))
        }
        Role::User | Role::Tool => {
            for part in &message.parts {
                blocks.extend(user_block(part, lost)?);
            }
            Ok(("user", blocks))
        }
    }
}

fn text(words: &str) -> Json {
    Object::new().with("type", "text").with("text", words).into()
}

fn user_block(part: &Part, lost: &mut Vec<String>) -> Result<Option<Json>, Refused> {
    let block = match part {
        Part::Text(words) if words.trim().is_empty() => return Ok(None),
        Part::Text(words) => text(words),
        Part::Image { source, detail } => {
            if detail.as_deref().is_some_and(|detail| detail != "auto") {
                lost.push("image_url.detail".to_owned());
            }
            Object::new().with("type", "image").with("source", place(source)?).into()
        }
        Part::File { name, source } => Object::new()
            .with("type", "document")
            .with("source", place(source)?)
            .with_some("title", name.as_deref())
            .into(),
        Part::Result { call, parts } => {
            let only_text = parts.iter().all(|part| matches!(part, Part::Text(_)));
            let content = if only_text {
                Json::from(texts(parts))
            } else {
                let blocks: Result<Vec<_>, _> = parts.iter().map(|part| user_block(part, lost)).collect();
                Json::List(blocks?.into_iter().flatten().collect())
            };
            let result = Object::new().with("type", "tool_result").with("tool_use_id", call.as_str());
            result.with("content", content).into()
        }
        Part::Audio { .. } => return Err(Refused::of("messages", "anthropic does not hear: `input_audio`")),
        _ => return Ok(None),
    };
    Ok(Some(block))
}

fn place(source: &Source) -> Result<Object, Refused> {
    match source {
        Source::Inline { media, data } => Ok(Object::new()
            .with("type", "base64")
            .with("media_type", media.as_str())
            .with("data", data.as_str())),
        Source::Url(url) if url.starts_with("https://") => {
            Ok(Object::new().with("type", "url").with("url", url.as_str()))
        }
        Source::Url(_) => Err(Refused::of("messages", "anthropic takes addresses with https only")),
        Source::Id(_) => {
            Err(Refused::of("messages", "a `file_id` of another provider is not known to anthropic"))
        }
    }
}

/// What a block of a stream is.
#[derive(Debug)]
enum Block {
    Text,
    Call(u32),
    Thinking { text: String, signature: String, whole: bool },
    Other,
}

/// Reads the events of a stream.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The block that is open; Anthropic opens one at a time.
    open: Option<Block>,
    calls: u32,
}

impl Decoder {
    pub(super) fn event(&mut self, body: &Json, events: &mut Vec<Event>) {
        match body.get("type").text() {
            Some("message_start") => {
                let message = body.get("message");
                let tier = message.get("usage").get("service_tier").words();
                events.push(Event::Start { fingerprint: None, tier: tier.map(str::to_owned) });
                // A placeholder; it counts only if the stream breaks off.
                events.extend(Usage::anthropic(message.get("usage")).map(Event::Usage));
            }
            Some("content_block_start") => self.start(body.get("content_block"), events),
            Some("content_block_delta") => self.delta(body.get("delta"), events),
            Some("content_block_stop") => self.stop(events),
            Some("message_delta") => {
                if let Some(word) = body.get("delta").get("stop_reason").words() {
                    events.push(Event::Stop { choice: 0, stop: stop(word) });
                }
                events.extend(Usage::anthropic(body.get("usage")).map(Event::Usage));
            }
            Some("message_stop") => events.push(Event::End),
            Some("error") => events.push(Event::Failure(Failure::from_json(0, body))),
            // `ping`, and whatever comes to be.
            _ => {}
        }
    }

    fn start(&mut self, block: &Json, events: &mut Vec<Event>) {
        self.open = Some(match block.get("type").text() {
            Some("text") => {
                say(block.get("text"), events);
                Block::Text
            }
            Some("tool_use") => {
                let call = self.calls;
                self.calls = self.calls.saturating_add(1);
                events.push(call_event(call, block));
                // A block that is not streamed has its input at once.
                if !block.get("input").is_idle() {
                    events.push(input(call, block));
                }
                Block::Call(call)
            }
            Some("thinking") => Block::Thinking {
                text: block.get("thinking").text().unwrap_or_default().to_owned(),
                signature: block.get("signature").text().unwrap_or_default().to_owned(),
                whole: true,
            },
            Some("redacted_thinking") => {
                events.push(thought(block.clone()));
                Block::Other
            }
            _ => {
                events.push(Event::Lost("blocks of the provider's own tools"));
                Block::Other
            }
        });
    }

    fn delta(&mut self, delta: &Json, events: &mut Vec<Event>) {
        match (delta.get("type").text(), &mut self.open) {
            (Some("text_delta"), Some(Block::Text)) => say(delta.get("text"), events),
            (Some("input_json_delta"), Some(Block::Call(call))) => {
                if let Some(text) = delta.get("partial_json").words() {
                    events.push(Event::Arguments { choice: 0, call: *call, text: text.to_owned() });
                }
            }
            (Some("thinking_delta"), Some(Block::Thinking { text, whole, .. })) => {
                if let Some(more) = delta.get("thinking").words() {
                    *whole &= text.len() + more.len() <= THINKING_BYTES_MAX;
                    if *whole {
                        text.push_str(more);
                    }
                    events.push(Event::Reasoning { choice: 0, text: more.to_owned() });
                }
            }
            (Some("signature_delta"), Some(Block::Thinking { signature, whole, .. })) => {
                let more = delta.get("signature").text().unwrap_or_default();
                *whole &= signature.len() + more.len() <= THINKING_BYTES_MAX;
                if *whole {
                    signature.push_str(more);
                }
            }
            (Some("citations_delta"), _) => events.push(Event::Lost("citations")),
            _ => {}
        }
    }

    fn stop(&mut self, events: &mut Vec<Event>) {
        let Some(Block::Thinking { text, signature, whole }) = self.open.take() else { return };
        if !whole {
            events.push(Event::Lost("thinking that is too large to be sent back"));
        } else if !signature.is_empty() {
            let block = Object::new().with("type", "thinking").with("thinking", text);
            events.push(thought(block.with("signature", signature).into()));
        }
    }
}

/// Reads a whole answer.
pub(super) fn whole(body: &Json, events: &mut Vec<Event>) {
    if body.get("type").text() == Some("error") || !body.get("error").is_null() {
        events.push(Event::Failure(Failure::from_json(0, body)));
        return;
    }
    let Json::List(blocks) = body.get("content") else {
        events.push(Event::Failure(Failure::broken("the provider's answer has no content")));
        return;
    };
    let tier = body.get("usage").get("service_tier").words().map(str::to_owned);
    events.push(Event::Start { fingerprint: None, tier });
    let mut calls = 0;
    for block in blocks {
        match block.get("type").text() {
            Some("text") => {
                say(block.get("text"), events);
                if !block.get("citations").is_idle() {
                    events.push(Event::Lost("citations"));
                }
            }
            Some("tool_use") => {
                events.push(call_event(calls, block));
                events.push(input(calls, block));
                calls += 1;
            }
            Some("thinking") => {
                if let Some(text) = block.get("thinking").words() {
                    events.push(Event::Reasoning { choice: 0, text: text.to_owned() });
                }
                events.push(thought(block.clone()));
            }
            Some("redacted_thinking") => events.push(thought(block.clone())),
            _ => events.push(Event::Lost("blocks of the provider's own tools")),
        }
    }
    if let Some(word) = body.get("stop_reason").words() {
        events.push(Event::Stop { choice: 0, stop: stop(word) });
    }
    events.extend(Usage::anthropic(body.get("usage")).map(Event::Usage));
}

fn say(text: &Json, events: &mut Vec<Event>) {
    if let Some(text) = text.words() {
        events.push(Event::Text { choice: 0, text: text.to_owned(), logprobs: None });
    }
}

fn call_event(call: u32, block: &Json) -> Event {
    Event::Call {
        choice: 0,
        call,
        id: block.get("id").words().map(str::to_owned),
        name: block.get("name").text().unwrap_or_default().to_owned(),
        signature: None,
    }
}

fn input(call: u32, block: &Json) -> Event {
    let input = block.get("input");
    let text = if input.is_null() {
        "{}".to_owned()
    } else {
        String::from_utf8(input.to_bytes()).unwrap_or_default()
    };
    Event::Arguments { choice: 0, call, text }
}

fn thought(block: Json) -> Event {
    Event::Thought { choice: 0, owner: "anthropic", list: "thinking_blocks", block }
}

fn stop(word: &str) -> Stop {
    match word {
        "max_tokens" | "model_context_window_exceeded" => Stop::Length,
        "tool_use" => Stop::Calls,
        "refusal" => Stop::Filter,
        // `end_turn`, `stop_sequence`, and `pause_turn`, after which the caller sends the conversation again.
        _ => Stop::Done,
    }
}
