//! The life of a key as a state machine: created → active → ageing → overlapping → retired → removed.
//!
//! Pure: facts, terms and the time are arguments, and a state is computed, never kept, so that the gateway, the commands
//! and the schedule cannot disagree about a key. What must happen to a key from outside (retiring one that nobody uses
//! any more) is told as a step; doing it is the store's matter, which alone knows every gateway's uses.

/// When a key should have been replaced, how long it works on, and when its owner is told. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifeTerms {
    /// The age at which a key should have been replaced; `None`: a key never ages by itself.
    pub maximum_age_ms: Option<u64>,
    /// How long before it is due a key begins to age, but not in the first half of its life; 0: it never does.
    pub ageing_before_ms: u64,
    /// How long a key works on beside the one that replaced it.
    pub overlap_ms: u64,
    /// How long a key works at most after it was replaced or, not replaced, after its maximum age.
    pub hard_limit_ms: u64,
    /// How a replaced key ends.
    pub retire: Retire,
    /// How long nobody must have used a replaced key before it counts as unused.
    pub unused_for_ms: u64,
    /// How long before a key is due its owner is told.
    pub tell_before_ms: Vec<u64>,
    /// How long after its end a key is removed from lists.
    pub remove_after_ms: u64,
}

impl Default for LifeTerms {
    /// The terms of keys that no policy is about: they never age, are rotated as by the defaults of
    /// `KeyRotationPolicy`, and nobody is told.
    fn default() -> Self {
        LifeTerms {
            maximum_age_ms: None,
            ageing_before_ms: 0,
            overlap_ms: 7 * DAY_MS,
            hard_limit_ms: 30 * DAY_MS,
            retire: Retire::AtOnce,
            unused_for_ms: DAY_MS,
            tell_before_ms: Vec::new(),
            remove_after_ms: 90 * DAY_MS,
        }
    }
}

/// How a replaced key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retire {
    /// With the overlap.
    AtOnce,
    /// After the overlap as soon as nobody uses it, and at the hard limit at the latest.
    WhenUnused,
}

/// What is known of a key. Times are Unix milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyFacts {
    /// When it was made.
    pub created_ms: u64,
    /// From when it is valid.
    pub not_before_ms: u64,
    /// When its owner took it over; `None`: not yet, so nobody can use it.
    pub claimed_ms: Option<u64>,
    /// When another key replaced it.
    pub replaced_ms: Option<u64>,
    /// Until when a replaced key works whether it is used or not.
    pub overlap_until_ms: Option<u64>,
    /// From when it is valid no more, whatever a policy says.
    pub expires_ms: Option<u64>,
    /// When it was withdrawn.
    pub revoked_ms: Option<u64>,
    /// When it was last used.
    pub last_used_ms: Option<u64>,
}

/// Where a key is in its life, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LifeState {
    /// Made, and not yet in use: its time has not begun, or nobody has taken it over.
    Created,
    /// In use.
    Active,
    /// In use, and soon due to be replaced.
    Ageing,
    /// Replaced, and working on beside its successor.
    Overlapping,
    /// Opens no more.
    Retired,
    /// Ended so long ago that lists leave it out.
    Removed,
}

impl LifeState {
    /// The word in lists, records and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            LifeState::Created => "created",
            LifeState::Active => "active",
            LifeState::Ageing => "ageing",
            LifeState::Overlapping => "overlapping",
            LifeState::Retired => "retired",
            LifeState::Removed => "removed",
        }
    }
}

/// What comes next for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It begins to age.
    Age {
        /// When.
        at_ms: u64,
    },
    /// It begins to be valid.
    Begin {
        /// When.
        at_ms: u64,
    },
    /// Its owner takes it over.
    Claim,
    /// It ends.
    End {
        /// When.
        at_ms: u64,
    },
    /// It ends once nobody uses it.
    EndUnused {
        /// Not before.
        from_ms: u64,
        /// At the latest.
        latest_ms: u64,
    },
    /// Nothing comes by itself.
    Nothing,
    /// It is left out of lists.
    Remove {
        /// When.
        at_ms: u64,
    },
    /// Its owner replaces it.
    Replace {
        /// Until when.
        due_ms: u64,
    },
    /// It is to be retired now: its overlap is over and nobody uses it.
    Retire,
}

/// A key at one moment of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Where it is.
    pub state: LifeState,
    /// Since when; for callers, since when the key is deprecated.
    pub since_ms: u64,
    /// From when it opens no more, as far as that is settled.
    pub ends_ms: Option<u64>,
    /// What comes next.
    pub next: Step,
}

impl Life {
    /// Where a key is at `now_ms`.
    pub fn at(facts: &KeyFacts, terms: &LifeTerms, now_ms: u64) -> Life {
        let ends_ms = facts.ends_ms(terms);
        let ended = facts.revoked_ms.or(ends_ms.filter(|ends| now_ms >= *ends));
        if let Some(ended_ms) = ended {
            return after_end(ended_ms, terms, now_ms, facts);
        }
        let life = |state, since_ms, next| Life { state, since_ms, ends_ms, next };
        if now_ms < facts.not_before_ms {
            let next = Step::Begin { at_ms: facts.not_before_ms };
            return life(LifeState::Created, facts.created_ms, next);
        }
        let Some(claimed_ms) = facts.claimed_ms else {
            return life(LifeState::Created, facts.created_ms, Step::Claim);
        };
        if let Some(replaced_ms) = facts.replaced_ms {
            return life(LifeState::Overlapping, replaced_ms, facts.overlapping(ends_ms, terms, now_ms));
        }
        let active_ms = claimed_ms.max(facts.not_before_ms);
        match facts.due_ms(terms) {
            None => life(LifeState::Active, active_ms, Step::Nothing),
            Some(due_ms) => {
                let ageing_ms = facts.ageing_ms(due_ms, terms);
                if ageing_ms >= due_ms && Some(due_ms) == ends_ms {
                    life(LifeState::Active, active_ms, Step::End { at_ms: due_ms })
                } else if now_ms < ageing_ms {
                    life(LifeState::Active, active_ms, Step::Age { at_ms: ageing_ms })
                } else if now_ms < due_ms {
                    life(LifeState::Ageing, ageing_ms, Step::Replace { due_ms })
                } else {
                    let next = ends_ms.map_or(Step::Replace { due_ms }, |at_ms| Step::End { at_ms });
                    life(LifeState::Ageing, ageing_ms, next)
                }
            }
        }
    }

    /// How long before it is due the owner is to be told now, of the times that the terms name: the shortest that has
    /// come. Where several came while nobody looked, the owner is told once.
    pub fn to_tell_ms(facts: &KeyFacts, terms: &LifeTerms, now_ms: u64) -> Option<u64> {
        let is_working =
            matches!(Life::at(facts, terms, now_ms).state, LifeState::Active | LifeState::Ageing);
        let due_ms = facts.due_ms(terms).filter(|_| is_working)?;
        terms
            .tell_before_ms
            .iter()
            .copied()
            // A key that lives shorter than that was never so far from its end.
            .filter(|before| {
                due_ms.checked_sub(*before).is_some_and(|at| at >= facts.created_ms && now_ms >= at)
            })
            .min()
    }
}

impl KeyFacts {
    /// When it should have been replaced: at its maximum age, or when it expires before that.
    pub fn due_ms(&self, terms: &LifeTerms) -> Option<u64> {
        earlier(terms.maximum_age_ms.map(|age| self.created_ms.saturating_add(age)), self.expires_ms)
    }

    /// From when it opens no more. A replaced key was given its end when it was replaced.
    pub fn ends_ms(&self, terms: &LifeTerms) -> Option<u64> {
        let too_old = terms
            .maximum_age_ms
            .filter(|_| self.replaced_ms.is_none())
            .map(|age| self.created_ms.saturating_add(age).saturating_add(terms.hard_limit_ms));
        earlier(self.expires_ms, too_old)
    }

    /// A key of a short life is not ageing from its first day on.
    const fn ageing_ms(&self, due_ms: u64, terms: &LifeTerms) -> u64 {
        let life_ms = due_ms.saturating_sub(self.created_ms);
        let before_ms =
            if terms.ageing_before_ms < life_ms / 2 { terms.ageing_before_ms } else { life_ms / 2 };
        due_ms.saturating_sub(before_ms)
    }

    fn overlapping(&self, ends_ms: Option<u64>, terms: &LifeTerms, now_ms: u64) -> Step {
        let Some(latest_ms) = ends_ms else { return Step::Nothing };
        let Some(from_ms) = self.overlap_until_ms.filter(|until| *until < latest_ms) else {
            return Step::End { at_ms: latest_ms };
        };
        let is_unused =
            self.last_used_ms.is_none_or(|used| now_ms.saturating_sub(used) >= terms.unused_for_ms);
        if now_ms >= from_ms && is_unused { Step::Retire } else { Step::EndUnused { from_ms, latest_ms } }
    }
}

fn after_end(ended_ms: u64, terms: &LifeTerms, now_ms: u64, facts: &KeyFacts) -> Life {
    // Of a key that was withdrawn after it had expired, the earlier is the end.
    let ended_ms = facts.expires_ms.map_or(ended_ms, |expires| expires.min(ended_ms));
    let at_ms = ended_ms.saturating_add(terms.remove_after_ms);
    let ends_ms = Some(ended_ms);
    if now_ms < at_ms {
        Life { state: LifeState::Retired, since_ms: ended_ms, ends_ms, next: Step::Remove { at_ms } }
    } else {
        Life { state: LifeState::Removed, since_ms: at_ms, ends_ms, next: Step::Nothing }
    }
}

fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

const DAY_MS: u64 = 86_400_000;

#[cfg(test)]
mod tests;
