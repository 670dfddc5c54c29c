//! `bartizan keys`: the life of a key.

use std::{fs, os::unix::fs::PermissionsExt};

use bartizan_testkit::TempDir;

use crate::{Ran, bartizan};

fn keys(dir: &TempDir, arguments: &[&str]) -> Ran {
    bartizan(dir, &[&["keys"], arguments].concat())
}

/// The columns of the line that begins with this id.
fn row<'t>(table: &'t str, id: &str) -> Vec<&'t str> {
    let line = table.lines().find(|line| line.starts_with(id)).unwrap_or_else(|| panic!("{id} in {table}"));
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn a_key_is_made_listed_shown_and_withdrawn() {
    let dir = TempDir::new();
    let made = keys(&dir, &["create", "--consumer", "shop", "--expires", "90d", "--label", "nightly job"]);
    assert_eq!(made.code, 0, "{}", made.err);
    let key = made.out.strip_suffix('\n').unwrap();
    assert!(key.len() == 66 && key.starts_with("bzk_") && !key.contains(char::is_whitespace), "{key}");
    let id = &key[4..16];
    assert!(
        made.err.contains(id) && made.err.contains("expires in 90d") && !made.err.contains(key),
        "{}",
        made.err
    );

    let list = keys(&dir, &["list"]);
    assert_eq!(list.err, "1 key, 1 active\n");
    let [listed, consumer, state, age, rest @ ..] = &row(&list.out, id)[..] else { panic!("{}", list.out) };
    assert_eq!([*listed, *consumer, *state], [id, "shop", "active"]);
    assert!(age.ends_with('s'), "{age}");
    assert_eq!(rest, ["in 89d", "never", "ends in 89d", "nightly job"]);
    assert!(keys(&dir, &["show", id]).data().contains("label       nightly job\n"));
    let shown = keys(&dir, &["show", key]).data();
    assert!(shown.contains(id) && !shown.contains(key), "{shown}");

    let gone = keys(&dir, &["revoke", id]);
    assert_eq!((gone.code, &*gone.out), (0, ""));
    assert_eq!(gone.err, format!("key {id} of shop is revoked\n"));
    let again = keys(&dir, &["revoke", key]);
    assert_eq!((again.code, again.err), (0, format!("key {id} was revoked before; nothing has changed\n")));
    assert_eq!(row(&keys(&dir, &["list"]).out, id)[2], "revoked");
}

#[test]
fn all_keys_of_a_consumer_are_withdrawn_at_once_and_others_stay() {
    let dir = TempDir::new();
    for consumer in ["shop", "shop", "office"] {
        keys(&dir, &["create", "--consumer", consumer]).data();
    }
    let ran = keys(&dir, &["revoke", "--all", "--consumer", "shop"]);
    assert_eq!((ran.code, ran.err.matches("of shop is revoked").count()), (0, 2), "{}", ran.err);
    let ran = keys(&dir, &["revoke", "--all", "--consumer", "shop"]);
    assert!(ran.code == 0 && ran.err.contains("nothing has changed"), "{}", ran.err);
    assert_eq!(keys(&dir, &["list"]).err, "3 keys, 1 active\n");
    assert_eq!(keys(&dir, &["list", "--consumer", "office"]).err, "1 key, 1 active\n");
}

#[test]
fn programs_get_objects() {
    let dir = TempDir::new();
    assert_eq!(keys(&dir, &["list", "--format", "json"]).json(), serde_json::json!([]));
    let made = keys(&dir, &["create", "--consumer", "shop", "--format", "json"]);
    assert_eq!((made.code, &*made.err), (0, ""));
    let made = made.json();
    let id = made["id"].as_str().unwrap();
    assert!(made["key"].as_str().unwrap().starts_with(&format!("bzk_{id}_")), "{made}");
    assert_eq!((&made["state"], &made["expiresAt"]), (&"active".into(), &serde_json::Value::Null));
    let listed = keys(&dir, &["list", "--format", "json"]).json();
    assert_eq!(listed[0]["id"], made["id"]);
    assert_eq!(listed[0].get("key"), None);
    assert_eq!(keys(&dir, &["show", id, "--format", "json"]).json(), listed[0]);
    let gone = keys(&dir, &["revoke", id, "--format", "json"]).json();
    assert_eq!(gone[0]["state"], "revoked");
    assert_eq!(keys(&dir, &["revoke", id, "--format", "json"]).json(), gone, "again is the same");
}

#[test]
fn what_is_wrong_is_told_and_no_key_is_repeated() {
    let dir = TempDir::new();
    let key = keys(&dir, &["create", "--consumer", "shop"]).data();
    let mistyped = key.trim().replace("bzk_", "bzk_x");
    for (arguments, code, part) in [
        (&["show", "AAAAAAAAAAAA"][..], 1, "no key has the id AAAAAAAAAAAA"),
        (&["revoke", "AAAAAAAAAAAA"], 1, "no key has the id AAAAAAAAAAAA"),
        (&["show", &mistyped], 2, "neither a key's id"),
        (&["revoke", &mistyped], 2, "neither a key's id"),
        (&["revoke"], 2, "<ID>"),
        (&["revoke", "--all"], 2, "--consumer"),
        (&["revoke", "--consumer", "shop"], 2, "--all"),
        (&["create"], 2, "--consumer"),
        (&["create", "--consumer", ""], 2, "the consumer's name is empty"),
        (&["create", "--consumer", "shop", "--expires", "90"], 2, "`90s`"),
        (&["create", "--consumer", "shop", "--expires", "0s"], 2, "would have expired already"),
    ] {
        let ran = keys(&dir, arguments);
        assert!(ran.code == code && ran.err.contains(part), "{arguments:?}: {} {}", ran.code, ran.err);
        assert!(ran.out.is_empty() && !ran.err.contains(&mistyped), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn the_data_directory_is_private_and_chosen_by_flag_before_variable() {
    let dir = TempDir::new();
    keys(&dir, &["create", "--consumer", "shop"]).data();
    keys(&dir, &["list", "--data-dir", "other"]).data();
    for (path, mode) in
        [("data", 0o700), ("other", 0o700), ("data/pepper", 0o600), ("data/bartizan.db", 0o600)]
    {
        let found = fs::metadata(dir.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{path}");
    }
    assert_eq!(keys(&dir, &["list", "--data-dir", "other"]).err, "no keys\n");
    fs::set_permissions(dir.join("data/pepper"), fs::Permissions::from_mode(0o644)).unwrap();
    let ran = keys(&dir, &["list"]);
    assert!(ran.code == 2 && ran.err.contains("chmod 600"), "{}", ran.err);
}

#[test]
fn a_key_is_rotated_into_a_private_file_and_both_are_listed_with_what_comes_next() {
    let dir = TempDir::new();
    let old = keys(&dir, &["create", "--consumer", "shop", "--label", "job"]).data();
    let old_id = &old.trim()[4..16];
    let out = dir.path().join("next.key");
    let path = out.display().to_string();
    let ran = keys(&dir, &["rotate", "--consumer", "shop", "--out", &path]);
    assert_eq!((ran.code, &*ran.out), (0, ""), "{}", ran.err);
    assert!(ran.err.contains("Both work; the old one ends in ") && ran.err.contains(&path), "{}", ran.err);
    let new = fs::read_to_string(&out).unwrap();
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o7777, 0o600);
    let new_id = &new.trim()[4..16];
    assert!(new.trim().len() == 66 && new_id != old_id && !ran.err.contains(new.trim()), "{}", ran.err);

    let listed = keys(&dir, &["list", "--format", "json"]).json();
    assert_eq!(
        (&listed[0]["state"], &listed[0]["replacedBy"], &listed[0]["next"]["step"]),
        (&"overlapping".into(), &new_id.into(), &"end".into())
    );
    assert_eq!((&listed[1]["state"], &listed[1]["label"]), (&"active".into(), &"job".into()));
    let table = keys(&dir, &["list"]);
    assert_eq!(row(&table.out, old_id)[2], "overlapping");
    assert!(row(&table.out, old_id).contains(&"ends in 6d"), "{}", table.out);
    assert_eq!(table.err, "2 keys, 2 active\n");

    // Only the new key has no successor, so the consumer's name is enough again.
    let taken = keys(&dir, &["rotate", "--consumer", "shop", "--out", &path]);
    assert!(taken.code == 2 && taken.err.contains("nothing has changed"), "{}", taken.err);
    assert_eq!(fs::read_to_string(&out).unwrap(), new, "a file that is there is left as it is");
    let again = keys(&dir, &["rotate", old_id, "--out", &dir.path().join("other").display().to_string()]);
    assert!(again.code == 1 && again.err.contains(&format!("replaced by {new_id}")), "{}", again.err);
    assert!(!dir.path().join("other").exists());
}

#[test]
fn a_rotation_follows_the_consumers_policy_and_the_arguments_before_it() {
    let dir = TempDir::new();
    let documents = dir.path().join("keys.yaml");
    let text = "apiVersion: management.v1\nkind: Consumer\nmetadata: { name: shop }\nspec: {}\n---\n\
                apiVersion: management.v1\nkind: KeyRotationPolicy\nmetadata: { name: keys }\n\
                spec: { maximumAge: 90d, overlap: 3d, retire: WhenUnused, hardLimit: 20d }\n";
    fs::write(&documents, text).unwrap();
    let config = documents.display().to_string();
    let one = keys(&dir, &["create", "--consumer", "shop"]).data();
    let two = keys(&dir, &["create", "--consumer", "shop"]).data();
    let several = keys(&dir, &["rotate", "--consumer", "shop"]);
    assert!(several.code == 2 && several.err.contains(&one.trim()[4..16]), "{}", several.err);
    let listed = keys(&dir, &["list", "--format", "json", "--config", &config]).json();
    assert_eq!(listed[0]["next"]["step"], "age");
    let ruled = keys(&dir, &["rotate", one.trim(), "--format", "json", "--config", &config]).json();
    assert_eq!(ruled["old"]["next"]["step"], "endWhenUnused");
    assert_eq!(ruled["old"]["next"]["latest"], ruled["old"]["expiresAt"]);
    let table = keys(&dir, &["list", "--config", &config]).out;
    assert!(row(&table, &one.trim()[4..16]).contains(&"ends when unused, at the latest in 19d"), "{table}");
    assert!(ruled["key"].as_str().unwrap().starts_with("bzk_"), "{ruled}");
    let arguments = [
        "rotate",
        two.trim(),
        "--format",
        "json",
        "--config",
        &config,
        "--retire",
        "at-once",
        "--overlap",
        "2h",
    ];
    assert_eq!(keys(&dir, &arguments).json()["old"]["next"]["step"], "end");
    let unknown = keys(&dir, &["rotate", "--consumer", "nobody"]);
    assert!(unknown.code == 2 && unknown.err.contains("no working key"), "{}", unknown.err);
}

#[test]
fn every_change_of_keys_stands_in_the_audit_trail_with_who_made_it() {
    let dir = TempDir::new();
    let key = keys(&dir, &["create", "--consumer", "shop", "--label", "nightly"]).data();
    let id = key[4..16].to_owned();
    let new = keys(&dir, &["rotate", &id]).data()[4..16].to_owned();
    keys(&dir, &["revoke", &id]).data();
    keys(&dir, &["revoke", "--all", "--consumer", "shop"]).data();
    // Looking is no change; what does not exist is refused, and that is written down.
    keys(&dir, &["list"]).data();
    assert_eq!(keys(&dir, &["revoke", "AAAAAAAAAAAA"]).code, 1);
    let rows = crate::rows(&dir);
    let told: Vec<_> = rows.iter().map(|row| [&*row.action, &row.phase, &row.target, &row.after]).collect();
    assert_eq!(
        told,
        [
            ["key.create", "begun", "shop", ""],
            ["key.create", "done", "shop", &id],
            ["key.rotate", "begun", &id, ""],
            ["key.rotate", "done", &id, &new],
            ["key.revoke", "begun", &id, ""],
            ["key.revoke", "done", &id, "shop"],
            ["key.revoke-all", "begun", "shop", ""],
            ["key.revoke-all", "done", "shop", &new],
            ["key.revoke", "begun", "AAAAAAAAAAAA", ""],
            ["key.revoke", "refused", "AAAAAAAAAAAA", ""],
        ]
    );
    for row in &rows {
        assert_eq!(
            (&*row.actor, &*row.source),
            ("local:local", "local"),
            "nobody is named in this environment"
        );
        assert!(row.at_ms > 1_700_000_000_000);
        assert!(!format!("{row:?}").contains(key.trim()), "a secret: {row:?}");
    }
}
