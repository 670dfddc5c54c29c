use std::time::Duration;

use super::*;

/// The password is `correct horse`, with OWASP's parameters.
fn hash(password: &str, memory: u32, passes: u32) -> String {
    use argon2::{Algorithm, Argon2, Params, Version};
    let params = Params::new(memory, passes, 1, Some(32)).unwrap();
    let mut made = [0; 32];
    let salt = *b"sixteen bytes ok";
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), &salt, &mut made)
        .unwrap();
    format!("$argon2id$v=19$m={memory},t={passes},p=1${}${}", encode(&salt), encode(&made))
}

fn encode(bytes: &[u8]) -> String {
    let alphabet: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']).collect();
    let bits: Vec<bool> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1 == 1)).collect();
    bits.chunks(6)
        .map(|chunk| {
            let number = chunk.iter().fold(0, |number, bit| number * 2 + usize::from(*bit));
            alphabet[number << (6 - chunk.len())]
        })
        .collect()
}

fn credentials(text: &str) -> BasicCredentials {
    BasicCredentials::read(format!("Basic {}", encode(text.as_bytes())).as_bytes()).unwrap().unwrap()
}

fn users() -> BasicUsers {
    let good = hash("correct horse", 7_168, 5);
    let text = format!("# people\nanna:{good}\n\nbert@example.org:{}:shop\n", hash("b:c", 7_168, 5));
    BasicUsers::parse(text.as_bytes(), &[7; 32]).unwrap()
}

#[test]
fn a_name_with_its_password_is_its_consumer_and_everything_else_is_nobody() {
    let users = users();
    for (text, consumer) in [
        ("anna:correct horse", Some("anna")),
        ("bert@example.org:b:c", Some("shop")),
        ("anna:correct horse ", None),
        ("anna:", None),
        ("Anna:correct horse", None),
        ("anna:b:c", None),
        ("shop:b:c", None),
        ("nobody:correct horse", None),
        ("nobody:b:c", None),
    ] {
        let judged = users.judge(&credentials(text)).map(|identity| identity.consumer.to_string());
        assert_eq!(judged.as_deref(), consumer, "{text}");
    }
}

#[test]
fn another_scheme_is_absent_and_a_malformed_token_is_not() {
    for value in ["Bearer abc", "Basically abc", "", "Digest x"] {
        assert!(BasicCredentials::read(value.as_bytes()).is_none(), "{value}");
    }
    let nul = encode(b"anna:\0");
    let long = "QUFB".repeat(2_000);
    for token in ["", "!!!", "YW5uYQ==", "OmE=", &nul, &long] {
        let value = format!("Basic {token}");
        assert_eq!(BasicCredentials::read(value.as_bytes()).unwrap().unwrap_err(), Malformed, "{value:.20}");
    }
    assert_eq!(BasicCredentials::read(b"bAsIc YTpi").unwrap().unwrap().user(), "a");
    assert_eq!(BasicCredentials::read(b"basic").unwrap().unwrap_err(), Malformed);
}

#[test]
fn a_file_that_cannot_be_used_is_told_line_by_line_without_its_content() {
    let good = hash("x", 7_168, 5);
    let text = format!(
        "anna:{good}\nanna:{good}\nplain:hunter2\nold:$2b$12$abcdefghijklmnopqrstuv\n{}\n{}\n:{good}\na:{good}:b:c\n",
        "weak:$argon2id$v=19$m=4096,t=1,p=1$c2l4dGVlbiBieXRlcyBvaw$c2l4dGVlbiBieXRlcyBvaw",
        "huge:$argon2id$v=19$m=4194304,t=3,p=1$c2l4dGVlbiBieXRlcyBvaw$c2l4dGVlbiBieXRlcyBvaw",
    );
    let problems = BasicUsers::parse(text.as_bytes(), &[0; 32]).unwrap_err();
    assert_eq!(problems.len(), 7, "{problems:#?}");
    for (problem, expected) in problems.iter().zip([
        "line 2: the user is listed twice",
        "line 3: the password is no hash",
        "line 4: the password is no hash",
        "line 5: the parameters are weaker",
        "line 6: the parameters cost more",
        "line 7: there is no name",
        "line 8: it is not",
    ]) {
        assert!(problem.starts_with(expected), "{problem} / {expected}");
        assert!(!problem.contains("hunter2") && !problem.contains("anna"), "{problem}");
    }
    assert_eq!(BasicUsers::parse(b"# nobody\n", &[0; 32]).unwrap_err(), ["there is no user in it"]);
}

#[test]
fn what_held_is_believed_for_a_while_and_only_with_the_same_file_name_and_password() {
    let (users, verified) = (users(), Verified::new(&[3; 32]));
    let anna = credentials("anna:correct horse");
    let key = verified.key_of(&users, &anna);
    let now = Duration::from_secs(100);
    assert_eq!(verified.get(&key, now), None);
    let identity = users.judge(&anna).unwrap();
    verified.put(key, &identity, now);
    assert_eq!(verified.get(&key, now + VERIFIED_FOR - Duration::from_millis(1)), Some(identity.clone()));
    assert_eq!(verified.get(&key, now + VERIFIED_FOR), None);
    for other in ["anna:correct hors", "ann:acorrect horse", "bert@example.org:correct horse"] {
        assert_eq!(verified.get(&verified.key_of(&users, &credentials(other)), now), None, "{other}");
    }
    let changed =
        BasicUsers::parse(format!("anna:{}\n", hash("new", 7_168, 5)).as_bytes(), &[7; 32]).unwrap();
    assert_eq!(verified.get(&verified.key_of(&changed, &anna), now), None);
    // Bounded, and the newest stays.
    for at in 0..20_000_u64 {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&at.to_be_bytes());
        bytes[31] = at as u8;
        verified.put(VerifiedKey(bytes), &identity, now + Duration::from_nanos(at));
        assert!(verified.get(&VerifiedKey(bytes), now).is_some());
    }
    assert!(verified.count() <= 4_096, "{}", verified.count());
}

#[test]
fn an_unknown_name_costs_what_a_wrong_password_costs() {
    let users = users();
    let time = |text: &str| {
        let credentials = credentials(text);
        let mut times: Vec<_> = (0..7)
            .map(|_| {
                let begun = std::time::Instant::now();
                assert!(users.judge(&credentials).is_none());
                begun.elapsed()
            })
            .collect();
        times.sort();
        times[0].as_secs_f64()
    };
    let (wrong, unknown) = (time("anna:wrong"), time("nobody:wrong"));
    assert!((0.5..2.0).contains(&(wrong / unknown)), "{wrong} {unknown}");
}
