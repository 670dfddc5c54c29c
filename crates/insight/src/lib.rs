//! What is unusual: baselines of callers and endpoints, detectors, an inventory, recommendations.
//!
//! Events and a clock in, alerts out: pure and deterministic, no thread, no file, no socket. It only observes. Memory is
//! bounded whatever keys arrive, and what looks wrong never teaches what is usual.
//!
//! Reading order: [`event`] (what it sees), [`engine`] (the way of an event), `detect` (D1 … D5), `window` (how past is made),
//! `level`, `distinct`, `quantile`, [`shape`] (what past is made of), `table`, `template`, [`hash`] (what attackers choose),
//! `caller`, `endpoint`, `route`, `fleet` (whose past), [`alert`], `budget`, `kept` (what is told), [`recommend`], `patch` (what
//! to do), [`report`], [`settings`] (the bounds).

pub mod alert;
mod budget;
mod caller;
mod detect;
mod distinct;
mod endpoint;
pub mod engine;
pub mod event;
mod fleet;
pub mod hash;
mod kept;
mod level;
mod patch;
mod quantile;
pub mod recommend;
pub mod report;
mod route;
pub mod settings;
pub mod shape;
mod table;
mod template;
mod window;

#[cfg(test)]
mod engine_tests;

pub use alert::{Action, Alert, Detector, Feature, Sample, Severity};
pub use engine::{Documented, Engine};
pub use event::Event;
pub use hash::Seed;
pub use recommend::{Key, Posture, Recommendation, Role};
pub use report::{Figures, Learning, Report, Row};
pub use settings::Settings;
