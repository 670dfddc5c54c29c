//! A limit is not asked for a caller that may not call.

#![allow(dead_code, unused_imports, unused_variables)]

use bartizan_proxy::{exchange::*, pipeline::serve, stage::*};

fn twin(x: Exchange<Identified>) -> impl Sized {
    authorize(x)
}

fn case(x: Exchange<Identified>) -> impl Sized {
    limit(x) // the case
}

fn main() {}
