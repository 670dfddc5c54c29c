//! Tokens that their issuer is asked about: judged by what it said a moment ago, or asked now.

use std::sync::Arc;

use bartizan_config::snapshot::IntrospectionPlan;
use bartizan_identity::introspection::TokenDigest;
use bartizan_model::{Denial, Fault, Stage};

use super::{
    Attempt, Call, Lookup, caller,
    place::{Found, find},
};
use crate::introspect::Said;

/// 8 KiB: what a token may be long, as for signed ones.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Judges the token in the plan's places, if there is one.
pub(super) fn judge(call: &Call<'_>, plan: &IntrospectionPlan) -> Attempt {
    let token = match find(call.head.headers(), &plan.places) {
        Found::Absent => return Attempt::Absent,
        Found::Malformed(why) => return Attempt::invalid(why),
        Found::Token(token) if token.len() > TOKEN_BYTES_MAX => return Attempt::invalid("token: too_large"),
        Found::Token(token) => token,
    };
    let Some(introspector) = call.shared.live.prepared.tokens.introspector(plan) else {
        return Attempt::Faulted(Fault::new(Stage::Identify, "the token method is not prepared"));
    };
    let digest = TokenDigest::of(token);
    // What was just asked for counts even where it is not kept.
    let known = call.asked.and_then(|asked| asked.about(&digest)).cloned();
    match known.or_else(|| introspector.known(&digest, call.now_ms)) {
        Some(Said::Valid(token)) => caller::of(call, token, &plan.mapping),
        Some(Said::Invalid(wrong)) => {
            let issuer = wrong.issuer.map(|issuer| format!(" of {issuer}")).unwrap_or_default();
            Attempt::Refused(
                Denial::new(wrong.flaw.reason()).because(format!("token{issuer}: {}", wrong.flaw)),
            )
        }
        None if introspector.rests(call.now_ms) => {
            let what = format!("{} does not answer about tokens", plan.url);
            Attempt::Faulted(Fault::new(Stage::Identify, what))
        }
        None => Attempt::Needs(Lookup::Token(Arc::clone(introspector), token.into(), digest)),
    }
}
