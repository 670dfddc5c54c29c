//! The examples and the shipped policies are documents that work, and leave open only what they say.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use bartizan_config::{Set, render};
use bartizan_model::problem::{Code, Severity};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn folders() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// The lines `* BZ-… MESSAGE` of a README.
fn stated(readme: &str) -> Vec<String> {
    readme.lines().filter_map(|line| line.strip_prefix("* BZ-")).map(|line| format!("BZ-{line}")).collect()
}

fn exposures(set: &Set) -> Vec<String> {
    let exposures = set.compiled.problems.iter().filter(|problem| problem.severity == Severity::Exposure);
    exposures.map(|problem| format!("{} {}", problem.code, problem.message)).collect()
}

fn report(set: &Set) -> String {
    render::text(&set.compiled.problems, &set.sources, render::Style::Plain)
}

#[test]
fn each_example_compiles_and_exposes_what_its_readme_says() {
    let folders = folders();
    assert!(folders.len() >= 8, "{folders:?}");
    for folder in folders {
        let set = Set::open(std::slice::from_ref(&folder)).unwrap();
        let problems = &set.compiled.problems;
        assert_eq!(problems.count(Severity::Problem), 0, "{}", report(&set));
        assert_eq!(problems.count(Severity::Warning), 0, "{}", report(&set));
        let snapshot = set.compiled.snapshot.as_ref().unwrap();
        assert!(
            snapshot.listeners.iter().any(|listener| !listener.routes.is_empty()),
            "{}",
            folder.display()
        );
        let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
        let (mut stated, mut found) = (stated(&readme), exposures(&set));
        assert!(!stated.is_empty() || readme.contains("Exposures: none."), "{}", folder.display());
        stated.sort();
        found.sort();
        assert_eq!(stated, found, "{}", folder.display());
    }
}

#[test]
fn every_example_is_listed_and_nothing_else_is() {
    let readme = std::fs::read_to_string(root().join("examples/README.md")).unwrap();
    let mut listed: Vec<&str> =
        readme.lines().filter_map(|line| line.strip_prefix("| [")?.split(']').next()).collect();
    listed.sort_unstable();
    let folders = folders();
    let found: Vec<&str> =
        folders.iter().map(|folder| folder.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(listed, found);
}

#[test]
fn the_shipped_policies_alone_are_a_set_that_can_be_checked() {
    let folder = root().join("policies");
    let set = Set::open(std::slice::from_ref(&folder)).unwrap();
    let codes: Vec<Code> = set.compiled.problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, [Code::SetIncomplete], "{}", report(&set));
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    for file in std::fs::read_dir(&folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(
            name == "README.md" || readme.contains(&format!("[{name}]({name})")),
            "{name} is not in the README"
        );
    }
}

#[test]
fn the_shipped_policies_close_what_a_bare_set_leaves_open() {
    let bare = root().join("examples/quickstart/gateway.yaml");
    let open = Set::open(std::slice::from_ref(&bare)).unwrap();
    assert_eq!(exposures(&open).len(), 2, "{}", report(&open));
    let set = Set::open(&[root().join("policies"), bare]).unwrap();
    assert!(set.compiled.problems.is_empty(), "{}", report(&set));
    let snapshot = set.compiled.snapshot.unwrap();
    let plan = snapshot.routes.first().unwrap();
    assert!(plan.authentication.enforced.is_some());
    assert_eq!((plan.limits.len(), plan.headers.len()), (1, 1));
    assert_eq!(&*plan.record.name, "RecordPolicy/default-records");
}

#[test]
fn a_set_with_its_own_keys_replaces_the_shipped_ones_only_where_it_is_narrower() {
    // Both on the whole gateway: a problem, and the README says which file to leave out.
    let set = Set::open(&[root().join("policies"), root().join("examples/quickstart")]).unwrap();
    let codes: Vec<Code> = set.compiled.problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, [Code::PoliciesClash], "{}", report(&set));
}
