//! Channels and their sender, for the documents in force.

use std::sync::Arc;

use bartizan_config::snapshot::Snapshot;
use bartizan_manage::notice::{Channels, SendPatience, Sender};
use bartizan_proxy::runtime::Runtime;
use bartizan_store::DataDir;

use super::secrets;

/// Reads what the channels of a set need; the error names every one that cannot be used.
pub(super) fn channels(snapshot: &Snapshot) -> Result<Arc<Channels>, String> {
    let prepared = Channels::prepare(snapshot.channels.values(), secrets::read);
    prepared
        .map(Arc::new)
        .map_err(|wrong| wrong.iter().map(|(name, why)| format!("NoticeChannel/{name}: {why}\n")).collect())
}

/// Begins to send; `None` where nothing is asked of others, as in a rehearsal.
pub(super) fn start(
    store: DataDir,
    data_plane: &Runtime,
    channels: Arc<Channels>,
) -> std::io::Result<Option<Sender>> {
    let Some(outside) = data_plane.outside() else { return Ok(None) };
    Sender::start(store, Arc::clone(&outside.fetcher), channels, SendPatience::default()).map(Some)
}
