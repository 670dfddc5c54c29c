//! **screen**: is the answer fit to leave?
//!
//! The upstream's head is read as strictly as the caller's, and what belongs to its hop is removed. Policies that judge
//! answers hold the body back until they have judged it, so that a blocked answer is never sent in part
//! (`screen/judge.rs`).

mod judge;

use bartizan_message::{clean_response, response::RESPONSE_LIMITS};
use bartizan_model::{Denial, Reason, Stage};
use http::Response;

use self::judge::judge;
use super::{Forwarded, Rest, inspect::Refused};
use crate::{
    body::{AnswerBody, RequestBody},
    exchange::{Exchange, Stop},
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
    Judged(AnswerBody),
}

impl Screened {
    /// The answer and the rest, for the exit.
    pub(crate) fn into_response(self) -> (Response<ScreenedBody>, Rest) {
        (self.response, self.rest)
    }
}

/// Judges the upstream's answer.
pub async fn screen(x: Exchange<Forwarded>) -> Result<Exchange<Screened>, Stop> {
    let Exchange { mut shared, proof } = x;
    let (response, mut rest) = proof.into_response();
    let (mut parts, body) = response.into_parts();
    if let Err(misbehaved) = clean_response(&mut parts, rest.asked.as_ref(), &RESPONSE_LIMITS) {
        let denial = Denial::new(Reason::UpstreamMisbehaved).because(misbehaved.to_string());
        return Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial));
    }
    let core = shared.core.clone();
    if let Some(watching) = shared.record.watching() {
        watching.answered(&core, (parts.status, parts.version), &parts.headers);
    }
    let body = match rest.bench.take() {
        None => ScreenedBody::Flowing(body),
        // Boxed, so that an answer nobody judges has the smaller future.
        Some(bench) => match Box::pin(judge(&mut shared, bench, &parts, body, &mut rest)).await {
            Ok(body) => body,
            Err((stage, refused)) => {
                let x = Exchange { shared, proof: () };
                return Err(match refused {
                    Refused::Denied(denial) => x.deny(stage, denial),
                    Refused::Faulted(policy, fault) => x.fault(Some(policy), fault),
                });
            }
        },
    };
    let response = Response::from_parts(parts, body);
    Ok(Exchange { shared, proof: Screened { response, rest } })
}
