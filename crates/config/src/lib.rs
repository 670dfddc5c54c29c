//! Documents to snapshots.
//!
//! Reading order: [`source`] (bytes), [`parse`] (nodes), `bartizan_model::document` (typed documents), [`compile`]
//! (plans), [`snapshot`] (what the data plane decides by). All of it is pure but for reading files; nothing here
//! knows a socket, a key or a store.

pub mod compile;
pub mod snapshot;

pub use compile::{Compiled, compile};
