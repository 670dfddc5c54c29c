//! The values of an exchange and what transformations make of them. Every text is kept once in one buffer; what a
//! transformation makes of it is computed at most once, whoever asks first. What is remembered about groups of values is
//! in `groups.rs`.

use super::groups::Summaries;
use crate::{
    pattern::ByteSet,
    plan::{Group, Trie},
    rule::{Shape, Variable},
    transform::Transform,
};

pub(super) const NONE: u32 = u32::MAX;

/// 12 steps: no chain in use is longer; of a longer one the result is made anew each time it is asked for.
const STEPS_REMEMBERED: usize = 12;

/// A text: its place in the buffer and what is remembered about it.
pub(super) struct Content {
    pub(super) start: u32,
    pub(super) len: u32,
    /// The bytes in it.
    pub(super) bytes: ByteSet,
    /// Where the row of tests whose literals occur in it begins.
    pub(super) literals: u32,
    /// Where its results per end of a chain begin.
    chains: u32,
    /// The first of its results per single transformation.
    steps: u32,
}

/// The result of one transformation, in a list per text.
struct Made {
    transform: Transform,
    content: u32,
    next: u32,
}

/// A value of a variable.
#[derive(Clone, Copy)]
pub(super) struct Value {
    name: (u32, u32),
    pub(super) content: u32,
}

/// The values of one variable. Most variables have one, and need no list.
#[derive(Default)]
enum Values {
    #[default]
    None,
    One(Value),
    Many(Vec<Value>),
}

impl Values {
    fn as_slice(&self) -> &[Value] {
        match self {
            Self::None => &[],
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }

    fn push(&mut self, value: Value) {
        match self {
            Self::None => *self = Self::One(value),
            Self::One(first) => {
                let mut values = Vec::with_capacity(16);
                values.extend([*first, value]);
                *self = Self::Many(values);
            }
            Self::Many(values) => values.push(value),
        }
    }
}

pub(super) struct Facts {
    pub(super) buffer: Vec<u8>,
    pub(super) contents: Vec<Content>,
    made: Vec<Made>,
    chains: Vec<u32>,
    /// How often any values changed.
    pub(super) state: u32,
    /// For each variable its values, and how often they changed.
    values: Vec<(Values, u32)>,
    pub(super) summaries: Summaries,
    scratch: Vec<u8>,
    /// Bytes looked at so far.
    pub(super) work: u64,
    /// How many ends of chains there are.
    ends: usize,
}

impl Facts {
    pub(super) fn new(ends: usize, groups: &[Group]) -> Self {
        Self {
            buffer: Vec::with_capacity(16 << 10),
            contents: Vec::with_capacity(256),
            made: Vec::with_capacity(64),
            chains: Vec::with_capacity(16 * ends),
            state: 0,
            values: (0..Variable::COUNT).map(|_| (Values::None, 0)).collect(),
            summaries: Summaries::new(groups.len()),
            scratch: Vec::new(),
            work: 0,
            ends,
        }
    }

    /// How many bytes are held.
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Keeps a text. The buffer is bounded far below 4 GiB by the limits on what is fed.
    pub(super) fn keep(&mut self, text: &[u8]) -> u32 {
        let (start, len) = self.store(text);
        let bytes = ByteSet::of(text);
        self.contents.push(Content { start, len, bytes, literals: NONE, chains: NONE, steps: NONE });
        (self.contents.len() - 1) as u32
    }

    fn store(&mut self, text: &[u8]) -> (u32, u32) {
        let start = self.buffer.len() as u32;
        self.buffer.extend_from_slice(text);
        (start, text.len() as u32)
    }

    /// Adds a value; what was summed up about the variable is stale then.
    pub(super) fn add(&mut self, variable: Variable, name: &[u8], content: u32) {
        let name = self.store(name);
        self.push(variable, Value { name, content });
    }

    /// Adds a value whose name is a text that is kept.
    pub(super) fn add_of(&mut self, variable: Variable, name: u32, content: u32) {
        let name = self.contents.get(name as usize).map_or((0, 0), |name| (name.start, name.len));
        self.push(variable, Value { name, content });
    }

    fn push(&mut self, variable: Variable, value: Value) {
        self.state += 1;
        if let Some((values, changes)) = self.values.get_mut(variable.index()) {
            values.push(value);
            *changes += 1;
        }
    }

    /// Adds the one value of a scalar.
    pub(super) fn scalar(&mut self, variable: Variable, text: &[u8]) {
        let content = self.keep(text);
        self.add(variable, b"", content);
    }

    /// Replaces whatever the variable holds.
    pub(super) fn replace(&mut self, variable: Variable, text: &[u8]) {
        if let Some((values, _)) = self.values.get_mut(variable.index()) {
            *values = Values::None;
        }
        self.scalar(variable, text);
    }

    pub(super) fn values(&self, variable: Variable) -> &[Value] {
        self.values.get(variable.index()).map_or(&[], |(values, _)| values.as_slice())
    }

    /// How often the values of a variable changed.
    pub(super) fn changes(&self, variable: Variable) -> u32 {
        self.values.get(variable.index()).map_or(0, |(_, changes)| *changes)
    }

    pub(super) fn name(&self, value: Value) -> &[u8] {
        let (start, len) = value.name;
        self.buffer.get(start as usize..(start + len) as usize).unwrap_or_default()
    }

    pub(super) fn text(&self, content: u32) -> &[u8] {
        match self.contents.get(content as usize) {
            Some(content) => self
                .buffer
                .get(content.start as usize..(content.start + content.len) as usize)
                .unwrap_or_default(),
            None => &[],
        }
    }

    /// Whether a value is of that name, by the rules of the variable's names.
    pub(super) fn is_named(&self, variable: Variable, value: Value, name: &str) -> bool {
        let found = self.name(value);
        match variable.shape() {
            Shape::Exact => found == name.as_bytes(),
            Shape::Folded | Shape::Scalar => found.eq_ignore_ascii_case(name.as_bytes()),
        }
    }

    /// The first value of that name.
    pub(super) fn first(&self, variable: Variable, name: Option<&str>) -> Option<&[u8]> {
        let wanted = self.values(variable).iter().copied().find(|value| {
            name.is_none_or(|name| {
                let found = self.name(*value);
                match variable.shape() {
                    Shape::Folded => found.eq_ignore_ascii_case(name.as_bytes()),
                    _ => found == name.as_bytes(),
                }
            })
        })?;
        Some(self.text(wanted.content))
    }

    /// Whether a chain may change a text.
    pub(super) fn may_change(&self, trie: &Trie, content: u32, node: u32) -> bool {
        let found = self.contents.get(content as usize);
        found.is_none_or(|found| trie.may_change(node, &found.bytes, found.len == 0))
    }

    /// What a chain of transformations makes of a text. Steps that change nothing are passed over, so that chains are the
    /// same for a text from the first step on that changes it.
    pub(super) fn chain(&mut self, trie: &Trie, mut content: u32, node: u32) -> u32 {
        let mut end = trie.steps(node);
        let mut places = [0_usize; STEPS_REMEMBERED];
        let mut count = 0;
        while let Some(found) = self.contents.get(content as usize) {
            let mut step = trie.end_at(end);
            while let Some(passed) = step.filter(|step| !step.acts_on(&found.bytes, found.len == 0)) {
                end = passed.next;
                step = trie.end_at(end);
            }
            let Some(step) = step else { break };
            let place = self.row_of(content) + end as usize;
            match self.chains.get(place) {
                Some(&result) if result != NONE => {
                    content = result;
                    break;
                }
                _ => {}
            }
            if let Some(free) = places.get_mut(count) {
                *free = place;
                count += 1;
            }
            content = self.step(content, step.transform);
            end = step.next;
        }
        for place in places.iter().take(count) {
            if let Some(place) = self.chains.get_mut(*place) {
                *place = content;
            }
        }
        content
    }

    /// Where the results of a text per end of a chain begin.
    fn row_of(&mut self, content: u32) -> usize {
        let Some(found) = self.contents.get_mut(content as usize) else { return usize::MAX / 2 };
        if found.chains == NONE {
            found.chains = self.chains.len() as u32;
            self.chains.resize(self.chains.len() + self.ends, NONE);
        }
        found.chains as usize
    }

    fn step(&mut self, from: u32, transform: Transform) -> u32 {
        let Some(content) = self.contents.get(from as usize) else { return from };
        let first = content.steps;
        let mut at = first;
        while let Some(made) = self.made.get(at as usize) {
            if made.transform == transform {
                return made.content;
            }
            at = made.next;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let text = self.text(from);
        let len = text.len() as u64;
        let changed = transform.apply(text, &mut scratch);
        self.work += len;
        let content = if changed { self.keep(&scratch) } else { from };
        self.scratch = scratch;
        self.made.push(Made { transform, content, next: first });
        let newest = (self.made.len() - 1) as u32;
        if let Some(content) = self.contents.get_mut(from as usize) {
            content.steps = newest;
        }
        content
    }
}
