//! A whole answer in OpenAI's dialect, collected from events.

use std::collections::BTreeMap;

use super::Public;
use crate::{
    event::{Event, Stop},
    failure::Failure,
    json::{Json, Object},
    usage::Usage,
};

/// An answer as far as it has been said.
#[derive(Debug, Default)]
pub struct Whole {
    choices: BTreeMap<u32, Choice>,
    fingerprint: Option<String>,
    tier: Option<String>,
    usage: Option<Usage>,
    lost: Vec<&'static str>,
    failure: Option<Failure>,
}

#[derive(Debug, Default)]
struct Choice {
    text: Option<String>,
    refusal: Option<String>,
    reasoning: Option<String>,
    calls: Vec<Call>,
    thoughts: Vec<(&'static str, &'static str, Json)>,
    members: Vec<(&'static str, Json)>,
    logprobs: Object,
    stop: Option<Stop>,
}

#[derive(Debug)]
struct Call {
    number: u32,
    id: Option<String>,
    name: String,
    signature: Option<String>,
    arguments: String,
}

impl Whole {
    /// An answer of which nothing was said yet.
    pub fn new() -> Whole {
        Whole::default()
    }

    /// Collects events.
    pub fn extend(&mut self, events: impl IntoIterator<Item = Event>) {
        events.into_iter().for_each(|event| self.add(event));
    }

    /// Collects one event.
    pub fn add(&mut self, event: Event) {
        let append = |to: &mut Option<String>, text: &str| to.get_or_insert_default().push_str(text);
        match event {
            Event::Start { fingerprint, tier } => {
                self.fingerprint = fingerprint.or(self.fingerprint.take());
                self.tier = tier.or(self.tier.take());
            }
            Event::Text { choice, text, logprobs } => {
                let choice = self.choices.entry(choice).or_default();
                append(&mut choice.text, &text);
                choice.probabilities(logprobs);
            }
            Event::Refusal { choice, text, logprobs } => {
                let choice = self.choices.entry(choice).or_default();
                append(&mut choice.refusal, &text);
                choice.probabilities(logprobs);
            }
            Event::Reasoning { choice, text } => {
                append(&mut self.choices.entry(choice).or_default().reasoning, &text);
            }
            Event::Thought { choice, owner, list, block } => {
                self.choices.entry(choice).or_default().thoughts.push((owner, list, block));
            }
            Event::Call { choice, call, id, name, signature } => {
                let call = Call { number: call, id, name, signature, arguments: String::new() };
                self.choices.entry(choice).or_default().calls.push(call);
            }
            Event::Arguments { choice, call, text } => {
                let calls = &mut self.choices.entry(choice).or_default().calls;
                if let Some(call) = calls.iter_mut().find(|have| have.number == call) {
                    call.arguments.push_str(&text);
                }
            }
            Event::Member { choice, name, value } => {
                self.choices.entry(choice).or_default().member(name, value)
            }
            Event::Stop { choice, stop } => self.choices.entry(choice).or_default().stop = Some(stop),
            Event::Usage(usage) => self.usage = Some(self.usage.unwrap_or_default().then(usage)),
            Event::Lost(what) if !self.lost.contains(&what) => self.lost.push(what),
            Event::Failure(failure) => self.failure = self.failure.take().or(Some(failure)),
            Event::Lost(_) | Event::End => {}
        }
    }

    /// What the provider said the call used.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// What had no place in OpenAI's dialect.
    pub fn lost(&self) -> &[&'static str] {
        &self.lost
    }

    /// The answer's text, for judges and caches.
    pub fn text(&self) -> String {
        self.choices.values().filter_map(|choice| choice.text.as_deref()).collect()
    }

    /// The body for the caller; the failure, if the provider told one or the answer is not whole.
    pub fn to_openai(&self, public: &Public) -> Result<Json, Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.choices.is_empty() {
            return Err(Failure::broken("the provider's answer holds no choice"));
        }
        let mut choices = Vec::new();
        for (index, choice) in &self.choices {
            choices.push(choice.to_openai(*index, public)?);
        }
        let mut body = Object::new()
            .with("id", public.id.as_str())
            .with("object", "chat.completion")
            .with("created", public.created)
            .with("model", public.model.as_str())
            .with("choices", choices);
        if let Some(usage) = &self.usage {
            body.set("usage", usage.to_openai());
        }
        Ok(body
            .with_some("service_tier", self.tier.as_deref())
            .with_some("system_fingerprint", self.fingerprint.as_deref())
            .into())
    }
}

impl Choice {
    fn probabilities(&mut self, more: Option<Json>) {
        let Some(Json::Object(more)) = more else { return };
        for (name, list) in more.iter() {
            match (self.logprobs.get_mut(name), list) {
                (Some(Json::List(have)), Json::List(list)) => have.extend(list.iter().cloned()),
                (Some(Json::Null) | None, _) => self.logprobs.set(name, list.clone()),
                _ => {}
            }
        }
    }

    fn member(&mut self, name: &'static str, value: Json) {
        match (self.members.iter_mut().find(|(have, _)| *have == name), value) {
            (Some((_, Json::List(have))), Json::List(more)) => have.extend(more),
            (Some((_, have)), value) => *have = value,
            (None, value) => self.members.push((name, value)),
        }
    }

    fn to_openai(&self, index: u32, public: &Public) -> Result<Json, Failure> {
        let stop = self.stop.ok_or_else(|| Failure::broken("the provider's answer is not whole"))?;
        let text = match &self.text {
            Some(text) if !text.is_empty() || self.calls.is_empty() => Some(text.as_str()),
            // A turn that only calls tools or refuses has no content.
            _ if !self.calls.is_empty() || self.refusal.is_some() => None,
            _ => Some(""),
        };
        let mut message = Object::new()
            .with("role", "assistant")
            .with("content", text.map_or(Json::Null, Json::from))
            .with("refusal", self.refusal.as_deref().map_or(Json::Null, Json::from))
            .with_some("reasoning_content", self.reasoning.as_deref());
        if !self.calls.is_empty() {
            let calls = self.calls.iter().enumerate().map(|(at, call)| call.to_openai(index, at, public));
            message.set("tool_calls", calls.collect::<Vec<_>>());
        }
        let mut extra = Object::new();
        for (owner, list, block) in &self.thoughts {
            if extra.get(owner).is_none() {
                extra.set(owner, Object::new());
            }
            let Some(Json::Object(of_owner)) = extra.get_mut(owner) else { continue };
            match of_owner.get_mut(list) {
                Some(Json::List(have)) => have.push(block.clone()),
                _ => of_owner.set(list, vec![block.clone()]),
            }
        }
        if !extra.is_empty() {
            message.set("extra_content", extra);
        }
        for (name, value) in &self.members {
            message.set(name, value.clone());
        }
        let logprobs =
            if self.logprobs.is_empty() { Json::Null } else { Json::Object(self.logprobs.clone()) };
        Ok(Object::new()
            .with("index", index)
            .with("message", message)
            .with("logprobs", logprobs)
            .with("finish_reason", stop.word())
            .into())
    }
}

impl Call {
    fn to_openai(&self, choice: u32, at: usize, public: &Public) -> Json {
        let id = self.id.clone().unwrap_or_else(|| public.call_id(choice, at));
        // A call without arguments is an empty object to OpenAI's clients. A half text stays half.
        let arguments = if self.arguments.is_empty() { "{}" } else { self.arguments.as_str() };
        let function = Object::new().with("name", self.name.as_str()).with("arguments", arguments);
        let mut call = Object::new().with("id", id).with("type", "function").with("function", function);
        if let Some(signature) = &self.signature {
            call.set("extra_content", signed(signature));
        }
        call.into()
    }
}

/// Where Gemini's compatible mode puts the signature of a call.
pub(super) fn signed(signature: &str) -> Json {
    Object::new().with("google", Object::new().with("thought_signature", signature)).into()
}
