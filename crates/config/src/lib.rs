//! Documents to snapshots.
