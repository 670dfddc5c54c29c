//! What happens on listeners, counted on the core where it happens.

use std::{cell::RefCell, collections::HashMap, io, sync::Arc, time::Duration};

use bartizan_model::{Mode, Reason};
use bartizan_telemetry::{
    CoreMetrics, Metrics,
    metrics::{ListenerId, RefusedConnection},
};

use crate::listener::{Ended, ListenerEvents, Refused};

/// Counts what listeners tell.
pub(crate) struct Events {
    metrics: Arc<Metrics>,
}

/// The counters of the current thread, which is one core's, and the listeners it has met.
struct OnThisCore {
    metrics: CoreMetrics,
    listeners: HashMap<Box<str>, ListenerId>,
}

thread_local! {
    static CORE: RefCell<Option<OnThisCore>> = const { RefCell::new(None) };
}

impl Events {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Events { metrics }
    }

    fn count(&self, listener: &str, what: impl FnOnce(&CoreMetrics, ListenerId)) {
        CORE.with_borrow_mut(|core| {
            let core = core.get_or_insert_with(|| OnThisCore {
                metrics: self.metrics.core(),
                listeners: HashMap::new(),
            });
            let id = match core.listeners.get(listener) {
                Some(id) => *id,
                None => {
                    let id = self.metrics.listener(listener);
                    core.listeners.insert(listener.into(), id);
                    id
                }
            };
            what(&core.metrics, id);
        });
    }
}

impl ListenerEvents for Events {
    fn refused(&self, listener: &str, why: Refused) {
        tracing::debug!(listener, why = why.as_str(), "connection refused");
        self.count(listener, |metrics, id| match refused_as(why) {
            Some(why) => metrics.connection_refused(id, why),
            None => metrics.handshake_failed(id),
        });
    }

    fn handshaken(&self, listener: &str, took: Duration) {
        self.count(listener, |metrics, id| metrics.handshake_done(id, took));
    }

    fn opened(&self, listener: &str, _http2: bool, _tls: bool) {
        self.count(listener, |metrics, id| metrics.connection_opened(id));
    }

    fn closed(&self, listener: &str, how: Ended) {
        tracing::debug!(listener, how = how.as_str(), "connection ended");
        self.count(listener, |metrics, id| {
            metrics.connection_closed(id);
            // What the HTTP library answers by itself has no record; it is counted here.
            match how {
                Ended::ProtocolError => {
                    metrics.refused(Reason::MalformedRequest.stage(), Reason::MalformedRequest, Mode::Enforce)
                }
                Ended::HeadTimeout => {
                    metrics.connection_refused(id, RefusedConnection::HeadTimeout);
                    metrics.refused(Reason::RequestTimeout.stage(), Reason::RequestTimeout, Mode::Enforce);
                }
                _ => {}
            }
        });
    }

    fn accept_failed(&self, listener: &str, error: &io::Error) {
        tracing::warn!(listener, %error, "a connection could not be accepted");
        self.count(listener, |metrics, id| metrics.connection_refused(id, RefusedConnection::Resources));
    }
}

/// The metric's word; `None` for failed handshakes, which have a metric of their own.
fn refused_as(why: Refused) -> Option<RefusedConnection> {
    match why {
        Refused::AddressDenied => Some(RefusedConnection::AddressDenied),
        Refused::AddressFull => Some(RefusedConnection::AddressFull),
        Refused::DescriptorsExhausted | Refused::Closing | Refused::SocketBroken => {
            Some(RefusedConnection::Resources)
        }
        // A connection that sends nothing at all has sent no head either.
        Refused::HeadTimeout | Refused::Silent => Some(RefusedConnection::HeadTimeout),
        Refused::ListenerFull => Some(RefusedConnection::ListenerFull),
        Refused::PrefixFull => Some(RefusedConnection::PrefixFull),
        Refused::ProxyHeaderInvalid | Refused::ProxyHeaderTimeout => Some(RefusedConnection::ProxyHeader),
        Refused::TlsBroken
        | Refused::TlsCertificateExpired
        | Refused::TlsCertificateMissing
        | Refused::TlsCertificateRevocationUnknown
        | Refused::TlsCertificateRevoked
        | Refused::TlsCertificateUnreadable
        | Refused::TlsCertificateUntrusted
        | Refused::TlsClientAlert
        | Refused::TlsIncompatible
        | Refused::TlsMalformed
        | Refused::TlsNameMissing
        | Refused::TlsNameUnknown
        | Refused::TlsTimeout => None,
    }
}
