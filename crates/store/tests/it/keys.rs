//! The commands on keys.

use std::time::{Duration, Instant};

use bartizan_identity::{InvalidKind, KeyId};
use bartizan_store::{Error, KeyCursor, KeyFeed, KeyFilter, KeyRow, KeyStanding, NewKey};
use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

use super::{NOW, Place, create, judged, new_key};

#[tokio::test]
async fn a_created_key_is_found_listed_and_opens() {
    let place = Place::new();
    let store = place.store().await;
    let new = NewKey {
        consumer: "acme",
        label: Some("nightly import"),
        expires_at_ms: Some(NOW + 1),
        created_by: Some("ann"),
    };
    let (row, text) = store.keys().create(new, NOW).await.unwrap();
    assert!(text.expose().starts_with(&format!("bzk_{}_", row.id)));
    assert_eq!(
        row,
        KeyRow {
            id: row.id,
            consumer: "acme".into(),
            label: Some("nightly import".into()),
            created_at_ms: NOW,
            created_by: Some("ann".into()),
            not_before_ms: 0,
            expires_at_ms: Some(NOW + 1),
            revoked_at_ms: None,
            last_used_at_ms: None,
            replaced_by: None,
            replaced_at_ms: None,
            overlap_until_ms: None,
            leaked_at_ms: None,
        }
    );
    assert_eq!((row.standing(NOW), row.standing(NOW + 1)), (KeyStanding::Active, KeyStanding::Expired));
    assert_eq!(store.keys().show(&row.id).await.unwrap(), row);
    assert_eq!(store.keys().list(KeyFilter::default()).await.unwrap().rows, [row]);
    let feed = KeyFeed::open(&store).await.unwrap();
    assert_eq!(judged(&store, feed.table(), text.expose()), Ok("acme".into()));
}

#[tokio::test]
async fn a_key_outlives_the_process_that_made_it() {
    let place = Place::new();
    let store = place.store().await;
    let (row, text) = create(&store, "acme").await;
    store.close().await;
    drop(store);
    let store = place.store().await;
    assert_eq!(store.keys().show(&row.id).await.unwrap(), row);
    let feed = KeyFeed::open(&store).await.unwrap();
    assert_eq!(judged(&store, feed.table(), text.expose()), Ok("acme".into()));
}

#[tokio::test]
async fn a_revoked_key_stays_revoked_as_of_the_first_time() {
    let place = Place::new();
    let store = place.store().await;
    let (row, text) = create(&store, "acme").await;
    let (_, other) = create(&store, "acme").await;
    let first = store.keys().revoke(&row.id, NOW + 5).await.unwrap();
    let again = store.keys().revoke(&row.id, NOW + 9).await.unwrap();
    assert_eq!((first.was_revoked, again.was_revoked), (false, true));
    assert_eq!((first.row.revoked_at_ms, again.row.revoked_at_ms), (Some(NOW + 5), Some(NOW + 5)));
    assert_eq!(again.row.standing(NOW), KeyStanding::Revoked);
    let feed = KeyFeed::open(&store).await.unwrap();
    assert_eq!(judged(&store, feed.table(), text.expose()), Err(InvalidKind::Revoked));
    assert_eq!(judged(&store, feed.table(), other.expose()), Ok("acme".into()));
}

#[tokio::test]
async fn revoking_a_consumers_keys_leaves_those_of_others() {
    let place = Place::new();
    let store = place.store().await;
    let mine =
        [create(&store, "acme").await.0, create(&store, "acme").await.0, create(&store, "acme").await.0];
    let (_, theirs) = create(&store, "acme2").await;
    store.keys().revoke(&mine[0].id, NOW).await.unwrap();
    assert_eq!(store.keys().revoke_all("acme", NOW + 1).await.unwrap().len(), 2);
    assert_eq!(store.keys().revoke_all("acme", NOW + 2).await.unwrap().len(), 0);
    assert_eq!(store.keys().show(&mine[0].id).await.unwrap().revoked_at_ms, Some(NOW));
    assert_eq!(store.keys().show(&mine[1].id).await.unwrap().revoked_at_ms, Some(NOW + 1));
    let feed = KeyFeed::open(&store).await.unwrap();
    assert_eq!(judged(&store, feed.table(), theirs.expose()), Ok("acme2".into()));
}

#[tokio::test]
async fn an_unknown_id_is_named() {
    let place = Place::new();
    let store = place.store().await;
    let id = KeyId::parse("000000000000").unwrap();
    for error in [
        store.keys().show(&id).await.expect_err("show"),
        store.keys().revoke(&id, NOW).await.expect_err("revoke"),
    ] {
        assert!(matches!(error, Error::KeyUnknown { id: named } if named == id), "{error}");
    }
}

#[tokio::test]
async fn pages_hold_every_key_once_and_in_order() {
    let place = Place::new();
    let store = place.store().await;
    for at in 0..7u64 {
        // Some made in the same millisecond, so that the id has to break the tie.
        store.keys().create(new_key(if at % 3 == 0 { "other" } else { "acme" }), NOW + at / 2).await.unwrap();
    }
    for (consumer, count) in [(None, 7), (Some("acme"), 4), (Some("other"), 3), (Some("nobody"), 0)] {
        for limit in [1, 2, 3, 7, 8, 0] {
            let mut seen: Vec<KeyRow> = Vec::new();
            let mut after: Option<KeyCursor> = None;
            loop {
                let page = store.keys().list(KeyFilter { consumer, after, limit }).await.unwrap();
                assert!(limit == 0 || page.rows.len() <= limit as usize);
                seen.extend(page.rows);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(seen.len(), count, "{consumer:?} by {limit}");
            assert!(seen.is_sorted_by(|a, b| (a.created_at_ms, a.id) < (b.created_at_ms, b.id)));
            assert!(consumer.is_none_or(|name| seen.iter().all(|row| row.consumer == name)));
        }
    }
}

#[tokio::test]
async fn text_that_cannot_be_printed_or_found_again_is_refused() {
    let place = Place::new();
    let store = place.store().await;
    let (long_name, long_label) = ("n".repeat(254), "l".repeat(201));
    for (name, new, accepted) in [
        ("plain", new_key("acme"), true),
        ("other scripts", new_key("Zürich 東京"), true),
        ("the longest name", new_key(&long_name[..253]), true),
        ("a name too long", new_key(&long_name), false),
        ("no name", new_key(""), false),
        ("a blank name", new_key("  "), false),
        ("a line break", new_key("acme\nadmin"), false),
        ("an escape sequence", new_key("\u{1b}[2J"), false),
        ("the longest label", NewKey { label: Some(&long_label[..200]), ..new_key("acme") }, true),
        ("a label too long", NewKey { label: Some(&long_label), ..new_key("acme") }, false),
        ("a label with a bell", NewKey { label: Some("\u{7}"), ..new_key("acme") }, false),
        ("an empty author", NewKey { created_by: Some(""), ..new_key("acme") }, false),
        ("SQL is only text", new_key("'; DROP TABLE api_key; --"), true),
    ] {
        let outcome = store.keys().create(new, NOW).await;
        assert_eq!(outcome.is_ok(), accepted, "{name}: {outcome:?}");
        assert!(accepted || matches!(outcome, Err(Error::BadText { .. })), "{name}");
    }
    assert_eq!(store.keys().list(KeyFilter::default()).await.unwrap().rows.len(), 5);
}

#[tokio::test]
async fn a_key_that_has_expired_before_it_is_made_is_refused() {
    let place = Place::new();
    let store = place.store().await;
    for (expires, accepted) in [(0, false), (NOW - 1, false), (NOW, false), (NOW + 1, true), (u64::MAX, true)]
    {
        let new = NewKey { expires_at_ms: Some(expires), ..new_key("acme") };
        assert_eq!(store.keys().create(new, NOW).await.is_ok(), accepted, "{expires}");
    }
}

#[tokio::test]
async fn many_writers_at_once_all_succeed() {
    let place = Place::new();
    // Four stores, as four processes would have them: they meet at SQLite's lock, not at our pool.
    let mut tasks = Vec::new();
    for worker in 0..4 {
        let store = place.store().await;
        tasks.push(tokio::spawn(async move {
            for _ in 0..10 {
                let (row, _) = store.keys().create(new_key(&format!("worker-{worker}")), NOW).await.unwrap();
                store.keys().revoke(&row.id, NOW).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let page = place.store().await.keys().list(KeyFilter::default()).await.unwrap();
    assert_eq!(page.rows.iter().filter(|row| row.revoked_at_ms.is_some()).count(), 40);
}

#[tokio::test]
async fn a_revocation_waits_for_another_writer_instead_of_failing() {
    let place = Place::new();
    let store = place.store().await;
    let (row, _) = create(&store, "acme").await;
    let file = SqliteConnectOptions::new().filename(place.file("bartizan.db"));
    let mut writer = file.connect().await.unwrap();
    for statement in ["BEGIN IMMEDIATE", "UPDATE api_key SET label = 'written meanwhile'"] {
        sqlx::query(statement).execute(&mut writer).await.unwrap();
    }
    let revocation = tokio::spawn(async move { store.keys().revoke(&row.id, NOW).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    sqlx::query("COMMIT").execute(&mut writer).await.unwrap();
    // Had it read before it held the write lock, SQLite would refuse it: what it read is no longer the newest.
    let revoked = revocation.await.unwrap().unwrap().row;
    assert_eq!((revoked.revoked_at_ms, revoked.label.as_deref()), (Some(NOW), Some("written meanwhile")));
}

#[tokio::test]
async fn opening_and_reading_wait_for_no_writer() {
    let place = Place::new();
    let (row, text) = create(&place.store().await, "acme").await;
    let file = SqliteConnectOptions::new().filename(place.file("bartizan.db"));
    let mut writer = file.connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
    let started = Instant::now();
    let store = place.store().await;
    let feed = KeyFeed::open(&store).await.unwrap();
    assert_eq!(judged(&store, feed.table(), text.expose()), Ok("acme".into()));
    assert_eq!(store.keys().show(&row.id).await.unwrap(), row);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn debug_of_what_is_returned_holds_no_secret() {
    let place = Place::new();
    let store = place.store().await;
    let made = create(&store, "acme").await;
    let feed = KeyFeed::open(&store).await.unwrap();
    let secret = &made.1.expose()[17..60];
    let shown = format!("{made:?} {store:?} {feed:?} {:?}", store.pepper());
    assert!(!shown.contains(secret), "{shown}");
}
