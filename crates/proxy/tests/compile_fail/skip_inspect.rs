//! A request that was not inspected is not looked up in the cache.

#![allow(dead_code, unused_imports, unused_variables)]

use bartizan_proxy::{exchange::*, pipeline::serve, stage::*};

fn twin(x: Exchange<Metered>) -> impl Sized {
    inspect(x)
}

fn case(x: Exchange<Metered>) -> impl Sized {
    cache(x) // the case
}

fn main() {}
