//! What the gateway itself asks others for: key sets, discovery documents, introspection, tokens for upstreams.
//!
//! One background thread with a runtime of its own does all of it, so that no core ever resolves, connects or waits
//! for a handshake on a request's behalf; a core waits on a one-shot with a deadline. Callers of the gateway can make
//! it fetch, but never what or from where: every address stands in a document, and [`guard`] judges what it resolves
//! to. No general-purpose client: no redirects, no proxies from the environment, no cookies, one small answer.
//!
//! Reading order: [`guard`] (which addresses), [`client`] (one exchange), [`flight`] (many ask, one fetches), [`keys`]
//! (key sets of issuers), [`mail`] (by SMTP).

use std::{
    future::Future,
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bartizan_model::scalar::FetchUrl;
use bartizan_telemetry::{FetchOutcome, FetchPurpose, FetchTable};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use rustls::ClientConfig;
use tokio::{
    runtime::{Builder, Handle},
    sync::{Semaphore, oneshot},
};

pub mod client;
pub mod flight;
pub mod guard;
pub mod keys;
pub mod mail;
mod tls;

pub use client::{Answer, FetchError};
pub use flight::Flights;
pub use guard::{Access, Reach};
pub use keys::{KeySetSource, KeySets};
pub use mail::{Mail, MailError, MailServer};
pub use tls::{TrustError, trusting, trusting_system};

use client::Exchange;

#[cfg(test)]
mod tests;

/// 64 exchanges at once: issuers are few, and each is asked once at a time; more is a storm, and waits.
const CONCURRENT_MAX: usize = 64;

/// Threads that resolve names; the system's resolver blocks.
const RESOLVERS_MAX: usize = 4;

/// Where something is fetched from, and how far that may lead.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The address, as a document has it.
    pub url: FetchUrl,
    /// Which addresses it may resolve to, and whether without TLS.
    pub access: Access,
    /// Whom to trust; `None` for the system's roots.
    pub tls: Option<Arc<ClientConfig>>,
}

/// What is asked. Nothing is ever sent twice.
#[derive(Debug)]
pub struct Ask {
    purpose: FetchPurpose,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
}

impl Ask {
    /// A document, with `GET`.
    pub fn get(purpose: FetchPurpose, headers: HeaderMap) -> Self {
        Ask { purpose, method: Method::GET, headers, body: Bytes::new() }
    }

    /// A form, already encoded, with `POST`.
    pub fn form(purpose: FetchPurpose, headers: HeaderMap, form: Bytes) -> Self {
        Self::post(purpose, headers, HeaderValue::from_static("application/x-www-form-urlencoded"), form)
    }

    /// A notice as JSON, with `POST`.
    pub fn json(headers: HeaderMap, text: Bytes) -> Self {
        Self::post(FetchPurpose::Notice, headers, HeaderValue::from_static("application/json"), text)
    }

    fn post(purpose: FetchPurpose, mut headers: HeaderMap, kind: HeaderValue, body: Bytes) -> Self {
        headers.insert(header::CONTENT_TYPE, kind);
        Ask { purpose, method: Method::POST, headers, body }
    }
}

/// Fetches on a thread of its own. Dropping the last one ends the thread and all that is under way.
pub struct Fetcher {
    handle: Handle,
    shared: Arc<Shared>,
    /// Dropped with the fetcher: the thread waits for that.
    _stop: oneshot::Sender<()>,
}

struct Shared {
    exchanges: Semaphore,
    system: tls::SystemTrust,
    fetches: Arc<FetchTable>,
}

impl Fetcher {
    /// Starts the thread. What is fetched is counted in `fetches`.
    ///
    /// # Errors
    ///
    /// When the system has no thread or no descriptors left.
    pub fn start(fetches: Arc<FetchTable>) -> io::Result<Arc<Self>> {
        let runtime =
            Builder::new_current_thread().enable_all().max_blocking_threads(RESOLVERS_MAX).build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            // A dropped sender means the same as a sent message.
            let _ = runtime.block_on(stopped);
            // A look-up that hangs in the system's resolver must not keep the process.
            runtime.shutdown_background();
        };
        thread::Builder::new().name("fetch".into()).spawn(run)?;
        let exchanges = Semaphore::new(CONCURRENT_MAX);
        let shared = Arc::new(Shared { exchanges, system: tls::SystemTrust::default(), fetches });
        Ok(Arc::new(Fetcher { handle, shared, _stop: stop }))
    }

    /// Asks, and may be awaited on any runtime.
    ///
    /// # Errors
    ///
    /// When nothing came within `limit`, or what came is no answer; an answer of any status is one.
    pub async fn ask(&self, at: &Destination, ask: Ask, limit: Duration) -> Result<Answer, FetchError> {
        let (client, at) = (self.client(), at.clone());
        let (tell, told) = oneshot::channel();
        self.spawn(async move {
            // Whoever asked may have left.
            let _ = tell.send(client.ask(&at, ask, limit).await);
        });
        told.await.unwrap_or(Err(FetchError::Ended))
    }

    /// Sends a mail, and may be awaited on any runtime.
    ///
    /// # Errors
    ///
    /// When the server did not take it within `limit`, and whether trying again can help.
    pub async fn mail(&self, server: &Arc<MailServer>, mail: Mail, limit: Duration) -> Result<(), MailError> {
        let (server, shared) = (Arc::clone(server), Arc::clone(&self.shared));
        let (tell, told) = oneshot::channel();
        self.spawn(async move {
            let sent = tokio::time::timeout(limit, async {
                let _permit = shared.exchanges.acquire().await.map_err(|_| MailError::ended())?;
                mail::send(&server, &mail).await
            });
            // Whoever asked may have left.
            let _ = tell.send(sent.await.unwrap_or_else(|_| Err(MailError::timed_out())));
        });
        told.await.unwrap_or_else(|_| Err(MailError::ended()))
    }

    /// Runs a task on the fetching thread: one that goes on when nobody waits for it any more.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }

    /// What a task on the fetching thread fetches with; it does not keep the thread.
    pub fn client(&self) -> Client {
        Client { shared: Arc::clone(&self.shared) }
    }
}

/// Fetches within the fetching thread.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

impl Client {
    /// As [`Fetcher::ask`]; only within a task of [`Fetcher::spawn`].
    ///
    /// # Errors
    ///
    /// As [`Fetcher::ask`].
    pub async fn ask(&self, at: &Destination, ask: Ask, limit: Duration) -> Result<Answer, FetchError> {
        let (began, purpose) = (Instant::now(), ask.purpose);
        let asked = tokio::time::timeout(limit, async {
            let _permit = self.shared.exchanges.acquire().await.map_err(|_| FetchError::Ended)?;
            let tls = match (&at.tls, at.url.is_https()) {
                (_, false) => None,
                (Some(given), true) => Some(Arc::clone(given)),
                (None, true) => Some(self.shared.system.config().map_err(FetchError::Trust)?),
            };
            Exchange { at, tls, ask }.run().await
        });
        let result = asked.await.unwrap_or(Err(FetchError::TimedOut));
        let took = began.elapsed();
        self.shared.fetches.note(purpose, outcome(&result), took);
        tracing::debug!(
            url = %at.url, ms = took.as_millis(),
            outcome = %result.as_ref().map_or_else(ToString::to_string, |answer| answer.status.to_string()),
            "fetched"
        );
        result
    }
}

/// How an exchange ended, for the count.
fn outcome(result: &Result<Answer, FetchError>) -> FetchOutcome {
    match result {
        Ok(answer) if answer.status.is_success() => FetchOutcome::Answered,
        Ok(_) => FetchOutcome::Refused,
        Err(FetchError::AddressRefused(_)) => FetchOutcome::AddressRefused,
        Err(FetchError::Protocol(_) | FetchError::TooLarge) => FetchOutcome::Broken,
        Err(FetchError::TimedOut) => FetchOutcome::TimedOut,
        Err(
            FetchError::Connect(_)
            | FetchError::Ended
            | FetchError::Resolve(_)
            | FetchError::Tls(_)
            | FetchError::Trust(_),
        ) => FetchOutcome::Unreachable,
    }
}
