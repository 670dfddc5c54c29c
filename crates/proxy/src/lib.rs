//! The data plane: everything between a socket of a caller and one of an upstream.
//!
//! Read `pipeline.rs` first. Then: [`listener`] (how a request gets here), [`exchange`] and the stages (what happens
//! to it), [`upstream`] (where it goes), [`answer`] (the one exit), [`runtime`] and [`live`] (what is swapped and what
//! stays), [`gate`] (how a process starts, reloads and stops all of it). What the gateway itself asks others for goes
//! through `bartizan_fetch`. This crate knows no store, no file but those a
//! document names, and no command line.

pub mod answer;
mod body;
mod capture;
pub mod core;
pub mod desk;
mod events;
// The pipeline's types are public, with private fields, so that cases can show what must not compile
// (`tests/compile_fail`). Of all this the binary uses `stage::judge` alone.
#[doc(hidden)]
pub mod exchange;
pub mod gate;
mod introspect;
pub mod listener;
pub mod live;
mod models;
pub mod overload;
mod passwords;
mod patience;
#[doc(hidden)]
pub mod pipeline;
mod random;
pub mod rehearsal;
pub mod runtime;
mod share;
mod sign_in;
mod spoken;
#[doc(hidden)]
pub mod stage;
mod tokens;
pub mod trial;
mod tunnel;
pub mod upstream;
