//! The first argument of `SecRule`: `ARGS|!ARGS:password|&REQUEST_HEADERS:Host|TX:/^x/`.

use std::sync::Arc;

use crate::{
    error::Problem,
    pattern::Pattern,
    rule::{Exclusion, Form, Selector, Shape, Target, Targets, Variable},
};

/// Reads a list of targets.
pub(super) fn targets(text: &str) -> Result<Targets, Problem> {
    let mut targets = Targets::default();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (item, behind) = first(rest);
        rest = behind;
        let item = item.trim();
        if let Some(excluded) = item.strip_prefix('!') {
            let (variable, selector) = variable(excluded)?;
            targets.exclude.push(Exclusion { variable, selector });
            continue;
        }
        let (form, named) = match item.strip_prefix('&') {
            Some(named) => (Form::Count, named),
            None => (Form::Values, item),
        };
        let (variable, selector) = variable(named)?;
        targets.include.push(Target { variable, selector, form });
    }
    Ok(targets)
}

/// Splits off the first item. A pattern between slashes, and what is between quotes, may contain `|`.
fn first(text: &str) -> (&str, &str) {
    let bytes = text.as_bytes();
    let end_of = |from: usize| {
        bytes.iter().skip(from).position(|byte| *byte == b'|').map_or(text.len(), |at| from + at)
    };
    let colon = text.find(':').filter(|colon| *colon < end_of(0));
    let mut end = end_of(0);
    if let Some(colon) = colon {
        let is_xml = text
            .get(..colon)
            .is_some_and(|name| name.trim_start_matches(['!', '&']).eq_ignore_ascii_case("XML"));
        let selector = text.get(colon + 1..).unwrap_or_default();
        let close = match selector.as_bytes() {
            [b'/', ..] if !is_xml => closing(selector, b'/', 1),
            [b'\'', ..] => closing(selector, b'\'', 1),
            _ => None,
        };
        end = close.map_or(end, |close| end_of(colon + 1 + close));
    }
    (text.get(..end).unwrap_or_default(), text.get(end + 1..).unwrap_or_default())
}

fn closing(text: &str, sign: u8, from: usize) -> Option<usize> {
    let mut escaped = false;
    text.bytes().enumerate().skip(from).find_map(|(at, byte)| {
        let found = byte == sign && !escaped;
        escaped = byte == b'\\' && !escaped;
        found.then_some(at)
    })
}

fn variable(text: &str) -> Result<(Variable, Selector), Problem> {
    let (name, key) = match text.split_once(':') {
        Some((name, key)) => (name.trim(), Some(key.trim())),
        None => (text.trim(), None),
    };
    let variable = Variable::from_name(name)
        .ok_or_else(|| Problem::Unknown { kind: "variable", word: name.to_owned() })?;
    let Some(key) = key else {
        return Ok((variable, Selector::All));
    };
    if variable.shape() == Shape::Scalar {
        return Err(argument(name, key, "possible: the variable has no names"));
    }
    let key = key.strip_prefix('\'').and_then(|key| key.strip_suffix('\'')).unwrap_or(key);
    if variable == Variable::Xml {
        // Only the two selections that rule sets use; there is no XPath engine to attack.
        return match key {
            "/*" | "//@*" => Ok((variable, Selector::Name(Arc::from(key)))),
            _ => Err(argument("XML", key, "`/*` or `//@*`")),
        };
    }
    if key.is_empty() {
        return Err(argument(name, key, "a name"));
    }
    if let Some(pattern) = key.strip_prefix('/').and_then(|key| key.strip_suffix('/')) {
        // Selectors are compared without case in every engine, whatever the collection.
        let pattern = Pattern::parse(&format!("(?i){pattern}")).map_err(Problem::Pattern)?;
        return Ok((variable, Selector::Matching(Arc::new(pattern))));
    }
    let key = if variable.changes() {
        key.to_ascii_lowercase()
    } else if key.starts_with("json.") {
        // ModSecurity writes `json.a.array_0.b` where we and others write `json.a.0.b`.
        key.replace(".array_", ".")
    } else {
        key.to_owned()
    };
    Ok((variable, Selector::Name(Arc::from(key))))
}

fn argument(what: &str, value: &str, expected: &'static str) -> Problem {
    Problem::Argument { what: what.to_owned(), value: value.to_owned(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_with_patterns_counts_and_exclusions_are_read() {
        let targets =
            targets("ARGS|!ARGS:/a|b/|&REQUEST_HEADERS:Host|XML:/*|XML://@*|TX:'/^x|y/'|REQUEST_URI")
                .unwrap();
        assert_eq!(targets.include.len(), 6);
        assert_eq!(targets.exclude.len(), 1);
        assert!(targets.exclude[0].covers(Variable::Args, b"xBx"));
        assert!(!targets.exclude[0].covers(Variable::Args, b"c"));
        assert_eq!(targets.include[1].form, Form::Count);
        assert!(matches!(targets.include[4].selector, Selector::Matching(_)));
        assert_eq!(targets.include[5].variable, Variable::RequestUri);
    }

    #[test]
    fn unknown_variables_and_impossible_selectors_are_errors() {
        for text in ["ARGZ", "REQUEST_URI:x", "XML:/a/b", "ARGS:/(/", "ARGS:"] {
            assert!(targets(text).is_err(), "{text}");
        }
    }
}
