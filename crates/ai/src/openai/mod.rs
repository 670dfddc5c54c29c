//! OpenAI's dialect towards callers: what the gateway writes.
//!
//! Whatever a provider sent, a caller gets one grammar. What is read from callers is in `chat`.

mod grammar;
mod stream;
mod whole;

pub use grammar::{Broken, Grammar};
pub use stream::StreamWriter;
pub use whole::Whole;

/// What callers are told about an answer instead of the provider's own identifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Public {
    /// The answer's id; letters, digits, `-` and `_`.
    pub id: String,
    /// The model's public name.
    pub model: String,
    /// Seconds since 1970.
    pub created: u64,
    /// Whether the caller asked for usage in a stream.
    pub include_usage: bool,
}

impl Public {
    /// The id of a call to which the provider gave none.
    fn call_id(&self, choice: u32, call: usize) -> String {
        // At most 40 characters, because OpenAI takes no longer ones back.
        let id: String =
            self.id.chars().filter(char::is_ascii_alphanumeric).rev().take(24).collect::<String>();
        format!("call_{id}_{choice}_{call}")
    }
}
