//! Form fields: `a=1&b=2`. A field without `=` is kept as a name, `;` divides nothing, a broken `%` stays visible.

use super::{BodyLimits, Reading};
use crate::transform::Transform;

/// Reads fields; false when there were more than `max`.
pub(crate) fn arguments(text: &[u8], max: usize, into: &mut Vec<(Vec<u8>, Vec<u8>)>) -> bool {
    for field in text.split(|byte| *byte == b'&').filter(|field| !field.is_empty()) {
        if into.len() >= max {
            return false;
        }
        let at = memchr::memchr(b'=', field).unwrap_or(field.len());
        let (name, value) = field.split_at(at);
        into.push((decoded(name), decoded(value.get(1..).unwrap_or_default())));
    }
    true
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if Transform::UrlDecode.apply(text, &mut out) { out } else { text.to_vec() }
}

pub(super) fn read(body: &[u8], limits: &BodyLimits) -> Reading {
    let mut reading = Reading::default();
    if !arguments(body, limits.values_max, &mut reading.arguments) {
        reading.error = Some("more fields than the limit");
    }
    reading
}

#[cfg(test)]
mod tests {
    use super::{super::LIMITS_FOR_TEST, *};

    #[test]
    fn fields_are_decoded_and_none_is_lost() {
        let reading = read(b"a=1+2&b&=c&d=%41%zz;e=2&&f=g=h", &LIMITS_FOR_TEST);
        let expected: [(&[u8], &[u8]); 5] =
            [(b"a", b"1 2"), (b"b", b""), (b"", b"c"), (b"d", b"A%zz;e=2"), (b"f", b"g=h")];
        let found: Vec<(&[u8], &[u8])> =
            reading.arguments.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        assert_eq!(found, expected);
        assert_eq!(reading.error, None);
    }

    #[test]
    fn too_many_fields_are_an_error_and_not_a_silent_cut() {
        let reading = read("a=1&".repeat(101).as_bytes(), &LIMITS_FOR_TEST);
        assert_eq!(reading.arguments.len(), 100);
        assert!(reading.error.is_some());
    }
}
