//! An exchange is used once.

#![allow(dead_code, unused_imports, unused_variables)]

use bartizan_proxy::{exchange::*, pipeline::serve, stage::*};

fn twin(x: Exchange<Metered>) -> impl Sized {
    inspect(x)
}

fn case(x: Exchange<Metered>) -> impl Sized {
    (inspect(x), inspect(x)) // the case
}

fn main() {}
