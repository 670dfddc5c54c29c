//! A proof does not leave its exchange.

#![allow(dead_code, unused_imports, unused_variables)]

use bartizan_proxy::{exchange::*, pipeline::serve, stage::*};

fn twin(x: Exchange<Authorized>) -> impl Sized {
    x
}

fn case(x: Exchange<Authorized>) -> impl Sized {
    x.proof // the case
}

fn main() {}
