//! The store keeps what was asked for, finds it again, and never grows over its bounds.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_model::{Denial, Reason, Stage};

use super::*;
use crate::{AddressKey, json::LineFormat, record::tests::record_for_test, sink::tests::Folder};

fn options(folder: &Folder) -> RecordOptions {
    RecordOptions::new(folder.0.join("records"))
}

fn record(id: &str, consumer: Option<&str>, refused: bool) -> Box<RequestRecord> {
    let mut record = record_for_test();
    record.set_id(id);
    record.consumer = consumer.map(Arc::from);
    record.exit = Exit::Complete;
    record.status = 200;
    if refused {
        record.status = 429;
        record.refuse(Stage::Limit, Denial::new(Reason::RateExceeded));
    }
    record
}

fn keep(keeper: &mut RecordKeeper, record: &RequestRecord) {
    let mut line = Vec::new();
    LineFormat::new(AddressKey::from_secret(b"k")).record(record, &mut line);
    if keeper.wants(record) {
        keeper.keep(record, &line).unwrap();
    }
}

fn ids(found: &[Found]) -> Vec<String> {
    let id = |found: &Found| {
        let line = String::from_utf8(found.line.clone()).unwrap();
        assert!(line.ends_with("}\n"), "{line}");
        line.split("\"id\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    found.iter().map(id).collect()
}

#[test]
fn a_record_is_found_by_its_id_and_others_are_not() {
    let folder = Folder::for_test();
    let mut keeper = RecordKeeper::open(options(&folder)).unwrap();
    for n in 0..1_000 {
        keep(&mut keeper, &record(&format!("r{n}"), None, false));
    }
    keeper.flush().unwrap();
    let reader = RecordReader::open(options(&folder).folder);
    let find = |id| ids(&reader.find(&Wanted { id: Some(id), ..Wanted::default() }, 10).unwrap());
    assert_eq!(find("r0"), ["r0"]);
    assert_eq!(find("r999"), ["r999"]);
    assert_eq!(find("r1000"), Vec::<String>::new());
    assert_eq!(reader.size().unwrap().0, 1_000);
}

#[test]
fn records_are_found_by_consumer_time_and_refusal_newest_first() {
    let folder = Folder::for_test();
    let mut keeper = RecordKeeper::open(options(&folder)).unwrap();
    for (n, (consumer, refused)) in
        [(Some("anna"), false), (Some("bert"), true), (Some("anna"), true), (None, true)]
            .into_iter()
            .enumerate()
    {
        let mut one = record(&format!("r{n}"), consumer, refused);
        one.time_unix_nanos = (1_000 + n as u64) * 1_000_000_000;
        keep(&mut keeper, &one);
    }
    keeper.flush().unwrap();
    let reader = RecordReader::open(options(&folder).folder);
    let find = |wanted| ids(&reader.find(&wanted, 10).unwrap());
    assert_eq!(find(Wanted { consumer: Some("anna"), ..Wanted::default() }), ["r2", "r0"]);
    assert_eq!(find(Wanted { flags: Flags::REFUSED, ..Wanted::default() }), ["r3", "r2", "r1"]);
    assert_eq!(find(Wanted { since_s: 1_002, ..Wanted::default() }), ["r3", "r2"]);
    let both = Wanted { consumer: Some("anna"), flags: Flags::REFUSED, ..Wanted::default() };
    assert_eq!(find(both), ["r2"]);
    assert_eq!(ids(&reader.find(&Wanted::default(), 2).unwrap()), ["r3", "r2"]);
}

#[test]
fn refusals_are_always_kept_and_others_by_their_share() {
    let folder = Folder::for_test();
    for (percent, least, most) in [(0, 0, 0), (25, 150, 350), (100, 1_000, 1_000)] {
        let keeper =
            RecordKeeper::open(RecordOptions { others_percent: percent, ..options(&folder) }).unwrap();
        let kept = (0..1_000).filter(|n| keeper.wants(&record(&format!("r{n}"), None, false))).count();
        assert!((least..=most).contains(&kept), "{percent} %: {kept}");
        assert!((0..1_000).all(|n| keeper.wants(&record(&format!("r{n}"), None, true))));
    }
}

#[test]
fn a_full_store_drops_its_oldest_and_never_its_newest() {
    let folder = Folder::for_test();
    for (bytes_max, count_max) in [(1 << 30, 160), (2 << 20, 1_000_000)] {
        let options = RecordOptions { bytes_max, count_max, ..options(&folder) };
        let mut keeper = RecordKeeper::open(options.clone()).unwrap();
        let many = 20_000;
        for n in 0..many {
            keep(&mut keeper, &record(&format!("r{n}"), None, true));
        }
        keeper.flush().unwrap();
        let reader = RecordReader::open(options.folder);
        let (records, bytes) = reader.size().unwrap();
        assert!(records <= count_max && bytes <= bytes_max, "{records} records, {bytes} bytes");
        assert!(records > count_max / 2 || bytes > bytes_max / 2, "{records} records, {bytes} bytes");
        let find = |id: &str| reader.find(&Wanted { id: Some(id), ..Wanted::default() }, 1).unwrap().len();
        assert_eq!((find("r0"), find(&format!("r{}", many - 1))), (0, 1));
        fs::remove_dir_all(folder.0.join("records")).unwrap();
    }
}

#[test]
fn what_an_earlier_process_kept_is_found_and_counted() {
    let folder = Folder::for_test();
    for run in 0..3 {
        let mut keeper = RecordKeeper::open(options(&folder)).unwrap();
        keep(&mut keeper, &record(&format!("run{run}"), None, false));
    }
    let reader = RecordReader::open(options(&folder).folder);
    assert_eq!(ids(&reader.find(&Wanted::default(), 9).unwrap()), ["run2", "run1", "run0"]);
}

#[test]
fn a_torn_segment_hides_nothing_but_itself() {
    let folder = Folder::for_test();
    for run in 0..2 {
        let mut keeper = RecordKeeper::open(options(&folder)).unwrap();
        keep(&mut keeper, &record(&format!("run{run}"), None, false));
    }
    let records = options(&folder).folder;
    // A crash between the two files, and one within an entry.
    fs::write(lines_path(&records, 1), b"{").unwrap();
    let mut index = fs::read(index_path(&records, 0)).unwrap();
    index.extend_from_slice(&[7; 11]);
    fs::write(index_path(&records, 0), index).unwrap();
    fs::write(records.join("notes.txt"), "not a segment").unwrap();
    let found = RecordReader::open(&records).find(&Wanted::default(), 9).unwrap();
    assert_eq!(ids(&found), ["run0"]);
    assert!(RecordReader::open(folder.0.join("nowhere")).find(&Wanted::default(), 9).unwrap().is_empty());
}

#[test]
fn an_entry_is_read_as_it_was_written() {
    let entry = Entry {
        id: 0x0123_4567_89ab_cdef,
        offset: 1,
        length: 2,
        at_s: 3,
        consumer: 4,
        route: 5,
        flags: Flags(6),
        status: 429,
    };
    assert_eq!(Entry::from_bytes(&entry.to_bytes()), entry);
}

#[test]
#[cfg(unix)]
fn nobody_else_may_read_what_is_kept() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::for_test();
    let mut keeper = RecordKeeper::open(options(&folder)).unwrap();
    keep(&mut keeper, &record("r", None, false));
    keeper.flush().unwrap();
    let records = options(&folder).folder;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&records), 0o700);
    assert_eq!((mode(&lines_path(&records, 0)), mode(&index_path(&records, 0))), (0o600, 0o600));
}

/// `cargo test -p bartizan-telemetry --release -- --ignored --nocapture a_million`
#[test]
#[ignore = "measures"]
fn a_million_records_are_searched_in_fifty_milliseconds() {
    let folder = Folder::for_test();
    let options = RecordOptions { bytes_max: 4 << 30, ..options(&folder) };
    let mut keeper = RecordKeeper::open(options.clone()).unwrap();
    let one = record("0123456789abcdef0123456789abcdef", Some("anna"), false);
    let mut line = Vec::new();
    LineFormat::new(AddressKey::from_secret(b"k")).record(&one, &mut line);
    let make = |n: u32| {
        let mut one = record(&format!("{n:032x}"), None, false);
        one.consumer = Some(if n.is_multiple_of(1_000) { "bert" } else { "anna" }.into());
        one
    };
    let (start, mut kept) = (Instant::now(), Duration::ZERO);
    for batch in 0..990 {
        let records: Vec<_> = (0..1_000).map(|n| make(batch * 1_000 + n)).collect();
        let begun = ran(start);
        for one in &records {
            keeper.keep(one, &line).unwrap();
        }
        kept += ran(start) - begun;
    }
    keeper.flush().unwrap();
    println!("{:?} to keep a record", kept / 990_000);
    let reader = RecordReader::open(options.folder);
    println!("{:?} records, bytes", reader.size().unwrap());
    for id in [format!("{:032x}", 989_999), format!("{:032x}", 80_000), "absent".to_owned()] {
        let look = || {
            let begun = ran(start);
            let found = reader.find(&Wanted { id: Some(&id), ..Wanted::default() }, 10).unwrap().len();
            (ran(start) - begun, found)
        };
        let (took, found) = (0..5).map(|_| look()).min().unwrap();
        println!("{found} found in {took:?}");
        assert!(took.as_millis() < 50, "{took:?}");
    }
    let begun = ran(start);
    let found = reader.find(&Wanted { consumer: Some("bert"), ..Wanted::default() }, 1_000).unwrap().len();
    println!("{found} of a consumer in {:?}", ran(start) - begun);
}

/// Time that this thread ran, whatever else the machine does; the wall clock where the system does not tell.
fn ran(since: Instant) -> Duration {
    let told = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| since.elapsed(), Duration::from_nanos)
}
