//! D4: one caller tries many endpoints, or paths that do not exist.
//!
//! Scanners ask for what is nowhere; a stolen key is tried on everything it may open. OWASP API9 and API5.

use crate::{
    alert::{Action, Detector, Finding, Severity, features},
    caller::Caller,
    detect::{Look, SURPRISE_MAX},
    level::surprise,
};

/// Fewer unknown paths are dead links.
const UNKNOWN: f64 = 15.0;

/// Fewer endpoints used for the first time are a new feature of the caller.
const FIRST_SEEN: f64 = 12.0;

/// Windows until a caller's habits are known.
const WINDOWS: u32 = 6;

/// A call of a caller, which is already counted.
pub(crate) fn caller(caller: &Caller, look: &Look<'_, '_>) -> Option<Finding> {
    unknown(caller, look).or_else(|| first_seen(caller, look))
}

fn unknown(caller: &Caller, look: &Look<'_, '_>) -> Option<Finding> {
    let window = &caller.window;
    if f64::from(window.unknown_calls) < UNKNOWN || !window.unknown_calls.is_multiple_of(5) {
        return None;
    }
    let paths = window.unknown.count();
    let others = look.fleet.unknown.at(0.99);
    if paths < UNKNOWN.max(4.0 * others) {
        return None;
    }
    let share = f64::from(window.unknown_calls) / f64::from(window.calls.max(1));
    if share < 0.3 {
        return None;
    }
    Some(Finding {
        detector: Detector::Spray,
        severity: Severity::Medium,
        sentence: format!(
            "{} asked for about {paths:.0} different paths within ten minutes that do not exist, {:.0} % of its calls",
            caller.shown(),
            100.0 * share
        ),
        who: Some(caller.shown()),
        place: None,
        route: None,
        is_learning: false,
        surprise: surprise(paths, others.max(2.0), 1.5).min(SURPRISE_MAX),
        features: features(&[
            ("different unknown paths", others, paths, paths.max(1.0).ln()),
            ("share of its calls", 0.05, share, share),
        ]),
        samples: caller.samples.clone(),
        owasp: "API9:2023 Improper Inventory Management",
        action: Action {
            sentence: format!(
                "a scan: nothing it asked for exists; deny {} in the listener's admission if it goes on",
                caller.shown()
            ),
            document: None,
        },
    })
}

fn first_seen(caller: &Caller, look: &Look<'_, '_>) -> Option<Finding> {
    let window = &caller.window;
    let first = f64::from(window.first_seen);
    // Of a worn bitmap nothing can be said to be new.
    if first < FIRST_SEEN || caller.breadth.seen() < WINDOWS || caller.visited.is_worn() {
        return None;
    }
    let breadth = window.endpoints.count();
    let usual = caller.breadth.mean().exp_m1().max(1.0);
    let others = look.fleet.breadth.at(0.999);
    let share = first / breadth.max(first);
    if share <= 0.5 || breadth < (3.0 * usual).max(others) {
        return None;
    }
    Some(Finding {
        detector: Detector::Spray,
        severity: Severity::High,
        sentence: format!(
            "{} used {first:.0} endpoints within ten minutes that it never used before; it usually uses {usual:.0}",
            caller.shown()
        ),
        who: Some(caller.shown()),
        place: None,
        route: None,
        is_learning: look.is_new(caller.first_ms),
        surprise: surprise(first, f64::from(caller.firsts).max(1.0), 1.5).min(SURPRISE_MAX),
        features: features(&[
            ("endpoints used for the first time", f64::from(caller.firsts), first, first.max(1.0).ln()),
            ("different endpoints in ten minutes", usual, breadth, (breadth / usual).max(1.0).ln()),
        ]),
        samples: caller.samples.clone(),
        owasp: "API5:2023 Broken Function Level Authorization",
        action: Action {
            sentence: format!(
                "ask whose hands the credential of {} is in; a narrower role ends this",
                caller.shown()
            ),
            document: None,
        },
    })
}
