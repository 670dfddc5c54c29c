//! `bartizan history`: which revisions there are, who made them, why, and how they went.

use std::process::ExitCode;

use bartizan_store::{RevisionNumber, RevisionRow};
use serde_json::{Value, json};

use super::house::HouseArg;
use crate::command::{
    print::{self, Format, NONE, Outcome},
    when,
};

/// What `history` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// At most so many, newest first.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
    /// Only those before this one.
    #[arg(long, value_name = "REV")]
    before: Option<RevisionNumber>,
    #[command(flatten)]
    house: HouseArg,
    /// How the list is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Lists revisions.
pub(crate) fn run(args: &Args) -> ExitCode {
    super::exit(answer(args))
}

fn answer(args: &Args) -> Outcome {
    let house = args.house.open()?;
    let active = house.active()?.map(|row| row.number);
    let mut rows: Vec<RevisionRow> = Vec::new();
    let mut before = args.before;
    loop {
        let left = args.limit.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        if left == 0 {
            break;
        }
        let page = house.history(before, left)?;
        rows.extend(page.rows);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    match args.format {
        Format::Text if rows.is_empty() => {
            print::note("no revisions; make the first one with `bartizan apply`")
        }
        Format::Text => print::data(&table(&rows, active, when::now_ms()))?,
        Format::Json => {
            let list: Vec<Value> = rows.iter().map(to_json).collect();
            print::json(&json!({ "active": active, "revisions": list, "next": before }))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(rows: &[RevisionRow], active: Option<RevisionNumber>, now: u64) -> String {
    let header = ["REVISION", "STATE", "WHEN", "AUTHOR", "DOCUMENTS", "RESTORES", "REASON"];
    let rows = rows.iter().map(|row| {
        let went = row.outcome.as_ref().map(|outcome| outcome.went.as_str());
        let state = match (active == Some(row.number), went) {
            (true, Some(went)) => format!("active, {went}"),
            (true, None) => "active".to_owned(),
            (false, Some("failed")) => "failed".to_owned(),
            (false, _) => "replaced".to_owned(),
        };
        vec![
            row.tag(),
            state,
            when::away(row.created_at_ms, now),
            row.author.clone(),
            row.documents.to_string(),
            row.restores.map_or_else(|| NONE.to_owned(), |number| format!("r{number}")),
            row.reason.clone(),
        ]
    });
    print::table(&header, rows)
}

/// A revision for programs. Times are RFC 3339 in UTC.
pub(super) fn to_json(row: &RevisionRow) -> Value {
    json!({
        "number": row.number,
        "etag": row.tag(),
        "digest": row.digest.hex(),
        "parent": row.parent,
        "restores": row.restores,
        "author": row.author,
        "reason": row.reason,
        "createdAt": when::moment(row.created_at_ms),
        "files": row.files,
        "documents": row.documents,
        "bytes": row.bytes,
        "outcome": row.outcome.as_ref().map(|outcome| json!({
            "went": outcome.went.as_str(),
            "detail": outcome.detail,
            "at": when::moment(outcome.at_ms),
        })),
    })
}
