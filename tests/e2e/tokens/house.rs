//! A gateway that trusts the provider.

use std::{
    thread,
    time::{Duration, Instant},
};

use bartizan_testkit::{Client, Documents, Gateway, Origin};

/// A gateway with one route and one policy, in front of an origin.
pub(crate) struct House {
    pub(crate) gateway: Gateway,
    pub(crate) origin: Origin,
    pub(crate) documents: Documents,
}

impl House {
    /// With these methods, and these further documents.
    pub(crate) fn of(methods: &str, more: &[&str]) -> House {
        House::sending("", methods, more)
    }

    /// The same, with further fields of the upstream.
    pub(crate) fn sending(upstream: &str, methods: &str, more: &[&str]) -> House {
        let origin = Origin::answering("hello");
        let documents = Documents::one(documents(&origin.url(), upstream, methods, more));
        let gateway = Gateway::starting("run")
            .arg("--config")
            .arg(documents.path())
            .arg("--workers")
            .arg("2")
            .arg("--admin")
            .arg("127.0.0.1:0")
            .env("TOKEN_SECRET", "a secret of thirty-two characters")
            .env("GATEWAY_SECRET", "gateway-secret/+")
            .env("BROWSER_SECRET", "browser-secret/+")
            .start();
        House { gateway, origin, documents }
    }

    /// Replaces the methods, and waits until that is in force.
    pub(crate) fn reload(&self, methods: &str, more: &[&str]) {
        self.documents.write("gateway.yaml", documents(&self.origin.url(), "", methods, more));
        self.gateway.signal("HUP");
    }

    /// Does something that changes what the gateway has read, and waits until that is in force.
    pub(crate) fn changing(&self, change: impl FnOnce()) {
        let admin = Client::http1(self.gateway.address("admin"));
        let applied = || {
            let metrics = admin.get("/metrics", &[]);
            let count = metrics.text().lines().find_map(|line| line.strip_prefix(APPLIED)).map(str::to_owned);
            count.unwrap_or_else(|| panic!("no {APPLIED}"))
        };
        let before = applied();
        change();
        assert!(eventually(Duration::from_secs(30), || applied() != before), "the change is not in force");
    }

    pub(crate) fn client(&self) -> Client {
        Client::http1(self.gateway.address("web"))
    }

    /// What the gateway answers to a token, and the reason where it refuses.
    pub(crate) fn call(&self, token: &str) -> (u16, String) {
        self.call_with(&[("authorization", &format!("Bearer {token}"))])
    }

    pub(crate) fn call_with(&self, headers: &[(&str, &str)]) -> (u16, String) {
        let answer = self.client().get("/orders", headers);
        let reason = if answer.status == 200 {
            String::new()
        } else {
            answer.json()["code"].as_str().unwrap_or_default().to_owned()
        };
        (answer.status.as_u16(), reason)
    }
}

/// How often a set of documents, or what they name, went into force.
const APPLIED: &str = "bartizan_config_reloads_total{outcome=\"applied\"} ";

/// Whether something becomes so in time.
pub(crate) fn eventually(within: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + within;
    while Instant::now() < end {
        if is_so() {
            return true;
        }
        thread::sleep(Duration::from_millis(100));
    }
    false
}

/// Consumer `shop`, with the role `buyer`.
pub(crate) const SHOP: &str =
    "apiVersion: management.v1\nkind: Consumer\nmetadata: { name: shop }\nspec: { roles: [buyer] }\n";

fn documents(origin: &str, upstream: &str, methods: &str, more: &[&str]) -> String {
    let document = |kind: &str, name: &str, spec: &str| {
        format!("apiVersion: management.v1\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec: {spec}\n")
    };
    let mut parts = vec![
        document("Listener", "web", "{ addresses: [\"127.0.0.1:0\"] }"),
        document("Upstream", "origin", &format!("{{ endpoints: [{{ url: \"{origin}\" }}], {upstream} }}")),
        document(
            "Route",
            "orders",
            "{ rules: [{ matches: [{ path: { value: /orders } }], backendRefs: [{ name: origin }] }] }",
        ),
        document(
            "AuthenticationPolicy",
            "tokens",
            &format!("{{ allowOverride: true, methods: [{methods}] }}"),
        ),
    ];
    parts.extend(more.iter().map(|part| (*part).to_owned()));
    parts.join("---\n")
}
