//! What a type looks like in a document, as data.
//!
//! Each readable type describes itself once ([`Read::shape`](crate::read::Read::shape)); messages, JSON Schemas and
//! the pages of `docs/kinds/` are all made from that description, so none of them can drift from what is read.

use std::fmt::Write as _;

/// The shape of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// `true` or `false`.
    Bool,
    /// A whole number, also as a string of digits.
    Integer {
        /// The smallest value.
        min: u64,
        /// The largest value.
        max: u64,
    },
    /// Text in a format.
    Text {
        /// The format's name: `duration`; `text` when any will do.
        format: &'static str,
        /// A regular expression (ECMA 262) that every valid text matches; not all that match are valid.
        pattern: Option<&'static str>,
        /// A valid text.
        example: Option<&'static str>,
    },
    /// One of several words.
    Choice {
        /// The type's name.
        name: &'static str,
        /// What is chosen.
        doc: String,
        /// The words.
        words: Vec<Word>,
    },
    /// A list.
    List {
        /// The shape of each item.
        item: Box<Shape>,
        /// The fewest items.
        min: u32,
    },
    /// A mapping with free keys.
    Map {
        /// The shape of each value.
        value: Box<Shape>,
    },
    /// A mapping with fields.
    Object(Object),
    /// A mapping with exactly one of its fields.
    Union(Object),
    /// One of several shapes.
    OneOf(Vec<Shape>),
}

/// A mapping's type.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The type's name.
    pub name: &'static str,
    /// What it is; the first paragraph is the summary.
    pub doc: String,
    /// Its fields in order.
    pub fields: Vec<Field>,
}

/// A field of an [`Object`].
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The name in documents.
    pub name: &'static str,
    /// What it means; the first paragraph is the summary.
    pub doc: String,
    /// Whether it must be written.
    pub required: bool,
    /// What holds when it is not written, as it would be written.
    pub default: Option<serde_json::Value>,
    /// The shape of its value.
    pub shape: Shape,
}

/// A word of a [`Shape::Choice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The word in documents.
    pub word: &'static str,
    /// What it means.
    pub doc: String,
}

impl Shape {
    /// Any text.
    pub const TEXT: Shape = Shape::Text { format: "text", pattern: None, example: None };

    /// What a message says is expected: `a duration such as 30s`.
    pub fn expected(&self) -> String {
        match self {
            Shape::Bool => "`true` or `false`".to_owned(),
            Shape::Integer { min, max: u64::MAX } => format!("a whole number, {min} or more"),
            Shape::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Shape::Text { format: "text", .. } => "text".to_owned(),
            Shape::Text { format, example: None, .. } => format!("{} {format}", article(format)),
            Shape::Text { format, example: Some(example), .. } => {
                format!("{} {format} such as `{example}`", article(format))
            }
            Shape::Choice { words, .. } => one_of(words.iter().map(|word| word.word)),
            Shape::List { .. } => "a list".to_owned(),
            Shape::Map { .. } => "a mapping".to_owned(),
            Shape::Object(object) => match object.fields.first() {
                Some(field) => format!("a mapping with fields such as `{}`", field.name),
                None => "a mapping".to_owned(),
            },
            Shape::Union(object) => {
                let names = one_of(object.fields.iter().map(|field| field.name));
                format!("a mapping with {names}")
            }
            Shape::OneOf(shapes) => {
                let mut parts: Vec<String> = Vec::new();
                for part in shapes.iter().map(Shape::expected) {
                    if !parts.contains(&part) {
                        parts.push(part);
                    }
                }
                parts.join(", or ")
            }
        }
    }
}

impl Object {
    /// The shape's parts from what was written as doc comments.
    pub fn new(name: &'static str, doc: &str, fields: Vec<Field>) -> Self {
        Object { name, doc: clean(doc), fields }
    }
}

impl Field {
    /// A field that must be written.
    pub fn required(name: &'static str, doc: &str, shape: Shape) -> Self {
        Field { name, doc: clean(doc), required: true, default: None, shape }
    }

    /// A field that may be left out.
    pub fn optional(name: &'static str, doc: &str, default: Option<serde_json::Value>, shape: Shape) -> Self {
        Field { name, doc: clean(doc), required: false, default, shape }
    }
}

impl Word {
    /// A word and its doc comment.
    pub fn new(word: &'static str, doc: &str) -> Self {
        Word { word, doc: clean(doc) }
    }
}

/// A doc comment's lines without the space that follows the slashes and without blank ends.
pub fn clean(doc: &str) -> String {
    let mut out = String::new();
    for line in doc.lines() {
        let line = line.strip_prefix(' ').unwrap_or(line).trim_end();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{line}");
    }
    out.trim_matches('\n').to_owned()
}

/// The first paragraph of a doc text, on one line.
pub fn summary(doc: &str) -> String {
    doc.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Words as a message lists them.
pub fn one_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [first, second] => format!("{first} or {second}"),
        [many @ .., last] => format!("one of {} or {last}", many.join(", ")),
    }
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'A', 'I']) { "an" } else { "a" }
}
