//! JSON Schemas (2020-12) from shapes, for editors and other tools.
//!
//! A schema accepts what the reader accepts as far as schemas can say it; the reader stays the judge. Output is
//! deterministic, so that the files checked in can be compared with what the code says.

use bartizan_model::{
    document::{API_VERSION, API_VERSION_KUBERNETES, Kind, Metadata},
    read::Read as _,
    shape::{Field, Object, Shape, clean, summary},
};
use serde_json::{Map, Value, json};

/// The dialect of all schemas.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of one kind of document, with its own `$id`.
pub fn of_kind(kind: Kind) -> Value {
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), DIALECT.into());
    schema.insert("$id".to_owned(), id(kind.as_str()).into());
    schema.extend(document(kind));
    Value::Object(schema)
}

/// One schema for all kinds, told apart by `kind`.
pub fn combined() -> Value {
    let kinds: Vec<Value> =
        Kind::ALL.iter().map(|kind| json!({ "$ref": format!("#/$defs/{}", kind.as_str()) })).collect();
    let definitions: Map<String, Value> =
        Kind::ALL.iter().map(|kind| (kind.as_str().to_owned(), Value::Object(document(*kind)))).collect();
    json!({
        "$schema": DIALECT,
        "$id": id("bartizan"),
        "title": "A Bartizan document",
        "type": "object",
        "required": ["kind"],
        "oneOf": kinds,
        "$defs": definitions,
    })
}

/// A URN, because nothing has to be fetched: editors map files to schemas by path.
fn id(name: &str) -> String {
    format!("urn:bartizan:{API_VERSION}:{name}")
}

/// The schema of a whole document.
fn document(kind: Kind) -> Map<String, Value> {
    let spec = kind.spec_shape();
    let doc = match &spec {
        Shape::Object(object) => summary(&object.doc),
        _ => String::new(),
    };
    let mut properties = Map::new();
    properties.insert("apiVersion".to_owned(), json!({ "enum": [API_VERSION, API_VERSION_KUBERNETES] }));
    properties.insert("kind".to_owned(), json!({ "const": kind.as_str() }));
    properties.insert("metadata".to_owned(), of_shape(&Metadata::shape()));
    properties.insert("spec".to_owned(), of_shape(&spec));
    let mut schema = Map::new();
    schema.insert("title".to_owned(), kind.as_str().into());
    if !doc.is_empty() {
        schema.insert("description".to_owned(), doc.into());
    }
    schema.insert("type".to_owned(), "object".into());
    schema.insert("required".to_owned(), json!(["apiVersion", "kind", "spec"]));
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema.insert("additionalProperties".to_owned(), false.into());
    schema
}

/// The schema of a shape.
pub fn of_shape(shape: &Shape) -> Value {
    match shape {
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Integer { min, max } => integer(*min, *max),
        Shape::Text { format, pattern, example } => {
            let mut schema = Map::new();
            schema.insert("type".to_owned(), "string".into());
            if *format != "text" {
                schema.insert("description".to_owned(), (*format).into());
            }
            if let Some(pattern) = pattern {
                schema.insert("pattern".to_owned(), (*pattern).into());
            }
            if let Some(example) = example {
                schema.insert("examples".to_owned(), json!([example]));
            }
            Value::Object(schema)
        }
        Shape::Choice { doc, words, .. } => {
            let described: Vec<Value> = words
                .iter()
                .map(|word| match word.doc.is_empty() {
                    true => json!({ "const": word.word }),
                    false => json!({ "const": word.word, "description": one_line(&word.doc) }),
                })
                .collect();
            described_as(doc, json!({ "type": "string", "oneOf": described }))
        }
        Shape::List { item, min: 0 } => json!({ "type": "array", "items": of_shape(item) }),
        Shape::List { item, min } => json!({ "type": "array", "items": of_shape(item), "minItems": min }),
        Shape::Map { value } => json!({ "type": "object", "additionalProperties": of_shape(value) }),
        Shape::Object(object) => of_object(object),
        Shape::Union(object) => {
            let mut schema = of_object(object);
            if let Value::Object(schema) = &mut schema {
                schema.insert("minProperties".to_owned(), 1.into());
                schema.insert("maxProperties".to_owned(), 1.into());
            }
            schema
        }
        Shape::OneOf(shapes) => json!({ "anyOf": shapes.iter().map(of_shape).collect::<Vec<_>>() }),
    }
}

/// A whole number or a string of digits; in a schema, limits hold for the number only.
fn integer(min: u64, max: u64) -> Value {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!(["integer", "string"]));
    schema.insert("minimum".to_owned(), min.into());
    if max < u64::MAX {
        schema.insert("maximum".to_owned(), max.into());
    }
    let pattern = if min == 0 { "^(0|[1-9][0-9]*)$" } else { "^[1-9][0-9]*$" };
    schema.insert("pattern".to_owned(), pattern.into());
    Value::Object(schema)
}

fn of_object(object: &Object) -> Value {
    let required: Vec<&str> =
        object.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let properties: Map<String, Value> =
        object.fields.iter().map(|field| (field.name.to_owned(), of_field(field))).collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema.insert("additionalProperties".to_owned(), false.into());
    described_as(&object.doc, Value::Object(schema))
}

/// A field's schema: its value's, under the field's own description and with its default.
fn of_field(field: &Field) -> Value {
    let mut schema = described_as(&field.doc, of_shape(&field.shape));
    if let (Value::Object(schema), Some(default)) = (&mut schema, &field.default) {
        schema.insert("default".to_owned(), default.clone());
    }
    schema
}

fn described_as(doc: &str, schema: Value) -> Value {
    match schema {
        Value::Object(mut schema) if !doc.is_empty() => {
            schema.insert("description".to_owned(), one_line(doc).into());
            Value::Object(schema)
        }
        other => other,
    }
}

/// Paragraphs on a line each: editors show them as they are.
fn one_line(doc: &str) -> String {
    clean(doc)
        .split("\n\n")
        .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n\n")
}

#[cfg(test)]
mod tests;
