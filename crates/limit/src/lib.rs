//! How much: rates, concurrency, throttling.
//!
//! A pure judge: it is told what a call asks for and what time it is, and answers admit, wait or refuse. It opens
//! no socket, reads no clock, writes no response and knows no other judge. Time is [`Nanos`]; randomness is the
//! pair of hash states given to [`Cells::new`].
//!
//! Reading order: [`policy`] (what a document asks for), `gcra` (the arithmetic of one rate), `cell` (one atomic
//! word of state), `table` and [`cache`] (where cells live), [`key`] (whose cell it is), [`verdict`] (the words of
//! a decision), `reserve` (the decision), [`failures`] (attempts to identify), [`reservation`] (what an admitted call holds), [`header`] (what the caller
//! is told). Beside them [`quota`]: calendar windows, accounts by name, money.

pub mod cache;
mod cell;
mod cells;
pub mod clock;
pub mod failures;
mod few;
mod gcra;
pub mod header;
pub mod key;
pub mod policy;
pub mod quota;
mod rehearse;
pub mod reservation;
mod reserve;
mod table;
pub mod verdict;

pub use cache::CellCache;
pub use cells::{CELLS_MAX, Cells, WAITERS_PER_KEY, WAITERS_PER_PROCESS};
pub use clock::{Clock, Manual, Nanos};
pub use failures::{FailurePolicy, FailureRate, FailureTerms, Held, HeldBy};
pub use few::Few;
pub use key::{HeaderValues, Key, KeyFacts};
pub use policy::{Action, Bite, KeyPart, Limit, OnAbsent, Policy, Terms, Unit, share};
pub use quota::{
    ACCOUNTS_MAX, Amounts, Calendar, Holds, Period, QuotaAsk, QuotaFacts, QuotaLimit, QuotaPart, QuotaPolicy,
    QuotaRefusal, QuotaState, QuotaTerms, QuotaUnit, QuotaVerdict, Quotas, Saved, Used, Window, ZoneUnknown,
};
pub use reservation::{Reservation, Waiting};
pub use reserve::Seen;
pub use verdict::{Ask, Cause, Decision, Refusal, State, Verdict, Would};
