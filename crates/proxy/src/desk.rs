//! Where owners of API keys are served: what the data plane asks of whoever keeps the keys.
//!
//! The data plane never names the store: the binary hands it a [`KeyDesk`], which works on a thread of its own, so that a
//! core waits for a one-shot with a deadline and for nothing else.

use std::{future::Future, pin::Pin};

use bartizan_identity::{KeyId, KeyText};

/// What is asked.
#[derive(Clone, Debug)]
pub enum DeskAsk {
    /// Spend a one-time link.
    Claim {
        /// Its secret part.
        token: String,
    },
    /// Withdraw a key whose text has become known; whoever asks has proven to know it.
    Leaked {
        /// The key.
        key: KeyId,
    },
    /// What a one-time link is about; spends nothing.
    Look {
        /// Its secret part.
        token: String,
    },
    /// Replace a key; whoever asks has proven to hold it.
    Rotate {
        /// The key.
        key: KeyId,
    },
}

/// What comes back.
#[derive(Debug)]
pub enum DeskAnswer {
    /// The link opens the successor of a key.
    Claimable {
        /// Whose it is.
        consumer: String,
        /// The key that is to be replaced.
        key: KeyId,
    },
    /// It was replaced before, or has ended.
    Conflict,
    /// It is done.
    Done,
    /// Nobody can be asked now.
    Unavailable,
    /// There is no such link or key.
    Unknown,
    /// A new key.
    Made {
        /// Its id.
        id: KeyId,
        /// Its text, in the one moment in which it is known.
        text: KeyText,
        /// Whose it is.
        consumer: String,
        /// When the old one ends, in Unix milliseconds.
        old_ends_ms: Option<u64>,
    },
}

/// Keeps the keys.
pub trait KeyDesk: Send + Sync {
    /// Asks; answers within seconds, whatever happens.
    fn ask(&self, ask: DeskAsk) -> Pin<Box<dyn Future<Output = DeskAnswer> + Send>>;
}
