//! Bytes on a socket, and a strict reader of what comes back.
//!
//! For requests that no client library would send, and for judging answers more strictly than a library does: a
//! status line, a header or a length that is not exactly as RFC 9112 has it fails the test.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};
use tokio::net::TcpSocket;

use crate::{pki, runtime};

/// A connection on which a test writes bytes and reads answers.
#[derive(Debug)]
pub struct Raw {
    stream: Stream,
    /// Read and not yet taken.
    unread: Vec<u8>,
    timeout: Duration,
}

#[derive(Debug)]
enum Stream {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// An answer as it stood on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawAnswer {
    /// `1` for HTTP/1.1, `0` for HTTP/1.0.
    pub minor_version: u8,
    /// The status.
    pub status: u16,
    /// Header fields in order, names as sent.
    pub headers: Vec<(String, String)>,
    /// The body, chunks joined.
    pub body: Vec<u8>,
    /// Trailer fields of a chunked body.
    pub trailers: Vec<(String, String)>,
}

impl RawAnswer {
    /// The one value of a header, whatever its case; `None` when it is absent.
    ///
    /// # Panics
    /// When it was sent several times.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
        let (_, value) = values.next()?;
        assert!(values.next().is_none(), "{name} was sent several times: {self:?}");
        Some(value)
    }

    /// The body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// How the peer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With an orderly end.
    Closed,
    /// With a reset.
    Reset,
    /// Not within the time.
    Open,
}

impl Raw {
    /// Opens a connection in clear text.
    pub fn connect(address: SocketAddr) -> Raw {
        Raw::on(connect(address))
    }

    /// Opens a connection in clear text from this address of the machine, for limits per address.
    ///
    /// # Errors
    /// When the peer does not take the connection.
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> io::Result<Raw> {
        let stream = runtime::wait(TIMEOUT, async move {
            let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.bind(SocketAddr::new(source, 0))?;
            socket.connect(address).await?.into_std()
        })?;
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Raw::on(stream))
    }

    fn on(stream: TcpStream) -> Raw {
        Raw { stream: Stream::Clear(stream), unread: Vec::new(), timeout: TIMEOUT }
    }

    /// Opens a connection over TLS to `name`, trusting the authorities in `ca` (PEM).
    ///
    /// # Errors
    /// When the handshake fails, which a test may want.
    pub fn connect_tls(address: SocketAddr, name: &str, ca: &str, alpn: &[&str]) -> io::Result<Raw> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let session =
            ClientConnection::new(pki::client_config(ca, None, alpn), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, connect(address));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Raw { stream: Stream::Tls(Box::new(stream)), unread: Vec::new(), timeout: TIMEOUT })
    }

    /// How long a read waits; ten seconds unless told.
    pub fn with_timeout(mut self, timeout: Duration) -> Raw {
        self.timeout = timeout;
        self
    }

    /// What ALPN agreed on.
    pub fn alpn(&self) -> Option<String> {
        match &self.stream {
            Stream::Clear(_) => None,
            Stream::Tls(stream) => {
                stream.conn.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned())
            }
        }
    }

    /// Sends bytes. A peer that already refused may have closed: what it said is then still read.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Raw {
        let _ = self.try_send(bytes);
        self
    }

    /// As [`Raw::send`], for a test that wants to know when the peer takes no more.
    ///
    /// # Errors
    /// When the peer has ended, or takes nothing for ten seconds.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let bytes = bytes.as_ref();
        match &mut self.stream {
            Stream::Clear(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// Says that no more will be sent.
    pub fn finish(&mut self) -> &mut Raw {
        let _ = match &mut self.stream {
            Stream::Clear(stream) => stream.shutdown(Shutdown::Write),
            Stream::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush()
            }
        };
        self
    }

    /// Reads the next answer to a request that may have a body in its answer.
    ///
    /// # Panics
    /// When what comes is no answer, or none comes.
    pub fn answer(&mut self) -> RawAnswer {
        self.answer_to("GET")
    }

    /// Reads the next answer to `method`: RFC 9112 §6.3 lets it decide whether there is a body.
    ///
    /// # Panics
    /// When what comes is no answer, or none comes.
    pub fn answer_to(&mut self, method: &str) -> RawAnswer {
        self.try_answer_to(method).unwrap_or_else(|why| {
            panic!("no answer: {why}; read so far: {:?}", String::from_utf8_lossy(&self.unread))
        })
    }

    /// As [`Raw::answer_to`], but what is wrong is returned.
    ///
    /// # Errors
    /// A sentence: what breaks RFC 9112, or that the peer ended or was silent.
    pub fn try_answer_to(&mut self, method: &str) -> Result<RawAnswer, String> {
        let deadline = Instant::now() + self.timeout;
        let mut ended = None;
        loop {
            if let Some((answer, used)) = parse(&self.unread, method, ended == Some(Ending::Closed))? {
                self.unread.drain(..used);
                return Ok(answer);
            }
            match ended {
                Some(Ending::Open) => return Err(format!("nothing more within {:?}", self.timeout)),
                Some(ending) => return Err(format!("the peer ended: {ending:?}")),
                None => ended = self.fill(deadline),
            }
        }
    }

    /// Reads until the peer ends or the time is over; returns all bytes and how it ended.
    pub fn read_to_end(&mut self) -> (Vec<u8>, Ending) {
        let deadline = Instant::now() + self.timeout;
        loop {
            if let Some(ending) = self.fill(deadline) {
                return (std::mem::take(&mut self.unread), ending);
            }
        }
    }

    /// Reads `count` bytes, for what follows an upgrade.
    ///
    /// # Panics
    /// When fewer come.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let deadline = Instant::now() + self.timeout;
        while self.unread.len() < count {
            if let Some(ending) = self.fill(deadline) {
                panic!("{} of {count} bytes came, then {ending:?}", self.unread.len());
            }
        }
        self.unread.drain(..count).collect()
    }

    /// Reads `count` bytes until `deadline`; what came before the peer ended is kept for the next read.
    ///
    /// # Errors
    /// How the peer ended, or [`Ending::Open`] when the time is over.
    pub fn try_bytes(&mut self, count: usize, deadline: Instant) -> Result<Vec<u8>, Ending> {
        while self.unread.len() < count {
            if let Some(ending) = self.fill(deadline) {
                return Err(ending);
            }
        }
        Ok(self.unread.drain(..count).collect())
    }

    /// Whether the peer closes (or resets) within `within` without sending more.
    pub fn is_closed_within(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        matches!(self.fill(deadline), Some(Ending::Closed | Ending::Reset)) && self.unread.is_empty()
    }

    /// Reads some bytes; tells when there are no more.
    fn fill(&mut self, deadline: Instant) -> Option<Ending> {
        let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
        else {
            return Some(Ending::Open);
        };
        let socket = match &self.stream {
            Stream::Clear(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
        };
        socket.set_read_timeout(Some(left)).expect("a read timeout can be set");
        let mut buffer = [0_u8; 16 * 1024];
        let count = match &mut self.stream {
            Stream::Clear(stream) => stream.read(&mut buffer),
            Stream::Tls(stream) => stream.read(&mut buffer),
        };
        match count {
            Ok(0) => Some(Ending::Closed),
            Ok(count) => {
                self.unread.extend_from_slice(buffer.get(..count).unwrap_or_default());
                None
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Some(Ending::Open),
                ErrorKind::Interrupted => None,
                // rustls: the connection ended without a closing alert.
                ErrorKind::UnexpectedEof => Some(Ending::Closed),
                _ => Some(Ending::Reset),
            },
        }
    }
}

/// Sends `bytes` on a new connection and reads every answer until the peer closes or is silent for `patience`.
/// Each answer is read as one to a GET.
///
/// # Panics
/// When something that is not an answer comes.
pub fn exchange(
    address: SocketAddr,
    bytes: impl AsRef<[u8]>,
    patience: Duration,
) -> (Vec<RawAnswer>, Ending) {
    let mut raw = Raw::connect(address).with_timeout(patience);
    raw.send(bytes);
    let (all, ending) = raw.read_to_end();
    let mut rest = all.as_slice();
    let mut answers = Vec::new();
    while !rest.is_empty() {
        match parse(rest, "GET", ending == Ending::Closed) {
            Ok(Some((answer, used))) => {
                answers.push(answer);
                rest = rest.get(used..).unwrap_or_default();
            }
            Ok(None) => panic!("half an answer: {:?}", String::from_utf8_lossy(rest)),
            Err(why) => panic!("{why}: {:?}", String::from_utf8_lossy(rest)),
        }
    }
    (answers, ending)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)
        .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
    stream.set_nodelay(true).expect("a socket can be told not to wait");
    stream.set_write_timeout(Some(TIMEOUT)).expect("a write timeout can be set");
    stream
}

/// Reads one answer from the start of `bytes`; `None` when it is not complete. `ended`: no more bytes will come.
fn parse(bytes: &[u8], method: &str, ended: bool) -> Result<Option<(RawAnswer, usize)>, String> {
    let Some(head_end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = bytes.get(..head_end).unwrap_or_default();
    let head = std::str::from_utf8(head).map_err(|_| "the head is not text".to_owned())?;
    let mut lines = head.split("\r\n");
    let (minor_version, status) = status_line(lines.next().unwrap_or_default())?;
    let headers = lines.map(field).collect::<Result<Vec<_>, _>>()?;
    let mut answer = RawAnswer { minor_version, status, headers, body: Vec::new(), trailers: Vec::new() };
    let start = head_end + 4;
    let rest = bytes.get(start..).unwrap_or_default();
    let all = |name: &str| {
        answer.headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name)).collect::<Vec<_>>()
    };
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    // RFC 9112 §6.1, §6.2: one of the two, once.
    if lengths.len() + codings.len() > 1 {
        return Err("the answer's length is stated more than once".to_owned());
    }
    // RFC 9112 §6.3, rules 1 and 2: no body, whatever the header says.
    if method == "HEAD"
        || matches!(status, 100..=199 | 204 | 304)
        || (method == "CONNECT" && status / 100 == 2)
    {
        return Ok(Some((answer, start)));
    }
    if let Some((_, coding)) = codings.first() {
        if !coding.eq_ignore_ascii_case("chunked") {
            return Err(format!("the transfer coding `{coding}` was not asked for"));
        }
        return Ok(chunked(rest)?.map(|(body, trailers, used)| {
            (answer.body, answer.trailers) = (body, trailers);
            (answer, start + used)
        }));
    }
    if let Some((_, length)) = lengths.first() {
        let digits = length.bytes().all(|byte| byte.is_ascii_digit());
        let length: usize =
            length.parse().ok().filter(|_| digits).ok_or_else(|| format!("`{length}` is no length"))?;
        let body = rest.get(..length).map(<[u8]>::to_vec);
        return Ok(body.map(|body| {
            answer.body = body;
            (answer, start + length)
        }));
    }
    // Rule 8: until the connection ends.
    answer.body = rest.to_vec();
    Ok(ended.then_some((answer, bytes.len())))
}

/// RFC 9112 §4: `HTTP/1.1 SP 3DIGIT SP [ reason ]`.
fn status_line(line: &str) -> Result<(u8, u16), String> {
    let wrong = || format!("`{line}` is no status line");
    let rest = line.strip_prefix("HTTP/1.").ok_or_else(wrong)?;
    let (version, rest) = rest.split_once(' ').ok_or_else(wrong)?;
    let (status, _reason) = rest.split_once(' ').ok_or_else(wrong)?;
    let minor = match version {
        "0" => 0,
        "1" => 1,
        _ => return Err(wrong()),
    };
    let digits = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
    let status =
        status.parse().ok().filter(|status| digits && (100..=599).contains(status)).ok_or_else(wrong)?;
    Ok((minor, status))
}

/// RFC 9112 §5: no space before the colon, no folding, no control characters.
fn field(line: &str) -> Result<(String, String), String> {
    let wrong = || format!("`{}` is no header field", line.escape_debug());
    let (name, value) = line.split_once(':').ok_or_else(wrong)?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) || value.contains(|c: char| c.is_control() && c != '\t') {
        return Err(wrong());
    }
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

type Chunked = (Vec<u8>, Vec<(String, String)>, usize);

/// RFC 9112 §7.1.
fn chunked(bytes: &[u8]) -> Result<Option<Chunked>, String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(line_end) = find(rest, b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(rest.get(..line_end).unwrap_or_default()).unwrap_or("?");
        let hex = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let length = usize::from_str_radix(size, 16).ok().filter(|_| hex);
        let length = length.ok_or_else(|| format!("`{}` is no chunk size", size.escape_debug()))?;
        at += line_end + 2;
        let rest = bytes.get(at..).unwrap_or_default();
        if length == 0 {
            return trailers(rest).map(|found| found.map(|(trailers, used)| (body, trailers, at + used)));
        }
        let (Some(chunk), Some(end)) = (rest.get(..length), rest.get(length..length + 2)) else {
            return Ok(None);
        };
        if end != b"\r\n" {
            return Err("a chunk is longer than its size".to_owned());
        }
        body.extend_from_slice(chunk);
        at += length + 2;
    }
}

type Trailers = (Vec<(String, String)>, usize);

fn trailers(bytes: &[u8]) -> Result<Option<Trailers>, String> {
    if bytes.starts_with(b"\r\n") {
        return Ok(Some((Vec::new(), 2)));
    }
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let text =
        std::str::from_utf8(bytes.get(..end).unwrap_or_default()).map_err(|error| error.to_string())?;
    let fields = text.split("\r\n").map(field).collect::<Result<Vec<_>, _>>()?;
    Ok(Some((fields, end + 4)))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Long enough for a busy machine, short enough for a person.
const TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, method: &str, ended: bool) -> Result<Option<(u16, String, usize)>, String> {
        let answer = parse(text.as_bytes(), method, ended)?;
        Ok(answer.map(|(answer, used)| (answer.status, answer.text().to_owned(), used)))
    }

    #[test]
    fn a_whole_answer_is_read_and_the_next_left() {
        let cases: [(&str, &str, &str, u16, &str, &str); 6] = [
            ("length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", "next"),
            ("no reason", "GET", "HTTP/1.0 404 \r\ncontent-length:0\r\n\r\n", 404, "", "next"),
            ("head", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", 200, "", "next"),
            ("nothing changed", "GET", "HTTP/1.1 304 -\r\nContent-Length: 2\r\n\r\n", 304, "", "next"),
            (
                "chunked",
                "GET",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nA\r\n0123456789\r\n0\r\n\r\n",
                200,
                "hi0123456789",
                "next",
            ),
            (
                "trailers",
                "GET",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: b\r\n\r\n",
                200,
                "",
                "next",
            ),
        ];
        for (name, method, text, status, body, next) in cases {
            let all = format!("{text}{next}");
            assert_eq!(read(&all, method, false), Ok(Some((status, body.to_owned(), text.len()))), "{name}");
            // One byte less is not an answer yet, where the answer has bytes to lose.
            assert_eq!(read(&text[..text.len() - 1], method, false), Ok(None), "{name}");
        }
    }

    #[test]
    fn without_a_length_the_end_of_the_connection_ends_the_body() {
        let text = "HTTP/1.1 200 OK\r\n\r\nhalf";
        assert_eq!(read(text, "GET", false), Ok(None));
        assert_eq!(read(text, "GET", true), Ok(Some((200, "half".to_owned(), text.len()))));
    }

    #[test]
    fn what_breaks_the_rules_is_told() {
        let cases = [
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 200\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1 999 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nname : x\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
        ];
        for text in cases {
            assert!(read(text, "GET", false).is_err(), "{text}");
        }
    }
}
