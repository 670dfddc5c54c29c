//! TLS toward upstreams: which roots are trusted, which name is asked for, which protocol is offered.
//!
//! The crypto provider is given explicitly: with two compiled in, a process-wide default would be a panic. Each
//! upstream has a configuration of its own, so sessions are never resumed across upstreams; a connection's identity
//! is the name, the roots and the protocol together, and pools are keyed by it.

use std::sync::Arc;

use ::aws_lc_rs::digest;
use bartizan_config::snapshot::upstream::{
    ClientIdentityPlan, EndpointAddress, UpstreamPlan, UpstreamProtocol, UpstreamTlsPlan,
};
use bartizan_model::{Reference, SecretValue};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

/// A prepared client configuration and what makes it that one.
#[derive(Debug)]
pub(super) struct TlsClient {
    pub(super) config: Arc<ClientConfig>,
    /// Kept to see at the next reload whether anything changed.
    identity: TlsIdentity,
}

/// Connections of different identities are never mixed (two are the same only if all of this is equal).
#[derive(Debug, PartialEq)]
struct TlsIdentity {
    plan: UpstreamTlsPlan,
    protocol: UpstreamProtocol,
    roots: Vec<CertificateDer<'static>>,
    client: Option<ClientIdentity>,
}

/// The gateway's own certificate, and which key goes with it.
#[derive(Debug, PartialEq)]
struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    /// Of the key: enough to see that it changed.
    key_digest: [u8; 32],
}

/// The system's roots, read at most once per `prepare`.
#[derive(Default)]
pub(super) struct SystemRoots(Option<Result<Vec<CertificateDer<'static>>, String>>);

impl SystemRoots {
    fn read(&mut self) -> Result<Vec<CertificateDer<'static>>, String> {
        self.0
            .get_or_insert_with(|| {
                let found = rustls_native_certs::load_native_certs();
                match found.errors.first() {
                    // Some unreadable file among many good ones is no reason to refuse; nothing at all is.
                    Some(error) if found.certs.is_empty() => Err(format!("no system roots: {error}")),
                    None if found.certs.is_empty() => Err("the system has no trusted roots".to_owned()),
                    _ => Ok(found.certs),
                }
            })
            .clone()
    }
}

/// Builds the client configuration of `plan`, or takes over `previous` where nothing changed (its sessions too).
/// Fails with the field at fault and a message.
pub(super) fn prepare(
    plan: &UpstreamPlan,
    tls: &UpstreamTlsPlan,
    secrets: &dyn Fn(&Reference) -> Result<SecretValue, String>,
    system: &mut SystemRoots,
    previous: Option<&Arc<TlsClient>>,
) -> Result<Arc<TlsClient>, (&'static str, String)> {
    let authorities = "tls.certificateAuthorities";
    let roots = match &tls.authorities {
        _ if tls.danger_accept_any_certificate => Vec::new(),
        Some(reference) => bundle(secrets, reference).map_err(|message| (authorities, message))?,
        None => system.read().map_err(|message| (authorities, message))?,
    };
    let certificate = "tls.clientCertificate";
    let (client, key) = match &tls.client {
        Some(client) => {
            let (client, key) = client_identity(secrets, client).map_err(|message| (certificate, message))?;
            (Some(client), Some(key))
        }
        None => (None, None),
    };
    let identity = TlsIdentity { plan: tls.clone(), protocol: plan.protocol, roots, client };
    if let Some(previous) = previous.filter(|previous| previous.identity == identity) {
        return Ok(Arc::clone(previous));
    }
    let config = configure(&identity, key)?;
    Ok(Arc::new(TlsClient { config: Arc::new(config), identity }))
}

/// The name an endpoint must prove: the plan's, else the endpoint's host.
pub(super) fn server_name(
    tls: &UpstreamTlsPlan,
    address: &EndpointAddress,
) -> Result<ServerName<'static>, String> {
    let name = match (&tls.server_name, address) {
        (Some(name), _) => name,
        (None, EndpointAddress::Name(name, _)) => name,
        (None, EndpointAddress::Socket(socket)) => return Ok(ServerName::IpAddress(socket.ip().into())),
    };
    ServerName::try_from(name.to_string()).map_err(|_| format!("`{name}` cannot stand in a certificate"))
}

fn bundle(
    secrets: &dyn Fn(&Reference) -> Result<SecretValue, String>,
    reference: &Reference,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = secrets(reference)?;
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.expose()).collect();
    match roots {
        Ok(roots) if roots.is_empty() => Err(format!("{reference} holds no PEM certificate")),
        Ok(roots) => Ok(roots),
        Err(error) => Err(format!("{reference} is not a PEM bundle: {error}")),
    }
}

fn client_identity(
    secrets: &dyn Fn(&Reference) -> Result<SecretValue, String>,
    plan: &ClientIdentityPlan,
) -> Result<(ClientIdentity, PrivateKeyDer<'static>), String> {
    let chain = bundle(secrets, &plan.chain)?;
    let pem = secrets(&plan.key)?;
    // The reader's own error could quote the key, so it is not shown.
    let key = PrivateKeyDer::from_pem_slice(pem.expose())
        .map_err(|_| format!("{}: there is no private key in it", plan.key))?;
    let mut key_digest = [0; 32];
    key_digest.copy_from_slice(digest::digest(&digest::SHA256, key.secret_der()).as_ref());
    Ok((ClientIdentity { chain, key_digest }, key))
}

fn configure(
    identity: &TlsIdentity,
    key: Option<PrivateKeyDer<'static>>,
) -> Result<ClientConfig, (&'static str, String)> {
    let authorities = |message| ("tls.certificateAuthorities", message);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| authorities(error.to_string()))?;
    let builder = if identity.plan.danger_accept_any_certificate {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny { provider }))
    } else {
        builder.with_root_certificates(store(identity).map_err(authorities)?)
    };
    let mut config = match (&identity.client, key) {
        (Some(client), Some(key)) => {
            builder.with_client_auth_cert(client.chain.clone(), key).map_err(|error| {
                ("tls.clientCertificate", format!("key and certificate do not belong together: {error}"))
            })?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = match identity.protocol {
        UpstreamProtocol::Http1 => vec![b"http/1.1".to_vec()],
        UpstreamProtocol::Http2 => vec![b"h2".to_vec()],
    };
    Ok(config)
}

fn store(identity: &TlsIdentity) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    if identity.plan.authorities.is_some() {
        // The operator's own bundle: each certificate must be usable.
        for root in &identity.roots {
            store.add(root.clone()).map_err(|error| format!("a certificate of the bundle: {error}"))?;
        }
    } else {
        // The system's: old roots that no longer parse are common and harmless.
        store.add_parsable_certificates(identity.roots.iter().cloned());
    }
    if store.is_empty() { Err("no usable root certificate".to_owned()) } else { Ok(store) }
}

/// Accepts any certificate; the handshake's signatures are still checked, so the peer at least owns the key it shows.
/// Only built where the document says `danger_accept_any_certificate`, which is listed as an exposure.
#[derive(Debug)]
struct AcceptAny {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
