//! What can go wrong between us and the disk. Every message says where, and what to do next; none holds a secret.
//!
//! The cause beneath (an I/O or database error) is attached as `source` and not repeated in the message: print the
//! chain.

use std::{io, path::PathBuf};

use bartizan_identity::KeyId;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A consumer's name, a label or an author cannot be stored.
    #[error("the {what} {problem}; use 1 to {max} characters, none of them a control character")]
    BadText {
        /// Which text.
        what: &'static str,
        /// What is wrong with it.
        problem: &'static str,
        /// How long it may be.
        max: usize,
    },

    /// The database refused or failed.
    #[error("the store {} failed to {doing}", path.display())]
    Database {
        /// The database file.
        path: PathBuf,
        /// What was to be done.
        doing: &'static str,
        /// The database's own words.
        #[source]
        source: sqlx::Error,
    },

    /// The data directory belongs to another user.
    #[error(
        "the data directory {} belongs to user {owner}, and this process runs as user {user}; \
         run as its owner, or choose another with --data-dir",
        path.display()
    )]
    DataDirForeign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        user: u32,
    },

    /// Another gateway runs on the data directory.
    #[error(
        "the data directory {} is in use by {holder}; stop it, or choose another directory with --data-dir",
        path.display()
    )]
    DataDirInUse {
        /// The directory.
        path: PathBuf,
        /// The other process: its command and pid, as it wrote them down.
        holder: String,
    },

    /// No rule says where the data directory is.
    #[error(
        "no place for the data directory: HOME is not set; name one with --data-dir or BARTIZAN_DATA_DIR"
    )]
    DataDirUnknown,

    /// Others could exchange files in the data directory.
    #[error(
        "the data directory {} can be written by others (mode {mode:04o}); run: chmod go-w '{}'",
        path.display(), path.display()
    )]
    DataDirWritable {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },

    /// A key was to expire before it exists.
    #[error("the key would have expired already; choose a time to come")]
    ExpiryPast,

    /// A file or directory could not be used.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was to be done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's own words.
        #[source]
        source: io::Error,
    },

    /// A private file can be read or written by others.
    #[error(
        "{} is open to others (mode {mode:04o}) and must be its owner's alone; \
         if nobody else can have read it, run: chmod 600 '{}'",
        path.display(), path.display()
    )]
    FileExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },

    /// The key opens no more, so it cannot be replaced without a gap.
    #[error("the key {id} has ended; make a new one with `bartizan keys create`")]
    KeyEnded {
        /// The key.
        id: KeyId,
    },

    /// The key was replaced before.
    #[error("the key {id} was replaced by {by}; rotate that one")]
    KeyReplaced {
        /// The key.
        id: KeyId,
        /// Its successor.
        by: KeyId,
    },

    /// The new key could not be handed over, so nothing was changed.
    #[error("the new key could not be handed over; nothing has changed")]
    NotDelivered {
        /// Why.
        #[source]
        source: io::Error,
    },

    /// The store knows no key of this id.
    #[error("no key has the id {id}; `bartizan keys list` shows those there are")]
    KeyUnknown {
        /// The id asked for.
        id: KeyId,
    },

    /// The path of the data directory leads to something else.
    #[error("{} is not a directory; choose another place with --data-dir", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },

    /// The pepper is not the one that the stored keys were hashed with.
    #[error(
        "the pepper {} does not belong to the keys in {}; restore the pepper from its backup, \
         or move both files away to begin anew without the old keys",
        path.display(), store.display()
    )]
    PepperForeign {
        /// The pepper file.
        path: PathBuf,
        /// The database file.
        store: PathBuf,
    },

    /// The pepper file has been damaged.
    #[error(
        "the pepper {} has {found} bytes instead of 32; restore it from its backup",
        path.display()
    )]
    PepperLength {
        /// The pepper file.
        path: PathBuf,
        /// Its length, cut off just above what is right.
        found: usize,
    },

    /// The last user who may manage users would be gone.
    #[error("{name} is the last enabled admin; make another one first")]
    LastAdmin {
        /// The user's name.
        name: String,
    },

    /// A one-time link does not hold: it never was, is spent, or is too old.
    #[error("the link does not hold: it was used, is too old, or a newer one took its place")]
    LinkInvalid,

    /// There are keys and no pepper to verify them with.
    #[error(
        "the pepper {} is missing, and the keys in {} cannot be verified without it; restore it from its backup, \
         or move the store away to begin anew without the old keys",
        path.display(), store.display()
    )]
    PepperMissing {
        /// The pepper file.
        path: PathBuf,
        /// The database file.
        store: PathBuf,
    },

    /// The system gave no random bytes.
    #[error("the system's random source failed; nothing was made")]
    Random,

    /// Another revision is active than the writer saw.
    #[error(
        "the active revision is {}, not {}; look at what has changed, and try again with the one that is active",
        number(*active), number(*expected)
    )]
    RevisionConflict {
        /// The one that the writer saw.
        expected: Option<u64>,
        /// The one that is active.
        active: Option<u64>,
    },

    /// The stored texts of a revision are not those that were stored.
    #[error(
        "revision {number} is damaged: its texts are not those that were stored; restore the store from its backup"
    )]
    RevisionDamaged {
        /// The revision.
        number: u64,
    },

    /// There was never a rollout.
    #[error("there is no rollout; begin one with `bartizan rollout start`")]
    RolloutNone,

    /// Another rollout is under way.
    #[error("rollout {number} is under way; end it first (`bartizan rollout promote` or `abort`)")]
    RolloutOpen {
        /// Its number.
        number: u64,
    },

    /// There is no active revision.
    #[error("there is no revision yet; make the first one with `bartizan apply`")]
    RevisionNone,

    /// A set is larger than a revision may be.
    #[error("the set has {found} {what}, more than the {max} that a revision may have")]
    RevisionTooLarge {
        /// Bytes or files.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many there may be.
        max: u64,
    },

    /// The store has no such revision.
    #[error("there is no revision {which}; `bartizan history` shows those there are")]
    RevisionUnknown {
        /// What was asked for.
        which: String,
    },

    /// There is a file where the backup should be.
    #[error("there is a file at {} already; a backup replaces none", path.display())]
    BackupExists {
        /// Where it should be.
        path: PathBuf,
    },

    /// A backup is opened with the other kind of key.
    #[error("the backup was encrypted with {}", if *is_passphrase { "a passphrase" } else { "a key file" })]
    BackupKeyKind {
        /// Which kind it was.
        is_passphrase: bool,
    },

    /// A backup does not open, or is not whole.
    #[error("the backup {} does not open: the passphrase or key is another one, or the file is damaged", path.display())]
    BackupUnsound {
        /// The file.
        path: PathBuf,
    },

    /// There is something where a backup is to be restored.
    #[error("{} is not empty, and a restore replaces nothing; name a directory that is not there yet", path.display())]
    RestoreOver {
        /// Where it should be.
        path: PathBuf,
    },

    /// A claim link opens nothing.
    #[error("this link opens nothing: it was used, is older than 72 hours, or was never made")]
    ClaimUnknown,

    /// The root is not the one that the store was sealed under.
    #[error(
        "the root of {} is not the one that the store was sealed under; use the right one, or restore it from its \
         backup", path.display()
    )]
    RootForeign {
        /// Its file, or the database it does not fit.
        path: PathBuf,
    },

    /// What was given as the root is none.
    #[error(
        "BARTIZAN_ROOT_KEY is no root: write 64 hexadecimal digits, for example of `openssl rand -hex 32`"
    )]
    RootMalformed,

    /// The root is gone.
    #[error(
        "the store {} has no root: {} is not there, and none was given by BARTIZAN_ROOT_KEY; restore it from its \
         backup", store.display(), path.display()
    )]
    RootMissing {
        /// Where it should be.
        path: PathBuf,
        /// The database.
        store: PathBuf,
    },

    /// The schema was changed by something else.
    #[error(
        "the store {} has a schema that this version did not make (step {step}); \
         use the version that made it, or restore the store from its backup",
        path.display()
    )]
    SchemaForeign {
        /// The database file.
        path: PathBuf,
        /// The migration that differs.
        step: i64,
    },

    /// The schema was written by a later version.
    #[error(
        "the store {} was written by a newer version of bartizan (schema {found}; this version knows {known}); \
         run that version, or restore the store from a backup made before it",
        path.display()
    )]
    SchemaNewer {
        /// The database file.
        path: PathBuf,
        /// The newest migration in the file.
        found: i64,
        /// The newest migration we have.
        known: i64,
    },

    /// Another process has been preparing the data directory for too long.
    #[error("another process has been preparing {} for more than {seconds} s; see what holds it", path.display())]
    SetupBusy {
        /// The lock file it holds.
        path: PathBuf,
        /// How long we waited.
        seconds: u64,
    },

    /// What a gateway kept of its last good revision is not what it wrote.
    #[error("{} is damaged and not used: {why}", path.display())]
    SnapshotDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },

    /// There is no database, and none is to be made.
    #[error("there is no store at {}", path.display())]
    StoreGone {
        /// The database file.
        path: PathBuf,
    },

    /// The address of a store is not understood.
    #[error(
        "{address:?} names no store; write `sqlite:PATH`, where PATH is a data directory or its bartizan.db"
    )]
    StoreUnknown {
        /// What was given.
        address: String,
    },

    /// There is a user of this name.
    #[error("there is a user {name:?} already")]
    UserExists {
        /// The name.
        name: String,
    },

    /// There is no such token of the management API.
    #[error("there is no token of this id; `bartizan tokens list` shows those there are")]
    TokenUnknown {
        /// What was asked for.
        id: String,
    },

    /// There is no such user.
    #[error("there is no user {name:?}; `bartizan users list` shows those there are")]
    UserUnknown {
        /// What was asked for.
        name: String,
    },

    /// The database cannot work safely where it lies.
    #[error(
        "the store {} cannot keep a write-ahead log; put the data directory on a local disk",
        path.display()
    )]
    WriteAheadLog {
        /// The database file.
        path: PathBuf,
    },
}

fn number(revision: Option<u64>) -> String {
    revision.map_or_else(|| "none".to_owned(), |number| number.to_string())
}

impl Error {
    /// Whether another process only holds the database's write lock at the moment.
    pub(crate) fn is_busy(&self) -> bool {
        let Error::Database { source: sqlx::Error::Database(fault), .. } = self else { return false };
        // The low byte of an extended result code is the primary one; 5 is SQLITE_BUSY.
        fault.code().and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
    }
}
