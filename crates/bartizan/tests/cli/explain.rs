//! `bartizan explain`: who decides about a request, and how it ends.

use bartizan_testkit::TempDir;

use crate::{Ran, bartizan, files, golden};

pub(crate) const SHOP: &str = include_str!("shop.yaml");

fn explain(dir: &TempDir, arguments: &[&str]) -> Ran {
    let arguments: Vec<&str> = ["explain"].into_iter().chain(arguments.iter().copied()).collect();
    bartizan(dir, &[&arguments[..], &["--config", "shop.yaml"]].concat())
}

/// What is asked, and how the last line of the answer begins.
const ENDS: &[(&[&str], &str)] = &[
    // admit
    (&["BREW", "/orders"], "would be refused in admit: 501 MethodUnknown"),
    (&["TRACE", "/orders"], "would be refused in admit: 405 MethodNotAllowed"),
    (&["G T", "/orders"], "would be refused in admit: 400 MalformedRequest"),
    (
        &["GET", "/orders/../x"],
        "would be refused in admit: 400 MalformedRequest (path contains a dot segment)",
    ),
    (
        &["GET", "/orders", "--from", "203.0.113.9"],
        "would be refused in admit by Listener/https: 403 AddressDenied",
    ),
    (
        &["GET", "/orders", "--from", "10.0.0.1", "-H", "X-Forwarded-For: 203.0.113.9"],
        "would be refused in admit by Listener/https: 403 AddressDenied",
    ),
    // route
    (&["GET", "https://other.example/orders"], "would be refused in route by Listener/https: 421 WrongHost"),
    (
        &["GET", "https://shop.example/orders", "-H", "Host: x.shop.example"],
        "would be refused in route by Listener/https: 421 WrongHost (the connection was opened for another name)",
    ),
    (
        &["GET", "/nothing"],
        "would be refused in route: 404 NoRoute (nothing is published for shop.example/nothing;",
    ),
    (&["GET", "/reports"], "would be refused in route: 404 NoRoute"),
    (&["GET", "/open"], "would be refused in route: 404 NoRoute"),
    (
        &["DELETE", "/orders"],
        "would be refused in route: 405 MethodNotAllowed (the path is published for GET, POST only)",
    ),
    (
        &["GET", "/orders", "--as", "shop"],
        "would be refused in route by HeaderPolicy/json-only: 400 HeaderRefused (header accept: required and missing)",
    ),
    (
        &["GET", "/orders", "-H", "Accept: */*", "-H", "X-Debug: 1"],
        "would be refused in route by HeaderPolicy/json-only: 400 HeaderRefused (header x-debug: forbidden)",
    ),
    (
        &["GET", "https://reports.shop.example/reports", "--as", "shop"],
        "would be refused in route by HeaderPolicy/trace: 400 HeaderRefused (header traceparent: required and \
         missing), for 25 % of callers; the others go on",
    ),
    (
        &["GET", "/old/7?x=1"],
        "would be answered in route by Route/orders/2: 308 to https://shop.example/orders/7?x=1",
    ),
    (
        &["GET", "http://shop.example:8080/orders"],
        "would be answered in route by Listener/http: 308 to https://shop.example:8443/orders",
    ),
    (
        &[
            "OPTIONS",
            "/orders",
            "-H",
            "Origin: https://app.example",
            "-H",
            "Access-Control-Request-Method: POST",
        ],
        "would be answered in route by CorsPolicy/pages: 204",
    ),
    // identify
    (
        &["GET", "/orders/7"],
        "would be refused in identify by AuthenticationPolicy/keys: 401 CredentialMissing (no API key in x-api-key)",
    ),
    (
        &["GET", "/orders/7", "-H", "X-API-Key: guess"],
        "would be refused in identify by AuthenticationPolicy/keys: 401 CredentialInvalid (the value of x-api-key has \
         not the form of a key)",
    ),
    (
        &["GET", "/orders/7", "--as", "shopp"],
        "would be refused in identify by AuthenticationPolicy/keys: 401 CredentialInvalid (the documents have no \
         Consumer `shopp`; did you mean `shop`?)",
    ),
    // authorize
    (
        &["GET", "/orders/7", "--as", "gone"],
        "would be refused in authorize by Consumer/gone: 403 NotAllowed (the consumer is disabled)",
    ),
    (
        &["GET", "/orders/7", "--as", "office"],
        "would be refused in authorize by Consumer/office: 403 NotAllowed (the consumer may not call from this address)",
    ),
    // limit
    (
        &["GET", "https://reports.shop.example/reports", "--as", "shop", "-H", "traceparent: x"],
        "would be refused in limit by RateLimitPolicy/per-tenant: 429 RateExceeded",
    ),
    // inspect
    (
        &["POST", "/orders", "--as", "shop", "-H", "Accept: */*", "-H", "Content-Length: 65537"],
        "would be refused in inspect: 413 BodyTooLarge (65537 bytes announced, 65536 admitted)",
    ),
    // forward
    (
        &["POST", "/orders", "--as", "shop", "-H", "Accept: */*", "-H", "Content-Length: 65536"],
        "would be forwarded to Upstream/orders (75 %) or Upstream/orders-next (25 %) as POST /orders, host shop.example",
    ),
    (
        &["GET", "/orders/7?a=b", "--as", "office", "--from", "192.0.2.1"],
        "would be forwarded to Upstream/orders as GET /v2/order?a=b, host orders.internal",
    ),
    (
        &["GET", "/open/x", "-H", "X-Version: 2"],
        "would be forwarded to Upstream/orders as GET /open/x, host shop.example",
    ),
];

#[test]
fn a_request_ends_where_the_first_stage_decides() {
    let dir = files(&[("shop.yaml", SHOP)]);
    for (arguments, end) in ENDS {
        let out = explain(&dir, arguments).data();
        let last = out.lines().last().unwrap_or_default();
        assert!(last.starts_with(end), "{arguments:?}: {last}");
    }
}

#[test]
fn the_way_of_a_call_names_policies_buckets_and_places() {
    let dir = files(&[("shop.yaml", SHOP)]);
    let out = explain(&dir, &["GET", "/orders", "--as", "shop", "--header", "Accept: */*"]).data();
    golden("explain.txt", &out);
}

#[test]
fn programs_get_the_same_way() {
    let dir = files(&[("shop.yaml", SHOP)]);
    let way = explain(&dir, &["GET", "/orders/7", "--as", "shop", "--format", "json"]).json();
    let stages: Vec<&str> =
        way["stages"].as_array().unwrap().iter().map(|s| s["stage"].as_str().unwrap()).collect();
    let expected = [
        "admit",
        "route",
        "identify",
        "authorize",
        "limit",
        "inspect",
        "cache",
        "forward",
        "screen",
        "record",
    ];
    assert_eq!(stages, expected);
    assert!(way["stages"].as_array().unwrap().iter().all(|stage| stage["reached"] == true));
    assert_eq!(way["verdict"]["outcome"], "forwarded");
    assert_eq!(way["verdict"]["target"], "/v2/order");
    assert_eq!(way["verdict"]["upstreams"][0]["endpoints"][0], "http://127.0.0.1:9000");
    let shadow = &way["stages"][1]["findings"][2];
    assert_eq!((&shadow["by"], &shadow["mode"]), (&"HeaderPolicy/tenant".into(), &"shadow".into()));
    assert_eq!(shadow["effect"], "wouldRefuse");
    assert_eq!(shadow["targets"], serde_json::json!(["Route/orders"]));

    let refused = explain(&dir, &["GET", "/orders/7", "--format", "json"]).json();
    assert_eq!(refused["verdict"]["code"], "CredentialMissing");
    assert_eq!(refused["verdict"]["status"], 401);
    let reached = |at: usize| refused["stages"][at]["reached"].clone();
    assert_eq!([reached(2), reached(3), reached(8), reached(9)], [true, false, false, true]);
}

#[test]
fn a_whole_key_is_not_judged_without_its_store_and_never_printed() {
    let dir = files(&[("shop.yaml", SHOP)]);
    let key = bartizan(&dir, &["keys", "create", "--consumer", "shop"]).data();
    let header = format!("X-API-Key: {}", key.trim());
    let out = explain(&dir, &["GET", "/orders/7", "-H", &header]).data();
    assert!(out.contains("cannot be told here") && out.contains("--as"), "{out}");
    assert!(!out.contains(key.trim()), "{out}");
    let out = explain(&dir, &["GET", "/orders/7", "-H", &header, "--as", "shop"]).data();
    assert!(out.contains("would be forwarded") && !out.contains(key.trim()), "{out}");
}

#[test]
fn the_listener_is_the_one_that_fits_the_url_and_can_be_chosen() {
    let dir = files(&[("shop.yaml", SHOP)]);
    let first =
        |arguments: &[&str]| explain(&dir, arguments).data().lines().take(2).collect::<Vec<_>>().join("\n");
    assert!(first(&["GET", "https://shop.example:8443/orders"]).ends_with("by Listener/https\n"));
    let note = "note: no listener that fits has the URL's port; shown for Listener/https";
    assert!(first(&["GET", "https://shop.example/orders"]).ends_with(note));
    assert!(first(&["GET", "/orders", "--listener", "http"]).contains("by Listener/http\n"));
    let ran = explain(&dir, &["GET", "/orders", "--listener", "htps"]);
    assert_eq!((ran.code, &*ran.out), (2, ""));
    assert!(ran.err.contains("did you mean `https`?"), "{}", ran.err);
}

#[test]
fn what_cannot_be_asked_is_refused_and_what_is_wrong_in_documents_is_told() {
    let dir = files(&[("shop.yaml", SHOP), ("wrong.yaml", "kind: Route"), ("empty.yaml", "")]);
    for (arguments, part) in [
        (&["GET", "shop.example/orders"][..], "neither a URL nor a path"),
        (&["GET", "https://user:hunter2@shop.example/"], "the URL has a user or password"),
        (&["GET", "/orders", "-H", "no colon"], "`NAME: VALUE`"),
        (&["GET", "/orders", "-H", "b@d: x"], "`b@d` is not the name of a header"),
        (&["GET", "/orders", "--from", "nowhere"], "--from"),
    ] {
        let ran = explain(&dir, arguments);
        assert!(ran.code == 2 && ran.out.is_empty() && ran.err.contains(part), "{arguments:?}: {}", ran.err);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    }
    let ran = bartizan(&dir, &["explain", "GET", "/", "--config", "wrong.yaml"]);
    assert!(ran.code == 1 && ran.out.is_empty() && ran.err.contains("wrong.yaml:1:1"), "{}", ran.err);
    let ran = bartizan(&dir, &["explain", "GET", "/", "--config", "empty.yaml"]);
    assert!(ran.code == 2 && ran.err.contains("the set has no Listener"), "{}", ran.err);
}
