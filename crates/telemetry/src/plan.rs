//! A compiled `RecordPolicy`: what of a request is written down, and how.
//!
//! The plan decides privacy, never whether a request is recorded for metrics. Headers that carry credentials can
//! be asked for, and then only `***` is written: the deny table is fixed and no document can shorten it.

use std::sync::Arc;

use http::HeaderName;

use crate::{redact, text::HEADERS_MAX};

/// How client and peer addresses are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AddressPrivacy {
    /// As they are.
    #[default]
    Full,
    /// IPv4 without its last octet, IPv6 without its last 80 bits.
    Truncated,
    /// A keyed hash: equal addresses look equal, and nothing else is told.
    Hashed,
}

impl AddressPrivacy {
    /// The word in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            AddressPrivacy::Full => "full",
            AddressPrivacy::Truncated => "truncated",
            AddressPrivacy::Hashed => "hashed",
        }
    }
}

/// How the values of query parameters are written; their names always are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum QueryValues {
    /// Each as `***`.
    #[default]
    Masked,
    /// As received.
    Full,
}

impl QueryValues {
    /// The word in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            QueryValues::Masked => "masked",
            QueryValues::Full => "full",
        }
    }
}

/// What of a request is written to the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPlan {
    /// The policy, as `RecordPolicy/name`; empty for the default.
    pub name: Arc<str>,
    /// How addresses are written.
    pub address_privacy: AddressPrivacy,
    /// How query values are written.
    pub query_values: QueryValues,
    /// Whether an access log line is written at all. Metrics are counted either way.
    pub access_log: bool,
    headers: Vec<PlannedHeader>,
}

/// A request header that is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedHeader {
    /// The header's name.
    pub name: HeaderName,
    /// Whether only its presence may be told.
    pub masked: bool,
}

impl RecordPlan {
    /// A plan that writes addresses as they are, masks query values, asks for no header and has the log on.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        RecordPlan {
            name: name.into(),
            address_privacy: AddressPrivacy::Full,
            query_values: QueryValues::Masked,
            access_log: true,
            headers: Vec::new(),
        }
    }

    /// The same plan with request headers to write down. Those in the fixed table of
    /// [`redact::is_secret_header`] and those in `secrets` (the headers in which this gateway takes credentials)
    /// are written as `***`. At most [`HEADERS_MAX`] are kept and repetitions count once; the compiler of the
    /// document reports more than that as a problem.
    #[must_use]
    pub fn with_headers(
        mut self,
        names: impl IntoIterator<Item = HeaderName>,
        secrets: &[HeaderName],
    ) -> Self {
        for name in names {
            if self.headers.len() == HEADERS_MAX {
                break;
            }
            if self.headers.iter().all(|known| known.name != name) {
                let masked = redact::is_secret_header(name.as_str()) || secrets.contains(&name);
                self.headers.push(PlannedHeader { name, masked });
            }
        }
        self
    }

    /// The headers that are written down.
    pub fn headers(&self) -> &[PlannedHeader] {
        &self.headers
    }

    /// Whether this header's value is hidden: because it is a credential, or because it tells addresses that the
    /// plan hides.
    pub fn is_masked(&self, header: &PlannedHeader) -> bool {
        header.masked
            || (self.address_privacy != AddressPrivacy::Full
                && redact::is_address_header(header.name.as_str()))
    }
}

impl Default for RecordPlan {
    fn default() -> Self {
        RecordPlan::new("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&'static str]) -> Vec<HeaderName> {
        names.iter().map(|name| HeaderName::from_static(name)).collect()
    }

    #[test]
    fn a_credential_header_is_masked_and_an_ordinary_one_is_not() {
        let plan = RecordPlan::new("p")
            .with_headers(names(&["authorization", "accept", "x-partner", "accept"]), &names(&["x-partner"]));
        let masked: Vec<_> =
            plan.headers().iter().map(|header| (header.name.as_str(), plan.is_masked(header))).collect();
        assert_eq!(masked, [("authorization", true), ("accept", false), ("x-partner", true)]);
    }

    #[test]
    fn an_address_header_is_masked_only_where_addresses_are_hidden() {
        let mut plan = RecordPlan::new("p").with_headers(names(&["x-forwarded-for"]), &[]);
        assert!(!plan.is_masked(&plan.headers()[0]));
        plan.address_privacy = AddressPrivacy::Truncated;
        assert!(plan.is_masked(&plan.headers()[0]));
    }

    #[test]
    fn the_default_masks_query_values() {
        assert_eq!(RecordPlan::default().query_values, QueryValues::Masked);
        assert!(RecordPlan::default().access_log);
    }
}
