//! The table of routes of one listener: host, then path, then method, headers and query.
//!
//! Hosts are looked up exact → longest suffix → any. Within a host, paths live in a trie of segments; candidates are
//! tried in a fixed order of specificity: exact, template (literal segments before variables), regular expression,
//! then the longest prefix. Within one path, more conditions come first. What would be a tie is a problem at load
//! time, so the order of documents never decides.

use std::{collections::HashMap, sync::Arc};

use bartizan_message::Query;
use http::{HeaderMap, HeaderName, Method};
use regex::Regex;

use super::{listener::HostPattern, route::RoutePlan};

/// The methods the gateway knows, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MethodSet(u8);

const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

impl MethodSet {
    /// Every method.
    pub const ANY: MethodSet = MethodSet(0x7f);

    /// The set of these methods; unknown ones are left out.
    pub fn of<'a>(methods: impl IntoIterator<Item = &'a Method>) -> Self {
        MethodSet(methods.into_iter().map(Self::bit).fold(0, |set, bit| set | bit))
    }

    /// Whether it is in the set.
    pub fn contains(self, method: &Method) -> bool {
        self.0 & Self::bit(method) != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        MethodSet(self.0 | other.0)
    }

    /// Whether both have a method in common.
    pub const fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether nothing is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its methods, in a fixed order.
    pub fn iter(self) -> impl Iterator<Item = Method> {
        METHODS.into_iter().filter(move |method| self.contains(method))
    }

    fn bit(method: &Method) -> u8 {
        METHODS.iter().position(|known| known == method).map_or(0, |bit| 1 << bit)
    }
}

/// A condition on a value.
#[derive(Clone, Debug)]
pub enum ValueTest {
    /// Exactly this.
    Exact(Arc<str>),
    /// An expression anchored at both ends.
    Matches(Regex),
    /// Any value.
    Present,
}

impl ValueTest {
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            ValueTest::Exact(exact) => exact.as_bytes() == value,
            ValueTest::Matches(regex) => std::str::from_utf8(value).is_ok_and(|text| regex.is_match(text)),
            ValueTest::Present => true,
        }
    }
}

/// What a rule asks of the path.
#[derive(Clone, Debug)]
pub enum PathTest {
    /// The whole path.
    Exact(Arc<str>),
    /// Whole segments from the start; stored without trailing slash, `/` as the empty text.
    Prefix(Arc<str>),
    /// The whole path with variables, one entry per segment; `None` is a variable.
    Template(Vec<Option<Arc<str>>>),
    /// An expression anchored at both ends.
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
    /// The canonical path.
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
}

/// All routes of a listener.
#[derive(Debug, Default)]
pub struct RouteTable {
    exact: HashMap<Arc<str>, HostTable>,
    /// Longest suffix first.
    suffixes: Vec<(Arc<str>, HostTable)>,
    any: HostTable,
}

#[derive(Debug, Default)]
struct HostTable {
    trie: Node,
    patterns: Vec<(Regex, RouteEntry)>,
}

#[derive(Debug, Default)]
struct Node {
    literal: HashMap<Arc<str>, Node>,
    variable: Option<Box<Node>>,
    /// Rules whose path ends here.
    exact: Vec<RouteEntry>,
    /// Rules whose prefix ends here.
    prefix: Vec<RouteEntry>,
}

/// The most segments a path can have before only prefixes above that depth are looked at.
const SEGMENTS_MAX: usize = 256;

impl RouteTable {
    /// Builds the table. Entries that tie were reported by the caller before.
    pub fn build(entries: impl IntoIterator<Item = RouteEntry>) -> Self {
        let mut table = RouteTable::default();
        for entry in entries {
            let host = match &entry.host {
                None => &mut table.any,
                Some(HostPattern::Exact(name)) => table.exact.entry(name.clone()).or_default(),
                Some(HostPattern::Suffix(suffix)) => {
                    let at =
                        table.suffixes.iter().position(|(known, _)| known == suffix).unwrap_or_else(|| {
                            table.suffixes.push((suffix.clone(), HostTable::default()));
                            table.suffixes.len() - 1
                        });
                    match table.suffixes.get_mut(at) {
                        Some((_, host)) => host,
                        None => continue,
                    }
                }
            };
            host.insert(entry);
        }
        table.suffixes.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
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
    pub fn find<'t>(&'t self, ask: &RouteAsk<'_>) -> Lookup<'t> {
        let mut methods = MethodSet::default();
        let exact = if self.exact.is_empty() { None } else { self.exact.get(ask.host) };
        let suffixes =
            self.suffixes.iter().filter(|(suffix, _)| HostPattern::Suffix(suffix.clone()).matches(ask.host));
        for host in exact.into_iter().chain(suffixes.map(|(_, host)| host)).chain([&self.any]) {
            if let Some(found) = host.find(ask, &mut methods) {
                return Lookup::Found(found);
            }
        }
        if methods.is_empty() { Lookup::Nothing } else { Lookup::OtherMethods(methods) }
    }

    /// Whether nothing is published.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.suffixes.is_empty() && self.any.is_empty()
    }

    fn hosts_mut(&mut self) -> impl Iterator<Item = &mut HostTable> {
        self.exact.values_mut().chain(self.suffixes.iter_mut().map(|(_, host)| host)).chain([&mut self.any])
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
                self.trie.descend(parts.iter().map(Option::as_deref)).exact.push(entry);
            }
        }
    }

    fn find<'t>(&'t self, ask: &RouteAsk<'_>, methods: &mut MethodSet) -> Option<RouteMatch<'t>> {
        if let Some(found) = self.trie.find_exact(ask.path, ask, methods) {
            return Some(found);
        }
        for (regex, entry) in &self.patterns {
            if regex.is_match(ask.path) && fits(entry, ask, methods) {
                return Some(RouteMatch { plan: &entry.plan, prefix_bytes: 0 });
            }
        }
        self.trie.find_prefix(ask, methods)
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
            return Some(RouteMatch { plan: &entry.plan, prefix_bytes: 0 });
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

    /// Rules whose prefix is one of the request's, the longest first. Prefixes have literal segments only.
    fn find_prefix<'t>(&'t self, ask: &RouteAsk<'_>, methods: &mut MethodSet) -> Option<RouteMatch<'t>> {
        let mut best = None;
        let mut node = self;
        let mut rest = ask.path;
        for _ in 0..SEGMENTS_MAX {
            let covered = ask.path.len() - rest.len();
            if let Some(entry) = node.prefix.iter().find(|entry| fits(entry, ask, methods)) {
                best = Some(RouteMatch { plan: &entry.plan, prefix_bytes: covered });
            }
            let Some((segment, after)) = next_segment(rest) else { break };
            let Some(child) = node.literal.get(segment) else { break };
            node = child;
            rest = after;
        }
        best
    }
}

/// The first segment of a path that begins with `/`, and what follows it; `None` at the end.
fn next_segment(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    Some(match path.find('/') {
        Some(end) => path.split_at(end),
        None => (path, ""),
    })
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
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
