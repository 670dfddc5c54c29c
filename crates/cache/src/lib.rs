//! Is the answer known? RFC 9111 as a shared cache.
//!
//! A pure judge: it is told what is asked, what came back and what time it is, and says what may be kept, what may be
//! used and for how long. It opens no socket, reads no clock and knows no other judge. Whose answer it is stands in
//! every [`Key`], so that one caller's answer cannot be another's by a forgotten field.
//!
//! Reading order: [`moment`] (time), [`key`] (what is asked, and by whom), [`terms`] (what a policy allows),
//! [`control`] (what `Cache-Control` says), [`freshness`] (how long), [`vary`] (which variant), [`store`] (may it be
//! kept), [`entry`] (what is kept), [`shelf`] (where), [`mod@lookup`] (may it be used), [`condition`] (what the caller has
//! already), [`range`] (a part of it), [`validate`] (it has not changed), [`invalidate`] (it has), [`status`] (what the
//! caller is told).

pub mod condition;
pub mod control;
pub mod entry;
pub mod freshness;
pub mod invalidate;
pub mod key;
pub mod lookup;
pub mod moment;
pub mod range;
pub mod shelf;
pub mod status;
pub mod store;
pub mod terms;
pub mod validate;
pub mod vary;

#[cfg(test)]
mod tests;

pub use control::{Control, RequestControl};
pub use entry::Entry;
pub use key::{Class, Key, Url};
pub use lookup::{Asked, Found, lookup, may_rescue};
pub use moment::Moment;
pub use shelf::{Purge, Shelf, ShelfLimits};
pub use store::{Refused, Storable, may_store};
pub use terms::{Authorized, Sharing, Terms};
