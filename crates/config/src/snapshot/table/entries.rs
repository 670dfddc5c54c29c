//! The table as a list, for people and tools. Requests are never judged by it: they go through [`RouteTable::find`].

use std::fmt;

use super::{HostTable, Node, PathTest, RouteEntry, RouteTable, Segment, conditions};

impl RouteTable {
    /// Every way to a rule, in an order that does not depend on that of the documents: exact hosts by name, then
    /// suffixes from the longest, then any host; below a host by path, and below a path as they are tried.
    pub fn entries(&self) -> Vec<&RouteEntry> {
        let mut exact: Vec<_> = self.exact.iter().collect();
        exact.sort_by(|one, other| one.0.cmp(other.0));
        let mut suffixes: Vec<_> = self.suffixes.iter().collect();
        suffixes.sort_by(|(one, _), (other, _)| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        exact
            .into_iter()
            .map(|(_, host)| host)
            .chain(suffixes.into_iter().map(|(_, host)| host))
            .chain([&self.any])
            .flat_map(HostTable::entries)
            .collect()
    }
}

impl HostTable {
    fn entries(&self) -> Vec<&RouteEntry> {
        let mut entries = self.patterns.iter().map(|(_, entry)| entry).collect();
        self.trie.collect(&mut entries);
        entries.sort_by_cached_key(|entry| {
            (
                entry.path.to_string(),
                entry.path.word(),
                std::cmp::Reverse(conditions(entry)),
                &entry.plan.label,
            )
        });
        entries
    }
}

impl Node {
    /// The depth of the recursion is that of the longest documented path.
    fn collect<'t>(&'t self, entries: &mut Vec<&'t RouteEntry>) {
        entries.extend(self.exact.iter().chain(&self.prefix));
        self.literal.values().chain(self.variable.as_deref()).for_each(|child| child.collect(entries));
    }
}

impl PathTest {
    /// How the path is compared, in the word of the documents (`path.type`).
    pub const fn word(&self) -> &'static str {
        match self {
            PathTest::Exact(_) => "Exact",
            PathTest::Prefix(_) => "PathPrefix",
            PathTest::Template(_) => "Template",
            PathTest::Matches(_) => "RegularExpression",
        }
    }
}

impl fmt::Display for PathTest {
    /// What it is compared with, as documents write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathTest::Exact(path) => f.write_str(path),
            PathTest::Prefix(path) if path.is_empty() => f.write_str("/"),
            PathTest::Prefix(path) => f.write_str(path),
            PathTest::Template(parts) => parts.iter().try_for_each(|part| match part {
                Segment::Literal(text) => write!(f, "/{text}"),
                Segment::Variable(name) => write!(f, "/{{{name}}}"),
            }),
            // The compiler anchored what the document says.
            PathTest::Matches(regex) => {
                let text = regex.as_str();
                f.write_str(text.strip_prefix("^(?:").and_then(|t| t.strip_suffix(")$")).unwrap_or(text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Set, source::Sources};

    const ROUTES: &str = r#"
apiVersion: management.v1
kind: Listener
metadata: { name: one }
spec: { addresses: ["127.0.0.1:0"] }
---
apiVersion: management.v1
kind: Upstream
metadata: { name: up }
spec: { endpoints: [{ url: "http://127.0.0.1:1" }] }
---
apiVersion: management.v1
kind: Route
metadata: { name: wide }
spec:
  rules:
    - matches:
        - { path: { type: PathPrefix, value: / } }
        - { path: { type: RegularExpression, value: "/v[0-9]+" } }
      backendRefs: [{ name: up }]
---
apiVersion: management.v1
kind: Route
metadata: { name: narrow }
spec:
  hostnames: ["b.example", "*.example", "*.deep.example", "a.example"]
  rules:
    - matches:
        - { path: { type: Template, value: "/orders/{id}" } }
        - { path: { type: Exact, value: /orders } }
        - { path: { type: PathPrefix, value: /orders } }
        - { path: { type: PathPrefix, value: /orders }, methods: [GET] }
      backendRefs: [{ name: up }]
"#;

    #[test]
    fn every_entry_is_listed_once_in_a_fixed_order() {
        let set = Set::from_sources(Sources::from_texts([("set.yaml", ROUTES)]));
        let snapshot = set.compiled.snapshot.unwrap();
        let listed: Vec<String> = snapshot.listeners[0]
            .routes
            .entries()
            .iter()
            .map(|entry| {
                let host = entry.host.as_ref().map_or("any".to_owned(), |host| format!("{host:?}"));
                let methods = entry.methods.iter().count();
                format!("{host} {} {} {methods}", entry.path.word(), entry.path)
            })
            .collect();
        let mut expected = Vec::new();
        for host in [
            "Exact(\"a.example\")",
            "Exact(\"b.example\")",
            "Suffix(\"deep.example\")",
            "Suffix(\"example\")",
        ] {
            for path in
                ["Exact /orders 7", "PathPrefix /orders 1", "PathPrefix /orders 7", "Template /orders/{id} 7"]
            {
                expected.push(format!("{host} {path}"));
            }
        }
        expected.push("any PathPrefix / 7".to_owned());
        expected.push("any RegularExpression /v[0-9]+ 7".to_owned());
        assert_eq!(listed, expected);
    }

    #[test]
    fn an_empty_table_has_no_entries() {
        assert!(super::RouteTable::default().entries().is_empty());
    }
}
