//! How a rollout reads: where it stands, what was seen, by whom it was felt, and how it came to be there.

use bartizan_manage::rollout::{ArmView, RolloutView};

use crate::command::print::{self, BOLD, BOLD_GREEN, BOLD_RED, NONE, PLAIN, clean, counted};

/// A rollout in words.
pub(super) fn text(view: &RolloutView) -> String {
    let colour = match view.phase.as_str() {
        _ if view.is_stopped => BOLD_RED,
        "promoted" | "proved" => BOLD_GREEN,
        _ => BOLD,
    };
    let mut out = format!(
        "{BOLD}rollout {}{PLAIN}: revision {} beside {}, by {}: {}\n{colour}{}{PLAIN}{}, since {}\n",
        view.rollout,
        clean(&view.candidate),
        clean(&view.base),
        clean(&view.author),
        clean(&view.reason),
        clean(&view.phase),
        view.step.as_deref().map(|step| format!(" at {}", clean(step))).unwrap_or_default(),
        clean(&view.since),
    );
    if let Some(waits) = &view.waits_for {
        out.push_str(&format!("waits for {}\n", clean(waits)));
    }
    out.push_str(&counts(view));
    out.push_str(&felt(view));
    out.push_str(&examples(view));
    out.push_str("\nhow it came to be there\n");
    for made in &view.moves {
        let step = made.step.as_deref().map(|step| format!(" at {step}")).unwrap_or_default();
        let line = format!("{}  {}{step}, by {}: {}", made.at, made.phase, made.actor, made.why);
        out.push_str(&format!("  {}\n", clean(&line)));
    }
    out
}

/// Two sides beside each other; in the shadow what both made of the same calls.
fn counts(view: &RolloutView) -> String {
    let seen = &view.seen;
    if view.step.is_none() {
        let shadow = &seen.shadow;
        let unseen: u64 = shadow.unseen.values().sum();
        let mut out = format!(
            "\njudged twice  {}: {} the same, {BOLD}{} newly refused{PLAIN}, {} newly allowed, {} changed otherwise\n",
            counted(shadow.judged, "call"),
            shadow.same,
            shadow.refused,
            shadow.allowed,
            shadow.changed
        );
        if unseen + shadow.missed > 0 {
            let causes: Vec<String> =
                shadow.unseen.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
            out.push_str(&format!(
                "not judged    {unseen} for want of facts ({}), {} came too fast\n",
                clean(&causes.join(", ")),
                shadow.missed
            ));
        }
        return out;
    }
    let share = |part: u64, arm: &ArmView| match arm.calls {
        0 => NONE.to_owned(),
        calls => format!("{part} ({:.2} %)", part as f64 * 100.0 / calls as f64),
    };
    let line = |name: &str, arm: &ArmView| {
        vec![
            name.to_owned(),
            arm.calls.to_string(),
            share(arm.refused, arm),
            share(arm.failed, arm),
            arm.p95_ms.map_or_else(|| NONE.to_owned(), |ms| format!("{ms:.1} ms")),
        ]
    };
    let mut rows = vec![line("candidate", &seen.candidate), line("active", &seen.active)];
    if seen.active.calls == 0 && seen.before.calls > 0 {
        rows.push(line("active, the step before", &seen.before));
    }
    format!("\n{}", print::table(&["", "CALLS", "REFUSED", "FAILED", "95 % WITHIN"], rows.into_iter()))
}

/// By whom it is felt.
fn felt(view: &RolloutView) -> String {
    let (felt, shadow) = (&view.felt, &view.seen.shadow);
    let mut rows: Vec<(String, u64, u64, u64)> = match &view.step {
        Some(_) => felt
            .iter()
            .filter(|(_, felt)| felt.refused + felt.failed > 0)
            .map(|(who, felt)| (who.clone(), felt.calls, felt.refused, felt.failed))
            .collect(),
        None => shadow.consumers.iter().map(|(who, [refused, _])| (who.clone(), 0, *refused, 0)).collect(),
    };
    if rows.is_empty() {
        return String::new();
    }
    rows.sort_by(|one, other| (other.2 + other.3).cmp(&(one.2 + one.3)).then_with(|| one.0.cmp(&other.0)));
    let title = if view.step.is_some() { "felt by" } else { "would be felt by" };
    let mut out = format!("\n{title}\n");
    for (who, calls, refused, failed) in rows.iter().take(ROWS_MAX) {
        let of = if *calls > 0 { format!(" of {calls}") } else { String::new() };
        let failed = if *failed > 0 { format!(", {failed} failed") } else { String::new() };
        out.push_str(&format!("  {}  {refused} refused{of}{failed}\n", clean(who)));
    }
    if rows.len() > ROWS_MAX {
        out.push_str(&format!("  and {} more\n", rows.len() - ROWS_MAX));
    }
    out
}

fn examples(view: &RolloutView) -> String {
    let examples = &view.examples;
    if examples.is_empty() {
        return String::new();
    }
    let mut out = "\nfor example\n".to_owned();
    for example in examples.iter().take(EXAMPLES_MAX) {
        let who = example.consumer.as_deref().map(|who| format!(" of {who}")).unwrap_or_default();
        let before =
            if example.before.is_empty() { String::new() } else { format!("{} → ", example.before) };
        let line = format!("{}{who}: {before}{} ({})", example.request, example.after, example.id);
        out.push_str(&format!("  {}\n", clean(&line)));
    }
    out
}

/// A screen of callers.
const ROWS_MAX: usize = 20;
const EXAMPLES_MAX: usize = 5;
