//! JSON as a tree that keeps the order of names.
//!
//! Order matters twice: a model follows the order of a schema's properties, and a provider's prompt cache needs the
//! same prefix of bytes each time. `serde_json::Value` would sort. What callers send is read strictly: a name that
//! occurs twice is refused, because two readers would take two different models from it.

use std::{collections::HashSet, fmt};

use serde::{
    Serialize, Serializer,
    de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor},
    ser::{SerializeMap, SerializeSeq},
};
use serde_json::Number;

/// Values a body may hold: a tree takes about 20 times the bytes of its shortest text, so a body cap alone does not
/// bound memory.
pub const NODES_MAX: usize = 400_000;

/// One JSON value.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Json {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it was read.
    Number(Number),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, in the order of its text.
    Object(Object),
}

/// The members of an object, in the order of their text.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Object(Vec<(String, Json)>);

/// Why a text is not taken as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

const NULL: &Json = &Json::Null;

impl Json {
    /// Reads what a caller sent: a name that occurs twice in one object is refused.
    pub fn read_strict(bytes: &[u8]) -> Result<Json, Malformed> {
        read(bytes, true)
    }

    /// Reads what a provider answered: tolerant, the first of two equal names counts.
    pub fn read(bytes: &[u8]) -> Result<Json, Malformed> {
        read(bytes, false)
    }

    /// The member of that name, or null.
    pub fn get(&self, name: &str) -> &Json {
        match self {
            Json::Object(object) => object.get(name).unwrap_or(NULL),
            _ => NULL,
        }
    }

    /// The text of a string.
    pub fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text of a string that is not empty.
    pub fn words(&self) -> Option<&str> {
        self.text().filter(|text| !text.is_empty())
    }

    /// The values of an array; none for anything else.
    pub fn list(&self) -> &[Json] {
        match self {
            Json::List(list) => list,
            _ => &[],
        }
    }

    /// The members of an object.
    pub fn object(&self) -> Option<&Object> {
        match self {
            Json::Object(object) => Some(object),
            _ => None,
        }
    }

    /// A count: a whole number that is not negative (`12.0` is one too).
    pub fn count(&self) -> Option<u64> {
        match self {
            Json::Number(number) => number.as_u64().or_else(|| {
                let float = number.as_f64()?;
                // Exact for all whole numbers a float holds without loss.
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "range checked")]
                ((0.0..=9.0e15).contains(&float) && float.fract() == 0.0).then_some(float as u64)
            }),
            _ => None,
        }
    }

    /// A number as a float.
    pub fn float(&self) -> Option<f64> {
        match self {
            Json::Number(number) => number.as_f64(),
            _ => None,
        }
    }

    /// `true` or `false`.
    pub fn bool(&self) -> Option<bool> {
        match self {
            Json::Bool(bool) => Some(*bool),
            _ => None,
        }
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Json::Null)
    }

    /// Whether the value says nothing: null, false, an empty text, list or object.
    pub fn is_idle(&self) -> bool {
        match self {
            Json::Null | Json::Bool(false) => true,
            Json::Text(text) => text.is_empty(),
            Json::List(list) => list.is_empty(),
            Json::Object(object) => object.0.is_empty(),
            _ => false,
        }
    }

    /// Appends the text of the value.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Writing into memory cannot fail, and every tree that can be built can be written.
        let _ = serde_json::to_writer(out, self);
    }

    /// The text of the value.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

impl Object {
    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().find(|(have, _)| have == name).map(|(_, value)| value)
    }

    /// The value of that name, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Json> {
        self.0.iter_mut().find(|(have, _)| have == name).map(|(_, value)| value)
    }

    /// Sets the value of that name where it stands, or at the end.
    pub fn set(&mut self, name: &str, value: impl Into<Json>) {
        let value = value.into();
        match self.get_mut(name) {
            Some(have) => *have = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Takes the member of that name out.
    pub fn remove(&mut self, name: &str) -> Option<Json> {
        let at = self.0.iter().position(|(have, _)| have == name)?;
        Some(self.0.remove(at).1)
    }

    /// The same object with one member more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Json>) -> Object {
        self.0.push((name.to_owned(), value.into()));
        self
    }

    /// The same object, with the member only where there is a value.
    #[must_use]
    pub fn with_some<V: Into<Json>>(self, name: &str, value: Option<V>) -> Object {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// An object without members.
    pub fn new() -> Object {
        Object::default()
    }

    /// The members in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps the members that the question answers with true.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &Json) -> bool) {
        self.0.retain(|(name, value)| keep(name, value));
    }
}

impl From<Object> for Json {
    fn from(object: Object) -> Json {
        Json::Object(object)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Json {
        Json::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Json {
        Json::Text(text)
    }
}

impl From<bool> for Json {
    fn from(bool: bool) -> Json {
        Json::Bool(bool)
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Json {
        Json::Number(number.into())
    }
}

impl From<u32> for Json {
    fn from(number: u32) -> Json {
        Json::Number(number.into())
    }
}

impl From<Number> for Json {
    fn from(number: Number) -> Json {
        Json::Number(number)
    }
}

impl From<Vec<Json>> for Json {
    fn from(list: Vec<Json>) -> Json {
        Json::List(list)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(bool) => serializer.serialize_bool(*bool),
            Json::Number(number) => number.serialize(serializer),
            Json::Text(text) => serializer.serialize_str(text),
            Json::List(list) => {
                let mut out = serializer.serialize_seq(Some(list.len()))?;
                for value in list {
                    out.serialize_element(value)?;
                }
                out.end()
            }
            Json::Object(object) => object.serialize(serializer),
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            out.serialize_entry(name, value)?;
        }
        out.end()
    }
}

/// Appends a string with its quotes.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, text);
}

fn read(bytes: &[u8], strict: bool) -> Result<Json, Malformed> {
    let mut nodes = NODES_MAX;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    // serde_json refuses more than 128 levels, so neither reading nor dropping a tree exhausts the stack.
    let value = Node { strict, nodes: &mut nodes }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| Malformed(error.to_string()))?;
    Ok(value)
}

/// Reads one value and charges it to the budget.
struct Node<'b> {
    strict: bool,
    nodes: &'b mut usize,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        match self.nodes.checked_sub(1) {
            Some(left) => *self.nodes = left,
            None => return Err(D::Error::custom("too many values")),
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Json, E> {
        Ok(Json::Bool(bool))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Number::from_f64(number).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = values.next_element_seed(Node { strict: self.strict, nodes: self.nodes })? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        let mut seen = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if self.strict && !seen.insert(name.clone()) {
                return Err(A::Error::custom("a name occurs twice"));
            }
            let value = members.next_value_seed(Node { strict: self.strict, nodes: self.nodes })?;
            object.push((name, value));
        }
        Ok(Json::Object(Object(object)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_names_is_kept() {
        let text = br#"{"z":1,"a":[true,null,-2.5,"x\"y"],"m":{"b":0,"a":0}}"#;
        assert_eq!(Json::read_strict(text).unwrap().to_bytes(), text);
    }

    #[test]
    fn a_name_that_occurs_twice_is_refused_at_any_depth_and_tolerated_from_providers() {
        for text in
            [&br#"{"model":"a","model":"b"}"#[..], br#"{"x":[{"a":1,"a":1}]}"#, br#"{"a":1,"\u0061":2}"#]
        {
            assert!(Json::read_strict(text).is_err());
            assert!(Json::read(text).is_ok());
        }
        assert!(Json::read_strict(br#"{"a":{"a":1},"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn depth_and_number_of_values_are_bounded() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Json::read(deep(100).as_bytes()).is_ok());
        assert!(Json::read(deep(200).as_bytes()).is_err());
        let wide = |values: usize| format!("[{}1]", "1,".repeat(values.saturating_sub(2)));
        assert!(Json::read(wide(NODES_MAX).as_bytes()).is_ok());
        assert!(Json::read(wide(NODES_MAX + 1).as_bytes()).is_err());
    }

    #[test]
    fn something_behind_the_value_is_refused() {
        assert!(Json::read(b"{} {}").is_err());
        assert!(Json::read(b"{} \n").is_ok());
    }

    #[test]
    fn a_count_is_whole_and_not_negative() {
        for (text, count) in
            [("12", Some(12)), ("12.0", Some(12)), ("12.5", None), ("-1", None), ("\"12\"", None)]
        {
            assert_eq!(Json::read(text.as_bytes()).unwrap().count(), count, "{text}");
        }
    }
}
