//! Tokens of the management API, and the chain of what was done.

use bartizan_store::{AuditNote, AuditPhase, Deed, Ending, NewToken};

use super::*;

const NEW: NewToken<'_> =
    NewToken { name: "ci", role: "operator", created_by: "ann", expires_at_ms: None, scope: "", user: None };

#[tokio::test]
async fn a_token_is_recognised_by_its_text_alone_and_never_kept() {
    let place = Place::new();
    let store = place.store().await;
    let (row, text) =
        store.tokens().create(NewToken { expires_at_ms: Some(NOW + 10), ..NEW }, NOW).await.unwrap();
    assert_eq!((&*row.name, &*row.role, row.last_used_at_ms), ("ci", "operator", None));
    let text = text.expose().to_owned();
    assert!(text.starts_with(&format!("bzt_{}_", row.id)) && text.len() == 4 + 16 + 1 + 64, "{text}");
    assert_eq!(store.tokens().recognise(&text).await.unwrap(), Some(row.clone()));
    assert!(row.is_valid(NOW + 9) && !row.is_valid(NOW + 10));
    let other = store.tokens().create(NEW, NOW).await.unwrap().1;
    let crossed = format!("bzt_{}_{}", row.id, other.expose().rsplit('_').next().unwrap());
    for wrong in
        ["", "bzt_", &text[..text.len() - 1], &text.replace("bzt_", "bzk_"), &crossed, &format!("{text}0")]
    {
        assert_eq!(store.tokens().recognise(wrong).await.unwrap(), None, "{wrong}");
    }
    store.tokens().used(&row, NOW + 5).await.unwrap();
    let listed = store.tokens().list().await.unwrap();
    let used = listed.iter().find(|listed| listed.id == row.id).unwrap();
    assert!(used.last_used_at_ms.is_some());
    let gone = store.tokens().revoke(&row.id, NOW + 6).await.unwrap();
    assert!(!gone.is_valid(NOW + 6) && gone.revoked_at_ms == Some(NOW + 6));
    assert_eq!(store.tokens().revoke(&row.id, NOW + 7).await.unwrap(), gone);
    let none = store.tokens().revoke("0000000000000000", NOW).await;
    assert!(matches!(none, Err(Error::TokenUnknown { .. })), "{none:?}");
    drop(store);
    let bytes = fs::read(place.file("bartizan.db")).unwrap();
    let secret = text.rsplit('_').next().unwrap().as_bytes();
    assert!(!bytes.windows(secret.len()).any(|window| window == secret));
}

#[tokio::test]
async fn a_changed_or_missing_row_breaks_the_chain() {
    let place = Place::new();
    let store = place.store().await;
    let note = |action: &'static str| AuditNote {
        actor: "token:ci",
        source: "127.0.0.1",
        action,
        target: "",
        phase: AuditPhase::Begun,
        before: "",
        after: "",
        reason: "because",
    };
    assert_eq!(store.audit().verify().await.unwrap(), None);
    for (number, action) in ["one", "two", "three"].into_iter().enumerate() {
        assert_eq!(store.audit().add(note(action), NOW).await.unwrap(), number as u64 + 1);
    }
    assert_eq!(store.audit().verify().await.unwrap(), None);
    let (page, next) = store.audit().list(None, 2).await.unwrap();
    assert_eq!((page.len(), &*page[0].action, next), (2, "three", Some(2)));
    assert_eq!(store.audit().list(next, 2).await.unwrap().0[0].action, "one");
    let raw = sqlx::sqlite::SqliteConnectOptions::new().filename(place.file("bartizan.db"));
    let mut raw = sqlx::ConnectOptions::connect(&raw).await.unwrap();
    assert!(sqlx::query("UPDATE audit SET actor = 'x'").execute(&mut raw).await.is_err());
    assert!(sqlx::query("DELETE FROM audit").execute(&mut raw).await.is_err());
    for sql in [
        "DROP TRIGGER audit_kept",
        "DROP TRIGGER audit_stays",
        "UPDATE audit SET actor = 'x' WHERE number = 2",
    ] {
        sqlx::query(sql).execute(&mut raw).await.unwrap();
    }
    assert_eq!(store.audit().verify().await.unwrap(), Some(2));
    sqlx::query("DELETE FROM audit WHERE number = 1").execute(&mut raw).await.unwrap();
    assert_eq!(store.audit().verify().await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_deed_is_written_down_before_and_after_and_not_begun_where_it_cannot_be() {
    let place = Place::new();
    let store = place.store().await;
    let deed = Deed {
        actor: "local:ann",
        source: "local",
        action: "key.create",
        target: "shop",
        before: "",
        reason: "why",
    };
    let ending = |outcome: &Result<u8, Error>| match outcome {
        Ok(number) => Ending::done(number.to_string()),
        Err(error) => Ending::not_done(false, error.to_string()),
    };
    let rows = async || -> Vec<(String, String, String)> {
        let rows = store.audit().list(None, 9).await.unwrap().0;
        rows.into_iter().map(|row| (row.phase, row.after, row.reason)).collect()
    };
    let row =
        |phase: &str, after: &str, reason: &str| (phase.to_owned(), after.to_owned(), reason.to_owned());

    let (outcome, unwritten) = deed.record(&store, || NOW, async { Ok(7) }, ending).await;
    assert!(outcome.unwrap() == 7 && unwritten.is_none());
    assert_eq!(rows().await, [row("done", "7", "why"), row("begun", "", "why")]);
    let (outcome, _) = deed.record(&store, || NOW, async { Err(Error::ExpiryPast) }, ending).await;
    assert!(matches!(outcome, Err(Error::ExpiryPast)));
    assert_eq!(rows().await[0], row("refused", "", &Error::ExpiryPast.to_string()));

    // The trail breaks while it is done: what was made is still given, and that its end is missing is told.
    let raw = sqlx::sqlite::SqliteConnectOptions::new().filename(place.file("bartizan.db"));
    let mut raw = sqlx::ConnectOptions::connect(&raw).await.unwrap();
    let work = async {
        sqlx::query("ALTER TABLE audit RENAME TO gone").execute(&mut raw).await.unwrap();
        Ok(8)
    };
    let (outcome, unwritten) = deed.record(&store, || NOW, work, ending).await;
    assert!(outcome.unwrap() == 8 && matches!(unwritten, Some(Error::Database { .. })));
    // And now nothing is begun.
    let mut begun = false;
    let work = async {
        begun = true;
        Ok(9)
    };
    let (outcome, _) = deed.record(&store, || NOW, work, ending).await;
    assert!(matches!(outcome, Err(Error::Database { .. })) && !begun);
}
