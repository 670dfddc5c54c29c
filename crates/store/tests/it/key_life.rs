//! Rotation, and what is told about keys: once, by whichever process is first.

use std::{io, sync::Arc};

use bartizan_identity::{KeyFacts, KeyId, KeyText, LifeState, LifeTerms, Retire};
use bartizan_store::{Came, Error, KeyFeed, KeyRow, Rotation, Rules, Store, Successor};

use super::{NOW, Place, create, judged};

const D: u64 = 86_400_000;

fn terms() -> LifeTerms {
    LifeTerms {
        maximum_age_ms: Some(90 * D),
        ageing_before_ms: 30 * D,
        tell_before_ms: vec![30 * D, 7 * D, D],
        ..LifeTerms::default()
    }
}

async fn rotate(store: &Store, id: &KeyId, terms: &LifeTerms, now: u64) -> (Successor, String) {
    let mut text = String::new();
    let rotation = Rotation { terms, expires_at_ms: None, created_by: Some("ann") };
    let deliver = |key: &KeyText| {
        text = key.expose().to_owned();
        Ok(())
    };
    let successor = store.keys().rotate(id, rotation, now, deliver).await.unwrap();
    (successor, text)
}

/// What is told at a moment, as `id event`.
async fn told(store: &Store, terms: Option<LifeTerms>, now: u64) -> Vec<(KeyId, Came)> {
    let rules = terms.map(|terms| Rules { terms: Arc::new(terms), by_link: false });
    let mut told = Vec::new();
    store
        .keys()
        .advance(
            |_| rules.clone(),
            now,
            |_, _| {},
            |_| Vec::new(),
            |event| told.push((event.row.id, event.what)),
        )
        .await
        .unwrap();
    told
}

#[tokio::test]
async fn old_and_new_work_through_the_overlap_and_the_old_one_ends_with_it() {
    let place = Place::new();
    let store = place.store().await;
    let (old, old_text) = create(&store, "acme").await;
    let mut feed = KeyFeed::open(&store).await.unwrap();
    let (successor, new_text) = rotate(&store, &old.id, &LifeTerms::default(), NOW).await;
    assert_eq!(successor.old.replaced_by, Some(successor.new.id));
    assert_eq!(successor.old.expires_at_ms, Some(NOW + 7 * D));
    assert_eq!((successor.new.consumer.as_str(), successor.new.expires_at_ms), ("acme", None));
    let table = feed.poll().await.unwrap().expect("the feed sees the rotation");
    assert_eq!(judged(&store, &table, old_text.expose()), Ok("acme".into()));
    assert_eq!(judged(&store, &table, &new_text), Ok("acme".into()));
    let pepper = store.pepper();
    let at = |text: &str, now| {
        matches!(table.judge(text.as_bytes(), pepper, now), bartizan_identity::Claim::Valid(_))
    };
    assert!(at(old_text.expose(), NOW + 7 * D - 1));
    assert!(!at(old_text.expose(), NOW + 7 * D));
    assert!(at(&new_text, NOW + 7 * D));
}

#[tokio::test]
async fn a_key_is_replaced_once_and_only_while_it_works() {
    let place = Place::new();
    let store = place.store().await;
    let (old, _) = create(&store, "acme").await;
    let (successor, _) = rotate(&store, &old.id, &LifeTerms::default(), NOW).await;
    let terms = LifeTerms::default();
    let rotation = Rotation { terms: &terms, expires_at_ms: None, created_by: None };
    let again = store.keys().rotate(&old.id, rotation, NOW, |_| Ok(())).await.unwrap_err();
    assert!(matches!(again, Error::KeyReplaced { by, .. } if by == successor.new.id), "{again}");
    store.keys().revoke(&successor.new.id, NOW).await.unwrap();
    let ended = store.keys().rotate(&successor.new.id, rotation, NOW, |_| Ok(())).await.unwrap_err();
    assert!(matches!(ended, Error::KeyEnded { .. }), "{ended}");
    assert_eq!(store.keys().list(Default::default()).await.unwrap().rows.len(), 2);
}

#[tokio::test]
async fn a_key_that_cannot_be_handed_over_was_never_made() {
    let place = Place::new();
    let store = place.store().await;
    let (old, _) = create(&store, "acme").await;
    let terms = LifeTerms::default();
    let rotation = Rotation { terms: &terms, expires_at_ms: None, created_by: None };
    let full = |_: &KeyText| Err(io::Error::from(io::ErrorKind::StorageFull));
    let error = store.keys().rotate(&old.id, rotation, NOW, full).await.unwrap_err();
    assert!(matches!(error, Error::NotDelivered { .. }), "{error}");
    assert_eq!(store.keys().list(Default::default()).await.unwrap().rows, [old]);
}

#[tokio::test]
async fn a_successor_lives_as_long_as_the_old_key_which_never_lives_longer_for_it() {
    let place = Place::new();
    let store = place.store().await;
    let new = super::new_key("acme");
    let (old, _) = store
        .keys()
        .create(bartizan_store::NewKey { expires_at_ms: Some(NOW + 90 * D), ..new }, NOW)
        .await
        .unwrap();
    let now = NOW + 88 * D;
    let (successor, _) = rotate(&store, &old.id, &LifeTerms::default(), now).await;
    assert_eq!(successor.new.expires_at_ms, Some(now + 90 * D));
    assert_eq!(successor.old.expires_at_ms, Some(NOW + 90 * D), "two days are left of its overlap of seven");
}

#[tokio::test]
async fn an_old_key_that_nobody_uses_is_retired_after_the_overlap_and_one_in_use_is_not() {
    let place = Place::new();
    let store = place.store().await;
    let adopting = LifeTerms { retire: Retire::WhenUnused, ..terms() };
    let (quiet, _) = create(&store, "acme").await;
    let (busy, busy_text) = create(&store, "acme").await;
    for id in [&quiet.id, &busy.id] {
        let (successor, _) = rotate(&store, id, &adopting, NOW).await;
        assert_eq!(successor.old.overlap_until_ms, Some(NOW + 7 * D));
        assert_eq!(successor.old.expires_at_ms, Some(NOW + 30 * D));
    }
    let mut feed = KeyFeed::open(&store).await.unwrap();
    match feed.table().judge(busy_text.expose().as_bytes(), store.pepper(), NOW) {
        bartizan_identity::Claim::Valid(who) => feed.table().note_use(&who, NOW + 7 * D),
        other => panic!("{other:?}"),
    }
    feed.save_uses().await.unwrap();

    told(&store, Some(adopting.clone()), NOW + 7 * D - 1).await;
    let ended = |row: KeyRow, now| row.expires_at_ms.is_some_and(|at| at <= now);
    let now = NOW + 7 * D + 1;
    assert!(!ended(store.keys().show(&quiet.id).await.unwrap(), now), "still within the overlap");
    let events = told(&store, Some(adopting.clone()), now).await;
    assert_eq!(events, [(quiet.id, Came::State(LifeState::Retired))]);
    assert!(ended(store.keys().show(&quiet.id).await.unwrap(), now));
    assert!(!ended(store.keys().show(&busy.id).await.unwrap(), now), "it was used a moment ago");
    assert!(feed.poll().await.unwrap().is_some(), "gateways learn of it");
    let events = told(&store, Some(adopting), NOW + 8 * D).await;
    assert_eq!(events, [(busy.id, Came::State(LifeState::Retired))], "a day without use");
}

#[tokio::test]
async fn each_state_and_each_notice_of_a_key_is_told_once_by_two_processes_on_one_store() {
    let place = Place::new();
    let (one, two) = (place.store().await, place.store().await);
    let (key, _) = create(&one, "acme").await;
    let due_ms = key.facts().due_ms(&terms()).unwrap();
    let due = |days: u64| Came::Due { before_ms: days * D, due_ms };
    let mut all = Vec::new();
    for day in 0..100 {
        let now = key.created_at_ms + day * D;
        let (first, second) = tokio::join!(told(&one, Some(terms()), now), told(&two, Some(terms()), now));
        all.extend(first.into_iter().chain(second).map(|(_, what)| (day, what)));
    }
    let ageing = Came::State(LifeState::Ageing);
    assert_eq!(all, [(60, ageing), (60, due(30)), (83, due(7)), (89, due(1))]);
    let (successor, _) = rotate(&two, &key.id, &terms(), key.created_at_ms + 100 * D).await;
    let mut all = Vec::new();
    for hour in 0..24 * 10 {
        let now = key.created_at_ms + 100 * D + hour * D / 24;
        let (first, second) = tokio::join!(told(&one, Some(terms()), now), told(&two, Some(terms()), now));
        all.extend(first.into_iter().chain(second).map(|(_, what)| (hour, what)));
    }
    assert_eq!(all, [(0, Came::State(LifeState::Overlapping)), (24 * 7, Came::State(LifeState::Retired))]);
    assert_ne!(successor.new.facts(), KeyFacts::default());
}

#[tokio::test]
async fn nothing_is_told_of_keys_of_no_policy_but_what_their_owners_did() {
    let place = Place::new();
    let store = place.store().await;
    let (key, _) = create(&store, "acme").await;
    assert_eq!(told(&store, None, NOW + 4000 * D).await, []);
    store.keys().revoke(&key.id, NOW + 4000 * D).await.unwrap();
    let events = told(&store, None, NOW + 4000 * D).await;
    assert_eq!(events, [(key.id, Came::State(LifeState::Retired))]);
    let (old, _) = create(&store, "acme").await;
    store.keys().revoke(&old.id, NOW).await.unwrap();
    assert_eq!(told(&store, None, NOW + 30 * D).await, [], "what ended long ago is no news");
}
