//! OpenAI's chat dialect towards providers, and the servers that speak it with differences.
//!
//! The caller's own object is sent on with as few changes as can be: the model's name, a request for usage, and what
//! a provider spells in its own way. Answers are read tolerantly, because no two servers agree: usage on a chunk with
//! or without choices, calls without index or id, content as a list, errors in the middle.
//!
//! Lost in answers: `function_call` of old servers, citations of Perplexity and Mistral, timings, costs, filter results.

use super::{Dialect, Outgoing, Target};
use crate::{
    chat::{Fate, Refused, Request},
    event::{Event, Stop},
    failure::Failure,
    json::{Json, Object},
    usage::Usage,
};

use Fate::{Carried, Lost, Refused as Refuse};

/// OpenAI's fields at OpenAI: all of them.
pub const FATES: [(&str, Fate); 41] = table(&[], &[]);

/// At Mistral, which answers 422 to fields that it does not know.
pub const MISTRAL_FATES: [(&str, Fate); 41] = table(
    &["logprobs", "top_logprobs", "logit_bias", "audio", "functions", "function_call"],
    &[
        "enable_thinking",
        "thinking_budget",
        "extra_content",
        "modalities",
        "moderation",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "top_k",
        "user",
        "verbosity",
        "web_search_options",
    ],
);

/// At DashScope's compatible mode, which ignores what it does not know: so it is told here.
pub const DASHSCOPE_FATES: [(&str, Fate); 41] = table(
    &["logit_bias", "functions", "function_call"],
    &[
        "extra_content",
        "metadata",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
        "verbosity",
        "web_search_options",
    ],
);

const fn table(refused: &[&str], lost: &[&str]) -> [(&'static str, Fate); 41] {
    let mut out = [("", Carried); 41];
    let mut at = 0;
    while at < 41 {
        #[expect(clippy::indexing_slicing, reason = "both arrays have 41 members, checked when compiled")]
        {
            let name = crate::chat::FIELDS[at];
            let fate = if among(refused, name) {
                Refuse
            } else if among(lost, name) {
                Lost
            } else {
                Carried
            };
            out[at] = (name, fate);
        }
        at += 1;
    }
    out
}

const fn among(names: &[&str], name: &str) -> bool {
    let mut names = names;
    while let Some((first, rest)) = names.split_first() {
        if same(first.as_bytes(), name.as_bytes()) {
            return true;
        }
        names = rest;
    }
    false
}

const fn same(mut a: &[u8], mut b: &[u8]) -> bool {
    loop {
        match (a.split_first(), b.split_first()) {
            (None, None) => return true,
            (Some((x, xs)), Some((y, ys))) if *x == *y => (a, b) = (xs, ys),
            _ => return false,
        }
    }
}

/// The caller's object with the changes this provider needs.
pub(super) fn request(
    dialect: Dialect,
    request: &Request,
    target: &Target<'_>,
    lost: &[String],
) -> Result<Outgoing, Refused> {
    let mut object = request.object.clone();
    object.set("model", target.model);
    match dialect {
        Dialect::OpenAi | Dialect::Compatible => {}
        Dialect::Mistral => object.retain(|name, _| MISTRAL_FATES.contains(&(name, Carried))),
        _ => object.retain(|name, _| !lost.iter().any(|lost| lost == name)),
    }
    let mut also = Vec::new();
    match dialect {
        Dialect::OpenAi => rename(&mut object, "max_tokens", "max_completion_tokens"),
        Dialect::Mistral => mistral(&mut object),
        Dialect::DashScopeCompatible => {
            rename(&mut object, "max_completion_tokens", "max_tokens");
            if object.get("tool_choice").and_then(Json::text) == Some("required") {
                // Most of its models answer 400 to it.
                object.set("tool_choice", "auto");
                also.push("tool_choice".to_owned());
            }
            roles(&mut object);
        }
        _ => {}
    }
    if dialect == Dialect::Mistral {
        object.remove("stream_options");
    } else if request.chat.stream {
        // Asked for always, told to the caller only if they asked: without it a call has no price.
        let mut options = match object.remove("stream_options") {
            Some(Json::Object(options)) => options,
            _ => Object::new(),
        };
        options.set("include_usage", true);
        object.set("stream_options", options);
    } else {
        // Only streams may have options.
        object.remove("stream_options");
    }
    Ok(Outgoing {
        path: "/chat/completions".to_owned(),
        headers: Vec::new(),
        body: Json::from(object).to_bytes(),
        lost: also,
    })
}

fn rename(object: &mut Object, from: &str, to: &str) {
    if let Some(value) = object.remove(from)
        && object.get(to).is_none_or(Json::is_null)
    {
        object.set(to, value);
    }
}

/// `developer` is OpenAI's own word for `system`.
fn roles(object: &mut Object) {
    each_message(object, |message| {
        if message.get("role").and_then(Json::text) == Some("developer") {
            message.set("role", "system");
        }
    });
}

fn each_message(object: &mut Object, mut change: impl FnMut(&mut Object)) {
    if let Some(Json::List(messages)) = object.get_mut("messages") {
        for message in messages {
            if let Json::Object(message) = message {
                change(message);
            }
        }
    }
}

fn mistral(object: &mut Object) {
    rename(object, "max_completion_tokens", "max_tokens");
    rename(object, "seed", "random_seed");
    roles(object);
    each_message(object, |message| {
        // Fields of answers that callers send back, and that Mistral answers 422 to.
        message.retain(|name, _| {
            matches!(name, "role" | "content" | "tool_calls" | "tool_call_id" | "prefix") || name == "name"
        });
        if let Some(Json::List(parts)) = message.get_mut("content") {
            for part in parts {
                let Json::Object(part) = part else { continue };
                // Sound is a bare text here.
                if let Some(data) = part.get("input_audio").map(|audio| audio.get("data").clone())
                    && data.text().is_some()
                {
                    part.set("input_audio", data);
                }
            }
        }
    });
}

/// One call of a tool in a stream, as far as it is known.
#[derive(Debug)]
struct Call {
    choice: u32,
    index: Option<u64>,
    id: Option<String>,
}

/// Reads chunks and whole answers.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    begun: bool,
    calls: Vec<Call>,
}

/// Calls that one stream may open.
const CALLS_MAX: usize = 4096;

impl Decoder {
    pub(super) fn chunk(&mut self, body: &Json, events: &mut Vec<Event>) {
        self.body(body, "delta", events);
    }

    pub(super) fn whole(&mut self, body: &Json, events: &mut Vec<Event>) {
        self.body(body, "message", events);
    }

    fn body(&mut self, body: &Json, member: &str, events: &mut Vec<Event>) {
        // DashScope and Mistral say `code` and `message` without an `error`.
        let bare = body.get("choices").is_null() && body.get("code").words().is_some();
        if !body.get("error").is_null() || bare {
            events.push(Event::Failure(Failure::from_json(0, body)));
            return;
        }
        if !self.begun {
            self.begun = true;
            let text = |name: &str| body.get(name).words().map(str::to_owned);
            events.push(Event::Start { fingerprint: text("system_fingerprint"), tier: text("service_tier") });
        }
        for choice in body.get("choices").list() {
            self.choice(choice, member, events);
        }
        // The last one told counts, with choices beside it or without; `x_groq.usage` is the same once more.
        if let Some(usage) = Usage::openai_chat(body.get("usage")) {
            events.push(Event::Usage(usage));
        }
    }

    fn choice(&mut self, body: &Json, member: &str, events: &mut Vec<Event>) {
        let choice = body.get("index").count().and_then(|index| u32::try_from(index).ok()).unwrap_or(0);
        let said = body.get(member);
        let probabilities = body.get("logprobs");
        let mut logprobs = (!probabilities.is_null()).then(|| probabilities.clone());
        let reasoning = said.get("reasoning_content").words().or(said.get("reasoning").words());
        if let Some(text) = reasoning {
            events.push(Event::Reasoning { choice, text: text.to_owned() });
        }
        if let Some(text) = said.get("refusal").words() {
            events.push(Event::Refusal { choice, text: text.to_owned(), logprobs: logprobs.take() });
        }
        match said.get("content") {
            Json::Text(text) if !text.is_empty() || logprobs.is_some() || member == "message" => {
                events.push(Event::Text { choice, text: text.clone(), logprobs: logprobs.take() });
            }
            Json::List(parts) => mistral_parts(choice, parts, events),
            _ => {}
        }
        if let Some(logprobs) =
            logprobs.filter(|_| body.get("finish_reason").is_null() || member == "message")
        {
            events.push(Event::Text { choice, text: String::new(), logprobs: Some(logprobs) });
        }
        for call in said.get("tool_calls").list() {
            self.call(choice, call, events);
        }
        for name in ["annotations", "audio", "reasoning_details"] {
            if !said.get(name).is_idle() {
                events.push(Event::Member { choice, name, value: said.get(name).clone() });
            }
        }
        if !said.get("function_call").is_null() {
            events.push(Event::Lost("function_call"));
        }
        if let Some(word) = body.get("finish_reason").words() {
            match stop(word) {
                Some(stop) => events.push(Event::Stop { choice, stop }),
                None => events.push(Event::Failure(Failure::broken("the provider ended with an error"))),
            }
        }
    }

    /// A call is anchored by its index, or its id, or by being the last one.
    fn call(&mut self, choice: u32, call: &Json, events: &mut Vec<Event>) {
        let index = call.get("index").count();
        let id = call.get("id").words();
        let function = call.get("function");
        let name = function.get("name").words();
        let of_choice = |have: &(usize, &Call)| have.1.choice == choice;
        let known = {
            let mut calls = self.calls.iter().enumerate();
            let mut found = match index {
                Some(index) => calls.rfind(|have| of_choice(have) && have.1.index == Some(index)),
                None => match id {
                    Some(id) => calls.rfind(|have| of_choice(have) && have.1.id.as_deref() == Some(id)),
                    None => calls.rfind(of_choice),
                },
            };
            // The same index with another id and a name is another call: some servers never count.
            if let (Some((_, have)), Some(id), Some(_)) = (&found, id, name)
                && have.id.as_deref().is_some_and(|have| have != id)
            {
                found = None;
            }
            // Without index and id a name begins a new call.
            if index.is_none() && id.is_none() && name.is_some() {
                found = None;
            }
            found.map(|(at, _)| at)
        };
        let at = match known {
            Some(at) => at,
            None if self.calls.len() >= CALLS_MAX => {
                events.push(Event::Failure(Failure::broken("the provider's stream opens too many calls")));
                return;
            }
            None => {
                self.calls.push(Call { choice, index, id: id.map(str::to_owned) });
                let signature = call.get("extra_content").get("google").get("thought_signature").words();
                events.push(Event::Call {
                    choice,
                    call: number(self.calls.len() - 1),
                    id: id.map(str::to_owned),
                    name: name.unwrap_or_default().to_owned(),
                    signature: signature.map(str::to_owned),
                });
                self.calls.len() - 1
            }
        };
        let arguments = match function.get("arguments") {
            Json::Text(text) => text.clone(),
            Json::Null => String::new(),
            // Some servers give the object itself.
            object => String::from_utf8(object.to_bytes()).unwrap_or_default(),
        };
        if !arguments.is_empty() {
            events.push(Event::Arguments { choice, call: number(at), text: arguments });
        }
    }
}

fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Magistral's content: text and thinking as parts.
fn mistral_parts(choice: u32, parts: &[Json], events: &mut Vec<Event>) {
    for part in parts {
        match part.get("type").text() {
            Some("text") => {
                let text = part.get("text").text().unwrap_or_default().to_owned();
                events.push(Event::Text { choice, text, logprobs: None });
            }
            Some("thinking") => {
                for thought in part.get("thinking").list() {
                    if let Some(text) = thought.get("text").words() {
                        events.push(Event::Reasoning { choice, text: text.to_owned() });
                    }
                }
            }
            _ => events.push(Event::Lost("references")),
        }
    }
}

/// The reasons of OpenAI and of those that speak like it; none for an error.
fn stop(word: &str) -> Option<Stop> {
    match word {
        "length" | "model_length" | "max_tokens" | "insufficient_system_resource" => Some(Stop::Length),
        "tool_calls" | "function_call" => Some(Stop::Calls),
        "content_filter" => Some(Stop::Filter),
        "error" => None,
        // `stop`, `eos`, and whatever a server invents for being done.
        _ => Some(Stop::Done),
    }
}
