//! PCRE notation into the notation of `regex-syntax`. The few places where both read the same text differently are
//! rewritten; what a linear-time engine cannot do is refused by name.

/// Rewrites a pattern.
///
/// # Errors
/// Names the construct that has no linear-time meaning.
pub(super) fn translate(pattern: &str) -> Result<String, String> {
    let mut translator =
        Translator { bytes: pattern.as_bytes(), at: 0, out: String::with_capacity(pattern.len() + 16) };
    translator.outside()?;
    Ok(translator.out)
}

struct Translator<'a> {
    bytes: &'a [u8],
    at: usize,
    out: String,
}

impl Translator<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn outside(&mut self) -> Result<(), String> {
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' => self.escape(false)?,
                b'[' => self.class()?,
                b'(' => self.group()?,
                b'{' if self.counts().is_none() => self.literal(),
                b'{' => {
                    let length = self.counts().unwrap_or(1);
                    self.copy(length);
                    self.suffix();
                }
                b'}' => self.literal(),
                b'*' | b'+' | b'?' => {
                    self.copy(1);
                    self.suffix();
                }
                b']' => self.literal(),
                0x80.. => self.byte(byte),
                _ => self.copy(1),
            }
        }
        Ok(())
    }

    /// After a quantifier, `+` makes it possessive and `?` lazy. Possessive is read as greedy: that matches what the
    /// possessive form does and a little more, and costs nothing here, where nothing is tried again.
    fn suffix(&mut self) {
        match self.peek(0) {
            Some(b'+') => self.at += 1,
            Some(b'?') => self.copy(1),
            _ => {}
        }
    }

    fn group(&mut self) -> Result<(), String> {
        const REFUSED: [(&[u8], &str); 8] = [
            (b"(?=", "lookahead"),
            (b"(?!", "lookahead"),
            (b"(?<=", "lookbehind"),
            (b"(?<!", "lookbehind"),
            (b"(?>", "atomic groups"),
            (b"(?(", "conditionals"),
            (b"(?R", "recursion"),
            (b"(*", "verbs"),
        ];
        for (start, name) in REFUSED {
            if self.rest().starts_with(start) {
                return Err(format!("{name} is not supported by a linear-time engine"));
            }
        }
        if self.rest().starts_with(b"(?#") {
            let length =
                self.rest().iter().position(|byte| *byte == b')').map_or(self.rest().len(), |at| at + 1);
            self.at += length;
            return Ok(());
        }
        if self.rest().starts_with(b"(?'") {
            return Err("groups named with quotes are not supported".to_owned());
        }
        self.copy(1);
        if self.peek(0) == Some(b'?') {
            self.copy(1);
        }
        Ok(())
    }

    /// The length of `{n}`, `{n,}` or `{n,m}` here, if it is one. `{,m}` is literal text in PCRE.
    fn counts(&self) -> Option<usize> {
        let end = self.rest().iter().position(|byte| *byte == b'}')?;
        let inner = self.rest().get(1..end)?;
        let mut numbers = inner.split(|byte| *byte == b',');
        let first = numbers.next()?;
        let second = numbers.next();
        let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
        let is_count =
            !first.is_empty() && digits(first) && second.is_none_or(digits) && numbers.next().is_none();
        is_count.then_some(end + 1)
    }

    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let Some(next) = self.peek(1) else { return Err("the pattern ends with a backslash".to_owned()) };
        match next {
            b'x' => self.hexadecimal(),
            b'0' => self.octal(1),
            b'1'..=b'9' if !in_class => {
                return Err("backreferences are not supported by a linear-time engine".to_owned());
            }
            b'1'..=b'7' => self.octal(1),
            b'a' => self.replace(2, r"\x07"),
            b'e' => self.replace(2, r"\x1b"),
            b'f' => self.replace(2, r"\x0c"),
            b'b' if in_class => self.replace(2, r"\x08"),
            // Since PCRE 8.34 the vertical tab is white space; `regex-syntax` has it in `\s` too.
            b'h' => self.replace(2, if in_class { r"\t " } else { r"[\t ]" }),
            b'H' if !in_class => self.replace(2, r"[^\t ]"),
            b'v' => self.replace(2, if in_class { r"\n\x0b\x0c\r\x85" } else { r"[\n\x0b\x0c\r\x85]" }),
            b'R' if !in_class => self.replace(2, r"(?:\r\n|[\n\x0b\x0c\r\x85])"),
            b'Z' if !in_class => self.replace(2, r"(?:\n?\z)"),
            b'A' | b'z' | b'b' | b'B' | b'd' | b'D' | b's' | b'S' | b'w' | b'W' | b'n' | b'r' | b't' => {
                self.copy(2)
            }
            b'Q' => self.quoted(in_class),
            b'E' => self.at += 2,
            b'N' if !in_class => self.replace(2, r"[^\n]"),
            byte if byte.is_ascii_alphabetic() => {
                return Err(format!("the escape \\{} is not supported", char::from(byte)));
            }
            0x80.. => {
                self.at += 1;
                self.byte(next);
            }
            // `\<` is a plain sign in PCRE and a word boundary in `regex-syntax`; hexadecimal is never ambiguous.
            byte => {
                self.at += 2;
                self.push_byte(byte);
            }
        }
        Ok(())
    }

    fn quoted(&mut self, _in_class: bool) {
        self.at += 2;
        while let Some(byte) = self.peek(0) {
            if self.rest().starts_with(b"\\E") {
                self.at += 2;
                return;
            }
            self.at += 1;
            self.push_byte(byte);
        }
    }

    /// `\xhh`, `\xh`, `\x{hh}`: a byte. A code point above 0xff becomes its UTF-8 bytes.
    fn hexadecimal(&mut self) {
        let digits = self.bytes.get(self.at + 2..).unwrap_or_default();
        if digits.first() == Some(&b'{')
            && let Some(end) = digits.iter().position(|byte| *byte == b'}')
            && let Some(code) = digits.get(1..end).and_then(|text| std::str::from_utf8(text).ok())
            && let Ok(code) = u32::from_str_radix(code, 16)
        {
            self.at += 2 + end + 1;
            match u8::try_from(code) {
                Ok(byte) => self.push_byte(byte),
                Err(_) => self.push_character(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)),
            }
            return;
        }
        let length = digits.iter().take(2).take_while(|byte| byte.is_ascii_hexdigit()).count();
        let value = digits
            .iter()
            .take(length)
            .fold(0_u8, |value, byte| (value << 4) | char::from(*byte).to_digit(16).unwrap_or(0) as u8);
        self.at += 2 + length;
        self.push_byte(value);
    }

    fn octal(&mut self, start: usize) {
        let digits = self.bytes.get(self.at + start..).unwrap_or_default();
        let length = digits.iter().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
        let value = digits.iter().take(length).fold(0_u32, |value, byte| value * 8 + u32::from(byte - b'0'));
        self.at += start + length;
        self.push_byte((value & 0xff) as u8);
    }

    fn class(&mut self) -> Result<(), String> {
        self.copy(1);
        if self.peek(0) == Some(b'^') {
            self.copy(1);
        }
        // A closing bracket in first place is a member.
        if self.peek(0) == Some(b']') {
            self.literal();
        }
        while let Some(byte) = self.peek(0) {
            match byte {
                b']' => {
                    self.copy(1);
                    return Ok(());
                }
                b'[' if self.peek(1) == Some(b':') && self.named_class_length().is_some() => {
                    let length = self.named_class_length().unwrap_or(1);
                    self.copy(length);
                }
                b'\\' => {
                    let start = self.out.len();
                    self.escape(true)?;
                    self.hyphen_after_set(start);
                }
                // `[[`, `&&`, `--`, `~~` mean set operations in `regex-syntax` only.
                b'[' | b'&' | b'~' | b'{' | b'}' | b'|' | b'^' => self.literal(),
                b'-' if !self.is_range() => self.literal(),
                0x80.. => self.byte(byte),
                _ => self.copy(1),
            }
        }
        Err("a class is not closed".to_owned())
    }

    /// After `\w` and the like a hyphen is a member, not a range.
    fn hyphen_after_set(&mut self, start: usize) {
        let is_set = self.out.get(start..).is_some_and(|text| {
            matches!(text, r"\d" | r"\D" | r"\w" | r"\W" | r"\s" | r"\S") || text.len() > 4
        });
        if is_set && self.peek(0) == Some(b'-') {
            self.literal();
        }
    }

    /// Whether the hyphen here stands between two members: not first, not last.
    fn is_range(&self) -> bool {
        let before = self.out.as_bytes().last().copied();
        let opens = before == Some(b'[') || self.out.ends_with("[^");
        let ends_class_name = self.out.ends_with(":]");
        let next_is_set = self.peek(1) == Some(b'\\')
            && matches!(self.peek(2), Some(b'd' | b'D' | b'w' | b'W' | b's' | b'S'));
        !opens && !ends_class_name && !next_is_set && self.peek(1) != Some(b']')
    }

    fn named_class_length(&self) -> Option<usize> {
        let inner = self.rest().get(2..)?;
        let end = inner.windows(2).position(|pair| pair == b":]")?;
        inner.get(..end)?.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'^').then_some(end + 4)
    }

    fn copy(&mut self, length: usize) {
        let text = self.bytes.get(self.at..self.at + length).unwrap_or_default();
        self.out.push_str(&String::from_utf8_lossy(text));
        self.at += length;
    }

    fn replace(&mut self, length: usize, text: &str) {
        self.out.push_str(text);
        self.at += length;
    }

    fn literal(&mut self) {
        if let Some(byte) = self.peek(0) {
            self.at += 1;
            self.push_byte(byte);
        }
    }

    fn byte(&mut self, byte: u8) {
        self.at += 1;
        self.push_byte(byte);
    }

    fn push_byte(&mut self, byte: u8) {
        if byte.is_ascii_alphanumeric() {
            self.out.push(char::from(byte));
        } else {
            self.out.push_str(&format!("\\x{byte:02x}"));
        }
    }

    fn push_character(&mut self, character: char) {
        let mut buffer = [0; 4];
        for byte in character.encode_utf8(&mut buffer).bytes() {
            self.push_byte(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_notations_read_alike_is_left_alone() {
        for pattern in [r"^(?:a|b)+?[^c-e]\d{1,3}$", r"(?i)x[[:alnum:]]*", r"(?P<n>a)"] {
            assert_eq!(translate(pattern).unwrap(), pattern);
        }
    }

    #[test]
    fn what_they_read_differently_is_rewritten() {
        for (pattern, expected) in [
            (r"\<a\>", r"\x3ca\x3e"),
            (r"a{b}", r"a\x7bb\x7d"),
            (r"a{,3}", r"a\x7b,3\x7d"),
            (r"[a[b&&c~~d]", r"[a\x5bb\x26\x26c\x7e\x7ed]"),
            (r"[]a]", r"[\x5da]"),
            (r"\x{bc}\xbc", r"\xbc\xbc"),
            ("[é]", r"[\xc3\xa9]"),
            (r"[\w-.]", r"[\w\x2d.]"),
            (r"[-a]", r"[\x2da]"),
            (r"\x5c\/", r"\x5c\x2f"),
            (r"a++b*+c?+", "a+b*c?"),
        ] {
            assert_eq!(translate(pattern).unwrap(), expected, "{pattern}");
        }
    }

    #[test]
    fn what_needs_backtracking_is_refused_by_name() {
        for pattern in ["a(?=b)", "(?<!a)b", r"(a)\1", "(?>a)", "(*SKIP)"] {
            assert!(translate(pattern).is_err(), "{pattern}");
        }
    }
}
