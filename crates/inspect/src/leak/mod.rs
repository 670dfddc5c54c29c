//! What must not leave: credentials, private keys, stack traces and errors of databases in bodies of responses.
//!
//! One automaton over all beginnings finds where something could stand; an exact reader of that form, with whatever
//! check the form has, decides. Time is linear: a reader looks at a bounded piece, and what was found is not read
//! again. A finding is a class and a place; no value is kept, printed or returned.

mod class;
mod secret;
mod stream;
mod trace;
mod weave;

use std::{collections::BTreeMap, ops::Range};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
pub use class::{LeakClass, LeakGroup};
use secret::Opening;
pub use stream::{EVENTS_HELD_BYTES, LeakStream, STREAM_HELD_BYTES};

/// 10,000 findings of one body are told; all are masked.
const FINDINGS_MAX: usize = 10_000;

/// What stands in the place of a masked byte: nothing in JSON, HTML, CSV or a log means anything by it.
const MASK: u8 = b'*';

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// What it is.
    pub class: LeakClass,
    /// Where it stands in the body, in bytes.
    pub place: Range<usize>,
}

/// What was found in a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaks {
    /// The findings in order, none overlapping another.
    pub found: Vec<Leak>,
    /// How many more there are than are told.
    pub more: usize,
}

impl Leaks {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many of each class.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<LeakClass, usize> {
        let mut counts = BTreeMap::new();
        for leak in &self.found {
            *counts.entry(leak.class).or_default() += 1;
        }
        counts
    }
}

/// A reader of one form: given a text and where its beginning was found, the whole of it.
type Reader = fn(&[u8], Range<usize>) -> Option<Range<usize>>;

/// A beginning (or another part that every text of the form has), what it would be, and who reads it.
struct Anchor {
    text: &'static [u8],
    class: LeakClass,
    read: Reader,
}

/// Looks for the classes it was made for.
pub struct LeakScanner {
    automaton: Option<AhoCorasick>,
    anchors: Vec<Anchor>,
}

impl std::fmt::Debug for LeakScanner {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "LeakScanner of {} beginnings", self.anchors.len())
    }
}

impl LeakScanner {
    /// A scanner for some classes.
    ///
    /// # Errors
    /// When the automaton cannot be built, which the number of beginnings excludes.
    pub fn new(classes: &[LeakClass]) -> Result<Self, aho_corasick::BuildError> {
        let anchors: Vec<Anchor> = secret::anchors()
            .chain(trace::anchors())
            .filter(|anchor| classes.contains(&anchor.class))
            .collect();
        let automaton = if anchors.is_empty() {
            None
        } else {
            Some(
                AhoCorasick::builder()
                    .match_kind(MatchKind::Standard)
                    .kind(Some(AhoCorasickKind::ContiguousNFA))
                    .build(anchors.iter().map(|anchor| anchor.text))?,
            )
        };
        Ok(Self { automaton, anchors })
    }

    /// What stands in a body.
    #[must_use]
    pub fn scan(&self, body: &[u8]) -> Leaks {
        let mut leaks = Leaks::default();
        self.each(body, |leak| {
            if leaks.found.len() < FINDINGS_MAX {
                leaks.found.push(leak);
            } else {
                leaks.more += 1;
            }
        });
        leaks
    }

    /// Replaces every byte of what stands in a body; its length and everything else stay. A JSON document stays one.
    pub fn mask(&self, body: &mut [u8]) -> Leaks {
        let leaks = self.scan(body);
        let mut hide =
            |place: Range<usize>| body.get_mut(place).into_iter().for_each(|bytes| bytes.fill(MASK));
        leaks.found.iter().for_each(|leak| hide(leak.place.clone()));
        if leaks.more > 0 {
            // Those that were counted only: rare, and worth another walk.
            let mut places = Vec::new();
            self.each(body, |leak| places.push(leak.place));
            places.into_iter().for_each(|place| {
                body.get_mut(place).into_iter().for_each(|bytes| bytes.fill(MASK));
            });
        }
        leaks
    }

    /// The first thing in a text that began, and of which more text could make a secret.
    fn opening(&self, text: &[u8]) -> Option<Opening> {
        let found = self.automaton.iter().flat_map(|automaton| automaton.find_overlapping_iter(text));
        let openings = found.filter_map(|found| {
            let anchor = self.anchors.get(found.pattern().as_usize())?;
            Opening::at(text, found.start()..found.end(), anchor.class)
        });
        openings.min_by_key(|opening| opening.start)
    }

    fn each(&self, body: &[u8], mut tell: impl FnMut(Leak)) {
        let Some(automaton) = &self.automaton else { return };
        let mut last: Option<Leak> = None;
        for found in automaton.find_overlapping_iter(body) {
            // What lies in the last finding was read with it.
            if last.as_ref().is_some_and(|last| found.start() < last.place.end) {
                continue;
            }
            let Some(anchor) = self.anchors.get(found.pattern().as_usize()) else { continue };
            let Some(place) = (anchor.read)(body, found.start()..found.end()) else { continue };
            let start = place.start.max(last.as_ref().map_or(0, |last| last.place.end));
            if start >= place.end {
                continue;
            }
            let next = Leak { class: anchor.class, place: start..place.end };
            last.replace(next).into_iter().for_each(&mut tell);
        }
        last.into_iter().for_each(&mut tell);
    }
}

#[cfg(test)]
mod tests;
