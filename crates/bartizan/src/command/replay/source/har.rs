//! HAR files (HTTP Archive 1.2), as browsers and proxies write them.
//!
//! One entry is held at a time. Browsers leave credentials and cookies out, so that a caller stays unknown whatever headers
//! there are; the client's address is never in them.

use std::{
    cell::Cell,
    fmt,
    io::{self, Read},
    rc::Rc,
};

use bartizan_config::{
    entry::Url,
    rehearsal::GivenBody,
    replay::{Lacks, Recorded, Recording},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Assumed, Heard, clock};

/// Most bytes of an entry with its answer: browsers keep whole pages and films in them.
const ENTRY_BYTES_MAX: u64 = 64 << 20;

/// Reads all entries.
pub(super) fn each(
    reader: impl Read,
    assumed: &Assumed,
    hear: &mut dyn FnMut(Heard),
) -> Result<(), serde_json::Error> {
    let since = Rc::new(Cell::new(0));
    let reader = io::BufReader::with_capacity(1 << 16, Bounded { inner: reader, since: since.clone() });
    let mut json = serde_json::Deserializer::from_reader(reader);
    Member { name: "log", inner: Member { name: "entries", inner: Entries { since, assumed, hear } } }
        .deserialize(&mut json)?;
    json.end()
}

/// Ends reading when an entry is too large.
struct Bounded<R> {
    inner: R,
    since: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.since.set(self.since.get() + count as u64);
        if self.since.get() > ENTRY_BYTES_MAX {
            return Err(io::Error::other(format!("an entry is larger than {} MiB", ENTRY_BYTES_MAX >> 20)));
        }
        Ok(count)
    }
}

/// One member of an object; the others are passed over.
struct Member<S> {
    name: &'static str,
    inner: S,
}

impl<'de, S: DeserializeSeed<'de, Value = ()>> DeserializeSeed<'de> for Member<S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: DeserializeSeed<'de, Value = ()>> Visitor<'de> for Member<S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with the member `{}`", self.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut inner = Some(self.inner);
        while let Some(key) = map.next_key::<String>()? {
            match inner.take_if(|_| key == self.name) {
                Some(seed) => map.next_value_seed(seed)?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match inner {
            None => Ok(()),
            Some(_) => Err(serde::de::Error::missing_field(self.name)),
        }
    }
}

/// The entries, each told as it is read.
struct Entries<'a> {
    since: Rc<Cell<u64>>,
    assumed: &'a Assumed,
    hear: &'a mut dyn FnMut(Heard),
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut number = 0_u64;
        // Read raw first: an entry of another shape is one malformed entry and not the end of the file.
        while let Some(raw) = list.next_element::<Box<RawValue>>()? {
            self.since.set(0);
            number += 1;
            let place = format!("entry {number}");
            let read = serde_json::from_str::<Entry>(raw.get()).map_err(|error| error.to_string());
            (self.hear)(match read.and_then(|entry| entry.recording(&place, self.assumed)) {
                Ok(asked) => Heard::Request(Box::new(asked)),
                Err(why) => Heard::Malformed(place, why),
            });
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    started_date_time: String,
    request: Request,
    #[serde(default)]
    response: Response,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<Pair>,
    post_data: Option<PostData>,
    #[serde(default)]
    body_size: i64,
}

#[derive(Deserialize)]
struct Pair {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct PostData {
    text: Option<String>,
}

#[derive(Default, Deserialize)]
struct Response {
    #[serde(default)]
    status: u16,
}

impl Entry {
    fn recording(self, place: &str, assumed: &Assumed) -> Result<Recording, String> {
        let unix_nanos = clock::rfc3339(&self.started_date_time).ok_or("startedDateTime cannot be read")?;
        let method =
            Method::from_bytes(self.request.method.as_bytes()).map_err(|_| "the method is not a word")?;
        let url = Url::parse(&self.request.url)?;
        let host = url.authority.or_else(|| assumed.host.clone()).ok_or("the URL has no host")?;
        let mut headers = HeaderMap::new();
        for Pair { name, value } in &self.request.headers {
            // `:authority` and the like are HTTP/2's way to write the request line.
            if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
                continue;
            }
            let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
            else {
                return Err("a header has a name or value that none can have".to_owned());
            };
            headers.append(name, value);
        }
        let body = body(self.request.post_data, self.request.body_size);
        if let GivenBody::Whole(bytes) = &body {
            headers.insert(header::CONTENT_LENGTH, bytes.len().into());
            headers.remove(header::TRANSFER_ENCODING);
        }
        let status = self.response.status;
        Ok(Recording {
            taken: None,
            id: place.into(),
            unix_nanos,
            listener: None,
            scheme: url.scheme,
            client: assumed.client,
            method,
            host: host.into(),
            target: url.target.into(),
            headers,
            body,
            caller: assumed.unknown.clone(),
            lacks: Lacks { client: assumed.client.is_none(), ..Lacks::default() },
            // Zero: the browser gave up or did not say.
            recorded: (status != 0).then_some(Recorded::Status(status)),
        })
    }
}

fn body(post: Option<PostData>, size: i64) -> GivenBody {
    match post.and_then(|post| post.text) {
        // Bytes that are no text do not survive a HAR file.
        Some(text) if text.contains('\u{fffd}') => GivenBody::Withheld,
        Some(text) if !text.is_empty() => GivenBody::Whole(Bytes::from(text)),
        _ if size > 0 => GivenBody::Withheld,
        _ => GivenBody::Absent,
    }
}

#[cfg(test)]
mod tests {
    use bartizan_config::replay::Caller;
    use bartizan_message::Scheme;

    use super::*;

    fn heard(text: &str) -> (Result<(), serde_json::Error>, Vec<Heard>) {
        let assumed = Assumed { host: None, scheme: Scheme::Https, client: None, unknown: Caller::Unknown };
        let mut heard = Vec::new();
        let ended = each(text.as_bytes(), &assumed, &mut |one| heard.push(one));
        (ended, heard)
    }

    #[test]
    fn entries_are_told_one_by_one_and_a_bad_one_does_not_end_the_file() {
        let (ended, heard) = heard(
            r#"{"log":{"version":"1.2","entries":[
                {"startedDateTime":"2027-01-15T08:00:00.5+00:00","request":{"method":"POST",
                 "url":"https://api.example/a?b=1","headers":[{"name":":method","value":"POST"},
                 {"name":"Accept","value":"*/*"}],"postData":{"mimeType":"text/plain","text":"hi"}},
                 "response":{"status":200,"content":{"text":"x"}}},
                {"startedDateTime":"never","request":{"method":"GET","url":"https://api.example/"}},
                {"request":7}],"pages":[]},"more":1}"#,
        );
        ended.unwrap();
        let [Heard::Request(asked), Heard::Malformed(place, why), Heard::Malformed(..)] = &heard[..] else {
            panic!("{}", heard.len());
        };
        assert_eq!((&*asked.host, &*asked.target), ("api.example", "/a?b=1"));
        assert_eq!(asked.headers.get("content-length").unwrap(), "2");
        assert_eq!(asked.headers.len(), 2);
        assert_eq!(asked.recorded, Some(Recorded::Status(200)));
        assert_eq!((&**place, why.contains("startedDateTime")), ("entry 2", true));
    }

    #[test]
    fn what_is_no_har_file_is_an_error_and_what_came_before_is_kept() {
        assert!(heard("{\"log\":{}}").0.is_err());
        assert!(heard("[]").0.is_err());
        let (ended, told) = heard(
            r#"{"log":{"entries":[{"startedDateTime":"2027-01-15T08:00:00Z","request":{"method":"GET","url":"https://a.example/"}},{"#,
        );
        assert!(ended.is_err());
        assert_eq!(told.len(), 1);
    }
}
