//! `bartizan schema`: schemas for editors, pages for readers.

use std::fs;

use bartizan_testkit::TempDir;

use crate::bartizan;

#[test]
fn a_kind_has_a_schema_and_all_kinds_have_one_together() {
    let dir = TempDir::new();
    let route = bartizan(&dir, &["schema", "Route"]).json();
    assert_eq!(route["properties"]["kind"]["const"], "Route");
    assert_eq!(bartizan(&dir, &["schema", "route"]).json(), route, "the case does not matter");
    let all = bartizan(&dir, &["schema"]).json();
    assert_eq!(all["$defs"]["Route"]["properties"], route["properties"]);
    let ran = bartizan(&dir, &["schema", "Rout"]);
    assert!(ran.code == 2 && ran.err.contains("Route"), "{}", ran.err);
}

#[test]
fn what_is_written_is_what_is_printed() {
    let dir = TempDir::new();
    let ran = bartizan(&dir, &["schema", "--all", "schema", "--pages", "pages"]);
    assert_eq!((ran.code, &*ran.out), (0, ""));
    let read = |path: &str| fs::read_to_string(dir.join(path)).unwrap();
    assert_eq!(read("schema/Upstream.json"), bartizan(&dir, &["schema", "Upstream"]).out);
    assert_eq!(read("schema/bartizan.json"), bartizan(&dir, &["schema"]).out);
    assert_eq!(read("pages/Upstream.md"), bartizan(&dir, &["schema", "Upstream", "--page"]).out);
    assert_eq!(read("pages/README.md"), bartizan(&dir, &["schema", "--page"]).out);
    let count = |folder: &str| fs::read_dir(dir.join(folder)).unwrap().count();
    // One per kind, and one for all of them.
    let expected = bartizan_model::document::Kind::ALL.len() + 1;
    assert_eq!((count("schema"), count("pages")), (expected, expected));
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = TempDir::new();
    fs::write(dir.join("file"), "").unwrap();
    let ran = bartizan(&dir, &["schema", "--all", "file"]);
    assert!(ran.code == 2 && ran.err.contains("error: file cannot be written: "), "{}", ran.err);
}
