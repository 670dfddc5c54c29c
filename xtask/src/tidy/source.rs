//! Rust sources as the rules see them: production lines, without comments and texts.

use std::path::Path;

use crate::{Result, shell};

/// One source file.
pub(super) struct Source {
    /// Its path below the root.
    pub(super) path: String,
    /// The production part: line number from 1, and the line with comments and the insides of texts blanked out.
    pub(super) lines: Vec<(usize, String)>,
}

/// The production sources below `folder`, sorted. Files of tests (`tests.rs`, `*_tests.rs`, folders `tests`,
/// `benches`) are left out, and so is what follows `#[cfg(test)]` on a module at the end of a file.
pub(super) fn production(folder: impl AsRef<Path>) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in shell::files(folder) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let of_tests = name == "tests.rs" || name.ends_with("_tests.rs") || name == "build.rs";
        let in_tests =
            path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "benches")));
        if path.extension().is_some_and(|extension| extension == "rs") && !of_tests && !in_tests {
            sources.push(Source {
                lines: lines(&shell::read(&path)?),
                path: path.to_string_lossy().into_owned(),
            });
        }
    }
    Ok(sources)
}

/// The production lines of a text.
pub(super) fn lines(text: &str) -> Vec<(usize, String)> {
    let blanked = blank(text);
    let mut kept = Vec::new();
    let mut lines = blanked.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            // Only a module: a function or import for tests may stand anywhere, and what follows it counts.
            let next = lines.peek().map(|(_, next)| next.trim()).unwrap_or_default();
            let next = next.strip_prefix("pub(crate) ").unwrap_or(next);
            if next.starts_with("mod ") && next.ends_with('{') {
                break;
            }
        }
        kept.push((index + 1, line.to_owned()));
    }
    kept
}

/// The text with comments and the insides of texts replaced by spaces, line ends kept.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut state = State::Code;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let (taken, after) = step(state, rest);
        let piece = rest.get(..taken).unwrap_or(rest);
        if state == State::Code && after == State::Code {
            out.push_str(piece);
        } else {
            out.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        state = after;
        rest = rest.get(taken.max(next.len_utf8())..).unwrap_or_default();
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Code,
    LineComment,
    BlockComment(usize),
    Text,
    /// A raw text with so many `#`.
    RawText(usize),
}

/// How many bytes belong together at the start of `rest`, and what comes after them.
fn step(state: State, rest: &str) -> (usize, State) {
    let first = rest.chars().next().map_or(1, char::len_utf8);
    match state {
        State::Code => {
            if rest.starts_with("//") {
                return (2, State::LineComment);
            }
            if rest.starts_with("/*") {
                return (2, State::BlockComment(1));
            }
            if let Some(raw) = rest.strip_prefix('r').or_else(|| rest.strip_prefix("br")) {
                let hashes = raw.bytes().take_while(|byte| *byte == b'#').count();
                if raw.get(hashes..).is_some_and(|raw| raw.starts_with('"')) {
                    return (rest.len() - raw.len() + hashes + 1, State::RawText(hashes));
                }
            }
            if rest.starts_with('"') {
                return (1, State::Text);
            }
            (character(rest).or_else(|| word(rest)).unwrap_or(first), State::Code)
        }
        State::LineComment => (first, if rest.starts_with('\n') { State::Code } else { State::LineComment }),
        State::BlockComment(depth) if rest.starts_with("*/") => {
            (2, if depth > 1 { State::BlockComment(depth - 1) } else { State::Code })
        }
        State::BlockComment(depth) if rest.starts_with("/*") => (2, State::BlockComment(depth + 1)),
        State::Text if rest.starts_with('\\') => {
            (1 + rest.chars().nth(1).map_or(0, char::len_utf8), State::Text)
        }
        State::Text if rest.starts_with('"') => (1, State::Code),
        State::RawText(hashes)
            if rest.strip_prefix('"').is_some_and(|end| end.starts_with(&"#".repeat(hashes))) =>
        {
            (1 + hashes, State::Code)
        }
        State::BlockComment(_) | State::Text | State::RawText(_) => (first, state),
    }
}

/// A character such as `'"'` or `b'\\'`, so that its quote does not begin a text; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let escaped = inside.starts_with('\\');
    let first = inside.chars().nth(usize::from(escaped))?;
    let length = usize::from(escaped) + first.len_utf8();
    // `'\u{1F600}'` and `'\x7f'`: up to the closing quote.
    let end = if escaped { inside.get(length..)?.find('\'')? } else { 0 };
    inside.get(length + end..)?.starts_with('\'').then_some(1 + length + end + 1)
}

/// A whole word, so that the `r` of `for"` is no raw text.
fn word(rest: &str) -> Option<usize> {
    let length = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    (length > 0).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_texts_are_blanked_and_code_is_kept() {
        let cases = [
            ("a // b", "a     "),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x // y", 'z')"#, "f(        , 'z')"),
            (r##"let a = r#"x " y"#; b"##, r"let a =           ; b"),
            (r#"'"' b"#, r#"'"' b"#),
            (r"'\'' // c", r"'\''     "),
            (r#"&'a str "x""#, r"&'a str    "),
            ("\"a\\\"b\" c", "       c"),
        ];
        for (text, expected) in cases {
            assert_eq!(blank(text), expected, "{text}");
        }
    }

    #[test]
    fn what_follows_the_tests_is_no_production_line() {
        let text =
            "fn a() {}\n#[cfg(test)]\nuse b;\nfn c() {}\n#[cfg(test)]\nmod tests {\n    fn d() {}\n}\n";
        assert_eq!(lines(text).len(), 4);
    }
}
