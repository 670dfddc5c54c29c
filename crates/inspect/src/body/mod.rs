//! Reading bodies into named values. Every reader is strict and has limits: where two parsers could disagree, the
//! reading carries an error, and what was read up to there is still judged (`security.md` B, "parsing rule 0").

mod cookie;
mod form;
mod json;
mod multipart;
mod xml;

pub(crate) use cookie::cookies;
pub(crate) use form::arguments;

/// Which reader a body gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Processor {
    /// `application/json` and `+json`.
    Json,
    /// `multipart/form-data`.
    Multipart,
    /// `application/x-www-form-urlencoded`.
    UrlEncoded,
    /// `text/xml`, `application/xml` and `+xml`.
    Xml,
}

impl Processor {
    /// The word of the rule language.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Multipart => "MULTIPART",
            Self::UrlEncoded => "URLENCODED",
            Self::Xml => "XML",
        }
    }

    /// Reads the word, without regard to case.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Json, Self::Multipart, Self::UrlEncoded, Self::Xml]
            .into_iter()
            .find(|processor| processor.word().eq_ignore_ascii_case(word))
    }

    /// The reader for a media type.
    #[must_use]
    pub fn for_content_type(content_type: &[u8]) -> Option<Self> {
        let kind = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let kind = kind.to_ascii_lowercase();
        match kind.as_slice() {
            b"application/x-www-form-urlencoded" => Some(Self::UrlEncoded),
            b"multipart/form-data" => Some(Self::Multipart),
            b"application/json" | b"text/json" => Some(Self::Json),
            b"text/xml" | b"application/xml" => Some(Self::Xml),
            kind if kind.ends_with(b"+json") => Some(Self::Json),
            kind if kind.ends_with(b"+xml") => Some(Self::Xml),
            _ => None,
        }
    }
}

/// How much of a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// The most named values.
    pub values_max: usize,
    /// The deepest nesting of JSON and XML.
    pub depth_max: usize,
    /// The most parts of a multipart body, and the most of them files.
    pub files_max: usize,
}

/// What a multipart body did that a careful client does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the variable MULTIPART_… of the same name")]
pub struct MultipartFlags {
    pub boundary_quoted: bool,
    pub boundary_whitespace: bool,
    pub crlf_lf_lines: bool,
    pub data_after: bool,
    pub data_before: bool,
    pub file_limit_exceeded: bool,
    pub header_folding: bool,
    pub invalid_header_folding: bool,
    pub invalid_part: bool,
    pub invalid_quoting: bool,
    pub lf_line: bool,
    pub missing_semicolon: bool,
    pub unmatched_boundary: bool,
}

impl MultipartFlags {
    /// `MULTIPART_STRICT_ERROR`: whether any of those it sums up is set.
    #[must_use]
    pub fn strict_error(&self) -> bool {
        self.boundary_quoted
            || self.boundary_whitespace
            || self.data_after
            || self.data_before
            || self.file_limit_exceeded
            || self.header_folding
            || self.invalid_header_folding
            || self.invalid_part
            || self.invalid_quoting
            || self.lf_line
            || self.missing_semicolon
    }
}

/// A file of a multipart body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePart {
    /// The name of the form field.
    pub field: Vec<u8>,
    /// The file name as sent.
    pub file_name: Vec<u8>,
    /// The bytes of its content.
    pub size: usize,
}

/// What a body says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Named values.
    pub arguments: Vec<(Vec<u8>, Vec<u8>)>,
    /// Names that have no value of their own, such as those of arrays and of empty objects.
    pub names: Vec<Vec<u8>>,
    /// Files.
    pub files: Vec<FilePart>,
    /// Whole header lines of parts, by the part's name.
    pub part_headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Text of XML: first all of it, then each piece when there is more than one.
    pub xml_texts: Vec<Vec<u8>>,
    /// Values of XML attributes.
    pub xml_attributes: Vec<Vec<u8>>,
    /// What was odd about a multipart body.
    pub multipart: MultipartFlags,
    /// Why the body could not be read to its end, or not in one way only.
    pub error: Option<&'static str>,
}

/// Reads a whole body.
#[must_use]
pub fn read(processor: Processor, content_type: &[u8], body: &[u8], limits: &BodyLimits) -> Reading {
    match processor {
        Processor::Json => json::read(body, limits),
        Processor::Multipart => multipart::read(content_type, body, limits),
        Processor::UrlEncoded => form::read(body, limits),
        Processor::Xml => xml::read(body, limits),
    }
}

#[cfg(test)]
pub(crate) const LIMITS_FOR_TEST: BodyLimits = BodyLimits { values_max: 100, depth_max: 16, files_max: 10 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_chooses_the_reader() {
        for (kind, expected) in [
            ("application/json; charset=utf-8", Some(Processor::Json)),
            ("Application/Problem+JSON", Some(Processor::Json)),
            ("application/soap+xml", Some(Processor::Xml)),
            ("multipart/form-data; boundary=x", Some(Processor::Multipart)),
            ("application/octet-stream", None),
            ("", None),
        ] {
            assert_eq!(Processor::for_content_type(kind.as_bytes()), expected, "{kind}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(
            body in proptest::collection::vec(proptest::prop_oneof![
                proptest::prelude::any::<u8>(),
                proptest::sample::select(b"{}[]\",:\\u0<>/!&;=-%\r\n abB".to_vec()),
            ], 0..200)
        ) {
            for processor in [Processor::Json, Processor::Multipart, Processor::UrlEncoded, Processor::Xml] {
                let _ = read(processor, b"multipart/form-data; boundary=b", &body, &LIMITS_FOR_TEST);
            }
        }
    }
}
