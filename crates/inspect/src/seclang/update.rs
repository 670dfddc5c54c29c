//! Directives that change rules loaded before them: taking out, other targets, other actions.

use super::{Item, Loader, action, adopt, decision, indices, lex::Directive, target};
use crate::{error::Problem, rule::Removal};

impl Loader<'_> {
    pub(super) fn remove(&mut self, removal: &Removal) -> Result<(), Problem> {
        self.must_exist(removal)?;
        // The rule keeps its place, so that markers and later updates still find their way.
        let removed: Vec<usize> = indices(&self.rules, removal);
        self.items.retain(|item| !matches!(item, Item::Rule(index) if removed.contains(index)));
        Ok(())
    }

    pub(super) fn update_targets(&mut self, name: &str, directive: &Directive) -> Result<(), Problem> {
        let [which, changes] = directive.arguments.as_slice() else {
            return Err(Problem::Text(
                "an update of targets takes rules and targets; replacing is not supported",
            ));
        };
        let removal = removal(name, which)?;
        self.must_exist(&removal)?;
        let changes = target::targets(changes)?;
        for index in indices(&self.rules, &removal) {
            let Some(head) = self.rules.get_mut(index).and_then(|rule| rule.links.first_mut()) else {
                continue;
            };
            head.targets.include.extend(changes.include.iter().cloned());
            head.targets.exclude.extend(changes.exclude.iter().cloned());
        }
        Ok(())
    }

    pub(super) fn update_actions(&mut self, directive: &Directive) -> Result<(), Problem> {
        let [which, changes] = directive.arguments.as_slice() else {
            return Err(Problem::Text("an update of actions takes a rule and actions"));
        };
        let removal = removal("secruleremovebyid", which)?;
        self.must_exist(&removal)?;
        let changes = action::actions(changes)?;
        if changes.id.is_some() || changes.phase.is_some() || changes.chain {
            return Err(Problem::Text("an update of actions cannot change id, phase or chain"));
        }
        for index in indices(&self.rules, &removal) {
            let Some(rule) = self.rules.get_mut(index) else { continue };
            let defaults = self.defaults.get(rule.phase.index()).cloned().unwrap_or_default();
            if changes.decision.is_some() {
                rule.disruption = decision(changes.decision.as_ref(), &defaults);
            }
            rule.log = changes.log.unwrap_or(rule.log);
            rule.audit = changes.audit.unwrap_or(rule.audit);
            rule.status = changes.status.or(rule.status);
            rule.tags.extend(changes.tags.iter().cloned());
            adopt(rule, &changes);
            rule.severity = changes.severity.or(rule.severity);
            rule.skip_after = changes.skip_after.clone().or_else(|| rule.skip_after.clone());
            if let Some(head) = rule.links.first_mut() {
                if changes.clears_transforms {
                    head.transforms.clear();
                }
                head.transforms.extend(changes.transforms.iter().copied());
                head.effects.extend(changes.effects.iter().cloned());
                head.capture |= changes.capture;
                head.multi_match |= changes.multi_match;
            }
        }
        Ok(())
    }

    /// A single number that names no rule is a slip of the pen; a range may be wider than the set.
    fn must_exist(&self, removal: &Removal) -> Result<(), Problem> {
        if let Removal::Ids(ranges) = removal {
            for (from, to) in ranges {
                if from == to && !self.ids.contains_key(from) {
                    return Err(Problem::RuleMissing(*from));
                }
            }
        }
        Ok(())
    }
}

/// Which rules a directive means.
pub(super) fn removal(directive: &str, text: &str) -> Result<Removal, Problem> {
    if directive.ends_with("tag") {
        Ok(Removal::Tag(action::named(text)?))
    } else if directive.ends_with("msg") {
        Ok(Removal::Message(action::named(text)?))
    } else {
        action::ids(text).map(Removal::Ids).ok_or_else(|| Problem::Argument {
            what: directive.to_owned(),
            value: text.to_owned(),
            expected: "rule numbers or ranges",
        })
    }
}
