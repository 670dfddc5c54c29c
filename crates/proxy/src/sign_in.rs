//! Signing in at OpenID providers: what is asked of a provider, and what the process remembers of its sessions.
//!
//! Sessions live in browsers, sealed. The process only remembers what a sealed text cannot say: which sign-ins were
//! already answered, which sessions signed out, and what a refresh token was exchanged for a moment ago, since a page
//! sends several requests with one cookie. All of it is bounded, and forgotten with the process.
//!
//! Reading order: [`provider`] (asking), [`memory`] (remembering). The browser's side is `stage/identify/sign_in.rs`.

mod memory;
mod provider;

pub(crate) use memory::Renewal;
pub(crate) use provider::{Provider, SignInFailure};
