//! DashScope's own dialect, for text and for pictures. Written by the official SDK's types; not recorded.
//!
//! Streams are asked for in increments, because the default repeats the whole text in every frame. A reason of
//! `"null"` (a text) means that the answer goes on. A failure may come with status 200 and a `code`.

use super::{Outgoing, Target};
use crate::{
    chat::{Effort, Fate, Format, Message, Part, Refused, Request, Role, Source, ToolChoice, texts},
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
    ("enable_thinking", Carried),
    ("extra_content", Lost),
    ("frequency_penalty", Lost),
    ("function_call", Refuse),
    ("functions", Refuse),
    ("logit_bias", Refuse),
    ("logprobs", Carried),
    ("max_completion_tokens", Carried),
    ("max_tokens", Carried),
    ("metadata", Lost),
    ("modalities", Refuse),
    ("moderation", Lost),
    ("n", Carried),
    ("parallel_tool_calls", Carried),
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
    ("thinking_budget", Carried),
    ("tool_choice", Carried),
    ("tools", Carried),
    ("top_k", Carried),
    ("top_logprobs", Carried),
    ("top_p", Carried),
    ("user", Lost),
    ("verbosity", Lost),
    ("web_search_options", Refuse),
];

const TEXT: &str = "/services/aigc/text-generation/generation";
const MULTIMODAL: &str = "/services/aigc/multimodal-generation/generation";

pub(super) fn request(request: &Request, target: &Target<'_>) -> Result<Outgoing, Refused> {
    let chat = &request.chat;
    let mut lost = Vec::new();
    let seen = |part: &Part| matches!(part, Part::Image { .. } | Part::Audio { .. });
    let multimodal = target.model.contains("-vl")
        || target.model.contains("omni")
        || chat.messages.iter().any(|message| message.parts.iter().any(seen));
    let mut messages = Vec::new();
    for message in &chat.messages {
        messages.extend(turn(message, multimodal, &mut lost)?);
    }
    let mut parameters = Object::new().with("result_format", "message");
    if chat.stream {
        parameters.set("incremental_output", true);
    }
    for (name, value) in [
        ("temperature", chat.temperature.clone()),
        ("top_p", chat.top_p.clone()),
        ("seed", chat.seed.clone()),
        ("presence_penalty", chat.presence_penalty.clone()),
    ] {
        if let Some(value) = value {
            parameters.set(name, value);
        }
    }
    if let Some(max) = chat.max_output {
        parameters.set("max_tokens", max);
    }
    if chat.count > 1 {
        parameters.set("n", chat.count);
    }
    if !chat.stop.is_empty() {
        parameters.set("stop", chat.stop.iter().map(|stop| stop.as_str().into()).collect::<Vec<Json>>());
    }
    // Spelled alike in both dialects.
    for name in ["top_k", "enable_thinking", "thinking_budget", "logprobs", "top_logprobs"] {
        if let Some(value) = request.object.get(name).filter(|value| !value.is_null()) {
            parameters.set(name, value.clone());
        }
    }
    thinking(request, &mut parameters);
    tools(request, &mut parameters, &mut lost);
    match &chat.format {
        Format::Text => {}
        Format::Json => parameters.set("response_format", Object::new().with("type", "json_object")),
        Format::Schema { .. } => {
            let format = request.object.get("response_format").cloned().unwrap_or_default();
            parameters.set("response_format", format);
        }
    }
    let body = Object::new()
        .with("model", target.model)
        .with("input", Object::new().with("messages", messages))
        .with("parameters", parameters);
    let mut headers = Vec::new();
    if chat.stream {
        headers.push(("x-dashscope-sse", "enable".to_owned()));
    }
    let path = if multimodal { MULTIMODAL } else { TEXT };
    Ok(Outgoing { path: path.to_owned(), headers, body: Json::from(body).to_bytes(), lost })
}

fn thinking(request: &Request, parameters: &mut Object) {
    let Some(effort) = request.chat.effort else { return };
    if parameters.get("enable_thinking").is_none() {
        parameters.set("enable_thinking", effort > Effort::None);
    }
    let budget: u64 = match effort {
        Effort::None => return,
        Effort::Minimal | Effort::Low => 1024,
        Effort::Medium => 4096,
        Effort::High => 8192,
        Effort::Extra | Effort::Max => 16_384,
    };
    if parameters.get("thinking_budget").is_none() {
        parameters.set("thinking_budget", budget);
    }
}

fn tools(request: &Request, parameters: &mut Object, lost: &mut Vec<String>) {
    let chat = &request.chat;
    if chat.tools.is_empty() {
        return;
    }
    if chat.tools.iter().any(|tool| tool.strict) {
        lost.push("tools.function.strict".to_owned());
    }
    parameters.set("tools", request.object.get("tools").cloned().unwrap_or_default());
    match &chat.tool_choice {
        None => {}
        Some(ToolChoice::Auto) => parameters.set("tool_choice", "auto"),
        Some(ToolChoice::Never) => parameters.set("tool_choice", "none"),
        Some(ToolChoice::Required) => {
            // Not known to most of its models.
            lost.push("tool_choice".to_owned());
            parameters.set("tool_choice", "auto");
        }
        Some(ToolChoice::Named(name)) => {
            let function = Object::new().with("name", name.as_str());
            parameters.set("tool_choice", Object::new().with("type", "function").with("function", function));
        }
    }
    if let Some(parallel) = chat.parallel_calls {
        parameters.set("parallel_tool_calls", parallel);
    }
}

fn turn(message: &Message, multimodal: bool, lost: &mut Vec<String>) -> Result<Vec<Json>, Refused> {
    if message.name.is_some() {
        lost.push("messages.name".to_owned());
    }
    if message.role == Role::Tool {
        let result = |part: &Part| {
            let Part::Result { call, parts } = part else { return None };
            let out = Object::new().with("role", "tool").with("tool_call_id", call.as_str());
            Some(out.with("content", texts(parts)).into())
        };
        return Ok(message.parts.iter().filter_map(result).collect());
    }
    let role = match message.role {
        Role::System => "system",
        Role::Assistant => "assistant",
        Role::User | Role::Tool => "user",
    };
    let mut content = Vec::new();
    let mut calls: Vec<Json> = Vec::new();
    for part in &message.parts {
        match part {
            Part::Text(text) => content.push(Object::new().with("text", text.as_str()).into()),
            Part::Image { source, detail } => {
                if detail.as_deref().is_some_and(|detail| detail != "auto") {
                    lost.push("image_url.detail".to_owned());
                }
                content.push(Object::new().with("image", place(source)?).into());
            }
            Part::Audio { data, format } => {
                let audio = format!("data:audio/{format};base64,{data}");
                content.push(Object::new().with("audio", audio).into());
            }
            Part::File { .. } => return Err(Refused::of("messages", "dashscope takes no files here")),
            Part::Call { id, name, arguments, .. } => {
                let function =
                    Object::new().with("name", name.as_str()).with("arguments", arguments.as_str());
                let call = Object::new().with("id", id.as_str()).with("type", "function");
                calls.push(call.with("function", function).into());
            }
            Part::Result { .. } | Part::Reasoning(_) | Part::Thought { .. } => {}
        }
    }
    let content = if multimodal { Json::List(content) } else { message.text().into() };
    let mut out = Object::new().with("role", role).with("content", content);
    if !calls.is_empty() {
        out.set("tool_calls", calls);
    }
    Ok(vec![out.into()])
}

fn place(source: &Source) -> Result<String, Refused> {
    match source {
        Source::Url(url) if url.starts_with("https://") || url.starts_with("http://") => Ok(url.clone()),
        Source::Inline { media, data } => Ok(format!("data:{media};base64,{data}")),
        _ => Err(Refused::of("messages", "dashscope takes pictures by address or as data URIs")),
    }
}

/// Reads frames; a whole answer is one frame.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    begun: bool,
    calls: Vec<(u32, Option<u64>)>,
}

/// Calls that one stream may open.
const CALLS_MAX: usize = 4096;

impl Decoder {
    pub(super) fn chunk(&mut self, body: &Json, events: &mut Vec<Event>) {
        if body.get("code").words().is_some() {
            events.push(Event::Failure(Failure::from_json(0, body)));
            return;
        }
        if !self.begun {
            self.begun = true;
            events.push(Event::Start { fingerprint: None, tier: None });
        }
        let output = body.get("output");
        for (at, choice) in output.get("choices").list().iter().enumerate() {
            let index = choice.get("index").count().unwrap_or(at as u64);
            self.choice(u32::try_from(index).unwrap_or(0), choice, events);
        }
        // The form of `result_format: text`, which some models answer in whatever is asked.
        if output.get("choices").is_null()
            && let Some(text) = output.get("text").text()
        {
            events.push(Event::Text { choice: 0, text: text.to_owned(), logprobs: None });
            events.extend(stop(output.get("finish_reason")).map(|stop| Event::Stop { choice: 0, stop }));
        }
        events.extend(Usage::dashscope(body.get("usage")).map(Event::Usage));
    }

    fn choice(&mut self, choice: u32, body: &Json, events: &mut Vec<Event>) {
        let message = body.get("message");
        if let Some(text) = message.get("reasoning_content").words() {
            events.push(Event::Reasoning { choice, text: text.to_owned() });
        }
        let logprobs = body.get("logprobs");
        let logprobs = (!logprobs.is_null()).then(|| logprobs.clone());
        let text = match message.get("content") {
            Json::Text(text) => text.clone(),
            Json::List(parts) => parts.iter().filter_map(|part| part.get("text").text()).collect(),
            _ => String::new(),
        };
        if !text.is_empty() || logprobs.is_some() {
            events.push(Event::Text { choice, text, logprobs });
        }
        for call in message.get("tool_calls").list() {
            self.call(choice, call, events);
        }
        events.extend(stop(body.get("finish_reason")).map(|stop| Event::Stop { choice, stop }));
    }

    fn call(&mut self, choice: u32, call: &Json, events: &mut Vec<Event>) {
        let index = call.get("index").count();
        let function = call.get("function");
        let known = self.calls.iter().rposition(|have| *have == (choice, index));
        // A call goes on in frames of the same index; a whole answer need not number its calls.
        let known = known.filter(|_| index.is_some() || function.get("name").words().is_none());
        let at = match known {
            Some(at) => at,
            None if self.calls.len() >= CALLS_MAX => {
                events.push(Event::Failure(Failure::broken("the provider's stream opens too many calls")));
                return;
            }
            None => {
                self.calls.push((choice, index));
                events.push(Event::Call {
                    choice,
                    call: u32::try_from(self.calls.len() - 1).unwrap_or(u32::MAX),
                    id: call.get("id").words().map(str::to_owned),
                    name: function.get("name").text().unwrap_or_default().to_owned(),
                    signature: None,
                });
                self.calls.len() - 1
            }
        };
        if let Some(text) = function.get("arguments").words() {
            let call = u32::try_from(at).unwrap_or(u32::MAX);
            events.push(Event::Arguments { choice, call, text: text.to_owned() });
        }
    }
}

fn stop(word: &Json) -> Option<Stop> {
    match word.words()? {
        "null" => None,
        "length" => Some(Stop::Length),
        "tool_calls" => Some(Stop::Calls),
        _ => Some(Stop::Done),
    }
}
