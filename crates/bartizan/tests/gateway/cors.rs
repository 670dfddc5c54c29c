//! CORS: what a page of another origin is told, before and after credentials are asked for.

use bartizan_testkit::{Answer, Client, Origin, Reply};

use crate::harness::{API_KEYS, Gate, WEB, document, simple, upstream};

const POLICY: &str =
    "{ allowOrigins: [\"https://app.example.com\", \"https://*.wild.test\"], allowMethods: [GET, PUT],
    allowHeaders: [content-type, x-api-key], exposeHeaders: [x-total], allowCredentials: true, maxAge: 10m }";

fn preflight(client: &Client, origin: &str, method: &str, headers: Option<&str>) -> Answer {
    let mut sent = vec![("origin", origin), ("access-control-request-method", method)];
    sent.extend(headers.map(|headers| ("access-control-request-headers", headers)));
    client.call("OPTIONS", "/things", &sent, "")
}

#[test]
fn a_preflight_is_answered_without_credentials_and_allows_what_the_policy_says() {
    let origin = Origin::answering("ok");
    let policy = document("CorsPolicy", "pages", POLICY);
    let gate = Gate::start(&simple(&origin.url(), &[API_KEYS, &policy]));
    let client = gate.client();
    let table = [
        ("https://app.example.com", "PUT", Some("Content-Type, X-API-Key"), true, true),
        ("https://APP.example.com", "GET", None, true, true),
        ("https://a.wild.test", "GET", None, true, true),
        ("https://a.b.wild.test", "GET", None, true, true),
        ("https://app.example.com", "DELETE", None, true, false),
        ("https://app.example.com", "PUT", Some("x-other"), true, false),
        ("https://wild.test", "GET", None, false, false),
        ("https://evilwild.test", "GET", None, false, false),
        ("https://a.wild.test.evil.test", "GET", None, false, false),
        ("http://app.example.com", "GET", None, false, false),
        ("https://app.example.com:8443", "GET", None, false, false),
        ("null", "GET", None, false, false),
        ("https://evil.test", "GET", None, false, false),
    ];
    for (from, method, headers, is_known, is_allowed) in table {
        let answer = preflight(&client, from, method, headers);
        let case = format!("{from} {method} {headers:?}");
        assert_eq!(answer.status, 204, "{case}");
        assert_eq!(answer.header("access-control-allow-origin"), is_known.then_some(from), "{case}");
        assert_eq!(answer.header("access-control-allow-credentials"), is_known.then_some("true"), "{case}");
        assert_eq!(answer.headers.contains_key("access-control-allow-methods"), is_allowed, "{case}");
        assert_eq!(answer.header("access-control-max-age"), is_allowed.then_some("600"), "{case}");
        assert_eq!(answer.header("vary"), Some("Origin"), "{case}");
        assert!(answer.headers.contains_key("x-request-id"), "{case}");
    }
    let two = [
        ("origin", "https://app.example.com"),
        ("origin", "https://evil.test"),
        ("access-control-request-method", "GET"),
    ];
    let answer = client.call("OPTIONS", "/things", &two, "");
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert!(origin.received().is_empty(), "a preflight reached the origin");
}

#[test]
fn refusals_can_be_read_by_the_page_that_caused_them() {
    let origin = Origin::answering("ok");
    let policy = document("CorsPolicy", "pages", POLICY);
    let gate = Gate::start(&simple(&origin.url(), &[API_KEYS, &policy]));
    let answer = gate.get("/things", &[("origin", "https://app.example.com")]);
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(answer.header("access-control-expose-headers"), Some("x-total"));
    assert_eq!(answer.header("vary"), Some("Origin"));
    let answer = gate.get("/things", &[]);
    assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), (None, Some("Origin")));
}

#[test]
fn the_policy_speaks_alone_and_keeps_the_upstreams_vary() {
    let origin = Origin::start(|_| {
        Reply::ok("ok")
            .with("access-control-allow-origin", "*")
            .with("access-control-allow-methods", "DELETE")
            .with("access-control-expose-headers", "x-inside")
            .with("vary", "Accept-Encoding")
    });
    let policy = document("CorsPolicy", "pages", POLICY);
    let gate = Gate::start(&simple(&origin.url(), &[&policy]));
    let answer = gate.get("/", &[("origin", "https://evil.test")]);
    assert_eq!(answer.status, 200);
    for name in
        ["access-control-allow-origin", "access-control-allow-methods", "access-control-expose-headers"]
    {
        assert_eq!(answer.header(name), None, "{name}");
    }
    let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["Accept-Encoding", "Origin"]);

    // Without a policy the upstream speaks for itself.
    let gate = Gate::start(&simple(&origin.url(), &[]));
    let answer = gate.get("/", &[("origin", "https://evil.test")]);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

#[test]
fn any_origin_gets_a_star_and_no_credentials() {
    let origin = Origin::answering("ok");
    let policy = document("CorsPolicy", "pages", "{ allowOrigins: [\"*\"] }");
    let gate = Gate::start(&simple(&origin.url(), &[&policy]));
    let answer = gate.get("/", &[("origin", "https://anyone.test")]);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert_eq!(gate.get("/", &[("origin", "null")]).header("access-control-allow-origin"), None);
}

#[test]
fn without_a_policy_a_preflight_opens_no_route_for_options() {
    let origin = Origin::answering("ok");
    let only_get = document(
        "Route",
        "all",
        "{ rules: [{ matches: [{ path: { value: / }, methods: [GET] }], backendRefs: [{ name: origin }] }] }",
    );
    let watching = document("CorsPolicy", "watch", "{ allowOrigins: [\"https://app.test\"], mode: shadow }");
    let base = [WEB.to_owned(), upstream("origin", &[&origin.url()]), only_get].join("---\n");
    for documents in [base.clone(), [base, watching].join("---\n")] {
        let gate = Gate::start(&documents);
        let client = gate.client();
        assert_eq!(client.get("/things", &[]).status, 200);
        let answer = preflight(&client, "https://app.test", "GET", None);
        assert_eq!(answer.status, 405);
        assert_eq!(origin.take().len(), 1, "OPTIONS reached the origin");
    }
}
