//! Running one rule: its links in order, each value through the gate, the transformations and the test, and what
//! happens when it holds.

use std::{borrow::Cow, sync::Arc};

use super::{Incomplete, MatchRecord, Session, facts::Value, mask, texts::key, view::View};
use crate::{
    gate::is_set,
    operator::{Expand, Operator, Outcome, whole_number},
    pattern::Unusable,
    plan::LinkPlan,
    rule::{
        Change, Control, Disruption, Effect, Exclusion, Form, Link, Phase, Rule, Selector, SetVar, Shape,
        Target, Variable,
    },
    ruleset::{EngineMode, RuleSet, excludes_all},
    transform::Transform,
};

/// 4096 values one rule matched; more would tell nothing.
const MATCHED_MAX: usize = 4096;

/// The link that runs.
#[derive(Clone, Copy)]
struct Running<'r> {
    set: &'r RuleSet,
    index: u32,
    rule: &'r Rule,
    link: &'r Link,
    plan: &'r LinkPlan,
    operator: &'r Operator,
    shadow: bool,
}

impl Session {
    pub(super) fn run_rule(&mut self, set: &RuleSet, index: u32) {
        let (Some(rule), Some(plan)) = (set.rules.get(index as usize), set.plans.get(index as usize)) else {
            return;
        };
        if let (Some((test, groups)), Some(operator)) = (&plan.first, rule.links.first().and_then(first_test))
            && !groups.iter().any(|group| self.facts.any_could_pass(set, *group, (*test, operator)))
        {
            return;
        }
        let shadow = self.is_shadowed(index);
        self.matched.all.clear();
        for (link, link_plan) in rule.links.iter().zip(&plan.links) {
            let holds = match &link.operator {
                None => {
                    if !shadow {
                        self.effects(rule, link, link_plan);
                    }
                    Ok(true)
                }
                Some(operator) => {
                    self.run_link(Running { set, index, rule, link, plan: link_plan, operator, shadow })
                }
            };
            match holds {
                Ok(true) => {}
                Ok(false) => return,
                Err(Unusable) => return self.incomplete(Incomplete::Pattern(rule.id)),
            }
        }
        self.matched_whole(rule, plan.go_on_at, shadow);
    }

    fn matched_whole(&mut self, rule: &Rule, go_on_at: Option<usize>, shadow: bool) {
        if rule.log || rule.disruption != Disruption::Pass {
            self.record(rule, shadow);
        }
        if shadow {
            return;
        }
        if let Some(severity) = rule.severity {
            self.highest = Some(self.highest.map_or(severity, |highest| highest.min(severity)));
        }
        match &rule.disruption {
            Disruption::Pass => {}
            // Phase 5 decides nothing: the exchange is over.
            _ if rule.phase == Phase::Logging => {}
            Disruption::Allow(scope) => {
                if self.mode == EngineMode::Enforce {
                    self.allowed = Some((rule.phase, *scope));
                }
            }
            disruption => self.refuse(rule.id, rule.phase, rule.status, disruption),
        }
        if let Some(at) = go_on_at {
            self.go_on_at = self.go_on_at.max(at);
        }
    }

    fn run_link(&mut self, running: Running<'_>) -> Result<bool, Unusable> {
        let mut holds = false;
        for (at, target) in running.link.targets.include.iter().enumerate() {
            let group = running.plan.groups.get(at).copied().flatten();
            holds |= match target.form {
                Form::Count => self.count(running, target)?,
                Form::Values if target.variable.changes() => self.changing(running, target)?,
                Form::Values => self.fixed(running, target, group)?,
            };
        }
        Ok(holds)
    }

    fn is_excluded(&self, running: Running<'_>, variable: Variable, name: &[u8]) -> bool {
        running.link.targets.exclude.iter().any(|exclusion| exclusion.covers(variable, name))
            || self
                .excluded
                .iter()
                .any(|(rules, exclusion)| is_set(rules, running.index) && exclusion.covers(variable, name))
    }

    /// Values that rules do not change: through the gate, with everything remembered.
    fn fixed(&mut self, running: Running<'_>, target: &Target, group: Option<u32>) -> Result<bool, Unusable> {
        let set = running.set;
        let node = running.plan.node;
        if let (Some(group), Some(test)) = (group, running.plan.gate) {
            if !self.facts.any_could_pass(set, group, (test, running.operator)) {
                return Ok(false);
            }
            return self.entries(running, target, (group, test));
        }
        let mut holds = false;
        for at in 0..self.facts.values(target.variable).len() {
            let Some(value) = self.facts.values(target.variable).get(at).copied() else { break };
            let name = self.facts.name(value);
            if !target.selector.admits(target.variable, name)
                || self.is_excluded(running, target.variable, name)
            {
                continue;
            }
            if running.link.multi_match {
                holds |= self.each_form(running, target.variable, value)?;
                continue;
            }
            let content = self.facts.chain(&set.trie, value.content, node);
            holds |= self.test_content(running, target.variable, value, content)?;
        }
        Ok(holds)
    }

    /// The values of a group that the gate lets through.
    fn entries(
        &mut self,
        running: Running<'_>,
        target: &Target,
        (group, test): (u32, u32),
    ) -> Result<bool, Unusable> {
        let mut holds = false;
        let mut at = 0;
        while let Some(value) = self.facts.value_of(running.set, group, at) {
            at += 1;
            if !target.selector.admits(target.variable, self.facts.name(value)) {
                continue;
            }
            if running.link.multi_match {
                if !self.is_excluded(running, target.variable, self.facts.name(value)) {
                    holds |= self.each_form(running, target.variable, value)?;
                }
                continue;
            }
            let content = self.facts.chain(&running.set.trie, value.content, running.plan.node);
            if self.facts.admits(running.set, test, content)
                && !self.is_excluded(running, target.variable, self.facts.name(value))
            {
                holds |= self.test_content(running, target.variable, value, content)?;
            }
        }
        Ok(holds)
    }

    /// `multiMatch`: the value as it is and after each transformation that changed it.
    fn each_form(
        &mut self,
        running: Running<'_>,
        variable: Variable,
        value: Value,
    ) -> Result<bool, Unusable> {
        let mut last = value.content;
        let mut holds = self.test_content(running, variable, value, last)?;
        let trie = &running.set.trie;
        if !self.facts.may_change(trie, value.content, running.plan.node) {
            return Ok(holds);
        }
        for &node in trie.way(running.plan.node) {
            let content = self.facts.chain(trie, value.content, node);
            if content != last {
                last = content;
                holds |= self.test_content(running, variable, value, content)?;
            }
        }
        Ok(holds)
    }

    fn test_content(
        &mut self,
        running: Running<'_>,
        variable: Variable,
        value: Value,
        content: u32,
    ) -> Result<bool, Unusable> {
        let text = self.facts.text(content);
        let len = text.len() as u64;
        let view = View { session: self, rule: running.rule };
        let outcome = running.operator.test(text, running.link.capture, &view)?;
        if outcome.holds != running.link.negated {
            let name = full_name(variable, self.facts.name(value));
            let text = Arc::from(text);
            self.hit(running, name, text, outcome);
            self.facts.work += len;
            return Ok(true);
        }
        self.facts.work += len;
        Ok(false)
    }

    /// Values that rules do change: nothing is remembered about them.
    fn changing(&mut self, running: Running<'_>, target: &Target) -> Result<bool, Unusable> {
        // By far the most frequent: one variable of TX.
        if let (Variable::Tx, Selector::Name(name)) = (target.variable, &target.selector) {
            let Some(text) = self.texts.get(Variable::Tx, name).cloned() else { return Ok(false) };
            if self.is_excluded(running, Variable::Tx, name.as_bytes()) {
                return Ok(false);
            }
            if running.link.transforms.is_empty() && !running.link.capture {
                let view = View { session: self, rule: running.rule };
                let outcome = running.operator.test(&text, false, &view)?;
                let holds = outcome.holds != running.link.negated;
                if holds {
                    self.hit(running, full_name(Variable::Tx, name.as_bytes()), text, outcome);
                }
                return Ok(holds);
            }
            return self.test_text(running, Variable::Tx, name.as_bytes(), &text);
        }
        let mut holds = false;
        for (name, text) in self.changing_values(target.variable, &target.selector) {
            if !self.is_excluded(running, target.variable, &name) {
                holds |= self.test_text(running, target.variable, &name, &text)?;
            }
        }
        Ok(holds)
    }

    /// The values of a variable that rules change, those of the names that are meant.
    pub(super) fn changing_values(
        &self,
        variable: Variable,
        selector: &Selector,
    ) -> Vec<(Vec<u8>, Arc<[u8]>)> {
        let mut values = match variable {
            Variable::MatchedVar => {
                self.matched.last().map(|(_, value)| (Vec::new(), Arc::clone(value))).into_iter().collect()
            }
            Variable::MatchedVarName => self
                .matched
                .last()
                .map(|(name, _)| (Vec::new(), Arc::from(name.as_slice())))
                .into_iter()
                .collect(),
            Variable::MatchedVars => self.matched.all.clone(),
            Variable::MatchedVarsNames => {
                self.matched.all.iter().map(|(name, _)| (name.clone(), Arc::from(name.as_slice()))).collect()
            }
            Variable::HighestSeverity => {
                let severity = self.highest.map_or(255, |severity| severity as u8);
                vec![(Vec::new(), Arc::from(severity.to_string().into_bytes()))]
            }
            Variable::Duration => Vec::new(),
            _ => {
                let begun = match selector {
                    Selector::Matching(pattern) => self.start.named_by(pattern),
                    Selector::All | Selector::Name(_) => None,
                };
                let all = self.texts.all(variable, begun, |name| selector.admits(variable, name.as_bytes()));
                return all.into_iter().map(|(name, text)| (name.as_bytes().to_vec(), text)).collect();
            }
        };
        values.retain(|(name, _)| selector.admits(variable, name));
        values
    }

    fn count(&mut self, running: Running<'_>, target: &Target) -> Result<bool, Unusable> {
        let variable = target.variable;
        let counted = |name: &[u8]| {
            target.selector.admits(variable, name) && !self.is_excluded(running, variable, name)
        };
        let count = match (&target.selector, variable) {
            (Selector::Name(name), Variable::Tx) => usize::from(self.texts.get(Variable::Tx, name).is_some()),
            _ if variable.changes() => self
                .changing_values(variable, &target.selector)
                .iter()
                .filter(|(name, _)| counted(name))
                .count(),
            _ => self.facts.values(variable).iter().filter(|value| counted(self.facts.name(**value))).count(),
        };
        let name = match &target.selector {
            Selector::Name(name) => name.as_bytes().to_vec(),
            _ => Vec::new(),
        };
        if excludes_all(&running.link.targets.exclude, variable) {
            return Ok(false);
        }
        self.test_text(running, variable, &name, count.to_string().as_bytes())
    }

    fn test_text(
        &mut self,
        running: Running<'_>,
        variable: Variable,
        name: &[u8],
        text: &[u8],
    ) -> Result<bool, Unusable> {
        if running.link.transforms.is_empty() {
            return self.test_form(running, variable, name, text);
        }
        let mut forms: Vec<Cow<'_, [u8]>> = vec![Cow::Borrowed(text)];
        for transform in &running.link.transforms {
            self.facts.work += text.len() as u64;
            let Some(changed) = forms.last().and_then(|last| changed(*transform, last)) else { continue };
            if !running.link.multi_match {
                forms.clear();
            }
            forms.push(Cow::Owned(changed));
        }
        let mut holds = false;
        for form in forms {
            holds |= self.test_form(running, variable, name, &form)?;
        }
        Ok(holds)
    }

    fn test_form(
        &mut self,
        running: Running<'_>,
        variable: Variable,
        name: &[u8],
        form: &[u8],
    ) -> Result<bool, Unusable> {
        let view = View { session: self, rule: running.rule };
        let outcome = running.operator.test(form, running.link.capture, &view)?;
        self.facts.work += form.len() as u64;
        let holds = outcome.holds != running.link.negated;
        if holds {
            self.hit(running, full_name(variable, name), Arc::from(form), outcome);
        }
        Ok(holds)
    }

    fn hit(&mut self, running: Running<'_>, name: Vec<u8>, value: Arc<[u8]>, outcome: Outcome) {
        if self.matched.all.len() >= MATCHED_MAX {
            self.matched.all.pop();
        }
        self.matched.all.push((name, value));
        if running.link.capture && !outcome.captured.is_empty() {
            self.texts.capture(outcome.captured);
        }
        if !running.shadow {
            self.effects(running.rule, running.link, running.plan);
        }
    }

    fn effects(&mut self, rule: &Rule, link: &Link, plan: &LinkPlan) {
        for (effect, removed) in link.effects.iter().zip(&plan.removed) {
            match effect {
                Effect::Set(change) => self.change(rule, change),
                Effect::Control(control) => self.control(control, removed.as_deref()),
                Effect::Open { collection, .. } => self.texts.open(*collection),
                // Collections end with the exchange, before anything could expire.
                Effect::Expire { .. } => {}
            }
        }
    }

    fn change(&mut self, rule: &Rule, change: &SetVar) {
        let view = View { session: self, rule };
        // Names are in small letters since they were loaded; most have no macros.
        let name = match change.name.constant().map(|name| std::str::from_utf8(name)) {
            Some(Ok(name)) => Cow::Borrowed(name),
            _ => Cow::Owned(key(&view.expand(&change.name)).into_owned()),
        };
        let current = || self.texts.get(change.collection, &name).map_or(0, |text| whole_number(text));
        let text: Arc<[u8]> = match &change.change {
            Change::Remove => return self.texts.remove(change.collection, &name),
            Change::Assign(value) => match value.constant() {
                Some(constant) => Arc::clone(constant),
                None => Arc::from(&*view.expand(value)),
            },
            Change::Add(number) => number_text(current().saturating_add(view.number(number))),
            Change::Subtract(number) => number_text(current().saturating_sub(view.number(number))),
        };
        self.texts.set(change.collection, &name, text);
    }

    fn control(&mut self, control: &Control, removed: Option<&[u64]>) {
        match control {
            Control::Audit(audit) => self.verdict.audit = *audit,
            Control::ForceRequestBody(force) => self.force_body = *force,
            // A rule may soften the mode the policy chose, never harden it.
            Control::Mode(mode) => {
                self.mode = match (self.mode, mode) {
                    (EngineMode::Enforce, mode) => *mode,
                    (EngineMode::Detect, EngineMode::Off) => EngineMode::Off,
                    (now, _) => now,
                };
            }
            Control::Processor(processor) => {
                self.processor = Some(*processor);
                self.processor_word();
            }
            Control::RemoveRules(_) => {
                let removed = removed.unwrap_or_default();
                self.removed.iter_mut().zip(removed).for_each(|(word, removed)| *word |= removed);
            }
            Control::RemoveTargets(_, exclusion) => {
                let exclusion: Exclusion = exclusion.clone();
                self.excluded.push((removed.unwrap_or_default().into(), exclusion));
            }
            Control::RequestBodyAccess(access) => self.request_body_access = *access,
            Control::ResponseBodyAccess(access) => self.response_body_access = *access,
            Control::Unobserved => {}
        }
    }

    fn record(&mut self, rule: &Rule, shadow: bool) {
        let view = View { session: self, rule };
        let record = MatchRecord {
            rule: rule.id,
            place: rule.place.clone(),
            phase: rule.phase,
            message: rule.message.as_ref().map(|text| view.masked(text)).unwrap_or_default(),
            log_data: rule.log_data.as_ref().map(|text| view.masked(text)).unwrap_or_default(),
            tags: rule.tags.clone(),
            severity: rule.severity,
            variable: mask::name(self.matched.all.first().map_or(&b""[..], |(name, _)| name)),
            transforms: rule
                .links
                .first()
                .map(|link| link.transforms.iter().map(|step| step.name()).collect())
                .unwrap_or_default(),
            excerpt: mask::shape(self.matched.all.first().map_or(&b""[..], |(_, value)| value)),
            log: rule.log,
            shadow,
        };
        self.verdict.matches.push(record);
    }
}

fn first_test(link: &Link) -> Option<&Operator> {
    link.operator.as_ref()
}

fn changed(transform: Transform, text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    transform.apply(text, &mut out).then_some(out)
}

fn number_text(number: i64) -> Arc<[u8]> {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut left = number.unsigned_abs();
    loop {
        at -= 1;
        if let Some(place) = digits.get_mut(at) {
            *place = b'0' + (left % 10) as u8;
        }
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if number < 0 {
        at -= 1;
        digits.get_mut(at).into_iter().for_each(|place| *place = b'-');
    }
    Arc::from(digits.get(at..).unwrap_or_default())
}

/// `ARGS:name`, `REQUEST_URI`.
fn full_name(variable: Variable, name: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(variable.name().len() + 1 + name.len());
    full.extend_from_slice(variable.name().as_bytes());
    if variable.shape() != Shape::Scalar && !name.is_empty() {
        full.push(b':');
        full.extend_from_slice(name);
    }
    full
}
