//! A request from a file, as people write and record it: lines may end with or without a carriage return.

/// A request taken apart. Nothing about it is repaired: what is odd is for rules to see.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) method: Vec<u8>,
    pub(super) target: Vec<u8>,
    pub(super) protocol: Vec<u8>,
    pub(super) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// Takes a request apart; says what is missing.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = bytes;
        let line = next_line(&mut rest);
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err("the request has no request line such as `GET /path?query HTTP/1.1`".to_owned());
        };
        let mut message = Message {
            method: method.to_vec(),
            target: target.to_vec(),
            protocol: words.next().unwrap_or(b"HTTP/1.1").to_vec(),
            ..Message::default()
        };
        while !rest.is_empty() {
            let line = next_line(&mut rest);
            if line.is_empty() {
                break;
            }
            let Some(at) = line.iter().position(|byte| *byte == b':') else {
                let line = String::from_utf8_lossy(line.get(..40).unwrap_or(line)).into_owned();
                return Err(format!("`{}` is no header: it has no colon", super::print::clean(&line)));
            };
            let (name, value) = line.split_at(at);
            message.headers.push((name.to_vec(), value.get(1..).unwrap_or_default().trim_ascii().to_vec()));
        }
        // Editors end a file with a line end that is no part of the body.
        let announced = message.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"content-length"));
        let announced =
            announced.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse::<usize>().ok());
        let length = announced.unwrap_or(rest.len()).min(rest.len());
        message.body = rest.get(..length).unwrap_or(rest).to_vec();
        if message.body.is_empty() {
            return Ok(message);
        }
        let says_length = |(name, _): &(Vec<u8>, Vec<u8>)| {
            name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding")
        };
        if !message.headers.iter().any(says_length) {
            message.headers.push((b"Content-Length".to_vec(), length.to_string().into_bytes()));
        }
        Ok(message)
    }
}

fn next_line<'b>(rest: &mut &'b [u8]) -> &'b [u8] {
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (line, behind) = rest.split_at(end);
    *rest = behind.get(1..).unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_apart_however_its_lines_end() {
        for end in ["\n", "\r\n"] {
            let text = ["POST /a?b=c HTTP/1.1", "Host: x", "Content-Length: 3", "", "a=b"].join(end) + "\n";
            let message = Message::parse(text.as_bytes()).unwrap();
            assert_eq!((&message.method[..], &message.target[..]), (&b"POST"[..], &b"/a?b=c"[..]));
            assert_eq!(message.headers[0], (b"Host".to_vec(), b"x".to_vec()));
            assert_eq!(message.body, b"a=b");
        }
        let bare = Message::parse(b"GET /").unwrap();
        assert_eq!((&bare.protocol[..], bare.headers.len(), bare.body.len()), (&b"HTTP/1.1"[..], 0, 0));
    }

    #[test]
    fn what_is_no_request_is_said() {
        assert!(Message::parse(b"").is_err());
        assert!(Message::parse(b"GET\n").is_err());
        assert!(Message::parse(b"GET / HTTP/1.1\nno header\n\n").is_err());
    }
}
