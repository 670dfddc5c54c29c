//! The second argument of `SecRule`: `!@name argument`, or a bare pattern.

use std::sync::Arc;

use crate::{
    error::Problem,
    operator::{AddressSet, Operator, Order, Phrases, WrittenPattern},
    pattern::Pattern,
    rule::Template,
};

/// Reads a data file named beside the rule.
pub(super) type ReadData<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, Problem>;

/// Reads the operator; true when it is negated.
pub(super) fn operator(text: &str, data: ReadData<'_>) -> Result<(Operator, bool), Problem> {
    let text = text.trim_start();
    let (negated, text) = match text.strip_prefix('!') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    let (name, argument) = match text.strip_prefix('@') {
        Some(named) => named.split_once(char::is_whitespace).unwrap_or((named, "")),
        None => ("rx", text),
    };
    Ok((named(name, argument, data)?, negated))
}

fn named(name: &str, argument: &str, data: ReadData<'_>) -> Result<Operator, Problem> {
    let trimmed = argument.trim();
    let template =
        |text: &str| Template::parse(text).map_err(|word| Problem::Unknown { kind: "macro", word });
    let number = |order: Order| {
        let template = template(trimmed)?;
        match template.constant() {
            Some(text) if !is_number(text) => Err(unfit(name, argument, "a whole number")),
            _ => Ok(Operator::Number(order, template)),
        }
    };
    Ok(match name.to_ascii_lowercase().as_str() {
        "beginswith" => Operator::BeginsWith(template(argument)?),
        "contains" | "strmatch" => Operator::Contains(template(argument)?),
        "containsword" => Operator::ContainsWord(template(argument)?),
        "detectsqli" => Operator::DetectSqli,
        "detectxss" => Operator::DetectXss,
        "endswith" => Operator::EndsWith(template(argument)?),
        "eq" => number(Order::Equal)?,
        "ge" => number(Order::GreaterOrEqual)?,
        "gt" => number(Order::Greater)?,
        "ipmatch" => addresses(name, argument.split(','))?,
        "ipmatchf" | "ipmatchfromfile" => {
            let text = lines(name, &data(trimmed)?)?;
            addresses(name, text.iter().map(String::as_str))?
        }
        "le" => number(Order::LessOrEqual)?,
        "lt" => number(Order::Less)?,
        "ne" => number(Order::Unequal)?,
        "nomatch" => Operator::Never,
        "pm" => phrases(name, words(trimmed))?,
        "pmf" | "pmfromfile" => {
            let mut words = Vec::new();
            for file in trimmed.split_ascii_whitespace() {
                words.extend(lines(name, &data(file)?)?.into_iter().map(String::into_bytes));
            }
            phrases(name, words)?
        }
        "rx" => match Template::parse(argument) {
            Ok(template) if template.constant().is_none() => {
                Operator::Written(Arc::new(WrittenPattern::new(template)))
            }
            _ => Operator::Pattern(Arc::new(Pattern::parse(argument).map_err(Problem::Pattern)?)),
        },
        "streq" => Operator::Same(template(argument)?),
        "unconditionalmatch" => Operator::Always,
        "validatebyterange" => Operator::BytesOutside(Arc::new(byte_ranges(name, argument)?)),
        "validateurlencoding" => Operator::BrokenUrlEncoding,
        "validateutf8encoding" => Operator::BrokenUtf8,
        "within" => Operator::Within(template(argument)?),
        "exec" | "inspectfile" | "fuzzyhash" => {
            return Err(unsupported(name, "rules run no programs"));
        }
        "rbl" | "gsblookup" | "geolookup" => return Err(unsupported(name, "rules ask nobody outside")),
        "verifycc" | "verifycpf" | "verifyssn" | "verifysvnr" | "validatedtd" | "validateschema"
        | "validatehash" | "rsub" | "rxglobal" | "pmfromdataset" | "ipmatchfromdataset" | "restpath"
        | "validatenid" => {
            return Err(unsupported(name, "not part of this engine"));
        }
        _ => return Err(Problem::Unknown { kind: "operator", word: format!("@{name}") }),
    })
}

/// Whether an operator asks somebody outside.
pub(super) fn is_lookup(word: &str) -> bool {
    ["@geoLookup", "@rbl"].iter().any(|lookup| lookup.eq_ignore_ascii_case(word))
}

fn is_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

fn addresses<'a>(name: &str, items: impl Iterator<Item = &'a str>) -> Result<Operator, Problem> {
    let mut set = AddressSet::default();
    for item in items {
        if !set.add(item.trim()) {
            return Err(unfit(name, item, "an address or a network"));
        }
    }
    Ok(Operator::Address(Arc::new(set)))
}

fn phrases(name: &str, words: Vec<Vec<u8>>) -> Result<Operator, Problem> {
    match Phrases::new(words) {
        Ok(phrases) => Ok(Operator::Phrases(Arc::new(phrases))),
        Err(_) => Err(unfit(name, "", "a list with at least one phrase")),
    }
}

/// The phrases of `@pm`, in which `|41 42|` stands for bytes; a bar that encloses no hexadecimal is a bar.
fn words(text: &str) -> Vec<Vec<u8>> {
    let mut words = vec![Vec::new()];
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let behind = rest.get(character.len_utf8()..).unwrap_or_default();
        let enclosed = (character == '|').then(|| behind.split_once('|')).flatten();
        if let Some((bytes, after)) = enclosed.and_then(|(digits, after)| Some((hexadecimal(digits)?, after)))
        {
            words.last_mut().into_iter().for_each(|word| word.extend_from_slice(&bytes));
            rest = after;
            continue;
        }
        if character.is_ascii_whitespace() {
            words.push(Vec::new());
        } else {
            let mut buffer = [0; 4];
            let bytes = character.encode_utf8(&mut buffer).as_bytes();
            words.last_mut().into_iter().for_each(|word: &mut Vec<u8>| word.extend_from_slice(bytes));
        }
        rest = behind;
    }
    words.retain(|word| !word.is_empty());
    words
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let pairs =
        text.split(' ').map(|pair| if pair.len() == 2 { u8::from_str_radix(pair, 16).ok() } else { None });
    pairs.collect::<Option<Vec<u8>>>().filter(|bytes| !bytes.is_empty())
}

/// Lines of a data file without comments and blank lines; spaces within are kept.
fn lines(name: &str, data: &[u8]) -> Result<Vec<String>, Problem> {
    let text = std::str::from_utf8(data).map_err(|_| unfit(name, "the file", "UTF-8 text"))?;
    Ok(text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .map(|line| line.trim_end_matches('\r').to_owned())
        .collect())
}

fn byte_ranges(name: &str, text: &str) -> Result<[bool; 256], Problem> {
    let mut inside = [false; 256];
    for item in text.split(',') {
        let (from, to) = item.trim().split_once('-').unwrap_or((item.trim(), item.trim()));
        let (Ok(from), Ok(to)) = (from.trim().parse::<u8>(), to.trim().parse::<u8>()) else {
            return Err(unfit(name, item, "a byte or a range of bytes"));
        };
        for byte in from..=to {
            if let Some(place) = inside.get_mut(usize::from(byte)) {
                *place = true;
            }
        }
    }
    Ok(inside)
}

fn unfit(name: &str, value: &str, expected: &'static str) -> Problem {
    Problem::Argument { what: format!("@{name}"), value: value.trim().to_owned(), expected }
}

fn unsupported(name: &str, reason: &'static str) -> Problem {
    Problem::Unsupported { kind: "operator", word: format!("@{name}"), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Operator, bool), Problem> {
        operator(text, &|_| Ok(b"# comment\none two\n\nthree\r\n".to_vec()))
    }

    #[test]
    fn a_bare_text_is_a_pattern_and_an_exclamation_mark_negates() {
        assert!(matches!(read("abc"), Ok((Operator::Pattern(_), false))));
        assert!(matches!(read("!@streq abc"), Ok((Operator::Same(_), true))));
        assert!(matches!(read("!abc"), Ok((Operator::Pattern(_), true))));
    }

    #[test]
    fn data_files_lose_comments_and_keep_spaces() {
        let Ok((Operator::Phrases(phrases), _)) = read("@pmFromFile x.data") else { panic!() };
        assert_eq!(phrases.find(b"a ONE TWO b"), Some(&b"ONE TWO"[..]));
        assert_eq!(phrases.find(b"one"), None);
        assert_eq!(phrases.find(b"comment"), None);
        assert_eq!(phrases.find(b"three"), Some(&b"three"[..]));
    }

    #[test]
    fn what_is_unknown_malformed_or_refused_is_an_error() {
        for text in [
            "@nosuch x",
            "@ipMatch 10.0.0.0/33",
            "@eq x",
            "@validateByteRange 1-300",
            "@pm",
            "@rx (",
            "@exec /bin/x",
            "@rbl x",
            "@geoLookup",
            "@streq %{nosuch}",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
