//! Revisions: made whole, compared before they are swapped, never changed.

use bartizan_store::{
    DataDir, LastGood, NewRevision, Put, RevisionFeed, RevisionFile, RevisionRef, RevisionRow, Rollback,
    SetDigest, Store, Went,
};

use super::*;

fn file(name: &str, text: &str) -> RevisionFile {
    RevisionFile { name: name.to_owned(), text: text.to_owned() }
}

/// A set of one file whose digest is made of `mark`.
async fn put(store: &Store, mark: u8, expected: Option<u64>) -> Result<Put, Error> {
    let files = [file("a.yaml", &format!("mark: {mark}\n")), file("shared.yaml", "same: always\n")];
    let new = NewRevision {
        files: &files,
        digest: SetDigest::new([mark; 32]),
        documents: 2,
        author: "ann",
        reason: "because",
    };
    store.revisions().put(new, expected, NOW).await
}

async fn made(store: &Store, mark: u8, expected: Option<u64>) -> RevisionRow {
    match put(store, mark, expected).await.unwrap() {
        Put::Made(row) => row,
        Put::Same(row) => panic!("{row:?} is not new"),
    }
}

#[tokio::test]
async fn a_revision_is_kept_as_it_was_given() {
    let place = Place::new();
    let store = place.store().await;
    assert_eq!(store.revisions().active().await.unwrap(), None);
    assert!(matches!(store.revisions().get(&RevisionRef::Active).await, Err(Error::RevisionNone)));
    let row = made(&store, 1, None).await;
    assert_eq!((row.number, row.parent, row.restores, row.files, row.documents), (1, None, None, 2, 2));
    assert_eq!((&*row.author, &*row.reason, row.created_at_ms), ("ann", "because", NOW));
    assert_eq!(row.tag(), "r1-010101010101");
    let whole = store.revisions().get(&RevisionRef::Active).await.unwrap();
    assert_eq!(whole.row, row);
    assert_eq!(whole.files, [file("a.yaml", "mark: 1\n"), file("shared.yaml", "same: always\n")]);
    drop(store);
    let again = place.store().await;
    assert_eq!(
        again.revisions().get(&RevisionRef::Number(1)).await.unwrap(),
        whole,
        "it outlives the process"
    );
}

#[tokio::test]
async fn a_writer_that_saw_another_revision_changes_nothing() {
    let place = Place::new();
    let store = place.store().await;
    made(&store, 1, None).await;
    made(&store, 2, Some(1)).await;
    for expected in [None, Some(1), Some(3)] {
        let refused = put(&store, 3, expected).await;
        assert!(
            matches!(refused, Err(Error::RevisionConflict { active: Some(2), expected: e }) if e == expected),
            "{refused:?}"
        );
    }
    assert_eq!(store.revisions().active().await.unwrap().unwrap().number, 2);
    assert!(matches!(
        store.revisions().find(&RevisionRef::Number(3)).await,
        Err(Error::RevisionUnknown { .. })
    ));
    assert_eq!(made(&store, 3, Some(2)).await.number, 3);
}

#[tokio::test]
async fn of_many_writers_that_saw_the_same_one_wins() {
    let place = Place::new();
    let store = place.store().await;
    made(&store, 1, None).await;
    let mut writers = Vec::new();
    for mark in 10..20 {
        let other = place.store().await;
        writers.push(tokio::spawn(async move { put(&other, mark, Some(1)).await.is_ok() }));
    }
    let mut won = 0;
    for writer in writers {
        won += u32::from(writer.await.unwrap());
    }
    assert_eq!(won, 1);
    assert_eq!(store.revisions().active().await.unwrap().unwrap().number, 2);
}

#[tokio::test]
async fn the_same_documents_make_no_revision() {
    let place = Place::new();
    let store = place.store().await;
    let row = made(&store, 1, None).await;
    assert_eq!(put(&store, 1, Some(1)).await.unwrap(), Put::Same(row));
    assert_eq!(store.revisions().history(None, 0).await.unwrap().rows.len(), 1);
}

#[tokio::test]
async fn a_rollback_is_a_new_revision_with_the_old_documents() {
    let place = Place::new();
    let store = place.store().await;
    made(&store, 1, None).await;
    made(&store, 2, Some(1)).await;
    let back = |to: u64| Rollback {
        to: &RevisionRef::Number(1),
        author: "bo",
        reason: if to == 1 { "worse" } else { "" },
    };
    let row = store.revisions().roll_back(back(1), Some(2), NOW + 1).await.unwrap().row().clone();
    assert_eq!((row.number, row.parent, row.restores, &*row.author), (3, Some(2), Some(1), "bo"));
    let (old, new) = (
        store.revisions().get(&RevisionRef::Number(1)).await.unwrap(),
        store.revisions().get(&RevisionRef::Active).await.unwrap(),
    );
    assert_eq!((new.files, new.row.digest), (old.files, old.row.digest));
    // The newest one with a digest is meant by it.
    let by_digest = RevisionRef::parse("010101010101").unwrap();
    assert_eq!(store.revisions().find(&by_digest).await.unwrap().number, 3);
    let same = store.revisions().roll_back(back(1), Some(3), NOW).await.unwrap();
    assert!(matches!(same, Put::Same(row) if row.number == 3));
    assert!(matches!(
        store.revisions().roll_back(back(1), Some(2), NOW).await,
        Err(Error::RevisionConflict { .. })
    ));
    assert!(matches!(store.revisions().roll_back(back(2), Some(3), NOW).await, Err(Error::BadText { .. })));
    let unknown = Rollback { to: &RevisionRef::Number(9), author: "bo", reason: "worse" };
    assert!(matches!(
        store.revisions().roll_back(unknown, Some(3), NOW).await,
        Err(Error::RevisionUnknown { .. })
    ));
}

#[tokio::test]
async fn the_history_goes_back_page_by_page() {
    let place = Place::new();
    let store = place.store().await;
    let mut active = None;
    for mark in 1..=5 {
        active = Some(made(&store, mark, active).await.number);
    }
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = store.revisions().history(before, 2).await.unwrap();
        seen.extend(page.rows.iter().map(|row| row.number));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn a_stored_revision_cannot_be_changed_and_damage_is_told() {
    let place = Place::new();
    let store = place.store().await;
    made(&store, 1, None).await;
    let raw = sqlx::sqlite::SqliteConnectOptions::new().filename(place.file("bartizan.db"));
    let mut raw = sqlx::ConnectOptions::connect(&raw).await.unwrap();
    for sql in [
        "UPDATE revision SET reason = 'another'",
        "DELETE FROM revision",
        "UPDATE revision_file SET name = 'b.yaml'",
        "DELETE FROM revision_file",
        "UPDATE revision_text SET text = 'x'",
        "DELETE FROM revision_text",
    ] {
        assert!(sqlx::query(sql).execute(&mut raw).await.is_err(), "{sql}");
    }
    for sql in ["DROP TRIGGER revision_text_kept", "UPDATE revision_text SET text = 'x' WHERE id = 1"] {
        sqlx::query(sql).execute(&mut raw).await.unwrap();
    }
    assert!(matches!(
        store.revisions().get(&RevisionRef::Active).await,
        Err(Error::RevisionDamaged { number: 1 })
    ));
}

#[tokio::test]
async fn what_is_too_large_or_has_no_reason_is_refused() {
    let place = Place::new();
    let store = place.store().await;
    let digest = SetDigest::new([1; 32]);
    let good = [file("a.yaml", "x")];
    let new = NewRevision { files: &good, digest, documents: 1, author: "ann", reason: "because" };
    let long = "x".repeat(1001);
    for (case, wrong) in [
        ("no reason", NewRevision { reason: " ", ..new }),
        ("a reason that moves the cursor", NewRevision { reason: "a\x1b[2J", ..new }),
        ("a reason too long", NewRevision { reason: &long, ..new }),
        ("no author", NewRevision { author: "", ..new }),
        ("a file without a name", NewRevision { files: &[file("", "x")], ..new }),
    ] {
        assert!(
            matches!(store.revisions().put(wrong, None, NOW).await, Err(Error::BadText { .. })),
            "{case}"
        );
    }
    let many: Vec<RevisionFile> = (0..20_001).map(|number| file(&format!("{number}.yaml"), "")).collect();
    let large: Vec<RevisionFile> =
        (0..17).map(|number| file(&format!("{number}.yaml"), &"x".repeat(4 << 20))).collect();
    for files in [&many, &large] {
        let refused = store.revisions().put(NewRevision { files, ..new }, None, NOW).await;
        assert!(matches!(refused, Err(Error::RevisionTooLarge { .. })), "{refused:?}");
    }
    assert_eq!(store.revisions().active().await.unwrap(), None);
}

#[tokio::test]
async fn a_feed_tells_what_another_process_applied_and_how_it_went() {
    let place = Place::new();
    let store = place.store().await;
    let mut feed = RevisionFeed::new(&store);
    assert_eq!(feed.poll().await.unwrap(), Some(None));
    assert_eq!(feed.poll().await.unwrap(), None);
    let other = place.store().await;
    made(&other, 1, None).await;
    assert_eq!(feed.poll().await.unwrap().unwrap().unwrap().number, 1);
    assert_eq!(feed.poll().await.unwrap(), None);
    store.revisions().tell(1, Went::Failed, "no certificate", NOW).await.unwrap();
    store.revisions().tell(1, Went::Live, "", NOW + 1).await.unwrap();
    let outcome = other.revisions().active().await.unwrap().unwrap().outcome.unwrap();
    assert_eq!((outcome.went, &*outcome.detail, outcome.at_ms), (Went::Live, "", NOW + 1));
    // Gone: told as a failure, and not made anew.
    for name in ["bartizan.db", "bartizan.db-wal", "bartizan.db-shm"] {
        let _ = fs::remove_file(place.file(name));
    }
    assert!(feed.poll().await.is_err() && feed.poll().await.is_err());
    assert!(matches!(Store::open_existing(&place.dir()).await, Err(Error::StoreGone { .. })));
    assert!(!place.file("bartizan.db").exists());
    // Restored: another file, told at once.
    made(&place.store().await, 2, None).await;
    assert_eq!(feed.poll().await.unwrap().unwrap().unwrap().digest, SetDigest::new([2; 32]));
}

#[test]
fn the_last_good_revision_is_private_and_replaced_whole() {
    let place = Place::new();
    let dir = place.dir();
    assert_eq!(LastGood::load(&dir).unwrap(), None);
    let one = LastGood {
        number: 1,
        digest: SetDigest::new([1; 32]),
        saved_at_ms: NOW,
        files: vec![file("a.yaml", "one")],
    };
    let two = LastGood { number: 2, files: vec![file("a.yaml", "two, and longer")], ..one.clone() };
    for kept in [&one, &two, &one] {
        kept.save(&dir).unwrap();
        assert_eq!(LastGood::load(&dir).unwrap().as_ref(), Some(kept));
    }
    assert_eq!(mode(&place.file("last-good")), 0o600);
    set_mode(&place.file("last-good"), 0o640);
    assert!(matches!(LastGood::load(&dir), Err(Error::FileExposed { .. })));
}

#[test]
fn who_runs_on_a_directory_is_told_without_taking_it() {
    let place = Place::new();
    let dir = place.dir();
    assert_eq!(dir.gateway().unwrap(), None);
    for (command, on_files) in
        [("bartizan run", true), ("bartizan demo", true), ("bartizan run --store", false)]
    {
        let lock = dir.lock_for_gateway(command).unwrap();
        let holder = dir.gateway().unwrap().expect(command);
        assert!(holder.as_str().contains(command) && holder.is_on_files() == on_files, "{holder:?}");
        drop(lock);
        assert_eq!(dir.gateway().unwrap(), None);
    }
}

#[test]
fn an_address_of_a_store_names_its_data_directory() {
    let place = Place::new();
    let root = place.dir();
    fs::write(place.file("other.db"), "").unwrap();
    let path = root.path().display();
    for address in
        [format!("sqlite:{path}"), format!("sqlite:{path}/bartizan.db"), format!("sqlite://{path}")]
    {
        assert_eq!(DataDir::of_store(&address).unwrap().path(), root.path(), "{address}");
    }
    for address in
        [format!("{path}"), "sqlite:".into(), "postgres://x".into(), format!("sqlite:{path}/other.db")]
    {
        assert!(matches!(DataDir::of_store(&address), Err(Error::StoreUnknown { .. })), "{address}");
    }
}
