//! From the parser's counting (characters) to ours (bytes, lines, columns), without walking a long line twice.

use bartizan_model::problem::{FileId, Span};
use saphyr_parser::Marker;

/// A byte offset is kept for every so many characters.
const STEP: usize = 64;

/// The places of one text.
pub(super) struct Places<'a> {
    file: FileId,
    text: &'a str,
    /// The byte of every [`STEP`]th character.
    steps: Vec<u32>,
    /// The character at which each line begins.
    lines: Vec<u32>,
    /// How many characters there are.
    characters: usize,
    /// Where the parsed text is two characters shorter than the file's, in characters of the parsed text.
    shifts: Vec<usize>,
}

impl<'a> Places<'a> {
    pub(super) fn new(file: FileId, text: &'a str, shifts: Vec<usize>) -> Self {
        let (mut steps, mut lines, mut characters) = (Vec::new(), vec![0], 0);
        for (byte, character) in text.char_indices() {
            if characters % STEP == 0 {
                steps.push(narrow(byte));
            }
            characters += 1;
            if character == '\n' {
                lines.push(narrow(characters));
            }
        }
        Places { file, text, steps, lines, characters, shifts }
    }

    /// The place of what the parser found.
    pub(super) fn span(&self, span: &saphyr_parser::Span) -> Span {
        let (start, end) = (self.character(&span.start), self.character(&span.end));
        let (line, column) = self.line(start);
        let (start, end) = (self.byte(start), self.byte(end));
        let (start, end) = (start, end.max(start));
        // The parser's span of a block or a mark may include the space after it.
        let found = self.text.get(wide(start)..wide(end)).unwrap_or_default();
        let end = start + narrow(found.trim_end().len());
        Span { file: self.file, start, end, line, column }
    }

    /// The place of one character.
    pub(super) fn point(&self, mark: &Marker) -> Span {
        let character = self.character(mark);
        let (line, column) = self.line(character);
        let (start, end) = (self.byte(character), self.byte(character + 1));
        Span { file: self.file, start, end, line, column }
    }

    /// The text between two bytes; empty where they are not characters' ends.
    pub(super) fn slice(&self, start: u32, end: u32) -> &'a str {
        self.text.get(wide(start)..wide(end)).unwrap_or_default()
    }

    fn character(&self, mark: &Marker) -> usize {
        let shifts = self.shifts.partition_point(|shift| *shift < mark.index());
        (mark.index() + 2 * shifts).min(self.characters)
    }

    fn byte(&self, character: usize) -> u32 {
        let Some(step) = self.steps.get(character / STEP) else { return narrow(self.text.len()) };
        let rest = self.text.get(wide(*step)..).unwrap_or_default();
        match rest.char_indices().nth(character % STEP) {
            Some((byte, _)) => step + narrow(byte),
            None => narrow(self.text.len()),
        }
    }

    fn line(&self, character: usize) -> (u32, u32) {
        let character = narrow(character);
        let line = self.lines.partition_point(|start| *start <= character);
        let start = line.checked_sub(1).and_then(|index| self.lines.get(index)).copied().unwrap_or(0);
        (narrow(line), character - start + 1)
    }
}

/// Offsets fit: a file has at most 4 MiB.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

fn wide(offset: u32) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
