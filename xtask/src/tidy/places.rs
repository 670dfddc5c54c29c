//! Nothing of one machine in the repository: no path of a developer's disk, no registry but the public ones.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::{Finding, Report};
use crate::{
    Result,
    shell::{output, program, read, root},
};

/// Directories that every machine has: no name of a particular one.
const COMMON: [&str; 9] = ["/", "/home", "/mnt", "/opt", "/root", "/srv", "/tmp", "/usr/src", "/var"];

/// Where cargo keeps what it fetched, below anyone's home; in two parts, so that this file does not find itself.
const FETCHED: &str = concat!("/.car", "go/registry");

/// The sources that a lock file may name.
const SOURCES: [(&str, &str, &str); 1] =
    [("Cargo.lock", "source = ", "registry+https://github.com/rust-lang/crates.io-index")];

pub(super) fn check() -> Result<Report> {
    let mut report = Report::default();
    let Ok(tracked) = output(program("git").args(["ls-files", "-z"])) else {
        report.skipped.push("this is no git checkout".to_owned());
        return Ok(report);
    };
    let machine = machine();
    for file in tracked.split('\0').filter(|file| !file.is_empty()) {
        // A file that is not text, or was removed and not committed, has no lines.
        let Ok(text) = read(file) else { continue };
        for (index, line) in text.lines().enumerate() {
            if let Some(what) = of_this_machine(line, &machine).or_else(|| registry(file, line)) {
                report.findings.push(Finding::new(
                    file,
                    index + 1,
                    what,
                    "name nothing that only this machine has",
                ));
            }
        }
    }
    Ok(report)
}

/// Paths of this machine: the checkout, the folder it lies in, the home directory.
fn machine() -> Vec<String> {
    let root = root().canonicalize().unwrap_or_default();
    let home = env::var_os("HOME").map(PathBuf::from);
    let folders = [root.parent().map(Path::to_owned), Some(root), home];
    let named = folders.into_iter().flatten().filter_map(|folder| folder.to_str().map(str::to_owned));
    let ours = named.filter(|folder| !folder.is_empty() && !COMMON.contains(&folder.as_str()));
    ours.map(|folder| folder + "/").chain([FETCHED.to_owned()]).collect()
}

fn of_this_machine(line: &str, machine: &[String]) -> Option<String> {
    let found = machine.iter().find(|path| {
        line.match_indices(path.as_str()).any(|(at, _)| {
            // `https://host/…` is a path of a site.
            !line.get(..at).is_some_and(|before| before.ends_with(|c: char| c.is_alphanumeric() || c == '-'))
        })
    })?;
    Some(format!("`{found}` is a path of a machine"))
}

fn registry(file: &str, line: &str) -> Option<String> {
    let name = Path::new(file).file_name()?.to_str()?;
    if matches!(name, "Cargo.toml" | "config.toml") {
        let words = ["registry", "replace-with", "index"];
        let key = line.split_once('=')?.0.trim();
        return words.contains(&key).then(|| "a registry other than the public one".to_owned());
    }
    let (_, key, allowed) = SOURCES.iter().find(|(lock, _, _)| *lock == name)?;
    let source = line.trim().strip_prefix(key)?.trim_matches(['"', ',']);
    (!source.starts_with(allowed)).then(|| format!("the source `{source}` is not the public registry"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_machine_is_found_and_one_of_a_site_is_not() {
        let machine = vec!["/disk/ann/".to_owned(), FETCHED.to_owned()];
        let cases = [
            ("see /disk/ann/notes".to_owned(), true),
            (format!("at ~{FETCHED}/src"), true),
            ("https://example.com/disk/ann/".to_owned(), false),
            ("in /disk/annette/".to_owned(), false),
        ];
        for (line, expected) in cases {
            assert_eq!(of_this_machine(&line, &machine).is_some(), expected, "{line}");
        }
    }

    #[test]
    fn only_public_registries_are_named() {
        let cases = [
            ("Cargo.lock", "source = \"registry+https://github.com/rust-lang/crates.io-index\"", false),
            ("Cargo.lock", "source = \"registry+https://mirror.example/index\"", true),
            (".cargo/config.toml", "replace-with = \"mirror\"", true),
            ("docs/a.md", "source = \"elsewhere\"", false),
        ];
        for (file, line, expected) in cases {
            assert_eq!(registry(file, line).is_some(), expected, "{file}: {line}");
        }
    }
}
