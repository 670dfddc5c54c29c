//! Reading a capture: record by record, in their order, with a torn end told.

use std::{
    fmt,
    io::{self, Read},
};

use super::{
    CaptureError, CaptureKey, HEADER_BYTES, MAGIC, RECORD_BYTES_MAX, SALT_BYTES, Sealed, TAG_BYTES, VERSION,
};

/// A capture that is being read. Holds one record.
pub struct CaptureReader<R> {
    source: R,
    sealed: Sealed,
    records: u64,
    is_torn: bool,
    is_over: bool,
    scratch: Vec<u8>,
}

impl<R: Read> CaptureReader<R> {
    /// Reads the header. Whether the key is the right one shows at the first record.
    ///
    /// # Errors
    ///
    /// It is no capture, or one of another version, or cannot be read.
    pub fn begin(mut source: R, key: &CaptureKey) -> Result<Self, CaptureError> {
        let mut header = [0; HEADER_BYTES];
        match read_full(&mut source, &mut header)? {
            HEADER_BYTES => {}
            _ => return Err(CaptureError::NotACapture),
        }
        let (magic, rest) = header.split_at(MAGIC.len());
        let [high, low, zero_one, zero_two, salt @ ..] = rest else { return Err(CaptureError::NotACapture) };
        if *magic != MAGIC {
            return Err(CaptureError::NotACapture);
        }
        let version = u16::from_be_bytes([*high, *low]);
        if version != VERSION || (*zero_one, *zero_two) != (0, 0) {
            return Err(CaptureError::Version(version));
        }
        let salt: [u8; SALT_BYTES] = salt.try_into().map_err(|_| CaptureError::NotACapture)?;
        let sealed = Sealed::of(salt, key)?;
        Ok(CaptureReader { source, sealed, records: 0, is_torn: false, is_over: false, scratch: Vec::new() })
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    ///
    /// A record is not what was written, or reading failed. Nothing more is read after that.
    pub fn next_record(&mut self) -> Result<Option<&[u8]>, CaptureError> {
        if self.is_over {
            return Ok(None);
        }
        self.is_over = true;
        let number = self.records;
        let inauthentic = CaptureError::Inauthentic { record: number };
        let mut length = [0; 4];
        let mut place = [0; 8];
        match read_full(&mut self.source, &mut length)? {
            0 => return Ok(None),
            4 => {}
            _ => return Ok(self.torn()),
        }
        if read_full(&mut self.source, &mut place)? != place.len() {
            return Ok(self.torn());
        }
        let length = u32::from_be_bytes(length);
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        // Also whoever cannot write a capture could otherwise make a reader take any amount of memory.
        if u64::from_be_bytes(place) != number || !(TAG_BYTES..=RECORD_BYTES_MAX + TAG_BYTES).contains(&bytes)
        {
            return Err(inauthentic);
        }
        self.scratch.clear();
        self.scratch.resize(bytes, 0);
        if read_full(&mut self.source, &mut self.scratch)? != bytes {
            return Ok(self.torn());
        }
        let Some(plain) = self.sealed.open(number, length, &mut self.scratch) else {
            return Err(inauthentic);
        };
        self.records += 1;
        self.is_over = false;
        Ok(Some(plain))
    }

    /// Whether the last record was torn, as by a crash; known after the end was reached. A file that was cut between two
    /// records looks whole.
    pub const fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// How many records were read.
    pub const fn records(&self) -> u64 {
        self.records
    }

    fn torn(&mut self) -> Option<&[u8]> {
        self.is_torn = true;
        None
    }
}

/// Reads as much as there is, up to all of it.
fn read_full(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl<R> fmt::Debug for CaptureReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureReader")
            .field("records", &self.records)
            .field("is_torn", &self.is_torn)
            .finish_non_exhaustive()
    }
}
