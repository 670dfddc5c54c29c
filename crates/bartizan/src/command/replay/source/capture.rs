//! Captures of live traffic: the access log's line of a request, and beside it what its judges read.

use std::{error::Error, io::Read, net::SocketAddr};

use bartizan_config::{
    rehearsal::CellReading,
    replay::{Lacks, Taken},
};
use bartizan_limit::Nanos;
use bartizan_telemetry::capture::{CaptureKey, CaptureReader};
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Assumed, Heard, access_log};

/// A record of a capture.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    log: &'a RawValue,
    given: Given,
}

/// What judges were given beside what the log tells.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    received: u64,
    limit: Option<u64>,
    draw: Option<u64>,
    version: u8,
    local: SocketAddr,
    server_name: Option<String>,
    cells: Vec<Cell>,
    target: Option<String>,
    #[serde(default)]
    lacks_headers: bool,
    headers: Option<Vec<(String, String)>>,
}

#[derive(Deserialize)]
struct Cell {
    policy: String,
    limit: usize,
    #[serde(default)]
    shadow: bool,
    word: u64,
    bound: Option<u64>,
}

/// Reads a capture record by record.
pub(super) fn each(
    reader: impl Read,
    key: &CaptureKey,
    assumed: &Assumed,
    hear: &mut dyn FnMut(Heard),
) -> Result<(), Box<dyn Error>> {
    let mut reader = CaptureReader::begin(reader, key)?;
    let mut number = 0;
    while let Some(record) = reader.next_record()? {
        number += 1;
        match read(record, number, assumed) {
            Ok(Some(heard)) => hear(heard),
            Ok(None) => {}
            Err(error) => hear(Heard::Malformed(format!("record {number}"), error.to_string())),
        }
    }
    if reader.is_torn() {
        hear(Heard::Malformed(format!("record {}", number + 1), "torn, as by a crash".to_owned()));
    }
    Ok(())
}

fn read(record: &[u8], number: u64, assumed: &Assumed) -> Result<Option<Heard>, serde_json::Error> {
    let Record { log, given } = serde_json::from_slice(record)?;
    let Some(mut heard) = access_log::read(log.get().as_bytes(), number, assumed) else { return Ok(None) };
    if let Heard::Request(asked) = &mut heard {
        if let Some(headers) = &given.headers {
            asked.headers = headers_of(headers);
            asked.lacks = Lacks { headers: given.lacks_headers, ..asked.lacks };
        }
        if let Some(target) = &given.target {
            asked.target = target.as_str().into();
            asked.lacks = Lacks { query: false, path: false, ..asked.lacks };
        }
        asked.taken = Some(Box::new(taken(given)));
    }
    Ok(Some(heard))
}

fn taken(given: Given) -> Taken {
    let cells = given.cells.into_iter().map(|cell| CellReading {
        policy: cell.policy.into(),
        limit: cell.limit,
        shadow: cell.shadow,
        word: cell.word,
        bound: cell.bound,
    });
    Taken {
        version: if given.version == 2 { Version::HTTP_2 } else { Version::HTTP_11 },
        local: given.local,
        server_name: given.server_name.map(Into::into),
        received: Nanos(given.received),
        limit: given.limit.map(Nanos),
        draw: given.draw,
        cells: cells.collect(),
    }
}

/// Each character stands for the byte of its number. `Host` is what the log says.
fn headers_of(pairs: &[(String, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let bytes: Vec<u8> = value.chars().filter_map(|c| u8::try_from(u32::from(c)).ok()).collect();
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&bytes))
            && name != header::HOST
        {
            headers.append(name, value);
        }
    }
    headers
}
