//! Which crates may be built into the gateway: bans, licences, duplicate versions.
//!
//! Read from `cargo tree`, which resolves features as a build does; `cargo metadata` also lists what no build
//! compiles. All platforms count, and so do the crates that only tests and build scripts use.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Result,
    shell::{cargo, output},
    steps::Done,
};

/// Crates that never enter, and what stands in their place.
const BANNED: [(&str, &str); 9] = [
    ("native-tls", "rustls: one TLS stack"),
    ("openssl", "rustls with aws-lc-rs: one TLS stack"),
    ("openssl-sys", "rustls with aws-lc-rs: one TLS stack"),
    ("reqwest", "hyper's client connections"),
    ("ring", "aws-lc-rs: one cryptographic library"),
    ("rsa", "aws-lc-rs: it has no timing side channel there"),
    ("rustls-pemfile", "rustls::pki_types::pem"),
    ("serde_yaml", "the model's own reader over saphyr-parser: spans and budgets"),
    ("serde_yml", "the model's own reader over saphyr-parser: spans and budgets"),
];

/// Licences that may be chosen. Nothing copyleft.
const LICENCES: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that may stand in the tree in several versions, and who holds the older one.
const SEVERAL_VERSIONS: [(&str, &str); 18] = [
    ("base64", "sqlx-core 0.9"),
    ("bit-set", "fancy-regex below jsonschema; the newer one is of cel, in tests"),
    ("bit-vec", "fancy-regex below jsonschema; the newer one is of cel, in tests"),
    ("block-buffer", "the hashes of sqlx; the newer one is of argon2"),
    ("crypto-common", "the hashes of sqlx; the newer one is of argon2"),
    ("digest", "the hashes of sqlx; the newer one is of argon2"),
    ("cpufeatures", "the hashes of sqlx, the random numbers of proptest"),
    ("getrandom", "proptest and tempfile take different ones on other platforms"),
    ("hashbrown", "hashlink below sqlx, governor in tests"),
    ("nom", "x509-parser and its DER readers; the newer one is of lettre"),
    ("r-efi", "getrandom on a platform that is not built"),
    ("rand_core", "proptest"),
    ("syn", "the derives of asn1-rs below x509-parser"),
    ("synstructure", "the derives of asn1-rs below x509-parser"),
    ("thiserror", "ppp 2"),
    ("thiserror-impl", "ppp 2"),
    ("windows-sys", "platform crates, not built on Linux"),
    ("windows-targets", "platform crates, not built on Linux"),
];

/// One crate in one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: String,
    /// One of this repository.
    ours: bool,
}

/// Judges the whole tree.
pub(crate) fn check() -> Result<Done> {
    let tree = output(cargo().args([
        "tree",
        "--quiet",
        "--workspace",
        "--target",
        "all",
        "--edges",
        "normal,build,dev",
        "--prefix",
        "none",
        "--format",
        "{p}|{l}",
    ]))?;
    let packages = parse(&tree);
    if packages.len() < 10 {
        return Err(format!(
            "`cargo tree` lists only {} crates; its output is not understood",
            packages.len()
        ));
    }
    let mut problems = Vec::new();
    for package in &packages {
        if let Some((name, instead)) = BANNED.iter().find(|(name, _)| *name == package.name) {
            let why =
                output(cargo().args(["tree", "--quiet", "--workspace", "--target", "all", "--invert", name]))
                    .unwrap_or_default();
            problems.push(format!("{name} is banned; use {instead}. It comes from:\n{why}"));
        }
        if !package.ours && !is_free(&package.licence) {
            problems.push(format!(
                "{} {}: the licence `{}` is not in the list of xtask/src/dependencies.rs",
                package.name, package.version, package.licence
            ));
        }
    }
    let duplicates = duplicates(&packages);
    for (name, versions) in &duplicates {
        match SEVERAL_VERSIONS.iter().find(|(allowed, _)| allowed == name) {
            Some((_, because)) => println!("{name} {}: allowed ({because})", versions.join(", ")),
            None => problems.push(format!(
                "{name} stands in the tree as {}: align them, or name who holds the older one in \
                 xtask/src/dependencies.rs",
                versions.join(", ")
            )),
        }
    }
    for problem in &problems {
        println!("{problem}");
    }
    match problems.len() {
        0 => Ok(Done::Passed(format!("{} crates, {} in several versions", packages.len(), duplicates.len()))),
        count => Err(format!("{count} problems with dependencies")),
    }
}

/// Lines such as `serde v1.0.2 (proc-macro)|MIT OR Apache-2.0 (*)`.
fn parse(tree: &str) -> BTreeSet<Package> {
    let lines = tree.lines().filter_map(|line| line.trim_end_matches(" (*)").rsplit_once('|'));
    lines
        .filter_map(|(package, licence)| {
            let mut words = package.split(' ');
            let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
            let ours = words.any(|word| word.starts_with("(/") || word.starts_with("(file:"));
            Some(Package { name: name.into(), version: version.into(), licence: licence.into(), ours })
        })
        .collect()
}

fn duplicates(packages: &BTreeSet<Package>) -> BTreeMap<&str, Vec<&str>> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    versions
}

/// Whether an SPDX expression can be met with the listed licences alone. `/` is an old way to write `OR`.
fn is_free(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = either(&mut rest);
    met == Some(true) && rest.is_empty()
}

/// `either := both { OR both }`; `None` when the expression is not understood.
fn either(words: &mut &[&str]) -> Option<bool> {
    let mut met = both(words)?;
    while let Some((&"OR", rest)) = words.split_first() {
        *words = rest;
        met |= both(words)?;
    }
    Some(met)
}

/// `both := one { AND one }`.
fn both(words: &mut &[&str]) -> Option<bool> {
    let mut met = one(words)?;
    while let Some((&"AND", rest)) = words.split_first() {
        *words = rest;
        met &= one(words)?;
    }
    Some(met)
}

/// `one := ( either ) | licence [ WITH exception ]`.
fn one(words: &mut &[&str]) -> Option<bool> {
    let (&first, rest) = words.split_first()?;
    *words = rest;
    if first == "(" {
        let met = either(words)?;
        let (&")", rest) = words.split_first()? else { return None };
        *words = rest;
        return Some(met);
    }
    if matches!(first, ")" | "OR" | "AND" | "WITH") {
        return None;
    }
    if let [w, exception, rest @ ..] = *words
        && *w == "WITH"
    {
        *words = rest;
        return Some(LICENCES.contains(&format!("{first} WITH {exception}").as_str()));
    }
    Some(LICENCES.contains(&first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_expression_is_met_by_the_list_or_not() {
        let cases = [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("Apache-2.0 / MIT", true),
            ("MIT OR GPL-3.0", true),
            ("MIT AND GPL-3.0", false),
            ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
            ("ISC AND (Apache-2.0 OR ISC) AND BSD-3-Clause", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("GPL-2.0 WITH Classpath-exception-2.0", false),
            ("GPL-3.0", false),
            ("", false),
            ("MIT OR", false),
            ("(MIT", false),
            ("MIT Apache-2.0", false),
        ];
        for (expression, expected) in cases {
            assert_eq!(is_free(expression), expected, "{expression}");
        }
    }

    #[test]
    fn the_tree_is_read_once_per_crate_and_version() {
        let packages = parse(
            "ours v0.1.0 (/somewhere/ours)|Apache-2.0\nsyn v2.0.1|MIT OR Apache-2.0\nsyn v2.0.1|MIT OR Apache-2.0 (*)\n\
             syn v3.0.0|MIT\nserde_derive v1.0.0 (proc-macro)|MIT\n\n",
        );
        let names: Vec<(&str, bool)> =
            packages.iter().map(|package| (&*package.name, package.ours)).collect();
        assert_eq!(names, [("ours", true), ("serde_derive", false), ("syn", false), ("syn", false)]);
        assert_eq!(duplicates(&packages), BTreeMap::from([("syn", vec!["2.0.1", "3.0.0"])]));
    }
}
