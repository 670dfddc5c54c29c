//! One slice of load: what is sent, and what the load generator says about it.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use super::{
    cpu,
    peers::{Peer, Pinned, Place},
};
use crate::{Result, shell::program};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// HTTP/1.1 with keep-alive in clear text.
    Clear,
    /// HTTP/1.1 with keep-alive over TLS.
    Tls,
    /// HTTP/2 over TLS.
    Http2,
}

impl Case {
    /// As on the command line and in the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Case::Clear => "h1",
            Case::Tls => "tls",
            Case::Http2 => "h2",
        }
    }

    /// What the table's title says.
    pub(super) fn title(self) -> &'static str {
        match self {
            Case::Clear => "HTTP/1.1 keep-alive, 1 KiB, 64 connections",
            Case::Tls => "TLS keep-alive, HTTP/1.1, 1 KiB, 64 connections",
            Case::Http2 => "HTTP/2 over TLS, 1 KiB, 16 connections, 32 streams each",
        }
    }
}

/// What one slice gave.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slice {
    pub(super) requests: f64,
    pub(super) rps: f64,
    /// Microseconds; the mean in HTTP/2, where the tool gives no median.
    pub(super) p50_us: f64,
    /// Microseconds; the largest in HTTP/2.
    pub(super) p99_us: f64,
    /// CPU time of the proxy's whole process tree per request.
    pub(super) cpu_us: f64,
    pub(super) user_percent: f64,
    /// Share of the proxy's core that the proxy used.
    pub(super) core_percent: f64,
    /// Share of the proxy's core that others used.
    pub(super) foreign_percent: f64,
    /// Share of the proxy's core that the host took away.
    pub(super) steal_percent: f64,
    /// Share of the other core that load generator and origin used: near 100 it is they who are measured.
    pub(super) load_percent: f64,
    /// Answers other than 2xx and broken connections.
    pub(super) errors: u64,
}

/// What the load generator says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Said {
    pub(super) requests: f64,
    rps: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) errors: u64,
}

/// Headers as a browser's application sends them, about 450 bytes with the request line.
const HEADERS: [&str; 5] = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36",
    "Accept: application/json, text/plain, */*",
    "Accept-Language: en-US,en;q=0.9",
    "Authorization: Bearer 0123456789abcdef0123456789abcdef0123456789abcdef",
    "X-Request-Id: 7d5c1f0e-5a51-4a7e-9a63-0e0b1d6f5a11",
];

/// Loads one proxy for some seconds and reads what it cost.
pub(super) fn slice(case: Case, peer: &Peer, origin: &Pinned, place: &Place, seconds: u64) -> Result<Slice> {
    let words = words(case, peer, seconds);
    let mut command = program("taskset");
    command.args(["-c", &place.load_core.to_string()]).args(&words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());

    let (cpu_before, origin_before) = (cpu::read(peer.process.pid()), cpu::read(origin.pid()));
    let (core_before, load_core_before) = (cpu::core(place.proxy_core)?, cpu::core(place.load_core)?);
    let start = Instant::now();
    let child = command.spawn().map_err(|error| format!("{}: {error}", words.join(" ")))?;
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let took = start.elapsed();
    let (core_after, load_core_after) = (cpu::core(place.proxy_core)?, cpu::core(place.load_core)?);
    let (cpu_after, origin_after) = (cpu::read(peer.process.pid()), cpu::read(origin.pid()));

    let text = String::from_utf8_lossy(&output.stdout);
    let said = match case {
        Case::Http2 => h2load(&text, took),
        Case::Clear | Case::Tls => wrk(&text),
    };
    let said = said.filter(|said| output.status.success() && said.requests > 0.0).ok_or_else(|| {
        format!("{} is not understood:\n{text}{}", words.join(" "), String::from_utf8_lossy(&output.stderr))
    })?;
    // The origin must not have died either; what it spent is part of the other core's load.
    origin_before.until(&origin_after)?;
    let spent = cpu_before.until(&cpu_after)?;
    let percent = |time: Duration| 100.0 * time.as_secs_f64() / took.as_secs_f64();
    let busy = percent(cpu::ticks_as_time(core_after.0 - core_before.0));
    Ok(Slice {
        requests: said.requests,
        rps: said.rps,
        p50_us: said.p50_us,
        p99_us: said.p99_us,
        cpu_us: spent.cpu.as_secs_f64() * 1e6 / said.requests,
        user_percent: spent.user_percent,
        core_percent: percent(spent.cpu),
        foreign_percent: (busy - percent(spent.cpu)).max(0.0),
        steal_percent: percent(cpu::ticks_as_time(core_after.1 - core_before.1)),
        load_percent: percent(cpu::ticks_as_time(load_core_after.0 - load_core_before.0)),
        errors: said.errors,
    })
}

fn words(case: Case, peer: &Peer, seconds: u64) -> Vec<String> {
    let (port, scheme) = match case {
        Case::Clear => (peer.http, "http"),
        Case::Tls | Case::Http2 => (peer.https, "https"),
    };
    let mut words: Vec<String> = match case {
        Case::Http2 => {
            // The warm-up's requests are in the CPU time and not in the count; the rate sets that right.
            let duration = seconds.to_string();
            ["h2load", "-t1", "-c16", "-m32", "-D", &duration, "--warm-up-time=1"].map(str::to_owned).to_vec()
        }
        Case::Clear | Case::Tls => {
            ["wrk", "-t1", "-c64", &format!("-d{seconds}s"), "--latency"].map(str::to_owned).to_vec()
        }
    };
    let key = peer.api_key.iter().map(|key| format!("X-API-Key: {key}"));
    for header in HEADERS.into_iter().map(str::to_owned).chain(key) {
        words.extend(["-H".to_owned(), header]);
    }
    words.push(format!("{scheme}://127.0.0.1:{port}/1k"));
    words
}

/// Reads what wrk says.
pub(super) fn wrk(text: &str) -> Option<Said> {
    let line = |word: &str| text.lines().map(str::trim).find_map(|line| line.strip_prefix(word));
    let requests =
        text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse::<f64>().ok())?;
    // `Socket errors: connect 0, read 0, write 0, timeout 0`
    let broken =
        line("Socket errors: ").map_or(0, |counts| counts.split([' ', ',']).filter_map(number).sum());
    let refused = line("Non-2xx or 3xx responses: ").and_then(number).unwrap_or(0);
    Some(Said {
        requests,
        rps: line("Requests/sec:")?.trim().parse().ok()?,
        p50_us: microseconds(line("50%")?.trim())?,
        p99_us: microseconds(line("99%")?.trim())?,
        errors: broken + refused,
    })
}

fn h2load(text: &str, took: Duration) -> Option<Said> {
    let line = |word: &str| text.lines().map(str::trim).find_map(|line| line.strip_prefix(word));
    // `finished in 3.00s, 38815.00 req/s, 41.05MB/s`
    let rps: f64 =
        line("finished in ")?.split(", ").find_map(|part| part.strip_suffix(" req/s")?.parse().ok())?;
    // `requests: 116445 total, 116445 started, 116445 done, 116445 succeeded, 0 failed, 0 errored, 0 timeout`
    let counts = line("requests: ")?;
    let count = |word: &str| counts.split(", ").find_map(|part| number(part.strip_suffix(word)?.trim()));
    let errors = count("failed")? + count("errored")? + count("timeout")?;
    // `time for request:     1.02ms     29.54ms     12.98ms      2.01ms    70.00%`: least, most, mean
    let times: Vec<f64> = line("time for request:")?.split_whitespace().filter_map(microseconds).collect();
    let [_, most, mean, ..] = times.as_slice() else { return None };
    Some(Said { requests: rps * took.as_secs_f64(), rps, p50_us: *mean, p99_us: *most, errors })
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// `640us`, `1.20ms`, `2.00s`, `1.00m`.
fn microseconds(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 6e7)];
    units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_read() {
        let text = "Running 3s test @ http://127.0.0.1:8110/1k\n  1 threads and 64 connections\n  Thread Stats   Avg      \
                    Stdev     Max   +/- Stdev\n    Latency     1.10ms  1.20ms   9.00ms   90.00%\n    Req/Sec    58.17k     \
                    1.00k   60.00k    70.00%\n  Latency Distribution\n     50%    1.06ms\n     75%    1.30ms\n     90%    \
                    1.60ms\n     99%    2.18ms\n  174516 requests in 3.00s, 200.00MB read\n  Socket errors: connect 0, read 1, \
                    write 0, timeout 2\n  Non-2xx or 3xx responses: 7\nRequests/sec:  58172.00\nTransfer/sec:     66.00MB\n";
        let expected =
            Said { requests: 174_516.0, rps: 58_172.0, p50_us: 1_060.0, p99_us: 2_180.0, errors: 10 };
        assert_eq!(wrk(text), Some(expected));
        assert_eq!(wrk("unable to connect"), None);
    }

    #[test]
    fn what_h2load_says_is_read() {
        let text = "finished in 3.00s, 40000.00 req/s, 41.05MB/s\nrequests: 120000 total, 120000 started, 120000 done, 119998 \
                    succeeded, 2 failed, 0 errored, 0 timeout\nstatus codes: 119998 2xx, 0 3xx, 2 4xx, 0 5xx\ntime for \
                    request:     1.02ms     29.54ms     12.98ms      2.01ms    70.00%\n";
        let said = h2load(text, Duration::from_secs(4)).unwrap();
        assert_eq!(
            said,
            Said { requests: 160_000.0, rps: 40_000.0, p50_us: 12_980.0, p99_us: 29_540.0, errors: 2 }
        );
    }

    #[test]
    fn times_are_read_in_every_unit() {
        for (text, expected) in [("640us", 640.0), ("1.5ms", 1_500.0), ("2s", 2e6), ("1m", 6e7)] {
            assert_eq!(microseconds(text), Some(expected), "{text}");
        }
        assert_eq!(microseconds("70.00%"), None);
    }
}
