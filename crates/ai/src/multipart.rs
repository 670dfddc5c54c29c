//! Forms with files (`multipart/form-data`), as far as a gateway must read them: which model they ask for.
//!
//! Read strictly by RFC 7578 and RFC 2046 §5.1: what could be read in two ways is refused, because the provider may read it in
//! the other one. Everything but the model's name passes byte for byte.

use std::ops::Range;

use crate::chat::{Refused, fate::STEERING};

/// Parts of a form: the paths of providers take a handful.
const PARTS_MAX: usize = 64;
/// RFC 2046 §5.1.1.
const BOUNDARY_BYTES_MAX: usize = 70;
/// Bytes of a part's own fields.
const FIELDS_BYTES_MAX: usize = 4 * 1024;
/// What a form's `Content-Type` begins with.
const KIND: &str = "multipart/form-data";
/// A model's name.
const MODEL_BYTES_MAX: usize = 200;

/// A form that asks for a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The model's name.
    pub model: String,
    at: Range<usize>,
}

impl Form {
    /// Whether a `Content-Type` says that a body is one.
    pub fn is_one(content_type: &[u8]) -> bool {
        content_type.get(..KIND.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(KIND.as_bytes()))
    }

    /// Reads a form.
    ///
    /// # Errors
    /// It is none, can be read in two ways, or names no model or several.
    pub fn read(content_type: &str, body: &[u8]) -> Result<Form, Refused> {
        let boundary = boundary(content_type)
            .ok_or_else(|| Refused::of("", "the body is no `multipart/form-data` with a plain boundary"))?;
        let delimiter = format!("--{boundary}");
        let broken = || Refused::of("", "the form is not well formed");
        if !body.starts_with(delimiter.as_bytes()) {
            return Err(broken());
        }
        let between = format!("\r\n{delimiter}");
        let mut found = None;
        let mut at = delimiter.len();
        for _ in 0..=PARTS_MAX {
            let rest = body.get(at..).unwrap_or_default();
            if let Some(end) = rest.strip_prefix(b"--") {
                return match (end, found) {
                    (b"" | b"\r\n", Some(form)) => Ok(form),
                    (b"" | b"\r\n", None) => Err(Refused::of("model", "`model` names a model")),
                    _ => Err(broken()),
                };
            }
            let Some(part) = rest.strip_prefix(b"\r\n") else { return Err(broken()) };
            let length = find(part, between.as_bytes()).ok_or_else(broken)?;
            let begin = at + 2;
            let part = part.get(..length).unwrap_or_default();
            let split =
                find(part, b"\r\n\r\n").filter(|split| *split <= FIELDS_BYTES_MAX).ok_or_else(broken)?;
            let (fields, value) =
                (part.get(..split).unwrap_or_default(), part.get(split + 4..).unwrap_or_default());
            let (name, is_file) = disposition(fields).ok_or_else(broken)?;
            if STEERING.contains(&name.as_str()) {
                return Err(Refused::of(name.clone(), format!("`{name}` is not the caller's to choose")));
            }
            if name == "model" {
                let model = std::str::from_utf8(value).ok().filter(|model| is_model(model) && !is_file);
                let model = model.ok_or_else(|| Refused::of("model", "`model` names a model"))?.to_owned();
                let range = begin + split + 4..begin + length;
                if found.replace(Form { model, at: range }).is_some() {
                    return Err(Refused::of("model", "the form names two models"));
                }
            }
            at = begin + length + between.len();
        }
        Err(Refused::of("", "the form has too many parts"))
    }

    /// The body with another model in it.
    pub fn renamed(&self, body: &[u8], model: &str) -> Vec<u8> {
        let before = body.get(..self.at.start).unwrap_or_default();
        let after = body.get(self.at.end..).unwrap_or_default();
        [before, model.as_bytes(), after].concat()
    }
}

/// The boundary of a `Content-Type`; only letters that mean the same quoted and not.
fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case(KIND) {
        return None;
    }
    let mut found = None;
    for parameter in parameters.split(';').map(str::trim).filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("boundary") {
            let value = value.trim();
            let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
            if bare.is_empty() || bare.len() > BOUNDARY_BYTES_MAX || !bare.bytes().all(is_plain) {
                return None;
            }
            if found.replace(bare.to_owned()).is_some() {
                return None;
            }
        }
    }
    found
}

/// The name of a part, and whether it is a file. `None`: it has none, or can be read in two ways.
fn disposition(fields: &[u8]) -> Option<(String, bool)> {
    let fields = std::str::from_utf8(fields).ok()?;
    let mut found = None;
    for line in fields.split("\r\n") {
        // No folded lines, and no bare line ends: RFC 9110 §5.5.
        if line.starts_with([' ', '\t']) || line.contains(['\r', '\n', '\0']) {
            return None;
        }
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-disposition") && found.replace(value.trim()).is_some() {
            return None;
        }
    }
    let mut rest = found?.strip_prefix("form-data")?.trim_start();
    let (mut name, mut is_file) = (None, false);
    while !rest.is_empty() {
        let parameter = rest.strip_prefix(';')?.trim_start();
        let (key, value) = parameter.split_once('=')?;
        let value = value.strip_prefix('"')?;
        let end = value.find('"')?;
        let (text, after) = (value.get(..end)?, value.get(end + 1..)?);
        // An escaped quote is written `%22` by browsers and `\"` by others: two readings.
        if text.contains('\\') && key.trim() == "name" {
            return None;
        }
        match key.trim().to_ascii_lowercase().as_str() {
            "name" if name.is_none() => name = Some(text.to_owned()),
            "name" => return None,
            "filename" | "filename*" => is_file = true,
            _ => {}
        }
        rest = after.trim_start();
    }
    Some((name?, is_file))
}

fn is_model(model: &str) -> bool {
    !model.is_empty() && model.len() <= MODEL_BYTES_MAX && model.bytes().all(|byte| byte.is_ascii_graphic())
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_XYZ: &str = "multipart/form-data; boundary=xYz";

    fn part(name: &str, more: &str, value: &str) -> String {
        format!("--xYz\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n{value}\r\n")
    }

    fn form(parts: &[String]) -> Vec<u8> {
        format!("{}--xYz--\r\n", parts.concat()).into_bytes()
    }

    #[test]
    fn the_model_is_found_and_replaced_and_nothing_else_is_touched() {
        let file = part("file", "; filename=\"a.wav\"\r\nContent-Type: audio/wav", "RIFF\r\n--xY\u{0}model");
        let body = form(&[file.clone(), part("model", "", "whisper"), part("language", "", "de")]);
        let read = Form::read(OF_XYZ, &body).unwrap();
        assert_eq!(read.model, "whisper");
        let renamed = read.renamed(&body, "whisper-1-large");
        assert_eq!(renamed, form(&[file, part("model", "", "whisper-1-large"), part("language", "", "de")]));
        assert_eq!(Form::read("Multipart/Form-Data; charset=utf-8; boundary=\"xYz\"", &body).unwrap(), read);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let good = part("model", "", "m");
        let table: [(&str, Vec<u8>); 14] = [
            ("application/json", form(std::slice::from_ref(&good))),
            ("multipart/form-data", form(std::slice::from_ref(&good))),
            ("multipart/form-data; boundary=xYz; boundary=abc", form(std::slice::from_ref(&good))),
            ("multipart/form-data; boundary=\"x Yz\"", form(std::slice::from_ref(&good))),
            (OF_XYZ, form(&[good.clone(), part("model", "", "other")])),
            (OF_XYZ, form(&[part("model", "; filename=\"m\"", "m")])),
            (OF_XYZ, form(&[part("model", "; name=\"file\"", "m")])),
            (OF_XYZ, form(&[part("mod\\el", "", "m"), good.clone()])),
            (OF_XYZ, form(&[part("model", "", "a b")])),
            (OF_XYZ, form(&[part("file", "", "m")])),
            (OF_XYZ, form(&[good.clone(), part("base_url", "", "http://x")])),
            (OF_XYZ, [b"preamble\r\n".to_vec(), form(std::slice::from_ref(&good))].concat()),
            (OF_XYZ, [form(std::slice::from_ref(&good)), b"epilogue".to_vec()].concat()),
            (OF_XYZ, good.clone().into_bytes()),
        ];
        for (kind, body) in table {
            assert!(Form::read(kind, &body).is_err(), "{kind} {}", String::from_utf8_lossy(&body));
        }
        let folded =
            b"--xYz\r\nContent-Disposition: form-data;\r\n name=\"model\"\r\n\r\nm\r\n--xYz--".to_vec();
        assert!(Form::read(OF_XYZ, &folded).is_err());
        let many: Vec<String> =
            (0..PARTS_MAX + 1).map(|number| part(&format!("f{number}"), "", "")).collect();
        assert!(Form::read(OF_XYZ, &form(&many)).is_err());
    }
}
