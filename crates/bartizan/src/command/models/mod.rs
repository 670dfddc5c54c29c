//! `bartizan models`: what is published, a provider more in one line, and one tiny call that names the fault.

mod add;
mod list;
mod probe;

use std::process::ExitCode;

use bartizan_ai::{Provider, provider::PROVIDERS};

use super::print;

pub(crate) use add::{Wanted, documents};

/// What `models` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show every published model, who serves it, and what it costs.
    List(list::Args),
    /// Write the documents of a provider and its models beside those of a gateway, which then serves them.
    Add(add::Args),
    /// Send one tiny call to each target of a model and name what is wrong: key, region, model, network or quota.
    Probe(probe::Args),
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    print::exit(match &args.command {
        Command::List(args) => list::run(args),
        Command::Add(args) => add::run(args),
        Command::Probe(args) => probe::run(args),
    })
}

/// A provider by any word that people use for it.
fn provider(word: &str) -> Result<Provider, String> {
    let plain: String = word.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    let meant = match plain.as_str() {
        "claude" => "anthropic",
        "google" => "gemini",
        "qwen" | "tongyi" | "alibaba" | "bailian" => "dashscope",
        "llama" => "ollama",
        other => other,
    };
    let known = PROVIDERS.into_iter().find(|provider| provider.word().to_ascii_lowercase() == meant);
    known.ok_or_else(|| {
        let words: Vec<String> =
            PROVIDERS.iter().map(|provider| provider.word().to_ascii_lowercase()).collect();
        format!("there is no provider `{word}`; write one of {}", words.join(", "))
    })
}
