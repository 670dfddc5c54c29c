//! Checks, generated files, benchmarks.

fn main() {}
