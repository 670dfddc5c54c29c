//! Cases with nothing to attack yet, each with its reason. A case leaves this list when its subject is built.

use bartizan_e2e::{Row, table::Rows};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (number, name, says, reason) in ABSENT {
        rows.extend(Rows::of(*number).not_yet(name, says, reason).done());
    }
    rows
}

const NO_HTTP3: &str = "HTTP/3 is not spoken";
const NO_INSPECTION: &str = "bodies are not inspected yet; only their length and rate are judged";
const TOKENS: &str = "played against a real OpenID provider by `cargo test -p bartizan-e2e --test tokens`";
const NO_RULES: &str = "there is no rule engine yet";

const ABSENT: &[(u8, &str, &str, &str)] = &[
    (
        14,
        "an HTTP/3 DATA frame declares more than it delivers",
        "the upstream's connection is closed",
        NO_HTTP3,
    ),
    (
        15,
        "a body is rewritten toward an HTTP/2 upstream",
        "frames are built from what is there",
        "nothing rewrites a body yet",
    ),
    (
        28,
        "gaps in QUIC streams, crafted INITIAL packets, spoofed addresses",
        "bounded memory, Retry under load",
        NO_HTTP3,
    ),
    (29, "gzip, br and zstd bombs", "ended at the ratio", NO_INSPECTION),
    (30, "JSON 100,000 levels deep, nested GraphQL", "400 in 5 ms, no recursion", NO_INSPECTION),
    (31, "entity bombs, external entities, 100,000 namespaces", "400", NO_INSPECTION),
    (
        32,
        "10,000 arguments, cookies, parts",
        "400, 413 or 431",
        "heads are limited (cases 22, 44); parts of bodies are not counted yet",
    ),
    (33, "the worst inputs for every rule's expression", "linear time", NO_RULES),
    (
        34,
        "keys that collide in a hash table",
        "time stays flat",
        "nothing builds a table out of a caller's names but the HTTP library",
    ),
    (
        35,
        "fragments, unmasked frames, bombs on a WebSocket",
        "1002 or 1009",
        "a WebSocket is passed through and its frames are not read",
    ),
    (36, "twelve opaque bodies of 12 MB at once", "memory within the spool", NO_INSPECTION),
    (
        37,
        "a million refused requests with large values",
        "sampled, bounded on disk",
        "guarded by `a_flood_of_refusals_with_large_values_is_bounded_in_memory_and_counted_to_the_last`; the run over sockets is a long one",
    ),
    (
        47,
        "a session resumed behind another client authentication",
        "the peer is judged again",
        "client certificates are not asked for; tickets are kept per listener (`keys_are_kept_per_listener_and_trust_and_never_shared`)",
    ),
    (
        48,
        "an upstream's connection under another trust",
        "never shared",
        "guarded by `connections_outlive_a_reload_but_not_a_change_of_trust`; upstream client certificates do not exist yet",
    ),
    (
        49,
        "NUL, wildcards and addresses in certificate names",
        "compared by type",
        "client certificates are not asked for",
    ),
    (51, "`alg: none`, other keys, `crit`, no expiry, huge tokens", "401, one time", TOKENS),
    (52, "a helper that fails, is slow, lies", "503", TOKENS),
    (56, "replayed proofs, another key", "401", "proofs of possession are not judged yet"),
    (
        57,
        "1,000 accounts tried from 1,000 addresses",
        "429",
        "there is no login to stuff; failed keys are bounded by the address's rate",
    ),
    (58, "500 identifiers in a row", "told within 50", "nothing learns identifiers yet"),
    (59, "key sets behind redirects, rebinding, 100 MB", "blocked", TOKENS),
    (60, "state, verifier and cookie of a sign-in", "one form of error", "there is no sign-in yet"),
    (61, "the 5,045 tests of the Core Rule Set", "the pinned count", NO_RULES),
    (62, "two charsets, two file names, odd boundaries", "refused or seen", NO_INSPECTION),
    (63, "a payload behind the limit of inspection", "413 or inspected", NO_INSPECTION),
    (64, "a content type that lies, names twice, escapes", "one verdict", NO_INSPECTION),
    (65, "a payload in parts, names, cookies, trailers", "inspected", NO_INSPECTION),
    (66, "prefilter on and off", "one verdict", NO_RULES),
    (
        67,
        "kill -9 while documents or keys change",
        "old or new",
        "guarded for keys by `what_was_confirmed_outlives_kill_9`; documents are files of the operator",
    ),
    (
        68,
        "the store is slow, gone, of another kind",
        "unrelated routes unchanged",
        "keys are judged from memory; no request waits for the store",
    ),
    (69, "full disks, no descriptors, jumping clocks", "degraded, no deadlock", "a long run of its own"),
    (
        70,
        "all upstreams down, one of ten slow",
        "503, ejections within bounds",
        "guarded by the tests of `proxy/src/upstream`",
    ),
    (71, "ten times too much for a minute", "80 % of the peak stays", "a long run of its own"),
    (
        72,
        "a panic in a judge",
        "500 for that request, the process stays",
        "no judge can be made to panic from outside; guarded by the listener's own tests",
    ),
];
