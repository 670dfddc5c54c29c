//! Bartizan: a security-first API and AI gateway.

fn main() {}
