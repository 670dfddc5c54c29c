//! Documents → [`Snapshot`], or every problem at once.
//!
//! Pure: nothing is opened, bound or fetched here. Each file turns one kind into its plan; `index` finds documents by
//! name, `attach` decides which policies meet on which rule. A set with one problem makes no snapshot.

use std::{sync::Arc, time::Duration};

use bartizan_model::{
    document::{Document, Kind},
    node::Node,
    problem::{Code, Problem, Problems, Span},
    read::Spanned,
    scalar::Time,
};

use crate::{
    rules::RuleFiles,
    set::Folders,
    snapshot::{PublishedListener, Revision, RouteTable, Snapshot},
};

mod attach;
mod authentication;
mod authorization;
mod cache;
mod consumer;
mod credential;
mod exposure;
mod filter;
mod index;
mod inspection;
mod kept;
mod limit;
mod listener;
mod llm;
mod model;
mod notice;
mod path;
mod pattern;
mod place;
mod policy;
mod policy_test;
mod prompt;
mod quota;
mod record;
mod rotation;
mod route;
mod schema;
mod team;
mod tie;
mod upstream;
mod upstream_policy;
mod way;

use attach::{Attached, Clashes};
use index::Index;

/// What came out of compiling a set.
#[derive(Debug)]
pub struct Compiled {
    /// The snapshot, if nothing refuses it.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Problems, warnings and exposures.
    pub problems: Problems,
}

/// A set of documents as it was read.
pub(crate) struct Parsed<'d> {
    /// The documents that could be read.
    pub(crate) documents: &'d [Document],
    /// All documents as trees, for the places of problems.
    pub(crate) nodes: &'d [Node],
    /// Where they lie.
    pub(crate) folders: Folders<'d>,
    /// Identifies the text of the set.
    pub(crate) digest: &'d str,
    /// The rule files they name.
    pub(crate) rules: &'d RuleFiles,
}

/// Compiles a set of documents; `problems` are those found while reading it, so that one list holds all.
pub(crate) fn compile(set: &Parsed<'_>, mut problems: Problems) -> Compiled {
    let mut found = Problems::new();
    let snapshot = snapshot(set, problems.is_refusing(), &mut found);
    place::refine(found, set.nodes, &mut problems);
    Compiled { snapshot: snapshot.filter(|_| !problems.is_refusing()).map(Arc::new), problems }
}

fn snapshot(set: &Parsed<'_>, unread: bool, problems: &mut Problems) -> Option<Snapshot> {
    let index = Index::build(set, problems);
    let listeners = listener::compile_all(&index, problems);
    let upstreams = upstream::compile_all(&index, problems);
    let channels = notice::channels(&index, problems);
    let alerts = notice::alerts(&index, problems);
    let models = model::compile_all(&index, &upstreams, problems);
    model::check_consumers(&index, problems);
    let roles = authorization::roles(&index, problems);
    let policies = policy::compile_all(&index, &roles, problems);
    let mut clashes = Clashes::default();
    let attached = Attached::build(&index, &policies, &mut clashes);
    let teams = team::compile_all(&index, problems);
    let consumers = consumer::compile_all(&index, &roles, &attached, &teams, &mut clashes, problems);
    let certificates = authentication::certificate::table(&index, problems);
    let prompts = prompt::compile_all(&index, problems);
    let backends = (&*upstreams, &prompts);
    let routes = route::compile_all(&index, &listeners, backends, &attached, &mut clashes, problems);
    clashes.into_problems(problems);
    if !unread && !problems.is_refusing() {
        authentication::sign_in::check_paths(&index, &routes.entries, problems);
        credential::check_exchanges(&index, &routes.plans, &upstreams, problems);
    }
    authorization::check_consumers(&index, problems);
    policy_test::check(&index, problems);
    authorization::check_variables(&index, &roles, &policies.authorization, &routes.entries, problems);
    if !unread {
        authorization::check_unused(&index, problems);
        warn_incomplete(&index, set.documents.is_empty(), problems);
    }
    // A policy that could not be read would make every route look open.
    let exposed = (!unread && !problems.is_refusing()).then_some(&*routes.plans);
    exposure::list(&index, exposed, &policies, problems);
    if unread || problems.is_refusing() {
        return None;
    }
    let mut entries: Vec<Vec<_>> = listeners.iter().map(|_| Vec::new()).collect();
    for (listener, entry) in routes.entries {
        if let Some(of_listener) = entries.get_mut(listener) {
            of_listener.push(entry);
        }
    }
    let published = listeners
        .into_iter()
        .zip(entries)
        .map(|(plan, entries)| PublishedListener { plan, routes: RouteTable::build(entries) })
        .collect();
    let (record, access_log) = attached.gateway_record();
    let digest = set.rules.digest_with(set.digest);
    let kept_under = kept::fingerprints(set, &routes.plans, &upstreams);
    Some(Snapshot {
        kept_under,
        revision: Revision { id: digest.get(..12).unwrap_or(&digest).into() },
        listeners: published,
        routes: routes.plans,
        upstreams,
        models,
        roles,
        consumers,
        certificates,
        record,
        access_log,
        channels,
        alerts,
        rule_files: set.rules.read_files(),
        policies: attached.mentions,
    })
}

/// A set that can be checked but not run: somebody may check a part of a set alone.
fn warn_incomplete(index: &Index<'_>, is_empty: bool, problems: &mut Problems) {
    let missing = [Kind::Listener, Kind::Route].into_iter().find(|kind| index.of(*kind).next().is_none());
    if is_empty {
        let message = "the set has no documents";
        problems.push(Problem::new(Code::SetEmpty, Span::SET, "", message).warning());
    } else if let Some(kind) = missing {
        let message = format!("the set has no {}: it can be checked but not run", kind.as_str());
        problems.push(Problem::new(Code::SetIncomplete, Span::SET, "", message).warning());
    }
}

/// A time that must be longer than zero.
fn positive(time: &Spanned<Time>, path: &str, problems: &mut Problems) -> Duration {
    if time.get().is_zero() {
        let message = "the time must be longer than zero";
        problems.push(Problem::new(Code::BadValue, time.at, path, message));
    }
    time.get()
}

/// `Kind/name`, the way policies are named in records, metrics and `explain`.
fn label(kind: Kind, name: &str) -> Arc<str> {
    format!("{}/{name}", kind.as_str()).into()
}
