//! Rotation: nobody is refused while both keys work, nobody gets in with the old one afterwards, and callers are told.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use bartizan_identity::KeyId;
use bartizan_store::{KeyRow, NewKey};
use bartizan_testkit::{Client, Documents, Gateway, Origin, TempDir, gateway::command};

use crate::harness::{API_KEYS, Gate, document, key, now_ms, simple, wait, with_store};

const DAY: u64 = 86_400_000;

fn ran(arguments: &[&str], data: &Path) -> String {
    let data = data.display().to_string();
    let (code, out, err) = command([arguments, &["--data-dir", &data]].concat());
    assert_eq!(code, Some(0), "{arguments:?}: {out}{err}");
    out
}

fn row(data: &Path, key: &str) -> KeyRow {
    let id = KeyId::recognise(key).unwrap();
    with_store(data, async |store| store.keys().show(&id).await.unwrap())
}

/// One of several callers with one key at one gateway, each call with the moments between which it was judged.
fn call(address: std::net::SocketAddr, key: &str) -> (u64, u16, u64) {
    let begun = now_ms();
    let status = Client::http1(address).get("/", &[("x-api-key", key)]).status.as_u16();
    (begun, status, now_ms())
}

#[test]
fn under_load_on_two_gateways_both_keys_work_through_the_overlap_and_the_old_one_never_after_it() {
    let (origin, shared, other) = (Origin::answering("ok"), TempDir::new(), TempDir::new());
    let documents = Documents::one(simple(&origin.url(), &[API_KEYS, &document("Consumer", "shop", "{}")]));
    let path = documents.path().display().to_string();
    ran(&["apply", "--reason", "a test", "-f", &path], shared.path());
    let start = |store: String, data: &TempDir| {
        let start = Gateway::starting("run").arg("--store").arg(store).data_dir(data.path());
        start.arg("--admin").arg("127.0.0.1:0").arg("--workers").arg("1").start()
    };
    let old = key(shared.path(), "shop", None);
    let store = format!("sqlite:{}", shared.path().display());
    let gateways = [start(store.clone(), &shared), start(store, &other)];
    let web: Vec<_> = gateways.iter().map(|gateway| gateway.address("web")).collect();

    // u64::MAX until the key is rotated.
    let end = Arc::new(AtomicU64::new(u64::MAX));
    let over = Arc::new(AtomicBool::new(false));
    let with_old: Vec<_> = (0..4)
        .map(|at| {
            let (address, old, end, over) = (web[at % 2], old.clone(), Arc::clone(&end), Arc::clone(&over));
            thread::spawn(move || {
                let (mut inside, mut after) = (0, 0);
                while !over.load(Ordering::SeqCst) {
                    let (begun, status, done) = call(address, &old);
                    let end = end.load(Ordering::SeqCst);
                    if done < end {
                        assert_eq!(status, 200, "{} ms before the end", end - done);
                        inside += 1;
                    } else if begun >= end + CLOCK_MS {
                        assert_eq!(status, 401, "{} ms after the end", begun - end);
                        after += 1;
                    }
                    thread::sleep(Duration::from_millis(3));
                }
                (inside, after)
            })
        })
        .collect();
    let new = ran(&["keys", "rotate", &old, "--overlap", "8s"], shared.path()).trim().to_owned();
    let rotated = row(shared.path(), &old);
    end.store(rotated.expires_at_ms.unwrap(), Ordering::SeqCst);
    let begun = now_ms();
    wait("both to know the new key", || web.iter().all(|address| call(*address, &new).1 == 200));
    assert!(now_ms() - begun < 1_500, "a second was promised, {} ms it took", now_ms() - begun);
    let with_new: Vec<_> = (0..2)
        .map(|at| {
            let (address, new, over) = (web[at], new.clone(), Arc::clone(&over));
            thread::spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    assert_eq!(call(address, &new).1, 200, "with the new key");
                    thread::sleep(Duration::from_millis(3));
                }
            })
        })
        .collect();
    let ended = end.load(Ordering::SeqCst) + 1_500;
    let told = |text: &str| {
        let lines = gateways.iter().flat_map(Gateway::stderr);
        lines.filter(|line| line.contains(text)).count()
    };
    while now_ms() < ended {
        thread::sleep(Duration::from_millis(20));
    }
    over.store(true, Ordering::SeqCst);
    for caller in with_old {
        let (inside, after) = caller.join().expect("the old key was judged by the overlap");
        assert!(inside > 20 && after > 5, "{inside} calls inside, {after} after");
    }
    with_new.into_iter().for_each(|caller| caller.join().expect("no call with the new key failed"));
    wait("the end to be told", || told("the key has ended") > 0);
    assert_eq!((told("the key was replaced and works on"), told("the key has ended")), (1, 1));
}

#[test]
fn in_an_emergency_all_keys_of_a_consumer_are_refused_by_both_gateways_within_a_second() {
    let (origin, shared, other) = (Origin::answering("ok"), TempDir::new(), TempDir::new());
    let consumers = ["shop", "office"].map(|name| document("Consumer", name, "{}"));
    let documents = Documents::one(simple(&origin.url(), &[API_KEYS, &consumers.join("---\n")]));
    let path = documents.path().display().to_string();
    ran(&["apply", "--reason", "a test", "-f", &path], shared.path());
    let store = format!("sqlite:{}", shared.path().display());
    let gateways = [&shared, &other].map(|data| {
        let start = Gateway::starting("run").arg("--store").arg(&store).data_dir(data.path());
        start.arg("--admin").arg("127.0.0.1:0").arg("--workers").arg("1").start()
    });
    let old = key(shared.path(), "shop", None);
    let new = ran(&["keys", "rotate", &old], shared.path()).trim().to_owned();
    let office = key(shared.path(), "office", None);
    let all = |keys: &[&String], status: u16| {
        let web = gateways.iter().map(|gateway| gateway.address("web"));
        web.flat_map(|web| keys.iter().map(move |key| call(web, key).1)).all(|found| found == status)
    };
    wait("the keys to be known", || all(&[&old, &new, &office], 200));
    ran(&["keys", "revoke", "--all", "--consumer", "shop"], shared.path());
    let begun = now_ms();
    wait("both to refuse them", || all(&[&old, &new], 401));
    // A busy machine is given a little more than the second that is promised.
    assert!(now_ms() - begun < 1_500, "{} ms it took", now_ms() - begun);
    assert!(all(&[&office], 200), "nobody else's");
}

/// A gateway's cores look at the clock once per turn of their loop.
const CLOCK_MS: u64 = 100;

/// A key that was made some days ago.
fn aged(data: &Path, consumer: &str, days: u64) -> String {
    let created = now_ms() - days * DAY;
    with_store(data, async |store| {
        let new = NewKey { consumer, label: None, expires_at_ms: None, created_by: None };
        store.keys().create(new, created).await.unwrap().1.expose().to_owned()
    })
}

#[test]
fn callers_with_an_ageing_key_are_told_since_when_and_until_when_and_too_old_ones_are_refused() {
    let origin = Origin::answering("ok");
    let policy = document(
        "KeyRotationPolicy",
        "keys",
        "{ maximumAge: 90d, ageingBefore: 30d, hardLimit: 30d, allowOverride: true }",
    );
    let silent = document(
        "KeyRotationPolicy",
        "silent",
        "{ targetRefs: [{ kind: Consumer, name: office }], maximumAge: 90d, announce: false }",
    );
    let consumers = [document("Consumer", "shop", "{}"), document("Consumer", "office", "{}")];
    let mut keys = Vec::new();
    let gate = Gate::start_with(
        &simple(&origin.url(), &[API_KEYS, &policy, &silent, &consumers[0], &consumers[1]]),
        |data| {
            for (consumer, days) in [("shop", 59), ("shop", 61), ("shop", 119), ("shop", 121), ("office", 61)]
            {
                keys.push(aged(data, consumer, days));
            }
        },
        &[],
    );
    let table = [
        ("young", 200, false, None),
        ("ageing", 200, true, Some("ageing")),
        ("past its maximum age", 200, true, Some("ageing")),
        ("past the hard limit", 401, false, None),
        ("ageing, of a policy that says nothing", 200, false, Some("ageing")),
    ];
    for (key, (case, status, told, state)) in keys.iter().zip(table) {
        let answer = gate.get("/", &[("x-api-key", key)]);
        assert_eq!(answer.status, status, "{case}");
        let created_s = row(gate.data(), key).created_at_ms / 1000;
        let since = format!("@{}", created_s + 60 * DAY / 1000);
        assert_eq!(answer.header("deprecation"), told.then_some(&*since), "{case}");
        let sunset = answer.header("sunset");
        assert_eq!(sunset.is_some(), told, "{case}");
        assert!(sunset.is_none_or(|date| date.len() == 29 && date.ends_with(" GMT")), "{sunset:?}");
        assert_eq!(gate.record_of(&answer)["key_state"].as_str(), state, "{case}");
        if status == 401 {
            assert_eq!(answer.json()["code"], "CredentialExpired", "{case}");
        }
    }
    // A replaced key says until when it works, even where it was young.
    ran(&["keys", "rotate", &keys[0], "--overlap", "1h"], gate.data());
    wait("the rotation to be known", || gate.get("/", &[("x-api-key", &keys[0])]).header("sunset").is_some());
    let answer = gate.get("/", &[("x-api-key", &keys[0])]);
    assert_eq!(answer.status, 200);
    let replaced_s = row(gate.data(), &keys[0]).replaced_at_ms.unwrap() / 1000;
    assert_eq!(answer.header("deprecation"), Some(&*format!("@{replaced_s}")));
    assert_eq!(gate.record_of(&answer)["key_state"], "overlapping");
    gate.gateway.wait_for_stderr("the key is ageing");
}
