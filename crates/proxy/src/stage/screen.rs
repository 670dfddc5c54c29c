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
use super::{Fill, Filled, Forwarded, Rest, inspect::Refused};
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
    Judged(Box<AnswerBody>),
}

impl Screened {
    /// The answer and the rest, for the exit.
    pub(crate) fn into_answer(self) -> (ScreenedAnswer, Rest) {
        (self.answer, self.rest)
    }
}

/// Judges the upstream's answer.
pub async fn screen(x: Exchange<Forwarded>) -> Result<Exchange<Screened>, Stop> {
    if x.proof.is_judged() {
        // Boxed, so that an answer nobody judges has the smaller future.
        return Box::pin(judged(x)).await;
    }
    let Exchange { mut shared, proof } = x;
    let (mut response, rest) = proof.into_response();
    match clean(&mut shared, &mut response, &rest) {
        Ok(()) => leave(shared, ScreenedAnswer::Flowing(response), rest),
        Err(denial) => Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial)),
    }
}

/// As [`screen`], with policies that judge.
async fn judged(x: Exchange<Forwarded>) -> Result<Exchange<Screened>, Stop> {
    let Exchange { mut shared, proof } = x;
    let (mut response, mut rest) = proof.into_response();
    if let Err(denial) = clean(&mut shared, &mut response, &rest) {
        return Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial));
    }
    let (parts, body) = response.into_parts();
    let judged = match rest.bench.take() {
        Some(bench) => judge(&mut shared, bench, &parts, body, &mut rest).await,
        None => Ok(ScreenedBody::Flowing(body)),
    };
    let answer = match judged {
        Ok(ScreenedBody::Flowing(body)) => {
            ScreenedAnswer::Flowing(Box::new(Response::from_parts(parts, body)))
        }
        Ok(ScreenedBody::Judged(body)) => {
            ScreenedAnswer::Judged(Box::new(Response::from_parts(parts, *body)))
        }
        Err((stage, refused)) => {
            let x = Exchange { shared, proof: () };
            return Err(match refused {
                Refused::Denied(denial) => x.deny(stage, denial),
                Refused::Faulted(policy, fault) => x.fault(Some(policy), fault),
            });
        }
    };
    leave(shared, answer, rest)
}

/// The answer may leave. Now that it is screened, the cache may have it.
fn leave(
    mut shared: Box<Shared>,
    answer: ScreenedAnswer,
    mut rest: Rest,
) -> Result<Exchange<Screened>, Stop> {
    let Some(fill) = rest.fill.take() else {
        return Ok(Exchange { shared, proof: Screened { answer, rest } });
    };
    let (filled, answer) = match answer {
        ScreenedAnswer::Flowing(response) => {
            let (filled, response) = offer(&mut shared, *fill, *response);
            (filled, ScreenedAnswer::Flowing(Box::new(response)))
        }
        ScreenedAnswer::Judged(response) => {
            let (filled, response) = offer(&mut shared, *fill, *response);
            (filled, ScreenedAnswer::Judged(Box::new(response)))
        }
    };
    let answer = match filled {
        Filled::Flows(keeping) => {
            rest.keeping = keeping;
            answer
        }
        Filled::Confirmed(kept) => ScreenedAnswer::Judged(kept),
        Filled::Misplaced => {
            let denial = Denial::new(Reason::UpstreamMisbehaved);
            let denial = denial.because("304 for another answer than the one that was asked about");
            return Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial));
        }
    };
    Ok(Exchange { shared, proof: Screened { answer, rest } })
}

/// Shows the cache an answer.
fn offer<B>(shared: &mut Shared, fill: Fill, response: Response<B>) -> (Filled, Response<B>) {
    let (parts, body) = response.into_parts();
    let filled = fill.answered(shared, &parts);
    (filled, Response::from_parts(parts, body))
}

/// The head read strictly, and shown to policies that watch.
fn clean(
    shared: &mut Shared,
    response: &mut Response<UpstreamBody<RequestBody>>,
    rest: &Rest,
) -> Result<(), Denial> {
    clean_response(response, rest.asked.as_deref(), &RESPONSE_LIMITS)
        .map_err(|misbehaved| Denial::new(Reason::UpstreamMisbehaved).because(misbehaved.to_string()))?;
    if shared.record.watching().is_some() {
        let core = shared.core.clone();
        if let Some(watching) = shared.record.watching() {
            watching.answered(&core, (response.status(), response.version()), response.headers());
        }
    }
    Ok(())
}
