//! JSON as tokens and key sets may be written: no name twice, no depth, no bulk.
//!
//! RFC 7519 §4 lets a parser keep the last of two equal names; RFC 8725 §2.4 and §3.11 are about what happens where
//! two parsers choose differently. So names are refused twice at every depth. The grammar itself is `serde_json`'s:
//! a second grammar of our own would be the very difference we refuse.

use std::{borrow::Cow, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value.
#[derive(Clone, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(Box<str>),
    /// An array.
    List(Vec<Json>),
    /// An object.
    Object(Object),
}

/// A number as it was written: whole where it fits 64 bits, else the nearest fraction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Zero or above.
    Unsigned(u64),
    /// Below zero.
    Signed(i64),
    /// With a fraction or an exponent, or beyond 64 bits. Always finite.
    Fraction(f64),
}

/// A JSON object; no name occurs twice.
#[derive(Clone, Default, PartialEq)]
pub struct Object(Vec<(Name, Json)>);

/// A member's name. The usual ones are not allocated: half of what reading a token costs is allocation.
type Name = Cow<'static, str>;

/// Why a text is not JSON that we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonFlaw {
    /// A name occurs twice in one object.
    Duplicate,
    /// Not JSON, or not an object.
    Malformed,
    /// Deeper, wider or longer than the budget.
    TooLarge,
}

/// How much JSON is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// How many objects and arrays may stand in one another.
    pub(crate) depth: u32,
    /// How many members one object may have. Members are compared pairwise, so this bounds the work.
    pub(crate) members: usize,
    /// How many values there may be in all.
    pub(crate) values: u32,
}

impl Object {
    /// Reads a whole text as one object.
    pub(crate) fn parse(text: &[u8], budget: Budget) -> Result<Self, JsonFlaw> {
        let mut reading = Reading { budget, left: budget.values, flaw: JsonFlaw::Malformed };
        let mut source = serde_json::Deserializer::from_slice(text);
        let value = Seed { reading: &mut reading, depth: budget.depth }.deserialize(&mut source);
        let value = value.and_then(|value| source.end().map(|()| value));
        match value {
            Ok(Json::Object(object)) => Ok(object),
            Ok(_) => Err(JsonFlaw::Malformed),
            Err(_) => Err(reading.flaw),
        }
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, value)| value)
    }

    /// The string that `name` has; `Err` if it has another kind of value.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, JsonFlaw> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(_) => Err(JsonFlaw::Malformed),
        }
    }

    /// As JSON text, from which the same object is read again. Claims are about people: it is for encrypted captures.
    pub fn to_json(&self) -> String {
        serde_json::Value::from(self).to_string()
    }

    /// All members, in the order they were written.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }
}

impl Json {
    /// The string, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&Object> for serde_json::Value {
    fn from(object: &Object) -> Self {
        object.0.iter().map(|(name, value)| (name.to_string(), serde_json::Value::from(value))).collect()
    }
}

impl From<&Json> for serde_json::Value {
    fn from(value: &Json) -> Self {
        match value {
            Json::Null => serde_json::Value::Null,
            Json::Bool(value) => (*value).into(),
            Json::Number(Number::Unsigned(value)) => (*value).into(),
            Json::Number(Number::Signed(value)) => (*value).into(),
            Json::Number(Number::Fraction(value)) => (*value).into(),
            Json::Text(text) => (**text).into(),
            Json::List(list) => list.iter().map(serde_json::Value::from).collect(),
            Json::Object(object) => object.into(),
        }
    }
}

/// Says of what kind the value is, and nothing else: claims are about people.
impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Json::Null => "Null",
            Json::Bool(_) => "Bool(…)",
            Json::Number(_) => "Number(…)",
            Json::Text(_) => "Text(…)",
            Json::List(_) => "List(…)",
            Json::Object(_) => "Object(…)",
        })
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({} members)", self.0.len())
    }
}

/// What one reading has left, and why it failed if not by grammar.
struct Reading {
    budget: Budget,
    left: u32,
    flaw: JsonFlaw,
}

impl Reading {
    fn refuse<E: de::Error>(&mut self, flaw: JsonFlaw) -> E {
        self.flaw = flaw;
        // The text is never shown: `flaw` is what callers of this file see.
        E::custom("refused")
    }
}

struct Seed<'r> {
    reading: &'r mut Reading,
    depth: u32,
}

impl Seed<'_> {
    /// Enters an object or an array: how deep its values may go.
    fn enter<E: de::Error>(&mut self) -> Result<u32, E> {
        self.depth.checked_sub(1).ok_or_else(|| self.reading.refuse(JsonFlaw::TooLarge))
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        match self.reading.left.checked_sub(1) {
            Some(left) => self.reading.left = left,
            None => return Err(self.reading.refuse(JsonFlaw::TooLarge)),
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(Number::Unsigned(value)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(Number::Signed(value)))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Json, E> {
        if value.is_finite() {
            Ok(Json::Number(Number::Fraction(value)))
        } else {
            Err(self.reading.refuse(JsonFlaw::Malformed))
        }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<Json, A::Error> {
        let depth = self.enter()?;
        let mut list = Vec::new();
        while let Some(value) = access.next_element_seed(Seed { reading: self.reading, depth })? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<Json, A::Error> {
        let depth = self.enter()?;
        let mut members: Vec<(Name, Json)> = Vec::with_capacity(MEMBERS_USUAL);
        // A name is compared as decoded: `"e\u0078p"` is `exp`.
        while let Some(name) = access.next_key_seed(NameSeed)? {
            if members.iter().any(|(known, _)| *known == name) {
                return Err(self.reading.refuse(JsonFlaw::Duplicate));
            }
            if members.len() >= self.reading.budget.members {
                return Err(self.reading.refuse(JsonFlaw::TooLarge));
            }
            let value = access.next_value_seed(Seed { reading: self.reading, depth })?;
            members.push((name, value));
        }
        Ok(Json::Object(Object(members)))
    }
}

struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Name, E> {
        Ok(usual(name).map_or_else(|| Cow::Owned(name.to_owned()), Cow::Borrowed))
    }
}

macro_rules! one_of {
    ($text:expr, $($name:literal)+) => {
        match $text {
            $($name => Some($name),)+
            _ => None,
        }
    };
}

/// The names of RFC 7515, RFC 7519, RFC 9068 and OpenID Connect that most tokens have.
fn usual(name: &str) -> Option<&'static str> {
    one_of!(name,
        "alg" "kid" "typ" "iss" "sub" "aud" "exp" "nbf" "iat" "jti" "azp" "scope" "client_id" "sid" "auth_time" "acr"
        "amr" "nonce" "name" "email" "email_verified" "preferred_username" "roles" "groups"
    )
}

/// So many members need no second allocation.
const MEMBERS_USUAL: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { depth: 3, members: 4, values: 12 };

    fn flaw(text: &str) -> Option<JsonFlaw> {
        Object::parse(text.as_bytes(), BUDGET).err()
    }

    #[test]
    fn an_object_is_read_whole_or_not_at_all() {
        use JsonFlaw::{Duplicate, Malformed, TooLarge};
        for (text, expected) in [
            (r#"{}"#, None),
            (r#" {"a":1,"b":[{}]} "#, None),
            (r#"{"a":{"a":{"a":1}}}"#, None),
            (r#"{"a":{"a":{"a":{}}}}"#, Some(TooLarge)),
            (r#"{"a":[[]]}"#, None),
            (r#"{"a":[[[]]]}"#, Some(TooLarge)),
            (r#"{"a":1,"a":1}"#, Some(Duplicate)),
            (r#"{"exp":1,"e\u0078p":2}"#, Some(Duplicate)),
            (r#"{"x":{"a":1,"b":2,"a":3}}"#, Some(Duplicate)),
            (r#"{"x":[{"a":1,"a":2}]}"#, Some(Duplicate)),
            (r#"{"a":1,"A":1}"#, None),
            (r#"{"a":1,"b":1,"c":1,"d":1}"#, None),
            (r#"{"a":1,"b":1,"c":1,"d":1,"e":1}"#, Some(TooLarge)),
            (r#"{"a":[1,1,1,1,1,1,1,1,1,1]}"#, None),
            (r#"{"a":[1,1,1,1,1,1,1,1,1,1,1]}"#, Some(TooLarge)),
            ("", Some(Malformed)),
            ("[]", Some(Malformed)),
            ("1", Some(Malformed)),
            (r#"{"a":1}{}"#, Some(Malformed)),
            (r#"{"a":1,}"#, Some(Malformed)),
            (r#"{'a':1}"#, Some(Malformed)),
            (r#"{"a":01}"#, Some(Malformed)),
            (r#"{"a":NaN}"#, Some(Malformed)),
            (r#"{"a":1e999}"#, Some(Malformed)),
            (r#"{"a":"\ud800"}"#, Some(Malformed)),
            ("{\"a\":\"\n\"}", Some(Malformed)),
            ("\u{feff}{}", Some(Malformed)),
            (r#"{"a":1} // comment"#, Some(Malformed)),
        ] {
            assert_eq!(flaw(text), expected, "{text}");
        }
        assert_eq!(Object::parse(b"{\"a\":\"\xff\"}", BUDGET).err(), Some(Malformed));
    }

    #[test]
    fn what_is_written_is_read_again_as_it_was() {
        let text =
            br#"{"a":18446744073709551615,"b":[-1,1.5,1e300],"c":{"d":null,"e":true},"f":"\u0000\"x"}"#;
        let object = Object::parse(text, BUDGET).unwrap();
        assert!(Object::parse(object.to_json().as_bytes(), BUDGET).unwrap() == object);
    }

    #[test]
    fn a_value_shows_nothing_of_itself() {
        let object = Object::parse(br#"{"name":"Ada","list":["Ada"]}"#, BUDGET).unwrap();
        let shown = format!("{object:?} {:?}", object.get("name"));
        assert!(!shown.contains("Ada") && !shown.contains("name"), "{shown}");
    }
}
