//! The demo's API key: made once, kept so that a second start shows the same.
//!
//! Only the demo keeps a key in clear, in a file that nobody else can read; a gateway's store never does.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use bartizan_identity::KeyId;
use bartizan_store::{KeyStanding, NewKey};

use crate::service::{Failure, Keys};

/// The file's name in the data directory.
pub(super) const FILE: &str = "demo-key";

/// The consumer that the demo's documents name.
const CONSUMER: &str = "demo";

/// The kept key if it still works, else a new one.
pub(super) fn keep(keys: &Keys, data_dir: &Path) -> Result<String, Failure> {
    let path = data_dir.join(FILE);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    if let Ok(text) = fs::read_to_string(&path)
        && let Some(id) = KeyId::recognise(text.trim())
        && is_private(&path)
    {
        let standing = keys.with(async |store| store.keys().show(&id).await.map(|row| row.standing(now_ms)));
        if standing.is_ok_and(|standing| standing == KeyStanding::Active) {
            return Ok(text.trim().to_owned());
        }
    }
    let wanted = NewKey {
        consumer: CONSUMER,
        label: Some("made by bartizan demo"),
        expires_at_ms: None,
        created_by: Some("demo"),
    };
    let (_, text) = keys
        .with(async |store| store.keys().create(wanted, now_ms).await)
        .map_err(|error| Failure::of(&error))?;
    write(&path, text.expose())
        .map_err(|error| Failure::Process(format!("{} cannot be written: {error}", path.display())))?;
    Ok(text.expose().to_owned())
}

fn is_private(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 == 0)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")
}
