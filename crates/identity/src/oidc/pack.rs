//! How what is sealed is written: numbers of fixed length, texts behind their length. Nothing is self-describing, so
//! nothing can be described wrongly; a version stands in front of every record.

/// Writes a record.
#[derive(Default)]
pub(super) struct Pack(Vec<u8>);

/// Reads a record.
pub(super) struct Unpack<'a>(&'a [u8]);

impl Pack {
    pub(super) fn of_version(version: u8) -> Self {
        Pack(vec![version])
    }

    pub(super) fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Of a length that whoever reads knows.
    pub(super) fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// At most 65,535 bytes; more cannot be read back, and callers bound what they hold long before.
    pub(super) fn text(mut self, text: &[u8]) -> Self {
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend(text.iter().take(usize::from(length)));
        self
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

impl<'a> Unpack<'a> {
    /// A record of this version; `None` for any other.
    pub(super) fn of_version(version: u8, bytes: &'a [u8]) -> Option<Self> {
        bytes.split_first().filter(|(first, _)| **first == version).map(|(_, rest)| Unpack(rest))
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        self.fixed().map(u64::from_be_bytes)
    }

    pub(super) fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = u16::from_be_bytes(self.fixed()?);
        let (text, rest) = self.0.split_at_checked(usize::from(length))?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    /// Whether everything was read.
    pub(super) fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}
