//! `bartizan tokens`: create, list and revoke tokens of the management API.
//!
//! The first token cannot come from the API, so it comes from here: whoever may write the data directory may manage the
//! gateway. A token is printed once, alone on standard output. What is done here stands in the audit trail too.

use std::process::ExitCode;

use bartizan_manage::api::role::Role;
use bartizan_model::scalar::Time;
use bartizan_store::{Error, NewToken, Store, TokenRow};
use serde_json::{Value, json};

use super::{
    author,
    data_dir::DataDirArg,
    deed::Deed,
    keys::time,
    print::{self, BOLD, Format, NONE, Outcome, PLAIN},
    users::ScopeArgs,
    when,
};

/// What `tokens` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    data_dir: DataDirArg,
    /// How the data is printed.
    #[arg(long, value_enum, default_value = "text", global = true)]
    format: Format,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a token. It is shown once, alone on standard output.
    Create {
        /// What it is called, and so whoever acts by it.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// What it may do: viewer, developer, security, operator or admin.
        #[arg(long, value_name = "ROLE", value_parser = role)]
        role: Role,
        /// How long it is valid, for example `90d` or `12h` [default: until it is revoked].
        #[arg(long, value_name = "TIME", value_parser = time)]
        expires: Option<Time>,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// List tokens, oldest first.
    List,
    /// Withdraw a token for good. Doing it again changes nothing.
    Revoke {
        /// Its id, as `tokens list` shows it.
        #[arg(value_name = "ID")]
        id: String,
    },
}

pub(super) fn role(word: &str) -> Result<Role, String> {
    let words = Role::ALL.map(Role::as_str).join(", ");
    Role::parse(word).ok_or_else(|| format!("there is no such role; choose one of {words}"))
}

/// Works on tokens.
pub(crate) fn run(args: &Args) -> ExitCode {
    print::exit(args.data_dir.on_store(async |store| work(args, store).await))
}

async fn work(args: &Args, store: &Store) -> Outcome {
    let now = when::now_ms();
    match &args.what {
        What::Create { name, role, expires, scope } => {
            let scope = scope.scope()?.to_text();
            let life = expires.map(|time| u64::try_from(time.get().as_millis()).unwrap_or(u64::MAX));
            let author = author::author_or_local();
            let new = NewToken {
                name,
                role: role.as_str(),
                created_by: &author,
                expires_at_ms: life.map(|life| now.saturating_add(life)),
                scope: &scope,
                user: None,
            };
            let reason = format!("{role} {scope}");
            let reason = reason.trim_end();
            let deed = Deed { action: "token.create", target: name, before: "", reason };
            let (row, text) =
                deed.record(store, store.tokens().create(new, now), |(row, _)| row.id.clone()).await?;
            match args.format {
                Format::Text => {
                    print::data(&format!("{}\n", text.expose()))?;
                    print::note(&format!("{BOLD}token {} of {name}{PLAIN}, role {role}", row.id));
                    print::note("It is shown this once: keep it where secrets are kept.");
                }
                Format::Json => {
                    let mut view = view(&row, now);
                    if let Some(fields) = view.as_object_mut() {
                        fields.insert("text".to_owned(), text.expose().into());
                    }
                    print::json(&view)?;
                }
            }
        }
        What::List => {
            let rows = store.tokens().list().await?;
            match args.format {
                Format::Text if rows.is_empty() => print::note("no tokens"),
                Format::Text => print::data(&table(&rows, now))?,
                Format::Json => print::json(&rows.iter().map(|row| view(row, now)).collect::<Vec<_>>())?,
            }
        }
        What::Revoke { id } => {
            let deed = Deed { action: "token.revoke", target: id, before: "", reason: "" };
            let row = match deed.record(store, store.tokens().revoke(id, now), |row| row.name.clone()).await {
                Err(error @ Error::TokenUnknown { .. }) => {
                    print::fault(&error);
                    return Ok(ExitCode::from(print::FOUND));
                }
                outcome => outcome?,
            };
            match args.format {
                Format::Text => {
                    print::note(&format!("token {} of {} is revoked", row.id, print::clean(&row.name)))
                }
                Format::Json => print::json(&view(&row, now))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(rows: &[TokenRow], now: u64) -> String {
    let header = ["ID", "NAME", "ROLE", "SCOPE", "STATE", "AGE", "EXPIRES", "LAST USED", "BY"];
    let rows = rows.iter().map(|row| {
        vec![
            row.id.clone(),
            row.name.clone(),
            row.role.clone(),
            if row.scope.is_empty() { NONE.to_owned() } else { row.scope.clone() },
            state(row, now).to_owned(),
            when::span(now.saturating_sub(row.created_at_ms)),
            row.expires_at_ms.map_or_else(|| "never".to_owned(), |at| when::away(at, now)),
            row.last_used_at_ms.map_or_else(|| NONE.to_owned(), |at| when::away(at, now)),
            row.created_by.clone(),
        ]
    });
    print::table(&header, rows)
}

fn state(row: &TokenRow, now: u64) -> &'static str {
    match (row.revoked_at_ms, row.is_valid(now)) {
        (Some(_), _) => "revoked",
        (None, true) => "active",
        (None, false) => "expired",
    }
}

fn view(row: &TokenRow, now: u64) -> Value {
    json!({
        "id": row.id,
        "name": row.name,
        "role": row.role,
        "scope": serde_json::from_str::<Value>(&row.scope).unwrap_or_else(|_| json!({})),
        "personal": row.user.is_some(),
        "state": state(row, now),
        "createdAt": when::moment(row.created_at_ms),
        "createdBy": row.created_by,
        "expiresAt": row.expires_at_ms.map(when::moment),
        "revokedAt": row.revoked_at_ms.map(when::moment),
        "lastUsedAt": row.last_used_at_ms.map(when::moment),
    })
}
