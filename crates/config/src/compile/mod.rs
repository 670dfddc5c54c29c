//! Documents → [`Snapshot`], or every problem at once.
//!
//! Pure: nothing is opened, bound or fetched here. Each file turns one kind into its plan; [`index`] finds documents by
//! name, [`attach`] decides which policies meet on which rule. A set with one problem makes no snapshot.

use std::sync::Arc;

use bartizan_model::{
    document::{Document, Kind},
    problem::{Code, Problem, Problems, Span},
};

use crate::{
    set::Folders,
    snapshot::{PublishedListener, Revision, RouteTable, Snapshot},
};

mod attach;
mod consumer;
mod exposure;
mod index;
mod limit;
mod listener;
mod pattern;
mod policy;
mod record;
mod route;
mod upstream;

use attach::Attached;
use index::Index;

/// What came out of compiling a set.
#[derive(Debug)]
pub struct Compiled {
    /// The snapshot, if nothing refuses it.
    pub snapshot: Option<Snapshot>,
    /// Problems, warnings and exposures.
    pub problems: Problems,
}

/// Compiles a set of documents.
///
/// `digest` identifies the text of the set; `problems` are those found while reading it, so that one list holds all.
pub(crate) fn compile(
    documents: &[Document],
    folders: &Folders<'_>,
    digest: &str,
    mut problems: Problems,
) -> Compiled {
    let index = Index::build(documents, folders, &mut problems);
    let listeners = listener::compile_all(&index, &mut problems);
    let upstreams = upstream::compile_all(&index, &mut problems);
    let policies = policy::compile_all(&index, &mut problems);
    let attached = Attached::build(&index, &policies, &mut problems);
    let consumers = consumer::compile_all(&index, &attached, &mut problems);
    let routes = route::compile_all(&index, &listeners, &upstreams, &attached, &mut problems);
    let set = Span::whole(bartizan_model::problem::FileId::default());
    if documents.is_empty() {
        problems.push(Problem::new(Code::SetEmpty, set, "", "the set has no documents").warning());
    } else if listeners.is_empty() || routes.plans.is_empty() {
        let what = if listeners.is_empty() { "Listener" } else { "Route" };
        problems.push(
            Problem::new(
                Code::SetIncomplete,
                set,
                "",
                format!("the set has no {what}: it can be checked but not run"),
            )
            .warning(),
        );
    }
    exposure::list(&index, &routes, &policies, &mut problems);
    if problems.is_refusing() {
        return Compiled { snapshot: None, problems };
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
    let snapshot = Snapshot {
        revision: Revision { id: digest.get(..12).unwrap_or(digest).into() },
        listeners: published,
        routes: routes.plans,
        upstreams,
        consumers,
        record,
        access_log,
        policies: attached.mentions,
    };
    Compiled { snapshot: Some(snapshot), problems }
}

/// `Kind/name`, the way policies are named in records, metrics and `explain`.
fn label(kind: Kind, name: &str) -> Arc<str> {
    format!("{}/{name}", kind.as_str()).into()
}
