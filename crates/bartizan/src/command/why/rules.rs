//! The rules that matched in a request: which, where they are written, what they looked at, the shape of what they found,
//! and the exclusion that would let it pass. The record has no value of the request, so neither has the story.

use std::collections::BTreeMap;

use crate::command::records::Matched;

/// 12 rules: a request that matches more is not told better by more of them; `--format json` has them all.
const TOLD_MAX: usize = 12;

/// One line and its continuation for each rule.
pub(super) fn told(rules: &[Matched]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for found in rules.iter().take(TOLD_MAX) {
        let message = if found.message.is_empty() { "" } else { ": " };
        lines.push(format!("rule       {} {}{message}{}", found.rule, role(found), found.message));
        let at = if found.at.is_empty() { "?" } else { &found.at };
        if is_cause(found) {
            let transforms = if found.transforms.is_empty() { "none" } else { &found.transforms };
            lines.push(format!(
                "           {at}; {} after {transforms}, of the shape {}",
                found.variable, found.excerpt
            ));
        } else {
            lines.push(format!("           {at}"));
        }
    }
    if let Some(more) = rules.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
        lines.push(format!("           and {more} more"));
    }
    lines
}

fn role(found: &Matched) -> &str {
    match &*found.role {
        "decided" => "refused it",
        "shadow" => "matched in shadow",
        _ => "matched",
    }
}

/// Whether it matched something of the message, and not a number that other rules made.
fn is_cause(found: &Matched) -> bool {
    !found.variable.is_empty() && !found.variable.starts_with("TX")
}

/// What would let the request pass, by policy: the exclusions of all rules that led to the refusal, and the advice to
/// watch before anything is opened.
pub(super) fn remedies(rules: &[Matched], policy: Option<&str>) -> Vec<String> {
    let mut by_policy: BTreeMap<&str, (Vec<&str>, Vec<u32>)> = BTreeMap::new();
    let bites = |found: &&Matched| found.role != "shadow";
    for found in rules.iter().filter(bites).filter(|found| policy.is_none_or(|policy| found.policy == policy))
    {
        let Some(exclusion) = found.exclusion.as_deref() else { continue };
        let (exclusions, numbers) = by_policy.entry(&found.policy).or_default();
        if !exclusions.contains(&exclusion) {
            exclusions.push(exclusion);
        }
        if !numbers.contains(&found.rule) {
            numbers.push(found.rule);
        }
    }
    let mut remedies = Vec::new();
    for (policy, (exclusions, numbers)) in by_policy {
        let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
        remedies.push(format!(
            "first, in shadow: `ruleModes: [{{ rules: [{}], mode: shadow }}]` in {policy} keeps recording and lets the \
             request pass; watch whether honest requests are among what it would have refused",
            numbers.join(", ")
        ));
        remedies.push(format!(
            "then, if they are: `exclusions: [{}]` in {policy}, and the rule modes back as they were",
            exclusions.join(", ")
        ));
    }
    remedies
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: u32, role: &str, variable: &str) -> Matched {
        Matched {
            rule,
            role: role.to_owned(),
            policy: "InspectionPolicy/own".to_owned(),
            at: format!("own.conf:{rule}"),
            variable: variable.to_owned(),
            excerpt: "a'a".to_owned(),
            exclusion: (!variable.starts_with("TX"))
                .then(|| format!("{{ rules: [{rule}], targets: [\"{variable}\"] }}")),
            ..Matched::default()
        }
    }

    #[test]
    fn the_causes_are_excluded_and_the_rule_that_sums_them_up_is_not() {
        let rules = [
            found(1, "matched", "ARGS:a"),
            found(1, "matched", "ARGS:b"),
            found(2, "shadow", "ARGS:a"),
            found(9, "decided", "TX:score"),
        ];
        let said = remedies(&rules, Some("InspectionPolicy/own"));
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("rules: [1], mode: shadow"), "{said:?}");
        assert!(
            said[1].contains(
                "exclusions: [{ rules: [1], targets: [\"ARGS:a\"] }, { rules: [1], targets: [\"ARGS:b\"] }]"
            ),
            "{said:?}"
        );
        assert!(remedies(&rules, Some("InspectionPolicy/other")).is_empty());
    }

    #[test]
    fn many_rules_are_cut_and_said_to_be() {
        let rules: Vec<Matched> = (0..20).map(|rule| found(rule, "matched", "ARGS:a")).collect();
        let lines = told(&rules);
        assert_eq!(lines.len(), 2 * TOLD_MAX + 1);
        assert_eq!(lines.last().map(String::as_str), Some("           and 8 more"));
    }
}
