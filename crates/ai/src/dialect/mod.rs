//! The dialects that providers speak: requests out, answers and streams in.
//!
//! One file per dialect, all of one shape: a table of fates, `request`, a decoder of frames, a reader of whole
//! answers. Nothing here knows a socket, a key or a caller.

pub mod anthropic;
pub mod dashscope;
mod embed;
pub mod gemini;
pub mod ollama;
pub mod openai;

use crate::{
    chat::{Fate, Refused, Request},
    event::Event,
    failure::Failure,
    json::{Json, Object},
    stream::{FRAME_BYTES_MAX, Frame, Framer, Framing},
    usage::Usage,
};

pub use embed::{EmbedRequest, Embedding, embeddings};

/// What a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI itself.
    OpenAi,
    /// A server that speaks OpenAI's dialect.
    Compatible,
    /// Mistral: OpenAI's dialect with differences, and strict about fields.
    Mistral,
    /// DashScope's compatible mode.
    DashScopeCompatible,
    /// Anthropic's Messages.
    Anthropic,
    /// Gemini's `generateContent`.
    Gemini,
    /// Ollama's own.
    Ollama,
    /// DashScope's own.
    DashScope,
}

/// All dialects, for tables.
pub const DIALECTS: [Dialect; 8] = [
    Dialect::OpenAi,
    Dialect::Compatible,
    Dialect::Mistral,
    Dialect::DashScopeCompatible,
    Dialect::Anthropic,
    Dialect::Gemini,
    Dialect::Ollama,
    Dialect::DashScope,
];

/// The model that a request goes to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The provider's name of the model.
    pub model: &'a str,
    /// Tokens it may say at most, where the caller sets no bound and the dialect needs one.
    pub max_output: Option<u64>,
    /// The pinned version of the provider's interface.
    pub version: Option<&'a str>,
}

/// A request as the provider gets it. The path counts from the provider's base.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// Path, with a query where the dialect needs one.
    pub path: String,
    /// Headers of the dialect; the key is not among them.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// Names of what the dialect has no place for.
    pub lost: Vec<String>,
}

impl Dialect {
    /// Its name in sentences and records.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::OpenAi => "openai",
            Dialect::Compatible => "compatible",
            Dialect::Mistral => "mistral",
            Dialect::DashScopeCompatible => "dashscope-compatible",
            Dialect::Anthropic => "anthropic",
            Dialect::Gemini => "gemini",
            Dialect::Ollama => "ollama",
            Dialect::DashScope => "dashscope",
        }
    }

    /// Whether it is OpenAI's chat dialect, so that the caller's own object is sent on.
    pub fn is_openai_like(self) -> bool {
        matches!(
            self,
            Dialect::OpenAi | Dialect::Compatible | Dialect::Mistral | Dialect::DashScopeCompatible
        )
    }

    /// What becomes of each field of OpenAI's chat request.
    pub fn fates(self) -> &'static [(&'static str, Fate)] {
        match self {
            Dialect::OpenAi | Dialect::Compatible => &openai::FATES,
            Dialect::Mistral => &openai::MISTRAL_FATES,
            Dialect::DashScopeCompatible => &openai::DASHSCOPE_FATES,
            Dialect::Anthropic => &anthropic::FATES,
            Dialect::Gemini => &gemini::FATES,
            Dialect::Ollama => &ollama::FATES,
            Dialect::DashScope => &dashscope::FATES,
        }
    }

    /// How it frames streams.
    pub fn framing(self) -> Framing {
        match self {
            Dialect::Ollama => Framing::Lines,
            _ => Framing::Events,
        }
    }

    /// Writes a chat request.
    pub fn request(self, request: &Request, target: &Target<'_>) -> Result<Outgoing, Refused> {
        // Mistral answers 422 to what it does not know.
        let open = self.is_openai_like() && self != Dialect::Mistral;
        let lost = crate::chat::fate::judge(&request.chat, self.fates(), self.name(), open)?;
        let mut outgoing = match self {
            Dialect::OpenAi | Dialect::Compatible | Dialect::Mistral | Dialect::DashScopeCompatible => {
                openai::request(self, request, target, &lost)?
            }
            Dialect::Anthropic => anthropic::request(&request.chat, target)?,
            Dialect::Gemini => gemini::request(&request.chat, target)?,
            Dialect::Ollama => ollama::request(&request.chat, target)?,
            Dialect::DashScope => dashscope::request(request, target)?,
        };
        outgoing.lost.extend(lost);
        outgoing.lost.sort_unstable();
        outgoing.lost.dedup();
        Ok(outgoing)
    }

    /// Reads a whole answer with status 200.
    pub fn answer(self, body: &[u8]) -> Vec<Event> {
        let Ok(body) = Json::read(body) else {
            return vec![Event::Failure(Failure::broken("the provider's answer is not JSON"))];
        };
        let mut events = Vec::new();
        match self {
            Dialect::OpenAi | Dialect::Compatible | Dialect::Mistral | Dialect::DashScopeCompatible => {
                openai::Decoder::default().whole(&body, &mut events);
            }
            Dialect::Anthropic => anthropic::whole(&body, &mut events),
            Dialect::Gemini => gemini::Decoder::default().chunk(&body, &mut events),
            Dialect::Ollama => ollama::Decoder::default().line(&body, &mut events),
            Dialect::DashScope => dashscope::Decoder::default().chunk(&body, &mut events),
        }
        events
    }

    /// The usage that an answer or a chunk of this dialect tells, wherever it stands. For bytes that pass untouched.
    pub fn usage(self, body: &Json) -> Option<Usage> {
        match self {
            Dialect::OpenAi | Dialect::Compatible | Dialect::Mistral | Dialect::DashScopeCompatible => {
                // Responses: `response.usage` in the last event, or `usage` with `input_tokens` in a whole answer.
                let response = body.get("response").get("usage");
                let usage = if response.is_null() { body.get("usage") } else { response };
                match usage.get("input_tokens") {
                    Json::Null => Usage::openai_chat(usage),
                    _ => Usage::openai_responses(usage),
                }
            }
            Dialect::Anthropic => {
                let start = body.get("message").get("usage");
                Usage::anthropic(if start.is_null() { body.get("usage") } else { start })
            }
            Dialect::Gemini => Usage::gemini(body.get("usageMetadata")),
            Dialect::Ollama => Usage::ollama(body),
            Dialect::DashScope => Usage::dashscope(body.get("usage")),
        }
    }
}

/// Reads a provider's stream: bytes in, events out.
#[derive(Debug)]
pub struct Decoder {
    framer: Framer,
    frames: Vec<Frame>,
    state: State,
    failed: bool,
}

#[derive(Debug)]
enum State {
    OpenAi(openai::Decoder),
    Anthropic(anthropic::Decoder),
    Gemini(gemini::Decoder),
    Ollama(ollama::Decoder),
    DashScope(dashscope::Decoder),
}

impl Decoder {
    /// A decoder for one stream.
    pub fn new(dialect: Dialect) -> Decoder {
        let state = match dialect {
            Dialect::OpenAi | Dialect::Compatible | Dialect::Mistral | Dialect::DashScopeCompatible => {
                State::OpenAi(openai::Decoder::default())
            }
            Dialect::Anthropic => State::Anthropic(anthropic::Decoder::default()),
            Dialect::Gemini => State::Gemini(gemini::Decoder::default()),
            Dialect::Ollama => State::Ollama(ollama::Decoder::default()),
            Dialect::DashScope => State::DashScope(dashscope::Decoder::default()),
        };
        let framer = Framer::new(dialect.framing(), FRAME_BYTES_MAX);
        Decoder { framer, frames: Vec::new(), state, failed: false }
    }

    /// Takes bytes and appends what they say. After a failure nothing is said any more.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) {
        if self.failed {
            return;
        }
        let mut frames = std::mem::take(&mut self.frames);
        let whole = self.framer.push(bytes, &mut frames);
        for frame in frames.drain(..) {
            self.frame(&frame, events);
        }
        self.frames = frames;
        if whole.is_err() {
            self.fail(Failure::broken("a part of the provider's stream is too large"), events);
        }
    }

    /// The provider's bytes have ended.
    pub fn finish(&mut self, events: &mut Vec<Event>) {
        if let Some(frame) = self.framer.finish()
            && !self.failed
        {
            self.frame(&frame, events);
        }
    }

    fn fail(&mut self, failure: Failure, events: &mut Vec<Event>) {
        self.failed = true;
        events.push(Event::Failure(failure));
    }

    fn frame(&mut self, frame: &Frame, events: &mut Vec<Event>) {
        if self.failed {
            return;
        }
        if frame.data == b"[DONE]" {
            events.push(Event::End);
            return;
        }
        if frame.data.is_empty() {
            return;
        }
        let Ok(body) = Json::read(&frame.data) else {
            return self.fail(Failure::broken("a part of the provider's stream is not JSON"), events);
        };
        match &mut self.state {
            State::OpenAi(decoder) => decoder.chunk(&body, events),
            State::Anthropic(decoder) => decoder.event(&body, events),
            State::Gemini(decoder) => decoder.chunk(&body, events),
            State::Ollama(decoder) => decoder.line(&body, events),
            State::DashScope(decoder) => decoder.chunk(&body, events),
        }
        self.failed = events.iter().any(|event| matches!(event, Event::Failure(_)));
    }
}

/// Parses the text of a call's arguments for dialects that want an object.
fn arguments(text: &str) -> Result<Json, Refused> {
    if text.trim().is_empty() {
        return Ok(Object::new().into());
    }
    match Json::read(text.as_bytes()) {
        Ok(object @ Json::Object(_)) => Ok(object),
        _ => Err(Refused::of("messages", "the arguments of a call in the history are not a JSON object")),
    }
}
