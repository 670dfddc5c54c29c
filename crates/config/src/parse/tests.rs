use std::time::{Duration, Instant};

use bartizan_model::problem::Severity;
use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> (Vec<Node>, Problems) {
    let mut problems = Problems::new();
    let nodes = parse(&Sources::from_texts([("set/a.yaml", text)]), &mut problems);
    (nodes, problems)
}

fn accepted(text: &str) -> Vec<Node> {
    let (nodes, problems) = parsed(text);
    assert!(problems.is_empty(), "{text:?}: {problems:?}");
    nodes
}

/// `CODE line:column path` of each problem.
fn problems(text: &str) -> Vec<String> {
    let (_, problems) = parsed(text);
    problems
        .iter()
        .map(|problem| format!("{} {}:{} {}", problem.code, problem.at.line, problem.at.column, problem.path))
        .collect()
}

/// Every text, number and key stands in the source where its place says.
fn check_places(text: &str, node: &Node) {
    let slice = |at: &Span| &text[at.start as usize..at.end as usize];
    let line_start = |at: &Span| text[..at.start as usize].rfind('\n').map_or(0, |index| index + 1);
    let lines_before = |at: &Span| text[..at.start as usize].matches('\n').count();
    assert_eq!(lines_before(&node.at) + 1, node.at.line as usize, "{node:?}");
    let column = text[line_start(&node.at)..node.at.start as usize].chars().count() + 1;
    assert_eq!(column, node.at.column as usize, "{node:?}");
    match &node.value {
        Value::Text { text: found, quoted: false } | Value::Integer(found) | Value::Float(found) => {
            assert_eq!(slice(&node.at), &**found);
        }
        Value::Text { .. } => {
            assert!(
                slice(&node.at).starts_with(['"', '\'']) && slice(&node.at).ends_with(['"', '\'']),
                "{node:?}"
            );
        }
        Value::List(items) => items.iter().for_each(|item| check_places(text, item)),
        Value::Map(entries) => {
            for (key, value) in entries {
                assert_eq!(slice(&key.at).trim_matches('"'), &*key.name);
                assert!(
                    node.at.start <= key.at.start && value.at.end <= node.at.end,
                    "{node:?} holds {value:?}"
                );
                check_places(text, value);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

#[test]
fn places_are_right_in_yaml_with_characters_of_all_widths() {
    let text = "# ü\nname: Grüße\nlist:\n  - {a: 1, \"ключ\": 'ß'}\n  - \"😀 x\"\n  -   - 2.5\n      - ж\nnone:\nlast: [1, [2]]  # c\n";
    let [node] = &*accepted(text) else { panic!("one document") };
    check_places(text, node);
    let last = node.get("last").unwrap();
    assert_eq!((last.at.line, last.at.column), (9, 7));
    assert_eq!(&text[last.at.start as usize..last.at.end as usize], "[1, [2]]");
    assert_eq!(node.get("none").unwrap().value, Value::Null);
}

#[test]
fn places_are_right_in_json_with_tabs_and_surrogate_pairs() {
    let text = "{\n\t\"a\": \"\\ud83d\\ude00 \\\"q\\\"\", \"b\": [1, {\"c\": \"x\"}],\r\n\t\"d\": \"\\uD83D\\uDE00\\ud83d\\ude00\", \"e\": 7\n}\n";
    let [node] = &*accepted(text) else { panic!("one document") };
    check_places(text, node);
    assert_eq!(node.get("a").unwrap().text(), Some("😀 \"q\""));
    assert_eq!(node.get("d").unwrap().text(), Some("😀😀"));
    let e = node.get("e").unwrap();
    assert_eq!(&text[e.at.start as usize..e.at.end as usize], "7");
}

#[test]
fn an_escape_that_is_half_a_character_is_a_problem_at_its_place() {
    assert_eq!(problems("{\"a\": \"\\ud83d\"}"), ["BZ-1001 1:7 "]);
    assert_eq!(
        accepted("{a: '\\ud83d\\ude00'}")[0].get("a").unwrap().text(),
        Some("\\ud83d\\ude00"),
        "text in YAML"
    );
    assert_eq!(accepted("a: \\ud83d\\ude00")[0].get("a").unwrap().text(), Some("\\ud83d\\ude00"));
}

#[test]
fn json_may_have_a_line_of_comment_before_it() {
    let text = "# the mission's sample\n{ \"apiVersion\": \"management.v1\", \"kind\": \"RateLimitPolicy\",\n  \"spec\": { \"limits\": { \"requests\": \"100\", \"timeWindow\": \"1m\" }, \"action\": { \"type\": \"Throttle\", \"maxRetry\": 0 } } }";
    let [node] = &*accepted(text) else { panic!("one document") };
    check_places(text, node);
    let max_retry =
        node.get("spec").and_then(|spec| spec.get("action")).and_then(|action| action.get("maxRetry"));
    assert_eq!(max_retry.unwrap().value, Value::Integer("0".into()));
}

#[test]
fn a_file_may_have_several_documents_and_empty_ones_are_passed_over() {
    let nodes = accepted("a: 1\n---\n# nothing\n---\nb: 2\n...\n---\nnull\n---\nc: 3\n");
    let lines: Vec<u32> = nodes.iter().map(|node| node.at.line).collect();
    assert_eq!(lines, [1, 5, 10]);
    assert_eq!(accepted("").len() + accepted("# only\n").len() + accepted("---\n").len(), 0);
}

#[test]
fn only_true_and_false_are_booleans_and_numbers_stay_text() {
    let text = |text: &str| Value::Text { text: text.into(), quoted: false };
    let cases = [
        ("true", Value::Bool(true)),
        ("False", Value::Bool(false)),
        ("yes", text("yes")),
        ("no", text("no")),
        ("NO", text("NO")),
        ("on", text("on")),
        ("~", Value::Null),
        ("null", Value::Null),
        ("0777", Value::Integer("0777".into())),
        ("0x1F", Value::Integer("0x1F".into())),
        ("-1", Value::Integer("-1".into())),
        ("18446744073709551616", Value::Integer("18446744073709551616".into())),
        ("1.0", Value::Float("1.0".into())),
        ("1e3", Value::Float("1e3".into())),
        (".5", Value::Float(".5".into())),
        (".inf", Value::Float(".inf".into())),
        (".", text(".")),
        ("1.2.3", text("1.2.3")),
        ("1e", text("1e")),
        ("1m", text("1m")),
        ("12:30", text("12:30")),
        ("2026-01-01", text("2026-01-01")),
        ("+-5", text("+-5")),
    ];
    for (written, expected) in cases {
        assert_eq!(accepted(&format!("a: {written}"))[0].get("a").unwrap().value, expected, "{written}");
    }
    let quoted = accepted("a: \"true\"\nb: '1'\nc: |\n  2\n");
    for key in ["a", "b", "c"] {
        assert!(matches!(quoted[0].get(key).unwrap().value, Value::Text { quoted: true, .. }), "{key}");
    }
}

#[test]
fn what_makes_yaml_surprising_is_refused() {
    let cases = [
        ("a: &x 1\nb: 2", &["BZ-1005 1:4 a"][..]),
        ("a: &x 1\nb: *x", &["BZ-1005 1:4 a", "BZ-1005 2:4 b"]),
        ("a: *x", &["BZ-1005 1:4 a"]),
        ("a:\n  <<: {b: 1}", &["BZ-1005 2:3 a"]),
        ("a: !!str 5", &["BZ-1006 1:4 a"]),
        ("a: !Ref b", &["BZ-1006 1:4 a"]),
        ("? [a, b]\n: c", &["BZ-1007 1:3 "]),
        ("{a: {[b]: c}}", &["BZ-1007 1:6 a"]),
        (": x", &["BZ-1007 1:1 "]),
        ("%YAML 1.1\n---\na: yes", &["BZ-1008 2:1 "]),
        ("a: 1\nb:\n  c: 1\n  c: 2\na: 3", &["BZ-2004 4:3 b.c", "BZ-2004 5:1 a"]),
        ("- a: 1\n- b: 1\n  b: 2", &["BZ-2004 3:3 [1].b"]),
        ("{\"a\": 1, \"a\": 2}", &["BZ-2004 1:10 a"]),
        ("{\"a\": 1, \"\\u0061\": 2}", &["BZ-2004 1:10 a"]),
    ];
    for (text, expected) in cases {
        assert_eq!(problems(text), expected, "{text:?}");
    }
    assert!(accepted("%YAML 1.2\n---\na: 1").len() == 1);
}

#[test]
fn a_key_written_twice_shows_both_places_and_the_first_stays() {
    let (nodes, problems) = parsed("a: 1\nb: 2\na: 3\n");
    let problem = problems.iter().next().unwrap();
    assert_eq!((problem.at.line, problem.also[0].0.line), (3, 1));
    assert_eq!(nodes[0].get("a").unwrap().value, Value::Integer("1".into()));
    assert_eq!(nodes[0].at.line, 1);
}

#[test]
fn a_document_with_an_alias_is_left_out_and_the_others_stay() {
    let (nodes, problems) = parsed("a: &x 1\n---\nb: &y 2\nc: *y\n---\nd: 3\n");
    assert_eq!(problems.count(Severity::Problem), 3);
    assert_eq!(nodes.iter().map(|node| node.at.line).collect::<Vec<_>>(), [1, 6]);
}

#[test]
fn syntax_errors_have_a_place_and_the_documents_before_them_are_kept() {
    let cases = [
        ("a: [1, 2\nb: 3\n", 2),
        ("a: \"open\nb: 1\n", 1),
        ("a: b\n c: d\n", 2),
        ("a: 1\nb\nc: 2\n", 3),
        ("{\"a\": 1}\n{\"b\": 2}\n", 2),
        ("a: {b: 1}}\n", 1),
        ("a: @b\n", 1),
        ("- a\nb: c\n", 2),
    ];
    for (text, line) in cases {
        let (_, problems) = parsed(text);
        let [problem] = &*problems.iter().collect::<Vec<_>>() else { panic!("{text:?}: {problems:?}") };
        assert_eq!((problem.code, problem.at.line), (Code::Syntax, line), "{text:?}: {problem:?}");
    }
    let (nodes, problems) = parsed("a: 1\n---\nb: 2\n---\nc: [\n");
    assert_eq!((nodes.len(), problems.count(Severity::Problem)), (2, 1));
}

#[test]
fn a_file_that_is_not_utf8_is_reported_and_the_others_are_read() {
    let folder = std::env::temp_dir().join(format!("bartizan-parse-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("a.yaml"), b"a: \xff\n").unwrap();
    std::fs::write(folder.join("b.yaml"), b"\xef\xbb\xbfb: 1\n").unwrap();
    let sources = crate::source::load(std::slice::from_ref(&folder)).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let mut problems = Problems::new();
    let nodes = parse(&sources, &mut problems);
    assert_eq!(problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), [Code::NotUtf8]);
    assert_eq!((nodes.len(), nodes[0].at.file, nodes[0].at.column), (1, FileId(1), 1));
}

// === hostile input ===

fn quick(what: &str, text: &str) -> Problems {
    let begun = Instant::now();
    let (_, problems) = parsed(text);
    assert!(begun.elapsed() < Duration::from_secs(20), "{what} took {:?}", begun.elapsed());
    problems
}

#[test]
fn deep_nesting_is_refused() {
    let depth = |count: usize| format!("{}1{}", "[".repeat(count), "]".repeat(count));
    assert!(parsed(&depth(64)).1.is_empty());
    for text in
        [depth(65), depth(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000), "? ".repeat(100_000)]
    {
        let problems = quick("nesting", &text);
        assert_eq!(
            problems.iter().map(|problem| problem.code).collect::<Vec<_>>(),
            [Code::TooDeep],
            "{}",
            &text[..20]
        );
    }
}

#[test]
fn an_alias_bomb_does_not_grow() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let below = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", [below.as_str(); 10].join(", ")));
    }
    let problems = quick("bomb", &text);
    assert!(problems.iter().all(|problem| problem.code == Code::AliasRefused));
}

#[test]
fn a_set_with_too_many_values_or_a_text_too_long_is_refused() {
    let budget = Budget { nodes: 10, text_bytes: 10, ..Budget::default() };
    let codes = |texts: &[&str]| {
        let mut problems = Problems::new();
        let sources = Sources::from_texts(texts.iter().map(|text| ("a.yaml", *text)));
        parse_within(&sources, budget, &mut problems);
        problems.iter().map(|problem| problem.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(&["[1,2,3,4,5,6,7,8,9]"]), []);
    assert_eq!(codes(&["[1,2,3,4,5,6,7,8,9,10]"]), [Code::TooLarge]);
    assert_eq!(codes(&["[1,2,3,4]", "[1,2,3,4,5]"]), [Code::TooLarge], "the budget is the set's");
    assert_eq!(codes(&["a: 0123456789"]), []);
    assert_eq!(codes(&["a: 0123456789a"]), [Code::TooLarge]);
    assert_eq!(codes(&["0123456789a: a"]), [Code::TooLarge]);
}

#[test]
fn large_and_odd_files_are_judged_in_time() {
    // Enough that a cost growing with the square would be minutes.
    let size = 256 * 1024;
    let cases = [
        ("one long line of JSON", format!("[{}1]", "{\"a\":\"ü\"},".repeat(size / 12))),
        ("many lines", "a:\n- b\n".repeat(size / 7)),
        ("many keys", (0..size / 12).map(|index| format!("k{index}: 1\n")).collect()),
        ("one long text", format!("a: \"{}\"", "x".repeat(size))),
        ("one long plain text", format!("a: {}", "x y ".repeat(size / 4))),
        ("spaces", " ".repeat(size)),
        ("comments", "#\n".repeat(size / 2)),
        ("documents", "---\na\n".repeat(size / 6)),
        ("colons", ":".repeat(size)),
        ("quotes", "\"".repeat(size)),
        ("stars", "*a ".repeat(size / 3)),
        ("tabs", "\t".repeat(size)),
        ("anchors", "&a ".repeat(size / 3)),
        ("block headers", "|\n".repeat(size / 2)),
        ("folded", format!("a: >\n{}", "  x\n\n".repeat(size / 5))),
        ("escapes", format!("{{\"a\": \"{}\"}}", "\\ud83d\\ude00".repeat(size / 12))),
    ];
    for (what, text) in cases {
        quick(what, &text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_judged_without_panic(text in "\\PC{0,200}") {
        parsed(&text);
    }

    #[test]
    fn any_text_of_yaml_signs_is_judged_without_panic(text in "[-?:,\\[\\]{}#&*!|>'\"%@`~<=. \\t\\r\\nab0\\\\u{feff}\u{85}\u{2028}é😀]{0,80}") {
        let (nodes, problems) = parsed(&text);
        for node in nodes {
            let end = node.at.end as usize;
            prop_assert!(text.trim_start_matches('\u{feff}').is_char_boundary(end), "{node:?}");
        }
        for problem in problems.iter() {
            prop_assert!(problem.at.is_place() && problem.at.start <= problem.at.end);
        }
    }

    #[test]
    fn any_json_reads_as_what_it_says(value in json()) {
        for text in [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap()] {
            let (nodes, problems) = parsed(&text);
            prop_assert!(problems.is_empty(), "{text}: {problems:?}");
            match nodes.as_slice() {
                [node] => prop_assert_eq!(&back(node), &value, "{}", text),
                _ => prop_assert_eq!(&value, &serde_json::Value::Null),
            }
        }
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "\\PC{0,20}".prop_map(Into::into),
        ".{0,10}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map("[a-z\"\\\\ é:#-]{1,8}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn back(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Integer(text) => serde_json::from_str(text).unwrap(),
        Value::Float(text) => serde_json::from_str(text).unwrap(),
        Value::Text { text, .. } => (&**text).into(),
        Value::List(items) => items.iter().map(back).collect(),
        Value::Map(entries) => entries.iter().map(|(key, node)| (key.name.to_string(), back(node))).collect(),
    }
}
