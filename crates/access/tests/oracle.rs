//! Our conditions against another implementation of CEL: whatever both can read they must answer alike.
//!
//! Expressions are generated from constants, so that no context has to be built twice. Where the other one ends with
//! an error ours must have no answer, and the other way round.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;

use bartizan_access::{Asked, NoVariables, Subject, expression::compile};
use http::{HeaderMap, Method};
use proptest::prelude::*;

fn ours(text: &str) -> Option<bool> {
    let headers = HeaderMap::new();
    let asked = Asked {
        route: "",
        method: &Method::GET,
        path: "/",
        host: "",
        headers: &headers,
        query: None,
        variables: &NoVariables,
        client: Ipv4Addr::LOCALHOST.into(),
    };
    let condition = compile(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
    condition.holds(&Subject::NOBODY, &asked, 0).ok()
}

fn theirs(text: &str) -> Option<bool> {
    let program = cel::Program::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    match program.execute(&cel::Context::default()) {
        Ok(cel::Value::Bool(value)) => Some(value),
        Ok(other) => panic!("{text}: {other:?}"),
        Err(_) => None,
    }
}

fn int() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (-3_i64..4).prop_map(|value| value.to_string()),
        Just("9223372036854775807".to_owned()),
        Just("size('häß')".to_owned()),
        Just("[1, 2].size()".to_owned()),
    ];
    leaf.prop_recursive(2, 8, 2, |inner| {
        (inner.clone(), prop_oneof![Just("+"), Just("-"), Just("*"), Just("/"), Just("%")], inner)
            .prop_map(|(one, operator, other)| format!("({one} {operator} {other})"))
    })
}

fn text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("''"),
        Just("'a'"),
        Just("\"ab\""),
        Just(r"'\x61\142'"),
        Just(r"r'\d'"),
        Just("'ä'"),
        Just(r"'\u00e4'"),
    ];
    leaf.prop_map(str::to_owned).prop_recursive(1, 3, 2, |inner| {
        (inner.clone(), inner).prop_map(|(one, other)| format!("({one} + {other})"))
    })
}

fn list() -> impl Strategy<Value = String> {
    prop::collection::vec(int(), 1..4).prop_map(|items| format!("[{}]", items.join(", ")))
}

fn condition() -> impl Strategy<Value = String> {
    let order = || prop_oneof![Just("=="), Just("!="), Just("<"), Just("<="), Just(">"), Just(">=")];
    let method = prop_oneof![Just("startsWith"), Just("endsWith"), Just("contains")];
    let each = prop_oneof![Just("all"), Just("exists"), Just("exists_one")];
    let leaf = prop_oneof![
        any::<bool>().prop_map(|value| value.to_string()),
        (int(), order(), int()).prop_map(|(one, operator, other)| format!("{one} {operator} {other}")),
        (text(), order(), text()).prop_map(|(one, operator, other)| format!("{one} {operator} {other}")),
        (list(), list()).prop_map(|(one, other)| format!("{one} == {other}")),
        (int(), list()).prop_map(|(one, list)| format!("{one} in {list}")),
        (list(), int(), int()).prop_map(|(list, at, one)| format!("{list}[{at}] == {one}")),
        (text(), method, text()).prop_map(|(one, method, other)| format!("{one}.{method}({other})")),
        (text(), prop_oneof![Just("^a"), Just("b$"), Just("[äb]")])
            .prop_map(|(one, pattern)| format!("{one}.matches('{pattern}')")),
        (list(), each, order(), int())
            .prop_map(|(list, each, operator, one)| format!("{list}.{each}(x, x {operator} {one})")),
    ];
    leaf.prop_map(|leaf| format!("({leaf})")).prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|one| format!("!{one}")),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" && "))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" || "))),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(condition, yes, no)| format!("({condition} ? {yes} : {no})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn both_implementations_answer_alike(text in condition()) {
        prop_assert_eq!(ours(&text), theirs(&text), "{}", text);
    }
}

#[test]
fn what_binds_stronger_binds_stronger_here_too() {
    for text in [
        "true || false && false",
        "false == false == false",
        "1 + 2 * 3 - 4 / 2 % 3 == 5",
        "!false == true",
        "-1 < 1 == true",
        "1 in [1] == true",
        "true ? false : true ? true : false",
        "false ? false : true ? false : true",
        "2 - 1 - 1 == 0",
        "8 / 4 / 2 == 1",
        "- -1 == 1",
        "!!true",
        "[1, 2,] == [1, 2]",
        "'a' + 'b' in ['ab']",
    ] {
        assert_eq!(ours(text), theirs(text), "{text}");
    }
}
