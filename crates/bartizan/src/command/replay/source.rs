//! Where recorded requests come from: which kind of file it is, and reading it in bounded memory.

mod access_log;
mod capture;
mod clock;
mod common;
mod har;

use std::{
    cell::Cell,
    error::Error,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    net::IpAddr,
    path::{Path, PathBuf},
    rc::Rc,
};

use bartizan_config::replay::{Caller, Recording};
use bartizan_message::Scheme;
use bartizan_telemetry::{RecordReader, capture::CaptureKey};

use super::progress::Position;

/// What a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// By how it begins.
    Auto,
    /// An access log of ours: JSON lines.
    Bartizan,
    /// A capture, as `bartizan capture` takes it.
    Capture,
    /// A HAR file, as browsers write it.
    Har,
    /// An access log in common or combined format.
    Common,
}

/// What is taken for given where a source does not say it.
#[derive(Clone, Debug)]
pub(super) struct Assumed {
    pub(super) host: Option<String>,
    pub(super) scheme: Scheme,
    pub(super) client: Option<IpAddr>,
    pub(super) unknown: Caller,
}

impl Assumed {
    /// Nothing beyond what the source says.
    pub(super) const fn nothing() -> Self {
        Assumed { host: None, scheme: Scheme::Https, client: None, unknown: Caller::Unknown }
    }
}

/// What a source says next.
pub(super) enum Heard {
    /// A request.
    Request(Box<Recording>),
    /// Something that is none: its place, and why.
    Malformed(String, String),
    /// So many lines are missing here.
    Lost(u64),
}

/// A source that is open.
pub(super) struct Source {
    path: PathBuf,
    kind: Kind,
    assumed: Assumed,
    key: Option<CaptureKey>,
    /// The record store, where it is one: segments instead of one file.
    store: Option<RecordReader>,
    reader: BufReader<Counted>,
    position: Position,
}

/// Lines of logs are a few kilobytes; one that is longer is none.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// How much is read at once; also how much is looked at to tell what it is.
const BUFFER_BYTES: usize = 1 << 18;

/// Counts what is read.
struct Counted {
    inner: Box<dyn Read>,
    read: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}

impl Source {
    /// Opens a source and tells what it is.
    pub(super) fn open(
        path: &Path,
        kind: Kind,
        assumed: Assumed,
        key: Option<CaptureKey>,
    ) -> Result<Self, Box<dyn Error>> {
        let named = |error: io::Error| format!("{} cannot be read: {error}", path.display());
        let (inner, total): (Box<dyn Read>, _) = if path.as_os_str() == "-" {
            (Box::new(io::stdin()), None)
        } else {
            let file = File::open(path).map_err(named)?;
            let meta = file.metadata().map_err(named)?;
            (Box::new(file), meta.is_file().then_some(meta.len()))
        };
        let position = Position { read: Rc::default(), total };
        let counted = Counted { inner, read: position.read.clone() };
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, counted);
        let kind = match kind {
            Kind::Auto => guess(reader.fill_buf().map_err(named)?),
            kind => kind,
        };
        if kind == Kind::Common && assumed.host.is_none() {
            let text = "a log in common format does not say which host was asked for; name it by `--host`";
            return Err(format!("{}: {text}", path.display()).into());
        }
        if kind == Kind::Capture && key.is_none() {
            return Err(format!("{} is a capture; name its key by `--key-file`", path.display()).into());
        }
        Ok(Source { path: path.to_owned(), kind, assumed, key, store: None, reader, position })
    }

    /// The record store in a folder.
    pub(super) fn of_store(folder: PathBuf) -> Self {
        let position = Position::default();
        let nothing = Counted { inner: Box::new(io::empty()), read: position.read.clone() };
        Source {
            store: Some(RecordReader::open(folder.clone())),
            path: folder,
            kind: Kind::Bartizan,
            assumed: Assumed::nothing(),
            key: None,
            reader: BufReader::new(nothing),
            position,
        }
    }

    /// Whether it is a capture, which has what limits held.
    pub(super) fn is_capture(&self) -> bool {
        self.kind == Kind::Capture
    }

    /// How far it is read.
    pub(super) fn position(&self) -> Position {
        self.position.clone()
    }

    /// Reads all of it.
    pub(super) fn each(self, mut hear: impl FnMut(Heard)) -> Result<(), Box<dyn Error>> {
        let Source { path, kind, assumed, key, store, reader, .. } = self;
        let named = |error: io::Error| format!("{} cannot be read: {error}", path.display());
        if let Some(store) = store {
            let mut number = 0;
            let each = |line: &[u8]| {
                number += 1;
                if let Some(heard) = access_log::read(line, number, &assumed) {
                    hear(heard);
                }
                true
            };
            return Ok(store.in_order(each).map_err(named)?);
        }
        match kind {
            Kind::Capture => match &key {
                Some(key) => capture::each(reader, key, &assumed, &mut hear)
                    .map_err(|error| format!("{} cannot be read: {error}", path.display()).into()),
                None => Ok(()),
            },
            Kind::Har => har::each(reader, &assumed, &mut hear)
                .map_err(|error| format!("{} cannot be read: {error}", path.display()).into()),
            Kind::Common => {
                Ok(lines(reader, &mut hear, |line, place| common::read(line, place, &assumed))
                    .map_err(named)?)
            }
            Kind::Auto | Kind::Bartizan => {
                Ok(lines(reader, &mut hear, |line, place| access_log::read(line, place, &assumed))
                    .map_err(named)?)
            }
        }
    }
}

/// What a source is, by its first bytes.
fn guess(begin: &[u8]) -> Kind {
    if begin.starts_with(b"BZCAPTUR") {
        return Kind::Capture;
    }
    let text = begin.trim_ascii_start();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii_start();
    if !text.starts_with(b"{") {
        return Kind::Common;
    }
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let inside = first.get(1..).unwrap_or_default().trim_ascii_start();
    // A HAR file is one object whose first member is `log`; a line of ours begins with its time.
    if inside.starts_with(b"\"log\"") || inside.is_empty() { Kind::Har } else { Kind::Bartizan }
}

fn lines(
    mut reader: BufReader<Counted>,
    hear: &mut dyn FnMut(Heard),
    read: impl Fn(&[u8], u64) -> Option<Heard>,
) -> io::Result<()> {
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        if reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        number += 1;
        if !line.ends_with(b"\n") && line.len() as u64 == LINE_BYTES_MAX {
            hear(Heard::Malformed(place(number), format!("longer than {LINE_BYTES_MAX} bytes")));
            skip_line(&mut reader)?;
            continue;
        }
        let text = line.trim_ascii();
        if !text.is_empty()
            && let Some(heard) = read(text, number)
        {
            hear(heard);
        }
    }
}

/// Reads to the end of a line without keeping it.
fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        let (used, ends) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        reader.consume(used);
        if ends {
            return Ok(());
        }
    }
}

fn place(number: u64) -> String {
    format!("line {number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_tells_by_its_beginning_what_it_is() {
        for (begin, expected) in [
            (&b"{\"time\":\"2026-01-01T00:00:00Z\",\"method\":\"GET\"}\n"[..], Kind::Bartizan),
            (b"{\n  \"log\": {", Kind::Har),
            (b"\xef\xbb\xbf{\"log\":{}}", Kind::Har),
            (b"192.0.2.1 - - [10/Oct/2026:13:55:36 +0000] \"GET / HTTP/1.1\" 200 5", Kind::Common),
            (b"", Kind::Common),
        ] {
            assert_eq!(guess(begin), expected, "{}", String::from_utf8_lossy(begin));
        }
    }
}
