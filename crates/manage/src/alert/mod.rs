//! Alerts: what is counted, when it is too much, and what is told then.
//!
//! Off the way of requests: the log's thread hands small events over, a thread of its own counts them. Reading order:
//! [`event`] (what can happen), [`window`] (counting, pure), [`watcher`] (the thread), `word` (what is said).

pub mod event;
pub mod watcher;
pub mod window;
mod word;

pub use event::Event;
pub use watcher::{Feed, Sources, Watcher, Watching};
