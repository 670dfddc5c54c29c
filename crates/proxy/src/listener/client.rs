//! Certificates of clients: which authorities a listener trusts, what it holds against revocation lists.
//!
//! webpki verifies; what stands around it is what webpki leaves to its caller: authorities that have expired no longer
//! vouch, a chain has a longest length, and a bundle may hold authorities only. A listener that asks for certificates
//! resumes no session, so each connection proves itself, and the digest over authorities, lists and settings is part of
//! its [`TlsTrust`](super::ticket::TlsTrust): when one byte of them changes, its connections finish and close.

use std::sync::Arc;

use aws_lc_rs::digest;
use bartizan_config::snapshot::{ClientAuthenticationPlan, RevocationPlan};
use bartizan_model::{Reference, SecretValue};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime, pem::PemObject},
    server::{
        ClientCertVerifierBuilder, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

/// What a listener holds against certificates of clients; the digest of everything that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientTrust {
    digest: [u8; 32],
}

/// The verifier of a listener, and what makes it that one.
pub(super) struct PreparedClients {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    pub(super) trust: ClientTrust,
}

type Secrets<'a> = &'a dyn Fn(&Reference) -> Result<SecretValue, String>;

/// Reads authorities and lists and builds the verifier. Fails with every problem found.
pub(super) fn prepare(
    plan: &ClientAuthenticationPlan,
    provider: &Arc<CryptoProvider>,
    secrets: Secrets<'_>,
) -> Result<PreparedClients, Vec<String>> {
    let mut problems = Vec::new();
    let mut authorities = Vec::new();
    for reference in &plan.authorities {
        match read_authorities(reference, secrets) {
            Ok(found) => authorities.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    let mut lists = Vec::new();
    for reference in plan.revocation.iter().flat_map(|revocation| &revocation.lists) {
        match read_lists(reference, secrets) {
            Ok(found) => lists.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let trust = ClientTrust { digest: digest_of(plan, &authorities, &lists) };
    let rules = Rules {
        required: plan.required,
        revocation: plan.revocation.clone(),
        lists,
        provider: Arc::clone(provider),
    };
    let all = rules.verifier(authorities.iter()).map_err(|problem| vec![problem])?;
    let first_end = authorities.iter().map(|authority| authority.not_after).min().unwrap_or(i64::MIN);
    let intermediates_max = plan.intermediates_max;
    let verifier = Arc::new(ClientVerifier { all, first_end, authorities, rules, intermediates_max });
    Ok(PreparedClients { verifier, trust })
}

/// A trusted authority.
#[derive(Debug)]
struct TrustedAuthority {
    der: CertificateDer<'static>,
    /// Its last second, since the Unix epoch.
    not_after: i64,
}

fn read_authorities(reference: &Reference, secrets: Secrets<'_>) -> Result<Vec<TrustedAuthority>, String> {
    let pem = secrets(reference).map_err(|error| format!("{reference}: {error}"))?;
    let bundle = CertificateDer::pem_slice_iter(pem.expose())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{reference}: the certificates are not valid PEM: {error}"))?;
    if bundle.is_empty() {
        return Err(format!("{reference}: there is no certificate in it"));
    }
    (bundle.into_iter().enumerate())
        .map(|(at, der)| {
            read_authority(der).map_err(|problem| format!("{reference}: certificate {}: {problem}", at + 1))
        })
        .collect()
}

fn read_authority(der: CertificateDer<'static>) -> Result<TrustedAuthority, String> {
    let (rest, parsed) =
        x509_parser::parse_x509_certificate(&der).map_err(|error| format!("it cannot be read: {error}"))?;
    if !rest.is_empty() {
        return Err("it is followed by other data".to_owned());
    }
    // RFC 5280 §4.2.1.9: in version 3 only this extension makes a key one that may sign certificates. Without the check
    // a leaf in the bundle would become an authority.
    if parsed.version().0 >= 2 && !parsed.is_ca() {
        return Err("it is not the certificate of an authority".to_owned());
    }
    let not_after = parsed.validity().not_after.timestamp();
    Ok(TrustedAuthority { der, not_after })
}

fn read_lists(
    reference: &Reference,
    secrets: Secrets<'_>,
) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let pem = secrets(reference).map_err(|error| format!("{reference}: {error}"))?;
    let lists = CertificateRevocationListDer::pem_slice_iter(pem.expose())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{reference}: the revocation lists are not valid PEM: {error}"))?;
    for (at, list) in lists.iter().enumerate() {
        x509_parser::parse_x509_crl(list)
            .map_err(|_| format!("{reference}: revocation list {} cannot be read", at + 1))?;
    }
    match lists.is_empty() {
        // An empty file must not read as "nobody is revoked".
        true => Err(format!("{reference}: there is no revocation list in it")),
        false => Ok(lists),
    }
}

/// Every byte that decides. Each part carries its length, so that no two different sets are the same bytes.
fn digest_of(
    plan: &ClientAuthenticationPlan,
    authorities: &[TrustedAuthority],
    lists: &[CertificateRevocationListDer<'static>],
) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut part = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    let flags = plan.revocation.as_ref().map_or([9; 3], |revocation| {
        [revocation.whole_chain.into(), revocation.allow_unknown.into(), revocation.allow_expired.into()]
    });
    part(&[plan.required.into(), flags[0], flags[1], flags[2]]);
    part(&(plan.intermediates_max as u64).to_be_bytes());
    authorities.iter().for_each(|authority| part(&authority.der));
    part(b"lists");
    lists.iter().for_each(|list| part(list));
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// How a verifier is built from authorities.
#[derive(Debug)]
struct Rules {
    required: bool,
    revocation: Option<RevocationPlan>,
    lists: Vec<CertificateRevocationListDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Rules {
    fn verifier<'a>(
        &self,
        authorities: impl Iterator<Item = &'a TrustedAuthority>,
    ) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots
                .add(authority.der.clone())
                .map_err(|error| format!("an authority cannot be trusted: {error}"))?;
        }
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider));
        let builder = match self.required {
            true => builder,
            false => builder.allow_unauthenticated(),
        };
        let built = self.revoking(builder).build();
        built.map_err(|error| format!("client certificates cannot be verified: {error}"))
    }

    fn revoking(&self, builder: ClientCertVerifierBuilder) -> ClientCertVerifierBuilder {
        let Some(revocation) = &self.revocation else { return builder };
        let mut builder = builder.with_crls(self.lists.iter().cloned());
        if !revocation.whole_chain {
            builder = builder.only_check_end_entity_revocation();
        }
        if revocation.allow_unknown {
            builder = builder.allow_unknown_revocation_status();
        }
        if !revocation.allow_expired {
            builder = builder.enforce_revocation_expiration();
        }
        builder
    }
}

/// webpki's verifier, and what it leaves to its caller.
#[derive(Debug)]
struct ClientVerifier {
    /// Over all authorities; right until the first of them ends.
    all: Arc<dyn ClientCertVerifier>,
    first_end: i64,
    authorities: Vec<TrustedAuthority>,
    rules: Rules,
    intermediates_max: usize,
}

impl ClientCertVerifier for ClientVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.rules.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.all.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Counted before a signature is checked: the length of the chain is the client's choice.
        if intermediates.len() > self.intermediates_max {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if seconds <= self.first_end {
            return self.all.verify_client_cert(end_entity, intermediates, now);
        }
        // webpki does not look at the times of trust anchors. From the first end on they are sorted anew for each
        // handshake: slow, right, and over when the operator deletes the old authority.
        let alive = self.authorities.iter().filter(|authority| seconds <= authority.not_after);
        match self.rules.verifier(alive) {
            Ok(verifier) => verifier.verify_client_cert(end_entity, intermediates, now),
            Err(_) => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.all.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.all.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.all.supported_verify_schemes()
    }
}
