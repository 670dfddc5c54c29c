//! One core's upstream connections, and its position in each upstream's rotation.
//!
//! Nothing here is locked or shared with other cores. Pools are found by the prepared endpoint's slot, which a reload
//! changes only with what decides about trust; so connections outlive reloads, and those of a former trust are never
//! found again and grow old. Waiting requests, idle connections and retries all have their bounds here and in
//! `endpoint`.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    RequestBody,
    balance::{Dice, RoundRobin},
    endpoint::EndpointPool,
    prepare::{PreparedEndpoint, PreparedUpstream},
    resolve::Resolver,
};

/// Time between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Retries that may be saved up: what an idle upstream's first failures may spend.
const RETRY_CREDIT_MAX: u32 = 50;
/// What one retry costs; each request earns one, so retries are at most a fifth of the requests.
const RETRY_COST: u32 = 5;

/// All upstream connections of one core.
pub struct CorePools<B> {
    pools: RefCell<HashMap<u64, Rc<EndpointPool<B>>, BuildHasherDefault<NumberHasher>>>,
    turns: RefCell<HashMap<u64, Rc<Turns>, BuildHasherDefault<NumberHasher>>>,
    pub(super) resolver: Resolver,
    pub(super) dice: Dice,
}

/// What a core has open, for metrics and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// Connections open or being opened.
    pub open: usize,
    /// HTTP/1.1 connections that wait for a request.
    pub idle: usize,
    /// HTTP/2 streams in use.
    pub streams: usize,
    /// Requests that wait for a connection.
    pub waiting: usize,
}

/// One core's position in one upstream's rotation, and its credit for retries.
#[derive(Debug)]
pub(super) struct Turns {
    pub(super) rotation: RefCell<RoundRobin>,
    credit: Cell<u32>,
    is_used: Cell<bool>,
}

impl Turns {
    /// A request begins.
    pub(super) fn earn(&self) {
        self.is_used.set(true);
        self.credit.set(self.credit.get().saturating_add(1).min(RETRY_CREDIT_MAX));
    }

    /// Whether a request may be tried on another endpoint; if so, that is paid for.
    pub(super) fn spend(&self) -> bool {
        let left = self.credit.get().checked_sub(RETRY_COST);
        if let Some(left) = left {
            self.credit.set(left);
        }
        left.is_some()
    }
}

impl<B: RequestBody> CorePools<B> {
    /// No connections yet. `seed` is for choices among endpoints; cores should differ in it.
    pub fn new(seed: u64) -> Rc<Self> {
        Rc::new(CorePools {
            pools: RefCell::default(),
            turns: RefCell::default(),
            resolver: Resolver::default(),
            dice: Dice::new(seed),
        })
    }

    /// Closes what has been idle too long, again and again. To be spawned on the core.
    pub async fn keep_swept(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.sweep(Instant::now());
        }
    }

    /// Closes what has been idle too long at `now`, and forgets endpoints and upstreams no longer used.
    pub fn sweep(&self, now: Instant) {
        let pools: Vec<_> = self.pools.borrow().values().cloned().collect();
        for pool in pools {
            pool.sweep(now);
        }
        self.pools.borrow_mut().retain(|_, pool| Rc::strong_count(pool) > 1 || pool.counts().open > 0);
        self.turns.borrow_mut().retain(|_, turns| turns.is_used.replace(false));
        self.resolver.sweep();
    }

    /// What is open.
    pub fn counts(&self) -> PoolCounts {
        self.pools.borrow().values().map(|pool| pool.counts()).fold(PoolCounts::default(), |sum, counts| {
            PoolCounts {
                open: sum.open + counts.open,
                idle: sum.idle + counts.idle,
                streams: sum.streams + counts.streams,
                waiting: sum.waiting + counts.waiting,
            }
        })
    }

    pub(super) fn pool(
        &self,
        upstream: &PreparedUpstream,
        endpoint: &PreparedEndpoint,
    ) -> Rc<EndpointPool<B>> {
        if let Some(pool) = self.pools.borrow().get(&endpoint.slot) {
            return Rc::clone(pool);
        }
        let pool = Rc::new(EndpointPool::new(upstream, endpoint));
        self.pools.borrow_mut().insert(endpoint.slot, Rc::clone(&pool));
        pool
    }

    pub(super) fn turns(&self, upstream: &PreparedUpstream) -> Rc<Turns> {
        if let Some(turns) = self.turns.borrow().get(&upstream.id) {
            return Rc::clone(turns);
        }
        let turns = Rc::new(Turns {
            rotation: RefCell::default(),
            credit: Cell::new(RETRY_CREDIT_MAX),
            is_used: Cell::new(true),
        });
        self.turns.borrow_mut().insert(upstream.id, Rc::clone(&turns));
        turns
    }
}

impl<B> std::fmt::Debug for CorePools<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CorePools").field("endpoints", &self.pools.borrow().len()).finish_non_exhaustive()
    }
}

/// Slots and ids are small unique numbers of our own: spreading their bits is enough.
#[derive(Debug, Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}
