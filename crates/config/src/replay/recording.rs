//! A request as a source wrote it down.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bartizan_identity::{ClientCertificate, InvalidKind, KeyId};
use bartizan_limit::Nanos;
use bartizan_message::Scheme;
use bartizan_model::Stage;
use http::{HeaderMap, Method, Version};

use crate::rehearsal::{CellReading, GivenBody, GivenRefusal, GivenToken};

/// A recorded request, and what its source says became of it.
#[derive(Clone, Debug)]
pub struct Recording {
    /// How it is found again: its request id, or its place in the source.
    pub id: Box<str>,
    /// When it came, in nanoseconds since 1970.
    pub unix_nanos: u64,
    /// The listener it came to; chosen by scheme and host where it is not known, or not in the set.
    pub listener: Option<Arc<str>>,
    /// `http` or `https`; the listener's own where it is not known.
    pub scheme: Option<Scheme>,
    /// The client.
    pub client: Option<IpAddr>,
    /// The method.
    pub method: Method,
    /// Host and port as they were asked for.
    pub host: Box<str>,
    /// Path and query.
    pub target: Box<str>,
    /// Those headers that were recorded, without `Host`.
    pub headers: HeaderMap,
    /// The body.
    pub body: GivenBody,
    /// Who it was.
    pub caller: Caller,
    /// What is missing.
    pub lacks: Lacks,
    /// What became of it, where the source tells.
    pub recorded: Option<Recorded>,
    /// What its judges read, where it is from a capture.
    pub taken: Option<Box<Taken>>,
}

/// What judges read of a captured request beside what a log tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// The protocol version.
    pub version: Version,
    /// Our end of the connection.
    pub local: SocketAddr,
    /// The name that a TLS client asked for.
    pub server_name: Option<Arc<str>>,
    /// When its head was complete, on the clock of the limit cells.
    pub received: Nanos,
    /// What that clock showed when limits were asked.
    pub limit: Option<Nanos>,
    /// What decided between backends.
    pub draw: Option<u64>,
    /// What limit cells held before.
    pub cells: Vec<CellReading>,
    /// Which credentials came with it, if that was recorded.
    pub presented: Option<Presented>,
    /// The client's certificate.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// The caller's share (0–99), where it does not follow from a key or an address.
    pub share: Option<u8>,
}

/// Which credentials came with a request, by their places alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presented {
    /// Schemes of `Authorization`, lower-case; one that is not `bearer` or `basic` is `other`.
    pub schemes: Vec<Box<str>>,
    /// Other headers that carry secrets, lower-case; `cookie` for any cookie.
    pub headers: Vec<Box<str>>,
}

impl Presented {
    /// Whether there was none.
    pub const fn is_empty(&self) -> bool {
        self.schemes.is_empty() && self.headers.is_empty()
    }

    /// Whether `Authorization` had this scheme.
    pub fn has_scheme(&self, scheme: &str) -> bool {
        self.schemes.iter().any(|one| **one == *scheme)
    }

    /// Whether this header was there; it has a lower-case name.
    pub fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|one| **one == *name)
    }
}

/// What a source knows of a caller.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Caller {
    /// Nothing: there may have been a credential or not.
    #[default]
    Unknown,
    /// A credential was looked for and there was none of the kinds that were taken then. Of others nothing is known.
    Missing,
    /// There was no credential of any kind.
    Nobody,
    /// There was an API key, and this is known of it.
    Key {
        /// Its public id.
        key: KeyId,
        /// The consumer that it was made for; of a key that was refused it may not be known.
        consumer: Option<Arc<str>>,
        /// What was the matter with it.
        flaw: Option<InvalidKind>,
    },
    /// The request was verified to be this consumer's, by other means than an API key.
    Other(Option<Arc<str>>),
    /// There was a genuine token, which says this; the consumer it was taken for.
    Token(Arc<GivenToken>, Option<Arc<str>>),
    /// There were a name and a password that belong together.
    User(Arc<str>),
    /// There was a certificate, which is in [`Taken::certificate`]; the consumer it was taken for.
    Certificate(Option<Arc<str>>),
    /// There was a credential of another kind than an API key, and it was refused.
    Refused(Arc<GivenRefusal>),
}

impl Caller {
    /// The consumer, for the table by consumer.
    pub fn consumer(&self) -> Option<&Arc<str>> {
        match self {
            Caller::Key { consumer, .. }
            | Caller::Other(consumer)
            | Caller::Token(_, consumer)
            | Caller::Certificate(consumer) => consumer.as_ref(),
            Caller::User(consumer) => Some(consumer),
            Caller::Unknown | Caller::Missing | Caller::Nobody | Caller::Refused(_) => None,
        }
    }
}

/// What a source leaves out. The default leaves out nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// Most headers.
    pub headers: bool,
    /// The values of query parameters, or all of the query.
    pub query: bool,
    /// The client's whole address.
    pub client: bool,
    /// The path was cut, or has bytes that the source does not show.
    pub path: bool,
    /// The head was refused before it was understood, so that it is not what it shows.
    pub head: bool,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It passed, as far as the gateway decided.
    Passed {
        /// The route.
        route: Option<Arc<str>>,
        /// The upstream, where one was chosen.
        upstream: Option<Arc<str>>,
        /// Whether the gateway answered by itself; `None` where that cannot be told.
        answered: Option<bool>,
    },
    /// It was refused.
    Refused {
        /// Where.
        stage: Option<Stage>,
        /// Why.
        reason: Box<str>,
        /// By which policy.
        policy: Option<Arc<str>>,
        /// The route, if it got as far.
        route: Option<Arc<str>>,
    },
    /// Only the status of another gateway or service is known.
    Status(u16),
}

impl Recorded {
    /// The recorded route.
    pub const fn route(&self) -> Option<&Arc<str>> {
        match self {
            Recorded::Passed { route, .. } | Recorded::Refused { route, .. } => route.as_ref(),
            Recorded::Status(_) => None,
        }
    }
}

/// Why something cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The body was not recorded.
    Body,
    /// How many calls were running was not recorded.
    CallsRunning,
    /// The caller's share of a partly enforced policy was not recorded.
    CallerShare,
    /// The client's address was not recorded, or not whole.
    ClientAddress,
    /// Nothing is known of the credential, or not enough.
    Credential,
    /// The head is not shown as it was sent.
    Head,
    /// Headers were not recorded.
    Headers,
    /// The listener is not in the set.
    Listener,
    /// A model is chosen after the rehearsed stages.
    Model,
    /// The path was cut.
    Path,
    /// The query's values were masked or not recorded.
    Query,
    /// What became of it before was not recorded.
    RecordedOutcome,
}

impl Cause {
    /// The words in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::Body => "no body",
            Cause::CallsRunning => "calls running not known",
            Cause::CallerShare => "caller's share not known",
            Cause::ClientAddress => "client address not known",
            Cause::Credential => "no credential facts",
            Cause::Head => "head not as it was sent",
            Cause::Headers => "headers not recorded",
            Cause::Listener => "listener not in the set",
            Cause::Model => "chosen model not known",
            Cause::Path => "path not whole",
            Cause::Query => "masked query values",
            Cause::RecordedOutcome => "outcome not recorded",
        }
    }
}
