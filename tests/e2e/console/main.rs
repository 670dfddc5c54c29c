//! The page in real Chromium: the one-time link, every section, accessibility, keys, revisions.
//!
//! What drives it is `drive.mjs` (playwright-core, axe-core). Where there is no Chromium, node or package, a line says so
//! and the test passes by, except in CI.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test's helpers fail by panicking")]

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bartizan_testkit::{Client, Gateway, Origin, TempDir, gateway::command};
use serde_json::{Value, json};

/// The browser, or `None` where something is missing, which is said.
fn browser() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let usual =
        ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].map(PathBuf::from);
    let found = named.into_iter().chain(usual).find(|path| path.is_file());
    let node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    let why = match (&found, node, home().join("node_modules/playwright-core").is_dir()) {
        (Some(_), true, true) => return found,
        (None, ..) => "there is no Chromium",
        (_, false, _) => "node is not installed",
        (.., false) => "`npm ci` was not run in tests/e2e/console",
    };
    assert!(std::env::var_os("CI").is_none(), "the page cannot be tried: {why}");
    eprintln!("SKIPPED: {why}, so the tests of the page pass by");
    None
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("console")
}

/// Runs the driver and shows what it says where something did not hold.
fn drive(mode: &str, given: &Value) {
    let mut child = Command::new("node")
        .arg(home().join("drive.mjs"))
        .arg(mode)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(given.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    eprintln!("{text}");
}

#[test]
fn a_newcomer_opens_the_page_from_the_demo_and_does_everything_there() {
    let Some(chromium) = browser() else { return };
    let free = "127.0.0.1:0";
    let start = Gateway::starting("demo").arg("--format").arg("json").arg("--plain").arg(free);
    let gateway = start.arg("--http").arg(free).arg("--https").arg(free).arg("--admin").arg(free).start();
    let plain = gateway.address("plain");
    // The key is live within a second of the start; asking more often would be guessing.
    let works =
        || Client::http1(plain).call("GET", "/orders", &[("x-api-key", gateway.text("key"))], Vec::new());
    for _ in 0..8 {
        if works().status == 200 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(700));
    }
    // Something to see: one who sends no key, one who asks for too much, one who attacks.
    let key = gateway.text("key").to_owned();
    let by_key = [("x-api-key", &*key)];
    for (path, headers, status) in [
        ("/orders", &[][..], 401),
        ("/orders?q=1%27%20OR%20%271%27=%271", &by_key[..], 403),
        ("/users", &by_key[..], 200),
    ] {
        let answer = Client::http1(plain).call("GET", path, headers, Vec::new());
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    drive(
        "demo",
        &json!({
            "chromium": chromium,
            "admin": gateway.text("admin"),
            "console": gateway.text("console"),
            "plain": gateway.text("plain"),
        }),
    );
}

#[test]
fn revisions_are_rolled_back_planned_and_applied_on_the_page() {
    let Some(chromium) = browser() else { return };
    let data = TempDir::new();
    let origin = Origin::answering("ok");
    let set = |more: &str| {
        format!(
            "apiVersion: management.v1\nkind: Listener\nmetadata: {{ name: web }}\nspec: {{ addresses: [\"127.0.0.1:0\"] }}\n---\n\
             apiVersion: management.v1\nkind: Upstream\nmetadata: {{ name: shop }}\nspec: {{ endpoints: [{{ url: \"{}\" }}] }}\n---\n\
             apiVersion: management.v1\nkind: Route\nmetadata: {{ name: all }}\n\
             spec: {{ rules: [{{ matches: [{{ path: {{ value: / }} }}], backendRefs: [{{ name: shop }}] }}] }}\n{more}",
            origin.url()
        )
    };
    let watched = "---\napiVersion: management.v1\nkind: NoticeChannel\nmetadata: { name: nobody }\n\
                   spec: { alertmanager: { url: \"http://127.0.0.1:9\", allowPrivateNetwork: true, dangerAllowClearText: true } }\n\
                   ---\napiVersion: management.v1\nkind: AlertPolicy\nmetadata: { name: first }\n\
                   spec: { channels: [nobody], signals: [{ signal: AuditFinding }] }\n";
    let mark = "---\napiVersion: management.v1\nkind: HeaderPolicy\nmetadata: { name: mark }\n\
                spec: { response: { set: [{ name: x-mark, value: \"1\" }] } }\n";
    let place = |name: &str, text: &str| {
        let path = data.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let dir = data.path().join("state").display().to_string();
    let (first, second) =
        (place("first.yaml", &set(watched)), place("second.yaml", &set(&[watched, mark].concat())));
    for (file, reason) in [(&first, "the beginning"), (&second, "a mark")] {
        let (code, _, err) = command(["apply", "-f", file, "--reason", reason, "--data-dir", &dir]);
        assert_eq!(code, Some(0), "{err}");
    }
    let gateway =
        Gateway::starting("run").arg("--store").arg("--admin").arg("127.0.0.1:0").data_dir(&dir).start();
    let line = gateway.wait_for_stderr("#link=");
    let admin = format!("http://{}", gateway.address("admin"));
    drive("store", &json!({ "chromium": chromium, "admin": admin, "console": line.trim(), "set": second }));
}
