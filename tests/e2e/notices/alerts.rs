//! Alerts at receivers that are not ours: a real Alertmanager, and a webhook that refuses what Slack would refuse.
//!
//! Alertmanager is the one that is installed, where one is; where it is missing, a line says so.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bartizan_testkit::{Client, Gateway, Origin, TempDir};
use serde_json::Value;

use super::{Receiver, SECRET, document, documents, ran, told, wait, webhook};

/// A real Alertmanager; ended with its test.
struct Alertmanager {
    child: Child,
    address: SocketAddr,
    _files: TempDir,
}

impl Alertmanager {
    fn start() -> Option<Alertmanager> {
        let files = TempDir::new();
        let config = files.join("alertmanager.yml");
        fs::write(&config, "route: { receiver: none }\nreceivers: [{ name: none }]\n").unwrap();
        // It cannot say which port it took, so one that was free a moment ago is asked for.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", files.path().display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            println!("SKIPPED: there is no prometheus-alertmanager (Debian has it under this name)");
            return None;
        };
        let mut is_over = false;
        wait("Alertmanager", || {
            // One that was only unpacked ends at once: it lacks its templates.
            is_over = child.try_wait().unwrap().is_some();
            is_over || std::net::TcpStream::connect(address).is_ok()
        });
        if is_over {
            println!("SKIPPED: prometheus-alertmanager ended when it was started; is it installed whole?");
            return None;
        }
        Some(Alertmanager { child, address, _files: files })
    }

    fn alerts(&self) -> Vec<Value> {
        let answer = Client::http1(self.address).get("/api/v2/alerts", &[]);
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
        answer.json().as_array().unwrap().clone()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn starting(documents: &bartizan_testkit::Documents, data: &TempDir) -> bartizan_testkit::gateway::Start {
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
}

#[test]
fn a_chat_that_is_as_strict_as_slack_and_a_real_alertmanager_take_an_alert_and_its_end() {
    let (origin, data) = (Origin::answering("ok"), TempDir::new());
    let chat = Receiver::start(Path::new("python3"), "chat.py", &[]);
    let manager = Alertmanager::start();
    let open = "allowPrivateNetwork: true, dangerAllowClearText: true";
    let mut more = vec![document(
        "NoticeChannel",
        "chat",
        &format!("{{ slack: {{ urlRef: env://SLACK_URL, {open} }} }}"),
    )];
    let mut channels = "chat".to_owned();
    if let Some(manager) = &manager {
        let url = format!("http://{}", manager.address);
        let spec = format!("{{ alertmanager: {{ url: \"{url}\", {open} }} }}");
        more.push(document("NoticeChannel", "manager", &spec));
        channels.push_str(", manager");
    }
    more.push(document(
        "AlertPolicy",
        "first",
        &format!(
            "{{ channels: [{channels}], recoverAfter: 6s, signals: [{{ signal: FailedLogins, count: 3, groupBy: Address }}] }}"
        ),
    ));
    let gateway = starting(&documents(&origin.url(), &more), &data)
        .env("SLACK_URL", format!("http://127.0.0.1:{}/services/T0/B0/secret", chat.port))
        .start();
    for _ in 0..3 {
        Client::http1(gateway.address("web")).get("/", &[("x-api-key", "bzk_wrong")]);
    }
    let begun = Instant::now();
    wait("the chat", || !chat.got().is_empty());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    if let Some(manager) = &manager {
        wait("the alert", || !manager.alerts().is_empty());
        let alert = manager.alerts().remove(0);
        let label = |name: &str| alert["labels"][name].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            [label("alertname"), label("policy"), label("signal"), label("group")],
            ["Bartizan alert", "first", "FailedLogins", "127.0.0.1"],
            "{alert}"
        );
        assert_eq!(alert["status"]["state"], "active", "{alert}");
        assert!(alert["annotations"]["summary"].as_str().unwrap().contains("failed logins"), "{alert}");
    }
    wait("the end", || chat.got().len() >= 2);
    if let Some(manager) = &manager {
        wait("the alert's end", || manager.alerts().is_empty());
    }
    let got = chat.got();
    assert!(got.iter().all(|one| one["status"] == 200), "{got:?}");
    let said = |at: usize| got[at]["body"]["text"].as_str().unwrap();
    assert!(said(0).contains("[firing]") && said(1).contains("[resolved]"), "{got:?}");
    let all = [gateway.stdout(), gateway.stderr()].concat().join("\n");
    assert!(!all.contains("/services/T0/B0/secret"), "the address of a chat is a secret");
}

/// Sets the links of a store back by so many hours, as if they were older.
fn age_links(data: &TempDir, hours: u64) {
    let script = "import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=10)
database.execute('UPDATE key_claim SET created_at_ms = created_at_ms - ?1, expires_at_ms = expires_at_ms - ?1', (int(sys.argv[2]),))
database.commit()";
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(data.path().join("bartizan.db")).arg((hours * 3_600_000).to_string());
    assert!(python.status().expect("python3 runs").success());
}

#[test]
fn a_schedule_delivers_a_successor_into_a_file_and_what_nobody_takes_or_mends_is_an_alert_within_ten_seconds()
{
    let (origin, data, out) = (Origin::answering("ok"), TempDir::new(), TempDir::new());
    let (ops, owners) = (
        Receiver::start(Path::new("python3"), "hook.py", &[SECRET, "0"]),
        Receiver::start(Path::new("python3"), "hook.py", &[SECRET, "0"]),
    );
    let ages = "maximumAge: 4s, ageingBefore: 3s, hardLimit: 1h, overlap: 1h, tellBefore: [1s]";
    let of = |name: &str| format!("targetRefs: [{{ kind: Consumer, name: {name} }}]");
    let documents = documents(
        &origin.url(),
        &[
            document("NoticeChannel", "ops", &webhook(ops.port)),
            document("NoticeChannel", "owners", &webhook(owners.port)),
            document("Consumer", "shop", "{}"),
            document("Consumer", "mobile", "{ contacts: [{ channel: owners }] }"),
            document(
                "KeyRotationPolicy",
                "by-file",
                &format!("{{ {}, {ages}, deliverTo: vault }}", of("shop")),
            ),
            document(
                "KeyRotationPolicy",
                "by-link",
                &format!(
                    "{{ {}, {ages}, notify: [owners], claimUrl: \"http://127.0.0.1:1/.keys\" }}",
                    of("mobile")
                ),
            ),
            document(
                "AlertPolicy",
                "first",
                "{ channels: [ops], recoverAfter: 10s, signals: [{ signal: KeyHandover }, { signal: AuditFinding }, \
                 { signal: Expiry, before: 1s }, { signal: FailedReload }] }",
            ),
        ],
    );
    let place = format!("vault=folder:{}", out.path().display());
    let gateway = starting(&documents, &data).arg("--deliver").arg(place).start();
    let file = out.join("shop.key");
    fs::write(&file, "somebody else's").unwrap();
    let alert = |signal: &str, part: &str| {
        ops.got().into_iter().map(|one| one["body"]["data"].clone()).find(|one| {
            one["facts"]["signal"] == signal && one["text"].as_str().unwrap_or_default().contains(part)
        })
    };
    wait("what an audit finds", || alert("AuditFinding", "BA-201").is_some());
    let old = ran(&["keys", "create", "--consumer", "shop"], &data).trim().to_owned();
    let other = ran(&["keys", "create", "--consumer", "mobile"], &data).trim().to_owned();
    let id = |key: &str| key.strip_prefix("bzk_").unwrap()[..12].to_owned();
    let call =
        |key: &str| Client::http1(gateway.address("web")).get("/", &[("x-api-key", key)]).status.as_u16();
    // Nothing is written over what is not the old key.
    wait("the alert of a delivery that failed", || alert("KeyHandover", &id(&old)).is_some());
    assert_eq!(fs::read_to_string(&file).unwrap(), "somebody else's");
    wait("the alert of a maximum age", || alert("Expiry", &id(&old)).is_some());
    fs::write(&file, &old).unwrap();
    let held = || fs::read_to_string(&file).unwrap().trim().to_owned();
    wait("the delivery", || held() != old);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    wait("the new key", || call(&held()) == 200);
    assert_eq!(call(&old), 200, "both work through the overlap");
    // A link that nobody used.
    wait("the offer", || told(&owners, "key.offered").is_some());
    age_links(&data, 73);
    let begun = Instant::now();
    wait("the alert of a link that lapsed", || alert("KeyHandover", &id(&other)).is_some());
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    wait("another link", || told(&owners, "key.unclaimed").is_some());
    assert_eq!(call(&other), 200, "the old key works on");
    documents.write("broken.yaml", "kind: Nothing\n");
    gateway.signal("HUP");
    wait("the alert of a reload", || alert("FailedReload", "refused").is_some());
    let all = [serde_json::to_string(&ops.got()).unwrap(), gateway.stderr().join("\n")].concat();
    assert!(!all.contains(&held()) && !all.contains(&old), "a key is in a notice or a log");
}
