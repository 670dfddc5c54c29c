//! What is known of the pressure: one gauge for each core, written by that core alone, and the memory of the process.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

use bartizan_telemetry::metrics::OverloadFigures;

use super::step::{Pressure, Step};

/// A full accept queue alone lets requests be shed, so that the core gets to it, and never stops the accepting of what
/// waits there.
const QUEUE_MOST: Pressure = Pressure(960);

/// The pressure of the process.
#[derive(Debug, Default)]
pub struct Overload {
    memory: AtomicU32,
    limit_bytes: AtomicU64,
    worst_bytes: AtomicU64,
    cores: Mutex<Vec<Arc<CoreGauge>>>,
}

/// The pressure on one core. Aligned so that two cores never share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct CoreGauge {
    pressure: AtomicU32,
    memory: AtomicU32,
    lag: AtomicU32,
    queue: AtomicU32,
    /// Most connections taken in a row since the last beat, in thousandths of the queue.
    queued: AtomicU32,
    beats: AtomicU64,
    held: AtomicU64,
    taken: [AtomicU64; Step::ALL.len()],
}

impl Overload {
    /// The gauge of a core; the same each time.
    pub fn core(&self, id: usize) -> Arc<CoreGauge> {
        let mut cores = self.cores.lock().unwrap_or_else(PoisonError::into_inner);
        while cores.len() <= id {
            cores.push(Arc::default());
        }
        cores.get(id).cloned().unwrap_or_default()
    }

    /// The process takes so much memory of the most that it may take.
    pub fn note_memory(&self, used: u64, most: u64) {
        self.memory.store(Pressure::of(used, most).0, Relaxed);
        self.limit_bytes.store(most, Relaxed);
    }

    /// Everything that limits allow together would take so much memory.
    pub fn note_worst(&self, bytes: u64) {
        self.worst_bytes.store(bytes, Relaxed);
    }

    /// The pressure on memory.
    pub fn memory(&self) -> Pressure {
        Pressure(self.memory.load(Relaxed))
    }

    /// How often each core has looked at its clock, for whoever watches that none of them hangs.
    pub fn beats(&self) -> Vec<u64> {
        let cores = self.cores.lock().unwrap_or_else(PoisonError::into_inner);
        cores.iter().map(|core| core.beats.load(Relaxed)).collect()
    }

    /// The figures of all cores, for metrics.
    pub fn figures(&self) -> OverloadFigures {
        let cores = self.cores.lock().unwrap_or_else(PoisonError::into_inner);
        let most = |of: fn(&CoreGauge) -> &AtomicU32| {
            cores.iter().map(|core| of(core).load(Relaxed)).max().unwrap_or(0)
        };
        let taken = |at: usize| {
            cores.iter().filter_map(|core| core.taken.get(at)).map(|count| count.load(Relaxed)).sum::<u64>()
        };
        OverloadFigures {
            memory: self.memory.load(Relaxed),
            event_loop: most(|core| &core.lag),
            accept_queue: most(|core| &core.queue),
            limit_bytes: self.limit_bytes.load(Relaxed),
            worst_bytes: self.worst_bytes.load(Relaxed),
            held_bytes: cores.iter().map(|core| core.held.load(Relaxed)).sum(),
            taken: Step::ALL.into_iter().enumerate().map(|(at, step)| (step.as_str(), taken(at))).collect(),
        }
    }
}

impl CoreGauge {
    /// The greatest of all.
    pub fn pressure(&self) -> Pressure {
        Pressure(self.pressure.load(Relaxed))
    }

    /// What of it is memory.
    pub fn memory(&self) -> Pressure {
        Pressure(self.memory.load(Relaxed))
    }

    /// The word of what presses most.
    pub(crate) fn cause(&self) -> &'static str {
        let pressure = self.pressure.load(Relaxed);
        match pressure {
            _ if self.memory.load(Relaxed) >= pressure => "memory",
            _ if self.lag.load(Relaxed) >= pressure => "its event loop",
            _ => "its accept queue",
        }
    }

    /// So many connections were taken in a row of a queue with so many places, before it was empty.
    pub(crate) fn queued(&self, connections: u32, places: u32) {
        let full = Pressure::of(connections.into(), places.into()).min(QUEUE_MOST).0;
        if full > self.queued.load(Relaxed) {
            self.queued.store(full, Relaxed);
        }
    }

    /// A step was taken once: only this core counts here.
    pub(crate) fn took(&self, step: Step, times: u64) {
        let at = Step::ALL.iter().position(|known| *known == step);
        if let Some(count) = at.and_then(|at| self.taken.get(at)) {
            count.store(count.load(Relaxed).wrapping_add(times), Relaxed);
        }
    }

    /// A beat: how late the core is, what the process has of memory, and what bodies hold here.
    pub fn note(&self, lag: Pressure, memory: Pressure, held: u64) {
        let queue = self.queued.swap(0, Relaxed);
        self.lag.store(lag.0, Relaxed);
        self.memory.store(memory.0, Relaxed);
        self.queue.store(queue, Relaxed);
        self.held.store(held, Relaxed);
        self.pressure.store(lag.0.max(memory.0).max(queue), Relaxed);
        self.beats.store(self.beats.load(Relaxed).wrapping_add(1), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_pressure_counts_and_says_what_it_is() {
        let overload = Overload::default();
        let core = overload.core(1);
        assert_eq!(core.pressure(), Pressure::NONE);
        core.note(Pressure(300), Pressure(700), 5);
        assert_eq!((core.pressure(), core.cause()), (Pressure(700), "memory"));
        core.note(Pressure(900), Pressure(700), 5);
        assert_eq!((core.pressure(), core.cause()), (Pressure(900), "its event loop"));
        overload.note_memory(96, 100);
        let figures = overload.figures();
        assert_eq!((figures.memory, figures.event_loop, figures.held_bytes), (960, 900, 5));
        assert!(Arc::ptr_eq(&core, &overload.core(1)), "a core has one gauge");
    }

    #[test]
    fn a_full_accept_queue_sheds_and_never_stops_accepting() {
        let core = CoreGauge::default();
        core.queued(10, 4_096);
        core.queued(100_000, 4_096);
        core.queued(1, 4_096);
        core.note(Pressure::NONE, Pressure::NONE, 0);
        assert_eq!(core.cause(), "its accept queue");
        assert!(core.pressure().reaches(Step::Shed) && !core.pressure().reaches(Step::StopAccepting));
        core.note(Pressure::NONE, Pressure::NONE, 0);
        assert_eq!(core.pressure(), Pressure::NONE, "a queue that was emptied presses no more");
    }
}
