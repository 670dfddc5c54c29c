//! Checks, generated files, benchmarks: everything about the repository that is not the gateway itself.
//!
//! `cargo xtask test` is what a change must pass and what CI runs; the other commands are parts of it, or what is
//! too long or too noisy for it. Nothing here is built into the gateway, and nothing of the gateway is built into
//! this: it starts cargo and the tools as a developer would.
//!
//! Reading order: [`mod@test`] (the steps), [`suite`] (the tests and their clock), [`tidy`] (the architecture as rules), [`dependencies`], [`fixtures`],
//! [`nightly`], [`pictures`], [`mod@bench`], [`dist`].

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks to its terminal")]

mod bench;
mod dependencies;
mod dist;
mod fixtures;
mod nightly;
mod pictures;
mod sdk;
mod shell;
mod steps;
mod suite;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

/// What a command gives: nothing, or a sentence for the developer.
type Result<T = ()> = std::result::Result<T, String>;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [--keep-going] [--only STEP]   every check and test of a change, as CI runs them
  tidy                      the architecture as rules: layers, proofs, reasons, pages, banned calls
  fixtures [--check]        write the generated files anew (or only tell whether they are fresh)
  nightly [--minutes N]     the long suites: many cases per property, ignored tests, advisories
  sdk                       install the official clients of model providers for their tests
  pictures                  what the commands print, as docs/images/*.svg
  bench [OPTIONS]           CPU per request against nginx and HAProxy; `cargo xtask bench --help`
  bench insight [--data DIR]  what the detectors find and cost, on public data and scripted abuse
  bench cache-tests         the public HTTP caching tests, against nginx and Varnish in the same run
  dist                      the gateway as it ships: the `dist` profile, guided by the bench's load
";

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    }
    let command = arguments.remove(0);
    let result = match command.as_str() {
        "test" => test::run(&arguments),
        "tidy" => tidy::run(&arguments),
        "fixtures" => fixtures::run(&arguments),
        "nightly" => nightly::run(&arguments),
        "bench" => bench::run(&arguments),
        "pictures" => pictures::run(&arguments),
        "sdk" => sdk::run_command(&arguments),
        "dist" => dist::run(&arguments),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        _ => {
            eprint!("no command `{command}`\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask {command}: {why}");
            ExitCode::FAILURE
        }
    }
}
