//! A proof does not come from nowhere.

#![allow(dead_code, unused_imports, unused_variables)]

use bartizan_proxy::{exchange::*, pipeline::serve, stage::*};

fn twin(x: Metered) -> impl Sized {
    x
}

fn case(x: Metered) -> impl Sized {
    <Metered as Default>::default() // the case
}

fn main() {}
