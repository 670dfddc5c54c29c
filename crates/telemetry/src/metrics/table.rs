//! Every metric: name, kind, labels, help. The exposition and `docs/metrics.md` are both made from this table.

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows from the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

impl Kind {
    /// The word in `# TYPE`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug)]
pub struct Family {
    /// The name of its samples (those of a histogram have `_bucket`, `_sum` and `_count` after it).
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// The names of its labels, in the order of their values.
    pub labels: &'static [&'static str],
    /// One sentence. It holds neither a backslash nor a line break, so it needs no escaping.
    pub help: &'static str,
}

macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(pub(super) const $constant: &Family = &Family {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
        };)+

        /// All metrics, in the order of the exposition.
        pub const ALL: &[&Family] = &[$($constant),+];
    };
}

families! {
    REQUESTS = Counter "bartizan_http_requests_total" ["route", "method", "code"]
        "Requests that ended, by the status that was sent.";
    REQUEST_DURATION = Histogram "bartizan_http_request_duration_seconds" ["route"]
        "Time from the complete head to the end of the response.";
    GATEWAY_DURATION = Histogram "bartizan_http_gateway_duration_seconds" ["route"]
        "The part of the duration that was neither an upstream's nor spent waiting for a rate limit.";
    UPSTREAM_DURATION = Histogram "bartizan_http_upstream_duration_seconds" ["upstream"]
        "The part of the duration in which the gateway waited for an upstream.";
    REQUEST_BYTES = Counter "bartizan_http_request_bytes_total" ["route"]
        "Bytes of request bodies.";
    RESPONSE_BYTES = Counter "bartizan_http_response_bytes_total" ["route"]
        "Bytes of response bodies.";
    IN_FLIGHT = Gauge "bartizan_http_in_flight_requests" []
        "Requests whose head was read and whose response has not ended.";
    REFUSALS = Counter "bartizan_refusals_total" ["stage", "reason", "mode"]
        "Refused requests; with mode shadow, those that a policy in shadow would have refused.";
    POLICY_FAULTS = Counter "bartizan_policy_faults_total" ["policy", "on_fault"]
        "Times a judge could not decide; with on_fault allow, the request passed unjudged.";
    RATE_LIMIT_DECISIONS = Counter "bartizan_ratelimit_decisions_total" ["policy", "decision", "mode"]
        "Decisions of rate limits.";
    CACHE_REQUESTS = Counter "bartizan_cache_requests_total" ["policy", "result"]
        "Requests under a CachePolicy, by what the cache did for them.";
    CACHE_REFRESHES = Counter "bartizan_cache_refreshes_total" ["policy", "outcome"]
        "Stale answers that were validated in the background.";
    CACHE_ENTRIES = Gauge "bartizan_cache_entries" []
        "Answers that are kept.";
    CACHE_BYTES = Gauge "bartizan_cache_bytes" []
        "Memory that kept answers take, as the cache counts it.";
    INSPECTIONS = Counter "bartizan_inspections_total" ["policy", "outcome", "mode"]
        "Requests and answers that a policy inspected.";
    RULE_MATCHES = Counter "bartizan_inspection_matches_total" ["policy", "group", "mode"]
        "Rules that matched, by the thousand their numbers are in; with mode shadow, those that only watched.";
    AUTH_FAILURES = Counter "bartizan_auth_failures_total" ["reason"]
        "Failed attempts to identify.";
    FAILURE_COUNTERS = Counter "bartizan_auth_failure_counters_filled_total" ["by"]
        "Times a counter of failed attempts to identify filled: a burst of guesses.";
    FETCHES = Counter "bartizan_fetches_total" ["purpose", "outcome"]
        "What the gateway asked issuers and providers for, by how that ended.";
    FETCH_SECONDS = Counter "bartizan_fetch_duration_seconds_total" ["purpose"]
        "Time that took; with the count it gives the mean.";
    UPSTREAM_REQUESTS = Counter "bartizan_upstream_requests_total" ["upstream", "endpoint", "outcome"]
        "Attempts at endpoints, by how they ended.";
    UPSTREAM_CONNECTIONS = Gauge "bartizan_upstream_connections" ["upstream", "endpoint", "state"]
        "Open connections to endpoints.";
    ENDPOINT_HEALTHY = Gauge "bartizan_endpoint_healthy" ["upstream", "endpoint"]
        "1 while the endpoint may get requests, 0 while its checks fail or it is ejected.";
    RETRIES = Counter "bartizan_retries_total" ["upstream"]
        "Requests that were sent once more, to another endpoint.";
    OVERLOAD_PRESSURE = Gauge "bartizan_overload_pressure_ratio" ["of"]
        "How much of what there is is used: 1 is all of it.";
    OVERLOAD_STEPS = Counter "bartizan_overload_steps_total" ["step"]
        "Times a step was taken because of overload.";
    MEMORY_LIMIT = Gauge "bartizan_memory_limit_bytes" []
        "Most memory that the process may take.";
    MEMORY_WORST = Gauge "bartizan_memory_worst_case_bytes" []
        "What everything that limits allow would take at once.";
    HELD_BYTES = Gauge "bartizan_held_body_bytes" []
        "Bytes of bodies that are held to be judged.";
    CONNECTIONS = Gauge "bartizan_connections" ["listener"]
        "Open connections of clients.";
    LISTENER_REQUESTS = Counter "bartizan_listener_requests_total" ["listener"]
        "Requests that ended, by the listener they came through.";
    CONNECTIONS_REFUSED = Counter "bartizan_connections_refused_total" ["listener", "why"]
        "Connections of clients that were not served.";
    HANDSHAKE_FAILURES = Counter "bartizan_tls_handshake_failures_total" ["listener"]
        "TLS handshakes with clients that failed.";
    HANDSHAKE_DURATION = Histogram "bartizan_tls_handshake_duration_seconds" ["listener"]
        "Time of successful TLS handshakes with clients.";
    LIMIT_CELLS = Gauge "bartizan_limit_cells" []
        "Keys that rate limits keep count of.";
    LIMIT_WAITERS = Gauge "bartizan_limit_waiters" []
        "Calls that wait for their slot in a rate limit.";
    LIMIT_OVERFLOW = Counter "bartizan_limit_overflow_total" []
        "Times a full table made a key share its policy's overflow cell.";
    MODEL_REQUESTS = Counter "bartizan_model_requests_total" ["team", "consumer", "model"]
        "Calls to models that ended.";
    MODEL_FAILURES = Counter "bartizan_model_failures_total" ["team", "consumer", "model"]
        "Calls to models that were refused, or that no target served.";
    MODEL_TOKENS = Counter "bartizan_model_tokens_total" ["team", "consumer", "model", "type"]
        "Tokens that models used; cached ones are a share of the input, reasoning is a share of the output.";
    MODEL_COST = Counter "bartizan_model_cost_dollars_total" ["team", "consumer", "model"]
        "What calls to models cost; calls without a known price are not in it.";
    MODEL_UNPRICED = Counter "bartizan_model_unpriced_requests_total" ["team", "consumer", "model"]
        "Calls to models whose price is not known.";
    MODEL_FALLBACKS = Counter "bartizan_model_fallbacks_total" ["team", "consumer", "model"]
        "Targets that did not serve before another one did.";
    MODEL_FIRST_TOKEN = Histogram "bartizan_model_first_token_seconds" ["model"]
        "Time from the complete head to the first content of a model's answer.";
    LOG_WRITTEN = Counter "bartizan_access_log_written_total" []
        "Lines written to the access log.";
    LOG_LOST = Counter "bartizan_access_log_lost_total" ["why"]
        "Records that did not reach the access log.";
    LOG_WRITE_ERRORS = Counter "bartizan_access_log_write_errors_total" []
        "Failed writes, rotations and openings of the access log.";
    INSIGHT_EVENTS = Counter "bartizan_insight_events_total" []
        "Requests that the detectors of unusual behaviour have seen.";
    INSIGHT_LOST = Counter "bartizan_insight_lost_total" []
        "Requests that the detectors did not see because they were behind.";
    INSIGHT_MEMORY = Gauge "bartizan_insight_memory_bytes" []
        "What the detectors remember, about.";
    INSIGHT_ALERTS = Counter "bartizan_insight_alerts_total" ["outcome"]
        "Findings of the detectors that were told or held back by the alert budget.";
    ROLLOUT_SHARE = Gauge "bartizan_rollout_share" []
        "Share of callers that a rollout's candidate serves at this gateway, from 0 to 1.";
    ROLLOUT_REQUESTS = Gauge "bartizan_rollout_step_requests" ["side", "outcome"]
        "Requests of the rollout's step at this gateway, by who served them; begins anew with each step.";
    ROLLOUT_SHADOW = Gauge "bartizan_rollout_shadow_requests" ["finding"]
        "Requests that both sets judged in the rollout's shadow at this gateway, by what differs.";
    CONFIG_RELOADS = Counter "bartizan_config_reloads_total" ["outcome"]
        "Sets of documents that were applied or refused.";
    CONFIG_LAST_SUCCESS = Gauge "bartizan_config_last_reload_success_timestamp_seconds" []
        "When the last set of documents went live, in seconds since 1970.";
    CONFIG_REVISION = Gauge "bartizan_config_revision_info" ["revision"]
        "1 for the revision that serves.";
    AUDIT_FINDINGS = Gauge "bartizan_audit_findings" ["gravity"]
        "What the last audit of the set in force found.";
    AUDIT_LAST = Gauge "bartizan_audit_last_timestamp_seconds" []
        "When the set in force was last audited, in seconds since 1970.";
    BUILD = Gauge "bartizan_build_info" ["version"]
        "1 for the version that runs.";
    PROCESS_CPU = Counter "process_cpu_seconds_total" []
        "Time the process spent on CPUs.";
    PROCESS_MEMORY = Gauge "process_resident_memory_bytes" []
        "Memory of the process that is in RAM.";
    PROCESS_FDS = Gauge "process_open_fds" []
        "Open file descriptors.";
    PROCESS_FDS_MAX = Gauge "process_max_fds" []
        "Most file descriptors the process may open.";
    PROCESS_START = Gauge "process_start_time_seconds" []
        "When the process started, in seconds since 1970.";
}

/// The page `docs/metrics.md`.
pub fn metrics_page() -> String {
    let mut page = String::from(PAGE_HEAD);
    for family in ALL {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
        page.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            family.name,
            family.kind.as_str(),
            labels,
            family.help
        ));
    }
    page.push_str(PAGE_TAIL);
    page
}

const PAGE_HEAD: &str = "\
# Metrics

<!-- Generated from crates/telemetry/src/metrics/table.rs; a test keeps it fresh. -->

The management listener serves these at `/metrics`, in Prometheus text 0.0.4 or, where a client prefers it, in
OpenMetrics 1.0. Counters start at zero with the process and survive reloads.

| name | kind | labels | meaning |
|---|---|---|---|
";

const PAGE_TAIL: &str = "
## Labels

* `route`, `upstream`, `endpoint`, `listener`, `policy` are names from the documents (`policy` as `Kind/name`). `_none`
  stands for what has none, such as a request that met no route. There is a limit for each (4,096 routes, endpoints and
  policies, 2,048 upstreams, 256 listeners in the life of a process); all beyond it share `_overflow`.
* `method` is one of the nine methods of RFC 9110 and RFC 5789, or `_other`.
* `code` is a registered status code (or 499, 529, 530), the class of any other (`2xx`), or `none` when no answer was sent.
* `stage` and `reason` are the words of the pipeline and of problem answers; `mode` is `enforce` or `shadow`.
* `decision` is `allow`, `deny` or `throttle`.
* `result` is `hit`, `stale` (given while it is validated), `stale_on_error`, `validated`, `collapsed` (the answer to an
  equal request was waited for), `miss` or `bypass`; `outcome` of a refresh is `renewed` or `failed`.
* `group` is the number of a rule divided by 1,000 (`942` for the SQL injection rules of the Core Rule Set); a policy's
  first 64 groups have their own. `outcome` of an inspection is `passed`, `refused` or `incomplete`.
* `outcome` of an upstream request is `answered`, `server_error`, `connect_failed`, `timeout`, `reset`, `misbehaved` or
  `cancelled`; of a reload `applied` or `refused`.
* `of` is `memory`, `event_loop` or `accept_queue`; `step` is `short_idle` (idle connections that were closed early),
  `no_new_streams` (HTTP/2 streams that were refused), `shed` (requests that were refused), `reset` (requests that were ended
  because of the memory they held) or `stop_accepting` (times the accepting stopped).
* `outcome` of an alert is `told` or `held_back`.
* `state` is `active` or `idle`; `gravity` is `low`, `medium` or `high`.
* `team`, `consumer` and `model` are names from the documents; the first 2,000 triples of the process have their own
  series, all beyond it share `_overflow`. `type` of tokens is `input`, `cached`, `output` or `reasoning`.
* `why` of a refused connection is `address_denied`, `listener_full`, `address_full`, `prefix_full`, `proxy_header`,
  `head_timeout` or `resources`; of a lost record `overflow` (the writer could not keep up) or `write_error`.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::label::{
        Cached, ConnectionState, Decision, Inspected, Outcome, Refreshed, RefusedConnection,
    };

    #[test]
    fn names_follow_the_conventions() {
        let mut seen = std::collections::HashSet::new();
        for family in ALL {
            assert!(seen.insert(family.name), "{} is there twice", family.name);
            assert!(family.name.starts_with("bartizan_") || family.name.starts_with("process_"));
            assert_eq!(family.name.ends_with("_total"), family.kind == Kind::Counter, "{}", family.name);
            assert!(
                family.help.ends_with('.') && !family.help.contains(['\\', '\n', '|']),
                "{}",
                family.name
            );
        }
    }

    #[test]
    fn the_page_tells_every_word_that_a_label_can_be() {
        let page = metrics_page();
        let words = Decision::ALL
            .iter()
            .map(|word| word.as_str())
            .chain(Inspected::ALL.iter().map(|word| word.as_str()))
            .chain(Cached::ALL.iter().map(|word| word.as_str()))
            .chain(Refreshed::ALL.iter().map(|word| word.as_str()))
            .chain(Outcome::ALL.iter().map(|word| word.as_str()))
            .chain(ConnectionState::ALL.iter().map(|word| word.as_str()))
            .chain(RefusedConnection::ALL.iter().map(|word| word.as_str()));
        for word in words {
            assert!(page.contains(&format!("`{word}`")), "{word}");
        }
    }

    #[test]
    fn the_page_in_docs_is_fresh() {
        crate::json::tests::check_page("metrics.md", &metrics_page());
    }
}
