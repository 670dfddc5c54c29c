//! `QuotaPolicy`: how much in an hour, a day, a week or a month of the calendar.

use super::common::TargetRef;
use crate::{
    read::{OneOrMany, Spanned},
    scalar::{Count, Dollars, Percent},
    verdict::{Mode, OnFault},
};

crate::document! {
    /// How much may be used in an hour, a day, a week or a month of the calendar. What was used outlives a restart. Without
    /// `targetRefs` it covers the whole gateway, without `key` each consumer has its own.
    pub struct QuotaPolicySpec {
        /// What it is attached to; none means the whole gateway.
        pub target_refs: Vec<Spanned<TargetRef>> = Vec::new(),
        /// Whose use is counted together: parts that are combined.
        pub key: Vec<Spanned<QuotaKey>> = vec![Spanned::from(QuotaKey::Consumer)],
        /// What happens when a part of the key is absent.
        pub on_absent: QuotaAbsent = QuotaAbsent::Deny,
        /// One quota, or a list of them that all must hold.
        pub limits: OneOrMany<Spanned<QuotaSpec>>,
        /// Whether it bites.
        pub mode: Mode = Mode::Enforce,
        /// Share of callers it bites, in percent; the rest is judged in shadow.
        pub enforce_percent: Percent = Percent::of(100),
        /// What happens when it cannot be decided.
        pub on_fault: OnFault = OnFault::Deny,
    }
}

crate::choice! {
    /// A part of a quota's key. Headers and addresses are none: what is counted for months is kept under its name.
    pub enum QuotaKey {
        /// One quota for all callers together.
        Gateway = "gateway",
        /// Each route on its own.
        Route = "route",
        /// Each verified consumer.
        Consumer = "consumer",
        /// Each team; its members share.
        Team = "team",
        /// Each model on its own; calls that ask no model are not counted.
        Model = "model",
    }
}

crate::choice! {
    /// What happens when a part of the key is absent.
    pub enum QuotaAbsent {
        /// The call is refused.
        Deny = "deny",
        /// The policy does not apply.
        Skip = "skip",
    }
}

crate::document! {
    /// One quota: `requests`, `tokens` or `cost`, per hour, day, week or month.
    pub struct QuotaSpec {
        /// Calls.
        pub requests: Option<Count>,
        /// Tokens of models, input and output together.
        pub tokens: Option<Count>,
        /// Dollars that calls to models cost.
        pub cost: Option<Dollars>,
        /// The window of the calendar.
        pub per: QuotaPeriod,
        /// Whose calendar: a name of the IANA time zone database, such as `Europe/Berlin`; `UTC` where absent.
        pub time_zone: Option<Spanned<String>>,
    }
}

crate::choice! {
    /// A window of the calendar.
    pub enum QuotaPeriod {
        /// From full hour to full hour.
        Hour = "hour",
        /// From midnight to midnight.
        Day = "day",
        /// From Monday to Monday.
        Week = "week",
        /// From the first of the month to the first of the next.
        Month = "month",
    }
}
