//! Files that are made from the code and checked in: schemas, pages, golden answers.
//!
//! There are two ways to be generated. A file that the binary can print is a row of [`GENERATED`]. A file that a test
//! compares with is written by that test when `BARTIZAN_REGENERATE` is set; which packages have such tests is read
//! from their sources. The diff is reviewed like code.

use std::{fs, path::Path};

use crate::{
    Result, shell,
    shell::{cargo, files, flag, output, root},
    steps::Done,
    tidy,
};

/// A file, and the arguments with which the gateway's binary prints it. `{Kind}` in both stands for each kind of
/// document, so that a new kind needs no row.
struct Generated {
    arguments: &'static [&'static str],
    path: &'static str,
}

/// Everything that the binary prints and the repository keeps.
const GENERATED: &[Generated] = &[
    Generated { arguments: &["schema", "{Kind}"], path: "schema/{Kind}.json" },
    Generated { arguments: &["schema"], path: "schema/bartizan.json" },
    Generated { arguments: &["schema", "{Kind}", "--page"], path: "docs/kinds/{Kind}.md" },
    Generated { arguments: &["schema", "--page"], path: "docs/kinds/README.md" },
];

/// Variables that tell the tests to write what they would compare with.
const REGENERATE: [(&str, &str); 4] = [
    ("BARTIZAN_REGENERATE", "1"),
    ("INSTA_UPDATE", "always"),
    ("INSTA_FORCE_PASS", "1"),
    ("TRYBUILD", "overwrite"),
];

/// Writes everything anew, or only compares.
fn generate(check_only: bool) -> Result {
    if check_only {
        return check().map(|_| ());
    }
    let rows = rows(GENERATED, &tidy::kinds()?);
    for (arguments, path) in &rows {
        let text = print(arguments)?;
        let path = root().join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
        }
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let packages = packages_with_golden_tests()?;
    for package in &packages {
        println!("regenerating what the tests of {package} compare with");
        shell::run(cargo().args(["test", "--quiet", "--package", package]).envs(REGENERATE))?;
    }
    println!("{} files printed, {} packages regenerated; review the diff", rows.len(), packages.len());
    Ok(())
}

/// `cargo xtask fixtures [--check]`.
pub(crate) fn run(arguments: &[String]) -> Result {
    shell::known(arguments, &["--check"])?;
    generate(flag(arguments, "--check"))
}

/// Whether each file of [`GENERATED`] is what the binary prints now; the tests see to the others.
pub(crate) fn check() -> Result<Done> {
    if GENERATED.is_empty() {
        return Ok(Done::Passed("the binary prints none yet".to_owned()));
    }
    let mut stale = Vec::new();
    let rows = rows(GENERATED, &tidy::kinds()?);
    for (arguments, path) in &rows {
        let (now, then) = (print(arguments)?, shell::read(path).unwrap_or_default());
        if let Some(line) = first_difference(&then, &now) {
            println!("{path}:{line}: stale");
            stale.push(path);
        }
    }
    if stale.is_empty() {
        return Ok(Done::Passed(format!("{} files", rows.len())));
    }
    Err(format!("{} stale files: run `cargo xtask fixtures` and review the diff", stale.len()))
}

/// Arguments and path of every file, `{Kind}` filled in.
fn rows(generated: &[Generated], kinds: &[String]) -> Vec<(Vec<String>, String)> {
    let mut rows = Vec::new();
    for Generated { arguments, path } in generated {
        let fill = |text: &str, kind: &str| text.replace("{Kind}", kind);
        let row = |kind: &str| (arguments.iter().map(|word| fill(word, kind)).collect(), fill(path, kind));
        if path.contains("{Kind}") {
            rows.extend(kinds.iter().map(|kind| row(kind)));
        } else {
            rows.push(row(""));
        }
    }
    rows
}

fn print(arguments: &[String]) -> Result<String> {
    output(cargo().args(["run", "--quiet", "--package", "bartizan", "--"]).args(arguments))
}

/// The first line (from 1) in which two texts differ.
fn first_difference(left: &str, right: &str) -> Option<usize> {
    if left == right {
        return None;
    }
    let same = left.lines().zip(right.lines()).take_while(|(left, right)| left == right).count();
    Some(same + 1)
}

/// Packages whose sources know how to regenerate.
fn packages_with_golden_tests() -> Result<Vec<String>> {
    let mut packages = Vec::new();
    let crates = fs::read_dir(root().join("crates")).map_err(|error| error.to_string())?;
    for entry in crates.flatten() {
        let folder = Path::new("crates").join(entry.file_name());
        let regenerates =
            files(&folder).iter().filter(|path| path.extension().is_some_and(|e| e == "rs")).any(|path| {
                let text = shell::read(path).unwrap_or_default();
                ["BARTIZAN_REGENERATE", "insta::", "trybuild::"].iter().any(|word| text.contains(word))
            });
        if regenerates {
            let name = entry.file_name().to_string_lossy().into_owned();
            packages.push(if name == "bartizan" { name } else { format!("bartizan-{name}") });
        }
    }
    packages.sort();
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_with_a_kind_stands_for_every_kind() {
        let generated = [
            Generated { arguments: &["schema", "{Kind}"], path: "schema/{Kind}.json" },
            Generated { arguments: &["metrics"], path: "docs/metrics.md" },
        ];
        let rows = rows(&generated, &["Listener".to_owned(), "Route".to_owned()]);
        let paths: Vec<&str> = rows.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!(paths, ["schema/Listener.json", "schema/Route.json", "docs/metrics.md"]);
        assert_eq!(rows[1].0, ["schema", "Route"]);
    }

    #[test]
    fn the_first_stale_line_is_named() {
        let cases = [
            ("a\nb\n", "a\nb\n", None),
            ("a\nb\n", "a\nc\n", Some(2)),
            ("", "a\n", Some(1)),
            ("a\n", "a", Some(2)),
        ];
        for (left, right, expected) in cases {
            assert_eq!(first_difference(left, right), expected, "{left:?} {right:?}");
        }
    }
}
