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
    // Roles are told the upstream, and may change while the caller's name and credential stay.
    let roles = roles(inspected);
    let consumer = identity.consumer().cloned();
    let subject = match (identity.token(), identity.credential()) {
        (Some(token), _) => format!("token {} {} {roles}", token.issuer(), token.subject()?),
        // The upstream may be told the certificate.
        (None, Some(credential)) => format!("credential {credential} {roles}"),
        (None, None) if consumer.is_some() => format!("roles {roles}"),
        (None, None) => return None,
    };
    Some(Class::Of { consumer: consumer.unwrap_or_else(|| "".into()), subject: Some(subject.into()) })
}

fn roles(inspected: &Inspected) -> String {
    match (inspected.granted(), inspected.consumer()) {
        (Some(granted), _) => granted.roles.join(","),
        (None, Some(consumer)) => consumer.roles.join(","),
        (None, None) => String::new(),
    }
}
