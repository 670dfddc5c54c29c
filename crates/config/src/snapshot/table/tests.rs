//! The order in which routes are found, its nearest neighbours, and the same table searched naively.

use std::time::Instant;

use bartizan_telemetry::RecordPlan;
use proptest::prelude::*;

use super::*;
use crate::snapshot::{Backends, HeaderChangesPlan, RewritePlan, RouteAction, Settled, TimeoutsPlan};

fn plan(label: &str) -> Arc<RoutePlan> {
    Arc::new(RoutePlan {
        index: 0,
        route: label.into(),
        label: label.into(),
        action: RouteAction::Forward(Backends { shares: vec![(1, 0)], total: 1 }),
        rewrite: RewritePlan::default(),
        request_headers: HeaderChangesPlan::default(),
        response_headers: HeaderChangesPlan::default(),
        timeouts: TimeoutsPlan {
            request: None,
            backend_request: std::time::Duration::from_secs(1),
            idle: std::time::Duration::from_secs(1),
        },
        body_bytes_max: None,
        priority: Default::default(),
        cors: Settled::default(),
        headers: Vec::new(),
        authentication: Settled::default(),
        authorization: Vec::new(),
        limits: Vec::new(),
        quotas: Vec::new(),
        inspection: Vec::new(),
        schemas: Vec::new(),
        caching: None,
        patience: None,
        record: Arc::new(RecordPlan::new("")),
    })
}

fn exact(path: &str) -> PathTest {
    PathTest::Exact(decoded(path).into())
}

fn prefix(path: &str) -> PathTest {
    PathTest::Prefix(decoded(path).trim_end_matches('/').into())
}

fn template(path: &str) -> PathTest {
    let part = |part: &str| match part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) => Segment::Variable(name.into()),
        None => Segment::Literal(decoded(part).into()),
    };
    PathTest::Template(path.trim_start_matches('/').split('/').map(part).collect())
}

fn matches(pattern: &str) -> PathTest {
    PathTest::Matches(Regex::new(&format!("^(?:{pattern})$")).unwrap())
}

fn entry(label: &str, host: Option<&str>, path: PathTest) -> RouteEntry {
    let host = host.map(|host| match host.strip_prefix("*.") {
        Some(suffix) => HostPattern::Suffix(suffix.into()),
        None => HostPattern::Exact(host.into()),
    });
    let plan = plan(label);
    RouteEntry { host, path, methods: MethodSet::ANY, headers: Vec::new(), query: Vec::new(), plan }
}

/// A request: method, host, path with query, headers.
struct Request(Method, String, String, HeaderMap);

fn get(host: &str, target: &str) -> Request {
    Request(Method::GET, host.to_owned(), target.to_owned(), HeaderMap::new())
}

impl Request {
    fn ask(&self) -> RouteAsk<'_> {
        let (path, query) = match self.2.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.2.as_str(), None),
        };
        RouteAsk { host: &self.1, path, method: &self.0, headers: &self.3, query }
    }

    fn method(mut self, method: Method) -> Self {
        self.0 = method;
        self
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.3.append(name, value.parse().unwrap());
        self
    }
}

/// What the table says, as text: a label, a list of methods, or `-`.
fn said(table: &RouteTable, request: &Request) -> String {
    match table.find(&request.ask()) {
        Lookup::Found(found) => found.plan.label.to_string(),
        Lookup::OtherMethods(methods) => {
            methods.iter().map(|method| method.to_string()).collect::<Vec<_>>().join(", ")
        }
        Lookup::Nothing => "-".to_owned(),
    }
}

#[test]
fn the_most_specific_host_is_asked_first_and_hides_nothing_else() {
    let table = RouteTable::build([
        entry("any", None, prefix("/")),
        entry("suffix", Some("*.example.com"), prefix("/")),
        entry("longer", Some("*.eu.example.com"), prefix("/v1")),
        entry("exact", Some("api.example.com"), prefix("/v1")),
        entry("v6", Some("[::1]"), prefix("/")),
    ]);
    let cases = [
        ("api.example.com", "/v1/a", "exact"),
        ("api.example.com", "/other", "suffix"),
        ("shop.eu.example.com", "/v1", "longer"),
        ("shop.eu.example.com", "/v2", "suffix"),
        ("eu.example.com", "/v1", "suffix"),
        ("a.b.example.com", "/", "suffix"),
        ("example.com", "/", "any"),
        (".example.com", "/", "any"),
        ("badexample.com", "/", "any"),
        ("api.example.com.evil.org", "/v1", "any"),
        ("[::1]", "/", "v6"),
        ("[::2]", "/", "any"),
    ];
    for (host, path, expected) in cases {
        assert_eq!(said(&table, &get(host, path)), expected, "{host}{path}");
    }
}

#[test]
fn paths_are_tried_exact_template_expression_longest_prefix() {
    let table = RouteTable::build([
        entry("root", None, prefix("/")),
        entry("orders", None, prefix("/orders")),
        entry("orders/archive", None, prefix("/orders/archive/")),
        entry("order", None, template("/orders/{id}")),
        entry("new", None, exact("/orders/new")),
        entry("lines", None, template("/orders/{id}/lines")),
        entry("first", None, template("/orders/first/{what}")),
        entry("digits", None, matches("/orders/[0-9]+/[a-z]+")),
    ]);
    let cases = [
        ("/", "root"),
        ("/orders", "orders"),
        ("/orders/", "orders"),
        ("/orders-old", "root"),
        ("/ordersx/new", "root"),
        ("/orders/new", "new"),
        ("/orders/new/", "orders"),
        ("/orders/7", "order"),
        ("/orders/7/lines", "lines"),
        ("/orders/first/lines", "first"),
        ("/orders/first/", "orders"),
        ("/orders/7/other", "digits"),
        ("/orders/7/OTHER", "orders"),
        ("/orders/archive", "order"),
        ("/orders/archive/2020/1", "orders/archive"),
        ("/orders/archived/2020/1", "orders"),
        ("/ORDERS", "root"),
    ];
    for (path, expected) in cases {
        assert_eq!(said(&table, &get("x", path)), expected, "{path}");
    }
}

#[test]
fn a_trailing_slash_is_a_segment_of_its_own_except_at_a_prefix() {
    let table = RouteTable::build([
        entry("a", None, exact("/a")),
        entry("b/", None, exact("/b/")),
        entry("c", None, prefix("/c")),
    ]);
    for (path, expected) in
        [("/a", "a"), ("/a/", "-"), ("/b", "-"), ("/b/", "b/"), ("/c", "c"), ("/c/", "c"), ("/", "-")]
    {
        assert_eq!(said(&table, &get("x", path)), expected, "{path}");
    }
    let root = RouteTable::build([entry("root", None, exact("/"))]);
    assert_eq!((said(&root, &get("x", "/")), said(&root, &get("x", "/a"))), ("root".into(), "-".into()));
}

#[test]
fn the_whole_server_is_published_by_no_route() {
    let table = RouteTable::build([entry("root", None, prefix("/")), entry("any", None, matches(".*"))]);
    assert_eq!(said(&table, &get("x", "*").method(Method::OPTIONS)), "-");
    assert_eq!(said(&table, &get("x", "")), "-");
    assert_eq!(said(&table, &get("x", "/").method(Method::OPTIONS)), "any");
}

#[test]
fn the_methods_of_a_path_are_told_unless_a_wider_rule_takes_the_request() {
    let methods = |methods: &[Method]| MethodSet::of(methods);
    let table = RouteTable::build([
        RouteEntry {
            methods: methods(&[Method::GET, Method::HEAD]),
            ..entry("read", None, exact("/orders"))
        },
        RouteEntry { methods: methods(&[Method::POST]), ..entry("write", None, template("/{what}")) },
        RouteEntry {
            methods: methods(&[Method::DELETE]),
            ..entry("wide", Some("*.example.com"), prefix("/orders"))
        },
        entry("all", Some("b.example.com"), prefix("/")),
    ]);
    let cases = [
        (Method::GET, "x", "/orders", "read"),
        (Method::POST, "x", "/orders", "write"),
        (Method::PUT, "x", "/orders", "GET, HEAD, POST"),
        (Method::PUT, "a.example.com", "/orders", "GET, HEAD, POST, DELETE"),
        (Method::DELETE, "a.example.com", "/orders/7", "wide"),
        (Method::GET, "a.example.com", "/orders/7", "DELETE"),
        (Method::PUT, "b.example.com", "/orders", "all"),
        (Method::GET, "x", "/unknown/path", "-"),
        (Method::from_bytes(b"BREW").unwrap(), "x", "/orders", "GET, HEAD, POST"),
    ];
    for (method, host, path, expected) in cases {
        assert_eq!(said(&table, &get(host, path).method(method.clone())), expected, "{method} {host}{path}");
    }
}

#[test]
fn every_value_of_a_header_must_match_and_there_must_be_one() {
    let header = |test| vec![(HeaderName::from_static("x-tenant"), test)];
    let table = RouteTable::build([
        RouteEntry { headers: header(ValueTest::Exact("a".into())), ..entry("a", None, prefix("/")) },
        RouteEntry {
            headers: header(ValueTest::Matches(Regex::new("^(?:b[0-9]+)$").unwrap())),
            ..entry("b", None, exact("/b"))
        },
        RouteEntry { headers: header(ValueTest::Present), ..entry("present", None, exact("/present")) },
    ]);
    let cases: [(&str, &[&str], &str); 10] = [
        ("/", &[], "-"),
        ("/", &["a"], "a"),
        ("/", &["a", "a"], "a"),
        ("/", &["a", "b"], "-"),
        ("/", &["b", "a"], "-"),
        ("/", &["A"], "-"),
        ("/b", &["b1", "b22"], "b"),
        ("/b", &["b1", "b1x"], "-"),
        ("/present", &[], "-"),
        ("/present", &["", "z"], "present"),
    ];
    for (path, values, expected) in cases {
        let request = values.iter().fold(get("x", path), |request, value| request.header("x-tenant", value));
        assert_eq!(said(&table, &request), expected, "{path} {values:?}");
    }
}

#[test]
fn every_value_of_a_query_parameter_must_match_decoded() {
    let query = |test| vec![("v 1".into(), test)];
    let table = RouteTable::build([
        RouteEntry { query: query(ValueTest::Exact("a&b".into())), ..entry("a", None, prefix("/")) },
        RouteEntry { query: query(ValueTest::Present), ..entry("present", None, exact("/present")) },
    ]);
    let cases = [
        ("/", "-"),
        ("/?v+1=a%26b", "a"),
        ("/?v%201=a%26b&v+1=a%26b", "a"),
        ("/?v+1=a%26b&v+1=c", "-"),
        ("/?v+1=c&v+1=a%26b", "-"),
        ("/?V+1=a%26b", "-"),
        ("/?other=a%26b", "-"),
        ("/present?v+1", "present"),
        ("/present?w", "-"),
    ];
    for (target, expected) in cases {
        assert_eq!(said(&table, &get("x", target)), expected, "{target}");
    }
}

#[test]
fn more_conditions_come_first_whatever_the_order_of_documents() {
    let tenant = || vec![(HeaderName::from_static("x-tenant"), ValueTest::Present)];
    let mut entries = vec![
        entry("plain", None, prefix("/")),
        RouteEntry { headers: tenant(), ..entry("tenant", None, prefix("/")) },
        RouteEntry { query: vec![("q".into(), ValueTest::Present)], ..entry("query", None, prefix("/")) },
        RouteEntry { methods: MethodSet::of(&[Method::GET]), ..entry("get", None, prefix("/")) },
    ];
    for _ in 0..entries.len() {
        entries.rotate_left(1);
        let table = RouteTable::build(entries.clone());
        assert_eq!(said(&table, &get("x", "/?q").header("x-tenant", "t")), "get");
        assert_eq!(said(&table, &get("x", "/?q").header("x-tenant", "t").method(Method::PUT)), "tenant");
        assert_eq!(said(&table, &get("x", "/?q").method(Method::PUT)), "query");
        assert_eq!(said(&table, &get("x", "/").method(Method::PUT)), "plain");
    }
}

#[test]
fn both_spellings_of_a_character_lead_to_the_same_rule() {
    let table = RouteTable::build([
        entry("wide", None, prefix("/")),
        entry("admin", None, prefix("/@admin")),
        entry("exact", None, exact("/a+b")),
        entry("template", None, template("/t/{id}/x:y")),
        entry("pattern", None, matches("/r/[(]x[)]")),
        entry("percent", None, exact("/100%25")),
        entry("cafe", None, prefix("/caf%C3%A9")),
    ]);
    let cases = [
        ("/@admin/users", "admin"),
        ("/%40admin/users", "admin"),
        ("/%40admin", "admin"),
        ("/a+b", "exact"),
        ("/a%2Bb", "exact"),
        ("/a%20b", "wide"),
        ("/t/%40/x%3Ay", "template"),
        ("/r/(x)", "pattern"),
        ("/r/%28x%29", "pattern"),
        ("/100%25", "percent"),
        ("/caf%C3%A9/a", "cafe"),
        ("/@admin%2Fusers", "wide"),
    ];
    for (path, expected) in cases {
        assert_eq!(said(&table, &get("x", path)), expected, "{path}");
    }
}

#[test]
fn the_bytes_of_a_prefix_count_in_the_path_as_it_is_sent() {
    let table = RouteTable::build([
        entry("admin", None, prefix("/@admin")),
        entry("deep", None, prefix("/a/@b")),
        entry("root", None, prefix("/")),
    ]);
    let cases = [
        ("/@admin/users", 7),
        ("/%40admin/users", 9),
        ("/%40admin", 9),
        ("/%40admin/", 9),
        ("/@admin/%40", 7),
        ("/a/%40b/c", 7),
        ("/%61", 0),
        ("/x%20y", 0),
    ];
    for (path, expected) in cases {
        let request = get("x", path);
        let Lookup::Found(found) = table.find(&request.ask()) else { panic!("{path}") };
        assert_eq!(found.prefix_bytes, expected, "{path}");
    }
}

#[test]
fn a_text_that_cannot_be_decoded_is_compared_as_it_is() {
    assert_eq!(decoded("/%ff"), "/%ff");
    assert_eq!(decoded("/%"), "/%");
    assert_eq!(decoded("/%4"), "/%4");
    assert_eq!(decoded("/%zz%41"), "/%zzA");
    assert_eq!(decoded("/a%2Fb%2fc%41"), "/a%2Fb%2fcA");
    assert!(matches!(decoded("/plain"), Cow::Borrowed(_)));
}

#[test]
fn a_hostile_path_costs_no_more_than_the_documents_are_deep() {
    let table = RouteTable::build(
        (0..8)
            .map(|depth| entry("t", None, template(&"/{x}".repeat(depth + 1))))
            .chain([entry("root", None, prefix("/")), entry("p", None, matches("(/a)*/b"))]),
    );
    let path = "/a".repeat(4096);
    let request = get("x", &path);
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(said(&table, &request), "root");
    }
    let each = begun.elapsed() / 100;
    println!("8 KiB with 4,096 segments: {each:?}");
    assert!(each < std::time::Duration::from_millis(50), "{each:?}");
}

#[test]
#[ignore = "prints times; run it by name"]
fn ten_thousand_routes_build_quickly_and_lookups_stay_flat() {
    for count in [100_usize, 10_000] {
        let entries = (0..count).map(|number| {
            let host = format!("h{}.example.com", number % 100);
            let path = match number % 3 {
                0 => exact(&format!("/service-{number}/list")),
                1 => prefix(&format!("/service-{number}")),
                _ => template(&format!("/service-{number}/{{id}}/lines")),
            };
            entry("r", Some(&host), path)
        });
        let entries: Vec<RouteEntry> = entries.collect();
        let begun = Instant::now();
        let table = RouteTable::build(entries);
        let built = begun.elapsed();
        let request =
            get(&format!("h{}.example.com", (count - 3) % 100), &format!("/service-{}/7/lines", count - 3));
        let begun = Instant::now();
        let found = (0..100_000).filter(|_| matches!(table.find(&request.ask()), Lookup::Found(_))).count();
        println!(
            "{count} routes: built in {built:?}, {:?} each of {found} lookups",
            begun.elapsed() / 100_000
        );
    }
}

// === the same search, naively ===

/// How specific an entry is for a request, the most specific first: host, kind of path, its variables, conditions.
type Rank = (usize, u8, Vec<bool>, std::cmp::Reverse<(bool, usize, usize)>);

/// `None` if host or path do not match.
fn rank(entry: &RouteEntry, ask: &RouteAsk<'_>) -> Option<Rank> {
    let host = match &entry.host {
        Some(HostPattern::Exact(name)) => (**name == *ask.host).then_some(0)?,
        Some(pattern @ HostPattern::Suffix(suffix)) => {
            pattern.matches(ask.host).then_some(1_000 - suffix.len())?
        }
        None => 1_000,
    };
    let path = decoded(ask.path);
    let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let (kind, variables, fits) = match &entry.path {
        PathTest::Exact(text) => (0, vec![false; parts.len()], **text == *path),
        PathTest::Template(segments) => {
            let fits = |(segment, part): (&Segment, &&str)| match segment.literal() {
                Some(text) => text == *part,
                None => !part.is_empty(),
            };
            let fits = segments.len() == parts.len() && segments.iter().zip(&parts).all(fits);
            (0, segments.iter().map(|segment| segment.literal().is_none()).collect(), fits)
        }
        PathTest::Matches(regex) => (1, Vec::new(), regex.is_match(&path)),
        PathTest::Prefix(text) => {
            let rest = path.strip_prefix(&**text);
            // A deeper prefix has the shorter list and so comes first.
            let list = vec![false; 64 - text.matches('/').count()];
            (2, list, rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
        }
    };
    fits.then(|| (host, kind, variables, std::cmp::Reverse(conditions(entry))))
}

/// The best rank, or the methods that would have matched.
fn naive(entries: &[RouteEntry], ask: &RouteAsk<'_>) -> Result<Rank, MethodSet> {
    let mut methods = MethodSet::default();
    let matching = entries.iter().filter_map(|entry| Some((rank(entry, ask)?, entry)));
    let best = matching.filter(|(_, entry)| fits(entry, ask, &mut methods)).map(|(rank, _)| rank).min();
    best.ok_or(methods)
}

fn any_path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![Just("a"), Just("b"), Just("@c"), Just("%40c"), Just("a-b"), Just("%20")];
    (prop::collection::vec(segment, 0..4), any::<bool>()).prop_map(|(segments, slash)| {
        let path: String = segments.iter().map(|segment| format!("/{segment}")).collect();
        if slash || path.is_empty() { format!("{path}/") } else { path }
    })
}

fn any_test() -> impl Strategy<Value = PathTest> {
    let variables = prop::collection::vec(any::<bool>(), 4);
    prop_oneof![
        any_path().prop_map(|path| exact(&path)),
        any_path().prop_map(|path| prefix(&path)),
        (any_path(), variables).prop_map(|(path, variables)| {
            let PathTest::Template(parts) = template(&path) else { unreachable!() };
            let parts = parts.iter().zip(variables.into_iter().chain(std::iter::repeat(false)));
            let part = |(part, variable): (&Segment, bool)| match part.literal() {
                Some(text) if variable && !text.is_empty() => Segment::Variable("v".into()),
                _ => part.clone(),
            };
            PathTest::Template(parts.map(part).collect())
        }),
        prop_oneof![Just("/a.*"), Just("/[^/]+/b"), Just("/@c/?")].prop_map(matches),
    ]
}

fn any_entry() -> impl Strategy<Value = RouteEntry> {
    let host = prop_oneof![
        Just(None),
        Just(Some("a.x.org")),
        Just(Some("*.x.org")),
        Just(Some("*.a.x.org")),
        Just(Some("*.org"))
    ];
    let methods = prop_oneof![
        Just(MethodSet::ANY),
        Just(MethodSet::of(&[Method::GET])),
        Just(MethodSet::of(&[Method::PUT, Method::POST]))
    ];
    let header =
        prop_oneof![Just(None), Just(Some(ValueTest::Present)), Just(Some(ValueTest::Exact("1".into())))];
    (host, any_test(), methods, header, any::<bool>()).prop_map(|(host, path, methods, header, query)| {
        RouteEntry {
            methods,
            headers: header.into_iter().map(|test| (HeaderName::from_static("x-h"), test)).collect(),
            query: query.then(|| ("q".into(), ValueTest::Present)).into_iter().collect(),
            ..entry("r", host, path)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_table_finds_what_a_search_through_all_entries_finds(
        entries in prop::collection::vec(any_entry(), 0..12),
        host in prop_oneof![Just("a.x.org"), Just("b.x.org"), Just("b.a.x.org"), Just("y.org"), Just("z")],
        path in any_path(),
        query in any::<bool>(),
        values in prop::collection::vec(prop_oneof![Just("1"), Just("2")], 0..3),
        method in prop_oneof![Just(Method::GET), Just(Method::PUT), Just(Method::DELETE)],
    ) {
        let entries: Vec<RouteEntry> =
            entries.into_iter().enumerate().map(|(at, entry)| RouteEntry { plan: plan(&at.to_string()), ..entry }).collect();
        let table = RouteTable::build(entries.clone());
        let target = if query { format!("{path}?q=1") } else { path };
        let request = values.iter().fold(get(host, &target).method(method), |request, value| request.header("x-h", value));
        let ask = request.ask();
        match (table.find(&ask), naive(&entries, &ask)) {
            (Lookup::Found(found), Ok(best)) => {
                let entry = &entries[found.plan.label.parse::<usize>().unwrap()];
                prop_assert!(fits(entry, &ask, &mut MethodSet::default()));
                prop_assert_eq!(rank(entry, &ask), Some(best));
            }
            (Lookup::OtherMethods(methods), Err(expected)) => prop_assert_eq!(methods, expected),
            (Lookup::Nothing, Err(expected)) => prop_assert!(expected.is_empty()),
            (found, expected) => prop_assert!(false, "{:?} but {:?}", found, expected),
        }
    }
}

#[test]
fn captures_are_the_decoded_segments_of_the_template() {
    use bartizan_access::Variables;

    use crate::snapshot::Captures;

    let PathTest::Template(parts) = template("/customers/{customer}/orders/{order}") else { unreachable!() };
    let cases = [
        ("/customers/ada/orders/7", Some("ada"), Some("7")),
        ("/customers/ada%40example.com/orders/%C3%A4", Some("ada@example.com"), Some("ä")),
        // A slash that is data stays encoded: it must not become two segments, nor be read as one.
        ("/customers/a%2Fb/orders/7", Some("a%2Fb"), Some("7")),
    ];
    for (path, customer, order) in cases {
        let captures = Captures { template: Some(&parts), path };
        assert_eq!(captures.get("customer").as_deref(), customer, "{path}");
        assert_eq!(captures.get("order").as_deref(), order, "{path}");
        assert_eq!(captures.get("customers"), None, "{path}");
    }
    assert_eq!(Captures { template: None, path: "/customers/ada" }.get("customer"), None);
}

#[test]
fn only_a_template_that_matched_has_captures() {
    let table = RouteTable::build([
        entry("template", None, template("/a/{x}")),
        entry("exact", None, exact("/a/b")),
        entry("prefix", None, prefix("/a")),
    ]);
    for (path, expected) in [("/a/c", true), ("/a/b", false), ("/a/c/d", false)] {
        let headers = HeaderMap::new();
        let ask =
            RouteAsk { host: "example.com", path, method: &Method::GET, headers: &headers, query: None };
        let Lookup::Found(found) = table.find(&ask) else { panic!("{path}") };
        assert_eq!(found.template.is_some(), expected, "{path}");
    }
}
