//! Held against the published tests of the C library: `BARTIZAN_LIBINJECTION` names the folder in which its `tests/`
//! lies.

use std::{fs, path::PathBuf};

use bartizan_inspect::{Exchange, RequestHead, Session};

use crate::run::set;

/// Those of its tests whose texts a header field can hold; a count that shrinks hides a difference.
const COMPARED_MIN: usize = 45;

#[test]
fn fingerprints_are_those_of_the_c_library() {
    let Some(folder) = std::env::var_os("BARTIZAN_LIBINJECTION").map(PathBuf::from) else {
        eprintln!("skipped: no tests of libinjection (BARTIZAN_LIBINJECTION)");
        return;
    };
    let rules = set(r#"SecRule REQUEST_HEADERS:X "@detectSQLi" "id:1,phase:1,pass,capture""#);
    let mut compared = 0;
    let mut differing = Vec::new();
    for entry in fs::read_dir(folder.join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("test-sqli-") {
            continue;
        }
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        let (_, rest) = text.split_once("--INPUT--\n").unwrap();
        let (input, expected) = rest.split_once("--EXPECTED--").unwrap();
        let input = input.strip_suffix('\n').unwrap_or(input);
        let mut session = Session::new(rules.clone(), None, Exchange::default());
        session.request_head(&RequestHead { headers: &[(b"X", input.as_bytes())], ..RequestHead::default() });
        let _ = session.run();
        let found = session.variable("0").map(|text| String::from_utf8_lossy(text).into_owned());
        compared += 1;
        if found.unwrap_or_default() != expected.trim() {
            differing.push(name);
        }
    }
    println!("{compared} texts compared");
    assert!(compared >= COMPARED_MIN, "only {compared}");
    assert_eq!(differing, [""; 0], "differ from the C library");
}
