//! `cargo xtask test`: every check and test of a change, in one command, as CI runs it.
//!
//! Cheap steps come first, so that a slip is told in seconds. Everything is the plain tool with plain arguments: a
//! failed step can be repeated by hand, and the line to type is in its message.

use std::path::Path;

use crate::{
    Result, dependencies, fixtures,
    shell::{self, cargo, flag, run as run_program, target_dir},
    steps::{Done, Steps},
    suite, tidy, tools,
};

/// A step's name, and the step.
type Step = (&'static str, fn() -> Result<Done>);

/// `cargo xtask test [--keep-going] [--only STEP]`.
pub(crate) fn run(arguments: &[String]) -> Result {
    shell::known(arguments, &["--keep-going", "--only="])?;
    let only = shell::value(arguments, "--only");
    let steps: [Step; 9] = [
        ("tools", prepare),
        ("fmt", format),
        ("tidy", tidy::check),
        ("dependencies", dependencies::check),
        ("clippy", clippy),
        ("test", test),
        ("generated", fixtures::check),
        ("examples", examples),
        ("doc", document),
    ];
    if let Some(only) = only
        && !steps.iter().any(|(name, _)| *name == only)
    {
        let names: Vec<&str> = steps.iter().map(|(name, _)| *name).collect();
        return Err(format!("no step `{only}`; there are {}", names.join(", ")));
    }
    let mut run = Steps::new(flag(arguments, "--keep-going"));
    for (name, step) in steps {
        if only.is_none_or(|only| only == name) {
            run.step(name, step);
        }
    }
    run.finish()
}

fn prepare() -> Result<Done> {
    let missing = tools::prepare();
    for line in &missing {
        println!("{line}");
    }
    if missing.is_empty() { Ok(Done::passed()) } else { Ok(Done::Skipped(missing.join("; "))) }
}

fn format() -> Result<Done> {
    run_program(cargo().args(["fmt", "--all", "--", "--check"])).map(|()| Done::passed())
}

fn clippy() -> Result<Done> {
    run_program(cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))
        .map(|()| Done::passed())
}

/// All tests of the workspace; the sums of cargo's own closing lines are the step's words.
fn test() -> Result<Done> {
    // The end-to-end tests start the binary and do not name it, so cargo would not build it for them.
    run_program(cargo().args(["build", "--quiet", "--package", "bartizan"]))?;
    // Built apart from their run, in which silence means that a test hangs.
    run_program(cargo().args(["test", "--workspace", "--no-run"]))?;
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]).env("PATH", tools::path()?);
    suite::run(&mut command).map(|sums| Done::Passed(sums.words()))
}

/// Every shipped document set passes the real `bartizan check`.
fn examples() -> Result<Done> {
    let mut sets: Vec<String> = Vec::new();
    for folder in ["examples", "policies"] {
        let documents = shell::files(folder);
        // A set is a directory right below `examples`, or the folder itself when its documents lie there.
        for path in documents.iter().filter(|path| is_document(path)) {
            let mut parts = path.components().map(|part| part.as_os_str().to_string_lossy());
            let set = match (parts.next(), parts.next(), parts.next()) {
                (Some(folder), Some(set), Some(_)) => format!("{folder}/{set}"),
                _ => folder.to_owned(),
            };
            if !sets.contains(&set) {
                sets.push(set);
            }
        }
    }
    if sets.is_empty() {
        return Ok(Done::Skipped("there are no examples yet".to_owned()));
    }
    run_program(cargo().args(["build", "--quiet", "--package", "bartizan"]))?;
    let binary = target_dir().join("debug").join("bartizan");
    for set in &sets {
        run_program(shell::program(&binary).arg("check").arg(set))?;
    }
    Ok(Done::Passed(format!("{} sets", sets.len())))
}

fn is_document(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

/// Private items too: a module's opening is a map of its rooms, and most of them are private. A link to one must lead
/// somewhere; that it stands in public documentation is no mistake in a workspace that publishes none.
fn document() -> Result<Done> {
    let mut command = cargo();
    command.args(["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]);
    run_program(command.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links"))
        .map(|()| Done::passed())
}
