//! How much memory everything that limits allow would take at once: computed from the documents, and told at start.
//!
//! A sum of upper bounds, not a forecast: nobody reaches all of them together, and a machine need not have so much. It
//! says which limits to lower where it must never be exceeded; the steps of this module are for all other cases.

use bartizan_config::snapshot::{ListenerPlan, Snapshot};

use crate::body::HELD_BYTES_MAX;

/// What hyper keeps of a connection beside its buffers, its task and our watch.
const CONNECTION: u64 = 8 << 10;
/// A TLS session with its two buffers of a record each.
const TLS: u64 = 48 << 10;
/// A piece of an answer that hyper has of an HTTP/1.1 connection beside its buffer.
const HTTP1_PIECE: u64 = 64 << 10;
/// The receive window of an HTTP/2 connection, as `listener/http.rs` sets it.
const HTTP2_WINDOW: u64 = 1 << 20;
/// What an HTTP/2 stream may have waiting to be sent, as `listener/http.rs` sets it.
const HTTP2_SEND: u64 = 64 << 10;
/// The future of a request with its exchange, record and head, beside the head's own bytes.
const REQUEST: u64 = 16 << 10;
/// A connection to an endpoint with its two buffers.
const UPSTREAM_CONNECTION: u64 = 160 << 10;
/// A limit cell with its key.
const CELL: u64 = 96;

/// The greatest parts of the worst case, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worst {
    /// Connections of clients with their streams.
    pub connections: u64,
    /// Connections to upstreams.
    pub upstreams: u64,
    /// Bodies that are held to be judged or kept.
    pub bodies: u64,
    /// Kept answers.
    pub cache: u64,
    /// Keys of limits.
    pub limits: u64,
}

impl Worst {
    /// The worst case of a snapshot on so many cores.
    pub fn of(snapshot: &Snapshot, cores: usize) -> Self {
        let cores = cores as u64;
        let upstreams = snapshot.upstreams.iter().map(|upstream| {
            let connections =
                (upstream.connections_max as u64).saturating_mul(upstream.endpoints.len() as u64);
            connections.saturating_mul(UPSTREAM_CONNECTION).saturating_mul(cores)
        });
        let shelf = bartizan_cache::ShelfLimits::default();
        let keeps = snapshot.routes.iter().any(|route| route.caching.is_some());
        Worst {
            connections: snapshot.listeners.iter().fold(0, |sum: u64, listener| {
                let plan = &listener.plan;
                let each = per_connection(plan);
                sum.saturating_add(each.saturating_mul(plan.admission.connections_max as u64))
            }),
            upstreams: upstreams.fold(0, u64::saturating_add),
            bodies: (HELD_BYTES_MAX as u64).saturating_mul(cores),
            cache: if keeps { shelf.bytes_max as u64 } else { 0 },
            limits: (bartizan_limit::CELLS_MAX as u64).saturating_mul(CELL),
        }
    }

    /// The sum.
    pub fn total(&self) -> u64 {
        [self.connections, self.upstreams, self.bodies, self.cache, self.limits]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

/// What one connection of a listener may take.
pub fn per_connection(plan: &ListenerPlan) -> u64 {
    let admission = &plan.admission;
    let head = (admission.header_bytes_max as u64).saturating_add(admission.uri_bytes_max as u64);
    let tls = if plan.tls.is_some() { TLS } else { 0 };
    // hyper's buffers to read and to write are each as large as a head; and fields are there once more, read.
    let http1 = head.saturating_mul(3).saturating_add(HTTP1_PIECE + REQUEST);
    let stream = head.saturating_add(HTTP2_SEND + REQUEST);
    let http2 = stream.saturating_mul(admission.streams_max.into()).saturating_add(HTTP2_WINDOW);
    let spoken = if plan.http2 { http1.max(http2) } else { http1 };
    spoken.saturating_add(CONNECTION + tls)
}
