//! A connection that is only told of: for requests that come without a socket.

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::{Duration, Instant},
};

use bartizan_config::snapshot::ListenerPlan;
use bartizan_message::AddressValue;

use super::{
    core::{ListenerShared, Setting},
    facts::{ConnectionFacts, TlsFacts},
    flow::CoarseClock,
    watch::Watch,
};

/// The facts of a connection that nobody sweeps: no time passes on it.
pub(crate) fn connection(
    listener: Arc<ListenerPlan>,
    (peer, local): (SocketAddr, SocketAddr),
    tls: Option<TlsFacts>,
    http2: bool,
    opened: Instant,
) -> Rc<ConnectionFacts> {
    let shared =
        ListenerShared { id: 0, open: Arc::new(AtomicUsize::new(0)), removed: AtomicBool::new(false) };
    let setting = Setting { shared: Arc::new(shared), plan: listener.clone(), tls: None };
    let watch = Watch::new(&CoarseClock::new(Duration::from_secs(1)), Arc::new(setting), Arc::default());
    Rc::new(ConnectionFacts {
        listener,
        peer,
        client: peer,
        address: AddressValue::of(peer.ip()),
        local,
        tls,
        http2,
        core: 0,
        opened,
        requests: Cell::new(1),
        watch,
    })
}
