//! `GET /ws`: a WebSocket that sends back what it is sent.
//!
//! The handshake (RFC 6455 §4.2) is done here by hand: it is one hash and five header checks, less than a dependency
//! would be. The frames are read in [`frame`].

use std::time::Duration;

use aws_lc_rs::digest;
use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    api::{Body, error},
    frame::{self, Message, Reader},
};

/// Answers the opening handshake and, where it is one, echoes until either side closes.
pub(super) fn answer(mut request: Request<Incoming>) -> Response<Body> {
    let accept = match accept_value(request.version(), request.headers()) {
        Ok(accept) => accept,
        Err(why) => {
            // RFC 6455 §4.4 and RFC 9110 §15.5.22: say what would have been understood.
            let mut answer = error(StatusCode::UPGRADE_REQUIRED, why);
            answer.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            answer.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            if request.version() != Version::HTTP_11 {
                // RFC 9113 §8.2.2: connection headers do not exist in HTTP/2.
                answer.headers_mut().remove(header::UPGRADE);
                answer.headers_mut().remove(header::CONNECTION);
            }
            return answer;
        }
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            // A connection that breaks off has nobody left to tell.
            let _ = echo(TokioIo::new(upgraded)).await;
        }
    });
    let mut answer = Response::new(Empty::new().boxed_unsync());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    answer
}

/// The `Sec-WebSocket-Accept` value, or what is wrong with the handshake, §4.2.1.
fn accept_value(version: Version, headers: &HeaderMap) -> Result<HeaderValue, &'static str> {
    if version != Version::HTTP_11 || !has_token(headers, header::UPGRADE, "websocket") {
        return Err("this path speaks WebSocket over HTTP/1.1 only; send `Upgrade: websocket`");
    }
    if !has_token(headers, header::CONNECTION, "upgrade") {
        return Err("`Connection: upgrade` is missing");
    }
    if single(headers, header::SEC_WEBSOCKET_VERSION) != Some(b"13") {
        return Err("`Sec-WebSocket-Version` must be 13");
    }
    let key = single(headers, header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    let key = key.ok_or("`Sec-WebSocket-Key` must be 16 bytes in base64")?;
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(GUID);
    HeaderValue::from_str(&base64(hash.finish().as_ref())).map_err(|_| "the answer to the key is no header")
}

fn single(headers: &HeaderMap, name: HeaderName) -> Option<&[u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.as_bytes())
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// 16 bytes in base64 are 22 characters, of which the last carries 2 bits, and two of padding.
fn is_key(key: &[u8]) -> bool {
    matches!(key, [digits @ .., b'A' | b'Q' | b'g' | b'w', b'=', b'=']
        if digits.len() == 21 && digits.iter().all(|digit| ALPHABET.contains(digit)))
}

async fn echo(mut io: TokioIo<Upgraded>) -> std::io::Result<()> {
    let mut reader = Reader::default();
    let mut out = BytesMut::new();
    loop {
        let going_on = answer_all(&mut reader, &mut out);
        io.write_all(&out).await?;
        io.flush().await?;
        out.clear();
        if !going_on {
            return io.shutdown().await;
        }
        match timeout(IDLE_TIMEOUT, io.read_buf(reader.buffer())).await {
            Ok(Ok(0)) => return Ok(()),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                close(GOING_AWAY, &mut out);
                io.write_all(&out).await?;
                return io.shutdown().await;
            }
        }
    }
}

/// Answers every whole message that has arrived; false when the connection is to be closed.
fn answer_all(reader: &mut Reader, out: &mut BytesMut) -> bool {
    loop {
        match reader.next() {
            Ok(Some(Message::Text(text))) => frame::write(frame::TEXT, &text, out),
            Ok(Some(Message::Binary(bytes))) => frame::write(frame::BINARY, &bytes, out),
            Ok(Some(Message::Ping(payload))) => frame::write(frame::PONG, &payload, out),
            Ok(Some(Message::Pong)) => {}
            Ok(Some(Message::Close(code))) => {
                // §5.5.1: a closing frame is answered by one, with the same code.
                match code {
                    Some(code) => close(code, out),
                    None => frame::write(frame::CLOSE, &[], out),
                }
                return false;
            }
            Ok(None) => return true,
            Err(violation) => {
                close(violation.close_code(), out);
                return false;
            }
        }
    }
}

fn close(code: u16, out: &mut BytesMut) {
    frame::write(frame::CLOSE, &code.to_be_bytes(), out);
}

/// Base64 with padding (RFC 4648 §4), for the twenty bytes of the hash.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = (word >> (18 - 6 * place)) & 0x3f;
            let letter = ALPHABET.get(digit as usize).copied().unwrap_or(b'=');
            text.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// A WebSocket that says nothing for this long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// §7.4.1: the server goes away.
const GOING_AWAY: u16 = 1001;

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake(change: impl Fn(&mut HeaderMap)) -> Result<HeaderValue, &'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header::UPGRADE, HeaderValue::from_static("WebSocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        change(&mut headers);
        accept_value(Version::HTTP_11, &headers)
    }

    #[test]
    fn the_rfcs_own_key_gets_the_rfcs_own_answer() {
        assert_eq!(handshake(|_| ()).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_handshake_with_one_thing_wrong_is_refused() {
        let cases: [(HeaderName, &[&'static str]); 8] = [
            (header::UPGRADE, &["h2c"]),
            (header::CONNECTION, &["keep-alive"]),
            (header::SEC_WEBSOCKET_VERSION, &["8"]),
            (header::SEC_WEBSOCKET_VERSION, &[]),
            (header::SEC_WEBSOCKET_KEY, &[]),
            (header::SEC_WEBSOCKET_KEY, &["dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="]),
            (header::SEC_WEBSOCKET_KEY, &["dGhlIHNhbXBsZSBub25jZR=="]),
            (header::SEC_WEBSOCKET_KEY, &["dGhlIHNhbXBsZSBub25j"]),
        ];
        for (name, values) in cases {
            let answer = handshake(|headers| {
                headers.remove(&name);
                for value in values {
                    headers.append(&name, HeaderValue::from_static(value));
                }
            });
            assert!(answer.is_err(), "{name}: {values:?}");
        }
        assert!(accept_value(Version::HTTP_2, &HeaderMap::new()).is_err());
    }

    #[test]
    fn base64_follows_the_test_vectors_of_rfc_4648() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, encoded) in cases {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
