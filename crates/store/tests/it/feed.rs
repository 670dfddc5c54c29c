//! How a gateway follows what other processes change, and what it does when it cannot.

use std::{
    fs,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bartizan_identity::{Claim, InvalidKind, KeyTable};
use bartizan_store::{FeedEvent, KeyFeed, Store};
use sqlx::{ConnectOptions, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::oneshot;

use super::{NOW, Place, create, judged};

/// A feed that runs as the gateway runs it.
struct Running {
    table: Arc<Mutex<Arc<KeyTable>>>,
    events: Arc<Mutex<Vec<&'static str>>>,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn start(store: &Store) -> Self {
        let feed = KeyFeed::open(store).await.unwrap();
        let table = Arc::new(Mutex::new(Arc::clone(feed.table())));
        let events = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = oneshot::channel();
        let (live, log) = (Arc::clone(&table), Arc::clone(&events));
        let task = tokio::spawn(feed.run(async { drop(stopped.await) }, move |event| {
            log.lock().unwrap().push(match &event {
                FeedEvent::Changed(_) => "changed",
                FeedEvent::Failing(_) => "failing",
                FeedEvent::Recovered => "recovered",
            });
            if let FeedEvent::Changed(table) = event {
                *live.lock().unwrap() = Arc::clone(table);
            }
        }));
        Running { table, events, stop, task }
    }

    fn table(&self) -> Arc<KeyTable> {
        Arc::clone(&self.table.lock().unwrap())
    }

    /// How long until `condition` holds; fails after fifteen seconds.
    async fn until(&self, condition: impl Fn(&Self) -> bool) -> Duration {
        let started = Instant::now();
        while !condition(self) {
            assert!(started.elapsed() < Duration::from_secs(15), "it never came");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        started.elapsed()
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn what_another_process_does_is_live_within_a_second() {
    let place = Place::new();
    let gateway = place.store().await;
    let running = Running::start(&gateway).await;
    let command = place.store().await;

    let (row, text) = create(&command, "acme").await;
    let opened = running.until(|live| judged(&gateway, &live.table(), text.expose()).is_ok()).await;
    command.keys().revoke(&row.id, NOW).await.unwrap();
    let closed = running
        .until(|live| judged(&gateway, &live.table(), text.expose()) == Err(InvalidKind::Revoked))
        .await;
    println!("created: live after {opened:?}; revoked: live after {closed:?}");
    assert!(opened < Duration::from_secs(1) && closed < Duration::from_secs(1), "{opened:?} {closed:?}");
    running.end().await;
}

#[tokio::test]
async fn a_look_without_a_change_makes_no_table() {
    let place = Place::new();
    let store = place.store().await;
    let mut feed = KeyFeed::open(&store).await.unwrap();
    assert!(feed.poll().await.unwrap().is_none());
    create(&store, "acme").await;
    assert_eq!(feed.poll().await.unwrap().map(|table| table.len()), Some(1));
    assert!(feed.poll().await.unwrap().is_none());
}

#[tokio::test]
async fn several_changes_between_two_looks_all_arrive() {
    let place = Place::new();
    let store = place.store().await;
    let (kept, kept_text) = create(&store, "kept").await;
    let mut feed = KeyFeed::open(&store).await.unwrap();
    let (gone, gone_text) = create(&store, "gone").await;
    let (_, made) = create(&store, "made").await;
    store.keys().revoke(&gone.id, NOW).await.unwrap();
    store.keys().revoke_all("kept", NOW).await.unwrap();
    let table = feed.poll().await.unwrap().unwrap();
    assert_eq!(table.len(), 3);
    assert_eq!(judged(&store, &table, gone_text.expose()), Err(InvalidKind::Revoked));
    assert_eq!(judged(&store, &table, kept_text.expose()), Err(InvalidKind::Revoked), "{}", kept.id);
    assert_eq!(judged(&store, &table, made.expose()), Ok("made".into()));
}

#[tokio::test]
async fn a_use_is_saved_once_and_wakes_no_other_gateway() {
    let place = Place::new();
    let store = place.store().await;
    let (row, text) = create(&store, "acme").await;
    let (idle, _) = create(&store, "acme").await;
    let mut feed = KeyFeed::open(&store).await.unwrap();
    let other_gateway = place.store().await;
    let mut other = KeyFeed::open(&other_gateway).await.unwrap();

    use_key(&store, feed.table(), text.expose(), NOW + 999);
    assert_eq!(feed.save_uses().await.unwrap(), 1);
    assert_eq!(feed.save_uses().await.unwrap(), 0);
    assert_eq!(store.keys().show(&row.id).await.unwrap().last_used_at_ms, Some(NOW));
    assert_eq!(store.keys().show(&idle.id).await.unwrap().last_used_at_ms, None);
    assert!(other.poll().await.unwrap().is_none() && feed.poll().await.unwrap().is_none());

    // A gateway whose clock lags does not turn the time back.
    use_key(&store, other.table(), text.expose(), NOW - 60_000);
    other.save_uses().await.unwrap();
    assert_eq!(store.keys().show(&row.id).await.unwrap().last_used_at_ms, Some(NOW));
    // The next start begins with what was saved.
    let again = KeyFeed::open(&store).await.unwrap();
    assert_eq!(again.table().last_used_s(&row.id), Some((NOW / 1000) as u32));
}

#[tokio::test]
async fn uses_are_saved_when_the_gateway_stops() {
    let place = Place::new();
    let store = place.store().await;
    let (row, text) = create(&store, "acme").await;
    let running = Running::start(&store).await;
    use_key(&store, &running.table(), text.expose(), NOW);
    running.end().await;
    assert_eq!(store.keys().show(&row.id).await.unwrap().last_used_at_ms, Some(NOW));
}

#[tokio::test]
async fn a_change_is_told_also_when_uses_cannot_be_saved() {
    let place = Place::new();
    let store = place.store().await;
    let (row, text) = create(&store, "acme").await;
    let mut connection = connection(&place).await;
    sqlx::query(
        "CREATE TRIGGER no_use BEFORE UPDATE OF last_used_s ON api_key
         BEGIN SELECT raise(ABORT, 'the disk is full'); END",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let running = Running::start(&store).await;
    use_key(&store, &running.table(), text.expose(), NOW);
    running.until(|live| live.events.lock().unwrap().contains(&"failing")).await;
    store.keys().revoke(&row.id, NOW).await.unwrap();
    running.until(|live| judged(&store, &live.table(), text.expose()).is_err()).await;
    assert!(
        !running.events.lock().unwrap().contains(&"recovered"),
        "what fails is not called recovered between"
    );
    sqlx::query("DROP TRIGGER no_use").execute(&mut connection).await.unwrap();
    running.until(|live| live.events.lock().unwrap().contains(&"recovered")).await;
    assert_eq!(store.keys().show(&row.id).await.unwrap().last_used_at_ms, Some(NOW));
    running.end().await;
}

#[tokio::test]
async fn a_save_that_meets_a_writer_is_put_off_and_delays_no_look() {
    let place = Place::new();
    let store = place.store().await;
    let (_, text) = create(&store, "acme").await;
    let mut feed = KeyFeed::open(&store).await.unwrap();
    use_key(&store, feed.table(), text.expose(), NOW);
    let mut writer = connection(&place).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
    let started = Instant::now();
    feed.save_uses().await.expect_err("the database is locked");
    assert!(feed.poll().await.unwrap().is_none());
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
    sqlx::query("ROLLBACK").execute(&mut writer).await.unwrap();
    assert_eq!(feed.save_uses().await.unwrap(), 1);
}

#[tokio::test]
async fn a_failing_store_keeps_the_last_table_and_is_reported() {
    let place = Place::new();
    let store = place.store().await;
    let (row, text) = create(&store, "acme").await;
    store.close().await;
    let gateway = place.store().await;
    let running = Running::start(&gateway).await;

    let aside = place.file("aside.db");
    fs::rename(place.file("bartizan.db"), &aside).unwrap();
    running.until(|live| live.events.lock().unwrap().contains(&"failing")).await;
    assert_eq!(judged(&gateway, &running.table(), text.expose()), Ok("acme".into()));

    fs::rename(&aside, place.file("bartizan.db")).unwrap();
    running.until(|live| live.events.lock().unwrap().contains(&"recovered")).await;
    let command = place.store().await;
    command.keys().revoke(&row.id, NOW).await.unwrap();
    running.until(|live| judged(&gateway, &live.table(), text.expose()).is_err()).await;
    running.end().await;
}

#[tokio::test]
async fn a_restored_database_is_read_anew() {
    let place = Place::new();
    let store = place.store().await;
    let (_, old) = create(&store, "old").await;
    store.close().await;
    // The backup lived on elsewhere, so its change numbers are not behind ours and say nothing.
    let elsewhere = Place::new();
    for name in ["bartizan.db", "pepper", "root"] {
        fs::copy(place.file(name), elsewhere.file(name)).unwrap();
    }
    let copy = elsewhere.store().await;
    let (_, anew) = create(&copy, "anew").await;
    create(&copy, "anew").await;
    copy.close().await;

    let store = place.store().await;
    let (_, late) = create(&store, "late").await;
    let gateway = place.store().await;
    let mut feed = KeyFeed::open(&gateway).await.unwrap();
    assert_eq!(feed.table().len(), 2);
    use_key(&gateway, feed.table(), old.expose(), NOW);
    store.close().await;

    for name in ["bartizan.db-wal", "bartizan.db-shm"] {
        let _ = fs::remove_file(place.file(name));
    }
    fs::rename(elsewhere.file("bartizan.db"), place.file("bartizan.db")).unwrap();
    let table = feed.poll().await.unwrap().unwrap();
    assert_eq!(judged(&gateway, &table, old.expose()), Ok("old".into()));
    assert_eq!(judged(&gateway, &table, anew.expose()), Ok("anew".into()));
    assert_eq!(judged(&gateway, &table, late.expose()), Err(InvalidKind::Unknown));
    assert_eq!(table.unsaved_uses().len(), 1, "a noted use outlives the exchange");
}

#[tokio::test]
async fn another_stores_database_is_not_taken_for_ours() {
    let place = Place::new();
    let store = place.store().await;
    let (_, text) = create(&store, "acme").await;
    let mut feed = KeyFeed::open(&store).await.unwrap();
    store.close().await;

    let other = Place::new();
    let foreign = other.store().await;
    create(&foreign, "mallory").await;
    foreign.close().await;
    fs::rename(other.file("bartizan.db"), place.file("bartizan.db")).unwrap();
    for _ in 0..2 {
        let error = feed.poll().await.expect_err("foreign");
        assert!(matches!(error, bartizan_store::Error::PepperForeign { .. }), "{error}");
    }
    assert_eq!(judged(&store, feed.table(), text.expose()), Ok("acme".into()));
}

#[tokio::test]
async fn a_damaged_row_changes_nothing_and_is_named() {
    let place = Place::new();
    let store = place.store().await;
    let (row, text) = create(&store, "acme").await;
    let mut feed = KeyFeed::open(&store).await.unwrap();
    let mut connection = connection(&place).await;
    for statement in [
        "PRAGMA ignore_check_constraints = on",
        "UPDATE api_key SET hash = x'00', change = 1000",
        "UPDATE api_key_change SET value = 1000",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    let error = feed.poll().await.expect_err("damaged");
    assert!(super::chain(&error).contains(row.id.as_str()), "{}", super::chain(&error));
    assert_eq!(judged(&store, feed.table(), text.expose()), Ok("acme".into()));
}

async fn connection(place: &Place) -> SqliteConnection {
    SqliteConnectOptions::new().filename(place.file("bartizan.db")).connect().await.unwrap()
}

fn use_key(store: &Store, table: &KeyTable, text: &str, at_ms: u64) {
    match table.judge(text.as_bytes(), store.pepper(), NOW) {
        Claim::Valid(identity) => table.note_use(&identity, at_ms),
        other => panic!("{other:?}"),
    }
}
