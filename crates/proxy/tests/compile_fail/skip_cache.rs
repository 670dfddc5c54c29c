//! A request that was not looked up is not sent to an upstream.

#![allow(dead_code, unused_imports, unused_variables)]

use bartizan_proxy::{exchange::*, pipeline::serve, stage::*};

fn twin(x: Exchange<Inspected>) -> impl Sized {
    cache(x)
}

fn case(x: Exchange<Inspected>) -> impl Sized {
    forward(x) // the case
}

fn main() {}
