//! Where revisions live: the store on this machine, or a gateway that is asked for them. Every command talks to this
//! and to nothing else.

use std::{error::Error, fmt, time::Duration};

use bartizan_store::{
    AuditNote, AuditPhase, DataDir, GatewayHolder, NewRevision, Put, Revision, RevisionNumber, RevisionPage,
    RevisionRef, RevisionRow, Rollback, Store,
};

use super::remote::Remote;
use crate::command::{data_dir::DataDirArg, when::now_ms};

/// `--store` and `--data-dir`, or `--server`.
#[derive(Debug, clap::Args)]
pub(crate) struct HouseArg {
    /// The store with the revisions: `sqlite:PATH`, where PATH is a data directory or its `bartizan.db` [default: that
    /// of the data directory].
    #[arg(long, value_name = "URL", conflicts_with = "server")]
    store: Option<String>,
    /// Ask the management API of a running gateway instead, for example `http://127.0.0.1:9440`.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// With `--server`: the environment variable that holds the token.
    #[arg(long, value_name = "NAME", default_value = "BARTIZAN_TOKEN")]
    token_env: String,
    #[command(flatten)]
    data_dir: DataDirArg,
}

/// Where revisions live, and the runtime that asks there. A command does one thing and ends.
pub(super) struct House {
    runtime: tokio::runtime::Runtime,
    place: Place,
}

enum Place {
    Here { store: Store, dir: DataDir },
    There(Remote),
}

/// Why a change is refused here though nothing is wrong with it.
#[derive(Debug)]
pub(super) struct Refused(pub(super) String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Refused {}

pub(super) type Answer<T> = Result<T, Box<dyn Error>>;

impl HouseArg {
    /// Opens the store, which is made where there is none, or the way to the gateway.
    pub(super) fn open(&self) -> Answer<House> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let place = match &self.server {
            Some(url) => Place::There(Remote::open(url, &self.token_env)?),
            None => {
                let dir = match &self.store {
                    Some(address) => crate::service::store_dir(address)?,
                    None => self.data_dir.open()?,
                };
                Place::Here { store: runtime.block_on(Store::open(&dir))?, dir }
            }
        };
        Ok(House { runtime, place })
    }
}

impl House {
    /// The revision that gateways are to serve.
    pub(super) fn active(&self) -> Answer<Option<RevisionRow>> {
        match &self.place {
            Place::Here { store, .. } => Ok(self.runtime.block_on(store.revisions().active())?),
            Place::There(remote) => self.runtime.block_on(remote.find("active")),
        }
    }

    /// A revision with its texts.
    pub(super) fn get(&self, which: &RevisionRef) -> Answer<Revision> {
        match &self.place {
            Place::Here { store, .. } => Ok(self.runtime.block_on(store.revisions().get(which))?),
            Place::There(remote) => self.runtime.block_on(remote.get(&which.to_string())),
        }
    }

    /// Everything about a revision but its texts.
    pub(super) fn find(&self, which: &RevisionRef) -> Answer<RevisionRow> {
        match &self.place {
            Place::Here { store, .. } => Ok(self.runtime.block_on(store.revisions().find(which))?),
            Place::There(remote) => {
                let found = self.runtime.block_on(remote.find(&which.to_string()))?;
                Ok(found
                    .ok_or_else(|| bartizan_store::Error::RevisionUnknown { which: which.to_string() })?)
            }
        }
    }

    /// One page of the history, newest first.
    pub(super) fn history(&self, before: Option<RevisionNumber>, limit: u32) -> Answer<RevisionPage> {
        match &self.place {
            Place::Here { store, .. } => {
                Ok(self.runtime.block_on(store.revisions().history(before, limit))?)
            }
            Place::There(remote) => self.runtime.block_on(remote.history(before, limit)),
        }
    }

    /// Makes a revision and makes it the active one; written into the audit trail.
    pub(super) fn put(&self, new: NewRevision<'_>, expected: Option<&RevisionRow>) -> Answer<Put> {
        let store = match &self.place {
            Place::Here { store, .. } => store,
            Place::There(remote) => return self.runtime.block_on(remote.put(&new, expected)),
        };
        let expected = expected.map(|row| row.number);
        let deed = Deed {
            action: "revision.apply",
            target: "revisions",
            expected,
            author: new.author,
            reason: new.reason,
        };
        let work = async { store.revisions().put(new, expected, now_ms()).await };
        self.runtime.block_on(deed.record(store, work))
    }

    /// Repeats an older revision as the active one; written into the audit trail.
    pub(super) fn roll_back(&self, rollback: Rollback<'_>, expected: Option<&RevisionRow>) -> Answer<Put> {
        let target = rollback.to.to_string();
        let store = match &self.place {
            Place::Here { store, .. } => store,
            Place::There(remote) => {
                return self.runtime.block_on(remote.roll_back(&target, rollback.reason, expected));
            }
        };
        let expected = expected.map(|row| row.number);
        let deed = Deed {
            action: "revision.rollback",
            target: &target,
            expected,
            author: rollback.author,
            reason: rollback.reason,
        };
        let work = async { store.revisions().roll_back(rollback, expected, now_ms()).await };
        self.runtime.block_on(deed.record(store, work))
    }

    /// Whether a gateway runs that will say what becomes of a revision.
    pub(super) fn is_followed(&self) -> Answer<bool> {
        match &self.place {
            Place::Here { dir, .. } => Ok(dir.gateway()?.is_some()),
            Place::There(_) => Ok(true),
        }
    }

    /// Waits before the next look.
    pub(super) fn pause(&self, time: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }

    /// Refuses a change where the gateway takes its documents from files: there would be two sources of truth, and the
    /// change would never be seen. A gateway that is asked itself refuses by itself.
    pub(super) fn refuse_on_files(&self) -> Answer<()> {
        let Place::Here { dir, .. } = &self.place else { return Ok(()) };
        match dir.gateway()?.filter(GatewayHolder::is_on_files) {
            None => Ok(()),
            Some(holder) => Err(Box::new(Refused(format!(
                "{} runs on {} and takes its documents from files: change those, or run it with `--store`",
                holder.as_str(),
                dir.path().display()
            )))),
        }
    }
}

/// A change, as the audit trail names it.
struct Deed<'a> {
    action: &'a str,
    target: &'a str,
    expected: Option<RevisionNumber>,
    author: &'a str,
    reason: &'a str,
}

impl Deed<'_> {
    /// Does it, written down before and after. What cannot be written down is not begun.
    async fn record(
        &self,
        store: &Store,
        work: impl Future<Output = Result<Put, bartizan_store::Error>>,
    ) -> Answer<Put> {
        let actor = format!("local:{}", self.author);
        let before = self.expected.map(|number| format!("r{number}")).unwrap_or_default();
        let note = |phase, after, reason| AuditNote {
            actor: &actor,
            source: "local",
            action: self.action,
            target: self.target,
            phase,
            before: &before,
            after,
            reason,
        };
        store.audit().add(note(AuditPhase::Begun, "", self.reason), now_ms()).await?;
        let outcome = work.await;
        match &outcome {
            Ok(put) => {
                store.audit().add(note(AuditPhase::Done, &put.row().tag(), self.reason), now_ms()).await?
            }
            Err(error) => {
                store.audit().add(note(AuditPhase::Refused, "", &error.to_string()), now_ms()).await?
            }
        };
        Ok(outcome?)
    }
}

/// Whether the active revision is the one that a writer named with `--if-match`.
pub(super) fn matches(active: Option<&RevisionRow>, wanted: &RevisionRef) -> Answer<()> {
    let is_it = match (active, wanted) {
        (Some(_), RevisionRef::Active) => true,
        (Some(row), RevisionRef::Number(number)) => row.number == *number,
        (Some(row), RevisionRef::Digest(hex)) => row.digest.hex().starts_with(hex),
        (None, _) => false,
    };
    if is_it {
        return Ok(());
    }
    let is = active
        .map_or_else(|| "there is no revision".to_owned(), |row| format!("revision {} is active", row.tag()));
    Err(Box::new(Refused(format!(
        "{is}, not {wanted}; look at what has changed (`bartizan history`), then try again"
    ))))
}
