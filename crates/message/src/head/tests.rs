//! The rules of admission, with the numbers of the attack list where one is met at this height.

use bartizan_model::Reason;
use http::{HeaderName, HeaderValue, Request};
use proptest::prelude::*;

use super::*;
use crate::{
    address::{AddressSet, Cidr},
    field::{FIELDS, Treatment},
    query::PAIRS_MAX,
};

const H1: Version = Version::HTTP_11;
const H2: Version = Version::HTTP_2;

type Lines<'a> = &'a [(&'a str, &'a str)];

fn parts(version: Version, method: &str, uri: &str, lines: Lines<'_>) -> Parts {
    let mut parts =
        Request::builder().method(method).uri(uri).version(version).body(()).unwrap().into_parts().0;
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        parts.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    parts
}

fn proxies() -> Trust {
    Trust { proxies: AddressSet::new(["192.0.2.0/24".parse::<Cidr>().unwrap()]) }
}

fn admit_from(trust: &Trust, parts: &mut Parts) -> Result<RequestHead, Denial> {
    let id = RequestId::accept(&parts.headers, 7);
    let (limits, mut memo) = (HeadLimits::default(), AuthorityMemo::default());
    RequestHead::admit(parts, &PeerFacts::for_test(), &limits, trust, id, &mut memo)
}

fn admit(version: Version, method: &str, uri: &str, lines: Lines<'_>) -> Result<RequestHead, Reason> {
    admit_from(&Trust::default(), &mut parts(version, method, uri, lines)).map_err(|denial| denial.reason)
}

/// A `GET /` with a host and these headers.
fn get(lines: Lines<'_>) -> Result<RequestHead, Reason> {
    admit(H1, "GET", "/", &[&[("host", "api.example")], lines].concat())
}

fn names(head: &RequestHead) -> Vec<&str> {
    let mut names: Vec<_> = head.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn an_ordinary_request_is_admitted_unchanged() {
    let lines = [
        ("host", "api.example:8080"),
        ("user-agent", "curl/8.5.0"),
        ("accept", "*/*"),
        ("authorization", "Bearer abc"),
        ("cookie", "a=1; b=2"),
        ("x-custom", "caf\u{e9}"),
    ];
    let mut parts = parts(H1, "GET", "/orders/7?a=1&b=2", &lines);
    let head = admit_from(&Trust::default(), &mut parts).unwrap();
    assert_eq!(head.method(), Method::GET);
    assert_eq!(head.authority().as_str(), "api.example:8080");
    assert_eq!(head.path().as_str(), "/orders/7");
    assert_eq!(head.raw_query(), Some("a=1&b=2"));
    assert_eq!(head.query().count(), 2);
    assert_eq!(head.headers().len(), lines.len());
    assert_eq!(head.client().to_string(), "192.0.2.7");
    assert_eq!(head.framing(), Framing::Absent);
    assert_eq!(head.scheme(), Scheme::Http);
    assert!(parts.headers.is_empty());
}

#[test]
fn methods_are_known_forbidden_or_unknown() {
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        assert!(admit(H1, method, "/", &[("host", "a")]).is_ok(), "{method}");
    }
    for (method, reason) in [
        ("TRACE", Reason::MethodNotAllowed),
        ("CONNECT", Reason::MethodNotAllowed),
        ("get", Reason::MethodUnknown),
        ("Get", Reason::MethodUnknown),
        ("QUERY", Reason::MethodUnknown),
        ("PRI", Reason::MethodUnknown),
        ("PROPFIND", Reason::MethodUnknown),
    ] {
        assert_eq!(admit(H1, method, "/", &[("host", "a")]).unwrap_err(), reason, "{method}");
    }
    assert_eq!(admit(H1, &"A".repeat(10_240), "/", &[("host", "a")]).unwrap_err(), Reason::MethodUnknown);
}

#[test]
fn a_refusal_leaves_the_parts_as_they_were() {
    let mut parts = parts(H1, "GET", "/", &[("host", "a"), ("x_alias", "1"), ("connection", "host")]);
    assert!(admit_from(&Trust::default(), &mut parts).is_err());
    assert_eq!(parts.headers.len(), 3);
}

#[test]
fn the_host_is_named_once_and_alike() {
    // Case 10.
    let refused: &[(Version, &str, Lines<'_>)] = &[
        (H1, "/", &[]),
        (Version::HTTP_10, "/", &[]),
        (H2, "/", &[]),
        (H1, "/", &[("host", "")]),
        (H1, "/", &[("host", "a"), ("host", "a")]),
        (H1, "/", &[("host", "a"), ("host", "b")]),
        (H1, "/", &[("host", "user@a")]),
        (H1, "/", &[("host", "a/b")]),
        (H1, "/", &[("host", "a b")]),
        (H1, "http://a.example/", &[]),
        (H1, "http://a.example/", &[("host", "b.example")]),
        (H1, "http://a.example/", &[("host", "a.example:81")]),
        (H1, "http://user@a.example/", &[("host", "a.example")]),
        (H1, "https://a.example/", &[("host", "a.example")]),
        (H1, "ftp://a.example/", &[("host", "a.example")]),
        (H1, "a.example:80", &[("host", "a.example:80")]),
        (H2, "http://a.example/", &[("host", "b.example")]),
        (H2, "http://a.example/", &[("host", "a.example"), ("host", "a.example")]),
        (H2, "http://user@a.example/", &[]),
        (H2, "https://a.example/", &[]),
        (Version::HTTP_3, "http://a.example/", &[]),
        (Version::HTTP_09, "/", &[("host", "a.example")]),
    ];
    for (version, uri, lines) in refused {
        assert_eq!(
            admit(*version, "GET", uri, lines).unwrap_err(),
            Reason::MalformedRequest,
            "{version:?} {uri} {lines:?}"
        );
    }
    let admitted: &[(Version, &str, Lines<'_>, &str)] = &[
        (H1, "/", &[("host", "A.Example.")], "a.example"),
        (Version::HTTP_10, "/", &[("host", "a.example")], "a.example"),
        (H1, "http://a.example/", &[("host", "A.example:80")], "a.example"),
        (H2, "http://A.example/", &[], "a.example"),
        (H2, "http://a.example/", &[("host", "a.example")], "a.example"),
        (H2, "/", &[("host", "a.example")], "a.example"),
        (H1, "/", &[("host", "[0::1]:8080")], "[::1]:8080"),
    ];
    for (version, uri, lines, host) in admitted {
        let head =
            admit(*version, "GET", uri, lines).unwrap_or_else(|reason| panic!("{uri} {lines:?}: {reason}"));
        assert_eq!(head.authority().as_str(), *host);
        let hosts: Vec<_> = head.headers().get_all("host").iter().collect();
        assert_eq!(hosts, [*host], "{uri} {lines:?}");
    }
}

#[test]
fn a_trusted_proxy_may_say_that_the_client_used_tls() {
    let mut parts = parts(H2, "GET", "https://a.example/", &[]);
    assert!(admit_from(&proxies(), &mut parts).is_ok());
}

#[test]
fn the_framing_is_read_in_one_way() {
    // Cases 1 to 4 and 12, as far as the parser in front leaves the headers visible.
    let refused: &[(Version, Lines<'_>)] = &[
        (H1, &[("content-length", "5"), ("transfer-encoding", "chunked")]),
        (H1, &[("content-length", "5"), ("content-length", "5")]),
        (H1, &[("content-length", "5"), ("content-length", "6")]),
        (H1, &[("content-length", "5, 5")]),
        (H1, &[("content-length", "+5")]),
        (H1, &[("content-length", "")]),
        (H1, &[("content-length", "99999999999999999999")]),
        (H1, &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]),
        (H1, &[("transfer-encoding", "chunked, identity")]),
        (H1, &[("transfer-encoding", "xchunked")]),
        (Version::HTTP_10, &[("transfer-encoding", "chunked")]),
        (H2, &[("transfer-encoding", "chunked")]),
        (H2, &[("content-length", "5"), ("content-length", "5")]),
    ];
    for (version, lines) in refused {
        let lines = [&[("host", "a")], *lines].concat();
        assert_eq!(
            admit(*version, "POST", "/", &lines).unwrap_err(),
            Reason::MalformedRequest,
            "{version:?} {lines:?}"
        );
    }
    let head = admit(H1, "POST", "/", &[("host", "a"), ("transfer-encoding", "chunked")]).unwrap();
    assert_eq!((head.framing(), names(&head)), (Framing::Chunked, vec!["host"]));
    let head = admit(H1, "POST", "/", &[("host", "a"), ("content-length", "5")]).unwrap();
    assert_eq!((head.framing(), names(&head)), (Framing::Length(5), vec!["content-length", "host"]));
    assert_eq!(admit(H2, "POST", "/", &[("host", "a")]).unwrap().framing(), Framing::Stream);
}

#[test]
fn connection_specific_headers_make_an_http_2_request_malformed() {
    for name in
        ["connection", "keep-alive", "proxy-connection", "upgrade", "transfer-encoding", "http2-settings"]
    {
        let lines = [("host", "a"), (name, "x")];
        assert_eq!(admit(H2, "GET", "/", &lines).unwrap_err(), Reason::MalformedRequest, "{name}");
    }
    for (value, admitted) in [("trailers", true), ("gzip", false), ("trailers, gzip", false), ("", false)] {
        let head = admit(H2, "GET", "/", &[("host", "a"), ("te", value)]);
        assert_eq!(head.as_ref().is_ok_and(RequestHead::accepts_trailers), admitted, "{value}");
        assert_eq!(head.is_ok(), admitted, "{value}");
    }
}

#[test]
fn hop_by_hop_headers_stay_on_their_hop() {
    let head = get(&[
        ("connection", "keep-alive, TE, X-Hop"),
        ("connection", "x-other"),
        ("keep-alive", "timeout=5"),
        ("te", "gzip;q=0.5, trailers"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic x"),
        ("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA"),
        ("upgrade", "h2c"),
        ("x-hop", "1"),
        ("x-other", "1"),
        ("x-other", "2"),
        ("trailer", "x-sum"),
        ("x-end", "1"),
    ])
    .unwrap();
    assert_eq!(names(&head), ["host", "trailer", "x-end"]);
    assert!(head.accepts_trailers() && head.upgrade().is_none());
    assert!(!get(&[("te", "gzip")]).unwrap().accepts_trailers());
}

#[test]
fn connection_never_removes_what_judges_decide_by() {
    // Case 43.
    for option in [
        "authorization",
        "close, Host",
        "x-api-key",
        "x-consumer-name",
        "forwarded",
        "content-length",
        "cookie",
    ] {
        assert_eq!(get(&[("connection", option)]).unwrap_err(), Reason::MalformedRequest, "{option}");
    }
    assert_eq!(get(&[("connection", "a b")]).unwrap_err(), Reason::MalformedRequest);
    assert!(get(&[("connection", "x-user"), ("x-user", "1")]).is_ok_and(|head| names(&head) == ["host"]));
}

#[test]
fn an_upgrade_is_one_protocol_without_a_body() {
    // Case 7.
    let asks = [("connection", "Upgrade"), ("upgrade", "websocket")];
    let head = get(&asks).unwrap();
    assert!(head.upgrade().is_some_and(Upgrade::is_websocket));
    assert_eq!(names(&head), ["host"]);
    assert!(get(&[&asks[..], &[("content-length", "0")]].concat()).unwrap().upgrade().is_some());
    for extra in [("content-length", "1"), ("transfer-encoding", "chunked")] {
        assert_eq!(get(&[&asks[..], &[extra]].concat()).unwrap_err(), Reason::MalformedRequest, "{extra:?}");
    }
    assert_eq!(get(&[asks[0], ("upgrade", "websocket, foo")]).unwrap_err(), Reason::MalformedRequest);
    assert_eq!(get(&[asks[0], asks[1], asks[1]]).unwrap_err(), Reason::MalformedRequest);
    // Without the option, in HTTP/1.0, or for HTTP/2 in clear text the header means nothing.
    assert!(get(&[("upgrade", "websocket")]).unwrap().upgrade().is_none());
    let head = admit(Version::HTTP_10, "GET", "/", &[&[("host", "a")], &asks[..]].concat()).unwrap();
    assert!(head.upgrade().is_none());
    let offer = [
        ("connection", "Upgrade, HTTP2-Settings"),
        ("upgrade", "h2c"),
        ("http2-settings", "AA"),
        ("content-length", "3"),
    ];
    let head = get(&offer).unwrap();
    assert!(head.upgrade().is_none());
    assert_eq!(names(&head), ["content-length", "host"]);
}

#[test]
fn the_one_expectation_is_100_continue() {
    // Case 6.
    let head = get(&[("expect", "100-Continue")]).unwrap();
    assert!(head.expects_continue() && names(&head) == ["host"]);
    assert!(!get(&[]).unwrap().expects_continue());
    for value in ["", "100-continue, x", "100-continue;q=1", "200-ok", "\"100-continue\""] {
        assert_eq!(get(&[("expect", value)]).unwrap_err(), Reason::ExpectationUnknown, "{value}");
    }
    let old = admit(Version::HTTP_10, "GET", "/", &[("host", "a"), ("expect", "100-continue")]).unwrap();
    assert!(!old.expects_continue());
}

#[test]
fn sizes_are_limited_exactly() {
    let uri = |length: usize| format!("/{}", "a".repeat(length - 1));
    assert!(admit(H1, "GET", &uri(8192), &[("host", "a")]).is_ok());
    assert_eq!(admit(H1, "GET", &uri(8193), &[("host", "a")]).unwrap_err(), Reason::UriTooLong);

    let many: Vec<_> = (0..100).map(|n| format!("x-{n}")).collect();
    let lines: Vec<_> = many.iter().map(|name| (name.as_str(), "1")).collect();
    assert!(get(&lines[..99]).is_ok());
    assert_eq!(get(&lines).unwrap_err(), Reason::HeaderTooLarge);

    // `host: api.example` costs 19 with its separators, `x: ` and the value's line end 5 more than the value.
    let value = |length: usize| "a".repeat(length);
    assert!(get(&[("x", &value(65_536 - 19 - 5))]).is_ok());
    assert_eq!(get(&[("x", &value(65_536 - 19 - 4))]).unwrap_err(), Reason::HeaderTooLarge);
}

#[test]
fn cookie_crumbs_count_and_become_one_cookie() {
    // Case 22.
    let head =
        admit(H2, "GET", "/", &[("host", "a"), ("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")])
            .unwrap();
    assert_eq!(head.headers().get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    let crumbs = vec![("cookie", "a=1"); 100];
    assert_eq!(
        admit(H2, "GET", "/", &[&[("host", "a")], &crumbs[..]].concat()).unwrap_err(),
        Reason::HeaderTooLarge
    );
    assert_eq!(get(&[("cookie", "a=1"), ("cookie", "b=2")]).unwrap_err(), Reason::MalformedRequest);
}

#[test]
fn a_repeated_singleton_is_refused_and_a_repeated_list_is_not() {
    // Case 42.
    for field in FIELDS.iter().filter(|field| field.singleton) {
        let value = match field.treatment {
            Treatment::Expect => "100-continue",
            Treatment::ContentLength => "1",
            Treatment::TransferEncoding => "chunked",
            _ => "a",
        };
        assert_eq!(
            get(&[(field.name, value), (field.name, value)]).unwrap_err(),
            Reason::MalformedRequest,
            "{}",
            field.name
        );
    }
    for name in ["accept", "if-none-match", "x-custom", "via", "content-encoding"] {
        assert_eq!(
            get(&[(name, "a"), (name, "b")]).unwrap().headers().get_all(name).iter().count(),
            2,
            "{name}"
        );
    }
}

#[test]
fn blanks_around_a_value_are_refused() {
    for value in [" a", "a ", "\ta", "a\t", " "] {
        assert_eq!(get(&[("x-custom", value)]).unwrap_err(), Reason::MalformedRequest, "{value:?}");
    }
    assert!(get(&[("x-custom", "a \t b"), ("x-empty", "")]).is_ok());
}

#[test]
fn what_a_caller_may_not_say_is_removed() {
    // Cases 41 and 45.
    let forged: Lines<'_> = &[
        ("x-consumer-id", "admin"),
        ("x-consumer-name", "admin"),
        ("x-client-cert", "x"),
        ("x-client-cert-dn", "x"),
        ("client-cert", "x"),
        ("x-ssl-client-verify", "SUCCESS"),
        ("x-forwarded-client-cert", "x"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-prefix", "/admin"),
        ("forwarded", "for=10.0.0.1"),
        ("x-client-ipaddress", "10.0.0.1"),
        ("x-real-ip", "10.0.0.1"),
        ("true-client-ip", "10.0.0.1"),
        ("cf-connecting-ip", "10.0.0.1"),
        ("x-remote-user", "admin"),
        ("remote-user", "admin"),
        ("x-http-method-override", "DELETE"),
        ("x-method-override", "DELETE"),
        ("x-original-url", "/admin"),
        ("x-rewrite-url", "/admin"),
        ("x-middleware-subrequest", "x"),
        ("proxy", "http://evil.example"),
        ("x_forwarded_for", "10.0.0.1"),
        ("x_consumer_id", "admin"),
        ("x.forwarded.for", "10.0.0.1"),
    ];
    for line in forged {
        assert_eq!(names(&get(&[*line]).unwrap()), ["host"], "{line:?}");
    }
    let head = get(forged).unwrap();
    assert_eq!(names(&head), ["host"]);
    assert_eq!(head.dropped_aliases(), 3);
    assert_eq!(head.client().to_string(), "192.0.2.7");
    assert_eq!(head.scheme(), Scheme::Http);
}

#[test]
fn a_trusted_proxy_may_say_who_the_client_is_but_not_which_consumer_or_certificate() {
    let lines = [
        ("host", "a"),
        ("x-consumer-id", "admin"),
        ("x-http-method-override", "DELETE"),
        ("x-client-cert", "x"),
        ("x-ssl-client-verify", "SUCCESS"),
        ("x-forwarded-client-cert", "x"),
        ("client-cert", ":eA==:"),
        ("x-forwarded-prefix", "/shop"),
        ("x-forwarded-for", "203.0.113.5"),
        ("x-forwarded-proto", "https"),
        ("x_forwarded_for", "1"),
    ];
    let head = admit_from(&proxies(), &mut parts(H1, "GET", "/", &lines)).unwrap();
    assert_eq!(names(&head), ["host", "x-forwarded-prefix"]);
    assert_eq!(head.client().to_string(), "203.0.113.5");
    assert_eq!(head.peer(), PeerFacts::for_test().peer);
    assert_eq!(head.scheme(), Scheme::Https);

    let lines = [("host", "a"), ("x-forwarded-for", "nonsense")];
    let denial = admit_from(&proxies(), &mut parts(H1, "GET", "/", &lines)).unwrap_err();
    assert_eq!(denial.reason, Reason::MalformedRequest);
    assert!(get(&lines[1..]).is_ok());
}

#[test]
fn a_sound_request_id_stays_and_any_other_goes() {
    let head = get(&[("x-request-id", "abc-1")]).unwrap();
    assert_eq!((head.id().as_str(), names(&head)), ("abc-1", vec!["host", "x-request-id"]));
    for lines in [&[("x-request-id", "a b")][..], &[("x-request-id", "a"), ("x-request-id", "b")]] {
        let head = get(lines).unwrap();
        assert!(head.id().is_minted());
        assert_eq!(names(&head), ["host"], "{lines:?}");
    }
}

#[test]
fn the_target_is_an_absolute_path_or_an_asterisk() {
    assert!(admit(H1, "OPTIONS", "*", &[("host", "a")]).unwrap().path().is_asterisk());
    assert_eq!(admit(H1, "GET", "*", &[("host", "a")]).unwrap_err(), Reason::MalformedRequest);
    assert_eq!(admit(H1, "GET", "/a/..;/b", &[("host", "a")]).unwrap_err(), Reason::MalformedRequest);
    assert_eq!(admit(H1, "GET", "//admin", &[("host", "a")]).unwrap_err(), Reason::MalformedRequest);
    assert_eq!(admit(H1, "GET", "/?a=é", &[("host", "a")]).unwrap_err(), Reason::MalformedRequest);
    let pairs = |count: usize| format!("/?{}", vec!["a=1"; count].join("&"));
    assert!(admit(H1, "GET", &pairs(PAIRS_MAX), &[("host", "a")]).is_ok());
    assert_eq!(
        admit(H1, "GET", &pairs(PAIRS_MAX + 1), &[("host", "a")]).unwrap_err(),
        Reason::MalformedRequest
    );
    assert_eq!(
        admit(H1, "GET", "http://a.example?q", &[("host", "a.example")]).unwrap().path().target(),
        "/?q"
    );
}

#[test]
fn debug_shows_no_secret() {
    let head =
        admit(H1, "GET", "/a?token=s3cret", &[("host", "a"), ("authorization", "Bearer s3cret")]).unwrap();
    assert!(!format!("{head:?}").contains("s3cret"));
}

/// Header lines made of what attacks are made of.
fn hostile_lines() -> impl Strategy<Value = Vec<(String, String)>> {
    let listed: Vec<_> = FIELDS.iter().map(|field| field.name.to_owned()).collect();
    let name = prop_oneof![
        prop::sample::select(listed),
        prop::sample::select(vec![
            "x-consumer-id",
            "x-forwarded-user",
            "x_y",
            "accept",
            "x-hop",
            "x-ssl-client-dn"
        ])
        .prop_map(str::to_owned),
    ];
    let value = prop_oneof![
        prop::sample::select(vec![
            "a",
            "",
            "5",
            "chunked",
            "close",
            "x-hop",
            "keep-alive, x-hop",
            "upgrade",
            "websocket",
            "trailers",
            "host",
            "100-continue",
            "10.0.0.1",
            "for=10.0.0.1",
            "a.example",
            "192.0.2.9, 10.0.0.1",
            "https",
            "content-length",
        ])
        .prop_map(str::to_owned),
        "[ -~\t]{0,20}",
    ];
    prop::collection::vec((name, value), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_is_admitted_says_one_thing_only(
        lines in hostile_lines(),
        version in prop::sample::select(vec![Version::HTTP_10, H1, H2]),
        trusted in any::<bool>(),
        with_host in any::<bool>(),
    ) {
        let host = [("host".to_owned(), "a.example".to_owned())];
        let lines: Vec<_> = if with_host { host.iter().chain(&lines) } else { [].iter().chain(&lines) }
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let trust = if trusted { proxies() } else { Trust::default() };
        let mut parts = parts(version, "POST", "/a", &lines);
        let before = parts.headers.clone();
        match admit_from(&trust, &mut parts) {
            Err(_) => prop_assert_eq!(parts.headers, before),
            Ok(head) => {
                for (name, value) in head.headers() {
                    let text = name.as_str();
                    prop_assert!(!text.contains('_') && !text.starts_with("x-consumer-"));
                    prop_assert!(!value.as_bytes().contains(&b'\n'));
                    if let Some(field) = FIELDS.iter().find(|field| field.name == text) {
                        prop_assert!(!field.singleton || head.headers().get_all(name).iter().count() == 1);
                        let stays = match field.treatment {
                            Treatment::Kept | Treatment::Host | Treatment::Cookie | Treatment::ContentLength => true,
                            Treatment::RequestId => value.as_bytes() == head.id().as_str().as_bytes(),
                            Treatment::Identity => trusted,
                            _ => false,
                        };
                        prop_assert!(stays, "{} stayed", text);
                    }
                }
                prop_assert_eq!(head.headers().get("host").unwrap(), head.authority().as_str());
                prop_assert!(head.upgrade().is_none() || !head.framing().announces_body());
                if !trusted {
                    prop_assert_eq!(head.client().to_string(), "192.0.2.7");
                }
                let mut upstream = head.headers().clone();
                head.write_forwarding(&mut upstream, &AddressValue::of(head.peer().ip()), RfcForwarded::Write);
                prop_assert_eq!(upstream["x-client-ipaddress"].to_str().unwrap(), head.client().to_string());
            }
        }
    }
}
