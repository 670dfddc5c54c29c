//! Failed attempts: whose next one is not looked at, and what counts as one.
//!
//! Counted is what could be a guess: a credential that is there and was never ours. One that is genuine and out of force
//! (expired, revoked) is no guess, and a missing one no attempt. A held caller is refused before its credential is
//! judged, so that neither the answer nor its time tells whether it would have held.

use bartizan_config::snapshot::{AuthenticationPlan, MethodPlan};
use bartizan_identity::{BasicCredentials, KeyId, api_key};
use bartizan_limit::{
    Held, HeldBy, Nanos,
    failures::{Attempt, FailurePolicy},
};
use bartizan_telemetry::metrics::FailureCounter;
use http::header;

use super::Call;
use crate::share::{block_key, prefix_key};

/// A credential that is about to be judged.
pub(super) struct Claimed {
    /// What it claims to be for, if that can be told without judging it.
    account: Option<Vec<u8>>,
}

/// What the first method that finds something will judge; `None` where there is no credential at all.
pub(super) fn claimed(call: &Call<'_>, policy: &AuthenticationPlan) -> Option<Claimed> {
    policy.methods.iter().find_map(|method| claimed_by(call, method))
}

fn claimed_by(call: &Call<'_>, method: &MethodPlan) -> Option<Claimed> {
    let headers = call.head.headers();
    let account = match method {
        MethodPlan::ApiKey(plan) => {
            let value = headers.get(&plan.header)?;
            key_id(value.as_bytes()).map(|id| id.as_str().as_bytes().to_vec())
        }
        MethodPlan::Basic(_) => match BasicCredentials::read(headers.get(header::AUTHORIZATION)?.as_bytes())?
        {
            Ok(credentials) => Some(credentials.user().as_bytes().to_vec()),
            Err(_) => None,
        },
        MethodPlan::ClientCertificate(_) => {
            call.shared.connection.tls.as_ref()?.client.as_ref()?;
            None
        }
    };
    Some(Claimed { account })
}

/// The id at the beginning of whatever claims to be a key: guesses rarely have a checksum that holds.
fn key_id(value: &[u8]) -> Option<KeyId> {
    let rest = std::str::from_utf8(value).ok()?.strip_prefix(api_key::PREFIX)?;
    KeyId::parse(rest.get(..KeyId::CHARS)?)
}

impl Claimed {
    fn attempt<'a>(&'a self, call: &Call<'a>) -> Attempt<'a> {
        let client = call.head.client();
        Attempt {
            address: block_key(client),
            prefix: prefix_key(client),
            account: self.account.as_deref(),
            route: call.shared.record.route.as_deref().unwrap_or_default(),
        }
    }

    /// Whether it must wait.
    pub(super) fn held(&self, call: &Call<'_>, policy: &FailurePolicy, now: Nanos) -> Option<Held> {
        call.shared.core.runtime.cells().held(policy, &self.attempt(call), now)
    }

    /// It did not hold.
    pub(super) fn note_failure(&self, call: &Call<'_>, policy: &FailurePolicy, now: Nanos) {
        let core = &call.shared.core;
        for by in core.runtime.cells().note_failure(policy, &self.attempt(call), now) {
            core.metrics.failure_counter_filled(counter(by));
            let (label, route, client) =
                (&*policy.terms().label, call.shared.record.route.as_deref(), call.head.client());
            match by {
                // One caller that fails is everyday, and a flood of them must not become a flood of lines.
                HeldBy::Address | HeldBy::Account => {
                    tracing::debug!(event = EVENT, by = by.as_str(), policy = label, route, %client, "callers must wait");
                }
                HeldBy::Prefix | HeldBy::AccountUnderAttack | HeldBy::RouteUnderAttack => {
                    tracing::warn!(event = EVENT, by = by.as_str(), policy = label, route, %client, "many failed attempts to identify");
                }
            }
        }
    }
}

/// The name of the event, for alerts on the process's log.
const EVENT: &str = "authentication_failures";

const fn counter(by: HeldBy) -> FailureCounter {
    match by {
        HeldBy::Address => FailureCounter::Address,
        HeldBy::Prefix => FailureCounter::Prefix,
        HeldBy::Account => FailureCounter::Account,
        HeldBy::AccountUnderAttack => FailureCounter::AccountUnderAttack,
        HeldBy::RouteUnderAttack => FailureCounter::RouteUnderAttack,
    }
}
