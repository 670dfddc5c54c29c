//! The record store: the last requests, to be found by id and by consumer.
//!
//! Append-only segments of the very lines that the access log has, so that what a plan hides is hidden here too, and
//! beside each segment an index of 32 bytes a record. Looking one of a million up reads 32 MB in order, which is a few
//! milliseconds; writing one is two copies into buffers, on the log's own thread. A database was measured and refused
//! (decision 0034): it costs the writer forty times as much. A store that is full drops its oldest segment; a store that
//! fails is counted and the log goes on.

mod entry;
mod read;

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

pub use self::{
    entry::{Entry, Flags},
    read::{Found, RecordReader, Wanted},
};
use crate::record::{Exit, RequestRecord};

/// The folder below the data directory.
pub const FOLDER: &str = "records";

/// How much is kept.
#[derive(Clone, Debug)]
pub struct RecordOptions {
    /// Where the segments lie.
    pub folder: PathBuf,
    /// Most bytes of all segments together; 256 MiB holds half a million requests.
    pub bytes_max: u64,
    /// Most records of all segments together. A look-up reads the whole index, so this bounds its time.
    pub count_max: u64,
    /// Share of requests in percent that are kept although nothing was refused or failed.
    pub others_percent: u8,
}

impl RecordOptions {
    /// The defaults in a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        RecordOptions {
            folder: folder.into(),
            bytes_max: 256 << 20,
            count_max: 1_000_000,
            others_percent: 100,
        }
    }
}

/// Segments of a full store: with the oldest one, this part of it goes.
const SEGMENTS: u64 = 16;

/// No segment is smaller, or a tiny store would be all files.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;

/// What is gathered before it is written.
const BUFFER_BYTES: usize = 256 << 10;

/// Writes records into the store. It belongs to one thread.
pub struct RecordKeeper {
    options: RecordOptions,
    /// The segments that are there, oldest first, with their bytes and records.
    segments: Vec<Segment>,
    open: Option<Open>,
    next: u64,
    /// Records that could not be kept since the last success.
    failing: bool,
}

/// A segment that is complete.
#[derive(Clone, Copy, Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    count: u64,
}

/// The segment that grows.
struct Open {
    segment: Segment,
    lines: File,
    index: File,
    line_buffer: Vec<u8>,
    index_buffer: Vec<u8>,
}

impl RecordKeeper {
    /// Opens the store; what earlier processes kept stays. A new segment is begun with the first record.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made or read.
    pub fn open(options: RecordOptions) -> io::Result<Self> {
        make_private(&options.folder)?;
        let segments: Vec<Segment> = numbers(&options.folder)?
            .into_iter()
            .map(|number| Segment {
                number,
                bytes: size(&lines_path(&options.folder, number)),
                count: size(&index_path(&options.folder, number)) / Entry::BYTES as u64,
            })
            .collect();
        let next = segments.last().map_or(0, |last| last.number.saturating_add(1));
        Ok(RecordKeeper { options, segments, open: None, next, failing: false })
    }

    /// Whether a record is worth keeping: every one in which something was refused, failed or noted, and a share of the
    /// others that depends on nothing but their ids.
    pub fn wants(&self, record: &RequestRecord) -> bool {
        let told = !Flags::of(record).is_plain();
        told || match self.options.others_percent {
            100.. => true,
            percent => entry::hash(record.id().unwrap_or_default()) % 100 < u64::from(percent),
        }
    }

    /// Keeps a record with its line. It is on disk after [`RecordKeeper::flush`] at the latest.
    ///
    /// # Errors
    ///
    /// When it could not be written; the store stays usable.
    pub fn keep(&mut self, record: &RequestRecord, line: &[u8]) -> io::Result<()> {
        let result = self.try_keep(record, line);
        if result.is_err() {
            // What was half written is left behind; the next record begins a segment of its own.
            self.close();
        }
        result
    }

    fn try_keep(&mut self, record: &RequestRecord, line: &[u8]) -> io::Result<()> {
        let (bytes_max, count_max) = self.segment_limits();
        let is_full = self.open.as_ref().is_some_and(|open| {
            open.segment.bytes.saturating_add(line.len() as u64) > bytes_max
                || open.segment.count >= count_max
        });
        if is_full {
            self.flush()?;
            self.close();
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        let open = self.open.insert(open);
        let entry = Entry::of(record, open.segment.bytes, line.len());
        open.line_buffer.extend_from_slice(line);
        open.index_buffer.extend_from_slice(&entry.to_bytes());
        open.segment.bytes = open.segment.bytes.saturating_add(line.len() as u64);
        open.segment.count += 1;
        if open.line_buffer.len() >= BUFFER_BYTES { open.write() } else { Ok(()) }
    }

    /// Writes what is buffered, so that readers see it.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.open {
            Some(open) => open.write(),
            None => Ok(()),
        }
    }

    /// Whether a failure is the first one since something was kept, so that it is said once.
    pub fn is_news(&mut self, failed: bool) -> bool {
        std::mem::replace(&mut self.failing, failed) != failed && failed
    }

    fn segment_limits(&self) -> (u64, u64) {
        let bytes = (self.options.bytes_max / SEGMENTS).max(SEGMENT_BYTES_MIN).min(u64::from(u32::MAX));
        (bytes, (self.options.count_max / SEGMENTS).max(1))
    }

    fn begin(&mut self) -> io::Result<Open> {
        self.make_room();
        let number = self.next;
        self.next = self.next.saturating_add(1);
        let lines = create(&lines_path(&self.options.folder, number))?;
        let index = create(&index_path(&self.options.folder, number))?;
        let segment = Segment { number, bytes: 0, count: 0 };
        let line_buffer = Vec::with_capacity(BUFFER_BYTES + (16 << 10));
        Ok(Open { segment, lines, index, line_buffer, index_buffer: Vec::new() })
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.segments.push(open.segment);
        }
    }

    /// Removes the oldest segments until a new one has room.
    fn make_room(&mut self) {
        let (bytes, count) = self.segment_limits();
        loop {
            let sum = |of: fn(&Segment) -> u64| self.segments.iter().map(of).fold(0, u64::saturating_add);
            let fits = sum(|one| one.bytes).saturating_add(bytes) <= self.options.bytes_max.max(bytes)
                && sum(|one| one.count).saturating_add(count) <= self.options.count_max.max(count);
            if fits || self.segments.is_empty() {
                return;
            }
            let oldest = self.segments.remove(0);
            // One that somebody else removed is gone all the same; one that cannot be removed is not counted on.
            let _ = fs::remove_file(index_path(&self.options.folder, oldest.number));
            let _ = fs::remove_file(lines_path(&self.options.folder, oldest.number));
        }
    }
}

impl Drop for RecordKeeper {
    /// What is buffered is written; who must know whether it was calls [`RecordKeeper::flush`].
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

impl fmt::Debug for RecordKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordKeeper").field("segments", &self.segments.len()).finish_non_exhaustive()
    }
}

impl Open {
    /// Lines first: an entry never points to what is not there.
    fn write(&mut self) -> io::Result<()> {
        self.lines.write_all(&self.line_buffer)?;
        self.line_buffer.clear();
        self.index.write_all(&self.index_buffer)?;
        self.index_buffer.clear();
        Ok(())
    }
}

/// A request in which nothing went wrong ends so.
const fn is_well(exit: Exit) -> bool {
    matches!(exit, Exit::Complete)
}

fn lines_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:012}.jsonl"))
}

fn index_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:012}.index"))
}

/// The numbers of the segments in a folder, ascending.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".index"));
        numbers.extend(number.and_then(|digits| digits.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(folder)
}

#[cfg(test)]
mod tests;
