//! What the commands say of callers with tokens: what is known without one, and that the rest is not.

use bartizan_testkit::TempDir;

use crate::{bartizan, files};

const SET: &str = "
apiVersion: management.v1
kind: Listener
metadata: { name: web }
spec: { addresses: [\"127.0.0.1:8080\"] }
---
apiVersion: management.v1
kind: Upstream
metadata: { name: origin }
spec: { endpoints: [{ url: \"http://127.0.0.1:9000\" }] }
---
apiVersion: management.v1
kind: Route
metadata: { name: orders }
spec: { rules: [{ matches: [{ path: { value: /orders } }], backendRefs: [{ name: origin }] }] }
---
apiVersion: management.v1
kind: Consumer
metadata: { name: shop }
spec: {}
---
apiVersion: management.v1
kind: Consumer
metadata: { name: other }
spec: {}
---
apiVersion: management.v1
kind: Role
metadata: { name: reader }
spec: { grants: [{ routes: [orders] }] }
---
apiVersion: management.v1
kind: AuthorizationPolicy
metadata: { name: readers }
spec: { roles: [reader] }
---
apiVersion: management.v1
kind: AuthenticationPolicy
metadata: { name: tokens }
spec: { methods: [{ type: Jwt, jwt: { issuer: \"https://id.example\", audiences: [a], claims: { CLAIMS } } }] }
";

fn set(claims: &str) -> TempDir {
    files(&[("set.yaml", &*SET.replace("CLAIMS", claims))])
}

fn last_line(claims: &str, arguments: &[&str]) -> String {
    let arguments = [&["explain", "GET", "/orders"], arguments, &["--config", "set.yaml"]].concat();
    bartizan(&set(claims), &arguments).data().lines().last().unwrap_or_default().to_owned()
}

#[test]
fn explain_takes_a_token_for_granted_and_says_what_it_cannot_know() {
    const BEARER: [&str; 2] = ["-H", "Authorization: Bearer a.b.c"];
    let by_claim = "consumer: azp, roles: scope";
    for (claims, arguments, end) in [
        (
            by_claim,
            &[][..],
            "would be refused in identify by AuthenticationPolicy/tokens: 401 CredentialMissing (no token of https://id.example)",
        ),
        (by_claim, &BEARER, "cannot be told"),
        (
            by_claim,
            &["--as", "shop"],
            "would be refused in authorize by AuthorizationPolicy/readers: 403 NotAllowed",
        ),
        (by_claim, &["--as", "nobody"], "would be refused in identify by AuthenticationPolicy/tokens: 401"),
        (
            "fixedConsumer: shop",
            &["--as", "other", BEARER[0], BEARER[1]],
            "would be refused in identify by AuthenticationPolicy/tokens: 401 CredentialInvalid",
        ),
    ] {
        let line = last_line(claims, arguments);
        let is_so = if end == "cannot be told" {
            line.contains("its issuer alone can tell")
        } else {
            line.starts_with(end)
        };
        assert!(is_so, "{claims} {arguments:?}: {line}");
    }
}

#[test]
fn who_can_says_where_a_token_of_its_own_decides() {
    let who = |claims: &str| {
        let arguments = ["access", "who-can", "GET", "/orders", "--all", "--config", "set.yaml"];
        bartizan(&set(claims), &arguments).data()
    };
    let row = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
        line.split_whitespace().nth(1).unwrap_or_default().to_owned()
    };
    // Its document gives it no role; its token may.
    let text = who("consumer: azp, roles: scope");
    assert_eq!(row(&text, "shop"), "depends", "{text}");
    assert!(text.contains("its token brings a role that AuthorizationPolicy/readers allows"), "{text}");
    // No token can.
    assert_eq!(row(&who("consumer: azp"), "shop"), "no");
    // All tokens belong to one consumer.
    let text = who("fixedConsumer: shop, roles: scope");
    assert_eq!((row(&text, "shop"), row(&text, "other")), ("depends".to_owned(), "no".to_owned()), "{text}");
    // Callers without a document may have tokens that need none.
    let text = who("roles: scope");
    assert_eq!(row(&text, "(nobody)"), "depends", "{text}");
}
