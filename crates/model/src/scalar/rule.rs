//! Words of inspection: rules by number, and how suspicious a rule set is.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use super::{Wrong, from_text_or_number, scalar, text_shape};
use crate::{
    node::Node,
    problem::{Code, Problems, shown},
    read::{Path, Read, integer},
    shape::Shape,
};

/// A rule by its number, or all rules in a range: `942100`, `942000-942999`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleRange {
    /// The first number.
    pub first: u32,
    /// The last number, itself included.
    pub last: u32,
}

impl FromStr for RuleRange {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<u32>().ok()).flatten().filter(|number| *number > 0)
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(RuleRange { first, last }),
            _ => {
                let wrong = Wrong::new(Code::BadValue, format!("{} is not a rule's number", shown(text)));
                Err(wrong.hint("write one number, or a range such as `942000-942999`"))
            }
        }
    }
}

impl fmt::Display for RuleRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

scalar!(
    RuleRange,
    from_text_or_number,
    Shape::OneOf(vec![
        text_shape("rule number or range", "^[0-9]+(-[0-9]+)?$", "942000-942999"),
        Shape::Integer { min: 1, max: u64::from(u32::MAX) },
    ])
);

/// How suspicious a rule set is, from 1 (few false alarms) to 4 (many).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Paranoia(u8);

impl Paranoia {
    /// What rule sets are made to be run with.
    pub const LOWEST: Paranoia = Paranoia(1);

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Paranoia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Read for Paranoia {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        // `integer` admits nothing above 4, so the conversion cannot fail.
        integer(node, 1, 4, at, problems).and_then(|value| value.try_into().ok()).map(Paranoia)
    }

    fn shape() -> Shape {
        Shape::Integer { min: 1, max: 4 }
    }
}

impl Serialize for Paranoia {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_a_number_or_a_range_that_ascends() {
        for (text, expected) in [
            ("942100", Some((942_100, 942_100))),
            ("942000-942999", Some((942_000, 942_999))),
            ("0", None),
            ("9-1", None),
            ("a", None),
            ("1-", None),
            ("+1", None),
            ("99999999999", None),
        ] {
            let read = text.parse::<RuleRange>().ok().map(|range| (range.first, range.last));
            assert_eq!(read, expected, "{text}");
        }
        assert_eq!("7".parse::<RuleRange>().unwrap().to_string(), "7");
        assert_eq!("7-9".parse::<RuleRange>().unwrap().to_string(), "7-9");
    }
}
