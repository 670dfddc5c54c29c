//! JSON read strictly: a member name twice, more than one value, deep nesting and too many values are refusals, each
//! with its place. RFC 8259 §4 leaves a repeated name to the reader, which is how two readers come to two requests.

use std::{cell::RefCell, fmt};

use serde_json::{Map, Value};

use super::SchemaLimits;

/// 512 bytes of a pointer are told.
const POINTER_BYTES_MAX: usize = 512;

/// Why a text is no JSON for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// A JSON pointer to the value in which reading ended.
    pub pointer: String,
    /// What is wrong there.
    pub problem: &'static str,
}

struct Reader<'l> {
    limits: &'l SchemaLimits,
    values: usize,
    path: Vec<String>,
    problem: Option<&'static str>,
}

/// Reads a text.
pub(super) fn read(text: &[u8], limits: &SchemaLimits) -> Result<Value, Unreadable> {
    let reader = RefCell::new(Reader { limits, values: 0, path: Vec::new(), problem: None });
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let seed = Seed { reader: &reader, depth: 0 };
    let value = serde::de::DeserializeSeed::deserialize(seed, &mut deserializer);
    let value = value.and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|_| {
        let reader = reader.into_inner();
        let problem = reader.problem.unwrap_or(if std::str::from_utf8(text).is_ok() {
            "it is not JSON"
        } else {
            "it is not UTF-8"
        });
        Unreadable { pointer: pointer(reader.path.iter().map(String::as_str)), problem }
    })
}

/// RFC 6901 §3, bounded, without control characters.
pub(super) fn pointer<'s>(segments: impl Iterator<Item = &'s str>) -> String {
    let mut out = String::new();
    for segment in segments {
        if out.len() + segment.len() > POINTER_BYTES_MAX {
            out.push('…');
            break;
        }
        out.push('/');
        for character in segment.chars() {
            match character {
                '~' => out.push_str("~0"),
                '/' => out.push_str("~1"),
                control if control.is_control() => out.push('\u{fffd}'),
                other => out.push(other),
            }
        }
    }
    out
}

#[derive(Clone, Copy)]
struct Seed<'r, 'l> {
    reader: &'r RefCell<Reader<'l>>,
    depth: usize,
}

impl<'r, 'l> Seed<'r, 'l> {
    fn refuse<E: serde::de::Error>(self, problem: &'static str) -> E {
        self.reader.borrow_mut().problem.get_or_insert(problem);
        E::custom(problem)
    }

    fn count<E: serde::de::Error>(self) -> Result<(), E> {
        let mut reader = self.reader.borrow_mut();
        reader.values += 1;
        if reader.values <= reader.limits.values_max {
            return Ok(());
        }
        drop(reader);
        Err(self.refuse("it has too many values"))
    }

    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= self.reader.borrow().limits.depth_max {
            return Err(self.refuse("it is nested too deeply"));
        }
        Ok(Seed { depth: self.depth + 1, ..self })
    }

    fn enter(self, segment: String) {
        self.reader.borrow_mut().path.push(segment);
    }

    fn leave(self) {
        self.reader.borrow_mut().path.pop();
    }
}

impl<'de> serde::de::DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> serde::de::Visitor<'de> for Seed<'_, '_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut values = Vec::new();
        loop {
            inside.enter(values.len().to_string());
            let Some(value) = items.next_element_seed(inside)? else { break };
            inside.leave();
            values.push(value);
        }
        inside.leave();
        Ok(values.into())
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            inside.enter(name.clone());
            inside.count()?;
            if map.contains_key(&name) {
                return Err(inside.refuse("a member is there twice"));
            }
            let value = members.next_value_seed(inside)?;
            inside.leave();
            map.insert(name, value);
        }
        Ok(map.into())
    }
}
