//! Names and passwords, end to end.

use bartizan_testkit::{Documents, Origin};

use crate::harness::{Gate, document, simple, wait};

/// The password of `anna` is `correct horse`, that of `bert` is `b:c`; made with OWASP's least parameters.
const USERS: &str = "\
# people
anna:$argon2id$v=19$m=7168,t=5,p=1$c2l4dGVlbiBieXRlcyBvaw$ANNA
bert:$argon2id$v=19$m=7168,t=5,p=1$c2l4dGVlbiBieXRlcyBvaw$BERT:shop
ghost:$argon2id$v=19$m=7168,t=5,p=1$c2l4dGVlbiBieXRlcyBvaw$ANNA:nowhere
";

fn users() -> String {
    USERS.replace("$ANNA", &hash("correct horse")).replace("$BERT", &hash("b:c"))
}

fn hash(password: &str) -> String {
    let params = argon2::Params::new(7_168, 5, 1, Some(32)).unwrap();
    let mut made = [0; 32];
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(password.as_bytes(), b"sixteen bytes ok", &mut made)
        .unwrap();
    format!("${}", base64(&made).trim_end_matches('='))
}

fn base64(bytes: &[u8]) -> String {
    let alphabet: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']).collect();
    let bits: Vec<bool> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| (byte >> at) & 1 == 1)).collect();
    let letters: String = bits
        .chunks(6)
        .map(|chunk| {
            let number = chunk.iter().fold(0, |number, bit| number * 2 + usize::from(*bit));
            alphabet[number << (6 - chunk.len())]
        })
        .collect();
    let padding = "=".repeat((4 - letters.len() % 4) % 4);
    format!("{letters}{padding}")
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

fn set(url: &str, users: &str) -> Documents {
    let policy = document(
        "AuthenticationPolicy",
        "people",
        "{ methods: [{ type: Basic, basic: { usersRef: file://users.txt, realm: the shop } }], failures: { enabled: false } }",
    );
    let consumers = [document("Consumer", "anna", "{ roles: [buyer] }"), document("Consumer", "shop", "{}")];
    Documents::new([
        ("gateway.yaml", simple(url, &[&policy, &consumers[0], &consumers[1]]).as_str()),
        ("users.txt", users),
    ])
}

#[test]
fn a_name_with_its_password_calls_as_its_consumer_and_the_upstream_never_sees_either() {
    let origin = Origin::answering("ok");
    let gate = Gate::start_set(set(&origin.url(), &users()), |_| (), &[]);
    let malformed = [("authorization", "Basic !!!")];
    for (case, authorization, status, code, consumer) in [
        ("right", basic("anna", "correct horse"), 200, "", "anna"),
        ("a password with a colon, another consumer", basic("bert", "b:c"), 200, "", "shop"),
        ("wrong", basic("anna", "hunter2"), 401, "CredentialInvalid", ""),
        ("unknown", basic("nobody", "hunter2"), 401, "CredentialInvalid", ""),
        ("a consumer that no document has", basic("ghost", "correct horse"), 401, "CredentialInvalid", ""),
        ("malformed", malformed[0].1.to_owned(), 401, "CredentialInvalid", ""),
        ("another scheme", "Bearer abc".to_owned(), 401, "CredentialMissing", ""),
    ] {
        let answer = gate.get("/", &[("authorization", &authorization)]);
        assert_eq!(answer.status, status, "{case}");
        let received = origin.take();
        if status == 200 {
            assert_eq!(received[0].header("x-consumer-name"), Some(consumer), "{case}");
            assert_eq!(received[0].header("authorization"), None, "{case}");
            continue;
        }
        assert!(received.is_empty(), "{case} reached the origin");
        assert_eq!(answer.json()["code"], code, "{case}");
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge, Some("Basic realm=\"the shop\", charset=\"UTF-8\""), "{case}");
    }
    // Wrong and unknown cannot be told apart by what is answered.
    let [wrong, unknown] = ["anna", "nobody"].map(|user| {
        let mut answer = gate.get("/", &[("authorization", &basic(user, "hunter2"))]).json();
        answer.as_object_mut().unwrap().remove("requestId");
        answer
    });
    assert_eq!(wrong, unknown);
    let written = [gate.gateway.stdout(), gate.gateway.stderr()].concat().join("\n");
    for secret in ["correct horse", "hunter2", &basic("anna", "correct horse")[6..], "$argon2id$"] {
        assert!(!written.contains(secret), "{secret} was written");
        assert!(!gate.scrape().0.contains(secret), "{secret} is in the metrics");
    }
}

#[test]
fn a_password_that_held_is_not_hashed_again_and_a_changed_file_is_live_after_a_reload() {
    let origin = Origin::answering("ok");
    let gate = Gate::start_set(set(&origin.url(), &users()), |_| (), &[]);
    let anna = basic("anna", "correct horse");
    let client = gate.client();
    assert_eq!(client.get("/", &[("authorization", &anna)]).status, 200);
    // The quickest of many: a busy machine slows both, and only one of them hashes.
    let quickest = |authorization: &str, status: u16| {
        let times = (0..10).map(|_| {
            let begun = std::time::Instant::now();
            assert_eq!(client.get("/", &[("authorization", authorization)]).status, status);
            begun.elapsed()
        });
        times.min().unwrap()
    };
    let (held, hashed) = (quickest(&anna, 200), quickest(&basic("anna", "wrong"), 401));
    assert!(held * 3 < hashed, "{held:?} {hashed:?}");
    let changed = users().replace(&hash("correct horse"), &hash("battery staple"));
    std::fs::write(gate.documents.path().join("users.txt"), changed).unwrap();
    gate.gateway.signal("HUP");
    wait("the new password", || {
        gate.get("/", &[("authorization", &basic("anna", "battery staple"))]).status == 200
    });
    assert_eq!(gate.get("/", &[("authorization", &anna)]).status, 401);
}

#[test]
fn a_file_with_a_weak_hash_stops_the_start_and_is_told_without_its_content() {
    let weak = "anna:$argon2id$v=19$m=64,t=1,p=1$c2l4dGVlbiBieXRlcyBvaw$c2l4dGVlbiBieXRlcyBvaw\n";
    let set = set("http://127.0.0.1:1", weak);
    let data = bartizan_testkit::TempDir::new();
    let (code, _, refused) = bartizan_testkit::Gateway::starting("run")
        .arg("--config")
        .arg(set.path())
        .arg("--admin")
        .arg("127.0.0.1:0")
        .data_dir(data.path())
        .finish();
    assert_eq!(code, Some(2), "{refused}");
    assert!(refused.contains("users.txt: line 1: the parameters are weaker"), "{refused}");
    assert!(!refused.contains("c2l4dGVl"), "{refused}");
}
