//! `CachePolicy`: which answers are kept, for whom and for how long.

use super::common::TargetRef;
use crate::{
    read::Spanned,
    scalar::{ByteSize, HeaderName, Percent, Time},
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
        /// Whether answers of every status are kept that say how long they are fresh, errors too. Otherwise only of those
        /// that do not pass by themselves.
        pub any_status: bool = false,
        /// Percent of the time since `Last-Modified` for which an answer that says nothing counts as fresh, for a day at
        /// most; 0 means never.
        pub heuristic_percent: Percent = Percent::of(0),
        /// How long 404, 405, 410, 414 and 501 that say nothing count as fresh; `0s` means not at all.
        pub negative_lifetime: Time = Time::seconds(0),
        /// Longest time for which an answer counts as fresh, whatever it says.
        pub max_lifetime: Time = Time::seconds(604_800),
        /// How long a stale answer that does not say so itself (`stale-while-revalidate`) is given while the upstream
        /// is asked for a newer one; `0s` means not at all, a day at most.
        pub stale_while_revalidate: Time = Time::seconds(0),
        /// How long a stale answer that does not say so itself (`stale-if-error`) is given when the upstream fails;
        /// `0s` means not at all, a day at most.
        pub stale_if_error: Time = Time::seconds(0),
        /// How long equal requests wait for the answer to the first of them; `0s` means that each asks the upstream.
        pub collapse: Time = Time::seconds(5),
        /// Headers of answers that hold their tags, by which they can be purged.
        pub tag_headers: Vec<Spanned<HeaderName>> = vec![
            Spanned::from(HeaderName::known("cache-tag")),
            Spanned::from(HeaderName::known("surrogate-key")),
        ],
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
