//! The line in which something stands, short enough to show.

use std::ops::Range;

use bartizan_model::problem::Span;

use super::veil;

/// How much of a long line is shown before and behind the place.
const BEFORE: usize = 60;
const BEHIND: usize = 120;

/// A line, and the part of it that is meant.
pub(super) struct Excerpt {
    pub(super) line: String,
    pub(super) span: Range<usize>,
}

/// The line of `at`; what spans more lines is marked to the end of its first. `hidden` veils the place itself.
pub(super) fn excerpt(text: &str, at: &Span, hidden: bool) -> Option<Excerpt> {
    let start = usize::try_from(at.start).ok()?;
    let end = usize::try_from(at.end).ok()?.max(start);
    let (before, behind) = text.split_at_checked(start)?;
    let head = before.rsplit('\n').next().unwrap_or_default();
    let tail = behind.split('\n').next().unwrap_or_default().trim_end_matches('\r');
    let length = (end - start).min(tail.len());
    let line = veil::line(&format!("{head}{tail}"));
    let (mut line, start) = (line, head.len());
    if hidden {
        line = veil::range(&line, start..line.len());
    }
    Some(shortened(&line, start..start + length))
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
