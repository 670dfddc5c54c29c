//! The table of a key's life, and whole lives in virtual time.

use super::*;

const D: u64 = DAY_MS;
/// When the keys of these tests are made.
const BORN: u64 = 1_000 * D;

fn facts() -> KeyFacts {
    KeyFacts { created_ms: BORN, claimed_ms: Some(BORN), ..KeyFacts::default() }
}

/// 90 days, ageing from the 60th, 30 days more at most.
fn terms() -> LifeTerms {
    LifeTerms {
        maximum_age_ms: Some(90 * D),
        ageing_before_ms: 30 * D,
        tell_before_ms: vec![30 * D, 7 * D, D],
        ..LifeTerms::default()
    }
}

#[test]
fn every_moment_of_a_life_has_its_state_and_its_next_step() {
    let base = facts();
    let replaced = KeyFacts {
        replaced_ms: Some(BORN + 70 * D),
        overlap_until_ms: Some(BORN + 77 * D),
        expires_ms: Some(BORN + 77 * D),
        ..base
    };
    let adopting = KeyFacts { expires_ms: Some(BORN + 100 * D), ..replaced };
    let used = |day: u64| KeyFacts { last_used_ms: Some(BORN + day * D), ..adopting };
    let at = |day: u64| BORN + day * D;
    use LifeState::*;
    let table: Vec<(&str, KeyFacts, LifeTerms, u64, LifeState, Step)> = vec![
        ("new", base, terms(), at(0), Active, Step::Age { at_ms: at(60) }),
        ("no policy", base, LifeTerms::default(), at(4000), Active, Step::Nothing),
        ("unclaimed", KeyFacts { claimed_ms: None, ..base }, terms(), at(1), Created, Step::Claim),
        (
            "not begun",
            KeyFacts { not_before_ms: at(5), ..base },
            terms(),
            at(5) - 1,
            Created,
            Step::Begin { at_ms: at(5) },
        ),
        (
            "begun",
            KeyFacts { not_before_ms: at(5), ..base },
            terms(),
            at(5),
            Active,
            Step::Age { at_ms: at(60) },
        ),
        ("a moment before ageing", base, terms(), at(60) - 1, Active, Step::Age { at_ms: at(60) }),
        ("ageing", base, terms(), at(60), Ageing, Step::Replace { due_ms: at(90) }),
        ("due", base, terms(), at(90), Ageing, Step::End { at_ms: at(120) }),
        ("a moment before the hard limit", base, terms(), at(120) - 1, Ageing, Step::End { at_ms: at(120) }),
        ("at the hard limit", base, terms(), at(120), Retired, Step::Remove { at_ms: at(210) }),
        ("long ended", base, terms(), at(210), Removed, Step::Nothing),
        (
            "expires before its maximum age",
            KeyFacts { expires_ms: Some(at(40)), ..base },
            terms(),
            at(20),
            Ageing,
            Step::Replace { due_ms: at(40) },
        ),
        (
            "in the first half of a short life",
            KeyFacts { expires_ms: Some(at(40)), ..base },
            terms(),
            at(20) - 1,
            Active,
            Step::Age { at_ms: at(20) },
        ),
        (
            "expires without a policy",
            KeyFacts { expires_ms: Some(at(40)), ..base },
            LifeTerms::default(),
            at(39),
            Active,
            Step::End { at_ms: at(40) },
        ),
        (
            "expired",
            KeyFacts { expires_ms: Some(at(40)), ..base },
            terms(),
            at(40),
            Retired,
            Step::Remove { at_ms: at(130) },
        ),
        ("replaced", replaced, terms(), at(70), Overlapping, Step::End { at_ms: at(77) }),
        ("at the end of the overlap", replaced, terms(), at(77), Retired, Step::Remove { at_ms: at(167) }),
        (
            "replaced and in use",
            used(76),
            terms(),
            at(76),
            Overlapping,
            Step::EndUnused { from_ms: at(77), latest_ms: at(100) },
        ),
        (
            "in use after the overlap",
            used(80),
            terms(),
            at(81) - 1,
            Overlapping,
            Step::EndUnused { from_ms: at(77), latest_ms: at(100) },
        ),
        ("unused for a day after the overlap", used(80), terms(), at(81), Overlapping, Step::Retire),
        (
            "unused within the overlap",
            used(70),
            terms(),
            at(77) - 1,
            Overlapping,
            Step::EndUnused { from_ms: at(77), latest_ms: at(100) },
        ),
        ("never used", adopting, terms(), at(77), Overlapping, Step::Retire),
        ("in use to the last", used(99), terms(), at(100), Retired, Step::Remove { at_ms: at(190) }),
        (
            "revoked while overlapping",
            KeyFacts { revoked_ms: Some(at(71)), ..replaced },
            terms(),
            at(71),
            Retired,
            Step::Remove { at_ms: at(161) },
        ),
        (
            "a replaced key has no maximum age any more",
            KeyFacts { expires_ms: Some(at(300)), overlap_until_ms: Some(at(300)), ..replaced },
            terms(),
            at(299),
            Overlapping,
            Step::End { at_ms: at(300) },
        ),
    ];
    for (case, facts, terms, now, state, next) in table {
        let life = Life::at(&facts, &terms, now);
        assert_eq!((life.state, life.next), (state, next), "{case}");
    }
}

#[test]
fn a_life_only_goes_forward_and_each_state_begins_when_it_says() {
    let lives = [
        facts(),
        KeyFacts { not_before_ms: BORN + 3 * D, expires_ms: Some(BORN + 50 * D), ..facts() },
        KeyFacts { expires_ms: Some(BORN + 500 * D), ..facts() },
    ];
    for facts in lives {
        let mut last = Life::at(&facts, &terms(), BORN);
        for hour in 0..24 * 400 {
            let now = BORN + hour * (D / 24);
            let life = Life::at(&facts, &terms(), now);
            assert!(life.state >= last.state, "{facts:?} after {hour} h: {last:?} → {life:?}");
            assert!(life.since_ms <= now, "{life:?}");
            if life.state != last.state {
                assert_eq!(life.since_ms, now, "every boundary here is a whole hour: {life:?}");
            }
            last = life;
        }
        assert_eq!(last.state, LifeState::Removed);
    }
}

#[test]
fn a_key_in_use_is_never_retired_before_its_hard_limit() {
    let mut facts = KeyFacts {
        replaced_ms: Some(BORN),
        overlap_until_ms: Some(BORN + 7 * D),
        expires_ms: Some(BORN + 30 * D),
        ..facts()
    };
    for hour in 0..24 * 30 {
        let now = BORN + hour * (D / 24);
        // Used every 23 hours; a day without use is what retires it.
        if hour % 23 == 0 {
            facts.last_used_ms = Some(now);
        }
        let life = Life::at(&facts, &terms(), now);
        assert_eq!(life.state, LifeState::Overlapping, "hour {hour}");
        assert_ne!(life.next, Step::Retire, "hour {hour}");
    }
    assert_eq!(Life::at(&facts, &terms(), BORN + 30 * D).state, LifeState::Retired);
}

#[test]
fn the_owner_is_told_at_each_time_and_of_several_missed_ones_once() {
    let table = [
        (0, None),
        (59, None),
        (60, Some(30)),
        (82, Some(30)),
        (83, Some(7)),
        (89, Some(1)),
        (119, Some(1)),
        (120, None),
    ];
    for (day, told) in table {
        let to_tell = Life::to_tell_ms(&facts(), &terms(), BORN + day * D);
        assert_eq!(to_tell, told.map(|days: u64| days * D), "day {day}");
    }
    let short = KeyFacts { expires_ms: Some(BORN + 3 * D), ..facts() };
    assert_eq!(Life::to_tell_ms(&short, &terms(), BORN), None, "it was never seven days from its end");
    assert_eq!(Life::to_tell_ms(&short, &terms(), BORN + 2 * D), Some(D));
    let replaced = KeyFacts { replaced_ms: Some(BORN + D), ..short };
    assert_eq!(Life::to_tell_ms(&replaced, &terms(), BORN + 2 * D), None, "it has been replaced");
}

#[test]
fn times_at_the_end_of_the_range_overflow_nowhere() {
    let terms = LifeTerms {
        maximum_age_ms: Some(u64::MAX),
        hard_limit_ms: u64::MAX,
        remove_after_ms: u64::MAX,
        ..terms()
    };
    assert_eq!(Life::at(&facts(), &terms, BORN).state, LifeState::Active);
    let revoked = KeyFacts { revoked_ms: Some(BORN), ..facts() };
    assert_eq!(Life::at(&revoked, &terms, u64::MAX - 1).state, LifeState::Retired);
}
