//! `SchemaPolicy`: what bodies must look like.

use super::common::TargetRef;
use crate::{
    read::Spanned,
    scalar::{ByteSize, Percent},
    verdict::{Mode, OnFault},
};

crate::document! {
    /// What JSON bodies of requests must look like. All that is wrong with a body is told at once, by JSON pointers.
    /// Several policies must all let a request pass.
    pub struct SchemaPolicySpec {
        /// What it is attached to; none means the whole gateway.
        pub target_refs: Vec<Spanned<TargetRef>> = Vec::new(),
        /// The JSON Schema. References to other documents are never fetched.
        pub schema: Spanned<SchemaSource>,
        /// Whether there must be a body.
        pub required: bool = false,
        /// What happens to a body that is not JSON by its `Content-Type`.
        pub on_other_type: Spanned<OnOtherType> = OnOtherType::Deny.into(),
        /// The longest body. It is held in memory until it is judged.
        pub body_bytes: Spanned<ByteSize> = ByteSize::mib(1).into(),
        /// Whether it bites.
        pub mode: Mode = Mode::Enforce,
        /// Share of callers it bites, in percent; the rest is judged in shadow.
        pub enforce_percent: Percent = Percent::of(100),
        /// What happens when it cannot be decided.
        pub on_fault: OnFault = OnFault::Deny,
    }
}

crate::union! {
    /// Where a schema is.
    pub enum SchemaSource {
        /// The schema itself, as JSON text.
        Inline(String),
        /// A file; relative paths count from this document.
        File(String),
    }
}

crate::choice! {
    /// What happens to a body that is not JSON.
    pub enum OnOtherType {
        /// It is refused.
        Deny = "deny",
        /// It passes unjudged.
        Allow = "allow",
    }
}
