//! What rules said of a request, for people and for programs.

use bartizan_inspect::{Incomplete, MatchRecord, Verdict};
use serde::Serialize;

use crate::command::print::{BOLD, BOLD_GREEN, BOLD_RED, PLAIN, clean};

/// A verdict as it is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    verdict: &'static str,
    /// The rule that refuses.
    rule: Option<u32>,
    score: i64,
    incomplete: Vec<String>,
    matches: Vec<Match>,
}

/// A rule that matched.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Match {
    rule: u32,
    decides: bool,
    at: String,
    message: String,
    variable: String,
    transforms: Vec<&'static str>,
    excerpt: String,
    tags: Vec<String>,
    exclusion: Option<String>,
}

impl Told {
    pub(super) fn of(verdict: &Verdict) -> Self {
        let rule = verdict.refusal.as_ref().map(|refusal| refusal.rule);
        Told {
            verdict: match (rule, verdict.incomplete.first()) {
                (Some(_), _) => "refused",
                (None, Some(_)) => "incomplete",
                (None, None) => "passes",
            },
            rule,
            score: verdict.inbound_score,
            incomplete: verdict.incomplete.iter().map(incomplete).collect(),
            matches: verdict.matches.iter().map(|found| Match::of(found, rule)).collect(),
        }
    }

    /// Whether an enforced policy would let it pass.
    pub(super) fn passes(&self) -> bool {
        self.verdict == "passes"
    }

    pub(super) fn text(&self) -> String {
        let mut out = match (self.verdict, self.rule) {
            ("refused", Some(rule)) => {
                format!("{BOLD_RED}refused{PLAIN} by rule {rule}: 403 AttackDetected\n")
            }
            ("passes", _) => format!("{BOLD_GREEN}passes{PLAIN}\n"),
            _ => format!("{BOLD_RED}incomplete{PLAIN}: 403 InspectionIncomplete\n"),
        };
        for why in &self.incomplete {
            out.push_str(&format!("  not judged: {}\n", clean(why)));
        }
        for found in &self.matches {
            out.push_str(&found.text());
        }
        if self.matches.iter().any(|found| found.exclusion.is_some()) && !self.passes() {
            out.push_str(
                "\nAn exclusion belongs into `spec.exclusions` of the InspectionPolicy. Watch first whether it opens more than\n\
                 you mean: `ruleModes: [{ rules: [NUMBER], mode: shadow }]` keeps a rule recorded without letting it decide.\n",
            );
        }
        out
    }
}

impl Match {
    fn of(found: &MatchRecord, decides: Option<u32>) -> Self {
        let is_of_message = !found.variable.is_empty() && !found.variable.starts_with("TX");
        Match {
            rule: found.rule,
            decides: decides == Some(found.rule),
            at: found.place.to_string(),
            message: found.message.clone(),
            variable: found.variable.clone(),
            transforms: found.transforms.clone(),
            excerpt: found.excerpt.clone(),
            tags: found.tags.iter().map(ToString::to_string).collect(),
            exclusion: is_of_message
                .then(|| format!("{{ rules: [{}], targets: [{:?}] }}", found.rule, found.variable)),
        }
    }

    fn text(&self) -> String {
        let transforms =
            if self.transforms.is_empty() { "none".to_owned() } else { self.transforms.join(", ") };
        let mut out = format!("\n{BOLD}{}{PLAIN} {}\n", self.rule, clean(&self.message));
        out.push_str(&format!("  rule        {}\n", clean(&self.at)));
        out.push_str(&format!("  matched     {} after {transforms}\n", clean(&self.variable)));
        out.push_str(&format!("  shape       {}\n", clean(&self.excerpt)));
        if let Some(exclusion) = &self.exclusion {
            out.push_str(&format!("  to exclude  {}\n", clean(exclusion)));
        }
        out
    }
}

fn incomplete(cause: &Incomplete) -> String {
    bartizan_proxy::stage::judge::described(cause)
}
