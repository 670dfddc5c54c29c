//! The one way in which this crate refuses: a [`Denial`] with a reason and, for the record only, the evidence.

use bartizan_model::{Denial, Reason};

/// A head that cannot be read in exactly one way. `why` goes to the record, never to the caller.
#[cold]
pub(crate) fn malformed(why: &'static str) -> Denial {
    Denial::new(Reason::MalformedRequest).because(why)
}

/// Any other refusal of this crate.
#[cold]
pub(crate) fn refused(reason: Reason, why: &'static str) -> Denial {
    Denial::new(reason).because(why)
}
