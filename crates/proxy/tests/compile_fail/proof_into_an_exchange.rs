//! An exchange is not made of parts.

#![allow(dead_code, unused_imports, unused_variables)]

use bartizan_proxy::{exchange::*, pipeline::serve, stage::*};

fn twin(x: Exchange<Authorized>, y: Exchange<Metered>) -> impl Sized {
    (x, y)
}

fn case(x: Exchange<Authorized>, y: Exchange<Metered>) -> impl Sized {
    Exchange { shared: x.shared, proof: y.proof } // the case
}

fn main() {}
