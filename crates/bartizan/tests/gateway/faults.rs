//! What can fail fails closed.

use std::{os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use bartizan_config::{Set, snapshot::Snapshot, source::Sources};
use bartizan_identity::KeyTable;
use bartizan_proxy::gate::{Gate as InProcess, GateOptions};
use bartizan_telemetry::Metrics;
use bartizan_testkit::{Client, Documents, Gateway, Origin, TempDir};

use crate::harness::{API_KEYS, Gate, document, key, simple};

const SHOP: &str = "apiVersion: management.v1\nkind: Consumer\nmetadata: { name: shop }\nspec: {}\n";

fn snapshot(documents: &str) -> Arc<Snapshot> {
    let set = Set::from_sources(Sources::from_texts([("gateway.yaml", documents)]));
    set.compiled.snapshot.expect("the documents are sound")
}

fn serve(snapshot: Arc<Snapshot>) -> InProcess {
    let options = GateOptions {
        overload: Default::default(),
        cores: 1,
        lock_dir: None,
        metrics: Metrics::new("test", std::time::SystemTime::now()),
        access_log: None,
        pepper: None,
        keys: Arc::new(KeyTable::empty()),
        quotas: Arc::default(),
        read_secret: Box::new(|_| Err("no secrets here".to_owned())),
        session_keys: None,
        grace: Duration::from_millis(100),
    };
    InProcess::start(snapshot, options).expect("it starts")
}

#[test]
fn without_a_pepper_every_key_is_refused() {
    let origin = Origin::answering("ok");
    let data = TempDir::new();
    let key = key(data.path(), "shop", None);
    let gate = serve(snapshot(&simple(&origin.url(), &[API_KEYS, SHOP])));
    let answer = Client::http1(gate.addresses()[0].address).get("/", &[("x-api-key", &key)]);
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (401, &"CredentialInvalid".into()));
    assert!(!String::from_utf8_lossy(&answer.body).contains("pepper"));
    gate.stop();
}

#[test]
fn a_listener_that_the_set_does_not_have_any_more_publishes_nothing() {
    let origin = Origin::answering("ok");
    let gate = serve(snapshot(&simple(&origin.url(), &[])));
    let address = gate.addresses()[0].address;
    let kept = Client::http1(address);
    assert_eq!(kept.get("/", &[]).status, 200);
    let renamed = simple(&origin.url(), &[]).replace("name: web", "name: other");
    let asked = origin.take().len();
    gate.reload(snapshot(&renamed)).unwrap();
    // The kept connection may be closed before it is asked; if it answers, it says that there is nothing.
    let request = kept.request("GET", "/").body(Default::default()).unwrap();
    if let Ok(answer) = kept.send(request) {
        assert_eq!(answer.status, 404);
    }
    assert_eq!((asked, origin.received().len()), (1, 0));
    gate.stop();
}

#[test]
fn a_store_that_cannot_be_used_is_no_start() {
    let origin = Origin::answering("ok");
    let documents = Documents::one(simple(&origin.url(), &[API_KEYS, SHOP]));
    let spoil: [(&str, fn(&std::path::Path)); 3] = [
        ("not a database", |path| {
            std::fs::write(database(path), "not a database, but longer than a header").unwrap()
        }),
        ("a pepper for all to read", |path| {
            std::fs::set_permissions(path.join("pepper"), std::fs::Permissions::from_mode(0o644)).unwrap();
        }),
        ("no pepper beside keys", |path| std::fs::remove_file(path.join("pepper")).unwrap()),
    ];
    for (case, spoil) in spoil {
        let data = TempDir::new();
        key(data.path(), "shop", None);
        spoil(data.path());
        let start =
            Gateway::starting("run").arg("--config").arg(documents.path()).arg("--admin").arg("127.0.0.1:0");
        let (status, _, errors) = start.data_dir(data.path()).finish();
        assert!(status.is_some_and(|status| status != 0), "{case}: {errors}");
        assert!(!errors.is_empty(), "{case}");
    }
}

fn database(data: &std::path::Path) -> std::path::PathBuf {
    let mut files = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    files
        .find(|path| path.extension().is_some_and(|extension| extension == "db" || extension == "sqlite"))
        .unwrap()
}

#[test]
fn a_store_that_goes_away_later_keeps_what_is_known_and_opens_nothing() {
    let origin = Origin::answering("ok");
    let mut known = String::new();
    let gate = Gate::start_with(
        &simple(&origin.url(), &[API_KEYS, SHOP]),
        |data| known = key(data, "shop", None),
        &[],
    );
    let elsewhere = TempDir::new();
    let unknown = key(elsewhere.path(), "shop", None);
    assert_eq!(gate.get("/", &[("x-api-key", &known)]).status, 200);
    std::fs::write(database(gate.data()), "gone").unwrap();
    gate.gateway.wait_for_stderr("the store fails");
    assert_eq!(gate.get("/", &[("x-api-key", &known)]).status, 200);
    assert_eq!(gate.get("/", &[("x-api-key", &unknown)]).status, 401);
    assert_eq!(gate.get("/", &[]).status, 401);
    let _ = document("Consumer", "unused", "{}");
}
