//! How two values of a field stand to each other: the ways in which a difference can be weaker or stronger.

use std::{net::IpAddr, str::FromStr as _};

use bartizan_model::scalar::{ByteSize, Cidr, Time};
use serde_json::Value;

/// A way to compare the two values of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Judge {
    /// Any difference is only that.
    Differs,
    /// URLs: clear text is weaker; otherwise they only differ.
    Endpoints,
    /// A list of which each item restricts: fewer is weaker.
    Fewer,
    /// Something whose presence protects: its going is weaker.
    Guard,
    /// Less of it is weaker.
    Less(Unit),
    /// Limits of calls: more calls for the time, or fewer limits, is weaker.
    Limits,
    /// A list of which each item permits: more is weaker.
    More,
    /// A list of which each item permits, and none at all permits everything.
    MoreOrAll,
    /// More of it is weaker.
    Most(Unit),
    /// More of it is weaker, and none at all is unlimited.
    MostOrEndless(Unit),
    /// Networks that are let in; none means all.
    NetworksAllowed,
    /// Networks that are refused.
    NetworksDenied,
    /// Networks that are believed; none means nobody.
    NetworksTrusted,
    /// One of these words, the strongest first.
    Order(&'static [&'static str]),
    /// Quotas of the calendar: more for a window, or fewer quotas, is weaker.
    Quotas,
    /// Rules that allow and deny.
    Rules,
    /// Off is weaker.
    SwitchedOff,
    /// On is weaker.
    SwitchedOn,
    /// Ways to prove who one is.
    Ways,
}

/// What a number counts, and so how it is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    Bytes,
    Number,
    Time,
}

/// Whether the second value is weaker or stronger than the first; both where it is each in a part, neither where the
/// judge has nothing to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stands {
    pub(super) weaker: bool,
    pub(super) stronger: bool,
    pub(super) different: bool,
}

impl Stands {
    const DIFFERENT: Stands = Stands { weaker: false, stronger: false, different: true };

    fn of(weaker: bool, stronger: bool) -> Self {
        Stands { weaker, stronger, different: false }
    }

    /// By a number of which more is weaker.
    fn by(before: f64, after: f64) -> Self {
        Stands::of(after > before, after < before)
    }

    fn swapped(self) -> Self {
        Stands { weaker: self.stronger, stronger: self.weaker, ..self }
    }
}

impl Judge {
    pub(super) fn compare(self, before: &Value, after: &Value) -> Stands {
        match self {
            Judge::Differs => Stands::DIFFERENT,
            Judge::Endpoints => endpoints(before, after),
            Judge::Fewer => items(before, after).swapped(),
            Judge::Guard => Stands::of(after.is_null(), before.is_null()),
            Judge::Less(unit) => amounts(before, after, unit).swapped(),
            Judge::Limits => limits(before, after),
            Judge::More => items(before, after),
            Judge::MoreOrAll => match (list(before).is_empty(), list(after).is_empty()) {
                (false, true) => Stands::of(true, false),
                (true, false) => Stands::of(false, true),
                _ => items(before, after),
            },
            Judge::Most(unit) => amounts(before, after, unit),
            Judge::MostOrEndless(unit) => {
                let endless = |value: &Value| {
                    amount(value, unit).map(|one| if one == 0.0 { f64::INFINITY } else { one })
                };
                match (endless(before), endless(after)) {
                    (Some(before), Some(after)) => Stands::by(before, after),
                    _ => Stands::default(),
                }
            }
            Judge::NetworksAllowed => {
                let all = |value: &Value| if list(value).is_empty() { everyone() } else { networks(value) };
                widths(&all(before), &all(after))
            }
            Judge::NetworksDenied => widths(&networks(before), &networks(after)).swapped(),
            Judge::NetworksTrusted => widths(&networks(before), &networks(after)),
            Judge::Order(words) => {
                let rank = |value: &Value| words.iter().position(|word| Some(*word) == value.as_str());
                match (rank(before), rank(after)) {
                    (Some(before), Some(after)) => Stands::of(after > before, after < before),
                    _ => Stands::default(),
                }
            }
            Judge::Quotas => quotas(before, after),
            Judge::Rules => rules(before, after),
            Judge::SwitchedOff => Stands::of(after == &Value::Bool(false), before == &Value::Bool(false)),
            Judge::SwitchedOn => Stands::of(after == &Value::Bool(true), before == &Value::Bool(true)),
            Judge::Ways => ways(before, after),
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Items that permit: whether some were added, and whether some are gone.
fn items(before: &Value, after: &Value) -> Stands {
    let (before, after) = (list(before), list(after));
    let beyond = |one: &[Value], other: &[Value]| one.iter().any(|item| !other.contains(item));
    Stands::of(beyond(after, before), beyond(before, after))
}

fn amounts(before: &Value, after: &Value, unit: Unit) -> Stands {
    match (amount(before, unit), amount(after, unit)) {
        (Some(before), Some(after)) => Stands::by(before, after),
        _ => Stands::default(),
    }
}

/// A number as documents write it.
fn amount(value: &Value, unit: Unit) -> Option<f64> {
    let text = match value {
        Value::Number(number) => return number.as_f64(),
        Value::String(text) => text,
        _ => return None,
    };
    match unit {
        Unit::Bytes => ByteSize::from_str(text).ok().map(|size| size.get() as f64),
        Unit::Number => text.parse().ok(),
        Unit::Time => Time::from_str(text).ok().map(|time| time.get().as_secs_f64()),
    }
}

fn networks(value: &Value) -> Vec<Cidr> {
    list(value).iter().filter_map(Value::as_str).filter_map(|text| Cidr::from_str(text).ok()).collect()
}

fn everyone() -> Vec<Cidr> {
    [IpAddr::from([0_u8; 4]), IpAddr::from([0_u8; 16])].map(|address| Cidr { address, prefix: 0 }).to_vec()
}

/// Networks that permit: whether one side has addresses that no network of the other covers.
fn widths(before: &[Cidr], after: &[Cidr]) -> Stands {
    let covered = |one: &Cidr, by: &[Cidr]| {
        by.iter().any(|wide| wide.prefix <= one.prefix && wide.contains(one.address))
    };
    let beyond = |one: &[Cidr], other: &[Cidr]| one.iter().any(|network| !covered(network, other));
    Stands::of(beyond(after, before), beyond(before, after))
}

/// Limits by what they count: `(calls per second, burst)` of rates, and calls at once. One that is not there is
/// endless.
fn limits(before: &Value, after: &Value) -> Stands {
    let of = |value: &Value| -> [f64; 4] {
        let one = std::slice::from_ref(value);
        let limits = if value.is_object() { one } else { list(value) };
        let (mut rate, mut burst, mut at_once) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
        let mut token_rate = f64::INFINITY;
        for limit in limits {
            let number = |name: &str| limit.get(name).and_then(|value| amount(value, Unit::Number));
            let window =
                limit.get("timeWindow").and_then(|value| amount(value, Unit::Time)).filter(|one| *one > 0.0);
            if let (Some(requests), Some(window)) = (number("requests"), window) {
                rate = rate.min(requests / window);
                burst = burst.min(number("burst").unwrap_or(requests));
            }
            if let (Some(tokens), Some(window)) = (number("tokens"), window) {
                token_rate = token_rate.min(tokens / window);
            }
            at_once = at_once.min(number("concurrency").unwrap_or(f64::INFINITY));
        }
        [rate, burst, at_once, token_rate]
    };
    let (before, after) = (of(before), of(after));
    let pairs: Vec<_> = before.into_iter().zip(after).collect();
    let found =
        Stands::of(pairs.iter().any(|(old, new)| new > old), pairs.iter().any(|(old, new)| new < old));
    // Windows that differ without the tightest rate: neither can be said.
    if found == Stands::default() { Stands::DIFFERENT } else { found }
}

/// Quotas by what they count and for how long. One that is not there is endless. Another zone moves the edges only.
fn quotas(before: &Value, after: &Value) -> Stands {
    let of = |value: &Value| -> Vec<(String, f64)> {
        let one = std::slice::from_ref(value);
        let limits = if value.is_object() { one } else { list(value) };
        let mut found = Vec::new();
        for limit in limits {
            for unit in ["requests", "tokens", "cost"] {
                let per = limit.get("per").and_then(Value::as_str).unwrap_or_default();
                if let Some(amount) = limit.get(unit).and_then(|value| amount(value, Unit::Number)) {
                    found.push((format!("{unit} {per}"), amount));
                }
            }
        }
        found
    };
    let (before, after) = (of(before), of(after));
    let find = |list: &[(String, f64)], name: &str| {
        list.iter().find(|(known, _)| known == name).map_or(f64::INFINITY, |(_, amount)| *amount)
    };
    let names: Vec<&String> = before.iter().chain(&after).map(|(name, _)| name).collect();
    let is =
        |test: fn(f64, f64) -> bool| names.iter().any(|name| test(find(&before, name), find(&after, name)));
    let found = Stands::of(is(|old, new| new > old), is(|old, new| new < old));
    if found == Stands::default() { Stands::DIFFERENT } else { found }
}

/// Rules that allow: one more is weaker. Rules that deny: one less is. A rule that was changed may be either.
fn rules(before: &Value, after: &Value) -> Stands {
    let (before, after) = (list(before), list(after));
    let denies = |rule: &Value| rule.get("effect").and_then(Value::as_str) == Some("Deny");
    let gone: Vec<&Value> = before.iter().filter(|rule| !after.contains(rule)).collect();
    let come: Vec<&Value> = after.iter().filter(|rule| !before.contains(rule)).collect();
    let weaker = come.iter().any(|rule| !denies(rule)) || gone.iter().any(|rule| denies(rule));
    let stronger = come.iter().any(|rule| denies(rule)) || gone.iter().any(|rule| !denies(rule));
    if weaker && stronger { Stands::DIFFERENT } else { Stands::of(weaker, stronger) }
}

/// Ways to prove who one is: a way that is added lets more in, one that is gone fewer.
fn ways(before: &Value, after: &Value) -> Stands {
    let kinds = |value: &Value| -> Vec<Value> {
        list(value).iter().filter_map(|way| way.get("type")).cloned().collect()
    };
    let (before, after) = (Value::Array(kinds(before)), Value::Array(kinds(after)));
    let found = items(&before, &after);
    if found == Stands::default() { Stands::DIFFERENT } else { found }
}

fn endpoints(before: &Value, after: &Value) -> Stands {
    let clear = |value: &Value| {
        let urls = list(value).iter().filter_map(|endpoint| endpoint.get("url")).filter_map(Value::as_str);
        urls.into_iter().any(|url| url.starts_with("http:"))
    };
    match (clear(before), clear(after)) {
        (false, true) => Stands::of(true, false),
        (true, false) => Stands::of(false, true),
        _ => Stands::DIFFERENT,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_stand_weaker_stronger_both_or_different() {
        let (weaker, stronger, both, none) =
            (Stands::of(true, false), Stands::of(false, true), Stands::of(true, true), Stands::default());
        let order = Judge::Order(&["enforce", "shadow", "off"]);
        for (judge, before, after, expected) in [
            (order, json!("enforce"), json!("shadow"), weaker),
            (order, json!("off"), json!("shadow"), stronger),
            (Judge::Most(Unit::Bytes), json!("1MiB"), json!("2MiB"), weaker),
            (Judge::Most(Unit::Bytes), json!("1MiB"), json!("1000KiB"), stronger),
            (Judge::Most(Unit::Time), json!("1m"), json!("59s"), stronger),
            (Judge::Most(Unit::Number), json!(100), json!("100"), none),
            (Judge::Less(Unit::Number), json!(100), json!(99), weaker),
            (Judge::MostOrEndless(Unit::Time), json!("30s"), json!("0s"), weaker),
            (Judge::MostOrEndless(Unit::Time), json!("0s"), json!("30s"), stronger),
            (Judge::More, json!(["a"]), json!(["a", "b"]), weaker),
            (Judge::More, json!(["a"]), json!(["b"]), both),
            (Judge::MoreOrAll, json!(["a"]), json!([]), weaker),
            (Judge::MoreOrAll, json!([]), json!(["a"]), stronger),
            (Judge::Fewer, json!(["a"]), json!([]), weaker),
            (Judge::Guard, json!({}), json!(null), weaker),
            (Judge::Guard, json!(null), json!({}), stronger),
            (Judge::SwitchedOn, json!(false), json!(true), weaker),
            (Judge::SwitchedOff, json!(false), json!(true), stronger),
            (Judge::NetworksAllowed, json!(["10.0.0.0/8"]), json!([]), weaker),
            (Judge::NetworksAllowed, json!([]), json!(["10.0.0.0/8"]), stronger),
            (Judge::NetworksAllowed, json!(["10.0.0.0/8"]), json!(["10.1.0.0/16"]), stronger),
            (Judge::NetworksAllowed, json!(["10.0.0.0/8"]), json!(["10.0.0.0/9", "11.0.0.0/8"]), both),
            (Judge::NetworksAllowed, json!(["10.0.0.0/8", "10.1.0.0/16"]), json!(["10.0.0.0/8"]), none),
            (Judge::NetworksDenied, json!(["10.0.0.0/8"]), json!(["10.0.0.0/9"]), weaker),
            (Judge::NetworksTrusted, json!([]), json!(["10.0.0.0/8"]), weaker),
            (Judge::Quotas, json!({"cost": "5", "per": "day"}), json!({"cost": "9.5", "per": "day"}), weaker),
            (
                Judge::Quotas,
                json!([{"tokens": 5, "per": "day"}]),
                json!([{"tokens": 4, "per": "day"}]),
                stronger,
            ),
            (
                Judge::Quotas,
                json!([{"tokens": 5, "per": "day"}]),
                json!([{"tokens": 5, "per": "month"}]),
                both,
            ),
            (
                Judge::Limits,
                json!([{"requests": 100, "timeWindow": "1m"}]),
                json!([{"requests": 2, "timeWindow": "1s"}]),
                both,
            ),
            (
                Judge::Limits,
                json!([{"requests": 100, "timeWindow": "1m"}]),
                json!([{"requests": 200, "timeWindow": "1m"}]),
                weaker,
            ),
            (
                Judge::Limits,
                json!([{"concurrency": 5}]),
                json!([{"concurrency": 5}, {"requests": 1, "timeWindow": "1s"}]),
                stronger,
            ),
            (Judge::Rules, json!([{"roles": "a"}]), json!([{"roles": "a"}, {"roles": "b"}]), weaker),
            (Judge::Rules, json!([{"effect": "Deny"}]), json!([]), weaker),
            (Judge::Rules, json!([]), json!([{"effect": "Deny"}]), stronger),
            (Judge::Rules, json!([{"roles": "a"}]), json!([{"roles": "b"}]), Stands::DIFFERENT),
            (
                Judge::Ways,
                json!([{"type": "ApiKey"}]),
                json!([{"type": "ApiKey"}, {"type": "Anonymous"}]),
                weaker,
            ),
            (Judge::Endpoints, json!([{"url": "https://a:1"}]), json!([{"url": "http://a:1"}]), weaker),
            (
                Judge::Endpoints,
                json!([{"url": "https://a:1"}]),
                json!([{"url": "https://b:1"}]),
                Stands::DIFFERENT,
            ),
        ] {
            assert_eq!(judge.compare(&before, &after), expected, "{judge:?} {before} {after}");
        }
    }
}
