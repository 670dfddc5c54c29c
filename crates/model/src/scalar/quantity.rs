//! How long, how large, how many.

use std::{fmt, num::NonZeroU64, str::FromStr, time::Duration};

use serde::{Serialize, Serializer};

use super::{Wrong, from_text_or_number, scalar, text_shape};
use crate::{
    node::Node,
    problem::{Code, Problems, clipped, shown},
    read::{Path, Read, integer},
    shape::Shape,
};

/// A duration: `30s`, `250ms`, `1m30s`. Units are `d`, `h`, `m`, `s` and `ms`, each at most once, the largest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub Duration);

impl Time {
    /// Ten years: more is a slip, and sums of times stay far from every clock's end.
    const MILLIS_MAX: u64 = 3_650 * 86_400_000;

    const UNITS: [(&'static str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Time(Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Time(Duration::from_millis(millis))
    }

    /// The duration.
    pub const fn get(self) -> Duration {
        self.0
    }

    fn parse_millis(text: &str) -> Option<u64> {
        let mut total: u64 = 0;
        let mut units = Time::UNITS.iter();
        let mut rest = text;
        while !rest.is_empty() {
            let (digits, after) = split_digits(rest);
            let letters = after.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len());
            let (unit, after) = after.split_at_checked(letters)?;
            // The iterator goes on where it stopped, so a unit cannot come twice nor after a smaller one.
            let (_, millis) = units.find(|(name, _)| *name == unit)?;
            total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(*millis)?)?;
            rest = after;
        }
        (!text.is_empty()).then_some(total)
    }
}

impl FromStr for Time {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        match Time::parse_millis(text) {
            Some(millis) if millis <= Time::MILLIS_MAX => return Ok(Time::millis(millis)),
            Some(_) => {
                let message = format!("{} is longer than ten years", shown(text));
                return Err(Wrong::new(Code::BadDuration, message).hint("write at most `3650d`"));
            }
            None => {}
        }
        let wrong = Wrong::new(Code::BadDuration, format!("{} is not a duration", shown(text)));
        let lower = text.to_ascii_lowercase().replace(' ', "");
        let bare = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        Err(match () {
            () if bare => {
                let digits = clipped(text);
                wrong.hint(format!("say in which unit, for example `{digits}s` or `{digits}ms`"))
            }
            () if Time::parse_millis(&lower).is_some() => wrong.hint(format!("write `{}`", clipped(&lower))),
            () if text.contains('.') => wrong.hint("write whole numbers, for example `1s500ms`"),
            () => wrong.hint("write a number and a unit, for example `30s` or `5m`"),
        })
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, millis) in Time::UNITS {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

scalar!(
    Time,
    from_text_or_number,
    text_shape("duration", "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$", "30s")
);

/// A number of bytes: `64KiB`, `10MB`, or a plain number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    const UNITS: [(&'static str, u64); 10] = [
        ("B", 1),
        ("kB", 1_000),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ];

    /// So many bytes.
    pub const fn bytes(bytes: u64) -> Self {
        ByteSize(bytes)
    }

    /// So many KiB.
    pub const fn kib(kib: u64) -> Self {
        ByteSize(kib.saturating_mul(1 << 10))
    }

    /// So many MiB.
    pub const fn mib(mib: u64) -> Self {
        ByteSize(mib.saturating_mul(1 << 20))
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let (digits, unit) = split_digits(text);
        let known = ByteSize::UNITS.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes);
        let factor = if unit.is_empty() { Some(1) } else { known };
        let bytes =
            digits.parse::<u64>().ok().zip(factor).and_then(|(count, factor)| count.checked_mul(factor));
        if let Some(bytes) = bytes {
            return Ok(ByteSize(bytes));
        }
        let wrong = Wrong::new(Code::BadSize, format!("{} is not a size in bytes", shown(text)));
        // `64 kib`, `64Ki` and `64k` are meant plainly enough to be spelled out.
        let meant = unit.trim().to_ascii_lowercase();
        let meant = ["kib", "mib", "gib", "tib"].iter().zip(["KiB", "MiB", "GiB", "TiB"]).find_map(
            |(lower, unit)| {
                let short = lower.get(..2).is_some_and(|short| short == meant);
                let letter = lower.get(..1).is_some_and(|letter| letter == meant);
                (meant == *lower || short || letter).then_some(unit)
            },
        );
        Err(match meant {
            Some(unit) if !digits.is_empty() => wrong.hint(format!("write `{}{unit}`", clipped(digits))),
            _ => wrong.hint("write a number and a unit, for example `64KiB` or `10MB`"),
        })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = ByteSize::UNITS
            .iter()
            .rev()
            .take(4)
            .find(|(_, bytes)| self.0 > 0 && self.0.is_multiple_of(*bytes));
        match binary {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Read for ByteSize {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        from_text_or_number(node, at, problems)
    }

    fn shape() -> Shape {
        Shape::OneOf(vec![
            text_shape("size", "^[0-9]+(B|[kK]B|[MGT]B|[KMGT]iB)$", "64KiB"),
            Shape::Integer { min: 0, max: u64::MAX },
        ])
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A whole number from 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u8);

impl Percent {
    /// So many percent; more than 100 is 100.
    pub const fn of(percent: u8) -> Self {
        Percent(if percent > 100 { 100 } else { percent })
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Read for Percent {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        // `integer` admits nothing above 100, so the conversion cannot fail.
        integer(node, 0, 100, at, problems).and_then(|value| value.try_into().ok()).map(Percent)
    }

    fn shape() -> Shape {
        Shape::Integer { min: 0, max: 100 }
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.0)
    }
}

/// A whole number, 1 or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count(pub NonZeroU64);

impl Count {
    /// So many; 0 is 1.
    pub const fn of(count: u64) -> Self {
        match NonZeroU64::new(count) {
            Some(count) => Count(count),
            None => Count(NonZeroU64::MIN),
        }
    }

    /// The number.
    pub const fn get(self) -> NonZeroU64 {
        self.0
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Read for Count {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        integer(node, 1, u64::MAX, at, problems).and_then(NonZeroU64::new).map(Count)
    }

    fn shape() -> Shape {
        Shape::Integer { min: 1, max: u64::MAX }
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0.get())
    }
}

/// The leading ASCII digits and the rest.
fn split_digits(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(end).unwrap_or((text, ""))
}
