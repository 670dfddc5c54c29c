//! Scripted abuse in the made-up world, each at three intensities and twenty seeds: what is found, and after how much damage.

use bartizan_insight::{Alert, Detector, Engine};

use crate::{
    random::Random,
    world::{Call, MINUTE, World, engine},
};

/// What is done. Each is one call of the attacker, numbered from 0.
struct Attack {
    name: &'static str,
    detector: Detector,
    /// Calls a second: fast, middle, slow.
    pace: [f64; 3],
    /// The longest it goes on, in minutes.
    minutes: u64,
    make: fn(&mut Random, &World, u64) -> Call,
    /// Whether this alert is about it.
    is_told: fn(&Alert) -> bool,
}

/// The consumer whose key the attacker has.
const STOLEN: u32 = 7;

const ATTACKS: [Attack; 9] = [
    Attack {
        name: "sequential BOLA",
        detector: Detector::Enumeration,
        pace: [5.0, 1.0, 0.1],
        minutes: 60,
        make: |_, world, turn| object(world, 500_000 + turn, 200),
        is_told: by_stolen,
    },
    Attack {
        name: "random-id BOLA",
        detector: Detector::Enumeration,
        pace: [5.0, 1.0, 0.2],
        minutes: 60,
        make: |random, world, _| object(world, random.below(9_000_000), 200),
        is_told: by_stolen,
    },
    Attack {
        name: "random-id BOLA, nine in ten not there",
        detector: Detector::Enumeration,
        pace: [5.0, 1.0, 0.2],
        minutes: 60,
        make: |random, world, _| {
            let status = if random.chance(0.9) { 404 } else { 200 };
            object(world, random.below(9_000_000), status)
        },
        is_told: by_stolen,
    },
    Attack {
        name: "credential stuffing, 1 address",
        detector: Detector::Errors,
        pace: [10.0, 2.0, 0.2],
        minutes: 30,
        make: |_, _, turn| guess(0x40_0000, turn),
        is_told: |alert| alert.who.as_deref() == Some("address 10.64.0.0"),
    },
    Attack {
        name: "credential stuffing, 500 addresses",
        detector: Detector::Errors,
        pace: [50.0, 10.0, 4.0],
        minutes: 30,
        make: |random, _, turn| guess(0x50_0000 + random.below(500) as u32, turn),
        is_told: |alert| alert.who.is_none() && alert.owasp.starts_with("API2"),
    },
    Attack {
        name: "scan for paths",
        detector: Detector::Spray,
        pace: [20.0, 2.0, 0.1],
        minutes: 60,
        make: |_, _, turn| Call {
            path: format!("/admin-{turn}/config.php"),
            status: 404,
            stage: Some("route"),
            reason: Some("NoRoute"),
            ..guess(0x60_0000, turn)
        },
        is_told: |alert| alert.who.as_deref() == Some("address 10.96.0.0"),
    },
    Attack {
        name: "stolen key tried on every endpoint",
        detector: Detector::Spray,
        pace: [5.0, 0.5, 0.05],
        minutes: 60,
        make: |_, world, turn| {
            let collection = (turn % 12) as usize;
            let name = NAMES[collection];
            let path =
                if turn % 24 < 12 { format!("/{name}") } else { format!("/{name}/{}", 700_000 + turn * 911) };
            Call { path, collection, ..object(world, 0, 200) }
        },
        is_told: by_stolen,
    },
    Attack {
        name: "exfiltration by page size",
        detector: Detector::Exfiltration,
        pace: [1.0, 0.1, 0.02],
        minutes: 120,
        make: |random, world, _| {
            let call = object(world, 0, 200);
            Call {
                path: format!("/{}", NAMES[call.collection]),
                bytes: 3_000_000 + random.below(1_000_000),
                ..call
            }
        },
        is_told: by_stolen,
    },
    Attack {
        name: "burst of one caller",
        detector: Detector::Volume,
        pace: [100.0, 30.0, 10.0],
        minutes: 30,
        make: |_, world, _| {
            let call = object(world, 0, 200);
            Call { path: format!("/{}", NAMES[call.collection]), ..call }
        },
        is_told: by_stolen,
    },
];

const NAMES: [&str; 12] = [
    "orders",
    "customers",
    "invoices",
    "products",
    "carts",
    "payments",
    "shipments",
    "reviews",
    "tickets",
    "reports",
    "files",
    "prices",
];

fn by_stolen(alert: &Alert) -> bool {
    alert.who.as_deref() == Some("consumer consumer-7")
}

fn object(world: &World, number: u64, status: u16) -> Call {
    let collection = world.collection(STOLEN);
    Call {
        at_ms: 0,
        consumer: Some(STOLEN),
        address: 0x70_0000,
        method: "GET",
        path: format!("/{}/{number}", NAMES[collection]),
        collection,
        status,
        stage: None,
        reason: None,
        credential: Some("k7".into()),
        bytes: 1_000,
        micros: 8_000,
    }
}

fn guess(address: u32, turn: u64) -> Call {
    Call {
        at_ms: 0,
        consumer: None,
        address,
        method: "GET",
        path: "/orders".into(),
        collection: 0,
        status: 401,
        stage: Some("identify"),
        reason: Some("CredentialInvalid"),
        credential: Some(format!("guess-{turn}")),
        bytes: 150,
        micros: 90,
    }
}

/// How one attack ended.
#[derive(Clone, Copy)]
struct Found {
    calls: u64,
    seconds: f64,
    objects: u64,
}

/// The world before the attack: the same for all attacks of a seed, so it is lived through anew for each.
fn lived(seed: u64, consumers: u32, days: u64) -> (World, Engine) {
    let mut world = World::new(consumers, seed);
    let mut engine = engine();
    let mut calls = Vec::new();
    // Until ten in the morning of the last day, when there is much to hide in.
    for _ in 0..days * 1_440 + 600 {
        world.next(&mut calls);
        calls.iter().for_each(|call| call.feed(&mut engine));
    }
    (world, engine)
}

fn play(attack: &Attack, pace: f64, seed: u64, consumers: u32) -> Option<Found> {
    let (mut world, mut engine) = lived(seed, consumers, 2);
    let mut random = Random::new(seed ^ 0xabcd);
    let begin = world.now() + 17_000;
    let (mut turn, mut objects) = (0_u64, 0_u64);
    let mut clean = Vec::new();
    for _ in 0..attack.minutes {
        let end = world.now() + MINUTE;
        world.next(&mut clean);
        let mut abuse = Vec::new();
        loop {
            let at_ms = begin + (turn as f64 * 1_000.0 / pace) as u64;
            if at_ms >= end {
                break;
            }
            abuse.push(Call { at_ms, ..(attack.make)(&mut random, &world, turn) });
            turn += 1;
        }
        let made = turn - abuse.len() as u64;
        let mut calls: Vec<(bool, Call)> = clean.drain(..).map(|call| (false, call)).collect();
        calls.extend(abuse.into_iter().map(|call| (true, call)));
        calls.sort_by_key(|(_, call)| call.at_ms);
        let mut sent = made;
        for (is_abuse, call) in calls {
            call.feed(&mut engine);
            if is_abuse {
                sent += 1;
                objects += u64::from(call.status == 200);
                let told = engine.alerts().any(|alert| {
                    alert.last_ms >= begin && alert.detector == attack.detector && (attack.is_told)(alert)
                });
                if told {
                    let seconds = call.at_ms.saturating_sub(begin) as f64 / 1_000.0;
                    return Some(Found { calls: sent, seconds, objects });
                }
            }
        }
    }
    None
}

/// All attacks at all intensities.
pub(crate) fn report(quick: bool, first: Option<u64>) {
    let seeds = if quick { 3 } else { 20 };
    let first = first.unwrap_or(1_000);
    println!("## Scripted abuse\n");
    println!(
        "{seeds} seeds each from {first}, 1,000 consumers, two days of clean traffic before. Medians and 95th percentiles of those found.\n"
    );
    println!("| abuse | calls a second | found | calls until told | objects leaked | seconds |");
    println!("|---|---|---|---|---|---|");
    for attack in &ATTACKS {
        for pace in attack.pace {
            let found: Vec<Option<Found>> =
                (0..seeds).map(|seed| play(attack, pace, first + seed, 1_000)).collect();
            let some: Vec<Found> = found.iter().flatten().copied().collect();
            let column = |of: fn(&Found) -> f64| {
                let mut values: Vec<f64> = some.iter().map(of).collect();
                values.sort_by(f64::total_cmp);
                match values.len() {
                    0 => "–".to_owned(),
                    count => {
                        format!("{:.0} / {:.0}", values[count / 2], values[(count * 95 / 100).min(count - 1)])
                    }
                }
            };
            println!(
                "| {} | {pace} | {}/{} | {} | {} | {} |",
                attack.name,
                some.len(),
                found.len(),
                column(|found| found.calls as f64),
                column(|found| found.objects as f64),
                column(|found| found.seconds)
            );
        }
    }
    println!();
}
