//! What an event costs and a consumer takes, also when somebody brings millions of keys.

use std::{fs, time::Instant};

use bartizan_insight::{Engine, Event, Seed, Settings};

use crate::world::{Call, World, engine};

pub(crate) fn report(quick: bool) {
    println!("## Cost\n");
    println!("| what | value |");
    println!("|---|---|");
    let mut world = World::new(if quick { 1_000 } else { 10_000 }, 5);
    let (mut engine, mut all, mut calls) = (engine(), Vec::<Call>::new(), Vec::new());
    let wanted = if quick { 50_000 } else { 1_000_000 };
    while all.len() < wanted {
        world.next(&mut calls);
        all.append(&mut calls);
    }
    let strings: Vec<(String, String)> = all
        .iter()
        .map(|call| {
            (format!("consumer-{}", call.consumer.unwrap_or_default()), format!("10.0.0.{}", call.address))
        })
        .collect();
    let events: Vec<Event<'_>> = all.iter().zip(&strings).map(|(call, names)| event(call, names)).collect();
    let mut best = f64::MAX;
    // The same events again later: the second time everything is known, as in a gateway that runs.
    for round in 0..3_u64 {
        let begin = cpu_seconds();
        for event in &events {
            engine.observe(&Event { at_ms: event.at_ms + round * 86_400_000 * 3, ..*event });
        }
        let each = (cpu_seconds() - begin) * 1e6 / events.len() as f64;
        println!("| µs of CPU for an event, round {} of {} events | {each:.2} |", round + 1, events.len());
        best = best.min(each);
    }
    println!("| µs of CPU for an event, best | **{best:.2}** |");
    let figures = engine.figures();
    println!(
        "| bytes for a consumer, all tables shared out ({} consumers) | **{:.0}** |",
        figures.consumers,
        figures.memory_bytes as f64 / figures.consumers.max(1) as f64
    );
    flood(if quick { 100_000 } else { 10_000_000 });
    println!();
}

fn event<'a>(call: &'a Call, names: &'a (String, String)) -> Event<'a> {
    Event {
        at_ms: call.at_ms,
        id: "0198c0de",
        consumer: call.consumer.map(|_| names.0.as_str()),
        identified_by: call.consumer.map(|_| "api_key"),
        client: &names.1,
        route: Some("api"),
        method: call.method,
        path: &call.path,
        status: call.status,
        stage: call.stage,
        reason: call.reason,
        response_bytes: call.bytes,
        duration_us: call.micros,
        ..Event::default()
    }
}

/// Time that this thread was on a core; where that is not told, time. Others on the machine then count too.
fn cpu_seconds() -> f64 {
    let told = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanos.map_or_else(|| BEGAN.with(|began| began.elapsed().as_secs_f64()), |nanos| nanos / 1e9)
}

thread_local! {
    static BEGAN: Instant = Instant::now();
}

/// Somebody with an address and a path for each call.
fn flood(calls: u64) {
    let mut engine = Engine::new(Settings::default(), Seed(1, 2));
    let begin = cpu_seconds();
    for turn in 0..calls {
        let client = format!("2001:db8:{:x}:{:x}::1", turn >> 16 & 0xffff, turn & 0xffff);
        let path = format!("/a{turn}/b{}/c{}", turn * 7, turn * 13);
        engine.observe(&Event {
            at_ms: 1_767_571_200_000 + turn,
            client: &client,
            route: Some("all"),
            method: "GET",
            path: &path,
            status: 200,
            ..Event::default()
        });
    }
    let each = (cpu_seconds() - begin) * 1e6 / calls as f64;
    let figures = engine.figures();
    println!("| µs of CPU for an event of {calls} with a new address and path each | {each:.2} |");
    println!("| MB after that | {:.1} |", figures.memory_bytes as f64 / 1e6);
}
