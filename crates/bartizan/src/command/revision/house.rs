//! Where revisions live: the store on this machine. Every command talks to this and to nothing else.

use std::{error::Error, fmt};

use bartizan_store::{
    DataDir, GatewayHolder, NewRevision, Put, Revision, RevisionNumber, RevisionPage, RevisionRef,
    RevisionRow, Rollback, Store,
};

use crate::command::data_dir::DataDirArg;

/// `--store` and `--data-dir`.
#[derive(Debug, clap::Args)]
pub(crate) struct HouseArg {
    /// The store with the revisions: `sqlite:PATH`, where PATH is a data directory or its `bartizan.db` [default: that
    /// of the data directory].
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    #[command(flatten)]
    data_dir: DataDirArg,
}

/// An open store and the runtime that asks it. A command does one thing and ends.
pub(super) struct House {
    runtime: tokio::runtime::Runtime,
    store: Store,
    dir: DataDir,
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

type Answer<T> = Result<T, Box<dyn Error>>;

impl HouseArg {
    /// Opens the store; makes it where there is none.
    pub(super) fn open(&self) -> Answer<House> {
        let dir = match &self.store {
            Some(address) => DataDir::of_store(address)?,
            None => self.data_dir.open()?,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let store = runtime.block_on(Store::open(&dir))?;
        Ok(House { runtime, store, dir })
    }
}

impl House {
    /// The revision that gateways are to serve.
    pub(super) fn active(&self) -> Answer<Option<RevisionRow>> {
        Ok(self.runtime.block_on(self.store.revisions().active())?)
    }

    /// A revision with its texts.
    pub(super) fn get(&self, which: &RevisionRef) -> Answer<Revision> {
        Ok(self.runtime.block_on(self.store.revisions().get(which))?)
    }

    /// One page of the history, newest first.
    pub(super) fn history(&self, before: Option<RevisionNumber>, limit: u32) -> Answer<RevisionPage> {
        Ok(self.runtime.block_on(self.store.revisions().history(before, limit))?)
    }

    /// Makes a revision and makes it the active one.
    pub(super) fn put(&self, new: NewRevision<'_>, expected: Option<RevisionNumber>) -> Answer<Put> {
        Ok(self.runtime.block_on(self.store.revisions().put(
            new,
            expected,
            crate::command::when::now_ms(),
        ))?)
    }

    /// Repeats an older revision as the active one.
    pub(super) fn roll_back(&self, rollback: Rollback<'_>, expected: Option<RevisionNumber>) -> Answer<Put> {
        let now = crate::command::when::now_ms();
        Ok(self.runtime.block_on(self.store.revisions().roll_back(rollback, expected, now))?)
    }

    /// The gateway that runs on the store's data directory.
    pub(super) fn gateway(&self) -> Answer<Option<GatewayHolder>> {
        Ok(self.dir.gateway()?)
    }

    /// Refuses a change where the gateway takes its documents from files: there would be two sources of truth, and the
    /// change would never be seen.
    pub(super) fn refuse_on_files(&self) -> Answer<()> {
        match self.gateway()?.filter(GatewayHolder::is_on_files) {
            None => Ok(()),
            Some(holder) => Err(Box::new(Refused(format!(
                "{} runs on {} and takes its documents from files: change those, or run it with `--store`",
                holder.as_str(),
                self.dir.path().display()
            )))),
        }
    }

    /// What became of a revision so far.
    pub(super) fn find(&self, which: &RevisionRef) -> Answer<RevisionRow> {
        Ok(self.runtime.block_on(self.store.revisions().find(which))?)
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
