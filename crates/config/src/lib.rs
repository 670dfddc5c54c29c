//! Documents to snapshots.
//!
//! Reading order: [`source`] (bytes), [`parse`] (nodes), `bartizan_model::document` (typed documents), [`compile`]
//! (plans), [`snapshot`] (what the data plane decides by); beside them [`render`] (problems for people and programs),
//! [`schema`] and [`pages`] (the kinds described), [`mod@compare`] (what changes from one set to another), [`keep`]
//! (a set as a revision), [`rollout`] (a candidate beside the set that serves). All of it is pure but for reading files; nothing here knows a
//! socket, a key or a store.

pub mod audit;
pub mod compare;
pub mod compile;
pub mod entry;
pub mod keep;
pub mod pages;
pub mod parse;
pub mod policy_test;
pub mod rehearsal;
pub mod render;
pub mod replay;
pub mod rollout;
mod rules;
pub mod schema;
pub mod set;
pub mod snapshot;
pub mod source;

pub use compile::Compiled;
pub use set::Set;
