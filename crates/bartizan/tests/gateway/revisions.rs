//! A gateway on a store: what is applied is live within a second, whole or not at all, and the last good set outlives
//! the store.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bartizan_testkit::{Client, Documents, Gateway, Origin, TempDir, gateway::command};

use crate::harness::{API_KEYS, WEB, document, key, route, simple, wait};

/// A set whose answers carry `mark`.
fn marked(url: &str, mark: &str) -> String {
    let policy = document(
        "HeaderPolicy",
        "mark",
        &format!("{{ response: {{ set: [{{ name: x-mark, value: \"{mark}\" }}] }} }}"),
    );
    simple(url, &[&policy])
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Runs a command on the store of a data directory.
fn ran(data: &Path, arguments: &[&str]) -> Ran {
    let data = data.display().to_string();
    let (code, out, err) = command([arguments, &["--data-dir", &data]].concat());
    Ran { code: code.unwrap(), out, err }
}

/// Applies one file of documents.
fn apply(data: &Path, text: &str) -> Ran {
    let documents = Documents::one(text);
    ran(data, &["apply", "--reason", "a test", "-f", &documents.path().display().to_string()])
}

#[track_caller]
fn applied(data: &Path, text: &str) {
    let ran = apply(data, text);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}

fn start(data: &Path) -> Gateway {
    let start = Gateway::starting("run").arg("--store").data_dir(data);
    start.arg("--admin").arg("127.0.0.1:0").arg("--workers").arg("2").start()
}

fn mark(gateway: &Gateway) -> Option<String> {
    Client::http1(gateway.address("web")).get("/", &[]).header("x-mark").map(str::to_owned)
}

fn ready(gateway: &Gateway) -> serde_json::Value {
    Client::http1(gateway.address("admin")).get("/readyz", &[]).json()
}

#[test]
fn what_is_applied_under_load_is_live_within_a_second_and_no_request_fails() {
    let (origin, data) = (Origin::answering("ok"), TempDir::new());
    applied(data.path(), &marked(&origin.url(), "0"));
    let gateway = start(data.path());
    let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let (address, over, served) = (gateway.address("web"), Arc::clone(&over), Arc::clone(&served));
            thread::spawn(move || {
                let kept = Client::http1(address);
                while !over.load(Ordering::SeqCst) {
                    assert_eq!(kept.get("/", &[]).status, 200);
                    assert_eq!(Client::http1(address).get("/", &[]).status, 200);
                    served.fetch_add(2, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for number in 1..=5_u32 {
        let wanted = number.to_string();
        let ran = apply(data.path(), &marked(&origin.url(), &wanted));
        // `apply` ends when the gateway has said how it went.
        assert!(ran.code == 0 && ran.err.contains("is live"), "{}{}", ran.out, ran.err);
        assert_eq!(mark(&gateway), Some(wanted));
    }
    over.store(true, Ordering::SeqCst);
    callers.into_iter().for_each(|caller| caller.join().expect("no request failed"));
    assert!(served.load(Ordering::SeqCst) > 20, "{served:?}");

    let begun = Instant::now();
    let gone = ran(data.path(), &["rollback", "--reason", "worse", "--no-wait"]);
    assert_eq!(gone.code, 0, "{}", gone.err);
    wait("the rollback", || mark(&gateway).as_deref() == Some("4"));
    // The command itself takes part of it; a second is what the gateway may take.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let answer = Client::http1(gateway.address("web")).get("/", &[]);
    let record = gateway.wait_for_record(answer.header("x-request-id").unwrap());
    let history: serde_json::Value =
        serde_json::from_str(&ran(data.path(), &["history", "--format", "json"]).out).unwrap();
    let newest = &history["revisions"][0];
    assert_eq!(
        (&newest["number"], &newest["restores"], &newest["outcome"]["went"]),
        (&7.into(), &5.into(), &"live".into())
    );
    let digest = newest["digest"].as_str().unwrap();
    assert_eq!(record["revision"].as_str().unwrap(), &digest[..12], "{record}");
}

#[test]
fn a_revision_that_cannot_be_prepared_fails_and_the_one_before_serves_also_after_a_restart() {
    let (origin, data) = (Origin::answering("ok"), TempDir::new());
    applied(data.path(), &marked(&origin.url(), "good"));
    let gateway = start(data.path());
    let broken = document(
        "Listener",
        "more",
        "{ addresses: [\"127.0.0.1:0\"], protocol: HTTPS, tls: { certificates: [{ chainRef: \"file:///nowhere\", keyRef: \"file:///nowhere\" }] } }",
    );
    let failed = apply(data.path(), &[marked(&origin.url(), "bad"), broken].join("---\n"));
    assert!(failed.code == 1 && failed.err.contains("/nowhere"), "{}{}", failed.out, failed.err);
    assert_eq!(mark(&gateway).as_deref(), Some("good"));
    assert!(ready(&gateway)["notices"]["revision"].as_str().unwrap().contains("failed"));
    drop(gateway);
    // The active one still cannot be prepared: what was kept serves, and says so.
    let again = start(data.path());
    assert_eq!(mark(&again).as_deref(), Some("good"));
    assert!(
        ready(&again)["notices"]["revision"].as_str().unwrap().contains("last good"),
        "{}",
        ready(&again)
    );
    applied(data.path(), &marked(&origin.url(), "better"));
    wait("the good revision", || mark(&again).as_deref() == Some("better"));
    wait("the notice to go", || ready(&again).get("notices").is_none());
}

#[test]
fn when_the_store_is_gone_the_last_good_revision_serves_and_keys_are_refused() {
    let (origin, data) = (Origin::answering("ok"), TempDir::new());
    let set = |mark: &str| {
        let shop = document("Consumer", "shop", "{}");
        [marked(&origin.url(), mark), API_KEYS.to_owned(), shop].join("---\n")
    };
    applied(data.path(), &set("one"));
    let key = key(data.path(), "shop", None);
    let header = [("x-api-key", &*key)];
    let gateway = start(data.path());
    let status = |gateway: &Gateway| Client::http1(gateway.address("web")).get("/", &header).status.as_u16();
    wait("the key", || status(&gateway) == 200);
    let away = TempDir::new();
    let names = ["bartizan.db", "bartizan.db-wal", "bartizan.db-shm"];
    let take = |from: &Path, to: &Path| {
        for name in names {
            if from.join(name).exists() {
                fs::copy(from.join(name), to.join(name)).unwrap();
                fs::remove_file(from.join(name)).unwrap();
            }
        }
    };
    take(data.path(), away.path());
    wait("the loss to be told", || ready(&gateway)["notices"]["store"].is_string());
    assert_eq!(status(&gateway), 200, "what serves goes on serving");
    drop(gateway);

    let gateway = start(data.path());
    assert_eq!(status(&gateway), 401, "no key is known");
    assert!(ready(&gateway)["notices"]["kept"].as_str().unwrap().contains("kept"), "{}", ready(&gateway));
    gateway.wait_for_stderr("serving the last good revision");
    assert!(!data.path().join("bartizan.db").exists(), "no empty store takes its place");
    take(away.path(), data.path());
    for name in names {
        use std::os::unix::fs::PermissionsExt;
        if data.path().join(name).exists() {
            fs::set_permissions(data.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    wait("the store to be found again", || status(&gateway) == 200);
    applied(data.path(), &set("two"));
    let marked =
        || Client::http1(gateway.address("web")).get("/", &header).header("x-mark").map(str::to_owned);
    wait("a revision of the store", || marked().as_deref() == Some("two"));
    wait("the notices to go", || ready(&gateway).get("notices").is_none());
}

#[test]
fn a_damaged_copy_is_not_served() {
    let (origin, data) = (Origin::answering("ok"), TempDir::new());
    applied(data.path(), &marked(&origin.url(), "one"));
    drop(start(data.path()));
    let kept = data.path().join("last-good");
    let text = fs::read_to_string(&kept).unwrap();
    fs::write(&kept, text.replace("value: \\\"one\\\"", "value: \\\"two\\\"").replace("\"one\"", "\"two\""))
        .unwrap();
    assert_ne!(fs::read_to_string(&kept).unwrap(), text);
    // The store is there, so its revision serves and the copy is made anew.
    let gateway = start(data.path());
    assert_eq!(mark(&gateway).as_deref(), Some("one"));
    gateway.wait_for_stderr("the last good revision cannot be used");
    wait("the copy to be made anew", || fs::read_to_string(&kept).unwrap().contains("\"one\""));
}

#[test]
fn a_gateway_without_a_revision_waits_for_the_first_one() {
    let (origin, data) = (Origin::answering("ok"), TempDir::new());
    let path = data.path().to_owned();
    let url = origin.url();
    let applying = thread::spawn(move || {
        wait("the gateway to make its store", || path.join("bartizan.db").exists());
        thread::sleep(Duration::from_millis(500));
        applied(&path, &marked(&url, "first"));
    });
    let gateway = start(data.path());
    applying.join().unwrap();
    assert_eq!(mark(&gateway).as_deref(), Some("first"));
}

#[test]
fn a_file_that_a_revision_names_is_read_anew_when_it_changes() {
    let (origin, data, folder) = (Origin::answering("ok"), TempDir::new(), TempDir::new());
    let path = folder.join("token");
    fs::write(&path, "one\n").unwrap();
    let spec = format!(
        "{{ endpoints: [{{ url: \"{}\" }}], credential: {{ bearer: {{ tokenRef: \"file://{}\" }} }} }}",
        origin.url(),
        path.display()
    );
    let documents = [WEB.to_owned(), document("Upstream", "origin", &spec), route("all", "/", "origin")];
    applied(data.path(), &documents.join("---\n"));
    let gateway = start(data.path());
    let sent = || {
        assert_eq!(Client::http1(gateway.address("web")).get("/", &[]).status, 200);
        origin.take_one().header("authorization").map(str::to_owned)
    };
    assert_eq!(sent().as_deref(), Some("Bearer one"));
    fs::write(&path, "two\n").unwrap();
    wait("the changed token", || sent().as_deref() == Some("Bearer two"));
}

#[test]
fn a_gateway_on_files_refuses_revisions_and_one_on_the_store_has_no_files() {
    let (origin, data) = (Origin::answering("ok"), TempDir::new());
    applied(data.path(), &marked(&origin.url(), "stored"));
    let files = Documents::one(marked(&origin.url(), "file"));
    let start = Gateway::starting("run").arg("--config").arg(files.path()).data_dir(data.path());
    let gateway = start.arg("--admin").arg("127.0.0.1:0").start();
    assert_eq!(mark(&gateway).as_deref(), Some("file"), "the store is not asked");
    for arguments in [&["apply", "--reason", "x", "-f"][..], &["rollback", "--reason", "x", "1", "--no-wait"]]
    {
        let documents = Documents::one(marked(&origin.url(), "other"));
        let path = documents.path().display().to_string();
        let mut arguments = arguments.to_vec();
        if arguments.ends_with(&["-f"]) {
            arguments.push(&path);
        }
        let refused = ran(data.path(), &arguments);
        assert!(
            refused.code == 1 && refused.err.contains("takes its documents from files"),
            "{}",
            refused.err
        );
    }
    drop(gateway);
    let both = Gateway::starting("run").arg("--store").arg("--config").arg(files.path()).finish();
    assert!(both.0 == Some(2) && both.2.contains("--store"), "{}", both.2);
    applied(data.path(), &marked(&origin.url(), "later"));
}

#[test]
fn a_hangup_prepares_the_revision_again() {
    let (origin, data, folder) = (Origin::answering("ok"), TempDir::new(), TempDir::new());
    let (old, new) = (bartizan_testkit::Authority::new(), bartizan_testkit::Authority::new());
    let write = |authority: &bartizan_testkit::Authority| {
        let identity = authority.issue(&["api.test"]);
        fs::write(folder.join("chain.pem"), identity.chain).unwrap();
        fs::write(folder.join("key.pem"), identity.key).unwrap();
    };
    write(&old);
    let path = folder.path().display();
    let spec = format!(
        "{{ addresses: [\"127.0.0.1:0\"], protocol: HTTPS, tls: {{ certificates: [{{ chainRef: \"file://{path}/chain.pem\", keyRef: \"file://{path}/key.pem\" }}] }} }}"
    );
    applied(data.path(), &simple(&origin.url(), &[]).replace(WEB, &document("Listener", "web", &spec)));
    let gateway = start(data.path());
    let works = |authority: &bartizan_testkit::Authority| {
        Client::https1(gateway.address("web"), "api.test", &authority.pem())
            .is_ok_and(|client| client.get("/", &[]).status == 200)
    };
    assert!(works(&old));
    write(&new);
    gateway.signal("HUP");
    wait("the new certificate", || works(&new));
}
