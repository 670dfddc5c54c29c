//! The load of `cargo xtask bench ai`: chats over keep-alive connections, as fast as they are answered or at a rate.
//!
//! Threads that block and no runtime: their sleeps are exact to a few dozen microseconds, where a timer wheel would send
//! in bursts. Time is measured from the moment of sending; at a rate, whoever is late says so (`late`), because then
//! the latencies are of another load than the one asked for. Prints one line of JSON.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match Load::read(&words) {
        Ok(load) => {
            tell(&load.run());
            ExitCode::SUCCESS
        }
        Err(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

/// What is sent.
#[derive(Clone)]
struct Load {
    port: u16,
    seconds: f64,
    connections: u32,
    /// Chats a second over all connections; as fast as possible where absent.
    rate: Option<f64>,
    stream: bool,
    headers: Vec<String>,
}

/// What came of it.
#[derive(Default)]
struct Seen {
    /// Microseconds until the last byte, and until the first content.
    whole: Vec<u64>,
    first: Vec<u64>,
    errors: u64,
    late: u64,
    /// The first thing that was no answer.
    example: Option<String>,
}

impl Load {
    fn read(words: &[String]) -> Result<Load, String> {
        let mut load =
            Load { port: 0, seconds: 3.0, connections: 16, rate: None, stream: false, headers: Vec::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--stream" {
                load.stream = true;
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            let wrong = |_| format!("{word}: `{value}` is no number");
            match word.as_str() {
                "--port" => load.port = value.parse().map_err(|_| format!("{word}: `{value}` is no port"))?,
                "--seconds" => load.seconds = value.parse().map_err(wrong)?,
                "--connections" => load.connections = value.parse::<f64>().map_err(wrong)?.max(1.0) as u32,
                "--rate" => load.rate = Some(value.parse().map_err(wrong)?),
                "--header" => load.headers.push(value.clone()),
                _ => return Err(format!("what is `{word}`?")),
            }
        }
        Ok(load)
    }

    fn request(&self) -> Vec<u8> {
        let content = "Tell me something about castles, and be kind about it. ".repeat(4);
        let stream = if self.stream { ",\"stream\":true" } else { "" };
        let body = format!(
            "{{\"model\":\"gpt-4o-mini\",\"max_tokens\":200,\"messages\":[{{\"role\":\"system\",\"content\":\"Be kind.\"}},\
             {{\"role\":\"user\",\"content\":\"{content}\"}}]{stream}}}"
        );
        let headers: String = self.headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nUser-Agent: OpenAI/Python 3.54.0\r\nAccept: application/json\r\n\
             Content-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    fn run(&self) -> String {
        let begun = Instant::now();
        let threads: Vec<_> = (0..self.connections)
            .map(|number| {
                let load = self.clone();
                thread::spawn(move || load.connection(number, begun))
            })
            .collect();
        let mut all = Seen::default();
        for thread in threads {
            let Ok(seen) = thread.join() else { continue };
            all.whole.extend(seen.whole);
            all.first.extend(seen.first);
            all.errors += seen.errors;
            all.late += seen.late;
            all.example = all.example.or(seen.example);
        }
        let seconds = begun.elapsed().as_secs_f64();
        let [p50, p99] = percentiles(&mut all.whole);
        let [first_p50, first_p99] = percentiles(&mut all.first);
        let example = all.example.unwrap_or_default().replace(['"', '\\', '\r', '\n'], " ");
        format!(
            "{{\"requests\":{},\"seconds\":{seconds:.3},\"p50_us\":{p50},\"p99_us\":{p99},\"first_p50_us\":{first_p50},\
             \"first_p99_us\":{first_p99},\"errors\":{},\"late\":{},\"example\":\"{example}\"}}",
            all.whole.len(),
            all.errors,
            all.late
        )
    }

    /// One connection's chats.
    fn connection(&self, number: u32, begun: Instant) -> Seen {
        let request = self.request();
        let mut seen = Seen::default();
        let mut stream = None;
        // At a rate, connections take turns.
        let every = self.rate.map(|rate| Duration::from_secs_f64(f64::from(self.connections) / rate));
        let mut due = begun
            + every.map_or(Duration::ZERO, |every| {
                every.mul_f64(f64::from(number) / f64::from(self.connections))
            });
        let end = begun + Duration::from_secs_f64(self.seconds);
        while Instant::now() < end {
            if let Some(every) = every {
                if due >= end {
                    break;
                }
                thread::sleep(due.saturating_duration_since(Instant::now()));
                seen.late += u64::from(due.elapsed() > every);
                due += every;
            }
            match self.chat(&mut stream, &request) {
                Ok((first, whole)) => {
                    seen.first.push(micros(first));
                    seen.whole.push(micros(whole));
                }
                Err(why) => {
                    stream = None;
                    seen.errors += 1;
                    seen.example.get_or_insert(why);
                }
            }
        }
        seen
    }

    /// One chat: when its first content came, and its end.
    fn chat(&self, stream: &mut Option<TcpStream>, request: &[u8]) -> Result<(Duration, Duration), String> {
        let told = |error: std::io::Error| error.to_string();
        let stream = match stream {
            Some(stream) => stream,
            none => {
                let fresh = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map_err(told)?;
                fresh.set_nodelay(true).map_err(told)?;
                fresh.set_read_timeout(Some(Duration::from_secs(20))).map_err(told)?;
                none.insert(fresh)
            }
        };
        let sent = Instant::now();
        stream.write_all(request).map_err(told)?;
        let mut answer: Vec<u8> = Vec::with_capacity(32 * 1024);
        let mut piece = [0_u8; 16 * 1024];
        let mut first = None;
        loop {
            let bytes = stream.read(&mut piece).map_err(told)?;
            if bytes == 0 {
                return Err(format!("closed after {}", shown(&answer)));
            }
            answer.extend_from_slice(piece.get(..bytes).unwrap_or_default());
            if first.is_none() && holds(&answer, b"tok") {
                first = Some(sent.elapsed());
            }
            if is_whole(&answer) {
                break;
            }
        }
        let whole = sent.elapsed();
        let is_right = answer.starts_with(b"HTTP/1.1 200") && (!self.stream || holds(&answer, b"[DONE]"));
        first.filter(|_| is_right).map(|first| (first, whole)).ok_or_else(|| shown(&answer))
    }
}

/// Whether an answer is complete, by its length or its last chunk.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let (head, body) = answer.split_at(end + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length =
        head.split("content-length:").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
    match length {
        Some(length) => body.len() >= length,
        None => body.ends_with(b"0\r\n\r\n"),
    }
}

fn holds(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

fn shown(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer.get(..answer.len().min(400)).unwrap_or_default()).into_owned()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The median and the 99th percentile.
fn percentiles(all: &mut [u64]) -> [u64; 2] {
    all.sort_unstable();
    [0.5, 0.99].map(|share| {
        let at = (all.len() as f64 * share) as usize;
        all.get(at.min(all.len().saturating_sub(1))).copied().unwrap_or(0)
    })
}

#[expect(clippy::print_stdout, reason = "what it prints is what it is for")]
fn tell(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "a program tells why it ends")]
fn complain(why: &str) {
    eprintln!("bench-chat: {why}");
}
