//! What lies in the data directory, who may read it, and which of it is refused.

use std::{fs, os::unix::fs::symlink};

use bartizan_store::{DataDir, Error, KeyFeed, KeyFilter, Store};
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{Place, chain, create, judged, mode, set_mode};

async fn database(place: &Place) -> SqliteConnection {
    SqliteConnectOptions::new().filename(place.file("bartizan.db")).connect().await.unwrap()
}

#[tokio::test]
async fn all_that_is_made_is_its_owners_alone() {
    let place = Place::new();
    let path = place.file("new/deeper");
    let dir = DataDir::open(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&place.file("new")), 0o700);
    let _lock = dir.lock_for_gateway("bartizan run").unwrap();
    let store = Store::open(&dir).await.unwrap();
    create(&store, "acme").await;
    let _feed = KeyFeed::open(&store).await.unwrap();
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        names.push(entry.file_name().into_string().unwrap());
        assert_eq!(mode(&entry.path()), 0o600, "{}", entry.path().display());
    }
    names.sort();
    assert_eq!(
        names,
        ["bartizan.db", "bartizan.db-shm", "bartizan.db-wal", "gateway.lock", "pepper", "root", "setup.lock"]
    );
    assert_eq!(fs::read(path.join("pepper")).unwrap().len(), 32);
}

#[tokio::test]
async fn the_secret_is_in_no_file() {
    let place = Place::new();
    let store = place.store().await;
    let (row, text) = create(&store, "acme-the-consumer").await;
    let secret = &text.expose().as_bytes()[17..60];
    let mut found_id = false;
    for pass in ["with its log", "closed"] {
        for entry in fs::read_dir(&place.0).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            // Eight characters in a row are more than chance.
            for part in secret.windows(8) {
                assert!(!holds(part), "{} {pass}", path.display());
            }
            found_id |= holds(row.id.as_str().as_bytes());
        }
        store.close().await;
    }
    assert!(found_id, "the search would have found it");
}

#[test]
fn a_directory_that_others_can_write_in_is_refused_with_the_remedy() {
    let place = Place::new();
    for (bits, accepted) in [
        (0o700, true),
        (0o750, true),
        (0o755, true),
        (0o720, false),
        (0o702, false),
        (0o777, false),
        (0o1777, false),
    ] {
        set_mode(&place.0, bits);
        let outcome = DataDir::open(&place.0);
        assert_eq!(outcome.is_ok(), accepted, "{bits:o}");
        if let Err(error) = outcome {
            assert!(error.to_string().contains(&format!("chmod go-w '{}'", place.0.display())), "{error}");
        }
    }
    set_mode(&place.0, 0o700);
}

#[test]
fn a_file_in_place_of_the_directory_is_refused() {
    let place = Place::new();
    fs::write(place.file("file"), "").unwrap();
    assert!(matches!(DataDir::open(&place.file("file")), Err(Error::NotADirectory { .. })));
    let error = DataDir::open(&place.file("file/below")).expect_err("below a file");
    assert!(matches!(error, Error::File { .. }), "{error}");
    symlink(place.file("nowhere"), place.file("link")).unwrap();
    assert!(DataDir::open(&place.file("link")).is_err(), "a link that leads nowhere");
}

#[test]
fn a_directory_of_another_user_is_refused_by_name() {
    if !bartizan_store::data_dir::is_root() {
        return; // Only root can give a directory away.
    }
    let place = Place::new();
    std::os::unix::fs::chown(&place.0, Some(12345), None).unwrap();
    let error = DataDir::open(&place.0).expect_err("foreign");
    assert!(matches!(error, Error::DataDirForeign { owner: 12345, user: 0, .. }), "{error}");
}

#[test]
fn a_second_gateway_is_refused_by_name_and_keys_are_not() {
    let place = Place::new();
    let lock = place.dir().lock_for_gateway("bartizan demo").unwrap();
    let error = place.dir().lock_for_gateway("bartizan run").expect_err("the second");
    assert!(matches!(error, Error::DataDirInUse { .. }));
    let expected = format!("in use by `bartizan demo` (pid {})", std::process::id());
    assert!(error.to_string().contains(&expected), "{error}");
    assert!(error.to_string().contains(&place.0.display().to_string()), "{error}");
    drop(lock);
    let _again = place.dir().lock_for_gateway("bartizan run").unwrap();
}

#[test]
fn a_lock_file_with_junk_in_it_names_no_junk() {
    let place = Place::new();
    for junk in [&b""[..], b"\x1b[2J", b"\xff\xff", &[b'\0'; 5000]] {
        let lock = place.dir().lock_for_gateway("bartizan run").unwrap();
        fs::write(place.file("gateway.lock"), junk).unwrap();
        let error = place.dir().lock_for_gateway("bartizan run").expect_err("the second");
        assert!(error.to_string().contains("in use by another gateway"), "{error}");
        drop(lock);
    }
}

#[tokio::test]
async fn keys_work_beside_a_gateway_that_holds_the_lock() {
    let place = Place::new();
    let _lock = place.dir().lock_for_gateway("bartizan run").unwrap();
    let gateway = place.store().await;
    let mut feed = KeyFeed::open(&gateway).await.unwrap();
    let command = place.store().await;
    let (_, text) = create(&command, "acme").await;
    feed.poll().await.unwrap();
    assert_eq!(judged(&gateway, feed.table(), text.expose()), Ok("acme".into()));
}

#[tokio::test]
async fn a_pepper_or_store_that_others_can_open_is_refused_with_the_remedy() {
    let place = Place::new();
    place.store().await.close().await;
    for name in ["pepper", "bartizan.db"] {
        let path = place.file(name);
        for bits in [0o640, 0o604, 0o660, 0o610, 0o644, 0o666] {
            set_mode(&path, bits);
            let error = place.refused().await;
            assert!(matches!(&error, Error::FileExposed { mode, .. } if *mode == bits), "{bits:o}: {error}");
            assert!(error.to_string().contains(&format!("chmod 600 '{}'", path.display())), "{error}");
        }
        for bits in [0o600, 0o400] {
            // Only root writes to a database that its owner may only read.
            if bits == 0o400 && name == "bartizan.db" {
                continue;
            }
            set_mode(&path, bits);
            place.store().await.close().await;
        }
        set_mode(&path, 0o600);
    }
}

#[tokio::test]
async fn a_pepper_of_another_length_is_refused() {
    let place = Place::new();
    place.store().await.close().await;
    let right = fs::read(place.file("pepper")).unwrap();
    for (length, bytes) in [
        (0, vec![]),
        (31, right[..31].to_vec()),
        (33, [right.as_slice(), b"\n"].concat()),
        (33, [right.as_slice(); 100].concat()),
    ] {
        fs::write(place.file("pepper"), bytes).unwrap();
        let error = place.refused().await;
        assert!(matches!(error, Error::PepperLength { found, .. } if found == length), "{length}: {error}");
    }
    fs::write(place.file("pepper"), right).unwrap();
    place.store().await.close().await;
}

#[tokio::test]
async fn a_lost_or_exchanged_pepper_is_named_and_never_replaced_under_keys() {
    let place = Place::new();
    let store = place.store().await;
    let (_, text) = create(&store, "acme").await;
    store.close().await;
    let right = fs::read(place.file("pepper")).unwrap();

    fs::remove_file(place.file("pepper")).unwrap();
    assert!(matches!(place.refused().await, Error::PepperMissing { .. }));
    assert!(!place.file("pepper").exists(), "no new one was made");

    let other = Place::new();
    other.store().await.close().await;
    fs::copy(other.file("pepper"), place.file("pepper")).unwrap();
    let error = place.refused().await;
    assert!(matches!(error, Error::PepperForeign { .. }), "{error}");

    fs::write(place.file("pepper"), right).unwrap();
    let store = place.store().await;
    let feed = KeyFeed::open(&store).await.unwrap();
    assert_eq!(judged(&store, feed.table(), text.expose()), Ok("acme".into()));
}

#[tokio::test]
async fn a_pepper_lost_before_the_first_key_is_made_anew() {
    let place = Place::new();
    place.store().await.close().await;
    fs::remove_file(place.file("pepper")).unwrap();
    // What a crash in the middle of making it leaves behind.
    fs::write(place.file("pepper.partial"), "half").unwrap();
    let store = place.store().await;
    let (_, text) = create(&store, "acme").await;
    assert!(!place.file("pepper.partial").exists());
    store.close().await;
    let store = place.store().await;
    let feed = KeyFeed::open(&store).await.unwrap();
    assert_eq!(judged(&store, feed.table(), text.expose()), Ok("acme".into()));
}

#[tokio::test]
async fn two_first_starts_at_once_make_one_pepper() {
    let place = Place::new();
    let dirs: Vec<DataDir> = (0..8).map(|_| place.dir()).collect();
    let tasks: Vec<_> = dirs
        .into_iter()
        .map(|dir| tokio::spawn(async move { Store::open(&dir).await.unwrap().pepper().fingerprint() }))
        .collect();
    let mut fingerprints = Vec::new();
    for task in tasks {
        fingerprints.push(task.await.unwrap());
    }
    assert!(fingerprints.iter().all(|one| one.matches(&fingerprints[0])));
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_by_name() {
    let place = Place::new();
    place.store().await.close().await;
    let mut connection = database(&place).await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (99, 'what comes later', 1, x'00', 0)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    let error = place.refused().await;
    assert!(matches!(error, Error::SchemaNewer { found: 99, .. }), "{error}");
    assert!(error.to_string().contains("newer version of bartizan (schema 99"), "{error}");
}

#[tokio::test]
async fn a_store_of_before_the_last_step_is_brought_up_to_date_with_its_keys() {
    let place = Place::new();
    let store = place.store().await;
    let (row, _) = create(&store, "acme").await;
    store.close().await;
    let mut connection = database(&place).await;
    for undo in [
        "DROP TABLE notice",
        "DROP TABLE key_claim",
        "DROP TABLE alert",
        "DROP TABLE alert_silence",
        "DROP INDEX api_key_by_end",
        "ALTER TABLE api_key DROP COLUMN leaked_at_ms",
        "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)",
    ] {
        sqlx::query(undo).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    let store = place.store().await;
    assert_eq!(store.keys().show(&row.id).await.unwrap().consumer, "acme");
    assert!(store.alerts().list(false, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_schema_that_is_not_ours_is_refused() {
    let place = Place::new();
    place.store().await.close().await;
    let mut connection = database(&place).await;
    sqlx::query("UPDATE _sqlx_migrations SET checksum = x'00'").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    assert!(matches!(place.refused().await, Error::SchemaForeign { step: 1, .. }));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let place = Place::new();
    place.store().await.close().await;
    fs::write(place.file("bartizan.db"), "this is not a database, whatever its name says").unwrap();
    let error = place.refused().await;
    assert!(matches!(error, Error::Database { .. }), "{error}");
    let text = chain(&error);
    assert!(text.contains("bartizan.db") && text.contains("not a database"), "{text}");
}

#[tokio::test]
async fn forgetting_begins_anew_and_leaves_what_is_not_ours() {
    let place = Place::new();
    let store = place.store().await;
    let (_, text) = create(&store, "acme").await;
    store.close().await;
    fs::write(place.file("ca.pem"), "somebody else's").unwrap();
    let dir = place.dir();
    let lock = dir.lock_for_gateway("bartizan demo").unwrap();
    dir.forget(&lock).unwrap();
    dir.forget(&lock).unwrap();
    assert!(place.file("ca.pem").exists());
    let store = place.store().await;
    assert!(store.keys().list(KeyFilter::default()).await.unwrap().rows.is_empty());
    let feed = KeyFeed::open(&store).await.unwrap();
    assert!(judged(&store, feed.table(), text.expose()).is_err());
}

#[tokio::test]
async fn a_path_that_looks_like_a_uri_is_only_a_path() {
    let place = Place::new();
    let path = place.file("file:a?mode=memory#%41 '\"");
    let dir = DataDir::open(&path).unwrap();
    Store::open(&dir).await.unwrap().close().await;
    assert!(path.join("bartizan.db").metadata().unwrap().len() > 0);
}
