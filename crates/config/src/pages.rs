//! A Markdown page per kind from its shape: `docs/kinds/` is made of these.
//!
//! The types of a kind become sections in the order in which they are met, each with a table of its fields; a type
//! that occurs twice is described once.

use std::fmt::Write as _;

use bartizan_model::{
    document::{API_VERSION, Kind},
    shape::{Field, Object, Shape, Word, summary},
};
use serde_json::Value;

/// The page of one kind.
pub fn of_kind(kind: Kind) -> String {
    let spec = kind.spec_shape();
    let mut page = Page { out: String::new(), known: Vec::new(), waiting: Vec::new() };
    page.line(&format!("# {}\n", kind.as_str()));
    page.line(
        "<!-- Made from the document types by `cargo xtask fixtures`; change the doc comments there. -->\n",
    );
    match &spec {
        Shape::Object(object) | Shape::Union(object) => {
            page.line(&format!("{}\n", object.doc));
            page.line(&format!(
                "```yaml\napiVersion: {API_VERSION}\nkind: {}\nmetadata: {{ name: … }}\nspec: …\n```\n",
                kind.as_str()
            ));
            page.line("## spec\n");
            page.fields(object, matches!(spec, Shape::Union(_)));
        }
        _ => page.line(&format!("`spec` is {}.\n", spec.expected())),
    }
    page.rest();
    let mut text = page.out.trim_end().to_owned();
    text.push('\n');
    text
}

/// The page that lists all kinds.
pub fn index() -> String {
    let mut out = "# Kinds of documents\n\n<!-- Made from the document types by `cargo xtask fixtures`. -->\n\n| kind | what it is |\n|---|---|\n"
        .to_owned();
    for kind in Kind::ALL {
        let doc = match kind.spec_shape() {
            Shape::Object(object) | Shape::Union(object) => summary(&object.doc),
            _ => String::new(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| [{0}]({0}.md) | {1} |", kind.as_str(), cell(&doc));
    }
    out
}

struct Page {
    out: String,
    known: Vec<&'static str>,
    waiting: Vec<Section>,
}

/// A type that gets a section of its own.
enum Section {
    Object { object: Object, one: bool },
    Choice { name: &'static str, doc: String, words: Vec<Word> },
}

impl Page {
    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    /// The sections that were met and are not written yet, with those they lead to.
    fn rest(&mut self) {
        while !self.waiting.is_empty() {
            for section in std::mem::take(&mut self.waiting) {
                match section {
                    Section::Object { object, one } => {
                        self.line(&format!("## {}\n", object.name));
                        if !object.doc.is_empty() {
                            self.line(&format!("{}\n", object.doc));
                        }
                        self.fields(&object, one);
                    }
                    Section::Choice { name, doc, words } => {
                        self.line(&format!("## {name}\n"));
                        if !doc.is_empty() {
                            self.line(&format!("{doc}\n"));
                        }
                        self.line("| word | meaning |\n|---|---|");
                        for word in words {
                            self.line(&format!("| `{}` | {} |", word.word, cell(&word.doc)));
                        }
                        self.line("");
                    }
                }
            }
        }
    }

    fn fields(&mut self, object: &Object, one: bool) {
        if object.fields.is_empty() {
            return self.line("It has no fields.\n");
        }
        if one {
            self.line("Exactly one of these is written.\n");
        }
        self.line("| field | type | default | meaning |\n|---|---|---|---|");
        for field in &object.fields {
            let kind = self.named(&field.shape);
            let row =
                format!("| `{}` | {kind} | {} | {} |", field.name, default(field, one), cell(&field.doc));
            self.line(&row);
        }
        self.line("");
    }

    /// A type as a cell shows it; types with sections become links.
    fn named(&mut self, shape: &Shape) -> String {
        match shape {
            Shape::Bool => "boolean".to_owned(),
            Shape::Integer { min, max: u64::MAX } => format!("number ≥ {min}"),
            Shape::Integer { min, max } => format!("number {min}–{max}"),
            Shape::Text { format, example: None, .. } => (*format).to_owned(),
            Shape::Text { format, example: Some(example), .. } => cell(&format!("{format}, as `{example}`")),
            Shape::Choice { name, doc, words } => {
                let section = Section::Choice { name, doc: doc.clone(), words: words.clone() };
                self.linked(name, section)
            }
            Shape::List { item, .. } => format!("list of {}", self.named(item)),
            Shape::Map { value } => format!("mapping to {}", self.named(value)),
            Shape::Object(object) => {
                self.linked(object.name, Section::Object { object: object.clone(), one: false })
            }
            Shape::Union(object) => {
                self.linked(object.name, Section::Object { object: object.clone(), one: true })
            }
            Shape::OneOf(shapes) => {
                shapes.iter().map(|shape| self.named(shape)).collect::<Vec<_>>().join(" or ")
            }
        }
    }

    fn linked(&mut self, name: &'static str, section: Section) -> String {
        if !self.known.contains(&name) {
            self.known.push(name);
            self.waiting.push(section);
        }
        format!("[{name}](#{})", name.to_lowercase())
    }
}

fn default(field: &Field, one: bool) -> String {
    match &field.default {
        _ if field.required => "**required**".to_owned(),
        None | Some(Value::Null) if one => String::new(),
        None | Some(Value::Null) => "none".to_owned(),
        Some(Value::Array(items)) if items.is_empty() => "none".to_owned(),
        Some(Value::Object(fields)) if fields.is_empty() => "its defaults".to_owned(),
        Some(Value::String(text)) => cell(&format!("`{text}`")),
        Some(other) => cell(&format!("`{other}`")),
    }
}

/// Text that fits into a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests;
