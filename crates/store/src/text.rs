//! Which texts of people are stored: names, labels, reasons; and how bytes are written as text.

use crate::error::Error;

/// Text that can be stored and printed: not empty, bounded, and nothing that moves a terminal's cursor.
pub(crate) fn sound(what: &'static str, text: &str, max: usize) -> Result<(), Error> {
    let problem = if text.trim().is_empty() {
        "is empty"
    } else if text.chars().nth(max).is_some() {
        "is too long"
    } else if text.contains(char::is_control) {
        "has control characters"
    } else {
        return Ok(());
    };
    Err(Error::BadText { what, problem, max })
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
