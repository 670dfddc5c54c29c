//! The words of a condition. Linear in the text; every word remembers its place.

use super::Wrong;

/// A word and its first byte.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) word: Word,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    /// A name, or one of `true`, `false`, `in`.
    Name(String),
    /// A number without its sign.
    Number(u64),
    /// A string, its escapes resolved.
    Text(String),
    /// An operator, bracket or separator.
    Mark(&'static str),
}

/// 1,024: a condition of 4 KiB has a few hundred.
const TOKENS_MAX: usize = 1_024;

/// The longer ones first.
const MARKS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "(", ")", "[", "]", "{", "}", ".", ",", "?", ":", "!", "<", ">", "+",
    "-", "*", "/", "%",
];

/// Reads the words of a text.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Wrong> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(first) = rest.chars().next() else { break };
        if matches!(first, ' ' | '\t' | '\n' | '\r' | '\u{c}') {
            at += 1;
            continue;
        }
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        if tokens.len() == TOKENS_MAX {
            return Err(Wrong::new(at, format!("the condition has more than {TOKENS_MAX} words")));
        }
        let (word, length) = word(rest, at)?;
        tokens.push(Token { at, word });
        at += length;
    }
    Ok(tokens)
}

fn word(rest: &str, at: usize) -> Result<(Word, usize), Wrong> {
    let first = rest.chars().next().unwrap_or_default();
    let raw = rest.strip_prefix(['r', 'R']).is_some_and(|rest| rest.starts_with(['"', '\'']));
    if raw || matches!(first, '"' | '\'') {
        return text(rest, raw, at);
    }
    if rest.strip_prefix(['b', 'B']).is_some_and(|rest| rest.starts_with(['"', '\''])) {
        return Err(Wrong::new(at, "bytes are not part of conditions").hint("write a string without the `b`"));
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        return Ok((Word::Name(rest.get(..length).unwrap_or_default().to_owned()), length));
    }
    if first.is_ascii_digit() {
        return number(rest, at);
    }
    match MARKS.iter().find(|mark| rest.starts_with(**mark)) {
        Some(mark) => Ok((Word::Mark(mark), mark.len())),
        None => Err(unknown(first, at)),
    }
}

fn unknown(character: char, at: usize) -> Wrong {
    let wrong = Wrong::new(at, format!("`{}` means nothing here", character.escape_debug()));
    match character {
        '&' => wrong.hint("and is written `&&`"),
        '|' => wrong.hint("or is written `||`"),
        '=' => wrong.hint("equality is written `==`"),
        '`' => wrong.hint("a name with other characters is written `[\"…\"]`"),
        _ => wrong,
    }
}

fn number(rest: &str, at: usize) -> Result<(Word, usize), Wrong> {
    let (digits, base, prefix) = match rest.strip_prefix("0x").or(rest.strip_prefix("0X")) {
        Some(digits) => (digits, 16, 2),
        None => (rest, 10, 0),
    };
    let length = digits.find(|c: char| !c.is_digit(base)).unwrap_or(digits.len());
    let after = digits.get(length..).unwrap_or_default();
    let fraction = after.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if fraction || after.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return Err(
            Wrong::new(at, "only whole numbers are part of conditions").hint("write for example `100`")
        );
    }
    match u64::from_str_radix(digits.get(..length).unwrap_or_default(), base) {
        // One more than the greatest, so that the least can be written with its sign.
        Ok(number) if number <= i64::MIN.unsigned_abs() => Ok((Word::Number(number), prefix + length)),
        _ => Err(Wrong::new(at, "the number is out of range")),
    }
}

fn text(rest: &str, raw: bool, at: usize) -> Result<(Word, usize), Wrong> {
    let open = usize::from(raw);
    let body = rest.get(open..).unwrap_or_default();
    let Some(quote) = body.chars().next() else { return Err(Wrong::new(at, "the string does not end")) };
    let mut out = String::new();
    let mut characters = body.char_indices().skip(1).peekable();
    if body.get(1..3).is_some_and(|next| next.chars().all(|c| c == quote)) {
        return Err(Wrong::new(at, "strings over several lines are not part of conditions"));
    }
    while let Some((offset, character)) = characters.next() {
        match character {
            _ if character == quote => return Ok((Word::Text(out), open + offset + 1)),
            '\n' | '\r' => break,
            '\\' if !raw => {
                let length = escape(body.get(offset + 1..).unwrap_or_default(), &mut out)
                    .ok_or_else(|| Wrong::new(at + open + offset, "there is no such escape"))?;
                while characters.peek().is_some_and(|(next, _)| *next <= offset + length) {
                    characters.next();
                }
            }
            _ => out.push(character),
        }
    }
    Err(Wrong::new(at, "the string does not end").hint(format!("close it with {quote}")))
}

/// Resolves what follows a backslash, and says how many bytes it has. As the CEL specification lists them.
fn escape(rest: &str, out: &mut String) -> Option<usize> {
    let first = rest.chars().next()?;
    let plain = match first {
        '\\' | '"' | '\'' | '`' | '?' => Some(first),
        'a' => Some('\u{7}'),
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\u{b}'),
        _ => None,
    };
    if let Some(plain) = plain {
        out.push(plain);
        return Some(1);
    }
    let (skip, digits, base) = match first {
        'x' | 'X' => (1, 2, 16),
        'u' => (1, 4, 16),
        'U' => (1, 8, 16),
        '0'..='3' => (0, 3, 8),
        _ => return None,
    };
    let digits = rest.get(skip..skip + digits).filter(|text| text.chars().all(|c| c.is_digit(base)))?;
    out.push(char::from_u32(u32::from_str_radix(digits, base).ok()?)?);
    Some(skip + digits.len())
}
