//! `bartizan replay`: judge recorded requests by another set of documents, and tell what they would get.
//!
//! Requests come from an access log of ours, a HAR file, or an access log in common format. Whatever a judgement hangs on
//! and the source did not record is `not judgeable`, by cause, and never counted as equal (decision 0042). Memory is
//! bounded whatever the size of the source.

mod order;
mod progress;
mod report;
mod source;

use std::{
    error::Error,
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use bartizan_config::{
    replay::{Before, Bench, Caller, Recording, Side, Tally, compare},
    snapshot::Snapshot,
};
use bartizan_message::Scheme;
use bartizan_proxy::rehearsal::PipelineRehearsal;
use bartizan_telemetry::capture::CaptureKey;

use self::{
    order::Ordered,
    progress::Progress,
    source::{Assumed, Heard, Source},
};
use super::{
    print::{self, Format, Outcome},
    set,
};

/// What `replay` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 no request differs, 1 some differ, 2 could not run.")]
pub(crate) struct Args {
    /// An access log (JSON lines), a HAR file, or an access log in common or combined format; `-` is standard input.
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// The documents to judge by; repeat it for several files or directories.
    #[arg(long, required = true, value_name = "PATH")]
    against: Vec<PathBuf>,
    /// Compare with what these documents say instead of what the source recorded.
    #[arg(long, value_name = "PATH")]
    base: Vec<PathBuf>,
    /// How limits are judged [default: `recorded` for a capture, else `simulate`].
    #[arg(long, value_enum)]
    limits: Option<Limits>,
    /// The key of a capture.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// What the source is.
    #[arg(long, value_enum, default_value = "auto")]
    source_format: source::Kind,
    /// The host that was asked for, for logs in common format.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// How it was asked for, for logs in common format.
    #[arg(long, value_enum, default_value = "https")]
    scheme: SchemeArg,
    /// The client's address where the source does not have it.
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
    /// Take callers of whom nothing is known for this consumer, with a valid API key.
    #[arg(long, value_name = "NAME", conflicts_with = "anonymous")]
    consumer: Option<String>,
    /// Take callers of whom nothing is known for nobody: they brought no credential.
    #[arg(long)]
    anonymous: bool,
    /// How many requests are shown for each difference and each cause.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=1000))]
    examples: u16,
    /// How the report is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// How limits are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Limits {
    /// From what they held when the request came, as a capture has it.
    Recorded,
    /// Recomputed in recorded order from empty cells: an estimate.
    Simulate,
}

/// `http` or `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum SchemeArg {
    Http,
    Https,
}

/// Replays and tells.
pub(crate) fn run(args: &Args) -> ExitCode {
    print::exit(replay(args))
}

/// A replay that is over.
struct Replayed {
    tally: Tally,
    /// Lines and entries that are no requests, with the first few of them.
    malformed: u64,
    malformed_examples: Vec<String>,
    /// Lines that the log itself says are missing.
    lost: u64,
    /// Requests that came too late to be put in order.
    late: u64,
    seconds: f64,
}

fn replay(args: &Args) -> Outcome {
    let unknown = assumed_caller(args)?;
    let Some(against) = open(&args.against)? else { return Ok(ExitCode::from(print::COULD_NOT_RUN)) };
    let base = match args.base.as_slice() {
        [] => None,
        paths => match open(paths)? {
            Some(base) => Some(base),
            None => return Ok(ExitCode::from(print::COULD_NOT_RUN)),
        },
    };
    if let Some(name) = &args.consumer
        && !against.consumers.contains_key(name.as_str())
    {
        return Err(format!("the documents have no Consumer named {}", print::clean(name)).into());
    }
    let revision = against.revision.id.clone();
    let assumed = Assumed {
        host: args.host.clone(),
        scheme: match args.scheme {
            SchemeArg::Http => Scheme::Http,
            SchemeArg::Https => Scheme::Https,
        },
        client: args.client,
        unknown,
    };
    let key = args.key_file.as_deref().map(CaptureKey::read).transpose()?;
    let source = Source::open(&args.source, args.source_format, assumed, key)?;
    let recorded_limits = match args.limits {
        Some(Limits::Recorded) if !source.is_capture() => {
            return Err("only a capture has what limits held; use `--limits simulate`".into());
        }
        Some(Limits::Recorded) => true,
        Some(Limits::Simulate) => false,
        None => source.is_capture(),
    };
    let bench = |snapshot| {
        let bench = Bench::new(snapshot, &PipelineRehearsal);
        if recorded_limits { bench.with_recorded_limits() } else { bench }
    };
    let mut run = Run {
        after: bench(against),
        before: base.map(bench),
        tally: Tally::new(usize::from(args.examples)),
        number: 0,
    };
    let replayed = run_through(source, &mut run, usize::from(args.examples))?;
    if replayed.tally.requests == 0 {
        for example in &replayed.malformed_examples {
            print::note(&print::clean(example));
        }
        return Err(format!("{} holds no request that can be read", args.source.display()).into());
    }
    let told = report::Told {
        replayed: &replayed,
        source: &args.source.display().to_string(),
        revision: &revision,
        has_base: run.before.is_some(),
        recorded_limits,
    };
    match args.format {
        Format::Text => print::data(&report::text(&told))?,
        Format::Json => print::json(&report::json(&told))?,
    }
    let differs = replayed.tally.different() > 0;
    Ok(if differs { ExitCode::from(print::FOUND) } else { ExitCode::SUCCESS })
}

fn assumed_caller(args: &Args) -> Result<Caller, Box<dyn Error>> {
    Ok(match &args.consumer {
        Some(name) => Caller::with_key_of(name)?,
        None if args.anonymous => Caller::Nobody,
        None => Caller::Unknown,
    })
}

/// A sound set; its problems are told where it is none.
fn open(paths: &[PathBuf]) -> Result<Option<Arc<Snapshot>>, Box<dyn Error>> {
    Ok(set::open_sound(paths)?.ok().map(|sound| sound.snapshot))
}

/// The sets and the counts.
struct Run {
    after: Bench,
    before: Option<Bench>,
    tally: Tally,
    number: u64,
}

impl Run {
    fn judge(&mut self, asked: &Recording) {
        self.number += 1;
        let draw = spread(self.number);
        let after = self.after.judge(asked, draw);
        let before = self.before.as_mut().map(|bench| bench.judge(asked, draw));
        let finding = match &before {
            Some(before) => compare(Before::Judged(before), &after),
            None => compare(Before::Recorded(asked.recorded.as_ref()), &after),
        };
        self.tally.note(Side::After, &after);
        if let Some(before) = &before {
            self.tally.note(Side::Before, before);
        }
        self.tally.add(asked, &after, &finding);
    }
}

/// What was recorded, for whoever asks what another set would have done.
pub(crate) struct Recorded(Source);

impl Recorded {
    /// An access log of ours or a capture.
    pub(crate) fn open(path: &Path, key_file: Option<&Path>) -> Result<Self, Box<dyn Error>> {
        let key = key_file.map(CaptureKey::read).transpose()?;
        Ok(Recorded(Source::open(path, source::Kind::Auto, Assumed::nothing(), key)?))
    }

    /// The record store in this folder.
    pub(crate) fn store(folder: PathBuf) -> Self {
        Recorded(Source::of_store(folder))
    }
}

/// What the candidate does to recorded requests beside what the base does to them.
pub(crate) fn counterfactual(
    recorded: Recorded,
    base: Arc<Snapshot>,
    candidate: Arc<Snapshot>,
) -> Result<Tally, Box<dyn Error>> {
    let Recorded(source) = recorded;
    let recorded_limits = source.is_capture();
    let bench = |snapshot| {
        let bench = Bench::new(snapshot, &PipelineRehearsal);
        if recorded_limits { bench.with_recorded_limits() } else { bench }
    };
    let mut run = Run { after: bench(candidate), before: Some(bench(base)), tally: Tally::new(0), number: 0 };
    Ok(run_through(source, &mut run, 0)?.tally)
}

/// A number for each request that looks drawn and is the same in every replay (a step of SplitMix64).
const fn spread(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn run_through(source: Source, run: &mut Run, examples: usize) -> Result<Replayed, Box<dyn Error>> {
    let begun = Instant::now();
    let mut progress = Progress::new(source.position());
    let mut ordered = Ordered::default();
    let (mut malformed, mut lost) = (0, 0);
    let mut malformed_examples = Vec::new();
    source.each(|heard| {
        match heard {
            Heard::Request(asked) => {
                if let Some(next) = ordered.push(asked) {
                    run.judge(&next);
                }
            }
            Heard::Malformed(place, why) => {
                malformed += 1;
                if malformed_examples.len() < examples {
                    malformed_examples.push(format!("{place}: {why}"));
                }
            }
            Heard::Lost(count) => lost += count,
        }
        progress.tell(run.number);
    })?;
    let late = ordered.late();
    for asked in ordered.rest() {
        run.judge(&asked);
        progress.tell(run.number);
    }
    progress.end();
    let tally = std::mem::take(&mut run.tally);
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Replayed { tally, malformed, malformed_examples, lost, late, seconds })
}
