//! Ollama's own dialect: `/api/chat` and lines of JSON.
//!
//! Arguments of calls are objects, ids are missing, and the reason is `stop` also for calls. Reasoning comes as
//! `thinking`. Ollama cannot be told which tool to call.

use super::{Outgoing, Target, arguments};
use crate::{
    chat::{Chat, Effort, Fate, Format, Message, Part, Refused, Role, Source, ToolChoice, texts},
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
    ("frequency_penalty", Carried),
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
    ("parallel_tool_calls", Lost),
    ("prediction", Lost),
    ("presence_penalty", Carried),
    ("prompt_cache_key", Lost),
    ("prompt_cache_options", Lost),
    ("prompt_cache_retention", Lost),
    ("reasoning_effort", Carried),
    ("response_format", Carried),
    ("safety_identifier", Lost),
    ("seed", Carried),
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

pub(super) fn request(chat: &Chat, target: &Target<'_>) -> Result<Outgoing, Refused> {
    let mut lost = Vec::new();
    let mut messages = Vec::new();
    for message in &chat.messages {
        messages.extend(turn(message, chat, &mut lost)?);
    }
    let mut body = Object::new()
        .with("model", target.model)
        .with("messages", messages)
        // Ollama streams unless it is told not to.
        .with("stream", chat.stream);
    match chat.tool_choice {
        Some(ToolChoice::Required | ToolChoice::Named(_)) => {
            return Err(Refused::of("tool_choice", "ollama cannot be made to call a tool"));
        }
        Some(ToolChoice::Never) => {}
        _ if chat.tools.is_empty() => {}
        _ => body.set("tools", tools(chat, &mut lost)),
    }
    match &chat.format {
        Format::Text => {}
        Format::Json => body.set("format", "json"),
        Format::Schema { schema, .. } => body.set("format", schema.clone()),
    }
    match chat.effort {
        None => {}
        Some(Effort::None) => body.set("think", false),
        // Only gpt-oss knows levels; others know on and off.
        Some(effort) if target.model.contains("gpt-oss") => body.set(
            "think",
            match effort {
                Effort::Minimal | Effort::Low => "low",
                Effort::Medium => "medium",
                _ => "high",
            },
        ),
        Some(_) => body.set("think", true),
    }
    let mut options = Object::new()
        .with_some("temperature", chat.temperature.clone())
        .with_some("top_p", chat.top_p.clone())
        .with_some("seed", chat.seed.clone())
        .with_some("presence_penalty", chat.presence_penalty.clone())
        .with_some("frequency_penalty", chat.frequency_penalty.clone())
        .with_some("num_predict", chat.max_output);
    if !chat.stop.is_empty() {
        options.set("stop", chat.stop.iter().map(|stop| stop.as_str().into()).collect::<Vec<Json>>());
    }
    if !options.is_empty() {
        body.set("options", options);
    }
    let path = "/api/chat".to_owned();
    Ok(Outgoing { path, headers: Vec::new(), body: Json::from(body).to_bytes(), lost })
}

fn tools(chat: &Chat, lost: &mut Vec<String>) -> Vec<Json> {
    if chat.tools.iter().any(|tool| tool.strict) {
        lost.push("tools.function.strict".to_owned());
    }
    let write = |tool: &crate::chat::Tool| {
        let parameters = tool
            .parameters
            .clone()
            .unwrap_or_else(|| Object::new().with("type", "object").with("properties", Object::new()).into());
        let function = Object::new()
            .with("name", tool.name.as_str())
            .with("description", tool.description.as_deref().unwrap_or_default())
            .with("parameters", parameters);
        Json::from(Object::new().with("type", "function").with("function", function))
    };
    chat.tools.iter().map(write).collect()
}

fn turn(message: &Message, chat: &Chat, lost: &mut Vec<String>) -> Result<Vec<Json>, Refused> {
    if message.name.is_some() {
        lost.push("messages.name".to_owned());
    }
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    if message.role == Role::Tool {
        return message.parts.iter().map(|part| result(part, chat)).collect();
    }
    let mut out = Object::new().with("role", role).with("content", message.text());
    let mut images: Vec<Json> = Vec::new();
    let mut calls: Vec<Json> = Vec::new();
    for part in &message.parts {
        match part {
            Part::Image { source: Source::Inline { data, .. }, detail } => {
                if detail.as_deref().is_some_and(|detail| detail != "auto") {
                    lost.push("image_url.detail".to_owned());
                }
                images.push(data.as_str().into());
            }
            Part::Image { .. } => {
                return Err(Refused::of(
                    "messages",
                    "ollama takes pictures as data URIs only, and the gateway fetches none",
                ));
            }
            Part::Audio { .. } => return Err(Refused::of("messages", "ollama does not hear: `input_audio`")),
            Part::File { .. } => return Err(Refused::of("messages", "ollama takes no files")),
            Part::Call { name, arguments: words, .. } => {
                let function = Object::new().with("name", name.as_str()).with("arguments", arguments(words)?);
                calls.push(Object::new().with("function", function).into());
            }
            Part::Reasoning(text) => out.set("thinking", text.as_str()),
            Part::Text(_) | Part::Result { .. } | Part::Thought { .. } => {}
        }
    }
    if !images.is_empty() {
        out.set("images", images);
    }
    if !calls.is_empty() {
        out.set("tool_calls", calls);
    }
    Ok(vec![out.into()])
}

fn result(part: &Part, chat: &Chat) -> Result<Json, Refused> {
    let Part::Result { call, parts } = part else {
        return Err(Refused::of("messages", "a message of a tool is a result"));
    };
    if parts.iter().any(|part| !matches!(part, Part::Text(_))) {
        return Err(Refused::of("messages", "a tool's result for ollama is text"));
    }
    let calls = chat.messages.iter().flat_map(|message| &message.parts);
    let mut name = calls.filter_map(|part| match part {
        Part::Call { id, name, .. } if id == call => Some(name.as_str()),
        _ => None,
    });
    let out = Object::new().with("role", "tool").with("content", texts(parts));
    Ok(out.with_some("tool_name", name.next_back()).into())
}

/// Reads lines; a whole answer is one line.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    begun: bool,
    calls: u32,
}

impl Decoder {
    pub(super) fn line(&mut self, body: &Json, events: &mut Vec<Event>) {
        if !body.get("error").is_null() {
            events.push(Event::Failure(Failure::from_json(0, body)));
            return;
        }
        if !self.begun {
            self.begun = true;
            events.push(Event::Start { fingerprint: None, tier: None });
        }
        let message = body.get("message");
        if let Some(text) = message.get("thinking").words() {
            events.push(Event::Reasoning { choice: 0, text: text.to_owned() });
        }
        if let Some(text) = message.get("content").words() {
            events.push(Event::Text { choice: 0, text: text.to_owned(), logprobs: None });
        }
        for call in message.get("tool_calls").list() {
            let number = self.calls;
            self.calls = self.calls.saturating_add(1);
            let function = call.get("function");
            events.push(Event::Call {
                choice: 0,
                call: number,
                id: call.get("id").words().map(str::to_owned),
                name: function.get("name").text().unwrap_or_default().to_owned(),
                signature: None,
            });
            let text = match function.get("arguments") {
                Json::Text(text) => text.clone(),
                Json::Null => "{}".to_owned(),
                object => String::from_utf8(object.to_bytes()).unwrap_or_default(),
            };
            events.push(Event::Arguments { choice: 0, call: number, text });
        }
        if body.get("done").bool() == Some(true) {
            let stop = match body.get("done_reason").text() {
                Some("length") => Stop::Length,
                _ if self.calls > 0 => Stop::Calls,
                _ => Stop::Done,
            };
            events.push(Event::Stop { choice: 0, stop });
            events.extend(Usage::ollama(body).map(Event::Usage));
            events.push(Event::End);
        }
    }
}
