//! A made-up company's API: consumers with habits of their own, by day and night, with the errors that honest callers make.
//!
//! Honest and awkward on purpose: a few consumers poll every minute, a few run a batch each hour, some have objects with
//! neighbouring numbers and page through them, keys are forgotten and retried, links die.

use std::time::Instant;

use bartizan_insight::{Engine, Event, Seed, Settings};

use crate::random::Random;

pub(crate) const MINUTE: u64 = 60_000;
pub(crate) const DAY: u64 = 1_440 * MINUTE;

/// Monday, 2026-01-05, midnight.
pub(crate) const START: u64 = 1_767_571_200_000;

/// Collections that the API has, and the size of an object of each.
const COLLECTIONS: [(&str, f64); 12] = [
    ("orders", 1_200.0),
    ("customers", 800.0),
    ("invoices", 3_000.0),
    ("products", 2_000.0),
    ("carts", 500.0),
    ("payments", 700.0),
    ("shipments", 900.0),
    ("reviews", 400.0),
    ("tickets", 1_500.0),
    ("reports", 20_000.0),
    ("files", 60_000.0),
    ("prices", 300.0),
];

/// A call before it is an event.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) at_ms: u64,
    pub(crate) consumer: Option<u32>,
    pub(crate) address: u32,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) collection: usize,
    pub(crate) status: u16,
    pub(crate) stage: Option<&'static str>,
    pub(crate) reason: Option<&'static str>,
    pub(crate) credential: Option<String>,
    pub(crate) bytes: u64,
    pub(crate) micros: u64,
}

impl Call {
    pub(crate) fn feed(&self, engine: &mut Engine) {
        let consumer = self.consumer.map(|number| format!("consumer-{number}"));
        let client =
            format!("10.{}.{}.{}", self.address >> 16 & 255, self.address >> 8 & 255, self.address & 255);
        let id = format!("{:x}-{:x}", self.at_ms, self.address);
        engine.observe(&Event {
            at_ms: self.at_ms,
            id: &id,
            consumer: consumer.as_deref(),
            identified_by: consumer.as_ref().map(|_| "api_key"),
            credential: self.credential.as_deref(),
            client: &client,
            route: (self.reason != Some("NoRoute")).then(|| COLLECTIONS[self.collection].0),
            method: self.method,
            path: &self.path,
            query: None,
            status: self.status,
            stage: self.stage,
            reason: self.reason,
            request_bytes: 0,
            response_bytes: self.bytes,
            duration_us: self.micros,
            user_agent: None,
        });
    }
}

/// A consumer's habits.
struct Consumer {
    /// Sessions a minute in the busiest hour.
    pace: f64,
    /// Calls of a session.
    session: f64,
    collections: Vec<usize>,
    objects: Vec<u64>,
    polls: bool,
    batch_at: Option<u64>,
    phase: f64,
    left: u32,
}

pub(crate) struct World {
    random: Random,
    consumers: Vec<Consumer>,
    minute: u64,
}

impl World {
    pub(crate) fn new(consumers: u32, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let consumers = (0..consumers).map(|number| Consumer::new(number, &mut random)).collect();
        World { random, consumers, minute: START / MINUTE }
    }

    pub(crate) fn now(&self) -> u64 {
        self.minute * MINUTE
    }

    pub(crate) fn collection(&self, consumer: u32) -> usize {
        self.consumers[consumer as usize].collections[0]
    }

    /// The calls of the next minute, in order.
    pub(crate) fn next(&mut self, out: &mut Vec<Call>) {
        out.clear();
        let hour = (self.minute % 1_440) as f64 / 60.0;
        let weekday = (self.minute / 1_440 + 4) % 7;
        let week = if weekday >= 6 || weekday == 0 { 0.5 } else { 1.0 };
        for number in 0..self.consumers.len() {
            let consumer = &mut self.consumers[number];
            let day = 0.15
                + 0.85 * (0.5 + 0.5 * ((hour - 14.0 + consumer.phase) / 24.0 * std::f64::consts::TAU).cos());
            if consumer.left == 0 && self.random.chance(consumer.pace * day * week) {
                consumer.left = 1 + (consumer.session * (0.5 * self.random.normal()).exp()) as u32;
            }
            let mut calls = consumer.left.min(1 + self.random.below(8) as u32);
            consumer.left -= calls;
            calls += u32::from(consumer.polls);
            if consumer.batch_at == Some(self.minute % 60) {
                calls += 40 + self.random.below(20) as u32;
            }
            let begin = self.random.below(consumer.objects.len() as u64) as usize;
            for turn in 0..calls {
                out.push(self.call(number, begin + turn as usize));
            }
        }
        self.strangers(out);
        out.sort_by_key(|call| call.at_ms);
        self.minute += 1;
    }

    fn call(&mut self, number: usize, turn: usize) -> Call {
        let random = &mut self.random;
        let consumer = &self.consumers[number];
        let collection = consumer.collections[random.below(consumer.collections.len() as u64) as usize];
        let (name, size) = COLLECTIONS[collection];
        let draw = random.share();
        let (method, path, bytes) = if draw < 0.3 {
            ("GET", format!("/{name}"), size * 12.0)
        } else if draw < 0.85 {
            // Whoever looks at a list opens some of it, one after the other.
            let object = consumer.objects[turn % consumer.objects.len()];
            ("GET", format!("/{name}/{object}"), size)
        } else if draw < 0.95 {
            ("POST", format!("/{name}"), 200.0)
        } else {
            ("PUT", format!("/{name}/{}", consumer.objects[turn % consumer.objects.len()]), 200.0)
        };
        let error = random.share();
        let (status, path) = if error < 0.012 {
            (404, path)
        } else if error < 0.015 {
            (404, format!("/{name}/old-link"))
        } else if error < 0.018 {
            (403, path)
        } else if error < 0.022 {
            (422, path)
        } else if error < 0.0225 {
            (502, path)
        } else {
            (200, path)
        };
        Call {
            at_ms: self.minute * MINUTE + random.below(MINUTE),
            consumer: Some(number as u32),
            address: 1_000 + number as u32 / 3,
            method,
            path,
            collection,
            status,
            stage: None,
            reason: None,
            credential: None,
            bytes: (bytes * (0.4 * random.normal()).exp()) as u64,
            micros: (8_000.0 * (0.5 * random.normal()).exp()) as u64,
        }
    }

    /// Forgotten keys, crawlers and mistyped paths: about one call in two hundred.
    fn strangers(&mut self, out: &mut Vec<Call>) {
        let most = out.len() as f64 / 200.0;
        let calls = most as u64 + u64::from(self.random.chance(most.fract()));
        for _ in 0..calls {
            let random = &mut self.random;
            let collection = random.below(12) as usize;
            let address = 0x20_0000 + random.below(5_000) as u32;
            let at_ms = self.minute * MINUTE + random.below(MINUTE);
            let base = Call {
                at_ms,
                consumer: None,
                address,
                method: "GET",
                path: format!("/{}", COLLECTIONS[collection].0),
                collection,
                status: 401,
                stage: Some("identify"),
                reason: Some("CredentialMissing"),
                credential: None,
                bytes: 150,
                micros: 90,
            };
            match random.below(10) {
                0..=4 => out.push(base),
                // A key that ended and a program that does not know what to do about it.
                5 => (0..3 + random.below(8)).for_each(|_| {
                    out.push(Call {
                        credential: Some(format!("k{address}")),
                        reason: Some("CredentialExpired"),
                        ..base.clone()
                    });
                }),
                _ => out.push(Call {
                    path: format!("/page-{}", random.below(400)),
                    status: 404,
                    stage: Some("route"),
                    reason: Some("NoRoute"),
                    ..base
                }),
            }
        }
    }
}

impl Consumer {
    fn new(number: u32, random: &mut Random) -> Self {
        let count = 1 + random.below(4) as usize;
        let collections = (0..count).map(|_| random.below(12) as usize).collect();
        let objects = 3 + (6.0 * (0.8 * random.normal()).exp()) as u64;
        let base = 100_000 + u64::from(number) * 400;
        // One in ten got all its objects at once: they are neighbours.
        let near = random.chance(0.1);
        let step = |random: &mut Random, turn| if near { turn } else { random.below(400 * 10_000) };
        let objects = (0..objects.min(60)).map(|turn| base + step(random, turn)).collect();
        Consumer {
            pace: (0.004 * (0.9 * random.normal()).exp()).min(0.5),
            session: 6.0 * (0.5 * random.normal()).exp(),
            collections,
            objects,
            polls: random.chance(0.002),
            batch_at: random.chance(0.005).then(|| random.below(60)),
            phase: 2.0 * random.normal(),
            left: 0,
        }
    }
}

/// An engine with the settings that ship.
pub(crate) fn engine() -> Engine {
    Engine::new(Settings::default(), Seed(11, 13))
}

/// Clean traffic: how many alerts nobody should have got.
pub(crate) fn report(quick: bool, first: Option<u64>) {
    let (consumers, days) = if quick { (1_000, 4) } else { (10_000, 14) };
    println!("## Clean traffic\n");
    println!(
        "| consumers | days | events | alerts | critical or high | held back by the budget | a day and 10,000 consumers |"
    );
    println!("|---|---|---|---|---|---|---|");
    let first = first.unwrap_or(101);
    let seeds = if quick { first..first + 1 } else { first..first + 2 };
    println!("<!-- seeds {seeds:?} -->");
    for seed in seeds {
        let mut world = World::new(consumers, seed);
        let mut engine = engine();
        let mut calls = Vec::new();
        let begin = Instant::now();
        for _ in 0..days * 1_440 {
            world.next(&mut calls);
            calls.iter().for_each(|call| call.feed(&mut engine));
        }
        let alerts: Vec<_> = engine.alerts().cloned().collect();
        let grave = alerts.iter().filter(|alert| alert.severity >= bartizan_insight::Severity::High).count();
        let figures = engine.figures();
        let rate = |count: f64| count / days as f64 / f64::from(consumers) * 10_000.0;
        println!(
            "| {consumers} | {days} | {} | {} | {grave} | {} | **{:.2}** (with those held back {:.2}) |",
            engine.learning().events,
            alerts.len(),
            figures.held_back,
            rate(alerts.len() as f64),
            rate((alerts.len() as u64 + figures.held_back) as f64),
        );
        for alert in alerts.iter().take(6) {
            println!("<!-- day {:.2}: {} -->", (alert.first_ms - START) as f64 / DAY as f64, alert.sentence);
        }
        eprintln_seconds(begin);
    }
    println!();
}

fn eprintln_seconds(begin: Instant) {
    println!("<!-- {:.1} s -->", begin.elapsed().as_secs_f64());
}
