//! No fixture without a test that reads it.
//!
//! A test names a fixture by its file name, or walks the folder it lies in; the folder's name then stands in the
//! test. A compile-fail case and its expected error come in pairs.

use std::path::{Path, PathBuf};

use super::{Finding, Report};
use crate::{
    Result,
    shell::{self, root},
};

pub(super) fn check() -> Result<Report> {
    let mut report = Report::default();
    let crates = std::fs::read_dir(root().join("crates")).map_err(|error| format!("crates: {error}"))?;
    let mut folders: Vec<PathBuf> =
        crates.flatten().map(|entry| Path::new("crates").join(entry.file_name())).collect();
    folders.sort();
    for folder in folders {
        let sources: String = ["src", "tests"]
            .iter()
            .flat_map(|part| shell::files(folder.join(part)))
            .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
            .filter(|path| !path.components().any(|part| part.as_os_str() == "compile_fail"))
            .filter_map(|path| shell::read(path).ok())
            .collect();
        let testdata = folder.join("testdata");
        for path in shell::files(&testdata) {
            // What tells people about the fixtures is read by people.
            if path.file_name().is_some_and(|name| name == "README.md") {
                continue;
            }
            if !is_read(&path, &testdata, &sources) {
                let what = "no test reads this fixture";
                let remedy = "name it or its folder in a test, or remove it";
                report.findings.push(Finding::new(path.to_string_lossy(), 0, what, remedy));
            }
        }
        report.findings.extend(pairs(&shell::files(folder.join("tests/compile_fail"))));
    }
    Ok(report)
}

/// Whether the sources name the file, or a folder between it and `testdata`, or walk all of `testdata`.
fn is_read(path: &Path, testdata: &Path, sources: &str) -> bool {
    let inside = path.strip_prefix(testdata).unwrap_or(path);
    let mut parts = inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    let named = parts.any(|part| {
        let stem = part.rsplit_once('.').map_or(part.as_str(), |(stem, _)| stem);
        sources.contains(&part) || sources.contains(&format!("\"{stem}\""))
    });
    // `read_dir(…"testdata")` with nothing below it: the whole folder is walked.
    named || sources.contains("testdata\")")
}

fn pairs(files: &[PathBuf]) -> Vec<Finding> {
    let has = |path: &Path, extension: &str| files.contains(&path.with_extension(extension));
    let lonely = |path: &&PathBuf| match path.extension().and_then(|extension| extension.to_str()) {
        Some("stderr") => !has(path, "rs"),
        // The twin that compiles expects no error.
        Some("rs") => !has(path, "stderr") && !path.components().any(|part| part.as_os_str() == "pass"),
        _ => false,
    };
    let tell = |path: &PathBuf| {
        let remedy =
            "pin the expected error beside the case (`cargo xtask fixtures`), or remove the leftover";
        Finding::new(path.to_string_lossy(), 0, "a compile-fail case without its pair", remedy)
    };
    files.iter().filter(lonely).map(tell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixture_is_read_by_its_name_or_its_folder() {
        let testdata = Path::new("crates/a/testdata");
        let cases = [
            ("routes/one.yaml", "read(\"routes/one.yaml\")", true),
            ("routes/one.yaml", "walk(\"testdata/routes\")", true),
            ("routes/one.yaml", "case(\"one\")", true),
            ("routes/one.yaml", "read_dir(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/testdata\"))", true),
            ("routes/one.yaml", "read(\"testdata/other.yaml\")", false),
        ];
        for (file, sources, expected) in cases {
            assert_eq!(is_read(&testdata.join(file), testdata, sources), expected, "{file}: {sources}");
        }
    }

    #[test]
    fn a_case_and_its_error_come_in_pairs() {
        let files = ["a.rs", "a.stderr", "b.rs", "c.stderr", "pass/d.rs"].map(PathBuf::from);
        assert_eq!(pairs(&files).len(), 2);
    }
}
