//! `bartizan why`: the story of one request, in the words of the stages.
//!
//! It tells what was recorded and nothing else; for a refusal also what would change it, which it knows better when it is
//! given the documents.

mod remedy;
mod rules;

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
};

use bartizan_model::{Reason, Stage};
use serde_json::{Value, json};

use super::{
    print::{self, BOLD, BOLD_GREEN, BOLD_RED, Format, Outcome, PLAIN, clean, counted},
    records::{self, From, Line, Query, Recorded, ms},
    set::{self, Sound},
};

/// What `why` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 found, 1 there is no such request, 2 could not run.")]
pub(crate) struct Args {
    /// The request's id, as in `X-Request-ID` and in the answer of a refusal.
    #[arg(value_name = "REQUEST-ID")]
    id: String,
    #[command(flatten)]
    from: From,
    /// The documents, to say more exactly what would change a refusal.
    #[arg(long, num_args = 1.., value_name = "PATH")]
    config: Vec<PathBuf>,
    /// How the story is told.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Callers choose ids, so one may be there many times; more than the last ones nobody reads.
const MOST: usize = 10;

/// Tells it.
pub(crate) fn run(args: &Args) -> ExitCode {
    print::exit(tell(args))
}

fn tell(args: &Args) -> Outcome {
    let found = args.from.find(&Query { id: Some(&args.id), ..Query::default() }, MOST)?;
    if found.is_empty() {
        print::note(&format!("no request {} in {}", clean(&args.id), args.from.place()));
        print::note(
            "It may be older than the store reaches, not have been sampled, or its route is not recorded.",
        );
        return Ok(ExitCode::from(print::FOUND));
    }
    let sound = open(&args.config)?;
    match args.format {
        Format::Text => {
            if found.len() > 1 {
                print::note(&format!(
                    "{} have this id; the newest comes first",
                    counted(found.len() as u64, "request")
                ));
            }
            for one in &found {
                print::data(&story(&one.line, sound.as_ref()))?;
            }
        }
        Format::Json => print::json(&json!({
            "requests": found.iter().map(|one| in_json(one, sound.as_ref())).collect::<Vec<_>>(),
        }))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The last refusals that a data directory keeps, newest first, each as `why --format json` tells it.
pub(crate) fn refusals(folder: &Path, most: usize) -> Result<Vec<Value>, String> {
    let found = records::refusals(folder, most).map_err(|error| error.to_string())?;
    Ok(found.iter().map(|one| in_json(one, None)).collect())
}

/// The documents, if they were given and are sound; otherwise the story is told without them.
fn open(config: &[PathBuf]) -> Result<Option<Sound>, Box<dyn Error>> {
    if config.is_empty() {
        return Ok(None);
    }
    Ok(set::open_sound(config)?.ok())
}

/// What a stage did.
struct Step {
    stage: Stage,
    end: &'static str,
    note: String,
}

fn story(line: &Line, sound: Option<&Sound>) -> String {
    let mut out = format!("{BOLD}{} {}{PLAIN}\n", clean(&line.method), clean(&target(line)));
    for fact in facts(line) {
        out.push_str(&format!("  {}\n", clean(&fact)));
    }
    for Step { stage, end, note } in steps(line) {
        let (colour, plain) = match end {
            "ok" | "answered" => ("", ""),
            _ => (BOLD_RED, PLAIN),
        };
        let text = format!("  {:<10} {colour}{end:<9}{plain} {}", stage.as_str(), clean(&note));
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out.push_str(&format!("  {}\n", clean(&ending(line))));
    for would in &line.would_deny {
        let wait = would.wait_ms.map(|wait| format!(" {wait} ms")).unwrap_or_default();
        let detail = would.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        let text = format!(
            "in shadow  {} {}{wait} {} by {}{detail}",
            would.stage, would.mode, would.reason, would.policy
        );
        out.push_str(&format!("  {}\n", clean(&text)));
    }
    for fault in &line.faults {
        let policy = fault.policy.as_deref().unwrap_or("a policy");
        let text = format!(
            "let pass   {} of {policy} could not decide: {}",
            fault.stage,
            fault.detail.as_deref().unwrap_or("?")
        );
        out.push_str(&format!("  {}\n", clean(&text)));
    }
    for told in rules::told(&line.rules) {
        out.push_str(&format!("  {}\n", clean(&told)));
    }
    let remedies = remedy::of(line, sound);
    if !remedies.is_empty() {
        out.push_str(&format!("  {BOLD_GREEN}what would change it{PLAIN}\n"));
        for remedy in remedies {
            out.push_str(&format!("    * {}\n", clean(&remedy)));
        }
    }
    if let Some(page) = page(line) {
        out.push_str(&format!("  more: {page}\n"));
    }
    out.push('\n');
    out
}

fn in_json(one: &Recorded, sound: Option<&Sound>) -> Value {
    let steps: Vec<Value> = steps(&one.line)
        .into_iter()
        .map(|step| json!({ "stage": step.stage.as_str(), "outcome": step.end, "note": step.note }))
        .collect();
    json!({
        "record": one.raw,
        "stages": steps,
        "ending": ending(&one.line),
        "matched": rules::told(&one.line.rules),
        "remedies": remedy::of(&one.line, sound),
        "page": page(&one.line),
    })
}

fn target(line: &Line) -> String {
    let query = line.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    format!(
        "{}{}{query}",
        line.host.as_deref().unwrap_or_default(),
        line.path.as_deref().unwrap_or("(not readable)")
    )
}

fn facts(line: &Line) -> Vec<String> {
    let mut how: Vec<&str> = vec![line.protocol.as_deref().unwrap_or("?")];
    how.extend(line.tls.as_deref());
    let listener = line.listener.as_deref().unwrap_or("?");
    vec![
        format!("request {} at {}", line.id, line.time),
        format!("from {} by {}, listener {listener}", line.client.as_deref().unwrap_or("?"), how.join(", ")),
        format!("judged by revision {}", line.revision.as_deref().unwrap_or("?")),
    ]
}

fn refused_in(line: &Line) -> Option<Stage> {
    let word = line.stage.as_deref()?;
    Stage::ALL.into_iter().find(|stage| stage.as_str() == word)
}

/// The stages that looked at it: up to the one that refused or answered, else all.
fn steps(line: &Line) -> Vec<Step> {
    let refused = refused_in(line);
    // Without an upstream and without a refusal, the gateway answered by itself.
    let answered = (refused.is_none() && line.upstream.is_none()).then_some(Stage::Route);
    let mut steps = Vec::new();
    for stage in Stage::ALL.into_iter().filter(|stage| *stage != Stage::Record) {
        if refused == Some(stage) {
            let by = line.policy.as_ref().map(|policy| format!(" by {policy}")).unwrap_or_default();
            let detail = line.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
            let word =
                if line.reason.as_deref() == Some("JudgeUnavailable") { "undecided" } else { "refused" };
            let note = format!("{}{by}{detail}", line.reason.as_deref().unwrap_or("?"));
            steps.push(Step { stage, end: word, note });
            break;
        }
        if answered == Some(stage) {
            steps.push(Step { stage, end: "answered", note: noted(line, stage) });
            break;
        }
        steps.push(Step { stage, end: "ok", note: noted(line, stage) });
    }
    steps
}

fn noted(line: &Line, stage: Stage) -> String {
    match stage {
        Stage::Admit => line.client.as_ref().map(|client| format!("client {client}")).unwrap_or_default(),
        Stage::Route => line.route.as_ref().map(|route| format!("route {route}")).unwrap_or_default(),
        Stage::Identify => match (&line.consumer, &line.credential) {
            (Some(consumer), Some(key)) => format!("consumer {consumer} by {key}"),
            (Some(consumer), None) => format!("consumer {consumer}"),
            (None, _) => "nobody by name".to_owned(),
        },
        Stage::Limit => {
            line.waited_us.map(|waited| format!("waited {} for its slot", ms(waited))).unwrap_or_default()
        }
        Stage::Forward => {
            let to = line.endpoint.as_ref().map(|endpoint| format!(" at {endpoint}")).unwrap_or_default();
            let tries = match line.upstream_attempts {
                0 | 1 => String::new(),
                tries => format!(", {tries} attempts"),
            };
            let time = line.upstream_us.map(|time| format!(", {}", ms(time))).unwrap_or_default();
            format!("upstream {}{to}{tries}{time}", line.upstream.as_deref().unwrap_or("?"))
        }
        _ => String::new(),
    }
}

fn ending(line: &Line) -> String {
    let status = match line.status {
        0 => "no answer".to_owned(),
        status => format!("{status} to the caller"),
    };
    let how = match &*line.exit {
        "complete" | "refused" => String::new(),
        exit => format!(" ({})", exit.replace('_', " ")),
    };
    format!(
        "→ {status}{how} after {}, {} of it the gateway's own; {} in, {} out",
        ms(line.duration_us),
        ms(line.gateway_us),
        counted(line.request_bytes, "byte"),
        counted(line.response_bytes, "byte")
    )
}

/// The page of the reason.
fn page(line: &Line) -> Option<String> {
    let reason = line.reason.as_deref()?;
    let known = Reason::ALL.iter().any(|known| known.as_str() == reason);
    known.then(|| format!("docs/errors/{reason}.md ({}{reason}.md)", bartizan_proxy::answer::ERROR_PAGES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(json: &str) -> Line {
        serde_json::from_str(json).unwrap()
    }

    fn ends(line: &Line) -> Vec<(&'static str, &'static str)> {
        steps(line).iter().map(|step| (step.stage.as_str(), step.end)).collect()
    }

    #[test]
    fn a_refusal_ends_the_stages_and_a_forwarded_request_has_them_all() {
        let refused =
            line(r#"{"stage":"identify","reason":"CredentialMissing","policy":"AuthenticationPolicy/keys"}"#);
        assert_eq!(ends(&refused), [("admit", "ok"), ("route", "ok"), ("identify", "refused")]);
        let forwarded = line(r#"{"upstream":"shop","status":200}"#);
        assert_eq!(ends(&forwarded).len(), 9);
        assert!(ends(&forwarded).iter().all(|(_, end)| *end == "ok"));
        let answered = line(r#"{"route":"old","status":301}"#);
        assert_eq!(ends(&answered), [("admit", "ok"), ("route", "answered")]);
        let undecided = line(r#"{"stage":"authorize","reason":"JudgeUnavailable"}"#);
        assert_eq!(ends(&undecided).last(), Some(&("authorize", "undecided")));
    }

    #[test]
    fn what_a_caller_sent_cannot_steer_the_terminal() {
        let told = story(
            &line("{\"path\":\"/\\u001b[2J\",\"method\":\"G\\u001bT\",\"upstream\":\"a\\u001b\"}"),
            None,
        );
        let plain = told.replace(BOLD, "").replace(PLAIN, "");
        assert!(!plain.contains('\u{1b}'), "{plain:?}");
    }
}
