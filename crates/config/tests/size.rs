//! How long large sets take. Ignored: it prints times, which mean something only on a machine that does nothing else.
//!
//! `cargo test --release -p bartizan-config --test size -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use std::{fmt::Write as _, time::Instant};

use bartizan_config::{
    Set,
    compare::{Side, compare},
    source::Sources,
};
use bartizan_model::problem::Severity;

/// Routes, upstreams, policies, consumers: `count` documents in files of a hundred.
fn texts(count: usize, broken: bool) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut text = "apiVersion: management.v1\nkind: Listener\nmetadata: { name: web }\nspec: { addresses: [\"127.0.0.1:8080\"] }\n---\napiVersion: management.v1\nkind: AuthenticationPolicy\nmetadata: { name: keys }\nspec: { methods: [{ type: ApiKey }], allowOverride: true }\n".to_owned();
    for number in 0..count / 5 {
        let upstream = if broken { format!("wrong-{number}") } else { format!("service-{number}") };
        let _ = write!(
            text,
            "---\napiVersion: management.v1\nkind: Upstream\nmetadata: {{ name: service-{number} }}\n\
             spec: {{ endpoints: [{{ url: \"http://10.0.0.1:{port}\" }}] }}\n\
             ---\napiVersion: management.v1\nkind: Route\nmetadata: {{ name: route-{number} }}\n\
             spec:\n  hostnames: [\"h{host}.example.com\"]\n  rules:\n    - name: read\n      matches: [{{ path: {{ value: /service-{number} }}, methods: [GET, HEAD] }}]\n      backendRefs: [{{ name: {upstream} }}]\n    - matches: [{{ path: {{ type: Template, value: \"/service-{number}/{{id}}\" }} }}]\n      backendRefs: [{{ name: {upstream} }}]\n\
             ---\napiVersion: management.v1\nkind: Consumer\nmetadata: {{ name: consumer-{number} }}\nspec: {{ roles: [reader] }}\n\
             ---\napiVersion: management.v1\nkind: RateLimitPolicy\nmetadata: {{ name: limit-{number} }}\n\
             spec: {{ targetRefs: [{{ kind: Route, name: route-{number} }}, {{ kind: Consumer, name: consumer-{number} }}], limits: {{ requests: 10, timeWindow: 1s }} }}\n\
             ---\napiVersion: management.v1\nkind: HeaderPolicy\nmetadata: {{ name: headers-{number} }}\n\
             spec: {{ targetRefs: [{{ kind: Route, name: route-{number}, sectionName: read }}], request: {{ forbid: [X-Debug] }} }}\n",
            port = 1_000 + number % 60_000,
            host = number % 50,
        );
        if number % 20 == 19 {
            files.push((format!("set/{number}.yaml"), std::mem::take(&mut text)));
        }
    }
    files.push(("set/rest.yaml".to_owned(), text));
    files.retain(|(_, text)| !text.is_empty());
    for (_, text) in &mut files {
        *text = text.strip_prefix("---\n").unwrap_or(text).to_owned();
    }
    files
}

#[test]
#[ignore = "prints times; run it by name"]
fn ten_thousand_documents_compile_in_two_seconds() {
    for (count, broken) in [(1_000, false), (10_000, false), (10_000, true)] {
        let sources = Sources::from_texts(texts(count, broken));
        let begun = Instant::now();
        let set = Set::from_sources(sources);
        let took = begun.elapsed();
        let problems = set.compiled.problems.count(Severity::Problem);
        assert_eq!(problems > 0, broken, "{:?}", set.compiled.problems.iter().next());
        println!("{} documents, {problems} problems: {took:?}", set.documents.len());
    }
}

#[test]
#[ignore = "prints times; run it by name"]
fn ten_thousand_documents_are_compared_in_two_seconds() {
    let old = texts(10_000, false);
    let new: Vec<(String, String)> = old
        .iter()
        .map(|(name, text)| {
            (
                name.clone(),
                text.replace("requests: 10,", "requests: 20,")
                    .replace("methods: [GET, HEAD]", "methods: [GET, POST]"),
            )
        })
        .collect();
    let begun = Instant::now();
    let (before, after) =
        (Set::from_sources(Sources::from_texts(old)), Set::from_sources(Sources::from_texts(new)));
    let read = begun.elapsed();
    let comparison = compare(Side::of(&before), Side::of(&after).unwrap());
    let took = begun.elapsed();
    assert_eq!((comparison.counts(), comparison.opened.len()), ([0, 4_000, 0], 2_000));
    println!("{} findings: both read in {read:?}, compared after {took:?}", comparison.findings.len());
}
