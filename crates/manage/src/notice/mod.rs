//! Telling people and machines: what a notice says, the channels, and the sender that works the outbox off.
//!
//! Reading order: [`message`] (what is said, without any secret but a claim link), [`channel`] (a channel with its secrets
//! read), [`hook`] (the bodies and signatures of webhooks), [`sender`] (when, how often, given up when).

pub mod channel;
pub mod hook;
pub mod keys;
pub mod message;
pub mod sender;

pub use channel::{Channel, Channels};
pub use message::{Message, Standing};
pub use sender::{SendPatience, Sender};
