//! Keys and revisions at rest: the data directory, the pepper and the embedded database.
//!
//! The data plane never names this crate: the binary opens a [`Store`], follows it with a [`KeyFeed`] on a thread of
//! the control plane, and hands each new table over. The `keys` commands open the same [`Store`] beside a running
//! gateway; only the gateway itself takes the [`GatewayLock`]. SQLite by default; what comes later (PostgreSQL) gets its
//! own file and migration here.
//!
//! Reading order: [`data_dir`] (where it lies and whose it is), `pepper`, [`store`] (opening), [`keys`] (the
//! commands), [`key_life`] (rotation, and what is told once), [`key_feed`] (how a gateway follows); likewise [`revision`], [`revisions`], [`revision_feed`], [`rollouts`], and
//! [`last_good`] (what a gateway keeps for the day on which the store is gone); [`tokens`], [`users`],
//! [`sessions`] and [`audit`] (the management API's), [`usage`] (what
//! quotas have counted and models were used for). [`outbox`] and [`claims`] (what is told, and taken
//! over); [`root`] and [`vault`] (what lies here sealed).

pub mod alerts;
pub mod audit;
pub mod backup;
pub mod claims;
pub mod data_dir;
pub mod deed;
pub mod error;
pub mod key_feed;
pub mod key_life;
pub mod key_row;
pub mod keys;
pub mod last_good;
pub mod outbox;
mod pepper;
mod private_file;
pub mod revision;
pub mod revision_feed;
pub mod revisions;
pub mod rollouts;
pub mod root;
mod schema;
mod secret_text;
mod session_keys;
pub mod sessions;
pub mod store;
mod text;
pub mod tokens;
pub mod usage;
pub mod users;
pub mod vault;

pub use alerts::{AlertRow, Alerts, Pulse, SilenceRow, Turn};
pub use audit::{Audit, AuditNote, AuditPhase, AuditRow};
pub use backup::{BackupFacts, BackupKey, restore};
pub use claims::{ClaimToken, Claims, OpenClaim};
pub use data_dir::{DataDir, DataDirChoice, GatewayHolder, GatewayLock};
pub use deed::{Deed, Ending};
pub use error::Error;
pub use key_feed::{FeedEvent, KeyFeed};
pub use key_life::{Came, KeyEvent, Rotation, Rules, Successor};
pub use key_row::{KeyRow, KeyStanding};
pub use keys::{KeyCursor, KeyFilter, KeyPage, Keys, NewKey, Revocation};
pub use last_good::LastGood;
pub use outbox::{DueNotice, NewNotice, NoticeRow, NoticeState, Outbox};
pub use revision::{
    Revision, RevisionFile, RevisionNumber, RevisionOutcome, RevisionRef, RevisionRow, SetDigest, Went,
};
pub use revision_feed::RevisionFeed;
pub use revisions::{NewRevision, Put, RevisionPage, Revisions, Rollback};
pub use rollouts::{NewMove, NewRollout, RolloutMove, RolloutNumber, RolloutRow, Rollouts, Standing};
pub use root::RootKey;
pub use secret_text::SecretText;
pub use sessions::{NewSession, SessionRow, Sessions};
pub use store::Store;
pub use tokens::{NewToken, TokenRow, TokenText, Tokens};
pub use usage::{Usage, day_of};
pub use users::{Known, LinkFor, NewUser, UserChange, UserRow, Users};
pub use vault::{NewRoot, Vault};
