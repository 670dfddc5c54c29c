//! Whom the fetching thread trusts: the system's roots, or a bundle that a document names.

use std::sync::{Arc, OnceLock};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Why nobody can be trusted; a sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TrustError(String);

/// The system's roots, read when they are first needed.
#[derive(Default)]
pub(super) struct SystemTrust(OnceLock<Result<Arc<ClientConfig>, TrustError>>);

impl SystemTrust {
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, TrustError> {
        self.0.get_or_init(trusting_system).clone()
    }
}

/// A client configuration that trusts the system's roots.
///
/// # Errors
///
/// When the system has none.
pub fn trusting_system() -> Result<Arc<ClientConfig>, TrustError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    // Old roots that no longer parse are common and harmless.
    store.add_parsable_certificates(found.certs);
    configure(store)
}

/// A client configuration that trusts the authorities in a PEM bundle, and nobody else.
///
/// # Errors
///
/// When the bundle holds none, or one that cannot be used.
pub fn trusting(pem: &[u8]) -> Result<Arc<ClientConfig>, TrustError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| TrustError(format!("not a PEM bundle: {error}")))?;
        store
            .add(certificate)
            .map_err(|error| TrustError(format!("a certificate of the bundle: {error}")))?;
    }
    configure(store)
}

fn configure(store: RootCertStore) -> Result<Arc<ClientConfig>, TrustError> {
    if store.is_empty() {
        return Err(TrustError("there is no trusted root certificate".to_owned()));
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| TrustError(error.to_string()))?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
