//! A stream in OpenAI's dialect, written from events in a strict grammar.
//!
//! Per choice one chunk with the role, then content, reasoning and calls with dense indexes, then at the very end one
//! chunk with the reason; then usage where it was asked for; then `[DONE]` once. Nothing is written before the first
//! content, so until then a failure can still become a status, a retry or another target. After it, a failure is one
//! error event, and no `[DONE]`.

use std::collections::BTreeMap;

use super::{Public, whole::signed};
use crate::{
    event::{Event, Stop},
    failure::Failure,
    json::{Json, Object, write_text},
    usage::Usage,
};

/// Choices and calls that one stream may open; a provider that opens more is broken.
const CHOICES_MAX: usize = 128;
const CALLS_MAX: usize = 1024;

/// Writes one stream.
#[derive(Debug)]
pub struct StreamWriter {
    public: Public,
    /// The beginning that all chunks share.
    head: Vec<u8>,
    choices: BTreeMap<u32, Choice>,
    usage: Option<Usage>,
    lost: Vec<&'static str>,
    committed: bool,
    over: bool,
    failure: Option<Failure>,
    delivered: u64,
}

#[derive(Debug, Default)]
struct Choice {
    begun: bool,
    calls: Vec<u32>,
    /// Whether a call's arguments have been empty so far.
    silent: Vec<bool>,
    stop: Option<Stop>,
}

impl StreamWriter {
    /// A writer of which nothing was written yet.
    pub fn new(public: Public) -> StreamWriter {
        let head = head(&public, None, None);
        StreamWriter {
            public,
            head,
            choices: BTreeMap::new(),
            usage: None,
            lost: Vec::new(),
            committed: false,
            over: false,
            failure: None,
            delivered: 0,
        }
    }

    /// Whether something was written that cannot be taken back.
    pub fn committed(&self) -> bool {
        self.committed
    }

    /// Whether the stream has ended; further events are ignored.
    pub fn over(&self) -> bool {
        self.over
    }

    /// The failure that ended the stream. Before the commit point nothing was written of it.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// What the provider has said until now that the call used.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// What had no place in OpenAI's dialect.
    pub fn lost(&self) -> &[&'static str] {
        &self.lost
    }

    /// Bytes of text, reasoning and arguments that were written: the ground of an estimate where usage is missing.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Writes what an event adds to the stream.
    pub fn event(&mut self, event: Event, out: &mut Vec<u8>) {
        if self.over {
            // Usage behind the end mark still counts.
            if let Event::Usage(usage) = event {
                self.usage = Some(self.usage.unwrap_or_default().then(usage));
            }
            return;
        }
        match event {
            Event::Start { fingerprint, tier } if !self.committed => {
                self.head = head(&self.public, fingerprint.as_deref(), tier.as_deref());
            }
            Event::Usage(usage) => self.usage = Some(self.usage.unwrap_or_default().then(usage)),
            Event::Lost(what) if !self.lost.contains(&what) => self.lost.push(what),
            Event::Start { .. } | Event::Lost(_) => {}
            Event::Failure(failure) => self.fail(failure, out),
            Event::End => self.end(out),
            event => self.content(event, out),
        }
    }

    /// The provider's bytes have ended.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.over {
            self.end(out);
        }
    }

    /// Ends the stream with an error: after the commit point as one event, before it without a byte.
    pub fn fail(&mut self, failure: Failure, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        self.over = true;
        if self.committed {
            out.extend_from_slice(b"data: ");
            failure.to_openai().write(out);
            out.extend_from_slice(b"\n\n");
        }
        self.failure = Some(failure);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.choices.is_empty() {
            return self.fail(Failure::broken("the provider's stream holds no answer"), out);
        }
        if self.choices.values().any(|choice| choice.stop.is_none()) {
            return self.fail(Failure::broken("the provider's stream broke off"), out);
        }
        let indexes: Vec<u32> = self.choices.keys().copied().collect();
        for index in indexes {
            self.open(index, true, out);
            self.close_calls(index, out);
            let stop = self.choices.get(&index).and_then(|choice| choice.stop);
            self.chunk(index, &Object::new(), None, stop, out);
        }
        if self.public.include_usage {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"\"choices\":[],\"usage\":");
            // Nothing told is told as nothing: a zero would be a lie that gets billed.
            self.usage.map_or(Json::Null, |usage| usage.to_openai()).write(out);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        self.committed = true;
        self.over = true;
    }

    fn content(&mut self, event: Event, out: &mut Vec<u8>) {
        let (Event::Text { choice, .. }
        | Event::Refusal { choice, .. }
        | Event::Reasoning { choice, .. }
        | Event::Thought { choice, .. }
        | Event::Call { choice, .. }
        | Event::Arguments { choice, .. }
        | Event::Member { choice, .. }
        | Event::Stop { choice, .. }) = event
        else {
            return;
        };
        if self.choices.len() >= CHOICES_MAX && !self.choices.contains_key(&choice) {
            return self.fail(Failure::broken("the provider's stream opens too many choices"), out);
        }
        let state = self.choices.entry(choice).or_default();
        if let Event::Stop { stop, .. } = event {
            // The reason is held back to the end: with code execution Gemini says STOP twice, and goes on between.
            state.stop = Some(stop);
            return;
        }
        if !event.is_content() {
            return;
        }
        if let Event::Arguments { call, text, .. } = &event {
            let Some(at) = state.calls.iter().position(|have| have == call) else { return };
            if text.is_empty() {
                return;
            }
            if let Some(silent) = state.silent.get_mut(at) {
                *silent = false;
            }
        }
        if let Event::Call { .. } = &event
            && state.calls.len() >= CALLS_MAX
        {
            return self.fail(Failure::broken("the provider's stream opens too many calls"), out);
        }
        self.open(choice, !matches!(event, Event::Call { .. }), out);
        self.write(choice, event, out);
    }

    fn write(&mut self, choice: u32, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Text { text, logprobs, .. } => {
                self.delivered += text.len() as u64;
                self.text(choice, "content", &text, logprobs.as_ref(), out);
            }
            Event::Refusal { text, logprobs, .. } => {
                self.delivered += text.len() as u64;
                self.text(choice, "refusal", &text, logprobs.as_ref(), out);
            }
            Event::Reasoning { text, .. } => {
                self.delivered += text.len() as u64;
                self.text(choice, "reasoning_content", &text, None, out);
            }
            Event::Thought { owner, list, block, .. } => {
                let extra = Object::new().with(owner, Object::new().with(list, vec![block]));
                self.chunk(choice, &Object::new().with("extra_content", extra), None, None, out);
            }
            Event::Member { name, value, .. } => {
                self.chunk(choice, &Object::new().with(name, value), None, None, out);
            }
            Event::Call { call, id, name, signature, .. } => {
                let Some(state) = self.choices.get_mut(&choice) else { return };
                let at = state.calls.len();
                state.calls.push(call);
                state.silent.push(true);
                let id = id.unwrap_or_else(|| self.public.call_id(choice, at));
                let function = Object::new().with("name", name).with("arguments", "");
                let mut call = Object::new()
                    .with("index", at as u64)
                    .with("id", id)
                    .with("type", "function")
                    .with("function", function);
                if let Some(signature) = &signature {
                    call.set("extra_content", signed(signature));
                }
                self.chunk(choice, &Object::new().with("tool_calls", vec![call.into()]), None, None, out);
            }
            Event::Arguments { call, text, .. } => {
                let Some(state) = self.choices.get(&choice) else { return };
                let Some(at) = state.calls.iter().position(|have| *have == call) else { return };
                self.delivered += text.len() as u64;
                self.arguments(choice, at, &text, out);
            }
            _ => {}
        }
    }

    /// The first chunk of a choice: its role.
    fn open(&mut self, choice: u32, text: bool, out: &mut Vec<u8>) {
        let state = self.choices.entry(choice).or_default();
        if state.begun {
            return;
        }
        state.begun = true;
        self.committed = true;
        let content = if text { Json::from("") } else { Json::Null };
        let delta =
            Object::new().with("role", "assistant").with("content", content).with("refusal", Json::Null);
        self.chunk(choice, &delta, None, None, out);
    }

    /// A call that never said anything has an empty object for arguments.
    fn close_calls(&mut self, choice: u32, out: &mut Vec<u8>) {
        let silent = self.choices.get(&choice).map(|state| state.silent.clone()).unwrap_or_default();
        // A call that was cut off by the length stays as it was cut: nobody may run half a call.
        let cut = self.choices.get(&choice).is_some_and(|state| state.stop == Some(Stop::Length));
        for (at, silent) in silent.into_iter().enumerate() {
            if silent && !cut {
                self.arguments(choice, at, "{}", out);
            }
        }
    }

    fn arguments(&mut self, choice: u32, at: usize, text: &str, out: &mut Vec<u8>) {
        let function = Object::new().with("arguments", text);
        let call = Object::new().with("index", at as u64).with("function", function);
        self.chunk(choice, &Object::new().with("tool_calls", vec![call.into()]), None, None, out);
    }

    /// The commonest chunk by far, written without building a tree.
    fn text(&mut self, choice: u32, name: &str, text: &str, logprobs: Option<&Json>, out: &mut Vec<u8>) {
        self.begin_chunk(choice, out);
        out.extend_from_slice(b"{\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        write_text(text, out);
        out.extend_from_slice(b"}");
        self.end_chunk(logprobs, None, out);
    }

    fn chunk(
        &mut self,
        choice: u32,
        delta: &Object,
        logprobs: Option<&Json>,
        stop: Option<Stop>,
        out: &mut Vec<u8>,
    ) {
        self.begin_chunk(choice, out);
        let _ = serde_json::to_writer(&mut *out, delta);
        self.end_chunk(logprobs, stop, out);
    }

    fn begin_chunk(&self, choice: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"\"choices\":[{\"index\":");
        out.extend_from_slice(choice.to_string().as_bytes());
        out.extend_from_slice(b",\"delta\":");
    }

    fn end_chunk(&self, logprobs: Option<&Json>, stop: Option<Stop>, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"logprobs\":");
        match logprobs {
            Some(logprobs) => logprobs.write(out),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"finish_reason\":");
        match stop {
            Some(stop) => write_text(stop.word(), out),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b"}]");
        if self.public.include_usage {
            out.extend_from_slice(b",\"usage\":null");
        }
        out.extend_from_slice(b"}\n\n");
    }
}

/// `data: {"id":…,` with everything that stays the same for a stream.
fn head(public: &Public, fingerprint: Option<&str>, tier: Option<&str>) -> Vec<u8> {
    let shared = Object::new()
        .with("id", public.id.as_str())
        .with("object", "chat.completion.chunk")
        .with("created", public.created)
        .with("model", public.model.as_str())
        .with_some("service_tier", tier)
        .with_some("system_fingerprint", fingerprint);
    let mut head = b"data: ".to_vec();
    Json::from(shared).write(&mut head);
    // The closing brace becomes the comma before the choices.
    if let Some(last) = head.last_mut() {
        *last = b',';
    }
    head
}
