//! Time and places: readers that do not read, slow heads and bodies, many connections, handshakes. Cases 24 to 27.

use std::{
    io::{BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use bartizan_e2e::{House, Row, run, table::Rows};
use bartizan_testkit::{
    Frames, Raw,
    frames::{self, flag, kind},
    process,
};

pub(crate) fn rows() -> Vec<Row> {
    [readers(), slow(), connections(), handshakes()].into_iter().flat_map(Rows::done).collect()
}

const MIB: u64 = 1024 * 1024;

fn readers() -> Rows {
    Rows::of(24)
        .beside(
            "a caller asks for 4 MiB and reads nothing",
            "memory stays; the connection is given up after 30 s",
            |house| {
                let before = process::resident(house.gateway.pid());
                let mut raws: Vec<TcpStream> = Vec::new();
                for _ in 0..10 {
                    let mut stream = TcpStream::connect(house.plain()).map_err(|error| error.to_string())?;
                    stream
                        .write_all(b"GET /quiet/large HTTP/1.1\r\nHost: a.test\r\n\r\n")
                        .map_err(|error| error.to_string())?;
                    raws.push(stream);
                }
                std::thread::sleep(Duration::from_secs(2));
                house.serves_others()?;
                let grown = process::resident(house.gateway.pid()).saturating_sub(before);
                if grown > 48 * MIB {
                    return Err(format!("ten readers made it grow by {} MiB", grown / MIB));
                }
                std::thread::sleep(Duration::from_secs(34));
                for mut stream in raws {
                    stream
                        .set_read_timeout(Some(Duration::from_secs(3)))
                        .map_err(|error| error.to_string())?;
                    let mut all = Vec::new();
                    // What the kernel holds still comes; the whole answer must not.
                    match stream.read_to_end(&mut all) {
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                            return Err("the connection still stands".to_owned());
                        }
                        _ if all.len() as u64 >= 4 * MIB => {
                            return Err("the answer was kept for it".to_owned());
                        }
                        _ => {}
                    }
                }
                Ok(())
            },
        )
        .beside(
            "100 streams with a window of nothing",
            "memory stays; the streams are given up after 30 s",
            |house| {
                let before = process::resident(house.gateway.pid());
                let mut frames = Frames::connect(house.plain(), &[(4, 0)]);
                for at in 0..100 {
                    frames.request(at * 2 + 1, &run::request("GET", "/quiet/large"), true);
                }
                let start = Instant::now();
                let (mut resets, mut grown) = (0, 0);
                while resets < 100 && start.elapsed() < Duration::from_secs(45) {
                    match frames.next(Duration::from_secs(1)) {
                        Ok(frame) if frame.kind == kind::RST_STREAM => resets += 1,
                        Ok(frame) if frame.kind == kind::GOAWAY => resets = 100,
                        Ok(frame) if frame.kind == kind::PING && frame.flags & flag::ACK == 0 => {
                            frames.send(kind::PING, flag::ACK, 0, &frame.payload);
                        }
                        Ok(_) | Err(bartizan_testkit::raw::Ending::Open) => {}
                        Err(_) => resets = 100,
                    }
                    grown = process::resident(house.gateway.pid()).saturating_sub(before).max(grown);
                }
                if resets < 100 {
                    return Err(format!("{resets} of 100 streams were given up"));
                }
                if start.elapsed() < Duration::from_secs(20) {
                    return Err(format!("they were given up after {:?} already", start.elapsed()));
                }
                if grown > 64 * MIB { Err(format!("it grew by {} MiB", grown / MIB)) } else { Ok(()) }
            },
        )
}

fn slow() -> Rows {
    Rows::of(25)
        .beside("a head of one byte in 300 ms", "408 and closed within the time for heads", |house| {
            let mut raw = Raw::connect(house.at("hasty"));
            let start = Instant::now();
            for byte in b"GET /public/get HTTP/1.1\r\nHost: a.test\r\nX-Slow: 1\r\n" {
                if raw.try_send([*byte]).is_err() || start.elapsed() > Duration::from_secs(4) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(300));
            }
            run::closes(&mut raw, "GET", &[0, 408])?;
            if start.elapsed() < Duration::from_secs(6) {
                Ok(())
            } else {
                Err(format!("after {:?}", start.elapsed()))
            }
        })
        .beside("half a head and silence", "408 and closed within the time for heads", |house| {
            let mut raw = Raw::connect(house.at("hasty"));
            let start = Instant::now();
            raw.send("GET /public/get HTTP/1.1\r\nHost: a.");
            run::closes(&mut raw, "GET", &[408])?;
            let took = start.elapsed();
            if (Duration::from_millis(900)..Duration::from_secs(4)).contains(&took) {
                Ok(())
            } else {
                Err(format!("after {took:?}"))
            }
        })
        .beside("silence from the start", "closed within the idle time", |house| {
            let mut raw = Raw::connect(house.at("hasty"));
            run::closes(&mut raw, "GET", &[0, 408])
        })
        .beside("silence behind an answer", "closed within the idle time", |house| {
            let mut raw = Raw::connect(house.at("hasty"));
            let answer = raw.send("GET /quiet/get HTTP/1.1\r\nHost: a.test\r\n\r\n").try_answer_to("GET")?;
            if answer.status != 200 {
                return Err(format!("{} instead of 200", answer.status));
            }
            run::closes(&mut raw, "GET", &[0])
        })
        .beside("a preface of HTTP/2 and silence", "closed within the idle time", |house| {
            let mut frames = Frames::connect(house.at("hasty"), &[]);
            match frames.ending(Duration::from_secs(20)) {
                (_, bartizan_testkit::raw::Ending::Open) => Err("the connection still stands".to_owned()),
                _ => Ok(()),
            }
        })
        .beside("half a field block of HTTP/2 and silence", "the connection ends", |house| {
            let mut frames = Frames::connect(house.at("hasty"), &[]);
            frames.send(kind::HEADERS, 0, 1, &frames::block(&run::request("GET", "/quiet/get")));
            match frames.ending(Duration::from_secs(15)) {
                (_, bartizan_testkit::raw::Ending::Open) => Err("the connection still stands".to_owned()),
                _ => Ok(()),
            }
        })
        .beside("a body of one byte a second", "408 or closed after some seconds", |house| {
            let mut raw = house.raw();
            raw.send("POST /quiet/post HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n");
            dribble(&mut raw, b"x", Duration::from_secs(1))
        })
        .beside("a body of one byte in 200 ms", "408 or closed after some seconds", |house| {
            let mut raw = house.raw();
            raw.send("POST /quiet/post HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n");
            dribble(&mut raw, b"x", Duration::from_millis(200))
        })
        .beside("chunks of one byte a second", "408 or closed after some seconds", |house| {
            let mut raw = house.raw();
            raw.send("POST /quiet/post HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
            dribble(&mut raw, b"1\r\nx\r\n", Duration::from_secs(1))
        })
}

fn dribble(raw: &mut Raw, piece: &[u8], pause: Duration) -> Result<(), String> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(14) {
        if raw.is_closed_within(Duration::from_millis(1)) || raw.try_send(piece).is_err() {
            break;
        }
        std::thread::sleep(pause);
        // An answer means that it was given up, too; it must be a refusal.
        if let Ok(byte) = raw.try_bytes(12, Instant::now() + Duration::from_millis(1)) {
            if byte.ends_with(b"408") {
                return Ok(());
            }
            return Err(format!("it got {}", byte.escape_ascii()));
        }
    }
    let took = start.elapsed();
    if (Duration::from_secs(4)..Duration::from_secs(13)).contains(&took) {
        Ok(())
    } else {
        Err(format!("after {took:?}"))
    }
}

fn connections() -> Rows {
    /// Whether a connection from there is served.
    fn served(house: &House, last: u8, third: u8) -> Result<(bool, Option<Raw>), String> {
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, third, last));
        let Ok(raw) = Raw::connect_from(source, house.at("capped")) else { return Ok((false, None)) };
        let mut raw = raw.with_timeout(Duration::from_secs(3));
        raw.send("GET /quiet/get HTTP/1.1\r\nHost: a.test\r\n\r\n");
        Ok((raw.try_answer_to("GET").is_ok_and(|answer| answer.status == 200), Some(raw)))
    }
    fn open(house: &House, addresses: &[(u8, u8)]) -> Result<(Vec<bool>, Vec<Raw>), String> {
        let (mut all, mut held) = (Vec::new(), Vec::new());
        for (last, third) in addresses {
            let (is_served, raw) = served(house, *last, *third)?;
            all.push(is_served);
            held.extend(raw);
        }
        Ok((all, held))
    }
    Rows::of(26)
        .script(
            "a fifth connection from one address",
            "closed; four are served, and another address, too",
            |house| {
                settle();
                let (all, _held) = open(house, &[(10, 1), (10, 1), (10, 1), (10, 1), (10, 1), (11, 1)])?;
                if all == [true, true, true, true, false, true] { Ok(()) } else { Err(format!("{all:?}")) }
            },
        )
        .script("a ninth connection from one /24", "closed; another /24 is served", |house| {
            settle();
            let mut from: Vec<(u8, u8)> = (20..29).map(|last| (last, 2)).collect();
            from.push((20, 3));
            let (all, _held) = open(house, &from)?;
            let right = all.iter().take(8).all(|one| *one) && all.get(8..) == Some(&[false, true]);
            if right { Ok(()) } else { Err(format!("{all:?}")) }
        })
        .script("a twenty-first connection on the listener", "closed; other listeners serve", |house| {
            settle();
            let from: Vec<(u8, u8)> = (0..21).map(|number| (30 + number % 7, 10 + number / 7)).collect();
            let (all, _held) = open(house, &from)?;
            if all.iter().filter(|one| **one).count() != 20 || all.last() != Some(&false) {
                return Err(format!("{all:?}"));
            }
            house.serves_others()
        })
        .script("places are given back", "after all have left, all are served again", |house| {
            settle();
            for _ in 0..3 {
                let (all, held) = open(house, &[(60, 5), (60, 5), (60, 5), (60, 5)])?;
                if !all.iter().all(|one| *one) {
                    return Err(format!("{all:?}"));
                }
                drop(held);
                settle();
            }
            Ok(())
        })
}

/// A closed connection's place is free once its end was seen.
fn settle() {
    std::thread::sleep(Duration::from_millis(300));
}

fn handshakes() -> Rows {
    fn read_all(mut stream: TcpStream, within: Duration) -> Result<(Vec<u8>, Duration), String> {
        let start = Instant::now();
        stream.set_read_timeout(Some(within)).map_err(|error| error.to_string())?;
        let mut all = Vec::new();
        match stream.read_to_end(&mut all) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                Err("the connection still stands".to_owned())
            }
            _ => Ok((all, start.elapsed())),
        }
    }
    fn tls(house: &House, bytes: &[u8], within: Duration) -> Result<(Vec<u8>, Duration), String> {
        let mut stream = TcpStream::connect(house.at("tls")).map_err(|error| error.to_string())?;
        let _ = stream.write_all(bytes);
        read_all(stream, within)
    }
    Rows::of(27)
        .script("HTTP on the port of TLS", "closed; no HTTP answer in clear text", |house| {
            let (all, _) =
                tls(house, b"GET /public/get HTTP/1.1\r\nHost: a.test\r\n\r\n", Duration::from_secs(7))?;
            if all.starts_with(b"HTTP") { Err("it was answered".to_owned()) } else { Ok(()) }
        })
        .script("a record longer than 16 KiB", "closed", |house| {
            let mut bytes = vec![22, 3, 1, 0xff, 0xff];
            bytes.extend(vec![1; 65_535]);
            tls(house, &bytes, Duration::from_secs(7)).map(drop)
        })
        .script("a hello that says 16 MB", "closed", |house| {
            let mut bytes = vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
            bytes.extend(vec![0; 16_384 - 4]);
            let all = bytes.repeat(8);
            tls(house, &all, Duration::from_secs(7)).map(drop)
        })
        .script("a flood of empty records", "closed", |house| {
            let bytes = [22, 3, 1, 0, 0].repeat(50_000);
            tls(house, &bytes, Duration::from_secs(7)).map(drop)
        })
        .beside("silence instead of a hello", "closed within the time for handshakes", |house| {
            let (_, took) = tls(house, b"", Duration::from_secs(9))?;
            if took > Duration::from_secs(3) { Ok(()) } else { Err(format!("after {took:?} already")) }
        })
        .beside("half a hello", "closed within the time for handshakes", |house| {
            tls(house, &[22, 3, 1, 0, 100, 1, 0, 0, 96, 3, 3], Duration::from_secs(9)).map(drop)
        })
        .script("an honest hello in pieces of one byte", "served", |house| {
            let through = one_byte_at_a_time(house.at("tls")).map_err(|error| error.to_string())?;
            let mut raw = Raw::connect_tls(through, "a.test", &house.ca, &["http/1.1"])
                .map_err(|error| error.to_string())?;
            raw.send("GET /quiet/get HTTP/1.1\r\nHost: a.test\r\n\r\n");
            match raw.try_answer_to("GET")?.status {
                200 => Ok(()),
                other => Err(format!("{other} instead of 200")),
            }
        })
        .script("a name that no certificate serves", "no handshake", |house| {
            match Raw::connect_tls(house.at("tls"), "c.test", &house.ca, &["http/1.1"]) {
                Ok(_) => Err("the handshake succeeded".to_owned()),
                Err(_) => Ok(()),
            }
        })
        .script("a protocol that is not spoken", "no handshake, or HTTP/1.1", |house| match Raw::connect_tls(
            house.at("tls"),
            "a.test",
            &house.ca,
            &["spdy/3"],
        ) {
            Ok(raw) if raw.alpn().is_some() => Err(format!("{:?} was agreed on", raw.alpn())),
            _ => Ok(()),
        })
}

/// A relay for one connection that sends on every byte of the caller by itself.
fn one_byte_at_a_time(to: SocketAddr) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        let Ok((caller, _)) = listener.accept() else { return };
        let Ok(gateway) = TcpStream::connect(to) else { return };
        let (Ok(()), Ok(mut back), Ok(mut answers)) =
            (gateway.set_nodelay(true), caller.try_clone(), gateway.try_clone())
        else {
            return;
        };
        std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
        for byte in BufReader::new(caller).bytes().map_while(Result::ok) {
            if (&gateway).write_all(&[byte]).is_err() {
                return;
            }
        }
    });
    Ok(address)
}
