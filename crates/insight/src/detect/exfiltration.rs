//! D5: one caller takes unusually much.
//!
//! Bytes of a window against the caller's own past, and bytes of the day against its largest day and the fleet's; or many
//! answers of a size that the endpoint hardly ever has. OWASP API6.

use crate::{
    alert::{Detector, Finding, Severity, features},
    caller::Caller,
    detect::{Look, SURPRISE_MAX, limit_action},
    endpoint::Endpoint,
};

/// Less in ten minutes is nobody's trouble.
const FLOOR: f64 = 1_000_000.0;

/// Deviations above the own past.
const Z: f64 = 6.0;

/// So far above the largest day, and above the largest days of others.
const DAYS: f64 = 4.0;

/// A call of a caller, which is already counted.
pub(crate) fn caller(caller: &Caller, endpoint: Option<&Endpoint>, look: &Look<'_, '_>) -> Option<Finding> {
    let window = caller.window.bytes as f64;
    if window < FLOOR || !(caller.window.calls.is_multiple_of(8) || caller.window.calls < 8) {
        return None;
    }
    let knows_itself = caller.bytes.seen() >= 20;
    let knows_days = caller.day.seen >= 1;
    if !knows_itself && look.fleet.bytes.total() < 500 {
        return None;
    }
    // Who has a past of its own need not be the greediest of all.
    let others = look.fleet.bytes.at(if knows_itself { 0.99 } else { 0.999 });
    let usual = if knows_itself { caller.bytes.mean().exp_m1().max(1.0) } else { others };
    let z = if knows_itself {
        caller.bytes.z(window.ln_1p(), 0.5)
    } else {
        (window / others.max(1.0)).ln() / 0.5
    };
    if z < Z || window < others {
        return None;
    }
    let day = caller.day.bytes as f64;
    let day_usual = if knows_days { caller.day.bytes_max } else { look.fleet.day_bytes.at(0.999) };
    if day < DAYS * day_usual.max(usual) {
        return None;
    }
    Some(Finding {
        detector: Detector::Exfiltration,
        severity: Severity::High,
        sentence: format!(
            "{} took {} within ten minutes and {} today; usual for it are {} in ten minutes, and its largest day was {}",
            caller.shown(),
            bytes(window),
            bytes(day),
            bytes(usual),
            bytes(day_usual)
        ),
        who: Some(caller.shown()),
        place: None,
        route: endpoint.and_then(|endpoint| endpoint.route.as_deref()).map(str::to_owned),
        is_learning: !knows_itself || !knows_days,
        // The tail of a normal deviate, bounded: z²/2 in nats.
        surprise: (z * z / 2.0 / std::f64::consts::LN_10).min(SURPRISE_MAX),
        features: features(&[
            ("bytes in ten minutes", usual, window, (window / usual).ln()),
            ("bytes today", day_usual, day, (day / day_usual.max(1.0)).ln()),
        ]),
        samples: caller.samples.clone(),
        owasp: "API6:2023 Unrestricted Access to Sensitive Business Flows",
        action: limit_action(caller, endpoint, f64::from(caller.window.calls) / 10.0, "1m"),
    })
}

/// Bytes in words.
pub(crate) fn bytes(count: f64) -> String {
    for (unit, size) in [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)] {
        if count >= size {
            return format!("{:.1} {unit}", count / size);
        }
    }
    format!("{count:.0} B")
}
