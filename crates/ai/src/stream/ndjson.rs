//! Lines of JSON, as Ollama streams them.
//!
//! A line ends with LF; a CR before it belongs to the line end. Empty lines are skipped.

use memchr::memchr;

use super::{Frame, TooLarge};

/// Cuts bytes into lines.
#[derive(Debug)]
pub struct Lines {
    line: Vec<u8>,
    max: usize,
}

impl Lines {
    /// A parser with a cap on one line.
    pub fn new(max: usize) -> Lines {
        Lines { line: Vec::new(), max }
    }

    /// Takes bytes and appends the lines that they complete.
    pub fn push(&mut self, mut bytes: &[u8], frames: &mut Vec<Frame>) -> Result<(), TooLarge> {
        while let Some(at) = memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(at);
            self.take(line)?;
            frames.extend(self.finish());
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.take(bytes)
    }

    /// The line that lacks only its end.
    pub fn finish(&mut self) -> Option<Frame> {
        let mut data = std::mem::take(&mut self.line);
        if data.last() == Some(&b'\r') {
            data.pop();
        }
        (!data.is_empty()).then_some(Frame { event: String::new(), data })
    }

    fn take(&mut self, part: &[u8]) -> Result<(), TooLarge> {
        if self.line.len().saturating_add(part.len()) > self.max {
            return Err(TooLarge);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_wherever_the_bytes_are_cut() {
        let text = b"{\"a\":1}\r\n\n{\"b\":2}\n{\"c\":3}";
        for cut in 0..text.len() {
            let (left, right) = text.split_at(cut);
            let mut lines = Lines::new(100);
            let mut frames = Vec::new();
            lines.push(left, &mut frames).unwrap();
            lines.push(right, &mut frames).unwrap();
            frames.extend(lines.finish());
            let data: Vec<_> = frames.iter().map(|frame| frame.data.as_slice()).collect();
            assert_eq!(data, [&b"{\"a\":1}"[..], b"{\"b\":2}", b"{\"c\":3}"], "cut at {cut}");
        }
    }

    #[test]
    fn a_line_beyond_the_cap_is_refused_before_it_is_whole() {
        let mut lines = Lines::new(4);
        assert_eq!(lines.push(b"1234\n123", &mut Vec::new()), Ok(()));
        assert_eq!(lines.push(b"45", &mut Vec::new()), Err(TooLarge));
    }
}
