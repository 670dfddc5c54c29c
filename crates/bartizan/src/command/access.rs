//! `bartizan access`: who may send a request, and what a consumer may do.
//!
//! Answered from the compiled set by the engine that judges requests. What hangs on a request that nobody has sent yet
//! (a header, a parameter, the client's address, the time) is not guessed: the condition is shown. Reading order:
//! [`outlook`] (one caller, one rule), [`who`] and [`what`] (the two questions).

use std::process::ExitCode;

use super::print;

mod outlook;
mod what;
mod who;

#[cfg(test)]
mod tests;

/// What `access` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, clap::Subcommand)]
enum Question {
    /// Tell who may send a request.
    WhoCan(who::Args),
    /// Tell what a consumer may do.
    WhatCan(what::Args),
}

/// Answers.
pub(crate) fn run(args: &Args) -> ExitCode {
    print::exit(match &args.question {
        Question::WhoCan(args) => who::answer(args),
        Question::WhatCan(args) => what::answer(args),
    })
}
