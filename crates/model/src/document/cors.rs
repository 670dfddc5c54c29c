//! `CorsPolicy`: which web pages of other origins may call.

use super::common::TargetRef;
use crate::{
    read::Spanned,
    scalar::{HeaderName, Method, Percent, Time},
    verdict::{Mode, OnFault},
};

crate::document! {
    /// Which web pages of other origins may call (CORS). Preflight requests are answered by the gateway.
    pub struct CorsPolicySpec {
        /// What it is attached to; none means the whole gateway.
        pub target_refs: Vec<Spanned<TargetRef>> = Vec::new(),
        /// Origins, for example `https://app.example.com` or `https://*.example.com`; `*` means any and excludes
        /// `allowCredentials`.
        pub allow_origins: Vec<Spanned<String>>,
        /// Methods that pages may use.
        pub allow_methods: Vec<Method> = vec![Method::known("GET"), Method::known("HEAD"), Method::known("POST")],
        /// Request headers that pages may set.
        pub allow_headers: Vec<Spanned<HeaderName>> = Vec::new(),
        /// Response headers that pages may read.
        pub expose_headers: Vec<Spanned<HeaderName>> = Vec::new(),
        /// Whether pages may send cookies and credentials.
        pub allow_credentials: bool = false,
        /// How long a browser may remember the answer to a preflight.
        pub max_age: Time = Time::seconds(600),
        /// Whether a narrower CorsPolicy may replace this one.
        pub allow_override: bool = false,
        /// Whether it bites.
        pub mode: Mode = Mode::Enforce,
        /// Share of callers it bites, in percent; the rest is judged in shadow.
        pub enforce_percent: Percent = Percent::of(100),
        /// What happens when it cannot be decided.
        pub on_fault: OnFault = OnFault::Deny,
    }
}
