//! Failed attempts: whose next one is not looked at, and what counts as one.
//!
//! Counted is what could be a guess: a key, a password or a certificate that is there and was never ours. One that is genuine and out of force
//! (expired, revoked) is no guess, and a missing one no attempt. A held caller is refused before its credential is
//! judged, so that neither the answer nor its time tells whether it would have held.

use std::{net::IpAddr, time::Instant};

use bartizan_config::snapshot::{AuthenticationPlan, MethodPlan};
use bartizan_identity::{BasicCredentials, KeyId, api_key};
use bartizan_limit::{
    Held, HeldBy, Nanos,
    failures::{Attempt, FailurePolicy},
};
use bartizan_message::RequestHead;
use bartizan_telemetry::metrics::FailureCounter;
use http::{HeaderValue, header};

use super::place::{Found, cookies, find};
use crate::{
    exchange::Shared,
    share::{block_key, prefix_key},
};

/// The counters that the credential of one request meets.
pub(super) struct Counting<'a> {
    shared: &'a Shared,
    failures: &'a FailurePolicy,
    client: IpAddr,
    /// What it claims to be for, if that can be told without judging it.
    account: Option<Vec<u8>>,
}

/// What a method will judge.
enum Claimed {
    Nothing,
    /// A token: its signature cannot be guessed, and whoever sends an old one is no thief.
    Token,
    /// Something that could be a guess, for this account.
    Guess(Option<Vec<u8>>),
}

fn claimed_by(shared: &Shared, head: &RequestHead, method: &MethodPlan) -> Claimed {
    let headers = head.headers();
    match method {
        MethodPlan::ApiKey(plan) => match headers.get(&plan.header) {
            None => Claimed::Nothing,
            Some(value) => Claimed::Guess(key_id(value.as_bytes()).map(|id| id.as_str().as_bytes().to_vec())),
        },
        MethodPlan::Basic(_) => {
            let value = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
            match value.and_then(BasicCredentials::read) {
                None => Claimed::Nothing,
                Some(Ok(credentials)) => Claimed::Guess(Some(credentials.user().as_bytes().to_vec())),
                Some(Err(_)) => Claimed::Guess(None),
            }
        }
        MethodPlan::ClientCertificate(_) => {
            match shared.connection.tls.as_ref().is_some_and(|tls| tls.client.is_some()) {
                true => Claimed::Guess(None),
                false => Claimed::Nothing,
            }
        }
        // A sealed session cannot be guessed either; callbacks are counted for themselves.
        MethodPlan::OpenIdConnect(plan) => match cookies(headers, &plan.cookie).next() {
            None => Claimed::Nothing,
            Some(_) => Claimed::Token,
        },
        MethodPlan::Jwt(_) | MethodPlan::Introspection(_) => match find(headers, method.places()) {
            Found::Absent => Claimed::Nothing,
            _ => Claimed::Token,
        },
    }
}

/// The id at the beginning of whatever claims to be a key: guesses rarely have a checksum that holds.
fn key_id(value: &[u8]) -> Option<KeyId> {
    let rest = std::str::from_utf8(value).ok()?.strip_prefix(api_key::PREFIX)?;
    KeyId::parse(rest.get(..KeyId::CHARS)?)
}

impl<'a> Counting<'a> {
    /// The counters for what the first method that finds something will judge; `None` where nothing is counted. A
    /// rehearsal counts nothing.
    pub(super) fn of(shared: &'a Shared, policy: &'a AuthenticationPlan, head: &RequestHead) -> Option<Self> {
        let failures = policy.failures.as_deref().filter(|_| shared.rehearsing.is_none())?;
        for method in &policy.methods {
            match claimed_by(shared, head, method) {
                Claimed::Nothing => {}
                Claimed::Token => return None,
                Claimed::Guess(account) => {
                    return Some(Counting { shared, failures, client: head.client(), account });
                }
            }
        }
        None
    }

    /// The counters for a browser that comes back from signing in: whoever invents codes or states has no account.
    pub(super) fn of_callback(
        shared: &'a Shared,
        policy: &'a AuthenticationPlan,
        head: &RequestHead,
    ) -> Option<Self> {
        let failures = policy.failures.as_deref().filter(|_| shared.rehearsing.is_none())?;
        Some(Counting { shared, failures, client: head.client(), account: None })
    }

    fn attempt(&self) -> Attempt<'_> {
        Attempt {
            address: block_key(self.client),
            prefix: prefix_key(self.client),
            account: self.account.as_deref(),
            route: self.shared.record.route.as_deref().unwrap_or_default(),
        }
    }

    fn now(&self) -> Nanos {
        self.shared.core.runtime.nanos(Instant::now())
    }

    /// Whether the caller must wait.
    pub(super) fn held(&self) -> Option<Held> {
        self.shared.core.runtime.cells().held(self.failures, &self.attempt(), self.now())
    }

    /// The credential did not hold.
    pub(super) fn note_failure(&self) {
        let core = &self.shared.core;
        for by in core.runtime.cells().note_failure(self.failures, &self.attempt(), self.now()) {
            core.metrics.failure_counter_filled(counter(by));
            let policy = &*self.failures.terms().label;
            let (route, client) = (self.shared.record.route.as_deref(), self.client);
            match by {
                // One caller that fails is everyday, and a flood of them must not become a flood of lines.
                HeldBy::Address | HeldBy::Account => {
                    tracing::debug!(event = EVENT, by = by.as_str(), policy, route, %client, "callers must wait");
                }
                HeldBy::Prefix | HeldBy::AccountUnderAttack | HeldBy::RouteUnderAttack => {
                    tracing::warn!(event = EVENT, by = by.as_str(), policy, route, %client, "many failed attempts to identify");
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
