//! Every file that a gateway writes stands in docs/data-at-rest.md, and is its owner's alone.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use bartizan_testkit::{Client, Documents, Gateway, Origin, TempDir, gateway::command};

use crate::harness::{API_KEYS, document, key, simple, wait};

/// The first column of the table: exact names, `folder/…`, and `…` for a part of a name.
fn listed() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/data-at-rest.md");
    let text = fs::read_to_string(page).unwrap();
    let first =
        text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next().map(str::to_owned));
    first.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn stands(name: &str, listed: &[String]) -> bool {
    listed.iter().any(|pattern| match pattern.split_once('…') {
        None => pattern == name,
        Some((before, after)) => {
            name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        }
    })
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

fn judge(data: &Path, what: &str) {
    let listed = listed();
    assert!(listed.len() > 8, "{listed:?}");
    let mut found = Vec::new();
    files(data, &mut found);
    assert!(found.len() > 3, "{what}: {found:?}");
    for path in found {
        let name = path.strip_prefix(data).unwrap().display().to_string();
        assert!(stands(&name, &listed), "{what} writes {name}, which is not in docs/data-at-rest.md");
        let mode = mode(&path);
        let others = if stands(&name, &readable()) { 0o022 } else { 0o077 };
        assert_eq!(mode & others, 0, "{what}: {name} has mode {mode:o}");
    }
    assert_eq!(mode(data), 0o700, "{what}: nobody else gets as far as the files");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// What holds no secret and may be copied about with the modes that it has.
fn readable() -> Vec<String> {
    ["access.log", "documents/…", "listen-….lock", "tls/address", "tls/….pem"].map(str::to_owned).to_vec()
}

#[test]
fn every_file_of_the_demo_and_of_a_gateway_on_the_store_is_listed_and_nobody_elses() {
    let demo = TempDir::new();
    {
        let free = "127.0.0.1:0";
        let start = Gateway::starting("demo").arg("--format").arg("json").data_dir(demo.path());
        let gateway = start.arg("--http").arg(free).arg("--https").arg(free).arg("--admin").arg(free).start();
        judge(demo.path(), "the demo");
        drop(gateway);
    }
    let (origin, data) = (Origin::answering("ok"), TempDir::new());
    let documents = Documents::one(simple(&origin.url(), &[API_KEYS, &document("Consumer", "shop", "{}")]));
    let own = key(data.path(), "shop", None);
    let (path, folder) = (documents.path().display().to_string(), data.path().display().to_string());
    let (code, out, err) = command(["apply", "--reason", "a test", "-f", &path, "--data-dir", &folder]);
    assert_eq!(code, Some(0), "{out}{err}");
    let gateway = Gateway::starting("run")
        .arg("--store")
        .arg("--admin")
        .arg("127.0.0.1:0")
        .data_dir(data.path())
        .start();
    wait("the key", || {
        Client::http1(gateway.address("web")).get("/", &[("x-api-key", &own)]).status.as_u16() == 200
    });
    judge(data.path(), "run --store");
    drop(gateway);
    judge(data.path(), "what is left of it");
}

#[test]
fn a_pattern_is_a_name_or_says_where_it_is_open() {
    let listed = ["root".to_owned(), "records/…".to_owned(), "listen-….lock".to_owned()];
    for (name, is_listed) in [
        ("root", true),
        ("root2", false),
        ("records/a/b", true),
        ("record", false),
        ("listen-127.0.0.1.lock", true),
        ("listen-.lock2", false),
    ] {
        assert_eq!(stands(name, &listed), is_listed, "{name}");
    }
}
