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
use super::{
    Forwarded, Rest,
    inspect::{Bench, Refused},
};
use crate::{
    body::{AnswerBody, RequestBody},
    exchange::{Exchange, Shared, Stop},
    upstream::UpstreamBody,
};

/// The proof that an upstream's answer may leave.
#[must_use]
pub struct Screened {
    answer: ScreenedAnswer,
    rest: Rest,
}

/// An answer that may leave.
pub(crate) enum ScreenedAnswer {
    /// Its body as it comes.
    Flowing(Box<Response<UpstreamBody<RequestBody>>>),
    /// Its body was judged, or the start of it was.
    Judged(Box<Response<AnswerBody>>),
}

/// The body of an answer that was judged.
pub(crate) enum ScreenedBody {
    /// Nobody asked to read it.
    Flowing(UpstreamBody<RequestBody>),
    /// It was judged, or its start was.
    Judged(AnswerBody),
}

impl Screened {
    /// The answer and the rest, for the exit.
    pub(crate) fn into_answer(self) -> (ScreenedAnswer, Rest) {
        (self.answer, self.rest)
    }
}

/// Judges the upstream's answer.
pub async fn screen(x: Exchange<Forwarded>) -> Result<Exchange<Screened>, Stop> {
    let Exchange { mut shared, proof } = x;
    let (mut response, mut rest) = proof.into_response();
    if let Err(misbehaved) = clean_response(&mut response, rest.asked.as_deref(), &RESPONSE_LIMITS) {
        let denial = Denial::new(Reason::UpstreamMisbehaved).because(misbehaved.to_string());
        return Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial));
    }
    let core = shared.core.clone();
    if let Some(watching) = shared.record.watching() {
        watching.answered(&core, (response.status(), response.version()), response.headers());
    }
    match rest.bench.take() {
        None => {
            let answer = ScreenedAnswer::Flowing(response);
            Ok(Exchange { shared, proof: Screened { answer, rest } })
        }
        // Boxed, so that an answer nobody judges has the smaller future.
        Some(bench) => Box::pin(judged(shared, bench, response, rest)).await,
    }
}

/// Lets policies judge the answer.
async fn judged(
    mut shared: Box<Shared>,
    bench: Bench,
    response: Box<Response<UpstreamBody<RequestBody>>>,
    mut rest: Rest,
) -> Result<Exchange<Screened>, Stop> {
    let (parts, body) = response.into_parts();
    match judge(&mut shared, bench, &parts, body, &mut rest).await {
        Ok(body) => {
            let answer = match body {
                ScreenedBody::Flowing(body) => {
                    ScreenedAnswer::Flowing(Box::new(Response::from_parts(parts, body)))
                }
                ScreenedBody::Judged(body) => {
                    ScreenedAnswer::Judged(Box::new(Response::from_parts(parts, body)))
                }
            };
            Ok(Exchange { shared, proof: Screened { answer, rest } })
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
