//! Names of models and their prices.

use std::{fmt, str::FromStr, sync::Arc};

use super::{Wrong, from_text, from_text_or_number, scalar, text_shape};
use crate::problem::Code;

/// A model's name as providers write them: letters, digits, and `. _ : / @ + -` within, at most 200 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(Arc<str>);

impl ModelName {
    const LENGTH_MAX: usize = 200;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ModelName {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@+-".contains(&byte);
        let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = text.as_bytes();
        let is_name = bytes.len() <= ModelName::LENGTH_MAX
            && bytes.iter().copied().all(plain)
            && ends(bytes.first())
            && ends(bytes.last())
            // It may become a part of a path.
            && !text.contains("..")
            && !text.contains("//");
        if is_name {
            return Ok(ModelName(Arc::from(text)));
        }
        let message = format!("{} is not a model's name", crate::problem::shown(text));
        Err(Wrong::new(Code::BadName, message)
            .hint("write it as the provider does, for example `gpt-4o-mini`"))
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

scalar!(
    ModelName,
    from_text,
    text_shape("model name", "^[A-Za-z0-9]([A-Za-z0-9._:/@+-]*[A-Za-z0-9])?$", "gpt-4o-mini")
);

/// Dollars for a million tokens, as millionths of a dollar: an exact number, never a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(u64);

impl Price {
    /// Most dollars for a million tokens; beyond it somebody meant another unit.
    const DOLLARS_MAX: u64 = 1_000_000;

    /// Millionths of a dollar for a million tokens, which is picodollars for one.
    pub fn millionths(self) -> u64 {
        self.0
    }
}

impl FromStr for Price {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let wrong = || {
            let message = format!("{} is not a price", crate::problem::shown(text));
            Wrong::new(Code::BadValue, message)
                .hint("write dollars for a million tokens with at most six decimals, for example `0.15`")
        };
        let price = millionths(text).filter(|price| price / 1_000_000 <= Price::DOLLARS_MAX);
        price.map(Price).ok_or_else(wrong)
    }
}

/// Dollars with at most six decimals, in millionths.
fn millionths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 6 {
        return None;
    }
    let part: u64 = format!("{part:0<6}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(part)
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

scalar!(
    Price,
    from_text_or_number,
    text_shape("dollars for a million tokens", "^[0-9]+([.][0-9]{1,6})?$", "0.15")
);

/// An amount of money in dollars, as millionths of a dollar: an exact number, never a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dollars(u64);

impl Dollars {
    /// Most dollars of a budget: in picodollars it still fits a signed number of 64 bits.
    const DOLLARS_MAX: u64 = 9_000_000;

    /// Picodollars, in which calls are charged.
    pub const fn picodollars(self) -> u64 {
        self.0 * 1_000_000
    }
}

impl FromStr for Dollars {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let wrong = || {
            let message = format!("{} is not an amount of money", crate::problem::shown(text));
            let most = Dollars::DOLLARS_MAX;
            Wrong::new(Code::BadValue, message)
                .hint(format!("write dollars with at most six decimals, up to {most}, for example `50.00`"))
        };
        // Nothing at all is no budget: whoever means it denies the models.
        let amount =
            millionths(text).filter(|amount| (1..=Dollars::DOLLARS_MAX * 1_000_000).contains(amount));
        amount.map(Dollars).ok_or_else(wrong)
    }
}

impl fmt::Display for Dollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Price(self.0).fmt(f)
    }
}

scalar!(Dollars, from_text_or_number, text_shape("dollars", "^[0-9]+([.][0-9]{1,6})?$", "50.00"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_name_cannot_leave_its_place_in_a_path() {
        for name in ["gpt-4o-mini", "meta-llama/Llama-3.3-70B", "qwen3:4b", "claude-sonnet-4-6@20260101", "a"]
        {
            assert_eq!(ModelName::parse(name).unwrap().to_string(), name);
        }
        for name in ["", "../x", "a/../b", "a//b", "/a", "a/", "a b", "a?b", "a%2e", "ä", "-a"] {
            assert!(ModelName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_price_is_exact() {
        for (text, millionths) in
            [("0.15", 150_000), ("15", 15_000_000), ("0.000001", 1), ("3.00", 3_000_000)]
        {
            assert_eq!(Price::parse(text).unwrap().millionths(), millionths);
        }
        assert_eq!(Price::parse("3.00").unwrap().to_string(), "3");
        assert_eq!(Price::parse("0.15").unwrap().to_string(), "0.15");
        for text in ["", ".5", "1.", "-1", "1e3", "0.0000001", "10000000", "1,5"] {
            assert!(Price::parse(text).is_err(), "{text}");
        }
        for (text, picodollars) in
            [("50", 50_000_000_000_000), ("0.000001", 1_000_000), ("9000000", 9_000_000_000_000_000_000)]
        {
            assert_eq!(Dollars::parse(text).unwrap().picodollars(), picodollars);
        }
        assert_eq!(Dollars::parse("12.50").unwrap().to_string(), "12.5");
        for text in ["", "0", "0.0", "-1", "$5", "9000000.000001", "99999999999999999999", "1.1234567"] {
            assert!(Dollars::parse(text).is_err(), "{text}");
        }
    }
}
