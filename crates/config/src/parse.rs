//! From text to nodes: YAML 1.2, and JSON as its subset, within budgets.
//!
//! The parser's events become our own tree of [`Node`]s with places. What makes YAML surprising is refused rather than
//! interpreted: anchors, aliases, merge keys, tags, keys that are not text. Only `true` and `false` are booleans, and
//! numbers stay text. So a document means the same to every reader, and no small text grows into a large tree.

use std::collections::HashMap;

use bartizan_model::{
    node::{Key, Node, Value},
    problem::{Code, FileId, Problem, Problems, Span, shown},
    read::{self, Path},
};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

use crate::source::{Source, Sources};

mod place;
mod plain;
mod surrogate;

use place::Places;

/// What documents may cost; a set beyond it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How deep lists and mappings may nest; bounds every recursion over a tree.
    pub depth: usize,
    /// How many values a set may have.
    pub nodes: usize,
    /// How many bytes a text may have.
    pub text_bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        // The deepest kind needs about 12 levels; a node takes less than 100 bytes; the longest text is a schema.
        Budget { depth: 64, nodes: 1_000_000, text_bytes: 1 << 20 }
    }
}

/// Parses all texts of a set. Each document is a node that is not empty; its file is `node.at.file`.
///
/// A file with a syntax error still yields the documents before the error, so that their problems are reported too;
/// a document with an alias is left out, because what it says is not known.
pub fn parse(sources: &Sources, problems: &mut Problems) -> Vec<Node> {
    parse_within(sources, Budget::default(), problems)
}

/// As [`parse`], with a budget.
pub fn parse_within(sources: &Sources, budget: Budget, problems: &mut Problems) -> Vec<Node> {
    let mut documents = Vec::new();
    let mut left = budget.nodes;
    for (file, source) in sources.iter() {
        match source.not_utf8() {
            None => parse_source(file, source, Budget { nodes: left, ..budget }, &mut documents, problems)
                .inspect(|used| left = left.saturating_sub(*used))
                .unwrap_or_else(|problem| {
                    problems.push(*problem);
                    0
                }),
            Some(byte) => {
                problems.push(
                    Problem::new(Code::NotUtf8, Span::whole(file), "", format!("byte {byte} is not UTF-8"))
                        .hint("save the file as UTF-8"),
                );
                0
            }
        };
    }
    documents
}

/// Parses one text; answers how many nodes it took, or with the problem that ended it.
fn parse_source(
    file: FileId,
    source: &Source,
    budget: Budget,
    documents: &mut Vec<Node>,
    problems: &mut Problems,
) -> Result<usize, Box<Problem>> {
    let text = surrogate::joined(source.text());
    let places = Places::new(file, source.text(), text.shifts);
    let mut parser = Parser::new_from_str(&text.text);
    let mut builder = Builder {
        places,
        budget,
        used: 0,
        frames: Vec::new(),
        unknown: false,
        since: 0,
        documents,
        problems,
    };
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| Box::new(builder.syntax(&error)))?;
        builder.event(event, span)?;
    }
    Ok(builder.used)
}

struct Builder<'a> {
    places: Places<'a>,
    budget: Budget,
    used: usize,
    frames: Vec<Frame>,
    /// Whether the document has an alias, so that what it says is not known.
    unknown: bool,
    /// Where the space before the next document begins, in bytes.
    since: u32,
    documents: &'a mut Vec<Node>,
    problems: &'a mut Problems,
}

/// A list or mapping that is not closed yet.
struct Frame {
    at: Span,
    /// Whether something stands at its start: a bracket (its end then is one too) or what is refused before it.
    bracketed: bool,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<(Key, Node)>,
        first: HashMap<Box<str>, Span>,
        /// The key whose value is awaited, and whether the entry is kept.
        key: Option<(Key, bool)>,
    },
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: saphyr_parser::Span) -> Result<(), Box<Problem>> {
        let at = self.places.span(&span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd => {}
            Event::DocumentStart(_) => {
                self.directives(at);
                self.unknown = false;
            }
            Event::DocumentEnd => self.since = at.end,
            Event::Alias(_) => {
                self.problems.push(self.alias(at));
                self.unknown = true;
                self.value(Node { at, value: Value::Null })?;
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.properties(at, anchor, tag.is_some());
                self.scalar(&text, style, at)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.properties(at, anchor, tag.is_some());
                self.open(at, Content::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                self.properties(at, anchor, tag.is_some());
                self.open(at, Content::Map { entries: Vec::new(), first: HashMap::new(), key: None })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(at)?,
        }
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, at: Span) -> Result<(), Box<Problem>> {
        if text.len() > self.budget.text_bytes {
            let message = format!("a text is longer than {} bytes", self.budget.text_bytes);
            return Err(Box::new(self.problem(Code::TooLarge, at, message)));
        }
        if self.awaits_key() {
            self.key(text, style, at);
            return Ok(());
        }
        let value = match style {
            ScalarStyle::Plain => plain::value(text),
            _ => Value::Text { text: text.into(), quoted: true },
        };
        self.value(Node { at, value })
    }

    fn open(&mut self, at: Span, content: Content) -> Result<(), Box<Problem>> {
        if self.frames.len() >= self.budget.depth {
            let message = format!("lists and mappings are nested deeper than {} levels", self.budget.depth);
            return Err(Box::new(self.problem(Code::TooDeep, at, message)));
        }
        self.frames.push(Frame { at, bracketed: at.end > at.start, content });
        Ok(())
    }

    fn close(&mut self, end: Span) -> Result<(), Box<Problem>> {
        let Some(Frame { mut at, bracketed, content }) = self.frames.pop() else { return Ok(()) };
        let (value, last) = match content {
            Content::List(items) => {
                let last = items.last().map(|node| node.at.end);
                (Value::List(items), last)
            }
            Content::Map { entries, .. } => {
                let last = entries.last().map(|(key, node)| node.at.end.max(key.at.end));
                (Value::Map(entries), last)
            }
        };
        let bracket = self.places.slice(end.start, end.start.saturating_add(1));
        at.end = match bracket {
            "]" | "}" if bracketed => end.start.saturating_add(1),
            _ => last.unwrap_or(at.start),
        };
        self.value(Node { at, value })
    }

    /// Puts a finished value where it belongs.
    fn value(&mut self, node: Node) -> Result<(), Box<Problem>> {
        self.used += 1;
        if self.used > self.budget.nodes {
            let message = format!("the documents have more than {} values", self.budget.nodes);
            return Err(Box::new(self.problem(Code::TooLarge, node.at, message)));
        }
        match self.frames.last_mut().map(|frame| &mut frame.content) {
            None if self.unknown || node.value == Value::Null => {}
            None => self.documents.push(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key: slot, .. }) => match slot.take() {
                Some((key, true)) => entries.push((key, node)),
                Some((_, false)) => {}
                None => {
                    let problem = self
                        .problem(
                            Code::KeyNotText,
                            node.at,
                            format!("{} is the name of a field", node.value.found()),
                        )
                        .hint("write a plain word as the field's name");
                    self.problems.push(problem);
                    self.expect_value_of(Key { name: "".into(), at: node.at }, false);
                }
            },
        }
        Ok(())
    }

    fn awaits_key(&self) -> bool {
        matches!(self.frames.last(), Some(Frame { content: Content::Map { key: None, .. }, .. }))
    }

    fn key(&mut self, text: &str, style: ScalarStyle, at: Span) {
        let key = Key { name: text.into(), at };
        let plain = matches!(style, ScalarStyle::Plain);
        if text.is_empty() || (plain && text == "~") {
            let problem = self.problem(Code::KeyNotText, at, "a field has no name".to_owned());
            self.problems.push(problem.hint("write the field's name before the `:`"));
            return self.expect_value_of(key, false);
        }
        if plain && text == "<<" {
            let problem = self.problem(
                Code::AliasRefused,
                at,
                "merge keys are not part of the document language".to_owned(),
            );
            self.problems.push(problem.hint("write the fields where they are needed"));
            return self.expect_value_of(key, false);
        }
        let known = match self.frames.last_mut().map(|frame| &mut frame.content) {
            Some(Content::Map { first, .. }) => match first.get(&key.name) {
                Some(place) => Some(*place),
                None => {
                    first.insert(key.name.clone(), at);
                    None
                }
            },
            _ => None,
        };
        if let Some(place) = known {
            let problem = read::duplicate(&key, place, &self.path());
            self.problems.push(problem);
        }
        self.expect_value_of(key, known.is_none());
    }

    fn expect_value_of(&mut self, name: Key, kept: bool) {
        if let Some(Frame { content: Content::Map { key, .. }, .. }) = self.frames.last_mut() {
            *key = Some((name, kept));
        }
    }

    /// Reports what a value has before it: an anchor, a tag.
    fn properties(&mut self, at: Span, anchor: usize, tagged: bool) {
        if anchor > 0 {
            self.problems.push(self.alias(at));
        }
        if tagged {
            let problem =
                self.problem(Code::TagRefused, at, "tags are not part of the document language".to_owned());
            self.problems.push(problem.hint("remove it; quotes are enough to make text of a number"));
        }
    }

    fn alias(&self, at: Span) -> Problem {
        self.problem(
            Code::AliasRefused,
            at,
            "anchors and aliases are not part of the document language".to_owned(),
        )
        .hint("write the value where it is needed")
    }

    /// Reports a `%YAML` directive of another version: in YAML 1.1 `yes` and `0777` mean something else.
    fn directives(&mut self, start: Span) {
        let before = self.places.slice(self.since, start.start);
        let asked = before.lines().find_map(|line| line.strip_prefix("%YAML").map(str::trim));
        if let Some(version) = asked.filter(|version| !version.starts_with("1.2")) {
            let message = format!("the document asks for YAML {}, and only 1.2 is read", shown(version));
            let problem = self.problem(Code::DirectiveRefused, start, message);
            self.problems.push(problem.hint("remove the line that begins with `%YAML`"));
        }
    }

    fn syntax(&self, error: &ScanError) -> Problem {
        let at = self.places.point(error.marker());
        let (code, message, hint) = plain::syntax(error.info());
        let problem = self.problem(code, at, message);
        match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }

    fn problem(&self, code: Code, at: Span, message: String) -> Problem {
        Problem::new(code, at, self.path().as_str(), message)
    }

    /// The path of the value that is being read.
    fn path(&self) -> Path {
        let mut path = Path::root();
        for frame in &self.frames {
            match &frame.content {
                Content::List(items) => path.push_index(items.len()),
                Content::Map { key: Some((key, _)), .. } if !key.name.is_empty() => path.push(&key.name),
                Content::Map { .. } => {}
            }
        }
        path
    }
}

#[cfg(test)]
mod tests;
