//! Captures of live traffic: the access log's line of a request, and beside it what its judges read.

use std::{error::Error, io::Read, net::SocketAddr, sync::Arc};

use bartizan_config::{
    rehearsal::{CellReading, GivenBody, GivenToken},
    replay::{Caller, Lacks, Presented, Recording, Taken},
};
use bartizan_identity::{
    ClientCertificate, Method, base64,
    jwt::{HeaderFacts, TokenFacts},
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
    presented: Option<PresentedWords>,
    token: Option<Token>,
    certificate: Option<String>,
    share: Option<u8>,
    body: Option<String>,
    #[serde(default)]
    body_lacks: Option<String>,
}

#[derive(Deserialize)]
struct PresentedWords {
    schemes: Vec<Box<str>>,
    headers: Vec<Box<str>>,
}

/// What a genuine token says.
#[derive(Deserialize)]
struct Token {
    method: String,
    alg: Option<Box<str>>,
    typ: Option<Box<str>>,
    #[serde(default)]
    kid: bool,
    claims: Box<RawValue>,
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
        put_body(asked, &given);
        put_caller(asked, &given);
        asked.taken = Some(Box::new(taken(given)));
    }
    Ok(Some(heard))
}

fn put_body(asked: &mut Recording, given: &Given) {
    match (&given.body, &given.body_lacks) {
        (Some(text), _) => {
            asked.body = base64::decode(text.as_bytes())
                .map_or(GivenBody::Withheld, |bytes| GivenBody::Whole(bytes.into()));
        }
        (None, Some(_)) => asked.body = GivenBody::Withheld,
        (None, None) => {}
    }
}

/// What is known of the caller beside what the log says, and what stands in the place of its credential.
fn put_caller(asked: &mut Recording, given: &Given) {
    let Some(presented) = &given.presented else { return };
    let consumer = asked.caller.consumer().cloned();
    if let Some(token) = given.token.as_ref().and_then(token) {
        asked.caller = Caller::Token(Arc::new(token), consumer);
    } else if let (Caller::Other(_), Some(_)) = (&asked.caller, &given.certificate) {
        asked.caller = Caller::Certificate(consumer);
    } else if let (Caller::Other(_), Some(consumer), true) =
        (&asked.caller, &consumer, presented.schemes.iter().any(|scheme| **scheme == *"basic"))
    {
        asked.caller = Caller::User(consumer.clone());
    } else if let (Caller::Unknown, true) =
        (&asked.caller, presented.schemes.is_empty() && presented.headers.is_empty())
        && given.certificate.is_none()
    {
        asked.caller = Caller::Nobody;
    }
    let stand_in = match (&asked.caller, presented.schemes.as_slice()) {
        (Caller::Token(..), [scheme]) if **scheme == *"bearer" => Some(TOKEN),
        (Caller::User(_), [scheme]) if **scheme == *"basic" => Some(USER),
        _ => None,
    };
    // Where a key was in `Authorization`, its public half is put there.
    let is_key = matches!(asked.caller, Caller::Key { .. }) && presented.headers.is_empty();
    asked.lacks.headers |= !presented.schemes.is_empty() && stand_in.is_none() && !is_key;
    if let Some(text) = stand_in {
        asked.headers.insert(header::AUTHORIZATION, HeaderValue::from_static(text));
    }
}

/// What a genuine token looks like to whoever looks at headers: its form, and nothing of it.
const TOKEN: &str = "Bearer stands-for-a-token";
/// The same for a name and a password.
const USER: &str = "Basic c3RhbmRzLWZvcjphLXVzZXI=";

fn token(token: &Token) -> Option<GivenToken> {
    let means = [Method::Jwt, Method::Introspection, Method::OpenIdConnect]
        .into_iter()
        .find(|means| means.as_str() == token.method)?;
    let header = token.alg.as_ref().map(|algorithm| HeaderFacts {
        algorithm: algorithm.clone(),
        typ: token.typ.clone(),
        has_kid: token.kid,
    });
    let facts = TokenFacts::read(token.claims.get(), header)?;
    Some(GivenToken { means: Some(means), is_signed_form: facts.header.is_some(), facts })
}

fn taken(given: Given) -> Taken {
    let cells = given.cells.into_iter().map(|cell| CellReading {
        policy: cell.policy.into(),
        limit: cell.limit,
        shadow: cell.shadow,
        word: cell.word,
        bound: cell.bound,
    });
    let certificate = given.certificate.as_ref().and_then(|text| base64::decode(text.as_bytes()));
    Taken {
        version: if given.version == 2 { Version::HTTP_2 } else { Version::HTTP_11 },
        local: given.local,
        server_name: given.server_name.map(Into::into),
        received: Nanos(given.received),
        limit: given.limit.map(Nanos),
        draw: given.draw,
        cells: cells.collect(),
        presented: given.presented.map(|PresentedWords { schemes, headers }| Presented { schemes, headers }),
        certificate: certificate.and_then(|der| ClientCertificate::read(&der).ok()).map(Arc::new),
        share: given.share,
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
