//! `KeyRotationPolicy`: how old an API key may become, and how it is replaced without breaking anybody.

use super::common::TargetRef;
use crate::{
    read::Spanned,
    scalar::{FetchUrl, Name, Time},
    verdict::Mode,
};

crate::choice! {
    /// How a replaced key ends.
    pub enum RetireName {
        /// With the overlap.
        AtOnce = "AtOnce",
        /// After the overlap as soon as nobody uses it, and at the hard limit at the latest.
        WhenUnused = "WhenUnused",
    }
}

crate::document! {
    /// How old an API key may become, and how it is replaced without breaking anybody.
    pub struct KeyRotationPolicySpec {
        /// The consumers about whose keys it is; none means all.
        pub target_refs: Vec<Spanned<TargetRef>> = Vec::new(),
        /// The age at which a key should have been replaced. Where absent, a key is due only when it expires.
        pub maximum_age: Option<Spanned<Time>>,
        /// How long before it is due a key begins to age; never in the first half of its life.
        pub ageing_before: Spanned<Time> = Time::seconds(2_592_000).into(),
        /// How long a key works on beside the one that replaced it.
        pub overlap: Spanned<Time> = Time::seconds(604_800).into(),
        /// How a replaced key ends.
        pub retire: RetireName = RetireName::AtOnce,
        /// With `retire: WhenUnused`, how long nobody must have used a replaced key.
        pub unused_for: Spanned<Time> = Time::seconds(86_400).into(),
        /// How long a key works at most after its maximum age or, with `retire: WhenUnused`, after it was replaced.
        pub hard_limit: Spanned<Time> = Time::seconds(2_592_000).into(),
        /// How long before a key is due its owner is told, each time once; none means 30, 7 and 1 days.
        pub tell_before: Vec<Spanned<Time>> = Vec::new(),
        /// The NoticeChannels by which owners are told. One with `email` mails the consumer's contacts.
        pub notify: Vec<Spanned<Name>> = Vec::new(),
        /// The public address of a Listener's `keyEndpoints`, path included. With it, the successor of an ageing key is
        /// offered to its owner by a one-time link to there.
        pub claim_url: Option<Spanned<FetchUrl>>,
        /// Instead of `claimUrl`: the place where gateways leave the successor of an ageing key, a folder or a program of
        /// theirs that `run --deliver NAME=…` gives this name. A gateway without it leaves that to those that have it.
        pub deliver_to: Option<Spanned<Name>>,
        /// How long after its end a key is left out of lists.
        pub remove_after: Time = Time::seconds(7_776_000),
        /// Whether answers to callers who use an ageing or replaced key say so (`Deprecation` and `Sunset`).
        pub announce: bool = true,
        /// Whether a KeyRotationPolicy of a consumer may replace this one.
        pub allow_override: bool = false,
        /// Whether it is used. There is no shadow: it decides about keys, not about requests.
        pub mode: Mode = Mode::Enforce,
    }
}
