//! `bartizan audit inventory`: the policies in force, route by route, to be reviewed and kept.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use bartizan_config::audit::{State, audit};
use bartizan_model::document::{Document, Kind, Spec};
use serde_json::json;

use super::super::{
    print::{self, NONE, Outcome},
    routes::{Row, Surface},
    set::Sound,
};

/// What `audit inventory` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files and directories with documents; `-` is standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How it is written.
    #[arg(long, value_enum, default_value = "markdown")]
    format: Format,
}

/// How the inventory is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A page for people.
    Markdown,
    /// For programs.
    Json,
}

pub(super) fn write(args: &Args) -> Outcome {
    Sound::with(&args.paths, |sound| {
        let inventory = Inventory::of(sound);
        match args.format {
            Format::Markdown => print::data(&inventory.markdown())?,
            Format::Json => print::json(&inventory.json())?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

struct Inventory<'s> {
    sound: &'s Sound,
    surface: Surface<'s>,
    /// Ids of audit rules by document.
    findings: BTreeMap<String, Vec<&'static str>>,
}

impl<'s> Inventory<'s> {
    fn of(sound: &'s Sound) -> Self {
        let mut findings: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
        for finding in audit(&sound.set.documents, &sound.snapshot, &State::default()) {
            let ids = findings.entry(finding.document).or_default();
            if !ids.contains(&finding.rule.id) {
                ids.push(finding.rule.id);
            }
        }
        Inventory { sound, surface: Surface::of(sound), findings }
    }

    fn routes(&self) -> impl Iterator<Item = (&'s Document, Vec<&Row<'s>>)> {
        let documents = self.sound.set.documents.iter().filter(|document| document.kind() == Kind::Route);
        documents.map(|document| {
            let rows = self.surface.routes.iter().filter(|row| row.route == document.name.as_str());
            (document, rows.collect())
        })
    }

    fn found_in(&self, document: &Document) -> &[&'static str] {
        let label = format!("{}/{}", document.kind().as_str(), document.name.as_str());
        self.findings.get(&label).map_or(&[], Vec::as_slice)
    }

    fn markdown(&self) -> String {
        let revision = &self.sound.snapshot.revision.id;
        let mut out = format!(
            "# Policies in force\n\nRevision `{revision}`, {} routes, {} consumers. Written by `bartizan audit inventory`.\n",
            self.routes().count(),
            self.sound.snapshot.consumers.len()
        );
        for (document, rows) in self.routes() {
            out.push_str(&format!("\n## {}\n\n", cell(document.name.as_str())));
            out.push_str(&format!(
                "* owner: {}\n",
                cell(&owner(document).unwrap_or_else(|| NONE.to_owned()))
            ));
            if let Some(place) = self.sound.place(document.at) {
                out.push_str(&format!("* document: `{place}`\n"));
            }
            let found = self.found_in(document);
            out.push_str(&format!(
                "* audit: {}\n\n",
                if found.is_empty() { NONE.to_owned() } else { found.join(", ") }
            ));
            out.push_str(HEADER);
            for row in rows {
                out.push_str(&line(row));
            }
        }
        out.push_str("\n## Consumers\n\n| consumer | roles | limits | enabled |\n|---|---|---|---|\n");
        let mut consumers: Vec<_> = self.sound.snapshot.consumers.values().collect();
        consumers.sort_by(|a, b| a.name.cmp(&b.name));
        for consumer in consumers {
            let quotas = consumer.quotas.iter().map(|quota| quota.label.to_string());
            let limits: Vec<String> =
                consumer.limits.iter().map(|limit| limit.label.to_string()).chain(quotas).collect();
            let roles: Vec<String> = consumer.roles.iter().map(ToString::to_string).collect();
            let enabled = if consumer.enabled { "yes" } else { "no" };
            out.push_str(&format!(
                "| {} | {} | {} | {enabled} |\n",
                consumer.name,
                joined(&roles),
                joined(&limits)
            ));
        }
        out
    }

    fn json(&self) -> serde_json::Value {
        let routes: Vec<_> = self
            .routes()
            .map(|(document, rows)| {
                json!({
                    "route": document.name.as_str(),
                    "owner": owner(document),
                    "document": self.sound.place(document.at),
                    "audit": self.found_in(document),
                    "ways": rows,
                })
            })
            .collect();
        let consumers: BTreeMap<&str, _> = self
            .sound
            .snapshot
            .consumers
            .values()
            .map(|consumer| {
                let quotas = consumer.quotas.iter().map(|quota| &*quota.label);
                let limits: Vec<_> =
                    consumer.limits.iter().map(|limit| &*limit.label).chain(quotas).collect();
                let roles: Vec<_> = consumer.roles.iter().map(|role| &**role).collect();
                (&*consumer.name, json!({ "roles": roles, "limits": limits, "enabled": consumer.enabled }))
            })
            .collect();
        json!({
            "revision": &*self.sound.snapshot.revision.id,
            "listeners": &self.surface.listeners,
            "routes": routes,
            "consumers": consumers,
        })
    }
}

const HEADER: &str = "| way in | methods | who (identify) | may they (authorize) | how much (limit) | headers, pages | to |\n\
                      |---|---|---|---|---|---|---|\n";

fn line(row: &Row<'_>) -> String {
    let to: Vec<String> = match row.redirect {
        Some(status) => vec![format!("redirect {status}")],
        None => row.upstreams.iter().map(|share| format!("{} {} %", share.name, share.percent)).collect(),
    };
    let way = format!("{} {} {} {}", row.listener, row.host, row.path_type, row.path);
    let rest: Vec<String> = row.headers.iter().chain(&row.cors).cloned().collect();
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |\n",
        cell(&way),
        row.methods.join(" "),
        joined(&row.identify),
        joined(&row.authorize),
        joined(&row.limits),
        joined(&rest),
        joined(&to)
    )
}

fn joined(items: &[String]) -> String {
    if items.is_empty() { NONE.to_owned() } else { cell(&items.join("; ")) }
}

/// Text within a cell of a Markdown table.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '\\' | '`' | '*' | '_' | '<' | '[' | ']' => {
                out.push('\\');
                out.push(c);
            }
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Who is responsible, as a label or an annotation says.
fn owner(document: &Document) -> Option<String> {
    debug_assert!(matches!(document.spec, Spec::Route(_)), "only routes have owners here");
    ["team", "owner", "contact"].iter().find_map(|key| {
        let metadata = &document.metadata;
        metadata.labels.get(*key).or_else(|| metadata.annotations.get(*key)).cloned()
    })
}
