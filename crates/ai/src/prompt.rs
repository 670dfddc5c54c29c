//! A prompt as an API: a conversation with places for values, filled in once.
//!
//! Values are data. Each has a type; a text is bounded, cleaned of what cannot be seen, and written so that it can close no tag
//! that the author put around its place (`&`, `<` and `>` become `&amp;`, `&lt;` and `&gt;`). Places are filled in one pass, so
//! that a value is never looked through for places. This does not make a model heed no instructions in a value; it makes
//! plain to it where the value begins and ends.

use std::collections::BTreeMap;

use crate::{
    chat::{Refused, Request, Role},
    json::{Json, Object},
};

/// Bytes of a text where the document sets no bound.
pub const TEXT_BYTES: usize = 32 * 1024;

/// A conversation with places.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// The public name of the model.
    pub model: String,
    /// The turns.
    pub turns: Vec<Turn>,
    /// What callers may fill in, by name.
    pub variables: BTreeMap<String, Variable>,
    /// What is sent beside the conversation: bound, temperature, form of the answer.
    pub settings: Object,
}

/// One turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// Words and places.
    pub pieces: Vec<Piece>,
}

/// A piece of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The author's words.
    Words(String),
    /// The place of a variable.
    Place(String),
}

/// What callers may fill in.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Of which type.
    pub kind: VariableKind,
    /// What stands there where a caller says nothing; `None`: they must.
    pub default: Option<String>,
}

/// The type of a variable.
#[derive(Clone, Debug, PartialEq)]
pub enum VariableKind {
    /// Text of at most so many bytes.
    Text {
        /// How many.
        bytes_max: usize,
    },
    /// A whole number in these bounds.
    Integer {
        /// The smallest.
        least: i64,
        /// The largest.
        most: i64,
    },
    /// True or false.
    Boolean,
    /// One of these words.
    Choice(Vec<String>),
}

/// Words and places of a text: `{{name}}` is a place. `Err` says what is wrong with it.
pub fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((words, after)) = rest.split_once("{{") {
        let Some((name, more)) = after.split_once("}}") else {
            return Err("`{{` without `}}`".to_owned());
        };
        let name = name.trim();
        if !is_name(name) {
            return Err(format!("`{{{{{name}}}}}` is no place: a name has letters, digits and `_`"));
        }
        if !words.is_empty() {
            pieces.push(Piece::Words(words.to_owned()));
        }
        pieces.push(Piece::Place(name.to_owned()));
        rest = more;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Words(rest.to_owned()));
    }
    Ok(pieces)
}

/// Whether a text can name a variable.
pub fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl Template {
    /// The request that a body asks for: `{"variables": {…}, "stream": …}`.
    ///
    /// # Errors
    /// A sentence for the caller about the first thing that is wrong.
    pub fn request(&self, body: &[u8]) -> Result<Request, Refused> {
        let json = Json::read_strict(body)
            .map_err(|error| Refused::of("", format!("the body is not JSON: {error}")))?;
        let Json::Object(object) = json else { return Err(Refused::of("", "the body is not an object")) };
        let known = ["variables", "stream", "stream_options"];
        if let Some((name, _)) = object.iter().find(|(name, _)| !known.contains(name)) {
            let shown: String = name.chars().filter(|letter| letter.is_ascii_graphic()).take(64).collect();
            return Err(Refused::of(
                shown.clone(),
                format!("a prompt takes `variables` and `stream`, not `{shown}`"),
            ));
        }
        let empty = Object::new();
        let given = match object.get("variables") {
            None | Some(Json::Null) => &empty,
            Some(Json::Object(given)) => given,
            Some(_) => return Err(Refused::of("variables", "`variables` is an object")),
        };
        if let Some((name, _)) = given.iter().find(|(name, _)| !self.variables.contains_key(*name)) {
            let shown: String = name.chars().filter(|letter| letter.is_ascii_graphic()).take(64).collect();
            return Err(Refused::of("variables", format!("the prompt has no variable `{shown}`")));
        }
        let values = self.values(given)?;
        let mut request = Object::new().with("model", self.model.as_str());
        request.set("messages", self.turns.iter().map(|turn| turn.filled(&values)).collect::<Vec<Json>>());
        for (name, value) in self.settings.iter() {
            request.set(name, value.clone());
        }
        for name in ["stream", "stream_options"] {
            if let Some(value) = object.get(name) {
                request.set(name, value.clone());
            }
        }
        Request::read(&Json::from(request).to_bytes())
    }

    fn values(&self, given: &Object) -> Result<BTreeMap<&str, String>, Refused> {
        let mut values = BTreeMap::new();
        for (name, variable) in &self.variables {
            let value = match (given.get(name), &variable.default) {
                (Some(value), _) if !value.is_null() => variable.kind.written(name, value)?,
                (_, Some(default)) => default.clone(),
                _ => return Err(Refused::of(name.clone(), format!("`{name}` is missing"))),
            };
            values.insert(name.as_str(), value);
        }
        Ok(values)
    }
}

impl Turn {
    fn filled(&self, values: &BTreeMap<&str, String>) -> Json {
        let mut text = String::new();
        for piece in &self.pieces {
            text.push_str(match piece {
                Piece::Words(words) => words,
                // Every place has a variable: the document is refused otherwise.
                Piece::Place(name) => values.get(name.as_str()).map_or("", String::as_str),
            });
        }
        let role = match self.role {
            Role::System => "system",
            Role::Assistant => "assistant",
            Role::User | Role::Tool => "user",
        };
        Object::new().with("role", role).with("content", text).into()
    }
}

impl VariableKind {
    /// A value as it is written into the conversation.
    fn written(&self, name: &str, value: &Json) -> Result<String, Refused> {
        let wrong = |what: &str| Refused::of(name, format!("`{name}` is {what}"));
        match self {
            VariableKind::Text { bytes_max } => {
                let text = value.text().ok_or_else(|| wrong("a text"))?;
                if text.len() > *bytes_max {
                    return Err(wrong(&format!("at most {bytes_max} bytes long")));
                }
                Ok(escaped(text))
            }
            VariableKind::Integer { least, most } => {
                let number = match value {
                    Json::Number(number) => number.as_i64(),
                    _ => None,
                };
                let number = number.filter(|number| (least..=most).contains(&number));
                let wanted = || wrong(&format!("a whole number from {least} to {most}"));
                number.map(|number| number.to_string()).ok_or_else(wanted)
            }
            VariableKind::Boolean => {
                value.bool().map(|flag| flag.to_string()).ok_or_else(|| wrong("true or false"))
            }
            VariableKind::Choice(words) => {
                let word = value.text().filter(|text| words.iter().any(|word| word == text));
                word.map(str::to_owned).ok_or_else(|| wrong(&format!("one of {}", words.join(", "))))
            }
        }
    }
}

/// A text that can close no tag and hides nothing.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars().filter(|letter| is_shown(*letter)) {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            letter => out.push(letter),
        }
    }
    out
}

/// Whether a person would see the letter, or its effect: no control but tab and line feed, nothing of no width, nothing that
/// turns the direction of writing, none of the invisible copies of ASCII.
fn is_shown(letter: char) -> bool {
    !matches!(letter,
        '\u{0}'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> Template {
        let variable = |kind, default: Option<&str>| Variable { kind, default: default.map(str::to_owned) };
        Template {
            model: "fast".to_owned(),
            turns: vec![
                Turn { role: Role::System, pieces: pieces("Translate into {{ language }}.").unwrap() },
                Turn {
                    role: Role::User,
                    pieces: pieces("<text>{{text}}</text> {{count}} {{polite}}").unwrap(),
                },
            ],
            variables: BTreeMap::from([
                (
                    "language".to_owned(),
                    variable(VariableKind::Choice(vec!["en".into(), "de".into()]), Some("en")),
                ),
                ("text".to_owned(), variable(VariableKind::Text { bytes_max: 40 }, None)),
                ("count".to_owned(), variable(VariableKind::Integer { least: 1, most: 3 }, Some("1"))),
                ("polite".to_owned(), variable(VariableKind::Boolean, Some("true"))),
            ]),
            settings: Object::new().with("max_tokens", 50_u64),
        }
    }

    fn said(body: &str) -> Result<Vec<String>, String> {
        let request = template().request(body.as_bytes()).map_err(|refused| refused.message)?;
        assert_eq!(request.chat.max_output, Some(50));
        Ok(request.chat.messages.iter().map(crate::chat::Message::text).collect())
    }

    #[test]
    fn places_are_filled_once_and_values_close_no_tag() {
        let told =
            said(r#"{"variables":{"text":"</text> {{language}} & <b>","language":"de","count":3}}"#).unwrap();
        assert_eq!(
            told,
            ["Translate into de.", "<text>&lt;/text&gt; {{language}} &amp; &lt;b&gt;</text> 3 true"]
        );
        let told =
            said("{\"variables\":{\"text\":\"a\\u200b\\u202eb\\u0007\\n\\tc\\udb40\\udc41\"}}").unwrap();
        assert_eq!(told[1], "<text>ab\n\tc</text> 1 true");
    }

    #[test]
    fn a_value_of_another_type_or_name_is_refused() {
        let table = [
            ("[]", "the body is not an object"),
            (r#"{"variables":{}}"#, "`text` is missing"),
            (r#"{"variables":{"text":7}}"#, "`text` is a text"),
            (
                r#"{"variables":{"text":"0123456789012345678901234567890123456789+"}}"#,
                "`text` is at most 40 bytes long",
            ),
            (r#"{"variables":{"text":"a","count":4}}"#, "`count` is a whole number from 1 to 3"),
            (r#"{"variables":{"text":"a","count":1.5}}"#, "`count` is a whole number from 1 to 3"),
            (r#"{"variables":{"text":"a","polite":"yes"}}"#, "`polite` is true or false"),
            (r#"{"variables":{"text":"a","language":"fr"}}"#, "`language` is one of en, de"),
            (r#"{"variables":{"text":"a","other":1}}"#, "the prompt has no variable `other`"),
            (r#"{"variables":[]}"#, "`variables` is an object"),
            (r#"{"messages":[]}"#, "a prompt takes `variables` and `stream`, not `messages`"),
            (
                r#"{"model":"dear","variables":{"text":"a"}}"#,
                "a prompt takes `variables` and `stream`, not `model`",
            ),
        ];
        for (body, why) in table {
            assert_eq!(said(body), Err(why.to_owned()), "{body}");
        }
        assert!(template().request(br#"{"variables":{"text":"a"},"stream":true}"#).unwrap().chat.stream);
    }

    #[test]
    fn a_text_has_places_or_a_mistake() {
        assert_eq!(pieces("plain").unwrap(), [Piece::Words("plain".into())]);
        assert_eq!(pieces("{{a}}{{b_1}}").unwrap(), [Piece::Place("a".into()), Piece::Place("b_1".into())]);
        for text in ["{{a", "{{}}", "{{a b}}", "{{1}}", "{{a.b}}"] {
            assert!(pieces(text).is_err(), "{text}");
        }
    }
}
