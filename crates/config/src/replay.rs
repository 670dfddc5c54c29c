//! Replay: what recorded requests get under a set of documents, beside what they got before.
//!
//! A [`Recording`] is a request as some source wrote it down, with what that source left out ([`Lacks`]). A [`Bench`]
//! judges it by one set through a rehearsal; [`compare()`] tells two judgements apart and [`Tally`] counts. What hangs on
//! something that was not recorded is *not judgeable*, by cause, and never counted as equal (decision 0042). Everything is
//! pure: readers of files, progress and reports are the binary's.

mod bench;
mod compare;
mod needs;
mod recording;
mod tally;

pub use self::{
    bench::{Bench, Judged, Unseen},
    compare::{Before, Difference, Finding, compare},
    needs::Needs,
    recording::{Caller, Cause, Lacks, Presented, Recorded, Recording, Taken},
    tally::{Dimension, Example, ROWS_MAX, Row, Side, Tally},
};
