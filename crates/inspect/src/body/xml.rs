//! XML: text and attribute values. Document types and entities other than the five predefined ones are errors;
//! nothing is ever fetched.

use quick_xml::{Reader, events::Event};

use super::{BodyLimits, Reading};

/// 64 attributes: no message needs more on one element.
const ATTRIBUTES_MAX: usize = 64;

pub(super) fn read(body: &[u8], limits: &BodyLimits) -> Reading {
    let mut reading = Reading::default();
    let mut pieces = Vec::new();
    if let Err(error) = walk(body, limits, &mut reading, &mut pieces) {
        reading.error = Some(error);
        if pieces.is_empty() {
            pieces.push(body.to_vec());
        }
    }
    let whole = pieces.concat();
    if !whole.is_empty() {
        reading.xml_texts.push(whole);
        if pieces.len() > 1 {
            reading.xml_texts.append(&mut pieces);
        }
    }
    reading
}

fn walk(
    body: &[u8],
    limits: &BodyLimits,
    reading: &mut Reading,
    pieces: &mut Vec<Vec<u8>>,
) -> Result<(), &'static str> {
    let text = std::str::from_utf8(body).map_err(|_| "XML that is not UTF-8")?;
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    reader.config_mut().allow_dangling_amp = false;
    let mut depth = 0_usize;
    let mut joined = Vec::new();
    let mut seen_root = false;
    loop {
        if pieces.len() + reading.xml_attributes.len() > limits.values_max {
            return Err("more values than the limit");
        }
        let event = reader.read_event().map_err(|_| "XML that is malformed")?;
        if !matches!(event, Event::Text(_) | Event::CData(_) | Event::GeneralRef(_)) && !joined.is_empty() {
            let piece: Vec<u8> = std::mem::take(&mut joined);
            if !piece.trim_ascii().is_empty() {
                pieces.push(piece);
            }
        }
        match event {
            Event::Start(start) => {
                seen_root = true;
                depth += 1;
                if depth > limits.depth_max {
                    return Err("XML nested deeper than the limit");
                }
                attributes(&start, reading)?;
            }
            Event::Empty(start) => {
                seen_root = true;
                attributes(&start, reading)?;
            }
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Text(text) => joined.extend_from_slice(text.as_ref().as_bytes()),
            Event::CData(text) => joined.extend_from_slice(text.as_ref().as_bytes()),
            Event::GeneralRef(reference) => {
                let name = reference.as_ref().as_bytes();
                joined.extend(entity(name).ok_or("XML with an entity that is not predefined")?);
            }
            Event::DocType(_) => return Err("XML with a document type"),
            Event::Eof if depth > 0 => return Err("XML that ends too early"),
            Event::Eof if !seen_root => return Err("XML without an element"),
            Event::Eof => return Ok(()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
}

fn attributes(start: &quick_xml::events::BytesStart<'_>, reading: &mut Reading) -> Result<(), &'static str> {
    for (count, attribute) in start.attributes().enumerate() {
        if count >= ATTRIBUTES_MAX {
            return Err("XML with too many attributes");
        }
        let attribute = attribute.map_err(|_| "XML with a malformed attribute")?;
        reading.xml_attributes.push(unescaped(attribute.value.as_bytes())?);
    }
    Ok(())
}

fn unescaped(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'&', rest) {
        out.extend_from_slice(rest.get(..at).unwrap_or_default());
        let behind = rest.get(at + 1..).unwrap_or_default();
        let end = memchr::memchr(b';', behind).ok_or("XML with a malformed attribute")?;
        let name = behind.get(..end).unwrap_or_default();
        out.extend(entity(name).ok_or("XML with an entity that is not predefined")?);
        rest = behind.get(end + 1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Ok(out)
}

fn entity(name: &[u8]) -> Option<Vec<u8>> {
    let character = match name {
        b"lt" => '<',
        b"gt" => '>',
        b"amp" => '&',
        b"apos" => '\'',
        b"quot" => '"',
        [b'#', b'x', digits @ ..] => number(digits, 16)?,
        [b'#', digits @ ..] => number(digits, 10)?,
        _ => return None,
    };
    Some(character.to_string().into_bytes())
}

fn number(digits: &[u8], base: u32) -> Option<char> {
    char::from_u32(u32::from_str_radix(std::str::from_utf8(digits).ok()?, base).ok()?)
}

#[cfg(test)]
mod tests {
    use super::{super::LIMITS_FOR_TEST, *};

    #[test]
    fn text_and_attributes_are_found() {
        let reading =
            read(b"<a x='1&lt;2'><b>one &amp; two</b><![CDATA[<3]]><c y=\"&#65;\"/></a>", &LIMITS_FOR_TEST);
        assert_eq!(reading.error, None);
        assert_eq!(reading.xml_texts, [&b"one & two<3"[..], b"one & two", b"<3"]);
        assert_eq!(reading.xml_attributes, [&b"1<2"[..], b"A"]);
    }

    #[test]
    fn document_types_entities_and_broken_nesting_are_errors() {
        for text in [
            "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
            "<a>&x;</a>",
            "<a><b></a>",
            "<a>",
            "",
            "text",
            "<a x=&x;/>",
        ] {
            assert!(read(text.as_bytes(), &LIMITS_FOR_TEST).error.is_some(), "{text}");
        }
        assert!(read("<a>".repeat(5000).as_bytes(), &LIMITS_FOR_TEST).error.is_some());
    }
}
