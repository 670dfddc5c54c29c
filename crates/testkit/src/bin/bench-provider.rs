//! The provider of `cargo xtask bench ai`: every chat gets the same answer, every streamed one the same fifty pieces.
//!
//! As `bench-origin`, it parses no more than it needs and must never be what is measured. Pieces leave a millisecond
//! apart, each in a write of its own, as a model speaks: a proxy cannot take several of them for one.

use std::{fmt::Write as _, net::Ipv4Addr, process::ExitCode, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse::<u16>().ok());
    let port = port.ok_or_else(|| std::io::Error::other("usage: bench-provider PORT"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream));
        }
    })
}

/// One request after the other; nobody pipelines here.
async fn serve(mut stream: TcpStream) {
    let (whole, pieces) = (whole(), pieces());
    let mut unread: Vec<u8> = Vec::with_capacity(16 * 1024);
    loop {
        if let Some(length) = request_length(&unread) {
            let request: Vec<u8> = unread.drain(..length).collect();
            let answered = if asks_for_a_stream(&request) {
                streamed(&mut stream, &pieces).await
            } else {
                stream.write_all(&whole).await
            };
            if answered.is_err() {
                return;
            }
            continue;
        }
        if unread.len() > REQUEST_BYTES_MAX || !matches!(stream.read_buf(&mut unread).await, Ok(1..)) {
            return;
        }
    }
}

async fn streamed(stream: &mut TcpStream, pieces: &[Vec<u8>]) -> std::io::Result<()> {
    stream.write_all(STREAM_HEAD).await?;
    for piece in pieces {
        stream.write_all(piece).await?;
        tokio::time::sleep(PACE).await;
    }
    stream.write_all(b"0\r\n\r\n").await
}

/// Bytes of the first request, or `None` while it is incomplete.
fn request_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let mut lines = bytes.get(..end)?.split(|byte| *byte == b'\n');
    let length = lines.find_map(|line| {
        let (name, value) = line.split_at_checked(LENGTH.len())?;
        let value = || std::str::from_utf8(value).ok()?.trim().parse::<usize>().ok();
        name.eq_ignore_ascii_case(LENGTH).then(value).flatten()
    });
    let whole = end.checked_add(length.unwrap_or(0))?;
    (bytes.len() >= whole).then_some(whole)
}

fn asks_for_a_stream(request: &[u8]) -> bool {
    [&b"\"stream\":true"[..], b"\"stream\": true"]
        .iter()
        .any(|word| request.windows(word.len()).any(|window| window == *word))
}

/// An answer of a usual size.
fn whole() -> Vec<u8> {
    let text = "tok ".repeat(150);
    let body = format!(
        "{{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"gpt-4o-mini\",\"choices\":[{{\"index\":0,\
         \"message\":{{\"role\":\"assistant\",\"content\":\"{text}\",\"refusal\":null}},\"logprobs\":null,\"finish_reason\":\"stop\"}}],\
         \"usage\":{{\"prompt_tokens\":40,\"completion_tokens\":150,\"total_tokens\":190}},\"system_fingerprint\":\"fp_1\"}}"
    );
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-request-id: req_1\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body.into_bytes()].concat()
}

/// The pieces of a stream, each a chunk of HTTP.
fn pieces() -> Vec<Vec<u8>> {
    let mut events: Vec<String> = Vec::new();
    let chunk = |choices: &str, usage: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o-mini\",\
             \"system_fingerprint\":\"fp_1\",\"choices\":[{choices}],\"usage\":{usage}}}\n\n"
        )
    };
    let choice = |delta: &str, reason: &str| {
        format!("{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{reason}}}")
    };
    events.push(chunk(&choice("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}", "null"), "null"));
    for number in 0..PIECES {
        let mut delta = String::new();
        let _ = write!(delta, "{{\"content\":\"tok{number} \"}}");
        events.push(chunk(&choice(&delta, "null"), "null"));
    }
    events.push(chunk(&choice("{}", "\"stop\""), "null"));
    events.push(chunk("", "{\"prompt_tokens\":40,\"completion_tokens\":50,\"total_tokens\":90}"));
    events.push("data: [DONE]\n\n".to_owned());
    events.into_iter().map(|event| format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()).collect()
}

#[expect(clippy::print_stderr, reason = "a program tells why it ends")]
fn complain(why: &str) {
    eprintln!("bench-provider: {why}");
}

/// Pieces of content in a stream.
const PIECES: usize = 50;
/// Between two pieces.
const PACE: Duration = Duration::from_millis(1);
const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nx-request-id: req_1\r\n\
                             Transfer-Encoding: chunked\r\n\r\n";
const LENGTH: &[u8] = b"content-length:";
/// More than the load generator sends.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;
