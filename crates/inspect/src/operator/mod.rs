//! Operators: the tests of the rule language. A test sees one value at a time; a value that does not exist is never
//! tested, so a negated test does not hold for it either.

mod address;
mod check;
mod injection;
mod number;
mod phrases;
mod written;

use std::{borrow::Cow, sync::Arc};

pub use address::AddressSet;
pub(crate) use number::read as whole_number;
pub use phrases::Phrases;
pub use written::WrittenPattern;

use crate::{
    pattern::{ByteSet, Pattern, Requirement, Unusable},
    rule::Template,
};

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `@eq`
    Equal,
    /// `@gt`
    Greater,
    /// `@ge`
    GreaterOrEqual,
    /// `@lt`
    Less,
    /// `@le`
    LessOrEqual,
    /// `@ne`
    Unequal,
}

/// A test.
#[derive(Clone, Debug)]
pub enum Operator {
    /// `@ipMatch`, `@ipMatchFromFile`: the address is in one of the networks.
    Address(Arc<AddressSet>),
    /// `@beginsWith`
    BeginsWith(Template),
    /// `@contains`, `@strmatch`
    Contains(Template),
    /// `@containsWord`
    ContainsWord(Template),
    /// `@detectSQLi`
    DetectSqli,
    /// `@detectXSS`
    DetectXss,
    /// `@endsWith`
    EndsWith(Template),
    /// `@noMatch`
    Never,
    /// `@eq`, `@ne`, `@gt`, `@ge`, `@lt`, `@le`
    Number(Order, Template),
    /// `@pm`, `@pmFromFile`
    Phrases(Arc<Phrases>),
    /// `@rx`
    Pattern(Arc<Pattern>),
    /// `@rx` with macros: the pattern is known only when the rule runs.
    Written(Arc<WrittenPattern>),
    /// `@streq`
    Same(Template),
    /// `@unconditionalMatch`
    Always,
    /// `@validateByteRange`: holds when a byte is outside.
    BytesOutside(Arc<[bool; 256]>),
    /// `@validateUrlEncoding`: holds when an escape is broken.
    BrokenUrlEncoding,
    /// `@validateUtf8Encoding`: holds when the text is not UTF-8.
    BrokenUtf8,
    /// `@within`: the value occurs in the parameter.
    Within(Template),
}

/// Where a test gets the text of a parameter with macros.
pub trait Expand {
    /// The text of `template` now.
    fn expand<'t>(&self, template: &'t Template) -> Cow<'t, [u8]>;
    /// The whole number `template` stands for now; zero when it is none.
    fn number(&self, template: &Template) -> i64 {
        number::read(&self.expand(template))
    }
}

/// What a test says of a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it holds.
    pub holds: bool,
    /// What becomes `TX.0` to `TX.9`, when asked for.
    pub captured: Vec<Option<Vec<u8>>>,
}

impl Outcome {
    fn plain(holds: bool) -> Self {
        Self { holds, captured: Vec::new() }
    }
}

impl Operator {
    /// Tests one value.
    ///
    /// # Errors
    /// When a pattern could not be built: the inspection is incomplete then.
    pub fn test(&self, value: &[u8], capture: bool, texts: &dyn Expand) -> Result<Outcome, Unusable> {
        Ok(Outcome::plain(match self {
            Self::Address(set) => set.contains_text(value),
            Self::Always => {
                return Ok(Outcome { holds: true, captured: keep(capture, || vec![Some(value.to_vec())]) });
            }
            Self::BeginsWith(text) => value.starts_with(&texts.expand(text)),
            Self::BrokenUrlEncoding => check::has_broken_url_encoding(value),
            Self::BrokenUtf8 => std::str::from_utf8(value).is_err(),
            Self::BytesOutside(inside) => {
                value.iter().any(|byte| inside.get(usize::from(*byte)).is_none_or(|inside| !inside))
            }
            Self::Contains(text) => check::contains(value, &texts.expand(text)),
            Self::ContainsWord(text) => check::contains_word(value, &texts.expand(text)),
            Self::DetectSqli => return Ok(injection::sqli(value, capture)),
            Self::DetectXss => injection::xss(value),
            Self::EndsWith(text) => value.ends_with(&texts.expand(text)),
            Self::Never => false,
            Self::Number(order, parameter) => {
                number::holds(*order, number::read(value), texts.number(parameter))
            }
            Self::Pattern(pattern) => return pattern_outcome(pattern, value, capture),
            Self::Phrases(phrases) => {
                let found = phrases.find(value);
                let captured = keep(capture && found.is_some(), || vec![found.map(<[u8]>::to_vec)]);
                return Ok(Outcome { holds: found.is_some(), captured });
            }
            Self::Same(text) => *value == *texts.expand(text),
            Self::Written(written) => {
                return pattern_outcome(
                    &*written.pattern(&texts.expand(written.template()))?,
                    value,
                    capture,
                );
            }
            Self::Within(text) => value.is_empty() || check::contains(&texts.expand(text), value),
        }))
    }

    /// Its parameter, where it may contain macros.
    pub(crate) fn template(&self) -> Option<&Template> {
        match self {
            Self::BeginsWith(text)
            | Self::Contains(text)
            | Self::ContainsWord(text)
            | Self::EndsWith(text)
            | Self::Number(_, text)
            | Self::Same(text)
            | Self::Within(text) => Some(text),
            Self::Written(written) => Some(written.template()),
            Self::Address(_)
            | Self::Always
            | Self::BrokenUrlEncoding
            | Self::BrokenUtf8
            | Self::BytesOutside(_)
            | Self::DetectSqli
            | Self::DetectXss
            | Self::Never
            | Self::Pattern(_)
            | Self::Phrases(_) => None,
        }
    }

    /// What a value must contain for the test to hold, when that can be told beforehand.
    pub(crate) fn requirement(&self) -> Option<Requirement> {
        match self {
            Self::Pattern(pattern) => Some(pattern.requirement()),
            Self::Phrases(phrases) => Some(phrases.requirement()),
            Self::DetectXss => Some(Requirement::one_of(ByteSet::of(injection::XSS_SIGNS))),
            Self::BrokenUrlEncoding => Some(Requirement::one_of(ByteSet::of(b"%"))),
            Self::BrokenUtf8 => Some(Requirement::one_of(ByteSet::of(&(0x80..=0xff).collect::<Vec<u8>>()))),
            Self::BytesOutside(inside) => {
                let outside: Vec<u8> = (0..=255)
                    .filter(|byte| !inside.get(usize::from(*byte)).is_some_and(|in_| *in_))
                    .collect();
                Some(Requirement::one_of(ByteSet::of(&outside)))
            }
            Self::Contains(text) => {
                let text = text.constant().filter(|text| !text.is_empty())?;
                Some(Requirement {
                    literals: vec![text.to_ascii_lowercase()],
                    sets: text.iter().map(|byte| ByteSet::of(&[*byte])).take(1).collect(),
                    length_min: text.len(),
                })
            }
            _ => None,
        }
    }
}

fn pattern_outcome(pattern: &Pattern, value: &[u8], capture: bool) -> Result<Outcome, Unusable> {
    if !pattern.find(value)? {
        return Ok(Outcome::plain(false));
    }
    if !capture {
        return Ok(Outcome::plain(true));
    }
    let groups = pattern.captures(value)?.unwrap_or_default().groups;
    let captured = groups
        .iter()
        .map(|span| span.and_then(|(start, end)| Some(value.get(start..end)?.to_vec())))
        .collect();
    Ok(Outcome { holds: true, captured })
}

fn keep(capture: bool, values: impl FnOnce() -> Vec<Option<Vec<u8>>>) -> Vec<Option<Vec<u8>>> {
    if capture { values() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::seclang::operator_for_test;

    struct Constant;

    impl Expand for Constant {
        fn expand<'t>(&self, template: &'t Template) -> Cow<'t, [u8]> {
            template.constant().map_or(Cow::Borrowed(b""), |text| Cow::Borrowed(text))
        }
    }

    fn bytes(text: &str) -> Vec<u8> {
        text.chars().map(|character| u8::try_from(u32::from(character)).expect("a byte")).collect()
    }

    #[test]
    fn every_operator_does_what_its_table_says() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/operator");
        let mut ran = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let rows: Vec<(String, String, bool)> =
                serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            for (parameter, value, expected) in rows {
                let operator = operator_for_test(name, &parameter).unwrap();
                let outcome = operator.test(&bytes(&value), false, &Constant).unwrap();
                assert_eq!(outcome.holds, expected, "@{name} {parameter} of {value:?}");
                // What the gate asks for is never more than what the test asks for.
                if outcome.holds
                    && let Some(requirement) = operator.requirement()
                {
                    assert!(value.len() >= requirement.length_min, "@{name} {parameter}");
                }
                ran += 1;
            }
        }
        assert!(ran >= 90, "only {ran} rows");
    }

    #[test]
    fn groups_and_phrases_are_captured_only_when_asked_for() {
        let operator = operator_for_test("rx", "(a)(b)").unwrap();
        let outcome = operator.test(b"xab", true, &Constant).unwrap();
        assert_eq!(outcome.captured, [Some(b"ab".to_vec()), Some(b"a".to_vec()), Some(b"b".to_vec())]);
        assert!(operator.test(b"xab", false, &Constant).unwrap().captured.is_empty());
        let operator = operator_for_test("pm", "one two").unwrap();
        assert_eq!(operator.test(b"a TWO", true, &Constant).unwrap().captured, [Some(b"TWO".to_vec())]);
    }
}
