use serde_json::json;

use super::*;
use crate::{
    node::Key,
    problem::{FileId, Span},
    shape,
};

crate::choice! {
    /// How a path is compared.
    enum PathType {
        /// The whole path.
        Exact = "Exact",
        /// Whole segments.
        PathPrefix = "PathPrefix",
    }
}

crate::document! {
    /// Conditions on a path.
    struct PathMatch: Default {
        /// How it is compared.
        type_: PathType as "type" = PathType::PathPrefix,
        /// The path.
        value: String = "/".to_owned(),
        /// A note.
        note: Option<String>,
    }
}

crate::document! {
    /// Where requests go.
    ///
    /// By weight.
    struct Backend {
        /// The name.
        name: Spanned<String>,
        /// Its share.
        weight: u32 = 1,
    }
}

crate::document! {
    /// A rule.
    struct Rule {
        /// Which path.
        path: PathMatch = PathMatch::default(),
        /// Where to.
        backend_refs: Vec<Backend>,
        /// Limits.
        limits: OneOrMany<u16> = OneOrMany::default(),
        /// Free words.
        labels: BTreeMap<String, String> = BTreeMap::new(),
        /// On or off.
        enabled: Option<bool>,
    }
}

crate::union! {
    /// Where a key comes from.
    enum KeySource {
        /// A header.
        ApiHeader(Backend),
        /// A word.
        Query(String) as "queryParam",
    }
}

use std::collections::BTreeMap;

/// A node from JSON; the place of each is its number in reading order.
fn node(value: &serde_json::Value) -> Node {
    fn build(value: &serde_json::Value, next: &mut u32) -> Node {
        let at = place(next);
        let value = match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) if number.is_f64() => Value::Float(number.to_string().into()),
            serde_json::Value::Number(number) => Value::Integer(number.to_string().into()),
            serde_json::Value::String(text) => Value::Text { text: text.as_str().into(), quoted: true },
            serde_json::Value::Array(items) => {
                Value::List(items.iter().map(|item| build(item, next)).collect())
            }
            serde_json::Value::Object(fields) => Value::Map(
                fields
                    .iter()
                    .map(|(name, value)| {
                        let key = Key { name: name.as_str().into(), at: place(next) };
                        (key, build(value, next))
                    })
                    .collect(),
            ),
        };
        Node { at, value }
    }
    fn place(next: &mut u32) -> Span {
        *next += 1;
        Span { file: FileId(0), start: *next, end: *next + 1, line: 1, column: *next }
    }
    build(value, &mut 0)
}

fn reading<T: Read>(value: serde_json::Value) -> (Option<T>, Vec<String>) {
    read_node(&node(&value))
}

fn read_node<T: Read>(node: &Node) -> (Option<T>, Vec<String>) {
    let mut problems = Problems::new();
    let read = T::read(node, &mut Path::root(), &mut problems);
    assert!(read.is_some() || problems.is_refusing(), "nothing read and nothing reported");
    let lines = problems.iter().map(|problem| {
        let hint = problem.hint.as_deref().map(|hint| format!(" | {hint}")).unwrap_or_default();
        format!("{} {}: {}{hint}", problem.code, problem.path, problem.message)
    });
    (read, lines.collect())
}

#[test]
fn fields_are_read_under_their_spelling_and_defaults_fill_the_rest() {
    let (rule, problems) = reading::<Rule>(json!({
        "backendRefs": [{ "name": "a" }, { "name": "b", "weight": "7" }],
        "path": { "type": "Exact" },
        "limits": 3,
        "labels": { "team": "shop" },
    }));
    assert_eq!(problems, [""; 0]);
    let rule = rule.unwrap();
    assert_eq!(rule.path, PathMatch { type_: PathType::Exact, value: "/".to_owned(), note: None });
    assert_eq!(rule.backend_refs[1].weight, 7);
    assert_eq!(&*rule.limits, [3]);
    assert_eq!(rule.enabled, None);
    assert!(rule.backend_refs[0].name.at.is_place(), "a spanned value knows its place");
}

#[test]
fn all_problems_of_a_document_are_reported_at_once() {
    let (rule, problems) = reading::<Rule>(json!({
        "backendRefs": [{ "nam": "a" }, 7, { "name": 5, "weight": -1 }],
        "backend_refs": [],
        "enabled": "yes",
        "labels": { "a.b": 1 },
        "limits": [1, "x", 70000],
        "path": { "type": "exact", "zzz": null },
    }));
    assert_eq!(rule, None);
    assert_eq!(
        problems,
        [
            "BZ-2002 backendRefs[0].name: the field `name` is missing | `name` is text",
            "BZ-2001 backendRefs[0].nam: there is no field `nam` here | did you mean `name`?",
            "BZ-2003 backendRefs[1]: expected a mapping with fields such as `name`, found a number",
            "BZ-2003 backendRefs[2].name: expected text, found a number | put it in quotes if text is meant: `\"5\"`",
            "BZ-2102 backendRefs[2].weight: `-1` is not a whole number from 0 to 4294967295",
            "BZ-2001 backend_refs: there is no field `backend_refs` here | did you mean `backendRefs`?",
            "BZ-2003 enabled: `yes` is text, not `true` or `false` | write `true` without quotes",
            "BZ-2003 labels[\"a.b\"]: expected text, found a number | put it in quotes if text is meant: `\"1\"`",
            "BZ-2102 limits[1]: `x` is not a whole number from 0 to 65535",
            "BZ-2102 limits[2]: `70000` is not a whole number from 0 to 65535",
            "BZ-2101 path.type: `exact` is not `Exact` or `PathPrefix` | did you mean `Exact`?",
            "BZ-2001 path.zzz: there is no field `zzz` here | the fields here are `type`, `value`, `note`",
        ]
    );
}

#[test]
fn an_unknown_field_is_a_problem_but_the_rest_is_read_on() {
    let (read, problems) = reading::<Backend>(json!({ "name": "a", "wieght": 2 }));
    assert_eq!(read.unwrap().weight, 1);
    assert_eq!(problems, ["BZ-2001 wieght: there is no field `wieght` here | did you mean `weight`?"]);
}

#[test]
fn null_is_absent_for_an_optional_field_and_a_problem_for_a_required_one() {
    let (read, problems) = reading::<PathMatch>(json!({ "type": null, "value": null, "note": null }));
    assert_eq!((read, problems.len()), (Some(PathMatch::default()), 0));
    let (read, problems) = reading::<Backend>(json!({ "name": null }));
    assert_eq!(read, None);
    assert_eq!(problems, ["BZ-2002 name: the field `name` has no value | `name` is text"]);
}

#[test]
fn a_key_written_twice_is_a_problem_and_the_first_value_stays() {
    let mut tree = node(&json!({ "name": "a" }));
    let Value::Map(entries) = &mut tree.value else { panic!("a mapping") };
    let second =
        (entries[0].0.clone(), Node { at: Span::SET, value: Value::Text { text: "b".into(), quoted: true } });
    entries.push(second);
    let (read, problems) = read_node::<Backend>(&tree);
    assert_eq!(*read.unwrap().name, "a");
    assert_eq!(problems, ["BZ-2004 name: the field `name` is written twice | keep one of the two"]);
    let (read, problems) = read_node::<BTreeMap<String, String>>(&tree);
    assert_eq!(read.unwrap()["name"], "a");
    assert_eq!(problems.len(), 1);
}

#[test]
fn a_union_wants_exactly_one_of_its_fields() {
    let query = |text: &str| KeySource::Query(text.to_owned());
    let (read, problems) = reading::<KeySource>(json!({ "queryParam": "q" }));
    assert_eq!((read, problems.len()), (Some(query("q")), 0));
    let (read, problems) = reading::<KeySource>(json!({ "apiHeader": { "name": 1 } }));
    assert_eq!(read, None);
    assert!(problems[0].starts_with("BZ-2003 apiHeader.name:"), "{problems:?}");
    let (_, problems) = reading::<KeySource>(json!({ "apiHeader": { "name": "a" }, "queryParam": "q" }));
    assert_eq!(problems, ["BZ-2005 : `apiHeader` and `queryParam` exclude each other | keep one of them"]);
    let (_, problems) = reading::<KeySource>(json!({}));
    assert_eq!(
        problems,
        ["BZ-2005 : exactly one field must be written here | write `apiHeader` or `queryParam`"]
    );
    assert_eq!(serde_json::to_value(query("q")).unwrap(), json!({ "queryParam": "q" }));
}

#[test]
fn one_or_many_refuses_none() {
    assert_eq!(reading::<OneOrMany<u16>>(json!([1, 2])).0, Some(OneOrMany(vec![1, 2])));
    assert_eq!(reading::<OneOrMany<u16>>(json!("1")).0, Some(OneOrMany(vec![1])));
    assert_eq!(
        reading::<OneOrMany<u16>>(json!([])).1,
        ["BZ-2006 : the list is empty | write at least one item: a whole number from 0 to 65535"]
    );
}

#[test]
fn whole_numbers_are_numbers_or_texts_of_digits_and_nothing_else() {
    for good in [json!(0), json!("0"), json!(255), json!("255")] {
        assert!(reading::<u8>(good.clone()).0.is_some(), "{good}");
    }
    let bad = [
        json!(256),
        json!("-0"),
        json!("+1"),
        json!("01"),
        json!(""),
        json!(" 1"),
        json!("0x1"),
        json!("1_0"),
        json!(1.0),
        json!("1e2"),
        json!(null),
        json!([1]),
        json!(true),
        json!("99999999999999999999999"),
    ];
    for bad in bad {
        assert!(reading::<u8>(bad.clone()).0.is_none(), "{bad}");
    }
    assert_eq!(reading::<u64>(json!(u64::MAX)).0, Some(u64::MAX));
}

#[test]
fn booleans_of_other_languages_are_text_with_advice() {
    let unquoted =
        |text: &str| Node { at: Span::SET, value: Value::Text { text: text.into(), quoted: false } };
    for (text, advice) in [("yes", "write `true`"), ("off", "write `false`"), ("NO", "write `false`")] {
        let (read, problems) = read_node::<bool>(&unquoted(text));
        assert_eq!(read, None);
        assert!(problems[0].ends_with(advice), "{problems:?}");
    }
    let (_, problems) = read_node::<bool>(&unquoted("maybe"));
    assert_eq!(problems, ["BZ-2003 : `maybe` is text, not `true` or `false`"]);
}

#[test]
fn the_nearest_word_is_a_few_edits_away_or_none() {
    let known = ["timeWindow", "requests", "burst", "PathPrefix"];
    let cases = [
        ("timewindow", Some("timeWindow")),
        ("time_window", Some("timeWindow")),
        ("tiemWindow", Some("timeWindow")),
        ("request", Some("requests")),
        ("pathprefix", Some("PathPrefix")),
        ("brust", Some("burst")),
        ("colour", None),
        ("", None),
        ("b", None),
    ];
    for (text, expected) in cases {
        assert_eq!(nearest(text, known.into_iter()), expected, "{text}");
    }
    assert_eq!(nearest(&"x".repeat(100_000), known.into_iter()), None, "long input costs nothing");
}

#[test]
fn names_are_spelled_in_camel_case() {
    fn spelled<const LENGTH: usize>(name: &str) -> String {
        String::from_utf8(camel::<LENGTH>(name).to_vec()).unwrap()
    }
    assert_eq!(spelled::<{ camel_length("backend_refs") }>("backend_refs"), "backendRefs");
    assert_eq!(spelled::<{ camel_length("http2") }>("http2"), "http2");
    assert_eq!(spelled::<{ camel_length("type_") }>("type_"), "type");
    assert_eq!(spelled::<{ camel_length("ApiHeader") }>("ApiHeader"), "apiHeader");
}

#[test]
fn what_is_written_out_reads_back_and_leaves_out_what_goes_without_saying() {
    let (rule, _) = reading::<Rule>(
        json!({ "backendRefs": [{ "name": "a", "weight": 1 }], "path": { "type": "Exact" } }),
    );
    let written = serde_json::to_value(rule.as_ref().unwrap()).unwrap();
    assert_eq!(written, json!({ "backendRefs": [{ "name": "a" }], "path": { "type": "Exact" } }));
    assert_eq!(reading::<Rule>(written).0, rule);
}

#[test]
fn a_shape_says_what_the_type_is() {
    let Shape::Object(object) = Backend::shape() else { panic!("an object") };
    assert_eq!((object.name, object.doc.as_str()), ("Backend", "Where requests go.\n\nBy weight."));
    let [name, weight] = object.fields.as_slice() else { panic!("two fields") };
    assert!(name.required && name.default.is_none());
    assert!(!weight.required && weight.default == Some(json!(1)));
    assert_eq!(weight.doc, "Its share.");
    let Shape::Choice { words, .. } = PathType::shape() else { panic!("a choice") };
    assert_eq!(words[1], shape::Word { word: "PathPrefix", doc: "Whole segments.".to_owned() });
    assert_eq!(PathType::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>(), ["Exact", "PathPrefix"]);
}
