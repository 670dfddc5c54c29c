//! `RateLimitPolicy`: how much a caller may do in a time, and at once.

use super::common::TargetRef;
use crate::{
    node::{Node, Value},
    problem::Problems,
    read::{OneOrMany, Path, Read, Spanned},
    scalar::{Count, HeaderName, Percent, Time},
    shape::Shape,
    verdict::{Mode, OnFault},
};

crate::document! {
    /// How much a caller may do. Without `targetRefs` it covers the whole gateway, without `key` each consumer has its
    /// own allowance.
    pub struct RateLimitPolicySpec {
        /// What it is attached to; none means the whole gateway.
        pub target_refs: Vec<Spanned<TargetRef>> = Vec::new(),
        /// Whose calls are counted together: parts that are combined.
        pub key: Vec<Spanned<KeyPartSpec>> = vec![Spanned::from(KeyPartSpec::Word(KeyWord::Consumer))],
        /// What happens when a part of the key is absent.
        pub on_absent: OnAbsentSpec = OnAbsentSpec::ClientAddress,
        /// One limit, or a list of them that all must hold.
        pub limits: OneOrMany<Spanned<LimitSpec>>,
        /// What happens over the limit.
        pub action: LimitAction = LimitAction::default(),
        /// Send `X-RateLimit-Limit`, `-Remaining` and `-Reset` beside the standard `RateLimit` fields.
        pub legacy_headers: bool = false,
        /// Whether it bites.
        pub mode: Mode = Mode::Enforce,
        /// Share of callers it bites, in percent; the rest is judged in shadow.
        pub enforce_percent: Percent = Percent::of(100),
        /// What happens when it cannot be decided.
        pub on_fault: OnFault = OnFault::Deny,
    }
}

crate::choice! {
    /// A part of a key that needs no argument.
    pub enum KeyWord {
        /// One allowance for all callers together.
        Gateway = "gateway",
        /// Each route on its own.
        Route = "route",
        /// Each verified consumer.
        Consumer = "consumer",
        /// Each team; its members share.
        Team = "team",
        /// Each client address (IPv6 by /64).
        ClientAddress = "clientAddress",
    }
}

crate::document! {
    /// A part of a key that is a header's value.
    pub struct KeyHeader {
        /// The header's name.
        pub header: HeaderName,
    }
}

/// A part of a key: a word, or `{ header: NAME }`.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyPartSpec {
    /// A word.
    Word(KeyWord),
    /// A header's value.
    Header(KeyHeader),
}

impl Read for KeyPartSpec {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::Map(_) => KeyHeader::read(node, at, problems).map(KeyPartSpec::Header),
            _ => KeyWord::read(node, at, problems).map(KeyPartSpec::Word),
        }
    }

    fn shape() -> Shape {
        Shape::OneOf(vec![KeyWord::shape(), KeyHeader::shape()])
    }
}

impl serde::Serialize for KeyPartSpec {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            KeyPartSpec::Word(word) => word.serialize(serializer),
            KeyPartSpec::Header(header) => header.serialize(serializer),
        }
    }
}

crate::choice! {
    /// What happens when a part of the key is absent.
    pub enum OnAbsentSpec {
        /// The client address stands in for it.
        ClientAddress = "clientAddress",
        /// The call is refused.
        Deny = "deny",
        /// The policy does not apply.
        Skip = "skip",
    }
}

crate::document! {
    /// One limit: `requests` or `tokens` per `timeWindow`, or `concurrency`.
    pub struct LimitSpec {
        /// Requests per `timeWindow`.
        pub requests: Option<Count>,
        /// Tokens of models per `timeWindow`, input and output together.
        pub tokens: Option<Count>,
        /// The time that `requests` or `tokens` counts for.
        pub time_window: Option<Spanned<Time>>,
        /// Requests or tokens at once before the rate counts; as many as the rate's where absent.
        pub burst: Option<Count>,
        /// Requests in progress at the same time.
        pub concurrency: Option<Count>,
    }
}

crate::choice! {
    /// What happens over the limit.
    pub enum LimitActionType {
        /// Refuse at once.
        Reject = "Reject",
        /// Wait for the next free slot, at most `maxRetry` slots away; beyond that refuse.
        Throttle = "Throttle",
    }
}

crate::document! {
    /// What happens over the limit.
    pub struct LimitAction: Default {
        /// Refuse or wait.
        pub type_: LimitActionType as "type" = LimitActionType::Reject,
        /// With `Throttle`: how many slots ahead a call may take.
        pub max_retry: Spanned<u32> = 0.into(),
        /// With `Throttle`: the longest wait.
        pub max_wait: Spanned<Time> = Time::seconds(30).into(),
    }
}
