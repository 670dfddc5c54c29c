//! Identification by given facts instead of a credential: a rehearsal holds no secrets.

use bartizan_config::{
    rehearsal::Credential,
    snapshot::{AuthenticationPlan, MethodPlan},
};
use bartizan_identity::Identity;
use bartizan_model::{Denial, Reason};

use super::{Caller, Judged};
use crate::exchange::Shared;

/// What a policy says of the caller that a rehearsal names; `None` where the headers are judged as they were sent, as
/// they always are in live traffic.
pub(super) fn judge(shared: &Shared, policy: &AuthenticationPlan) -> Option<Judged> {
    let given = &shared.rehearsing.as_ref()?.credential;
    let takes_keys = policy.methods.iter().any(|method| matches!(method, MethodPlan::ApiKey(_)));
    Some(match given {
        Credential::AsSent => return None,
        Credential::ApiKey { key, consumer, flaw: None } if takes_keys => {
            match shared.snapshot().consumers.get(consumer) {
                Some(plan) => Judged::Known(Caller {
                    identity: Identity::rehearsed_api_key(consumer.clone(), *key),
                    consumer: Some(plan.clone()),
                    aged: None,
                    granted: None,
                    session: None,
                }),
                None => {
                    let detail = format!("key {key}: its consumer is not in the documents");
                    Judged::Refused(Denial::new(Reason::CredentialInvalid).because(detail))
                }
            }
        }
        Credential::ApiKey { key, flaw: Some(flaw), .. } if takes_keys => {
            Judged::Refused(Denial::new(flaw.reason()).because(format!("key {key}: {}", flaw.as_str())))
        }
        // A credential of a kind that the policy does not take is none to it.
        Credential::ApiKey { .. } | Credential::Absent if policy.anonymous => Judged::Known(Caller::nobody()),
        Credential::ApiKey { .. } | Credential::Absent => {
            Judged::Refused(Denial::new(Reason::CredentialMissing))
        }
    })
}
