//! From nodes to typed documents, collecting problems without stopping at the first.
//!
//! [`Read`] is what `serde::Deserialize` cannot be: it knows the place of every value, reports everything that is
//! wrong in one run, and describes itself ([`Shape`]). Structs and enums get it from [`document!`](crate::document),
//! [`choice!`](crate::choice) and [`union!`](crate::union); what those share lives in [`Fields`].

use std::{collections::BTreeMap, fmt::Write as _, ops::Deref};

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    node::{Key, Node, Value},
    problem::{Code, Problem, Problems, Span, clipped, shown},
    shape::{self, Shape, one_of},
};

/// A type that can be read from a document.
pub trait Read: Sized {
    /// Reads a value. `None` means that at least one problem was pushed; `Some` does not mean that none was (an
    /// unknown field is reported and the rest is read), so whether a set is accepted is asked of `problems` alone.
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self>;

    /// What a valid value looks like.
    fn shape() -> Shape;

    /// What a field of this type holds when it is not written; `None` when it must be written.
    fn absent() -> Option<Self> {
        None
    }

    /// Whether this value would not be written.
    fn is_absent(&self) -> bool {
        false
    }
}

/// Types whose fields may always be left out.
pub trait Optional {
    /// The value of a field that is not written.
    fn unwritten() -> Self;
}

impl<T> Optional for Option<T> {
    fn unwritten() -> Self {
        None
    }
}

// === Path ===

/// The path from a document's root to a value, as `spec.limits[0].timeWindow`.
#[derive(Clone, Debug, Default)]
pub struct Path(String);

impl Path {
    /// The root of a document.
    pub fn root() -> Self {
        Path::default()
    }

    /// Runs `inside` with the path of the field `name`.
    pub fn field<R>(&mut self, name: &str, inside: impl FnOnce(&mut Path) -> R) -> R {
        let length = self.0.len();
        self.push(name);
        let result = inside(self);
        self.0.truncate(length);
        result
    }

    /// The path of the field `name`, as text.
    pub fn child(&self, name: &str) -> String {
        let mut child = self.clone();
        child.push(name);
        child.0
    }

    fn push(&mut self, name: &str) {
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        if !plain {
            // Writing to a String cannot fail.
            let _ = write!(self.0, "[\"{}\"]", clipped(name));
        } else {
            if !self.0.is_empty() {
                self.0.push('.');
            }
            self.0.push_str(&clipped(name));
        }
    }

    /// Runs `inside` with the path of item `index`.
    pub fn index<R>(&mut self, index: usize, inside: impl FnOnce(&mut Path) -> R) -> R {
        let length = self.0.len();
        // Writing to a String cannot fail.
        let _ = write!(self.0, "[{index}]");
        let result = inside(self);
        self.0.truncate(length);
        result
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A problem at this path.
    pub fn problem(&self, code: Code, at: Span, message: impl Into<String>) -> Problem {
        Problem::new(code, at, self.0.as_str(), message)
    }
}

// === What readers share ===

/// The problem that a value of another type was found, with a hint where the cause is plain.
pub fn wrong_type(node: &Node, shape: &Shape, at: &Path) -> Problem {
    let problem = at.problem(
        Code::WrongType,
        node.at,
        format!("expected {}, found {}", shape.expected(), node.value.found()),
    );
    match (&node.value, shape) {
        (Value::Integer(text) | Value::Float(text), Shape::Text { .. } | Shape::Choice { .. }) => {
            problem.hint(format!("put it in quotes if text is meant: `\"{}\"`", clipped(text)))
        }
        (Value::Bool(value), Shape::Text { .. } | Shape::Choice { .. }) => {
            problem.hint(format!("put it in quotes if text is meant: `\"{value}\"`"))
        }
        (Value::Text { .. } | Value::Map(_) | Value::Integer(_), Shape::List { .. }) => {
            problem.hint("put it in brackets, or write `- ` before it")
        }
        _ => problem,
    }
}

/// The text of a node, or a problem that something else was found.
pub fn text<'n, T: Read>(node: &'n Node, at: &Path, problems: &mut Problems) -> Option<&'n str> {
    match &node.value {
        Value::Text { text, .. } => Some(text),
        _ => {
            problems.push(wrong_type(node, &T::shape(), at));
            None
        }
    }
}

/// Reads one of several words; what [`choice!`](crate::choice) uses.
pub fn word<T: Read + Copy>(
    node: &Node,
    words: &[(&str, T)],
    at: &Path,
    problems: &mut Problems,
) -> Option<T> {
    let text = text::<T>(node, at, problems)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Some(*value);
    }
    let known = words.iter().map(|(word, _)| *word);
    let message = format!("{} is not {}", shown(text), one_of(known.clone()));
    let problem = at.problem(Code::BadWord, node.at, message);
    problems.push(match nearest(text, known) {
        Some(word) => problem.hint(format!("did you mean `{word}`?")),
        None => problem,
    });
    None
}

/// The known word that `text` was probably meant to be: equal but for case and separators, or a few edits away.
pub fn nearest<'a>(text: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let plain = plain(text);
    if plain.is_empty() || plain.len() > 64 {
        return None;
    }
    let allowed = plain.len().div_ceil(3).min(3);
    known
        .map(|word| (distance(&plain, &self::plain(word)), word))
        .filter(|(distance, word)| *distance <= allowed && *distance < word.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

fn plain(text: &str) -> Vec<char> {
    text.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).take(65).collect()
}

/// The number of insertions, deletions, substitutions and swaps of neighbours between two words.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let mut least =
                (cell(&last, j) + usize::from(x != y)).min(cell(&last, j + 1) + 1).min(cell(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                least = least.min(cell(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

// === Fields ===

/// The fields of a mapping while a struct is read from it.
pub struct Fields<'n> {
    node: &'n Node,
    entries: &'n [(Key, Node)],
}

impl<'n> Fields<'n> {
    /// Opens a mapping whose fields are `known`; reports another type, unknown fields and duplicate ones.
    pub fn open<T: Read>(node: &'n Node, known: &[&str], at: &Path, problems: &mut Problems) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            problems.push(wrong_type(node, &T::shape(), at));
            return None;
        };
        check_fields(entries, known, at, problems);
        Some(Fields { node, entries })
    }

    /// Reads the field `name`; where it is not written or null, the default, else what the type holds when absent,
    /// else a problem.
    pub fn take<T: Read>(
        &self,
        name: &str,
        default: Option<fn() -> T>,
        at: &mut Path,
        problems: &mut Problems,
    ) -> Option<T> {
        let entry = self.entries.iter().find(|(key, _)| &*key.name == name);
        if let Some((_, node)) = entry.filter(|(_, node)| node.value != Value::Null) {
            return at.field(name, |at| T::read(node, at, problems));
        }
        if let Some(value) = default.map(|default| default()).or_else(T::absent) {
            return Some(value);
        }
        let (place, message) = match entry {
            Some((key, _)) => (key.at, format!("the field `{name}` has no value")),
            None => (self.node.at, format!("the field `{name}` is missing")),
        };
        let problem = Problem::new(Code::MissingField, place, at.child(name), message);
        problems.push(problem.hint(format!("`{name}` is {}", T::shape().expected())));
        None
    }

    /// The only field of a [`union!`](crate::union), its key and value; anything but exactly one is reported.
    pub fn only(&self, known: &[&str], at: &Path, problems: &mut Problems) -> Option<&'n (Key, Node)> {
        let mut written = self
            .entries
            .iter()
            .filter(|(key, node)| known.contains(&&*key.name) && node.value != Value::Null);
        let (first, second) = (written.next(), written.next());
        let names = one_of(known.iter().copied());
        match (first, second) {
            (Some(first), None) => return Some(first),
            (Some((one, _)), Some((two, _))) => problems.push(
                at.problem(
                    Code::NotExactlyOne,
                    two.at,
                    format!("`{}` and `{}` exclude each other", one.name, two.name),
                )
                .also(one.at, format!("`{}` is written here", one.name))
                .hint("keep one of them"),
            ),
            (None, _) => problems.push(
                at.problem(
                    Code::NotExactlyOne,
                    self.node.at,
                    "exactly one field must be written here".to_owned(),
                )
                .hint(format!("write {names}")),
            ),
        }
        None
    }
}

/// Reports the fields that are not among `known` and those that are written twice.
pub fn check_fields(entries: &[(Key, Node)], known: &[&str], at: &Path, problems: &mut Problems) {
    duplicates(entries, at, problems);
    for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&&*key.name)) {
        let problem = unknown(key, at);
        problems.push(match nearest(&key.name, known.iter().copied()) {
            Some(name) => problem.hint(format!("did you mean `{name}`?")),
            None if known.is_empty() => problem,
            None => problem.hint(format!("the fields here are {}", listed(known))),
        });
    }
}

/// The shape of a field of [`document!`](crate::document).
#[doc(hidden)]
pub fn field_shape<T: Read + Serialize>(
    name: &'static str,
    doc: &'static str,
    default: Option<fn() -> T>,
) -> shape::Field {
    let absent = T::absent().is_some();
    match default {
        // A default that cannot be written as JSON would be a map with keys that are not text; there is none.
        Some(default) => shape::Field::optional(name, doc, serde_json::to_value(default()).ok(), T::shape()),
        None if absent => shape::Field::optional(name, doc, None, T::shape()),
        None => shape::Field::required(name, doc, T::shape()),
    }
}

/// Writes a field of [`document!`](crate::document) unless leaving it out says the same.
#[doc(hidden)]
pub fn write_field<T: Read + Serialize + PartialEq, M: SerializeMap>(
    map: &mut M,
    name: &'static str,
    value: &T,
    default: Option<fn() -> T>,
) -> Result<(), M::Error> {
    let unsaid = match default {
        Some(default) => *value == default(),
        None => value.is_absent(),
    };
    if unsaid { Ok(()) } else { map.serialize_entry(name, value) }
}

/// The problem that there is no field of this name.
#[doc(hidden)]
pub fn unknown(key: &Key, at: &Path) -> Problem {
    let message = format!("there is no field {} here", shown(&key.name));
    Problem::new(Code::UnknownField, key.at, at.child(&key.name), message)
}

/// Reports every key that is written again. The parser already does and drops the second; a tree that does not come
/// from the parser is held to the same rule.
fn duplicates(entries: &[(Key, Node)], at: &Path, problems: &mut Problems) {
    let mut first: BTreeMap<&str, Span> = BTreeMap::new();
    for (key, _) in entries {
        match first.get(&*key.name) {
            Some(place) => problems.push(duplicate(key, *place, at)),
            None => {
                first.insert(&key.name, key.at);
            }
        }
    }
}

/// The problem that `key` was already written at `first`; one wording for the parser and the readers.
pub fn duplicate(key: &Key, first: Span, at: &Path) -> Problem {
    let message = format!("the field {} is written twice", shown(&key.name));
    Problem::new(Code::DuplicateKey, key.at, at.child(&key.name), message)
        .also(first, "first written here")
        .hint("keep one of the two")
}

fn listed(known: &[&str]) -> String {
    const LISTED: usize = 16;
    let mut names: Vec<String> = known.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    if known.len() > LISTED {
        names.push("…".to_owned());
    }
    names.join(", ")
}

/// The length of [`camel`]'s result.
#[doc(hidden)]
pub const fn camel_length(name: &str) -> usize {
    let mut rest = name.as_bytes();
    let mut length = 0;
    while let [byte, tail @ ..] = rest {
        if *byte != b'_' {
            length += 1;
        }
        rest = tail;
    }
    length
}

/// A Rust name (`backend_refs`, `ApiKey`) as documents spell it (`backendRefs`, `apiKey`), at compile time.
#[doc(hidden)]
#[expect(clippy::indexing_slicing, reason = "runs at compile time, where a wrong index is a compile error")]
pub const fn camel<const LENGTH: usize>(name: &str) -> [u8; LENGTH] {
    let mut out = [0; LENGTH];
    let mut rest = name.as_bytes();
    let (mut at, mut raise) = (0, false);
    while let [byte, tail @ ..] = rest {
        if *byte == b'_' {
            raise = at > 0;
        } else {
            out[at] = match (at, raise) {
                (0, _) => byte.to_ascii_lowercase(),
                (_, true) => byte.to_ascii_uppercase(),
                (_, false) => *byte,
            };
            at += 1;
            raise = false;
        }
        rest = tail;
    }
    out
}

// === Read for the types of the language and of std ===

impl Read for bool {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::Bool(value) => Some(*value),
            Value::Text { text, quoted } => {
                let meant = match text.to_ascii_lowercase().as_str() {
                    "true" | "yes" | "on" | "y" => Some(true),
                    "false" | "no" | "off" | "n" => Some(false),
                    _ => None,
                };
                let message = format!("{} is text, not `true` or `false`", shown(text));
                let problem = at.problem(Code::WrongType, node.at, message);
                problems.push(match meant {
                    Some(value) if *quoted => problem.hint(format!("write `{value}` without quotes")),
                    Some(value) => problem.hint(format!("write `{value}`")),
                    None => problem,
                });
                None
            }
            _ => {
                problems.push(wrong_type(node, &Self::shape(), at));
                None
            }
        }
    }

    fn shape() -> Shape {
        Shape::Bool
    }
}

impl Read for String {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        text::<Self>(node, at, problems).map(str::to_owned)
    }

    fn shape() -> Shape {
        Shape::TEXT
    }
}

/// Reads a whole number from `min` to `max`, written as a number or as text of digits.
pub fn integer(node: &Node, min: u64, max: u64, at: &Path, problems: &mut Problems) -> Option<u64> {
    let shape = Shape::Integer { min, max };
    let (Value::Integer(text) | Value::Float(text) | Value::Text { text, .. }) = &node.value else {
        problems.push(wrong_type(node, &shape, at));
        return None;
    };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let problem = || {
        let message = format!("{} is not {}", shown(text), shape.expected());
        at.problem(Code::BadNumber, node.at, message)
    };
    if !digits {
        problems.push(if text.starts_with("0x") || text.starts_with("0o") || text.contains('_') {
            problem().hint("write it in plain decimal digits")
        } else {
            problem()
        });
        return None;
    }
    // YAML 1.1 reads a leading zero as octal, YAML 1.2 as decimal; JSON forbids it. So it has no one meaning.
    if text.len() > 1 && text.starts_with('0') {
        let bare = text.trim_start_matches('0');
        problems.push(problem().hint(format!("write `{}` without leading zeros", clipped(bare))));
        return None;
    }
    match text.parse::<u64>() {
        Ok(value) if (min..=max).contains(&value) => Some(value),
        _ => {
            problems.push(problem());
            None
        }
    }
}

macro_rules! integers {
    ($($type:ty),+) => {$(
        impl Read for $type {
            fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
                // `integer` admits nothing above the type's maximum, so the conversion cannot fail.
                integer(node, 0, u64::from(<$type>::MAX), at, problems).and_then(|value| value.try_into().ok())
            }

            fn shape() -> Shape {
                Shape::Integer { min: 0, max: u64::from(<$type>::MAX) }
            }
        }
    )+};
}

integers!(u8, u16, u32, u64);

impl<T: Read> Read for Option<T> {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        match node.value {
            Value::Null => Some(None),
            _ => T::read(node, at, problems).map(Some),
        }
    }

    fn shape() -> Shape {
        T::shape()
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Read> Read for Box<T> {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        T::read(node, at, problems).map(Box::new)
    }

    fn shape() -> Shape {
        T::shape()
    }

    fn absent() -> Option<Self> {
        T::absent().map(Box::new)
    }

    fn is_absent(&self) -> bool {
        T::is_absent(self)
    }
}

/// Reads all items of a list, each with its problems; `None` when one of them cannot be read.
fn items<T: Read>(nodes: &[Node], at: &mut Path, problems: &mut Problems) -> Option<Vec<T>> {
    let mut values = Vec::new();
    let mut complete = true;
    for (index, node) in nodes.iter().enumerate() {
        match at.index(index, |at| T::read(node, at, problems)) {
            Some(value) => values.push(value),
            None => complete = false,
        }
    }
    complete.then_some(values)
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::List(nodes) => items(nodes, at, problems),
            _ => {
                problems.push(wrong_type(node, &Self::shape(), at));
                None
            }
        }
    }

    fn shape() -> Shape {
        Shape::List { item: Box::new(T::shape()), min: 0 }
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            problems.push(wrong_type(node, &Self::shape(), at));
            return None;
        };
        duplicates(entries, at, problems);
        let mut values = BTreeMap::new();
        let mut complete = true;
        for (key, node) in entries {
            match at.field(&key.name, |at| T::read(node, at, problems)) {
                Some(value) => {
                    // The first of two equal keys stays, as everywhere; the second is reported above.
                    values.entry(String::from(&*key.name)).or_insert(value);
                }
                None => complete = false,
            }
        }
        complete.then_some(values)
    }

    fn shape() -> Shape {
        Shape::Map { value: Box::new(T::shape()) }
    }
}

/// A value that remembers its place, for problems that are found after reading. Equal when the values are: where
/// something is written does not change what it says.
#[derive(Clone, Copy, Debug)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it is written; [`Span::SET`] for a default.
    pub at: Span,
}

impl<T> Spanned<T> {
    /// A value at a place.
    pub const fn new(value: T, at: Span) -> Self {
        Spanned { value, at }
    }

    /// A value that is not written anywhere, such as a default.
    pub const fn nowhere(value: T) -> Self {
        Spanned { value, at: Span::SET }
    }
}

impl<T> From<T> for Spanned<T> {
    /// See [`Spanned::nowhere`].
    fn from(value: T) -> Self {
        Spanned::nowhere(value)
    }
}

impl<T: Default> Default for Spanned<T> {
    fn default() -> Self {
        T::default().into()
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Spanned<T> {}

impl<T: Serialize> Serialize for Spanned<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: Read> Read for Spanned<T> {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        T::read(node, at, problems).map(|value| Spanned { value, at: node.at })
    }

    fn shape() -> Shape {
        T::shape()
    }

    fn absent() -> Option<Self> {
        T::absent().map(Spanned::from)
    }

    fn is_absent(&self) -> bool {
        self.value.is_absent()
    }
}

/// One value or a list of them. An empty list is refused: where a list may be empty, `Vec` says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    /// None at all: what a field that is not written may mean.
    fn default() -> Self {
        OneOrMany(Vec::new())
    }
}

impl<T> Deref for OneOrMany<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Serialize> Serialize for OneOrMany<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [only] => only.serialize(serializer),
            all => all.serialize(serializer),
        }
    }
}

impl<T: Read> Read for OneOrMany<T> {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::List(nodes) if nodes.is_empty() => {
                problems.push(
                    at.problem(Code::EmptyList, node.at, "the list is empty")
                        .hint(format!("write at least one item: {}", T::shape().expected())),
                );
                None
            }
            Value::List(nodes) => items(nodes, at, problems).map(OneOrMany),
            _ => T::read(node, at, problems).map(|value| OneOrMany(vec![value])),
        }
    }

    fn shape() -> Shape {
        Shape::OneOf(vec![T::shape(), Shape::List { item: Box::new(T::shape()), min: 1 }])
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
