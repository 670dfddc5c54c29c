//! Ties: entries of which neither is more specific, so that the order of documents would have to decide.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bartizan_model::{
    document::Document,
    problem::{Code, Problem, Problems, Span},
};

use crate::snapshot::{HostPattern, MethodSet, PathTest, RouteEntry, ValueTest};

/// The entries seen so far, by the place in which they compete.
#[derive(Default)]
pub(super) struct Ties {
    seen: HashMap<Place, Vec<Known>>,
    reported: HashSet<(Span, Span)>,
}

/// Listener (none: a set without one), host, path, number of conditions on headers and on the query. Entries in
/// different places are never equally specific.
type Place = (Option<usize>, Option<HostPattern>, String, usize, usize);

struct Known {
    entry: RouteEntry,
    at: Span,
}

impl Ties {
    /// Reports the entry if it ties with one that was checked before; once per pair of `matches`, however many hosts
    /// and listeners they share.
    pub(super) fn check(
        &mut self,
        listener: Option<usize>,
        entry: &RouteEntry,
        document: &Document,
        at: Span,
        problems: &mut Problems,
    ) {
        let place =
            (listener, entry.host.clone(), path_key(&entry.path), entry.headers.len(), entry.query.len());
        let known = self.seen.entry(place).or_default();
        match known.iter().find(|known| ties(&known.entry, entry)) {
            Some(other) if !self.reported.insert((other.at, at)) => {}
            Some(other) => {
                let (here, there) = (document.name.as_str(), &*other.entry.plan.route);
                let message = if here == there {
                    format!("two rules of Route/{here} match the same requests")
                } else {
                    format!("Route/{here} and Route/{there} match the same requests")
                };
                problems.push(
                    Problem::new(Code::RouteTie, at, "spec.rules.matches", message)
                        .also(other.at, "the other one is here")
                        .hint("make one of them more specific: another host, path, method or condition"),
                );
            }
            None => known.push(Known { entry: entry.clone(), at }),
        }
    }
}

/// Same place: a tie if one request can meet both, they lead to different rules, and neither names its methods more
/// narrowly than the other.
fn ties(one: &RouteEntry, other: &RouteEntry) -> bool {
    let narrows = |entry: &RouteEntry| entry.methods != MethodSet::ANY;
    !Arc::ptr_eq(&one.plan, &other.plan)
        && narrows(one) == narrows(other)
        && one.methods.overlaps(other.methods)
        && !disjoint(&one.headers, &other.headers)
        && !disjoint(&one.query, &other.query)
}

/// Whether some name must have two different exact values.
fn disjoint<N: PartialEq>(one: &[(N, ValueTest)], other: &[(N, ValueTest)]) -> bool {
    one.iter().any(|(name, test)| {
        other.iter().any(|(other_name, other_test)| match (test, other_test) {
            (ValueTest::Exact(a), ValueTest::Exact(b)) => name == other_name && a != b,
            _ => false,
        })
    })
}

fn path_key(path: &PathTest) -> String {
    match path {
        PathTest::Exact(text) => format!("={text}"),
        PathTest::Prefix(text) => format!("^{text}"),
        PathTest::Template(parts) => {
            // A template without variables is an exact path, and competes with one. No canonical path has an empty
            // segment but the last, and a variable never stands for that, so `//` cannot be mistaken.
            let mut key = "=".to_owned();
            for part in &**parts {
                key.push('/');
                key.push_str(part.literal().unwrap_or("//"));
            }
            key
        }
        PathTest::Matches(regex) => format!("~{}", regex.as_str()),
    }
}
