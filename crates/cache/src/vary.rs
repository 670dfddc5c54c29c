//! Which variant: the request fields that an answer says it was chosen by (RFC 9111 §4.1).
//!
//! Fields that the gateway itself adds on the way to the origin are not in the caller's head, so that two callers would
//! look alike by them. An answer that varies by one of them is never kept.

use std::fmt;

use http::{HeaderMap, HeaderName, header::VARY};

/// Most fields by which an answer may vary. With more of them hardly two requests are alike.
const FIELDS_MAX: usize = 16;

/// The request fields by which an answer was chosen, with the values of the request that it answered.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Selecting(Box<[Field]>);

/// A field, and its value unless the request had none.
type Field = (HeaderName, Option<Box<[u8]>>);

/// A value may be a credential.
impl fmt::Debug for Selecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Selecting {
    /// What `answer` was chosen by; nothing if no other request can ever be known to match.
    pub fn of(answer: &HeaderMap, request: &HeaderMap) -> Option<Self> {
        let mut fields: Vec<Field> = Vec::new();
        for line in answer.get_all(VARY) {
            for name in line.to_str().ok()?.split(',').map(|name| name.trim_matches([' ', '\t'])) {
                if name.is_empty() {
                    continue;
                }
                // `*` is no field name by our reading; by the RFC's it never matches.
                if name == "*" {
                    return None;
                }
                let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                if is_the_gateways(name.as_str()) {
                    return None;
                }
                if fields.iter().any(|(known, _)| *known == name) {
                    continue;
                }
                if fields.len() == FIELDS_MAX {
                    return None;
                }
                let value = value(request, &name);
                fields.push((name, value));
            }
        }
        fields.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        Some(Selecting(fields.into()))
    }

    /// Whether a request would have been answered by the same.
    pub fn matches(&self, request: &HeaderMap) -> bool {
        self.0.iter().all(|(name, kept)| *kept == value(request, name))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0
            .iter()
            .map(|(name, value)| name.as_str().len() + value.as_ref().map_or(0, |value| value.len()) + 32)
            .sum()
    }
}

/// RFC 9111 §4.1: lines are combined, and white space around them does not count. Absent is not empty.
fn value(request: &HeaderMap, name: &HeaderName) -> Option<Box<[u8]>> {
    let mut combined: Option<Vec<u8>> = None;
    let is_list = LISTS.contains(&name.as_str());
    for line in request.get_all(name) {
        let listed;
        let line = if is_list {
            listed = normalised(line.as_bytes());
            &listed
        } else {
            line.as_bytes().trim_ascii()
        };
        match &mut combined {
            None => combined = Some(line.to_vec()),
            Some(combined) => {
                combined.extend_from_slice(b", ");
                combined.extend_from_slice(line);
            }
        }
    }
    combined.map(Into::into)
}

/// Lists in which neither case nor white space between members means anything (RFC 9110 §12.5).
const LISTS: [&str; 3] = ["accept-charset", "accept-encoding", "accept-language"];

fn normalised(line: &[u8]) -> Vec<u8> {
    let members = line.split(|byte| *byte == b',').map(|member| {
        let shown = member.iter().filter(|byte| !matches!(byte, b' ' | b'\t'));
        shown.map(u8::to_ascii_lowercase).collect::<Vec<u8>>()
    });
    members.filter(|member| !member.is_empty()).collect::<Vec<_>>().join(&b", "[..])
}

/// Fields that the gateway removes from what callers send, or adds itself.
fn is_the_gateways(name: &str) -> bool {
    matches!(name, "forwarded" | "via" | "x-request-id" | "x-client-ipaddress" | "x-real-ip")
        || ["client-cert", "x-consumer-", "x-forwarded-"].iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(rows: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in rows {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_variant_matches_requests_with_the_same_values_only() {
        let answer = headers(&[("vary", "Accept-Language, accept"), ("vary", "accept")]);
        let kept = Selecting::of(&answer, &headers(&[("accept", "a"), ("accept", " b ")])).unwrap();
        let rows = [
            (headers(&[("accept", "a, b")]), true),
            (headers(&[("accept", "a"), ("accept", "b"), ("x", "y")]), true),
            (headers(&[("accept", "b, a")]), false),
            (headers(&[("accept", "a, b"), ("accept-language", "")]), false),
            (headers(&[("accept", "a, b"), ("accept-language", "de")]), false),
            (headers(&[]), false),
        ];
        for (request, matches) in rows {
            assert_eq!(kept.matches(&request), matches, "{request:?}");
        }
    }

    #[test]
    fn no_request_is_known_to_match_a_star_or_a_field_of_the_gateway() {
        for vary in
            ["*", "accept, *", "X-Consumer-Name", "x-forwarded-for", "client-cert", "a b", "forwarded"]
        {
            assert_eq!(Selecting::of(&headers(&[("vary", vary)]), &HeaderMap::new()), None, "{vary}");
        }
        assert!(Selecting::of(&headers(&[("vary", ", ,")]), &HeaderMap::new()).is_some());
    }

    #[test]
    fn an_answer_that_varies_by_too_many_fields_is_none() {
        let vary = |count: usize| {
            let names: Vec<String> = (0..count).map(|at| format!("x-{at}")).collect();
            let mut headers = HeaderMap::new();
            headers.insert(VARY, names.join(",").parse().unwrap());
            Selecting::of(&headers, &HeaderMap::new())
        };
        assert!(vary(FIELDS_MAX).is_some());
        assert!(vary(FIELDS_MAX + 1).is_none());
    }
}
