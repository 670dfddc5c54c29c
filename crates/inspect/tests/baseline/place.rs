//! Where a payload can stand in a request, as an ordinary client would send it.

use crate::ftw::Request;

pub(crate) const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

pub(crate) fn request(method: &str, target: &str, content_type: &str, body: &[u8]) -> Request {
    let length = body.len().to_string();
    let mut headers = vec![
        ("Host", "api.example.com"),
        ("User-Agent", AGENT),
        ("Accept", "application/json, text/plain, */*"),
        ("Accept-Language", "en-US,en;q=0.5"),
    ];
    if !content_type.is_empty() {
        headers.extend([("Content-Type", content_type), ("Content-Length", length.as_str())]);
    }
    Request {
        method: method.into(),
        target: target.into(),
        protocol: b"HTTP/1.1".to_vec(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect(),
        body: body.to_vec(),
    }
}

pub(crate) fn escaped(text: &[u8]) -> String {
    text.iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(*byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// As a client that only does what it must: what could not stand in a path is escaped.
fn path_escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'!'..=b'~' if !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'?') => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

pub(crate) fn query(value: &str) -> Request {
    request("GET", &format!("/search?q={}", escaped(value.as_bytes())), "", b"")
}

pub(crate) fn path(value: &str) -> Request {
    request("GET", &format!("/{}", path_escaped(value)), "", b"")
}

pub(crate) fn form(value: &str) -> Request {
    let body = format!("field={}", escaped(value.as_bytes()));
    request("POST", "/form", "application/x-www-form-urlencoded", body.as_bytes())
}

pub(crate) fn json(value: &str) -> Request {
    let body = serde_json::json!({ "test": true, "field": value }).to_string();
    request("POST", "/api", "application/json", body.as_bytes())
}

pub(crate) fn multipart(value: &str) -> Request {
    let body =
        format!("--b7Q\r\nContent-Disposition: form-data; name=\"field\"\r\n\r\n{value}\r\n--b7Q--\r\n");
    request("POST", "/upload", "multipart/form-data; boundary=b7Q", body.as_bytes())
}

pub(crate) fn header(name: &str, value: &str) -> Request {
    let mut request = request("GET", "/", "", b"");
    request.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name.as_bytes()));
    let value: Vec<u8> = value.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)).collect();
    request.headers.push((name.into(), value));
    request
}

pub(crate) fn xml(body: &str) -> Request {
    request("POST", "/soap", "application/xml", body.as_bytes())
}
