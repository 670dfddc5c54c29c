//! Signed tokens: judged from memory, once their issuer's keys are there.

use bartizan_config::snapshot::JwtPlan;
use bartizan_identity::{
    Claim,
    jwt::{NoRevocations, Outcome, Sources, TokenCache},
};
use bartizan_model::{Denial, Fault, Stage};

use super::{
    Attempt, Call, Lookup, caller,
    place::{Found, find},
};

/// 4,096 tokens per core, usually 2 KiB each.
const TOKENS_MAX: usize = 4_096;

/// Judges the token in the plan's places, if there is one.
pub(super) fn judge(call: &Call<'_>, plan: &JwtPlan) -> Attempt {
    let token = match find(call.head.headers(), &plan.places) {
        Found::Absent => return Attempt::Absent,
        Found::Malformed(why) => return Attempt::invalid(why),
        // By its form and never by whether it holds: what is invalid is never absent.
        Found::Token(token) if plan.leaves_opaque && !has_form(token) => return Attempt::Absent,
        Found::Token(token) => token,
    };
    let core = &call.shared.core;
    // A rehearsal holds no keys: it cannot say that a token is not genuine either.
    let prepared = call.shared.live.prepared.tokens.judge(plan).filter(|_| call.shared.rehearsing.is_none());
    let Some(prepared) = prepared else {
        return Attempt::Faulted(Fault::new(Stage::Identify, "the token method is not prepared"));
    };
    let ring = core.ring();
    let sources = Sources { keys: &*ring, revocations: &NoRevocations };
    let mut tokens = core.tokens.borrow_mut();
    let tokens = tokens.get_or_insert_with(|| TokenCache::new(TOKENS_MAX));
    match prepared.judge.judge_cached(token, &sources, tokens, call.now_ms) {
        Outcome::Decided(Claim::Valid(token)) => {
            let issuer = plan.issuers.iter().find(|issuer| issuer.name == *token.issuer());
            match issuer {
                Some(issuer) => caller::of(call, token, &issuer.mapping),
                None => Attempt::Faulted(Fault::new(Stage::Identify, "the token's issuer has no plan")),
            }
        }
        Outcome::Decided(Claim::Invalid(wrong)) => {
            let issuer = wrong.issuer.map(|issuer| format!(" of {issuer}")).unwrap_or_default();
            Attempt::Refused(
                Denial::new(wrong.flaw.reason()).because(format!("token{issuer}: {}", wrong.flaw)),
            )
        }
        Outcome::Decided(Claim::Absent) => Attempt::invalid("no token"),
        Outcome::Faulted(fault) => Attempt::Faulted(fault),
        Outcome::Needs(bartizan_identity::jwt::Lookup::KeySet { issuer }) => {
            Attempt::Needs(Lookup::KeySet(issuer))
        }
    }
}

/// RFC 7515 §7.1: three parts.
fn has_form(token: &[u8]) -> bool {
    token.iter().filter(|byte| **byte == b'.').count() == 2
}
