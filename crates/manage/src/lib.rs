//! The control plane: the management listener with health, readiness, metrics and the management API.
//!
//! It has a listener, a thread and a runtime of its own, so neither a flood on the data plane nor a slow scrape
//! reaches the other. It never names the data plane; the binary hands it a [`ManagementState`]. Reading order:
//!
//! * [`state`] what is told, and by whom it is set;
//! * [`server`] the listener's thread, its limits and its end;
//! * [`answer`] the three open paths and what all answers carry;
//! * [`alert`] what is worth waking somebody for;
//! * [`notice`] telling people and machines what has happened;
//! * [`api`] the management API, for callers with a token or a session;
//! * [`rollout`] a rollout as it is told, there and by the command;
//! * [`page`] the page for people, which is a client of the API like any other;
//! * [`tls`] its certificate;
//! * [`host`] which `Host` is believed (DNS rebinding).

pub mod alert;
pub mod answer;
pub mod api;
pub mod host;
pub mod notice;
pub mod page;
pub mod rollout;
pub mod server;
pub mod state;
pub mod tls;

pub use api::{Api, DocumentSource, OpenId, OpenIdTerms};
pub use server::Management;
pub use state::{
    ManagementState, Notices, Phase, Purged, Readiness, Refusals, Served, ServedListener, Serving,
};
pub use tls::Tls;
