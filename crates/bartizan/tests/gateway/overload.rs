//! Overload: what is refused first, what is not refused at all, and that it ends when the pressure does.

use std::{
    error::Error as _,
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_config::{Set, source::Sources};
use bartizan_identity::KeyTable;
use bartizan_proxy::{
    gate::{Gate as InProcess, GateOptions},
    overload::Overload,
};
use bartizan_telemetry::Metrics;
use bartizan_testkit::{Client, Documents, Origin, Raw, Reply};

use crate::{
    harness::{Gate, WEB, document, simple, upstream, wait},
    inspection::{OWN, policy},
};

/// A gateway of one core in this process, and what tells it how hard it is pressed.
struct Pressed {
    gate: InProcess,
    overload: Arc<Overload>,
}

impl Pressed {
    fn start(documents: &str) -> Pressed {
        let set = Set::from_sources(Sources::from_texts([("gateway.yaml", documents)]));
        let overload: Arc<Overload> = Arc::default();
        let options = GateOptions {
            overload: overload.clone(),
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
        let snapshot = set.compiled.snapshot.expect("the documents are sound");
        Pressed { gate: InProcess::start(snapshot, options).expect("it starts"), overload }
    }

    /// So much memory of a thousand is used from now on, and the core knows it.
    fn press(&self, thousandths: u64) {
        self.overload.note_memory(thousandths, 1_000);
        let gauge = self.overload.core(0);
        wait("a beat", || u64::from(gauge.memory().thousandths()) == thousandths);
    }

    fn client(&self) -> Client {
        Client::http1(self.gate.addresses()[0].address).with_authority("api.test")
    }

    /// How often a step was taken.
    fn took(&self, step: &str) -> u64 {
        let figures = self.overload.figures();
        figures.taken.iter().find(|(known, _)| *known == step).map_or(0, |(_, times)| *times)
    }
}

/// A route below a path of its priority's name for each priority.
fn by_priority(origin: &Origin) -> String {
    let rules: Vec<String> = ["Critical", "High", "Normal", "Low"]
        .iter()
        .map(|priority| {
            format!(
                "{{ matches: [{{ path: {{ value: /{priority} }} }}], backendRefs: [{{ name: origin }}], \
                 priority: {priority} }}"
            )
        })
        .collect();
    let routes = document("Route", "all", &format!("{{ rules: [{}] }}", rules.join(", ")));
    [WEB.to_owned(), upstream("origin", &[&origin.url()]), routes].join("---\n")
}

#[test]
fn what_matters_least_is_refused_first_and_everything_is_served_again_afterwards() {
    let origin = Origin::answering("ok");
    let pressed = Pressed::start(&by_priority(&origin));
    let client = pressed.client();
    let statuses = || {
        ["Critical", "High", "Normal", "Low"].map(|priority| client.get(&format!("/{priority}"), &[]).status)
    };
    for (thousandths, expected) in [
        (0, [200, 200, 200, 200]),
        (890, [200, 200, 200, 200]),
        (945, [200, 200, 0, 503]),
        (985, [200, 0, 503, 503]),
        (999, [200, 503, 503, 503]),
        (500, [200, 200, 200, 200]),
    ] {
        pressed.press(thousandths);
        for (priority, (status, expected)) in statuses().iter().zip(expected).enumerate() {
            // 0: a share of these is refused, and the draw decides.
            assert!(expected == 0 || *status == expected, "{priority} at {thousandths}: {status}");
        }
    }
    pressed.press(999);
    let answer = client.get("/Low", &[]);
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (503, &"Overloaded".into()));
    let seconds: u64 = answer.header("retry-after").expect("when to come again").parse().unwrap();
    assert!((1..=4).contains(&seconds), "{seconds}");
    assert!(!answer.text().contains("memory"), "the inside is told: {}", answer.text());
    assert!(pressed.took("shed") >= 5, "{}", pressed.took("shed"));
    pressed.gate.stop();
}

#[test]
fn under_pressure_an_http2_connection_has_one_stream_and_the_others_may_be_sent_again() {
    let slow = Origin::start(|_| Reply::ok("ok").after(Duration::from_millis(300)));
    let pressed = Pressed::start(&simple(&slow.url(), &[]));
    let client = Client::http2(pressed.gate.addresses()[0].address).with_authority("api.test");
    let ask = || {
        let requests = (0..4).map(|_| client.request("GET", "/").body(Default::default()).unwrap()).collect();
        client.send_all(requests)
    };
    assert!(ask().iter().all(Result::is_ok), "without pressure all are served");
    pressed.press(860);
    let answers = ask();
    let served = answers.iter().filter(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200));
    assert_eq!(served.count(), 1);
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        // RFC 9113 §8.7: the one code that says that nothing was done.
        let reason = error.source().map(ToString::to_string).unwrap_or_default();
        assert!(reason.contains("refused stream"), "{error}: {reason}");
    }
    assert_eq!((pressed.took("no_new_streams"), slow.received().len()), (3, 5));
    pressed.press(100);
    assert!(ask().iter().all(Result::is_ok), "the connection is spoilt");
    pressed.gate.stop();
}

#[test]
fn nobody_is_accepted_while_nothing_is_left_and_who_waited_is_served() {
    let origin = Origin::answering("ok");
    let pressed = Pressed::start(&simple(&origin.url(), &[]));
    let address = pressed.gate.addresses()[0].address;
    pressed.press(1_000);
    // The one connection that the accept loop was asked for already.
    drop(Client::http1(address).with_authority("api.test").get("/", &[]));
    let mut waiting = Raw::connect(address).with_timeout(Duration::from_secs(20));
    waiting.send("GET / HTTP/1.1\r\nHost: api.test\r\n\r\n");
    assert!(!waiting.is_closed_within(Duration::from_millis(400)));
    assert_eq!(origin.received().len(), 0, "nothing was served under full pressure");
    wait("the accepting to stop", || pressed.took("stop_accepting") == 1);
    pressed.press(10);
    assert_eq!(waiting.answer().status, 200);
    pressed.gate.stop();
}

#[test]
fn idle_connections_are_closed_early() {
    let origin = Origin::answering("ok");
    let pressed = Pressed::start(&simple(&origin.url(), &[]));
    let mut idle = Raw::connect(pressed.gate.addresses()[0].address).with_timeout(Duration::from_secs(30));
    idle.send("GET / HTTP/1.1\r\nHost: api.test\r\n\r\n");
    assert_eq!(idle.answer().status, 200);
    pressed.press(810);
    let begun = Instant::now();
    // 75 s without pressure.
    assert!(idle.is_closed_within(Duration::from_secs(25)));
    assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(pressed.took("short_idle"), 1);
    pressed.gate.stop();
}

/// The head of a request with a body of 48 MiB.
const HEAVY: &str = "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 50331648\r\n\r\n";

#[test]
fn the_request_that_holds_the_memory_is_ended_and_all_others_are_served_again() {
    let origin = Origin::answering("ok");
    let listener = WEB.replace("\"] }", "\"], admission: { bodyBytes: 64MiB } }");
    let documents = simple(&origin.url(), &[&policy("own", ", request: { bodyBytes: 64MiB }")]);
    let files = Documents::new([
        ("gateway.yaml", documents.replace(WEB, &listener).as_str()),
        ("rules/own.conf", OWN),
    ]);
    // What the process takes by itself, and not twice the body.
    let gate = Gate::start_set(files, |_| (), &["--memory", "96MiB", "--audit-every", "0s"]);
    assert_eq!(gate.get("/", &[]).status, 200);
    let mut heavy = gate.raw().with_timeout(Duration::from_secs(60));
    heavy.send(HEAVY);
    // All but the last byte, as fast as it is taken; it is not taken to the end.
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..47 {
        if heavy.try_send(&piece).is_err() {
            break;
        }
    }
    let reset = || gate.scrape().value("bartizan_overload_steps_total{step=\"reset\"}");
    wait("the request to be ended", || {
        let admin = Client::http1(gate.gateway.address("admin"));
        assert_eq!(admin.get("/healthz", &[]).status, 200, "management is not reachable");
        reset() >= 1.0
    });
    wait("others to be served again", || gate.get("/", &[]).status == 200);
    assert_eq!(gate.scrape().value("bartizan_held_body_bytes"), 0.0, "the ledger returns to zero");
    assert!(origin.received().iter().all(|request| request.method == "GET"));
}
