//! TLS of the management listener: one certificate, read when the gateway starts and again when it is told to.
//!
//! TLS 1.2 or newer by the defaults of rustls, HTTP/1.1 alone. No session is resumed: people and pipelines make few
//! connections, and a ticket would be one more key to keep. A certificate that cannot be read anew leaves the old one.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::NoServerSessionStorage,
};

/// What the listener speaks TLS by.
#[derive(Debug)]
pub struct Tls(RwLock<Arc<ServerConfig>>);

impl Tls {
    /// TLS with a chain and its key, both PEM.
    ///
    /// # Errors
    /// What is wrong with them, without a word of the key.
    pub fn new(chain: &[u8], key: &[u8]) -> Result<Self, String> {
        configure(chain, key).map(|config| Tls(RwLock::new(Arc::new(config))))
    }

    /// Speaks by another chain and key from the next connection on.
    ///
    /// # Errors
    /// As [`Tls::new`]; then everything stays.
    pub fn renew(&self, chain: &[u8], key: &[u8]) -> Result<(), String> {
        let config = Arc::new(configure(chain, key)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    pub(crate) fn now(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn configure(chain: &[u8], key: &[u8]) -> Result<ServerConfig, String> {
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("the certificates are not valid PEM: {error}"))?;
    if chain.is_empty() {
        return Err("there is no certificate in the file".to_owned());
    }
    // The reader's own error could quote the key, so it is not shown.
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "there is no private key in PEM".to_owned())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => "the key does not belong to the certificate".to_owned(),
            error => format!("the key cannot be used: {error}"),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
