//! A caller that nobody identified is not authorized.

#![allow(dead_code, unused_imports, unused_variables)]

use bartizan_proxy::{exchange::*, pipeline::serve, stage::*};

fn twin(x: Exchange<Routed>) -> impl Sized {
    identify(x)
}

fn case(x: Exchange<Routed>) -> impl Sized {
    authorize(x) // the case
}

fn main() {}
