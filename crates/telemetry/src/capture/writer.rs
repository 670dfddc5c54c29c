//! Writing a capture: append-only, up to its limits.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

use super::{
    CaptureKey, FRAME_BYTES, HEADER_BYTES, RECORD_BYTES_MAX, SALT_BYTES, Sealed, TAG_BYTES, frame, refused,
};

/// How much a capture may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureLimits {
    /// Most bytes of the file. 1 GiB: about a million heads, and a disk that is not filled by a forgotten capture.
    pub bytes_max: u64,
    /// Most records.
    pub records_max: u64,
}

impl Default for CaptureLimits {
    fn default() -> Self {
        CaptureLimits { bytes_max: 1 << 30, records_max: 10_000_000 }
    }
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    /// It is written.
    Written,
    /// It does not fit any more; nothing will.
    Full,
    /// It is larger than a record may be, and was left out.
    TooLarge,
}

/// A capture that is being taken.
pub struct CaptureWriter<W> {
    out: W,
    sealed: Sealed,
    limits: CaptureLimits,
    records: u64,
    bytes: u64,
    is_over: bool,
    scratch: Vec<u8>,
}

impl CaptureWriter<File> {
    /// Begins a capture in a new file of mode 0600.
    ///
    /// # Errors
    ///
    /// There is such a file, or it cannot be written.
    pub fn create(path: &Path, key: &CaptureKey, limits: CaptureLimits) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        CaptureWriter::begin(file, key, limits)
    }

    /// Writes to the disk what was appended.
    ///
    /// # Errors
    ///
    /// Writing failed.
    pub fn sync(&self) -> io::Result<()> {
        self.out.sync_data()
    }
}

impl<W: Write> CaptureWriter<W> {
    /// Begins a capture, which must be at the beginning of what it is written to.
    ///
    /// # Errors
    ///
    /// Writing failed.
    pub fn begin(mut out: W, key: &CaptureKey, limits: CaptureLimits) -> io::Result<Self> {
        let mut salt = [0; SALT_BYTES];
        SystemRandom::new().fill(&mut salt).map_err(|_| refused("drawing a salt"))?;
        let sealed = Sealed::of(salt, key)?;
        out.write_all(&sealed.header)?;
        let bytes = HEADER_BYTES as u64;
        Ok(CaptureWriter { out, sealed, limits, records: 0, bytes, is_over: false, scratch: Vec::new() })
    }

    /// Appends a record.
    ///
    /// # Errors
    ///
    /// Writing failed: the record may be torn, so the capture is over and takes nothing more.
    pub fn append(&mut self, record: &[u8]) -> io::Result<Appended> {
        if record.len() > RECORD_BYTES_MAX {
            return Ok(Appended::TooLarge);
        }
        let sealed_bytes = record.len() + TAG_BYTES;
        let after = self.bytes.saturating_add((sealed_bytes + FRAME_BYTES) as u64);
        if self.is_over || after > self.limits.bytes_max || self.records >= self.limits.records_max {
            self.is_over = true;
            return Ok(Appended::Full);
        }
        let length = u32::try_from(sealed_bytes).map_err(|_| refused("counting a record"))?;
        self.scratch.clear();
        self.scratch.extend_from_slice(record);
        // Set before anything leaves: a number is never used for two records.
        let number = self.records;
        self.records += 1;
        self.is_over = true;
        self.sealed.seal(number, length, &mut self.scratch)?;
        let head: Vec<u8> = frame(number, length).collect();
        self.out.write_all(&head)?;
        self.out.write_all(&self.scratch)?;
        self.is_over = false;
        self.bytes = after;
        Ok(Appended::Written)
    }

    /// How many records were written.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Hands back what it was written to.
    ///
    /// # Errors
    ///
    /// What was held back cannot be written.
    pub fn end(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

impl<W> fmt::Debug for CaptureWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureWriter")
            .field("records", &self.records)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
