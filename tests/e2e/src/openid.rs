//! A certified OpenID provider (npm `oidc-provider`) in a process of its own, and the knobs that a test turns.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a test's helper fails the test, and a skipped test says so"
)]

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use bartizan_testkit::{Authority, Client, TempDir};
use serde_json::{Value, json};

/// What its access tokens are for.
pub const AUDIENCE: &str = "https://api.example.com";

/// A running provider; ends with the test.
pub struct Provider {
    child: Child,
    /// Its issuer, which is also its address.
    pub issuer: String,
    control: SocketAddr,
    /// The authority that signed its certificate, in a file.
    pub authority: PathBuf,
    _files: TempDir,
}

impl Provider {
    /// The provider, or `None` where it cannot be started on this machine, which is said.
    pub fn start() -> Option<Provider> {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("oidc");
        let node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
        let why = match (node, home.join("node_modules/oidc-provider").is_dir()) {
            (true, true) => return Some(Provider::launch(&home)),
            (false, _) => "node is not installed",
            (true, false) => "`npm ci` was not run in tests/e2e/oidc",
        };
        assert!(std::env::var_os("CI").is_none(), "the OpenID provider cannot be started: {why}");
        eprintln!("SKIPPED: {why}, so the tests against the OpenID provider pass by");
        None
    }

    fn launch(home: &Path) -> Provider {
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
        let line = first_line(&mut child);
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
    pub fn control(&self, path: &str, body: &Value) -> Value {
        let body = body.to_string().into_bytes();
        let answer = Client::http1(self.control).call("POST", path, &[], body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// A token from its token endpoint, by client credentials.
    pub fn issue(&self, client: &str) -> String {
        let answer = self.control("/issue", &json!({ "client": client }));
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// A token as the test wants it; see `mint` in `provider.mjs`.
    pub fn mint(&self, wanted: &Value) -> String {
        self.control("/mint", wanted)["token"].as_str().unwrap().to_owned()
    }

    /// How often a path of it was asked for.
    pub fn count(&self, path: &str) -> u64 {
        self.control("/counts", &json!({}))[path].as_u64().unwrap_or(0)
    }

    /// How a document lets the gateway fetch from it.
    pub fn fetch(&self) -> String {
        format!("{{ allowPrivateNetwork: true, authoritiesRef: \"file://{}\" }}", self.authority.display())
    }

    /// A `Jwt` method for its tokens, by discovery, with more fields.
    pub fn jwt(&self, more: &str) -> String {
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

/// The first line that a process prints; a process that stays silent is ended, and the test fails.
fn first_line(child: &mut Child) -> String {
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        // What cannot be read is no line; whoever waited may have given up.
        let _ = stdout.read_line(&mut line);
        let _ = tell.send(line);
    });
    told.recv_timeout(READY_MAX).unwrap_or_else(|_| {
        let _ = child.kill();
        panic!("the provider said nothing for {} s", READY_MAX.as_secs());
    })
}

/// It takes a second; a machine on which others build may be thirty times slower.
const READY_MAX: Duration = Duration::from_secs(60);
