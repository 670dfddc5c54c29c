//! `bartizan inspect`: what rules say, without a gateway.

mod message;
mod verdict;

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use bartizan_config::{Set, snapshot::InspectionPlan, source::Sources};
use bartizan_inspect::{Exchange, RequestHead, Session};
use bartizan_model::problem::Severity;
use serde_json::json;

use self::{message::Message, verdict::Told};
use super::print::{self, FOUND, Format, Outcome};

/// What `inspect` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Judge one request by rules, offline.
    Test(TestArgs),
}

/// What `inspect test` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 the request passes, 1 it would be refused, 2 could not run.")]
struct TestArgs {
    /// Rules: `baseline`, the folder of the Core Rule Set, or a file of your own (`*` for several); in this order.
    #[arg(long, required = true, value_name = "RULES")]
    rules: Vec<String>,
    /// A request as it is sent: request line, headers, an empty line, body; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// How suspicious the rules are.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=4))]
    paranoia: u8,
    /// From which score on the request is refused, where rules keep one.
    #[arg(long, default_value_t = 5, value_name = "SCORE", value_parser = clap::value_parser!(u64).range(1..))]
    threshold: u64,
    /// How the verdict is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    let Command::Test(args) = &args.command;
    print::exit(test(args))
}

fn test(args: &TestArgs) -> Outcome {
    let message = Message::parse(&read(&args.request)?)?;
    let plan = plan(args)?;
    let told = Told::of(&judged(&plan, &message));
    match args.format {
        Format::Json => print::json(&told)?,
        Format::Text => print::data(&told.text())?,
    }
    Ok(if told.passes() { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

/// 64 MiB: what a policy can judge at most.
const REQUEST_BYTES_MAX: u64 = 64 << 20;

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        io::stdin().lock().take(REQUEST_BYTES_MAX).read_to_end(&mut bytes)?;
    } else {
        let file = fs::File::open(path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        file.take(REQUEST_BYTES_MAX).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// The rules as a policy has them on a route: loaded by the same code from a set of documents that says nothing else.
fn plan(args: &TestArgs) -> Result<Arc<InspectionPlan>, Box<dyn std::error::Error>> {
    let folder = std::env::current_dir()?;
    let absolute = |path: &str| folder.join(path).to_string_lossy().into_owned();
    let sets: Vec<serde_json::Value> = args
        .rules
        .iter()
        .map(|rules| match rules.as_str() {
            "baseline" => json!("baseline"),
            path if Path::new(path).is_dir() => json!({ "crs": absolute(path) }),
            path => json!({ "files": absolute(path) }),
        })
        .collect();
    let document = |kind: &str, spec: serde_json::Value| {
        json!({ "apiVersion": "management.v1", "kind": kind, "metadata": { "name": "test" }, "spec": spec })
            .to_string()
    };
    let documents = [
        document("Upstream", json!({ "endpoints": [{ "url": "http://127.0.0.1:9" }] })),
        document("Route", json!({ "rules": [{ "backendRefs": [{ "name": "test" }] }] })),
        document(
            "InspectionPolicy",
            json!({ "ruleSets": sets, "paranoia": args.paranoia, "thresholds": { "inbound": args.threshold } }),
        ),
    ];
    let names = ["upstream.json", "route.json", "policy.json"];
    let set = Set::from_sources(Sources::from_texts(names.into_iter().zip(documents)));
    let found = &set.compiled.problems;
    let plan = set
        .compiled
        .snapshot
        .as_ref()
        .and_then(|snapshot| snapshot.routes.iter().flat_map(|route| &route.inspection).next().cloned());
    plan.ok_or_else(|| {
        let wrong = found.iter().filter(|problem| problem.severity == Severity::Problem);
        let lines: Vec<&str> = wrong.map(|problem| problem.message.as_str()).collect();
        lines.join("\n").into()
    })
}

/// Everything the rules find in the request.
fn judged(plan: &InspectionPlan, message: &Message) -> bartizan_inspect::Verdict {
    let mut session = Session::new(plan.rules.clone(), Some(plan.watching.clone()), Exchange::default());
    let headers: Vec<(&[u8], &[u8])> =
        message.headers.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    session.request_head(&RequestHead {
        method: &message.method,
        target: &message.target,
        protocol: &message.protocol,
        headers: &headers,
    });
    let _ = session.run();
    session.request_body(&message.body);
    session.request_end();
    let _ = session.run();
    session.into_verdict()
}
