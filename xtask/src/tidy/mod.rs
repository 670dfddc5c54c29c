//! `cargo xtask tidy`: the architecture as a test.
//!
//! What a reviewer would have to remember is a rule here, and each rule is data plus a scan of the text: no parser,
//! so a rule can be read in a minute and broken in a test. A rule whose subject does not exist says so and passes
//! by; it begins to hold with the first file it speaks of.

mod calls;
mod kinds;
mod layers;
mod orphans;
mod places;
mod proofs;
mod reasons;
mod request;
mod size;
mod source;

use crate::{Result, shell, steps::Done};

/// Something that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// The file, as a path below the root.
    file: String,
    /// The line, from 1; 0 when the whole file is meant.
    line: usize,
    /// What is wrong.
    what: String,
    /// What to do.
    remedy: String,
}

impl Finding {
    fn new(
        file: impl Into<String>,
        line: usize,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding { file: file.into(), line, what: what.into(), remedy: remedy.into() }
    }
}

/// What a rule says.
#[derive(Debug, Default)]
struct Report {
    findings: Vec<Finding>,
    /// Said, and not counted.
    warnings: Vec<Finding>,
    /// What could not be checked because it does not exist yet.
    skipped: Vec<String>,
}

/// A rule's name, and the rule.
type Rule = (&'static str, fn() -> Result<Report>);

const RULES: [Rule; 9] = [
    ("layers", layers::check),
    ("proofs", proofs::check),
    ("reasons", reasons::check),
    ("kinds", kinds::check),
    ("request", request::check),
    ("orphans", orphans::check),
    ("calls", calls::check),
    ("size", size::check),
    ("places", places::check),
];

/// `cargo xtask tidy`.
pub(crate) fn run(arguments: &[String]) -> Result {
    shell::known(arguments, &[])?;
    if let Done::Passed(words) = check()? {
        println!("{words}");
    }
    Ok(())
}

/// The kinds of documents there are.
pub(crate) fn kinds() -> Result<Vec<String>> {
    kinds::all()
}

/// Applies every rule and prints what it found.
pub(crate) fn check() -> Result<Done> {
    let (mut count, mut skipped) = (0, 0);
    for (name, rule) in RULES {
        let report = rule().map_err(|why| format!("rule {name}: {why}"))?;
        for finding in &report.findings {
            print(name, finding);
        }
        for warning in &report.warnings {
            print(&format!("{name} (warning)"), warning);
        }
        for line in &report.skipped {
            println!("{name}: skipped: {line}");
        }
        count += report.findings.len();
        skipped += report.skipped.len();
    }
    match count {
        0 if skipped == 0 => Ok(Done::Passed(format!("{} rules", RULES.len()))),
        0 => Ok(Done::Passed(format!("{} rules, {skipped} without a subject yet", RULES.len()))),
        count => Err(format!("{count} findings")),
    }
}

fn print(rule: &str, Finding { file, line, what, remedy }: &Finding) {
    let place = if *line == 0 { file.clone() } else { format!("{file}:{line}") };
    println!("{place}: {rule}: {what}\n    remedy: {remedy}");
}
