//! Notices and rotation from end to end: the real binary, a mail server and a webhook receiver as processes of their own.
//!
//! The receivers are Python, so that signatures and mail are judged by somebody else's code. The mail server is
//! aiosmtpd, installed by `cargo xtask sdk` below the target directory; where it is missing, a line says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use bartizan_testkit::{Authority, Client, Documents, Gateway, Origin, TempDir, gateway::command};
use serde_json::Value;

/// A receiver as a process; ended with its test.
struct Receiver {
    child: Child,
    port: u16,
    lines: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    fn start(python: &Path, script: &str, arguments: &[&str]) -> Receiver {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("notices").join(script);
        let mut child = Command::new(python)
            .arg(script)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = out.next().expect("a port").unwrap().trim().parse().unwrap();
        let lines: Arc<Mutex<Vec<Value>>> = Arc::default();
        let written = Arc::clone(&lines);
        thread::spawn(move || {
            for line in out.map_while(Result::ok) {
                written.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Receiver { child, port, lines }
    }

    fn got(&self) -> Vec<Value> {
        self.lines.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Python that has aiosmtpd.
fn with_mail() -> Option<PathBuf> {
    let beside = || {
        let test = std::env::current_exe().ok()?;
        Some(test.parent()?.parent()?.parent()?.join("sdk"))
    };
    let folder = std::env::var_os("BARTIZAN_SDK").map(PathBuf::from).or_else(beside)?;
    let python = folder.join("venv/bin/python");
    let has = Command::new(&python).args(["-c", "import aiosmtpd"]).status().ok()?.success();
    has.then_some(python)
}

fn document(kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: management.v1\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec: {spec}\n")
}

/// A gateway of one listener and one route, with what is added.
fn documents(origin: &str, more: &[String]) -> Documents {
    let mut parts = vec![
        document(
            "Listener",
            "web",
            "{ addresses: [\"127.0.0.1:0\"], keyEndpoints: { path: /.keys, requestsPerMinute: 100 } }",
        ),
        document("Upstream", "origin", &format!("{{ endpoints: [{{ url: \"{origin}\" }}] }}")),
        document("Route", "all", "{ rules: [{ backendRefs: [{ name: origin }] }] }"),
        document("AuthenticationPolicy", "keys", "{ methods: [{ type: ApiKey }] }"),
    ];
    parts.extend_from_slice(more);
    Documents::one(parts.join("---\n"))
}

fn start(documents: &Documents, data: &TempDir) -> Gateway {
    Gateway::starting("run")
        .arg("--config")
        .arg(documents.path())
        .arg("--admin")
        .arg("127.0.0.1:0")
        .arg("--workers")
        .arg("1")
        .data_dir(data.path())
        .env("HOOK_SECRET", format!("whsec_{SECRET}"))
        .patiently(Duration::from_secs(120))
        .start()
}

fn ran(arguments: &[&str], data: &TempDir) -> String {
    let data = data.path().display().to_string();
    let (code, out, err) = command([arguments, &["--data-dir", &data]].concat());
    assert_eq!(code, Some(0), "{arguments:?}: {out}{err}");
    out
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(40), "waited in vain for {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn a_rotation_is_told_once_to_a_receiver_that_fails_twice_signed_and_without_a_secret() {
    let (origin, data) = (Origin::answering("ok"), TempDir::new());
    let hook = Receiver::start(Path::new("python3"), "hook.py", &[SECRET, "2"]);
    let documents = documents(
        &origin.url(),
        &[
            document(
                "NoticeChannel",
                "owners",
                &format!(
                    "{{ webhook: {{ url: \"http://127.0.0.1:{}/told\", signingSecretRef: env://HOOK_SECRET, \
                     allowPrivateNetwork: true, dangerAllowClearText: true }} }}",
                    hook.port
                ),
            ),
            document("Consumer", "shop", "{ contacts: [{ channel: owners }] }"),
            document("KeyRotationPolicy", "keys", "{ maximumAge: 90d, notify: [owners] }"),
        ],
    );
    let gateway = start(&documents, &data);
    let old = ran(&["keys", "create", "--consumer", "shop"], &data).trim().to_owned();
    let new = ran(&["keys", "rotate", &old], &data).trim().to_owned();
    wait("the third attempt", || hook.got().len() >= 3);
    // Long enough for a repeat that must not come.
    thread::sleep(Duration::from_secs(6));
    let got = hook.got();
    let statuses: Vec<_> = got.iter().map(|one| one["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [503, 503, 204], "{got:?}");
    assert!(got.iter().all(|one| one["sound"] == true && one["id"] == got[0]["id"]), "{got:?}");
    assert_eq!(got[2]["body"]["type"], "key.rotated");
    assert_eq!(got[2]["body"]["data"]["facts"]["consumer"], "shop");
    let all = serde_json::to_string(&got).unwrap();
    for key in [&old, &new] {
        assert!(!all.contains(key.as_str()) && !all.contains(&key[17..40]), "a key is in a notice");
    }
    gateway.wait_for_stderr("a notice was sent");
}

#[test]
fn owners_get_mail_over_starttls_and_none_where_the_server_does_not_offer_it() {
    let Some(python) = with_mail() else {
        println!("skipped: no aiosmtpd; `cargo xtask sdk` installs it");
        return;
    };
    let (origin, data, files) = (Origin::answering("ok"), TempDir::new(), TempDir::new());
    let authority = Authority::new();
    let identity = authority.issue(&["localhost"]);
    for (file, text) in
        [("chain.pem", identity.chain), ("key.pem", identity.key), ("ca.pem", authority.pem())]
    {
        std::fs::write(files.join(file), text).unwrap();
    }
    let path = |file: &str| files.join(file).display().to_string();
    let sink = |tls: &str| Receiver::start(&python, "smtp.py", &[&path("chain.pem"), &path("key.pem"), tls]);
    let (sound, bare) = (sink("tls"), sink("bare"));
    let channel = |name: &str, port: u16| {
        let spec = format!(
            "{{ email: {{ host: localhost, port: {port}, from: gate@example.com, authoritiesRef: \"file://{}\" }} }}",
            path("ca.pem")
        );
        document("NoticeChannel", name, &spec)
    };
    let documents = documents(
        &origin.url(),
        &[
            channel("mail", sound.port),
            channel("bare", bare.port),
            document(
                "Consumer",
                "shop",
                "{ contacts: [{ email: ann@example.com }, { email: bob@example.com }] }",
            ),
            document("KeyRotationPolicy", "keys", "{ maximumAge: 90d, notify: [mail, bare] }"),
        ],
    );
    let gateway = start(&documents, &data);
    let old = ran(&["keys", "create", "--consumer", "shop"], &data).trim().to_owned();
    let new = ran(&["keys", "rotate", &old], &data).trim().to_owned();
    wait("both mails", || sound.got().len() >= 2);
    gateway.wait_for_stderr("does not offer STARTTLS");
    let got = sound.got();
    let mut to: Vec<_> = got.iter().map(|one| one["to"][0].as_str().unwrap().to_owned()).collect();
    to.sort();
    assert_eq!(to, ["ann@example.com", "bob@example.com"]);
    for mail in &got {
        let text = mail["text"].as_str().unwrap();
        assert_eq!((&mail["tls"], &mail["from"]), (&Value::from(true), &Value::from("gate@example.com")));
        assert!(text.contains("was replaced") && text.contains("Message-ID: <msg_"), "{text}");
        assert!(!text.contains(&old) && !text.contains(&new), "a key is in a mail");
    }
    assert_eq!(bare.got(), Vec::<Value>::new(), "nothing goes out in clear text");
    let _ = Client::http1(gateway.address("web"));
}
