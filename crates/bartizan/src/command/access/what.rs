//! `access what-can CONSUMER`: every way to every rule, and what awaits the consumer there.

use std::process::ExitCode;

use bartizan_config::snapshot::{ConsumerPlan, PublishedListener, RouteAction, RouteEntry};
use bartizan_message::MethodSet;
use bartizan_model::{problem::shown, read::nearest};
use serde::Serialize;

use super::{
    outlook::{self, Answer, May},
    who::cells,
};
use crate::command::{
    print::{self, FOUND, Format, Outcome},
    set::{ConfigArg, Sound},
    words,
};

/// What `what-can` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 answered, 1 the documents have problems or no such consumer, 2 could not run."
)]
pub(super) struct Args {
    /// The consumer.
    #[arg(value_name = "CONSUMER")]
    consumer: String,
    /// Show also what it may not, and why.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    config: ConfigArg,
    /// How the table is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Answers `what-can`.
pub(super) fn answer(args: &Args) -> Outcome {
    Sound::with(&args.config.paths, |sound| {
        let consumers = &sound.snapshot.consumers;
        let Some(consumer) = consumers.get(&*args.consumer) else {
            let near = nearest(&args.consumer, consumers.keys().map(|name| &**name));
            let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            print::note(&format!("there is no Consumer named {}{hint}", shown(&args.consumer)));
            return Ok(ExitCode::from(FOUND));
        };
        let report = Report::of(sound, consumer, args.all);
        match args.format {
            Format::Json => print::json(&report)?,
            Format::Text => print::data(&report.text())?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// What a consumer may do.
#[derive(Serialize)]
pub(super) struct Report {
    consumer: String,
    roles: Vec<String>,
    pub(super) ways: Vec<Row>,
}

/// A way to a rule, by methods for which the answer is the same.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    listener: String,
    host: String,
    path_type: &'static str,
    pub(super) path: String,
    pub(super) methods: Vec<String>,
    rule: String,
    #[serde(flatten)]
    pub(super) answer: Answer,
}

impl Report {
    pub(super) fn of(sound: &Sound, consumer: &ConsumerPlan, all: bool) -> Self {
        let mut ways = Vec::new();
        for listener in &sound.snapshot.listeners {
            // A listener that sends everyone on, and a rule that redirects, ask nobody who they are.
            if listener.plan.redirect_https_port.is_some() {
                continue;
            }
            for entry in listener.routes.entries() {
                if !matches!(entry.plan.action, RouteAction::Redirect(_)) {
                    ways.extend(
                        rows(listener, entry, consumer).filter(|row| all || row.answer.may != May::No),
                    );
                }
            }
        }
        Report {
            consumer: consumer.name.to_string(),
            roles: consumer.roles.iter().map(ToString::to_string).collect(),
            ways,
        }
    }

    fn text(&self) -> String {
        let rows = self.ways.iter().map(|row| {
            let [may, by, conditions] = cells(&row.answer);
            let may = if row.answer.as_nobody { format!("{may} (as nobody)") } else { may };
            let path = format!("{} {}", row.path_type, row.path);
            let (listener, host, methods) = (row.listener.clone(), row.host.clone(), row.methods.join(" "));
            vec![listener, host, path, methods, row.rule.clone(), may, by, conditions]
        });
        let header = ["LISTENER", "HOST", "PATH", "METHODS", "ROUTE", "MAY", "BY", "IF"];
        let roles = if self.roles.is_empty() { "no roles".to_owned() } else { self.roles.join(", ") };
        let none = if self.ways.is_empty() { "nothing at all\n" } else { "" };
        format!("Consumer/{}: {roles}\n\n{}{none}", self.consumer, print::table(&header, rows))
    }
}

/// The methods of a way, those with one answer together. No path is known, so every condition stays open.
fn rows(
    listener: &PublishedListener,
    entry: &RouteEntry,
    consumer: &ConsumerPlan,
) -> impl Iterator<Item = Row> {
    let mut answers: Vec<(Answer, Vec<http::Method>)> = Vec::new();
    for method in entry.methods.iter() {
        let answer = outlook::of(&entry.plan, Some(consumer), &method, &|_| None);
        match answers.iter_mut().find(|(known, _)| *known == answer) {
            Some((_, methods)) => methods.push(method),
            None => answers.push((answer, vec![method])),
        }
    }
    let host = entry.host.as_ref().map_or("*".to_owned(), words::host);
    answers.into_iter().map(move |(answer, methods)| Row {
        listener: listener.plan.name.to_string(),
        host: host.clone(),
        path_type: entry.path.word(),
        path: entry.path.to_string(),
        methods: words::methods(MethodSet::of(&methods)),
        rule: entry.plan.label.to_string(),
        answer,
    })
}
