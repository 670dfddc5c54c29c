//! Gemini's `generateContent`, with an API key.
//!
//! A reason of STOP also ends turns that call tools, and may come twice in a stream; a blocked prompt has no
//! candidates at all; the thoughts are not part of the candidates' count. The signature of a call must come back with
//! it, so it travels as `extra_content.google.thought_signature`, as in Gemini's own compatible mode.
//!
//! Lost in answers: pictures and sound, executed code, citations and grounding, safety ratings.

use super::{Outgoing, Target, arguments};
use crate::{
    chat::{Chat, Effort, Fate, Format, Message, Part, Refused, Role, Source, ToolChoice, texts},
    event::{Event, Stop},
    failure::{Class, Failure},
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
    ("n", Carried),
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

/// Stop sequences that Gemini takes.
const STOPS_MAX: usize = 5;

pub(super) fn request(chat: &Chat, target: &Target<'_>) -> Result<Outgoing, Refused> {
    let mut lost = Vec::new();
    let (system, contents) = conversation(chat, &mut lost)?;
    let mut body = Object::new().with("contents", contents);
    if !system.is_empty() {
        body.set("systemInstruction", Object::new().with("parts", system));
    }
    if !chat.tools.is_empty() {
        body.set("tools", tools(chat, &mut lost));
        if let Some(choice) = &chat.tool_choice {
            body.set("toolConfig", Object::new().with("functionCallingConfig", tool_choice(choice)));
        }
    }
    let generation = generation(chat, target.model, &mut lost)?;
    if !generation.is_empty() {
        body.set("generationConfig", generation);
    }
    let method = if chat.stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
    Ok(Outgoing {
        path: format!("/v1beta/models/{}:{method}", model(target.model)?),
        headers: Vec::new(),
        body: Json::from(body).to_bytes(),
        lost,
    })
}

/// The model's name as one segment of the path.
pub(super) fn model(name: &str) -> Result<&str, Refused> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if name.bytes().all(plain) && !name.is_empty() && !name.contains("..") {
        Ok(name)
    } else {
        Err(Refused::of("model", "the target's model is not a name that gemini has"))
    }
}

fn tools(chat: &Chat, lost: &mut Vec<String>) -> Vec<Json> {
    let declare = |tool: &crate::chat::Tool| {
        let declaration = Object::new()
            .with("name", tool.name.as_str())
            .with_some("description", tool.description.as_deref())
            .with_some("parametersJsonSchema", tool.parameters.clone());
        Json::from(declaration)
    };
    if chat.tools.iter().any(|tool| tool.strict) {
        lost.push("tools.function.strict".to_owned());
    }
    let declarations: Vec<Json> = chat.tools.iter().map(declare).collect();
    vec![Object::new().with("functionDeclarations", declarations).into()]
}

fn tool_choice(choice: &ToolChoice) -> Object {
    let mode = |mode: &str| Object::new().with("mode", mode);
    match choice {
        ToolChoice::Auto => mode("AUTO"),
        ToolChoice::Never => mode("NONE"),
        ToolChoice::Required => mode("ANY"),
        ToolChoice::Named(name) => mode("ANY").with("allowedFunctionNames", vec![name.as_str().into()]),
    }
}

fn generation(chat: &Chat, model: &str, lost: &mut Vec<String>) -> Result<Object, Refused> {
    if chat.stop.len() > STOPS_MAX {
        return Err(Refused::of("stop", format!("gemini takes at most {STOPS_MAX} stop sequences")));
    }
    let mut out = Object::new()
        .with_some("temperature", chat.temperature.clone())
        .with_some("topP", chat.top_p.clone())
        .with_some("seed", chat.seed.clone())
        .with_some("presencePenalty", chat.presence_penalty.clone())
        .with_some("frequencyPenalty", chat.frequency_penalty.clone())
        .with_some("maxOutputTokens", chat.max_output);
    if chat.count > 1 {
        out.set("candidateCount", chat.count);
    }
    let stop: Vec<Json> =
        chat.stop.iter().filter(|stop| !stop.is_empty()).map(|stop| stop.as_str().into()).collect();
    if !stop.is_empty() {
        out.set("stopSequences", stop);
    }
    match &chat.format {
        Format::Text => {}
        Format::Json => out.set("responseMimeType", "application/json"),
        Format::Schema { schema, .. } => {
            out.set("responseMimeType", "application/json");
            out.set("responseJsonSchema", schema.clone());
        }
    }
    if let Some(effort) = chat.effort {
        match thinking(effort, model) {
            Some(config) => out.set("thinkingConfig", config),
            None => lost.push("reasoning_effort".to_owned()),
        }
    }
    Ok(out)
}

/// Gemini 3 knows levels, 2.5 a budget; older models do not think.
fn thinking(effort: Effort, model: &str) -> Option<Object> {
    if model.contains("gemini-1") || model.contains("gemini-2.0") {
        return None;
    }
    if model.contains("gemini-2.5") {
        let budget: u64 = match effort {
            Effort::None => 0,
            Effort::Minimal | Effort::Low => 1024,
            Effort::Medium => 8192,
            _ => 24_576,
        };
        return Some(Object::new().with("thinkingBudget", budget).with("includeThoughts", budget > 0));
    }
    let level = match effort {
        Effort::None | Effort::Minimal => "MINIMAL",
        Effort::Low => "LOW",
        Effort::Medium => "MEDIUM",
        _ => "HIGH",
    };
    Some(Object::new().with("thinkingLevel", level).with("includeThoughts", effort > Effort::None))
}

fn conversation(chat: &Chat, lost: &mut Vec<String>) -> Result<(Vec<Json>, Vec<Json>), Refused> {
    let mut system = Vec::new();
    let mut turns: Vec<(&str, Vec<Json>)> = Vec::new();
    for message in &chat.messages {
        if message.name.is_some() {
            lost.push("messages.name".to_owned());
        }
        if message.role == Role::System {
            if !turns.is_empty() {
                lost.push("messages.role".to_owned());
            }
            system.extend(message.parts.iter().filter_map(|part| match part {
                Part::Text(words) => Some(text(words)),
                _ => None,
            }));
            continue;
        }
        let role = if message.role == Role::Assistant { "model" } else { "user" };
        let parts = turn(message, chat, lost)?;
        match turns.last_mut() {
            Some((last, have)) if *last == role => have.extend(parts),
            _ => turns.push((role, parts)),
        }
    }
    let contents = turns.into_iter().filter(|(_, parts)| !parts.is_empty());
    let contents: Vec<Json> =
        contents.map(|(role, parts)| Object::new().with("role", role).with("parts", parts).into()).collect();
    if contents.is_empty() {
        return Err(Refused::of("messages", "gemini needs a message that is not of the system"));
    }
    Ok((system, contents))
}

fn text(words: &str) -> Json {
    Object::new().with("text", words).into()
}

fn turn(message: &Message, chat: &Chat, lost: &mut Vec<String>) -> Result<Vec<Json>, Refused> {
    let mut parts: Vec<Json> = Vec::new();
    let mut signature = None;
    for part in &message.parts {
        match part {
            Part::Text(words) => {
                if !words.is_empty() {
                    parts.push(text(words));
                }
            }
            Part::Image { source, detail } => {
                if detail.as_deref().is_some_and(|detail| detail != "auto") {
                    lost.push("image_url.detail".to_owned());
                }
                parts.push(media(source)?);
            }
            Part::File { source, .. } => parts.push(media(source)?),
            Part::Audio { data, format } => {
                let plain = format.bytes().all(|byte| byte.is_ascii_alphanumeric());
                let media = if plain { format!("audio/{format}") } else { "audio/wav".to_owned() };
                parts.push(inline(&media, data));
            }
            Part::Call { name, arguments: words, signature, .. } => {
                let call = Object::new().with("name", name.as_str()).with("args", arguments(words)?);
                let part = Object::new().with("functionCall", call);
                parts.push(part.with_some("thoughtSignature", signature.as_deref()).into());
            }
            Part::Result { call, parts: said } => {
                if said.iter().any(|part| !matches!(part, Part::Text(_))) {
                    return Err(Refused::of("messages", "a tool's result for gemini is text"));
                }
                parts.push(result(call, &texts(said), chat)?);
            }
            Part::Thought { owner, list, block } if owner == "google" && list == "thought_signatures" => {
                signature = block.words().map(str::to_owned);
            }
            // Readable reasoning is a summary that Gemini does not take back.
            Part::Reasoning(_) | Part::Thought { .. } => {}
        }
    }
    // A signature that came with text belongs to the last part that has none.
    if let (Some(signature), Some(Json::Object(last))) = (signature, parts.last_mut())
        && last.get("thoughtSignature").is_none()
    {
        last.set("thoughtSignature", signature);
    }
    Ok(parts)
}

/// Gemini knows results by the function's name, so the name is looked up by the call's id.
fn result(call: &str, said: &str, chat: &Chat) -> Result<Json, Refused> {
    let calls = chat.messages.iter().flat_map(|message| &message.parts);
    let mut name = calls.filter_map(|part| match part {
        Part::Call { id, name, .. } if id == call => Some(name.as_str()),
        _ => None,
    });
    let name = name
        .next_back()
        .ok_or_else(|| Refused::of("messages", "a tool's result follows the call that it belongs to"))?;
    let response = match Json::read(said.as_bytes()) {
        Ok(object @ Json::Object(_)) => object,
        _ => Object::new().with("result", said).into(),
    };
    let response = Object::new().with("name", name).with("response", response);
    Ok(Object::new().with("functionResponse", response).into())
}

fn inline(media: &str, data: &str) -> Json {
    let data = Object::new().with("mimeType", media).with("data", data);
    Object::new().with("inlineData", data).into()
}

fn media(source: &Source) -> Result<Json, Refused> {
    match source {
        Source::Inline { media, data } => Ok(inline(media, data)),
        Source::Url(url)
            if url.starts_with("gs://") || url.starts_with("https://generativelanguage.googleapis.com/") =>
        {
            Ok(Object::new().with("fileData", Object::new().with("fileUri", url.as_str())).into())
        }
        Source::Url(_) => Err(Refused::of(
            "messages",
            "gemini fetches Google's own addresses only, and the gateway fetches none: send the picture as a data URI",
        )),
        Source::Id(_) => {
            Err(Refused::of("messages", "a `file_id` of another provider is not known to gemini"))
        }
    }
}

/// Reads chunks; a whole answer is one chunk.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    begun: bool,
    calls: u32,
    /// Choices that called a tool.
    called: Vec<u32>,
}

impl Decoder {
    pub(super) fn chunk(&mut self, body: &Json, events: &mut Vec<Event>) {
        if !body.get("error").is_null() || !body.list().is_empty() {
            events.push(Event::Failure(Failure::from_json(0, body)));
            return;
        }
        if !self.begun {
            self.begun = true;
            events.push(Event::Start { fingerprint: None, tier: None });
        }
        for candidate in body.get("candidates").list() {
            self.candidate(candidate, events);
        }
        if body.get("promptFeedback").get("blockReason").words().is_some() {
            events.push(Event::Stop { choice: 0, stop: Stop::Filter });
        }
        events.extend(Usage::gemini(body.get("usageMetadata")).map(Event::Usage));
    }

    fn candidate(&mut self, candidate: &Json, events: &mut Vec<Event>) {
        let choice = candidate.get("index").count().and_then(|index| u32::try_from(index).ok()).unwrap_or(0);
        for part in candidate.get("content").get("parts").list() {
            self.part(choice, part, events);
        }
        if !candidate.get("citationMetadata").is_idle() || !candidate.get("groundingMetadata").is_idle() {
            events.push(Event::Lost("citations"));
        }
        if let Some(word) = candidate.get("finishReason").words() {
            match stop(word) {
                Some(Stop::Done) if self.called.contains(&choice) => {
                    events.push(Event::Stop { choice, stop: Stop::Calls });
                }
                Some(stop) => events.push(Event::Stop { choice, stop }),
                None => {
                    let message = "the model made a call of a tool that cannot be read".to_owned();
                    let failure =
                        Failure { native_code: word.to_owned(), message, ..Failure::of(Class::Server) };
                    events.push(Event::Failure(failure));
                }
            }
        }
    }

    fn part(&mut self, choice: u32, part: &Json, events: &mut Vec<Event>) {
        let signature = part.get("thoughtSignature").words();
        let call = part.get("functionCall");
        if call.object().is_some() {
            let number = self.calls;
            self.calls = self.calls.saturating_add(1);
            self.called.push(choice);
            events.push(Event::Call {
                choice,
                call: number,
                id: call.get("id").words().map(str::to_owned),
                name: call.get("name").text().unwrap_or_default().to_owned(),
                signature: signature.map(str::to_owned),
            });
            let args = call.get("args");
            let text = if args.is_null() { b"{}".to_vec() } else { args.to_bytes() };
            let text = String::from_utf8(text).unwrap_or_default();
            events.push(Event::Arguments { choice, call: number, text });
            return;
        }
        match part.get("text").text() {
            Some(text) if part.get("thought").bool() == Some(true) => {
                events.push(Event::Reasoning { choice, text: text.to_owned() });
            }
            Some(text) => {
                events.push(Event::Text { choice, text: text.to_owned(), logprobs: None });
            }
            None if part.get("inlineData").object().is_some() => {
                events.push(Event::Lost("media in the answer"))
            }
            None if signature.is_none() => events.push(Event::Lost("executed code")),
            None => {}
        }
        if let Some(signature) = signature {
            events.push(Event::Thought {
                choice,
                owner: "google",
                list: "thought_signatures",
                block: signature.into(),
            });
        }
    }
}

/// Gemini's reasons; none for one that is an error of the model.
fn stop(word: &str) -> Option<Stop> {
    match word {
        "STOP" | "FINISH_REASON_UNSPECIFIED" => Some(Stop::Done),
        "MAX_TOKENS" | "CONTINUATION" => Some(Stop::Length),
        "MALFORMED_FUNCTION_CALL"
        | "MALFORMED_RESPONSE"
        | "UNEXPECTED_TOOL_CALL"
        | "TOO_MANY_TOOL_CALLS"
        | "MISSING_THOUGHT_SIGNATURE" => None,
        // SAFETY, RECITATION, BLOCKLIST, PROHIBITED_CONTENT, SPII and those to come: content was held back.
        _ => Some(Stop::Filter),
    }
}
