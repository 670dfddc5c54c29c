//! Names and passwords: recalled from memory, else checked on the pool for passwords.

use bartizan_config::snapshot::BasicPlan;
use bartizan_identity::{BasicCredentials, BasicIdentity, Identity};
use bartizan_model::{Fault, Stage};
use http::header;

use super::{Attempt, Call, Caller};
use crate::passwords::NotChecked;

/// Judges `Authorization`, if it holds Basic credentials. `still_wanted` is asked again when a check's turn comes.
pub(super) async fn judge(call: &Call<'_>, plan: &BasicPlan, still_wanted: impl FnOnce() -> bool) -> Attempt {
    let Some(value) = call.head.headers().get(header::AUTHORIZATION) else { return Attempt::Absent };
    let credentials = match BasicCredentials::read(value.as_bytes()) {
        None => return Attempt::Absent,
        Some(Err(_)) => return Attempt::invalid("the Basic credentials are malformed"),
        Some(Ok(credentials)) => credentials,
    };
    let users = call.shared.live.users(&plan.users);
    let (Some(users), Some(passwords)) = (users, call.shared.core.runtime.passwords()) else {
        // As in a rehearsal, which holds no secrets.
        return Attempt::Faulted(Fault::new(Stage::Identify, "no passwords are known here"));
    };
    if let Some(identity) = passwords.recall(users, &credentials) {
        return known(call, identity);
    }
    if !call.notes_use {
        // A policy that only watches waits for nothing.
        return Attempt::Unjudged("the password is checked only where the policy bites");
    }
    match passwords.check(users, credentials, still_wanted).await {
        Ok(Some(identity)) => known(call, identity),
        Ok(None) => Attempt::invalid("unknown user or wrong password"),
        Err(NotChecked::Given) => Attempt::HeldMeanwhile,
        Err(NotChecked::Busy) => {
            Attempt::Faulted(Fault::new(Stage::Identify, "too many passwords are being checked"))
        }
        Err(NotChecked::Broken) => {
            Attempt::Faulted(Fault::new(Stage::Identify, "no password can be checked"))
        }
    }
}

fn known(call: &Call<'_>, identity: BasicIdentity) -> Attempt {
    match call.shared.snapshot().consumers.get(identity.consumer()) {
        Some(consumer) => {
            Attempt::Known(Caller { consumer: Some(consumer.clone()), identity: Identity::from(identity) })
        }
        None => Attempt::Spent("the user's consumer is not in the documents".into()),
    }
}
