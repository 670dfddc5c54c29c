//! **screen**: is the answer fit to leave?
//!
//! The upstream's head is read as strictly as the caller's, and what belongs to its hop is removed. Rules for answers
//! come with their engine; until then a plan that asks for them is refused.

use bartizan_config::snapshot::Engineless;
use bartizan_message::{clean_response, response::RESPONSE_LIMITS};
use bartizan_model::{Denial, Reason, Stage};

use super::Forwarded;
use crate::{
    answer::Answer,
    exchange::{Exchange, Stop},
};

/// Judges the upstream's answer.
pub fn screen(x: Exchange<Forwarded>) -> Result<Answer, Stop> {
    if x.proof.plan().screening != Engineless::NoSuchPolicy {
        let denial = Denial::new(Reason::ResponseRefused);
        return Err(x.deny(
            Stage::Screen,
            denial.because("the route asks for a screening that this build cannot do"),
        ));
    }
    let Exchange { shared, proof } = x;
    let (response, rest) = proof.into_response();
    let (mut parts, body) = response.into_parts();
    match clean_response(&mut parts, rest.asked.as_ref(), &RESPONSE_LIMITS) {
        Ok(()) => Ok(Answer::upstream(shared, parts, body, rest)),
        Err(misbehaved) => {
            let denial = Denial::new(Reason::UpstreamMisbehaved).because(misbehaved.to_string());
            Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial))
        }
    }
}
