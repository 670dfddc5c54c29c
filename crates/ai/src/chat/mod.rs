//! The neutral request: what a caller wants from a model, read from OpenAI's chat dialect.
//!
//! Providers that speak OpenAI's dialect get the caller's own object with few changes ([`Request::object`]); all
//! others are written from [`Chat`]. What a dialect cannot carry is refused or listed, by its table of [`fate`].

pub mod fate;
mod message;
mod read;

use std::fmt;

use serde_json::Number;

use crate::json::{Json, Object};

pub use fate::{FIELDS, Fate};

/// Messages in one request, a bound on work and not on talk.
pub const MESSAGES_MAX: usize = 10_000;
/// Tools in one request.
pub const TOOLS_MAX: usize = 1_000;

/// A request that this gateway or this target does not take. The sentence is for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong.
    pub message: String,
    /// The field it is about; empty where none is.
    pub field: String,
}

impl Refused {
    /// A refusal about a field.
    pub fn of(field: impl Into<String>, message: impl Into<String>) -> Refused {
        Refused { message: message.into(), field: field.into() }
    }

    /// The body that OpenAI's clients understand.
    pub fn to_openai(&self) -> Json {
        let param = if self.field.is_empty() { Json::Null } else { self.field.as_str().into() };
        let error = Object::new()
            .with("message", self.message.as_str())
            .with("type", "invalid_request_error")
            .with("param", param)
            .with("code", "unsupported_value");
        Object::new().with("error", error).into()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}

/// A caller's request: as it was sent, and as it was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The caller's own object.
    pub object: Object,
    /// Its meaning.
    pub chat: Chat,
}

/// What a caller wants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chat {
    /// The public name of the model.
    pub model: String,
    /// The conversation.
    pub messages: Vec<Message>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// What it must call.
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may call several at once.
    pub parallel_calls: Option<bool>,
    /// Tokens it may say.
    pub max_output: Option<u64>,
    /// Sampling temperature, 0 to 2.
    pub temperature: Option<Number>,
    /// Nucleus sampling.
    pub top_p: Option<Number>,
    /// Sampling seed.
    pub seed: Option<Number>,
    /// Penalty for what was said before.
    pub presence_penalty: Option<Number>,
    /// Penalty for what was said often.
    pub frequency_penalty: Option<Number>,
    /// Where it stops.
    pub stop: Vec<String>,
    /// How many answers.
    pub count: u64,
    /// The form of the answer.
    pub format: Format,
    /// How hard it thinks.
    pub effort: Option<Effort>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether the stream tells the usage.
    pub include_usage: bool,
    /// Names of the fields that ask for something.
    pub asked: Vec<String>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The operator of the conversation (`system`, `developer`).
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// A tool's result.
    Tool,
}

/// One turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub parts: Vec<Part>,
    /// The speaker's name.
    pub name: Option<String>,
}

/// A piece of a turn.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Text.
    Text(String),
    /// A picture.
    Image {
        /// Where it is.
        source: Source,
        /// OpenAI's `detail`.
        detail: Option<String>,
    },
    /// Sound.
    Audio {
        /// Base64.
        data: String,
        /// `wav`, `mp3`, …
        format: String,
    },
    /// A document.
    File {
        /// Its name.
        name: Option<String>,
        /// Where it is.
        source: Source,
    },
    /// The model called a tool.
    Call {
        /// The call's id.
        id: String,
        /// The tool.
        name: String,
        /// The text of its arguments.
        arguments: String,
        /// Gemini's signature.
        signature: Option<String>,
    },
    /// What a tool gave back.
    Result {
        /// The call's id.
        call: String,
        /// Its words and pictures.
        parts: Vec<Part>,
    },
    /// What the model thought, readable.
    Reasoning(String),
    /// What the model thought, opaque.
    Thought {
        /// Whose it is.
        owner: String,
        /// The list it belongs to.
        list: String,
        /// The block.
        block: Json,
    },
}

/// Where a picture or a document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An address; the gateway never fetches it.
    Url(String),
    /// In the request itself.
    Inline {
        /// Media type.
        media: String,
        /// Base64.
        data: String,
    },
    /// A file that was uploaded to the provider before.
    Id(String),
}

/// A tool.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// JSON Schema of its arguments.
    pub parameters: Option<Json>,
    /// Whether the arguments must follow the schema.
    pub strict: bool,
}

/// What the model must call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// What it likes.
    Auto,
    /// Nothing.
    Never,
    /// Something.
    Required,
    /// This one.
    Named(String),
}

/// The form of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Format {
    /// Text.
    #[default]
    Text,
    /// Some JSON object.
    Json,
    /// JSON by a schema.
    Schema {
        /// Its name.
        name: String,
        /// The schema.
        schema: Json,
        /// Whether it must be followed exactly.
        strict: Option<bool>,
    },
}

/// How hard a model thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Not at all.
    None,
    /// As little as can be.
    Minimal,
    /// A little.
    Low,
    /// Usual.
    Medium,
    /// Much.
    High,
    /// More.
    Extra,
    /// As much as can be.
    Max,
}

impl Message {
    /// The texts of the turn, joined by line feeds.
    pub fn text(&self) -> String {
        texts(&self.parts)
    }
}

/// The texts of parts, joined by line feeds.
pub(crate) fn texts(parts: &[Part]) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}
