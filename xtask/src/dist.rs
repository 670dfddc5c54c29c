//! `cargo xtask dist`: the gateway as it ships, laid out by what a measured load has shown.
//!
//! Three steps: the `dist` profile with counters in it, the load of the bench as training (clear text, TLS and HTTP/2,
//! bare and with all policies), and the `dist` profile once more with what was counted. The compiler then knows which
//! way each branch goes and what is worth inlining; nothing else about the program changes. It needs what the bench
//! needs, takes three times as long as a plain build, and nobody has to do it: `cargo build --profile dist` gives the
//! same program, a little slower.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    Result, bench,
    shell::{self, cargo, output, program, target_dir},
};

const HELP: &str = "\
usage: cargo xtask dist

Builds the gateway with the `dist` profile, guided by a profile of the bench's load, into target/dist/bartizan.
Needs rustup (for llvm-tools), wrk, h2load and two cores.
";

/// `cargo xtask dist`.
pub(crate) fn run(arguments: &[String]) -> Result {
    if shell::flag(arguments, "--help") {
        print!("{HELP}");
        return Ok(());
    }
    shell::known(arguments, &[])?;
    let binary = guided()?;
    println!("{}", binary.display());
    Ok(())
}

/// Builds the guided gateway and says where it is.
pub(crate) fn guided() -> Result<PathBuf> {
    let merge = profdata()?;
    let directory = target_dir().join("guided");
    let (raw, profile) = (directory.join("raw"), directory.join("bartizan.profdata"));
    // What an earlier version of the source counted fits no more.
    match fs::remove_dir_all(&raw) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("{}: {error}", raw.display()));
        }
        _ => fs::create_dir_all(&raw).map_err(|error| format!("{}: {error}", raw.display()))?,
    }
    println!("building the gateway with counters");
    let counting = build(&directory, &format!("-Cprofile-generate={}", raw.display()))?;
    println!("training");
    train(&counting, &directory.join("training"))?;
    let counted = fs::read_dir(&raw).map_err(|error| format!("{}: {error}", raw.display()))?;
    let counted: Vec<PathBuf> = counted.filter_map(|entry| Some(entry.ok()?.path())).collect();
    if counted.is_empty() {
        return Err("the training left no profile behind".to_owned());
    }
    shell::run(program(&merge).arg("merge").arg("-o").arg(&profile).args(&counted))?;
    println!("building the gateway with the profile");
    let guided = build(&directory, &format!("-Cprofile-use={}", profile.display()))?;
    let shipped = target_dir().join("dist");
    fs::create_dir_all(&shipped).map_err(|error| format!("{}: {error}", shipped.display()))?;
    let shipped = shipped.join("bartizan");
    fs::copy(&guided, &shipped).map_err(|error| format!("{}: {error}", shipped.display()))?;
    Ok(shipped)
}

/// Builds with these flags for the compiler. The target is named, so that they are not for build scripts too.
fn build(directory: &Path, flags: &str) -> Result<PathBuf> {
    let host = host()?;
    let mut command = cargo();
    command.args(["build", "--quiet", "--profile", "dist", "--package", "bartizan", "--target", &host]);
    command.arg("--target-dir").arg(directory).env("RUSTFLAGS", flags);
    shell::run(&mut command)?;
    Ok(directory.join(host).join("dist").join("bartizan"))
}

/// The bench's load, for what it executes and not for its figures: foreign load does not matter.
fn train(binary: &Path, out: &Path) -> Result {
    let (binary, out) = (binary.to_string_lossy(), out.to_string_lossy());
    let words = [
        "--targets",
        "bartizan,bartizan-policies",
        "--cases",
        "h1,tls,h2",
        "--rounds",
        "2",
        "--seconds",
        "2",
        "--foreign-max",
        "100",
        "--binary",
        &*binary,
        "--out",
        &*out,
    ];
    bench::run(&words.map(str::to_owned))
}

/// The tool that merges profiles, of the very LLVM that the compiler has; rustup brings it.
fn profdata() -> Result<PathBuf> {
    let sysroot = output(program("rustc").args(["--print", "sysroot"]))?;
    let tool = Path::new(sysroot.trim()).join("lib/rustlib").join(host()?).join("bin/llvm-profdata");
    if !tool.is_file() {
        shell::run(program("rustup").args(["component", "add", "llvm-tools"]))?;
    }
    if tool.is_file() { Ok(tool) } else { Err(format!("{} is not there", tool.display())) }
}

fn host() -> Result<String> {
    let version = output(program("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "`rustc -vV` names no host".to_owned())
}
