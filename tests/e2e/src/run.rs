//! Plays rows against the house and judges what became of them.
//!
//! Rows run one after another, so that what the origin recorded belongs to the row that just ran; those that only wait
//! for a clock run beside. After every row an honest caller must be served. A row that we say does not hold must
//! still not hold: so a reason that is out of date fails the run.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use bartizan_testkit::{
    Frames,
    frames::Outcome as StreamOutcome,
    raw::{Ending, Raw},
};

use crate::{Case, Expect, House, How, Row, Standing};

/// A row that was played.
pub struct Played {
    /// The row.
    pub row: Row,
    /// What was wrong, if anything.
    pub result: Result<(), String>,
    /// How long it took.
    pub took: Duration,
}

impl Played {
    /// What makes the run fail.
    pub fn failure(&self) -> Option<String> {
        match (&self.row.standing, &self.result) {
            (Standing::Holds, Err(why)) => Some(why.clone()),
            (Standing::Known(reason), Ok(())) => {
                Some(format!("it holds now, so remove the reason why it does not: {reason}"))
            }
            _ => None,
        }
    }
}

/// Plays all rows; the results are in the order of the rows.
pub fn play(house: &House, rows: Vec<Row>) -> Vec<Played> {
    std::thread::scope(|scope| {
        let mut waiting = Vec::new();
        let mut ready = Vec::new();
        for (place, row) in rows.into_iter().enumerate() {
            if matches!(row.how, Some(How::Beside(_))) {
                waiting.push((place, scope.spawn(move || one(house, row))));
            } else {
                ready.push((place, row));
            }
        }
        let mut played: Vec<(usize, Played)> =
            ready.into_iter().map(|(place, row)| (place, one(house, row))).collect();
        for (place, thread) in waiting {
            played.push((place, thread.join().expect("a row's panic is caught within")));
        }
        played.sort_by_key(|(place, _)| *place);
        played.into_iter().map(|(_, played)| played).collect()
    })
}

/// What does not add up in a table before it is played: two rows with one id, a case without a row, an expectation that
/// does not fit how the row is played.
///
/// # Errors
/// A sentence.
pub fn check_whole(rows: &[Row], cases: impl IntoIterator<Item = Case>) -> Result<(), String> {
    let mut ids = std::collections::BTreeSet::new();
    for row in rows {
        if !ids.insert(row.id.as_str()) {
            return Err(format!("two rows are called {}", row.id));
        }
        let fits = match &row.how {
            None => matches!(row.standing, Standing::NotYet(_)),
            Some(How::Script(_) | How::Named(..) | How::Beside(_)) => matches!(row.expect, Expect::Says(_)),
            Some(How::Bytes(_) | How::Fields(_)) => !matches!(row.expect, Expect::Says(_)),
        };
        if !fits {
            return Err(format!("{} cannot be judged by what it expects", row.id));
        }
    }
    let missing: Vec<String> = cases
        .into_iter()
        .filter(|case| !rows.iter().any(|row| row.case == *case))
        .map(|case| case.to_string())
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("cases without a row: {}", missing.join(", "))) }
}

fn one(house: &House, row: Row) -> Played {
    let start = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| match &row.how {
        None => Ok(()),
        Some(How::Bytes(bytes)) => judge_bytes(house, bytes, row.expect),
        Some(How::Fields(fields)) => judge_fields(house, fields, row.expect),
        Some(How::Beside(script)) => script(house).and_then(|()| house.serves_others()),
        Some(How::Named(thing, script)) => {
            house.origin.take();
            script(house, thing).and_then(|()| house.reached().map(drop))
        }
        Some(How::Script(script)) => {
            house.origin.take();
            script(house).and_then(|()| house.reached().map(drop))
        }
    }));
    let result = result.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        Err(words.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default())
    });
    // What a row that failed left behind must not be taken for the next one's.
    if result.is_err() {
        std::thread::sleep(Duration::from_millis(50));
        house.origin.take();
    }
    Played { row, result, took: start.elapsed() }
}

fn judge_bytes(house: &House, bytes: &[u8], expect: Expect) -> Result<(), String> {
    house.origin.take();
    let mut raw = house.raw();
    raw.send(bytes);
    let method = if bytes.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
    match expect {
        Expect::Closes(statuses) => {
            closes(&mut raw, method, statuses)?;
            nothing_reached(house)
        }
        Expect::Breaks => {
            if let Ok(answer) = raw.try_answer_to(method)
                && answer.status < 400
            {
                return Err(format!("it was answered with {}", answer.status));
            }
            ends(&mut raw)?;
            no_complete_request(house)
        }
        Expect::Refuses(statuses) => {
            let answer = raw.try_answer_to(method)?;
            if !statuses.contains(&answer.status) {
                return Err(format!(
                    "it was answered with {} {:?}",
                    answer.status,
                    answer.body.escape_ascii().to_string()
                ));
            }
            nothing_reached(house)?;
            raw.send("GET /public/next HTTP/1.1\r\nHost: a.test\r\n\r\n");
            let next = raw.try_answer_to("GET").map_err(|why| format!("the next request: {why}"))?;
            if next.status != 200 || next.text() != "GET /public/next" {
                return Err(format!("the next request got {} {:?}", next.status, next.text()));
            }
            Ok(())
        }
        Expect::Serves(_, check) => {
            let mut answer = raw.try_answer_to(method)?;
            if answer.status == 100 {
                answer = raw.try_answer_to(method)?;
            }
            if answer.status != 200 {
                return Err(format!(
                    "it was answered with {} {:?}",
                    answer.status,
                    answer.body.escape_ascii().to_string()
                ));
            }
            served(house, check)
        }
        Expect::Says(_) => Err("bytes say nothing".to_owned()),
    }
}

fn judge_fields(house: &House, fields: &[(Vec<u8>, Vec<u8>)], expect: Expect) -> Result<(), String> {
    house.origin.take();
    let mut frames = Frames::connect(house.plain(), &[]);
    let fields: Vec<(&[u8], &[u8])> =
        fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
    frames.request(1, &fields, true);
    let outcome = frames.outcome(1, Duration::from_secs(5));
    let fits = |statuses: &[u16]| match &outcome {
        StreamOutcome::Answered(status, _) => statuses.contains(status),
        StreamOutcome::Silence => false,
        _ => statuses.contains(&0),
    };
    match expect {
        Expect::Closes(statuses) | Expect::Refuses(statuses) if !fits(statuses) => {
            Err(format!("it got {outcome:?}"))
        }
        Expect::Closes(_) => nothing_reached(house),
        Expect::Refuses(_) => {
            nothing_reached(house)?;
            frames.request(3, &request("GET", "/public/next"), true);
            match frames.outcome(3, Duration::from_secs(5)) {
                StreamOutcome::Answered(200, _) => Ok(()),
                other => Err(format!("the next request got {other:?}")),
            }
        }
        Expect::Serves(_, check) if matches!(outcome, StreamOutcome::Answered(200, _)) => {
            served(house, check)
        }
        _ => Err(format!("it got {outcome:?}")),
    }
}

/// The fields of an ordinary request in HTTP/2.
pub fn request<'a>(method: &'a str, path: &'a str) -> [(&'a [u8], &'a [u8]); 4] {
    [
        (b":method", method.as_bytes()),
        (b":scheme", b"http"),
        (b":authority", b"a.test"),
        (b":path", path.as_bytes()),
    ]
}

/// One answer with one of these statuses (0: none), then the end of the connection.
///
/// # Errors
/// What came instead.
pub fn closes(raw: &mut Raw, method: &str, statuses: &[u16]) -> Result<(), String> {
    match raw.try_answer_to(method) {
        Ok(answer) if !statuses.contains(&answer.status) => {
            return Err(format!(
                "it was answered with {} {:?}",
                answer.status,
                answer.body.escape_ascii().to_string()
            ));
        }
        Err(why) if !statuses.contains(&0) => return Err(why),
        _ => {}
    }
    ends(raw)
}

fn ends(raw: &mut Raw) -> Result<(), String> {
    match raw.read_to_end() {
        (rest, _) if !rest.is_empty() => Err(format!("more was sent: {}", rest.escape_ascii())),
        (_, Ending::Open) => Err("the connection stays open".to_owned()),
        _ => Ok(()),
    }
}

/// # Errors
/// When anything reached the origin.
pub fn nothing_reached(house: &House) -> Result<(), String> {
    let reached = house.reached()?;
    if reached.is_empty() { Ok(()) } else { Err(format!("it reached the origin: {reached:?}")) }
}

/// # Errors
/// When a request with a whole body reached the origin.
pub fn no_complete_request(house: &House) -> Result<(), String> {
    let mut reached = house.reached()?;
    reached.retain(|received| !received.broke_off);
    if reached.is_empty() { Ok(()) } else { Err(format!("it reached the origin: {reached:?}")) }
}

fn served(house: &House, check: fn(&bartizan_testkit::Received) -> Result<(), String>) -> Result<(), String> {
    let reached = house.reached()?;
    match reached.as_slice() {
        [received] => check(received).map_err(|why| format!("{why}: {received:?}")),
        others => Err(format!("{} requests reached the origin: {others:?}", others.len())),
    }
}
