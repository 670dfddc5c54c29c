use bartizan_model::{document::Document, problem::FileId};

use super::*;
use crate::parse::parse;

fn checked(texts: &[(&str, &str)]) -> (Problems, Sources) {
    let sources = Sources::from_texts(texts.iter().copied());
    let mut problems = Problems::new();
    for node in parse(&sources, &mut problems) {
        let stem = sources.get(node.at.file).and_then(|source| source.stem());
        Document::read(&node, stem, &mut problems);
    }
    (problems, sources)
}

fn plain(texts: &[(&str, &str)]) -> String {
    let (problems, sources) = checked(texts);
    text(&problems, &sources, Style::Plain)
}

const ORDERS: &str = "\
apiVersion: management.v1
kind: RateLimitPolicy
metadata: { name: orders }
spec:
  limits:
    - requests: \"100\"
      timeWindow: 1x
      timeWindow: 5m
  action: { type: throttle, maxRetry: 0 }
  mod: enforce
";

#[test]
fn a_problem_names_place_cause_and_next_step() {
    let expected = "\
problem BZ-2104  policies/orders.yaml:7:19  spec.limits[0].timeWindow
  `1x` is not a duration
  |
7 |       timeWindow: 1x
  |                   ^^

hint: write a number and a unit, for example `30s` or `5m`

problem BZ-2004  policies/orders.yaml:8:7  spec.limits[0].timeWindow
  the field `timeWindow` is written twice
  |
8 |       timeWindow: 5m
  |       ^^^^^^^^^^
  |
7 |       timeWindow: 1x
  |       ---------- first written here

hint: keep one of the two

problem BZ-2101  policies/orders.yaml:9:19  spec.action.type
  `throttle` is not `Reject` or `Throttle`
  |
9 |   action: { type: throttle, maxRetry: 0 }
  |                   ^^^^^^^^

hint: did you mean `Throttle`?

problem BZ-2001  policies/orders.yaml:10:3  spec.mod
  there is no field `mod` here
   |
10 |   mod: enforce
   |   ^^^

hint: did you mean `mode`?

4 problems
";
    assert_eq!(plain(&[("policies/orders.yaml", ORDERS)]), expected);
}

#[test]
fn colour_adds_nothing_but_colour() {
    let (problems, sources) = checked(&[("policies/orders.yaml", ORDERS)]);
    let coloured = text(&problems, &sources, Style::Coloured);
    assert!(coloured.contains("\x1b[1;31mproblem BZ-2104\x1b[0m"), "{coloured}");
    let mut bare = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\x1b') {
        bare.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    bare.push_str(rest);
    assert_eq!(bare, text(&problems, &sources, Style::Plain));
}

#[test]
fn programs_get_one_object_a_line() {
    let (problems, sources) = checked(&[("policies/orders.yaml", ORDERS)]);
    let lines = json_lines(&problems, &sources);
    assert_eq!(
        lines.lines().nth(1).unwrap(),
        "{\"code\":\"BZ-2004\",\"severity\":\"problem\",\"file\":\"policies/orders.yaml\",\"line\":8,\"column\":7,\
         \"path\":\"spec.limits[0].timeWindow\",\"message\":\"the field `timeWindow` is written twice\",\
         \"hint\":\"keep one of the two\",\"also\":[{\"file\":\"policies/orders.yaml\",\"line\":7,\"column\":7,\
         \"message\":\"first written here\"}]}"
    );
    assert_eq!(lines.lines().count(), 4);
    assert_eq!(json_array(&problems, &sources).as_array().unwrap().len(), 4);
}

#[test]
fn a_problem_of_the_set_or_of_a_file_has_no_place_and_no_snippet() {
    let sources = Sources::from_texts([("a.yaml", "a: 1")]);
    let mut problems = Problems::new();
    problems.push(Problem::new(Code::BadValue, Span::whole(FileId(0)), "", "one").warning());
    problems.push(Problem::new(Code::BadValue, Span::SET, "", "two").exposure());
    assert_eq!(
        text(&problems, &sources, Style::Plain),
        "warning BZ-2100  a.yaml\n  one\n\nexposure BZ-2100\n  two\n\n1 warning, 1 exposure\n"
    );
    let lines = json_lines(&problems, &sources);
    assert!(lines.lines().nth(1).unwrap().contains("\"file\":null,\"line\":null"), "{lines}");
    assert_eq!(text(&Problems::new(), &sources, Style::Plain), "");
    assert_eq!(summary(&Problems::new()), "no problems");
}

#[test]
fn marks_stand_under_wide_and_multibyte_text() {
    let out = plain(&[(
        "a.yaml",
        "# ü\napiVersion: management.v1\nkind: Secret\nspec: {valueRef: env://A, ключ: 1, \"日本\": 2}\n",
    )]);
    assert!(
        out.contains(
            "4 | spec: {valueRef: env://A, ключ: 1, \"日本\": 2}\n  |                           ^^^^\n"
        ),
        "{out}"
    );
    assert!(out.contains("2}\n  |                                    ^^^^^^\n"), "{out}");
}

#[test]
fn a_value_that_may_be_a_secret_is_never_shown() {
    let spec = |spec: &str| format!("apiVersion: management.v1\nkind: Upstream\nspec: {spec}\n");
    let cases = [
        spec("{ endpoints: [], password: hunter2, x: 1 }"),
        spec("{ endpoints: [], \"api_key\": \"hunter2, x\", x: 1 }"),
        spec("{ endpoints: [{ url: \"http://user:hunter2@a:1\", x: 1 }] }"),
        spec("{ endpoints: [{ url: 'http://hunter2@a' }], x: 1 }"),
        spec("\n  endpoints: []\n  clientSecret: hunter2 and more # x\n  x: [1, 2"),
        spec("\n  credential: { secretRef: hunter2 hunter2 }\n  x: 1"),
        spec("\n  token: hunter2 @"),
        "apiVersion: management.v1\nkind: Secret\nspec: { valueRef: hunter2 }".to_owned(),
        "apiVersion: management.v1\nkind: Secret\nspec: { valueRef: [hunter2, x], y: 1 }".to_owned(),
        "apiVersion: management.v1\nkind: Secret\nspec:\n  valueRef: |\n    hunter2\n".to_owned(),
        "apiVersion: management.v1\nkind: Secret\nspec: { valueRef: env://A, password: !!str hunter2 }"
            .to_owned(),
        "{\"kind\": \"Secret\", \"token\": \"hunter2".to_owned(),
    ];
    for case in cases {
        let out = plain(&[("a.yaml", &case)]);
        assert!(!out.is_empty() && !out.contains("hunter2"), "{case}\n{out}");
        let (problems, sources) = checked(&[("a.yaml", &case)]);
        assert!(!json_lines(&problems, &sources).contains("hunter2"), "{case}");
    }
    let shown = plain(&[("a.yaml", &spec("{ endpoints: [], credential: env://SHOWN, tokens: {a: b} }"))]);
    assert!(shown.contains("env://SHOWN") && shown.contains("{a: b}"), "{shown}");
}

#[test]
fn input_cannot_steer_the_terminal() {
    let out =
        plain(&[("a\x1b[2J.yaml", "kind: \"\u{1b}[31mred\u{202e}\"\n\"x\u{7}\u{9b}y\": \x07\u{202e}1\n")]);
    assert!(!out.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{out:?}");
}

#[test]
fn a_long_line_is_shown_around_its_place() {
    let text = format!(
        "{{\"kind\": \"Secret\", \"a\": [{}\"ü\"], \"kimd\": 1, {}}}",
        "\"ü\", ".repeat(100_000),
        "\"z\": 1"
    );
    let out = plain(&[("a.json", &text)]);
    assert!(out.len() < 6_000 && out.contains("\"kimd\": 1"), "{}", out.len());
    let (problems, sources) = checked(&[("a.json", &text)]);
    assert!(problems.total() > 2 && sources.len() == 1);
}

#[test]
fn many_problems_in_a_large_file_are_rendered_in_time() {
    let text = format!("[{}]", "{\"token\": \"hunter2\", \"token\": 1},".repeat(60_000));
    let begun = std::time::Instant::now();
    let (problems, sources) = checked(&[("a.json", &text)]);
    let out = super::text(&problems, &sources, Style::Plain);
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(out.contains("not shown)"), "the rest is counted");
    assert!(!out.contains("hunter2"));
}

#[test]
fn a_secret_is_veiled_on_every_line_that_shows_it() {
    let text = "apiVersion: management.v1\nkind: Secret\nspec: { note: 1, valueRef: [hunter2, x], y: 1 }";
    let out = plain(&[("a.yaml", text)]);
    assert_eq!(out.matches("valueRef: ***, y: 1 }").count(), 3, "{out}");
    assert!(out.contains("                              ^\n"), "the marks still stand in place: {out}");
}

#[test]
fn a_section_shows_one_severity_and_veils_the_secrets_of_all() {
    let text = "apiVersion: management.v1\nkind: Secret\nspec: { note: 1, valueRef: [hunter2, x], y: 1 }";
    let (mut problems, sources) = checked(&[("a.yaml", text)]);
    let at =
        problems.iter().find(|problem| problem.code == Code::UnknownField).map(|problem| problem.at).unwrap();
    problems.push(Problem::new(Code::RouteOpen, at, "", "open").exposure());
    let exposures = section(&problems, Severity::Exposure, &sources, Style::Plain);
    assert!(
        exposures.starts_with("exposure BZ-9001") && exposures.matches("BZ-").count() == 1,
        "{exposures}"
    );
    assert!(exposures.contains("***") && !exposures.contains("hunter2"), "{exposures}");
    let rest = section(&problems, Severity::Problem, &sources, Style::Plain);
    assert!(rest.contains("BZ-2116") && !rest.contains("BZ-9001") && !rest.contains("hunter2"), "{rest}");
    assert_eq!(section(&problems, Severity::Warning, &sources, Style::Plain), "");
}
