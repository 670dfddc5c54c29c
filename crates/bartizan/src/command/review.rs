//! `bartizan review`: what a revision changed for callers, by what was recorded before and after it.
//!
//! Shares are compared by a test of two proportions; what could well be chance is told as such. Counts are those of the
//! record store: where requests were sampled, refusals weigh more than they should, and the text says so.

use std::{
    collections::{BTreeMap, HashMap},
    process::ExitCode,
};

use serde_json::{Value, json};

use super::{
    print::{self, BOLD, Format, NONE, Outcome, PLAIN, counted},
    records::{From, Line, Query, ms},
};

/// What `review` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 reviewed, 1 the records do not know the revision or none before it, 2 could not run."
)]
pub(crate) struct Args {
    /// The revision, as in `check --format json`, the access log and `history`.
    #[arg(value_name = "REV")]
    revision: String,
    /// Compare with this one instead of the one before.
    #[arg(long, value_name = "REV")]
    with: Option<String>,
    #[command(flatten)]
    from: From,
    /// How the comparison is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Times are kept up to this number for each row; their middle does not move any more then.
const TIMES_MAX: usize = 10_000;

/// Beyond this many standard errors a difference is told; by chance it is one of 370.
const Z: f64 = 3.0;

/// What happened under one revision.
#[derive(Clone, Debug, Default)]
struct Tally {
    requests: u64,
    refused: u64,
    limited: u64,
    errors: u64,
    times: Vec<u64>,
}

/// Who a tally is about: a route or a consumer.
type Whose = (&'static str, String);

/// Everything of one revision.
#[derive(Debug, Default)]
struct Side {
    first: String,
    all: Tally,
    rows: BTreeMap<Whose, Tally>,
}

/// Compares and tells.
pub(crate) fn run(args: &Args) -> ExitCode {
    print::exit(review(args))
}

fn review(args: &Args) -> Outcome {
    let mut sides: HashMap<String, Side> = HashMap::new();
    args.from.each(&Query::default(), |one| {
        if let Some(revision) = &one.line.revision {
            sides.entry(revision.clone()).or_default().add(&one.line);
        }
        true
    })?;
    let Some(after) = sides.get(&args.revision) else {
        return Ok(unknown(&args.revision, &sides));
    };
    let before = match &args.with {
        Some(name) => sides.get_key_value(name),
        None => sides.iter().filter(|(_, side)| side.first < after.first).max_by_key(|(_, side)| &side.first),
    };
    let Some((name, before)) = before else {
        return Ok(unknown(args.with.as_deref().unwrap_or("before it"), &sides));
    };
    match args.format {
        Format::Text => print::data(&text((name, before), (&args.revision, after)))?,
        Format::Json => print::json(&in_json((name, before), (&args.revision, after)))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown(name: &str, sides: &HashMap<String, Side>) -> ExitCode {
    let mut known: Vec<(&str, &str)> = sides.iter().map(|(name, side)| (&*side.first, &**name)).collect();
    known.sort_unstable();
    let known: Vec<&str> = known.into_iter().map(|(_, name)| name).collect();
    print::note(&format!(
        "no request was recorded under revision {}; known are: {}",
        print::clean(name),
        known.join(", ")
    ));
    ExitCode::from(print::FOUND)
}

impl Side {
    fn add(&mut self, line: &Line) {
        if self.first.is_empty() || line.time < self.first {
            self.first.clone_from(&line.time);
        }
        self.all.add(line);
        for (what, name) in [("route", &line.route), ("consumer", &line.consumer)] {
            if let Some(name) = name {
                self.rows.entry((what, name.clone())).or_default().add(line);
            }
        }
    }
}

impl Tally {
    fn add(&mut self, line: &Line) {
        self.requests += 1;
        self.refused += u64::from(line.reason.is_some());
        self.limited += u64::from(matches!(
            line.reason.as_deref(),
            Some("RateExceeded" | "QuotaExceeded" | "AddressLimited")
        ));
        self.errors += u64::from(line.status >= 500);
        if self.times.len() < TIMES_MAX {
            self.times.push(line.duration_us);
        }
    }

    /// The time that so many percent of the requests did not exceed.
    fn percentile(&self, percent: usize) -> Option<u64> {
        let mut times = self.times.clone();
        times.sort_unstable();
        times.get((times.len().saturating_sub(1)) * percent / 100).copied()
    }
}

/// How many standard errors the share of `a` of `n` differs from that of `b` of `m`; positive when it is higher after.
fn z((a, n): (u64, u64), (b, m): (u64, u64)) -> f64 {
    if n == 0 || m == 0 {
        return 0.0;
    }
    let (a, n, b, m) = (a as f64, n as f64, b as f64, m as f64);
    let pooled = (a + b) / (n + m);
    let error = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    if error == 0.0 { 0.0 } else { (b / m - a / n) / error }
}

fn text(before: (&str, &Side), after: (&str, &Side)) -> String {
    let mut out = format!(
        "{BOLD}{} (from {}, {}) → {} (from {}, {}){PLAIN}\n\n",
        before.0,
        before.1.first,
        counted(before.1.all.requests, "request"),
        after.0,
        after.1.first,
        counted(after.1.all.requests, "request")
    );
    let header = ["WHAT", "REQUESTS", "REFUSED", "LIMITED", "ERRORS", "MEDIAN", "95 %"];
    let rows = rows(before.1, after.1).map(|(name, a, b)| {
        vec![
            name,
            format!("{} → {}", a.requests, b.requests),
            shares((a.refused, a.requests), (b.refused, b.requests)),
            shares((a.limited, a.requests), (b.limited, b.requests)),
            shares((a.errors, a.requests), (b.errors, b.requests)),
            times(&a, &b, 50),
            times(&a, &b, 95),
        ]
    });
    out.push_str(&print::table(&header, rows));
    out.push_str("\n! is more than chance explains (three standard errors). Of sampled requests all refusals are kept, so shares are too high on both sides.\n");
    out
}

fn rows(before: &Side, after: &Side) -> impl Iterator<Item = (String, Tally, Tally)> {
    let names: std::collections::BTreeSet<Whose> =
        before.rows.keys().chain(after.rows.keys()).cloned().collect();
    let of = |side: &Side, whose: &Whose| side.rows.get(whose).cloned().unwrap_or_default();
    let each: Vec<_> = names
        .into_iter()
        .map(|whose| (format!("{} {}", whose.0, whose.1), of(before, &whose), of(after, &whose)))
        .collect();
    std::iter::once(("all".to_owned(), before.all.clone(), after.all.clone())).chain(each)
}

fn shares(a: (u64, u64), b: (u64, u64)) -> String {
    let percent = |(part, whole): (u64, u64)| match whole {
        0 => NONE.to_owned(),
        whole => format!("{:.1} %", part as f64 * 100.0 / whole as f64),
    };
    let mark = if z(a, b).abs() > Z { " !" } else { "" };
    format!("{} → {}{mark}", percent(a), percent(b))
}

fn times(a: &Tally, b: &Tally, percent: usize) -> String {
    let shown = |tally: &Tally| tally.percentile(percent).map_or_else(|| NONE.to_owned(), ms);
    format!("{} → {}", shown(a), shown(b))
}

fn in_json(before: (&str, &Side), after: (&str, &Side)) -> Value {
    let side = |tally: &Tally| {
        json!({
            "requests": tally.requests,
            "refused": tally.refused,
            "limited": tally.limited,
            "errors": tally.errors,
            "medianUs": tally.percentile(50),
            "p95Us": tally.percentile(95),
        })
    };
    let rows: Vec<Value> = rows(before.1, after.1)
        .map(|(name, a, b)| {
            json!({
                "what": name,
                "before": side(&a),
                "after": side(&b),
                "z": {
                    "refused": z((a.refused, a.requests), (b.refused, b.requests)),
                    "limited": z((a.limited, a.requests), (b.limited, b.requests)),
                    "errors": z((a.errors, a.requests), (b.errors, b.requests)),
                },
            })
        })
        .collect();
    json!({ "before": before.0, "after": after.0, "rows": rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_told_from_change() {
        assert!(z((10, 1_000), (12, 1_000)).abs() < Z);
        assert!(z((10, 1_000), (60, 1_000)) > Z);
        assert!(z((60, 1_000), (10, 1_000)) < -Z);
        for none in [z((0, 0), (5, 5)), z((0, 10), (0, 10)), z((10, 10), (10, 10))] {
            assert_eq!(none, 0.0);
        }
        assert_eq!(shares((0, 0), (1, 4)), "– → 25.0 %");
        assert!(shares((1, 1_000), (500, 1_000)).ends_with('!'));
    }

    #[test]
    fn a_percentile_is_a_time_that_was_seen() {
        let tally = Tally { times: vec![5, 1, 4, 2, 3], ..Tally::default() };
        assert_eq!(
            (tally.percentile(50), tally.percentile(95), tally.percentile(100)),
            (Some(3), Some(4), Some(5))
        );
        assert_eq!(Tally::default().percentile(50), None);
    }
}
