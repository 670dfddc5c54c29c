//! `RecordPolicy`: what is written down about a request.

use super::common::TargetRef;
use crate::{
    read::Spanned,
    scalar::{ByteSize, Count, HeaderName},
    verdict::Mode,
};

crate::choice! {
    /// How much of a client's address is written down.
    pub enum AddressPrivacyName {
        /// All of it.
        Full = "full",
        /// The /24 (IPv6: the /48).
        Truncated = "truncated",
        /// A keyed hash that stays the same while the process runs.
        Hashed = "hashed",
    }
}

crate::choice! {
    /// What is written down of a query.
    pub enum QueryValuesName {
        /// Names only; each value is `***`.
        Masked = "masked",
        /// Names and values. Values often hold personal data and secrets.
        Full = "full",
    }
}

crate::document! {
    /// What is written down about a request.
    pub struct RecordPolicySpec {
        /// What it is attached to; none means the whole gateway.
        pub target_refs: Vec<Spanned<TargetRef>> = Vec::new(),
        /// Whether requests are written to the access log.
        pub access_log: bool = true,
        /// How much of the client's address is written down.
        pub address_privacy: AddressPrivacyName = AddressPrivacyName::Full,
        /// What is written down of the query.
        pub query_values: QueryValuesName = QueryValuesName::Masked,
        /// Request headers written down by name. Credentials and cookies never are.
        pub headers: Vec<Spanned<HeaderName>> = Vec::new(),
        /// Where the access log goes; only in a policy for the whole gateway. Standard output where absent.
        pub file: Option<Spanned<RecordFile>>,
        /// Whether a narrower RecordPolicy may replace this one.
        pub allow_override: bool = true,
        /// Whether it is used. A record has no shadow.
        pub mode: Mode = Mode::Enforce,
    }
}

crate::document! {
    /// A file that is rotated by size.
    pub struct RecordFile {
        /// The file's path; relative paths count from the data directory.
        pub path: String,
        /// Size at which a new file is begun.
        pub max_bytes: ByteSize = ByteSize::mib(100),
        /// How many old files are kept.
        pub keep: Count = Count::of(5),
    }
}
