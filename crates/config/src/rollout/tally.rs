//! What was seen of the calls of one step: counts per group of callers, in bounded memory.
//!
//! Calls of one caller are alike, so a thousand of them are not a thousand observations. Callers are put into
//! [`GROUPS`] groups by their hash, and how the groups differ tells how much is chance.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::weigh::GROUPS;

/// Buckets of durations: the first ends at 100 µs, each is a quarter of a power of two longer, the last has no end.
const BUCKETS: usize = 80;

/// What is counted of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The gateway refused it.
    pub refused: bool,
    /// It failed.
    pub failed: bool,
    /// How long it took, without what it waited for its slot in a limit.
    pub took: Duration,
}

/// The calls of one group of callers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// Calls.
    pub n: u64,
    /// Refused ones.
    pub r: u64,
    /// Failed ones.
    pub e: u64,
    /// Durations, by bucket.
    pub t: BTreeMap<u8, u64>,
}

/// The calls of one side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// By group.
    pub groups: BTreeMap<u8, Group>,
}

impl Arm {
    /// Counts a call of a caller.
    pub fn note(&mut self, group: u8, outcome: Outcome) {
        let group = self.groups.entry(group % GROUPS).or_default();
        group.n += 1;
        group.r += u64::from(outcome.refused);
        group.e += u64::from(outcome.failed);
        *group.t.entry(bucket(outcome.took)).or_default() += 1;
    }

    /// All calls.
    pub fn calls(&self) -> u64 {
        self.groups.values().map(|group| group.n).sum()
    }

    /// Refused ones.
    pub fn refused(&self) -> u64 {
        self.groups.values().map(|group| group.r).sum()
    }

    /// Failed ones.
    pub fn failed(&self) -> u64 {
        self.groups.values().map(|group| group.e).sum()
    }

    /// The bucket below whose end so many of a hundred calls are; nothing without calls.
    pub fn bucket_of(&self, percent: u64) -> Option<u8> {
        let mut all: BTreeMap<u8, u64> = BTreeMap::new();
        for (bucket, count) in self.groups.values().flat_map(|group| &group.t) {
            *all.entry(*bucket).or_default() += count;
        }
        let wanted = self.calls().saturating_mul(percent).div_ceil(100);
        let mut seen = 0;
        all.into_iter()
            .find(|(_, count)| {
                seen += count;
                seen >= wanted && wanted > 0
            })
            .map(|(bucket, _)| bucket)
    }

    fn add(&mut self, other: &Arm) {
        for (group, counts) in &other.groups {
            let own = self.groups.entry(*group).or_default();
            own.n += counts.n;
            own.r += counts.r;
            own.e += counts.e;
            for (bucket, count) in &counts.t {
                *own.t.entry(*bucket).or_default() += count;
            }
        }
    }
}

fn bucket(took: Duration) -> u8 {
    let fine = took.as_secs_f64() / 100e-6;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the last bucket"
    )]
    let index = if fine <= 1.0 { 0 } else { (fine.log2() * 4.0).ceil().min((BUCKETS - 1) as f64) as u8 };
    index
}

/// The end of a bucket.
pub fn bucket_end(bucket: u8) -> Duration {
    Duration::from_secs_f64(100e-6 * (f64::from(bucket) / 4.0).exp2())
}

/// How many buckets further something is that takes so many times as long.
pub fn buckets_for(factor: f64) -> u8 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the buckets there are"
    )]
    let buckets = (factor.max(1.0).log2() * 4.0).round().clamp(0.0, (BUCKETS - 1) as f64) as u8;
    buckets
}

/// What callers in the candidate's share felt, by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Felt {
    /// Calls.
    pub calls: u64,
    /// Refused ones.
    pub refused: u64,
    /// Failed ones.
    pub failed: u64,
}

/// A call that stands for others like it. Nothing of its content is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Its request id.
    pub id: String,
    /// Method, host and path.
    pub request: String,
    /// Who.
    pub consumer: Option<String>,
    /// What the active set made of it; empty where it was not judged by that.
    pub before: String,
    /// What the candidate made of it.
    pub after: String,
}

/// What two sets made of the same calls while the candidate was only watched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ShadowTally {
    /// Calls that both judged.
    pub judged: u64,
    /// The same.
    pub same: u64,
    /// Newly refused.
    pub refused: u64,
    /// Newly allowed.
    pub allowed: u64,
    /// Changed otherwise.
    pub changed: u64,
    /// Calls that could not be judged twice, for what.
    pub unseen: BTreeMap<String, u64>,
    /// Calls that came faster than they could be judged.
    pub missed: u64,
    /// Newly refused and newly allowed by consumer.
    pub consumers: BTreeMap<String, [u64; 2]>,
    /// The same by policy.
    pub policies: BTreeMap<String, [u64; 2]>,
    /// The same by route.
    pub routes: BTreeMap<String, [u64; 2]>,
}

/// What was seen in one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Tally {
    /// Callers of the active set. While the candidate is only watched: the same calls, of which none is newly refused.
    pub active: Arm,
    /// Callers of the candidate. While it is only watched: calls that both judged, newly refused ones as refused.
    pub candidate: Arm,
    /// What was seen while it was only watched.
    pub shadow: ShadowTally,
    /// What callers in its share felt.
    pub felt: BTreeMap<String, Felt>,
    /// Some calls that it refused, or would have refused or let pass.
    pub examples: Vec<Example>,
}

/// Names that are counted apart; beyond them `(others)`.
pub const NAMES_MAX: usize = 200;

/// Calls that are shown.
pub const EXAMPLES_MAX: usize = 20;

const OTHERS: &str = "(others)";

impl Tally {
    /// Counts what a caller in the candidate's share felt.
    pub fn feel(&mut self, who: &str, outcome: Outcome) {
        let felt = named(&mut self.felt, who);
        felt.calls += 1;
        felt.refused += u64::from(outcome.refused);
        felt.failed += u64::from(outcome.failed);
    }

    /// Keeps a call as an example, as long as there is room.
    pub fn show(&mut self, example: impl FnOnce() -> Example) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example());
        }
    }

    /// Adds what another core or gateway saw.
    pub fn add(&mut self, other: &Tally) {
        self.active.add(&other.active);
        self.candidate.add(&other.candidate);
        self.shadow.add(&other.shadow);
        for (who, felt) in &other.felt {
            let own = named(&mut self.felt, who);
            own.calls += felt.calls;
            own.refused += felt.refused;
            own.failed += felt.failed;
        }
        for example in &other.examples {
            self.show(|| example.clone());
        }
    }

    /// How many groups of callers the candidate has had calls of.
    pub fn groups(&self) -> usize {
        self.candidate.groups.values().filter(|group| group.n > 0).count()
    }
}

impl ShadowTally {
    /// Counts a call whose decision differs, by each name that it has.
    pub fn differs(
        &mut self,
        allowed: bool,
        consumer: Option<&str>,
        policy: Option<&str>,
        route: Option<&str>,
    ) {
        let place = usize::from(allowed);
        for (names, name) in
            [(&mut self.consumers, consumer), (&mut self.policies, policy), (&mut self.routes, route)]
        {
            if let Some(count) = name.and_then(|name| named(names, name).get_mut(place)) {
                *count += 1;
            }
        }
    }

    fn add(&mut self, other: &ShadowTally) {
        self.judged += other.judged;
        self.same += other.same;
        self.refused += other.refused;
        self.allowed += other.allowed;
        self.changed += other.changed;
        self.missed += other.missed;
        for (cause, count) in &other.unseen {
            *named(&mut self.unseen, cause) += count;
        }
        for (own, others) in [
            (&mut self.consumers, &other.consumers),
            (&mut self.policies, &other.policies),
            (&mut self.routes, &other.routes),
        ] {
            for (name, [refused, allowed]) in others {
                let [own_refused, own_allowed] = named(own, name);
                *own_refused += refused;
                *own_allowed += allowed;
            }
        }
    }
}

/// The count of a name; beyond [`NAMES_MAX`] they share one, so that hostile names cost no memory.
fn named<'m, T: Default>(map: &'m mut BTreeMap<String, T>, name: &str) -> &'m mut T {
    let name = if map.contains_key(name) || map.len() < NAMES_MAX { name } else { OTHERS };
    map.entry(name.to_owned()).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Outcome = Outcome { refused: false, failed: false, took: Duration::from_millis(10) };

    #[test]
    fn a_percentile_is_found_by_its_bucket() {
        let mut arm = Arm::default();
        assert_eq!(arm.bucket_of(95), None);
        for call in 0..100_u64 {
            let took = Duration::from_millis(if call < 94 { 10 } else { 500 });
            arm.note((call % 7) as u8, Outcome { took, ..GOOD });
        }
        let end = |percent| bucket_end(arm.bucket_of(percent).unwrap());
        assert!((10..12).contains(&end(94).as_millis()), "{:?}", end(94));
        assert!((500..600).contains(&end(95).as_millis()), "{:?}", end(95));
        assert_eq!((buckets_for(2.0), buckets_for(1.0), buckets_for(1.25)), (4, 0, 1));
        assert_eq!((bucket(Duration::ZERO), bucket(Duration::MAX)), (0, 79));
    }

    #[test]
    fn names_beyond_the_limit_share_one_and_what_others_saw_is_added() {
        let mut one = Tally::default();
        for number in 0..NAMES_MAX + 50 {
            one.feel(&format!("caller-{number}"), GOOD);
        }
        assert_eq!((one.felt.len(), one.felt[OTHERS].calls), (NAMES_MAX + 1, 50));
        let mut other = Tally::default();
        other.candidate.note(3, Outcome { refused: true, ..GOOD });
        other.feel("caller-1", Outcome { refused: true, ..GOOD });
        one.add(&other);
        one.add(&other);
        assert_eq!((one.candidate.calls(), one.candidate.refused(), one.groups()), (2, 2, 1));
        assert_eq!(one.felt["caller-1"], Felt { calls: 3, refused: 2, failed: 0 });
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Tally>(&text).unwrap(), one, "it survives being written down");
    }
}
