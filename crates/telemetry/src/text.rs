//! The texts of one record, in one buffer.
//!
//! A record has up to seven texts and some header values. One buffer with spans costs one allocation instead of
//! eight, and copying (rather than keeping `HeaderValue`s alive) lets the connection reuse its read buffer. Each
//! text is cut at its limit when it is put in, so a hostile request cannot make a record large.

/// Which text of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The request id.
    Id,
    /// The host the client asked for.
    Host,
    /// The `User-Agent` header.
    UserAgent,
    /// The canonical path.
    Path,
    /// The query as received, without `?`.
    Query,
    /// The id (never the value) of the credential.
    Credential,
    /// The subject that a token names.
    Subject,
}

impl Slot {
    const COUNT: usize = 7;

    /// Most bytes kept. A record must stay small whatever a client sends (security.md case 37).
    pub const fn bytes_max(self) -> usize {
        match self {
            Slot::Id | Slot::Credential => 128,
            Slot::Host | Slot::UserAgent | Slot::Subject => 256,
            Slot::Path | Slot::Query => 2048,
        }
    }
}

/// Most bytes kept of one header value.
pub const HEADER_BYTES_MAX: usize = 256;

/// Most header values kept in one record.
pub const HEADERS_MAX: usize = 16;

/// Most bytes all texts of a record take, counting those that were put in twice.
const BYTES_MAX: usize = 16 * 1024;

/// What ends a text that was cut.
const CUT: &str = "…";

/// Where a text lies in the buffer.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    length: u32,
}

/// The texts of one record.
#[derive(Clone, Default)]
pub struct Texts {
    bytes: Vec<u8>,
    slots: [Option<Span>; Slot::COUNT],
    headers: Vec<(u16, Span)>,
}

impl Texts {
    /// Puts a text in, cut at the slot's limit. A later value replaces an earlier one.
    pub fn put(&mut self, slot: Slot, value: &[u8]) {
        let span = self.append(value, slot.bytes_max());
        if let (Some(place), Some(span)) = (self.slots.get_mut(slot as usize), span) {
            *place = Some(span);
        }
    }

    /// Puts in the value of the plan's header number `index`.
    pub fn put_header(&mut self, index: u16, value: &[u8]) {
        if self.headers.len() < HEADERS_MAX
            && let Some(span) = self.append(value, HEADER_BYTES_MAX)
        {
            self.headers.push((index, span));
        }
    }

    /// The text in `slot`.
    pub fn get(&self, slot: Slot) -> Option<&[u8]> {
        self.slots.get(slot as usize).copied().flatten().and_then(|span| self.slice(span))
    }

    /// The header values, each with its number in the plan.
    pub fn headers(&self) -> impl Iterator<Item = (u16, &[u8])> {
        self.headers.iter().filter_map(|(index, span)| self.slice(*span).map(|value| (*index, value)))
    }

    /// Forgets all texts and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.slots = [None; Slot::COUNT];
        self.headers.clear();
    }

    fn append(&mut self, value: &[u8], limit: usize) -> Option<Span> {
        let kept = cut(value, limit);
        if self.bytes.len() + kept.len() + CUT.len() > BYTES_MAX {
            return None;
        }
        if self.bytes.capacity() == 0 {
            // Enough for an ordinary request, so that the buffer grows once.
            self.bytes.reserve(384);
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(kept);
        if kept.len() < value.len() {
            self.bytes.extend_from_slice(CUT.as_bytes());
        }
        let length = self.bytes.len() - start;
        Some(Span { start: u32::try_from(start).ok()?, length: u32::try_from(length).ok()? })
    }

    fn slice(&self, span: Span) -> Option<&[u8]> {
        let start = span.start as usize;
        self.bytes.get(start..start + span.length as usize)
    }
}

/// The longest beginning of `value` of at most `limit` bytes that does not end within a UTF-8 character.
pub fn cut(value: &[u8], limit: usize) -> &[u8] {
    let Some(head) = value.get(..limit).filter(|_| value.len() > limit) else {
        return value;
    };
    // A character has at most three continuation bytes; step back over them to its first byte.
    let mut end = limit;
    for _ in 0..3 {
        match value.get(end) {
            Some(byte) if byte & 0xC0 == 0x80 && end > 0 => end -= 1,
            _ => break,
        }
    }
    // Three steps back and still inside: this is not UTF-8, so any place is as good.
    match value.get(end) {
        Some(byte) if byte & 0xC0 == 0x80 => head,
        _ => value.get(..end).unwrap_or(head),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_within_its_limit_is_kept_whole() {
        let mut texts = Texts::default();
        texts.put(Slot::UserAgent, &[b'a'; 256]);
        assert_eq!(texts.get(Slot::UserAgent), Some(&[b'a'; 256][..]));
        assert_eq!(texts.get(Slot::Host), None);
    }

    #[test]
    fn a_text_over_its_limit_is_cut_and_marked() {
        let mut texts = Texts::default();
        texts.put(Slot::UserAgent, &[b'a'; 257]);
        let kept = texts.get(Slot::UserAgent).unwrap();
        assert_eq!(kept.len(), 256 + CUT.len());
        assert!(kept.ends_with(CUT.as_bytes()));
    }

    #[test]
    fn a_cut_does_not_split_a_character() {
        for (value, limit, kept) in [
            ("aé", 2, "a"),
            ("aé", 3, "aé"),
            ("a€", 3, "a"),
            ("a😀b", 4, "a"),
            ("a😀b", 5, "a😀"),
            ("abc", 0, ""),
        ] {
            assert_eq!(cut(value.as_bytes(), limit), kept.as_bytes(), "{value} at {limit}");
        }
        assert_eq!(cut(&[0x80; 10], 5), &[0x80; 5], "bytes that are no UTF-8 are cut anywhere");
    }

    #[test]
    fn a_later_value_replaces_an_earlier_one_and_the_buffer_stays_bounded() {
        let mut texts = Texts::default();
        for n in 0..10_000 {
            texts.put(Slot::Path, format!("/{n}").as_bytes());
            texts.put(Slot::Query, &[b'q'; 4096]);
        }
        assert!(texts.bytes.len() <= BYTES_MAX);
        assert!(texts.get(Slot::Path).unwrap().starts_with(b"/"));
    }

    #[test]
    fn headers_are_bounded_in_number_and_size() {
        let mut texts = Texts::default();
        for n in 0..100 {
            texts.put_header(n, &[b'v'; 8192]);
        }
        assert_eq!(texts.headers().count(), HEADERS_MAX);
        assert!(texts.headers().all(|(_, value)| value.len() <= HEADER_BYTES_MAX + CUT.len()));
    }

    #[test]
    fn an_empty_text_is_not_an_absent_one() {
        let mut texts = Texts::default();
        texts.put(Slot::Query, b"");
        assert_eq!(texts.get(Slot::Query), Some(&b""[..]));
        texts.clear();
        assert_eq!(texts.get(Slot::Query), None);
    }
}
