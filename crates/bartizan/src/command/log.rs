//! `bartizan log`: the last requests of a consumer, of a route, or that were refused.

use std::process::ExitCode;

use bartizan_model::scalar::Time;
use bartizan_telemetry::records::Flags;
use serde_json::Value;

use super::{
    print::{self, Format, NONE, Outcome},
    records::{From, Line, Query, ms, since},
};

/// What `log` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only requests of this consumer.
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// Only requests of this route.
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Only requests of the last time, for example `1h`.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Time>,
    /// Only requests that were refused, or that a policy in shadow would have refused.
    #[arg(long)]
    refused: bool,
    /// Only requests that did not end well.
    #[arg(long)]
    failed: bool,
    /// At most so many, the newest.
    #[arg(long, value_name = "N", default_value_t = 100)]
    most: usize,
    #[command(flatten)]
    from: From,
    /// How the requests are printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

fn time(text: &str) -> Result<Time, String> {
    Time::parse(text).map_err(|wrong| wrong.to_string())
}

/// Shows them, the newest last.
pub(crate) fn run(args: &Args) -> ExitCode {
    print::exit(show(args))
}

fn show(args: &Args) -> Outcome {
    let bits = |asked: bool, bits: u16| if asked { bits } else { 0 };
    let query = Query {
        id: None,
        consumer: args.consumer.as_deref(),
        route: args.route.as_deref(),
        since_s: since(args.since.as_ref()),
        flags: bits(args.refused, Flags::REFUSED | Flags::WOULD)
            | bits(args.failed, Flags::BROKEN | Flags::FAULT),
    };
    let mut found = args.from.find(&query, args.most)?;
    found.reverse();
    match args.format {
        Format::Json => print::json(&found.iter().map(|one| &one.raw).collect::<Vec<&Value>>())?,
        Format::Text if found.is_empty() => print::note(&format!("no such request in {}", args.from.place())),
        Format::Text => {
            let header = ["TIME", "ID", "STATUS", "METHOD", "PATH", "ROUTE", "CONSUMER", "WHY", "TIME TAKEN"];
            print::data(&print::table(&header, found.iter().map(|one| cells(&one.line))))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn cells(line: &Line) -> Vec<String> {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| NONE.to_owned());
    let refused = line.reason.as_ref().map(|reason| {
        let by = line.policy.as_ref().map(|policy| format!(" by {policy}")).unwrap_or_default();
        format!("{reason}{by}")
    });
    let would =
        line.would_deny.first().map(|would| format!("in shadow: {} by {}", would.reason, would.policy));
    let broken = (!matches!(&*line.exit, "complete" | "refused")).then(|| line.exit.clone());
    vec![
        line.time.clone(),
        line.id.clone(),
        if line.status == 0 { NONE.to_owned() } else { line.status.to_string() },
        line.method.clone(),
        or_none(&line.path),
        or_none(&line.route),
        or_none(&line.consumer),
        refused.or(broken).or(would).unwrap_or_else(|| NONE.to_owned()),
        ms(line.duration_us),
    ]
}
