//! What is known of rules before an exchange: the chain of transformations of each link, the bit of its test in the
//! gate, and the groups of values it looks at. Rules that look at the same values through the same chain share a
//! group, and whatever is computed about the group is computed once (`security.md` A5).

use std::{collections::HashMap, sync::Arc};

use crate::{
    gate::Row,
    pattern::ByteSet,
    rule::{Form, Link, Selector, Target, Variable},
    transform::Transform,
};

/// What is known of a rule beforehand.
pub(crate) struct RulePlan {
    pub(crate) links: Vec<LinkPlan>,
    /// The first link's test and all groups it looks at, where it looks at nothing else: most rules are done with when
    /// none of them could pass.
    pub(crate) first: Option<(u32, Box<[u32]>)>,
    /// Where in the phase's order to go on after a match.
    pub(crate) go_on_at: Option<usize>,
}

pub(crate) struct LinkPlan {
    /// The chain of transformations.
    pub(crate) node: u32,
    /// The bit of the test in the gate.
    pub(crate) gate: Option<u32>,
    /// For each target, the group whose summary tells whether any of its values could pass.
    pub(crate) groups: Vec<Option<u32>>,
    /// For each effect that takes out rules, which.
    pub(crate) removed: Vec<Option<Row>>,
}

/// Values that rules look at through one chain.
pub(crate) struct Group {
    pub(crate) variable: Variable,
    /// Only the values of this name, where rules ask for one.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) node: u32,
    /// Whether every form on the way through the chain is looked at (`multiMatch`).
    pub(crate) every_form: bool,
    /// The group of the same values as they are: what a chain changes nothing about is known there.
    pub(crate) plain: Option<u32>,
}

type Key = (Variable, Option<Arc<str>>, u32, bool);

/// All groups of a set.
#[derive(Default)]
pub(crate) struct Groups {
    pub(crate) all: Vec<Group>,
    known: HashMap<Key, u32>,
}

impl Groups {
    /// The group of a target, where its values are such that something may be remembered about them.
    pub(crate) fn of(&mut self, target: &Target, link: &Link, node: u32) -> Option<u32> {
        if target.form != Form::Values || target.variable.changes() {
            return None;
        }
        let name = match &target.selector {
            Selector::Name(name) => Some(name.clone()),
            Selector::All | Selector::Matching(_) => None,
        };
        Some(self.find((target.variable, name, node, link.multi_match && node != 0)))
    }

    fn find(&mut self, key: Key) -> u32 {
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let (variable, name, node, every_form) = key.clone();
        let plain = (node != 0).then(|| self.find((variable, name.clone(), 0, false)));
        let number = self.all.len() as u32;
        self.all.push(Group { variable, name, node, every_form, plain });
        self.known.insert(key, number);
        number
    }
}

/// Chains of transformations, sharing their beginnings. Node 0 is the value as it is.
pub(crate) struct Trie {
    pub(crate) nodes: Vec<(u32, Option<Transform>)>,
    /// For each chain, the bytes without which it changes nothing but perhaps the empty text.
    pub(crate) triggers: Vec<ByteSet>,
    /// For each chain, whether it makes something of the empty text.
    pub(crate) fills: Vec<bool>,
    /// For each chain, those on the way to it, itself last.
    ways: Vec<Box<[u32]>>,
    /// For each chain, its steps from the first one on.
    steps: Vec<u32>,
    /// Ends of chains: a step and what follows it. Chains whose beginnings change nothing about a text share their ends,
    /// and with them what was made of it.
    ends: Vec<End>,
}

/// A step of a chain and what follows it.
pub(crate) struct End {
    pub(crate) transform: Transform,
    /// The bytes without which the step changes nothing but perhaps the empty text.
    triggers: ByteSet,
    /// Whether it makes something of the empty text.
    fills: bool,
    /// The end that follows; [`NO_END`] behind the last step.
    pub(crate) next: u32,
}

/// Behind the last step of a chain.
pub(crate) const NO_END: u32 = u32::MAX;

impl End {
    /// Whether the step may change a text with these bytes.
    pub(crate) fn acts_on(&self, bytes: &ByteSet, is_empty: bool) -> bool {
        if is_empty { self.fills } else { self.triggers.meets(bytes) }
    }
}

impl Trie {
    pub(crate) fn new() -> Self {
        Self {
            nodes: vec![(0, None)],
            triggers: vec![ByteSet::default()],
            fills: vec![false],
            ways: vec![Box::default()],
            steps: vec![NO_END],
            ends: Vec::new(),
        }
    }

    pub(crate) fn node(&mut self, chain: &[Transform]) -> u32 {
        let mut at = 0;
        for (length, transform) in (1..).zip(chain) {
            let known =
                self.nodes.iter().position(|(parent, step)| *parent == at && *step == Some(*transform));
            at = match known {
                Some(node) => node as u32,
                None => {
                    let inherited = self.triggers.get(at as usize).copied().unwrap_or(ByteSet::ALL);
                    let fills = self.fills.get(at as usize).copied().unwrap_or(true);
                    self.triggers.push(inherited.union(&transform.triggers()));
                    self.fills.push(fills || transform.apply(b"", &mut Vec::new()));
                    let node = self.nodes.len() as u32;
                    self.ways.push(self.way(at).iter().copied().chain([node]).collect());
                    let end =
                        chain.iter().take(length).rev().fold(NO_END, |next, step| self.end(*step, next));
                    self.steps.push(end);
                    self.nodes.push((at, Some(*transform)));
                    node
                }
            };
        }
        at
    }

    fn end(&mut self, transform: Transform, next: u32) -> u32 {
        let known = self.ends.iter().position(|end| end.transform == transform && end.next == next);
        let end = known.unwrap_or_else(|| {
            let fills = transform.apply(b"", &mut Vec::new());
            self.ends.push(End { transform, triggers: transform.triggers(), fills, next });
            self.ends.len() - 1
        });
        end as u32
    }

    /// The steps of a chain from the first one on.
    pub(crate) fn steps(&self, node: u32) -> u32 {
        self.steps.get(node as usize).copied().unwrap_or(NO_END)
    }

    /// A step and what follows it; nothing behind the last.
    pub(crate) fn end_at(&self, end: u32) -> Option<&End> {
        self.ends.get(end as usize)
    }

    /// How many ends there are.
    pub(crate) fn end_count(&self) -> usize {
        self.ends.len()
    }

    /// The chains on the way to a chain, itself last.
    pub(crate) fn way(&self, node: u32) -> &[u32] {
        self.ways.get(node as usize).map_or(&[], |way| way)
    }

    /// Whether the chain may change a text with these bytes.
    pub(crate) fn may_change(&self, node: u32, bytes: &ByteSet, is_empty: bool) -> bool {
        let node = node as usize;
        if is_empty {
            return self.fills.get(node).copied().unwrap_or(true);
        }
        self.triggers.get(node).is_none_or(|set| set.meets(bytes))
    }
}
