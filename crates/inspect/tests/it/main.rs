//! What a rule set means, and what a session promises: small rule sets against small requests.

mod loading;
mod promises;
mod run;
mod semantics;
