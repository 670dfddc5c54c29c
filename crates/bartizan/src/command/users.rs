//! `bartizan users`: add, list, change and disable the people who manage the gateway, and make their one-time links.
//!
//! For whoever may write the data directory: the first user comes from here or from the link that a first start prints,
//! and a last admin who forgot a password is helped here. A link is printed alone on standard output; it sets a password
//! once, for a bounded time. What is done here stands in the audit trail too.

use std::process::ExitCode;

use bartizan_manage::api::{
    role::{Permission, Role},
    scope::Scope,
};
use bartizan_store::{LinkFor, NewUser, Store, UserChange, UserRow};
use serde_json::{Value, json};

use super::{
    author,
    data_dir::DataDirArg,
    deed::Deed,
    print::{self, BOLD, Format, NONE, Outcome, PLAIN},
    tokens::role,
    when,
};

/// What `users` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    data_dir: DataDirArg,
    /// Where management is, for links [default: where the gateway listened when it started last].
    #[arg(long, value_name = "URL", global = true)]
    url: Option<String>,
    /// How the data is printed.
    #[arg(long, value_enum, default_value = "text", global = true)]
    format: Format,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Add a user. The link by which they set a password is shown once, alone on standard output.
    Add {
        /// Their name.
        #[arg(value_name = "NAME")]
        name: String,
        /// What they may do: viewer, developer, security, operator or admin.
        #[arg(long, value_name = "ROLE", value_parser = role)]
        role: Role,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// List users, oldest first.
    List,
    /// Change what a user may do.
    Change {
        /// Their name.
        #[arg(value_name = "NAME")]
        name: String,
        /// Their new role.
        #[arg(long, value_name = "ROLE", value_parser = role)]
        role: Option<Role>,
        /// Take every narrowing away.
        #[arg(long, conflicts_with_all = ["permission", "kind", "label", "address"])]
        whole: bool,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Let a user sign in no more, and end their sessions and tokens.
    Disable {
        /// Their name.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Let a disabled user sign in again.
    Enable {
        /// Their name.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Take a user's password away and show a link by which they set another.
    Reset {
        /// Their name.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Show a fresh link that makes the first user; those before it hold no more. For this machine alone.
    SetupLink,
}

/// What a role is narrowed to.
#[derive(Debug, clap::Args)]
pub(crate) struct ScopeArgs {
    /// Only this permission of the role's, as `readKeys`; may be repeated.
    #[arg(long, value_name = "PERMISSION", value_parser = permission)]
    permission: Vec<Permission>,
    /// Only documents of this kind; may be repeated.
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Only documents with this label; may be repeated, and then all must hold.
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// Only from this network; may be repeated.
    #[arg(long, value_name = "CIDR")]
    address: Vec<String>,
}

impl ScopeArgs {
    /// What they say; an error where a word means nothing.
    pub(crate) fn scope(&self) -> Result<Scope, String> {
        let scope = Scope {
            permissions: (!self.permission.is_empty()).then(|| self.permission.clone()),
            kinds: self.kind.clone(),
            labels: self.label.iter().cloned().collect(),
            addresses: self.address.clone(),
        };
        scope.flaw().map_or(Ok(scope), Err)
    }
}

fn permission(word: &str) -> Result<Permission, String> {
    serde_json::from_value(word.into()).map_err(|_| "there is no such permission".to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| "write NAME=VALUE".to_owned())
}

/// Works on users.
pub(crate) fn run(args: &Args) -> ExitCode {
    print::exit(args.data_dir.on_store(async |store| work(args, store).await))
}

async fn work(args: &Args, store: &Store) -> Outcome {
    let now = when::now_ms();
    match &args.what {
        What::Add { name, role, scope } => {
            let (scope, author) = (scope.scope()?.to_text(), author::author_or_local());
            let new = NewUser { name, role: role.as_str(), scope: &scope, created_by: &author };
            let reason = format!("{role} {scope}");
            let deed = Deed { action: "user.create", target: name, before: "", reason: reason.trim_end() };
            let user = deed.record(store, store.users().add(new, now), told).await?;
            invite(args, store, &user).await?;
        }
        What::List => {
            let rows = store.users().list().await?;
            match args.format {
                Format::Text if rows.is_empty() => print::note(
                    "no users; `bartizan users setup-link` shows the link that makes the first one",
                ),
                Format::Text => print::data(&table(&rows, now))?,
                Format::Json => print::json(&rows.iter().map(view).collect::<Vec<_>>())?,
            }
        }
        What::Change { name, role, whole, scope } => {
            let text = scope.scope()?.to_text();
            let scope = (*whole || !text.is_empty()).then_some(text);
            let change = UserChange { role: role.map(Role::as_str), scope: scope.as_deref(), disabled: None };
            changed(args, store, name, change, "changed").await?;
        }
        What::Disable { name } => {
            let change = UserChange { disabled: Some(true), ..UserChange::default() };
            changed(args, store, name, change, "disabled and signed out").await?;
        }
        What::Enable { name } => {
            let change = UserChange { disabled: Some(false), ..UserChange::default() };
            changed(args, store, name, change, "enabled").await?;
        }
        What::Reset { name } => {
            let before = told(&store.users().find(name).await?);
            let deed = Deed { action: "user.reset", target: name, before: &before, reason: "" };
            let user = deed.record(store, store.users().reset(name, now), told).await?;
            invite(args, store, &user).await?;
        }
        What::SetupLink => {
            if !store.users().is_empty().await? {
                print::note(
                    "there are users already; `bartizan users reset NAME` makes a link for one of them",
                );
                return Ok(ExitCode::from(print::FOUND));
            }
            let deed = Deed { action: "user.setup-link", target: "first user", before: "", reason: "" };
            let make = store.users().link(LinkFor::First, SETUP_LIFE_MS, now);
            let link = deed.record(store, make, |_| String::new()).await?;
            let link = format!("{}{LINK_PATH}{}", place(args, store).await?, link.expose());
            match args.format {
                Format::Text => {
                    print::data(&format!("{link}\n"))?;
                    print::note(
                        "It makes the first user, once, within an hour, in a browser on this machine.",
                    );
                }
                Format::Json => print::json(&json!({ "link": link }))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn changed(
    args: &Args,
    store: &Store,
    name: &str,
    change: UserChange<'_>,
    word: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let before = told(&store.users().find(name).await?);
    let deed = Deed { action: "user.change", target: name, before: &before, reason: "" };
    let user = deed.record(store, store.users().change(name, change, when::now_ms()), told).await?;
    match args.format {
        Format::Text => print::note(&format!("{} is {word}: {}", print::clean(name), told(&user))),
        Format::Json => print::json(&view(&user))?,
    }
    Ok(())
}

/// Shows the link by which a user sets a password.
async fn invite(args: &Args, store: &Store, user: &UserRow) -> Result<(), Box<dyn std::error::Error>> {
    let link = store.users().link(LinkFor::User(&user.id), INVITATION_LIFE_MS, when::now_ms()).await?;
    let link = format!("{}{LINK_PATH}{}", place(args, store).await?, link.expose());
    match args.format {
        Format::Text => {
            print::data(&format!("{link}\n"))?;
            let name = print::clean(&user.name);
            print::note(&format!(
                "{BOLD}{name}{PLAIN}, role {}, sets a password there, once, within a day.",
                user.role
            ));
        }
        Format::Json => {
            let mut view = view(user);
            if let Some(fields) = view.as_object_mut() {
                fields.insert("link".to_owned(), link.into());
            }
            print::json(&view)?;
        }
    }
    Ok(())
}

async fn place(args: &Args, store: &Store) -> Result<String, bartizan_store::Error> {
    let known = match &args.url {
        Some(url) => Some(url.trim_end_matches('/').to_owned()),
        None => store.management_url().await?,
    };
    Ok(known.unwrap_or_else(|| "http://127.0.0.1:9440".to_owned()))
}

/// A user in the audit trail.
fn told(user: &UserRow) -> String {
    let state = if user.is_enabled() { "" } else { " disabled" };
    let scope = if user.scope.is_empty() { String::new() } else { format!(" {}", user.scope) };
    format!("{}{state}{scope}", user.role)
}

fn table(rows: &[UserRow], now: u64) -> String {
    let header = ["NAME", "ROLE", "STATE", "SCOPE", "SIGNED IN", "AGE", "BY"];
    let rows = rows.iter().map(|row| {
        vec![
            row.name.clone(),
            row.role.clone(),
            state(row).to_owned(),
            if row.scope.is_empty() { NONE.to_owned() } else { row.scope.clone() },
            row.login_at_ms.map_or_else(|| "never".to_owned(), |at| when::away(at, now)),
            when::span(now.saturating_sub(row.created_at_ms)),
            row.created_by.clone(),
        ]
    });
    print::table(&header, rows)
}

fn state(row: &UserRow) -> &'static str {
    match (row.is_enabled(), row.has_password || row.issuer.is_some()) {
        (false, _) => "disabled",
        (true, true) => "active",
        (true, false) => "invited",
    }
}

fn view(row: &UserRow) -> Value {
    json!({
        "name": row.name,
        "role": row.role,
        "state": state(row),
        "scope": serde_json::from_str::<Value>(&row.scope).unwrap_or_else(|_| json!({})),
        "issuer": row.issuer,
        "createdAt": when::moment(row.created_at_ms),
        "createdBy": row.created_by,
        "disabledAt": row.disabled_at_ms.map(when::moment),
        "loginAt": row.login_at_ms.map(when::moment),
    })
}

/// Where the page finds a link's text; behind the `#`, so that it stands in no server's log.
pub(crate) const LINK_PATH: &str = "/console/#link=";
/// Whoever starts a gateway for the first time sits in front of it.
pub(crate) const SETUP_LIFE_MS: u64 = 60 * 60_000;
/// An invitation is sent to somebody who may be asleep.
const INVITATION_LIFE_MS: u64 = 24 * 60 * 60_000;
