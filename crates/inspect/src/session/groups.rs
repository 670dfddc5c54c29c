//! What is remembered about groups of values: the bytes in them, the longest, the tests whose literals occur, and all
//! their texts one behind the other, so that one search answers for all. A group whose chain changes none of its values
//! is the group of the values as they are.

use super::facts::{Facts, NONE, Value};
use crate::{
    gate::is_set,
    operator::Operator,
    pattern::{ByteSet, SEPARATOR},
    plan::Group,
    ruleset::RuleSet,
};

/// 64 KiB: texts that are longer together are searched one by one, so that nothing large is held twice.
const JOINED_BYTES_MAX: usize = 64 << 10;

/// 4 values: to ask more of them one by one costs more than to search all texts at once.
const FEW: u32 = 4;

/// A value of a group, and the form of it that is meant.
#[derive(Clone, Copy)]
struct Entry {
    value: Value,
    content: u32,
}

/// What is remembered of one group.
struct Summary {
    /// The state of all values in which it was last found to hold.
    checked_at: u32,
    /// The variable's changes it was made after; `NONE` before it is made.
    made_after: u32,
    /// Itself, or the plain group where the chain changes none of the values.
    root: u32,
    /// How many values there are.
    values: u32,
    /// The values of a plain group; else the forms that differ from the value they were made of.
    first: u32,
    count: u32,
    /// The bytes in all of them, for a group with a chain those of the values as they are too.
    bytes: ByteSet,
    longest: u32,
    has_empty: bool,
    /// All texts, once they were asked for: where they begin in the buffer and how long they are.
    joined: (u32, u32),
    /// Where the row of tests whose literals occur begins.
    literals: u32,
}

impl Summary {
    const UNMADE: Self = Self {
        checked_at: NONE,
        made_after: NONE,
        root: NONE,
        values: 0,
        first: 0,
        count: 0,
        bytes: ByteSet::NONE,
        longest: 0,
        has_empty: false,
        joined: (NONE, 0),
        literals: NONE,
    };

    fn range(&self) -> std::ops::Range<usize> {
        self.first as usize..(self.first + self.count) as usize
    }
}

/// What is remembered of all groups.
pub(super) struct Summaries {
    of: Vec<Summary>,
    entries: Vec<Entry>,
    rows: Vec<u64>,
}

impl Summaries {
    pub(super) fn new(groups: usize) -> Self {
        Self {
            of: (0..groups).map(|_| Summary::UNMADE).collect(),
            entries: Vec::with_capacity(512),
            rows: Vec::with_capacity(512),
        }
    }

    fn get(&self, group: u32) -> &Summary {
        const UNMADE: &Summary = &Summary::UNMADE;
        self.of.get(group as usize).unwrap_or(UNMADE)
    }
}

impl Facts {
    /// Whether any value of a group could pass a gated test.
    pub(super) fn any_could_pass(
        &mut self,
        set: &RuleSet,
        group: u32,
        (test, operator): (u32, &Operator),
    ) -> bool {
        let group = match self.summaries.get(group) {
            summary if summary.checked_at == self.state => summary.root,
            _ => self.sum_up(set, group),
        };
        let summary = self.summaries.get(group);
        if summary.values == 0 || !set.gate.admits(test, &summary.bytes, summary.longest as usize) {
            return false;
        }
        let values = summary.values;
        let Some(plan) = set.groups.get(group as usize) else { return true };
        if set.gate.asks_for_literals(test) {
            let row = self.literals(set, group, plan);
            let words = set.gate.words();
            if !is_set(self.summaries.rows.get(row..row + words).unwrap_or_default(), test) {
                return false;
            }
        }
        let Operator::Pattern(pattern) = operator else { return true };
        if values == 1 && !plan.every_form {
            return true;
        }
        let Some(few) = self.few_admitted(set, group, (test, plan)) else { return false };
        if few {
            return true;
        }
        let Some((start, len)) = self.joined(set, group, plan) else { return true };
        self.work += len as u64;
        pattern.may_match_joined(self.buffer.get(start..start + len).unwrap_or_default())
    }

    /// Whether so few values of a group could pass a test by their own bytes that they are better asked one by one; `None`
    /// when none could.
    fn few_admitted(&self, set: &RuleSet, group: u32, (test, plan): (u32, &Group)) -> Option<bool> {
        let changed = self.summaries.get(group).range();
        let plain = self.summaries.get(plan.plain.unwrap_or(group)).range();
        let (mut admitted, mut admitted_bytes, mut bytes) = (0_u32, 0_u32, 0_u32);
        // A value that its chain changes is looked at in both forms here: that only admits too much.
        let ranges = if plan.plain.is_some() { [plain, changed] } else { [plain, 0..0] };
        for range in ranges {
            for entry in self.summaries.entries.get(range).unwrap_or_default() {
                let Some(found) = self.contents.get(entry.content as usize) else { continue };
                bytes += found.len;
                if set.gate.admits(test, &found.bytes, found.len as usize) {
                    admitted += 1;
                    admitted_bytes += found.len;
                }
            }
        }
        (admitted > 0).then_some(admitted <= FEW && admitted_bytes < bytes / 2)
    }

    /// A value of a group; asked after [`Self::any_could_pass`].
    pub(super) fn value_of(&self, set: &RuleSet, group: u32, at: u32) -> Option<Value> {
        let plain = set.groups.get(group as usize)?.plain.unwrap_or(group);
        let summary = self.summaries.get(plain);
        (at < summary.count)
            .then(|| Some(self.summaries.entries.get((summary.first + at) as usize)?.value))?
    }

    /// Whether a text could pass a test as far as its bytes and length go.
    pub(super) fn admits(&self, set: &RuleSet, test: u32, content: u32) -> bool {
        let found = self.contents.get(content as usize);
        found.is_none_or(|found| set.gate.admits(test, &found.bytes, found.len as usize))
    }

    /// Sums a group up if its values changed since that was done; gives the group that holds what is known.
    fn sum_up(&mut self, set: &RuleSet, group: u32) -> u32 {
        let Some(plan) = set.groups.get(group as usize) else { return group };
        let changes = self.changes(plan.variable);
        if self.summaries.get(group).made_after != changes {
            let mut summary = Summary { made_after: changes, root: group, ..Summary::UNMADE };
            match plan.plain {
                None => {
                    self.take_values(plan, &mut summary);
                    summary.values = summary.count;
                }
                Some(plain) => self.sum_up_changed(set, plan, plain, &mut summary),
            }
            if let Some(place) = self.summaries.of.get_mut(group as usize) {
                *place = summary;
            }
        }
        let state = self.state;
        self.summaries.of.get_mut(group as usize).map_or(group, |summary| {
            summary.checked_at = state;
            summary.root
        })
    }

    fn sum_up_changed(&mut self, set: &RuleSet, plan: &Group, plain: u32, summary: &mut Summary) {
        self.sum_up(set, plain);
        let as_they_are = self.summaries.get(plain);
        let trie = &set.trie;
        if trie.may_change(plan.node, &as_they_are.bytes, false)
            || (as_they_are.has_empty && trie.may_change(plan.node, &ByteSet::NONE, true))
        {
            summary.values = as_they_are.values;
            summary.bytes = as_they_are.bytes;
            summary.longest = as_they_are.longest;
            let values = as_they_are.range();
            self.take_changed(set, plan, values, summary);
        }
        if summary.count == 0 {
            summary.root = plain;
        }
    }

    fn take_values(&mut self, plan: &Group, summary: &mut Summary) {
        summary.first = self.summaries.entries.len() as u32;
        for at in 0..self.values(plan.variable).len() {
            let Some(value) = self.values(plan.variable).get(at).copied() else { break };
            if plan.name.as_ref().is_none_or(|name| self.is_named(plan.variable, value, name)) {
                self.take(summary, Entry { value, content: value.content });
            }
        }
    }

    fn take_changed(
        &mut self,
        set: &RuleSet,
        plan: &Group,
        values: std::ops::Range<usize>,
        summary: &mut Summary,
    ) {
        summary.first = self.summaries.entries.len() as u32;
        for at in values {
            let Some(Entry { value, content }) = self.summaries.entries.get(at).copied() else { break };
            let Some(found) = self.contents.get(content as usize) else { break };
            if !set.trie.may_change(plan.node, &found.bytes, found.len == 0) {
                continue;
            }
            if plan.every_form {
                let mut last = content;
                for &node in set.trie.way(plan.node) {
                    let content = self.chain(&set.trie, value.content, node);
                    if content != last {
                        last = content;
                        self.take(summary, Entry { value, content });
                    }
                }
            } else {
                let changed = self.chain(&set.trie, content, plan.node);
                if changed != content {
                    self.take(summary, Entry { value, content: changed });
                }
            }
        }
    }

    fn take(&mut self, summary: &mut Summary, entry: Entry) {
        let Some(content) = self.contents.get(entry.content as usize) else { return };
        summary.bytes = summary.bytes.union(&content.bytes);
        summary.longest = summary.longest.max(content.len);
        summary.has_empty |= content.len == 0;
        summary.count += 1;
        self.summaries.entries.push(entry);
    }

    /// Where the row of tests begins whose literals occur in a group. Each text is looked through once, whatever groups
    /// it is in.
    fn literals(&mut self, set: &RuleSet, group: u32, plan: &Group) -> usize {
        let known = self.summaries.get(group).literals;
        if known != NONE {
            return known as usize;
        }
        let words = set.gate.words();
        let plain = plan.plain.and_then(|plain| Some((plain, set.groups.get(plain as usize)?)));
        let plain = plain.map(|(plain, plain_plan)| self.literals(set, plain, plain_plan));
        let start = self.summaries.rows.len();
        match plain {
            Some(plain) => self.summaries.rows.extend_from_within(plain..plain + words),
            None => self.summaries.rows.resize(start + words, 0),
        }
        self.add_literals(set, self.summaries.get(group).range(), start);
        if let Some(summary) = self.summaries.of.get_mut(group as usize) {
            summary.literals = start as u32;
        }
        start
    }

    /// Adds the tests whose literals occur in some entries to the row at `start`.
    fn add_literals(&mut self, set: &RuleSet, entries: std::ops::Range<usize>, start: usize) {
        let words = set.gate.words();
        for at in entries {
            let Some(content) = self.summaries.entries.get(at).map(|entry| entry.content) else { break };
            let Some(found) = self.contents.get(content as usize) else { break };
            let own = if found.literals == NONE {
                let own = self.summaries.rows.len();
                let (from, len) = (found.start as usize, found.len as usize);
                self.summaries.rows.resize(own + words, 0);
                let text = self.buffer.get(from..from + len).unwrap_or_default();
                set.gate.mark_literals(text, self.summaries.rows.get_mut(own..).unwrap_or_default());
                self.work += len as u64;
                if let Some(content) = self.contents.get_mut(content as usize) {
                    content.literals = own as u32;
                }
                own
            } else {
                found.literals as usize
            };
            for word in 0..words {
                let bits = self.summaries.rows.get(own + word).copied().unwrap_or(u64::MAX);
                if let Some(place) = self.summaries.rows.get_mut(start + word) {
                    *place |= bits;
                }
            }
        }
    }

    /// All texts of a group one behind the other: their place in the buffer. `None` where they are too long for that.
    fn joined(&mut self, set: &RuleSet, group: u32, plan: &Group) -> Option<(usize, usize)> {
        let summary = self.summaries.get(group);
        let (start, len) = summary.joined;
        if start != NONE {
            return Some((start as usize, len as usize));
        }
        let values = self.summaries.get(plan.plain.unwrap_or(group)).range();
        let changed = summary.range();
        let mut contents = Vec::with_capacity(values.len() + changed.len());
        for at in values {
            let content = self.summaries.entries.get(at)?.content;
            // With every form, the changed ones follow below.
            let node = if plan.every_form { 0 } else { plan.node };
            contents.push(self.chain(&set.trie, content, node));
        }
        if plan.every_form {
            contents.extend(self.summaries.entries.get(changed)?.iter().map(|entry| entry.content));
        }
        let place = |content: &u32| {
            self.contents.get(*content as usize).map(|content| (content.start as usize, content.len as usize))
        };
        let joined = if let [only] = contents.as_slice() {
            place(only)?
        } else {
            if contents.iter().filter_map(place).map(|(_, len)| len + 1).sum::<usize>() > JOINED_BYTES_MAX {
                return None;
            }
            let start = self.buffer.len();
            for content in &contents {
                let (from, len) = place(content)?;
                self.buffer.extend_from_within(from..from + len);
                self.buffer.push(SEPARATOR);
            }
            self.buffer.pop();
            (start, self.buffer.len() - start)
        };
        if let Some(summary) = self.summaries.of.get_mut(group as usize) {
            summary.joined = (joined.0 as u32, joined.1 as u32);
        }
        Some(joined)
    }
}
