//! Comments of SQL, C, shell and HTML, behind which attacks hide.

use memchr::{memchr, memmem};

/// `/* … */` becomes one space; so does an unclosed one, to the end.
pub(super) fn replace(input: &[u8], output: &mut Vec<u8>) -> bool {
    let mut rest = input;
    let mut changed = false;
    while let Some(at) = memmem::find(rest, b"/*") {
        changed = true;
        output.extend_from_slice(rest.get(..at).unwrap_or_default());
        output.push(b' ');
        let inside = rest.get(at + 2..).unwrap_or_default();
        rest = match memmem::find(inside, b"*/") {
            Some(end) => inside.get(end + 2..).unwrap_or_default(),
            None => &[],
        };
    }
    output.extend_from_slice(rest);
    changed
}

/// `/* … */` and `<!-- … -->` go; `--` and `#` end the text.
pub(super) fn remove(input: &[u8], output: &mut Vec<u8>) -> bool {
    let mut rest = input;
    while let Some(&byte) = rest.first() {
        let (open, close): (usize, &[u8]) = if rest.starts_with(b"/*") {
            (2, b"*/")
        } else if rest.starts_with(b"<!--") {
            (4, b"-->")
        } else if rest.starts_with(b"--") || byte == b'#' {
            return true;
        } else {
            output.push(byte);
            rest = rest.get(1..).unwrap_or_default();
            continue;
        };
        let inside = rest.get(open..).unwrap_or_default();
        rest = match memmem::find(inside, close) {
            Some(end) => inside.get(end + close.len()..).unwrap_or_default(),
            None => &[],
        };
    }
    output.len() != input.len()
}

/// The signs that open and close comments go; what is between them stays.
pub(super) fn remove_signs(input: &[u8], output: &mut Vec<u8>) -> bool {
    const SIGNS: [&[u8]; 6] = [b"/*", b"*/", b"<!--", b"-->", b"--", b"#"];
    if memchr(b'#', input).is_none() && memchr(b'-', input).is_none() && memchr(b'*', input).is_none() {
        return false;
    }
    let mut rest = input;
    while let Some(&byte) = rest.first() {
        let length = match SIGNS.iter().find(|sign| rest.starts_with(sign)) {
            Some(sign) => sign.len(),
            None => {
                output.push(byte);
                1
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    output.len() != input.len()
}
