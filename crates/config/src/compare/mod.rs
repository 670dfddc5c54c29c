//! What changes from one set to another, and what that means: the core of `bartizan plan`.
//!
//! Pure. Two views are put side by side. The *documents* are compared field by field (`fields`), and a table says which
//! difference is weaker or stronger (`rules`). The *snapshots* are compared by what is published (`reach`): what becomes
//! reachable or is no more, and which policies guard it before and after, because a policy that loses its target or is
//! removed weakens routes whose own documents did not change.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bartizan_model::{
    document::{Document, Kind},
    node::Node,
};
use serde::Serialize;
use serde_json::Value;

use crate::{Set, snapshot::Snapshot, source::Sources};

mod fields;
mod judge;
mod place;
mod reach;
mod rules;
mod touch;

#[cfg(test)]
mod tests;

use place::Places;

/// One of the two sets.
#[derive(Clone, Copy, Debug)]
pub struct Side<'s> {
    /// Its texts.
    pub sources: &'s Sources,
    /// Its documents.
    pub documents: &'s [Document],
    /// The same as trees.
    pub nodes: &'s [Node],
    /// What it compiles to.
    pub snapshot: &'s Snapshot,
}

impl<'s> Side<'s> {
    /// A set, if it compiled.
    pub fn of(set: &'s Set) -> Option<Self> {
        let snapshot = set.compiled.snapshot.as_ref()?;
        Some(Side { sources: &set.sources, documents: &set.documents, nodes: &set.nodes, snapshot })
    }
}

/// Everything that differs between two sets.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// Documents that were added, removed or changed, by kind and name.
    pub documents: Vec<DocumentChange>,
    /// Routes for which anything changes, also by what is attached to them.
    pub routes: Vec<String>,
    /// Consumers for which anything changes.
    pub consumers: Vec<String>,
    /// What is published now and was not before.
    pub opened: Vec<Reach>,
    /// What was published before and is not any more.
    pub closed: Vec<Reach>,
    /// What becomes weaker, stronger or simply different, the gravest first.
    pub findings: Vec<Finding>,
}

/// What happened to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// It is new.
    Added,
    /// It says something else.
    Changed,
    /// It is gone.
    Removed,
}

/// A document that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentChange {
    /// What happened to it.
    pub change: Change,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Where it stands; for one that is gone, where it stood.
    pub place: Option<Place>,
    /// The fields that differ, if it was changed.
    pub fields: Vec<FieldChange>,
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// Its path; for one that is gone, where it was.
    pub path: String,
    /// What it said, defaults included.
    pub before: Option<Value>,
    /// What it says.
    pub after: Option<Value>,
    /// Where it stands, if it is written.
    pub place: Option<Place>,
}

/// A place in one of the sets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

/// Something that is published.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// The listener.
    pub listener: String,
    /// The host; `any` where every one is meant.
    pub host: String,
    /// The path as documents write it.
    pub path: String,
    /// How the path is compared.
    pub path_type: String,
    /// The methods; empty means any.
    pub methods: Vec<String>,
    /// Conditions on headers and query parameters.
    pub conditions: Vec<String>,
    /// The rule that it leads to.
    pub route: String,
    /// What guards it, in words.
    pub guards: Vec<String>,
    /// The rule that answers or answered there in the other set, where one does.
    pub other: Option<String>,
}

/// Whether something becomes better or worse to attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// More is let through, trusted, or spent.
    Weaker,
    /// Neither can be said; somebody should look.
    Different,
    /// Less is.
    Stronger,
}

impl Direction {
    /// The word in text and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::Weaker => "weaker",
            Direction::Different => "different",
            Direction::Stronger => "stronger",
        }
    }
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Weight {
    /// It decides who gets in.
    Grave,
    /// It decides how much, or what is seen.
    Notable,
    /// A margin moves.
    Slight,
}

impl Weight {
    /// The word in text and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Weight::Grave => "grave",
            Weight::Notable => "notable",
            Weight::Slight => "slight",
        }
    }
}

/// Something that becomes weaker, stronger or different.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Which way.
    pub direction: Direction,
    /// How much it matters.
    pub weight: Weight,
    /// A stable word for programs.
    pub code: &'static str,
    /// The document it comes from, as `Kind/name`.
    pub document: String,
    /// The field, where it is one.
    pub path: Option<String>,
    /// What it means, in a sentence without its full stop.
    pub message: String,
    /// The routes concerned, where that is not plain from the document.
    pub routes: Vec<String>,
    /// Where it is written.
    pub place: Option<Place>,
}

impl Comparison {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
            && self.opened.is_empty()
            && self.closed.is_empty()
            && self.findings.is_empty()
    }

    /// How many documents were added, changed and removed.
    pub fn counts(&self) -> [usize; 3] {
        [Change::Added, Change::Changed, Change::Removed]
            .map(|wanted| self.documents.iter().filter(|document| document.change == wanted).count())
    }

    /// How many findings go one way.
    pub fn count(&self, direction: Direction) -> usize {
        self.findings.iter().filter(|finding| finding.direction == direction).count()
    }
}

/// Compares two sets; without a first one everything is new.
pub fn compare(before: Option<Side<'_>>, after: Side<'_>) -> Comparison {
    let old = before.map_or(&[][..], |side| side.documents);
    let (documents, mut findings) = documents(old, after.documents);
    let places = Places::new(before, after);
    let documents: Vec<DocumentChange> = documents.into_iter().map(|found| found.placed(&places)).collect();
    let surfaces = (before.map(|side| reach::Surface::of(side.snapshot)), reach::Surface::of(after.snapshot));
    let reached = reach::compare(surfaces.0.as_ref(), &surfaces.1);
    findings.extend(reached.findings);
    let changed: HashSet<String> =
        documents.iter().map(|document| format!("{}/{}", document.kind, document.name)).collect();
    let routes = touch::RoutesBy::of(surfaces.0.as_ref(), &surfaces.1);
    for finding in &mut findings {
        finding.place = places.of_finding(finding);
        if finding.routes.is_empty() {
            finding.routes = routes.beyond(&finding.document);
        }
    }
    findings.sort_by(|one, other| {
        let key = |finding: &Finding| {
            (finding.direction, finding.weight, finding.document.clone(), finding.path.clone())
        };
        key(one).cmp(&key(other))
    });
    Comparison {
        documents,
        routes: routes.touched(&changed),
        consumers: touch::consumers(
            &changed,
            before.map(|side| (side.snapshot, side.documents)),
            (after.snapshot, after.documents),
        ),
        opened: reached.opened,
        closed: reached.closed,
        findings,
    }
}

/// A changed document, before its places are known.
struct Found<'d> {
    change: Change,
    before: Option<&'d Document>,
    after: Option<&'d Document>,
    fields: Vec<fields::Difference>,
}

impl Found<'_> {
    fn placed(self, places: &Places<'_>) -> DocumentChange {
        let document = self.after.or(self.before);
        let kind = document.map_or("", |document| document.kind().as_str()).to_owned();
        let name = document.map_or("", |document| document.name.as_str()).to_owned();
        let place = match (self.after, self.before) {
            (Some(after), _) => places.after(after.at),
            (None, Some(before)) => places.before(before.at),
            (None, None) => None,
        };
        let fields = self.fields.into_iter().map(|difference| {
            let place = match (&difference.path_after, self.after, &difference.path_before, self.before) {
                (Some(path), Some(document), ..) => places.field_after(document.at, path),
                (_, _, Some(path), Some(document)) => places.field_before(document.at, path),
                _ => None,
            };
            FieldChange {
                path: difference.path_after.or(difference.path_before).unwrap_or_default(),
                before: difference.before,
                after: difference.after,
                place,
            }
        });
        DocumentChange { change: self.change, kind, name, place, fields: fields.collect() }
    }
}

/// Every document that differs, by kind and name, and what its fields mean.
fn documents<'d>(old: &'d [Document], new: &'d [Document]) -> (Vec<Found<'d>>, Vec<Finding>) {
    let key = |document: &'d Document| (document.kind(), document.name.as_str());
    let before: BTreeMap<(Kind, &str), &Document> = old.iter().map(|one| (key(one), one)).collect();
    let after: BTreeMap<(Kind, &str), &Document> = new.iter().map(|one| (key(one), one)).collect();
    let all: BTreeSet<(Kind, &str)> = before.keys().chain(after.keys()).copied().collect();
    let mut shapes = fields::Shapes::default();
    let (mut found, mut findings) = (Vec::new(), Vec::new());
    for key in all {
        match (before.get(&key).copied(), after.get(&key).copied()) {
            (None, Some(after)) => {
                found.push(Found {
                    change: Change::Added,
                    before: None,
                    after: Some(after),
                    fields: Vec::new(),
                });
            }
            (Some(before), None) => {
                found.push(Found {
                    change: Change::Removed,
                    before: Some(before),
                    after: None,
                    fields: Vec::new(),
                });
            }
            (Some(before), Some(after)) if before.spec != after.spec || before.metadata != after.metadata => {
                let fields = fields::differences(before, after, &mut shapes, &mut findings);
                // A default that was written out is another text and the same document.
                if !fields.is_empty() {
                    found.push(Found {
                        change: Change::Changed,
                        before: Some(before),
                        after: Some(after),
                        fields,
                    });
                }
            }
            _ => {}
        }
    }
    (found, findings)
}
