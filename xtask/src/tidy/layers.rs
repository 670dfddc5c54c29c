//! Which crate may name which: section 4 of the design as a table.
//!
//! An edge goes to a lower layer, never to the same one. On top of the layers stand a few edges that the layers would
//! allow and the design does not, and the outside crates that only some of ours may name.

use serde_json::Value;

use super::{Finding, Report};
use crate::{
    Result,
    shell::{cargo, output},
};

/// Crates by layer. A crate that is not here cannot be built without a place in the house.
const LAYERS: [(&str, u8); 16] = [
    ("bartizan-model", 0),
    ("bartizan-message", 1),
    ("bartizan-telemetry", 1),
    ("bartizan-identity", 2),
    ("bartizan-access", 2),
    ("bartizan-limit", 2),
    ("bartizan-inspect", 2),
    ("bartizan-cache", 2),
    ("bartizan-ai", 2),
    ("bartizan-insight", 2),
    ("bartizan-config", 3),
    ("bartizan-fetch", 3),
    ("bartizan-store", 3),
    ("bartizan-proxy", 4),
    ("bartizan-manage", 4),
    ("bartizan", 5),
];

/// Edges to a lower layer that are forbidden all the same.
const FORBIDDEN: [(&str, &str, &str); 1] =
    [("bartizan-proxy", "bartizan-store", "the binary feeds the data plane over channels")];

/// Outside crates, and who alone may name them outside tests. The binary, testkit and xtask may name any.
const ONLY_IN: [(&str, &[&str]); 7] = [
    ("hyper", &["bartizan-fetch", "bartizan-proxy", "bartizan-manage"]),
    ("hyper-util", &["bartizan-fetch", "bartizan-proxy", "bartizan-manage"]),
    ("rustls", &["bartizan-fetch", "bartizan-proxy", "bartizan-manage"]),
    ("tokio-rustls", &["bartizan-fetch", "bartizan-proxy", "bartizan-manage"]),
    ("tokio", &["bartizan-fetch", "bartizan-store", "bartizan-proxy", "bartizan-manage"]),
    ("sqlx", &["bartizan-store"]),
    ("saphyr-parser", &["bartizan-config"]),
];

/// Not part of the gateway: they stand beside the layers.
const BESIDE: [&str; 3] = ["bartizan-e2e", "bartizan-testkit", "xtask"];
const BINARY: &str = "bartizan";

/// A package of ours and what it names.
struct Package {
    name: String,
    manifest: String,
    /// Name of the dependency, and whether only tests have it.
    names: Vec<(String, bool)>,
}

pub(super) fn check() -> Result<Report> {
    let metadata = output(cargo().args(["metadata", "--quiet", "--format-version", "1", "--no-deps"]))?;
    let packages = parse(&metadata)?;
    Ok(Report { findings: packages.iter().flat_map(judge).collect(), ..Report::default() })
}

fn parse(metadata: &str) -> Result<Vec<Package>> {
    let metadata: Value =
        serde_json::from_str(metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let packages =
        metadata.get("packages").and_then(Value::as_array).ok_or("cargo metadata names no packages")?;
    let read = |package: &Value| {
        let named = package.get("dependencies")?.as_array()?;
        let names = named.iter().filter_map(|dependency| {
            Some((text(dependency, "name")?, text(dependency, "kind").as_deref() == Some("dev")))
        });
        let name = text(package, "name")?;
        let folder = name.strip_prefix("bartizan-").unwrap_or(&name);
        let manifest = match name.as_str() {
            "xtask" => "xtask/Cargo.toml".to_owned(),
            "bartizan-e2e" => "tests/e2e/Cargo.toml".to_owned(),
            _ => format!("crates/{folder}/Cargo.toml"),
        };
        Some(Package { names: names.collect(), manifest, name })
    };
    packages
        .iter()
        .map(|package| read(package).ok_or_else(|| "cargo metadata is not understood".into()))
        .collect()
}

fn judge(package: &Package) -> Vec<Finding> {
    let Package { name, manifest, names } = package;
    if BESIDE.contains(&name.as_str()) {
        let ours = names.iter().filter(|(other, _)| layer(other).is_some());
        return ours
            .map(|(other, _)| {
                let what = format!("{name} names {other}");
                Finding::new(manifest, 0, what, "it must not know the gateway: start the binary instead")
            })
            .collect();
    }
    let Some(own) = layer(name) else {
        let what = format!("{name} has no layer");
        return vec![Finding::new(
            manifest,
            0,
            what,
            "give it one in docs/architecture.md and in tidy/layers.rs",
        )];
    };
    let mut findings = Vec::new();
    for (other, in_tests) in names {
        let what = format!("{name} (layer {own}) names {other}");
        let remedy = if let Some(layer) = layer(other) {
            let edge = FORBIDDEN.iter().find(|(from, to, _)| from == name && to == other);
            match edge {
                Some((_, _, why)) => Some((*why).to_owned()),
                None if layer >= own => {
                    Some(format!("{other} is layer {layer}; an edge goes to a lower layer"))
                }
                None => None,
            }
        } else if other == "bartizan-testkit" && !in_tests {
            Some("testkit is for dev-dependencies".to_owned())
        } else {
            let alone =
                ONLY_IN.iter().find(|(outside, _)| outside == other).filter(|_| !in_tests && name != BINARY);
            alone
                .filter(|(_, allowed)| !allowed.contains(&name.as_str()))
                .map(|(_, allowed)| format!("only {} may name it; judge without it", allowed.join(", ")))
        };
        findings.extend(remedy.map(|remedy| Finding::new(manifest, 0, what, remedy)));
    }
    findings
}

fn layer(name: &str) -> Option<u8> {
    LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_goes_to_a_lower_layer() {
        let cases = [
            ("bartizan-limit", "bartizan-model", false, true),
            ("bartizan-limit", "bartizan-message", false, true),
            ("bartizan-limit", "bartizan-identity", false, false),
            ("bartizan-limit", "bartizan-identity", true, false),
            ("bartizan-model", "bartizan-message", false, false),
            ("bartizan-proxy", "bartizan-config", false, true),
            ("bartizan-proxy", "bartizan-store", false, false),
            ("bartizan-proxy", "bartizan-manage", false, false),
            ("bartizan", "bartizan-proxy", false, true),
            ("bartizan-limit", "bartizan-testkit", false, false),
            ("bartizan-limit", "bartizan-testkit", true, true),
            ("bartizan-limit", "tokio", false, false),
            ("bartizan-limit", "tokio", true, true),
            ("bartizan-proxy", "tokio", false, true),
            ("bartizan", "hyper", false, true),
            ("bartizan-store", "sqlx", false, true),
            ("bartizan-config", "sqlx", false, false),
            ("bartizan-config", "serde", false, true),
            ("xtask", "serde_json", false, true),
            ("xtask", "bartizan-model", false, false),
            ("bartizan-new", "serde", false, false),
        ];
        for (name, other, in_tests, allowed) in cases {
            let names = vec![(other.to_owned(), in_tests)];
            let package = Package { name: name.to_owned(), manifest: String::new(), names };
            assert_eq!(judge(&package).is_empty(), allowed, "{name} names {other}");
        }
    }
}
