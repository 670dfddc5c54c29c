//! The management API under attack by schemathesis: whatever its own description allows, and what it forbids.
//!
//! schemathesis is not the repository's: `cargo xtask test` installs it below the target directory. Where it is missing, a
//! line says so and the test passes by, except in CI. `SCHEMATHESIS` names another one.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a test's helpers fail by panicking"
)]

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use bartizan_testkit::{Client, Gateway, Origin, TempDir, gateway::command};
use serde_json::Value;

fn schemathesis() -> Option<PathBuf> {
    let beside = || {
        // target/<profile>/deps/<test> → target/schemathesis
        let test = std::env::current_exe().ok()?;
        Some(test.parent()?.parent()?.parent()?.join("schemathesis/bin/schemathesis"))
    };
    let found = std::env::var_os("SCHEMATHESIS").map(PathBuf::from).or_else(beside);
    let found = found.filter(|path| path.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "schemathesis is not installed: run `cargo xtask test`");
        eprintln!("SKIPPED: schemathesis is not installed, so the API is not attacked");
    }
    found
}

/// The description without its security: wrong credentials would be counted, and the address would have to wait.
fn without_security(folder: &std::path::Path) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../schema/management-api.json");
    let mut description: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    description["components"].as_object_mut().unwrap().remove("securitySchemes");
    for item in description["paths"].as_object_mut().unwrap().values_mut() {
        for operation in item.as_object_mut().unwrap().values_mut().filter_map(Value::as_object_mut) {
            operation.remove("security");
        }
    }
    let path = folder.join("management-api.json");
    std::fs::write(&path, description.to_string()).unwrap();
    path
}

#[test]
fn no_request_of_schemathesis_makes_the_api_fail_or_answer_what_it_does_not_describe() {
    let Some(program) = schemathesis() else { return };
    let data = TempDir::new();
    let origin = Origin::answering("ok");
    let set = data.path().join("set.yaml");
    let documents = format!(
        "apiVersion: management.v1\nkind: Listener\nmetadata: {{ name: web }}\nspec: {{ addresses: [\"127.0.0.1:0\"] }}\n---\n\
         apiVersion: management.v1\nkind: Upstream\nmetadata: {{ name: shop }}\nspec: {{ endpoints: [{{ url: \"{}\" }}] }}\n---\n\
         apiVersion: management.v1\nkind: Route\nmetadata: {{ name: all }}\n\
         spec: {{ rules: [{{ matches: [{{ path: {{ value: / }} }}], backendRefs: [{{ name: shop }}] }}] }}\n",
        origin.url()
    );
    std::fs::write(&set, documents).unwrap();
    let dir = data.path().join("state").display().to_string();
    let run = |arguments: &[&str]| {
        let (code, out, err) = command([arguments, &["--data-dir", &dir]].concat());
        assert_eq!(code, Some(0), "{err}");
        out
    };
    run(&["apply", "-f", &set.display().to_string(), "--reason", "first"]);
    let token = run(&["tokens", "create", "--name", "attacker", "--role", "admin"]);
    let start = Gateway::starting("run").arg("--store").arg("--admin").arg("127.0.0.1:0");
    let gateway = start.data_dir(&dir).start();
    let description = without_security(data.path());
    let output = Command::new(program)
        .arg("run")
        .arg(description)
        .args(["--url", &format!("http://{}", gateway.address("admin"))])
        .args(["-H", &format!("Authorization: Bearer {}", token.trim()), "-H", "X-Bartizan-Request: 1"])
        // What is described answers as described; nothing fails; what is malformed is refused.
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ])
        .args([
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            "15",
            "--seed",
            "7",
            "--workers",
            "1",
        ])
        .args(["--request-timeout", "30", "--no-color"])
        .current_dir(data.path())
        .stdin(Stdio::null())
        .output()
        .expect("schemathesis can be started");
    let text = String::from_utf8_lossy(&output.stdout).replace(token.trim(), "(the token)");
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let alive = Client::http1(gateway.address("admin")).get("/healthz", &[]);
    assert_eq!(alive.status, 200);
    let log = gateway.stderr().join("\n");
    assert!(!log.contains("panicked"), "{log}");
}
