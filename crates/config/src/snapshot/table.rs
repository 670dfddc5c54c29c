//! The table of routes of one listener: host, then path, then method, headers and query.
//!
//! Hosts are looked up exact → longest suffix → any. Within a host, paths live in a trie of segments; candidates are
//! tried in a fixed order of specificity: exact, template (literal segments before variables), regular expression,
//! then the longest prefix. Within one path, more conditions come first. What would be a tie is a problem at load
//! time, so the order of documents never decides. Paths are compared decoded: `/%40admin` is `/@admin` to the server
//! behind us, so it must not slip past the rule for one of them into a wider one.

use std::{borrow::Cow, sync::Arc};

use bartizan_message::Query;
use http::{HeaderMap, HeaderName, Method};
use regex::Regex;

use super::{
    condition::{MethodSet, ValueTest},
    listener::HostPattern,
    names::NameMap,
    route::RoutePlan,
    template::Segment,
};

mod entries;

/// What a rule asks of the path; its texts are [`decoded`].
#[derive(Clone, Debug)]
pub enum PathTest {
    /// The whole path.
    Exact(Arc<str>),
    /// Whole segments from the start; stored without trailing slash, `/` as the empty text.
    Prefix(Arc<str>),
    /// The whole path with variables, one entry per segment.
    Template(Arc<[Segment]>),
    /// An expression anchored at both ends, compared with the decoded path.
    Matches(Regex),
}

/// One way to reach a rule.
#[derive(Clone, Debug)]
pub struct RouteEntry {
    /// The host; `None` means any.
    pub host: Option<HostPattern>,
    /// The path.
    pub path: PathTest,
    /// The methods.
    pub methods: MethodSet,
    /// Conditions on headers.
    pub headers: Vec<(HeaderName, ValueTest)>,
    /// Conditions on query parameters.
    pub query: Vec<(Arc<str>, ValueTest)>,
    /// The rule.
    pub plan: Arc<RoutePlan>,
}

/// What of a request the table looks at.
#[derive(Clone, Copy, Debug)]
pub struct RouteAsk<'a> {
    /// The host, lower-case, without port.
    pub host: &'a str,
    /// The canonical path, as it is sent on (still encoded).
    pub path: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The raw query.
    pub query: Option<&'a str>,
}

/// What the table found.
#[derive(Debug)]
pub enum Lookup<'t> {
    /// A rule.
    Found(RouteMatch<'t>),
    /// The path is published, but for these methods only.
    OtherMethods(MethodSet),
    /// Nothing is published there.
    Nothing,
}

/// A rule that matches.
#[derive(Debug)]
pub struct RouteMatch<'t> {
    /// The rule.
    pub plan: &'t Arc<RoutePlan>,
    /// How many bytes of the path a prefix match covered; 0 for other matches.
    pub prefix_bytes: usize,
    /// The template that matched, for `Captures`.
    pub template: Option<&'t Arc<[Segment]>>,
}

impl<'t> RouteMatch<'t> {
    fn new(entry: &'t RouteEntry, prefix_bytes: usize) -> Self {
        let template = match &entry.path {
            PathTest::Template(segments) => Some(segments),
            _ => None,
        };
        RouteMatch { plan: &entry.plan, prefix_bytes, template }
    }
}

/// All routes of a listener.
#[derive(Debug, Default)]
pub struct RouteTable {
    exact: NameMap<HostTable>,
    suffixes: NameMap<HostTable>,
    any: HostTable,
}

#[derive(Debug, Default)]
struct HostTable {
    trie: Node,
    patterns: Vec<(Regex, RouteEntry)>,
}

#[derive(Debug, Default)]
struct Node {
    literal: NameMap<Node>,
    variable: Option<Box<Node>>,
    /// Rules whose path ends here.
    exact: Vec<RouteEntry>,
    /// Rules whose prefix ends here.
    prefix: Vec<RouteEntry>,
}

impl RouteTable {
    /// Builds the table. Entries that tie were reported by the caller before.
    pub fn build(entries: impl IntoIterator<Item = RouteEntry>) -> Self {
        let mut table = RouteTable::default();
        for entry in entries {
            let host = match &entry.host {
                None => &mut table.any,
                Some(HostPattern::Exact(name)) => table.exact.entry(name.clone()).or_default(),
                Some(HostPattern::Suffix(suffix)) => table.suffixes.entry(suffix.clone()).or_default(),
            };
            host.insert(entry);
        }
        for host in table.hosts_mut() {
            host.trie.sort();
            // Whether two expressions can match the same path is not decided here; the longer text goes first, so
            // that at least the order of documents does not matter.
            host.patterns.sort_by(|(one, a), (two, b)| {
                let key = |regex: &Regex, entry| (conditions(entry), regex.as_str().len());
                key(two, b).cmp(&key(one, a)).then_with(|| one.as_str().cmp(two.as_str()))
            });
        }
        table
    }

    /// Finds the rule for a request.
    ///
    /// A more specific host that publishes nothing for the path does not hide a wider one: the search goes on there.
    /// `OPTIONS *` (RFC 9110 §9.3.7) asks about a server as a whole, and no rule publishes that.
    pub fn find<'t>(&'t self, ask: &RouteAsk<'_>) -> Lookup<'t> {
        if !ask.path.starts_with('/') {
            return Lookup::Nothing;
        }
        let path = decoded(ask.path);
        let mut methods = MethodSet::default();
        for host in self.hosts_of(ask.host) {
            if let Some(mut found) = host.find(&path, ask, &mut methods) {
                if let Cow::Owned(path) = &path {
                    found.prefix_bytes = encoded_bytes(ask.path, path, found.prefix_bytes);
                }
                return Lookup::Found(found);
            }
        }
        if methods.is_empty() { Lookup::Nothing } else { Lookup::OtherMethods(methods) }
    }

    /// Whether nothing is published.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.suffixes.is_empty() && self.any.is_empty()
    }

    /// The tables for a host: its own, then those of its suffixes, the longest first, then the one for any host.
    fn hosts_of<'t>(&'t self, host: &str) -> impl Iterator<Item = &'t HostTable> {
        let exact = if self.exact.is_empty() { None } else { self.exact.get(host) };
        let mut rest = if self.suffixes.is_empty() { None } else { Some(host) };
        let suffixes = std::iter::from_fn(move || {
            // `*` stands for at least one label, so what is before the dot must not be empty.
            let (label, suffix) = rest?.split_once('.')?;
            rest = Some(suffix);
            Some((label, suffix))
        })
        .filter(|(label, _)| !label.is_empty())
        .filter_map(|(_, suffix)| self.suffixes.get(suffix));
        exact.into_iter().chain(suffixes).chain([&self.any])
    }

    fn hosts_mut(&mut self) -> impl Iterator<Item = &mut HostTable> {
        self.exact.values_mut().chain(self.suffixes.values_mut()).chain([&mut self.any])
    }
}

impl HostTable {
    fn is_empty(&self) -> bool {
        self.patterns.is_empty() && self.trie.is_empty()
    }

    fn insert(&mut self, entry: RouteEntry) {
        match entry.path.clone() {
            PathTest::Matches(regex) => self.patterns.push((regex, entry)),
            PathTest::Exact(path) => self.trie.descend(segments(&path).map(Some)).exact.push(entry),
            PathTest::Prefix(path) => self.trie.descend(segments(&path).map(Some)).prefix.push(entry),
            PathTest::Template(parts) => {
                self.trie.descend(parts.iter().map(Segment::literal)).exact.push(entry);
            }
        }
    }

    fn find<'t>(&'t self, path: &str, ask: &RouteAsk<'_>, methods: &mut MethodSet) -> Option<RouteMatch<'t>> {
        if let Some(found) = self.trie.find_exact(path, ask, methods) {
            return Some(found);
        }
        for (regex, entry) in &self.patterns {
            if regex.is_match(path) && fits(entry, ask, methods) {
                return Some(RouteMatch::new(entry, 0));
            }
        }
        self.trie.find_prefix(path, ask, methods)
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.literal.is_empty() && self.variable.is_none() && self.exact.is_empty() && self.prefix.is_empty()
    }

    fn descend<'p>(&mut self, path: impl Iterator<Item = Option<&'p str>>) -> &mut Node {
        let mut node = self;
        for segment in path {
            node = match segment {
                Some(text) => node.literal.entry(text.into()).or_default(),
                None => node.variable.get_or_insert_default(),
            };
        }
        node
    }

    fn sort(&mut self) {
        self.exact.sort_by_key(|entry| std::cmp::Reverse(conditions(entry)));
        self.prefix.sort_by_key(|entry| std::cmp::Reverse(conditions(entry)));
        for child in self.literal.values_mut() {
            child.sort();
        }
        if let Some(child) = &mut self.variable {
            child.sort();
        }
    }

    /// Rules whose path ends where the request's does; a literal segment before a variable one. The depth of the
    /// recursion is that of the longest documented path, not of the request.
    fn find_exact<'t>(
        &'t self,
        rest: &str,
        ask: &RouteAsk<'_>,
        methods: &mut MethodSet,
    ) -> Option<RouteMatch<'t>> {
        let Some((segment, rest)) = next_segment(rest) else {
            let entry = self.exact.iter().find(|entry| fits(entry, ask, methods))?;
            return Some(RouteMatch::new(entry, 0));
        };
        if let Some(child) = self.literal.get(segment)
            && let Some(found) = child.find_exact(rest, ask, methods)
        {
            return Some(found);
        }
        // A variable stands for exactly one segment that is not empty.
        let child = self.variable.as_deref().filter(|_| !segment.is_empty())?;
        child.find_exact(rest, ask, methods)
    }

    /// Rules whose prefix is one of the request's, the longest first. Prefixes have literal segments only, so the loop
    /// ends at the depth of the longest documented one, however many segments a request has.
    fn find_prefix<'t>(
        &'t self,
        path: &str,
        ask: &RouteAsk<'_>,
        methods: &mut MethodSet,
    ) -> Option<RouteMatch<'t>> {
        let mut best = None;
        let mut node = self;
        let mut rest = path;
        loop {
            let covered = path.len() - rest.len();
            if let Some(entry) = node.prefix.iter().find(|entry| fits(entry, ask, methods)) {
                best = Some(RouteMatch::new(entry, covered));
            }
            let Some((segment, after)) = next_segment(rest) else { break };
            let Some(child) = node.literal.get(segment) else { break };
            node = child;
            rest = after;
        }
        best
    }
}

/// A canonical path with its triplets decoded, so that both spellings of a character are one; only `%2F` stays, for a
/// slash that is data must not become one that separates. Nearly every path has no triplet and is not copied.
pub(crate) fn decoded(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'%', [b'2', b'F' | b'f', ..]) => {
                bytes.push(*byte);
                after
            }
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0);
                bytes.push((digit(*high) << 4 | digit(*low)) as u8);
                after
            }
            _ => {
                bytes.push(*byte);
                after
            }
        };
    }
    // A canonical path decodes to UTF-8; any other is compared as it is.
    String::from_utf8(bytes).map_or(Cow::Borrowed(path), Cow::Owned)
}

/// How many bytes of the encoded path are the first `covered` ones, which end with a segment, of the decoded one.
fn encoded_bytes(encoded: &str, decoded: &str, covered: usize) -> usize {
    let segments = decoded.bytes().take(covered).filter(|byte| *byte == b'/').count();
    let next = encoded.bytes().enumerate().filter(|(_, byte)| *byte == b'/').nth(segments);
    if covered == 0 { 0 } else { next.map_or(encoded.len(), |(at, _)| at) }
}

/// The first segment of a path that begins with `/`, and what follows it; `None` at the end.
fn next_segment(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    Some(match path.find('/') {
        Some(end) => path.split_at(end),
        None => (path, ""),
    })
}

pub(super) fn segments(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = path;
    std::iter::from_fn(move || {
        let (segment, after) = next_segment(rest)?;
        rest = after;
        Some(segment)
    })
}

/// How many conditions an entry has, in the order in which they count: method, headers, query.
pub(crate) fn conditions(entry: &RouteEntry) -> (bool, usize, usize) {
    (entry.methods != MethodSet::ANY, entry.headers.len(), entry.query.len())
}

/// Whether all conditions beside the path hold. If only the method does not, its set is remembered for `Allow`.
fn fits(entry: &RouteEntry, ask: &RouteAsk<'_>, methods: &mut MethodSet) -> bool {
    let rest = entry.headers.iter().all(|(name, test)| {
        let mut values = ask.headers.get_all(name).iter().peekable();
        values.peek().is_some() && values.all(|value| test.holds(value.as_bytes()))
    }) && entry.query.iter().all(|(name, test)| query_holds(name, test, ask.query));
    if rest && !entry.methods.contains(ask.method) {
        *methods = methods.union(entry.methods);
    }
    rest && entry.methods.contains(ask.method)
}

/// Every value of the parameter must pass, and there must be one.
fn query_holds(name: &str, test: &ValueTest, query: Option<&str>) -> bool {
    let mut seen = false;
    for pair in Query::new(query) {
        if *pair.name().bytes == *name.as_bytes() {
            if !test.holds(&pair.value().bytes) {
                return false;
            }
            seen = true;
        }
    }
    seen
}

#[cfg(test)]
mod tests;
