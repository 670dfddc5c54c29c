//! **authorize**'s engine: may they?
//!
//! Roles say what whoever holds them may do ([`Roles`]); a [`Policy`] asks, wherever it is attached, that a role or a
//! rule of its own allows the request, and denies everything else. Conditions are CEL behind a trait of ours
//! ([`Expression`]): parsed and typed when documents are loaded, bounded when requests are judged. Nothing in here
//! knows a socket, a document or a clock.
//!
//! Reading order: [`subject`] (who asks, and what for), [`role`] (sets of roles), [`grant`] (what roles permit),
//! [`policy`] (the judge), [`outlook`] (the same answer without a request, for `bartizan access`), [`expression`].

pub mod expression;
pub mod grant;
pub mod outlook;
pub mod policy;
pub mod role;
pub mod subject;

pub use expression::{Condition, Expression, Undecided};
pub use grant::{Definition, Grant, Roles, Routes};
pub use outlook::{Outlook, Prospect, Way};
pub use policy::{Effect, Ground, Policy, Refused, Rule, Verdict};
pub use role::{RoleId, RoleSet};
pub use subject::{Asked, Claims, NoVariables, Subject, Variables};
