//! Certificates of clients: verified by the listener, given an owner here.
//!
//! A certificate counts only under the trust it was verified with: between the swap of a snapshot and the end of the
//! connections made before, a request on one of them is refused, not judged by what its handshake never saw.

use bartizan_config::snapshot::ClientCertificatePlan;
use bartizan_identity::Identity;
use bartizan_model::Denial;
use http::HeaderValue;

use super::{Attempt, Call, Caller};
use crate::exchange::Shared;

/// Judges the connection's certificate, if it has one.
pub(super) fn judge(call: &Call<'_>, plan: &ClientCertificatePlan) -> Attempt {
    let shared = call.shared;
    let Some(tls) = &shared.connection.tls else { return Attempt::Absent };
    let Some(certificate) = &tls.client else { return Attempt::Absent };
    if shared.live.trust_of(shared.listener) != Some(tls.trust) {
        return Attempt::invalid("the certificate was verified under an earlier trust");
    }
    let now = i64::try_from(call.now_ms / 1_000).unwrap_or(i64::MAX);
    let snapshot = shared.snapshot();
    let judged = plan.rule.judge(certificate, &snapshot.certificates, &shared.connection.listener.name, now);
    let of = || format!("certificate {} of {}", certificate.fingerprint(), certificate.subject());
    match judged {
        Ok(identity) => match snapshot.consumers.get(identity.consumer()) {
            Some(consumer) => Attempt::Known(Caller {
                consumer: Some(consumer.clone()),
                granted: None,
                identity: Identity::from(identity),
            }),
            None => Attempt::invalid(format!("{}: its consumer is not in the documents", of())),
        },
        Err(flaw) => Attempt::Refused(Denial::new(flaw.kind().reason()).because(format!("{}: {flaw}", of()))),
    }
}

/// RFC 9110 §15.5.2 demands a challenge with each 401. TLS asked already, so this only says what was meant; the scheme's
/// name is not registered.
pub(super) const fn challenge() -> HeaderValue {
    HeaderValue::from_static("ClientCertificate")
}

/// `Client-Cert` for the upstream: RFC 9440 §2.2, the certificate as a byte sequence of structured fields.
pub(crate) fn client_cert(shared: &Shared) -> Option<HeaderValue> {
    let certificate = shared.connection.tls.as_ref()?.client.as_ref()?;
    HeaderValue::try_from(format!(":{}:", base64(certificate.der()))).ok()
}

/// RFC 4648 §4, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let group = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for at in 0..4 {
            let index = usize::try_from((group >> (18 - 6 * at)) & 63).unwrap_or_default();
            let letter = ALPHABET.get(index).copied().unwrap_or(b'=');
            text.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_the_text_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }
}
