//! Is it an attack: a native engine for SecLang rule sets, such as the OWASP Core Rule Set.
//!
//! A pure judge: it is given rule text, then bytes of an exchange, and says which rules match and what they decide. It
//! opens no file and no socket, reads no clock, and no bytes make it panic. Where it cannot judge (a limit, a body
//! that two parsers would read in two ways) it says so: [`Verdict::incomplete`] is for the caller's policy to decide,
//! and an enforcing session refuses.
//!
//! ```
//! use std::sync::Arc;
//! use bartizan_inspect::{Exchange, Loader, MemoryFiles, RequestHead, Session, Step};
//!
//! let files = MemoryFiles::new();
//! let mut loader = Loader::new(&files);
//! loader.text("own.conf", r#"SecRule ARGS "@detectSQLi" "id:1,phase:1,deny,status:403,msg:'SQL injection'""#)?;
//! let rules = Arc::new(loader.finish()?);
//!
//! let mut session = Session::new(rules, None, Exchange::default());
//! session.request_head(&RequestHead { method: b"GET", target: b"/?q=1'+OR+'1'='1", ..RequestHead::default() });
//! let Step::Done(decision) = session.run() else { unreachable!() };
//! assert!(decision.is_refusal());
//! # Ok::<(), bartizan_inspect::LoadError>(())
//! ```
//!
//! Reading order: [`rule`] (our typed rules), [`seclang`] (text into them), [`pattern`], [`operator`], [`transform`]
//! (what a rule tests with), [`body`] (bodies into named values), [`ruleset`] and `gate` (rules compiled), [`session`]
//! (one exchange).

mod baseline;
pub mod body;
mod error;
mod gate;
pub mod leak;
pub mod operator;
pub mod overlay;
pub mod pattern;
mod plan;
pub mod rule;
pub mod ruleset;
pub mod schema;
pub mod seclang;
pub mod session;
mod source;
pub mod transform;

pub use baseline::{BASELINE_FILES, baseline, load_baseline};
pub use error::{LoadError, Place, Problem};
pub use overlay::{Overlay, OverlayError};
pub use ruleset::{EngineMode, Notice, OnLimit, RuleSet, Settings};
pub use seclang::Loader;
pub use session::{
    Decision, Exchange, Incomplete, MatchRecord, Refusal, RequestHead, ResponseHead, Session, Step, Verdict,
};
pub use source::{Files, MemoryFiles, matches_wildcard};
pub use transform::Transform;
