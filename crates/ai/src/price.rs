//! What a call costs, in whole picodollars: never a float.
//!
//! A price per million tokens in millionths of a dollar is a number of picodollars per token, so a cost is a sum of
//! products of whole numbers. The table of list prices is a data file of the repository (`data/prices.json`); a
//! `Model` document overrides it. A model without a price has no cost: it is not free, it is unknown.

use std::{collections::HashMap, fmt, sync::OnceLock};

use crate::{json::Json, provider::Provider, usage::Usage};

/// An amount in picodollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money(pub u64);

/// The prices of one token, by class, in picodollars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Input.
    pub input: u64,
    /// Output.
    pub output: u64,
    /// Input read from the provider's cache.
    pub cached_input: Option<u64>,
    /// Input written to the provider's cache.
    pub cache_write: Option<u64>,
}

impl Money {
    /// The sum; stays at the largest amount instead of wrapping.
    #[must_use]
    pub fn plus(self, other: Money) -> Money {
        Money(self.0.saturating_add(other.0))
    }

    /// Whole microdollars, rounded up, for counters.
    pub fn micros_up(self) -> u64 {
        self.0.div_ceil(1_000_000)
    }
}

impl fmt::Display for Money {
    /// Dollars with at least six decimals, exactly.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, rest) = (self.0 / 1_000_000_000_000, self.0 % 1_000_000_000_000);
        let text = format!("{rest:012}");
        let part = text.trim_end_matches('0');
        write!(f, "{dollars}.{part:0<6}")
    }
}

impl Price {
    /// What so many tokens cost at most: all input as dear as input can be.
    pub fn at_most(&self, input: u64, output: u64) -> Money {
        let dearest = self.cache_write.unwrap_or(0).max(self.input);
        Money(input.saturating_mul(dearest)).plus(Money(output.saturating_mul(self.output)))
    }

    /// What a call costs.
    pub fn of(&self, usage: &Usage) -> Money {
        let input = usage.input.unwrap_or(0);
        // A provider that reports larger shares than the total is charged for the total once.
        let cached = usage.cached.unwrap_or(0).min(input);
        let write = usage.cache_write.unwrap_or(0).min(input - cached);
        let plain = input - cached - write;
        let parts = [
            (plain, self.input),
            (cached, self.cached_input.unwrap_or(self.input)),
            (write, self.cache_write.unwrap_or(self.input)),
            (usage.output.unwrap_or(0), self.output),
        ];
        let sum = parts
            .iter()
            .fold(0_u64, |sum, (tokens, price)| sum.saturating_add(tokens.saturating_mul(*price)));
        Money(sum)
    }
}

/// The list price of a provider's model, if the table has it.
pub fn list_price(provider: Provider, model: &str) -> Option<Price> {
    static TABLE: OnceLock<HashMap<(Provider, String), Price>> = OnceLock::new();
    let table = TABLE.get_or_init(|| read(include_bytes!("../data/prices.json")));
    table.get(&(provider, model.to_owned())).copied()
}

fn read(text: &[u8]) -> HashMap<(Provider, String), Price> {
    let table = Json::read(text).unwrap_or_default();
    let rows = table.get("models").list().iter().filter_map(|row| {
        let provider = crate::provider::PROVIDERS
            .into_iter()
            .find(|provider| row.get("provider").text() == Some(provider.word()))?;
        let price = |name: &str| millionths(row.get(name).text()?);
        let price = Price {
            input: price("input")?,
            output: price("output")?,
            cached_input: price("cachedInput"),
            cache_write: price("cacheWrite"),
        };
        Some(((provider, row.get("model").text()?.to_owned()), price))
    });
    rows.collect()
}

/// `0.15` is 150,000 millionths.
fn millionths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 6 {
        return None;
    }
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(format!("{part:0<6}").parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_the_exact_sum_over_the_classes() {
        let price = Price {
            input: 3_000_000,
            output: 15_000_000,
            cached_input: Some(300_000),
            cache_write: Some(3_750_000),
        };
        let usage = |input, cached, write, output| Usage {
            input: Some(input),
            cached,
            cache_write: write,
            output: Some(output),
            ..Usage::default()
        };
        let table = [
            (usage(1_000_000, None, None, 0), "3.000000"),
            (usage(1, None, None, 1), "0.000018"),
            (usage(100, Some(90), None, 0), "0.000057"),
            (usage(100, Some(40), Some(60), 0), "0.000237"),
            // Shares beyond the total.
            (usage(10, Some(90), Some(90), 0), "0.000003"),
            (usage(0, None, None, 0), "0.000000"),
        ];
        for (usage, cost) in table {
            assert_eq!(price.of(&usage).to_string(), cost, "{usage:?}");
        }
        assert_eq!(Money(1).to_string(), "0.000000000001");
        assert_eq!(Money(1).micros_up(), 1);
        assert_eq!(Money(u64::MAX).plus(Money(1)), Money(u64::MAX));
    }

    #[test]
    fn every_row_of_the_table_is_a_price() {
        let text = include_bytes!("../data/prices.json");
        let rows = Json::read(text).unwrap().get("models").list().len();
        assert_eq!(read(text).len(), rows, "no row is unreadable, none is there twice");
        assert!(rows > 200, "{rows}");
        let price = list_price(Provider::OpenAi, "gpt-4o-mini").unwrap();
        assert_eq!((price.input, price.output, price.cached_input), (150_000, 600_000, Some(75_000)));
        assert_eq!(list_price(Provider::OpenAi, "no-such-model"), None);
    }
}
