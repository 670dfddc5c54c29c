//! Orders to take a capture, and how they go: two small files in the data directory, for their owner alone.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use bartizan_telemetry::capture::CaptureFigures;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

const ORDER: &str = "capture-order.json";
const STATE: &str = "capture-state.json";

/// What is ordered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Order {
    /// Tells one order from the next.
    pub(crate) id: String,
    /// The file; none ends what goes on.
    pub(crate) out: Option<PathBuf>,
    /// The file of the key.
    pub(crate) key_file: PathBuf,
    /// Share of requests.
    pub(crate) percent: f64,
    /// Heads as sent, but for credentials.
    pub(crate) whole: bool,
    /// When it ends.
    pub(crate) until_ms: u64,
    /// Most bytes of the file.
    pub(crate) bytes_max: u64,
}

/// How it goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State {
    /// Whose.
    pub(crate) id: String,
    /// The file.
    pub(crate) out: Option<PathBuf>,
    /// Whether it goes on.
    pub(crate) is_taking: bool,
    /// Requests in the file.
    pub(crate) records: u64,
    /// Requests that were too large for a record.
    pub(crate) left_out: u64,
    /// Why it ended before it was told to.
    pub(crate) ended_by: Option<String>,
}

impl State {
    pub(crate) fn of(order: &Order, figures: CaptureFigures) -> Self {
        let CaptureFigures { is_taking, records, left_out, ended_by } = figures;
        State { id: order.id.clone(), out: order.out.clone(), is_taking, records, left_out, ended_by }
    }
}

/// The order that is there.
pub(crate) fn order(dir: &Path) -> Option<Order> {
    read(&dir.join(ORDER))
}

/// Leaves an order.
pub(crate) fn give(dir: &Path, order: &Order) -> io::Result<()> {
    write(dir, ORDER, order)
}

/// How the last order goes.
pub(crate) fn state(dir: &Path) -> Option<State> {
    read(&dir.join(STATE))
}

/// Says how it goes; a disk that cannot be written is said once by the capture itself.
pub(crate) fn tell(dir: &Path, state: &State) {
    if let Err(error) = write(dir, STATE, state) {
        tracing::debug!(%error, "how the capture goes cannot be written");
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn write(dir: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    let fresh = dir.join(format!(".{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    drop(file);
    fs::rename(&fresh, dir.join(name))
}
