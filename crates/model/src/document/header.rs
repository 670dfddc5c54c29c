//! `HeaderPolicy`: what headers must, may and must not be.

use super::common::{HeaderChanges, TargetRef};
use crate::{
    read::Spanned,
    scalar::{Count, HeaderName, Pattern, Percent},
    verdict::{Mode, OnFault},
};

crate::document! {
    /// What headers must, may and must not be. Every value of a header is judged, not only the first.
    pub struct HeaderPolicySpec {
        /// What it is attached to; none means the whole gateway.
        pub target_refs: Vec<Spanned<TargetRef>> = Vec::new(),
        /// Rules for the request.
        pub request: RequestHeaderRules = RequestHeaderRules::default(),
        /// Changes to the answer.
        pub response: HeaderChanges = HeaderChanges::default(),
        /// Whether it bites.
        pub mode: Mode = Mode::Enforce,
        /// Share of callers it bites, in percent; the rest is judged in shadow.
        pub enforce_percent: Percent = Percent::of(100),
        /// What happens when it cannot be decided.
        pub on_fault: OnFault = OnFault::Deny,
    }
}

crate::document! {
    /// Rules for the headers of a request.
    pub struct RequestHeaderRules: Default {
        /// Headers that must be there, or must have a shape if they are there.
        pub check: Vec<Spanned<HeaderCheck>> = Vec::new(),
        /// Headers that must not be there.
        pub forbid: Vec<Spanned<HeaderName>> = Vec::new(),
        /// Changes before the upstream, after all checks.
        pub change: HeaderChanges = HeaderChanges::default(),
    }
}

crate::document! {
    /// A condition on one header.
    pub struct HeaderCheck {
        /// The header's name.
        pub name: HeaderName,
        /// Whether it must be there.
        pub required: bool = false,
        /// A regular expression that each value must match as a whole.
        pub pattern: Option<Spanned<Pattern>>,
        /// Fewest bytes of each value.
        pub min_length: u32 = 0,
        /// Most bytes of each value.
        pub max_length: Option<Count>,
    }
}
