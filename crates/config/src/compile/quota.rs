//! `QuotaPolicy` and the budget of a `Team` → [`QuotaPolicy`].

use bartizan_limit::{Calendar, Period, QuotaLimit, QuotaPart, QuotaPolicy, QuotaTerms, QuotaUnit};
use bartizan_model::{
    Mode, OnFault,
    document::{
        Document, Kind,
        quota::{QuotaAbsent, QuotaKey, QuotaPeriod, QuotaPolicySpec, QuotaSpec},
        team::TeamSpec,
    },
    problem::{Code, Problem, Problems, shown},
    read::Spanned,
};

use super::label;

/// Compiles one policy.
pub(super) fn compile(
    document: &Document,
    spec: &QuotaPolicySpec,
    problems: &mut Problems,
) -> Option<QuotaPolicy> {
    let before = problems.total();
    check_key(document, spec, problems);
    if spec.limits.is_empty() {
        let message = "a quota needs a limit";
        problems.push(Problem::new(Code::EmptyList, document.name.at, "spec.limits", message));
    }
    let limits = limits(&spec.limits, "spec.limits", problems);
    if problems.total() > before {
        return None;
    }
    Some(QuotaPolicy::new(QuotaTerms {
        label: label(Kind::QuotaPolicy, document.name.as_str()),
        mode: spec.mode,
        enforce_percent: spec.enforce_percent.get(),
        on_fault: spec.on_fault,
        key: spec.key.iter().map(|part| key_part(**part)).collect(),
        skips_absent: spec.on_absent == QuotaAbsent::Skip,
        limits,
    }))
}

/// The budget of a team, if it has one: a quota that its members share.
pub(super) fn budget(document: &Document, spec: &TeamSpec, problems: &mut Problems) -> Option<QuotaPolicy> {
    let limits = limits(&spec.budget, "spec.budget", problems);
    (!limits.is_empty()).then(|| {
        QuotaPolicy::new(QuotaTerms {
            label: label(Kind::Team, document.name.as_str()),
            mode: Mode::Enforce,
            enforce_percent: 100,
            on_fault: OnFault::Deny,
            key: vec![QuotaPart::Team],
            skips_absent: false,
            limits,
        })
    })
}

fn limits(specs: &[Spanned<QuotaSpec>], path: &str, problems: &mut Problems) -> Vec<QuotaLimit> {
    let mut limits: Vec<(QuotaLimit, &Spanned<QuotaSpec>)> = Vec::new();
    for spec in specs {
        let Some(limit) = limit(spec, path, problems) else { continue };
        let is_same = |other: &QuotaLimit| {
            other.unit == limit.unit && other.calendar.period() == limit.calendar.period()
        };
        if let Some((_, first)) = limits.iter().find(|(other, _)| is_same(other)) {
            let message = format!(
                "there are two quotas of {} per {}",
                limit.unit.as_str(),
                limit.calendar.period().as_str()
            );
            problems.push(
                Problem::new(Code::FieldsClash, spec.at, path, message)
                    .also(first.at, "the first one is here")
                    .hint("they would share what was used; write a policy of its own for another"),
            );
            continue;
        }
        limits.push((limit, spec));
    }
    limits.into_iter().map(|(limit, _)| limit).collect()
}

fn limit(spec: &Spanned<QuotaSpec>, path: &str, problems: &mut Problems) -> Option<QuotaLimit> {
    let (unit, amount) = match (&spec.requests, &spec.tokens, &spec.cost) {
        (Some(requests), None, None) => (QuotaUnit::Requests, requests.get().get()),
        (None, Some(tokens), None) => (QuotaUnit::Tokens, tokens.get().get()),
        (None, None, Some(cost)) => (QuotaUnit::Cost, cost.picodollars()),
        _ => {
            let message = "a quota is of requests, of tokens or of cost";
            problems.push(
                Problem::new(Code::NotExactlyOne, spec.at, path, message)
                    .hint("write one of `requests`, `tokens` and `cost`; a list may hold several quotas"),
            );
            return None;
        }
    };
    let period = match spec.per {
        QuotaPeriod::Hour => Period::Hour,
        QuotaPeriod::Day => Period::Day,
        QuotaPeriod::Week => Period::Week,
        QuotaPeriod::Month => Period::Month,
    };
    let calendar = match &spec.time_zone {
        None => Calendar::utc(period),
        Some(zone) => match Calendar::in_zone(period, zone) {
            Ok(calendar) => calendar,
            Err(_) => {
                let message = format!("{} is no time zone", shown(zone));
                let problem = Problem::new(Code::BadValue, zone.at, format!("{path}.timeZone"), message);
                problems.push(
                    problem.hint("write a name of the IANA database, for example `Europe/Berlin` or `UTC`"),
                );
                return None;
            }
        },
    };
    Some(QuotaLimit { unit, amount, calendar })
}

/// A part that is written twice, or beside `gateway`, changes nothing and was meant otherwise.
fn check_key(document: &Document, spec: &QuotaPolicySpec, problems: &mut Problems) {
    const PATH: &str = "spec.key";
    if spec.key.is_empty() {
        problems.push(
            Problem::new(Code::EmptyList, document.name.at, PATH, "a quota needs a key")
                .hint("one quota for all callers together is written `key: [gateway]`"),
        );
    }
    for (number, part) in spec.key.iter().enumerate() {
        if let Some(first) = spec.key.iter().take(number).find(|first| **first == *part) {
            let message = "the same part is written twice";
            problems.push(
                Problem::new(Code::FieldsClash, part.at, PATH, message).also(first.at, "first written here"),
            );
        }
        if **part == QuotaKey::Gateway && spec.key.len() > 1 {
            let message = "`gateway` has no meaning beside other parts";
            problems.push(
                Problem::new(Code::FieldsClash, part.at, PATH, message)
                    .hint("alone it means one quota for all callers together; delete it or the others"),
            );
        }
    }
}

const fn key_part(part: QuotaKey) -> QuotaPart {
    match part {
        QuotaKey::Gateway => QuotaPart::Gateway,
        QuotaKey::Route => QuotaPart::Route,
        QuotaKey::Consumer => QuotaPart::Consumer,
        QuotaKey::Team => QuotaPart::Team,
        QuotaKey::Model => QuotaPart::Model,
    }
}
