//! Bartizan: a security-first API and AI gateway.
//!
//! The binary wires everything and decides nothing: each command is one file under `command/`. Data goes to standard
//! output, everything else to standard error; 0 means fine, 1 problems were found, 2 could not run.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod capture;
mod command;
mod insight;
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
    /// Run the PolicyTests of a set of documents.
    Test(command::test::Args),
    /// Find what a set of documents leaves open, each with a fix.
    Audit(command::audit::Args),
    /// Tell which stage and policy would decide about a request.
    Explain(command::explain::Args),
    /// Tell the story of a request that was served or refused.
    Why(command::why::Args),
    /// Show the last requests, by consumer, route or outcome.
    Log(command::log::Args),
    /// Record live traffic for `replay`: sampled, bounded, encrypted.
    Capture(command::capture::Args),
    /// Judge recorded requests by other documents, and tell what they would get.
    Replay(command::replay::Args),
    /// Tell what is unusual, which endpoints there are, and what to change.
    Insight(command::insight::Args),
    /// Compare what callers got before and after a revision.
    Review(command::review::Args),
    /// Tell who may send a request, and what a consumer may do.
    Access(command::access::Args),
    /// Show the exposed surface: every route with its policies, in one table.
    Routes(command::routes::Args),
    /// Print the JSON Schema of the documents.
    Schema(command::schema::Args),
    /// Tell what applying a set of documents would change.
    Plan(command::revision::plan::Args),
    /// Tell which documents differ: 0 none, 1 differences, 2 could not run.
    Diff(command::revision::diff::Args),
    /// Make a set of documents the active revision.
    Apply(command::revision::apply::Args),
    /// Show the documents of a revision.
    Get(command::revision::get::Args),
    /// List revisions, newest first.
    History(command::revision::history::Args),
    /// Make an older revision's documents the active ones again.
    Rollback(command::revision::rollback::Args),
    /// Try a revision on a growing share of callers, and take it back when it is worse.
    Rollout(command::rollout::Args),
    /// Write a first set of documents for an API of your own.
    Init(command::init::Args),
    /// Try the rules of an inspection on a request, offline.
    Inspect(command::inspect::Args),
    /// Write an encrypted backup of keys, revisions and all else in the store.
    Backup(command::backup::BackupArgs),
    /// Make a data directory of a backup.
    Restore(command::backup::RestoreArgs),
    /// Change the key under which the store is encrypted.
    Root(command::backup::RootArgs),
    /// List what fires, and silence it for a while.
    Alerts(command::alerts::Args),
    /// List what was told, and what could not be.
    Notices(command::alerts::NoticeArgs),
    /// Drop answers that a running gateway keeps.
    Cache(command::cache::Args),
    /// Create, list, show and revoke API keys.
    Keys(command::keys::Args),
    /// Create, list and revoke tokens of the management API.
    Tokens(command::tokens::Args),
    /// Show what models were used for, by team, consumer and model.
    Usage(command::usage::Args),
    /// Add, list, change and disable the people who manage the gateway.
    Users(command::users::Args),
    /// Show models, add a provider's, and find out why one does not serve.
    Models(command::models::Args),
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
        Command::Test(args) => command::test::run(&args),
        Command::Audit(args) => command::audit::run(&args),
        Command::Explain(args) => command::explain::run(&args),
        Command::Why(args) => command::why::run(&args),
        Command::Log(args) => command::log::run(&args),
        Command::Capture(args) => command::capture::run(&args),
        Command::Replay(args) => command::replay::run(&args),
        Command::Insight(args) => command::insight::run(&args),
        Command::Review(args) => command::review::run(&args),
        Command::Access(args) => command::access::run(&args),
        Command::Routes(args) => command::routes::run(&args),
        Command::Schema(args) => command::schema::run(&args),
        Command::Plan(args) => command::revision::plan::run(&args),
        Command::Diff(args) => command::revision::diff::run(&args),
        Command::Apply(args) => command::revision::apply::run(&args),
        Command::Get(args) => command::revision::get::run(&args),
        Command::History(args) => command::revision::history::run(&args),
        Command::Rollback(args) => command::revision::rollback::run(&args),
        Command::Rollout(args) => command::rollout::run(&args),
        Command::Init(args) => command::init::run(&args),
        Command::Inspect(args) => command::inspect::run(&args),
        Command::Backup(args) => command::backup::back_up(&args),
        Command::Restore(args) => command::backup::restored(&args),
        Command::Root(args) => command::backup::root(&args),
        Command::Alerts(args) => command::alerts::run(&args),
        Command::Notices(args) => command::alerts::run_notices(&args),
        Command::Cache(args) => command::cache::run(&args),
        Command::Keys(args) => command::keys::run(&args),
        Command::Tokens(args) => command::tokens::run(&args),
        Command::Usage(args) => command::usage::run(&args),
        Command::Users(args) => command::users::run(&args),
        Command::Models(args) => command::models::run(&args),
        Command::Verify(args) => command::verify::run(&args),
    }
}
