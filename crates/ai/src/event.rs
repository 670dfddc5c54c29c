//! What a model says, as a sequence of events: the neutral answer.
//!
//! A whole answer and a stream are the same thing here. Each dialect turns its bytes into events; `openai::write`
//! turns events into one object or into a strict stream. So a provider that only streams can serve a caller who does
//! not, and the other way round.

use crate::{failure::Failure, json::Json, usage::Usage};

/// Why a choice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model was done, or met a stop sequence.
    Done,
    /// The output or the context was full.
    Length,
    /// The model calls tools.
    Calls,
    /// Content was held back by the provider.
    Filter,
}

impl Stop {
    /// OpenAI's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Stop::Done => "stop",
            Stop::Length => "length",
            Stop::Calls => "tool_calls",
            Stop::Filter => "content_filter",
        }
    }
}

/// One thing that a provider said.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The answer began. The provider's own identifiers are left behind; these two tell the caller something.
    Start {
        /// OpenAI's fingerprint of the serving system.
        fingerprint: Option<String>,
        /// The tier that served the call.
        tier: Option<String>,
    },
    /// Some text.
    Text {
        /// Which of the answers.
        choice: u32,
        /// The increment; may be empty when it only carries probabilities.
        text: String,
        /// OpenAI's log probabilities of it.
        logprobs: Option<Json>,
    },
    /// Some text of a refusal.
    Refusal {
        /// Which of the answers.
        choice: u32,
        /// The increment.
        text: String,
        /// OpenAI's log probabilities of it.
        logprobs: Option<Json>,
    },
    /// Some readable reasoning.
    Reasoning {
        /// Which of the answers.
        choice: u32,
        /// The increment.
        text: String,
    },
    /// Opaque reasoning that the provider wants back unchanged.
    Thought {
        /// Which of the answers.
        choice: u32,
        /// Whose it is: the member of `extra_content`.
        owner: &'static str,
        /// The list it belongs to.
        list: &'static str,
        /// The block.
        block: Json,
    },
    /// A call of a tool began.
    Call {
        /// Which of the answers.
        choice: u32,
        /// The call's number, chosen by the dialect, dense or not.
        call: u32,
        /// The provider's id of the call.
        id: Option<String>,
        /// The tool's name.
        name: String,
        /// Gemini's signature, which must come back with the call.
        signature: Option<String>,
    },
    /// A piece of a call's arguments: text that is JSON when whole, and may never be.
    Arguments {
        /// Which of the answers.
        choice: u32,
        /// The call's number.
        call: u32,
        /// The increment.
        text: String,
    },
    /// A member of OpenAI's message that has no neutral meaning (`annotations`, `audio`, `reasoning_details`).
    Member {
        /// Which of the answers.
        choice: u32,
        /// Its name.
        name: &'static str,
        /// Its value.
        value: Json,
    },
    /// A choice ended.
    Stop {
        /// Which of the answers.
        choice: u32,
        /// Why.
        stop: Stop,
    },
    /// What the call used; the last one told counts.
    Usage(Usage),
    /// Something that OpenAI's dialect has no place for was left out.
    Lost(&'static str),
    /// The provider failed after it had begun to answer.
    Failure(Failure),
    /// The provider's own end mark.
    End,
}

impl Event {
    /// Whether a caller would notice it: the point from which nothing can be taken back.
    pub fn is_content(&self) -> bool {
        match self {
            Event::Text { text, logprobs, .. } | Event::Refusal { text, logprobs, .. } => {
                !text.is_empty() || logprobs.is_some()
            }
            Event::Reasoning { text, .. } => !text.is_empty(),
            Event::Thought { .. }
            | Event::Call { .. }
            | Event::Arguments { .. }
            | Event::Member { .. }
            | Event::Stop { .. } => true,
            Event::Start { .. } | Event::Usage(_) | Event::Lost(_) | Event::Failure(_) | Event::End => false,
        }
    }
}
