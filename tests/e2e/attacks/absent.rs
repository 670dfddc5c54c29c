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
const TOKENS: &str = "played against a real OpenID provider by `cargo test -p bartizan-e2e --test tokens`";
const CORPUS: &str = "guarded by the tests of `inspect`, where the corpus is at hand";

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
    (61, "the 5,045 tests of the Core Rule Set", "the pinned count", CORPUS),
    (66, "prefilter on and off", "one verdict", CORPUS),
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
