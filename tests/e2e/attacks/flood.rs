//! HTTP/2 as a weapon: resets, CONTINUATION, field blocks that grow, floods of small frames. Cases 19 to 23.
//!
//! Every flood is bounded in frames and time here, so a gateway that takes all of it is told by the connection that
//! still stands. What it cost is read from the process; the bounds are generous, because the machine is shared.

use std::time::{Duration, Instant};

use bartizan_e2e::{House, Row, run, table::Rows};
use bartizan_testkit::{
    Client, Frames,
    frames::{self, Outcome, flag, frame, kind},
    process,
    raw::Ending,
};

pub(crate) fn rows() -> Vec<Row> {
    [rapid_reset(), made_you_reset(), continuation(), bombs(), small_frames()]
        .into_iter()
        .flat_map(Rows::done)
        .collect()
}

const NO_ERROR: u32 = 0;

/// Sends batches until the peer takes no more; fails when it took all of them and stands still.
///
/// `batch` gives the bytes of one; the flood ends after `most` of them or eight seconds.
fn flood(
    house: &House,
    frames: &mut Frames,
    most: u32,
    mut batch: impl FnMut(u32) -> Vec<u8>,
) -> Result<Option<u32>, String> {
    let before = (process::cpu(house.gateway.pid()), process::resident(house.gateway.pid()));
    let start = Instant::now();
    let mut code = None;
    for number in 0..most {
        if frames.try_write(&batch(number)).is_err() || start.elapsed() > Duration::from_secs(8) {
            break;
        }
        // Answers are taken, so that it is the flood that ends the connection and not a full socket.
        for frame in frames.drain() {
            if frame.kind == kind::GOAWAY {
                code = frame.payload.get(4..8).and_then(|four| four.try_into().ok()).map(u32::from_be_bytes);
            }
        }
        if number % 50 == 0 {
            house.serves_others().map_err(|why| format!("meanwhile: {why}"))?;
        }
        if code.is_some_and(|code| code != NO_ERROR) {
            break;
        }
    }
    let (last, ending) = frames.ending(Duration::from_secs(5));
    let code = code.or(last);
    if ending == Ending::Open && code.is_none_or(|code| code == NO_ERROR) {
        return Err("the connection still stands".to_owned());
    }
    let memory = process::resident(house.gateway.pid()).saturating_sub(before.1);
    if memory > 48 * MIB {
        return Err(format!("it grew by {} MiB", memory / MIB));
    }
    let cpu = process::cpu(house.gateway.pid()).saturating_sub(before.0);
    if cpu > Duration::from_secs(6) {
        return Err(format!("it cost {cpu:?}"));
    }
    house.serves_others()?;
    Ok(code)
}

const MIB: u64 = 1024 * 1024;

fn rapid_reset() -> Rows {
    const SAYS: &str = "the connection ends; a few requests at most reach the origin; others are served";
    fn resets(house: &House, path: &'static str, origin_most: usize) -> Result<(), String> {
        let mut frames = Frames::connect(house.plain(), &[]);
        let head = frames::block(&run::request("GET", path));
        flood(house, &mut frames, 200, |number| {
            let mut bytes = Vec::new();
            for at in 0..50 {
                let stream = (number * 50 + at) * 2 + 1;
                bytes.extend(frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, &head));
                bytes.extend(frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
            }
            bytes
        })?;
        std::thread::sleep(Duration::from_millis(400));
        let reached = house.reached()?.len() + house.quiet.take().len();
        if reached <= origin_most { Ok(()) } else { Err(format!("{reached} requests reached the origin")) }
    }
    Rows::of(19)
        .script("10,000 requests, each reset at once", SAYS, |house| resets(house, "/public/rapid", 400))
        .script("10,000 requests to a slow service, each reset at once", SAYS, |house| {
            resets(house, "/quiet/slow", 400)
        })
        .script("2,400 requests, each reset when the service works on it", SAYS, |house| {
            paced(house, |stream| frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes()))
        })
        .script("10,000 requests without a credential, each reset at once", SAYS, |house| {
            resets(house, "/admin/rapid", 0)
        })
}

/// Resets that come when the request has reached the service already: what HTTP/2's own library does not count.
fn paced(house: &House, after: fn(u32) -> Vec<u8>) -> Result<(), String> {
    let mut frames = Frames::connect(house.plain(), &[]);
    let head = frames::block(&run::request("GET", "/quiet/slow"));
    house.quiet.take();
    flood(house, &mut frames, 120, |number| {
        // The heads of this batch, behind what ends the streams of the batch before.
        let streams = |batch: u32| (0..20).map(move |at| (batch * 20 + at) * 2 + 1);
        let mut bytes: Vec<u8> = Vec::new();
        if let Some(before) = number.checked_sub(1) {
            std::thread::sleep(Duration::from_millis(10));
            bytes.extend(streams(before).flat_map(after));
        }
        bytes
            .extend(streams(number).flat_map(|stream| {
                frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, &head)
            }));
        bytes
    })?;
    std::thread::sleep(Duration::from_millis(400));
    let reached = house.quiet.take().len();
    if reached <= 300 { Ok(()) } else { Err(format!("{reached} requests reached the service")) }
}

fn made_you_reset() -> Rows {
    const SAYS: &str = "the connection ends before the service did more than a few hundred requests";
    /// The bytes behind the head that make a server reset the stream.
    fn provoke(house: &House, after: fn(u32) -> Vec<u8>, ends: bool) -> Result<(), String> {
        let mut frames = Frames::connect(house.plain(), &[]);
        let head = frames::block(&run::request("POST", "/quiet/slow"));
        house.quiet.take();
        flood(house, &mut frames, 100, |number| {
            let mut bytes = Vec::new();
            for at in 0..20 {
                let stream = (number * 20 + at) * 2 + 1;
                let flags = flag::END_HEADERS | if ends { flag::END_STREAM } else { 0 };
                bytes.extend(frame(kind::HEADERS, flags, stream, &head));
                bytes.extend(after(stream));
            }
            bytes
        })?;
        std::thread::sleep(Duration::from_millis(400));
        let reached = house.quiet.take().len();
        if reached <= 400 { Ok(()) } else { Err(format!("{reached} requests reached the service")) }
    }
    Rows::of(20)
        .script("by a WINDOW_UPDATE of nothing, when the service works on it", SAYS, |house| {
            paced(house, |stream| frame(kind::WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes()))
        })
        .script("by a WINDOW_UPDATE that overflows, when the service works on it", SAYS, |house| {
            paced(house, |stream| frame(kind::WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes()))
        })
        .script("by DATA behind the end, when the service works on it", SAYS, |house| {
            paced(house, |stream| frame(kind::DATA, 0, stream, b"x"))
        })
        .script("by a WINDOW_UPDATE of nothing", SAYS, |house| {
            provoke(house, |stream| frame(kind::WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes()), true)
        })
        .script("by a WINDOW_UPDATE that overflows", SAYS, |house| {
            provoke(
                house,
                |stream| frame(kind::WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes()),
                true,
            )
        })
        .script("by DATA behind the end", SAYS, |house| {
            provoke(house, |stream| frame(kind::DATA, 0, stream, b"x"), true)
        })
        .script("by HEADERS behind the end", SAYS, |house| {
            provoke(
                house,
                |stream| {
                    frame(
                        kind::HEADERS,
                        flag::END_HEADERS | flag::END_STREAM,
                        stream,
                        &frames::block(&[(b"x-a", b"b")]),
                    )
                },
                true,
            )
        })
        .script("by a PRIORITY of the wrong length", SAYS, |house| {
            provoke(house, |stream| frame(kind::PRIORITY, 0, stream, &[0; 4]), true)
        })
        .script("by a PRIORITY that depends on itself", SAYS, |house| {
            provoke(
                house,
                |stream| {
                    let mut payload = stream.to_be_bytes().to_vec();
                    payload.push(16);
                    frame(kind::PRIORITY, 0, stream, &payload)
                },
                true,
            )
        })
        .script("by a body longer than its length", SAYS, |house| {
            let mut frames = Frames::connect(house.plain(), &[]);
            let mut fields = run::request("POST", "/quiet/slow").to_vec();
            fields.push((b"content-length", b"1"));
            let head = frames::block(&fields);
            house.quiet.take();
            flood(house, &mut frames, 100, |number| {
                let mut bytes = Vec::new();
                for at in 0..20 {
                    let stream = (number * 20 + at) * 2 + 1;
                    bytes.extend(frame(kind::HEADERS, flag::END_HEADERS, stream, &head));
                    bytes.extend(frame(kind::DATA, 0, stream, b"xx"));
                }
                bytes
            })?;
            Ok(())
        })
        .script("by heads that are malformed", SAYS, |house| {
            let mut frames = Frames::connect(house.plain(), &[]);
            let mut fields = run::request("GET", "/quiet/slow").to_vec();
            fields.push((b"connection", b"close"));
            let head = frames::block(&fields);
            flood(house, &mut frames, 200, |number| {
                let streams = (0..50).map(|at| (number * 50 + at) * 2 + 1);
                streams
                    .flat_map(|stream| {
                        frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, &head)
                    })
                    .collect()
            })?;
            Ok(())
        })
}

fn continuation() -> Rows {
    const SAYS: &str = "the connection ends after a few; memory stays; others are served";
    fn continued(house: &House, payload: &[u8]) -> Result<(), String> {
        let mut frames = Frames::connect(house.plain(), &[]);
        frames.send(
            kind::HEADERS,
            flag::END_STREAM,
            1,
            &frames::block(&run::request("GET", "/public/never")),
        );
        let one = frame(kind::CONTINUATION, 0, 1, payload);
        flood(house, &mut frames, 500, |_| one.repeat(50))?;
        run::nothing_reached(house)
    }
    Rows::of(21)
        .script("empty CONTINUATION frames", SAYS, |house| continued(house, b""))
        .script("CONTINUATION frames with a field each", SAYS, |house| {
            continued(house, &frames::block(&[(b"x-a", b"b")]))
        })
        .script("CONTINUATION frames with large fields", SAYS, |house| {
            continued(house, &frames::block(&[(b"x-a", &[b'x'; 8_000])]))
        })
        .script("CONTINUATION frames with half a field", SAYS, |house| {
            continued(house, &[0, 127, 255, 255, 255])
        })
        .script("another frame between HEADERS and CONTINUATION", "the connection ends", |house| {
            let mut frames = Frames::connect(house.plain(), &[]);
            frames.send(
                kind::HEADERS,
                flag::END_STREAM,
                1,
                &frames::block(&run::request("GET", "/public/never")),
            );
            frames.send(kind::PING, 0, 0, &[0; 8]);
            ended(&mut frames)?;
            run::nothing_reached(house)
        })
        .script("CONTINUATION without HEADERS", "the connection ends", |house| {
            let mut frames = Frames::connect(house.plain(), &[]);
            frames.send(
                kind::CONTINUATION,
                flag::END_HEADERS,
                1,
                &frames::block(&run::request("GET", "/public/never")),
            );
            ended(&mut frames)?;
            run::nothing_reached(house)
        })
}

fn ended(frames: &mut Frames) -> Result<(), String> {
    match frames.ending(Duration::from_secs(3)) {
        (None, Ending::Open) => Err("the connection still stands".to_owned()),
        _ => Ok(()),
    }
}

fn bombs() -> Rows {
    const SAYS: &str = "refused or reset; memory stays; the origin sees nothing";
    /// A field once in full, then `times` by one byte.
    fn bomb(name: &[u8], value: &[u8], times: usize) -> Vec<u8> {
        let mut block = frames::block(&run::request("GET", "/public/bomb"));
        block.extend(frames::indexed_literal(name, value));
        // Entry 62 is the newest of the dynamic table (RFC 7541 §2.3.3).
        block.extend(std::iter::repeat_n(0xbe, times));
        block
    }
    fn explode(house: &House, name: &[u8], value: &[u8], times: usize) -> Result<(), String> {
        let before = process::resident(house.gateway.pid());
        for _ in 0..4 {
            // No window: an answer with a body would stay in memory.
            let mut frames = Frames::connect(house.plain(), &[(4, 0)]);
            for at in 0..20 {
                let mut rest = bomb(name, value, times);
                let stream = at * 2 + 1;
                let first: Vec<u8> = rest.drain(..rest.len().min(16_000)).collect();
                let more = !rest.is_empty();
                let flags = flag::END_STREAM | if more { 0 } else { flag::END_HEADERS };
                if !frames.send(kind::HEADERS, flags, stream, &first) {
                    break;
                }
                if more {
                    frames.send(kind::CONTINUATION, flag::END_HEADERS, stream, &rest);
                }
            }
            match frames.outcome(1, Duration::from_secs(3)) {
                Outcome::Answered(status, _) if status < 400 => {
                    return Err(format!("it was answered with {status}"));
                }
                // With no window a refusal's head comes and its body does not.
                Outcome::Silence
                | Outcome::Answered(..)
                | Outcome::Reset(_)
                | Outcome::Goaway(_)
                | Outcome::Ended(_) => {}
            }
        }
        let grown = process::resident(house.gateway.pid()).saturating_sub(before);
        if grown > 64 * MIB {
            return Err(format!("four connections made it grow by {} MiB", grown / MIB));
        }
        run::nothing_reached(house)
    }
    Rows::of(22)
        .script("a field of 4,000 bytes, 16,000 times by one byte", SAYS, |house| {
            explode(house, b"x-a", &[b'x'; 4_000], 16_000)
        })
        .script("a cookie of 4,000 bytes, 16,000 times by one byte", SAYS, |house| {
            explode(house, b"cookie", &[b'x'; 4_000], 16_000)
        })
        .script("an empty cookie, 30,000 times by one byte", SAYS, |house| {
            explode(house, b"cookie", b"", 30_000)
        })
        .script("a tiny cookie, 1,900 times: below 64 KiB, above 100 fields", SAYS, |house| {
            explode(house, b"cookie", b"a", 1_900)
        })
        .script("101 fields", "431 or reset; the origin sees nothing", |house| many(house, 101))
        .script("a field of 70 KB", "431 or reset; the origin sees nothing", |house| {
            let mut frames = Frames::connect(house.plain(), &[]);
            let mut fields = run::request("GET", "/public/bomb").to_vec();
            let large = vec![b'x'; 70_000];
            fields.push((b"x-a", &large));
            let block = frames::block(&fields);
            let mut pieces = block.chunks(16_000).peekable();
            let mut kind = kind::HEADERS;
            while let Some(piece) = pieces.next() {
                let last = if pieces.peek().is_none() { flag::END_HEADERS } else { 0 };
                let flags = last | if kind == kind::HEADERS { flag::END_STREAM } else { 0 };
                frames.send(kind, flags, 1, piece);
                kind = kind::CONTINUATION;
            }
            refused(house, &mut frames)
        })
        .script("a change of the table's size beyond what was said", "the connection ends", |house| {
            let mut frames = Frames::connect(house.plain(), &[]);
            let mut block = vec![0x3f, 0xe1, 0xff, 0x3f];
            block.extend(frames::block(&run::request("GET", "/public/bomb")));
            frames.send(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1, &block);
            ended(&mut frames)?;
            run::nothing_reached(house)
        })
        .script("an entry that the table does not have", "the connection ends", |house| {
            let mut frames = Frames::connect(house.plain(), &[]);
            frames.send(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1, &[0xff, 0xff, 0xff, 0x7f]);
            ended(&mut frames)?;
            run::nothing_reached(house)
        })
        .script("101 fields in HTTP/1", "431; the origin sees nothing", |house| {
            let fields = "X-A: b\r\n".repeat(101);
            let mut raw = house.raw();
            raw.send(format!("GET /public/bomb HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"));
            run::closes(&mut raw, "GET", &[431])?;
            run::nothing_reached(house)
        })
}

fn many(house: &House, count: usize) -> Result<(), String> {
    let mut frames = Frames::connect(house.plain(), &[]);
    let mut fields = run::request("GET", "/public/bomb").to_vec();
    fields.extend(std::iter::repeat_n((b"x-a".as_slice(), b"b".as_slice()), count));
    frames.request(1, &fields, true);
    refused(house, &mut frames)
}

fn refused(house: &House, frames: &mut Frames) -> Result<(), String> {
    match frames.outcome(1, Duration::from_secs(3)) {
        Outcome::Answered(431, _) | Outcome::Reset(_) | Outcome::Goaway(_) | Outcome::Ended(_) => {
            run::nothing_reached(house)
        }
        other => Err(format!("it got {other:?}")),
    }
}

fn small_frames() -> Rows {
    const SAYS: &str = "the connection ends; memory stays; others are served";
    fn many_of(house: &House, one: Vec<u8>) -> Result<(), String> {
        let mut frames = Frames::connect(house.plain(), &[]);
        let batch = one.repeat(4_000 / one.len().max(1) * 20);
        flood(house, &mut frames, 2_000, |_| batch.clone()).map(drop)
    }
    /// A flood within a request whose body has not ended.
    fn within_body(house: &House, one: fn() -> Vec<u8>) -> Result<(), String> {
        let mut frames = Frames::connect(house.plain(), &[]);
        frames.request(1, &run::request("POST", "/quiet/body"), false);
        let batch = one().repeat(4_000);
        flood(house, &mut frames, 2_000, |_| batch.clone()).map(drop)
    }
    Rows::of(23)
        .script("PING", SAYS, |house| many_of(house, frame(kind::PING, 0, 0, &[7; 8])))
        .script("SETTINGS without a setting", SAYS, |house| many_of(house, frame(kind::SETTINGS, 0, 0, &[])))
        .script("SETTINGS that move the window to and fro", SAYS, |house| {
            let mut both = frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
            both.extend(frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]));
            many_of(house, both)
        })
        .script("PRIORITY", SAYS, |house| many_of(house, frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 16])))
        .script("WINDOW_UPDATE by one byte", SAYS, |house| {
            many_of(house, frame(kind::WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()))
        })
        .script("frames of an unknown type", SAYS, |house| many_of(house, frame(0xfa, 0, 0, b"x")))
        .script("answers to PING that nobody sent", SAYS, |house| {
            many_of(house, frame(kind::PING, flag::ACK, 0, &[7; 8]))
        })
        .script("PING within a body", SAYS, |house| within_body(house, || frame(kind::PING, 0, 0, &[7; 8])))
        .script("PING within a body that keeps its pace", SAYS, |house| {
            within_body(house, || {
                let mut bytes = frame(kind::DATA, 0, 1, b"x");
                bytes.extend(frame(kind::PING, 0, 0, &[7; 8]).repeat(15));
                bytes
            })
        })
        .script("an honest upload of 7 MB in HTTP/2 is no flood", "served whole", |house| {
            let client = Client::http2(house.plain()).with_authority("a.test");
            let answer = client.call("POST", "/quiet/upload", &[], vec![b'x'; 7_000_000]);
            let length = house.quiet.take().last().map(|received| received.body.len());
            match (answer.status.as_u16(), length) {
                (200, Some(7_000_000)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .script("an honest upload in 20,000 small pieces is no flood", "served whole", small_pieces)
        .script("empty DATA", SAYS, |house| within_body(house, || frame(kind::DATA, 0, 1, b"")))
        .script("DATA of padding alone", SAYS, |house| {
            within_body(house, || frame(kind::DATA, 8, 1, &[4, 0, 0, 0, 0]))
        })
}

/// Uploads a hundred kilobytes, five bytes a frame, at a pace that is read as it comes. Faster, h2 ends the connection: of
/// its budget of 512 KiB (half our connection window) each unread frame below 256 bytes takes the difference, so about
/// 2,090 unread frames of five bytes use it up. This row therefore stays below our own budget of frames too.
fn small_pieces(house: &House) -> Result<(), String> {
    let mut frames = Frames::connect(house.plain(), &[]);
    frames.request(1, &run::request("POST", "/quiet/upload"), false);
    let batch = frame(kind::DATA, 0, 1, b"hello").repeat(100);
    for _ in 0..200 {
        frames.try_write(&batch).map_err(|error| error.to_string())?;
        frames.drain();
        std::thread::sleep(Duration::from_millis(5));
    }
    frames.send(kind::DATA, flag::END_STREAM, 1, b"");
    let outcome = frames.outcome(1, Duration::from_secs(10));
    let length = house.quiet.take().last().map(|received| received.body.len());
    match (&outcome, length) {
        (Outcome::Answered(200, _), Some(100_000)) => Ok(()),
        _ => Err(format!("{outcome:?} with {length:?} bytes")),
    }
}
