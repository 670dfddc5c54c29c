//! What a call may use at most, before it is made: what a budget reserves.
//!
//! Input is estimated by its bytes, output is what the call itself bounds. Both are told too high rather than too low;
//! what providers count in the end is settled afterwards. A native path whose use no field bounds (pictures, speech) has
//! no estimate, and says so.

use crate::{
    chat::{Part, Request, Source},
    dialect::Dialect,
    entry::Native,
    json::{Json, Object},
};

/// What one picture in a prompt is taken for, whatever its bytes: providers count it by its size in pixels, at most
/// about this much at their usual detail.
const IMAGE_TOKENS: u64 = 1_600;

/// The most that a call may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The call uses no tokens at all: it counts them.
    Free,
    /// At most so many tokens.
    AtMost(u64),
    /// The call could bound it and does not.
    Unbounded,
    /// Nothing in the call bounds what it uses.
    Unknown,
}

/// The tokens of a text of so many bytes: two sevenths of them, which is what letters of Latin scripts take on average. A model
/// that counts otherwise is corrected by what it told before.
pub const fn tokens_of(bytes: u64) -> u64 {
    bytes.saturating_mul(2).div_ceil(7)
}

/// The tokens of a chat of `bytes` bytes; pictures in it are not taken for text.
pub fn input_of(request: &Request, bytes: u64) -> u64 {
    let (mut images, mut image_bytes) = (0_u64, 0_u64);
    for part in request.chat.messages.iter().flat_map(|message| &message.parts) {
        if let Part::Image { source, .. } = part {
            images += 1;
            if let Source::Inline { data, .. } = source {
                image_bytes += data.len() as u64;
            }
        }
    }
    tokens_of(bytes.saturating_sub(image_bytes)).saturating_add(images.saturating_mul(IMAGE_TOKENS))
}

/// The most that a chat may say.
pub fn output_of(request: &Request) -> Output {
    match request.chat.max_output {
        Some(most) => Output::AtMost(most.saturating_mul(request.chat.count.max(1))),
        None => Output::Unbounded,
    }
}

impl Request {
    /// Bounds a chat that does not bound itself.
    pub fn bound(&mut self, most: u64) {
        if self.chat.max_output.is_none() {
            self.chat.max_output = Some(most);
            // Dialects that spell it otherwise rename it.
            self.object.set("max_tokens", most);
        }
    }
}

/// Where a native body says what it may use.
enum Place {
    Free,
    Nothing,
    Field(&'static [&'static str], Option<&'static [&'static str]>),
    Nowhere,
}

impl Native {
    /// The most that a body of this path may say.
    pub fn output(&self, body: &Json) -> Output {
        match self.place() {
            Place::Free => Output::Free,
            Place::Nothing => Output::AtMost(0),
            Place::Nowhere => Output::Unknown,
            Place::Field(most, several) => {
                let several = several.and_then(|path| at(body, path).count()).unwrap_or(1).max(1);
                match at(body, most).count() {
                    Some(most) => Output::AtMost(most.saturating_mul(several)),
                    None => Output::Unbounded,
                }
            }
        }
    }

    /// The body with a bound, where it has none; `None` where there is no place for one.
    pub fn bounded(&self, body: &Json, most: u64) -> Option<Vec<u8>> {
        let Place::Field(path, _) = self.place() else { return None };
        let mut object = body.object()?.clone();
        put(&mut object, path, most)?;
        Some(Json::from(object).to_bytes())
    }

    fn place(&self) -> Place {
        let (before, after) = (self.path.0.as_str(), self.path.1.as_str());
        match self.dialect {
            Dialect::Anthropic if before.ends_with("/count_tokens") => Place::Free,
            Dialect::Anthropic => Place::Field(&["max_tokens"], None),
            Dialect::Gemini => match after {
                ":countTokens" => Place::Free,
                ":embedContent" | ":batchEmbedContents" => Place::Nothing,
                _ => Place::Field(
                    &["generationConfig", "maxOutputTokens"],
                    Some(&["generationConfig", "candidateCount"]),
                ),
            },
            Dialect::DashScope if before.contains("/embeddings/") => Place::Nothing,
            Dialect::DashScope => Place::Field(&["parameters", "max_tokens"], Some(&["parameters", "n"])),
            _ => match before {
                "/responses" => Place::Field(&["max_output_tokens"], None),
                // The largest number of answers counts: several may be made of which one is told.
                "/completions" => Place::Field(&["max_tokens"], Some(&["best_of"])),
                _ => Place::Nowhere,
            },
        }
    }
}

fn at<'a>(body: &'a Json, path: &[&str]) -> &'a Json {
    path.iter().fold(body, |json, name| json.get(name))
}

fn put(object: &mut Object, path: &[&str], most: u64) -> Option<()> {
    match path {
        [] => None,
        [name] => {
            object.set(name, most);
            Some(())
        }
        [name, rest @ ..] => {
            if object.get(name).is_none_or(Json::is_null) {
                object.set(name, Object::new());
            }
            match object.get_mut(name) {
                Some(Json::Object(inner)) => put(inner, rest, most),
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Entry;

    fn native(path: &str) -> Native {
        match Entry::find("POST", path) {
            Some(Entry::Native(native)) => native,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn every_native_path_has_a_bound_or_says_that_it_has_none() {
        let table = [
            ("/v1/messages", r#"{"max_tokens":9}"#, Output::AtMost(9)),
            ("/v1/messages", "{}", Output::Unbounded),
            ("/v1/messages/count_tokens", "{}", Output::Free),
            ("/v1/responses", r#"{"max_output_tokens":7}"#, Output::AtMost(7)),
            ("/v1/responses", r#"{"max_output_tokens":-7}"#, Output::Unbounded),
            ("/v1/completions", r#"{"max_tokens":5,"best_of":3}"#, Output::AtMost(15)),
            ("/v1/moderations", "{}", Output::Unknown),
            ("/v1/images/generations", r#"{"max_tokens":5}"#, Output::Unknown),
            ("/v1/audio/speech", "{}", Output::Unknown),
            (
                "/v1beta/models/g:generateContent",
                r#"{"generationConfig":{"maxOutputTokens":4,"candidateCount":2}}"#,
                Output::AtMost(8),
            ),
            ("/v1beta/models/g:streamGenerateContent", "{}", Output::Unbounded),
            ("/v1beta/models/g:countTokens", "{}", Output::Free),
            ("/v1beta/models/g:embedContent", "{}", Output::AtMost(0)),
            (
                "/api/v1/services/aigc/text-generation/generation",
                r#"{"parameters":{"max_tokens":3,"n":4}}"#,
                Output::AtMost(12),
            ),
            ("/api/v1/services/embeddings/text-embedding/text-embedding", "{}", Output::AtMost(0)),
        ];
        for (path, body, want) in table {
            let (native, body) = (native(path), Json::read(body.as_bytes()).unwrap());
            assert_eq!(native.output(&body), want, "{path} {}", String::from_utf8_lossy(&body.to_bytes()));
            if want == Output::Unbounded {
                let bounded = Json::read(&native.bounded(&body, 11).unwrap()).unwrap();
                assert_eq!(native.output(&bounded), Output::AtMost(11), "{path}");
            }
        }
        let odd = Json::read(br#"{"generationConfig":"none"}"#).unwrap();
        assert_eq!(native("/v1beta/models/g:generateContent").bounded(&odd, 1), None);
    }

    #[test]
    fn a_chat_is_bounded_by_its_answers_and_a_picture_is_no_text() {
        let read = |text: &str| Request::read(text.as_bytes()).unwrap();
        let mut plain = read(r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#);
        assert_eq!(output_of(&plain), Output::Unbounded);
        plain.bound(20);
        assert_eq!(output_of(&plain), Output::AtMost(20));
        assert_eq!(plain.object.get("max_tokens").and_then(Json::count), Some(20));
        plain.bound(30);
        assert_eq!(output_of(&plain), Output::AtMost(20), "the caller's own bound stays");
        let several =
            read(r#"{"model":"m","n":3,"max_tokens":10,"messages":[{"role":"user","content":"hello"}]}"#);
        assert_eq!(output_of(&several), Output::AtMost(30));
        let data = "A".repeat(70_000);
        let picture = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{data}"}}}}]}}]}}"#
        );
        let tokens = input_of(&read(&picture), picture.len() as u64);
        assert!((IMAGE_TOKENS..IMAGE_TOKENS + 100).contains(&tokens), "{tokens}");
    }
}
