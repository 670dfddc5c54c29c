//! Whose answer it is: everything about the caller that the upstream is told.

use bartizan_cache::{Class, Sharing};
use bartizan_config::snapshot::CachePlan;
use bartizan_identity::Method;

use crate::stage::Inspected;

/// The identity class of a request; nothing if the caller cannot be told from others, so that nothing may be kept.
pub(super) fn of(inspected: &Inspected, policy: &CachePlan) -> Option<Class> {
    if policy.terms.sharing == Sharing::Shared {
        return Some(Class::Shared(policy.label.clone()));
    }
    let identity = inspected.identity();
    if identity.method() == Method::Anonymous {
        return Some(Class::Anonymous);
    }
    let subject = match (identity.token(), identity.credential()) {
        // Two tokens of one subject may carry different roles, which the upstream is told.
        (Some(token), _) => {
            Some(format!("token {} {} {}", token.issuer(), token.subject()?, roles(inspected)))
        }
        // The upstream may be told the certificate.
        (None, Some(credential)) => Some(format!("credential {credential}")),
        (None, None) => None,
    };
    let consumer = identity.consumer().cloned();
    if consumer.is_none() && subject.is_none() {
        return None;
    }
    Some(Class::Of { consumer: consumer.unwrap_or_else(|| "".into()), subject: subject.map(Into::into) })
}

fn roles(inspected: &Inspected) -> String {
    inspected.granted().map(|granted| granted.roles.join(",")).unwrap_or_default()
}
