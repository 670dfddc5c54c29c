//! What one core counts.
//!
//! [`CoreMetrics`] is owned by one thread and cannot be shared, which is what allows its cells to be written
//! without a read-modify-write. A finished request is one call: [`CoreMetrics::close`].

use std::{
    cell::Cell,
    marker::PhantomData,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bartizan_model::{Mode, OnFault, Reason, Stage};

use super::{
    cell::{Counter, GATEWAY_BOUNDS, Histogram, Slots, TOTAL_BOUNDS},
    label::{self, Cached, Decision, FailureCounter, Inspected, Outcome, Refreshed, RefusedConnection},
    names::{
        ENDPOINTS_MAX, EndpointId, LISTENERS_MAX, ListenerId, POLICIES_MAX, PolicyId, ROUTES_MAX,
        RULE_GROUPS_MAX, UPSTREAMS_MAX, UpstreamId,
    },
};
use crate::{
    record::{RequestRecord, Would},
    rules::RuleRole,
};

/// The counters of one core.
#[derive(Debug)]
pub struct CoreMetrics {
    cells: Arc<CoreCells>,
    // Sending it to its thread is fine, sharing it between threads is not: the cells have one writer.
    one_thread: PhantomData<Cell<()>>,
}

impl CoreMetrics {
    pub(super) fn new(cells: Arc<CoreCells>) -> Self {
        CoreMetrics { cells, one_thread: PhantomData }
    }

    /// A request's head was read.
    pub fn opened(&self) {
        self.cells.in_flight.add(1);
    }

    /// A request that was [`opened`](CoreMetrics::opened) ended: counts everything that its record tells.
    pub fn close(&self, record: &RequestRecord) {
        self.cells.in_flight.subtract(1);
        if let Some(listener) = self.cells.listeners.cell(record.listener_id.index()) {
            listener.requests.add(1);
        }
        if let Some(route) = self.cells.routes.cell(record.route_id.index()) {
            route.codes.add(&record.method, record.status);
            route.total.observe(TOTAL_BOUNDS, record.total);
            route.gateway.observe(GATEWAY_BOUNDS, record.gateway_time());
            route.request_bytes.add(record.request_bytes);
            route.response_bytes.add(record.response_bytes);
        }
        if let Some(time) = record.upstream_time
            && let Some(upstream) = self.cells.upstreams.cell(record.upstream_id.index())
        {
            upstream.time.observe(TOTAL_BOUNDS, time);
        }
        if let Some(refusal) = &record.refusal {
            self.refused(refusal.stage, refusal.reason(), Mode::Enforce);
        }
        for would in &record.would_deny {
            if would.outcome == Would::Deny {
                self.refused(would.stage, would.reason, Mode::Shadow);
            }
        }
        if let Some((policy, result)) = record.cached
            && let Some(cells) = self.cells.policies.cell(policy.index())
        {
            add_at(&cells.cached, result as usize);
        }
        for rule in record.rules.iter() {
            if let Some(cells) = self.cells.rule_groups.cell(rule.group.index()) {
                match rule.role {
                    RuleRole::Watched => cells.shadowed.add(1),
                    RuleRole::Decided | RuleRole::Matched => cells.enforced.add(1),
                }
            }
        }
    }

    /// A refusal outside of a record, for example one that the HTTP library answered by itself. Requests with a
    /// record are counted by [`close`](CoreMetrics::close).
    pub fn refused(&self, stage: Stage, reason: Reason, mode: Mode) {
        if let Some(cell) = self.cells.refusals.get(refusal_index(stage, reason, mode)) {
            cell.add(1);
        }
    }

    /// A judge of `policy` could not decide.
    pub fn policy_fault(&self, policy: PolicyId, on_fault: OnFault) {
        if let Some(cells) = self.cells.policies.cell(policy.index()) {
            match on_fault {
                OnFault::Deny => cells.faults_denied.add(1),
                OnFault::Allow => cells.faults_allowed.add(1),
            }
        }
    }

    /// A rate limit decided. A policy that is off decides nothing.
    pub fn rate_limit(&self, policy: PolicyId, decision: Decision, mode: Mode) {
        if let Some(cells) = self.cells.policies.cell(policy.index()) {
            match mode {
                Mode::Enforce => add_at(&cells.enforced, decision as usize),
                Mode::Shadow => add_at(&cells.shadowed, decision as usize),
                Mode::Off => {}
            }
        }
    }

    /// A policy inspected a message.
    pub fn inspected(&self, policy: PolicyId, outcome: Inspected, mode: Mode) {
        if let Some(cells) = self.cells.policies.cell(policy.index()) {
            match mode {
                Mode::Enforce => add_at(&cells.inspected, outcome as usize),
                Mode::Shadow => add_at(&cells.watched, outcome as usize),
                Mode::Off => {}
            }
        }
    }

    /// A stale answer was validated in the background.
    pub fn refreshed(&self, policy: PolicyId, outcome: Refreshed) {
        if let Some(cells) = self.cells.policies.cell(policy.index()) {
            add_at(&cells.refreshed, outcome as usize);
        }
    }

    /// An attempt to identify failed, whether or not the request was refused for it.
    pub fn auth_failure(&self, reason: Reason) {
        add_at(&self.cells.auth_failures, label::reason_number(reason));
    }

    /// A counter of failed attempts to identify has filled.
    pub fn failure_counter_filled(&self, counter: FailureCounter) {
        add_at(&self.cells.failure_counters, counter as usize);
    }

    /// An attempt at an endpoint ended.
    pub fn upstream_attempt(&self, endpoint: EndpointId, outcome: Outcome) {
        if let Some(cells) = self.cells.endpoints.cell(endpoint.index()) {
            add_at(&cells.outcomes, outcome as usize);
        }
    }

    /// A request is sent once more, to another endpoint of `upstream`.
    pub fn retried(&self, upstream: UpstreamId) {
        if let Some(cells) = self.cells.upstreams.cell(upstream.index()) {
            cells.retries.add(1);
        }
    }

    /// A connection is served.
    pub fn connection_opened(&self, listener: ListenerId) {
        if let Some(cells) = self.cells.listeners.cell(listener.index()) {
            cells.connections.add(1);
        }
    }

    /// A served connection ended.
    pub fn connection_closed(&self, listener: ListenerId) {
        if let Some(cells) = self.cells.listeners.cell(listener.index()) {
            cells.connections.subtract(1);
        }
    }

    /// A connection was not served.
    pub fn connection_refused(&self, listener: ListenerId, why: RefusedConnection) {
        if let Some(cells) = self.cells.listeners.cell(listener.index()) {
            add_at(&cells.refused, why as usize);
        }
    }

    /// A TLS handshake failed.
    pub fn handshake_failed(&self, listener: ListenerId) {
        if let Some(cells) = self.cells.listeners.cell(listener.index()) {
            cells.handshakes_failed.add(1);
        }
    }

    /// A TLS handshake succeeded and took this long.
    pub fn handshake_done(&self, listener: ListenerId, duration: Duration) {
        if let Some(cells) = self.cells.listeners.cell(listener.index()) {
            cells.handshakes.observe(TOTAL_BOUNDS, duration);
        }
    }
}

fn add_at(cells: &[Counter], index: usize) {
    if let Some(cell) = cells.get(index) {
        cell.add(1);
    }
}

/// The memory of one core's counters; the scrape holds it too.
#[derive(Debug)]
pub(super) struct CoreCells {
    pub(super) listeners: Slots<ListenerCells>,
    pub(super) routes: Slots<RouteCells>,
    pub(super) upstreams: Slots<UpstreamCells>,
    pub(super) endpoints: Slots<EndpointCells>,
    pub(super) policies: Slots<PolicyCells>,
    pub(super) rule_groups: Slots<RuleGroupCells>,
    pub(super) refusals: Box<[Counter]>,
    pub(super) auth_failures: Box<[Counter]>,
    pub(super) failure_counters: Box<[Counter]>,
    pub(super) in_flight: Counter,
}

impl Default for CoreCells {
    fn default() -> Self {
        let counters = |count| (0..count).map(|_| Counter::default()).collect();
        CoreCells {
            listeners: Slots::new(LISTENERS_MAX),
            routes: Slots::new(ROUTES_MAX),
            upstreams: Slots::new(UPSTREAMS_MAX),
            endpoints: Slots::new(ENDPOINTS_MAX),
            policies: Slots::new(POLICIES_MAX),
            rule_groups: Slots::new(RULE_GROUPS_MAX),
            refusals: counters(2 * Stage::ALL.len() * Reason::ALL.len()),
            auth_failures: counters(Reason::ALL.len()),
            failure_counters: counters(FailureCounter::COUNT),
            in_flight: Counter::default(),
        }
    }
}

/// The place of a refusal's counter.
pub(super) fn refusal_index(stage: Stage, reason: Reason, mode: Mode) -> usize {
    let shadow = usize::from(mode != Mode::Enforce);
    (shadow * Stage::ALL.len() + stage as usize) * Reason::ALL.len() + label::reason_number(reason)
}

/// What is counted per listener.
#[derive(Debug, Default)]
pub(super) struct ListenerCells {
    pub(super) connections: Counter,
    pub(super) requests: Counter,
    pub(super) refused: [Counter; RefusedConnection::COUNT],
    pub(super) handshakes_failed: Counter,
    pub(super) handshakes: Histogram,
}

/// What is counted per route.
#[derive(Debug, Default)]
pub(super) struct RouteCells {
    pub(super) codes: Codes,
    pub(super) total: Histogram,
    pub(super) gateway: Histogram,
    pub(super) request_bytes: Counter,
    pub(super) response_bytes: Counter,
}

/// What is counted per upstream.
#[derive(Debug, Default)]
pub(super) struct UpstreamCells {
    pub(super) time: Histogram,
    pub(super) retries: Counter,
}

/// What is counted per endpoint.
#[derive(Debug, Default)]
pub(super) struct EndpointCells {
    pub(super) outcomes: [Counter; Outcome::COUNT],
}

/// What is counted per policy.
#[derive(Debug, Default)]
pub(super) struct PolicyCells {
    pub(super) faults_denied: Counter,
    pub(super) faults_allowed: Counter,
    pub(super) enforced: [Counter; Decision::COUNT],
    pub(super) shadowed: [Counter; Decision::COUNT],
    pub(super) inspected: [Counter; Inspected::COUNT],
    pub(super) watched: [Counter; Inspected::COUNT],
    pub(super) cached: [Counter; Cached::COUNT],
    pub(super) refreshed: [Counter; Refreshed::COUNT],
}

/// What is counted per group of rules.
#[derive(Debug, Default)]
pub(super) struct RuleGroupCells {
    pub(super) enforced: Counter,
    pub(super) shadowed: Counter,
}

/// How many pairs of method and code a block holds; most routes see fewer.
const BLOCK: usize = 6;

/// Requests by method and code. A full matrix would take five kilobytes per route; a route meets a handful of
/// pairs, so they are listed in the order in which they came, in blocks that are added at need.
#[derive(Debug, Default)]
pub(super) struct Codes {
    pairs: [Pair; BLOCK],
    more: OnceLock<Box<Codes>>,
}

#[derive(Debug, Default)]
struct Pair {
    /// Method and code plus one; 0 while free.
    key: AtomicU32,
    count: Counter,
}

impl Codes {
    pub(super) fn add(&self, method: &http::Method, code: u16) {
        let pair = label::method_number(method) << 16 | label::code_number(code);
        let Ok(key) = u32::try_from(pair + 1) else { return };
        let mut block = self;
        // The list of pairs is finite (methods times codes), so this ends.
        loop {
            for pair in &block.pairs {
                match pair.key.load(Ordering::Relaxed) {
                    known if known == key => return pair.count.add(1),
                    0 => {
                        pair.key.store(key, Ordering::Relaxed);
                        return pair.count.add(1);
                    }
                    _ => {}
                }
            }
            block = block.more.get_or_init(Box::default);
        }
    }

    /// Calls `each` with method number, code number and count.
    pub(super) fn for_each(&self, mut each: impl FnMut(usize, usize, u64)) {
        let mut block = Some(self);
        while let Some(codes) = block {
            for pair in &codes.pairs {
                if let Some(key) = (pair.key.load(Ordering::Relaxed) as usize).checked_sub(1) {
                    each(key >> 16, key & 0xFFFF, pair.count.get());
                }
            }
            block = codes.more.get().map(Box::as_ref);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn pairs_of_method_and_code_are_counted_apart_and_without_limit_of_blocks() {
        let codes = Codes::default();
        for round in 1..=3_u64 {
            for code in 0..=700 {
                codes.add(&Method::GET, code);
                codes.add(&Method::POST, code);
            }
            let (mut kinds, mut total) = (0, 0);
            codes.for_each(|_, _, count| {
                kinds += 1;
                total += count;
            });
            assert_eq!((kinds, total), (2 * 72, round * 2 * 701));
        }
    }

    #[test]
    fn each_refusal_has_a_place_of_its_own() {
        let mut seen = std::collections::HashSet::new();
        for mode in [Mode::Enforce, Mode::Shadow] {
            for stage in Stage::ALL {
                for reason in Reason::ALL {
                    assert!(seen.insert(refusal_index(stage, *reason, mode)));
                }
            }
        }
        assert_eq!(seen.len(), CoreCells::default().refusals.len());
        assert!(seen.into_iter().max().unwrap() < CoreCells::default().refusals.len());
    }
}
