//! JSON, RFC 8259, read without recursion: duplicate names, a byte order mark, comments, trailing bytes and lone
//! surrogates are errors, because applications read those in different ways. Values are named by their path:
//! `json.orders.0.note`.

use std::collections::HashSet;

use super::{BodyLimits, Reading};

pub(super) fn read(body: &[u8], limits: &BodyLimits) -> Reading {
    let mut reader = Reader {
        text: body,
        at: 0,
        limits: *limits,
        path: b"json".to_vec(),
        frames: Vec::new(),
        reading: Reading::default(),
    };
    if let Err(error) = reader.run() {
        reader.reading.error = Some(error);
        // What stands behind the error is unknown to us but perhaps not to the application: judge it as text.
        let rest = reader.text.get(reader.at.min(reader.text.len())..).unwrap_or_default().to_vec();
        if !rest.is_empty() {
            reader.reading.arguments.push((b"json".to_vec(), rest));
        }
    }
    reader.reading
}

/// An object or array that is open.
struct Frame {
    /// The length of the path to it.
    path: usize,
    /// The next index of an array.
    index: usize,
    /// The names seen in an object; absent for an array.
    names: Option<Names>,
}

/// The names of an object so far: few are compared one by one, more are looked up.
enum Names {
    Few(Vec<Vec<u8>>),
    Many(HashSet<Vec<u8>>),
}

impl Names {
    /// 16: up to there comparing is cheaper than hashing.
    const FEW: usize = 16;

    /// Adds a name; false when it is there already.
    fn insert(&mut self, name: &[u8]) -> bool {
        match self {
            Self::Few(names) => {
                if names.iter().any(|known| known == name) {
                    return false;
                }
                names.push(name.to_vec());
                if names.len() > Self::FEW {
                    *self = Self::Many(names.drain(..).collect());
                }
                true
            }
            Self::Many(names) => names.insert(name.to_vec()),
        }
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    limits: BodyLimits,
    path: Vec<u8>,
    frames: Vec<Frame>,
    reading: Reading,
}

type Step = Result<(), &'static str>;

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn run(&mut self) -> Step {
        if std::str::from_utf8(self.text).is_err() {
            return Err("JSON that is not UTF-8");
        }
        self.space();
        self.value()?;
        while let Some(frame) = self.frames.last() {
            let is_object = frame.names.is_some();
            self.space();
            if self.take(if is_object { b'}' } else { b']' }) {
                self.close();
                continue;
            }
            if !self.first_member() && !self.take(b',') {
                return Err("JSON with a missing comma");
            }
            self.space();
            if is_object { self.member()? } else { self.element()? }
        }
        self.space();
        if self.at == self.text.len() { Ok(()) } else { Err("JSON with bytes behind its end") }
    }

    fn first_member(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.index == 0)
    }

    fn close(&mut self) {
        // Values are named by their place in an array, so the array's own name would be seen by no rule; nor would
        // that of an object without members.
        if let Some(frame) = self.frames.pop()
            && (frame.names.is_none() || frame.index == 0)
            && let Some(name) = self.path.get(..frame.path)
            && self.reading.names.len() < self.limits.values_max
        {
            self.reading.names.push(name.to_vec());
        }
        let length = self.frames.last().map_or(4, |frame| frame.path);
        self.path.truncate(length);
    }

    fn member(&mut self) -> Step {
        if self.peek() != Some(b'"') {
            return Err("JSON with a member without name");
        }
        let name = self.string()?;
        self.space();
        if !self.take(b':') {
            return Err("JSON with a missing colon");
        }
        self.space();
        let frame = self.frames.last_mut().ok_or("JSON with a member outside an object")?;
        frame.index += 1;
        let length = frame.path;
        if !frame.names.as_mut().is_some_and(|names| names.insert(&name)) {
            return Err("JSON with a duplicate name");
        }
        self.path.truncate(length);
        self.path.push(b'.');
        self.path.extend_from_slice(&name);
        self.value()
    }

    fn element(&mut self) -> Step {
        let frame = self.frames.last_mut().ok_or("JSON with an element outside an array")?;
        let (index, length) = (frame.index, frame.path);
        frame.index += 1;
        self.path.truncate(length);
        self.path.push(b'.');
        let tens = index / 10;
        if tens > 0 {
            self.path.extend_from_slice(tens.to_string().as_bytes());
        }
        self.path.push(b'0' + (index % 10) as u8);
        self.value()
    }

    fn value(&mut self) -> Step {
        match self.peek() {
            Some(open @ (b'{' | b'[')) => {
                if self.frames.len() >= self.limits.depth_max {
                    return Err("JSON nested deeper than the limit");
                }
                self.at += 1;
                let names = (open == b'{').then(|| Names::Few(Vec::new()));
                self.frames.push(Frame { path: self.path.len(), index: 0, names });
                Ok(())
            }
            Some(b'"') => {
                let text = self.string()?;
                self.keep(text)
            }
            Some(b'-' | b'0'..=b'9') => {
                let text = self.number()?;
                self.keep(text)
            }
            Some(b't') => self.word(b"true", b"true"),
            Some(b'f') => self.word(b"false", b"false"),
            Some(b'n') => self.word(b"null", b""),
            _ => Err("JSON with a missing value"),
        }
    }

    fn word(&mut self, word: &[u8], value: &[u8]) -> Step {
        if !self.text.get(self.at..).unwrap_or_default().starts_with(word) {
            return Err("JSON with an unknown word");
        }
        self.at += word.len();
        self.keep(value.to_vec())
    }

    fn keep(&mut self, value: Vec<u8>) -> Step {
        if self.reading.arguments.len() >= self.limits.values_max {
            return Err("more values than the limit");
        }
        self.reading.arguments.push((self.path.clone(), value));
        Ok(())
    }

    fn number(&mut self) -> Result<Vec<u8>, &'static str> {
        let start = self.at;
        self.take(b'-');
        match self.digits() {
            0 => return Err("JSON with a broken number"),
            length if length > 1 && self.text.get(self.at - length) == Some(&b'0') => {
                return Err("JSON with a number that starts with zero");
            }
            _ => {}
        }
        if self.take(b'.') && self.digits() == 0 {
            return Err("JSON with a broken number");
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            if self.digits() == 0 {
                return Err("JSON with a broken number");
            }
        }
        Ok(self.text.get(start..self.at).unwrap_or_default().to_vec())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn string(&mut self) -> Result<Vec<u8>, &'static str> {
        self.at += 1;
        // Most strings are as they are written.
        let rest = self.text.get(self.at..).unwrap_or_default();
        let plain = rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)).count();
        let mut out = rest.get(..plain).unwrap_or_default().to_vec();
        self.at += plain;
        loop {
            let byte = self.peek().ok_or("JSON with an open string")?;
            self.at += 1;
            match byte {
                b'"' => return Ok(out),
                b'\\' => self.escape(&mut out)?,
                0..=0x1f => return Err("JSON with a control character in a string"),
                _ => out.push(byte),
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Step {
        let byte = self.peek().ok_or("JSON with an open string")?;
        self.at += 1;
        out.push(match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut buffer = [0; 4];
                out.extend_from_slice(self.code_point()?.encode_utf8(&mut buffer).as_bytes());
                return Ok(());
            }
            _ => return Err("JSON with an unknown escape"),
        });
        Ok(())
    }

    fn code_point(&mut self) -> Result<char, &'static str> {
        const LONE: &str = "JSON with half a surrogate pair";
        let first = self.unit()?;
        let code = match first {
            0xd800..=0xdbff => {
                if !(self.take(b'\\') && self.take(b'u')) {
                    return Err(LONE);
                }
                match self.unit()? {
                    second @ 0xdc00..=0xdfff => 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                    _ => return Err(LONE),
                }
            }
            code => code,
        };
        char::from_u32(code).ok_or(LONE)
    }

    fn unit(&mut self) -> Result<u32, &'static str> {
        let digits =
            self.text.get(self.at..self.at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits =
            digits.and_then(|digits| std::str::from_utf8(digits).ok()).ok_or("JSON with a broken escape")?;
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| "JSON with a broken escape")
    }
}

#[cfg(test)]
mod tests {
    use super::{super::LIMITS_FOR_TEST, *};

    fn pairs(text: &str) -> (Vec<(String, String)>, Option<&'static str>) {
        let reading = read(text.as_bytes(), &LIMITS_FOR_TEST);
        let string = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        (reading.arguments.iter().map(|(name, value)| (string(name), string(value))).collect(), reading.error)
    }

    #[test]
    fn values_are_named_by_their_path() {
        let (found, error) = pairs(
            r#" {"a":{"b":[1,{"c":"x\u0041\ud83d\ude00"}],"d":-1.5e+3},"e":true,"f":null,"g":[],"":"h"} "#,
        );
        let found: Vec<(&str, &str)> =
            found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(error, None);
        assert_eq!(
            found,
            [
                ("json.a.b.0", "1"),
                ("json.a.b.1.c", "xA😀"),
                ("json.a.d", "-1.5e+3"),
                ("json.e", "true"),
                ("json.f", ""),
                ("json.", "h")
            ]
        );
        assert_eq!(pairs("\"x\"").0, [("json".to_owned(), "x".to_owned())]);
        assert_eq!(pairs("[[1],[2]]").0[1].0, "json.1.0");
    }

    #[test]
    fn the_names_of_arrays_and_of_empty_objects_are_seen() {
        let reading = read(br#"{"a":[1],"<b>":{},"c":{"d":[]}}"#, &LIMITS_FOR_TEST);
        assert_eq!(reading.names, [&b"json.a"[..], b"json.<b>", b"json.c.d"]);
    }

    #[test]
    fn what_parsers_read_in_different_ways_is_an_error() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\":1,\"a\":2}",
            "{\"a\":1,\"\\u0061\":2}",
            "[1]x",
            "NaN",
            "[01]",
            "[1.]",
            "[\"\\ud800\"]",
            "[\"\\x\"]",
            "\u{feff}[]",
            "[1 2]",
            "{a:1}",
            "{'a':1}",
            "// c\n[]",
            "[\"a\nb\"]",
            "[1}",
        ] {
            assert!(pairs(text).1.is_some(), "{text}");
        }
        assert!(read(b"[\"\xff\"]", &LIMITS_FOR_TEST).error.is_some());
        assert!(pairs(&"[".repeat(100_000)).1.is_some());
        assert!(pairs(&format!("[{}1]", "1,".repeat(200))).1.is_some());
    }

    #[test]
    fn what_stands_behind_an_error_is_still_seen() {
        let (found, error) = pairs("{\"a\":1}' or 1=1");
        assert!(error.is_some());
        assert_eq!(found[1].1, "' or 1=1");
    }
}
