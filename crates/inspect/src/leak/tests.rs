use std::sync::Arc;

use super::*;

fn all() -> LeakScanner {
    LeakScanner::new(LeakClass::ALL).unwrap()
}

/// Written in two halves, so that no scanner of repositories takes an example for a secret.
fn joined(halves: &[&str]) -> String {
    halves.concat()
}

fn random(length: usize) -> String {
    "aB3dE5fG7hJ9kL2mN4pQ6rS8tU1vW3xY5zA7bC9dE2fG4hJ6kL8mN1pQ3rS5tU7vW9xY2zB4"
        .chars()
        .cycle()
        .take(length)
        .collect()
}

/// For each class a text that is one and the nearest that is not.
fn cases() -> Vec<(LeakClass, String, String)> {
    use LeakClass as Class;
    let r = random;
    let base32 = "Q2W3E4R5T6Y7UAIO";
    let hex = |length: usize| "0123456789abcdef".chars().cycle().take(length).collect::<String>();
    let own = |good: bool| {
        let covered = joined(&["bz", "k_", &r(12), "_", &r(43)]);
        let mut value = crc32fast::hash(covered.as_bytes());
        let mut sum = Vec::new();
        for _ in 0..6 {
            sum.push(
                b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[(value % 62) as usize],
            );
            value /= 62;
        }
        sum.reverse();
        let sum = String::from_utf8(sum).unwrap();
        if good {
            format!("{covered}{sum}")
        } else {
            format!("{covered}{}", sum.chars().rev().collect::<String>())
        }
    };
    vec![
        (Class::AnthropicKey, joined(&["sk-", "ant-api03-", &r(80)]), joined(&["sk-", "ant-short"])),
        (Class::AwsAccessKey, joined(&["AK", "IA", base32]), joined(&["XAK", "IA", base32])),
        (
            Class::AwsSecretKey,
            joined(&["\"Secret", "AccessKey\": \"", &r(40)]),
            joined(&["Secret", "AccessKey is ", &r(40)]),
        ),
        (
            Class::AzureStorageKey,
            joined(&["Account", "Key=", &r(86), "=="]),
            joined(&["Account", "Key=short"]),
        ),
        (Class::BartizanKey, own(true), own(false)),
        (
            Class::ConnectionPassword,
            joined(&["postgres", "://app:hunter2@db/x"]),
            joined(&["postgres", "://app:${PASSWORD}@db/x"]),
        ),
        (Class::DigitalOceanToken, joined(&["dop_", "v1_", &hex(64)]), joined(&["dop_", "v1_", &hex(63)])),
        (Class::GitHubToken, joined(&["gh", "p_", &r(36)]), joined(&["gh", "p_", &"x".repeat(36)])),
        (Class::GitHubToken, joined(&["github_", "pat_", &r(82)]), joined(&["github_", "pat_"])),
        (Class::GitLabToken, joined(&["glpa", "t-", &r(20)]), joined(&["glpa", "t-", &r(12)])),
        (Class::GoogleKey, joined(&["AI", "za", &r(35)]), joined(&["AI", "za", &r(34)])),
        (Class::GoogleKey, joined(&["GOC", "SPX-", &r(28)]), joined(&["GOC", "SPX-"])),
        (Class::HuggingFaceToken, joined(&["h", "f_", &r(34)]), joined(&["h", "f_hub"])),
        (Class::NpmToken, joined(&["np", "m_", &r(36)]), joined(&["np", "m_config_registry"])),
        (Class::OpenAiKey, joined(&["sk-", "proj-", &r(60)]), joined(&["sk-", "project"])),
        (Class::OpenAiKey, joined(&["sk-", &r(20), "T3Blbk", "FJ", &r(20)]), joined(&["T3Blbk", "FJ"])),
        (
            Class::PrivateKey,
            joined(&["-----BEGIN RSA ", "PRIVATE KEY-----\nMII\n-----END RSA ", "PRIVATE KEY-----"]),
            "-----BEGIN PUBLIC KEY-----\nMII\n-----END PUBLIC KEY-----".to_owned(),
        ),
        (Class::PypiToken, joined(&["pypi-", "AgEIcHlwaS5vcmc", &r(60)]), "pypi-server".to_owned()),
        (Class::SendGridKey, joined(&["S", "G.", &r(22), ".", &r(43)]), joined(&["S", "G.", &r(22)])),
        (Class::ShopifyToken, joined(&["shp", "at_", &hex(32)]), joined(&["shp", "at_", &hex(31)])),
        (Class::SlackToken, joined(&["xox", "b-123456789012-", &r(24)]), joined(&["xox", "b-"])),
        (
            Class::SlackToken,
            joined(&["https://hooks.slack", ".com/services/T0AB1CD2E/B0AB1CD2E/", &r(24)]),
            joined(&["https://hooks.slack", ".com/services/"]),
        ),
        (Class::StripeKey, joined(&["sk_", "live_", &r(24)]), joined(&["sk_", "test_", &r(24)])),
        (Class::VaultToken, joined(&["hv", "s.", &r(95)]), "hvs.example".to_owned()),
        (
            Class::JsonWebToken,
            "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLWhlcmUtaXMtbG9uZw".to_owned(),
            "eyJhbGciOiJFZERTQSJ9.x.y".to_owned(),
        ),
        (
            Class::DotnetTrace,
            "   at Shop.Buy(Int32 id) in /srv/Shop.cs:line 42".to_owned(),
            "see Shop.cs: line by line".to_owned(),
        ),
        (Class::GoTrace, "goroutine 17 [running]:".to_owned(), "goroutine 17 runs".to_owned()),
        (
            Class::JavaTrace,
            "\tat com.example.Shop.buy(Shop.java:42)".to_owned(),
            "Shop.java: the file".to_owned(),
        ),
        (
            Class::NodeTrace,
            "    at buy (/srv/app/shop.js:42:7)".to_owned(),
            "load /assets/shop.js:v2".to_owned(),
        ),
        (
            Class::PhpTrace,
            "#0 /srv/shop.php(42): buy()".to_owned(),
            "https://example.com/shop.php:80".to_owned(),
        ),
        (Class::PhpTrace, "Warning: x in /srv/shop.php on line 42".to_owned(), "shop.php online".to_owned()),
        (
            Class::PythonTrace,
            "  File \"/srv/shop.py\", line 42, in buy".to_owned(),
            "the file shop.py, line by line".to_owned(),
        ),
        (Class::RubyTrace, "/srv/shop.rb:42:in `buy'".to_owned(), "shop.rb:42".to_owned()),
        (
            Class::RustTrace,
            "thread 'main' panicked at src/main.rs:4:2:".to_owned(),
            "he panicked at noon".to_owned(),
        ),
        (Class::SqlError, "ORA-00933: SQL command not properly ended".to_owned(), "AURORA-12345".to_owned()),
        (
            Class::SqlError,
            "You have an error in your SQL syntax; check".to_owned(),
            "an error in your syntax".to_owned(),
        ),
    ]
}

#[test]
fn every_class_is_found_and_the_nearest_text_is_not() {
    let scanner = all();
    let mut seen = Vec::new();
    for (class, leak, ordinary) in cases() {
        seen.push(class);
        for body in [
            leak.clone(),
            format!("{{\"a\": {}}}", serde_json::Value::from(leak.as_str())),
            format!("x\n{leak}\ny"),
        ] {
            let found = scanner.scan(body.as_bytes());
            assert!(found.found.iter().any(|leak| leak.class == class), "{class:?} is not found: {found:?}");
        }
        assert_eq!(
            scanner.scan(ordinary.as_bytes()).counts().get(&class),
            None,
            "{class:?} is found in {ordinary}"
        );
    }
    let missing: Vec<_> = LeakClass::ALL.iter().filter(|class| !seen.contains(class)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_masked_body_has_its_length_and_stays_json_and_holds_no_secret() {
    let scanner = all();
    for (class, leak, _) in cases() {
        let body = serde_json::json!({ "before": "x", "text": format!("a\n\t{leak}\n\"b\""), "after": [1] })
            .to_string();
        let mut masked = body.clone().into_bytes();
        let leaks = scanner.mask(&mut masked);
        assert_eq!(masked.len(), body.len(), "{class:?}");
        let value: serde_json::Value = serde_json::from_slice(&masked)
            .unwrap_or_else(|error| panic!("{class:?}: {error}: {}", String::from_utf8_lossy(&masked)));
        assert_eq!(value["after"][0], 1, "{class:?}");
        assert!(!scanner.scan(&masked).counts().contains_key(&class), "{class:?}");
        for leak in leaks.found {
            assert!(
                !masked.windows(leak.place.len()).any(|part| part == &body.as_bytes()[leak.place.clone()]),
                "{class:?}"
            );
        }
    }
}

#[test]
fn ordinary_bodies_hold_no_leak() {
    let scanner = LeakScanner::new(&LeakClass::usual().collect::<Vec<_>>()).unwrap();
    for body in [
        r#"{"id":"7f9c24e5-2f6b-4c1a-9b7e-0d3c5a1e8f42","token_type":"bearer","next":"https://example.com/a?b=c"}"#,
        r#"{"access_token":"eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLWhlcmUtaXMtbG9uZw"}"#,
        "<script src=\"/app.js:1\"></script> meet at noon at shop.js",
        "import a from './a.js'; // at line 5",
        "a table of tracebacks, goroutines and panics; error: none",
        "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIU\n-----END CERTIFICATE-----",
        "postgres://db.example.com/orders and redis://localhost:6379/0",
        "select * from users; -- an error occurred at 5",
        "AKIA and ASIA are continents, AIza is not",
    ] {
        assert_eq!(scanner.scan(body.as_bytes()), Leaks::default(), "{body}");
    }
}

#[test]
fn no_value_is_shown() {
    let secret = joined(&["sk_", "live_", &random(24)]);
    let scanner = Arc::new(all());
    let mut stream = LeakStream::new(Arc::clone(&scanner), 1 << 20);
    let _ = stream.push(secret.as_bytes());
    let text = format!("{:?} {scanner:?} {stream:?}", scanner.scan(secret.as_bytes()));
    assert!(!text.contains(&random(10)) && text.contains("StripeKey"), "{text}");
}

#[test]
fn a_stream_masks_what_is_cut_anywhere() {
    let scanner = Arc::new(all());
    let key =
        joined(&["-----BEGIN ", "PRIVATE KEY-----\n", &random(3000), "\n-----END ", "PRIVATE KEY-----"]);
    let token = joined(&["gh", "p_", &random(36)]);
    let mut body = Vec::new();
    while body.len() < 150_000 {
        body.extend_from_slice("plain text of an answer, ".repeat(131).as_bytes());
        body.extend_from_slice(token.as_bytes());
        body.push(b' ');
        body.extend_from_slice(key.as_bytes());
        body.push(b'\n');
    }
    let mut whole = body.clone();
    let expected = scanner.mask(&mut whole).counts();
    for size in [1_000, 4_096, 16_384, 50_000, 200_000] {
        let mut stream = LeakStream::new(Arc::clone(&scanner), u64::MAX);
        let mut out: Vec<u8> = body.chunks(size).flat_map(|piece| stream.push(piece)).collect();
        out.extend(stream.finish());
        assert_eq!(out.len(), body.len());
        assert!(out == whole, "pieces of {size}");
        assert_eq!(stream.counts(), &expected, "pieces of {size}");
    }
}

#[test]
fn a_stream_of_lines_passes_each_line_when_it_is_whole() {
    let token = format!("ghp_{}", "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0dF3hJ6");
    let mut stream = LeakStream::new(Arc::new(all()), u64::MAX).by_line();
    assert_eq!(stream.push(b"data: one\n\ndata: t"), b"data: one\n\n");
    let (head, tail) = token.split_at(10);
    assert_eq!(stream.push(format!("wo {head}").as_bytes()), b"", "its line is not whole");
    let passed = stream.push(format!("{tail}\n\n").as_bytes());
    assert_eq!(String::from_utf8(passed).unwrap(), format!("data: two {}\n\n", "*".repeat(token.len())));
    // In two pieces, so that nothing that looks for keys takes this file for one that holds some.
    let line = |word: &str| format!("-----{word} {} KEY-----\n", "PRIVATE");
    let key = format!("{}MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n", line("BEGIN"));
    assert_eq!(stream.push(key.as_bytes()), b"", "a key that did not end is held back");
    let rest = stream.push(format!("{}next\n", line("END")).as_bytes());
    assert!(!String::from_utf8(rest).unwrap().contains("MIIEv"));
    assert_eq!(stream.finish(), b"");
    assert_eq!(stream.counts().values().sum::<usize>(), 2);
}

/// A text as a model's answer carries it: in pieces of so many signs, each in an event.
fn events(text: &str, signs: usize) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    letters
        .chunks(signs)
        .map(|piece| {
            let piece: String = piece.iter().collect();
            let event = serde_json::json!({
                "id": "chatcmpl-1", "object": "chat.completion.chunk",
                "choices": [{ "index": 0, "delta": { "content": piece }, "finish_reason": null }],
            });
            format!("data: {event}\n\n")
        })
        .collect()
}

/// What a caller reads in the events.
fn told(events: &str) -> String {
    let of = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line.strip_prefix("data: ")?).ok()?;
        event["choices"][0]["delta"]["content"].as_str().map(str::to_owned)
    };
    events.lines().filter_map(of).collect()
}

fn screened(events: &[String]) -> (String, LeakStream) {
    let mut stream = LeakStream::new(Arc::new(all()), u64::MAX).by_line();
    let mut out: Vec<u8> = events.iter().flat_map(|event| stream.push(event.as_bytes())).collect();
    out.extend(stream.finish());
    (String::from_utf8(out).unwrap(), stream)
}

#[test]
fn a_secret_in_pieces_over_many_events_is_found_once_and_masked_in_each() {
    let key = format!(
        "-----BEGIN {0} KEY-----\n{1}\n{1}\n-----END {0} KEY-----\n",
        joined(&["RSA PRI", "VATE"]),
        random(60)
    );
    for (class, secret) in [
        (LeakClass::GitHubToken, joined(&["gh", "p_", &random(36)])),
        (LeakClass::AwsAccessKey, joined(&["AK", "IA", "QWERTYUIOP234567"])),
        (LeakClass::OpenAiKey, joined(&["sk-", "proj-", &random(60)])),
        (LeakClass::AwsSecretKey, format!("aws_secret_access_key = {}", random(40))),
        (LeakClass::PrivateKey, key),
    ] {
        let text = format!("Here it is:\n{secret}\nDon't \"show\" it, ok?");
        for signs in [1, 2, 3, 5, 8, 13, 500] {
            let sent = events(&text, signs);
            let (out, stream) = screened(&sent);
            assert_eq!(out.len(), sent.concat().len(), "{class:?} by {signs}");
            let told = told(&out);
            assert_eq!(stream.counts().get(&class), Some(&1), "{class:?} by {signs}: {told}");
            assert_eq!(stream.counts().len(), 1, "{class:?} by {signs}: {:?}", stream.counts());
            let rest = secret.trim_end().get(secret.trim_end().len() - 12..).unwrap();
            assert!(!told.contains(rest), "{class:?} by {signs}: {told}");
            assert!(told.starts_with("Here it is:\n") && told.ends_with("Don't \"show\" it, ok?"), "{told}");
        }
    }
}

#[test]
fn a_text_that_begins_like_a_secret_and_is_none_passes_as_it_was() {
    for text in [
        "Tokens of GitHub begin with ghp_ and those of AWS with AKIA, as the MSG. says",
        "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIU\n-----END CERTIFICATE-----\n",
        "a key begins with -----BEGIN and a label",
        "postgres://db.example.com/orders, or user postgres://localhost",
        "ghp_short",
    ] {
        for signs in [1, 3, 7] {
            let sent = events(text, signs);
            let (out, stream) = screened(&sent);
            assert_eq!(out, sent.concat(), "{text} by {signs}");
            assert!(stream.counts().is_empty(), "{text} by {signs}: {:?}", stream.counts());
        }
    }
}

#[test]
fn only_what_could_become_a_secret_waits_for_the_next_event() {
    let mut stream = LeakStream::new(Arc::new(all()), u64::MAX).by_line();
    let mut passes = |piece: &str| !stream.push(events(piece, 99)[0].as_bytes()).is_empty();
    assert!(passes("The key is "));
    assert!(!passes("ghp_"), "its beginning is held back");
    assert!(!passes("aB3dE6gH9j"), "and so is what follows");
    assert!(passes(" or so"), "until it is none");
}

#[test]
fn texts_at_different_places_are_not_mixed_and_plain_events_are_joined() {
    let token = joined(&["gh", "p_", &random(36)]);
    let (head, tail) = token.split_at(20);
    let mixed: Vec<String> =
        [format!("data: {{\"a\":\"{head}\"}}\n"), format!("data: {{\"b\":\"{tail}\"}}\n")].to_vec();
    assert_eq!(screened(&mixed).0, mixed.concat());
    for sent in [
        [format!("data: {head}\n\n"), format!("data: {tail}\n\n")],
        [format!("{{\"response\":\"{head}\"}}\n"), format!("{{\"response\":\"{tail}\"}}\n")],
        [format!("data: [\"x\",\"{head}\"]\n"), format!("data: [\"y\",\"{tail}\"]\n")],
    ] {
        let (out, stream) = screened(&sent);
        assert!(!out.contains(head) && !out.contains(tail), "{out}");
        assert_eq!(stream.counts().values().sum::<usize>(), 1, "{out}");
    }
}

#[test]
fn what_is_held_back_of_events_is_bounded() {
    let mut stream = LeakStream::new(Arc::new(all()), u64::MAX).by_line();
    let begin = joined(&["-----BEGIN PRI", "VATE KEY-----\n"]);
    let first = &events(&begin, 99)[0];
    let (mut sent, mut passed, mut most) = (first.len(), stream.push(first.as_bytes()).len(), 0);
    for _ in 0..6_000 {
        let event = &events("ab", 2)[0];
        sent += event.len();
        passed += stream.push(event.as_bytes()).len();
        most = most.max(sent - passed);
    }
    assert!(most <= EVENTS_HELD_BYTES + 1_024, "{most}");
    assert_eq!(stream.counts().get(&LeakClass::PrivateKey), Some(&1));
}

#[test]
fn what_lies_behind_the_limit_of_a_stream_passes_and_is_counted() {
    let token = joined(&["gh", "p_", &random(36)]);
    let mut stream = LeakStream::new(Arc::new(all()), 50);
    let mut out = stream.push(format!("{token} ").as_bytes());
    out.extend(stream.push(b"0123456789"));
    out.extend(stream.push(token.as_bytes()));
    out.extend(stream.finish());
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("****") && text.ends_with(&token), "{text}");
    assert_eq!(stream.uninspected(), (token.len() + 1 + 10 + token.len() - 50) as u64);
}

#[test]
fn time_is_linear_in_hostile_bodies() {
    let scanner = all();
    for piece in [
        "-----BEGIN PRIVATE KEY-----",
        "xoxb-",
        "eyJ.",
        "eyJ",
        "at .java:1",
        ".php(1",
        "AccountKey=",
        "postgres://:",
        "goroutine 1",
        "AIza",
    ] {
        let body = piece.repeat(1_000_000 / piece.len());
        let start = std::time::Instant::now();
        let _ = scanner.scan(body.as_bytes());
        assert!(start.elapsed().as_secs() < 20, "{piece}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_a_scan_panic_and_findings_are_in_order(parts in proptest::collection::vec(proptest::prop_oneof![
        proptest::collection::vec(proptest::prelude::any::<u8>(), 0..8),
        proptest::sample::select(vec![".java:", "at ", "-----BEGIN ", "PRIVATE KEY-----", ".php(", "4", "://", "postgres", ":", "@", "bzk_", "T3BlbkFJ", ".py\", line ", " panicked at ", "') panicked at a.rs:", "\\n", "ORA-"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ], 0..20)) {
        let body = parts.concat();
        let leaks = all().scan(&body);
        let mut end = 0;
        for leak in leaks.found {
            proptest::prop_assert!(leak.place.start >= end && leak.place.start < leak.place.end && leak.place.end <= body.len());
            end = leak.place.end;
        }
    }
}

use proptest::strategy::Strategy;
