//! Access logs in common and combined format, as nearly every server writes them.
//!
//! They know neither the host nor who called; the first is named by `--host`, the second is unknown unless it is assumed.

use bartizan_config::{
    rehearsal::GivenBody,
    replay::{Lacks, Recorded, Recording},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::{Assumed, Heard, clock, place};

/// Reads a line.
pub(super) fn read(line: &[u8], number: u64, assumed: &Assumed) -> Option<Heard> {
    let text = String::from_utf8_lossy(line);
    Some(match parse(&text, number, assumed) {
        Ok(asked) => Heard::Request(Box::new(asked)),
        Err(why) => Heard::Malformed(place(number), why.to_owned()),
    })
}

fn parse(line: &str, number: u64, assumed: &Assumed) -> Result<Recording, &'static str> {
    let (client, rest) = line.split_once(' ').ok_or("not a line of an access log in common format")?;
    let (_, rest) = rest.split_once('[').ok_or("no time in brackets")?;
    let (time, rest) = rest.split_once(']').ok_or("no time in brackets")?;
    let unix_nanos = clock::common(time).ok_or("the time cannot be read")?;
    let (request, rest) = quoted(rest).ok_or("no request in quotes")?;
    let mut words = request.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err("no method and target in the request");
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| "the method is not a word")?;
    let mut words = rest.split_whitespace();
    let status = words.next().and_then(|word| word.parse().ok()).ok_or("no status after the request")?;
    let mut headers = HeaderMap::new();
    if let Some((referer, rest)) = quoted(rest) {
        put(&mut headers, header::REFERER, &referer);
        if let Some((agent, _)) = quoted(rest) {
            put(&mut headers, header::USER_AGENT, &agent);
        }
    }
    let client = client.parse().ok().or(assumed.client);
    let has_body = matches!(method, Method::POST | Method::PUT | Method::PATCH);
    Ok(Recording {
        taken: None,
        id: place(number).into(),
        unix_nanos,
        listener: None,
        scheme: Some(assumed.scheme),
        client,
        method,
        host: assumed.host.clone().unwrap_or_default().into(),
        target: origin_form(target).ok_or("the target is neither a path nor a URL")?.into(),
        headers,
        body: if has_body { GivenBody::Withheld } else { GivenBody::Absent },
        caller: assumed.unknown.clone(),
        lacks: Lacks {
            headers: true,
            client: client.is_none(),
            path: target.contains('\u{fffd}'),
            ..Lacks::default()
        },
        recorded: Some(Recorded::Status(status)),
    })
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if value != "-"
        && let Ok(value) = HeaderValue::from_str(value)
    {
        headers.insert(name, value);
    }
}

/// The path of a target that a proxy was sent.
fn origin_form(target: &str) -> Option<String> {
    if target.starts_with('/') || target == "*" {
        return Some(target.to_owned());
    }
    let (_, rest) = target.split_once("://")?;
    Some(rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or("/").to_owned())
}

/// The next text in quotes, in which `\"` stands for a quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (_, rest) = text.split_once('"')?;
    let mut out = String::new();
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            '"' if !escaped => return Some((out, rest.get(at + 1..).unwrap_or_default())),
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            // Other escapes are of bytes that no target can have; they stay as they are written.
            c if escaped && c != '"' && c != '\\' => out.extend(['\\', c]),
            c => out.push(c),
        }
        escaped = false;
    }
    None
}

#[cfg(test)]
mod tests {
    use bartizan_config::replay::Caller;
    use bartizan_message::Scheme;

    use super::*;

    fn assumed() -> Assumed {
        Assumed {
            host: Some("api.example".to_owned()),
            scheme: Scheme::Https,
            client: None,
            unknown: Caller::Unknown,
        }
    }

    #[test]
    fn both_formats_are_read() {
        for (line, target, agent) in [
            (r#"192.0.2.7 - anna [15/Jan/2027:08:00:00 +0000] "GET /a?b=1 HTTP/1.1" 200 12"#, "/a?b=1", None),
            (
                r#"192.0.2.7 - - [15/Jan/2027:08:00:00 +0000] "GET /a HTTP/2.0" 200 12 "-" "a \"b\" c""#,
                "/a",
                Some("a \"b\" c"),
            ),
            (r#"host - - [15/Jan/2027:08:00:00 +0000] "GET http://x.example/a HTTP/1.1" 200 -"#, "/a", None),
        ] {
            let asked = parse(line, 1, &assumed()).unwrap();
            assert_eq!(&*asked.target, target);
            assert_eq!(asked.headers.get("user-agent").map(|value| value.to_str().unwrap()), agent);
            assert_eq!(asked.lacks.client, line.starts_with("host"));
        }
    }

    #[test]
    fn a_line_that_is_none_is_malformed() {
        for line in [
            "",
            "hello",
            r#"192.0.2.7 - - [15/Jan/2027:08:00:00] "GET / HTTP/1.1" 200 1"#,
            r#"192.0.2.7 - - [15/Jan/2027:08:00:00 +0000] "GET / HTTP/1.1"#,
            r#"192.0.2.7 - - [15/Jan/2027:08:00:00 +0000] "-" 400 1"#,
            r#"192.0.2.7 - - [15/Jan/2027:08:00:00 +0000] "GET / HTTP/1.1" - 1"#,
            r#"192.0.2.7 - - [15/Jan/2027:08:00:00 +0000] "\x16\x03 x" 400 1"#,
        ] {
            assert!(parse(line, 1, &assumed()).is_err(), "{line}");
        }
    }
}
