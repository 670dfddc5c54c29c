//! `cargo xtask test`: every check and test of a change, in one command, as CI runs it.
//!
//! Cheap steps come first, so that a slip is told in seconds. Everything is the plain tool with plain arguments: a
//! failed step can be repeated by hand, and the line to type is in its message.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
};

use crate::{
    Result, dependencies, fixtures,
    shell::{self, cargo, flag, run as run_program, shown, target_dir},
    steps::{Done, Steps},
    tidy, tools,
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
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]).env("PATH", tools::path()?);
    let mut child =
        command.stdout(Stdio::piped()).spawn().map_err(|error| format!("{}: {error}", shown(&command)))?;
    let mut sums = Sums::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n').map_while(std::result::Result::ok) {
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            sums.add(&line);
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if !status.success() {
        return Err(format!("{}: `{}` failed", sums.words(), shown(&command)));
    }
    if sums.passed == 0 {
        return Err("no test ran".to_owned());
    }
    Ok(Done::Passed(sums.words()))
}

/// What the closing lines of the test binaries say, added up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sums {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Sums {
    /// Adds `test result: ok. 4 passed; 0 failed; 1 ignored; …`; other lines count nothing.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in counts.split("; ") {
            if let Some((Ok(count), word)) =
                part.split_once(' ').map(|(count, word)| (count.parse::<u64>(), word))
            {
                match word {
                    "passed" => self.passed += count,
                    "failed" => self.failed += count,
                    "ignored" => self.ignored += count,
                    _ => {}
                }
            }
        }
    }

    fn words(&self) -> String {
        format!("{} passed; {} failed; {} ignored", self.passed, self.failed, self.ignored)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_lines_are_added_up() {
        let mut sums = Sums::default();
        sums.add(
            "test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        );
        sums.add("test a_name ... ok");
        sums.add("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        assert_eq!(sums, Sums { passed: 5, failed: 2, ignored: 1 });
        assert_eq!(sums.words(), "5 passed; 2 failed; 1 ignored");
    }
}
