//! What a listener may tolerate in a path, each by its own name.
//!
//! Nothing here is on by default: a tolerated ambiguity is one that the operator knows every server behind the gateway to
//! read as the gateway does.

/// Which ambiguities of a path are settled instead of refused. The default refuses each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tolerate {
    /// `/a/./b`, `/a/../b`, also percent-encoded.
    pub dot_segments: DotSegments,
    /// `/a//b`.
    pub empty_segments: EmptySegments,
    /// `/a%2Fb`: many servers decode it to a separator, others do not.
    pub encoded_slash: EncodedSlash,
    /// `/a;v=1/b`: servlet containers cut `;v=1` off before they match, others do not.
    pub parameters: Parameters,
}

/// What happens to a `.` or `..` segment. One with a parameter (`..;x`) is always refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DotSegments {
    /// 400.
    #[default]
    Refuse,
    /// RFC 3986 §5.2.4 removes them; climbing above the root is still refused.
    Resolve,
}

/// What happens to an empty segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmptySegments {
    /// 400.
    #[default]
    Refuse,
    /// Several slashes become one.
    Merge,
}

/// What happens to a percent-encoded slash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncodedSlash {
    /// It stays as `%2F` and never separates segments here. What lies between must not be empty or a dot segment.
    Keep,
    /// 400.
    #[default]
    Refuse,
}

/// What happens to a `;` in a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parameters {
    /// It stays, and is part of the segment that routes compare.
    Keep,
    /// 400.
    #[default]
    Refuse,
}
