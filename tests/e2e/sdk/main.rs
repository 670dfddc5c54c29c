//! The official clients of model providers, unchanged, against the real binary over TLS that they verify.
//!
//! The clients are not the repository's: `cargo xtask sdk` installs them below the target directory. Where one is
//! missing, a line says so and the test passes by, except in CI. `BARTIZAN_SDK` names another folder, with a virtual environment `venv` and
//! `node_modules` in it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use bartizan_testkit::{
    Authority, Client, Documents, Gateway, Origin, TempDir,
    gateway::binary,
    provider::{self, Speaks, provider},
};

/// Where the clients are.
fn folder() -> PathBuf {
    let beside = || {
        // target/<profile>/deps/<test> → target/sdk
        let test = std::env::current_exe().ok()?;
        Some(test.parent()?.parent()?.parent()?.join("sdk"))
    };
    std::env::var_os("BARTIZAN_SDK").map(PathBuf::from).or_else(beside).unwrap_or_default()
}

struct House {
    gateway: Gateway,
    key: String,
    ca: PathBuf,
    _origins: Vec<Origin>,
    _directory: TempDir,
    _documents: Documents,
}

fn house() -> House {
    let directory = TempDir::new();
    let authority = Authority::new();
    let identity = authority.issue(&["localhost"]);
    for (file, text) in
        [("chain.pem", identity.chain), ("key.pem", identity.key), ("ca.pem", authority.pem())]
    {
        std::fs::write(directory.join(file), text).unwrap();
    }
    let both = Origin::start(|asked| {
        let native = asked.target.starts_with("/api/v1/");
        provider::answer(if native { Speaks::DashScope } else { Speaks::OpenAi }, asked)
    });
    let origins = [
        ("gpt", "OpenAi", provider(Speaks::OpenAi)),
        ("claude", "Anthropic", provider(Speaks::Anthropic)),
        ("gemini", "Gemini", provider(Speaks::Gemini)),
        ("mistral", "Mistral", provider(Speaks::OpenAi)),
        ("qwen", "DashScope", both),
        ("llama", "Ollama", provider(Speaks::Ollama)),
    ];
    let path = directory.path().display();
    let mut documents = format!(
        "
apiVersion: management.v1
kind: Listener
metadata: {{ name: web }}
spec:
  addresses: [\"127.0.0.1:0\"]
  protocol: HTTPS
  tls: {{ certificates: [{{ chainRef: \"file://{path}/chain.pem\", keyRef: \"file://{path}/key.pem\" }}] }}
---
apiVersion: management.v1
kind: AuthenticationPolicy
metadata: {{ name: keys }}
spec:
  methods:
    - {{ type: ApiKey }}
    - {{ type: ApiKey, apiKey: {{ header: x-goog-api-key }} }}
    - {{ type: ApiKey, apiKey: {{ header: authorization }} }}
---
apiVersion: management.v1
kind: Consumer
metadata: {{ name: shop }}
spec: {{}}
---
apiVersion: management.v1
kind: Route
metadata: {{ name: models }}
spec: {{ rules: [{{ backendRefs: [{{ kind: Models }}] }}] }}
"
    );
    for (name, provider, origin) in &origins {
        documents.push_str(&format!(
            "---
apiVersion: management.v1
kind: Upstream
metadata: {{ name: {name} }}
spec:
  kind: Llm
  llm: {{ provider: {provider}, keys: [{{ valueRef: env://PROVIDER_KEY }}] }}
  endpoints: [{{ url: \"{}\" }}]
---
apiVersion: management.v1
kind: Model
metadata: {{ name: {name} }}
spec: {{ targets: [{{ upstream: {name} }}] }}
",
            origin.url()
        ));
    }
    let documents = Documents::one(documents);
    let data = directory.join("data");
    let key = mint(&data);
    let gateway = Gateway::starting("run")
        .data_dir(&data)
        .arg("--config")
        .arg(documents.path())
        .arg("--admin")
        .arg("127.0.0.1:0")
        .env("PROVIDER_KEY", "canary-provider-key-0123456789")
        .start();
    let ca = directory.join("ca.pem");
    let origins = origins.into_iter().map(|(_, _, origin)| origin).collect();
    let house = House { gateway, key, ca, _origins: origins, _directory: directory, _documents: documents };
    house.wait_for_key();
    house
}

/// A key of the consumer `shop`.
fn mint(data: &Path) -> String {
    let output = Command::new(binary())
        .args(["keys", "create", "--consumer", "shop", "--data-dir"])
        .arg(data)
        .output()
        .expect("the binary can be run");
    assert!(output.status.success(), "no key: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a key is text").trim().to_owned()
}

impl House {
    fn wait_for_key(&self) {
        let ca = std::fs::read_to_string(&self.ca).unwrap();
        let bearer = format!("Bearer {}", self.key);
        let begun = Instant::now();
        loop {
            let client = Client::https1(self.gateway.address("web"), "localhost", &ca).unwrap();
            let port = self.gateway.address("web").port();
            let client = client.with_authority(&format!("localhost:{port}"));
            if client.get("/v1/models", &[("authorization", &bearer)]).status == 200 {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "the key is not known");
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn run(&self, command: &mut Command) -> Output {
        command
            .env("GATEWAY", format!("https://localhost:{}", self.gateway.address("web").port()))
            .env("GATEWAY_KEY", &self.key)
            .env("SSL_CERT_FILE", &self.ca)
            .env("REQUESTS_CA_BUNDLE", &self.ca)
            .env("NODE_EXTRA_CA_CERTS", &self.ca)
            .env_remove("HTTPS_PROXY")
            .env_remove("https_proxy")
            .env("NO_PROXY", "localhost,127.0.0.1")
            .output()
            .expect("the client's language can be started")
    }
}

fn told(output: &Output) {
    let out = String::from_utf8_lossy(&output.stdout);
    println!("{out}");
    assert!(output.status.success(), "{out}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("ok: "), "nothing ran: {out}");
    assert!(!in_ci() || !out.contains("skipped: "), "a client is not installed: run `cargo xtask sdk`");
}

/// Says that clients are missing. In CI they are part of the checks.
fn passed_by(what: &str, at: &Path) {
    println!("skipped: no {what} at {} (cargo xtask sdk)", at.display());
    assert!(!in_ci(), "the {what} are not installed: run `cargo xtask sdk`");
}

fn in_ci() -> bool {
    std::env::var_os("CI").is_some()
}

#[test]
fn the_official_python_clients_work_with_base_url_and_key_alone() {
    let python = folder().join("venv/bin/python");
    if !python.is_file() {
        return passed_by("Python clients", &python);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk/clients.py");
    told(&house().run(Command::new(python).arg(script)));
}

#[test]
fn the_npm_client_works_with_base_url_and_key_alone() {
    let modules = folder().join("node_modules/openai");
    if !modules.is_dir() {
        return passed_by("npm clients", &modules);
    }
    // Node looks for modules beside the script.
    let script = folder().join("clients.mjs");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk/clients.mjs"), &script).unwrap();
    told(&house().run(Command::new("node").arg(script)));
}
