//! Rollouts under live load: a bad candidate is found and taken back, a good one goes to the end, and neither minds that
//! a part of it restarts.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bartizan_testkit::{Client, Documents, Gateway, Origin, TempDir, gateway::command};
use serde_json::Value;

use crate::harness::{API_KEYS, document, key, simple};

const CONSUMERS: usize = 6;
const KEYS: usize = 60;

/// A set that asks for a key; `more` is added.
fn set(url: &str, more: &str) -> String {
    let consumers: Vec<String> =
        (0..CONSUMERS).map(|number| document("Consumer", &format!("team-{number}"), "{}")).collect();
    let mut parts = vec![API_KEYS.to_owned(), more.to_owned()];
    parts.extend(consumers);
    simple(url, &parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>())
}

/// Refuses calls whose slot is 95 to 99: five of a hundred, whoever makes them.
fn refuses_five_of_a_hundred() -> String {
    let check = "{ request: { check: [{ name: x-slot, pattern: \"[0-9]|[1-8][0-9]|9[0-4]\" }] } }";
    document("HeaderPolicy", "slots", check)
}

/// Changes nothing that a caller would notice.
fn marks() -> String {
    document("HeaderPolicy", "mark", "{ response: { set: [{ name: x-mark, value: candidate }] } }")
}

struct House {
    data: TempDir,
    keys: Vec<String>,
    origin: Origin,
}

impl House {
    fn new() -> House {
        let (origin, data) = (Origin::answering("ok"), TempDir::new());
        let keys = (0..KEYS).map(|n| key(data.path(), &format!("team-{}", n % CONSUMERS), None)).collect();
        let house = House { data, keys, origin };
        let (code, told) = house.ran(&["apply", "--reason", "first"], Some(&set(&house.origin.url(), "")));
        assert_eq!(code, 0, "{told}");
        house
    }

    fn start(&self) -> Gateway {
        let start = Gateway::starting("run").arg("--store").data_dir(self.data.path());
        start.arg("--admin").arg("127.0.0.1:0").arg("--workers").arg("2").start()
    }

    /// Another gateway on the same store, with a data directory of its own.
    fn second(&self, data: &TempDir) -> Gateway {
        let store = format!("sqlite:{}", self.data.path().display());
        let start = Gateway::starting("run").arg("--store").arg(&store).data_dir(data.path());
        start.arg("--admin").arg("127.0.0.1:0").arg("--workers").arg("1").start()
    }

    /// Runs a command with documents; its exit code and what it said.
    fn ran(&self, arguments: &[&str], documents: Option<&str>) -> (i32, String) {
        let data = self.data.path().display().to_string();
        let documents = documents.map(Documents::one);
        let path = documents.as_ref().map(|documents| documents.path().display().to_string());
        let mut all = [arguments, &["--data-dir", &data]].concat();
        if let Some(path) = &path {
            all.extend(["-f", path]);
        }
        let (code, out, err) = command(all);
        (code.unwrap(), format!("{out}{err}"))
    }

    fn begin(&self, candidate: &str, arguments: &[&str]) {
        let arguments = [&["rollout", "start", "--reason", "a trial"], arguments].concat();
        let (code, told) = self.ran(&arguments, Some(&set(&self.origin.url(), candidate)));
        assert_eq!(code, 0, "{told}");
    }

    fn status(&self) -> Value {
        status(self.data.path())
    }

    /// Waits until the rollout is there.
    #[track_caller]
    fn wait_for(&self, phase: &str) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.status();
            if status["phase"] == phase {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "still no {phase}: {status:#}");
            thread::sleep(Duration::from_millis(200));
        }
    }
}

fn status(data: &Path) -> Value {
    let data = data.display().to_string();
    let (_, out, err) = command(["rollout", "status", "--format", "json", "--data-dir", &data]);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"))
}

/// Callers that do not stop until they are told: each call with another key and slot.
struct Load {
    over: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    /// What went wrong, by key.
    refused: Arc<Mutex<BTreeMap<usize, u64>>>,
    callers: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn on(gateway: &Gateway, keys: &[String]) -> Load {
        let (over, calls) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let refused = Arc::<Mutex<BTreeMap<usize, u64>>>::default();
        let callers = (0..2_usize).map(|caller| {
            let (over, calls, refused) = (Arc::clone(&over), Arc::clone(&calls), Arc::clone(&refused));
            let (address, keys) = (gateway.address("web"), keys.to_vec());
            thread::spawn(move || {
                let client = Client::http1(address);
                let mut turn = caller * 7;
                while !over.load(Ordering::SeqCst) {
                    turn += 1;
                    // Slots are spread over the calls of each key as dice are.
                    let mixed = (turn as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                    let (who, slot) = (turn % keys.len(), ((mixed >> 33) % 100).to_string());
                    let answer = client.get("/", &[("x-api-key", &keys[who]), ("x-slot", &slot)]);
                    calls.fetch_add(1, Ordering::SeqCst);
                    if answer.status != 200 {
                        *refused.lock().unwrap().entry(who).or_default() += 1;
                    }
                }
            })
        });
        let callers = callers.collect();
        Load { over, calls, refused, callers }
    }

    /// How many calls there were, and how many of which key were refused.
    fn stop(self) -> (u64, BTreeMap<usize, u64>) {
        self.over.store(true, Ordering::SeqCst);
        for caller in self.callers {
            caller.join().unwrap();
        }
        (self.calls.load(Ordering::SeqCst), self.refused.lock().unwrap().clone())
    }
}

#[test]
fn a_policy_that_refuses_five_of_a_hundred_good_calls_is_found_and_taken_back() {
    let house = House::new();
    let gateway = house.start();
    let load = Load::on(&gateway, &house.keys);
    house.begin(
        &refuses_five_of_a_hundred(),
        &["--shadow", "0s", "--steps", "50%,100%", "--hold", "1h", "--guard", "refusals=+0.5%"],
    );
    let status = house.wait_for("rolled back");
    let why = status["moves"].as_array().unwrap().last().unwrap()["why"].as_str().unwrap().to_owned();
    assert!(why.starts_with("at 50%: ") && why.contains("(refusals=+0.5%)"), "{why}");
    assert!(gateway.wait_for_stderr("rollout stopped").contains("at 50%"));
    let told = house.ran(&["rollout", "status"], None);
    assert!(told.0 == 1 && told.1.contains("felt by") && told.1.contains("HeaderPolicy/slots"), "{}", told.1);

    // Whom it was felt by: callers of the candidate's share, about half of them, and nobody else.
    let counted = status["seen"]["candidate"]["refused"].as_u64().unwrap();
    let felt: u64 =
        status["felt"].as_object().unwrap().values().map(|one| one["refused"].as_u64().unwrap()).sum();
    assert_eq!(felt, counted, "{status:#}");
    assert!(
        status["felt"]
            .as_object()
            .unwrap()
            .keys()
            .all(|who| who.starts_with("team-") || who.starts_with("key ")),
        "{status:#}"
    );
    assert_eq!(status["seen"]["active"]["refused"], 0);
    thread::sleep(Duration::from_millis(1500));
    let (calls, refused) = load.stop();
    let all: u64 = refused.values().sum();
    println!(
        "found after {} calls of the candidate; {all} of {calls} calls were refused, of {} of {KEYS} keys",
        status["seen"]["candidate"]["calls"],
        refused.len()
    );
    assert!((KEYS / 5..KEYS * 4 / 5).contains(&refused.len()), "{} keys felt it", refused.len());
    assert!(counted <= all && all <= counted + 200, "{counted} of {all}");

    // It is over for everybody.
    let load = Load::on(&gateway, &house.keys);
    thread::sleep(Duration::from_secs(1));
    let (calls, refused) = load.stop();
    assert!(calls > 0 && refused.is_empty(), "{refused:?}");
    assert!(house.ran(&["history"], None).1.lines().count() >= 2);
}

#[test]
fn in_the_shadow_it_is_found_before_anybody_feels_it() {
    let house = House::new();
    let gateway = house.start();
    let load = Load::on(&gateway, &house.keys);
    house.begin(&refuses_five_of_a_hundred(), &["--shadow", "1h"]);
    let status = house.wait_for("rolled back");
    let why = status["moves"].as_array().unwrap().last().unwrap()["why"].as_str().unwrap().to_owned();
    assert!(why.starts_with("in the shadow: "), "{why}");
    let shadow = &status["seen"]["shadow"];
    let (judged, refused) = (shadow["judged"].as_u64().unwrap(), shadow["refused"].as_u64().unwrap());
    assert!(refused * 100 > judged * 2 && refused * 100 < judged * 9, "{refused} of {judged}: {shadow}");
    assert_eq!(shadow["policies"]["HeaderPolicy/slots"][0], refused);
    assert_eq!(
        status["examples"][0]["before"].as_str().unwrap(),
        "to upstream origin, route all",
        "{status:#}"
    );
    let (calls, refused) = load.stop();
    assert!(calls > judged / 2 && refused.is_empty(), "{refused:?}");
}

#[test]
fn a_good_candidate_goes_to_the_end_also_where_the_gateway_restarts_on_the_way() {
    let house = House::new();
    let mut gateway = house.start();
    let load = Load::on(&gateway, &house.keys);
    house.begin(&marks(), &["--shadow", "1s", "--steps", "20%,100%", "--hold", "2s", "--min-calls", "150"]);
    let shared = house.wait_for("share");
    assert_eq!(shared["moves"][0]["phase"], "shadow");
    // A caller stays on its side.
    let client = Client::http1(gateway.address("web"));
    let marked = |gateway: &Gateway, client: &Client| -> Vec<bool> {
        let _ = gateway;
        let ask = |key: &String| client.get("/", &[("x-api-key", key), ("x-slot", "1")]);
        house.keys.iter().map(|key| ask(key).header("x-mark").is_some()).collect()
    };
    gateway.wait_for_stderr("20%");
    let first = marked(&gateway, &client);
    let before = house.status();
    load.stop();

    gateway.signal("KILL");
    gateway.wait(Duration::from_secs(5));
    drop(client);
    gateway = house.start();
    gateway.wait_for_stderr("a candidate is tried");
    let client = Client::http1(gateway.address("web"));
    if before["step"] == "20%" && house.status()["step"] == "20%" {
        assert_eq!(marked(&gateway, &client), first, "the same callers as before the restart");
        assert!(first.iter().any(|marked| *marked) && !first.iter().all(|marked| *marked));
    }
    let load = Load::on(&gateway, &house.keys);
    let proved = house.wait_for("proved");
    let phases: Vec<&str> =
        proved["moves"].as_array().unwrap().iter().map(|one| one["phase"].as_str().unwrap()).collect();
    assert_eq!(phases, ["shadow", "share", "share", "proved"], "{proved:#}");
    assert!(marked(&gateway, &client).iter().all(|marked| *marked), "all callers are served by it");
    let promoted = house.ran(&["rollout", "promote", "--reason", "good"], None);
    assert_eq!(promoted.0, 0, "{}", promoted.1);
    gateway.wait_for_stderr("the revision is in force");
    assert!(marked(&gateway, &client).iter().all(|marked| *marked), "and nobody falls back");
    let (calls, refused) = load.stop();
    assert!(calls > 100 && refused.is_empty(), "{refused:?}");
    let again = house.ran(&["rollout", "abort", "--reason", "late"], None);
    assert!(again.0 == 1 && again.1.contains("is over"), "{}", again.1);
}

#[test]
fn two_gateways_on_one_store_give_the_same_callers_to_the_candidate_and_count_together() {
    let house = House::new();
    let (first, data) = (house.start(), TempDir::new());
    let second = house.second(&data);
    let load = [Load::on(&first, &house.keys), Load::on(&second, &house.keys)];
    house.begin(&marks(), &["--shadow", "0s", "--steps", "30%,60%", "--hold", "4s", "--min-calls", "200"]);
    for gateway in [&first, &second] {
        gateway.wait_for_stderr("a candidate is tried");
    }
    let sides = |gateway: &Gateway| -> Vec<bool> {
        let client = Client::http1(gateway.address("web"));
        let ask = |key: &String| client.get("/", &[("x-api-key", key), ("x-slot", "1")]);
        house.keys.iter().map(|key| ask(key).header("x-mark").is_some()).collect()
    };
    let mut same = false;
    for _ in 0..5 {
        // Both move within half a second of each other; then they agree about every caller.
        let (one, other) = (sides(&first), sides(&second));
        same = one == other && one.iter().any(|marked| *marked) && !one.iter().all(|marked| *marked);
        if same {
            break;
        }
    }
    assert!(same, "a caller is on the same side wherever it calls");
    let scrape = |gateway: &Gateway| {
        let admin = Client::http1(gateway.address("admin"));
        admin.get("/metrics", &[]).text().to_owned()
    };
    let shown = |gateway: &Gateway| {
        let text = scrape(gateway);
        text.contains("bartizan_rollout_share 0.")
            && text.contains("bartizan_rollout_step_requests{side=\"candidate\"")
    };
    let until = Instant::now() + Duration::from_secs(20);
    while !(shown(&first) && shown(&second)) {
        assert!(Instant::now() < until, "{}", scrape(&second));
        thread::sleep(Duration::from_millis(100));
    }
    let proved = house.wait_for("proved");
    // Each step is left once, whoever of the two did it.
    let phases: Vec<&str> =
        proved["moves"].as_array().unwrap().iter().map(|one| one["phase"].as_str().unwrap()).collect();
    assert_eq!(phases, ["share", "share", "proved"], "{proved:#}");
    let counted = proved["seen"]["candidate"]["calls"].as_u64().unwrap();
    let served: u64 = load.into_iter().map(|load| load.stop().0).sum();
    assert!(counted >= 200 && counted < served, "{counted} of {served}");
    let promoted = house.ran(&["rollout", "promote", "--reason", "good"], None);
    assert_eq!(promoted.0, 0, "{}", promoted.1);
    for gateway in [&first, &second] {
        gateway.wait_for_stderr("the revision is in force");
        assert!(sides(gateway).iter().all(|marked| *marked));
    }
}

#[test]
fn a_rollout_is_planned_begun_shown_and_ended_through_a_gateway_and_stands_in_the_audit_trail() {
    let house = House::new();
    let gateway = house.start();
    let (code, token) = house.ran(&["tokens", "create", "--name", "pipeline", "--role", "operator"], None);
    assert_eq!(code, 0, "{token}");
    let folder = TempDir::new();
    let secret = folder.path().join("token");
    std::fs::write(&secret, token.lines().find(|line| line.starts_with("bzt_")).unwrap()).unwrap();
    let server = format!("http://{}", gateway.address("admin"));
    let documents = Documents::one(set(&house.origin.url(), &marks()));
    let files = documents.path().display().to_string();
    let there = |arguments: &[&str]| {
        let at = ["--server", &server, "--token-file", secret.to_str().unwrap()];
        let (code, out, err) = command([&["rollout"], arguments, &at[..]].concat());
        (code.unwrap(), format!("{out}{err}"))
    };
    let (code, none) = there(&["status"]);
    assert_eq!(code, 1, "there is none yet: {none}");
    let asked = ["--reason", "a trial", "-f", &files, "--shadow", "1h"];
    let (code, planned) = there(&[&["plan"], &asked[..]].concat());
    assert!(
        code == 0 && planned.contains("watched for 3600 s") && planned.contains("refusals=+0.5%"),
        "{planned}"
    );
    assert_eq!(there(&["status"]).0, 1, "a plan begins nothing");
    let (code, begun) = there(&[&["start"], &asked[..]].concat());
    assert!(code == 0 && begun.contains("rollout 1 of revision r2-"), "{begun}");
    let (code, again) = there(&[&["start"], &asked[..]].concat());
    assert!(code == 1 && again.contains("under way"), "{again}");
    let (code, shown) = there(&["status"]);
    assert!(code == 0 && shown.contains("shadow") && shown.contains("by pipeline: a trial"), "{shown}");
    let (_, json) = there(&["status", "--format", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["phase"], &json["plan"]["steps"][0]), (&"shadow".into(), &100.into()), "{json:#}");
    let (code, wrong) = there(&["resume", "--reason", "x"]);
    assert!(code == 1 && wrong.contains("is not paused"), "{wrong}");
    assert_eq!(there(&["abort", "--reason", "enough"]).0, 0);
    assert_eq!(there(&["status"]).0, 1, "it was stopped");
    let refused = there(&["start", "9", "--reason", "x"]);
    assert!(refused.0 == 1 && refused.1.contains("no revision"), "{}", refused.1);
    let (_, auditor) = house.ran(&["tokens", "create", "--name", "auditor", "--role", "admin"], None);
    let bearer = format!("Bearer {}", auditor.lines().find(|line| line.starts_with("bzt_")).unwrap());
    let admin = Client::http1(gateway.address("admin")).with_authority("localhost");
    let trail = admin.get("/admin/v1/audit", &[("authorization", &bearer)]).text().to_owned();
    for action in ["rollout.start", "rollout.abort", "rollout.resume"] {
        assert!(trail.contains(action) && trail.contains("token:pipeline"), "{action}: {trail}");
    }
}

#[test]
fn what_cannot_be_tried_and_what_came_between_ends_it_and_says_why() {
    let house = House::new();
    let gateway = house.start();
    // Other addresses cannot be tried on a share of callers.
    let elsewhere = set(&house.origin.url(), "").replace("127.0.0.1:0", "127.0.0.2:0");
    let (code, told) = house.ran(&["rollout", "start", "--reason", "x", "--shadow", "0s"], Some(&elsewhere));
    assert_eq!(code, 0, "{told}");
    let status = house.wait_for("rolled back");
    let why = |status: &Value| {
        status["moves"].as_array().unwrap().last().unwrap()["why"].as_str().unwrap().to_owned()
    };
    assert!(why(&status).contains("Listener/web"), "{status:#}");

    house.begin(&marks(), &["--shadow", "1h"]);
    let second = house.ran(&["rollout", "start", "2", "--reason", "x"], None);
    assert!(second.0 == 1 && second.1.contains("under way"), "{}", second.1);
    let other = marks().replace("candidate", "other");
    assert_eq!(house.ran(&["apply", "--reason", "between"], Some(&set(&house.origin.url(), &other))).0, 0);
    let status = house.wait_for("aborted");
    assert!(why(&status).contains("became the active one meanwhile"), "{status:#}");

    let same = house.ran(&["rollout", "start", "--reason", "x"], Some(&set(&house.origin.url(), &other)));
    assert!(same.0 == 1 && same.1.contains("has these documents already"), "{}", same.1);
    let trail = house.ran(&["rollout", "start", "--reason", "x", "--guard", "speed=+1%"], Some("x"));
    assert_eq!(trail.0, 2, "{}", trail.1);
    drop(gateway);
}

const PATIENCE: Duration = Duration::from_secs(90);
