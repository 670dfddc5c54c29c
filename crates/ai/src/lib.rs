//! The dialects of model providers: bytes in, bytes out.
//!
//! A pure engine: it opens no socket, knows no key and no caller, reads no clock. One neutral request ([`chat`]) and
//! one neutral answer ([`event`]) stand between OpenAI's dialect towards callers ([`openai`]) and eight dialects of
//! providers ([`dialect`]). Usage means the same for all ([`usage`]), and so do failures ([`failure`]).
//!
//! Reading order: [`json`] (a tree that keeps order), [`stream`] (bytes to frames), [`chat`], [`event`], [`usage`],
//! [`failure`], [`bound`] (what a call may use at most), [`dialect`], [`openai`], [`provider`] (where they are),
//! [`entry`] (which paths are served), [`multipart`] (forms with files), [`prompt`] (a prompt as an API).

pub mod bound;
pub mod chat;
pub mod dialect;
pub mod entry;
pub mod event;
pub mod failure;
pub mod json;
pub mod multipart;
pub mod openai;
pub mod price;
pub mod prompt;
pub mod provider;
pub mod spoken;
pub mod stream;
pub mod usage;

pub use chat::{Chat, Refused, Request};
pub use dialect::{Decoder, Dialect, Outgoing, Target};
pub use entry::{Entry, Native, entry_path};
pub use event::{Event, Stop};
pub use failure::{Class, Failure};
pub use openai::{Public, StreamWriter, Whole};
pub use provider::Provider;
pub use usage::{Source, Usage};
