//! Names and passwords: recalled from memory, else looked up: the pool for passwords checks them.

use std::sync::Arc;

use bartizan_config::snapshot::BasicPlan;
use bartizan_identity::{BasicCredentials, BasicIdentity, Identity};
use bartizan_model::{Fault, Stage};
use http::header;

use super::{Asked, Attempt, Call, Caller, Lookup};

/// Judges `Authorization`, if it holds Basic credentials.
pub(super) fn judge(call: &Call<'_>, plan: &BasicPlan) -> Attempt {
    let Some(value) = call.head.headers().get(header::AUTHORIZATION) else { return Attempt::Absent };
    let credentials = match BasicCredentials::read(value.as_bytes()) {
        None => return Attempt::Absent,
        Some(Err(_)) => return Attempt::invalid("the Basic credentials are malformed"),
        Some(Ok(credentials)) => credentials,
    };
    match call.asked.and_then(Asked::password) {
        Some(Some(identity)) => return known(call, identity.clone()),
        Some(None) => return Attempt::invalid("unknown user or wrong password"),
        None => {}
    }
    let users = call.shared.live.users(&plan.users);
    let (Some(users), Some(outside)) = (users, call.shared.core.runtime.outside()) else {
        // As in a rehearsal, which holds no secrets.
        return Attempt::Faulted(Fault::new(Stage::Identify, "no passwords are known here"));
    };
    match outside.passwords.recall(users, &credentials) {
        Some(identity) => known(call, identity),
        None => Attempt::Needs(Lookup::Password(Arc::clone(users), Arc::new(credentials))),
    }
}

fn known(call: &Call<'_>, identity: BasicIdentity) -> Attempt {
    match call.shared.snapshot().consumers.get(identity.consumer()) {
        Some(consumer) => Attempt::Known(Caller {
            consumer: Some(consumer.clone()),
            aged: None,
            session: None,
            granted: None,
            identity: Identity::from(identity),
        }),
        None => Attempt::Spent("the user's consumer is not in the documents".into()),
    }
}
