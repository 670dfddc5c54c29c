//! TLS on a listener: prepared before a reload takes effect, handshaken within bounds.
//!
//! rustls with an explicit provider, no process default. Preparing reads the files, checks that key and chain belong
//! together and reports every problem at once; a listener that cannot be prepared drops the whole reload. In the
//! handshake the client hello is read first, cheaply; only then a place among the concurrent handshakes of the core is
//! taken, so silent clients hold none, and a name that nobody serves costs no cryptography.

use std::{fmt, io, sync::Arc, time::Duration};

use bartizan_config::snapshot::{CertificatePlan, HostPattern, ListenerPlan, TlsPlan, TlsVersion};
use bartizan_identity::ClientCertificate;
use bartizan_model::{Reference, SecretValue};
use rustls::{
    AlertDescription, CertificateError, ServerConfig, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{Acceptor, NoServerSessionStorage},
    sign::CertifiedKey,
};
use tokio::{
    io::AsyncWriteExt,
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use super::{
    Refused, TlsFacts,
    certificate::{CertificateFacts, Certificates},
    client::{self, PreparedClients},
    socket::Socket,
    ticket::{TicketKeys, TlsTrust},
};

/// A listener's TLS, ready to accept.
#[derive(Clone)]
pub struct PreparedTls {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    trust: TlsTrust,
    facts: Arc<[CertificateFacts]>,
}

impl fmt::Debug for PreparedTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedTls").field("trust", &self.trust).field("facts", &self.facts).finish()
    }
}

impl PreparedTls {
    /// What is known of the certificates, in the plan's order; for metrics and `status`.
    pub fn certificates(&self) -> &[CertificateFacts] {
        &self.facts
    }

    /// What a handshake proves; connections made under another trust finish and close.
    pub fn trust(&self) -> TlsTrust {
        self.trust
    }
}

/// Reads certificates and keys and builds the TLS configuration of `listener`. `None` for a clear-text listener.
///
/// Fails with every problem found, as sentences for the operator; no secret is in them.
pub fn prepare_tls(
    listener: &ListenerPlan,
    tickets: &TicketKeys,
    read_secret: &dyn Fn(&Reference) -> Result<SecretValue, String>,
) -> Result<Option<PreparedTls>, Vec<String>> {
    let Some(plan) = &listener.tls else { return Ok(None) };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut problems = Vec::new();
    let mut certificates = Certificates::default();
    let mut facts = Vec::new();
    if plan.certificates.is_empty() {
        problems.push("a TLS listener needs at least one certificate".to_owned());
    }
    for (index, wanted) in plan.certificates.iter().enumerate() {
        match read_certificate(wanted, &provider, read_secret) {
            Ok((key, mut fact)) => {
                let key = Arc::new(key);
                if index == 0 && wanted.hostnames.is_empty() {
                    certificates.set_default(&key);
                }
                problems.extend(add_names(&mut certificates, wanted, &mut fact, &key));
                facts.push(fact);
            }
            Err(found) => problems.extend(found),
        }
    }
    let clients = match plan.clients.as_ref().map(|clients| client::prepare(clients, &provider, read_secret))
    {
        Some(Ok(clients)) => Some(clients),
        Some(Err(found)) => {
            problems.extend(found);
            None
        }
        None => None,
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    let certificates = Arc::new(certificates);
    let trust = TlsTrust { minimum: plan.minimum, clients: clients.as_ref().map(|clients| clients.trust) };
    let ready = Ready { provider, certificates: &certificates, clients, trust };
    let config = configure(listener, plan, ready, tickets).map_err(|problem| vec![problem])?;
    Ok(Some(PreparedTls { config: Arc::new(config), certificates, trust, facts: facts.into() }))
}

/// What was read for a listener.
struct Ready<'r> {
    provider: Arc<rustls::crypto::CryptoProvider>,
    certificates: &'r Arc<Certificates>,
    clients: Option<PreparedClients>,
    trust: TlsTrust,
}

fn configure(
    listener: &ListenerPlan,
    plan: &TlsPlan,
    ready: Ready<'_>,
    tickets: &TicketKeys,
) -> Result<ServerConfig, String> {
    let Ready { provider, certificates, clients, trust } = ready;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(plan.minimum))
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let resumes = clients.is_none();
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients.verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::clone(certificates) as _);
    config.alpn_protocols = match listener.http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    // Sessions live in tickets only: a server-side store would be per core and would miss on every other one.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // RFC 8446 §8: early data can be replayed, so none is taken.
    config.max_early_data_size = 0;
    if !resumes {
        // A resumed session would carry a certificate past its authority's, its list's or its own end (CVE-2025-23419
        // and its like): every connection of such a listener proves itself. Without tickets and store none is resumed.
        config.send_tls13_tickets = 0;
        return Ok(config);
    }
    config.ticketer = tickets
        .get(&listener.name, trust)
        .map_err(|error| format!("no TLS ticket keys can be made: {error}"))?;
    // One per handshake is enough: a resumed session brings the next, and each costs a sealing.
    config.send_tls13_tickets = 1;
    Ok(config)
}

fn add_names(
    certificates: &mut Certificates,
    wanted: &CertificatePlan,
    fact: &mut CertificateFacts,
    key: &Arc<CertifiedKey>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for pattern in &wanted.hostnames {
        if !fact.hostnames.is_empty() && !fact.covers(pattern) {
            problems.push(format!("{}: the certificate is not valid for {}", wanted.chain, Shown(pattern)));
        }
        if !certificates.add_given(pattern, key) {
            problems.push(format!("{}: another certificate already serves {}", wanted.chain, Shown(pattern)));
        }
    }
    match wanted.hostnames.is_empty() {
        // Two certificates may state the same name; the first one serves it.
        true => fact.hostnames.iter().for_each(|pattern| certificates.add_stated(pattern, key)),
        false => fact.hostnames.clone_from(&wanted.hostnames),
    }
    problems
}

fn read_certificate(
    wanted: &CertificatePlan,
    provider: &rustls::crypto::CryptoProvider,
    read_secret: &dyn Fn(&Reference) -> Result<SecretValue, String>,
) -> Result<(CertifiedKey, CertificateFacts), Vec<String>> {
    let chain = read_chain(&wanted.chain, read_secret);
    let key = read_key(&wanted.key, read_secret);
    let (chain, key) = match (chain, key) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err([chain.err(), key.err()].into_iter().flatten().collect()),
    };
    let facts = match chain.first() {
        Some(leaf) => {
            CertificateFacts::of(leaf).map_err(|problem| vec![format!("{}: {problem}", wanted.chain)])?
        }
        None => return Err(vec![format!("{}: there is no certificate in it", wanted.chain)]),
    };
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        vec![match error {
            rustls::Error::InconsistentKeys(_) => {
                format!("{}: the key does not belong to the certificate in {}", wanted.key, wanted.chain)
            }
            error => format!("{}: the key cannot be used: {error}", wanted.key),
        }]
    })?;
    Ok((certified, facts))
}

fn read_chain(
    from: &Reference,
    read_secret: &dyn Fn(&Reference) -> Result<SecretValue, String>,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read_secret(from).map_err(|error| format!("{from}: {error}"))?;
    let chain = CertificateDer::pem_slice_iter(pem.expose())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{from}: the certificates are not valid PEM: {error}"))?;
    match chain.is_empty() {
        true => Err(format!("{from}: there is no certificate in it")),
        false => Ok(chain),
    }
}

fn read_key(
    from: &Reference,
    read_secret: &dyn Fn(&Reference) -> Result<SecretValue, String>,
) -> Result<PrivateKeyDer<'static>, String> {
    let pem = read_secret(from).map_err(|error| format!("{from}: {error}"))?;
    // The reader's own error could quote the key, so it is not shown.
    PrivateKeyDer::from_pem_slice(pem.expose()).map_err(|_| format!("{from}: there is no private key in it"))
}

static MODERN: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
static ALL: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

fn versions(minimum: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match minimum {
        TlsVersion::Tls12 => &ALL,
        TlsVersion::Tls13 => &MODERN,
    }
}

/// Handshakes with a client until `deadline`.
pub(crate) async fn accept(
    prepared: &PreparedTls,
    places: &Semaphore,
    socket: Socket,
    limit: Duration,
) -> Result<(TlsStream<Socket>, TlsFacts), Refused> {
    let deadline = Instant::now() + limit;
    match timeout_at(deadline, handshake(prepared, places, socket)).await {
        Ok(result) => result,
        Err(_) => Err(Refused::TlsTimeout),
    }
}

async fn handshake(
    prepared: &PreparedTls,
    places: &Semaphore,
    socket: Socket,
) -> Result<(TlsStream<Socket>, TlsFacts), Refused> {
    let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), socket);
    let start = (&mut acceptor).await.map_err(|error| refused(&error))?;
    let name: Option<Arc<str>> =
        start.client_hello().server_name().map(|name| name.to_ascii_lowercase().into());
    if prepared.certificates.find(name.as_deref()).is_none() {
        let (why, alert) = match name {
            // RFC 6066 §3: a name that is not recognised is answered with a fatal unrecognized_name.
            Some(_) => (Refused::TlsNameUnknown, AlertDescription::UnrecognisedName),
            // RFC 8446 §9.2: a server that needs a name says that the extension is missing.
            None => (Refused::TlsNameMissing, AlertDescription::MissingExtension),
        };
        let mut socket = start.io;
        // Best effort, and before any key is agreed, so the record is in the clear: level fatal, one alert.
        let _ = socket.write_all(&[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, u8::from(alert)]).await;
        let _ = socket.shutdown().await;
        return Err(why);
    }
    // Never closed, so this only waits; the deadline bounds it.
    let _place = places.acquire().await.map_err(|_| Refused::TlsTimeout)?;
    let stream = start.into_stream(Arc::clone(&prepared.config)).await.map_err(|error| refused(&error))?;
    let facts = facts(&stream, name, prepared.trust)?;
    Ok((stream, facts))
}

fn facts(
    stream: &TlsStream<Socket>,
    server_name: Option<Arc<str>>,
    trust: TlsTrust,
) -> Result<TlsFacts, Refused> {
    let (_, tls) = stream.get_ref();
    // Only a listener that asks for certificates gets one, and then its verifier has accepted it.
    let client = match tls.peer_certificates().and_then(<[_]>::first).filter(|_| trust.clients.is_some()) {
        Some(leaf) => {
            Some(Arc::new(ClientCertificate::read(leaf).map_err(|_| Refused::TlsCertificateUnreadable)?))
        }
        None => None,
    };
    Ok(TlsFacts {
        version: match tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "unknown",
        },
        server_name,
        alpn: match tls.alpn_protocol() {
            Some(b"h2") => Some("h2"),
            Some(b"http/1.1") => Some("http/1.1"),
            _ => None,
        },
        cipher: tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("unknown"),
        resumed: tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        client,
        trust,
    })
}

fn refused(error: &io::Error) -> Refused {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(_)) => Refused::TlsClientAlert,
        Some(rustls::Error::NoCertificatesPresented) => Refused::TlsCertificateMissing,
        Some(rustls::Error::InvalidCertificate(why)) => refused_certificate(why),
        Some(rustls::Error::InvalidCertRevocationList(_)) => Refused::TlsCertificateRevocationUnknown,
        Some(rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol) => {
            Refused::TlsIncompatible
        }
        Some(_) => Refused::TlsMalformed,
        None => Refused::TlsBroken,
    }
}

fn refused_certificate(why: &CertificateError) -> Refused {
    match why {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Refused::TlsCertificateExpired,
        CertificateError::Revoked => Refused::TlsCertificateRevoked,
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => Refused::TlsCertificateRevocationUnknown,
        _ => Refused::TlsCertificateUntrusted,
    }
}

/// A pattern as documents write it.
struct Shown<'a>(&'a HostPattern);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            HostPattern::Exact(name) => f.write_str(name),
            HostPattern::Suffix(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

/// Concurrent handshakes per core, counted from the complete client hello. Each holds about 20 KiB; more than this
/// many in progress would only make all of them late.
pub(crate) const HANDSHAKES_MAX: usize = 512;
