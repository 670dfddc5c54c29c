//! **screen**: is the answer fit to leave?
//!
//! The upstream's head is read as strictly as the caller's, and what belongs to its hop is removed. Policies that judge
//! answers hold the body back until they have judged it, so that a blocked answer is never sent in part
//! (`screen/judge.rs`).

mod judge;

use bartizan_message::{clean_response, response::RESPONSE_LIMITS};
use bartizan_model::{Denial, Reason, Stage};
use http::{Response, response::Parts};

use self::judge::judge;
use super::{Forwarded, Rest, inspect::Refused};
use crate::{
    body::{AnswerBody, RequestBody},
    exchange::{Exchange, Shared, Stop},
    upstream::UpstreamBody,
};

/// The proof that an upstream's answer may leave.
#[must_use]
pub struct Screened {
    response: Response<ScreenedBody>,
    rest: Rest,
}

/// The body of an answer that may leave.
pub(crate) enum ScreenedBody {
    /// As it comes.
    Flowing(UpstreamBody<RequestBody>),
    /// It was judged, or its start was.
    Judged(Box<AnswerBody>),
}

impl Screened {
    /// The answer and the rest, for the exit.
    pub(crate) fn into_response(self) -> (Response<ScreenedBody>, Rest) {
        (self.response, self.rest)
    }
}

/// Judges the upstream's answer.
pub async fn screen(x: Exchange<Forwarded>) -> Result<Exchange<Screened>, Stop> {
    if x.proof.is_judged() {
        // Boxed, so that an answer nobody judges has the smaller future.
        return Box::pin(judged(x)).await;
    }
    let Exchange { mut shared, proof } = x;
    let (response, rest) = proof.into_response();
    let (parts, body) = match clean(&mut shared, response, &rest) {
        Ok(cleaned) => cleaned,
        Err(denial) => return Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial)),
    };
    let response = Response::from_parts(parts, ScreenedBody::Flowing(body));
    Ok(Exchange { shared, proof: Screened { response, rest } })
}

/// As [`screen`], with policies that judge.
async fn judged(x: Exchange<Forwarded>) -> Result<Exchange<Screened>, Stop> {
    let Exchange { mut shared, proof } = x;
    let (response, mut rest) = proof.into_response();
    let (parts, body) = match clean(&mut shared, response, &rest) {
        Ok(cleaned) => cleaned,
        Err(denial) => return Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial)),
    };
    let judged = match rest.bench.take() {
        Some(bench) => judge(&mut shared, bench, &parts, body, &mut rest).await,
        None => Ok(ScreenedBody::Flowing(body)),
    };
    match judged {
        Ok(body) => {
            let response = Response::from_parts(parts, body);
            Ok(Exchange { shared, proof: Screened { response, rest } })
        }
        Err((stage, refused)) => {
            let x = Exchange { shared, proof: () };
            Err(match refused {
                Refused::Denied(denial) => x.deny(stage, denial),
                Refused::Faulted(policy, fault) => x.fault(Some(policy), fault),
            })
        }
    }
}

/// The head read strictly, and shown to policies that watch.
fn clean(
    shared: &mut Shared,
    response: Response<UpstreamBody<RequestBody>>,
    rest: &Rest,
) -> Result<(Parts, UpstreamBody<RequestBody>), Denial> {
    let (mut parts, body) = response.into_parts();
    clean_response(&mut parts, rest.asked.as_ref(), &RESPONSE_LIMITS)
        .map_err(|misbehaved| Denial::new(Reason::UpstreamMisbehaved).because(misbehaved.to_string()))?;
    if shared.record.watching().is_some() {
        let core = shared.core.clone();
        if let Some(watching) = shared.record.watching() {
            watching.answered(&core, (parts.status, parts.version), &parts.headers);
        }
    }
    Ok((parts, body))
}
