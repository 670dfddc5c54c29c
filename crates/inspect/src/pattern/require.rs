//! What any text matching a pattern must contain: one of some literals, at least one byte of a set, a minimum
//! length. A text that lacks any of these cannot match, so the pattern need not run (`security.md` A5). Everything
//! here is an over-approximation; literals are compared without regard to ASCII case.

use regex_syntax::hir::{Class, Hir, HirKind};

/// 32: more alternatives than this for one piece of a pattern are not multiplied out.
const EXACT_MAX: usize = 32;
/// 2,000: a required set of more literals costs more memory than it saves time.
const LITERALS_MAX: usize = 2_000;
/// 24 bytes of a literal tell enough.
const LITERAL_BYTES_MAX: usize = 24;
/// 4: the rarest sets tell most; each more costs a look at every value.
const SETS_MAX: usize = 4;

/// A set of byte values.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(crate) fn insert(&mut self, byte: u8) {
        if let Some(word) = self.0.get_mut(usize::from(byte >> 6)) {
            *word |= 1 << (byte & 63);
        }
    }

    #[cfg(test)]
    pub(crate) fn contains(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte >> 6)).is_some_and(|word| word & (1 << (byte & 63)) != 0)
    }

    pub(crate) fn meets(&self, other: &Self) -> bool {
        let [a0, a1, a2, a3] = self.0;
        let [b0, b1, b2, b3] = other.0;
        (a0 & b0) | (a1 & b1) | (a2 & b2) | (a3 & b3) != 0
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        let [a0, a1, a2, a3] = self.0;
        let [b0, b1, b2, b3] = other.0;
        Self([a0 | b0, a1 | b1, a2 | b2, a3 | b3])
    }

    fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// How often such a byte occurs in ordinary values, roughly: letters and digits weigh most.
    fn weight(&self) -> u32 {
        let common = (b'a'..=b'z').chain(b'A'..=b'Z').chain(b'0'..=b'9').chain(*b" .,-_/:;=()");
        let mut set = Self::default();
        common.for_each(|byte| set.insert(byte));
        let [a0, a1, a2, a3] = self.0;
        let [b0, b1, b2, b3] = set.0;
        let shared = Self([a0 & b0, a1 & b1, a2 & b2, a3 & b3]);
        self.len() + 8 * shared.len()
    }

    /// A set of which every one of the words, in any case, has a byte: the rarest of each.
    pub(crate) fn of_some(words: &[Vec<u8>]) -> Option<Self> {
        words.iter().try_fold(Self::default(), |mut set, word| {
            let rarest = word.iter().min_by_key(|byte| Self::of(&[**byte]).weight())?;
            set.insert(rarest.to_ascii_lowercase());
            set.insert(rarest.to_ascii_uppercase());
            Some(set)
        })
    }

    fn is_within(&self, other: &Self) -> bool {
        self.union(other) == *other
    }

    pub(crate) const NONE: Self = Self([0; 4]);
    pub(crate) const ALL: Self = Self([u64::MAX; 4]);

    pub(crate) fn of(text: &[u8]) -> Self {
        let mut set = Self::default();
        for byte in text {
            set.insert(*byte);
        }
        set
    }
}

/// What a matching text must contain.
#[derive(Clone, Default)]
pub(crate) struct Requirement {
    /// At least one of these, in lower case, compared without case; empty when none is known.
    pub(crate) literals: Vec<Vec<u8>>,
    /// At least one byte of each of these sets, the rarest first.
    pub(crate) sets: Vec<ByteSet>,
    /// At least this many bytes.
    pub(crate) length_min: usize,
}

impl Requirement {
    /// At least one byte of a set, and nothing else.
    pub(crate) fn one_of(bytes: ByteSet) -> Self {
        Self { literals: Vec::new(), sets: vec![bytes], length_min: 1 }
    }

    pub(crate) fn of(hir: &Hir) -> Self {
        let part = analyse(hir);
        let literals = part.best().unwrap_or_default();
        let usable = literals.len() <= LITERALS_MAX && literals.iter().all(|literal| literal.len() >= 2);
        Self {
            literals: if usable { literals } else { Vec::new() },
            sets: part.sets,
            length_min: hir.properties().minimum_len().unwrap_or(0),
        }
    }
}

/// What is known of one piece of a pattern.
#[derive(Clone)]
struct Known {
    /// Exactly the texts it can match, in lower case.
    exact: Option<Vec<Vec<u8>>>,
    /// A set of which one literal occurs.
    required: Option<Vec<Vec<u8>>>,
    /// Sets of each of which one byte occurs, the rarest first.
    sets: Vec<ByteSet>,
}

impl Known {
    fn nothing() -> Self {
        Self { exact: None, required: None, sets: Vec::new() }
    }

    fn empty() -> Self {
        Self { exact: Some(vec![Vec::new()]), required: None, sets: Vec::new() }
    }

    fn best(&self) -> Option<Vec<Vec<u8>>> {
        better(
            self.exact.clone().filter(|exact| exact.iter().all(|text| !text.is_empty())),
            self.required.clone(),
        )
    }
}

/// The longer shortest literal wins, then the smaller set.
fn better(one: Option<Vec<Vec<u8>>>, two: Option<Vec<Vec<u8>>>) -> Option<Vec<Vec<u8>>> {
    let score = |set: &[Vec<u8>]| {
        let shortest = set.iter().map(Vec::len).min().unwrap_or(0).min(6);
        (shortest, usize::MAX - set.len())
    };
    match (one, two) {
        (Some(one), Some(two)) => Some(if score(&one) >= score(&two) { one } else { two }),
        (one, two) => one.or(two),
    }
}

fn analyse(hir: &Hir) -> Known {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Known::empty(),
        HirKind::Literal(literal) => {
            let text = literal.0.to_ascii_lowercase();
            let sets = rarest(literal.0.iter().map(|byte| ByteSet::of(&[*byte])).collect());
            if text.len() > LITERAL_BYTES_MAX {
                let cut = text.get(..LITERAL_BYTES_MAX).unwrap_or_default().to_vec();
                return Known { exact: None, required: Some(vec![cut]), sets };
            }
            Known { exact: Some(vec![text]), required: None, sets }
        }
        HirKind::Class(class) => class_known(class),
        HirKind::Repetition(repetition) => {
            if repetition.min == 0 {
                // `(...)?` of a small exact set keeps the set exact.
                let inner = analyse(&repetition.sub);
                if repetition.max == Some(1)
                    && let Some(mut exact) = inner.exact
                    && exact.len() < EXACT_MAX
                {
                    exact.push(Vec::new());
                    return Known { exact: Some(exact), required: None, sets: Vec::new() };
                }
                return Known::nothing();
            }
            let inner = analyse(&repetition.sub);
            if repetition.min == 1 && repetition.max == Some(1) {
                return inner;
            }
            let required = inner.best();
            Known { exact: None, required, sets: inner.sets }
        }
        HirKind::Capture(capture) => analyse(&capture.sub),
        HirKind::Concat(parts) => concat(parts),
        HirKind::Alternation(parts) => alternation(parts),
    }
}

fn class_known(class: &Class) -> Known {
    let mut members = ByteSet::default();
    let mut folded = ByteSet::default();
    match class {
        Class::Bytes(class) => {
            for range in class.ranges() {
                for byte in range.start()..=range.end() {
                    members.insert(byte);
                    folded.insert(byte.to_ascii_lowercase());
                }
            }
        }
        // Without Unicode mode there are none; nothing is claimed about them.
        Class::Unicode(_) => return Known::nothing(),
    }
    let exact = (folded.len() <= 4).then(|| {
        (0..=255).filter(|byte| ByteSet::of(&[*byte]).meets(&folded)).map(|byte| vec![byte]).collect()
    });
    Known { exact, required: None, sets: vec![members] }
}

fn concat(parts: &[Hir]) -> Known {
    let mut running: Vec<Vec<u8>> = vec![Vec::new()];
    let mut whole = true;
    let mut required: Option<Vec<Vec<u8>>> = None;
    let mut sets: Vec<ByteSet> = Vec::new();
    for part in parts {
        let known = analyse(part);
        sets.extend(known.sets);
        required = better(required, known.required);
        match known.exact {
            Some(exact)
                if running.len() * exact.len() <= EXACT_MAX
                    && longest(&running) + longest(&exact) <= LITERAL_BYTES_MAX =>
            {
                running = product(&running, &exact);
            }
            Some(exact) => {
                whole = false;
                required = better(required, non_empty(std::mem::replace(&mut running, exact)));
            }
            None => {
                whole = false;
                required = better(required, non_empty(std::mem::replace(&mut running, vec![Vec::new()])));
            }
        }
    }
    let sets = rarest(sets);
    if whole {
        return Known { exact: Some(running), required, sets };
    }
    Known { exact: None, required: better(required, non_empty(running)), sets }
}

fn alternation(parts: &[Hir]) -> Known {
    let known: Vec<Known> = parts.iter().map(analyse).collect();
    // Whichever alternative matches, a byte of its first set occurs, one of its second, and so on.
    let of_all = |nth: usize| {
        known.iter().try_fold(ByteSet::default(), |all, part| Some(all.union(part.sets.get(nth)?)))
    };
    let sets = rarest((0..SETS_MAX).map_while(of_all).collect());
    let exact = known
        .iter()
        .try_fold(Vec::new(), |mut all: Vec<Vec<u8>>, part| {
            all.extend(part.exact.clone()?);
            (all.len() <= LITERALS_MAX).then_some(all)
        })
        .map(distinct);
    let required = known
        .iter()
        .try_fold(Vec::new(), |mut all: Vec<Vec<u8>>, part| {
            all.extend(part.best()?);
            (all.len() <= LITERALS_MAX).then_some(all)
        })
        .map(distinct);
    Known { exact, required, sets }
}

fn product(left: &[Vec<u8>], right: &[Vec<u8>]) -> Vec<Vec<u8>> {
    distinct(
        left.iter().flat_map(|head| right.iter().map(move |tail| [head.as_slice(), tail].concat())).collect(),
    )
}

fn distinct(mut set: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    set.sort_unstable();
    set.dedup();
    set
}

fn longest(set: &[Vec<u8>]) -> usize {
    set.iter().map(Vec::len).max().unwrap_or(0)
}

fn non_empty(set: Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
    (!set.is_empty() && set.iter().all(|text| !text.is_empty())).then_some(set)
}

/// The rarest sets; one that holds another tells nothing beside it.
fn rarest(mut sets: Vec<ByteSet>) -> Vec<ByteSet> {
    sets.sort_by_key(ByteSet::weight);
    let mut kept: Vec<ByteSet> = Vec::new();
    for set in sets {
        if kept.len() < SETS_MAX && set != ByteSet::ALL && !kept.iter().any(|rarer| rarer.is_within(&set)) {
            kept.push(set);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::ByteSet;
    use crate::pattern::Pattern;

    fn literals(pattern: &str) -> Vec<String> {
        let requirement = Pattern::parse(pattern).unwrap().requirement();
        requirement.literals.into_iter().map(|text| String::from_utf8(text).unwrap()).collect()
    }

    #[test]
    fn the_longest_mandatory_literal_is_found() {
        assert_eq!(literals("a+select[^x]*from"), ["select"]);
        assert_eq!(literals("(?i)UNION(?:\\s+all)?\\s+select"), ["select"]);
        assert_eq!(literals("(?:foo|barz)\\d"), ["barz", "foo"]);
        assert_eq!(literals("x?(?:foo)?"), Vec::<String>::new());
    }

    #[test]
    fn the_mandatory_byte_and_length_are_found() {
        let requirement = Pattern::parse("\\w+'\\s*or").unwrap().requirement();
        let [quote, ..] = requirement.sets.as_slice() else { panic!("no set") };
        assert!(quote.contains(b'\'') && !quote.contains(b'o'));
        assert_eq!(requirement.length_min, 4);
    }

    #[test]
    fn of_several_mandatory_bytes_the_rarest_are_asked_for_together() {
        let sets = |pattern: &str| Pattern::parse(pattern).unwrap().requirement().sets;
        let meets =
            |pattern: &str, text: &[u8]| sets(pattern).iter().all(|set| set.meets(&ByteSet::of(text)));
        assert!(
            meets("[0-9]+\\s*'\\s*=", b"1'=")
                && !meets("[0-9]+\\s*'\\s*=", b"1=")
                && !meets("[0-9]+\\s*'\\s*=", b"'=")
        );
        let either = "(?:<[a-z]|[|]\\d)";
        assert!(
            meets(either, b"<a") && meets(either, b"|1") && !meets(either, b"a1") && !meets(either, b"<|")
        );
        assert!(sets("(?:a'|)").is_empty() && sets(".*").is_empty());
    }

    #[test]
    fn an_optional_part_requires_nothing() {
        let requirement = Pattern::parse("(?:abc)*").unwrap().requirement();
        assert!(
            requirement.literals.is_empty() && requirement.sets.is_empty() && requirement.length_min == 0
        );
    }
}
