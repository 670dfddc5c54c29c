//! The words of Bartizan: documents, reasons, verdicts, units, secrets.
//!
//! Everything above speaks with these types; nothing here does I/O, knows a parser or a clock. Reading order:
//! [`reason`] and [`verdict`] (what a judge may say), [`secret`] (what must never be printed), then the document
//! language ([`node`], [`read`], [`shape`]) and the kinds written in it ([mod@document]).

#[macro_use]
mod macros;

pub mod document;
pub mod node;
pub mod problem;
pub mod read;
pub mod reason;
pub mod scalar;
pub mod secret;
pub mod shape;
pub mod verdict;

pub use reason::{Reason, Stage};
pub use secret::{Reference, SecretValue};
pub use verdict::{Denial, Fault, Mode, OnFault};

/// What the expansions of this crate's macros name.
#[doc(hidden)]
pub mod __private {
    pub use serde;
}
