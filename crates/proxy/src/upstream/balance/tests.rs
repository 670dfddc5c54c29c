use std::{num::NonZeroU32, sync::Arc, time::Duration};

use bartizan_config::snapshot::upstream::{
    ActiveCheckPlan, Balancing, EndpointAddress, EndpointPlan, HashKey, PassiveCheckPlan, UpstreamPlan,
    UpstreamProtocol,
};

use super::*;
use crate::upstream::{UpstreamSet, state::nanos_of};

/// An upstream of one endpoint for each weight, with both kinds of checks and half of it ejectable.
fn upstream(weights: &[u32]) -> Arc<PreparedUpstream> {
    upstream_with(weights, |_| ())
}

/// The same, changed.
fn upstream_with(weights: &[u32], change: impl FnOnce(&mut UpstreamPlan)) -> Arc<PreparedUpstream> {
    let mut plan = UpstreamPlan {
        name: "orders".into(),
        llm: None,
        endpoints: (0u16..).zip(weights).map(|(index, weight)| endpoint(index, *weight)).collect(),
        protocol: UpstreamProtocol::Http1,
        tls: None,
        balancing: Balancing::ConsistentHash(HashKey::Path),
        active: Some(ActiveCheckPlan {
            path: "/".into(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            statuses: vec![(200, 299)],
            healthy_after: 1,
            unhealthy_after: 1,
        }),
        passive: Some(PassiveCheckPlan {
            failures: 1,
            eject_for: Duration::from_secs(1),
            ejected_percent_max: 50,
        }),
        panic_percent: 0,
        slow_start: None,
        credential: None,
        connect_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(1),
        connections_max: 1,
        idle_max: 1,
    };
    change(&mut plan);
    let set = UpstreamSet::prepare(&[Arc::new(plan)], &|_| Err("none".to_owned()), None).unwrap();
    Arc::clone(set.get("orders").unwrap())
}

fn endpoint(index: u16, weight: u32) -> EndpointPlan {
    let port = 9000 + index;
    EndpointPlan {
        authority: format!("10.0.0.1:{port}").into(),
        address: EndpointAddress::Socket(([10, 0, 0, 1], port).into()),
        weight: NonZeroU32::new(weight).unwrap(),
    }
}

fn eject(upstream: &PreparedUpstream, index: usize, now: Instant) {
    let from = nanos(now);
    assert!(upstream.endpoints[index].state.eject(from, from + nanos_of(Duration::from_secs(60))));
}

fn counts(turns: usize, endpoints: usize, mut next: impl FnMut() -> Option<usize>) -> Vec<usize> {
    let mut counts = vec![0; endpoints];
    for _ in 0..turns {
        counts[next().unwrap()] += 1;
    }
    counts
}

#[test]
fn round_robin_gives_each_endpoint_exactly_its_share_and_spreads_it() {
    let upstream = upstream(&[5, 1, 1]);
    let field = Field::new(&upstream, Instant::now(), None);
    let mut turns = RoundRobin::default();
    let cycle: Vec<_> = (0..7).map(|_| turns.next(&field).unwrap()).collect();
    assert_eq!(cycle, [0, 0, 1, 0, 2, 0, 0]);
    assert_eq!(counts(7000, 3, || turns.next(&field)), [5000, 1000, 1000]);
}

#[test]
fn an_unhealthy_endpoints_share_goes_to_the_others_by_weight() {
    let upstream = upstream(&[2, 1, 3]);
    upstream.endpoints[2].state.set_healthy(false, 1);
    let field = Field::new(&upstream, Instant::now(), None);
    let mut turns = RoundRobin::default();
    assert_eq!(counts(300, 3, || turns.next(&field)), [200, 100, 0]);
}

#[test]
fn least_request_prefers_the_least_loaded_for_its_weight() {
    let upstream = upstream(&[1, 4]);
    let field = Field::new(&upstream, Instant::now(), None);
    let mut turns = RoundRobin::default();
    // Idle: equals take turns by weight.
    assert_eq!(counts(500, 2, || least_request(&field, &mut turns)), [100, 400]);
    // One request on the light one weighs as much as four on the heavy one.
    upstream.endpoints[0].state.begin();
    (0..3).for_each(|_| upstream.endpoints[1].state.begin());
    assert_eq!(least_request(&field, &mut turns), Some(1));
    (0..2).for_each(|_| upstream.endpoints[1].state.begin());
    assert_eq!(least_request(&field, &mut turns), Some(0));
}

#[test]
fn least_request_fills_endpoints_in_proportion_to_their_weights() {
    let upstream = upstream(&[1, 2, 5]);
    let field = Field::new(&upstream, Instant::now(), None);
    let mut turns = RoundRobin::default();
    for _ in 0..800 {
        upstream.endpoints[least_request(&field, &mut turns).unwrap()].state.begin();
    }
    let held: Vec<_> = upstream.endpoints.iter().map(|endpoint| endpoint.state.in_flight()).collect();
    assert_eq!(held, [100, 200, 500]);
}

#[test]
fn power_of_two_draws_by_weight_and_takes_the_less_loaded() {
    let upstream = upstream(&[1, 3]);
    let field = Field::new(&upstream, Instant::now(), None);
    let dice = Dice::new(7);
    let drawn = counts(4000, 2, || power_of_two(&field, || dice.roll()));
    assert!((900..1100).contains(&drawn[0]), "seed 7: {drawn:?}");
    upstream.endpoints[1].state.begin();
    assert_eq!(counts(50, 2, || power_of_two(&field, || dice.roll())), [50, 0]);
}

#[test]
fn maglev_gives_endpoints_their_shares_and_is_stable() {
    let upstream = upstream(&[1, 1, 2]);
    let maglev = upstream.maglev.as_ref().unwrap();
    let field = Field::new(&upstream, Instant::now(), None);
    let pick = |key: u32| maglev.pick(&field, hash_key(&key.to_be_bytes()));
    let mut key = 0;
    let shares = counts(40_000, 3, || {
        key += 1;
        pick(key)
    });
    for (share, ideal) in shares.iter().zip([10_000usize, 10_000, 20_000]) {
        assert!(share.abs_diff(ideal) < ideal / 20, "{shares:?}");
    }
    let again = self::upstream(&[1, 1, 2]);
    let again_field = Field::new(&again, Instant::now(), None);
    let other = again.maglev.as_ref().unwrap();
    for key in 0..1000u32 {
        assert_eq!(pick(key), other.pick(&again_field, hash_key(&key.to_be_bytes())));
    }
}

#[test]
fn a_lost_endpoint_moves_only_its_own_keys_and_gets_them_back() {
    let upstream = upstream(&[1; 10]);
    let maglev = upstream.maglev.as_ref().unwrap();
    let all = || -> Vec<_> {
        let field = Field::new(&upstream, Instant::now(), None);
        (0..10_000u32).map(|key| maglev.pick(&field, hash_key(&key.to_be_bytes())).unwrap()).collect()
    };
    let before = all();
    upstream.endpoints[3].state.set_healthy(false, 1);
    let without = all();
    let mut taken_over = [0; 10];
    for (before, without) in before.iter().zip(&without) {
        if *before == 3 {
            taken_over[*without] += 1;
        } else {
            assert_eq!(before, without);
        }
    }
    assert_eq!(taken_over[3], 0);
    assert!(taken_over.iter().enumerate().all(|(index, count)| index == 3 || *count > 50), "{taken_over:?}");
    upstream.endpoints[3].state.set_healthy(true, 1);
    assert_eq!(all(), before);
}

#[test]
fn removing_an_endpoint_from_the_document_moves_few_other_keys() {
    let names: Vec<String> = (0..10).map(|index| format!("10.0.0.{index}:80")).collect();
    let build = |without: Option<usize>| {
        let kept: Vec<_> = (0..10).filter(|index| Some(*index) != without).collect();
        let maglev = Maglev::build(kept.iter().map(|index| (names[*index].as_str(), 1)));
        let upstream = upstream(&vec![1; kept.len()]);
        move |key: u32| {
            let field = Field::new(&upstream, Instant::now(), None);
            kept[maglev.pick(&field, hash_key(&key.to_be_bytes())).unwrap()]
        }
    };
    let (all, without) = (build(None), build(Some(4)));
    let moved = (0..10_000).filter(|key| all(*key) != 4 && all(*key) != without(*key)).count();
    assert!(moved < 500, "{moved} of 10000 keys moved although their endpoint stayed");
}

#[test]
fn an_ejected_endpoint_is_skipped_until_its_time_is_over() {
    let upstream = upstream(&[1, 1]);
    let now = Instant::now();
    eject(&upstream, 0, now);
    assert_eq!(Field::new(&upstream, now, None).available().collect::<Vec<_>>(), [1]);
    let later = now + Duration::from_secs(61);
    assert_eq!(Field::new(&upstream, later, None).available().collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn ejections_beyond_the_cap_are_ignored() {
    let upstream = upstream(&[1, 1, 1, 1]);
    let now = Instant::now();
    (0..3).for_each(|index| eject(&upstream, index, now));
    assert_eq!(Field::new(&upstream, now, None).available().collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn ejection_never_takes_what_active_checks_left() {
    let upstream = upstream(&[1, 1, 1, 1]);
    let now = Instant::now();
    (0..2).for_each(|index| eject(&upstream, index, now));
    (2..4).for_each(|index| {
        upstream.endpoints[index].state.set_healthy(false, 1);
    });
    assert_eq!(Field::new(&upstream, now, None).available().collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn no_endpoint_is_chosen_when_active_checks_call_all_unhealthy() {
    let upstream = upstream(&[1, 2]);
    upstream.endpoints.iter().for_each(|endpoint| {
        endpoint.state.set_healthy(false, 1);
    });
    let field = Field::new(&upstream, Instant::now(), None);
    let dice = Dice::new(1);
    assert_eq!(RoundRobin::default().next(&field), None);
    assert_eq!(least_request(&field, &mut RoundRobin::default()), None);
    assert_eq!(power_of_two(&field, || dice.roll()), None);
    assert_eq!(upstream.maglev.as_ref().unwrap().pick(&field, 42), None);
}

#[test]
fn the_endpoint_just_tried_in_vain_is_left_out() {
    let upstream = upstream(&[1, 1]);
    let field = Field::new(&upstream, Instant::now(), Some(0));
    assert_eq!(RoundRobin::default().next(&field), Some(1));
}

#[test]
fn below_the_panic_threshold_every_endpoint_is_asked_and_above_it_only_the_well_ones() {
    let now = Instant::now();
    // Percent, unhealthy, ejected, whether all are asked.
    for (percent, unhealthy, ejected, panics) in [
        (0, 4, 0, false),
        (50, 0, 0, false),
        (50, 2, 0, false),
        (50, 3, 0, true),
        (50, 2, 1, true),
        (50, 4, 0, true),
        (100, 1, 0, true),
    ] {
        let upstream = upstream_with(&[1; 4], |plan| plan.panic_percent = percent);
        for endpoint in &upstream.endpoints[..unhealthy] {
            endpoint.state.set_healthy(false, 1);
        }
        (0..ejected).for_each(|index| eject(&upstream, 3 - index, now));
        let field = Field::new(&upstream, now, None);
        let asked = field.available().count();
        let expected = if panics { 4 } else { 4 - unhealthy - ejected };
        assert_eq!((field.panics(), asked), (panics, expected), "{percent} %, {unhealthy}, {ejected}");
        assert!(!Field::new(&upstream, now, Some(0)).is_available(0), "the one that just failed is asked");
    }
}

#[test]
fn an_endpoint_that_comes_gets_its_share_little_by_little() {
    let upstream = upstream_with(&[3, 3], |plan| plan.slow_start = Some(Duration::from_secs(10)));
    let came = Instant::now();
    upstream.endpoints[1].state.join(nanos(came));
    // Milliseconds since it came, and its share of a thousand requests.
    for (ms, least, most) in
        [(0, 90, 92), (1_000, 90, 92), (5_000, 332, 334), (9_000, 473, 475), (10_000, 500, 500)]
    {
        let field = Field::new(&upstream, came + Duration::from_millis(ms), None);
        let mut turns = RoundRobin::default();
        let share = counts(1_000, 2, || turns.next(&field))[1];
        assert!((least..=most).contains(&share), "{share} after {ms} ms");
    }
}

#[test]
fn an_endpoint_that_is_well_again_or_back_from_an_ejection_starts_slowly_too() {
    let upstream = upstream_with(&[1, 1, 1], |plan| plan.slow_start = Some(Duration::from_secs(10)));
    let now = Instant::now();
    upstream.endpoints[1].state.set_healthy(false, nanos(now));
    upstream.endpoints[1].state.set_healthy(true, nanos(now));
    let from = nanos(now);
    assert!(upstream.endpoints[2].state.eject(from - 1, from));
    let weights = |after: u64| {
        let field = Field::new(&upstream, now + Duration::from_secs(after), None);
        [0, 1, 2].map(|index| field.weight(index))
    };
    assert_eq!(weights(0), [100, 10, 10]);
    assert_eq!(weights(5), [100, 50, 50]);
    assert!(upstream.endpoints[2].state.take_return(from), "its ejection is over");
    assert_eq!(weights(5), [100, 50, 50], "a success in between ends the slow start");
    assert_eq!(weights(11), [100, 100, 100]);
}
