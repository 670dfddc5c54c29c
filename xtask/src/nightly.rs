//! `cargo xtask nightly`: what is worth hours rather than seconds.
//!
//! The same tests with many more cases, the tests marked as ignored because they are slow, and advisories where
//! `cargo deny` is installed. Bounded: when the time is over, what has not begun is told as not run.

use std::{
    ffi::OsStr,
    time::{Duration, Instant},
};

use crate::{
    Result,
    shell::{self, cargo, has, run as run_program},
    steps::{Done, Steps},
    tools,
};

/// Times the cases that a property has in `cargo xtask test`.
const CASES: &str = "20000";
const MINUTES: u64 = 120;

/// `cargo xtask nightly [--minutes N]`.
pub(crate) fn run(arguments: &[String]) -> Result {
    shell::known(arguments, &["--minutes="])?;
    let minutes = match shell::value(arguments, "--minutes") {
        None => MINUTES,
        Some(text) => text.parse().map_err(|_| format!("`{text}` is no number of minutes"))?,
    };
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let path = tools::path()?;
    let bounded = |work: &dyn Fn() -> Result<Done>| {
        if Instant::now() < end {
            work()
        } else {
            Ok(Done::Skipped(format!("the {minutes} minutes are over")))
        }
    };
    let mut steps = Steps::new(true);
    steps.step("tools", || match tools::prepare() {
        missing if missing.is_empty() => Ok(Done::passed()),
        missing => Ok(Done::Skipped(missing.join("; "))),
    });
    steps.step("properties", || {
        bounded(&|| {
            let environment = [("PROPTEST_CASES", OsStr::new(CASES)), ("PATH", &path)];
            within(end, &["test", "--workspace", "--release", "--no-fail-fast"], &environment)
        })
    });
    steps.step("ignored", || {
        bounded(&|| {
            let arguments = ["test", "--workspace", "--release", "--no-fail-fast", "--", "--ignored"];
            within(end, &arguments, &[("PATH", &path)])
        })
    });
    steps.step("advisories", || {
        if !has("cargo-deny") {
            return Ok(Done::Skipped("cargo-deny is not installed".to_owned()));
        }
        bounded(&|| run_program(cargo().args(["deny", "check", "advisories"])).map(|()| Done::passed()))
    });
    steps.finish()
}

/// Runs cargo with these arguments until `end`. `timeout` ends the whole process group: cargo's own children too.
fn within(end: Instant, arguments: &[&str], environment: &[(&str, &OsStr)]) -> Result<Done> {
    let left = end.saturating_duration_since(Instant::now()).as_secs().max(1).to_string();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = shell::program("timeout");
    command.args(["--kill-after=10", &left]).arg(cargo).args(arguments).envs(environment.iter().copied());
    run_program(&mut command).map(|()| Done::passed())
}
