//! Whole numbers: what is not one counts as zero, as in every engine that runs these rules.

use super::Order;

/// Leading white space, a sign, digits; the rest is ignored; no overflow.
pub(crate) fn read(text: &[u8]) -> i64 {
    let mut rest = text.trim_ascii_start().iter().copied().peekable();
    let negative = match rest.peek() {
        Some(b'-') => {
            rest.next();
            true
        }
        Some(b'+') => {
            rest.next();
            false
        }
        _ => false,
    };
    let size = rest
        .take_while(u8::is_ascii_digit)
        .fold(0_i64, |value, digit| value.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    if negative { -size } else { size }
}

pub(super) fn holds(order: Order, value: i64, parameter: i64) -> bool {
    match order {
        Order::Equal => value == parameter,
        Order::Greater => value > parameter,
        Order::GreaterOrEqual => value >= parameter,
        Order::Less => value < parameter,
        Order::LessOrEqual => value <= parameter,
        Order::Unequal => value != parameter,
    }
}
