//! The judge's outcomes, the cost of unknown ids, and what successors of a table keep.

use std::time::Instant;

use super::*;
use crate::{
    api_key::{MINT_BYTES, MintedKey, mint},
    claim::{CredentialId, Identity, Method},
    pepper::hashes_on_this_thread,
};

const NOW: u64 = 1_800_000_000_000;

fn pepper() -> Pepper {
    Pepper::new(&[42; Pepper::BYTES])
}

/// A different key for each seed, spread over shards.
fn minted(seed: u64) -> MintedKey {
    let mut random = [0; MINT_BYTES];
    let mut state = seed.wrapping_add(1);
    for byte in &mut random {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = (state >> 56) as u8;
    }
    mint(&random)
}

fn record(key: &MintedKey, consumer: &str) -> KeyRecord {
    KeyRecord {
        id: key.id,
        consumer: consumer.into(),
        hash: pepper().hash(&key.text).unwrap(),
        not_before_ms: 0,
        expires_ms: None,
        state: KeyState::Active,
        created_ms: 0,
        replaced_ms: None,
        last_used_s: 0,
    }
}

fn kind_of(claim: Claim) -> Option<InvalidKind> {
    match claim {
        Claim::Absent => panic!("the judge of a presented key never says absent"),
        Claim::Valid(_) => None,
        Claim::Invalid(invalid) => Some(invalid.kind),
    }
}

fn valid(claim: Claim) -> ApiKeyIdentity {
    match claim {
        Claim::Valid(identity) => identity,
        other => panic!("{other:?}"),
    }
}

/// The key's id with the secret of another, properly sealed.
fn with_secret_of(key: &MintedKey, other: &MintedKey) -> Vec<u8> {
    let body = format!("bzk_{}_{}", key.id, &other.text.expose()[17..60]);
    let seal = crate::base62::encode::<6>(u128::from(crc32fast::hash(body.as_bytes())));
    [body.as_bytes(), &seal].concat()
}

#[test]
fn every_standing_of_a_key_has_its_outcome() {
    let key = minted(1);
    let base = record(&key, "acme");
    let revoked = KeyRecord { state: KeyState::Revoked, ..base.clone() };
    let table: [(&str, KeyRecord, Option<InvalidKind>); 10] = [
        ("active for ever", base.clone(), None),
        ("expires in a millisecond", KeyRecord { expires_ms: Some(NOW + 1), ..base.clone() }, None),
        ("expires now", KeyRecord { expires_ms: Some(NOW), ..base.clone() }, Some(InvalidKind::Expired)),
        (
            "expired at the epoch",
            KeyRecord { expires_ms: Some(0), ..base.clone() },
            Some(InvalidKind::Expired),
        ),
        ("valid from now", KeyRecord { not_before_ms: NOW, ..base.clone() }, None),
        (
            "valid in a millisecond",
            KeyRecord { not_before_ms: NOW + 1, ..base.clone() },
            Some(InvalidKind::NotYetValid),
        ),
        ("revoked", revoked.clone(), Some(InvalidKind::Revoked)),
        ("revoked and expired", KeyRecord { expires_ms: Some(NOW), ..revoked }, Some(InvalidKind::Revoked)),
        (
            "another pepper",
            KeyRecord { hash: Pepper::new(&[0; 32]).hash(&key.text).unwrap(), ..base.clone() },
            Some(InvalidKind::WrongSecret),
        ),
        (
            "the hash of another key's row",
            KeyRecord { hash: pepper().hash(&minted(2).text).unwrap(), ..base },
            Some(InvalidKind::WrongSecret),
        ),
    ];
    for (name, record, expected) in table {
        let table = KeyTable::build([record]);
        assert_eq!(kind_of(table.judge(key.text.expose().as_bytes(), &pepper(), NOW)), expected, "{name}");
    }
}

#[test]
fn nothing_is_said_of_a_keys_standing_before_its_secret_was_right() {
    let (key, other) = (minted(1), minted(2));
    for state in [KeyState::Active, KeyState::Revoked] {
        let table = KeyTable::build([KeyRecord { state, expires_ms: Some(1), ..record(&key, "acme") }]);
        let claim = table.judge(&with_secret_of(&key, &other), &pepper(), NOW);
        assert_eq!(kind_of(claim), Some(InvalidKind::WrongSecret), "{state:?}");
    }
}

#[test]
fn absent_is_said_only_where_nothing_was_presented() {
    let table = KeyTable::empty();
    assert!(matches!(table.claim(None, &pepper(), NOW), Claim::Absent));
    for junk in [&b""[..], b" ", b"anonymous", b"bzk_"] {
        assert_eq!(kind_of(table.claim(Some(junk), &pepper(), NOW)), Some(InvalidKind::Malformed));
    }
    assert_eq!(
        kind_of(table.claim(Some(minted(1).text.expose().as_bytes()), &pepper(), NOW)),
        Some(InvalidKind::Unknown)
    );
}

#[test]
fn a_hash_of_zeroes_verifies_nothing() {
    let key = minted(1);
    let table = KeyTable::build([KeyRecord { hash: NO_HASH, ..record(&key, "acme") }]);
    let claim = table.judge(key.text.expose().as_bytes(), &pepper(), NOW);
    assert_eq!(kind_of(claim), Some(InvalidKind::WrongSecret));
}

#[test]
fn an_unknown_id_costs_the_same_one_hash_as_a_known_one() {
    let (known, unknown) = (minted(1), minted(2));
    let table = KeyTable::build([record(&known, "acme")]);
    let wrong = with_secret_of(&known, &unknown);
    for (name, presented, hashes) in [
        ("known", known.text.expose().as_bytes(), 1),
        ("wrong secret", &wrong, 1),
        ("unknown", unknown.text.expose().as_bytes(), 1),
        ("malformed", b"bzk_junk", 0),
    ] {
        let before = hashes_on_this_thread();
        let _ = table.judge(presented, &pepper(), NOW);
        assert_eq!(hashes_on_this_thread() - before, hashes, "{name}");
    }
}

#[test]
fn a_valid_key_becomes_the_identity_of_its_consumer() {
    let key = minted(1);
    let table = KeyTable::build([record(&key, "acme")]);
    let identity = Identity::from(valid(table.judge(key.text.expose().as_bytes(), &pepper(), NOW)));
    assert_eq!(identity.consumer().map(|name| &**name), Some("acme"));
    assert_eq!(identity.method(), Method::ApiKey);
    assert_eq!(identity.credential(), Some(CredentialId::ApiKey(key.id)));
    let shown = format!("{identity:?} {table:?}");
    assert!(!shown.contains(&key.text.expose()[17..60]), "{shown}");
}

#[test]
fn thousands_of_keys_are_all_found_and_no_others() {
    let keys: Vec<MintedKey> = (0..5000).map(minted).collect();
    let table = KeyTable::build(keys.iter().map(|key| record(key, "acme")));
    assert_eq!(table.len(), keys.len());
    for key in &keys {
        assert_eq!(table.find(&key.id).map(|kept| kept.id), Some(key.id));
    }
    for key in (5000..6000).map(minted) {
        assert!(table.find(&key.id).is_none());
    }
}

#[test]
fn of_two_records_with_one_id_the_later_wins() {
    let key = minted(1);
    let table = KeyTable::build([record(&key, "first"), record(&minted(2), "other"), record(&key, "second")]);
    assert_eq!(table.len(), 2);
    let identity = valid(table.judge(key.text.expose().as_bytes(), &pepper(), NOW));
    assert_eq!(&**identity.consumer(), "second");
}

#[test]
fn a_successor_differs_by_its_changes_alone() {
    let keys: Vec<MintedKey> = (0..3000).map(minted).collect();
    let before = KeyTable::build(keys[..2999].iter().map(|key| record(key, "acme")));
    let after = before.with([
        KeyChange::Put(KeyRecord { state: KeyState::Revoked, ..record(&keys[0], "acme") }),
        KeyChange::Put(record(&keys[2999], "late")),
        KeyChange::Remove(keys[1].id),
        KeyChange::Remove(minted(9999).id),
    ]);
    let judged = |table: &KeyTable, key: &MintedKey| {
        kind_of(table.judge(key.text.expose().as_bytes(), &pepper(), NOW))
    };
    assert_eq!((before.len(), after.len()), (2999, 2999));
    assert_eq!([judged(&before, &keys[0]), judged(&after, &keys[0])], [None, Some(InvalidKind::Revoked)]);
    assert_eq!([judged(&before, &keys[1]), judged(&after, &keys[1])], [None, Some(InvalidKind::Unknown)]);
    assert_eq!(
        [judged(&before, &keys[2999]), judged(&after, &keys[2999])],
        [Some(InvalidKind::Unknown), None]
    );
    for key in &keys[2..2999] {
        assert!(after.find(&key.id).is_some());
    }
    let copied = before.shards.iter().zip(&*after.shards).filter(|(a, b)| !Arc::ptr_eq(a, b)).count();
    assert!(copied <= 4, "{copied} shards were copied for four changes");
}

#[test]
fn of_several_changes_to_one_key_the_last_wins() {
    let key = minted(1);
    let table = KeyTable::empty();
    let put = KeyChange::Put(record(&key, "acme"));
    assert_eq!(table.with([put.clone(), KeyChange::Remove(key.id)]).len(), 0);
    assert_eq!(table.with([put.clone(), KeyChange::Remove(key.id), put]).len(), 1);
}

#[test]
fn a_use_survives_the_swap_of_the_table() {
    let (key, other) = (minted(1), minted(2));
    let before = KeyTable::build([record(&key, "acme")]);
    let identity = valid(before.judge(key.text.expose().as_bytes(), &pepper(), NOW));
    assert_eq!(before.last_used_s(&key.id), None, "judging alone is no use");
    let after = before.with([KeyChange::Put(record(&key, "acme")), KeyChange::Put(record(&other, "acme"))]);
    // A request that still holds the old table.
    before.note_use(&identity, NOW);
    assert_eq!(after.last_used_s(&key.id), Some((NOW / 1000) as u32));

    let uses = after.unsaved_uses();
    assert_eq!(
        uses.iter().map(|one| (one.key, one.at_unix_s)).collect::<Vec<_>>(),
        [(key.id, (NOW / 1000) as u32)]
    );
    assert_eq!(after.unsaved_uses().len(), 1, "asking is not saving");
    after.confirm_uses(&uses);
    assert!(after.unsaved_uses().is_empty() && before.unsaved_uses().is_empty());
}

#[test]
fn reading_everything_anew_keeps_noted_uses_too() {
    let (stays, goes) = (minted(1), minted(2));
    let before = KeyTable::build([record(&stays, "acme"), record(&goes, "acme")]);
    let identity = valid(before.judge(stays.text.expose().as_bytes(), &pepper(), NOW));
    before.note_use(&identity, NOW);
    let mut builder = KeyTableBuilder::succeeding(&before);
    builder.push(record(&stays, "acme"));
    let after = builder.finish();
    assert_eq!(after.len(), 1);
    assert!(after.find(&goes.id).is_none());
    assert_eq!(after.unsaved_uses().len(), 1);
    assert_eq!(after.last_used_s(&stays.id), Some((NOW / 1000) as u32));
}

#[test]
#[ignore = "prints figures; run in release on a quiet machine"]
fn what_a_judgement_and_a_change_cost() {
    for count in [10, 100_000, 1_000_000] {
        let sample: Vec<MintedKey> = (0..count.min(1000)).map(minted).collect();
        let consumer: Arc<str> = "acme".into();
        let started = Instant::now();
        let table = KeyTable::build((0..count).map(|seed| {
            let key = minted(seed);
            let hash = if seed < 1000 { pepper().hash(&key.text).unwrap() } else { NO_HASH };
            KeyRecord { hash, consumer: Arc::clone(&consumer), ..record_without_hash(&key) }
        }));
        println!("{count} keys: built with minting in {:?}", started.elapsed());
        let pepper = pepper();
        let rounds = 200_000;
        for (name, offset) in [("known", 0), ("unknown", 5_000_000)] {
            let presented: Vec<MintedKey> = (0..sample.len() as u64).map(|at| minted(at + offset)).collect();
            let started = Instant::now();
            for at in 0..rounds {
                let key = &presented[at % presented.len()];
                let _ = std::hint::black_box(table.judge(key.text.expose().as_bytes(), &pepper, NOW));
            }
            println!("{count} keys: {name} judged in {:?}", started.elapsed() / rounds as u32);
        }
        let started = Instant::now();
        for key in &sample {
            std::hint::black_box(table.with([KeyChange::Remove(key.id)]));
        }
        println!("{count} keys: one change in {:?}", started.elapsed() / sample.len() as u32);
    }
}

fn record_without_hash(key: &MintedKey) -> KeyRecord {
    KeyRecord {
        id: key.id,
        consumer: "".into(),
        hash: NO_HASH,
        not_before_ms: 0,
        expires_ms: None,
        state: KeyState::Active,
        created_ms: 0,
        replaced_ms: None,
        last_used_s: 0,
    }
}
