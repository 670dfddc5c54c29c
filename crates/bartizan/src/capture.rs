//! Orders to take a capture, and how they go: two small files in the data directory, for their owner alone.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use bartizan_telemetry::capture::{BodyTerms, CaptureFigures, CaptureTerms};
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
    /// Which bodies.
    #[serde(default)]
    pub(crate) bodies: Bodies,
    /// Most bytes of a body.
    #[serde(default)]
    pub(crate) body_bytes_max: u64,
    /// When it ends.
    pub(crate) until_ms: u64,
    /// Most bytes of the file.
    pub(crate) bytes_max: u64,
}

/// Which bodies a capture takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Bodies {
    /// None.
    #[default]
    None,
    /// JSON and forms in which no member is named like a secret.
    Redacted,
    /// All.
    Whole,
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
    /// Requests in the file without their body, because it was too long or may hold secrets.
    #[serde(default)]
    pub(crate) bodies_left_out: u64,
    /// Why it ended before it was told to.
    pub(crate) ended_by: Option<String>,
}

impl Order {
    /// What is taken.
    pub(crate) fn terms(&self) -> CaptureTerms {
        let bytes_max = usize::try_from(self.body_bytes_max).unwrap_or(usize::MAX);
        let redacted = self.bodies == Bodies::Redacted;
        let bodies = (self.bodies != Bodies::None).then_some(BodyTerms { bytes_max, redacted });
        CaptureTerms { percent: self.percent, whole: self.whole, bodies }
    }
}

impl State {
    pub(crate) fn of(order: &Order, figures: CaptureFigures) -> Self {
        let CaptureFigures { is_taking, records, left_out, bodies_left_out, ended_by } = figures;
        let (id, out) = (order.id.clone(), order.out.clone());
        State { id, out, is_taking, records, left_out, bodies_left_out, ended_by }
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
