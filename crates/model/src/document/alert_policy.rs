//! `AlertPolicy`: what is worth waking somebody for.

use crate::{
    read::Spanned,
    scalar::{Count, Name, Time},
    verdict::Mode,
};

crate::choice! {
    /// What is watched.
    pub enum AlertSignal {
        /// Credentials that do not hold.
        FailedLogins = "FailedLogins",
        /// Requests that were refused.
        Refusals = "Refusals",
        /// An API key that ends or reaches its maximum age before long, or a listener's certificate that ends.
        Expiry = "Expiry",
        /// A judge that could not decide: refused, or passed by `onFault: allow`.
        Faults = "Faults",
        /// Documents that were refused at a reload.
        FailedReload = "FailedReload",
        /// A finding of `bartizan audit` in the documents in force.
        AuditFinding = "AuditFinding",
        /// A key's successor that nobody took over by its link, or that could not be delivered.
        KeyHandover = "KeyHandover",
        /// A rollout that paused or was rolled back by itself.
        RolloutStopped = "RolloutStopped",
    }
}

crate::choice! {
    /// By what events are counted apart.
    pub enum AlertGroup {
        /// Together.
        Nothing = "Nothing",
        /// By the client's address (IPv6 by /64).
        Address = "Address",
        /// By consumer.
        Consumer = "Consumer",
        /// By route.
        Route = "Route",
    }
}

crate::document! {
    /// What is worth waking somebody for, and whom.
    pub struct AlertPolicySpec {
        /// What is watched.
        pub signals: Vec<Spanned<AlertRule>>,
        /// The NoticeChannels by which it is told.
        pub channels: Vec<Spanned<Name>>,
        /// How long an alert that goes on is not told again.
        pub repeat_after: Spanned<Time> = Time::seconds(14_400).into(),
        /// How long it must be quiet before an alert counts as over, which is told too. At least ten seconds with `Expiry`,
        /// `AuditFinding` or `KeyHandover`.
        pub recover_after: Spanned<Time> = Time::seconds(300).into(),
        /// Whether it is used. There is no shadow: it decides nothing about requests.
        pub mode: Mode = Mode::Enforce,
    }
}

crate::document! {
    /// One thing that is watched.
    pub struct AlertRule {
        /// What.
        pub signal: AlertSignal,
        /// From how many within the window on; 20 for `FailedLogins`, 100 for `Refusals`, else 1. Not for what is so or is
        /// not: `Expiry`, `AuditFinding` and `KeyHandover`.
        pub count: Option<Spanned<Count>>,
        /// The window in which they are counted.
        pub window: Spanned<Time> = Time::seconds(60).into(),
        /// By what they are counted apart.
        pub group_by: Spanned<AlertGroup> = AlertGroup::Nothing.into(),
        /// With `Refusals`: only for these reasons; none means all but failed credentials.
        pub reasons: Vec<Spanned<String>> = Vec::new(),
        /// With `Expiry`: how long before the end.
        pub before: Spanned<Time> = Time::seconds(604_800).into(),
    }
}
