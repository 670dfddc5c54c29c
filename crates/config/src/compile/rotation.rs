//! `KeyRotationPolicy` → [`RotationPlan`].

use std::sync::Arc;

use bartizan_identity::{LifeTerms, Retire};
use bartizan_model::{
    Mode,
    document::{
        Document, Kind, Spec,
        common::TargetKind,
        key_rotation::{KeyRotationPolicySpec, RetireName},
    },
    problem::{Code, Problem, Problems, Span},
    read::Spanned,
    scalar::Time,
};

use super::{
    attach::{Scoped, targets},
    index::{Index, spec_of},
    label, notice, positive,
};
use crate::snapshot::{Bite, RotationPlan};

/// Compiles all policies about keys, in order of name.
pub(super) fn policies<'d>(index: &Index<'d>, problems: &mut Problems) -> Vec<Scoped<'d, RotationPlan>> {
    let mut scoped = Vec::new();
    for document in index.of(Kind::KeyRotationPolicy) {
        let Some(spec) = spec_of!(document, KeyRotationPolicy) else { continue };
        scoped.push(Scoped {
            document,
            plan: Arc::new(compile(index, document, spec, problems)),
            bite: Bite { mode: spec.mode, ..Bite::FULL },
            allow_override: spec.allow_override,
            targets: targets(index, &spec.target_refs, &[TargetKind::Consumer], problems),
        });
    }
    scoped
}

fn compile(
    index: &Index<'_>,
    document: &Document,
    spec: &KeyRotationPolicySpec,
    problems: &mut Problems,
) -> RotationPlan {
    if spec.mode == Mode::Shadow {
        problems.push(
            Problem::new(Code::NoShadow, document.name.at, "spec.mode", "a KeyRotationPolicy has no shadow")
                .hint("it decides about keys, not about a request; use `enforce` or `off`"),
        );
    }
    check(spec, problems);
    let millis = |time: &Time| u64::try_from(time.get().as_millis()).unwrap_or(u64::MAX);
    let mut tell_before_ms: Vec<u64> = if spec.tell_before.is_empty() {
        TELL_DAYS.iter().map(|days| days * DAY_MS).collect()
    } else {
        spec.tell_before.iter().map(|time| millis(time)).collect()
    };
    tell_before_ms.sort_unstable();
    tell_before_ms.dedup();
    RotationPlan {
        label: label(Kind::KeyRotationPolicy, document.name.as_str()),
        announce: spec.announce,
        notify: notice::named(index, &spec.notify, "spec.notify", problems),
        claim_url: spec.claim_url.as_ref().map(|url| url.value.clone()),
        deliver_to: spec.deliver_to.as_ref().map(|place| place.as_str().into()),
        terms: Arc::new(LifeTerms {
            maximum_age_ms: spec.maximum_age.as_ref().map(|age| millis(age)),
            ageing_before_ms: millis(&spec.ageing_before),
            overlap_ms: millis(&spec.overlap),
            hard_limit_ms: millis(&spec.hard_limit),
            retire: match spec.retire {
                RetireName::AtOnce => Retire::AtOnce,
                RetireName::WhenUnused => Retire::WhenUnused,
            },
            unused_for_ms: millis(&spec.unused_for),
            tell_before_ms,
            remove_after_ms: millis(&spec.remove_after),
        }),
    }
}

fn check(spec: &KeyRotationPolicySpec, problems: &mut Problems) {
    positive(&spec.overlap, "spec.overlap", problems);
    if let (Some(place), Some(url)) = (&spec.deliver_to, &spec.claim_url) {
        let message = "a successor goes one way: by a link, or to a place";
        problems.push(
            Problem::new(Code::FieldsClash, place.at, "spec.deliverTo", message)
                .also(url.at, "the link is here"),
        );
    }
    if let Some(url) = &spec.claim_url {
        let is_local = url.endpoint().address().is_some_and(|address| address.is_loopback());
        if !url.is_https() && !is_local {
            let message = "a claim link shows a key: it leads over TLS";
            problems
                .push(Problem::new(Code::BadUrl, url.at, "spec.claimUrl", message).hint("write `https://`"));
        }
        if spec.notify.is_empty() {
            let message = "nobody would get the links: there is no channel in `notify`";
            problems.push(Problem::new(Code::FieldsClash, url.at, "spec.claimUrl", message));
        }
    }
    if let Some(age) = &spec.maximum_age {
        let age_is = positive(age, "spec.maximumAge", problems);
        too_long(spec.tell_before.as_slice(), age_is, problems);
        // Where nothing is written, a short `maximumAge` meets the default: ageing begins half-way then.
        if is_written(&spec.ageing_before) && spec.ageing_before.get() >= age_is && !age_is.is_zero() {
            let message = "keys would be ageing all their life: it is not shorter than `maximumAge`";
            problems.push(
                Problem::new(Code::FieldsClash, spec.ageing_before.at, "spec.ageingBefore", message)
                    .also(age.at, "the age is here"),
            );
        }
    }
    if spec.retire == RetireName::WhenUnused {
        if spec.hard_limit.get() < spec.overlap.get() {
            let message =
                "a replaced key would end before its overlap is over: `hardLimit` is shorter than `overlap`";
            // One of them may be a default, which stands nowhere.
            let (at, path) = if is_written(&spec.hard_limit) {
                (spec.hard_limit.at, "spec.hardLimit")
            } else {
                (spec.overlap.at, "spec.overlap")
            };
            problems.push(Problem::new(Code::FieldsClash, at, path, message));
        }
        // Uses are saved every few seconds, by each gateway: a shorter silence proves nothing.
        if spec.unused_for.get() < UNUSED_MIN.get() {
            let message =
                "uses are saved every few seconds: silence this short does not show that a key is unused";
            problems.push(
                Problem::new(Code::BadValue, spec.unused_for.at, "spec.unusedFor", message)
                    .hint("write at least `1m`"),
            );
        }
    }
}

/// Whether a document says it, as opposed to a default.
fn is_written(time: &Spanned<Time>) -> bool {
    time.at != Span::SET
}

/// A notice that would be due before a key exists is a slip.
fn too_long(times: &[Spanned<Time>], age: std::time::Duration, problems: &mut Problems) {
    for time in times.iter().filter(|time| time.get() >= age && !age.is_zero()) {
        let message = "its time would come before the key is made: it is not shorter than `maximumAge`";
        problems.push(Problem::new(Code::FieldsClash, time.at, "spec.tellBefore", message));
    }
}

const DAY_MS: u64 = 86_400_000;
/// Told where a policy names no times.
const TELL_DAYS: [u64; 3] = [30, 7, 1];
const UNUSED_MIN: Time = Time::seconds(60);
