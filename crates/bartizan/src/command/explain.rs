//! `bartizan explain`: which stage and which policy would decide about a request, without sending one.
//!
//! A walk over the compiled set in the order of the pipeline, with the functions that the stages judge by. What only a
//! running gateway knows (whether a key is valid, where a bucket stands, whether an endpoint is well) is named, not
//! guessed. Reading order: [`ask`] (the request), [`walk`] (its way), [`report`] (how it reads).

use std::{net::IpAddr, process::ExitCode};

use super::{
    print::{self, Format, Outcome},
    set::{ConfigArg, Sound},
};

pub(super) mod ask;
mod report;
mod walk;

use ask::Ask;

/// What `explain` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 explained (also when it would be refused), 1 the documents have problems, \
                        2 could not run."
)]
pub(crate) struct Args {
    /// The method, for example `GET`.
    #[arg(value_name = "METHOD")]
    method: String,
    /// The URL that the caller uses, or the path alone.
    #[arg(value_name = "URL")]
    url: String,
    /// The consumer whose valid key the caller sends.
    #[arg(long = "as", value_name = "CONSUMER")]
    consumer: Option<String>,
    /// A header that the caller sends; may be given several times.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The address that the caller connects from.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    from: IpAddr,
    /// The listener that the request enters by [default: the one that fits the URL best].
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    #[command(flatten)]
    config: ConfigArg,
    /// How the way is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Explains.
pub(crate) fn run(args: &Args) -> ExitCode {
    print::exit(explain(args))
}

fn explain(args: &Args) -> Outcome {
    let ask = Ask::read(&args.method, &args.url, &args.headers, args.consumer.as_deref(), args.from)?;
    Sound::with(&args.config.paths, |sound| {
        let entered = ask.enter(&sound.snapshot, args.listener.as_deref())?;
        let report = walk::walk(sound, &ask, &entered);
        match args.format {
            Format::Text => print::data(&report.text())?,
            Format::Json => print::json(&report)?,
        }
        Ok(ExitCode::SUCCESS)
    })
}
