//! The judge of tokens as a whole: attacks, claims, keys that are not there yet, the cache, random bytes, cost.

mod attack;
mod claims;
mod cost;
mod issuer;
mod keys;
mod random;
mod support;
