//! Administrators who sign in by a certified OpenID provider.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a test's helpers fail by panicking"
)]

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use bartizan_testkit::{Authority, Client, Gateway, Origin, TempDir, gateway::command};
use serde_json::{Value, json};

/// A running provider; ends with the test.
struct Provider {
    child: Child,
    issuer: String,
    door: SocketAddr,
    authority: PathBuf,
    _files: TempDir,
}

/// The provider, or `None` where it cannot be started on this machine, which is said.
fn provider() -> Option<Provider> {
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
        let (certificate, key) = (write("certificate.pem", &identity.chain), write("key.pem", &identity.key));
        let authority = write("authority.pem", &authority.pem());
        let mut child = Command::new("node")
            .arg(home.join("administrators.mjs"))
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
            door: ready["door"].as_str().unwrap().parse().unwrap(),
            authority,
            _files: files,
        }
    }

    fn ask(&self, path: &str, body: &Value) -> Value {
        let answer = Client::http1(self.door).call("POST", path, &[], body.to_string().into_bytes());
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A gateway at which one signs in by the provider.
struct House {
    gateway: Gateway,
    provider: Provider,
    data: TempDir,
}

/// Where a browser was sent, and what it was given.
struct Sent {
    to: String,
    cookies: Vec<String>,
}

impl House {
    fn start(provider: Provider) -> House {
        let data = TempDir::new();
        let origin = Origin::answering("ok");
        let set = data.path().join("set.yaml");
        let documents = format!(
            "apiVersion: management.v1\nkind: Listener\nmetadata: {{ name: web }}\nspec: {{ addresses: [\"127.0.0.1:0\"] }}\n---\n\
             apiVersion: management.v1\nkind: Upstream\nmetadata: {{ name: shop }}\nspec: {{ endpoints: [{{ url: \"{}\" }}] }}\n---\n\
             apiVersion: management.v1\nkind: Route\nmetadata: {{ name: all }}\n\
             spec: {{ rules: [{{ matches: [{{ path: {{ value: / }} }}], backendRefs: [{{ name: shop }}] }}] }}\n",
            origin.url()
        );
        std::fs::write(&set, documents).unwrap();
        let mut start =
            Gateway::starting("run").arg("--config").arg(&set).env("CONSOLE_SECRET", "console-secret/+");
        for argument in [
            "--admin",
            "127.0.0.1:0",
            "--admin-openid-issuer",
            &provider.issuer,
            "--admin-openid-client",
            "console",
            "--admin-openid-secret",
            "env://CONSOLE_SECRET",
            "--admin-openid-role",
            "platform=operator",
            "--admin-openid-role",
            "everybody=viewer",
            "--admin-openid-private-network",
        ] {
            start = start.arg(argument);
        }
        let dir = data.path().join("state");
        let gateway = start.arg("--admin-openid-ca").arg(&provider.authority).data_dir(&dir).start();
        let redirect = format!("http://{}/admin/v1/openid/callback", gateway.address("admin"));
        provider.ask("/set", &json!({ "redirect": redirect }));
        House { gateway, provider, data }
    }

    fn walk(&self, path: &str, cookies: &[String]) -> Sent {
        let cookie = cookies.join("; ");
        let headers = [("cookie", &*cookie)];
        let headers = if cookies.is_empty() { &[][..] } else { &headers[..] };
        let answer = Client::http1(self.gateway.address("admin")).call("GET", path, headers, Vec::new());
        assert_eq!(answer.status, 303, "{path}: {}", answer.text());
        Sent {
            to: answer.headers["location"].to_str().unwrap().to_owned(),
            cookies: answer
                .headers
                .get_all("set-cookie")
                .iter()
                .map(|value| value.to_str().unwrap().split(';').next().unwrap().to_owned())
                .collect(),
        }
    }

    /// To the provider and back: the address of the way back, and the cookies of the attempt.
    fn attempt(&self) -> Sent {
        let begun = self.walk("/admin/v1/openid/begin", &[]);
        assert!(begun.to.starts_with(&self.provider.issuer), "{}", begun.to);
        assert!(
            begun.to.contains("code_challenge_method=S256") && begun.to.contains("nonce="),
            "{}",
            begun.to
        );
        let back = self.provider.ask("/follow", &json!({ "url": begun.to }));
        let back = back["location"].as_str().unwrap_or_else(|| panic!("{back}"));
        let path = back.split_once("/admin/").unwrap().1;
        Sent { to: format!("/admin/{path}"), cookies: begun.cookies }
    }

    fn sign_in(&self) -> Sent {
        let Sent { to, cookies } = self.attempt();
        self.walk(&to, &cookies)
    }

    fn me(&self, sent: &Sent) -> Value {
        let cookie = sent.cookies.iter().find(|pair| pair.starts_with("bartizan=")).expect("a session");
        let address = self.gateway.address("admin");
        Client::http1(address).call("GET", "/admin/v1/me", &[("cookie", cookie)], Vec::new()).json()
    }

    fn users(&self, arguments: &[&str]) {
        let dir = self.data.path().join("state").display().to_string();
        let (code, _, err) = command([&["users"], arguments, &["--data-dir", &dir]].concat());
        assert_eq!(code, Some(0), "{err}");
    }
}

#[test]
fn administrators_sign_in_by_the_provider_and_their_groups_give_their_role() {
    let Some(provider) = provider() else { return };
    let house = House::start(provider);
    let ways = Client::http1(house.gateway.address("admin")).get("/admin/v1/login", &[]).json();
    assert_eq!(ways["openId"], "your identity provider");

    house.provider.ask("/set", &json!({ "groups": ["everybody", "platform"] }));
    let sent = house.sign_in();
    assert_eq!(sent.to, "/console/");
    let me = house.me(&sent);
    assert_eq!((&me["name"], &me["role"]), (&"ada".into(), &"operator".into()), "{me}");
    // What the groups say now counts with the next sign-in, and it is the same person.
    house.provider.ask("/set", &json!({ "groups": ["everybody"] }));
    assert_eq!(house.me(&house.sign_in())["role"], "viewer");

    for (case, change, word) in [
        ("no group that means anything", json!({ "groups": ["others"] }), "NoRole"),
        ("they do not want to", json!({ "denies": true }), "Refused"),
    ] {
        house.provider.ask("/set", &change);
        assert_eq!(house.sign_in().to, format!("/console/?signin={word}"), "{case}");
    }
    house.provider.ask("/set", &json!({ "denies": false, "groups": ["platform"], "user": "bob" }));
    house.users(&["add", "bob", "--role", "admin"]);
    assert_eq!(house.sign_in().to, "/console/?signin=NameTaken", "nobody becomes somebody else");
    house.provider.ask("/set", &json!({ "user": "ada" }));
    house.users(&["disable", "ada"]);
    assert_eq!(house.sign_in().to, "/console/?signin=Disabled");
}

#[test]
fn an_answer_belongs_to_the_browser_that_asked_and_is_used_once() {
    let Some(provider) = provider() else { return };
    let house = House::start(provider);
    house.provider.ask("/set", &json!({ "groups": ["platform"] }));
    let stale = "/console/?signin=StaleAttempt";
    let attempt = house.attempt();
    assert_eq!(house.walk(&attempt.to, &[]).to, stale, "another browser: the answer was forced upon it");
    assert_eq!(house.walk(&attempt.to, &attempt.cookies).to, stale, "and it is spent by that");
    let attempt = house.attempt();
    assert_eq!(house.walk(&attempt.to, &attempt.cookies).to, "/console/");
    assert_eq!(house.walk(&attempt.to, &attempt.cookies).to, stale, "a code is used once");
    let (one, other) = (house.attempt(), house.attempt());
    assert_eq!(house.walk(&one.to, &other.cookies).to, stale);
    let attempt = house.attempt();
    for (from, to) in [("state=", "state=x"), ("code=", "code=x"), ("iss=https", "iss=http")] {
        let changed = house.attempt();
        let sent = house.walk(&changed.to.replace(from, to), &changed.cookies);
        assert!(
            sent.to.starts_with("/console/?signin=")
                && sent.cookies.iter().all(|one| !one.starts_with("bartizan=")),
            "{from}"
        );
    }
    assert_eq!(house.walk("/admin/v1/openid/callback", &attempt.cookies).to, stale);
    let log = house.gateway.stderr().join("\n");
    assert!(!log.contains("console-secret"), "{log}");
}
