//! A proof is not copied.

#![allow(dead_code, unused_imports, unused_variables)]

use bartizan_proxy::{exchange::*, pipeline::serve, stage::*};

fn twin(x: Identified) -> impl Sized {
    x
}

fn case(x: Identified) -> impl Sized {
    Clone::clone(&x) // the case
}

fn main() {}
