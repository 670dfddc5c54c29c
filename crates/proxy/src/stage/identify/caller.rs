//! From a judged token to a caller: which consumer it is, and which roles it has.
//!
//! A consumer that documents define brings its roles, limits and addresses, and the token's roles come on top. One
//! that no document defines is refused, or known by its name alone where the policy says so. The same token brings the
//! same caller, so each core remembers what tokens came to.

use std::sync::Arc;

use bartizan_access::RoleSet;
use bartizan_config::snapshot::{ConsumerPlan, MappingPlan, Snapshot};
use bartizan_identity::{Identity, jwt::TokenIdentity};
use http::HeaderValue;

use super::{Attempt, Call, Caller};

/// What a token or a certificate grants beside the consumer it names.
#[derive(Debug, Default)]
pub struct Granted {
    /// All roles of the caller: the consumer's and the token's.
    pub roles: Vec<Arc<str>>,
    /// Those of them that documents define.
    pub role_set: RoleSet,
    /// `X-Consumer-Roles`.
    pub(crate) roles_value: Option<HeaderValue>,
    /// `name=value` for each.
    pub tags: Vec<Arc<str>>,
}

impl Granted {
    /// The consumer's roles and these.
    pub(super) fn beside<'r>(
        consumer: Option<&ConsumerPlan>,
        more: impl IntoIterator<Item = &'r Arc<str>>,
        tags: Vec<Arc<str>>,
        snapshot: &Snapshot,
    ) -> Self {
        let mut roles = consumer.map(|consumer| consumer.roles.clone()).unwrap_or_default();
        for role in more {
            if !roles.contains(role) {
                roles.push(role.clone());
            }
        }
        Granted {
            role_set: snapshot.roles.set_of(roles.iter().map(|role| &**role)),
            roles_value: roles_value(&roles),
            roles,
            tags,
        }
    }
}

/// What tokens came to, by their ids: 512 places per core.
#[derive(Default)]
pub(crate) struct CallerMemo(Vec<Option<Remembered>>);

struct Remembered {
    token: TokenIdentity,
    /// Of which snapshot.
    live: u64,
    caller: Caller,
}

const PLACES: usize = 512;

impl CallerMemo {
    fn place(&mut self, token: &TokenIdentity) -> Option<&mut Option<Remembered>> {
        if self.0.is_empty() {
            self.0.resize_with(PLACES, || None);
        }
        self.0.get_mut(token.id().bits() as usize % PLACES)
    }
}

/// The caller that a token stands for.
pub(super) fn of(call: &Call<'_>, token: TokenIdentity, mapping: &MappingPlan) -> Attempt {
    let mut memo = call.shared.core.callers.borrow_mut();
    let live = call.shared.live.id;
    let place = memo.place(&token);
    if let Some(Some(known)) = &place
        && known.live == live
        && known.token.is_same(&token)
    {
        return Attempt::Known(known.caller.clone());
    }
    match resolve(call, &token, mapping) {
        Ok(caller) => {
            if let Some(place) = place {
                *place = Some(Remembered { token, live, caller: caller.clone() });
            }
            Attempt::Known(caller)
        }
        Err(why) => Attempt::invalid(why),
    }
}

fn resolve(call: &Call<'_>, token: &TokenIdentity, mapping: &MappingPlan) -> Result<Caller, String> {
    let snapshot = call.shared.snapshot();
    let consumer = match token.consumer() {
        None => None,
        Some(name) => match snapshot.consumers.get(name) {
            Some(consumer) => Some(consumer.clone()),
            None if mapping.allows_unknown => Some(Arc::new(unknown(name)?)),
            None => return Err("the consumer that the token names is not in the documents".to_owned()),
        },
    };
    let tags = token.tags().iter().map(|(name, value)| format!("{name}={value}").into()).collect();
    let granted = Granted::beside(consumer.as_deref(), token.roles(), tags, snapshot);
    Ok(Caller {
        identity: Identity::from(token.clone()),
        consumer,
        aged: None,
        granted: Some(Arc::new(granted)),
        session: None,
    })
}

/// A consumer of whom nothing but the name is known. The name is told to upstreams, so it must be one there.
fn unknown(name: &Arc<str>) -> Result<ConsumerPlan, String> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    let value = HeaderValue::from_str(name).ok().filter(|_| is_plain && !name.is_empty());
    Ok(ConsumerPlan {
        contacts: Vec::new(),
        name_value: value.ok_or("the consumer that the token names cannot be told to an upstream")?,
        name: name.clone(),
        roles: Vec::new(),
        roles_value: None,
        enabled: true,
        addresses: None,
        role_set: RoleSet::default(),
        authorization: Vec::new(),
        limits: Vec::new(),
        inspection: Vec::new(),
        team: None,
        quotas: Vec::new(),
        rotation: None,
        models: Vec::new(),
    })
}

/// `X-Consumer-Roles`. A role with a comma or a blank in it would be read as other roles, so it is not told.
fn roles_value(roles: &[Arc<str>]) -> Option<HeaderValue> {
    let is_plain = |role: &&Arc<str>| {
        !role.is_empty() && role.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
    };
    let plain: Vec<&str> = roles.iter().filter(is_plain).map(|role| &**role).collect();
    (!plain.is_empty()).then(|| HeaderValue::try_from(plain.join(",")).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_would_be_read_as_others_is_not_told() {
        let roles = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<Vec<_>>();
        assert_eq!(roles_value(&roles(&["a", "b"])).unwrap(), "a,b");
        assert_eq!(roles_value(&roles(&["a,admin", "b c", "d\r\nx: y", "é", "e"])).unwrap(), "e");
        assert_eq!(roles_value(&roles(&["a,admin"])), None);
        assert_eq!(roles_value(&[]), None);
    }

    #[test]
    fn a_name_that_cannot_be_told_is_no_consumer() {
        assert_eq!(unknown(&"shop".into()).unwrap().name_value, "shop");
        for name in ["", "a b", "a,b", "a\r\nx: y", "josé"] {
            assert!(unknown(&name.into()).is_err(), "{name:?}");
        }
    }
}
