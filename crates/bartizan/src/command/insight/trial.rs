//! Trying what insight proposes: what it would have done to recorded requests, and beginning a rollout with it.
//!
//! The documents in force and the proposed one beside them (or in the place of the one it replaces) are both judged over
//! what was recorded, so the difference is the proposal's alone. A proposal is written in shadow; here it bites, because
//! what is asked is what it would do.

use std::{error::Error, path::PathBuf, sync::Arc};

use bartizan_config::{
    Set,
    replay::{Difference, Dimension, Tally},
    snapshot::Snapshot,
    source::Sources,
};
use bartizan_model::problem::Severity;
use bartizan_store::RevisionFile;
use serde_json::{Value, json};

use super::super::{
    print::{BOLD, PLAIN, clean, counted},
    replay::{self, Recorded},
    set, when,
};

/// The documents in force, as texts by name.
pub(super) type Texts = Vec<(String, String)>;

/// A proposal beside the documents in force.
pub(super) struct Trial {
    /// The documents with it.
    pub(super) texts: Texts,
    base: Arc<Snapshot>,
    candidate: Arc<Snapshot>,
}

/// What a proposal would have done.
pub(super) struct Effect {
    tally: Tally,
}

impl Trial {
    /// Puts a proposed document among those in force; `name` is that of its file.
    pub(super) fn of(texts: &Texts, name: &str, document: &str) -> Result<Self, Box<dyn Error>> {
        let with = with_document(texts, name, &biting(document));
        Ok(Trial {
            base: compiled(texts).map_err(|why| format!("the documents in force have problems:\n{why}"))?,
            candidate: compiled(&with)
                .map_err(|why| format!("the proposal does not fit the documents in force:\n{why}"))?,
            texts: with,
        })
    }

    /// What it would have done to what was recorded.
    pub(super) fn effect(self, recorded: Recorded) -> Result<Effect, Box<dyn Error>> {
        let tally = replay::counterfactual(recorded, self.base, self.candidate)?;
        Ok(Effect { tally })
    }

    /// The texts as a revision keeps them.
    pub(super) fn files(&self) -> Vec<RevisionFile> {
        let file = |(name, text): &(String, String)| RevisionFile { name: name.clone(), text: text.clone() };
        self.texts.iter().map(file).collect()
    }
}

impl Effect {
    /// In words.
    pub(super) fn text(&self) -> String {
        let Tally { requests, same, .. } = &self.tally;
        let count = |difference: Difference| self.count(difference);
        if *requests == 0 {
            return "no request is recorded that could be judged\n".to_owned();
        }
        let span = self.tally.span.map_or_else(String::new, |(first, last)| {
            format!(" from {} to {}", when::moment(first / 1_000_000), when::moment(last / 1_000_000))
        });
        let mut out = format!(
            "it would have refused {BOLD}{} of {}{PLAIN}{span}\n  {} the same, {} newly allowed, {} not judgeable\n",
            count(Difference::NewlyRefused),
            counted(*requests, "call"),
            same,
            count(Difference::NewlyAllowed),
            self.tally.not_judgeable(),
        );
        if self.tally.estimates > 0 {
            out.push_str("  differences by limits are estimates: limits are recomputed from empty\n");
        }
        let rows = self.consumers();
        if !rows.is_empty() {
            let shown: Vec<String> = rows
                .iter()
                .take(ROWS_MAX)
                .map(|(who, refused)| format!("{} ({refused})", clean(who)))
                .collect();
            let more = rows.len().saturating_sub(ROWS_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            out.push_str(&format!("  felt by {}{more}\n", shown.join(", ")));
        }
        for (cause, count) in &self.tally.unseen {
            out.push_str(&format!("  not judgeable: {} for {}\n", count, cause.as_str()));
        }
        out
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let felt: Vec<Value> = self
            .consumers()
            .into_iter()
            .map(|(who, refused)| json!({ "consumer": who, "newlyRefused": refused }))
            .collect();
        json!({
            "requests": self.tally.requests,
            "same": self.tally.same,
            "newlyRefused": self.count(Difference::NewlyRefused),
            "newlyAllowed": self.count(Difference::NewlyAllowed),
            "notJudgeable": self.tally.not_judgeable(),
            "estimates": self.tally.estimates,
            "feltBy": felt,
        })
    }

    fn count(&self, difference: Difference) -> u64 {
        self.tally.differences.get(&difference).copied().unwrap_or(0)
    }

    /// Who would have been refused, the most first.
    fn consumers(&self) -> Vec<(String, u64)> {
        let rows = self.tally.rows.get(&Dimension::Consumer).into_iter().flatten();
        let mut rows: Vec<(String, u64)> = rows
            .filter(|(_, row)| row.refused > 0)
            .map(|(name, row)| (name.to_string(), row.refused))
            .collect();
        rows.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        rows
    }
}

fn compiled(texts: &Texts) -> Result<Arc<Snapshot>, String> {
    let mut set = Set::from_sources(Sources::kept(texts.iter().cloned()));
    match set.compiled.snapshot.take() {
        Some(snapshot) => Ok(snapshot),
        None => Err(set::section(&set, Severity::Problem)),
    }
}

/// The document as one that bites; insight writes the mode in a line of its own.
fn biting(document: &str) -> String {
    document.lines().filter(|line| line.trim() != "mode: shadow").map(|line| format!("{line}\n")).collect()
}

/// The texts with a document: in the place of the one of its kind and name, else as a file of its own.
fn with_document(texts: &Texts, name: &str, document: &str) -> Texts {
    let wanted = identities("document.yaml", document);
    let mut replaced = false;
    let mut with: Texts = Vec::with_capacity(texts.len() + 1);
    for (file, text) in texts {
        let parts: Vec<String> = parts(text)
            .into_iter()
            .map(|part| {
                let is_it = !replaced && !wanted.is_empty() && identities(file, &part) == wanted;
                replaced |= is_it;
                if is_it { document.to_owned() } else { part }
            })
            .collect();
        with.push((file.clone(), parts.join("---\n")));
    }
    if !replaced {
        with.push((format!("{name}.yaml"), document.to_owned()));
    }
    with
}

/// The documents of a YAML text, each as it stands. A text without separators is one part, whatever it is.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for line in text.lines() {
        if line.trim_end() == "---" {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts
}

/// Kind and name of what a text holds. A file that is none (a rule set beside the documents) holds nothing.
fn identities(file: &str, text: &str) -> Vec<(String, String)> {
    let set = Set::from_sources(Sources::kept([(file.to_owned(), text.to_owned())]));
    let documents = set.documents.iter();
    documents
        .map(|document| (document.kind().as_str().to_owned(), document.name.as_str().to_owned()))
        .collect()
}

/// The record store of a data directory, or what was named.
pub(super) fn recorded(
    named: Option<&PathBuf>,
    key_file: Option<&PathBuf>,
    records: PathBuf,
) -> Result<Recorded, Box<dyn Error>> {
    match named {
        Some(path) => Recorded::open(path, key_file.map(PathBuf::as_path)),
        None => Ok(Recorded::store(records)),
    }
}

/// A line of callers.
const ROWS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn document(kind: &str, name: &str, spec: &str) -> String {
        format!("apiVersion: management.v1\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec: {spec}\n")
    }

    #[test]
    fn a_document_takes_the_place_of_the_one_it_replaces_or_stands_beside_the_others() {
        let (reader, writer) = (document("Role", "reader", "{}"), document("Role", "writer", "{}"));
        let texts = vec![
            ("a.yaml".to_owned(), format!("{reader}---\n{writer}")),
            ("rules.conf".to_owned(), "SecRuleEngine On\n".to_owned()),
        ];
        let narrower = document("Role", "writer", "{ grants: [{ routes: [orders] }] }");
        let with = with_document(&texts, "insight-r4", &narrower);
        assert_eq!(with[0].1, format!("{reader}---\n{narrower}"));
        assert_eq!((with.len(), &with[1]), (2, &texts[1]));
        let other = document("Role", "other", "{}");
        let with = with_document(&texts, "insight-r4", &other);
        assert_eq!((&with[..2], &with[2]), (&texts[..], &("insight-r4.yaml".to_owned(), other)));
    }

    #[test]
    fn what_is_tried_bites() {
        let proposed = "kind: RateLimitPolicy\nspec:\n  limits: {}\n  mode: shadow\n";
        assert_eq!(biting(proposed), "kind: RateLimitPolicy\nspec:\n  limits: {}\n");
    }
}
