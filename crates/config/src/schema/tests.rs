use serde_json::json;

use super::*;

#[test]
fn every_kind_has_a_schema_with_its_fields_closed() {
    for kind in Kind::ALL {
        let schema = of_kind(*kind);
        assert_eq!(schema["$schema"], DIALECT);
        assert_eq!(schema["title"], kind.as_str());
        assert_eq!(schema["properties"]["kind"], json!({ "const": kind.as_str() }));
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["spec"]["additionalProperties"], false, "{kind:?}");
        assert!(schema["description"].as_str().is_some_and(|text| text.len() > 10), "{kind:?}");
        closed(&schema);
    }
}

/// Every object either lists its fields and admits no others, or is a mapping with a schema for its values.
fn closed(schema: &Value) {
    if schema["type"] == "object" && schema.get("$defs").is_none() {
        assert!(schema.get("additionalProperties").is_some(), "{schema}");
        let known = schema["properties"].as_object().cloned().unwrap_or_default();
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(known.contains_key(name.as_str().unwrap()), "{name} is required and unknown");
        }
    }
    match schema {
        Value::Object(fields) => fields.values().for_each(closed),
        Value::Array(items) => items.iter().for_each(closed),
        _ => {}
    }
}

#[test]
fn defaults_descriptions_and_words_are_in_the_schema() {
    let schema = of_kind(Kind::RateLimitPolicy);
    let spec = &schema["properties"]["spec"];
    assert_eq!(spec["required"], json!(["limits"]));
    assert_eq!(spec["properties"]["mode"]["default"], "enforce");
    assert_eq!(spec["properties"]["mode"]["oneOf"][1]["const"], "shadow");
    assert_eq!(spec["properties"]["enforcePercent"]["maximum"], 100);
    assert_eq!(spec["properties"]["action"]["properties"]["maxWait"]["default"], "30s");
    assert!(spec["properties"]["limits"]["anyOf"].as_array().is_some_and(|shapes| shapes.len() == 2));
}

#[test]
fn the_combined_schema_has_every_kind_once() {
    let schema = combined();
    assert_eq!(schema["oneOf"].as_array().unwrap().len(), Kind::ALL.len());
    for (kind, reference) in Kind::ALL.iter().zip(schema["oneOf"].as_array().unwrap()) {
        assert_eq!(reference["$ref"], format!("#/$defs/{}", kind.as_str()));
        assert_eq!(schema["$defs"][kind.as_str()]["title"], kind.as_str());
    }
    assert_eq!(combined().to_string(), schema.to_string(), "twice the same text");
}

#[test]
fn each_shape_becomes_the_schema_that_accepts_what_the_reader_accepts() {
    let cases = [
        (Shape::Bool, json!({ "type": "boolean" })),
        (Shape::TEXT, json!({ "type": "string" })),
        (
            Shape::Integer { min: 1, max: 9 },
            json!({ "type": ["integer", "string"], "minimum": 1, "maximum": 9, "pattern": "^[1-9][0-9]*$" }),
        ),
        (
            Shape::List { item: Box::new(Shape::Bool), min: 1 },
            json!({ "type": "array", "items": { "type": "boolean" }, "minItems": 1 }),
        ),
        (
            Shape::Map { value: Box::new(Shape::Bool) },
            json!({ "type": "object", "additionalProperties": { "type": "boolean" } }),
        ),
        (
            Shape::Union(Object::new(
                "U",
                " A union.\n",
                vec![Field::optional("a", " An a.\n", None, Shape::Bool)],
            )),
            json!({
                "type": "object",
                "description": "A union.",
                "properties": { "a": { "type": "boolean", "description": "An a." } },
                "additionalProperties": false,
                "minProperties": 1,
                "maxProperties": 1,
            }),
        ),
        (
            Shape::OneOf(vec![Shape::Bool, Shape::TEXT]),
            json!({ "anyOf": [{ "type": "boolean" }, { "type": "string" }] }),
        ),
    ];
    for (shape, expected) in cases {
        assert_eq!(of_shape(&shape), expected);
    }
}
