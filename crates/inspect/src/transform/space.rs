//! White space, zero bytes, letter case.

use memchr::memchr;

use super::is_space;

/// White space here includes the no-break space of Latin-1.
fn is_blank(byte: u8) -> bool {
    is_space(byte) || byte == 0xa0
}

/// Runs of white space become one space.
pub(super) fn compress(input: &[u8], output: &mut Vec<u8>) -> bool {
    let mut changed = false;
    let mut before = false;
    for &byte in input {
        if !is_blank(byte) {
            output.push(byte);
            before = false;
            continue;
        }
        changed |= before || byte != b' ';
        if !before {
            output.push(b' ');
        }
        before = true;
    }
    changed
}

/// All white space goes.
pub(super) fn remove(input: &[u8], output: &mut Vec<u8>) -> bool {
    output.extend(input.iter().copied().filter(|byte| !is_blank(*byte)));
    output.len() != input.len()
}

/// All zero bytes go.
pub(super) fn remove_nulls(input: &[u8], output: &mut Vec<u8>) -> bool {
    if memchr(0, input).is_none() {
        return false;
    }
    output.extend(input.iter().copied().filter(|byte| *byte != 0));
    true
}

/// Zero bytes become spaces.
pub(super) fn replace_nulls(input: &[u8], output: &mut Vec<u8>) -> bool {
    if memchr(0, input).is_none() {
        return false;
    }
    output.extend(input.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }));
    true
}

/// ASCII letters become small.
pub(super) fn lowercase(input: &[u8], output: &mut Vec<u8>) -> bool {
    if !input.iter().any(u8::is_ascii_uppercase) {
        return false;
    }
    output.extend(input.iter().map(u8::to_ascii_lowercase));
    true
}

/// ASCII letters become capital.
pub(super) fn uppercase(input: &[u8], output: &mut Vec<u8>) -> bool {
    if !input.iter().any(u8::is_ascii_lowercase) {
        return false;
    }
    output.extend(input.iter().map(u8::to_ascii_uppercase));
    true
}

/// White space at both ends goes.
pub(super) fn trim(input: &[u8], output: &mut Vec<u8>) -> bool {
    keep(input, without_end(without_start(input)), output)
}

/// White space at the start goes.
pub(super) fn trim_left(input: &[u8], output: &mut Vec<u8>) -> bool {
    keep(input, without_start(input), output)
}

/// White space at the end goes.
pub(super) fn trim_right(input: &[u8], output: &mut Vec<u8>) -> bool {
    keep(input, without_end(input), output)
}

fn keep(input: &[u8], kept: &[u8], output: &mut Vec<u8>) -> bool {
    output.extend_from_slice(kept);
    kept.len() != input.len()
}

fn without_start(input: &[u8]) -> &[u8] {
    let start = input.iter().position(|byte| !is_space(*byte)).unwrap_or(input.len());
    input.get(start..).unwrap_or_default()
}

fn without_end(input: &[u8]) -> &[u8] {
    let end = input.iter().rposition(|byte| !is_space(*byte)).map_or(0, |at| at + 1);
    input.get(..end).unwrap_or_default()
}
