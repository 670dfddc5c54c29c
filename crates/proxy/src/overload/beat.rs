//! The beat of a core: ten times a second it looks how late it is, and ends what holds the most where memory runs out.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    gauge::{CoreGauge, Overload},
    lag::Lag,
    step::Step,
};
use crate::body::HeldBytes;

/// 100 ms: soon enough for a burst, and ten wakes of an idle core.
pub(crate) const BEAT: Duration = Duration::from_millis(100);

/// Beats as long as the core lives.
pub(crate) async fn beat(overload: Arc<Overload>, gauge: Arc<CoreGauge>, held: HeldBytes) {
    let mut lag = Lag::default();
    loop {
        let due = Instant::now() + BEAT;
        tokio::time::sleep_until(due).await;
        let memory = overload.memory();
        gauge.note(lag.note(due.elapsed()), memory, held.bytes() as u64);
        if memory.reaches(Step::Reset) {
            // A quarter at a time: what is given back is seen at the next beat but one.
            gauge.took(Step::Reset, held.end_dearest(held.bytes() / 4));
        }
    }
}
