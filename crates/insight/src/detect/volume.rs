//! D1: more or fewer calls than usual, of one caller or on one endpoint.
//!
//! A caller is held against its own past and the fleet's; both the minute and five minutes must agree. An endpoint is held
//! against its last hours and, once two days are known, against the same hour of other days; drops are told too. OWASP API4.

use crate::{
    alert::{Detector, Finding, Severity, features},
    caller::Caller,
    detect::{Look, SURPRISE_MAX, limit_action},
    endpoint::Endpoint,
    level::{Level, surprise},
    settings::MINUTE_MS,
};

/// Fewer calls a minute are nobody's trouble.
const FLOOR: f64 = 60.0;

/// So far above the own usual, and so far above the busiest of the others.
const OWN: f64 = 8.0;
const PEERS: f64 = 4.0;

/// Deviations from the usual.
const Z: f64 = 6.0;

/// Minutes that an endpoint is only learned.
const MINUTES: u32 = 240;

/// Minutes of an hour of the day that make it known: more than one day's.
const HOUR_KNOWN: u32 = 90;

/// Fewer expected calls a minute cannot drop.
const DROP_FROM: f64 = 30.0;

/// An endpoint whose level changed for good is learned anew after so many minutes: seven days.
const RELEARN_MINUTES: u32 = 7 * 24 * 60;

/// A call of a caller.
pub(crate) fn caller(caller: &Caller, endpoint: Option<&Endpoint>, look: &Look<'_, '_>) -> Option<Finding> {
    let calls = caller.minute.calls;
    // Not at each call: a tail test costs logarithms.
    if f64::from(calls) < FLOOR || !calls.is_multiple_of(16) {
        return None;
    }
    let (calls, five) = (f64::from(calls), f64::from(calls + caller.minute.before.iter().sum::<u32>()));
    let fleet = look.fleet;
    let is_learning = !fleet.knows_pace() || caller.pace.seen() < 30;
    if !fleet.knows_pace() && caller.pace.seen() < 30 {
        return None;
    }
    let usual = caller.pace.with_prior(&fleet.pace_level);
    let own = usual.mean().exp_m1().max(1.0);
    let peers = if fleet.knows_pace() { fleet.pace.at(0.999) } else { 0.0 };
    let threshold = (OWN * own).max(PEERS * peers).max(FLOOR).max(usual.at(Z, 0.5).exp_m1().min(1e6));
    // The minute alone may be a burst; five minutes of which it is the only one are not enough either.
    if calls < threshold || five < 1.5 * threshold {
        return None;
    }
    let spread = 1.0 + own * (usual.deviation(0.0).powi(2).exp_m1()).min(50.0);
    let surprise = surprise(calls, own.max(peers), spread).min(SURPRISE_MAX);
    Some(Finding {
        detector: Detector::Volume,
        severity: Severity::Medium,
        sentence: format!(
            "{} made {calls:.0} calls in a minute and {five:.0} in five; it usually makes about {own:.0} a minute, and 999 of \
             1,000 callers at most {peers:.0}",
            caller.shown()
        ),
        who: Some(caller.shown()),
        place: None,
        route: endpoint.and_then(|endpoint| endpoint.route.as_deref()).map(str::to_owned),
        is_learning,
        surprise,
        features: features(&[
            ("calls in a minute, own usual", own, calls, (calls / own).ln()),
            ("calls in a minute, 99.9 % of callers", peers, calls, (calls / peers.max(1.0)).ln()),
            ("calls in five minutes", 5.0 * own, five, (five / (5.0 * own)).ln()),
        ]),
        samples: caller.samples.clone(),
        owasp: "API4:2023 Unrestricted Resource Consumption",
        action: limit_action(caller, endpoint, 2.0 * own.max(peers), "1m"),
    })
}

/// Closes the minutes of an endpoint that have ended; what is unusual about the last one.
pub(crate) fn close(endpoint: &mut Endpoint, now_ms: u64) -> Option<Finding> {
    let index = now_ms / MINUTE_MS;
    let mut found = None;
    // After a longer silence the clock or the gateway stood still: that is no drop.
    let passed = index.saturating_sub(endpoint.pace.index);
    if endpoint.pace.index == 0 || passed > 30 {
        endpoint.pace.index = index;
        endpoint.pace.calls = 0;
        endpoint.pace.before = [0; 4];
        return None;
    }
    for _ in 0..passed {
        found = minute(endpoint).or(found);
    }
    found
}

fn minute(endpoint: &mut Endpoint) -> Option<Finding> {
    let pace = &mut endpoint.pace;
    let calls = f64::from(pace.calls);
    let five = calls + f64::from(pace.before.iter().sum::<u32>());
    let hour = ((pace.index / 60) % 24) as usize;
    let usual = pace.hours.get(hour).filter(|hour| hour.seen() >= HOUR_KNOWN).copied().unwrap_or(pace.usual);
    let verdict = (pace.usual.seen() >= MINUTES).then(|| judge(&usual, calls, five)).flatten();
    let z = usual.z(calls.ln_1p(), 0.15);
    let is_gated = pace.usual.seen() >= MINUTES && z.abs() > Z;
    pace.gated_minutes = if is_gated { pace.gated_minutes + 1 } else { 0 };
    if !is_gated || pace.gated_minutes > RELEARN_MINUTES {
        pace.usual.learn(calls.ln_1p(), 240.0);
        if let Some(hour) = pace.hours.get_mut(hour) {
            hour.learn(calls.ln_1p(), 600.0);
        }
    }
    pace.before.rotate_right(1);
    let [newest, ..] = &mut pace.before;
    *newest = pace.calls;
    (pace.index, pace.calls) = (pace.index + 1, 0);
    let told = pace.told;
    pace.told = verdict.as_ref().map_or(0, |verdict| verdict.direction);
    let verdict = verdict.filter(|verdict| verdict.direction != told)?;
    Some(finding(endpoint, &verdict))
}

/// What is unusual about a minute of an endpoint.
struct Verdict {
    direction: i8,
    expected: f64,
    calls: f64,
    five: f64,
    surprise: f64,
    z: f64,
}

fn judge(usual: &Level, calls: f64, five: f64) -> Option<Verdict> {
    let expected = usual.mean().exp_m1().max(0.0);
    let spread = 1.0 + expected * (usual.deviation(0.15).powi(2).exp_m1());
    let (z_one, z_five) = (usual.z(calls.ln_1p(), 0.15), usual.z((five / 5.0).ln_1p(), 0.15));
    let surprise =
        surprise(calls, expected, spread).min(surprise(five, 5.0 * expected, spread)).min(SURPRISE_MAX);
    let direction = if z_one > Z && z_five > Z && calls >= FLOOR {
        1
    } else if z_one < -Z && z_five < -Z && expected >= DROP_FROM && five < expected {
        -1
    } else {
        return None;
    };
    (surprise >= 6.0).then_some(Verdict { direction, expected, calls, five, surprise, z: z_five })
}

fn finding(endpoint: &Endpoint, verdict: &Verdict) -> Finding {
    let Verdict { direction, expected, calls, five, surprise, z } = *verdict;
    let place = endpoint.shown();
    let (what, action) = if direction > 0 {
        (
            "more",
            "find out who calls: `bartizan insight alerts`, `bartizan log --route`; a limit per caller protects the service",
        )
    } else {
        ("fewer", "look whether callers still reach the gateway and the service still answers")
    };
    Finding {
        detector: Detector::Volume,
        severity: Severity::Medium,
        sentence: format!(
            "{place} had {calls:.0} calls in a minute and {five:.0} in five, {what} than the usual {expected:.0} a minute"
        ),
        who: None,
        place: Some(place),
        route: endpoint.route.as_deref().map(str::to_owned),
        is_learning: false,
        surprise,
        features: features(&[
            ("calls in a minute", expected, calls, (calls.ln_1p() - expected.ln_1p()).abs()),
            ("calls in five minutes", 5.0 * expected, five, z.abs()),
        ]),
        samples: Vec::new(),
        owasp: "API4:2023 Unrestricted Resource Consumption",
        action: crate::alert::Action { sentence: action.to_owned(), document: None },
    }
}
