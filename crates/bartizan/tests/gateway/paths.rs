//! Paths that servers read in two ways: refused, and settled only where the listener says so by name.

use bartizan_testkit::Origin;

use crate::harness::{Gate, document, route, upstream};

/// A listener with `spec.admission.ambiguousPaths`, the route `packages` below `/packages` with its prefix replaced, and the
/// route `all`.
fn gate(origin: &Origin, paths: &str) -> Gate {
    let listener = format!("{{ addresses: [\"127.0.0.1:0\"], admission: {{ ambiguousPaths: {paths} }} }}");
    let rule = "{ matches: [{ path: { value: /packages } }], backendRefs: [{ name: origin }], \
                filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, value: /v2 } } }] }";
    let parts = [
        document("Listener", "web", &listener),
        upstream("origin", &[&origin.url()]),
        document("Route", "packages", &format!("{{ rules: [{rule}] }}")),
        route("all", "/", "origin"),
    ];
    Gate::start(&parts.join("---\n"))
}

/// What the upstream was asked for, or the status of the refusal.
fn sent(gate: &Gate, origin: &Origin, path: &str) -> Result<String, u16> {
    let answer = gate.get(path, &[]);
    if answer.status == 200 { Ok(origin.take_one().target) } else { Err(answer.status.as_u16()) }
}

#[test]
fn each_ambiguity_is_refused_unless_the_listener_settles_it() {
    let origin = Origin::answering("ok");
    let table = [
        ("{ encodedSlash: keep }", "/packages/@a%2fb", "/v2/@a%2Fb"),
        ("{ encodedSlash: keep }", "/x/a%2Fb", "/x/a%2Fb"),
        ("{ parameters: keep }", "/x;v=1/b", "/x;v=1/b"),
        ("{ emptySegments: merge }", "/x//b", "/x/b"),
        ("{ dotSegments: resolve }", "/x/../b/./c", "/b/c"),
        ("{ dotSegments: resolve }", "/x/%2e%2e/b", "/b"),
    ];
    let strict = gate(&origin, "{}");
    for (_, path, _) in table {
        assert_eq!(sent(&strict, &origin, path), Err(400), "{path}");
    }
    for (settings, path, target) in table {
        let gate = gate(&origin, settings);
        assert_eq!(sent(&gate, &origin, path), Ok(target.to_owned()), "{settings} {path}");
    }
}

#[test]
fn what_is_settled_opens_nothing_else() {
    let origin = Origin::answering("ok");
    let all = "{ encodedSlash: keep, parameters: keep, emptySegments: merge, dotSegments: resolve }";
    let gate = gate(&origin, all);
    for path in ["/../a", "/a/..;/b", "/a%2F..%2Fb", "/a%5Cb", "/a%00b", "/a%252Fb%2"] {
        assert_eq!(sent(&gate, &origin, path), Err(400), "{path}");
    }
    // A kept slash separates nothing: the rule for `/packages` is not met.
    assert_eq!(sent(&gate, &origin, "/packages%2Fa"), Ok("/packages%2Fa".to_owned()));
    // What is resolved is judged as what it became.
    assert_eq!(sent(&gate, &origin, "/x/../packages/a"), Ok("/v2/a".to_owned()));
}
