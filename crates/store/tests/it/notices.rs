//! The outbox, claim links, alerts, what is sealed, and backups.

use std::{fs, sync::Arc};

use bartizan_identity::{KeyText, LifeTerms};
use bartizan_store::{
    BackupKey, Came, Error, KeyEvent, NewNotice, NewRoot, NoticeState, Pulse, RootKey, Rules, SilenceRow,
    Store, Turn, restore,
};

use super::{NOW, Place, create};

const D: u64 = 86_400_000;
/// What must be found in no file.
const SECRET: &str = "a claim link that opens once";

fn notice(event: &KeyEvent) -> Vec<NewNotice> {
    vec![NewNotice {
        channel: "mail".into(),
        recipient: "ann@example.com".into(),
        event: "key".into(),
        occasion: format!("{} {}", event.row.id, event.what.word()),
        about: event.row.id.to_string(),
        body: SECRET.into(),
    }]
}

fn ageing(by_link: bool) -> Rules {
    let terms = LifeTerms { maximum_age_ms: Some(90 * D), ageing_before_ms: 30 * D, ..LifeTerms::default() };
    Rules { terms: Arc::new(terms), by_link }
}

async fn advance(store: &Store, rules: &Rules, now: u64) -> Vec<Came> {
    let mut told = Vec::new();
    store
        .keys()
        .advance(|_| Some(rules.clone()), now, |_, _| {}, notice, |event| told.push(event.what))
        .await
        .unwrap();
    told
}

#[tokio::test]
async fn what_is_told_is_written_with_its_event_once_taken_under_a_lease_and_tried_until_it_is_sent() {
    let place = Place::new();
    let (one, two) = (place.store().await, place.store().await);
    create(&one, "acme").await;
    let now = NOW + 60 * D;
    let rules = ageing(false);
    let (first, second) = tokio::join!(advance(&one, &rules, now), advance(&two, &rules, now));
    assert_eq!(first.len() + second.len(), 1, "one of two processes tells it");
    let (a, b) = tokio::join!(one.outbox().take(10, 90_000, now), two.outbox().take(10, 90_000, now));
    let taken = [a.unwrap(), b.unwrap()].concat();
    assert_eq!(taken.len(), 1, "one of two senders takes it");
    let due = &taken[0];
    assert_eq!((due.body.as_deref(), due.attempts), (Some(SECRET.as_bytes()), 1));
    // The sender dies: its lease ends, and the notice has the same id.
    assert!(one.outbox().take(10, 90_000, now + 89_000).await.unwrap().is_empty());
    let again = one.outbox().take(10, 90_000, now + 90_000).await.unwrap();
    assert_eq!((again[0].id.as_str(), again[0].attempts), (due.id.as_str(), 2));
    one.outbox().failed(&due.id, "no answer\nin time", now + 200_000).await.unwrap();
    assert_eq!(one.outbox().next_due_ms().await.unwrap(), Some(now + 200_000));
    one.outbox().give_up(&due.id, "gone", now + 200_000).await.unwrap();
    assert_eq!(one.outbox().list(Some(NoticeState::Dead), 10).await.unwrap()[0].error, "gone");
    assert!(one.outbox().retry(&due.id, now + 300_000).await.unwrap());
    one.outbox().sent(&due.id, now + 300_000).await.unwrap();
    assert!(!one.outbox().retry(&due.id, now + 300_000).await.unwrap(), "what was sent is not sent again");
    assert_eq!(one.outbox().next_due_ms().await.unwrap(), None);
    assert_eq!(one.outbox().forget(now + 300_001, 0).await.unwrap(), 1);
}

#[tokio::test]
async fn a_link_is_offered_once_in_its_time_opens_once_and_the_overlap_begins_with_it() {
    let place = Place::new();
    let store = place.store().await;
    let (old, _) = create(&store, "acme").await;
    let (now, rules) = (NOW + 60 * D, ageing(true));
    assert!(advance(&store, &rules, now - 1).await.is_empty());
    let told = advance(&store, &rules, now).await;
    let Came::Offered { link: 1, token } = &told[0] else { panic!("{told:?}") };
    assert_eq!(advance(&store, &rules, now + D).await, [], "a link that opens is not repeated");
    let claims = store.claims();
    for _ in 0..2 {
        assert_eq!(claims.look(token.expose(), now).await.unwrap().key.id, old.id, "looking spends nothing");
    }
    assert_eq!(store.keys().show(&old.id).await.unwrap().replaced_by, None);
    let unknown = |error| matches!(error, Error::ClaimUnknown);
    assert!(unknown(claims.look(&"0".repeat(64), now).await.unwrap_err()));
    assert!(unknown(claims.look("short", now).await.unwrap_err()));
    // Not taken over within 72 hours: another link, the owner is told, and the old one opens nothing.
    let later = now + 3 * D;
    let told = advance(&store, &rules, later).await;
    assert_eq!(told[0], Came::Unclaimed { links: 1 });
    let unclaimed =
        async |now| claims.unclaimed(now, 10).await.unwrap().iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(unclaimed(later - 1).await, []);
    assert_eq!(unclaimed(later).await, [old.id], "until somebody takes it over");
    let Came::Offered { link: 2, token: second } = &told[1] else { panic!("{told:?}") };
    assert!(unknown(claims.look(token.expose(), later).await.unwrap_err()));
    let terms = |_: &str| LifeTerms::default();
    let full = |_: &KeyText| Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
    assert!(claims.claim(second.expose(), terms, later, full).await.is_err());
    let made = claims.claim(second.expose(), terms, later, |_| Ok(())).await.unwrap();
    assert_eq!(made.old.expires_at_ms, Some(later + 7 * D), "the overlap begins with the claim");
    assert!(unknown(claims.claim(second.expose(), terms, later, |_| Ok(())).await.unwrap_err()));
    assert_eq!(unclaimed(later).await, []);
    // A link that an operator replaced by a newer one has not lapsed.
    let (other, _) = create(&store, "acme").await;
    for day in 0..2 {
        claims.issue(&other.id, &LifeTerms::default(), later + day * D).await.unwrap();
    }
    assert_eq!(unclaimed(later + 2 * D).await, []);
    assert_eq!(unclaimed(later + 5 * D).await, [other.id]);
}

#[tokio::test]
async fn a_leak_revokes_and_is_told_once() {
    let place = Place::new();
    let store = place.store().await;
    let (key, _) = create(&store, "acme").await;
    let row = store.keys().report_leak(&key.id, NOW).await.unwrap();
    assert_eq!((row.leaked_at_ms, row.revoked_at_ms), (Some(NOW), Some(NOW)));
    assert_eq!(store.keys().report_leak(&key.id, NOW + 1).await.unwrap().leaked_at_ms, Some(NOW));
    assert_eq!(advance(&store, &ageing(false), NOW + 2).await, [Came::Leaked]);
    assert_eq!(advance(&store, &ageing(false), NOW + 3).await, []);
}

#[tokio::test]
async fn an_alert_of_two_gateways_is_one_told_at_its_beginning_its_repeat_and_its_end() {
    let place = Place::new();
    let (one, two) = (place.store().await, place.store().await);
    let pulse = Pulse {
        policy: "first".into(),
        signal: "Faults".into(),
        group: String::new(),
        text: "one".into(),
        count: 1,
    };
    let of = |store: Store, now| {
        let pulse = pulse.clone();
        async move { store.alerts().pulse(&pulse, 60_000, now, |_, _| Vec::new()).await.unwrap() }
    };
    let (a, b) = tokio::join!(of(one.clone(), NOW), of(two.clone(), NOW));
    let begun = [a, b].into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(begun, [Turn::Began]);
    assert_eq!(of(two.clone(), NOW + 59_000).await, None);
    assert_eq!(of(two.clone(), NOW + 60_000).await, Some(Turn::GoesOn));
    let quiet = |_: &str| Some(5_000);
    assert!(one.alerts().settle(quiet, NOW + 64_999, |_| Vec::new()).await.unwrap().is_empty());
    assert_eq!(one.alerts().settle(quiet, NOW + 65_000, |_| Vec::new()).await.unwrap().len(), 1);
    assert!(two.alerts().settle(quiet, NOW + 65_000, |_| Vec::new()).await.unwrap().is_empty());
    assert!(one.alerts().list(true, 10).await.unwrap().is_empty());
    // Silenced, it is listed and not told, until the silence ends.
    let silence = SilenceRow {
        id: String::new(),
        policy: String::new(),
        signal: "Faults".into(),
        group: String::new(),
        until_ms: NOW + 100_000,
        reason: "work".into(),
        created_by: "ann".into(),
    };
    one.alerts().silence(&silence, NOW + 70_000).await.unwrap();
    assert_eq!(of(one.clone(), NOW + 80_000).await, None);
    let listed = one.alerts().list(true, 10).await.unwrap();
    assert_eq!((listed[0].told_at_ms, listed[0].round), (None, 2));
    assert_eq!(of(one.clone(), NOW + 100_001).await, Some(Turn::Began));
}

/// All bytes of all files of a place.
fn bytes(place: &Place) -> Vec<u8> {
    fs::read_dir(&place.0)
        .unwrap()
        .flat_map(|entry| fs::read(entry.unwrap().path()).unwrap_or_default())
        .collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn no_secret_is_in_the_database_its_log_or_any_file_and_another_root_opens_nothing() {
    let place = Place::new();
    let root = RootKey::random().unwrap();
    let dir = place.dir().with_root(Some(root.clone()));
    let store = Store::open(&dir).await.unwrap();
    let (key, text) = create(&store, "acme").await;
    let told = advance(&store, &ageing(true), NOW + 60 * D).await;
    let Came::Offered { token, .. } = &told[0] else { panic!("{told:?}") };
    let all = bytes(&place);
    assert!(holds(&all, key.id.as_str()), "the write-ahead log is looked at");
    let secret = &text.expose()[17..60];
    for secret in [text.expose(), secret, token.expose(), SECRET, "ann@example.com"] {
        assert!(!holds(&all, secret), "{secret} lies open");
    }
    assert!(!place.file("root").exists(), "the root is not on the disk");
    assert!(fs::read(place.file("pepper")).unwrap().starts_with(b"bartizan sealed\n"));
    store.close().await;
    for wrong in [None, Some(RootKey::random().unwrap())] {
        let error = Store::open(&place.dir().with_root(wrong)).await.unwrap_err();
        assert!(matches!(error, Error::RootMissing { .. } | Error::RootForeign { .. }), "{error}");
    }
    // A new root: the old one opens nothing, what was sealed still opens.
    let store = Store::open(&dir).await.unwrap();
    let next = RootKey::random().unwrap();
    store.rotate_root(NewRoot::Given(next.clone())).await.unwrap();
    store.close().await;
    assert!(Store::open(&dir).await.is_err());
    let store = Store::open(&place.dir().with_root(Some(next))).await.unwrap();
    assert_eq!(
        store.outbox().take(1, 1, NOW + 61 * D).await.unwrap()[0].body.as_deref(),
        Some(SECRET.as_bytes())
    );
    store.rotate_root(NewRoot::File).await.unwrap();
    store.close().await;
    assert!(place.store().await.outbox().list(None, 9).await.unwrap().len() > 1);
    assert_eq!(super::mode(&place.file("root")), 0o600);
}

#[tokio::test]
async fn a_backup_opens_with_its_key_alone_into_an_empty_place_and_is_whole_or_nothing() {
    let (place, other) = (Place::new(), Place::new());
    let store = place.store().await;
    let (key, text) = create(&store, "acme").await;
    let file = other.file("backup");
    let passphrase = |text: &str| BackupKey::Passphrase(text.as_bytes().to_vec().into());
    let facts = store.back_up(&file, &passphrase("correct horse")).await.unwrap();
    assert_eq!(facts.files.len(), 3);
    assert!(matches!(store.back_up(&file, &passphrase("x")).await, Err(Error::BackupExists { .. })));
    assert_eq!(super::mode(&file), 0o600);
    let sealed = fs::read(&file).unwrap();
    assert!(!holds(&sealed, "SQLite format") && !holds(&sealed, key.id.as_str()));
    assert!(!place.file("backup.partial.db").exists());
    let to = other.file("restored");
    let wrong = restore(&file, &passphrase("another horse"), &to, None).await.unwrap_err();
    assert!(matches!(wrong, Error::BackupUnsound { .. }), "{wrong}");
    let kind = restore(&file, &BackupKey::Key(RootKey::random().unwrap()), &to, None).await.unwrap_err();
    assert!(matches!(kind, Error::BackupKeyKind { is_passphrase: true }), "{kind}");
    // One bit, or the end, is missed.
    let damaged = other.file("damaged");
    for at in [40, sealed.len() / 2, sealed.len() - 1] {
        let mut bent = sealed.clone();
        bent[at] ^= 1;
        fs::write(&damaged, &bent).unwrap();
        assert!(restore(&damaged, &passphrase("correct horse"), &to, None).await.is_err(), "byte {at}");
    }
    fs::write(&damaged, &sealed[..sealed.len() - 100]).unwrap();
    assert!(restore(&damaged, &passphrase("correct horse"), &to, None).await.is_err());
    assert!(!to.exists() && !other.file("restored.restoring").exists(), "nothing half is left");
    restore(&file, &passphrase("correct horse"), &to, None).await.unwrap();
    let over = restore(&file, &passphrase("correct horse"), &to, None).await.unwrap_err();
    assert!(matches!(over, Error::RestoreOver { .. }), "{over}");
    let restored = Store::open_existing(&bartizan_store::DataDir::open(&to).unwrap()).await.unwrap();
    let feed = bartizan_store::KeyFeed::open(&restored).await.unwrap();
    assert_eq!(
        super::judged(&restored, feed.table(), text.expose()),
        Ok("acme".into()),
        "the key opens as before"
    );
    assert_eq!(super::mode(&to), 0o700);
}
