//! What the engine of `insight` is given: lines of the access log as events, documents and keys as its posture; and where
//! its report is kept.
//!
//! The running gateway and the command share this, so that both see the same.

mod line;
mod posture;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use bartizan_insight::{Engine, Report, Seed, Settings};

pub(crate) use self::{
    line::observe,
    posture::{documented, posture},
};

/// The report below the data directory.
pub(crate) const FILE: &str = "insight.json";

/// An engine with a key of its own.
pub(crate) fn engine(settings: Settings) -> io::Result<Engine> {
    let mut key = [0; 16];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| io::Error::other("there is no randomness"))?;
    let whole = u128::from_le_bytes(key);
    #[expect(clippy::cast_possible_truncation, reason = "its two halves")]
    Ok(Engine::new(settings, Seed(whole as u64, (whole >> 64) as u64)))
}

/// Writes the report in place of the one before, whole or not at all; for its owner alone, because it names callers.
pub(crate) fn keep(dir: &Path, report: &[u8]) -> io::Result<()> {
    let fresh = dir.join(".insight.json.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(report)?;
    drop(file);
    fs::rename(&fresh, dir.join(FILE))
}

/// The report that the gateway keeps; none where there is none.
pub(crate) fn kept(dir: &Path) -> io::Result<Option<Report>> {
    match fs::read(dir.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
    }
}
