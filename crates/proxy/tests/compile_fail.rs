//! What must not compile: a way around a stage.
//!
//! Each case holds two functions. One is the twin, which compiles; the other differs in the line that is marked, and
//! is the only one with an error. The expected error is pinned beside the case, so a case that fails for another
//! reason fails the test.

#[test]
fn no_way_around_a_stage_compiles() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_fail/*.rs");
}
