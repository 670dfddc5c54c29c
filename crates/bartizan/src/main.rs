//! Bartizan: a security-first API and AI gateway.
//!
//! The binary wires everything and decides nothing: each command is one file under `command/`. Data goes to standard
//! output, everything else to standard error; 0 means fine, 1 problems were found, 2 could not run.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod command;
mod memory;
mod sample;
mod service;

/// A security-first API and AI gateway.
#[derive(Debug, Parser)]
#[command(name = "bartizan", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a sample API with the gateway in front of it, and show what to try.
    Demo(command::demo::Args),
    /// Serve a set of documents.
    Run(command::run::Args),
    /// Check a set of documents without running it.
    Check(command::check::Args),
    /// Tell which stage and policy would decide about a request.
    Explain(command::explain::Args),
    /// Tell who may send a request, and what a consumer may do.
    Access(command::access::Args),
    /// Show the exposed surface: every route with its policies, in one table.
    Routes(command::routes::Args),
    /// Print the JSON Schema of the documents.
    Schema(command::schema::Args),
    /// Write a first set of documents for an API of your own.
    Init(command::init::Args),
    /// Create, list, show and revoke API keys.
    Keys(command::keys::Args),
    /// Tell of signed tokens on standard input whether their signatures are right.
    #[command(hide = true)]
    Verify(command::verify::Args),
}

fn main() -> ExitCode {
    memory::use_usual_pages();
    match Cli::parse().command {
        Command::Demo(args) => command::demo::run(args),
        Command::Run(args) => command::run::run(args),
        Command::Check(args) => command::check::run(&args),
        Command::Explain(args) => command::explain::run(&args),
        Command::Access(args) => command::access::run(&args),
        Command::Routes(args) => command::routes::run(&args),
        Command::Schema(args) => command::schema::run(&args),
        Command::Init(args) => command::init::run(&args),
        Command::Keys(args) => command::keys::run(&args),
        Command::Verify(args) => command::verify::run(&args),
    }
}
