//! The values of an exchange and what is remembered about them. Every text is kept once in one buffer; what a
//! transformation makes of it, and which tests it could pass, is computed at most once, whoever asks first.

use crate::{
    gate::{Gate, is_set},
    pattern::ByteSet,
    rule::Variable,
    ruleset::{RuleSet, Trie},
    transform::Transform,
};

const NONE: u32 = u32::MAX;

/// A text: its place in the buffer and what is remembered about it.
struct Content {
    start: u32,
    len: u32,
    /// The bytes in it.
    bytes: ByteSet,
    /// Where its gate row begins.
    row: u32,
    /// Where its results per chain begin.
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

pub(super) struct Facts {
    buffer: Vec<u8>,
    contents: Vec<Content>,
    made: Vec<Made>,
    chains: Vec<u32>,
    rows: Vec<u64>,
    values: Vec<Vec<Value>>,
    /// For each group, where its row and its texts begin.
    summaries: Vec<(u32, u32)>,
    /// The texts of groups: what its chain makes of each value of the variable, in order.
    summary_contents: Vec<u32>,
    summary_rows: Vec<u64>,
    /// For each union, where its row begins in `summary_rows`.
    unions: Vec<u32>,
    scratch: Vec<u8>,
    /// Bytes looked at so far.
    pub(super) work: u64,
    nodes: usize,
}

impl Facts {
    pub(super) fn new(nodes: usize, groups: usize, unions: usize) -> Self {
        Self {
            buffer: Vec::with_capacity(16 << 10),
            contents: Vec::with_capacity(256),
            made: Vec::with_capacity(64),
            chains: Vec::with_capacity(32 * nodes),
            rows: Vec::with_capacity(2048),
            values: (0..Variable::COUNT).map(|_| Vec::new()).collect(),
            summaries: vec![(NONE, NONE); groups],
            summary_contents: Vec::with_capacity(8 * groups),
            summary_rows: Vec::with_capacity(8 * groups),
            unions: vec![NONE; unions],
            scratch: Vec::new(),
            work: 0,
            nodes,
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
        self.contents.push(Content { start, len, bytes, row: NONE, chains: NONE, steps: NONE });
        (self.contents.len() - 1) as u32
    }

    fn store(&mut self, text: &[u8]) -> (u32, u32) {
        let start = self.buffer.len() as u32;
        self.buffer.extend_from_slice(text);
        (start, text.len() as u32)
    }

    /// Adds a value; what was summed up about the variable is forgotten.
    pub(super) fn add(&mut self, variable: Variable, name: &[u8], content: u32) {
        let name = self.store(name);
        if let Some(values) = self.values.get_mut(variable.index()) {
            if values.capacity() == 0 {
                values.reserve(8);
            }
            values.push(Value { name, content });
        }
    }

    /// Adds the one value of a scalar.
    pub(super) fn scalar(&mut self, variable: Variable, text: &[u8]) {
        let content = self.keep(text);
        self.add(variable, b"", content);
    }

    /// Replaces whatever the variable holds.
    pub(super) fn replace(&mut self, variable: Variable, text: &[u8]) {
        if let Some(values) = self.values.get_mut(variable.index()) {
            values.clear();
        }
        self.scalar(variable, text);
        self.forget_summaries();
    }

    /// Values were added: summaries may be stale.
    pub(super) fn forget_summaries(&mut self) {
        self.summaries.fill((NONE, NONE));
        self.unions.fill(NONE);
        self.summary_contents.clear();
        self.summary_rows.clear();
    }

    pub(super) fn values(&self, variable: Variable) -> &[Value] {
        self.values.get(variable.index()).map_or(&[], Vec::as_slice)
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

    /// The first value of that name.
    pub(super) fn first(&self, variable: Variable, name: Option<&str>) -> Option<&[u8]> {
        let wanted = self.values(variable).iter().copied().find(|value| {
            name.is_none_or(|name| {
                let found = self.name(*value);
                match variable.shape() {
                    crate::rule::Shape::Folded => found.eq_ignore_ascii_case(name.as_bytes()),
                    _ => found == name.as_bytes(),
                }
            })
        })?;
        Some(self.text(wanted.content))
    }

    /// What a chain of transformations makes of a text.
    pub(super) fn chain(&mut self, trie: &Trie, content: u32, node: u32) -> u32 {
        let Some(found) = self.contents.get(content as usize) else { return content };
        // Most texts hold nothing that the chain would change. The empty text is left to the chain itself.
        if node == 0
            || (found.len > 0 && trie.triggers.get(node as usize).is_some_and(|set| !set.meets(&found.bytes)))
        {
            return content;
        }
        let known = found.chains;
        let base = if known == NONE {
            let base = self.chains.len() as u32;
            self.chains.resize(self.chains.len() + self.nodes, NONE);
            if let Some(content) = self.contents.get_mut(content as usize) {
                content.chains = base;
            }
            base
        } else {
            known
        };
        let place = (base + node) as usize;
        match self.chains.get(place) {
            Some(&result) if result != NONE => return result,
            _ => {}
        }
        let Some(&(parent, Some(transform))) = trie.nodes.get(node as usize) else { return content };
        let before = self.chain(trie, content, parent);
        let result = self.step(before, transform);
        if let Some(place) = self.chains.get_mut(place) {
            *place = result;
        }
        result
    }

    fn step(&mut self, from: u32, transform: Transform) -> u32 {
        let first = self.contents.get(from as usize).map_or(NONE, |content| content.steps);
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

    /// Whether a text could pass a gated test.
    pub(super) fn could_pass(&mut self, gate: &Gate, content: u32, test: u32) -> bool {
        let row = self.row(gate, content);
        is_set(self.rows.get(row as usize..row as usize + gate.words()).unwrap_or_default(), test)
    }

    fn row(&mut self, gate: &Gate, content: u32) -> u32 {
        let known = self.contents.get(content as usize).map_or(NONE, |content| content.row);
        if known != NONE {
            return known;
        }
        let row = self.rows.len() as u32;
        let mut rows = std::mem::take(&mut self.rows);
        let text = self.text(content);
        let len = text.len() as u64;
        let bytes = self.contents.get(content as usize).map_or(ByteSet::ALL, |content| content.bytes);
        gate.candidates(text, &bytes, &mut rows);
        self.rows = rows;
        self.work += len;
        if let Some(content) = self.contents.get_mut(content as usize) {
            content.row = row;
        }
        row
    }

    /// The next value of a group, from `at` on, that could pass a gated test, and its text; asked after
    /// [`Self::any_could_pass`] said yes.
    pub(super) fn next_candidate(
        &self,
        words: usize,
        variable: Variable,
        (group, test): (u32, u32),
        at: usize,
    ) -> Option<(usize, Value, u32)> {
        let (_, first) = self.summaries.get(group as usize).copied()?;
        let values = self.values(variable);
        let contents = self.summary_contents.get(first as usize..first as usize + values.len())?;
        values.iter().zip(contents).enumerate().skip(at).find_map(|(at, (value, content))| {
            let row = self.contents.get(*content as usize)?.row as usize;
            is_set(self.rows.get(row..row + words)?, test).then_some((at, *value, *content))
        })
    }

    /// Whether any value of a variable, changed by a chain, could pass a gated test.
    pub(super) fn any_could_pass(
        &mut self,
        (trie, gate): (&Trie, &Gate),
        (variable, node): (Variable, u32),
        group: u32,
        test: u32,
    ) -> bool {
        let words = gate.words();
        let Some(start) = self.summary((trie, gate), (variable, node), group) else { return true };
        is_set(self.summary_rows.get(start..start + words).unwrap_or_default(), test)
    }

    /// Whether any value of any group of a union could pass a gated test.
    pub(super) fn any_of_union(&mut self, set: &RuleSet, union: u32, test: u32) -> bool {
        let words = set.gate.words();
        let known = self.unions.get(union as usize).copied().unwrap_or(NONE);
        let start = if known == NONE {
            let Some(plan) = set.unions.get(union as usize) else { return true };
            let mut sum = vec![0_u64; words];
            for (variable, group) in &plan.groups {
                let Some(row) = self.summary((&set.trie, &set.gate), (*variable, plan.node), *group) else {
                    return true;
                };
                let row = self.summary_rows.get(row..row + words).unwrap_or_default();
                sum.iter_mut().zip(row).for_each(|(sum, word)| *sum |= word);
            }
            let start = self.summary_rows.len();
            self.summary_rows.extend_from_slice(&sum);
            if let Some(place) = self.unions.get_mut(union as usize) {
                *place = start as u32;
            }
            start
        } else {
            known as usize
        };
        is_set(self.summary_rows.get(start..start + words).unwrap_or_default(), test)
    }

    /// Where the summary of a group begins: the tests that any value of the variable, changed by the chain, could
    /// pass.
    fn summary(
        &mut self,
        (trie, gate): (&Trie, &Gate),
        (variable, node): (Variable, u32),
        group: u32,
    ) -> Option<usize> {
        let words = gate.words();
        let known = self.summaries.get(group as usize).map_or(NONE, |(row, _)| *row);
        if known != NONE {
            return Some(known as usize);
        }
        let start = self.summary_rows.len();
        let contents = self.summary_contents.len() as u32;
        self.summary_rows.resize(start + words, 0);
        for at in 0..self.values(variable).len() {
            let Some(value) = self.values(variable).get(at).copied() else { continue };
            let content = self.chain(trie, value.content, node);
            self.summary_contents.push(content);
            let row = self.row(gate, content) as usize;
            let sum = self.summary_rows.get_mut(start..start + words)?;
            let row = self.rows.get(row..row + words)?;
            sum.iter_mut().zip(row).for_each(|(sum, word)| *sum |= word);
        }
        if let Some(place) = self.summaries.get_mut(group as usize) {
            *place = (start as u32, contents);
        }
        Some(start)
    }
}
