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

mod alerts;

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

/// A gateway whose keys age within seconds, with an owner who is told by a webhook.
fn ageing(hook: &Receiver, origin: &Origin, data: &TempDir, overlap: &str) -> (Documents, Gateway) {
    let documents = documents(
        &origin.url(),
        &[
            document("NoticeChannel", "owners", &webhook(hook.port)),
            document("Consumer", "shop", "{ contacts: [{ channel: owners }] }"),
            document(
                "KeyRotationPolicy",
                "keys",
                &format!(
                    "{{ maximumAge: 20s, ageingBefore: 18s, overlap: {overlap}, hardLimit: 1h, tellBefore: [1s], \
                     notify: [owners], claimUrl: \"http://127.0.0.1:1/.keys\" }}"
                ),
            ),
        ],
    );
    let gateway = start(&documents, data);
    (documents, gateway)
}

fn webhook(port: u16) -> String {
    format!(
        "{{ webhook: {{ url: \"http://127.0.0.1:{port}/told\", signingSecretRef: env://HOOK_SECRET, \
         allowPrivateNetwork: true, dangerAllowClearText: true }} }}"
    )
}

fn told(hook: &Receiver, event: &str) -> Option<Value> {
    hook.got().into_iter().find(|one| one["body"]["type"] == event).map(|one| one["body"]["data"].clone())
}

#[test]
fn a_successor_is_offered_by_itself_shown_by_a_post_once_and_the_overlap_begins_then() {
    let (origin, data) = (Origin::answering("ok"), TempDir::new());
    let hook = Receiver::start(Path::new("python3"), "hook.py", &[SECRET, "0"]);
    let (_documents, gateway) = ageing(&hook, &origin, &data, "15s");
    let web = gateway.address("web");
    let old = ran(&["keys", "create", "--consumer", "shop"], &data).trim().to_owned();
    let call = |key: &str| Client::http1(web).get("/", &[("x-api-key", key)]).status.as_u16();
    wait("the offer", || told(&hook, "key.offered").is_some());
    let offered = told(&hook, "key.offered").unwrap();
    let link = offered["facts"]["link"].as_str().unwrap().to_owned();
    let path = link.strip_prefix("http://127.0.0.1:1").unwrap().to_owned();
    // What a mail scanner does, twice: nothing is spent, and nobody may keep or frame the page.
    for _ in 0..2 {
        let page = Client::http1(web).get(&path, &[]);
        assert_eq!((page.status.as_u16(), page.header("cache-control")), (200, Some("no-store")));
        assert!(
            page.text().contains("<form method=\"post\">") && !page.text().contains("bzk_"),
            "{}",
            page.text()
        );
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    }
    assert_eq!(call(&old), 200, "nothing begins to end before the claim");
    let post = |path: &str| Client::http1(web).call("POST", path, &[], "");
    let shown = post(&path);
    assert_eq!(shown.status.as_u16(), 200, "{}", shown.text());
    let at = shown.text().find("bzk_").expect("the new key is shown");
    let new = shown.text()[at..].split('<').next().unwrap().to_owned();
    wait("the new key", || call(&new) == 200);
    assert_eq!(call(&old), 200, "both work through the overlap");
    assert_eq!(post(&path).status.as_u16(), 404, "a link opens once");
    assert_eq!(Client::http1(web).get(&path, &[]).status.as_u16(), 404);
    wait("the old key's end", || call(&old) == 401);
    assert_eq!(call(&new), 200);
    // The record and the log know neither the link nor a key.
    let token = path.rsplit('/').next().unwrap();
    let all = [gateway.stdout(), gateway.stderr()].concat().join("\n");
    for secret in [token, &new, &old] {
        assert!(!all.contains(secret), "a secret is in a log");
    }
    assert!(all.contains("/.keys/claim/…"), "{all}");
    let wrong = format!("/.keys/claim/{}", "0".repeat(64));
    assert_eq!(Client::http1(web).get(&wrong, &[]).status.as_u16(), 404);
}

#[test]
fn owners_rotate_by_themselves_and_whoever_reports_a_leak_revokes_the_key() {
    let (origin, data) = (Origin::answering("ok"), TempDir::new());
    let hook = Receiver::start(Path::new("python3"), "hook.py", &[SECRET, "0"]);
    let documents = documents(
        &origin.url(),
        &[
            document("NoticeChannel", "owners", &webhook(hook.port)),
            document("Consumer", "shop", "{ contacts: [{ channel: owners }] }"),
        ],
    );
    let gateway = start(&documents, &data);
    let web = gateway.address("web");
    let old = ran(&["keys", "create", "--consumer", "shop"], &data).trim().to_owned();
    let call = |key: &str| Client::http1(web).get("/", &[("x-api-key", key)]).status.as_u16();
    wait("the key", || call(&old) == 200);
    let post = |what: &str, key: &str| Client::http1(web).call("POST", what, &[("x-api-key", key)], "");
    assert_eq!(post("/.keys/rotate", "bzk_nothing").status.as_u16(), 401);
    assert_eq!(Client::http1(web).call("POST", "/.keys/rotate", &[], "").status.as_u16(), 401);
    assert_eq!(Client::http1(web).get("/.keys/rotate", &[("x-api-key", &old)]).status.as_u16(), 405);
    let made = post("/.keys/rotate", &old);
    assert_eq!(made.status.as_u16(), 201, "{}", made.text());
    let new = made.json()["key"].as_str().unwrap().to_owned();
    assert_eq!(post("/.keys/rotate", &old).status.as_u16(), 409, "a key has one successor");
    wait("the new key", || call(&new) == 200);
    assert_eq!(call(&old), 200);
    let begun = Instant::now();
    assert_eq!(post("/.keys/leaked", &new).status.as_u16(), 200);
    wait("the revocation", || call(&new) == 401);
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    assert_eq!(post("/.keys/leaked", &new).status.as_u16(), 200, "reporting again changes nothing");
    assert_eq!(call(&old), 200, "the other key is not meant");
    wait("the notice", || told(&hook, "key.leaked").is_some());
    // Strictly limited: the hundred visits of this listener are soon over.
    let refused = (0..110)
        .map(|_| post("/.keys/rotate", "bzk_nothing").status.as_u16())
        .filter(|status| *status == 429);
    assert!(refused.count() > 5);
    assert_eq!(call(&old), 200, "the routes are not limited by it");
}

#[test]
fn a_burst_of_failed_logins_is_told_once_within_ten_seconds_and_so_is_its_end() {
    let (origin, data) = (Origin::answering("ok"), TempDir::new());
    let hook = Receiver::start(Path::new("python3"), "hook.py", &[SECRET, "0"]);
    let documents = documents(
        &origin.url(),
        &[
            document("NoticeChannel", "ops", &webhook(hook.port)),
            document(
                "AlertPolicy",
                "first",
                "{ channels: [ops], recoverAfter: 4s, signals: [{ signal: FailedLogins, count: 10, window: 1m, groupBy: Address }, \
                 { signal: FailedReload }] }",
            ),
        ],
    );
    let gateway = start(&documents, &data);
    let web = gateway.address("web");
    let begun = Instant::now();
    for _ in 0..9 {
        Client::http1(web).get("/", &[("x-api-key", "bzk_wrong")]);
    }
    thread::sleep(Duration::from_secs(2));
    assert_eq!(hook.got(), Vec::<Value>::new(), "nine are not ten");
    for _ in 0..5 {
        Client::http1(web).get("/", &[("x-api-key", "bzk_wrong")]);
    }
    wait("the alert", || !hook.got().is_empty());
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    let data_of = |one: &Value| one["body"]["data"].clone();
    let first = data_of(&hook.got()[0]);
    assert_eq!((&first["standing"], &first["facts"]["signal"]), (&"firing".into(), &"FailedLogins".into()));
    assert_eq!(first["facts"]["group"], "127.0.0.1");
    wait("its end", || hook.got().len() >= 2);
    assert_eq!(data_of(&hook.got()[1])["standing"], "resolved");
    // A silence holds back what is told, not what is listed.
    ran(&["alerts", "silence", "--signal", "FailedReload", "--reason", "a test"], &data);
    documents.write("broken.yaml", "kind: Nothing\n");
    gateway.signal("HUP");
    let data_path = data.path().display().to_string();
    wait("the silenced alert", || {
        let (code, out, _) = command(["alerts", "list", "--data-dir", &data_path]);
        code == Some(1) && out.contains("silenced") && out.contains("FailedReload")
    });
    thread::sleep(Duration::from_secs(2));
    assert_eq!(hook.got().len(), 2, "nothing is told of what is silenced: {:?}", hook.got());
}
