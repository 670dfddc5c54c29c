//! Closing what has ended: minutes, windows and days of a caller become its past, unless something was suspected then.

use crate::{
    caller::{Caller, Day, Failures, Minute, Slot, Window},
    distinct::Distinct,
    endpoint::Endpoint,
    fleet::Fleet,
    settings::{DAY_MS, MINUTE_MS, WINDOW_MS},
    table::Table,
};

/// Values that a caller's levels remember: minutes or windows with calls.
const MEMORY: f64 = 200.0;

/// More deviations than this from the own past teach nothing.
const GATE_Z: f64 = 4.0;

/// The window of failures.
const FAILURES_MS: u64 = 5 * MINUTE_MS;

/// Closes what ended before `now_ms`.
pub(crate) fn turn(caller: &mut Caller, now_ms: u64, fleet: &mut Fleet) {
    let suspected = caller.is_suspected(now_ms);
    minute(caller, now_ms / MINUTE_MS, suspected, fleet);
    failures(caller, now_ms / FAILURES_MS, suspected, fleet);
    window(caller, now_ms / WINDOW_MS, suspected, fleet);
    day(caller, now_ms / DAY_MS, suspected, fleet);
}

fn minute(caller: &mut Caller, index: u64, suspected: bool, fleet: &mut Fleet) {
    let passed = index.saturating_sub(caller.minute.index);
    if passed == 0 {
        return;
    }
    let Minute { calls, mut before, .. } = caller.minute;
    if calls > 0 && !suspected {
        let value = f64::from(calls).ln_1p();
        // A minute that is a wild one for its caller may be the beginning of something.
        if caller.pace.seen() < 8 || caller.pace.z(value, 0.5) < GATE_Z {
            caller.pace.learn(value, MEMORY);
            fleet.minute(calls);
        }
    }
    for step in 0..passed.min(4) {
        before.rotate_right(1);
        let [newest, ..] = &mut before;
        *newest = if step == 0 { calls } else { 0 };
    }
    caller.minute = Minute { index, calls: 0, before };
}

fn failures(caller: &mut Caller, index: u64, suspected: bool, fleet: &mut Fleet) {
    let past = caller.failures;
    if past.index == index {
        return;
    }
    let mut next = Failures { index, calls: 0, failed: 0, credential: 0, forbidden: 0, ..past };
    if index != past.index + 1 {
        next.accounts = Distinct::default();
    }
    if past.calls >= 5 && !suspected {
        let share = past.failed as f32 / past.calls as f32;
        let weight = (1.0 / (f32::from(past.windows) + 1.0)).max(0.02);
        next.share += weight * (share - next.share);
        next.windows = past.windows.saturating_add(1);
        fleet.failures.learn(f64::from(share), 2_000.0);
    }
    caller.failures = next;
}

fn window(caller: &mut Caller, index: u64, suspected: bool, fleet: &mut Fleet) {
    if caller.window.index == index {
        return;
    }
    if caller.window.calls > 0 && !suspected {
        let bytes = (caller.window.bytes as f64).ln_1p();
        if caller.bytes.seen() < 8 || caller.bytes.z(bytes, 0.5) < GATE_Z {
            caller.bytes.learn(bytes, MEMORY);
        }
        // The first windows of a caller are all new; they are no habit.
        if caller.breadth.seen() > 2 {
            caller.firsts += 0.05 * (f32::from(caller.window.first_seen) - caller.firsts);
        }
        caller.breadth.learn(caller.window.endpoints.count().ln_1p(), MEMORY);
        fleet.window(caller);
    }
    caller.window = Window { index, ..Window::default() };
    // Examples of this window belong to what is told of this window.
    caller.samples.clear();
}

fn day(caller: &mut Caller, index: u64, suspected: bool, fleet: &mut Fleet) {
    let past = caller.day;
    if past.index == index {
        return;
    }
    let mut next = Day { index, bytes: 0, bytes_max: past.bytes_max * 0.9, seen: past.seen };
    if past.bytes > 0 && !suspected {
        next.bytes_max = next.bytes_max.max(past.bytes as f64);
        next.seen = past.seen.saturating_add(1);
        fleet.day_bytes.add(past.bytes as f64);
    }
    caller.day = next;
}

/// Closes the window of one endpoint of a caller.
pub(crate) fn slot(slot: &mut Slot, now_ms: u64, suspected: bool, endpoint: &mut Endpoint) {
    let index = now_ms / WINDOW_MS;
    if slot.window == index {
        return;
    }
    if slot.calls > 0 && !suspected {
        let objects = slot.objects.count();
        slot.usual.learn(objects.ln_1p(), MEMORY);
        slot.run_usual = (slot.run_usual * 0.98).max(f32::from(slot.run_max));
        endpoint.objects.add(objects);
        endpoint.runs.add(f64::from(slot.run_max));
    }
    slot.window = index;
    slot.objects.clear();
    (slot.calls, slot.refused, slot.run_max) = (0, 0, slot.run);
}

/// Closes the minutes of all endpoints, those without calls too; `each` judges a closed one.
pub(crate) fn endpoints(table: &mut Table<Endpoint>, now_ms: u64, mut each: impl FnMut(&mut Endpoint)) {
    for endpoint in table.values_mut() {
        if endpoint.pace.index < now_ms / MINUTE_MS {
            each(endpoint);
        }
    }
}
