//! API keys: judged from memory, against the table that the process feeds.

use bartizan_config::snapshot::ApiKeyPlan;
use bartizan_identity::{Claim, Identity};
use bartizan_model::{Denial, Reason};
use http::{HeaderValue, header};

use super::{Attempt, Call, Caller, aged};

/// Judges the key in the plan's header, if there is one.
pub(super) fn judge(call: &Call<'_>, plan: &ApiKeyPlan) -> Attempt {
    let mut values = call.head.headers().get_all(&plan.header).iter();
    match (values.next(), values.next()) {
        (None, _) => Attempt::Absent,
        (Some(value), None) if plan.header == header::AUTHORIZATION => {
            // What the clients of model providers send: the key as a bearer token (RFC 6750 §2.1).
            let bytes = value.as_bytes();
            match bytes.split_at_checked(7) {
                Some((scheme, key)) if scheme.eq_ignore_ascii_case(b"Bearer ") => judge_key(call, key),
                _ => Attempt::invalid("the Authorization header is not `Bearer` and a key"),
            }
        }
        (Some(value), None) => judge_key(call, value.as_bytes()),
        (Some(_), Some(_)) => Attempt::invalid("more than one credential"),
    }
}

fn judge_key(call: &Call<'_>, key: &[u8]) -> Attempt {
    let core = &call.shared.core;
    let Some(pepper) = core.runtime.pepper() else {
        return Attempt::invalid("this gateway has no keys");
    };
    let keys = core.keys();
    match keys.judge(key, pepper, call.now_ms) {
        Claim::Valid(identity) => match call.shared.snapshot().consumers.get(identity.consumer()) {
            Some(consumer) => {
                let Ok(aged) = aged::look(consumer, identity.facts(), call.now_ms) else {
                    let detail = format!("key {}: older than its policy allows", identity.key());
                    return Attempt::Refused(Denial::new(Reason::CredentialExpired).because(detail));
                };
                if call.notes_use {
                    keys.note_use(&identity, call.now_ms);
                }
                Attempt::Known(Caller {
                    identity: Identity::from(identity),
                    consumer: Some(consumer.clone()),
                    aged,
                    session: None,
                    granted: None,
                })
            }
            None => {
                let key = identity.key();
                Attempt::Spent(format!("key {key}: its consumer is not in the documents").into())
            }
        },
        Claim::Invalid(wrong) => {
            let key = wrong.key.map(|key| format!("key {key}: ")).unwrap_or_default();
            let detail = format!("{key}{}", wrong.kind.as_str());
            match wrong.kind.reason() {
                Reason::CredentialInvalid if wrong.kind.is_proven() => Attempt::Spent(detail.into()),
                reason => Attempt::Refused(Denial::new(reason).because(detail)),
            }
        }
        Claim::Absent => Attempt::Refused(Denial::new(Reason::CredentialMissing)),
    }
}

/// RFC 9110 §15.5.2: a 401 says how to identify. The scheme's name is not registered; it is what peers send.
pub(super) fn challenge(plan: &ApiKeyPlan) -> Option<HeaderValue> {
    if plan.header == header::AUTHORIZATION {
        return Some(HeaderValue::from_static("Bearer"));
    }
    HeaderValue::try_from(format!("ApiKey header=\"{}\"", plan.header)).ok()
}
