//! What a plain scalar is (YAML 1.2 core schema), and what the parser's complaints mean to an author.

use bartizan_model::{node::Value, problem::Code};

/// The value of a scalar that is not in quotes. `yes`, `on` and their like are text: only YAML 1.1 took them for
/// booleans, and a country called `no` is not `false`.
pub(super) fn value(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_integer(text) => Value::Integer(text.into()),
        _ if is_float(text) => Value::Float(text.into()),
        _ => Value::Text { text: text.into(), quoted: false },
    }
}

fn is_integer(text: &str) -> bool {
    let all =
        |digits: &str, is_digit: fn(&u8) -> bool| !digits.is_empty() && digits.bytes().all(|b| is_digit(&b));
    if let Some(digits) = text.strip_prefix("0x") {
        return all(digits, u8::is_ascii_hexdigit);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return all(digits, |byte| (b'0'..=b'7').contains(byte));
    }
    all(unsigned(text), u8::is_ascii_digit)
}

fn is_float(text: &str) -> bool {
    let unsigned = unsigned(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(self::unsigned(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    has_digits
        && digits(whole)
        && digits(fraction)
        && exponent.is_none_or(|part| !part.is_empty() && digits(part))
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['+', '-']).unwrap_or(text)
}

/// The parser's message as an author can use it: code, message, hint.
pub(super) fn syntax(info: &str) -> (Code, String, Option<&'static str>) {
    const KNOWN: &[(&str, Code, &str, Option<&str>)] = &[
        (
            "unknown anchor",
            Code::AliasRefused,
            "anchors and aliases are not part of the document language",
            Some("write the value where it is needed, or put text that begins with `*` in quotes"),
        ),
        ("recursion limit", Code::TooDeep, "lists and mappings are nested too deep", None),
        (
            "mapping values are not allowed",
            Code::Syntax,
            "a `:` stands where no field can begin",
            Some(
                "check the indentation of this line and the one before; put text that contains `: ` in quotes",
            ),
        ),
        (
            "end of stream",
            Code::Syntax,
            "the text ends inside quotes or brackets that begin here",
            Some("close the quote or bracket"),
        ),
        (
            "unexpected eof",
            Code::Syntax,
            "the text ends too early",
            Some("close the quote or bracket that is still open"),
        ),
        (
            "illegal placement of ':'",
            Code::Syntax,
            "a `:` stands where no field can begin",
            Some("check whether a bracket or quote before it is not closed"),
        ),
        ("tab", Code::Syntax, "a tab stands where YAML wants spaces", Some("indent with spaces")),
        (
            "simple key expect",
            Code::Syntax,
            "a line stands where a field with a `:` is expected",
            Some("check the indentation, and whether a `:` is missing"),
        ),
        (
            "could not find expected ':'",
            Code::Syntax,
            "a line stands where a field with a `:` is expected",
            Some("check the indentation, and whether a `:` is missing"),
        ),
        (
            "expected <document start>",
            Code::Syntax,
            "something stands after the end of the document",
            Some("separate documents by a line with `---`"),
        ),
        (
            "invalid Unicode character escape",
            Code::Syntax,
            "an escape in this text is not a character",
            Some("write the character itself"),
        ),
    ];
    match KNOWN.iter().find(|(part, ..)| info.contains(part)) {
        Some((_, code, message, hint)) => (*code, (*message).to_owned(), *hint),
        None => (Code::Syntax, info.to_owned(), None),
    }
}
