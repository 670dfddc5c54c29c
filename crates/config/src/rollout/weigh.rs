//! Whether a difference between two sides is more than chance.
//!
//! Two proportions, each with the variance between groups of callers (a ratio estimate over clusters), so that one busy
//! caller does not pass for a thousand; never less than the binomial one. The difference beyond the margin is a t value
//! whose degrees of freedom are those of the side with fewer groups. Looks are taken at calls that grow by
//! 30 %, and the k-th look spends `alpha / (k (k + 1))`, which over any number of looks adds up to alpha: looking often
//! costs nothing. Decision 0047 has the reasons and what was measured.

use super::{
    plan::{Guard, RolloutPlan, Watched},
    tally::{Arm, Group, bucket_end, buckets_for},
};

/// Groups of callers. More would be finer than few callers can fill, fewer would know less of chance.
pub const GROUPS: u8 = 64;

/// The chance that a rollout of a candidate that is no worse than its margins is stopped: 1 of 100, over all its guards,
/// steps and looks.
pub const ALPHA: f64 = 0.01;

/// Below so many groups the variance between them is not known well enough to conclude anything.
pub const GROUPS_MIN: usize = 5;

/// The first look is at so many calls of the candidate, each further one at this many times as many.
const FIRST_LOOK: f64 = 100.0;
const LOOK_GROWTH: f64 = 1.3;

/// A guard that tripped.
#[derive(Clone, Debug, PartialEq)]
pub struct Tripped {
    /// Which.
    pub guard: Guard,
    /// What it saw, in a sentence.
    pub why: String,
}

/// How many looks are due at so many calls of the candidate.
pub fn looks_due(calls: u64) -> u32 {
    let calls = calls as f64;
    if calls < FIRST_LOOK {
        return 0;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a logarithm of a count is small"
    )]
    let looks = ((calls / FIRST_LOOK).ln() / LOOK_GROWTH.ln()).floor() as u32 + 1;
    looks
}

/// The first guard that trips at look number `look` (from 1); nothing where no difference is more than chance.
pub fn tripped(plan: &RolloutPlan, active: &Arm, candidate: &Arm, look: u32) -> Option<Tripped> {
    let looks = f64::from(look.max(1));
    let alpha = ALPHA / plan.tests() as f64 / (looks * (looks + 1.0));
    plan.guards.iter().find_map(|guard| {
        let difference = Difference::of(*guard, active, candidate)?;
        (difference.p_value() < alpha).then(|| Tripped { guard: *guard, why: difference.words(*guard) })
    })
}

/// How many calls of a group are bad.
type Bad = Box<dyn Fn(&Group) -> u64>;

/// How the candidate's share of bad calls differs from the active set's.
struct Difference {
    candidate: Proportion,
    active: Proportion,
    margin: f64,
    /// What was counted as slow.
    slow: Option<std::time::Duration>,
}

impl Difference {
    fn of(guard: Guard, active: &Arm, candidate: &Arm) -> Option<Self> {
        let (bad, margin, slow): (Bad, f64, _) = match guard.watched {
            Watched::Refusals => (Box::new(|group: &Group| group.r), guard.margin, None),
            Watched::Errors => (Box::new(|group: &Group| group.e), guard.margin, None),
            Watched::Latency => {
                // Slower than the slowest twentieth may be: as many of the candidate's calls are to be beyond it as of
                // the active set's, and no more than one of a hundred besides, the width of a bucket.
                let limit = active.bucket_of(95)?.saturating_add(buckets_for(1.0 + guard.margin));
                let beyond = move |group: &Group| {
                    group.t.range(limit.saturating_add(1)..).map(|(_, count)| count).sum()
                };
                (Box::new(beyond), 0.01, Some(bucket_end(limit)))
            }
        };
        let candidate = Proportion::of(candidate, &*bad)?;
        if candidate.groups < GROUPS_MIN {
            return None;
        }
        let active = Proportion::of(active, &*bad)?;
        Some(Difference { candidate, active, margin, slow })
    }

    /// The chance of a difference as large as this, or larger, where there is none beyond the margin.
    fn p_value(&self) -> f64 {
        let beyond = self.candidate.share - self.active.share - self.margin;
        if beyond <= 0.0 {
            return 1.0;
        }
        let error = (self.candidate.variance + self.active.variance).sqrt();
        // A side that is known exactly has no groups of its own to be uncertain about.
        let groups = self.candidate.groups.min(if self.active.variance > 0.0 {
            self.active.groups
        } else {
            usize::MAX
        });
        t_tail(beyond / error, groups.saturating_sub(1).max(1) as f64)
    }

    fn words(&self, guard: Guard) -> String {
        let percent = |share: f64| format!("{:.2} %", share * 100.0);
        let (is, was) = (percent(self.candidate.share), percent(self.active.share));
        let (calls, others) = (self.candidate.calls, self.active.calls);
        let what = match (guard.watched, self.slow) {
            (Watched::Refusals, _) => "were refused".to_owned(),
            (Watched::Errors, _) => "failed".to_owned(),
            (Watched::Latency, slow) => format!("took longer than {:?}", slow.unwrap_or_default()),
        };
        format!("{is} of {calls} calls {what}, by the active set {was} of {others} ({guard})")
    }
}

/// A share of calls with its uncertainty.
struct Proportion {
    share: f64,
    variance: f64,
    groups: usize,
    calls: u64,
}

impl Proportion {
    fn of(arm: &Arm, bad: &dyn Fn(&Group) -> u64) -> Option<Self> {
        let groups: Vec<(f64, f64)> = arm
            .groups
            .values()
            .filter(|group| group.n > 0)
            .map(|group| (group.n as f64, bad(group) as f64))
            .collect();
        let calls: f64 = groups.iter().map(|(calls, _)| calls).sum();
        if calls <= 0.0 {
            return None;
        }
        let all_bad: f64 = groups.iter().map(|(_, bad)| bad).sum();
        let share = all_bad / calls;
        let count = groups.len() as f64;
        let residuals: f64 = groups.iter().map(|(calls, bad)| (bad - share * calls).powi(2)).sum();
        let between = if count > 1.0 { residuals / (calls * calls) * count / (count - 1.0) } else { 0.0 };
        // None or all of few calls still is a guess: one bad and one good call are added for its uncertainty.
        let smoothed = (all_bad + 1.0) / (calls + 2.0);
        let binomial = smoothed * (1.0 - smoothed) / calls;
        Some(Proportion { share, variance: between.max(binomial), groups: groups.len(), calls: arm.calls() })
    }
}

/// The chance that a t value with these degrees of freedom is larger than `t`, for `t` above 0.
fn t_tail(t: f64, freedom: f64) -> f64 {
    if !t.is_finite() {
        return 0.0;
    }
    0.5 * incomplete_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5)
}

/// The regularised incomplete beta function, by its continued fraction (Lentz).
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges fast on this side only.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp() / a;
    const TINY: f64 = 1e-300;
    let (mut c, mut d) = (1.0, 1.0 - (a + b) * x / (a + 1.0));
    d = 1.0 / if d.abs() < TINY { TINY } else { d };
    let mut fraction = d;
    for step in 1..200_u32 {
        let m = f64::from(step);
        for numerator in [
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        ] {
            d = 1.0 + numerator * d;
            d = 1.0 / if d.abs() < TINY { TINY } else { d };
            c = 1.0 + numerator / c;
            c = if c.abs() < TINY { TINY } else { c };
            fraction *= d * c;
        }
        if (d * c - 1.0).abs() < 1e-12 {
            break;
        }
    }
    front * fraction
}

/// The logarithm of the gamma function for positive numbers (Stirling's series, shifted up to where it is exact).
fn ln_gamma(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 12.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / (x * x);
    let series = (1.0 / 12.0 - inverse * (1.0 / 360.0 - inverse * (1.0 / 1260.0 - inverse / 1680.0))) / x;
    shift + (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::{plan::OnTrip, tally::Outcome},
        *,
    };

    #[test]
    fn the_tail_of_t_is_that_of_the_tables() {
        for (t, freedom, expected) in [
            (1.812_461, 10.0, 0.05),
            (2.763_769, 10.0, 0.01),
            (6.313_752, 1.0, 0.05),
            (4.024_296, 4.0, 0.007_903),
            (2.326_348, 1e7, 0.01),
            (4.753_424, 1e7, 1e-6),
        ] {
            let found = t_tail(t, freedom);
            assert!((found / expected - 1.0).abs() < 2e-3, "t {t} at {freedom}: {found} for {expected}");
        }
    }

    #[test]
    fn looks_grow_with_the_calls_and_are_never_many() {
        assert_eq!([0, 99, 100, 129, 130, 169].map(looks_due), [0, 0, 1, 1, 2, 3]);
        assert!(looks_due(100_000_000) < 55);
    }

    /// Numbers that depend on nothing but their seed.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    fn plan() -> RolloutPlan {
        RolloutPlan {
            shadow_ms: 1,
            steps: vec![100, 1_000, 5_000, 10_000],
            hold_ms: 1,
            calls_min: 1,
            guards: RolloutPlan::usual_guards(),
            on_trip: OnTrip::RollBack,
            promote: false,
        }
    }

    /// One step of a rollout: callers who are refused and slow each at a rate of their own, `outcasts` of them often, and
    /// `worse` of all calls of the candidate refused besides. The number of its calls at which a guard tripped.
    fn step(random: &mut Random, outcasts: f64, worse: f64, slower: f64, calls_max: u64) -> Option<u64> {
        let (plan, share) = (plan(), 0.3);
        let (mut active, mut candidate) = (Arm::default(), Arm::default());
        let callers: Vec<(bool, u8, f64, f64, f64)> = (0..400)
            .map(|_| {
                // Most are never refused, a few often: the hard case, for they are not spread evenly.
                let refused = if random.next() < outcasts { random.next() * 0.4 } else { 0.001 };
                let busy = random.next().powi(4);
                (random.next() < share, (random.next() * 64.0) as u8, refused, busy, 0.5 + random.next())
            })
            .collect();
        let (mut looked, mut calls) = (0, 0);
        while candidate.calls() < calls_max && calls < 400_000 {
            for (is_candidate, group, refused, busy, pace) in &callers {
                if random.next() >= *busy {
                    continue;
                }
                calls += 1;
                let base = 5e-3 * pace * (1.0 + 9.0 * random.next().powi(8));
                let factor = if *is_candidate { 1.0 + slower } else { 1.0 };
                let is_refused = random.next() < *refused || (*is_candidate && random.next() < worse);
                let outcome = Outcome {
                    refused: is_refused,
                    failed: random.next() < 0.002,
                    took: Duration::from_secs_f64(base * factor),
                };
                (if *is_candidate { &mut candidate } else { &mut active }).note(*group, outcome);
            }
            let due = looks_due(candidate.calls());
            if due > looked {
                looked = due;
                if tripped(&plan, &active, &candidate, due).is_some() {
                    return Some(candidate.calls());
                }
            }
        }
        None
    }

    #[test]
    fn a_candidate_that_is_no_worse_is_hardly_ever_stopped() {
        let mut random = Random(7);
        let trips = (0..150).filter(|_| step(&mut random, 0.05, 0.0, 0.0, 4_000).is_some()).count();
        // A step has a fifth of 1 %; 150 of them stop 0.3 times, and more than 3 times by a chance below 1 of 10,000.
        assert!(trips <= 3, "{trips} of 150");
    }

    #[test]
    fn a_policy_that_refuses_five_of_a_hundred_good_calls_is_stopped_within_thousands() {
        let mut random = Random(11);
        let mut at: Vec<u64> =
            (0..40).map(|_| step(&mut random, 0.01, 0.05, 0.0, 20_000).unwrap_or(u64::MAX)).collect();
        at.sort_unstable();
        assert!(at[20] <= 3_000 && at[37] < u64::MAX, "{at:?}");
    }

    #[test]
    fn a_candidate_that_is_twice_as_slow_is_stopped() {
        let mut random = Random(13);
        let stopped = (0..20).filter(|_| step(&mut random, 0.01, 0.0, 1.0, 20_000).is_some()).count();
        assert!(stopped >= 19, "{stopped} of 20");
    }

    #[test]
    fn a_handful_of_callers_proves_nothing_however_often_they_call() {
        let good = Outcome { refused: false, failed: false, took: Duration::from_millis(1) };
        let (mut active, mut candidate) = (Arm::default(), Arm::default());
        for call in 0..10_000_u64 {
            active.note((call % 60) as u8, good);
            // One caller of four is always refused: a bot, as likely as a fault.
            candidate.note((call % 4) as u8, Outcome { refused: call % 4 == 0, ..good });
        }
        assert_eq!(tripped(&plan(), &active, &candidate, 1), None);
        // Everybody in five and more groups is another matter.
        candidate = Arm::default();
        for call in 0..300_u64 {
            candidate.note((call % 6) as u8, Outcome { refused: true, ..good });
        }
        let found = tripped(&plan(), &active, &candidate, 1).unwrap();
        assert!(
            found.guard.watched == Watched::Refusals && found.why.contains("by the active set 0.00 %"),
            "{found:?}"
        );
    }
}
