//! The gate: one pass over a text tells which patterns could match it at all (`security.md` A5). One automaton holds
//! the required literals of every gated test of the set; sets of mandatory bytes and minimum lengths thin out the
//! rest. It only ever says "perhaps" too often, never too rarely; a test over a corpus keeps that true.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::pattern::{ByteSet, Requirement};

/// Lengths from here on are all long enough.
const LENGTHS: usize = 65;

/// A row of bits, one per gated test.
pub(crate) type Row = Box<[u64]>;

pub(crate) struct Gate {
    words: usize,
    literals: Option<AhoCorasick>,
    /// For each literal of the automaton, the tests that ask for it.
    askers: Vec<Vec<u32>>,
    /// Tests without literals.
    unliteral: Row,
    /// For each byte value, the tests that a text with this byte could pass as far as their sets go; tests without a
    /// set are in `unset`.
    by_byte: Vec<Row>,
    unset: Row,
    /// For each length, the tests a text so long can pass.
    by_length: Vec<Row>,
}

impl Gate {
    pub(crate) fn new(requirements: &[Requirement]) -> Self {
        let words = requirements.len().div_ceil(64).max(1);
        let empty = || vec![0_u64; words].into_boxed_slice();
        let mut texts: Vec<(Vec<u8>, u32)> = Vec::new();
        let mut unliteral = empty();
        let mut by_byte: Vec<Row> = (0..256).map(|_| empty()).collect();
        let mut unset = empty();
        let mut by_length: Vec<Row> = (0..LENGTHS).map(|_| empty()).collect();
        for (test, requirement) in (0_u32..).zip(requirements) {
            if requirement.literals.is_empty() {
                set(&mut unliteral, test);
            }
            texts.extend(requirement.literals.iter().map(|literal| (literal.clone(), test)));
            match requirement.bytes {
                None => set(&mut unset, test),
                Some(bytes) => {
                    for byte in bytes.iter() {
                        by_byte.get_mut(usize::from(byte)).into_iter().for_each(|row| set(row, test));
                    }
                }
            }
            for (length, row) in by_length.iter_mut().enumerate() {
                if length >= requirement.length_min.min(LENGTHS - 1) {
                    set(row, test);
                }
            }
        }
        texts.sort();
        let mut patterns: Vec<Vec<u8>> = Vec::new();
        let mut askers: Vec<Vec<u32>> = Vec::new();
        for (text, test) in texts {
            if patterns.last() != Some(&text) {
                patterns.push(text);
                askers.push(Vec::new());
            }
            if let Some(last) = askers.last_mut() {
                last.push(test);
            }
        }
        let literals = (!patterns.is_empty())
            .then(|| {
                AhoCorasick::builder()
                    .ascii_case_insensitive(true)
                    .match_kind(MatchKind::Standard)
                    .kind(Some(AhoCorasickKind::ContiguousNFA))
                    .build(&patterns)
                    .ok()
            })
            .flatten();
        if literals.is_none() {
            // Without the automaton nothing may be shut out by literals.
            unliteral.iter_mut().for_each(|word| *word = u64::MAX);
        }
        Self { words, literals, askers, unliteral, by_byte, unset, by_length }
    }

    /// How many words a row has.
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// Appends the row of tests that `text` could pass.
    pub(crate) fn candidates(&self, text: &[u8], bytes: &ByteSet, rows: &mut Vec<u64>) {
        let start = rows.len();
        rows.extend_from_slice(&self.unset);
        let Some(row) = rows.get_mut(start..) else { return };
        // The tests whose set the text meets; usually a text has few different bytes.
        for byte in bytes.iter() {
            if let Some(tests) = self.by_byte.get(usize::from(byte)) {
                row.iter_mut().zip(tests).for_each(|(word, tests)| *word |= tests);
            }
        }
        if let Some(long_enough) = self.by_length.get(text.len().min(LENGTHS - 1)) {
            row.iter_mut().zip(long_enough).for_each(|(word, tests)| *word &= tests);
        }
        // Literals are looked for only while a test that asks for one is left.
        let Some(literals) = &self.literals else { return };
        if row.iter().zip(&self.unliteral).all(|(word, unliteral)| word & !unliteral == 0) {
            return;
        }
        // What is found is collected behind the row, so that nothing is allocated for it.
        rows.extend_from_slice(&self.unliteral);
        let Some((row, found)) = rows.get_mut(start..).and_then(|both| both.split_at_mut_checked(self.words))
        else {
            return;
        };
        for literal in literals.find_overlapping_iter(text) {
            for test in self.askers.get(literal.pattern().as_usize()).into_iter().flatten() {
                set(found, *test);
            }
        }
        row.iter_mut().zip(found.iter()).for_each(|(word, found)| *word &= found);
        rows.truncate(start + self.words);
    }
}

/// Sets a bit.
pub(crate) fn set(row: &mut [u64], bit: u32) {
    if let Some(word) = row.get_mut((bit / 64) as usize) {
        *word |= 1 << (bit % 64);
    }
}

/// Whether a bit is set.
pub(crate) fn is_set(row: &[u64], bit: u32) -> bool {
    row.get((bit / 64) as usize).is_some_and(|word| word & (1 << (bit % 64)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;

    #[test]
    fn a_text_that_matches_is_always_a_candidate() {
        let patterns: Vec<Pattern> = [
            "union\\s+select",
            "(?i)<script[^>]*>",
            "\\d'\\s*or",
            "^$",
            ".{5,}x",
            "(?:foo|bar)baz",
            "[;|]\\s*ls",
        ]
        .iter()
        .map(|text| Pattern::parse(text).unwrap())
        .collect();
        let gate = Gate::new(&patterns.iter().map(Pattern::requirement).collect::<Vec<_>>());
        for text in
            ["1 union  select 2", "<ScRiPt x>", "1' or", "", "abcdefx", "foobaz", "a;ls", "nothing here", "a"]
        {
            let mut row = Vec::new();
            gate.candidates(text.as_bytes(), &ByteSet::of(text.as_bytes()), &mut row);
            for (test, pattern) in (0_u32..).zip(&patterns) {
                if pattern.find(text.as_bytes()).unwrap() {
                    assert!(is_set(&row, test), "{text:?} {pattern:?}");
                }
            }
        }
        let mut row = Vec::new();
        gate.candidates(b"plain", &ByteSet::of(b"plain"), &mut row);
        assert_eq!(row[0], 1 << 3, "only the one that asks for nothing");
    }
}
