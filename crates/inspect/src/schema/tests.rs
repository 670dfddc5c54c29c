use super::*;

fn schema(text: &str) -> Schema {
    Schema::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

fn judged(schema: &Schema, body: &str) -> Conformity {
    schema.judge(body.as_bytes(), &SchemaLimits::default())
}

const ORDER: &str = r##"{
    "type": "object", "required": ["id", "items"], "additionalProperties": false,
    "properties": {
        "id": { "type": "string", "pattern": "^[A-Z]{2}-[0-9]+$" },
        "items": { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/item" } },
        "mail": { "type": "string", "format": "email" },
        "n": { "type": "integer", "format": "int64", "minimum": 0 }
    },
    "$defs": { "item": { "type": "object", "required": ["sku"], "properties": { "sku": { "type": "string", "maxLength": 5 } } } }
}"##;

#[test]
fn a_body_that_follows_the_schema_conforms() {
    let schema = schema(ORDER);
    for body in [
        r#"{"id":"AB-1","items":[{"sku":"a"}]}"#,
        r#"{"n":5,"mail":"a@b.example","items":[{"sku":"12345","x":1}],"id":"AB-1"}"#,
    ] {
        assert_eq!(judged(&schema, body), Conformity::Conforms);
    }
}

#[test]
fn all_violations_of_a_body_are_told_with_their_pointers_and_no_value_is_repeated() {
    let body = r#"{"id":"s3cret-value","items":[{"sku":"ok"},{"sku":"s3cret"},{}],"mail":"s3cret","n":-98765,"zz":"s3cret"}"#;
    let Conformity::Violates { violations, more } = judged(&schema(ORDER), body) else {
        panic!("it conforms")
    };
    assert!(!more);
    let mut told: Vec<(&str, &str)> =
        violations.iter().map(|violation| (violation.pointer.as_str(), violation.keyword.as_str())).collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            ("", "additionalProperties"),
            ("/id", "pattern"),
            ("/items/1/sku", "maxLength"),
            ("/items/2", "required"),
            ("/mail", "format"),
            ("/n", "minimum")
        ]
    );
    let text = format!("{violations:?}");
    assert!(!text.contains("s3cret") && !text.contains("98765") && !text.contains("zz"), "{text}");
}

#[test]
fn violations_are_bounded() {
    let schema = schema(r#"{"type":"array","items":{"type":"string"}}"#);
    let limits = SchemaLimits { violations_max: 3, ..SchemaLimits::default() };
    let Conformity::Violates { violations, more } = schema.judge(b"[1,2,3,4]", &limits) else {
        panic!("it conforms")
    };
    assert_eq!((violations.len(), more), (3, true));
    let Conformity::Violates { violations, more } = schema.judge(b"[1,2,3]", &limits) else {
        panic!("it conforms")
    };
    assert_eq!((violations.len(), more), (3, false));
}

#[test]
fn of_a_large_body_only_the_first_violation_is_told() {
    let schema = schema(r#"{"items":{"anyOf":[{"type":"string"},{"type":"null"},{"type":"array"}]}}"#);
    for (count, told, more) in [(20, 20, false), (4_999, 32, true), (5_000, 1, true), (150_000, 1, true)] {
        let body = format!("[{}]", vec!["1"; count].join(","));
        let Conformity::Violates { violations, more: is_more } = judged(&schema, &body) else {
            panic!("{count}")
        };
        assert_eq!((violations.len(), is_more), (told, more), "{count}");
        assert_eq!(violations[0].pointer, "/0");
    }
}

#[test]
fn a_body_that_readers_would_read_in_two_ways_is_unreadable_with_its_place() {
    let any = schema("true");
    for (body, pointer, problem) in [
        (&br#"{"a":{"b":1,"b":2}}"#[..], "/a/b", "a member is there twice"),
        (br#"{"a":{"b":1,"\u0062":2}}"#, "/a/b", "a member is there twice"),
        (br#"{"a":[1,2"#, "/a/2", "it is not JSON"),
        (br#"{"a":1} x"#, "", "it is not JSON"),
        (b"", "", "it is not JSON"),
        (b"{\"a~/\":[tru]}", "/a~0~1/0", "it is not JSON"),
        (b"\"\xff\"", "", "it is not UTF-8"),
        (b"NaN", "", "it is not JSON"),
    ] {
        let expected = Unreadable { pointer: pointer.to_owned(), problem };
        assert_eq!(
            any.judge(body, &SchemaLimits::default()),
            Conformity::Unreadable(expected),
            "{}",
            String::from_utf8_lossy(body)
        );
    }
}

#[test]
fn nesting_and_values_are_bounded() {
    let any = schema("true");
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(judged(&any, &deep(64)), Conformity::Conforms);
    for depth in [65, 100_000] {
        let Conformity::Unreadable(unreadable) = judged(&any, &deep(depth)) else { panic!("{depth}") };
        assert_eq!(unreadable.problem, "it is nested too deeply");
    }
    let limits = SchemaLimits { values_max: 4, ..SchemaLimits::default() };
    assert_eq!(any.judge(b"[1,2,3]", &limits), Conformity::Conforms);
    assert!(matches!(
        any.judge(b"[1,2,3,4]", &limits),
        Conformity::Unreadable(Unreadable { problem: "it has too many values", .. })
    ));
}

#[test]
fn a_schema_that_cannot_be_used_is_refused_with_its_place() {
    for (text, pointer) in [
        ("[]", ""),
        ("{", ""),
        (r#"{"type":"strin"}"#, "/type"),
        (r#"{"properties":{"a":{"minLength":-1}}}"#, "/properties/a/minLength"),
        (r#"{"a":1,"a":2}"#, "/a"),
        // Never fetched: neither over the network nor from a file.
        (r#"{"$ref":"http://127.0.0.1:9/x.json"}"#, ""),
        (r#"{"$ref":"file:///etc/hostname"}"#, ""),
        (r#"{"properties":{"a":{"$ref":"other.json"}}}"#, ""),
        (r##"{"$ref":"#/$defs/none"}"##, ""),
        (r#"{"$schema":"http://127.0.0.1:9/meta"}"#, ""),
        // A look-around and a back reference are not linear.
        (r#"{"pattern":"(?=a)b"}"#, "/pattern"),
        (r#"{"properties":{"a":{"pattern":"(a)\\1"}}}"#, "/properties/a/pattern"),
        (r#"{"patternProperties":{"(?!x)":true}}"#, "/patternProperties/(?!x)"),
        (r#"{"format":"no-such-format"}"#, "/format"),
        // It would never end.
        (r##"{"$ref":"#"}"##, ""),
        (r##"{"allOf":[{"$ref":"#"}]}"##, "/allOf/0"),
        (
            r##"{"$defs":{"a":{"anyOf":[true,{"$ref":"#/$defs/b"}]},"b":{"not":{"$ref":"#/$defs/a"}}}}"##,
            "/$defs/a/anyOf/1",
        ),
        (r##"{"$defs":{"a":{"$anchor":"x","if":{"$ref":"#x"}}}}"##, "/$defs/a/if"),
    ] {
        match Schema::parse(text.as_bytes()) {
            Ok(_) => panic!("{text} was accepted"),
            Err(error) => assert!(error.pointer == pointer || pointer.is_empty(), "{text}: {error:?}"),
        }
    }
}

#[test]
fn a_schema_that_goes_deeper_with_every_reference_ends() {
    let tree = schema(r##"{"type":"object","properties":{"next":{"$ref":"#"}},"required":["id"]}"##);
    assert_eq!(judged(&tree, r#"{"id":1,"next":{"id":2,"next":{"id":3}}}"#), Conformity::Conforms);
    assert!(matches!(judged(&tree, r#"{"id":1,"next":{"next":{"id":3}}}"#), Conformity::Violates { .. }));
}

#[test]
fn a_pattern_runs_in_linear_time() {
    let schema = schema(r#"{"pattern":"^(a+)+$"}"#);
    let body = format!("\"{}!\"", "a".repeat(50_000));
    assert!(matches!(judged(&schema, &body), Conformity::Violates { .. }));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_reading_or_judging_panic(body in proptest::collection::vec(proptest::prop_oneof![
        proptest::prelude::any::<u8>(),
        proptest::sample::select(b"{}[]\",:0123.eE+-tfn\\u \"a".to_vec()),
    ], 0..80)) {
        let _ = schema(ORDER).judge(&body, &SchemaLimits::default());
    }
}
