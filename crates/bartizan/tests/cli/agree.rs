//! What `explain` foretells is what the gateway does: the same documents, the same requests, asked and sent.

use bartizan_testkit::{Client, Gateway, Origin};

use crate::{bartizan, files};

const DOCUMENTS: &str = r#"
apiVersion: management.v1
kind: Listener
metadata: { name: local }
spec: { addresses: ["127.0.0.1:0"], hostnames: [shop.example], admission: { bodyBytes: 1KiB } }
---
apiVersion: management.v1
kind: Upstream
metadata: { name: orders }
spec: { endpoints: [{ url: "ORIGIN" }] }
---
apiVersion: management.v1
kind: Route
metadata: { name: orders }
spec:
  rules:
    - matches: [{ path: { type: PathPrefix, value: /orders }, methods: [GET, POST] }]
      filters:
        - type: URLRewrite
          urlRewrite: { path: { type: ReplacePrefixMatch, value: /v2/orders } }
      backendRefs: [{ name: orders }]
    - matches: [{ path: { type: Exact, value: /old } }]
      filters: [{ type: RequestRedirect, requestRedirect: { statusCode: 307, path: { type: ReplaceFullPath, value: /orders } } }]
---
apiVersion: management.v1
kind: Route
metadata: { name: tenants }
spec:
  rules:
    - matches: [{ path: { type: PathPrefix, value: /tenants } }]
      backendRefs: [{ name: orders }]
---
apiVersion: management.v1
kind: AuthenticationPolicy
metadata: { name: keys }
spec: { methods: [{ type: ApiKey }] }
---
apiVersion: management.v1
kind: HeaderPolicy
metadata: { name: accepts }
spec: { targetRefs: [{ kind: Route, name: orders }], request: { forbid: [x-debug] } }
---
apiVersion: management.v1
kind: RateLimitPolicy
metadata: { name: per-tenant }
spec:
  targetRefs: [{ kind: Route, name: tenants }]
  key: [{ header: x-tenant }]
  onAbsent: deny
  limits: { requests: 100, timeWindow: 1s }
---
apiVersion: management.v1
kind: CorsPolicy
metadata: { name: pages }
spec: { targetRefs: [{ kind: Route, name: orders }], allowOrigins: ["https://app.example"] }
---
apiVersion: management.v1
kind: Consumer
metadata: { name: shop }
spec: {}
---
apiVersion: management.v1
kind: Consumer
metadata: { name: gone }
spec: { enabled: false }
"#;

/// Method, host, target, consumer, headers.
type Asked =
    (&'static str, &'static str, &'static str, Option<&'static str>, &'static [(&'static str, &'static str)]);

const ASKED: &[Asked] = &[
    ("GET", "shop.example", "/orders/7?x=1", Some("shop"), &[]),
    ("GET", "shop.example", "/orders/7", None, &[]),
    ("GET", "shop.example", "/orders/7", None, &[("x-api-key", "guess")]),
    ("GET", "shop.example", "/orders/7", Some("gone"), &[]),
    ("GET", "shop.example", "/orders/7", Some("shop"), &[("x-debug", "1")]),
    ("DELETE", "shop.example", "/orders/7", Some("shop"), &[]),
    ("GET", "shop.example", "/orders-old", Some("shop"), &[]),
    ("GET", "shop.example", "/orders//7", Some("shop"), &[]),
    ("GET", "shop.example", "/orders/%2e%2e/x", Some("shop"), &[]),
    ("GET", "other.example", "/orders", Some("shop"), &[]),
    ("GET", "shop.example", "/old?x=1", None, &[]),
    ("GET", "shop.example", "/tenants", Some("shop"), &[]),
    ("GET", "shop.example", "/tenants", Some("shop"), &[("x-tenant", "a")]),
    ("GET", "shop.example", "/orders", Some("shop"), &[("origin", "https://app.example")]),
    (
        "OPTIONS",
        "shop.example",
        "/orders",
        None,
        &[("origin", "https://app.example"), ("access-control-request-method", "GET")],
    ),
];

#[test]
fn explain_foretells_what_the_gateway_does() {
    let origin = Origin::answering("fine");
    let dir = files(&[("set.yaml", &DOCUMENTS.replace("ORIGIN", &origin.url()))]);
    let key = |consumer| bartizan(&dir, &["keys", "create", "--consumer", consumer]).data().trim().to_owned();
    let (shop, gone) = (key("shop"), key("gone"));
    let gateway =
        Gateway::starting("run").arg("--config").arg(dir.join("set.yaml")).data_dir(dir.join("data")).start();
    for asked @ (method, host, target, consumer, headers) in ASKED {
        let url = format!("http://{host}{target}");
        let mut arguments = vec!["explain", method, &url, "--format", "json"];
        arguments.extend(consumer.iter().flat_map(|name| ["--as", name]));
        let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        arguments.extend(lines.iter().flat_map(|line| ["--header", line]));
        arguments.extend(["--config", "set.yaml"]);
        let verdict = bartizan(&dir, &arguments).json()["verdict"].clone();

        let client = Client::http1(gateway.address("local")).with_authority(host);
        let mut request = client.request(method, target);
        for (name, value) in *headers {
            request = request.header(*name, *value);
        }
        if let Some(name) = consumer {
            request = request.header("x-api-key", if *name == "shop" { &shop } else { &gone });
        }
        let answer = client.send(request.body(Default::default()).unwrap()).unwrap();
        let received = origin.take();
        match verdict["outcome"].as_str().unwrap() {
            "forwarded" => {
                assert_eq!(
                    (answer.status.as_u16(), received.len()),
                    (200, 1),
                    "{asked:?}: {}",
                    answer.text()
                );
                assert_eq!(verdict["target"], received[0].target, "{asked:?}");
                assert_eq!(verdict["host"], received[0].header("host").unwrap_or_default(), "{asked:?}");
            }
            "refused" => {
                assert_eq!(verdict["status"], answer.status.as_u16(), "{asked:?}: {}", answer.text());
                assert_eq!(verdict["code"], answer.json()["code"], "{asked:?}");
                assert_eq!(received.len(), 0, "{asked:?}");
            }
            "answered" => {
                assert_eq!(verdict["status"], answer.status.as_u16(), "{asked:?}");
                assert_eq!(verdict["location"].as_str(), answer.header("location"), "{asked:?}");
                assert_eq!(received.len(), 0, "{asked:?}");
            }
            other => panic!("{asked:?}: {other}"),
        }
    }
}
