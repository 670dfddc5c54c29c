//! The provider in a process of its own, and a gateway that trusts it.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use bartizan_testkit::{Authority, Client, Documents, Gateway, Origin, TempDir};
use serde_json::{Value, json};

/// What its tokens are for.
pub(crate) const AUDIENCE: &str = "https://api.example.com";

/// A running provider; ends with the test.
pub(crate) struct Provider {
    child: Child,
    pub(crate) issuer: String,
    control: SocketAddr,
    /// The authority that signed its certificate, in a file.
    pub(crate) authority: PathBuf,
    _files: TempDir,
}

/// The provider, or `None` where it cannot be started on this machine, which is said.
pub(crate) fn provider() -> Option<Provider> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("oidc");
    let node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    let why = match (node, home.join("node_modules/oidc-provider").is_dir()) {
        (true, true) => return Some(Provider::start(&home)),
        (false, _) => "node is not installed",
        (true, false) => "`npm ci` was not run in tests/e2e/oidc",
    };
    assert!(std::env::var_os("CI").is_none(), "the OpenID provider cannot be started: {why}");
    eprintln!("SKIPPED: {why}, so the tests against the OpenID provider pass by");
    None
}

impl Provider {
    fn start(home: &Path) -> Provider {
        let files = TempDir::new();
        let authority = Authority::new();
        let identity = authority.issue(&["127.0.0.1"]);
        let write = |name: &str, text: &str| {
            let path = files.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let certificate = write("certificate.pem", &identity.chain);
        let key = write("key.pem", &identity.key);
        let authority = write("authority.pem", &authority.pem());
        let mut child = Command::new("node")
            .arg(home.join("provider.mjs"))
            .args([&certificate, &key])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node can be started");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("the provider said {line:?}"));
        Provider {
            child,
            issuer: ready["issuer"].as_str().unwrap().to_owned(),
            control: ready["control"].as_str().unwrap().parse().unwrap(),
            authority,
            _files: files,
        }
    }

    /// Turns one of its knobs.
    pub(crate) fn control(&self, path: &str, body: &Value) -> Value {
        let body = body.to_string().into_bytes();
        let answer = Client::http1(self.control).call("POST", path, &[], body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// A token from its token endpoint, by client credentials.
    pub(crate) fn issue(&self, client: &str) -> String {
        let answer = self.control("/issue", &json!({ "client": client }));
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// A token as the test wants it; see `mint` in `provider.mjs`.
    pub(crate) fn mint(&self, wanted: &Value) -> String {
        self.control("/mint", wanted)["token"].as_str().unwrap().to_owned()
    }

    /// How often a path of it was asked for.
    pub(crate) fn count(&self, path: &str) -> u64 {
        self.control("/counts", &json!({}))[path].as_u64().unwrap_or(0)
    }

    /// How a document lets the gateway fetch from it.
    pub(crate) fn fetch(&self) -> String {
        format!("{{ allowPrivateNetwork: true, authoritiesRef: \"file://{}\" }}", self.authority.display())
    }

    /// A `Jwt` method for its tokens, by discovery, with more fields.
    pub(crate) fn jwt(&self, more: &str) -> String {
        format!(
            "{{ type: Jwt, jwt: {{ issuer: \"{}\", audiences: [\"{AUDIENCE}\"], fetch: {}, {more} }} }}",
            self.issuer,
            self.fetch()
        )
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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
        document("AuthenticationPolicy", "tokens", &format!("{{ methods: [{methods}] }}")),
    ];
    parts.extend(more.iter().map(|part| (*part).to_owned()));
    parts.join("---\n")
}
