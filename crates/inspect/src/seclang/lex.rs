//! SecLang text into directives: lines joined at a trailing backslash, divided into words by white space and quotes.

use std::sync::Arc;

use crate::error::{LoadError, Place, Problem};

/// 256 KiB: a longer directive is not rule text.
const DIRECTIVE_BYTES_MAX: usize = 256 << 10;

/// One directive: its words, the first of which is its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
}

/// Divides a file. A comment never continues on the next line: joining it there, as some servers do, can swallow a
/// rule silently.
pub(super) fn directives(file: &Arc<str>, text: &str) -> Result<Vec<Directive>, LoadError> {
    let mut found = Vec::new();
    let mut joined: Option<(u32, String)> = None;
    for (number, line) in (1_u32..).zip(text.lines()) {
        let line = line.trim_end();
        let (start, mut so_far) = match joined.take() {
            Some(begun) => begun,
            None if line.trim_start().starts_with('#') || line.trim().is_empty() => continue,
            None => (number, String::new()),
        };
        let place = || Place { file: Arc::clone(file), line: start };
        if let Some(part) = line.strip_suffix('\\') {
            so_far.push_str(part);
            joined = Some((start, so_far));
            continue;
        }
        so_far.push_str(line);
        if so_far.len() > DIRECTIVE_BYTES_MAX {
            return Err(LoadError {
                place: place(),
                problem: Problem::Text("a directive is longer than 256 KiB"),
            });
        }
        let mut words = words(&so_far).map_err(|problem| LoadError { place: place(), problem })?.into_iter();
        if let Some(name) = words.next() {
            found.push(Directive { place: place(), name, arguments: words.collect() });
        }
    }
    match joined {
        None => Ok(found),
        Some((line, _)) => Err(LoadError {
            place: Place { file: Arc::clone(file), line },
            problem: Problem::Text("the file ends with a backslash"),
        }),
    }
}

/// Words between white space; quotes keep white space, and a backslash keeps a quote. Every other backslash stays:
/// it belongs to the pattern.
fn words(text: &str) -> Result<Vec<String>, Problem> {
    let mut words = Vec::new();
    let mut characters = text.chars().peekable();
    loop {
        while characters.next_if(|character| character.is_whitespace()).is_some() {}
        let Some(&first) = characters.peek() else { return Ok(words) };
        let mut word = String::new();
        if first == '"' || first == '\'' {
            characters.next();
            loop {
                match characters.next() {
                    None => return Err(Problem::Text("a quotation mark is not closed")),
                    Some('\\') if characters.peek() == Some(&first) => {
                        word.push(first);
                        characters.next();
                    }
                    Some('\\') if characters.peek() == Some(&'\\') => {
                        word.push_str("\\\\");
                        characters.next();
                    }
                    Some(character) if character == first => break,
                    Some(character) => word.push(character),
                }
            }
        } else {
            while let Some(character) = characters.next_if(|character| !character.is_whitespace()) {
                word.push(character);
            }
        }
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Directive> {
        directives(&Arc::from("t.conf"), text).unwrap()
    }

    #[test]
    fn lines_are_joined_and_numbered_by_their_first() {
        let found = read("# c\n\nSecRule ARGS \"@rx \\\"a\\b\" \\\n  \"id:1,\\\n  deny\"\r\nSecMarker X\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].place.line, 3);
        assert_eq!(found[0].arguments, ["ARGS", "@rx \"a\\b", "id:1,  deny"]);
        assert_eq!((found[1].place.line, found[1].name.as_str()), (6, "SecMarker"));
    }

    #[test]
    fn a_comment_that_ends_with_a_backslash_swallows_nothing() {
        assert_eq!(read("# old \\\nSecMarker X").len(), 1);
    }

    #[test]
    fn an_open_quotation_mark_is_an_error_with_its_line() {
        let error = directives(&Arc::from("t.conf"), "\nSecRule \"ARGS").unwrap_err();
        assert_eq!(error.to_string(), "t.conf:2: a quotation mark is not closed");
    }
}
