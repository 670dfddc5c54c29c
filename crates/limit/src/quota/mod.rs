//! Quotas and budgets: how much of calls, tokens or money in a calendar window.
//!
//! A rate forgets by the nanosecond; a quota forgets at midnight, and outlives the process. So it has accounts of its own
//! beside the cells of rates: by name, in whole units (calls, tokens, picodollars), never a float. A call holds what it
//! may use at most before it goes, and what it used is spent when it has ended (decision 0046).

mod account;
mod book;
pub mod calendar;
pub mod policy;

pub use book::{
    ACCOUNTS_MAX, Amounts, Holds, QuotaAsk, QuotaRefusal, QuotaState, QuotaVerdict, Quotas, Saved, Used,
};
pub use calendar::{Calendar, Period, Window, ZoneUnknown};
pub use policy::{QuotaFacts, QuotaLimit, QuotaPart, QuotaPolicy, QuotaTerms, QuotaUnit};
