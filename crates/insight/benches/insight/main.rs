//! `cargo xtask bench insight`: how well and at what cost unusual behaviour is found.
//!
//! Labelled public data in time order where a folder with it is given, and scripted abuse in a made-up world with exact
//! ground truth. Every number has its seed; `docs/insight.md` says which were looked at while thresholds were set.
//!
//! Reading order: [`world`] (clean traffic), [`attack`] (abuse), [`public`] (public data), [`cost`].

#![expect(clippy::print_stdout, clippy::indexing_slicing, reason = "a benchmark: its input is its own")]

mod attack;
mod cost;
mod public;
mod random;
mod world;

use std::path::PathBuf;

fn main() {
    let mut data = None;
    let (mut quick, mut first) = (false, None);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            // What cargo gives to every benchmark.
            "--bench" => {}
            "--quick" => quick = true,
            // Other seeds than those of the page.
            text if text.starts_with("--first-seed=") => {
                first = text.split('=').nth(1).and_then(|n| n.parse().ok())
            }
            "--only-cost" => return cost::report(quick),
            path => data = Some(PathBuf::from(path)),
        }
    }
    println!("# insight: what it finds and what it costs\n");
    public::report(data.as_deref());
    attack::report(quick, first);
    world::report(quick, first);
    cost::report(quick);
}
