//! The way of a request. Read this file first.
//!
//! One straight function of ten named stages, top to bottom. Each stage takes the proof of the one before it by value
//! and gives the next proof, or stops; so forwarding what was not authorized or inspected does not compile. There is
//! no list of plugins: the order is fixed because security depends on it.

use crate::{
    answer::{self, AnswerBody},
    exchange::{Exchange, Received, Stop},
    stage::{self, Looked, Screened},
};

/// Serves one received request; never fails, because a refusal is also an answer.
pub async fn serve(x: Exchange<Received>) -> http::Response<AnswerBody> {
    answer::settle(run(x).await)
}

async fn run(x: Exchange<Received>) -> Result<Exchange<Screened>, Stop> {
    let x = stage::admit(x)?;
    let x = stage::route(x)?;
    let x = stage::identify(x).await?;
    let x = stage::authorize(x)?;
    let x = stage::limit(x).await?;
    let x = stage::inspect(x)?;
    let Looked::Miss(x) = stage::cache(x)?;
    let x = stage::forward(x).await?;
    stage::screen(x)
}

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
        assert!(size <= 4_096, "{size} bytes");
    }
}
