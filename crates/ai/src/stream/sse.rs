//! Server-sent events by the rules of the WHATWG HTML standard, section 9.2.
//!
//! Lines end with LF, CR or CRLF, also when the two are cut apart. Comments, `id` and `retry` are skipped. One thing
//! differs from a browser: an event whose empty line is missing at the end of the stream is given out by
//! [`Events::finish`], because providers end streams so; a reader of JSON notices a half one by itself.

use memchr::memchr2;

use super::{Frame, TooLarge};

/// Cuts bytes into events.
#[derive(Debug)]
pub struct Events {
    line: Vec<u8>,
    event: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    after_cr: bool,
    begun: bool,
    max: usize,
}

impl Events {
    /// A parser with a cap on one event.
    pub fn new(max: usize) -> Events {
        Events {
            line: Vec::new(),
            event: Vec::new(),
            data: Vec::new(),
            has_data: false,
            after_cr: false,
            begun: false,
            max,
        }
    }

    /// Takes bytes and appends the events that they complete.
    pub fn push(&mut self, mut bytes: &[u8], frames: &mut Vec<Frame>) -> Result<(), TooLarge> {
        loop {
            if self.after_cr
                && let Some((first, rest)) = bytes.split_first()
            {
                self.after_cr = false;
                if *first == b'\n' {
                    bytes = rest;
                }
            }
            let Some(at) = memchr2(b'\n', b'\r', bytes) else { return self.take(bytes) };
            let (line, rest) = bytes.split_at(at);
            self.take(line)?;
            self.after_cr = rest.first() == Some(&b'\r');
            bytes = rest.get(1..).unwrap_or_default();
            self.end_line(frames)?;
        }
    }

    /// The event that lacks only its empty line.
    pub fn finish(&mut self) -> Option<Frame> {
        let mut frames = Vec::new();
        if !self.line.is_empty() {
            self.end_line(&mut frames).ok()?;
        }
        self.dispatch(&mut frames);
        frames.pop()
    }

    fn take(&mut self, part: &[u8]) -> Result<(), TooLarge> {
        if self.line.len().saturating_add(self.data.len()).saturating_add(part.len()) > self.max {
            return Err(TooLarge);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn end_line(&mut self, frames: &mut Vec<Frame>) -> Result<(), TooLarge> {
        let mut line = std::mem::take(&mut self.line);
        if !self.begun {
            self.begun = true;
            // One byte order mark at the very beginning is not part of the first line.
            if line.starts_with(b"\xEF\xBB\xBF") {
                line.drain(..3);
            }
        }
        if line.is_empty() {
            self.dispatch(frames);
            return Ok(());
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = match colon {
            Some(at) => (line.get(..at).unwrap_or_default(), line.get(at + 1..).unwrap_or_default()),
            None => (line.as_slice(), &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            b"event" => self.event = value.to_vec(),
            // Comments have an empty name; `id` and `retry` matter to clients that reconnect, which we never do.
            _ => {}
        }
        // The buffer goes on being used, so a stream of equal lines allocates once.
        line.clear();
        self.line = line;
        Ok(())
    }

    fn dispatch(&mut self, frames: &mut Vec<Frame>) {
        let event = std::mem::take(&mut self.event);
        let data = std::mem::take(&mut self.data);
        if std::mem::take(&mut self.has_data) {
            frames.push(Frame { event: String::from_utf8_lossy(&event).into_owned(), data });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(parts: &[&[u8]]) -> Vec<(String, String)> {
        let mut events = Events::new(1 << 20);
        let mut frames = Vec::new();
        for part in parts {
            events.push(part, &mut frames).unwrap();
        }
        frames.extend(events.finish());
        frames.into_iter().map(|f| (f.event, String::from_utf8(f.data).unwrap())).collect()
    }

    #[test]
    fn the_examples_of_the_standard_are_read_as_it_says() {
        let table: [(&str, &[(&str, &str)]); 9] = [
            ("data: YHOO\ndata: +2\ndata: 10\n\n", &[("", "YHOO\n+2\n10")]),
            (
                ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
                &[("", "first event"), ("", "second event"), ("", " third event")],
            ),
            ("data\n\ndata\ndata\n\n", &[("", ""), ("", "\n")]),
            ("data:test\n\ndata: test\n\n", &[("", "test"), ("", "test")]),
            ("event: add\ndata: 1\n\ndata: 2\n\n", &[("add", "1"), ("", "2")]),
            ("event: nothing\n\ndata: 2\n\n", &[("", "2")]),
            ("\u{feff}data: 1\n\n", &[("", "1")]),
            ("retry: 10\nunknown: x\nDATA: y\n\n", &[]),
            ("data: last", &[("", "last")]),
        ];
        for (text, want) in table {
            for ends in ["\n", "\r", "\r\n"] {
                let text = text.replace('\n', ends);
                let want: Vec<_> = want.iter().map(|(e, d)| ((*e).to_owned(), (*d).to_owned())).collect();
                for cut in 0..=text.len() {
                    let (left, right) = text.as_bytes().split_at(cut);
                    assert_eq!(parse(&[left, right]), want, "{text:?} cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn an_event_beyond_the_cap_is_refused_even_if_no_line_is() {
        let mut events = Events::new(15);
        assert_eq!(events.push(b"data: 12345\n", &mut Vec::new()), Ok(()));
        assert_eq!(events.push(b"data: 12345\n", &mut Vec::new()), Err(TooLarge));
        let mut events = Events::new(16);
        assert_eq!(events.push(b"data: 1\n\ndata: 2\n\ndata: 3\n\n", &mut Vec::new()), Ok(()));
    }

    proptest! {
        #[test]
        fn any_bytes_cut_anywhere_give_the_same_events(bytes in "(data:|event:|[a-z ]|\r|\n|:|é){0,60}",
                                                       cuts in prop::collection::vec(0usize..200, 0..6)) {
            let bytes = bytes.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % (bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let mut events = Events::new(1 << 20);
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([bytes.len()]) {
                events.push(&bytes[from..cut], &mut pieces).unwrap();
                from = cut;
            }
            pieces.extend(events.finish());
            let mut whole = Vec::new();
            let mut events = Events::new(1 << 20);
            events.push(bytes, &mut whole).unwrap();
            whole.extend(events.finish());
            prop_assert_eq!(pieces, whole);
        }
    }
}
