//! Whether a policy's judgement of a caller follows from what was recorded of the caller's credentials.
//!
//! The methods of a policy are asked in their order, and the first whose credential is there decides. So what is recorded
//! of one credential says something only if none came with the request that an earlier method would take.

use bartizan_identity::Method;

use crate::{
    replay::recording::{Caller, Presented},
    snapshot::{AuthenticationPlan, MethodPlan, TokenPlacePlan},
};

/// By a log, which knows the credential that was judged and none beside it.
pub(super) fn is_known_by_log(policy: &AuthenticationPlan, caller: &Caller) -> bool {
    let is_key = |method: &MethodPlan| matches!(method, MethodPlan::ApiKey(_));
    match caller {
        Caller::Nobody => true,
        Caller::Missing => policy.methods.iter().all(is_key),
        // Where no keys are taken, what else there was would decide.
        Caller::Key { .. } => policy.methods.iter().any(is_key),
        Caller::Unknown
        | Caller::Other(_)
        | Caller::Token(..)
        | Caller::User(_)
        | Caller::Certificate(_)
        | Caller::Refused(_) => false,
    }
}

/// By a capture, which knows in what places credentials were.
pub(super) fn is_known(
    policy: &AuthenticationPlan,
    (presented, has_certificate): (&Presented, bool),
    caller: &Caller,
) -> bool {
    for method in &policy.methods {
        let seen = match method {
            // One that was shown is judged again whole; that none was shown is known too.
            MethodPlan::ClientCertificate(_) if has_certificate => Sees::WhatIsKnown,
            MethodPlan::ClientCertificate(_) => Sees::Nothing,
            _ => sees(method, presented, caller),
        };
        match seen {
            Sees::Nothing => {}
            Sees::WhatIsKnown => return true,
            Sees::WhatIsNot => return false,
        }
    }
    // None that it takes was there: nobody, or somebody to be asked for one.
    true
}

enum Sees {
    Nothing,
    WhatIsKnown,
    WhatIsNot,
}

fn sees(method: &MethodPlan, presented: &Presented, caller: &Caller) -> Sees {
    let known_if = |is_known: bool| if is_known { Sees::WhatIsKnown } else { Sees::WhatIsNot };
    let is_by = |means: Method| match caller {
        Caller::Token(token, _) => token.means == Some(means),
        Caller::Refused(refusal) => refusal.is_of(means),
        _ => false,
    };
    let is_there = match method {
        MethodPlan::ApiKey(plan) if plan.header == http::header::AUTHORIZATION => {
            !presented.schemes.is_empty()
        }
        MethodPlan::ApiKey(plan) => presented.has_header(plan.header.as_str()),
        MethodPlan::ClientCertificate(_) => false,
        MethodPlan::Basic(_) => presented.has_scheme("basic"),
        MethodPlan::Jwt(plan) => is_in_place(&plan.places, presented),
        MethodPlan::Introspection(plan) => is_in_place(&plan.places, presented),
        MethodPlan::OpenIdConnect(_) => presented.has_header("cookie"),
    };
    if !is_there {
        return Sees::Nothing;
    }
    match method {
        MethodPlan::ApiKey(_) => known_if(matches!(caller, Caller::Key { .. })),
        MethodPlan::ClientCertificate(_) => Sees::WhatIsNot,
        MethodPlan::Basic(_) => known_if(matches!(caller, Caller::User(_)) || is_by(Method::Basic)),
        MethodPlan::Jwt(plan) => match caller {
            Caller::Token(token, _) if plan.leaves_opaque && !token.is_signed_form => Sees::Nothing,
            _ => known_if(is_by(Method::Jwt)),
        },
        MethodPlan::Introspection(_) => known_if(is_by(Method::Introspection)),
        MethodPlan::OpenIdConnect(_) => known_if(is_by(Method::OpenIdConnect)),
    }
}

fn is_in_place(places: &[TokenPlacePlan], presented: &Presented) -> bool {
    places.iter().any(|place| match place {
        TokenPlacePlan::Bearer => presented.has_scheme("bearer"),
        TokenPlacePlan::Header(name) => presented.has_header(name.as_str()),
        TokenPlacePlan::Cookie(_) => presented.has_header("cookie"),
    })
}
