//! The words of a decision: what the judge is asked and what it answers.
//!
//! A refusal is data, not an error. What a decision says to the caller ([`State`]) is read from the very word that the
//! decision wrote, so that an answer never contradicts it.

use std::time::Duration;

use crate::{
    clock::Nanos,
    few::Few,
    policy::{Bite, Policy, Unit},
    reservation::{Reservation, Waiting},
};

/// One policy that bears on a call, and the call's key for it.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The call's key, from [`Cells::key_of`](crate::Cells::key_of).
    pub key: u128,
    /// Whether the policy is enforced for the caller, see [`Policy::bite`].
    pub bite: Bite,
    /// How many units of each rate the call takes: 1, or the number of operations in a batch; 0 takes nothing. A concurrency counts every call once.
    pub cost: u64,
    /// Once the body has been read: how many tokens it may use at most, and only limits of tokens are asked. `None`
    /// before: the others are asked, and of tokens only whether there are any.
    pub tokens: Option<u64>,
}

impl Ask<'_> {
    /// How many units it takes of a limit that counts `unit`.
    pub(crate) const fn units(&self, unit: Unit) -> u64 {
        match (unit, self.tokens) {
            (Unit::Tokens, Some(tokens)) => tokens,
            (Unit::Tokens, None) => 0,
            _ => self.cost,
        }
    }
}

/// What the judge says of a call.
#[derive(Debug)]
pub struct Verdict {
    /// What happens to the call.
    pub decision: Decision,
    /// Where each enforced limit stands after the decision, in the order of asks and limits.
    pub states: Few<State>,
    /// What shadow policies would have done otherwise.
    pub would: Vec<Would>,
}

/// What happens to a call.
#[derive(Debug)]
pub enum Decision {
    /// It goes now.
    Admit(Reservation),
    /// It goes at `until`, if it waits that long.
    Wait {
        /// When its slot comes.
        until: Nanos,
        /// Its slot and its place to wait in; [`Waiting::start`] when the slot has come.
        reservation: Waiting,
    },
    /// It does not go, and took nothing.
    Refuse(Refusal),
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The ask whose policy decided: the first one that refuses.
    pub ask: usize,
    /// The limit of that policy.
    pub limit: usize,
    /// When the call would be accepted, by every enforced limit that was seen to refuse it.
    pub retry_after: Duration,
    /// What was used up.
    pub cause: Cause,
}

/// What was used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The concurrency.
    Concurrency,
    /// The rate, and the slots that may be waited for.
    Rate,
    /// The tokens, and the slots that may be waited for.
    Tokens,
    /// The places to wait in.
    Waiters,
}

impl Cause {
    /// The cause in words, for the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::Concurrency => "too many calls at once",
            Cause::Rate => "too many calls",
            Cause::Tokens => "too many tokens",
            Cause::Waiters => "too many calls wait already",
        }
    }
}

/// Where an enforced limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The ask.
    pub ask: usize,
    /// The limit of its policy.
    pub limit: usize,
    /// Its number (`q`).
    pub quota: u64,
    /// Its window (`w`); none for a concurrency.
    pub window_seconds: Option<u64>,
    /// What is left at once (`r`).
    pub remaining: u64,
    /// Until everything is there again, rounded up (`t`); none for a concurrency.
    pub reset_seconds: Option<u64>,
}

/// What a shadow policy would have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Would {
    /// It would have refused.
    Deny(Refusal),
    /// It would have let the call wait. (It does not know of waiting places: a shadow never waits.)
    Throttle {
        /// The ask.
        ask: usize,
        /// For how long.
        wait: Duration,
    },
}
