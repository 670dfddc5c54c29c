//! An exchange is not copied, so one inspection lets one request pass.

#![allow(dead_code, unused_imports, unused_variables)]

use bartizan_proxy::{exchange::*, pipeline::serve, stage::*};

fn twin(x: Exchange<Inspected>) -> impl Sized {
    cache(x)
}

fn case(x: Exchange<Inspected>) -> impl Sized {
    cache(x.clone()) // the case
}

fn main() {}
