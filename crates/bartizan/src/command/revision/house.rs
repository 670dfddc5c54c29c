//! Where revisions live: the store on this machine, or a gateway that is asked for them. Every command talks to this
//! and to nothing else.

use std::{error::Error, fmt, path::PathBuf, time::Duration};

use bartizan_store::{
    DataDir, GatewayHolder, NewRevision, Put, Revision, RevisionNumber, RevisionPage, RevisionRef,
    RevisionRow, Rollback, Store,
};

use super::{remote::Remote, wire::Wire};
use crate::command::{data_dir::DataDirArg, deed::Deed, when::now_ms};

/// `--store` and `--data-dir`, or `--server`.
#[derive(Debug, clap::Args)]
pub(crate) struct HouseArg {
    /// The store with the revisions: `sqlite:PATH`, where PATH is a data directory or its `bartizan.db` [default: that
    /// of the data directory].
    #[arg(long, global = true, value_name = "URL", conflicts_with = "server")]
    store: Option<String>,
    /// Ask the management API of a running gateway instead: `https://HOST:PORT`, or `http://127.0.0.1:9440` on this
    /// machine [default: $BARTIZAN_SERVER, unless a store or data directory is named].
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    /// With `--server`: a PEM file with the authorities that vouch for it [default: $BARTIZAN_CACERT, else those of the
    /// system].
    #[arg(long, global = true, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// With `--server`: the environment variable that holds the token.
    #[arg(long, global = true, value_name = "NAME", default_value = "BARTIZAN_TOKEN")]
    token_env: String,
    /// With `--server`: a file that holds the token, instead.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "token_env")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    data_dir: DataDirArg,
}

/// Where revisions live, and the runtime that asks there. A command does one thing and ends.
pub(crate) struct House {
    runtime: tokio::runtime::Runtime,
    place: Place,
}

enum Place {
    Here { store: Store, dir: DataDir },
    There(Remote),
}

/// Why a change is refused here though nothing is wrong with it.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Refused {}

pub(crate) type Answer<T> = Result<T, Box<dyn Error>>;

impl HouseArg {
    /// Opens the store, which is made where there is none, or the way to the gateway.
    pub(crate) fn open(&self) -> Answer<House> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let place = match self.server() {
            Some(url) => {
                let authorities =
                    self.cacert.clone().or_else(|| variable("BARTIZAN_CACERT").map(PathBuf::from));
                let authorities = authorities.filter(|_| url.starts_with("https:") || self.cacert.is_some());
                let wire = Wire::to(&url, authorities.as_deref())?;
                Place::There(Remote::open(wire, self.token()?))
            }
            None => {
                let dir = self.data_dir()?;
                Place::Here { store: runtime.block_on(Store::open(&dir))?, dir }
            }
        };
        Ok(House { runtime, place })
    }

    /// The data directory on this machine.
    pub(crate) fn data_dir(&self) -> Answer<DataDir> {
        match &self.store {
            Some(address) => Ok(crate::service::store_dir(address)?),
            None => Ok(self.data_dir.open()?),
        }
    }

    /// Opens the store on this machine, for what is done there alone: with the runtime that asks it, and whether a gateway
    /// runs on its data directory.
    pub(crate) fn open_here(&self) -> Answer<(tokio::runtime::Runtime, Store, bool)> {
        if self.server.is_some() {
            return Err("this is done on the store, not through a gateway: leave out --server".into());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let dir = self.data_dir()?;
        let holder = dir.gateway()?;
        if let Some(holder) = holder.as_ref().filter(|holder| holder.is_on_files()) {
            return Err(Box::new(on_files(holder, &dir)));
        }
        let store = runtime.block_on(Store::open(&dir))?;
        Ok((runtime, store, holder.is_some()))
    }

    /// Has a running gateway drop kept answers. They are in its memory, not in the store.
    pub(crate) fn purge(&self, what: &serde_json::Value) -> Answer<serde_json::Value> {
        let house = match self.server() {
            Some(_) => self.open()?,
            None => {
                return Err("name the running gateway by `--server`: answers are kept in its memory".into());
            }
        };
        match &house.place {
            Place::There(remote) => house.runtime.block_on(remote.purge(what)),
            Place::Here { .. } => Err("answers are kept in the memory of a gateway, not in a store".into()),
        }
    }

    /// Whether a gateway is asked, and not a store on this machine.
    pub(crate) fn is_remote(&self) -> bool {
        self.server().is_some()
    }

    /// The gateway to ask. What was said here counts before what the environment says.
    fn server(&self) -> Option<String> {
        let is_here = self.store.is_some() || self.data_dir.is_named();
        self.server.clone().or_else(|| variable("BARTIZAN_SERVER").filter(|_| !is_here))
    }

    fn token(&self) -> Answer<String> {
        let text = match &self.token_file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| format!("the token cannot be read from {}: {error}", path.display()))?,
            None => variable(&self.token_env).ok_or_else(|| {
                format!(
                    "the environment variable {} holds no token (`bartizan tokens create`)",
                    self.token_env
                )
            })?,
        };
        Ok(text.trim().to_owned())
    }
}

/// A variable of the environment that says something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

impl House {
    /// The revision that gateways are to serve.
    pub(crate) fn active(&self) -> Answer<Option<RevisionRow>> {
        match &self.place {
            Place::Here { store, .. } => Ok(self.runtime.block_on(store.revisions().active())?),
            Place::There(remote) => self.runtime.block_on(remote.find("active")),
        }
    }

    /// Where a gateway's rollout stands.
    pub(crate) fn rollout_status(&self) -> Answer<serde_json::Value> {
        match &self.place {
            Place::There(remote) => self.runtime.block_on(remote.look("rollout")),
            Place::Here { .. } => Err("a store on this machine is asked by itself".into()),
        }
    }

    /// Has a gateway plan, begin or move a rollout.
    pub(crate) fn rollout(
        &self,
        path: &str,
        body: &serde_json::Value,
        expected: Option<&RevisionRow>,
    ) -> Answer<serde_json::Value> {
        match &self.place {
            Place::There(remote) => self.runtime.block_on(remote.post(path, body, expected)),
            Place::Here { .. } => Err("a store on this machine is asked by itself".into()),
        }
    }

    /// A revision with its texts.
    pub(crate) fn get(&self, which: &RevisionRef) -> Answer<Revision> {
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
    /// Where tests failed, `waiver` says why it is made all the same; a gateway judges that itself.
    pub(super) fn put(
        &self,
        new: NewRevision<'_>,
        expected: Option<&RevisionRow>,
        waiver: Option<&str>,
    ) -> Answer<Put> {
        let store = match &self.place {
            Place::Here { store, .. } => store,
            Place::There(remote) => return self.runtime.block_on(remote.put(&new, expected, waiver)),
        };
        let before = expected.map(RevisionRow::tag).unwrap_or_default();
        let deed =
            Deed { action: "revision.apply", target: "revisions", before: &before, reason: new.reason };
        let work = store.revisions().put(new, expected.map(|row| row.number), now_ms());
        Ok(self.runtime.block_on(deed.record(store, work, |put| put.row().tag()))?)
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
        let before = expected.map(RevisionRow::tag).unwrap_or_default();
        let deed =
            Deed { action: "revision.rollback", target: &target, before: &before, reason: rollback.reason };
        let work = store.revisions().roll_back(rollback, expected.map(|row| row.number), now_ms());
        Ok(self.runtime.block_on(deed.record(store, work, |put| put.row().tag()))?)
    }

    /// Whether a gateway runs that will say what becomes of a revision.
    pub(super) fn is_followed(&self) -> Answer<bool> {
        match &self.place {
            Place::Here { dir, .. } => Ok(dir.gateway()?.is_some()),
            Place::There(_) => Ok(true),
        }
    }

    /// Whether it is a gateway that is asked.
    pub(super) const fn is_remote(&self) -> bool {
        matches!(self.place, Place::There(_))
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
            Some(holder) => Err(Box::new(on_files(&holder, dir))),
        }
    }
}

fn on_files(holder: &GatewayHolder, dir: &DataDir) -> Refused {
    Refused(format!(
        "{} runs on {} and takes its documents from files: change those, or run it with `--store`",
        holder.as_str(),
        dir.path().display()
    ))
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
