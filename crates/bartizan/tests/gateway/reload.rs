//! Changed documents: whole or not at all, without a request noticing.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bartizan_testkit::{Authority, Client, Documents, Gateway, Origin, Reply, TempDir};

use crate::harness::{Gate, WEB, document, route, simple, upstream, wait};

const APPLIED: &str = "bartizan_config_reloads_total{outcome=\"applied\"}";
const REFUSED: &str = "bartizan_config_reloads_total{outcome=\"refused\"}";

/// A set whose answers carry `mark`.
fn marked(url: &str, mark: &str) -> String {
    let policy = document(
        "HeaderPolicy",
        "mark",
        &format!("{{ response: {{ set: [{{ name: x-mark, value: \"{mark}\" }}] }} }}"),
    );
    simple(url, &[&policy])
}

fn mark_of(gate: &Gate) -> Option<String> {
    gate.get("/", &[]).header("x-mark").map(str::to_owned)
}

#[test]
fn a_changed_file_and_a_hangup_reload() {
    let origin = Origin::answering("ok");
    let gate = Gate::start(&marked(&origin.url(), "one"));
    assert_eq!(mark_of(&gate).as_deref(), Some("one"));
    gate.documents.write("gateway.yaml", marked(&origin.url(), "two"));
    wait("the changed file", || mark_of(&gate).as_deref() == Some("two"));
    let applied = gate.scrape().value(APPLIED);
    gate.gateway.signal("HUP");
    wait("the reload that was asked for", || gate.scrape().value(APPLIED) > applied);
    assert_eq!(mark_of(&gate).as_deref(), Some("two"));
    gate.documents.write("more.yaml", route("more", "/more", "origin"));
    wait("a file that was added", || gate.record_of(&gate.get("/more", &[]))["route"] == "more");
    gate.documents.remove("more.yaml");
    wait("a file that was removed", || gate.record_of(&gate.get("/more", &[]))["route"] == "all");
}

#[test]
fn a_swapped_symlink_reloads() {
    let origin = Origin::answering("ok");
    // As Kubernetes mounts a ConfigMap: the files are links into `..data`, which is a link that is replaced.
    let mount = TempDir::new();
    for (version, mark) in [("v1", "one"), ("v2", "two")] {
        fs::create_dir(mount.join(version)).unwrap();
        fs::write(mount.join(version).join("gateway.yaml"), marked(&origin.url(), mark)).unwrap();
    }
    symlink("v1", mount.join("..data")).unwrap();
    symlink("..data/gateway.yaml", mount.join("gateway.yaml")).unwrap();
    let gateway = Gateway::starting("run").arg("--config").arg(mount.join("gateway.yaml"));
    let gateway = gateway.arg("--admin").arg("127.0.0.1:0").start();
    let mark = || Client::http1(gateway.address("web")).get("/", &[]).header("x-mark").map(str::to_owned);
    assert_eq!(mark().as_deref(), Some("one"));
    symlink("v2", mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    wait("the swapped link", || mark().as_deref() == Some("two"));
}

#[test]
fn a_broken_or_empty_set_changes_nothing_and_is_told() {
    let origin = Origin::answering("ok");
    let gate = Gate::start(&marked(&origin.url(), "one"));
    let missing_certificate = document(
        "Listener",
        "more",
        "{ addresses: [\"127.0.0.1:0\"], protocol: HTTPS, tls: { certificates: [{ chainRef: \"file:///nowhere\", keyRef: \"file:///nowhere\" }] } }",
    );
    let good = marked(&origin.url(), "two");
    let broken = [
        ("a typing error", good.replace("endpoints", "endpoint")),
        ("no document", String::new()),
        ("no listener", good.replace(WEB, "")),
        ("no route", [WEB.to_owned(), upstream("origin", &[&origin.url()])].join("---\n")),
        ("a certificate that is not there", [good.clone(), missing_certificate].join("---\n")),
    ];
    for (number, (case, text)) in broken.iter().enumerate() {
        gate.documents.write("gateway.yaml", text);
        gate.wait_for_metric(REFUSED, (number + 1) as f64);
        assert_eq!(mark_of(&gate).as_deref(), Some("one"), "{case}");
    }
    let ready = Client::http1(gate.gateway.address("admin")).get("/readyz", &[]);
    assert_eq!(ready.status, 200);
    gate.documents.write("gateway.yaml", good);
    wait("the good set", || mark_of(&gate).as_deref() == Some("two"));
    assert_eq!((gate.scrape().value(APPLIED), gate.scrape().value(REFUSED)), (2.0, 5.0));

    let empty = Documents::one("");
    let (status, _, errors) =
        Gateway::starting("run").arg("--config").arg(empty.path()).arg("--admin").arg("127.0.0.1:0").finish();
    assert!(status.is_some_and(|status| status != 0), "an empty set was served: {errors}");
}

#[test]
fn a_request_is_judged_to_its_end_by_the_set_it_began_with() {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/slow" => Reply::ok("data: 1\n\n").then(Duration::from_millis(1_500), "data: 2\n\n"),
        _ => Reply::ok("ok"),
    });
    let gate = Gate::start(&marked(&origin.url(), "one"));
    let client = gate.client();
    let mut slow = client.open(client.request("GET", "/slow").body(Default::default()).unwrap()).unwrap();
    assert_eq!(slow.headers["x-mark"], "one");
    assert!(slow.piece().unwrap().is_some());
    // The new set has no such route any more.
    let other = marked(&origin.url(), "two").replace("value: / }", "value: /other }");
    gate.documents.write("gateway.yaml", other);
    wait("the new set", || gate.get("/slow", &[]).status == 404);
    assert_eq!(slow.piece().unwrap().as_deref(), Some(&b"data: 2\n\n"[..]));
    assert_eq!(slow.piece().unwrap(), None);
    // And the kept connection is judged by the new set with its next request.
    assert_eq!(client.get("/slow", &[]).status, 404);
    assert_eq!(client.get("/other", &[]).header("x-mark"), Some("two"));
}

#[test]
fn a_kept_connection_is_judged_by_the_new_listener() {
    let origin = Origin::answering("ok");
    let gate = Gate::start(&simple(&origin.url(), &[]));
    let client = gate.client();
    let forged = [("x-forwarded-for", "203.0.113.9")];
    assert_eq!(client.get("/", &forged).status, 200);
    let stricter = simple(&origin.url(), &[]).replace(
        "addresses:",
        "hostnames: [api.test], trustedProxies: [127.0.0.0/8], admission: { deny: [203.0.113.0/24], uriBytes: 100B }, addresses:",
    );
    gate.documents.write("gateway.yaml", stricter);
    gate.wait_for_metric(APPLIED, 2.0);
    let denied = client.get("/", &forged);
    assert_eq!((denied.status.as_u16(), &denied.json()["code"]), (403, &"AddressDenied".into()));
    assert_eq!(client.with_authority("other.test").get("/", &[]).status, 421);
    assert_eq!(gate.client().get(&format!("/{}", "a".repeat(120)), &[]).status, 414);
}

#[test]
fn listeners_come_and_go() {
    let origin = Origin::answering("ok");
    let gate = Gate::start(&simple(&origin.url(), &[]));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    gate.documents
        .write("second.yaml", document("Listener", "second", &format!("{{ addresses: [\"{port}\"] }}")));
    wait("the second listener", || std::net::TcpStream::connect(port).is_ok());
    assert_eq!(Client::http1(port).get("/", &[]).status, 200);
    let kept = Client::http1(port);
    assert_eq!(kept.get("/", &[]).status, 200);
    gate.documents.remove("second.yaml");
    wait("the second listener to go", || std::net::TcpStream::connect(port).is_err());
    assert_eq!(gate.get("/", &[]).status, 200);
}

#[test]
fn a_certificate_is_rotated_without_a_connection_noticing() {
    let origin = Origin::answering("ok");
    let (old, new, folder) = (Authority::new(), Authority::new(), TempDir::new());
    let write = |authority: &Authority| {
        let identity = authority.issue(&["api.test"]);
        fs::write(folder.join("chain.pem"), identity.chain).unwrap();
        fs::write(folder.join("key.pem"), identity.key).unwrap();
    };
    write(&old);
    let path = folder.path().display();
    let spec = format!(
        "{{ addresses: [\"127.0.0.1:0\"], protocol: HTTPS, tls: {{ certificates: [{{ chainRef: \"file://{path}/chain.pem\", keyRef: \"file://{path}/key.pem\" }}] }} }}"
    );
    let gate = Gate::start(&simple(&origin.url(), &[]).replace(WEB, &document("Listener", "web", &spec)));
    let kept = Client::https1(gate.web(), "api.test", &old.pem()).unwrap();
    assert_eq!(kept.get("/", &[]).status, 200);
    write(&new);
    gate.gateway.signal("HUP");
    wait("the new certificate", || {
        Client::https1(gate.web(), "api.test", &new.pem())
            .is_ok_and(|client| client.get("/", &[]).status == 200)
    });
    assert!(Client::https1(gate.web(), "api.test", &old.pem()).is_err());
    assert_eq!(kept.get("/", &[]).status, 200, "the kept connection was closed");
}

#[test]
fn two_hundred_reloads_under_load_fail_no_request_and_keep_no_memory() {
    let origin = Origin::answering("ok");
    let gate = Gate::start(&marked(&origin.url(), "0"));
    let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|number| {
            let address = gate.web();
            let (over, served) = (Arc::clone(&over), Arc::clone(&served));
            thread::spawn(move || {
                let kept = if number % 2 == 0 { Client::http1(address) } else { Client::http2(address) };
                while !over.load(Ordering::SeqCst) {
                    assert_eq!(kept.get("/", &[]).status, 200);
                    assert_eq!(Client::http1(address).get("/", &[]).status, 200);
                    served.fetch_add(2, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let mut resident = Vec::new();
    let begun = Instant::now();
    for number in 1..=200_u32 {
        gate.documents.write("gateway.yaml", marked(&origin.url(), &number.to_string()));
        gate.gateway.signal("HUP");
        // A hangup and a changed file may be one reload or two; the set in force says which was read.
        let begun = Instant::now();
        let wanted = number.to_string();
        while mark_of(&gate) != Some(wanted.clone()) {
            assert!(begun.elapsed() < Duration::from_secs(10), "reload {number} did not come");
        }
        if number % 50 == 0 {
            resident.push(gate.resident_kib());
        }
    }
    over.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.join().expect("no request failed");
    }
    assert!(served.load(Ordering::SeqCst) > 200, "{served:?} in {:?}", begun.elapsed());
    // Sets of this size that were kept would be some ten KiB each; what grows is bounded and small.
    assert!(resident[3] < resident[0] + 4 * 1024, "{resident:?} KiB after each 50 reloads");
    assert_eq!(gate.scrape().value(REFUSED), 0.0);
    let codes = gate.scrape().family("bartizan_http_requests_total");
    assert!(codes.keys().all(|series| series.contains("code=\"200\"")), "{codes:?}");
}
