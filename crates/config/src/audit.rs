//! Assess: what a set of documents leaves open, weak or unkept, as findings with a fix.
//!
//! `check` says what is wrong with documents and lists what they open by themselves; an audit looks at the whole, also at
//! keys, certificates and time, against rules with stable ids. Pure: the clock and the state are arguments. Reading order:
//! [`rule`] (the table), then one file per subject.

mod access;
mod fix;
mod keeping;
mod limits;
mod policies;
mod rule;
mod state;
mod transport;

use std::{cmp::Reverse, sync::Arc};

use bartizan_model::{
    document::{Document, Kind},
    problem::Span,
};

pub use self::{
    fix::{Fix, FixKind},
    rule::{Gravity, Owasp, RULES, Rule, page},
    state::{CertificateState, KeyState, State},
};
use crate::snapshot::{RouteAction, RoutePlan, Snapshot};

/// Something that an audit found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// How grave it is here; the rule's, unless a circumstance says otherwise.
    pub gravity: Gravity,
    /// The document, as `Kind/name`; empty for what is of no document.
    pub document: String,
    /// Where it stands; [`Span::SET`] for what is of no document.
    pub at: Span,
    /// What is so: lower case, no full stop.
    pub message: String,
    /// What to do.
    pub fix: Option<Fix>,
}

/// What makes a finding the same in a later audit: rule, document and message, not its line, which other changes move.
/// Days in a message do not count, for they pass by themselves.
pub type Identity = (String, String, String);

impl Finding {
    /// The finding as it is known again.
    pub fn identity(&self) -> Identity {
        (self.rule.id.to_owned(), self.document.clone(), timeless(&self.message))
    }
}

/// A message without the numbers in front of `days`.
pub fn timeless(message: &str) -> String {
    let words: Vec<&str> = message.split(' ').collect();
    let is_days =
        |at: usize| words.get(at + 1).is_some_and(|next| next.trim_end_matches([',', '.']) == "days");
    let kept = words.iter().enumerate().map(|(at, word)| {
        let is_count = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        if is_count && is_days(at) { "N" } else { word }
    });
    kept.collect::<Vec<_>>().join(" ")
}

/// Audits a set: its documents, what they compile to, and what is known beside them. The gravest findings come first.
pub fn audit(documents: &[Document], snapshot: &Snapshot, state: &State) -> Vec<Finding> {
    let mut house = House { documents, snapshot, state, findings: Vec::new() };
    access::audit(&mut house);
    limits::audit(&mut house);
    transport::audit(&mut house);
    policies::audit(&mut house);
    keeping::audit(&mut house);
    state::audit(&mut house);
    let mut findings = house.findings;
    findings.sort_by_key(|finding| (Reverse(finding.gravity), finding.rule.id, finding.at));
    findings
}

/// What is looked at, and what was found.
struct House<'a> {
    documents: &'a [Document],
    snapshot: &'a Snapshot,
    state: &'a State,
    findings: Vec<Finding>,
}

impl<'a> House<'a> {
    fn of(&self, kind: Kind) -> impl Iterator<Item = &'a Document> + use<'a> {
        self.documents.iter().filter(move |document| document.kind() == kind)
    }

    /// The routes whose rules forward something, to an upstream or a model, each with the plans of those rules.
    fn routes(&self) -> Vec<(&'a Document, Vec<&'a Arc<RoutePlan>>)> {
        let plans = |name: &str| {
            let is_of = |plan: &&Arc<RoutePlan>| {
                *plan.route == *name && !matches!(plan.action, RouteAction::Redirect(_))
            };
            self.snapshot.routes.iter().filter(is_of).collect::<Vec<_>>()
        };
        self.of(Kind::Route)
            .map(|document| (document, plans(document.name.as_str())))
            .filter(|(_, plans)| !plans.is_empty())
            .collect()
    }

    /// Notes a finding about a document.
    fn find(&mut self, rule: &'static Rule, document: &Document, message: String, fix: Option<Fix>) {
        self.find_at(rule, document, place(document), message, fix);
    }

    /// Notes a finding at a place within a document.
    fn find_at(
        &mut self,
        rule: &'static Rule,
        document: &Document,
        at: Span,
        message: String,
        fix: Option<Fix>,
    ) {
        let at = if at.is_place() { at } else { place(document) };
        let document = label(document);
        self.findings.push(Finding { rule, gravity: rule.gravity, document, at, message, fix });
    }
}

/// `Kind/name`.
fn label(document: &Document) -> String {
    format!("{}/{}", document.kind().as_str(), document.name.as_str())
}

/// Where a document is named, else where it begins.
fn place(document: &Document) -> Span {
    if document.name.at.is_place() { document.name.at } else { document.at }
}
