//! The way of a request. Read this file first.
//!
//! One straight function of ten named stages, top to bottom. Each stage takes the proof of the one before it by value
//! and gives the next proof, or stops; so forwarding what was not authorized or inspected does not compile. There is
//! no list of plugins: the order is fixed because security depends on it.

use crate::{
    answer::{self, AnswerBody},
    exchange::{Exchange, Received, Stop},
    stage::{
        self, Admitted, Authorized, Identified, Inspected, Limited, Looked, Metered, Missed, Routed, Screened,
    },
};

/// Serves one received request; never fails, because a refusal is also an answer.
pub async fn serve(x: Exchange<Received>) -> http::Response<AnswerBody> {
    answer::settle(run(x).await)
}

async fn run(x: Exchange<Received>) -> Result<Exchange<Screened>, Stop> {
    let x = judge(x, &mut ()).await?;
    let x = stage::forward(x).await?;
    stage::screen(x).await
}

/// All that is decided before an upstream is asked. Live traffic and rehearsals run this one function.
pub(crate) async fn judge(
    x: Exchange<Received>,
    onlooker: &mut impl Onlooker,
) -> Result<Exchange<Missed>, Stop> {
    let x = shown(stage::admit(x)?, |x| onlooker.admitted(x));
    // Owners of keys are served beside the routes. Boxed: no other request pays for its room.
    if stage::desk::is_asked(&x) {
        return Err(Box::pin(stage::desk::serve(x)).await);
    }
    let x = shown(stage::route(x)?, |x| onlooker.routed(x));
    let x = shown(stage::identify(x).await?, |x| onlooker.identified(x));
    let x = shown(stage::authorize(x)?, |x| onlooker.authorized(x));
    let x = match stage::limit(x)? {
        Limited::Admitted(x) => x,
        Limited::Waits(slot) => Box::pin(stage::wait(slot)).await?,
    };
    let x = shown(x, |x| onlooker.metered(x));
    let x = stage::inspect(x).await?;
    // What is asked of a model is in the body. Boxed: no other route pays for its room.
    let x = if x.proof.asks_a_model() { Box::pin(stage::operation(x)).await? } else { x };
    let x = shown(x, |x| onlooker.inspected(x));
    let x = match stage::cache(x) {
        Looked::Hit(stop) => return Err(stop),
        Looked::Miss(x) => x,
        // Boxed: no other request pays for its room.
        Looked::Waits(waiting) => Box::pin(stage::collapse(waiting)).await?,
    };
    Ok(shown(x, |x| onlooker.missed(x)))
}

/// Shows an exchange. It is taken by value, because a future keeps room for whatever was lent in it to its very end.
fn shown<S>(x: Exchange<S>, to: impl FnOnce(&Exchange<S>)) -> Exchange<S> {
    to(&x);
    x
}

/// Who is told how far a request has come. Live traffic has none: `()` is told nothing and costs nothing.
pub(crate) trait Onlooker {
    /// After `admit`.
    fn admitted(&mut self, _: &Exchange<Admitted>) {}
    /// After `route`.
    fn routed(&mut self, _: &Exchange<Routed>) {}
    /// After `identify`.
    fn identified(&mut self, _: &Exchange<Identified>) {}
    /// After `authorize`.
    fn authorized(&mut self, _: &Exchange<Authorized>) {}
    /// After `limit`.
    fn metered(&mut self, _: &Exchange<Metered>) {}
    /// After `inspect`.
    fn inspected(&mut self, _: &Exchange<Inspected>) {}
    /// After `cache`.
    fn missed(&mut self, _: &Exchange<Missed>) {}
}

impl Onlooker for () {}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use super::*;

    fn size_of_future<A, F: Future>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    /// The future is copied once into its box, and lives as long as the request waits for its upstream.
    #[test]
    fn the_future_of_a_request_is_small() {
        let size = size_of_future(serve);
        assert!(size <= 1_024, "{size} bytes");
    }
}
