//! Signatures of others: the examples of the RFCs, keys that must not be used, and the public Wycheproof collection.

use std::{fs, path::PathBuf};

use bartizan_identity::{
    jwk::{KeySet, Origin},
    jwt::Jws,
};
use serde_json::Value;

fn verifies(jwk: &Value, token: &Value) -> bool {
    let Ok(keys) = KeySet::parse(jwk.to_string().as_bytes(), Origin::Given) else {
        return false;
    };
    let Some(token) = token.as_str() else {
        // The JSON serialization.
        return false;
    };
    Jws::parse(token.as_bytes()).is_ok_and(|jws| jws.verify(&keys).is_ok())
}

#[test]
fn our_own_vectors_are_answered_rightly() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/jws.jsonl");
    let text = fs::read_to_string(path).unwrap();
    let mut count = 0;
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        assert_eq!(verifies(&case["jwk"], &case["token"]), case["ok"].as_bool().unwrap(), "{}", case["id"]);
        count += 1;
    }
    assert_eq!(count, 56);
}

/// What `json_web_signature_test` says against the RFCs or itself. These must be refused if it calls them
/// valid, and are not asked if no answer can be right.
const CONTRADICTED: [(u64, Contradiction); 8] = [
    // RFC 8725 §3.1: a key is for one algorithm. The same file refuses PS384 under a key for PS512.
    (346, Contradiction::Refused("PS384 under a key for PS256")),
    (350, Contradiction::Refused("PS384 under a key for PS256")),
    // RFC 7518 §3.1 knows no ES521. The same collection refuses such a key elsewhere.
    (347, Contradiction::Refused("a key for ES521")),
    (351, Contradiction::Refused("a key for ES521")),
    // RFC 7515 §2: no additional characters. The same file refuses others of the kind.
    (372, Contradiction::Refused("`?` within the encoded header")),
    (373, Contradiction::Refused("`?` within the encoded payload")),
    // Byte for byte the valid case 357.
    (367, Contradiction::Unanswerable),
    (370, Contradiction::Unanswerable),
];

#[derive(Clone, Copy)]
enum Contradiction {
    Refused(&'static str),
    Unanswerable,
}

#[test]
fn the_wycheproof_collection_is_answered_rightly() {
    let Some(folder) = std::env::var_os("BARTIZAN_WYCHEPROOF").map(PathBuf::from) else {
        println!("skipped: BARTIZAN_WYCHEPROOF does not name the folder of the Wycheproof test vectors");
        return;
    };
    let (mut wrong, mut counted, mut refused) = (Vec::new(), 0, 0);
    for file in ["json_web_signature_test", "json_web_key_test", "json_web_crypto_test"] {
        let text = fs::read_to_string(folder.join(format!("{file}.json"))).unwrap();
        let collection: Value = serde_json::from_str(&text).unwrap();
        for group in collection["testGroups"].as_array().unwrap() {
            let jwk = group.get("public").unwrap_or(&group["private"]);
            for case in group["tests"].as_array().unwrap().iter().filter(|case| case.get("jws").is_some()) {
                let id = case["tcId"].as_u64().unwrap();
                let contradiction = CONTRADICTED
                    .iter()
                    .find(|(known, _)| file == "json_web_signature_test" && *known == id)
                    .map(|(_, contradiction)| *contradiction);
                let answer = verifies(jwk, &case["jws"]);
                match contradiction {
                    None if answer == (case["result"] == "valid") => counted += 1,
                    None => wrong.push(format!("{file} {id}: {}", case["comment"])),
                    Some(Contradiction::Refused(why)) => {
                        assert!(!answer, "{id}: {why}");
                        refused += 1;
                    }
                    Some(Contradiction::Unanswerable) => {}
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!((counted, refused), (468, 6));
}
