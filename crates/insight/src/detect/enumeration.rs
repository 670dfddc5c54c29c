//! D3: one caller walks through objects that are not its own.
//!
//! Two signs: numbers one after the other, which is what a loop makes and people do not; and more different objects in a
//! window than the caller ever had and others have. OWASP API1, broken object level authorization.

use crate::{
    alert::{Detector, Finding, Severity, features},
    caller::{Caller, Slot},
    detect::{Look, SURPRISE_MAX, limit_action},
    endpoint::Endpoint,
    event::Outcome,
    level::surprise,
    template::Place,
};

/// A run of fewer calls happens to people too.
const RUN: f64 = 12.0;

/// Fewer different objects are nobody's trouble.
const OBJECTS: f64 = 20.0;

/// Windows of callers until an endpoint's own habits are known.
const KNOWN: u64 = 200;

/// A gap in the numbers that still is a step.
const STEP_MAX: u64 = 3;

/// Notes the object of a call.
pub(crate) fn note(slot: &mut Slot, place: &Place, outcome: Outcome) {
    let Some(object) = place.object else { return };
    slot.calls = slot.calls.saturating_add(1);
    if outcome.is_failure() {
        slot.refused = slot.refused.saturating_add(1);
    }
    slot.objects.note(object);
    let Some(number) = place.number else { return };
    if let Some(last) = slot.last_number {
        let step = number.abs_diff(last);
        let direction = if number > last { 1 } else { -1 };
        if (1..=STEP_MAX).contains(&step) && (slot.direction == direction || slot.run == 0) {
            slot.run = slot.run.saturating_add(1);
            slot.direction = direction;
        } else if step != 0 {
            // Not at once: the caller's ordinary calls go on between the steps of a loop.
            slot.run = slot.run.saturating_sub(4);
        }
        slot.run_max = slot.run_max.max(slot.run);
    }
    slot.last_number = Some(number);
}

/// Whether what a caller does on an endpoint is a walk; after [`note`].
pub(crate) fn judge(
    caller: &Caller,
    slot: &Slot,
    endpoint: &Endpoint,
    look: &Look<'_, '_>,
) -> Option<Finding> {
    let objects = slot.objects.count();
    if f64::from(slot.run) < RUN && objects < OBJECTS {
        return None;
    }
    let is_learning = endpoint.objects.total() < KNOWN || look.is_new(endpoint.first_ms);
    let factor = if is_learning { 2.0 } else { 1.0 };
    let run_usual = f64::from(slot.run_usual).max(0.75 * endpoint.runs.at(0.999));
    let run_threshold = (2.0 * run_usual).max(RUN * factor);
    let own = if slot.usual.seen() >= 3 { slot.usual.at(1.65, 0.1).exp_m1() } else { 0.0 };
    let peers = endpoint.objects.at(0.99);
    let threshold = (8.0 * own).max(4.0 * peers).max(OBJECTS * factor);
    let run = f64::from(slot.run);
    let by_run = run >= run_threshold;
    if !by_run && objects < threshold {
        return None;
    }
    let refused = f64::from(slot.refused) / f64::from(slot.calls.max(1));
    let usual = own.max(peers).max(1.0);
    let surprise = if by_run {
        // Each further step by chance has at most one chance in four, even among neighbours.
        (run * 4f64.log10()).max(surprise(objects, usual, 4.0))
    } else {
        surprise(objects, usual, 2.0 + usual / 4.0)
    };
    let place = endpoint.shown();
    let how = if by_run { format!(", {run:.0} of them one number after the other") } else { String::new() };
    let denied =
        if refused > 0.5 { format!(", most were refused ({:.0} %)", 100.0 * refused) } else { String::new() };
    Some(Finding {
        detector: Detector::Enumeration,
        severity: if refused > 0.5 { Severity::Medium } else { Severity::High },
        sentence: format!(
            "{} asked {place} for about {objects:.0} different objects within ten minutes{how}{denied}; usual for it are \
             {own:.0}, and 99 of 100 callers ask for at most {peers:.0}",
            caller.shown(),
        ),
        who: Some(caller.shown()),
        place: Some(place),
        route: endpoint.route.as_deref().map(str::to_owned),
        is_learning,
        surprise: surprise.min(SURPRISE_MAX),
        features: features(&[
            ("numbers one after the other", run_usual, run, if by_run { run / run_threshold } else { 0.0 }),
            ("different objects in ten minutes", usual, objects, (objects / usual).max(1.0).ln()),
            ("share of calls refused", 0.05, refused, refused),
        ]),
        samples: caller.samples.clone(),
        owasp: "API1:2023 Broken Object Level Authorization",
        action: limit_action(caller, Some(endpoint), 2.0 * usual.max(OBJECTS / 2.0), "10m"),
    })
}
