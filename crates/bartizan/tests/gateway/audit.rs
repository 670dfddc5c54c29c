//! The audit of a running gateway: what is in force is looked at when it changes, told once, and counted.

use bartizan_testkit::{Client, Documents, Gateway, Origin, TempDir};

use crate::harness::{API_KEYS, simple, wait};

fn gauge(gateway: &Gateway, gravity: &str) -> Option<u64> {
    let answer = Client::http1(gateway.address("admin")).get("/metrics", &[]);
    let text = answer.text();
    let line = format!("bartizan_audit_findings{{gravity=\"{gravity}\"}} ");
    text.lines().find_map(|found| found.strip_prefix(&line)).map(|value| value.parse().unwrap())
}

#[test]
fn a_set_in_force_is_audited_again_when_it_changes_and_what_is_new_is_told_once() {
    let (origin, data) = (Origin::answering("ok"), TempDir::new());
    let documents = Documents::one(simple(&origin.url(), &[API_KEYS]));
    let start = Gateway::starting("run").arg("--config").arg(documents.path()).data_dir(data.path());
    let gateway = start.arg("--admin").arg("127.0.0.1:0").arg("--workers").arg("1").start();
    wait("the first audit", || gauge(&gateway, "high").is_some());
    let told = |text: &str| gateway.stderr().iter().filter(|line| line.contains(text)).count();
    let (before, limits) = (gauge(&gateway, "high").unwrap(), told("BA-201"));
    assert_eq!(told("BA-101"), 0, "callers prove who they are");

    documents.write("gateway.yaml", simple(&origin.url(), &[]));
    wait("the audit of the changed set", || gauge(&gateway, "high").unwrap() > before);
    let line = gateway.wait_for_stderr("BA-101");
    assert!(line.contains("audit finding: Route/all has no AuthenticationPolicy"), "{line}");
    assert!(limits == 1 && before > 0, "callers are not limited");
    assert_eq!((told("BA-101"), told("BA-201")), (1, limits), "what was known is not told again");
}

#[test]
fn a_period_of_zero_audits_nothing() {
    let origin = Origin::answering("ok");
    let (documents, data) = (Documents::one(simple(&origin.url(), &[])), TempDir::new());
    let start = Gateway::starting("run").arg("--config").arg(documents.path()).data_dir(data.path());
    let gateway = start.arg("--admin").arg("127.0.0.1:0").arg("--audit-every").arg("0s").start();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(gauge(&gateway, "high"), None);
}
