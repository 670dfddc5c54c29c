//! What the gateway asked others for itself: key sets, discovery documents, introspection, tokens.
//!
//! Asked from a few threads and seldom, so the cells are shared atomics and not one owner's.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{table, text::Exposition};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$each])* $variant,)+
        }

        impl $name {
            const ALL: &[$name] = &[$($name::$variant),+];

            /// The value of the label.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }
        }
    };
}

words! {
    /// What is asked for.
    FetchPurpose {
        /// An issuer's discovery document.
        Discovery = "discovery",
        /// Whether a token is active (RFC 7662).
        Introspection = "introspection",
        /// An issuer's keys.
        KeySet = "key_set",
        /// Somebody to be told of something, by a webhook.
        Notice = "notice",
        /// A token: for an upstream, in exchange for another, or for somebody who signs in.
        Token = "token",
    }
}

words! {
    /// How it ended.
    FetchOutcome {
        /// With an answer of success.
        Answered = "answered",
        /// With an answer of another status.
        Refused = "refused",
        /// With something that is no answer, or one that is too large.
        Broken = "broken",
        /// Nothing came in time.
        TimedOut = "timed_out",
        /// No name, no connection, no TLS.
        Unreachable = "unreachable",
        /// The name leads to addresses that may not be fetched from.
        AddressRefused = "address_refused",
    }
}

const PURPOSES: usize = FetchPurpose::ALL.len();
const OUTCOMES: usize = FetchOutcome::ALL.len();

/// The counts, by purpose and outcome.
#[derive(Debug, Default)]
pub struct FetchTable {
    counts: [[AtomicU64; OUTCOMES]; PURPOSES],
    micros: [AtomicU64; PURPOSES],
}

impl FetchTable {
    /// Notes one that ended.
    pub fn note(&self, purpose: FetchPurpose, outcome: FetchOutcome, took: Duration) {
        if let Some(count) = self.counts.get(purpose as usize).and_then(|row| row.get(outcome as usize)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(micros) = self.micros.get(purpose as usize) {
            micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    pub(super) fn expose(&self, out: &mut Exposition) {
        let mut fetches = out.family(table::FETCHES);
        for (purpose, row) in FetchPurpose::ALL.iter().zip(&self.counts) {
            for (outcome, count) in FetchOutcome::ALL.iter().zip(row) {
                match count.load(Ordering::Relaxed) {
                    0 => {}
                    count => fetches.integer(&[purpose.as_str(), outcome.as_str()], count),
                }
            }
        }
        let mut seconds = out.family(table::FETCH_SECONDS);
        for (purpose, micros) in FetchPurpose::ALL.iter().zip(&self.micros) {
            match micros.load(Ordering::Relaxed) {
                0 => {}
                micros => seconds.seconds(&[purpose.as_str()], micros.saturating_mul(1_000).into()),
            }
        }
    }
}
