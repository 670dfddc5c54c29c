//! Pieces of JSON, written by hand like the access log's lines.

use crate::escape;

pub(super) fn number(value: u64, out: &mut Vec<u8>) {
    escape::number(value, out);
}

/// A member: its name with comma and colon, and a number.
pub(super) fn field(name: &[u8], value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    number(value, out);
}

/// A text in quotes.
pub(super) fn text(value: &[u8], out: &mut Vec<u8>) {
    escape::string(value, out);
}
