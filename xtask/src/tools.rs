//! Tools that the checks use and cargo does not bring.
//!
//! Where we are root on a Debian, what is missing is installed; elsewhere the step that needs it says so and is
//! skipped. A tool that only has to be *run* is unpacked below the target directory instead of installed, so that no
//! service of its package is started on the machine.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{
    Result,
    shell::{has, program, root, run, target_dir},
};

/// The parts of the Rust toolchain that `minimal` installations lack.
const COMPONENTS: [(&str, &str); 2] = [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")];

/// Tools run by tests: the program, the Debian package, and where in it the program lies.
const UNPACKED: [(&str, &str, &str); 1] = [("promtool", "prometheus", "usr/bin")];

/// Makes every tool available that can be; returns a line for each that could not.
pub(crate) fn prepare() -> Vec<String> {
    let mut missing = Vec::new();
    for (command, component) in COMPONENTS {
        if has(command) {
            continue;
        }
        if let Err(why) = run(program("rustup").args(["component", "add", component])) {
            missing.push(format!("{component}: {why}"));
        }
    }
    for (name, package, inside) in UNPACKED {
        if has(name) || unpacked(inside).join(name).is_file() {
            continue;
        }
        if let Err(why) = unpack(package) {
            missing.push(format!("{name}: {why}; tests that use it say so and pass by"));
        }
    }
    missing.extend(crate::sdk::in_ci());
    for (folder, package) in NODE_PACKAGES {
        if let Err(why) = install_node_packages(folder, package) {
            missing.push(format!("{package}: {why}; tests that use it say so and pass by, except in CI"));
        }
    }
    if let Err(why) = install_schemathesis() {
        missing.push(format!("schemathesis: {why}; its test says so and passes by, except in CI"));
    }
    if !["chromium", "chromium-browser", "google-chrome"].into_iter().any(has)
        && let Err(why) = install(&[("chromium", "chromium")])
    {
        missing.push(format!("chromium: {why}; the tests of the page say so and pass by, except in CI"));
    }
    missing
}

/// What end-to-end tests need of npm, each folder with its own lock file: the OpenID provider that they start, and what
/// drives the page in a browser. Their packages run no scripts when they are installed.
const NODE_PACKAGES: [(&str, &str); 2] =
    [("tests/e2e/oidc", "oidc-provider"), ("tests/e2e/console", "playwright-core")];

fn install_node_packages(folder: &str, package: &str) -> Result {
    let home = root().join(folder);
    if home.join("node_modules").join(package).is_dir() {
        return Ok(());
    }
    if !has("npm") {
        return Err("there is no npm".to_owned());
    }
    run(program("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(home))
}

/// What attacks the management API, in a virtual environment below the target directory.
fn install_schemathesis() -> Result {
    let home = target_dir().join("schemathesis");
    if home.join("bin/schemathesis").is_file() {
        return Ok(());
    }
    virtual_environment(&home)?;
    run(program(home.join("bin/pip")).args(["install", "--quiet", "schemathesis==4.32.5"]))
}

/// Makes a virtual environment for Python. A Debian has `venv` in a package of its own.
pub(crate) fn virtual_environment(home: &Path) -> Result {
    let can = || crate::shell::output(program("python3").args(["-c", "import ensurepip, venv"])).is_ok();
    if !can() {
        install(&[("no-command-of-this-name", "python3-venv")])?;
    }
    run(program("python3").args(["-m", "venv"]).arg(home))
}

/// The path in which the programs that we start look for tools: the system's, and what was unpacked.
pub(crate) fn path() -> Result<std::ffi::OsString> {
    let system = env::var_os("PATH").unwrap_or_default();
    let own = UNPACKED.iter().map(|(_, _, inside)| unpacked(inside));
    env::join_paths(env::split_paths(&system).chain(own)).map_err(|error| error.to_string())
}

/// Installs packages where we are root on a Debian and they are missing.
pub(crate) fn install(packages: &[(&str, &str)]) -> Result {
    let missing: Vec<&str> =
        packages.iter().filter(|(command, _)| !has(command)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_debian_root() {
        return Err(format!("install these first: {}", missing.join(" ")));
    }
    update_lists()?;
    // RUNLEVEL=1: maintainer scripts start no service (a second nginx on port 80, say).
    run(program("apt-get")
        .args(["install", "-y", "-q", "--no-install-recommends"])
        .args(&missing)
        .env("RUNLEVEL", "1")
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

fn unpack(package: &str) -> Result {
    if !has("apt-get") || !has("dpkg-deb") {
        return Err("not a Debian, so it cannot be fetched".to_owned());
    }
    let directory = downloads();
    fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    let download = || run(program("apt-get").args(["download", "-q", package]).current_dir(&directory));
    if download().is_err() {
        if !is_debian_root() {
            return Err("its package cannot be fetched without root".to_owned());
        }
        update_lists()?;
        download()?;
    }
    let file = fs::read_dir(&directory)
        .map_err(|error| error.to_string())?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{package}_")))
        })
        .ok_or("its package was fetched and is not there")?;
    run(program("dpkg-deb").arg("--extract").arg(file).arg(tools()))
}

fn update_lists() -> Result {
    run(program("apt-get").args(["update", "-q"]))
}

fn is_debian_root() -> bool {
    // The shell's `id` is in every Debian (coreutils); asking the system directly would need unsafe code.
    let root = crate::shell::output(program("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    root && has("apt-get")
}

fn tools() -> PathBuf {
    target_dir().join("tools")
}

fn unpacked(inside: &str) -> PathBuf {
    tools().join(inside)
}

fn downloads() -> PathBuf {
    tools().join("downloads")
}
