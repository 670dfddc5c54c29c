//! `multipart/form-data`, RFC 7578, as strictly as ModSecurity's strict flags and a little more: what two parsers
//! could read in two ways is flagged or an error, and every part is judged, never only the last of a name.

use super::{BodyLimits, FilePart, MultipartFlags, Reading};

/// 8 KiB of headers for one part.
const PART_HEADER_BYTES_MAX: usize = 8 << 10;

pub(super) fn read(content_type: &[u8], body: &[u8], limits: &BodyLimits) -> Reading {
    let mut reading = Reading::default();
    match boundary(content_type, &mut reading.multipart) {
        Some(boundary) => {
            let mut reader =
                Reader { reading: &mut reading, limits, delimiter: [b"--", boundary.as_slice()].concat() };
            reader.run(body);
        }
        None => {
            reading.error = Some("multipart without a usable boundary");
            reading.multipart.invalid_part = true;
        }
    }
    reading
}

/// The boundary parameter; exactly one, of the characters of RFC 2046 §5.1.1.
fn boundary(content_type: &[u8], flags: &mut MultipartFlags) -> Option<Vec<u8>> {
    let mut found: Option<Vec<u8>> = None;
    let mut rest = content_type.get(memchr::memchr(b';', content_type)?..)?;
    while let Some(behind) = rest.strip_prefix(b";") {
        let (name, value) = behind.split_at(memchr::memchr(b'=', behind)?);
        let value = value.get(1..)?;
        let spaced =
            name.trim_ascii_end().len() != name.len() || value.trim_ascii_start().len() != value.len();
        let is_boundary = name.trim_ascii().eq_ignore_ascii_case(b"boundary");
        flags.boundary_whitespace |= is_boundary && spaced;
        let value = value.trim_ascii_start();
        let (text, behind) = match value.strip_prefix(b"\"") {
            Some(quoted) => {
                flags.boundary_quoted |= is_boundary;
                let end = memchr::memchr(b'"', quoted)?;
                (quoted.get(..end)?, quoted.get(end + 1..)?.trim_ascii_start())
            }
            None => {
                let end = value.iter().position(|byte| matches!(byte, b';' | b',')).unwrap_or(value.len());
                (value.get(..end)?.trim_ascii_end(), value.get(end..)?)
            }
        };
        if is_boundary && found.replace(text.to_vec()).is_some() {
            return None;
        }
        rest = behind;
    }
    found.filter(|text| {
        (1..=70).contains(&text.len())
            && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte))
    })
}

struct Reader<'r> {
    reading: &'r mut Reading,
    limits: &'r BodyLimits,
    delimiter: Vec<u8>,
}

/// What a line is, seen from the boundary.
enum Line {
    Closing,
    Opening,
    Other,
}

#[derive(Default)]
struct Part {
    headers: Vec<Vec<u8>>,
    header_bytes: usize,
    in_body: bool,
    body: Vec<u8>,
    /// The end of the previous line, which belongs to the boundary if one follows.
    held: &'static [u8],
}

impl Reader<'_> {
    fn flags(&mut self) -> &mut MultipartFlags {
        &mut self.reading.multipart
    }

    fn run(&mut self, body: &[u8]) {
        let mut part: Option<Part> = None;
        let mut closed = false;
        let (mut crlf, mut lf) = (false, false);
        for line in body.split_inclusive(|byte| *byte == b'\n') {
            let (text, end): (&[u8], &'static [u8]) = if let Some(text) = line.strip_suffix(b"\r\n") {
                crlf = true;
                (text, b"\r\n")
            } else if let Some(text) = line.strip_suffix(b"\n") {
                lf = true;
                (text, b"\n")
            } else {
                (line, b"")
            };
            if closed {
                self.flags().data_after |= !text.is_empty();
                continue;
            }
            let kind = self.kind(text);
            let is_structure = match kind {
                Line::Opening | Line::Closing => true,
                Line::Other => part.as_ref().is_some_and(|part| !part.in_body),
            };
            if is_structure && end == b"\n" {
                self.fail("multipart with bare line feeds around its parts");
            }
            match kind {
                Line::Opening => {
                    self.finish(part.take());
                    part = Some(Part::default());
                }
                Line::Closing => {
                    self.finish(part.take());
                    closed = true;
                }
                Line::Other => match &mut part {
                    Some(part) => self.line(part, text, end),
                    None => self.flags().data_before |= !text.is_empty(),
                },
            }
        }
        self.flags().lf_line = lf;
        self.flags().crlf_lf_lines = lf && crlf;
        let flags = *self.flags();
        if flags.data_before || flags.data_after {
            self.fail("multipart with bytes outside of its parts");
        }
        if flags.header_folding || flags.invalid_header_folding {
            self.fail("multipart with a folded header");
        }
        if flags.boundary_whitespace || flags.missing_semicolon || flags.invalid_quoting || flags.invalid_part
        {
            self.fail("multipart with a part that two readers would divide differently");
        }
        if !closed {
            self.finish(part.take());
            self.fail("multipart without its final boundary");
        }
    }

    fn kind(&mut self, line: &[u8]) -> Line {
        let Some(rest) = line.strip_prefix(self.delimiter.as_slice()) else {
            // A line that could be taken for a boundary by a looser parser.
            if line.starts_with(b"--") {
                self.flags().unmatched_boundary = true;
            }
            return Line::Other;
        };
        match rest.trim_ascii_end() {
            b"" => Line::Opening,
            b"--" => Line::Closing,
            _ => {
                self.flags().unmatched_boundary = true;
                Line::Other
            }
        }
    }

    fn line(&mut self, part: &mut Part, text: &[u8], end: &'static [u8]) {
        if part.in_body {
            part.body.extend_from_slice(part.held);
            part.body.extend_from_slice(text);
            part.held = end;
        } else if text.is_empty() {
            part.in_body = true;
        } else if text.starts_with(b" ") || text.starts_with(b"\t") {
            self.flags().header_folding = true;
            match part.headers.last_mut() {
                Some(header) => header.extend_from_slice(text),
                None => self.flags().invalid_header_folding = true,
            }
        } else {
            part.headers.push(text.to_vec());
        }
        if !part.in_body {
            part.header_bytes += text.len();
            if part.header_bytes > PART_HEADER_BYTES_MAX {
                self.fail("multipart with a part header over its limit");
            }
        }
    }

    fn finish(&mut self, part: Option<Part>) {
        let Some(part) = part else { return };
        let found = self.reading.arguments.len() + self.reading.files.len();
        if found >= self.limits.values_max || self.reading.files.len() >= self.limits.files_max {
            self.flags().file_limit_exceeded = true;
            self.fail("multipart with more parts than the limit");
        }
        if !part.in_body {
            self.flags().invalid_part = true;
        }
        let mut disposition: Option<Disposition> = None;
        for header in &part.headers {
            let Some(colon) = memchr::memchr(b':', header) else {
                self.flags().invalid_part = true;
                continue;
            };
            let (name, value) = header.split_at(colon);
            let value = value.get(1..).unwrap_or_default();
            if name.eq_ignore_ascii_case(b"content-disposition") {
                let read = self.disposition(value);
                if disposition.replace(read).is_some() {
                    self.flags().invalid_part = true;
                    self.fail("multipart with two dispositions in a part");
                }
            } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
                let coding = value.trim_ascii().to_ascii_lowercase();
                if !matches!(coding.as_slice(), b"7bit" | b"8bit" | b"binary") {
                    self.fail("multipart with an encoded part");
                }
            }
        }
        let disposition = disposition.unwrap_or_else(|| {
            self.flags().invalid_part = true;
            Disposition::default()
        });
        for header in part.headers {
            self.reading.part_headers.push((disposition.name.clone(), header));
        }
        match disposition.file_name {
            Some(file_name) => {
                self.reading.files.push(FilePart {
                    field: disposition.name,
                    file_name,
                    size: part.body.len(),
                });
            }
            None => self.reading.arguments.push((disposition.name, part.body)),
        }
    }

    /// RFC 7578 §4.2: `form-data; name="…"; filename="…"`.
    fn disposition(&mut self, value: &[u8]) -> Disposition {
        let mut found = Disposition::default();
        let mut rest = value.trim_ascii();
        let end = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
        let (kind, behind) = rest.split_at(end);
        if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
            self.flags().invalid_part = true;
        }
        rest = behind;
        let mut named = false;
        while let Some(behind) = rest.strip_prefix(b";") {
            let Some((name, value, remaining)) = self.parameter(behind.trim_ascii_start()) else {
                self.flags().invalid_part = true;
                break;
            };
            rest = remaining.trim_ascii_start();
            if !rest.is_empty() && !rest.starts_with(b";") {
                self.flags().missing_semicolon = true;
                self.flags().invalid_quoting = true;
            }
            match name.as_slice() {
                b"name" if !named => {
                    named = true;
                    found.name = value;
                }
                b"filename" if found.file_name.is_none() => found.file_name = Some(value),
                // RFC 7578 §4.2 forbids `filename*`; where it differs from `filename`, parsers choose differently.
                b"filename*" => {
                    self.fail("multipart with an extended file name");
                    if found.file_name.is_none() {
                        found.file_name = Some(value);
                    }
                }
                _ => {
                    self.flags().invalid_part = true;
                    self.fail("multipart with a repeated or unknown parameter");
                }
            }
        }
        self.flags().invalid_part |= !named;
        found
    }

    fn parameter<'t>(&mut self, text: &'t [u8]) -> Option<(Vec<u8>, Vec<u8>, &'t [u8])> {
        let equals = memchr::memchr(b'=', text)?;
        let (name, value) = text.split_at(equals);
        let name = name.trim_ascii().to_ascii_lowercase();
        let value = value.get(1..)?.trim_ascii_start();
        let Some(quoted) = value.strip_prefix(b"\"") else {
            if value.starts_with(b"'") {
                self.flags().invalid_quoting = true;
            }
            let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
            let (token, rest) = value.split_at(end);
            return Some((name, token.trim_ascii_end().to_vec(), rest));
        };
        let mut out = Vec::new();
        let mut bytes = quoted.iter().copied().enumerate();
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => return Some((name, out, quoted.get(at + 1..)?)),
                b'\\' if matches!(quoted.get(at + 1), Some(b'"' | b'\\')) => {
                    out.extend(bytes.next().map(|(_, escaped)| escaped));
                }
                _ => out.push(byte),
            }
        }
        self.flags().invalid_quoting = true;
        Some((name, out, &[]))
    }

    fn fail(&mut self, error: &'static str) {
        self.reading.error.get_or_insert(error);
    }
}

#[derive(Default)]
struct Disposition {
    name: Vec<u8>,
    file_name: Option<Vec<u8>>,
}

#[cfg(test)]
mod tests {
    use super::{super::LIMITS_FOR_TEST, *};

    fn parse(body: &str) -> Reading {
        read(b"multipart/form-data; boundary=b", body.replace('\n', "\r\n").as_bytes(), &LIMITS_FOR_TEST)
    }

    const GOOD: &str = "--b\nContent-Disposition: form-data; name=\"a\"\n\none\ntwo\n--b\nContent-Disposition: \
                        form-data; name=\"f\"; filename=\"x\\\"y.txt\"\nContent-Type: text/plain\n\nhello\n--b--\n";

    #[test]
    fn text_parts_are_arguments_and_files_are_files() {
        let reading = parse(GOOD);
        assert_eq!(reading.error, None);
        assert!(!reading.multipart.strict_error());
        assert_eq!(reading.arguments, [(b"a".to_vec(), b"one\r\ntwo".to_vec())]);
        assert_eq!(
            reading.files,
            [FilePart { field: b"f".to_vec(), file_name: b"x\"y.txt".to_vec(), size: 5 }]
        );
        assert_eq!(reading.part_headers.len(), 3);
        assert_eq!(reading.part_headers[2], (b"f".to_vec(), b"Content-Type: text/plain".to_vec()));
    }

    #[test]
    fn what_parsers_read_in_different_ways_is_flagged_or_an_error() {
        let suspicious = |reading: &Reading| {
            reading.error.is_some()
                || reading.multipart.strict_error()
                || reading.multipart.unmatched_boundary
        };
        for body in [
            GOOD.replace("--b--\n", ""),
            GOOD.replace("--b--\n", "--b--x\n"),
            format!("junk\n{GOOD}"),
            format!("{GOOD}junk"),
            GOOD.replace("hello", "--c"),
            GOOD.replace("form-data; name=\"a\"", "form-data; name=\"a\"; name=\"c\""),
            GOOD.replace("filename=", "filename*="),
            GOOD.replace("name=\"a\"", "name='a'"),
            GOOD.replace("name=\"a\"", "name=\"a"),
            GOOD.replace("Content-Disposition: form-data; name=\"a\"", "X: y"),
            GOOD.replace("name=\"a\"", "name=\"a\"\n folded"),
            GOOD.replace("text/plain", "text/plain\nContent-Transfer-Encoding: base64"),
            GOOD.replace("; name=\"a\"", ""),
        ] {
            assert!(suspicious(&parse(&body)), "{body}");
        }
        for body in [
            format!("junk\n{GOOD}"),
            format!("{GOOD}junk"),
            GOOD.replace("name=\"a\"", "name='a'"),
            GOOD.replace("name=\"a\"", "name=\"a\"\n folded"),
            GOOD.replace("; name=\"a\"", ""),
        ] {
            assert!(parse(&body).error.is_some(), "{body}");
        }
        let bare = read(b"multipart/form-data; boundary=b", GOOD.as_bytes(), &LIMITS_FOR_TEST);
        assert_eq!(bare.error, Some("multipart with bare line feeds around its parts"));
        let inside = read(
            b"multipart/form-data; boundary=b",
            GOOD.replace('\n', "\r\n").replace("one\r\ntwo", "one\ntwo").as_bytes(),
            &LIMITS_FOR_TEST,
        );
        assert_eq!(inside.error, None, "what a field holds is its own");
        for kind in [
            "multipart/form-data",
            "multipart/form-data; boundary=b; boundary=c",
            "multipart/form-data; boundary=[]",
        ] {
            assert!(read(kind.as_bytes(), b"", &LIMITS_FOR_TEST).error.is_some(), "{kind}");
        }
    }
}
