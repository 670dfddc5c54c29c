//! A proof is not made outside of its stage.

#![allow(dead_code, unused_imports, unused_variables)]

use bartizan_proxy::{exchange::*, pipeline::serve, stage::*};

fn twin(who: Identified) -> impl Sized {
    who
}

fn case(who: Identified) -> impl Sized {
    Authorized { who } // the case
}

fn main() {}
