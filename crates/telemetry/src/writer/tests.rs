//! The log as its users see it: what arrives, what is counted, and that nobody waits.

use std::{
    collections::VecDeque,
    fs,
    io::Write,
    sync::{Condvar, MutexGuard},
};

use serde_json::Value;

use super::*;
use crate::{losses::LogFigures, record::tests::record_for_test, sink::FileOptions, sink::tests::Folder};

const LONG: Duration = Duration::from_secs(20);

/// A destination whose writes wait for a gate, follow a script of failures, and are kept.
#[derive(Clone, Default)]
struct Tank(Arc<(Mutex<Inside>, Condvar)>);

#[derive(Default)]
struct Inside {
    shut: bool,
    waiting: bool,
    /// For each write: how many bytes it takes, or `None` for a failure. Beyond the script all is taken.
    script: VecDeque<Option<usize>>,
    bytes: Vec<u8>,
}

impl Tank {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.0.lock().unwrap()
    }

    fn set_shut(&self, shut: bool) {
        self.inside().shut = shut;
        self.0.1.notify_all();
    }

    fn wait_until_writer_waits(&self) {
        let (_inside, timeout) =
            self.0.1.wait_timeout_while(self.inside(), LONG, |inside| !inside.waiting).unwrap();
        assert!(!timeout.timed_out());
    }

    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.inside().bytes.clone()).unwrap().lines().map(str::to_owned).collect()
    }

    fn values(&self) -> Vec<Value> {
        self.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Write for Tank {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inside = self.inside();
        inside.waiting = inside.shut;
        self.0.1.notify_all();
        let mut inside = self.0.1.wait_while(inside, |inside| inside.shut).unwrap();
        inside.waiting = false;
        let count = match inside.script.pop_front() {
            Some(Some(count)) => count.min(bytes.len()),
            Some(None) => return Err(io::ErrorKind::StorageFull.into()),
            None => bytes.len(),
        };
        inside.bytes.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn start(tank: &Tank, ring_records: usize) -> AccessLog {
    let destination = Destination::Other(Box::new(tank.clone()));
    AccessLog::start(LogOptions { ring_records, ..LogOptions::new(destination) }).unwrap()
}

fn submit(recorder: &Recorder, status: u16) {
    let mut record = record_for_test();
    record.status = status;
    recorder.submit(record);
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < LONG, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn every_record_of_every_core_arrives_in_its_core_s_order() {
    let tank = Tank::default();
    let log = start(&tank, 10_000);
    thread::scope(|scope| {
        for core in 1..=3_u16 {
            let recorder = log.recorder();
            scope.spawn(move || (0..3000).for_each(|n| submit(&recorder, core * 10_000 + n)));
        }
    });
    assert_eq!(log.stop(LONG), Flushed::Complete);
    let statuses: Vec<_> = tank.values().iter().map(|value| value["status"].as_u64().unwrap()).collect();
    for core in 1..=3 {
        let own: Vec<_> = statuses.iter().copied().filter(|status| status / 10_000 == core).collect();
        assert_eq!(own, (core * 10_000..core * 10_000 + 3000).collect::<Vec<_>>());
    }
    assert_eq!(log.counters().now(), LogFigures { written: 9000, ..Default::default() });
}

#[test]
fn a_blocked_destination_holds_up_no_request_and_each_loss_is_counted_and_announced() {
    let tank = Tank::default();
    tank.set_shut(true);
    let log = start(&tank, 100);
    let recorder = log.recorder();
    submit(&recorder, 1);
    tank.wait_until_writer_waits();
    // The writer holds one record; the ring takes a hundred, and the rest is lost.
    let begin = Instant::now();
    (0..1000).for_each(|_| submit(&recorder, 2));
    assert!(begin.elapsed() < Duration::from_secs(5), "submitting waits for the destination");
    assert_eq!(log.counters().now().lost_to_overflow, 900);
    tank.set_shut(false);
    assert_eq!(log.stop(LONG), Flushed::Complete);
    let values = tank.values();
    let (announcements, records): (Vec<_>, Vec<_>) =
        values.iter().partition(|value| value["event"] == "access_log_lost");
    assert_eq!(records.len(), 101);
    assert_eq!(announcements.iter().map(|value| value["lost"].as_u64().unwrap()).sum::<u64>(), 900);
    assert_eq!(announcements.last().unwrap()["lost_total"], 900);
    let figures = LogFigures { written: 101, lost_to_overflow: 900, ..Default::default() };
    assert_eq!(log.counters().now(), figures);
}

#[test]
fn a_flood_of_refusals_with_large_values_is_bounded_in_memory_and_counted_to_the_last() {
    // security.md case 37, with what one test can send.
    let tank = Tank::default();
    let log = start(&tank, 64);
    let recorder = log.recorder();
    let value = vec![0xff_u8; 8192];
    for _ in 0..5000 {
        let mut record = record_for_test();
        record.set_path(&value);
        record.set_user_agent(&value);
        record.set_query(&value);
        recorder.submit(record);
    }
    assert_eq!(log.stop(LONG), Flushed::Complete);
    let figures = log.counters().now();
    assert_eq!(figures.written + figures.lost_to_overflow, 5000);
    assert!(tank.lines().iter().all(|line| line.len() < 16 * 1024));
}

#[test]
fn a_record_after_a_long_silence_is_written_soon() {
    let tank = Tank::default();
    let log = start(&tank, 10);
    let recorder = log.recorder();
    // Longer than all naps, so that the writer sleeps.
    thread::sleep(NAP * (IDLE_NAPS + 10));
    let begin = Instant::now();
    submit(&recorder, 200);
    wait_for("the line", || !tank.lines().is_empty());
    assert!(begin.elapsed() < SLEEP, "it was not woken: {:?}", begin.elapsed());
}

#[test]
fn a_failed_write_is_counted_and_the_next_line_is_whole() {
    let tank = Tank::default();
    tank.inside().script = [Some(10), None].into();
    let log = start(&tank, 100);
    let recorder = log.recorder();
    submit(&recorder, 1);
    wait_for("the failure", || log.counters().now().errors == 1);
    submit(&recorder, 2);
    assert_eq!(log.stop(LONG), Flushed::Complete);
    let lines = tank.lines();
    assert_eq!(lines[0].len(), 10, "what was left of the first line is ended");
    let values: Vec<Value> = lines[1..].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(values[0]["status"].as_u64().or(values[1]["status"].as_u64()), Some(2));
    assert!(values.iter().any(|value| value["lost"] == 1), "{lines:?}");
    let figures = LogFigures { written: 1, lost_to_overflow: 0, lost_to_errors: 1, errors: 1 };
    assert_eq!(log.counters().now(), figures);
}

#[test]
fn lines_that_left_before_a_write_failed_are_not_lost() {
    let tank = Tank::default();
    tank.set_shut(true);
    let log = start(&tank, 100);
    let recorder = log.recorder();
    submit(&recorder, 1);
    tank.wait_until_writer_waits();
    (0..9).for_each(|n| submit(&recorder, 100 + n));
    let line = {
        let mut out = Vec::new();
        let mut record = record_for_test();
        record.status = 100;
        LineFormat::new(AddressKey::from_secret(b"k")).record(&record, &mut out);
        out.len()
    };
    // The first write is the waiting one; of the next batch, four and a half lines leave before it fails.
    tank.inside().script = [Some(line), Some(line * 4 + line / 2), None].into();
    tank.set_shut(false);
    assert_eq!(log.stop(LONG), Flushed::Complete);
    let figures = log.counters().now();
    assert_eq!((figures.written, figures.lost_to_errors), (5, 5));
}

#[test]
fn an_announcement_that_could_not_be_written_is_made_again() {
    let tank = Tank::default();
    tank.inside().script = std::iter::repeat_n(None, 3).collect();
    let log = start(&tank, 100);
    let recorder = log.recorder();
    for n in 1..=3 {
        submit(&recorder, n);
        wait_for("the failure", || log.counters().now().errors >= u64::from(n));
    }
    assert_eq!(log.stop(LONG), Flushed::Complete);
    let values = tank.values();
    assert_eq!(values.iter().map(|value| value["lost"].as_u64().unwrap_or(0)).sum::<u64>(), 3, "{values:?}");
}

#[test]
fn an_end_waits_no_longer_than_it_is_told() {
    let tank = Tank::default();
    tank.set_shut(true);
    let log = start(&tank, 10);
    submit(&log.recorder(), 1);
    tank.wait_until_writer_waits();
    let begin = Instant::now();
    assert_eq!(log.stop(Duration::from_millis(50)), Flushed::TimedOut);
    assert!(begin.elapsed() < Duration::from_secs(5));
    tank.set_shut(false);
    assert_eq!(log.stop(LONG), Flushed::Complete);
    assert_eq!(log.stop(LONG), Flushed::Complete, "an ended log stays ended");
}

#[test]
fn a_record_after_the_end_is_counted_as_lost() {
    let tank = Tank::default();
    let log = start(&tank, 10);
    let recorder = log.recorder();
    assert_eq!(log.stop(LONG), Flushed::Complete);
    submit(&recorder, 1);
    let late = log.recorder();
    submit(&late, 1);
    assert_eq!(log.counters().now().lost_to_overflow, 2);
}

#[test]
fn a_core_that_ended_leaves_no_ring_behind_and_its_records_arrive() {
    let tank = Tank::default();
    let log = start(&tank, 10);
    for n in 1..=100 {
        submit(&log.recorder(), n);
    }
    assert_eq!(log.stop(LONG), Flushed::Complete);
    assert_eq!(tank.values().len(), 100);
}

#[test]
fn a_file_is_rotated_between_lines_and_reopened_when_told() {
    let folder = Folder::for_test();
    let path = folder.0.join("access.log");
    let options = FileOptions { path: path.clone(), bytes_max: 20_000, keep: 2 };
    let log = AccessLog::start(LogOptions::new(Destination::File(options))).unwrap();
    let recorder = log.recorder();
    for n in 0..400_u16 {
        submit(&recorder, 1000 + n);
        if n % 20 == 19 {
            let written = u64::from(n) + 1;
            wait_for("the batch", || log.counters().now().written == written);
        }
    }
    fs::rename(&path, folder.0.join("moved")).unwrap();
    log.reopen();
    wait_for("the new file", || path.exists());
    submit(&recorder, 2000);
    assert_eq!(log.stop(LONG), Flushed::Complete);
    assert_eq!(folder.names(), ["access.log", "access.log.1", "access.log.2", "moved"]);
    for name in folder.names() {
        let text = fs::read_to_string(folder.0.join(&name)).unwrap();
        assert!(text.len() <= 20_000 && text.ends_with('\n'), "{name}");
        assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{name}");
    }
    assert!(fs::read_to_string(&path).unwrap().contains("\"status\":2000"));
}

#[test]
fn a_file_that_cannot_be_rotated_grows_to_twice_its_size_and_no_further() {
    let folder = Folder::for_test();
    let path = folder.0.join("access.log");
    // What stands where the predecessor should go cannot be replaced by a file.
    fs::create_dir_all(folder.0.join("access.log.1").join("in-the-way")).unwrap();
    let options = FileOptions { path: path.clone(), bytes_max: 5_000, keep: 1 };
    let log = AccessLog::start(LogOptions::new(Destination::File(options))).unwrap();
    let recorder = log.recorder();
    for n in 1..=100_u64 {
        submit(&recorder, 200);
        wait_for("the line", || {
            let figures = log.counters().now();
            figures.written + figures.lost_to_errors == n
        });
    }
    let figures = log.counters().now();
    let length = fs::metadata(&path).unwrap().len();
    assert!((10_000..10_500).contains(&length), "{length}");
    assert!(figures.written > 20 && figures.lost_to_errors > 20, "{figures:?}");
    fs::remove_dir_all(folder.0.join("access.log.1")).unwrap();
    submit(&recorder, 201);
    assert_eq!(log.stop(LONG), Flushed::Complete);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"status\":201"), "it is written again as soon as it can be rotated: {text}");
}

#[test]
fn a_log_that_cannot_be_opened_does_not_start() {
    let folder = Folder::for_test();
    let options = FileOptions { path: folder.0.join("absent").join("access.log"), bytes_max: 1, keep: 1 };
    let error = AccessLog::start(LogOptions::new(Destination::File(options))).unwrap_err();
    assert!(matches!(error, LogError::Open(_)), "{error}");
}

/// What a record costs the request's thread. Run with
/// `cargo test --release -p bartizan-telemetry -- --ignored --nocapture cost`.
#[test]
#[ignore = "a measurement, not a check"]
fn the_cost_of_a_record_on_the_request_s_thread() {
    let metrics = crate::Metrics::new("0", SystemTime::now());
    let core = metrics.core();
    let plan = Arc::new(crate::RecordPlan::default());
    let names: Vec<Arc<str>> =
        ["public", "orders", "orders-api", "10.0.0.1:80", "shop", "r1"].map(Arc::from).into();
    let ids = (metrics.listener("public"), metrics.route("orders"), metrics.upstream("orders-api"));
    let path = std::env::temp_dir().join(format!("bartizan-cost-{}.log", std::process::id()));
    let file = FileOptions { path: path.clone(), bytes_max: 64 << 20, keep: 1 };
    let log = AccessLog::start(LogOptions::new(Destination::File(file))).unwrap();
    let recorder = log.recorder();
    let peer = std::net::SocketAddr::from(([192, 0, 2, 7], 4711));
    let fill = |plan: &Arc<crate::RecordPlan>| {
        let mut record = recorder.open(
            1_767_225_600_000_000_000,
            Instant::now(),
            peer,
            crate::Protocol::Http11,
            Arc::clone(plan),
        );
        record.set_id("0198f1c2-7d1e-7c3a-9b1e-2f4d5c6b7a89");
        record.set_host(b"api.example.com");
        record.set_user_agent(
            b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130",
        );
        record.set_path(b"/orders/12345/lines/7");
        record.set_query(b"page=2&sort=date");
        record.listener = Some(Arc::clone(&names[0]));
        record.route = Some(Arc::clone(&names[1]));
        record.upstream = Some(Arc::clone(&names[2]));
        record.endpoint = Some(Arc::clone(&names[3]));
        record.consumer = Some(Arc::clone(&names[4]));
        record.revision = Some(Arc::clone(&names[5]));
        (record.listener_id, record.route_id, record.upstream_id) = ids;
        record.status = 200;
        record.total = Duration::from_micros(900);
        record.upstream_time = Some(Duration::from_micros(800));
        record
    };
    let time = |what: &str, each: &mut dyn FnMut()| {
        // Bursts with rests between, as at 50,000 requests a second, so that the writer keeps up.
        let (mut busy, mut best) = (Duration::ZERO, Duration::MAX);
        for _ in 0..200 {
            let begin = Instant::now();
            (0..500).for_each(|_| each());
            let burst = begin.elapsed();
            busy += burst;
            best = best.min(burst);
            thread::sleep(Duration::from_millis(8));
        }
        println!("{what}: mean {} ns, best {} ns", busy.as_nanos() / 100_000, best.as_nanos() / 500);
    };
    time("open and fill", &mut || drop(std::hint::black_box(fill(&plan))));
    let record = fill(&plan);
    time("metrics", &mut || {
        core.opened();
        core.close(&record);
    });
    time("open, fill, count, hand over", &mut || {
        core.opened();
        let record = fill(&plan);
        core.close(&record);
        recorder.submit(record);
    });
    assert_eq!(log.stop(LONG), Flushed::Complete);
    println!("{:?}, a record takes {} bytes", log.counters().now(), size_of::<RequestRecord>());
    let mut out = Vec::new();
    let mut format = LineFormat::new(AddressKey::from_secret(b"k"));
    time("format (the writer's thread)", &mut || {
        out.clear();
        format.record(&record, &mut out);
    });
    for name in [path.clone(), path.with_extension("log.1")] {
        let _ = fs::remove_file(name);
    }
}
