//! A request that is only identified is not sent to an upstream.

#![allow(dead_code, unused_imports, unused_variables)]

use bartizan_proxy::{exchange::*, pipeline::serve, stage::*};

fn twin(x: Exchange<Identified>) -> impl Sized {
    authorize(x)
}

fn case(x: Exchange<Identified>) -> impl Sized {
    forward(x) // the case
}

fn main() {}
