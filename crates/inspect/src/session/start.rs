//! How every exchange begins, found out once per rule set and policy: rules that look only at what setup and policy
//! wrote come out the same for each exchange. Those at the beginning are run beforehand, and what they set is kept.
//! Those further on (paranoia levels with their `skipAfter` above all) decide now which rules an exchange has to run
//! at all. The rules are run by the same code as in an exchange, so both mean the same.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
};

use super::{
    Exchange, Session,
    texts::{Named, digit, key},
};
use crate::{
    gate::{Row, is_set},
    overlay::Overlay,
    pattern::Pattern,
    plan::RulePlan,
    rule::{
        Control, Disruption, Effect, Exclusion, Form, Link, Macro, Part, Phase, Rule, Selector, SetVar,
        Target, Template, Variable,
    },
    ruleset::RuleSet,
};

/// A rule that has to be run: its place among the rules of its phase, and its number in the set.
#[derive(Clone, Copy)]
pub(super) struct Due {
    pub(super) place: usize,
    pub(super) rule: u32,
}

/// How an exchange begins.
#[derive(Default)]
pub(crate) struct Start {
    /// The set it is about.
    set: u64,
    pub(super) tx: Arc<Named>,
    pub(super) overflowed: bool,
    pub(super) due: [Vec<Due>; 5],
    /// For patterns (by their place in memory) that rules select variables of `TX` by, the names of `tx` that they mean.
    named: HashMap<usize, Vec<Arc<str>>>,
}

impl Start {
    /// The beginning with a policy's changes.
    pub(super) fn of(set: &Arc<RuleSet>, overlay: Option<&Arc<Overlay>>) -> Arc<Self> {
        let place: &OnceLock<Arc<Self>> = overlay.map_or(&set.start, |overlay| &overlay.start);
        let known = place.get_or_init(|| Arc::new(Self::find(set, overlay)));
        if known.set == set.number {
            return Arc::clone(known);
        }
        // A policy's changes that are used with more than one set.
        Arc::new(Self::find(set, overlay))
    }

    fn find(set: &Arc<RuleSet>, overlay: Option<&Arc<Overlay>>) -> Self {
        let mut session =
            Session::begin(Arc::clone(set), overlay.cloned(), Exchange::default(), Arc::default());
        for (name, value) in overlay.iter().flat_map(|overlay| &overlay.variables) {
            session.texts.set(Variable::Tx, name, Arc::clone(value));
        }
        let first = session.run_beforehand(set);
        let written = Written::by(set, &session, first);
        let due = Phase::ALL.map(|phase| {
            let from = if phase == Phase::RequestHeaders { first } else { 0 };
            session.due(set, phase, from, &written)
        });
        let (tx, overflowed) = session.texts.into_begun();
        let named = patterns(set).map(|pattern| {
            let names = tx.keys().filter(|name| pattern.is_match(name.as_bytes())).cloned().collect();
            (Arc::as_ptr(pattern).addr(), names)
        });
        Self { set: set.number, named: named.collect(), tx: Arc::new(tx), overflowed, due }
    }

    /// The names among those that `TX` begins with that a selector of a rule means.
    pub(super) fn named_by(&self, pattern: &Arc<Pattern>) -> Option<&[Arc<str>]> {
        self.named.get(&Arc::as_ptr(pattern).addr()).map(Vec::as_slice)
    }
}

/// The patterns that rules select variables of `TX` by.
fn patterns(set: &RuleSet) -> impl Iterator<Item = &Arc<Pattern>> {
    let targets = set.rules.iter().flat_map(|rule| &rule.links).flat_map(|link| &link.targets.include);
    targets.filter_map(|target| match &target.selector {
        Selector::Matching(pattern) if target.variable == Variable::Tx => Some(pattern),
        _ => None,
    })
}

impl std::fmt::Debug for Start {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Start of {} rules", self.due.iter().map(Vec::len).sum::<usize>())
    }
}

impl Session {
    /// Runs the rules at the beginning of phase 1 that look only at `TX` and change only `TX`; gives the place of the
    /// first that does not.
    fn run_beforehand(&mut self, set: &RuleSet) -> usize {
        let order = set.phases.first().map_or(&[][..], Vec::as_slice);
        for (place, &index) in order.iter().enumerate() {
            let Some(rule) = set.rules.get(index as usize) else { return place };
            if place < self.go_on_at || self.is_removed(index) {
                continue;
            }
            if !rule.links.iter().all(looks_at_tx) {
                return place;
            }
            if is_quiet(rule) {
                self.run_rule(set, index);
            } else if self.holds_first(rule, index) != Some(false) {
                return place;
            }
        }
        order.len()
    }

    /// Whether the test of a rule's first link holds now; `None` where that cannot be told.
    fn holds_first(&self, rule: &Rule, index: u32) -> Option<bool> {
        let hides = |exclusion: &Exclusion| exclusion.variable == Variable::Tx;
        if self.excluded.iter().any(|(rules, exclusion)| is_set(rules, index) && hides(exclusion)) {
            return None;
        }
        let link = rule.links.first()?;
        let operator = link.operator.as_ref()?;
        let view = super::view::View { session: self, rule };
        let mut holds = false;
        for target in &link.targets.include {
            let Selector::Name(name) = &target.selector else { return None };
            let found = self.texts.get(Variable::Tx, name);
            let mut text = match target.form {
                Form::Count => usize::from(found.is_some()).to_string().into_bytes(),
                Form::Values => match found {
                    Some(text) => text.to_vec(),
                    None => continue,
                },
            };
            let mut changed = Vec::new();
            for transform in &link.transforms {
                if transform.apply(&text, &mut changed) {
                    text.clone_from(&changed);
                }
            }
            holds |= operator.test(&text, false, &view).ok()?.holds != link.negated;
        }
        Some(holds)
    }

    /// The rules of a phase that an exchange has to run.
    fn due(&self, set: &RuleSet, phase: Phase, from: usize, written: &Written) -> Vec<Due> {
        let order = set.phases.get(phase.index()).map_or(&[][..], Vec::as_slice);
        let mut due = Vec::with_capacity(order.len());
        let mut go_on_at = from;
        for (place, &index) in order.iter().enumerate().skip(from) {
            let (Some(rule), Some(plan)) = (set.rules.get(index as usize), set.plans.get(index as usize))
            else {
                continue;
            };
            if place < go_on_at || self.is_removed(index) {
                continue;
            }
            match if written.decides(rule) { self.holds_first(rule, index) } else { None } {
                Some(false) => continue,
                Some(true) if is_quiet(rule) && is_bare(rule) && !self.is_shadowed(index) => {
                    let behind = plan.go_on_at.unwrap_or(place + 1);
                    let skipped = order.get(place + 1..behind).unwrap_or_default();
                    if !is_entered(set, order, place, behind) && written.leaves(index, skipped) {
                        go_on_at = go_on_at.max(behind);
                        continue;
                    }
                }
                _ => {}
            }
            due.push(Due { place, rule: index });
        }
        due
    }

    pub(super) fn is_shadowed(&self, index: u32) -> bool {
        self.overlay.as_ref().is_some_and(|overlay| overlay.shadowed.iter().any(|row| is_set(row, index)))
    }
}

/// Whether an earlier rule goes on between a rule and the place behind what that rule skips: then the skipped part may
/// be run without the rule having been asked.
fn is_entered(set: &RuleSet, order: &[u32], place: usize, behind: usize) -> bool {
    let plan = |index: &u32| set.plans.get(*index as usize);
    let earlier = order.iter().take(place).filter_map(plan);
    earlier.filter_map(|plan: &RulePlan| plan.go_on_at).any(|at| at > place && at < behind)
}

/// Whether a match would leave nothing behind but variables and the place to go on at.
fn is_quiet(rule: &Rule) -> bool {
    let mut effects = rule.links.iter().flat_map(|link| &link.effects);
    rule.disruption == Disruption::Pass
        && !rule.log
        && rule.severity.is_none()
        && rule.links.iter().all(|link| !link.capture && !link.multi_match)
        && effects.all(|effect| match effect {
            Effect::Set(SetVar { collection: Variable::Tx, name, .. }) => {
                let is_group = name.constant().is_some_and(|name| digit(&key(name)).is_some());
                name.constant().is_some() && !is_group && effect.templates().all(|text| named(text).is_some())
            }
            _ => false,
        })
}

/// Whether a match of the first link is a match and changes no variable.
fn is_bare(rule: &Rule) -> bool {
    matches!(rule.links.as_slice(), [link] if link.effects.is_empty() && link.operator.is_some())
}

/// Whether a link looks only at variables of `TX` that it names.
fn looks_at_tx(link: &Link) -> bool {
    let is_named = |target: &Target| match &target.selector {
        Selector::Name(name) => target.variable == Variable::Tx && digit(name).is_none(),
        Selector::All | Selector::Matching(_) => false,
    };
    link.targets.include.iter().all(is_named)
        && link.targets.exclude.is_empty()
        && !link.multi_match
        && link
            .operator
            .as_ref()
            .and_then(|operator| operator.template())
            .is_none_or(|text| named(text).is_some())
}

/// The variables of `TX` that a text names; `None` where it names anything else.
fn named(text: &Template) -> Option<Vec<Arc<str>>> {
    let mut names = Vec::new();
    for part in text.parts() {
        match part {
            Part::Text(_) => {}
            Part::Macro(Macro::Variable(Variable::Tx, Some(name))) if digit(name).is_none() => {
                names.push(Arc::clone(name));
            }
            Part::Macro(_) => return None,
        }
    }
    Some(names)
}

/// What rules that are still to be run may write, and which rules they may take out.
struct Written {
    names: HashSet<String>,
    /// Beginnings of names whose ends are known only in an exchange.
    beginnings: Vec<String>,
    /// For each effect that takes out rules, which.
    taken_out: Vec<Row>,
    /// For each effect that hides variables of `TX` from rules, from which.
    hidden: Vec<Row>,
}

impl Written {
    fn by(set: &RuleSet, session: &Session, first: usize) -> Self {
        let mut written =
            Self { names: HashSet::new(), beginnings: Vec::new(), taken_out: Vec::new(), hidden: Vec::new() };
        for (phase, order) in set.phases.iter().enumerate() {
            let from = if phase == 0 { first } else { 0 };
            for &index in order.iter().skip(from).filter(|index| !session.is_removed(**index)) {
                let (Some(rule), Some(plan)) = (set.rules.get(index as usize), set.plans.get(index as usize))
                else {
                    continue;
                };
                let effects = rule.links.iter().flat_map(|link| &link.effects);
                let removed = plan.links.iter().flat_map(|link| &link.removed);
                for (effect, removed) in effects.zip(removed) {
                    match (effect, removed) {
                        (Effect::Set(SetVar { collection: Variable::Tx, name, .. }), _) => written.name(name),
                        (Effect::Control(Control::RemoveRules(_)), Some(row)) => {
                            written.taken_out.push(row.clone());
                        }
                        (Effect::Control(Control::RemoveTargets(_, hidden)), Some(row))
                            if hidden.variable == Variable::Tx =>
                        {
                            written.hidden.push(row.clone());
                        }
                        _ => {}
                    }
                }
            }
        }
        written
    }

    fn name(&mut self, name: &Template) {
        match (name.constant(), name.parts().first()) {
            (Some(name), _) => drop(self.names.insert(key(name).into_owned())),
            (None, Some(Part::Text(beginning))) => self.beginnings.push(key(beginning).into_owned()),
            (None, _) => self.beginnings.push(String::new()),
        }
    }

    /// Whether a rule sees what it looks at, and whatever takes it out takes out those it skips too: then it is the same
    /// whether they are skipped or gone.
    fn leaves(&self, index: u32, skipped: &[u32]) -> bool {
        let mut rows = self.taken_out.iter().filter(|row| is_set(row, index));
        rows.all(|row| skipped.iter().all(|skipped| is_set(row, *skipped)))
            && !self.hidden.iter().any(|row| is_set(row, index))
    }

    fn stays(&self, name: &str) -> bool {
        !self.names.contains(name) && !self.beginnings.iter().any(|beginning| name.starts_with(beginning))
    }

    /// Whether the first link of a rule looks only at what stays as it is.
    fn decides(&self, rule: &Rule) -> bool {
        let Some(link) = rule.links.first() else { return false };
        let stays = |target: &Target| matches!(&target.selector, Selector::Name(name) if self.stays(name));
        let parameter = link.operator.as_ref().and_then(|operator| operator.template());
        looks_at_tx(link)
            && link.operator.is_some()
            && link.targets.include.iter().all(stays)
            && parameter.and_then(named).is_none_or(|names| names.iter().all(|name| self.stays(name)))
    }
}
