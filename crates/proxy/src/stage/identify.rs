//! **identify**: who is it?
//!
//! The methods of the route's AuthenticationPolicy are tried in order. A credential that is present and invalid is
//! refused whatever comes after it: invalid is never absent.

mod rehearsed;

use std::sync::Arc;

use bartizan_config::snapshot::{AuthenticationPlan, Captures, ConsumerPlan, RoutePlan};
use bartizan_identity::{Claim, CredentialId, Identity};
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Mode, Reason, Stage};
use http::{HeaderValue, header};

use super::{Routed, route::mode_for};
use crate::exchange::{Exchange, Shared, Stop};

/// The proof that the caller is known, or that the route admits callers who are not.
#[must_use]
pub struct Identified {
    routed: Routed,
    identity: Identity,
    consumer: Option<Arc<ConsumerPlan>>,
}

impl Identified {
    /// The head.
    pub(crate) fn head(&self) -> &RequestHead {
        self.routed.head()
    }

    /// The rule.
    pub(crate) fn plan(&self) -> &Arc<RoutePlan> {
        self.routed.plan()
    }

    /// Who it is.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The consumer's plan; `None` for anonymous callers.
    pub(crate) fn consumer(&self) -> Option<&Arc<ConsumerPlan>> {
        self.consumer.as_ref()
    }

    /// What stands in the path for the variables of the rule's template.
    pub(crate) fn captures(&self) -> Captures<'_> {
        self.routed.captures()
    }

    /// The proof before this one, for whoever sends the request on.
    pub(super) fn into_routed(self) -> Routed {
        self.routed
    }
}

/// What a policy says of a caller.
enum Judged {
    Known(Identity, Arc<ConsumerPlan>),
    Nobody,
    Refused(Denial),
}

/// Finds out who the caller is.
pub fn identify(x: Exchange<Routed>) -> Result<Exchange<Identified>, Stop> {
    let mut x = x;
    let plan = x.proof.plan().clone();
    for policy in &plan.authentication.shadow {
        watch(&mut x.shared, policy, x.proof.head());
    }
    let Some(policy) = &plan.authentication.enforced else {
        return Ok(x.prove(|routed| Identified { routed, identity: Identity::anonymous(), consumer: None }));
    };
    let mode = mode_for(&x.shared, policy.bite, x.proof.head());
    match judge(&x.shared, policy, x.proof.head(), true) {
        Judged::Known(identity, consumer) => {
            x.shared.record.consumer = Some(consumer.name.clone());
            match identity.credential() {
                Some(CredentialId::ApiKey(key)) => x.shared.record.set_credential_id(key.as_str()),
                None => {}
            }
            Ok(x.prove(|routed| Identified { routed, identity, consumer: Some(consumer) }))
        }
        Judged::Nobody => {
            Ok(x.prove(|routed| Identified { routed, identity: Identity::anonymous(), consumer: None }))
        }
        Judged::Refused(denial) => {
            x.shared.core.metrics.auth_failure(denial.reason);
            match x.shared.weigh(mode, Stage::Identify, &policy.label, denial) {
                Some(denial) => {
                    challenge(&mut x.shared, policy);
                    Err(x.deny(Stage::Identify, denial))
                }
                // For callers outside of `enforcePercent` the policy only watches.
                None => Ok(x.prove(|routed| Identified {
                    routed,
                    identity: Identity::anonymous(),
                    consumer: None,
                })),
            }
        }
    }
}

fn watch(shared: &mut Shared, policy: &AuthenticationPlan, head: &RequestHead) {
    if let Judged::Refused(denial) = judge(shared, policy, head, false) {
        shared.weigh(Mode::Shadow, Stage::Identify, &policy.label, denial);
    }
}

/// Judges by one policy. `notes_use`: whether a valid key counts as used, which a policy that only watches must not do.
fn judge(shared: &Shared, policy: &AuthenticationPlan, head: &RequestHead, notes_use: bool) -> Judged {
    if let Some(judged) = rehearsed::judge(shared, policy) {
        return judged;
    }
    for name in &policy.api_key_headers {
        let mut values = head.headers().get_all(name).iter();
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            return Judged::Refused(
                Denial::new(Reason::CredentialInvalid).because("more than one credential"),
            );
        }
        return judge_api_key(shared, value, notes_use);
    }
    if policy.anonymous {
        return Judged::Nobody;
    }
    Judged::Refused(Denial::new(Reason::CredentialMissing))
}

fn judge_api_key(shared: &Shared, value: &HeaderValue, notes_use: bool) -> Judged {
    let invalid = |detail: String| Judged::Refused(Denial::new(Reason::CredentialInvalid).because(detail));
    let Some(pepper) = shared.core.runtime.pepper() else {
        return invalid("this gateway has no keys".to_owned());
    };
    let keys = shared.core.keys();
    let now_ms = shared.unix_ms(Stage::Identify);
    match keys.judge(value.as_bytes(), pepper, now_ms) {
        Claim::Valid(identity) => match shared.snapshot().consumers.get(identity.consumer()) {
            Some(consumer) => {
                if notes_use {
                    keys.note_use(&identity, now_ms);
                }
                Judged::Known(Identity::from(identity), consumer.clone())
            }
            None => invalid(format!("key {}: its consumer is not in the documents", identity.key())),
        },
        Claim::Invalid(wrong) => {
            let key = wrong.key.map(|key| format!("key {key}: ")).unwrap_or_default();
            let denial = Denial::new(wrong.kind.reason());
            Judged::Refused(denial.because(format!("{key}{}", wrong.kind.as_str())))
        }
        Claim::Absent => Judged::Refused(Denial::new(Reason::CredentialMissing)),
    }
}

/// RFC 9110 §15.5.2: a 401 says how to identify. The scheme's name is not registered; it is what peers send.
fn challenge(shared: &mut Shared, policy: &AuthenticationPlan) {
    if let Some(name) = policy.api_key_headers.first()
        && let Ok(value) = HeaderValue::try_from(format!("ApiKey header=\"{name}\""))
    {
        shared.dress(header::WWW_AUTHENTICATE, value);
    }
}
