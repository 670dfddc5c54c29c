//! What a rule asks of a request beside host and path: its method, and values of headers and query parameters.

use std::sync::Arc;

pub use bartizan_message::MethodSet;
use regex::Regex;

/// A condition on a value.
#[derive(Clone, Debug)]
pub enum ValueTest {
    /// Exactly this.
    Exact(Arc<str>),
    /// An expression anchored at both ends.
    Matches(Regex),
    /// Any value.
    Present,
}

impl ValueTest {
    /// Whether one value passes. Bytes that are not UTF-8 match no expression.
    pub(super) fn holds(&self, value: &[u8]) -> bool {
        match self {
            ValueTest::Exact(exact) => exact.as_bytes() == value,
            ValueTest::Matches(regex) => std::str::from_utf8(value).is_ok_and(|text| regex.is_match(text)),
            ValueTest::Present => true,
        }
    }
}
