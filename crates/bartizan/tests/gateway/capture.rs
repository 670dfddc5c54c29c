//! What is captured is judged again exactly as it was, with limits and throttling on two cores under load.

use std::{process::Command, thread};

use bartizan_testkit::{Client, Origin, Reply, TempDir};
use serde_json::Value;

use crate::harness::{API_KEYS, Gate, document, key, simple, wait};

fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bartizan")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn json(arguments: &[&str], expected: i32) -> Value {
    let (code, out, err) = run(arguments);
    assert_eq!(code, expected, "{out}{err}");
    serde_json::from_str(&out).unwrap()
}

/// Limits of each kind: by consumer with waiting, for the gateway as a whole, at once, and one that only watches.
fn set(url: &str, mine: u32) -> String {
    let limit = |name: &str, spec: &str| document("RateLimitPolicy", name, spec);
    let mine = format!(
        "{{ limits: {{ requests: {mine}, timeWindow: 1s, burst: 5 }}, action: {{ type: Throttle, maxRetry: 3 }} }}"
    );
    let all = "{ key: [gateway], limits: [{ requests: 60, timeWindow: 1s, burst: 40 }, { requests: 5000, timeWindow: 1h }] }";
    let watched = "{ key: [clientAddress], limits: { requests: 10, timeWindow: 1s }, mode: shadow }";
    let consumers = ["anna", "bert", "carl"].map(|name| document("Consumer", name, "{}")).join("---\n");
    let headers =
        document("HeaderPolicy", "named", "{ request: { check: [{ name: x-mark, required: true }] } }");
    simple(
        url,
        &[
            API_KEYS,
            &consumers,
            &headers,
            &limit("mine", &mine),
            &limit("all", all),
            &limit("watched", watched),
        ],
    )
}

#[test]
fn a_whole_capture_under_load_replays_without_a_difference() {
    let origin = Origin::start(|_| Reply::ok("here"));
    let mut keys = Vec::new();
    let documents = set(&origin.url(), 40);
    let gate = Gate::start_with(
        &documents,
        |data| keys = ["anna", "bert", "carl"].map(|name| key(data, name, None)).to_vec(),
        &[],
    );
    let data = gate.data().to_str().unwrap().to_owned();
    let folder = TempDir::new();
    let (file, secret) = (folder.path().join("traffic.capture"), folder.path().join("capture.key"));
    let (file, secret) = (file.to_str().unwrap(), secret.to_str().unwrap());
    let begun = json(
        &[
            "capture",
            file,
            "--key-file",
            secret,
            "--sample",
            "100",
            "--whole",
            "--for",
            "5m",
            "--data-dir",
            &data,
            "--format",
            "json",
        ],
        0,
    );
    assert_eq!(begun["isTaking"], true, "{begun}");

    let address = gate.web();
    let callers: Vec<_> = (0..6)
        .map(|number: usize| {
            let key = match number {
                0..=3 => Some(keys[number % 3].clone()),
                4 => Some("no key at all".to_owned()),
                _ => None,
            };
            thread::spawn(move || {
                let client = Client::http1(address).with_authority("api.test");
                for turn in 0..120 {
                    let path = format!("/orders/{turn}?page={number}");
                    let mut headers = vec![("x-mark", "1")];
                    if turn % 20 == 19 {
                        headers.clear();
                    }
                    if let Some(key) = &key {
                        headers.push(("x-api-key", key));
                    }
                    client.get(&path, &headers);
                }
            })
        })
        .collect();
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    let state = || json(&["capture", "--data-dir", &data, "--format", "json"], 0);
    wait("all requests to be in the file", || state()["records"] == 720);
    let ended = json(&["capture", "--stop", "--data-dir", &data, "--format", "json"], 0);
    assert_eq!((&ended["isTaking"], &ended["records"]), (&false.into(), &720.into()), "{ended}");

    let bytes = std::fs::read(file).unwrap();
    assert!(!bytes.windows(6).any(|part| part == b"orders"), "it is encrypted");
    let same = gate.documents.path().to_str().unwrap().to_owned();
    let replay = |against: &str, more: &[&str], code| {
        let arguments =
            [&["replay", file, "--key-file", secret, "--against", against, "--format", "json"], more]
                .concat();
        json(&arguments, code)
    };
    let report = replay(&same, &["--limits", "recorded"], 0);
    assert_eq!((&report["different"], &report["notJudgeable"]), (&0.into(), &0.into()), "{report}");
    assert_eq!((&report["requests"], &report["limits"]), (&720.into(), &"recorded".into()));
    // The limits did something, or this would prove nothing.
    let hits = |policy: &str| {
        let hits = report["limitsHit"].as_array().unwrap();
        hits.iter().find(|one| one["policy"] == policy).and_then(|one| one["candidate"].as_u64())
    };
    assert!(hits("RateLimitPolicy/all") > Some(50) && hits("(throttled)") > Some(0), "{report}");

    // A header that nobody sends is a difference, and the capture cannot be read by another key.
    let next = folder.path().join("next.yaml");
    std::fs::write(&next, set(&origin.url(), 40).replace("x-mark", "x-other")).unwrap();
    let report = replay(next.to_str().unwrap(), &[], 1);
    assert!(report["different"].as_u64() > Some(100), "{report}");
    let other = folder.path().join("other.key");
    bartizan_telemetry::capture::CaptureKey::create(&other).unwrap();
    let (code, _, err) = run(&["replay", file, "--key-file", other.to_str().unwrap(), "--against", &same]);
    assert_eq!(code, 2);
    assert!(err.contains("the key is another"), "{err}");
}

#[test]
fn a_capture_holds_no_credential_and_without_whole_no_more_of_a_head_than_the_log() {
    let origin = Origin::start(|_| Reply::ok("here"));
    let mut anna = String::new();
    let documents = simple(&origin.url(), &[API_KEYS, &document("Consumer", "anna", "{}")]);
    let gate = Gate::start_with(&documents, |data| anna = key(data, "anna", None), &[]);
    let data = gate.data().to_str().unwrap().to_owned();
    let folder = TempDir::new();
    let secret = folder.path().join("capture.key");
    for (name, whole) in [("whole", true), ("shown", false)] {
        let file = folder.path().join(name);
        let mut arguments = vec!["capture", file.to_str().unwrap(), "--key-file", secret.to_str().unwrap()];
        arguments.extend(["--sample", "100%", "--data-dir", &data]);
        if whole {
            arguments.push("--whole");
        }
        let (code, out, err) = run(&arguments);
        assert_eq!(code, 0, "{out}{err}");
        let headers = [("x-api-key", anna.as_str()), ("cookie", "session=s3cret"), ("x-note", "seen")];
        assert_eq!(gate.client().get("/a?token=t0ken", &headers).status, 200);
        let state = || json(&["capture", "--data-dir", &data, "--format", "json"], 0);
        wait("the request to be in the file", || state()["records"] == 1);
        assert_eq!(run(&["capture", "--stop", "--data-dir", &data]).0, 0);
        let key = bartizan_telemetry::capture::CaptureKey::read(&secret).unwrap();
        let bytes = std::fs::read(&file).unwrap();
        let mut reader = bartizan_telemetry::capture::CaptureReader::begin(bytes.as_slice(), &key).unwrap();
        let record = String::from_utf8(reader.next_record().unwrap().unwrap().to_vec()).unwrap();
        assert!(!record.contains("s3cret") && !record.contains(&anna), "{record}");
        assert_eq!((record.contains("t0ken"), record.contains("seen")), (whole, whole), "{record}");
    }
    // Nobody takes an order twice, nor into a file that is there.
    let there = folder.path().join("whole");
    let (code, out, _) = run(&[
        "capture",
        there.to_str().unwrap(),
        "--key-file",
        secret.to_str().unwrap(),
        "--data-dir",
        &data,
    ]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("exists"), "{out}");
}
