//! The line in which something stands, short enough to show.

use std::ops::Range;

use bartizan_model::problem::Span;

use super::veil::Veiled;

/// How much of a long line is shown before and behind the place.
const BEFORE: usize = 60;
const BEHIND: usize = 120;
/// How much of it is looked at to find what must be veiled.
const LOOKED_AT: usize = 4 * 1024;

/// A line, and the part of it that is meant.
pub(super) struct Excerpt {
    pub(super) line: String,
    pub(super) span: Range<usize>,
}

/// The line of `at`; what spans more lines is marked to the end of its first. Places in `hidden` are veiled, whichever
/// problem the line is shown for.
pub(super) fn excerpt(text: &str, at: &Span, hidden: &[Span]) -> Option<Excerpt> {
    let start = usize::try_from(at.start).ok()?;
    let end = usize::try_from(at.end).ok()?.max(start);
    let (before, behind) = text.split_at_checked(start)?;
    let near = before.get(boundary(before, before.len().saturating_sub(LOOKED_AT))..)?;
    let (head, whole) = match near.rfind('\n') {
        Some(line_break) => (near.get(line_break + 1..)?, true),
        None => (near, near.len() == before.len()),
    };
    let near = behind.get(..boundary(behind, LOOKED_AT.min(behind.len())))?;
    let tail = near.split('\n').next().unwrap_or_default().trim_end_matches('\r');
    // The renderer does not replace the control characters behind ASCII; this sign is as long as they are.
    let line = format!("{head}{tail}").replace(|c| ('\u{80}'..='\u{9f}').contains(&c), "\u{bf}");
    let first = start - head.len();
    let length = line.len();
    let mut veiled = Veiled::new(line, head.len()..head.len() + (end - start).min(tail.len()));
    let mut ranges: Vec<Range<usize>> = hidden
        .iter()
        .filter(|other| other.file == at.file)
        .map(|other| within(other.start, first, length)..within(other.end, first, length))
        .collect();
    // From behind, so that what was veiled does not move what is to be veiled.
    ranges.sort_by_key(|range| std::cmp::Reverse(range.start));
    for range in ranges {
        veiled.hide(range);
    }
    veiled.names();
    veiled.users();
    // Where the line's beginning was not looked at, what stands before the place may be the rest of a secret.
    if !whole {
        veiled.hide(0..veiled.span.start);
    }
    Some(shortened(&veiled.line, veiled.span))
}

/// An offset of the text as one of the line that begins at `first`.
fn within(offset: u32, first: usize, length: usize) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX).saturating_sub(first).min(length)
}

/// The line with what is far from the place left out.
fn shortened(line: &str, span: Range<usize>) -> Excerpt {
    let from = boundary(line, span.start.saturating_sub(BEFORE));
    let to = boundary(line, (span.start + BEHIND).min(line.len()));
    let left = if from > 0 { "…" } else { "" };
    let right = if to < line.len() { "…" } else { "" };
    let shown = line.get(from..to).unwrap_or_default();
    let shift = |offset: usize| offset.clamp(from, to) - from + left.len();
    Excerpt { line: format!("{left}{shown}{right}"), span: shift(span.start)..shift(span.end) }
}

/// The next offset at which a character begins.
fn boundary(line: &str, mut offset: usize) -> usize {
    while offset < line.len() && !line.is_char_boundary(offset) {
        offset += 1;
    }
    offset
}
