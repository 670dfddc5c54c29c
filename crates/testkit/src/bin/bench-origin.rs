//! The upstream of `cargo xtask bench`: answers every request with the same 1 KiB, as cheaply as it can.
//!
//! It must never be what is measured, so it parses no more than it needs: where a head ends and how long its body
//! is. One thread, one connection per task, one write per answer. It is a measuring instrument and no server: it
//! listens on loopback only.

use std::{net::Ipv4Addr, process::ExitCode};

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
    let port = port.ok_or_else(|| std::io::Error::other("usage: bench-origin PORT"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream));
        }
    })
}

async fn serve(mut stream: TcpStream) {
    let answer = answer();
    let mut unread: Vec<u8> = Vec::with_capacity(16 * 1024);
    let mut answers: Vec<u8> = Vec::with_capacity(16 * 1024);
    loop {
        answers.clear();
        let mut rest = unread.as_slice();
        while let Some(after) = after_request(rest) {
            rest = after;
            answers.extend_from_slice(&answer);
        }
        let used = unread.len() - rest.len();
        unread.drain(..used);
        if !answers.is_empty() && stream.write_all(&answers).await.is_err() {
            return;
        }
        if unread.len() > REQUEST_BYTES_MAX || !matches!(stream.read_buf(&mut unread).await, Ok(1..)) {
            return;
        }
    }
}

/// What follows the first whole request, or `None` while it is incomplete.
fn after_request(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let (head, rest) = bytes.split_at_checked(end)?;
    let mut lines = head.split(|byte| *byte == b'\n');
    let length = lines.find_map(|line| {
        let (name, value) = line.split_at_checked(LENGTH.len())?;
        name.eq_ignore_ascii_case(LENGTH)
            .then(|| std::str::from_utf8(value).ok()?.trim().parse().ok())
            .flatten()
    });
    rest.get(length.unwrap_or(0_usize)..)
}

fn answer() -> Vec<u8> {
    let body = "a".repeat(1024);
    format!(
        "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Sun, 22 Nov 2026 13:00:00 GMT\r\nContent-Type: text/plain\r\n\
         Cache-Control: no-store\r\nETag: \"abc123\"\r\nContent-Length: 1024\r\n\r\n{body}"
    )
    .into_bytes()
}

#[expect(clippy::print_stderr, reason = "a program tells why it ends")]
fn complain(why: &str) {
    eprintln!("bench-origin: {why}");
}

const LENGTH: &[u8] = b"content-length:";
/// More than any load generator sends.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;
