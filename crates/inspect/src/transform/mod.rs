//! Transformations: how a value is read before a test looks at it. Each is a function of bytes to bytes; it says
//! when it changed nothing, so that the value is shared instead of copied.

mod command;
mod comment;
mod digest;
mod encode;
mod html;
mod path;
mod script;
mod space;
mod unicode;
mod unwrap;
mod url;

pub(crate) use url::has_broken_escape;

use crate::pattern::ByteSet;

/// Writes the changed text and returns true, or returns false when the text stays as it is (whatever was written is
/// then ignored).
type Step = fn(&[u8], &mut Vec<u8>) -> bool;

macro_rules! transforms {
    ($($name:literal $variant:ident $step:path,)*) => {
        /// A transformation of the rule language.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Transform {
            $(#[doc = concat!("`t:", $name, "`")] $variant,)*
        }

        impl Transform {
            /// Every transformation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word of the rule language.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            fn step(self) -> Step {
                match self { $(Self::$variant => $step,)* }
            }
        }
    };
}

transforms! {
    "base64Decode" Base64Decode encode::base64_decode,
    "base64DecodeExt" Base64DecodeExt encode::base64_decode_lenient,
    "base64Encode" Base64Encode encode::base64_encode,
    "cmdLine" CmdLine command::command_line,
    "compressWhitespace" CompressWhitespace space::compress,
    "cssDecode" CssDecode script::css,
    "escapeSeqDecode" EscapeSeqDecode script::c_escapes,
    "hexDecode" HexDecode encode::hex_decode,
    "hexEncode" HexEncode encode::hex_encode,
    "htmlEntityDecode" HtmlEntityDecode html::entities,
    "jsDecode" JsDecode script::javascript,
    "length" Length encode::length,
    "lowercase" Lowercase space::lowercase,
    "md5" Md5 digest::md5,
    "normalizePath" NormalizePath path::normalize,
    "normalizePathWin" NormalizePathWin path::normalize_windows,
    "removeComments" RemoveComments comment::remove,
    "removeCommentsChar" RemoveCommentsChar comment::remove_signs,
    "removeNulls" RemoveNulls space::remove_nulls,
    "removeWhitespace" RemoveWhitespace space::remove,
    "replaceComments" ReplaceComments comment::replace,
    "replaceNulls" ReplaceNulls space::replace_nulls,
    "sha1" Sha1 digest::sha1,
    "sqlHexDecode" SqlHexDecode encode::sql_hex_decode,
    "trim" Trim space::trim,
    "trimLeft" TrimLeft space::trim_left,
    "trimRight" TrimRight space::trim_right,
    "unwrap" Unwrap unwrap::unwrap,
    "uppercase" Uppercase space::uppercase,
    "urlDecode" UrlDecode url::decode,
    "urlDecodeUni" UrlDecodeUni url::decode_unicode,
    "urlEncode" UrlEncode url::encode,
    "utf8toUnicode" Utf8ToUnicode unicode::utf8_to_unicode,
}

impl Transform {
    /// Finds a transformation by its word, without regard to case. British spellings are accepted.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let name = match name.to_ascii_lowercase().as_str() {
            "normalisepath" => "normalizePath".to_owned(),
            "normalisepathwin" => "normalizePathWin".to_owned(),
            _ => name.to_owned(),
        };
        Self::ALL.iter().copied().find(|transform| transform.name().eq_ignore_ascii_case(&name))
    }

    /// The bytes without which it changes nothing; a test proves it of every transformation.
    pub(crate) fn triggers(self) -> ByteSet {
        let spaces = b" \t\n\x0b\x0c\r\xa0";
        let of = |signs: &[u8], capitals: bool, wide: bool| {
            let mut set = ByteSet::of(signs);
            let more = |range: std::ops::RangeInclusive<u8>, set: &mut ByteSet| {
                range.for_each(|byte| set.insert(byte))
            };
            if capitals {
                more(b'A'..=b'Z', &mut set);
            }
            if wide {
                more(0x80..=0xff, &mut set);
            }
            set
        };
        match self {
            Self::CmdLine => of(b"\"'\\^ ,;\t\r\n", true, false),
            Self::CompressWhitespace
            | Self::RemoveWhitespace
            | Self::Trim
            | Self::TrimLeft
            | Self::TrimRight => of(spaces, false, false),
            Self::CssDecode | Self::EscapeSeqDecode | Self::JsDecode => of(b"\\", false, false),
            Self::HtmlEntityDecode => of(b"&", false, false),
            Self::Lowercase => of(b"", true, false),
            Self::NormalizePath => of(b"/.", false, false),
            Self::NormalizePathWin => of(b"/.\\", false, false),
            Self::RemoveComments | Self::RemoveCommentsChar => of(b"/-#*<", false, false),
            Self::RemoveNulls | Self::ReplaceNulls => of(b"\0", false, false),
            Self::ReplaceComments => of(b"/", false, false),
            Self::SqlHexDecode => of(b"xX", false, false),
            Self::UrlDecode | Self::UrlDecodeUni => of(b"%+", false, false),
            Self::Utf8ToUnicode => of(b"", false, true),
            Self::Base64Decode
            | Self::Base64DecodeExt
            | Self::Base64Encode
            | Self::HexDecode
            | Self::HexEncode
            | Self::Length
            | Self::Md5
            | Self::Sha1
            | Self::Unwrap
            | Self::Uppercase
            | Self::UrlEncode => ByteSet::ALL,
        }
    }

    /// Applies it: true when `output` holds the changed text, false when `input` stays as it is.
    #[must_use]
    pub fn apply(self, input: &[u8], output: &mut Vec<u8>) -> bool {
        output.clear();
        self.step()(input, output)
    }
}

/// The value of a hexadecimal digit.
fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The byte written by two hexadecimal digits at `at`.
fn hex_pair(text: &[u8], at: usize) -> Option<u8> {
    Some((hex(*text.get(at)?)? << 4) | hex(*text.get(at + 1)?)?)
}

/// The byte that a code point of four hexadecimal digits at `at` is read as: its low byte, and the ASCII sign for a
/// full-width one (U+FF01 to U+FF5E).
fn hex_wide(text: &[u8], at: usize) -> Option<u8> {
    let (high, low) = (hex_pair(text, at)?, hex_pair(text, at + 2)?);
    Some(fold_wide(high, low))
}

fn fold_wide(high: u8, low: u8) -> u8 {
    if high == 0xff && (0x01..0x5f).contains(&low) { low + 0x20 } else { low }
}

/// White space as C's `isspace` sees it.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// Strings in the tables stand for bytes: a character up to U+00FF is one byte.
    fn bytes(text: &str) -> Vec<u8> {
        text.chars().map(|character| u8::try_from(u32::from(character)).expect("a byte")).collect()
    }

    #[test]
    fn every_transformation_does_what_its_table_says() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/transform");
        let mut ran = 0;
        for transform in Transform::ALL {
            let file = folder.join(format!("{}.json", transform.name()));
            let text = fs::read_to_string(&file).unwrap_or_else(|_| panic!("{} is missing", file.display()));
            let rows: Vec<(String, String)> = serde_json::from_str(&text).unwrap();
            assert!(!rows.is_empty(), "{}", transform.name());
            for (input, expected) in rows {
                let mut output = Vec::new();
                let input = bytes(&input);
                let result = if transform.apply(&input, &mut output) { output } else { input.clone() };
                assert_eq!(
                    String::from_utf8_lossy(&result),
                    String::from_utf8_lossy(&bytes(&expected)),
                    "{} of {:?}",
                    transform.name(),
                    String::from_utf8_lossy(&input)
                );
                ran += 1;
            }
        }
        let files = fs::read_dir(&folder).unwrap().count();
        assert_eq!(files, Transform::ALL.len(), "a table without transformation");
        assert!(ran > 100, "only {ran} rows");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_a_transformation_panic_or_claim_a_change_it_did_not_make(
            input in proptest::collection::vec(proptest::prop_oneof![
                proptest::prelude::any::<u8>(),
                proptest::sample::select(b"%u\\x/*-#<!&;.0fF \n+=".to_vec()),
            ], 0..60)
        ) {
            for transform in Transform::ALL {
                let mut output = Vec::new();
                if transform.apply(&input, &mut output) {
                    let triggered = input.is_empty() || transform.triggers().meets(&ByteSet::of(&input));
                    proptest::prop_assert!(triggered, "{}", transform.name());
                    proptest::prop_assert!(output.len() <= input.len() * 8 + 64);
                }
            }
        }
    }
}
