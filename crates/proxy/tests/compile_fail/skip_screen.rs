//! An answer that was not screened is no answer.

#![allow(dead_code, unused_imports, unused_variables)]

use bartizan_proxy::{exchange::*, pipeline::serve, stage::*};

fn twin(x: Exchange<Forwarded>) -> impl Sized {
    screen(x)
}

fn case(x: Exchange<Forwarded>) -> impl Sized {
    { let answer: bartizan_proxy::answer::Answer = x.proof; answer } // the case
}

fn main() {}
