//! Reading a store, also while a gateway writes it.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use super::{
    entry::{Entry, hash, short},
    index_path, lines_path, numbers,
};

/// A line is at most some kilobytes; what is longer is no line of ours.
const LINE_BYTES_MAX: u32 = 256 << 10;

/// A store to read.
#[derive(Debug)]
pub struct RecordReader {
    folder: PathBuf,
}

/// What is looked for; all of it must hold.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// The request's id.
    pub id: Option<&'a str>,
    /// The consumer's name.
    pub consumer: Option<&'a str>,
    /// The route's name.
    pub route: Option<&'a str>,
    /// Requests that came at this time or later: seconds since 1970.
    pub since_s: u64,
    /// Any of these bits of [`super::Flags`]; 0 for all requests.
    pub flags: u16,
}

/// A record.
#[derive(Clone, Debug)]
pub struct Found {
    /// What the index says of it.
    pub entry: Entry,
    /// Its line, as in the access log.
    pub line: Vec<u8>,
}

impl RecordReader {
    /// Opens the store in a folder; one that is not there is empty.
    pub fn open(folder: impl Into<PathBuf>) -> Self {
        RecordReader { folder: folder.into() }
    }

    /// The newest records that are wanted, newest first, at most `most`. A name in the index is a hash: whoever must be
    /// sure looks at the line.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read. A segment that goes away meanwhile is no error.
    pub fn find(&self, wanted: &Wanted<'_>, most: usize) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        self.visit(wanted, |one| {
            found.push(one);
            found.len() < most
        })?;
        Ok(found)
    }

    /// Shows the records that are wanted, newest first, as long as `each` wants more.
    ///
    /// # Errors
    ///
    /// As [`RecordReader::find`].
    pub fn visit(&self, wanted: &Wanted<'_>, mut each: impl FnMut(Found) -> bool) -> io::Result<()> {
        let numbers = match numbers(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            numbers => numbers?,
        };
        let ask = Ask::of(wanted);
        let mut index = Vec::new();
        for number in numbers.into_iter().rev() {
            if read_whole(&index_path(&self.folder, number), &mut index).is_err() {
                continue;
            }
            let mut lines = None;
            // A half entry at the end is one that is being written.
            let (entries, _) = index.as_chunks::<{ Entry::BYTES }>();
            for bytes in entries.iter().rev() {
                if !ask.may_be(bytes) {
                    continue;
                }
                let entry = Entry::from_bytes(bytes);
                let Some(line) = line(&lines_path(&self.folder, number), &mut lines, entry) else { continue };
                if !each(Found { entry, line }) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Shows every line, oldest first, as long as `each` wants more.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read. A segment that goes away meanwhile is no error, nor is a torn line: it is shown as
    /// it is.
    pub fn in_order(&self, mut each: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
        let numbers = match numbers(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            numbers => numbers?,
        };
        let mut line = Vec::new();
        for number in numbers {
            let Ok(lines) = File::open(lines_path(&self.folder, number)) else { continue };
            let mut lines = BufReader::with_capacity(1 << 18, lines);
            loop {
                line.clear();
                let most = u64::from(LINE_BYTES_MAX);
                if (&mut lines).take(most).read_until(b'\n', &mut line)? == 0 {
                    break;
                }
                if !each(&line) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// How many records there are, and how many bytes their lines have.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub fn size(&self) -> io::Result<(u64, u64)> {
        let numbers = match numbers(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
            numbers => numbers?,
        };
        let length = |path: PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let each = numbers.into_iter().map(|number| {
            let records = length(index_path(&self.folder, number)) / Entry::BYTES as u64;
            (records, length(lines_path(&self.folder, number)))
        });
        Ok(each.fold((0, 0), |(records, bytes), one| (records + one.0, bytes + one.1)))
    }
}

/// What is wanted, as the index says it.
struct Ask {
    id: Option<[u8; 8]>,
    consumer: Option<u32>,
    route: Option<u32>,
    since_s: u64,
    flags: u16,
}

impl Ask {
    fn of(wanted: &Wanted<'_>) -> Self {
        Ask {
            id: wanted.id.map(|id| hash(id.as_bytes()).to_le_bytes()),
            consumer: wanted.consumer.map(|name| short(Some(name))),
            route: wanted.route.map(|name| short(Some(name))),
            since_s: wanted.since_s,
            flags: wanted.flags,
        }
    }

    fn may_be(&self, bytes: &[u8; Entry::BYTES]) -> bool {
        // The id comes first: nearly every entry ends here when one is looked for.
        if self.id.is_some_and(|id| bytes.first_chunk() != Some(&id)) {
            return false;
        }
        let entry = Entry::from_bytes(bytes);
        self.consumer.is_none_or(|name| name == entry.consumer)
            && self.route.is_none_or(|name| name == entry.route)
            && u64::from(entry.at_s) >= self.since_s
            && (self.flags == 0 || entry.flags.has(self.flags))
    }
}

fn read_whole(path: &Path, into: &mut Vec<u8>) -> io::Result<()> {
    into.clear();
    File::open(path)?.read_to_end(into).map(drop)
}

/// The line of an entry; nothing when it is not (or no longer) there.
fn line(path: &Path, file: &mut Option<File>, entry: Entry) -> Option<Vec<u8>> {
    if entry.length > LINE_BYTES_MAX {
        return None;
    }
    let lines = match file {
        Some(lines) => lines,
        None => file.insert(File::open(path).ok()?),
    };
    lines.seek(SeekFrom::Start(u64::from(entry.offset))).ok()?;
    let mut line = vec![0; usize::try_from(entry.length).ok()?];
    lines.read_exact(&mut line).ok()?;
    Some(line)
}
