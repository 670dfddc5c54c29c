//! Regular expressions of documents, compiled with a cap and anchored at both ends.

use bartizan_model::problem::{Code, Problem, Problems, Span};
use regex::{Regex, RegexBuilder};

/// 1 MiB of compiled program: enough for any honest pattern, too little to exhaust memory by `a{1000}{1000}`.
const PROGRAM_BYTES_MAX: usize = 1 << 20;

/// Compiles a pattern that must match a whole value. Matching takes time linear in the value, whatever the pattern.
pub(super) fn whole(text: &str, at: Span, path: &str, problems: &mut Problems) -> Option<Regex> {
    // A pattern that closes a group it did not open would escape from the anchors, so it is compiled alone first.
    let alone = RegexBuilder::new(text).size_limit(PROGRAM_BYTES_MAX).build();
    let compiled =
        alone.and_then(|_| RegexBuilder::new(&format!("^(?:{text})$")).size_limit(PROGRAM_BYTES_MAX).build());
    match compiled {
        Ok(regex) => Some(regex),
        Err(error) => {
            let what = match error {
                regex::Error::CompiledTooBig(_) => "the pattern is too large when compiled".to_owned(),
                other => format!("the pattern cannot be compiled: {}", last_line(&other.to_string())),
            };
            problems.push(
                Problem::new(Code::BadPattern, at, path, what)
                    .hint("the syntax is RE2's: linear time, no look-around, no back-references"),
            );
            None
        }
    }
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}
