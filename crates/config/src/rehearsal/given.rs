//! What a rehearsed request brings along: everything that a judge reads, and that documents do not say.

use std::{fmt, net::SocketAddr, sync::Arc};

use bartizan_identity::{ClientCertificate, InvalidKind, KeyId, Method as Means, jwt::TokenFacts};
use bartizan_limit::Nanos;
use bartizan_model::Reason;
use bytes::Bytes;
use http::{HeaderMap, Method, Uri, Version};

/// A request and the facts around it.
#[derive(Clone, Debug)]
pub struct Given {
    /// The listener it comes to, by name. One that the snapshot does not have publishes nothing.
    pub listener: Arc<str>,
    /// The other end of the connection, or whom a PROXY protocol header named.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// TLS, if it is spoken.
    pub tls: Option<GivenTls>,
    /// The protocol version.
    pub version: Version,
    /// The method as sent.
    pub method: Method,
    /// The target as sent: a path, or in HTTP/2 scheme, authority and path.
    pub target: Uri,
    /// The headers as sent.
    pub headers: HeaderMap,
    /// The body.
    pub body: GivenBody,
    /// When its head was complete.
    pub received: Moment,
    /// Later readings of the clocks; those that are absent are as `received`.
    pub readings: Readings,
    /// The credential.
    pub credential: Credential,
    /// The caller's share (0–99); it follows from key or address where absent.
    pub share: Option<u8>,
    /// What decides between backends; drawn where absent.
    pub draw: Option<u64>,
    /// What limit cells held before this request; those that are absent hold what earlier requests of the stage left.
    pub cells: Vec<CellReading>,
    /// Whether the call goes on while those after it are judged. Until `reset` it holds its permits.
    pub keeps_running: bool,
}

/// What a TLS handshake settled, as far as it is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenTls {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The name that the client asked for, lower-case.
    pub server_name: Option<Arc<str>>,
    /// The client's certificate, verified. A listener that asks for none does not see it.
    pub client: Option<Arc<ClientCertificate>>,
}

/// The body of a request.
#[derive(Clone, Default)]
pub enum GivenBody {
    /// There is none.
    #[default]
    Absent,
    /// All of it.
    Whole(Bytes),
    /// There is one, and it is not known: what needs it cannot be judged.
    Withheld,
}

impl fmt::Debug for GivenBody {
    /// Tells the size only: a body may hold anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GivenBody::Absent => f.write_str("Absent"),
            GivenBody::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            GivenBody::Withheld => f.write_str("Withheld"),
        }
    }
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Wall clock: nanoseconds since 1970.
    pub unix_nanos: u64,
    /// The clock of the limit cells.
    pub monotonic: Nanos,
}

/// The readings that stages after `admit` take for themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// In `identify`, where keys and tokens begin and end.
    pub identify_unix_ms: Option<u64>,
    /// In `authorize`, for conditions on the time.
    pub authorize_unix_ms: Option<u64>,
    /// In `limit`.
    pub limit: Option<Nanos>,
}

/// How the caller's credential is judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Credential {
    /// From the headers, as in live traffic.
    #[default]
    AsSent,
    /// None was presented, whatever the headers say.
    Absent,
    /// An API key whose judgement is known. A route that takes no API keys does not look at it.
    ApiKey {
        /// Its public id.
        key: KeyId,
        /// The consumer that it was made for.
        consumer: Arc<str>,
        /// What is the matter with it; nothing where it is valid.
        flaw: Option<InvalidKind>,
    },
    /// A genuine token, and what it says. A route that takes none of its kind does not look at it.
    Token(Arc<GivenToken>),
    /// A name and a password that belong together. A route that takes none does not look at it.
    User(Arc<str>),
    /// A credential that was refused, whatever it was.
    Refused(Arc<GivenRefusal>),
}

/// A genuine token.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenToken {
    /// How it was judged: `Jwt`, `Introspection` or `OpenIdConnect`. Nothing: by whatever method takes its issuer.
    pub means: Option<Means>,
    /// Whether it has the form of a signed one.
    pub is_signed_form: bool,
    /// What it says.
    pub facts: TokenFacts,
}

/// A credential that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenRefusal {
    /// Of which kind it was. A route that takes none of that kind does not look at it.
    pub means: Means,
    /// What it was refused with.
    pub reason: Reason,
    /// What the record was told.
    pub detail: Box<str>,
}

impl GivenRefusal {
    /// Whether a method of this kind would have looked at it. Of a token that was refused no record tells whether it was judged
    /// or its issuer asked.
    pub fn is_of(&self, means: Means) -> bool {
        let is_token = |means: Means| matches!(means, Means::Jwt | Means::Introspection);
        self.means == means || (is_token(self.means) && is_token(means))
    }
}

/// What one limit's cell held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellReading {
    /// The policy, as `Kind/name`.
    pub policy: Arc<str>,
    /// Which of its limits.
    pub limit: usize,
    /// Whether it is the cell of the policy's shadow.
    pub shadow: bool,
    /// The word: a time on the clock of the cells, or a count of permits.
    pub word: u64,
    /// The bound of the rate that wrote it, where that was another than the policy's own.
    pub bound: Option<u64>,
}
