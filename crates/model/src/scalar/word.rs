//! Words of verdicts as documents write them.

use serde::{Serialize, Serializer};

use crate::verdict::{Mode, OnFault};

choice! {
    /// Whether a policy bites.
    impl Read for Mode {
        /// The policy's decision is carried out.
        Enforce = Mode::Enforce.as_str(),
        /// The policy judges and counts; the record says what it would have done; the caller notices nothing.
        Shadow = Mode::Shadow.as_str(),
        /// The policy is not looked at.
        Off = Mode::Off.as_str(),
    }
}

choice! {
    /// What happens when a judge cannot decide.
    impl Read for OnFault {
        /// Refuse with `JudgeUnavailable`.
        Deny = OnFault::Deny.as_str(),
        /// Let the request pass, count it and list it as an exposure.
        Allow = OnFault::Allow.as_str(),
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for OnFault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
