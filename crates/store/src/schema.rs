//! The database's schema: numbered steps, compiled in, applied when a store is opened.
//!
//! The steps are read by `Migrator`, not by sqlx's macro, which would compile SQLite a second time for the build. A
//! step that was released is never edited: its checksum is in every database.

use std::path::Path;

use sqlx::{
    SqlSafeStr, SqliteConnection,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};

use crate::error::Error;

/// Brings the database to our schema. The caller holds the setup lock.
pub(crate) async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), Error> {
    let steps = steps();
    let known = steps.iter().map(|step| step.version).max().unwrap_or(0);
    Migrator::with_migrations(steps).run_direct(None, connection, false).await.map_err(|fault| {
        let path = path.to_owned();
        match fault {
            MigrateError::VersionMissing(found) if found > known => Error::SchemaNewer { path, found, known },
            MigrateError::VersionMissing(step)
            | MigrateError::VersionMismatch(step)
            | MigrateError::Dirty(step) => Error::SchemaForeign { path, step },
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
                Error::Database { path, doing: "bring its schema up to date", source }
            }
            other => Error::Database { path, doing: "bring its schema up to date", source: other.into() },
        }
    })
}

fn steps() -> Vec<Migration> {
    [
        (1, "api keys", include_str!("../migrations/0001_api_keys.sql")),
        (2, "revisions", include_str!("../migrations/0002_revisions.sql")),
        (3, "tokens and audit", include_str!("../migrations/0003_tokens_and_audit.sql")),
        (4, "the life of keys", include_str!("../migrations/0004_key_life.sql")),
        (5, "users", include_str!("../migrations/0005_users.sql")),
        (7, "quotas and usage", include_str!("../migrations/0007_quotas_and_usage.sql")),
        (8, "rollouts", include_str!("../migrations/0008_rollouts.sql")),
        (9, "notices", include_str!("../migrations/0009_notices.sql")),
    ]
    .into_iter()
    .map(|(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    })
    .collect()
}
