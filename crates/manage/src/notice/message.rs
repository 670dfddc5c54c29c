//! What a notice says: one form for all channels, which each speaks in its own way.

use std::collections::BTreeMap;

use bartizan_store::NewNotice;
use serde::{Deserialize, Serialize};

/// What is told. Of keys only public ids are in it; a claim link is the one secret, and opens once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// What has happened, as a word: `key.due`, `alert`.
    pub event: String,
    /// Whether it begins, goes on, or is over.
    pub standing: Standing,
    /// One line.
    pub subject: String,
    /// A few sentences.
    pub text: String,
    /// The facts, for machines.
    pub facts: BTreeMap<String, String>,
    /// When it happened, in Unix milliseconds.
    pub at_ms: u64,
    /// Whom to tell, where the channel knows several.
    #[serde(default)]
    pub recipient: String,
}

/// Whether something is told once, or has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It happened.
    Once,
    /// It is so.
    Firing,
    /// It is so no more.
    Resolved,
}

impl Message {
    /// The notice that tells it by a channel. `occasion` tells two notices of one event apart.
    pub fn notice(&self, channel: &str, recipient: &str, about: &str, occasion: &str) -> NewNotice {
        let message = Message { recipient: recipient.to_owned(), ..self.clone() };
        NewNotice {
            channel: channel.to_owned(),
            recipient: recipient.to_owned(),
            event: self.event.clone(),
            occasion: occasion.to_owned(),
            about: about.to_owned(),
            // A map of texts always becomes JSON.
            body: serde_json::to_vec(&message).unwrap_or_default(),
        }
    }
}
