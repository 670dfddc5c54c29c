//! What is served is a request as it was received, not one with a proof.

#![allow(dead_code, unused_imports, unused_variables)]

use bartizan_proxy::{exchange::*, pipeline::serve, stage::*};

fn twin(x: Exchange<Received>) -> impl Sized {
    serve(x)
}

fn case(x: Exchange<Received>) -> impl Sized {
    serve(authorize(x)) // the case
}

fn main() {}
