//! The decision: given all limits that bear on a call, admit it, let it wait for its slot, or refuse it.
//!
//! Enforced limits all reserve or none. They are first looked at in order, so that a call beyond its limit changes
//! nothing, then taken in order, each by one compare-and-swap; if another core was quicker at a later limit, what
//! was taken before is given back. Locking all cells of a call was refused: a core that is interrupted would hold up the
//! others. Shadow policies are judged each for itself, in cells of their own, whatever the enforced ones say.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use crate::{
    cache::CellCache,
    cell::{Answer, Cell, Kind, Receipt},
    cells::{Cells, WAITERS_PER_KEY, WAITERS_PER_PROCESS},
    clock::Nanos,
    few::Few,
    gcra::NOW_MAX,
    header,
    policy::{Bite, Gauge, Limit, Measure, Unit},
    reservation::{Permit, Places, Portion, Reservation, Waiting},
    verdict::{Ask, Cause, Decision, Refusal, State, Verdict, Would},
};

/// What a call refused by a concurrency limit is told to wait: nobody knows when a permit comes back.
const CONCURRENCY_RETRY: Duration = Duration::from_secs(1);

/// One limit of one ask while the decision is made.
#[derive(Debug)]
pub(crate) struct Line {
    ask: usize,
    limit: usize,
    key: u128,
    cell: Arc<Cell>,
    /// The cell is the shared one, to be counted and not to be remembered.
    overflow: bool,
    /// What the cell held when last seen.
    word: u64,
    /// What it held before the call, and the bound of the rate that wrote it.
    before: (u64, u64),
    taken: Option<Receipt>,
}

/// A group of limits has taken all it asked for.
struct Taken {
    wait: u64,
    places: Option<Places>,
}

impl Cells {
    /// Decides on a call at `now`. The order of asks is the order of policies: the first that refuses is named.
    pub fn reserve(&self, cache: &mut CellCache, now: Nanos, asks: &[Ask<'_>]) -> Verdict {
        self.reserve_noting(cache, now, asks, None)
    }

    /// As [`Cells::reserve`], noting in `seen` what each cell held before: put there again ([`Cells::put`]), the same ask at
    /// the same time gets the same decision.
    pub fn reserve_noting(
        &self,
        cache: &mut CellCache,
        now: Nanos,
        asks: &[Ask<'_>],
        mut seen: Option<&mut Vec<Seen>>,
    ) -> Verdict {
        let now = now.0.min(NOW_MAX);
        let mut lines = std::mem::take(&mut cache.lines);
        let mut would = Vec::new();
        let mut reservation = Reservation::default();

        for (index, ask) in asks.iter().enumerate().filter(|(_, ask)| ask.bite == Bite::Enforce) {
            self.gather(&mut lines, cache, now, index, ask);
        }
        let enforced = self.take_all(&mut lines, now, asks, Bite::Enforce);
        let states = states(&lines, now, asks);
        note(&lines, asks, seen.as_deref_mut());
        keep(&mut lines, cache, &mut reservation, asks);

        for (index, ask) in asks.iter().enumerate().filter(|(_, ask)| ask.bite == Bite::Shadow) {
            self.gather(&mut lines, cache, now, index, ask);
            match self.take_all(&mut lines, now, asks, Bite::Shadow) {
                Ok(Taken { wait: 0, .. }) => {}
                Ok(Taken { wait, .. }) => {
                    would.push(Would::Throttle { ask: index, wait: Duration::from_nanos(wait) })
                }
                Err(refusal) => would.push(Would::Deny(refusal)),
            }
            note(&lines, asks, seen.as_deref_mut());
            keep(&mut lines, cache, &mut reservation, asks);
        }

        cache.lines = lines;
        let decision = match enforced {
            Err(refusal) => Decision::Refuse(refusal),
            // A place without a wait: the slot came nearer while the place was taken.
            Ok(Taken { wait: 0, .. } | Taken { places: None, .. }) => Decision::Admit(reservation),
            Ok(Taken { wait, places: Some(places) }) => Decision::Wait {
                until: Nanos(now.saturating_add(wait)),
                reservation: Waiting::new(reservation, places),
            },
        };
        Verdict { decision, states, would }
    }

    /// Adds the limits of one ask with their cells.
    fn gather(&self, lines: &mut Vec<Line>, cache: &mut CellCache, now: u64, index: usize, ask: &Ask<'_>) {
        for (limit, gauge) in ask.policy.gauges().iter().enumerate() {
            // Once the body is known, everything else has been taken.
            if ask.tokens.is_some() && gauge.unit != Unit::Tokens {
                continue;
            }
            let key = cell_key(ask.key, gauge, ask.bite);
            let (cell, overflow) = match cache.take(key) {
                Some(cell) => (cell, false),
                None => self.locate(key, ask, gauge, now),
            };
            let before = (0, cell.bound());
            lines.push(Line { ask: index, limit, key, cell, overflow, word: 0, before, taken: None });
        }
    }

    /// Finds or makes the cell of a limit in the table; says whether it is the overflow cell.
    pub(crate) fn locate(&self, key: u128, ask: &Ask<'_>, gauge: &Gauge, now: u64) -> (Arc<Cell>, bool) {
        let begin = || match ask.bite {
            // A shadow begins as a copy of what is enforced, or its first window would admit what is refused now.
            Bite::Shadow => self
                .table
                .find(cell_key(ask.key, gauge, Bite::Enforce))
                .map_or_else(|| fresh(gauge), |active| Cell::copy_of(&active)),
            Bite::Enforce | Bite::Off => fresh(gauge),
        };
        match self.table.find_or_begin(key, now, begin) {
            Some(cell) => (cell, false),
            None => {
                self.overflowed.fetch_add(1, Relaxed);
                let shared = cell_key(self.hasher.overflow_of(&ask.policy.label), gauge, ask.bite);
                (self.table.overflow(shared, now, || fresh(gauge)), true)
            }
        }
    }

    /// Takes all limits of a group or none.
    fn take_all(&self, lines: &mut [Line], now: u64, asks: &[Ask<'_>], bite: Bite) -> Result<Taken, Refusal> {
        // A single limit needs no look in advance: taking it is one swap or none.
        if lines.len() > 1 {
            self.look_all(lines, now, asks)?;
        }
        let mut group = Taken { wait: 0, places: None };
        for index in 0..lines.len() {
            let Some(line) = lines.get_mut(index) else { break };
            if let Err(refusal) = self.take_one(line, now, asks, bite, &mut group) {
                for line in lines.iter_mut().take(index) {
                    give_back(line, asks);
                }
                return Err(refusal);
            }
        }
        Ok(group)
    }

    /// Looks at all limits and takes nothing; the first that refuses is named, the longest time to wait is told.
    fn look_all(&self, lines: &mut [Line], now: u64, asks: &[Ask<'_>]) -> Result<(), Refusal> {
        let mut first: Option<Refusal> = None;
        for line in lines {
            let Some((ask, gauge)) = gauge_of(line, asks) else { continue };
            let answer = loop {
                let answer = match gauge.measure {
                    Measure::Rate(bucket) => line.cell.look(&bucket, now, ask.units(gauge.unit)),
                    Measure::Permits(limit) => line.cell.peek(limit),
                };
                match answer {
                    Answer::Sealed => self.relocate(line, ask, gauge, now),
                    answer => break answer,
                }
            };
            match answer {
                Answer::Refused { word, retry } => {
                    line.see(word);
                    let refusal = refusal(line, gauge, retry);
                    let named = first.get_or_insert(refusal);
                    named.retry_after = named.retry_after.max(refusal.retry_after);
                }
                Answer::Taken { before, .. } => {
                    line.before.0 = before;
                    line.word = line.cell.word();
                }
                _ => line.word = line.cell.word(),
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Takes one limit, with a place to wait in where it is needed.
    fn take_one(
        &self,
        line: &mut Line,
        now: u64,
        asks: &[Ask<'_>],
        bite: Bite,
        group: &mut Taken,
    ) -> Result<(), Refusal> {
        let Some((ask, gauge)) = gauge_of(line, asks) else { return Ok(()) };
        // A shadow waits nowhere, so it needs no place.
        let mut may_wait = bite == Bite::Shadow;
        loop {
            let answer = match gauge.measure {
                Measure::Rate(bucket) => line.cell.take(&bucket, now, ask.units(gauge.unit), may_wait),
                Measure::Permits(limit) => line.cell.acquire(limit),
            };
            match answer {
                Answer::Taken { word, before, wait, receipt } => {
                    (line.word, line.before.0) = (word, before);
                    line.taken = Some(receipt);
                    group.wait = group.wait.max(wait);
                    return Ok(());
                }
                Answer::MustWait { word, wait } => {
                    line.see(word);
                    if !self.enter(&line.cell, group) {
                        let mut refusal = refusal(line, gauge, wait);
                        refusal.cause = Cause::Waiters;
                        return Err(refusal);
                    }
                    may_wait = true;
                }
                Answer::Refused { word, retry } => {
                    line.see(word);
                    return Err(refusal(line, gauge, retry));
                }
                Answer::Sealed => {
                    self.relocate(line, ask, gauge, now);
                    // The place, if any, was at the cell that has gone.
                    may_wait = bite == Bite::Shadow;
                }
            }
        }
    }

    fn enter(&self, cell: &Arc<Cell>, group: &mut Taken) -> bool {
        if group.places.is_none() {
            group.places = Places::enter(&self.waiters, WAITERS_PER_PROCESS);
        }
        group.places.as_mut().is_some_and(|places| places.enter_at(cell, WAITERS_PER_KEY))
    }

    fn relocate(&self, line: &mut Line, ask: &Ask<'_>, gauge: &Gauge, now: u64) {
        (line.cell, line.overflow) = self.locate(line.key, ask, gauge, now);
    }
}

impl Line {
    /// The cell holds this and nothing is taken from it.
    fn see(&mut self, word: u64) {
        (self.word, self.before.0) = (word, word);
    }
}

/// What one cell held before a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which ask.
    pub ask: usize,
    /// Which of its policy's limits.
    pub limit: usize,
    /// Whether it is the cell of the policy's shadow.
    pub shadow: bool,
    /// The word.
    pub word: u64,
    /// The bound of the rate that wrote it, where that was another than the policy's own.
    pub bound: Option<u64>,
}

/// Notes what cells held, for whoever asked.
fn note(lines: &[Line], asks: &[Ask<'_>], seen: Option<&mut Vec<Seen>>) {
    let Some(seen) = seen else { return };
    for line in lines {
        let Some((ask, gauge)) = gauge_of(line, asks) else { continue };
        let (word, bound) = line.before;
        let own = match gauge.measure {
            Measure::Rate(bucket) => bucket.bound(),
            Measure::Permits(_) => bound,
        };
        let shadow = ask.bite == Bite::Shadow;
        let bound = (bound != own).then_some(bound);
        seen.push(Seen { ask: line.ask, limit: line.limit, shadow, word, bound });
    }
}

/// Undoes what a line took and takes the result for its state.
fn give_back(line: &mut Line, asks: &[Ask<'_>]) {
    let (Some(receipt), Some((_, gauge))) = (line.taken.take(), gauge_of(line, asks)) else { return };
    match gauge.measure {
        Measure::Rate(_) => line.cell.undo(receipt),
        Measure::Permits(_) => line.cell.release(),
    }
    line.word = line.cell.word();
}

/// Ends a group: permits go into the reservation, cells back into the core's cache.
fn keep(lines: &mut Vec<Line>, cache: &mut CellCache, reservation: &mut Reservation, asks: &[Ask<'_>]) {
    for line in lines.drain(..) {
        if let Some(receipt) = line.taken
            && let Some((ask, gauge)) = gauge_of(&line, asks)
        {
            match gauge.measure {
                Measure::Permits(_) => reservation.hold(Permit::new(Arc::clone(&line.cell))),
                Measure::Rate(bucket) => {
                    if let (Unit::Tokens, Some(units)) = (gauge.unit, ask.tokens) {
                        let cell = Arc::clone(&line.cell);
                        reservation.portion(Portion { cell, bucket, units, until: line.word, receipt });
                    }
                }
            }
        }
        if !line.overflow {
            cache.put(line.key, line.cell);
        }
    }
}

fn states(lines: &[Line], now: u64, asks: &[Ask<'_>]) -> Few<State> {
    let mut states = Few::new();
    for line in lines {
        let Some((ask, gauge)) = gauge_of(line, asks) else { continue };
        let Some(limit) = ask.policy.limits.get(line.limit) else { continue };
        let (remaining, reset) = match gauge.measure {
            Measure::Rate(bucket) => (bucket.remaining(line.word, now), Some(bucket.reset(line.word, now))),
            Measure::Permits(most) => (most.saturating_sub(line.word), None),
        };
        states.push(State {
            ask: line.ask,
            limit: line.limit,
            quota: limit.quota(),
            window_seconds: Limit::window_seconds(limit),
            remaining,
            reset_seconds: reset.map(|nanos| header::seconds(Duration::from_nanos(nanos))),
        });
    }
    states
}

fn refusal(line: &Line, gauge: &Gauge, retry: u64) -> Refusal {
    let (retry_after, cause) = match gauge.measure {
        Measure::Rate(_) if gauge.unit == Unit::Tokens => (Duration::from_nanos(retry), Cause::Tokens),
        Measure::Rate(_) => (Duration::from_nanos(retry), Cause::Rate),
        Measure::Permits(_) => (CONCURRENCY_RETRY, Cause::Concurrency),
    };
    Refusal { ask: line.ask, limit: line.limit, retry_after, cause }
}

fn gauge_of<'a>(line: &Line, asks: &'a [Ask<'a>]) -> Option<(&'a Ask<'a>, &'a Gauge)> {
    let ask = asks.get(line.ask)?;
    Some((ask, ask.policy.gauges().get(line.limit)?))
}

pub(crate) fn fresh(gauge: &Gauge) -> Cell {
    match gauge.measure {
        Measure::Rate(bucket) => Cell::new(Kind::Rate, bucket.bound()),
        Measure::Permits(_) => Cell::new(Kind::Permits, 0),
    }
}

/// The key of a limit's cell: the call's key moved by a step of its own. Keys are hashes, so a sum is as unlikely to
/// meet another key as a second hash would be.
pub(crate) fn cell_key(key: u128, gauge: &Gauge, bite: Bite) -> u128 {
    // An odd number without pattern: the digits of the golden ratio.
    const STEP: u128 = 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835;
    let shadow = u128::from(bite == Bite::Shadow) << 40;
    key.wrapping_add(STEP.wrapping_mul(1 + (u128::from(gauge.tag) | shadow)))
}
