//! The snapshot: everything the data plane decides by, compiled, immutable, swapped as one.
//!
//! A request pins one snapshot and sees nothing else of the documents. Nothing in here was opened, bound or read
//! from outside; that is `prepare`'s work in the data plane. State that outlives a snapshot (limit cells, health,
//! pools) lives in the data plane's runtime.

use std::sync::Arc;

use bartizan_model::document::Kind;

pub mod authentication;
pub mod authorization;
pub mod condition;
pub mod inspection;
pub mod listener;
pub mod model;
pub mod names;
pub mod notice;
pub mod policy;
mod reference;
pub mod route;
pub mod sign_in;
pub mod table;
pub mod template;
pub mod token;
pub mod upstream;
pub mod upstream_policy;

pub use authentication::*;
pub use authorization::*;
pub use condition::*;
pub use inspection::*;
pub use listener::*;
pub use model::*;
pub use names::NameMap;
pub use notice::*;
pub use policy::*;
pub use route::*;
pub use sign_in::*;
pub use table::*;
pub use template::*;
pub use token::*;
pub use upstream::*;
pub use upstream_policy::*;

/// A complete, consistent set of documents in the form in which requests are judged.
#[derive(Debug)]
pub struct Snapshot {
    /// Which set this is.
    pub revision: Revision,
    /// The listeners, each with the table of routes it publishes.
    pub listeners: Vec<PublishedListener>,
    /// Every rule of every route, in document order; `RoutePlan::index` points here.
    pub routes: Vec<Arc<RoutePlan>>,
    /// For every rule, what tells the answers that were kept under it from those kept under other documents.
    pub kept_under: Vec<u64>,
    /// The upstreams by index.
    pub upstreams: Vec<Arc<UpstreamPlan>>,
    /// The models by name.
    pub models: ModelTable,
    /// What roles permit.
    pub roles: Arc<bartizan_access::Roles>,
    /// The consumers by name.
    pub consumers: NameMap<Arc<ConsumerPlan>>,
    /// Which consumer lists which certificate.
    pub certificates: bartizan_identity::CertificateTable,
    /// The record plan of requests that no route matched.
    pub record: Arc<bartizan_telemetry::RecordPlan>,
    /// Where the access log goes.
    pub access_log: AccessLogPlan,
    /// The channels by which is told what happens, by name.
    pub channels: std::collections::BTreeMap<Arc<str>, Arc<ChannelPlan>>,
    /// What is worth waking somebody for.
    pub alerts: Vec<Arc<AlertPlan>>,
    /// The files of rules and schemas that the documents name, each once.
    pub rule_files: Vec<std::path::PathBuf>,
    /// Every policy of the set, for `explain`, metrics and the console.
    pub policies: Vec<PolicyMention>,
}

/// Identifies a set of documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The first twelve hexadecimal digits of the digest over all documents.
    pub id: Arc<str>,
}

/// A listener and what is reachable through it.
#[derive(Debug)]
pub struct PublishedListener {
    /// The listener.
    pub plan: Arc<ListenerPlan>,
    /// Its routes.
    pub routes: RouteTable,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogPlan {
    /// Standard output.
    Stdout,
    /// A file rotated by size.
    File {
        /// The path; relative ones count from the data directory.
        path: std::path::PathBuf,
        /// Size at which a new file is begun.
        max_bytes: u64,
        /// Old files kept.
        keep: u32,
    },
}

/// A policy, where it is attached and whether it bites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyMention {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Arc<str>,
    /// Whether it bites.
    pub bite: Bite,
    /// What it is attached to, as `Kind/name`; empty means the whole gateway.
    pub targets: Vec<Arc<str>>,
}
