//! Held against the published tests of the C library: `BARTIZAN_LIBINJECTION` names the folder in which its `tests/`
//! lies. Shapes of attacks go through our operator as rules use it; tokens, their folding and the reader of markup are
//! asked directly, because a difference there is one in shapes that nobody has tried yet.

use std::{fs, path::PathBuf};

use bartizan_inspect::{Exchange, RequestHead, Session};
use libinjectionrs::{
    SqliFlags, SqliState,
    sqli::{SqliTokenizer, Token, TokenType},
    xss::{Html5Flags, Html5State},
};

use crate::run::set;

/// The published tests of each kind; a count that shrinks hides a difference.
const COMPARED_MIN: [(&str, usize); 4] =
    [("test-tokens-", 238), ("test-folding-", 118), ("test-sqli-", 50), ("test-html5-", 63)];

struct Published {
    name: String,
    input: Vec<u8>,
    expected: Vec<u8>,
}

/// The tests of a kind; `None` where they are not there.
fn published(kind: &str) -> Option<Vec<Published>> {
    let Some(folder) = std::env::var_os("BARTIZAN_LIBINJECTION").map(PathBuf::from) else {
        eprintln!("skipped: no tests of libinjection (BARTIZAN_LIBINJECTION)");
        return None;
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder.join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with(kind) || !name.ends_with(".txt") {
            continue;
        }
        let text = fs::read(&path).unwrap();
        let at = |mark: &str| memchr::memmem::find(&text, mark.as_bytes());
        let (Some(input), Some(expected)) = (at("--INPUT--\n"), at("--EXPECTED--")) else { continue };
        let input = &text[input + "--INPUT--\n".len()..expected];
        let expected = text[expected + "--EXPECTED--".len()..].trim_ascii().to_vec();
        // The library's own driver reads texts without the space at their ends.
        found.push(Published { name, input: input.trim_ascii_end().to_vec(), expected });
    }
    let least = COMPARED_MIN.iter().find(|(known, _)| *known == kind).unwrap().1;
    println!("{} published tests of {kind}", found.len());
    assert!(found.len() >= least, "only {} of {least} tests of {kind}", found.len());
    Some(found)
}

fn compare(kind: &str, made: impl Fn(&[u8]) -> Vec<u8>) {
    let Some(tests) = published(kind) else { return };
    let differing: Vec<String> = tests
        .iter()
        .filter(|test| made(&test.input).trim_ascii() != test.expected)
        .map(|test| format!("{}: {}", test.name, String::from_utf8_lossy(&made(&test.input))))
        .collect();
    assert!(differing.is_empty(), "differ from the C library: {differing:#?}");
}

/// A token as the library's driver prints it.
fn printed(token: &Token) -> Vec<u8> {
    let mut line = vec![token.token_type.to_char() as u8, b' '];
    // The signs in front of a name are part of it here, those in front of a quote are not.
    if token.token_type == TokenType::Variable && token.str_open != 0 {
        line.extend(std::iter::repeat_n(b'@', usize::try_from(token.count).unwrap()));
    }
    let is_text = matches!(token.token_type, TokenType::String | TokenType::Variable);
    line.extend((is_text && token.str_open != 0).then_some(token.str_open));
    line.extend_from_slice(&token.val[..token.len.min(token.val.len())]);
    line.extend((is_text && token.str_close != 0).then_some(token.str_close));
    line.push(b'\n');
    line
}

#[test]
fn shapes_of_attacks_are_those_of_the_c_library() {
    let rules = set(r#"SecRule REQUEST_HEADERS:X "@detectSQLi" "id:1,phase:1,pass,capture""#);
    compare("test-sqli-", |input| {
        let mut session = Session::new(rules.clone(), None, Exchange::default());
        session.request_head(&RequestHead { headers: &[(b"X", input)], ..RequestHead::default() });
        let _ = session.run();
        session.variable("0").map(<[u8]>::to_vec).unwrap_or_default()
    });
}

#[test]
fn tokens_are_those_of_the_c_library() {
    compare("test-tokens-", |input| {
        let mut tokenizer = SqliTokenizer::new(input, SqliFlags::FLAG_SQL_ANSI);
        std::iter::from_fn(|| tokenizer.next_token()).flat_map(|token| printed(&token)).collect()
    });
}

#[test]
fn folded_tokens_are_those_of_the_c_library() {
    compare("test-folding-", |input| {
        let mut state = SqliState::new(input, SqliFlags::FLAG_NONE);
        let count = state.fold_tokens();
        state.tokens.iter().take(count).flat_map(printed).collect()
    });
}

#[test]
fn markup_is_read_as_the_c_library_reads_it() {
    compare("test-html5-", |input| {
        let mut state = Html5State::new(input, Html5Flags::DataState);
        let mut lines = Vec::new();
        while state.next() {
            lines.extend_from_slice(format!("{},{},", state.token_type, state.token_len).as_bytes());
            lines.extend_from_slice(&state.token_start[..state.token_len]);
            lines.push(b'\n');
        }
        lines
    });
}
