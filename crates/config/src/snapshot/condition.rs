//! What a rule asks of a request beside host and path: its method, and values of headers and query parameters.

use std::sync::Arc;

use http::Method;
use regex::Regex;

/// The methods the gateway knows, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MethodSet(u8);

const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

impl MethodSet {
    /// Every method.
    pub const ANY: MethodSet = MethodSet(0x7f);

    /// The set of these methods; unknown ones are left out.
    pub fn of<'a>(methods: impl IntoIterator<Item = &'a Method>) -> Self {
        MethodSet(methods.into_iter().map(Self::bit).fold(0, |set, bit| set | bit))
    }

    /// Whether it is in the set.
    pub fn contains(self, method: &Method) -> bool {
        self.0 & Self::bit(method) != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        MethodSet(self.0 | other.0)
    }

    /// Whether both have a method in common.
    pub const fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether nothing is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its methods, in a fixed order.
    pub fn iter(self) -> impl Iterator<Item = Method> {
        METHODS.into_iter().filter(move |method| self.contains(method))
    }

    fn bit(method: &Method) -> u8 {
        METHODS.iter().position(|known| known == method).map_or(0, |bit| 1 << bit)
    }
}

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
