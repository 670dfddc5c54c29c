//! An answer that was not screened is not one that may leave.

#![allow(dead_code, unused_imports, unused_variables)]

use bartizan_proxy::{exchange::*, pipeline::serve, stage::*};

async fn twin(x: Exchange<Forwarded>) -> Result<Exchange<Screened>, Stop> {
    screen(x).await
}

fn case(x: Exchange<Forwarded>) -> Result<Exchange<Screened>, Stop> {
    Ok(x) // the case
}

fn main() {}
