//! The text of a scrape: all cores' cells, summed under their names.
//!
//! A scrape takes the registry's lock for as long as it writes; the request path never does. Series that no
//! request has touched are left out, so a thousand idle routes cost nothing.

use std::sync::{Arc, atomic::Ordering};

use bartizan_model::{Mode, Reason, Stage};

use super::{
    Metrics,
    cell::{Bounds, Counter, GATEWAY_BOUNDS, Histogram, HistogramSum, TOTAL_BOUNDS},
    core::{CoreCells, EndpointCells, ListenerCells, PolicyCells, RouteCells, UpstreamCells, refusal_index},
    label::{
        self, Cached, ConnectionState, Decision, FailureCounter, Inspected, Outcome, Refreshed,
        RefusedConnection,
    },
    lock,
    names::{NONE, Name, Names, Table},
    process::ProcessFigures,
    table,
    text::{Exposition, Format},
};
use crate::usage::UsageSums;

impl Metrics {
    /// The text of a scrape.
    pub fn expose(&self, format: Format) -> String {
        let cores = lock(&self.cores).clone();
        let names = lock(&self.names);
        let sums = Sums { cores: &cores, names: &names };
        let mut out = Exposition::new(format);
        sums.requests(&mut out);
        sums.judgements(&mut out);
        self.fetches.expose(&mut out);
        sums.upstreams(&mut out);
        sums.listeners(&mut out);
        drop(names);
        self.models(&mut out);
        self.limits_and_log(&mut out);
        self.configuration(&mut out);
        self.process(&mut out, &ProcessFigures::read());
        out.finish()
    }

    fn limits_and_log(&self, out: &mut Exposition) {
        out.family(table::LIMIT_CELLS).integer(&[], self.limit.cells.load(Ordering::Relaxed));
        out.family(table::LIMIT_WAITERS).integer(&[], self.limit.waiters.load(Ordering::Relaxed));
        out.family(table::LIMIT_OVERFLOW).integer(&[], self.limit.overflow.load(Ordering::Relaxed));
        out.family(table::CACHE_ENTRIES).integer(&[], self.cache.entries.load(Ordering::Relaxed));
        out.family(table::CACHE_BYTES).integer(&[], self.cache.bytes.load(Ordering::Relaxed));
        let log = self.log.get().map(|log| log.now()).unwrap_or_default();
        out.family(table::LOG_WRITTEN).integer(&[], log.written);
        let mut lost = out.family(table::LOG_LOST);
        lost.integer(&["overflow"], log.lost_to_overflow);
        lost.integer(&["write_error"], log.lost_to_errors);
        out.family(table::LOG_WRITE_ERRORS).integer(&[], log.errors);
        self.overload(out);
        let insight = *lock(&self.insight);
        out.family(table::INSIGHT_EVENTS).integer(&[], insight.events);
        out.family(table::INSIGHT_LOST).integer(&[], insight.lost);
        out.family(table::INSIGHT_MEMORY).integer(&[], insight.memory_bytes);
        let mut alerts = out.family(table::INSIGHT_ALERTS);
        alerts.integer(&["told"], insight.told);
        alerts.integer(&["held_back"], insight.held_back);
        self.rollout(out);
    }

    fn rollout(&self, out: &mut Exposition) {
        let figures = lock(&self.rollout).clone();
        out.family(table::ROLLOUT_SHARE).share(&[], figures.share);
        let mut requests = out.family(table::ROLLOUT_REQUESTS);
        for (side, counts) in ["candidate", "active"].into_iter().zip(figures.sides) {
            for (outcome, count) in ["served", "refused", "failed"].into_iter().zip(counts) {
                nonzero(&mut requests, &[side, outcome], count);
            }
        }
        let mut shadow = out.family(table::ROLLOUT_SHADOW);
        for (finding, count) in figures.shadow {
            nonzero(&mut shadow, &[finding], count);
        }
    }

    fn overload(&self, out: &mut Exposition) {
        let figures = lock(&self.overload).clone();
        let mut pressure = out.family(table::OVERLOAD_PRESSURE);
        for (of, thousandths) in [
            ("memory", figures.memory),
            ("event_loop", figures.event_loop),
            ("accept_queue", figures.accept_queue),
        ] {
            // A thousandth is a million of the billionths that are written.
            pressure.seconds(&[of], u128::from(thousandths) * 1_000_000);
        }
        let mut steps = out.family(table::OVERLOAD_STEPS);
        for (step, times) in figures.taken {
            steps.integer(&[step], times);
        }
        for (family, bytes) in
            [(table::MEMORY_LIMIT, figures.limit_bytes), (table::MEMORY_WORST, figures.worst_bytes)]
        {
            let mut samples = out.family(family);
            if bytes > 0 {
                samples.integer(&[], bytes);
            }
        }
        out.family(table::HELD_BYTES).integer(&[], figures.held_bytes);
    }

    fn models(&self, out: &mut Exposition) {
        let rows = self.usage.all();
        let name = |name: &Option<Arc<str>>| name.clone().unwrap_or_else(|| NONE.into());
        let rows: Vec<_> = rows
            .iter()
            .map(|(key, sums)| ([name(&key.team), name(&key.consumer), key.model.clone()], sums))
            .collect();
        type Count = fn(&UsageSums) -> u64;
        let families: [(_, Count); 4] = [
            (table::MODEL_REQUESTS, |sums| sums.requests),
            (table::MODEL_FAILURES, |sums| sums.failed),
            (table::MODEL_UNPRICED, |sums| sums.unpriced),
            (table::MODEL_FALLBACKS, |sums| sums.fallbacks),
        ];
        for (family, count) in families {
            let mut samples = out.family(family);
            for ([team, consumer, model], sums) in &rows {
                nonzero(&mut samples, &[team, consumer, model], count(sums));
            }
        }
        let mut tokens = out.family(table::MODEL_TOKENS);
        for ([team, consumer, model], sums) in &rows {
            for (class, count) in [
                ("input", sums.input),
                ("cached", sums.cached),
                ("output", sums.output),
                ("reasoning", sums.reasoning),
            ] {
                nonzero(&mut tokens, &[team, consumer, model, class], count);
            }
        }
        let mut cost = out.family(table::MODEL_COST);
        for ([team, consumer, model], sums) in rows.iter().filter(|(_, sums)| sums.cost_pico > 0) {
            // Nine decimals of a dollar are enough for a counter.
            cost.seconds(&[team, consumer, model], u128::from(sums.cost_pico / 1_000));
        }
        let mut first = out.family(table::MODEL_FIRST_TOKEN);
        for (model, sum) in self.usage.first_tokens() {
            first.histogram(&[&model], TOTAL_BOUNDS, &sum);
        }
    }

    fn configuration(&self, out: &mut Exposition) {
        let config = lock(&self.config).clone();
        let mut reloads = out.family(table::CONFIG_RELOADS);
        reloads.integer(&["applied"], config.applied);
        reloads.integer(&["refused"], config.refused);
        let mut last = out.family(table::CONFIG_LAST_SUCCESS);
        if let Some(nanos) = config.last_success_unix_nanos {
            last.seconds(&[], u128::from(nanos));
        }
        let mut revision = out.family(table::CONFIG_REVISION);
        if let Some(name) = &config.revision {
            revision.integer(&[name], 1);
        }
        let audit = lock(&self.audit).clone();
        let mut findings = out.family(table::AUDIT_FINDINGS);
        for (gravity, count) in audit.findings {
            findings.integer(&[gravity], count);
        }
        let mut last = out.family(table::AUDIT_LAST);
        if let Some(nanos) = audit.at_unix_nanos {
            last.seconds(&[], u128::from(nanos));
        }
        out.family(table::BUILD).integer(&[self.version], 1);
    }

    fn process(&self, out: &mut Exposition, figures: &ProcessFigures) {
        let mut cpu = out.family(table::PROCESS_CPU);
        if let Some(nanos) = figures.cpu_nanos {
            cpu.seconds(&[], nanos);
        }
        for (family, value) in [
            (table::PROCESS_MEMORY, figures.resident_bytes),
            (table::PROCESS_FDS, figures.open_fds),
            (table::PROCESS_FDS_MAX, figures.max_fds),
        ] {
            let mut samples = out.family(family);
            if let Some(value) = value {
                samples.integer(&[], value);
            }
        }
        out.family(table::PROCESS_START).seconds(&[], u128::from(self.started_unix_nanos));
    }
}

/// All cores and the names of what they counted.
struct Sums<'a> {
    cores: &'a [Arc<CoreCells>],
    names: &'a Names,
}

impl Sums<'_> {
    fn requests(&self, out: &mut Exposition) {
        let routes = || self.named(&self.names.routes, |core, index| core.routes.existing(index));
        let mut requests = out.family(table::REQUESTS);
        for ([route, _], cells) in routes() {
            for (method, code, count) in summed_codes(&cells) {
                requests.integer(&[route, label::method_label(method), label::code_label(code)], count);
            }
        }
        let mut total = out.family(table::REQUEST_DURATION);
        for ([route, _], cells) in routes() {
            histogram(&mut total, route, TOTAL_BOUNDS, cells.iter().map(|cell: &&RouteCells| &cell.total));
        }
        let mut gateway = out.family(table::GATEWAY_DURATION);
        for ([route, _], cells) in routes() {
            histogram(&mut gateway, route, GATEWAY_BOUNDS, cells.iter().map(|cell| &cell.gateway));
        }
        let mut upstream = out.family(table::UPSTREAM_DURATION);
        for ([name, _], cells) in self.upstream_cells() {
            histogram(&mut upstream, name, TOTAL_BOUNDS, cells.iter().map(|cell| &cell.time));
        }
        let mut bytes = out.family(table::REQUEST_BYTES);
        for ([route, _], cells) in routes() {
            nonzero(&mut bytes, &[route], sum(cells.iter().map(|cell| &cell.request_bytes)));
        }
        let mut bytes = out.family(table::RESPONSE_BYTES);
        for ([route, _], cells) in routes() {
            nonzero(&mut bytes, &[route], sum(cells.iter().map(|cell| &cell.response_bytes)));
        }
        out.family(table::IN_FLIGHT).integer(&[], gauge(self.cores.iter().map(|core| &core.in_flight)));
    }

    fn judgements(&self, out: &mut Exposition) {
        let mut refusals = out.family(table::REFUSALS);
        for mode in [Mode::Enforce, Mode::Shadow] {
            for stage in Stage::ALL {
                for reason in Reason::ALL {
                    let index = refusal_index(stage, *reason, mode);
                    let count = sum(self.cores.iter().filter_map(|core| core.refusals.get(index)));
                    nonzero(&mut refusals, &[stage.as_str(), reason.as_str(), mode.as_str()], count);
                }
            }
        }
        let mut faults = out.family(table::POLICY_FAULTS);
        for ([policy, _], cells) in self.policy_cells() {
            nonzero(&mut faults, &[policy, "deny"], sum(cells.iter().map(|cell| &cell.faults_denied)));
            nonzero(&mut faults, &[policy, "allow"], sum(cells.iter().map(|cell| &cell.faults_allowed)));
        }
        let mut decisions = out.family(table::RATE_LIMIT_DECISIONS);
        for ([policy, _], cells) in self.policy_cells() {
            for decision in Decision::ALL {
                let at = *decision as usize;
                let enforced = sum(cells.iter().filter_map(|cell| cell.enforced.get(at)));
                nonzero(&mut decisions, &[policy, decision.as_str(), "enforce"], enforced);
                let shadowed = sum(cells.iter().filter_map(|cell| cell.shadowed.get(at)));
                nonzero(&mut decisions, &[policy, decision.as_str(), "shadow"], shadowed);
            }
        }
        self.caching(out);
        self.inspections(out);
        let mut failures = out.family(table::AUTH_FAILURES);
        for reason in Reason::ALL {
            let at = label::reason_number(*reason);
            let count = sum(self.cores.iter().filter_map(|core| core.auth_failures.get(at)));
            nonzero(&mut failures, &[reason.as_str()], count);
        }
        let mut filled = out.family(table::FAILURE_COUNTERS);
        for counter in FailureCounter::ALL {
            let at = *counter as usize;
            let count = sum(self.cores.iter().filter_map(|core| core.failure_counters.get(at)));
            nonzero(&mut filled, &[counter.as_str()], count);
        }
    }

    fn caching(&self, out: &mut Exposition) {
        let mut requests = out.family(table::CACHE_REQUESTS);
        for ([policy, _], cells) in self.policy_cells() {
            for result in Cached::ALL {
                let count = sum(cells.iter().filter_map(|cell| cell.cached.get(*result as usize)));
                nonzero(&mut requests, &[policy, result.as_str()], count);
            }
        }
        let mut refreshes = out.family(table::CACHE_REFRESHES);
        for ([policy, _], cells) in self.policy_cells() {
            for outcome in Refreshed::ALL {
                let count = sum(cells.iter().filter_map(|cell| cell.refreshed.get(*outcome as usize)));
                nonzero(&mut refreshes, &[policy, outcome.as_str()], count);
            }
        }
    }

    fn inspections(&self, out: &mut Exposition) {
        let mut inspections = out.family(table::INSPECTIONS);
        for ([policy, _], cells) in self.policy_cells() {
            for outcome in Inspected::ALL {
                let at = *outcome as usize;
                let enforced = sum(cells.iter().filter_map(|cell| cell.inspected.get(at)));
                nonzero(&mut inspections, &[policy, outcome.as_str(), "enforce"], enforced);
                let watched = sum(cells.iter().filter_map(|cell| cell.watched.get(at)));
                nonzero(&mut inspections, &[policy, outcome.as_str(), "shadow"], watched);
            }
        }
        let groups = self.named(&self.names.rule_groups, |core, index| core.rule_groups.existing(index));
        let mut matches = out.family(table::RULE_MATCHES);
        for ([policy, group], cells) in groups {
            nonzero(&mut matches, &[policy, group, "enforce"], sum(cells.iter().map(|cell| &cell.enforced)));
            nonzero(&mut matches, &[policy, group, "shadow"], sum(cells.iter().map(|cell| &cell.shadowed)));
        }
    }

    fn upstreams(&self, out: &mut Exposition) {
        let mut requests = out.family(table::UPSTREAM_REQUESTS);
        for ([upstream, endpoint], cells) in self.endpoint_cells() {
            for outcome in Outcome::ALL {
                let count = sum(cells.iter().filter_map(|cell| cell.outcomes.get(*outcome as usize)));
                nonzero(&mut requests, &[upstream, endpoint, outcome.as_str()], count);
            }
        }
        let mut connections = out.family(table::UPSTREAM_CONNECTIONS);
        for (number, [upstream, endpoint]) in self.names.endpoints.names().iter().enumerate() {
            if let Some(open) = self.names.endpoint_connections(number) {
                for (state, open) in ConnectionState::ALL.iter().zip(open) {
                    connections.integer(&[upstream, endpoint, state.as_str()], open);
                }
            }
        }
        let mut healthy = out.family(table::ENDPOINT_HEALTHY);
        for (number, [upstream, endpoint]) in self.names.endpoints.names().iter().enumerate() {
            if let Some(is_healthy) = self.names.endpoint_healthy(number) {
                healthy.integer(&[upstream, endpoint], u64::from(is_healthy));
            }
        }
        let mut retries = out.family(table::RETRIES);
        for ([upstream, _], cells) in self.upstream_cells() {
            nonzero(&mut retries, &[upstream], sum(cells.iter().map(|cell| &cell.retries)));
        }
    }

    fn listeners(&self, out: &mut Exposition) {
        let cells = || -> Vec<(&Name, Vec<&ListenerCells>)> {
            self.named(&self.names.listeners, |core, index| core.listeners.existing(index)).collect()
        };
        // A registered listener is always shown: no connection is a fact worth seeing.
        let shared = [NONE, super::OVERFLOW];
        let mut connections = out.family(table::CONNECTIONS);
        for ([listener, _], cells) in cells() {
            let open = gauge(cells.iter().map(|cell| &cell.connections));
            if open > 0 || !shared.contains(&&**listener) {
                connections.integer(&[listener], open);
            }
        }
        let mut requests = out.family(table::LISTENER_REQUESTS);
        for ([listener, _], cells) in cells() {
            nonzero(&mut requests, &[listener], sum(cells.iter().map(|cell| &cell.requests)));
        }
        let mut refused = out.family(table::CONNECTIONS_REFUSED);
        for ([listener, _], cells) in cells() {
            for why in RefusedConnection::ALL {
                let count = sum(cells.iter().filter_map(|cell| cell.refused.get(*why as usize)));
                nonzero(&mut refused, &[listener, why.as_str()], count);
            }
        }
        let mut failures = out.family(table::HANDSHAKE_FAILURES);
        for ([listener, _], cells) in cells() {
            nonzero(&mut failures, &[listener], sum(cells.iter().map(|cell| &cell.handshakes_failed)));
        }
        let mut handshakes = out.family(table::HANDSHAKE_DURATION);
        for ([listener, _], cells) in cells() {
            histogram(&mut handshakes, listener, TOTAL_BOUNDS, cells.iter().map(|cell| &cell.handshakes));
        }
    }

    fn upstream_cells(&self) -> impl Iterator<Item = (&Name, Vec<&UpstreamCells>)> {
        self.named(&self.names.upstreams, |core, index| core.upstreams.existing(index))
    }

    fn endpoint_cells(&self) -> impl Iterator<Item = (&Name, Vec<&EndpointCells>)> {
        self.named(&self.names.endpoints, |core, index| core.endpoints.existing(index))
    }

    fn policy_cells(&self) -> impl Iterator<Item = (&Name, Vec<&PolicyCells>)> {
        self.named(&self.names.policies, |core, index| core.policies.existing(index))
    }

    /// Each name with the cells that the cores have for it.
    fn named<'a, T: 'a>(
        &'a self,
        table: &'a Table,
        cell: impl Fn(&'a CoreCells, usize) -> Option<&'a T>,
    ) -> impl Iterator<Item = (&'a Name, Vec<&'a T>)> {
        table.names().iter().enumerate().map(move |(index, name)| {
            (name, self.cores.iter().filter_map(|core| cell(core, index)).collect())
        })
    }
}

/// The sum of growing counters.
fn sum<'a>(counters: impl Iterator<Item = &'a Counter>) -> u64 {
    counters.fold(0, |sum, counter| sum.wrapping_add(counter.get()))
}

/// The sum of what goes up and down. A scrape can read one core before a step up and another after the step down
/// that belongs to it; such a moment below zero is shown as zero.
fn gauge<'a>(counters: impl Iterator<Item = &'a Counter>) -> u64 {
    u64::try_from(sum(counters).cast_signed()).unwrap_or(0)
}

fn nonzero(samples: &mut super::text::Samples<'_>, labels: &[&str], value: u64) {
    if value > 0 {
        samples.integer(labels, value);
    }
}

fn histogram<'a>(
    samples: &mut super::text::Samples<'_>,
    label: &str,
    bounds: Bounds,
    cells: impl Iterator<Item = &'a Histogram>,
) {
    let mut sum = HistogramSum::default();
    cells.for_each(|cell| cell.add_to(&mut sum));
    if sum.count() > 0 {
        samples.histogram(&[label], bounds, &sum);
    }
}

/// Method number, code number and count over all cores, in order.
fn summed_codes(cells: &[&RouteCells]) -> Vec<(usize, usize, u64)> {
    let mut sums = std::collections::BTreeMap::new();
    for cell in cells {
        cell.codes.for_each(|method, code, count| *sums.entry((method, code)).or_insert(0) += count);
    }
    sums.into_iter().map(|((method, code), count)| (method, code, count)).collect()
}
