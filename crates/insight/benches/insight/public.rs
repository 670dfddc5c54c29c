//! Public data in time order: KDD's HTTP connections, and a real site's access log.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use bartizan_insight::{
    Engine, Event, Severity,
    shape::{Shape, log},
};

use crate::world::engine;

pub(crate) fn report(data: Option<&Path>) {
    println!("## Public data\n");
    let Some(data) = data.filter(|data| data.is_dir()) else {
        println!("skipped: no folder with `traffic/kdd` and `traffic/access-log` was given\n");
        return;
    };
    println!("| data | measure | value |");
    println!("|---|---|---|");
    for name in ["http", "smtp"] {
        match connections(&data.join("traffic/kdd").join(format!("{name}.npz"))) {
            Ok((features, labels)) => kdd(name, &features, &labels),
            Err(why) => println!("| KDD {name} | skipped | {why} |"),
        }
    }
    match fs::read(data.join("traffic/access-log/semicomplete_apache_logs")) {
        Ok(bytes) => site(&String::from_utf8_lossy(&bytes)),
        Err(why) => println!("| access log | skipped | {why} |"),
    }
    println!();
}

/// Scores in time order, with the gate that keeps unusual ones from teaching.
fn kdd(name: &str, features: &[[f64; 3]], labels: &[bool]) {
    let mut shape = Shape::default();
    let mut scored: Vec<(f32, bool)> = features
        .iter()
        .zip(labels)
        .map(|(row, label)| {
            // The set has logarithms of value + 0.1.
            let value = row.map(|value| log((value.exp() - 0.1).max(0.0).round() as u64));
            (shape.observe(value).score(), *label)
        })
        .collect();
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    println!("| KDD {name}, {} connections in time order | AUC | **{:.4}** |", labels.len(), auc(&scored));
    for share in [0.01, 0.001] {
        println!("| | recall at {} % false positives | {:.3} |", share * 100.0, recall(&scored, share));
    }
}

/// The area under the curve by ranks; ties count half.
fn auc(scored: &[(f32, bool)]) -> f64 {
    let positives = scored.iter().filter(|(_, label)| *label).count() as f64;
    let negatives = scored.len() as f64 - positives;
    let (mut sum, mut at) = (0.0, 0);
    while at < scored.len() {
        let end = at + scored[at..].iter().take_while(|(score, _)| *score == scored[at].0).count();
        let rank = (at + 1 + end) as f64 / 2.0;
        sum += rank * scored[at..end].iter().filter(|(_, label)| *label).count() as f64;
        at = end;
    }
    (sum - positives * (positives + 1.0) / 2.0) / (positives * negatives)
}

fn recall(scored: &[(f32, bool)], share: f64) -> f64 {
    let negatives: Vec<f32> = scored.iter().filter(|(_, label)| !label).map(|(score, _)| *score).collect();
    let threshold = negatives[((1.0 - share) * negatives.len() as f64) as usize];
    let positives = scored.iter().filter(|(_, label)| *label);
    let (mut found, mut all) = (0.0, 0.0);
    for (score, _) in positives {
        all += 1.0;
        found += f64::from(u8::from(*score > threshold));
    }
    found / all
}

/// The arrays `X` (three columns) and `y` of a NumPy archive.
fn connections(path: &Path) -> Result<(Vec<[f64; 3]>, Vec<bool>), String> {
    let array = |name: &str| -> Result<(String, Vec<u8>), String> {
        let run = Command::new("unzip").arg("-p").arg(path).arg(name).stderr(Stdio::null()).output();
        let bytes = run.map_err(|error| format!("unzip: {error}"))?.stdout;
        let header = bytes.get(8..10).ok_or("no array")?;
        let length = usize::from(u16::from_le_bytes([header[0], header[1]]));
        let text = String::from_utf8_lossy(&bytes[10..10 + length]).into_owned();
        Ok((text, bytes[10 + length..].to_vec()))
    };
    let (header, values) = array("X.npy")?;
    if !header.contains("'<f8'") {
        return Err(format!("not 64-bit numbers: {header}"));
    }
    let values: Vec<f64> = values.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    let count = values.len() / 3;
    let rows = if header.contains("'fortran_order': True") {
        (0..count).map(|row| [values[row], values[count + row], values[2 * count + row]]).collect()
    } else {
        values.as_chunks::<3>().0.to_vec()
    };
    let (header, labels) = array("y.npy")?;
    let width = labels.len() / count.max(1);
    if width == 0 {
        return Err(format!("no labels: {header}"));
    }
    let labels = labels.chunks_exact(width).map(|label| label.iter().any(|byte| *byte != 0)).collect();
    Ok((rows, labels))
}

/// A real site: what a day of it makes a person read. It has crawlers and scanners that nobody labelled.
fn site(text: &str) {
    let mut engine = engine();
    let mut lines = 0;
    for line in text.lines() {
        lines += u32::from(feed(&mut engine, line).is_some());
    }
    let alerts: Vec<_> = engine.alerts().cloned().collect();
    println!(
        "| access log of a site, {lines} requests in four days, {} addresses | alerts | {} ({} high) |",
        engine.figures().addresses,
        alerts.len(),
        alerts.iter().filter(|alert| alert.severity >= Severity::High).count()
    );
    for alert in &alerts {
        println!("<!-- {}{} -->", alert.sentence, if alert.is_learning { " (learning)" } else { "" });
    }
}

fn feed(engine: &mut Engine, line: &str) -> Option<()> {
    let (client, rest) = line.split_once(' ')?;
    let (_, rest) = rest.split_once('[')?;
    let (time, rest) = rest.split_once("] \"")?;
    let (request, rest) = rest.split_once("\" ")?;
    let mut words = request.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let mut numbers = rest.split(' ');
    let status = numbers.next()?.parse().ok()?;
    let bytes = numbers.next()?.parse().unwrap_or(0);
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    engine.observe(&Event {
        at_ms: millis(time)?,
        id: "-",
        client,
        route: Some("site"),
        method,
        path,
        query,
        status,
        response_bytes: bytes,
        ..Event::default()
    });
    Some(())
}

/// `17/May/2015:10:05:03 +0000`, all of one month.
fn millis(time: &str) -> Option<u64> {
    let day: u64 = time.get(..2)?.parse().ok()?;
    let mut clock = time.get(12..20)?.split(':').map(|part| part.parse::<u64>().ok());
    let seconds = clock.next()?? * 3_600 + clock.next()?? * 60 + clock.next()??;
    Some(1_430_438_400_000 + (day - 1) * 86_400_000 + seconds * 1_000)
}
