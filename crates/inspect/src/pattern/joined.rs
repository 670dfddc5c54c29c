//! One search over many texts: they are written one behind the other with a separator between two, and the pattern is
//! changed so that its anchors hold at separators too. Whatever matches one of the texts matches there; a match across
//! a separator is a false "perhaps", after which each text is asked on its own.
//!
//! The separator is no word character, so that a word boundary at the end of a text is one in front of it.

use regex_automata::meta;
use regex_syntax::hir::{Hir, HirKind, Look, Repetition};

/// Stands between two texts. No UTF-8 text contains it, and few patterns step over it.
pub(crate) const SEPARATOR: u8 = 0xff;

/// How a pattern is asked of several texts at once.
pub(super) enum Joined {
    /// By an automaton of its own, in which anchors hold at separators.
    Own(meta::Regex),
    /// As it is: it has no anchors.
    Same,
    /// Not at all.
    Unknown,
}

impl Joined {
    pub(super) fn of(tree: &Hir) -> Self {
        let looks = tree.properties().look_set();
        if looks.is_empty() {
            return Self::Same;
        }
        let Some(changed) = at_separators(tree) else { return Self::Unknown };
        let config = super::config().line_terminator(SEPARATOR);
        meta::Builder::new().configure(config).build_from_hir(&changed).map_or(Self::Unknown, Self::Own)
    }
}

/// The tree with anchors that hold at separators, and without groups; `None` where it has anchors of lines, which end
/// at line feeds and not at separators.
fn at_separators(tree: &Hir) -> Option<Hir> {
    Some(match tree.kind() {
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) => tree.clone(),
        HirKind::Look(Look::Start) => Hir::look(Look::StartLF),
        HirKind::Look(Look::End) => Hir::look(Look::EndLF),
        HirKind::Look(Look::StartLF | Look::EndLF | Look::StartCRLF | Look::EndCRLF) => return None,
        HirKind::Look(look) => Hir::look(*look),
        HirKind::Repetition(repetition) => Hir::repetition(Repetition {
            sub: Box::new(at_separators(&repetition.sub)?),
            ..repetition.clone()
        }),
        HirKind::Capture(capture) => at_separators(&capture.sub)?,
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(at_separators).collect::<Option<_>>()?),
        HirKind::Alternation(parts) => {
            Hir::alternation(parts.iter().map(at_separators).collect::<Option<_>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;

    const PATTERNS: [&str; 9] =
        ["^a", "a$", "^$", "\\bor\\b", "\\Bx", "(?i)union\\s+select", "^(?:ab|cd)+$", "[^0-9]$", "(?m)^b$"];

    proptest::proptest! {
        #[test]
        fn what_matches_one_text_matches_the_joined_texts(
            texts in proptest::collection::vec(
                proptest::collection::vec(proptest::prop_oneof![
                    proptest::sample::select(b"abcdor x\n1_-\xff".to_vec()),
                    proptest::prelude::any::<u8>(),
                ], 0..6),
                1..5,
            )
        ) {
            let joined = texts.join(&SEPARATOR);
            for text in PATTERNS {
                let pattern = Pattern::parse(text).unwrap();
                if texts.iter().any(|text| pattern.find(text).unwrap()) {
                    proptest::prop_assert!(pattern.may_match_joined(&joined), "{text} {joined:?}");
                }
            }
        }
    }

    #[test]
    fn texts_without_a_match_are_told_apart() {
        for text in ["^b", "a$", "\\bor\\b"] {
            assert!(!Pattern::parse(text).unwrap().may_match_joined(b"ab\xffword"), "{text}");
        }
    }
}
