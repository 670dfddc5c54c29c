//! Certificates of clients: verified by the listener, given an owner here.
//!
//! A certificate counts only under the trust it was verified with: between the swap of a snapshot and the end of the
//! connections made before, a request on one of them is refused, not judged by what its handshake never saw.

use std::sync::Arc;

use bartizan_config::snapshot::{ClientCertificatePlan, ConsumerPlan};
use bartizan_identity::{CertificateGrants, CertificateIdentity, Identity};
use bartizan_model::Denial;
use http::HeaderValue;

use super::{Attempt, Call, Caller, Granted};
use crate::exchange::Shared;
use bartizan_identity::base64::encode;

/// Judges the connection's certificate, if it has one.
pub(super) fn judge(call: &Call<'_>, plan: &ClientCertificatePlan) -> Attempt {
    let shared = call.shared;
    let Some(tls) = &shared.connection.tls else { return Attempt::Absent };
    let Some(certificate) = &tls.client else { return Attempt::Absent };
    if shared.live.trust_of(shared.listener) != Some(tls.trust) {
        return Attempt::Spent("the certificate was verified under an earlier trust".into());
    }
    let now = i64::try_from(call.now_ms / 1_000).unwrap_or(i64::MAX);
    let snapshot = shared.snapshot();
    let judged = plan.rule.judge(certificate, &snapshot.certificates, &shared.connection.listener.name, now);
    let of = || format!("certificate {} of {}", certificate.fingerprint(), certificate.subject());
    match judged {
        Ok(identity) => match snapshot.consumers.get(identity.consumer()) {
            Some(consumer) => Attempt::Known(Caller {
                consumer: Some(consumer.clone()),
                aged: None,
                granted: granted(call, plan, consumer, &identity),
                session: None,
                identity: Identity::from(identity),
            }),
            None => Attempt::Spent(format!("{}: its consumer is not in the documents", of()).into()),
        },
        Err(flaw) => Attempt::Refused(Denial::new(flaw.kind().reason()).because(format!("{}: {flaw}", of()))),
    }
}

/// What the policy and the consumer's list give to this certificate beside the consumer's own roles.
fn granted(
    call: &Call<'_>,
    plan: &ClientCertificatePlan,
    consumer: &ConsumerPlan,
    identity: &CertificateIdentity,
) -> Option<Arc<Granted>> {
    let all = || std::iter::once(&plan.grants).chain(identity.grants());
    if all().all(CertificateGrants::is_empty) {
        return None;
    }
    let roles = all().flat_map(|grants| &grants.roles);
    let tags = all().flat_map(|grants| &grants.tags);
    Some(Arc::new(Granted::beside(Some(consumer), roles, tags.cloned().collect(), call.shared.snapshot())))
}

/// RFC 9110 §15.5.2 demands a challenge with each 401. TLS asked already, so this only says what was meant; the scheme's
/// name is not registered.
pub(super) const fn challenge() -> HeaderValue {
    HeaderValue::from_static("ClientCertificate")
}

/// `Client-Cert` for the upstream: RFC 9440 §2.2, the certificate as a byte sequence of structured fields.
pub(crate) fn client_cert(shared: &Shared) -> Option<HeaderValue> {
    let certificate = shared.connection.tls.as_ref()?.client.as_ref()?;
    HeaderValue::try_from(format!(":{}:", encode(certificate.der()))).ok()
}
