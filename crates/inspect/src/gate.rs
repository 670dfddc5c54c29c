//! The gate: which tests could any of some texts pass at all (`security.md` A5). One automaton holds the required
//! literals of every gated test of the set; sets of mandatory bytes and minimum lengths thin out the rest. It only ever
//! says "perhaps" too often, never too rarely; a test over a corpus keeps that true.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::pattern::{ByteSet, Requirement};

/// A row of bits, one per rule or per gated test.
pub(crate) type Row = Box<[u64]>;

pub(crate) struct Gate {
    words: usize,
    literals: Option<AhoCorasick>,
    /// For each literal of the automaton, the tests that ask for it.
    askers: Vec<Vec<u32>>,
    tests: Vec<Asked>,
}

/// What a test asks of a text besides literals.
struct Asked {
    sets: Box<[ByteSet]>,
    length_min: usize,
    literals: bool,
}

impl Gate {
    pub(crate) fn new(requirements: &[Requirement]) -> Self {
        let mut texts: Vec<(Vec<u8>, u32)> = Vec::new();
        for (test, requirement) in (0_u32..).zip(requirements) {
            texts.extend(requirement.literals.iter().map(|literal| (literal.clone(), test)));
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
        let asked = |requirement: &Requirement| Asked {
            sets: requirement.sets.as_slice().into(),
            length_min: requirement.length_min,
            // Without the automaton nothing may be shut out by literals.
            literals: literals.is_some() && !requirement.literals.is_empty(),
        };
        let tests = requirements.iter().map(asked).collect();
        Self { words: requirements.len().div_ceil(64).max(1), literals, askers, tests }
    }

    /// How many words a row has.
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// Whether texts with these bytes, the longest of which has `longest`, could pass a test as far as lengths and
    /// bytes go.
    pub(crate) fn admits(&self, test: u32, bytes: &ByteSet, longest: usize) -> bool {
        self.tests
            .get(test as usize)
            .is_none_or(|asked| longest >= asked.length_min && asked.sets.iter().all(|set| set.meets(bytes)))
    }

    /// Whether a test asks for literals.
    pub(crate) fn asks_for_literals(&self, test: u32) -> bool {
        self.tests.get(test as usize).is_some_and(|asked| asked.literals)
    }

    /// Marks the tests for which a literal occurs in a text.
    pub(crate) fn mark_literals(&self, text: &[u8], row: &mut [u64]) {
        let Some(literals) = &self.literals else { return };
        for literal in literals.find_overlapping_iter(text) {
            for test in self.askers.get(literal.pattern().as_usize()).into_iter().flatten() {
                set(row, *test);
            }
        }
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

    fn admits(gate: &Gate, test: u32, text: &[u8]) -> bool {
        let mut row = vec![0; gate.words()];
        gate.mark_literals(text, &mut row);
        gate.admits(test, &ByteSet::of(text), text.len())
            && (!gate.asks_for_literals(test) || is_set(&row, test))
    }

    #[test]
    fn a_text_that_matches_is_always_let_through() {
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
            for (test, pattern) in (0_u32..).zip(&patterns) {
                if pattern.find(text.as_bytes()).unwrap() {
                    assert!(admits(&gate, test, text.as_bytes()), "{text:?} {pattern:?}");
                }
            }
        }
        let plain: Vec<u32> = (0..7).filter(|test| admits(&gate, *test, b"plain")).collect();
        assert_eq!(plain, [3], "only the one that asks for nothing");
    }
}
