//! `CachePolicy`: which answers are kept, for whom and for how long.

use super::common::TargetRef;
use crate::{
    read::Spanned,
    scalar::{ByteSize, Percent, Time},
    verdict::Mode,
};

crate::choice! {
    /// Between whom answers to identified callers are shared.
    pub enum IdentityClassName {
        /// Between nobody: each consumer, and each subject of its tokens, has its own.
        PerConsumer = "perConsumer",
        /// Between all callers that the route lets through.
        Shared = "shared",
    }
}

crate::choice! {
    /// Which answers to callers with credentials are kept.
    pub enum AuthorizedAnswers {
        /// Those that say so by `public`, `s-maxage` or `must-revalidate`.
        Marked = "marked",
        /// All that say how long they are fresh; only with `identityClass: perConsumer`.
        Own = "own",
    }
}

crate::document! {
    /// Which answers are kept, for whom and for how long. Answers say it themselves by `Cache-Control` or `Expires`; the
    /// policy allows it and bounds it.
    pub struct CachePolicySpec {
        /// What it is attached to; none means the whole gateway.
        pub target_refs: Vec<Spanned<TargetRef>> = Vec::new(),
        /// Between whom answers to identified callers are shared.
        pub identity_class: IdentityClassName = IdentityClassName::PerConsumer,
        /// Which answers to callers with credentials are kept.
        pub authorized: Spanned<AuthorizedAnswers> = Spanned::from(AuthorizedAnswers::Marked),
        /// Whether `CDN-Cache-Control` goes before `Cache-Control`.
        pub targeted: bool = false,
        /// Whether an answer with `Set-Cookie` is kept, without that header. Otherwise it is not kept.
        pub drop_set_cookie: bool = false,
        /// Percent of the time since `Last-Modified` for which an answer that says nothing counts as fresh, for a day at
        /// most; 0 means never.
        pub heuristic_percent: Percent = Percent::of(0),
        /// How long 404, 405, 410, 414 and 501 that say nothing count as fresh; `0s` means not at all.
        pub negative_lifetime: Time = Time::seconds(0),
        /// Longest time for which an answer counts as fresh, whatever it says.
        pub max_lifetime: Time = Time::seconds(604_800),
        /// Whether callers' own `Cache-Control` counts. Any caller can then have the upstream asked.
        pub heed_callers: bool = false,
        /// Largest body that is kept.
        pub max_body_bytes: ByteSize = ByteSize::mib(1),
        /// Whether a narrower CachePolicy may replace this one.
        pub allow_override: bool = false,
        /// Whether it is used. A cache has no shadow.
        pub mode: Mode = Mode::Enforce,
    }
}
