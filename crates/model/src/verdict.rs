//! What a judge may say: a refusal is data ([`Denial`]), a failure to decide is a [`Fault`].
//!
//! Both are closed by default. An `Error` (a bug or I/O in our own house) has its own type in each crate.

use std::{fmt, sync::Arc};

use crate::reason::{Reason, Stage};

/// Whether a policy bites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The policy's decision is carried out.
    #[default]
    Enforce,
    /// The policy judges and counts; the record says what it would have done; the caller notices nothing.
    Shadow,
    /// The policy is not looked at.
    Off,
}

impl Mode {
    /// The mode's word in documents, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Shadow => "shadow",
            Mode::Off => "off",
        }
    }
}

/// What happens when a judge cannot decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnFault {
    /// Refuse with `JudgeUnavailable`.
    #[default]
    Deny,
    /// Let the request pass, count it and list it as an exposure.
    Allow,
}

impl OnFault {
    /// The word in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            OnFault::Deny => "deny",
            OnFault::Allow => "allow",
        }
    }
}

/// A decision against a request: expected, answered, recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The stable reason, which callers see.
    pub reason: Reason,
    /// The policy that decided, as `Kind/name`; for the record, never for the caller.
    pub policy: Option<Arc<str>>,
    /// Which rule of the policy and on what evidence; for the record, never for the caller.
    pub detail: Option<Box<str>>,
}

impl Denial {
    /// A denial that no policy asked for (the shape of the message itself was at fault).
    pub const fn new(reason: Reason) -> Self {
        Denial { reason, policy: None, detail: None }
    }

    /// The same denial with the evidence for the record.
    #[must_use]
    pub fn because(mut self, detail: impl Into<Box<str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same denial, attributed to a policy (`Kind/name`).
    #[must_use]
    pub fn by(mut self, policy: Arc<str>) -> Self {
        self.policy = Some(policy);
        self
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        if let Some(policy) = &self.policy {
            write!(f, " by {policy}")?;
        }
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        Ok(())
    }
}

/// A judge could not decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The stage whose judge failed.
    pub stage: Stage,
    /// What failed, for the record.
    pub what: Box<str>,
}

impl Fault {
    /// A fault of `stage`, with what failed.
    pub fn new(stage: Stage, what: impl Into<Box<str>>) -> Self {
        Fault { stage, what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} could not decide: {}", self.stage, self.what)
    }
}
