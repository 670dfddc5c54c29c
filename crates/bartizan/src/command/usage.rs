//! `bartizan usage`: what models were used for, by team, consumer and model.
//!
//! Read from the store, where the gateway writes it down within a second; no gateway needs to run. Days are those of UTC.
//! Money is exact: whole picodollars, shown in dollars.

use std::{collections::BTreeMap, process::ExitCode, str::FromStr};

use bartizan_ai::price::Money;
use bartizan_store::day_of;
use bartizan_telemetry::usage::{UsageKey, UsageSums};
use serde_json::{Map, Value, json};

use super::{
    data_dir::DataDirArg,
    print::{self, Format, NONE, Outcome},
    when,
};

/// What `usage` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What is told apart, in this order.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "team,consumer,model")]
    by: Vec<Part>,
    /// The month, for example `2026-11` [default: this one].
    #[arg(long, value_name = "YYYY-MM", num_args = 0..=1, default_missing_value = "now")]
    month: Option<MonthArg>,
    #[command(flatten)]
    data_dir: DataDirArg,
    /// How the data is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What use is told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The consumer's team.
    Team,
    /// The consumer.
    Consumer,
    /// The model's public name.
    Model,
}

impl Part {
    const fn word(self) -> &'static str {
        match self {
            Part::Team => "team",
            Part::Consumer => "consumer",
            Part::Model => "model",
        }
    }

    fn of(self, key: &UsageKey) -> String {
        match self {
            Part::Team => key.team.as_deref().unwrap_or(NONE).to_owned(),
            Part::Consumer => key.consumer.as_deref().unwrap_or(NONE).to_owned(),
            Part::Model => key.model.to_string(),
        }
    }
}

/// A month as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MonthArg {
    This,
    Of(Month),
}

/// A month of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Month {
    year: u32,
    month: u32,
}

impl FromStr for MonthArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "now" {
            return Ok(MonthArg::This);
        }
        Month::read(text).map(MonthArg::Of).ok_or_else(|| "write a month as `2026-11`".to_owned())
    }
}

impl Month {
    fn read(text: &str) -> Option<Self> {
        let (year, month) =
            text.split_once('-').filter(|(year, month)| year.len() == 4 && month.len() == 2)?;
        let (year, month) = (year.parse().ok()?, month.parse().ok()?);
        ((1970..=9998).contains(&year) && (1..=12).contains(&month)).then_some(Month { year, month })
    }

    /// Its first and its last day, since 1970-01-01.
    fn days(self) -> Option<(u32, u32)> {
        let next = match self.month {
            12 => Month { year: self.year + 1, month: 1 },
            month => Month { month: month + 1, ..self },
        };
        Some((self.first_day()?, next.first_day()?.checked_sub(1)?))
    }

    fn first_day(self) -> Option<u32> {
        when::unix_ms(&format!("{:04}-{:02}-01T00:00:00Z", self.year, self.month)).map(day_of)
    }
}

impl std::fmt::Display for Month {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// Shows what was used.
pub(crate) fn run(args: &Args) -> ExitCode {
    print::exit(answer(args))
}

fn answer(args: &Args) -> Outcome {
    let month = match args.month {
        Some(MonthArg::Of(month)) => Some(month),
        Some(MonthArg::This) | None => when::moment(when::now_ms()).get(..7).and_then(Month::read),
    };
    let month = month.ok_or("the clock of this machine shows no month")?;
    let (first, last) = month.days().ok_or("there is no such month")?;
    let sums = args.data_dir.on_store(async |store| Ok(store.usage().sums(first, last).await?))?;
    let groups = grouped(&args.by, &sums);
    match args.format {
        Format::Text if groups.is_empty() => print::note(&format!("no model was asked in {month}")),
        Format::Text => print::data(&table(&args.by, &groups))?,
        Format::Json => print::json(&view(&args.by, month, &groups))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The sums by the names of their parts, in order.
fn grouped(by: &[Part], sums: &[(UsageKey, UsageSums)]) -> BTreeMap<Vec<String>, UsageSums> {
    let mut groups: BTreeMap<Vec<String>, UsageSums> = BTreeMap::new();
    for (key, more) in sums {
        groups.entry(by.iter().map(|part| part.of(key)).collect()).or_default().add(more);
    }
    groups
}

fn table(by: &[Part], groups: &BTreeMap<Vec<String>, UsageSums>) -> String {
    let mut header: Vec<String> = by.iter().map(|part| part.word().to_uppercase()).collect();
    header.extend(
        ["CALLS", "FAILED", "INPUT", "CACHED", "OUTPUT", "REASONING", "COST", "UNPRICED", "FIRST TOKEN"]
            .map(str::to_owned),
    );
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut total = UsageSums::default();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (names, sums) in groups {
        total.add(sums);
        rows.push(names.iter().cloned().chain(cells(sums)).collect());
    }
    if rows.len() > 1 {
        let names = (0..by.len()).map(|at| if at == 0 { "(all)".to_owned() } else { String::new() });
        rows.push(names.chain(cells(&total)).collect());
    }
    print::table(&header, rows)
}

fn cells(sums: &UsageSums) -> Vec<String> {
    let some = |count: u64| if count == 0 { NONE.to_owned() } else { count.to_string() };
    vec![
        sums.requests.to_string(),
        some(sums.failed),
        sums.input.to_string(),
        some(sums.cached),
        sums.output.to_string(),
        some(sums.reasoning),
        format!("${}", dollars(sums.cost_pico)),
        some(sums.unpriced),
        first_token(sums).map_or_else(|| NONE.to_owned(), |micros| format!("{} ms", micros / 1_000)),
    ]
}

/// Microdollars, rounded up: a bill is never told too low.
fn dollars(pico: u64) -> String {
    let micros = Money(pico).micros_up();
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// The mean time to the first token, in microseconds.
fn first_token(sums: &UsageSums) -> Option<u64> {
    sums.first_token_micros.checked_div(sums.answered)
}

fn view(by: &[Part], month: Month, groups: &BTreeMap<Vec<String>, UsageSums>) -> Value {
    let rows: Vec<Value> = groups
        .iter()
        .map(|(names, sums)| {
            let mut row = Map::new();
            for (part, name) in by.iter().zip(names) {
                let name = if name == NONE { Value::Null } else { name.as_str().into() };
                row.insert(part.word().to_owned(), name);
            }
            let numbers = [
                ("requests", sums.requests),
                ("failed", sums.failed),
                ("inputTokens", sums.input),
                ("cachedTokens", sums.cached),
                ("outputTokens", sums.output),
                ("reasoningTokens", sums.reasoning),
                ("costPicodollars", sums.cost_pico),
                ("unpriced", sums.unpriced),
                ("estimated", sums.estimated),
                ("fallbacks", sums.fallbacks),
            ];
            row.extend(numbers.map(|(name, number)| (name.to_owned(), number.into())));
            row.insert("costDollars".to_owned(), Money(sums.cost_pico).to_string().into());
            row.insert("firstTokenMicros".to_owned(), first_token(sums).into());
            Value::Object(row)
        })
        .collect();
    json!({ "month": month.to_string(), "by": by.iter().map(|part| part.word()).collect::<Vec<_>>(), "usage": rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_from_its_first_to_its_last_day() {
        let days = |text: &str| Month::read(text).unwrap().days().unwrap();
        assert_eq!(days("1970-01"), (0, 30));
        assert_eq!(days("1970-12"), (334, 364));
        assert_eq!(days("2028-02").1 - days("2028-02").0, 28);
        for text in ["", "2026", "2026-13", "2026-00", "26-01", "2026-1", "1969-12", "9999-01", "2026-11-01"]
        {
            assert!(text.parse::<MonthArg>().is_err(), "{text}");
        }
    }

    #[test]
    fn use_is_added_up_by_what_is_asked_and_a_bill_is_never_too_low() {
        let key = |team: Option<&str>, model: &str| UsageKey {
            team: team.map(Into::into),
            consumer: Some("anna".into()),
            model: model.into(),
        };
        let sums = |requests, cost_pico| UsageSums { requests, cost_pico, ..UsageSums::default() };
        let all = [
            (key(Some("shop"), "a"), sums(1, 1)),
            (key(None, "a"), sums(2, 2_000_000)),
            (key(None, "b"), sums(4, 0)),
        ];
        let groups = grouped(&[Part::Model], &all);
        let told: Vec<_> = groups.iter().map(|(names, sums)| (names[0].as_str(), sums.requests)).collect();
        assert_eq!(told, [("a", 3), ("b", 4)]);
        assert_eq!(dollars(1), "0.000001");
        assert_eq!(dollars(2_000_001), "0.000003");
        assert!(
            table(&[Part::Team, Part::Model], &grouped(&[Part::Team, Part::Model], &all)).contains("(all)")
        );
        let view = view(&[Part::Team], Month { year: 2026, month: 11 }, &grouped(&[Part::Team], &all));
        assert_eq!(view["usage"].as_array().unwrap().len(), 2);
        assert!(view["usage"].as_array().unwrap().iter().any(|row| row["team"].is_null()));
    }
}
