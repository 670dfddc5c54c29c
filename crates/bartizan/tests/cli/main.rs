//! The commands as a shell meets them: the real binary, its exit codes, and what it prints where.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and a helper does it for its test"
)]

use std::{
    path::Path,
    process::{Command, Stdio},
};

use bartizan_testkit::TempDir;

mod agree;
mod audit;
mod check;
mod ci;
mod explain;
mod init;
mod inspect;
mod keys;
mod models;
mod policy_tests;
mod records;
mod replay;
mod revisions;
mod routes;
mod schema;
mod tokens;

/// What a command left behind.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    /// The data, of a command that must have ended well.
    #[track_caller]
    fn data(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    #[track_caller]
    fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// Runs the binary in a directory, with an environment of which nothing is inherited but the search path.
fn bartizan(dir: &TempDir, arguments: &[&str]) -> Ran {
    run(dir.path(), arguments, None)
}

fn run(dir: &Path, arguments: &[&str], stdin: Option<&str>) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bartizan"));
    command
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .env("BARTIZAN_DATA_DIR", dir.join("data"))
        .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    if let Some(text) = stdin {
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A directory with these files.
fn files(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new();
    for (name, text) in files {
        std::fs::write(dir.join(name), text).unwrap();
    }
    dir
}

/// The audit trail of a directory's store, oldest first: action, phase and reason.
fn trail(dir: &TempDir) -> Vec<(String, String, String)> {
    rows(dir).into_iter().map(|row| (row.action, row.phase, row.reason)).collect()
}

/// The rows of the audit trail, oldest first.
fn rows(dir: &TempDir) -> Vec<bartizan_store::AuditRow> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let place = bartizan_store::DataDir::open(&dir.join("data")).unwrap();
    runtime.block_on(async {
        let store = bartizan_store::Store::open(&place).await.unwrap();
        let (mut rows, _) = store.audit().list(None, 200).await.unwrap();
        store.close().await;
        rows.reverse();
        rows
    })
}

/// Compares with the text kept beside the tests; writes it instead when `BARTIZAN_REGENERATE` is set.
#[track_caller]
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli").join(name);
    if std::env::var_os("BARTIZAN_REGENERATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{name}:\n{text}");
}

#[test]
fn every_command_explains_itself_and_refuses_what_it_does_not_know() {
    let dir = TempDir::new();
    let commands = [
        "check", "test", "audit", "why", "log", "review", "explain", "routes", "schema", "init", "inspect",
        "keys", "run", "demo",
    ];
    let on_revisions = ["plan", "diff", "apply", "get", "history", "rollback", "tokens"];
    for command in commands.into_iter().chain(on_revisions) {
        let help = bartizan(&dir, &[command, "--help"]);
        assert!(help.code == 0 && help.out.contains("Usage:") && help.err.is_empty(), "{command}");
        let wrong = bartizan(&dir, &[command, "--no-such-option"]);
        assert!(
            wrong.code == 2 && wrong.out.is_empty() && wrong.err.contains("--no-such-option"),
            "{command}"
        );
    }
}
