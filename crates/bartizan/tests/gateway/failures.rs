//! Guessing, end to end: who must wait, what is told, and who is never held.

use bartizan_testkit::{Client, Origin};

use crate::harness::{Gate, document, key, simple};

const SHOP: &str = "apiVersion: management.v1\nkind: Consumer\nmetadata: { name: shop }\nspec: {}\n";

fn policy(failures: &str) -> String {
    document(
        "AuthenticationPolicy",
        "keys",
        &format!("{{ methods: [{{ type: ApiKey }}], failures: {failures} }}"),
    )
}

/// A key like `key` with another end: the same public id, a wrong proof.
fn guess(key: &str, number: usize) -> String {
    let end = if key.ends_with('a') { 'b' } else { 'a' };
    format!("{}{number}{end}", &key[..key.len() - 2])
}

#[test]
fn guesses_are_held_with_a_time_to_wait_and_an_event_and_other_addresses_go_on() {
    let origin = Origin::answering("ok");
    let mut good = String::new();
    let listener = "{ addresses: [\"127.0.0.1:0\"], trustedProxies: [127.0.0.1/32] }";
    let set = simple(&origin.url(), &[&policy("{}"), SHOP]);
    let gate = Gate::start_with(
        &set.replace("spec: { addresses: [\"127.0.0.1:0\"] }", &format!("spec: {listener}")),
        |data| good = key(data, "shop", None),
        &[],
    );
    let client = gate.client();
    let ask = |from: &str, key: &str| client.get("/", &[("x-forwarded-for", from), ("x-api-key", key)]);
    let mut codes = Vec::new();
    for number in 0..7 {
        let answer = ask("203.0.113.5", &guess(&good, number));
        codes.push(answer.json()["code"].as_str().unwrap().to_owned());
        if answer.status == 429 {
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=12).contains(&wait), "{wait}");
            assert!(!answer.headers.contains_key("www-authenticate"));
        }
    }
    assert_eq!(codes[..5], ["CredentialInvalid"; 5]);
    assert_eq!(codes[5..], ["TooManyFailures"; 2]);
    // The right key from the address that guessed is not even looked at; from any other address it works.
    assert_eq!(ask("203.0.113.5", &good).status, 429);
    assert_eq!(ask("203.0.113.6", &good).status, 200);
    assert_eq!(ask("2001:db8::1", &good).status, 200);
    // Without a credential nobody guesses, so nobody is held.
    let none = client.get("/", &[("x-forwarded-for", "203.0.113.5")]);
    assert_eq!(none.json()["code"], "CredentialMissing");
    let scrape = gate.scrape();
    assert_eq!(scrape.value("bartizan_auth_failure_counters_filled_total{by=\"account\"}"), 1.0);
    assert_eq!(scrape.value("bartizan_auth_failures_total{reason=\"TooManyFailures\"}"), 3.0);
    let record = gate.record_of(&ask("203.0.113.5", &good));
    assert_eq!(
        (record["reason"].as_str(), record["detail"].as_str()),
        (Some("TooManyFailures"), Some("account"))
    );
}

#[test]
fn junk_from_one_address_is_held_by_address_and_a_switch_turns_it_off() {
    let origin = Origin::answering("ok");
    for (failures, held) in [("{}", true), ("{ enabled: false }", false)] {
        let gate = Gate::start(&simple(&origin.url(), &[&policy(failures), SHOP]));
        let client: Client = gate.client();
        let statuses: Vec<u16> =
            (0..12).map(|_| client.get("/", &[("x-api-key", "junk")]).status.as_u16()).collect();
        assert_eq!(statuses[..10], [401; 10]);
        assert_eq!(statuses[10..].iter().all(|status| *status == 429), held, "{statuses:?}");
    }
}
