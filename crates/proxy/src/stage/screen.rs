//! **screen**: is the answer fit to leave?
//!
//! The upstream's head is read as strictly as the caller's, and what belongs to its hop is removed. Rules for answers
//! come with their engine; until then a plan that asks for them is refused.

use bartizan_config::snapshot::Engineless;
use bartizan_message::{clean_response, response::RESPONSE_LIMITS};
use bartizan_model::{Denial, Reason, Stage};
use http::Response;

use super::{Forwarded, Rest};
use crate::{
    body::RequestBody,
    exchange::{Exchange, Stop},
    upstream::UpstreamBody,
};

/// The proof that an upstream's answer may leave.
#[must_use]
pub struct Screened {
    response: Box<Response<UpstreamBody<RequestBody>>>,
    rest: Rest,
}

impl Screened {
    /// The answer and the rest, for the exit.
    pub(crate) fn into_response(self) -> (Box<Response<UpstreamBody<RequestBody>>>, Rest) {
        (self.response, self.rest)
    }
}

/// Judges the upstream's answer.
pub fn screen(x: Exchange<Forwarded>) -> Result<Exchange<Screened>, Stop> {
    if x.proof.plan().screening != Engineless::NoSuchPolicy {
        let denial = Denial::new(Reason::ResponseRefused);
        return Err(x.deny(
            Stage::Screen,
            denial.because("the route asks for a screening that this build cannot do"),
        ));
    }
    let Exchange { shared, proof } = x;
    let (mut response, rest) = proof.into_response();
    match clean_response(&mut response, rest.asked.as_deref(), &RESPONSE_LIMITS) {
        Ok(()) => Ok(Exchange { shared, proof: Screened { response, rest } }),
        Err(misbehaved) => {
            let denial = Denial::new(Reason::UpstreamMisbehaved).because(misbehaved.to_string());
            Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial))
        }
    }
}
