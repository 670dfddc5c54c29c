//! The official clients of model providers, and a mail server, installed below the target directory for `tests/e2e/sdk`
//! and `tests/e2e/notices`.
//!
//! They are not the repository's and are not pinned here: what users install today is what has to work. Where an
//! installer or a registry is not at hand, a line says so and the tests pass by, except in CI.

use std::env;

use crate::{
    Result,
    shell::{has, program, run, target_dir},
    tools,
};

const PYTHON: [&str; 6] = ["openai", "anthropic", "google-genai", "mistralai", "dashscope", "aiosmtpd"];
const NPM: [&str; 1] = ["openai"];

/// Installs what is missing.
pub(crate) fn run_command(_: &[String]) -> Result {
    for line in install() {
        println!("{line}");
    }
    Ok(())
}

/// In continuous integration the clients are part of the checks.
pub(crate) fn in_ci() -> Vec<String> {
    if env::var_os("CI").is_some() { install() } else { Vec::new() }
}

/// A line for each that could not be installed.
fn install() -> Vec<String> {
    let folder = target_dir().join("sdk");
    let mut missing = Vec::new();
    if let Err(error) = std::fs::create_dir_all(&folder) {
        return vec![format!("{}: {error}", folder.display())];
    }
    let venv = folder.join("venv");
    let python = || -> Result {
        tools::virtual_environment(&venv)?;
        run(program(venv.join("bin/pip")).args(["install", "--quiet", "--upgrade"]).args(PYTHON))
    };
    if let Err(why) = python() {
        missing.push(format!("Python clients: {why}; their tests say so and pass by, except in CI"));
    }
    let npm = || -> Result {
        if !has("npm") {
            return Err("there is no npm".to_owned());
        }
        run(program("npm").args(["install", "--silent", "--prefix"]).arg(&folder).args(NPM))
    };
    if let Err(why) = npm() {
        missing.push(format!("npm client: {why}; its test says so and passes by, except in CI"));
    }
    missing
}
