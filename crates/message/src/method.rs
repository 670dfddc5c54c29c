//! The methods that the gateway lets pass, as a set.
//!
//! Routes, roles and rules all ask "is it one of these methods?" for every request, so a set is one byte.

use http::Method;

/// The methods the gateway knows, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MethodSet(u8);

const METHODS: [Method; MethodSet::COUNT] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

impl MethodSet {
    /// How many methods there are.
    pub const COUNT: usize = 7;

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

    /// The place of a method in that order, below [`MethodSet::COUNT`]; `None` for one the gateway does not know.
    pub fn index(method: &Method) -> Option<usize> {
        METHODS.iter().position(|known| known == method)
    }

    fn bit(method: &Method) -> u8 {
        Self::index(method).map_or(0, |bit| 1 << bit)
    }
}
