//! `access who-can METHOD URL`: every caller that the documents know, and nobody.

use std::{
    net::{IpAddr, Ipv4Addr},
    process::ExitCode,
};

use bartizan_access::{Asked, Expression, Subject};
use bartizan_config::snapshot::{Captures, ConsumerPlan, Lookup, RouteAction, RouteAsk, RouteMatch};
use bartizan_identity::Method as Identified;
use bartizan_message::RequestHead;
use bartizan_proxy::stage::judge;
use serde::Serialize;

use super::outlook::{self, Answer, By, May};
use crate::command::{
    explain::ask::{Ask, Entered},
    print::{self, FOUND, Format, NONE, Outcome},
    set::{ConfigArg, Sound},
};

/// What `who-can` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 answered, 1 the documents have problems or nothing is published there, 2 could not run."
)]
pub(super) struct Args {
    /// The method, for example `GET`.
    #[arg(value_name = "METHOD")]
    method: String,
    /// The URL that a caller uses, or the path alone.
    #[arg(value_name = "PATH")]
    url: String,
    /// The listener that the request enters by [default: the one that fits the URL best].
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Show also those who may not, and why.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    config: ConfigArg,
    /// How the table is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Answers `who-can`.
pub(super) fn answer(args: &Args) -> Outcome {
    // No header is known, and no address is judged by.
    let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let ask = Ask::read(&args.method, &args.url, &[], None, from)?;
    Sound::with(&args.config.paths, |sound| {
        let entered = ask.enter(&sound.snapshot, args.listener.as_deref())?;
        let Some(report) = Report::of(sound, &ask, &entered, args.all) else {
            print::note(&format!(
                "nothing is published for {} {} on Listener/{}; `bartizan routes` lists what is",
                args.method, args.url, entered.listener.plan.name
            ));
            return Ok(ExitCode::from(FOUND));
        };
        match args.format {
            Format::Json => print::json(&report)?,
            Format::Text => print::data(&report.text())?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Who may send the request.
#[derive(Serialize)]
pub(super) struct Report {
    listener: String,
    /// The rule that the request meets.
    rule: String,
    pub(super) callers: Vec<Caller>,
}

/// A caller and what awaits it.
#[derive(Serialize)]
pub(super) struct Caller {
    /// The consumer; none for callers without a credential.
    pub(super) consumer: Option<String>,
    #[serde(flatten)]
    pub(super) answer: Answer,
}

impl Report {
    /// `None` where nothing is published.
    pub(super) fn of(sound: &Sound, ask: &Ask, entered: &Entered<'_>, all: bool) -> Option<Self> {
        let head = ask.admit(entered).ok()?;
        let request = RouteAsk {
            host: head.authority().host(),
            path: head.path().as_str(),
            method: head.method(),
            headers: head.headers(),
            query: head.raw_query(),
        };
        let Lookup::Found(found) = entered.listener.routes.find(&request) else { return None };
        let mut consumers: Vec<&ConsumerPlan> =
            sound.snapshot.consumers.values().map(|consumer| &**consumer).collect();
        consumers.sort_by(|a, b| a.name.cmp(&b.name));
        let callers = consumers.into_iter().map(Some).chain([None]).map(|consumer| Caller {
            consumer: consumer.map(|consumer| consumer.name.to_string()),
            answer: judged(&found, &head, consumer),
        });
        let mut callers: Vec<Caller> = callers.filter(|caller| all || caller.answer.may != May::No).collect();
        callers.sort_by_key(|caller| caller.answer.may);
        Some(Report {
            listener: entered.listener.plan.name.to_string(),
            rule: found.plan.label.to_string(),
            callers,
        })
    }

    fn text(&self) -> String {
        let rows = self.callers.iter().map(|caller| {
            let mut name = caller.consumer.clone().unwrap_or("(nobody)".to_owned());
            if caller.answer.as_nobody {
                name.push_str(" (as nobody)");
            }
            let [may, by, conditions] = cells(&caller.answer);
            vec![name, may, by, conditions]
        });
        let table = print::table(&["CALLER", "MAY", "BY", "IF"], rows);
        let none = if self.callers.is_empty() { "nobody may\n" } else { "" };
        format!("Route/{}, by Listener/{}\n\n{table}{none}", self.rule, self.listener)
    }
}

/// Answer, policies and conditions as cells.
pub(super) fn cells(answer: &Answer) -> [String; 3] {
    let lines = |lines: Vec<String>| if lines.is_empty() { NONE.to_owned() } else { lines.join("\n") };
    let by = lines(answer.by.iter().map(By::text).collect());
    [answer.may.as_str().to_owned(), by, lines(answer.conditions.clone())]
}

/// A condition that looks at caller, route, method and path alone is judged; what else there is stays open.
fn judged(found: &RouteMatch<'_>, head: &RequestHead, caller: Option<&ConsumerPlan>) -> Answer {
    let plan = found.plan;
    if matches!(plan.action, RouteAction::Redirect(_)) {
        // A redirect is answered before anybody asks who calls.
        return Answer { may: May::Yes, as_nobody: caller.is_some(), by: Vec::new(), conditions: Vec::new() };
    }
    let consumer = outlook::known_as(plan, caller);
    let captures =
        Captures { template: found.template.map(|template| &**template), path: head.path().as_str() };
    let method = if consumer.is_some() { Identified::ApiKey } else { Identified::Anonymous };
    let subject = judge::subject(consumer, method);
    // A token names its own subject, which is not known here.
    let sub = subject.sub.filter(|_| !outlook::may_have_token(plan));
    let subject = Subject { sub, ..subject };
    let asked = Asked {
        route: &plan.route,
        method: head.method(),
        path: head.path().as_str(),
        host: head.authority().host(),
        headers: head.headers(),
        query: head.raw_query(),
        variables: &captures,
        client: head.client(),
    };
    let known = |condition: &dyn Expression| {
        if condition.looks_at_request() { None } else { condition.holds(&subject, &asked, 0).ok() }
    };
    outlook::of(plan, caller, head.method(), &known)
}
