use std::{fmt::Display, str::FromStr};

use serde::Serialize;

use super::*;
use crate::{problem::Span, secret::Reference};

/// What a scalar accepts (with what it prints), and what it refuses (with a part of the message and hint).
struct Table {
    good: &'static [(&'static str, &'static str)],
    bad: &'static [(&'static str, &'static str)],
}

fn check<T>(table: &Table)
where
    T: FromStr<Err = Wrong> + Read + Display + Serialize + PartialEq + fmt::Debug,
{
    for (input, printed) in table.good {
        let value: T = input.parse().unwrap_or_else(|wrong| panic!("{input:?} is refused: {wrong}"));
        assert_eq!(value.to_string(), *printed, "{input:?}");
        assert_eq!(printed.parse::<T>().as_ref(), Ok(&value), "{printed:?} reads back");
        let json = serde_json::to_value(&value).unwrap();
        assert_eq!(json.as_str(), Some(*printed), "{input:?}");
    }
    for (input, part) in table.bad {
        let wrong = match input.parse::<T>() {
            Ok(value) => panic!("{input:?} is accepted as {value:?}"),
            Err(wrong) => wrong.to_string(),
        };
        assert!(wrong.contains(part), "{input:?}: {wrong}");
    }
    // Whatever is refused as text is refused as a document's value, with a problem.
    for (input, _) in table.bad {
        let node = Node { at: Span::SET, value: Value::Text { text: (*input).into(), quoted: true } };
        let mut problems = Problems::new();
        assert_eq!(T::read(&node, &mut Path::root(), &mut problems), None);
        assert!(problems.is_refusing());
    }
}

#[test]
fn a_duration_is_numbers_with_units_largest_first() {
    check::<Time>(&Table {
        good: &[
            ("30s", "30s"),
            ("5m", "5m"),
            ("1h", "1h"),
            ("250ms", "250ms"),
            ("1d", "1d"),
            ("1m30s", "1m30s"),
            ("90s", "1m30s"),
            ("0s", "0s"),
            ("3650d", "3650d"),
        ],
        bad: &[
            ("30", "`30s` or `30ms`"),
            ("1x", "`1x` is not a duration (write a number and a unit"),
            ("", "is not a duration"),
            ("s", "is not a duration"),
            ("30S", "write `30s`"),
            ("30 s", "write `30s`"),
            ("1.5s", "whole numbers"),
            ("-1s", "is not a duration"),
            ("30s1m", "is not a duration"),
            ("1m1m", "is not a duration"),
            ("3651d", "longer than ten years"),
            ("99999999999999999999d", "is not a duration"),
            ("18446744073709551615d", "is not a duration"),
            ("٣s", "is not a duration"),
        ],
    });
    assert_eq!(Time::seconds(90).get(), std::time::Duration::from_millis(90_000));
}

#[test]
fn a_size_is_a_number_of_bytes_or_a_number_with_a_unit() {
    check::<ByteSize>(&Table {
        good: &[
            ("64KiB", "64KiB"),
            ("1MiB", "1MiB"),
            ("1024KiB", "1MiB"),
            ("10MB", "10000000"),
            ("2kB", "2000"),
            ("500", "500"),
            ("1024", "1KiB"),
            ("7B", "7"),
            ("0", "0"),
        ],
        bad: &[
            ("64Ki", "write `64KiB`"),
            ("64kib", "write `64KiB`"),
            ("64 KiB", "write `64KiB`"),
            ("1g", "write `1GiB`"),
            ("KiB", "is not a size"),
            ("-1", "is not a size"),
            ("1.5MiB", "is not a size"),
            ("", "is not a size"),
            ("99999999999TiB", "is not a size"),
        ],
    });
    assert_eq!((ByteSize::kib(64), ByteSize::mib(1).get()), (ByteSize(65_536), 1 << 20));
}

#[test]
fn percents_and_counts_are_whole_numbers_in_their_range() {
    fn read<T: Read>(text: &str) -> Option<T> {
        let node = Node { at: Span::SET, value: Value::Integer(text.into()) };
        T::read(&node, &mut Path::root(), &mut Problems::new())
    }
    assert_eq!(
        [read("0"), read("100"), read("101"), read("-1")],
        [Some(Percent::of(0)), Some(Percent::of(100)), None, None]
    );
    assert_eq!([read("1"), read("0"), read("-1")], [Some(Count::of(1)), None, None]);
    assert_eq!(read::<Count>("18446744073709551615").map(|count| count.get().get()), Some(u64::MAX));
}

#[test]
fn a_name_is_a_dns_subdomain_in_lower_case() {
    check::<Name>(&Table {
        good: &[("orders", "orders"), ("a", "a"), ("a-1.b", "a-1.b"), ("0", "0")],
        bad: &[
            ("Orders", ": `orders`"),
            ("my_api", ": `my-api`"),
            ("", "is not a name"),
            ("-a", "is not a name"),
            ("a-", "is not a name"),
            ("a..b", "is not a name"),
            ("a.-b", "is not a name"),
            ("ä", "is not a name"),
            ("a/b", ": `a-b`"),
        ],
    });
    assert!(Name::parse(&"a".repeat(253)).is_ok());
    assert!(Name::parse(&"a".repeat(254)).is_err());
}

#[test]
fn a_header_name_is_a_token_without_underscore_kept_in_lower_case() {
    check::<HeaderName>(&Table {
        good: &[("X-Tenant", "x-tenant"), ("etag", "etag"), ("x!1", "x!1")],
        bad: &[
            ("x_tenant", "the gateway drops such headers (write `x-tenant`"),
            ("", "cannot be empty"),
            ("x tenant", "is not a header name"),
            ("x-tenant:", "without the colon"),
            (":path", "are not headers"),
            ("ü", "is not a header name"),
            ("x\r\ny", "is not a header name"),
        ],
    });
    assert!(HeaderName::parse(&"a".repeat(128)).is_ok());
    assert!(HeaderName::parse(&"a".repeat(129)).is_err());
}

#[test]
fn a_header_value_is_visible_ascii_and_never_quoted() {
    check::<HeaderValue>(&Table {
        good: &[("", ""), ("a b\tc", "a b\tc"), ("\"q\";", "\"q\";")],
        bad: &[
            ("a\r\nb", "a line break at character 2"),
            ("\0", "a NUL"),
            ("a\u{7f}", "a control character at character 2"),
            ("é", "outside ASCII"),
            (" a", "begins or ends with a space"),
            ("a\t", "begins or ends with a space"),
        ],
    });
    let wrong = HeaderValue::parse("hunter2\n").unwrap_err().to_string();
    assert!(!wrong.contains("hunter2"), "{wrong}");
    assert!(HeaderValue::parse(&"a".repeat(8 * 1024)).is_ok());
    assert!(HeaderValue::parse(&"a".repeat(8 * 1024 + 1)).is_err());
}

#[test]
fn a_method_is_one_that_the_gateway_lets_pass() {
    check::<Method>(&Table {
        good: &[("GET", "GET"), ("OPTIONS", "OPTIONS")],
        bad: &[
            ("get", "write `GET`"),
            ("CONNECT", "no forward proxy"),
            ("trace", "sends a request back"),
            ("*", "leave the field out"),
            ("PURGE", "the methods are"),
            ("", "is not a method"),
        ],
    });
}

#[test]
fn a_path_is_absolute_and_canonical() {
    check::<PathText>(&Table {
        good: &[
            ("/", "/"),
            ("/orders", "/orders"),
            ("/orders/", "/orders/"),
            ("/orders/{id}", "/orders/{id}"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a..b/...", "/a..b/..."),
            ("/~a;v=1,2@x:y", "/~a;v=1,2@x:y"),
        ],
        bad: &[
            ("orders", "write `/orders`"),
            ("", "does not begin with `/`"),
            ("http://a/b", "`hostnames`"),
            ("/a?b=1", "`queryParams`"),
            ("/a#b", "not part of a path"),
            ("/a//b", "an empty segment"),
            ("/a/../b", "a dot segment"),
            ("/a/.", "a dot segment"),
            ("/a/%2e%2e/b", "write `.` instead of `%2e`"),
            ("/%41", "write `A` instead of `%41`"),
            ("/a%2fb", "write `%2F`"),
            ("/a%2", "two hexadecimal digits"),
            ("/a%zz", "two hexadecimal digits"),
            ("/a\\b", "write `/`"),
            ("/ü", "write `%C3%BC`"),
            ("/a b", "write `%20`"),
            ("/a\nb", "a character that a path cannot have"),
        ],
    });
}

#[test]
fn a_host_is_a_name_a_wildcard_or_an_address_without_port_and_scheme() {
    check::<HostText>(&Table {
        good: &[
            ("API.example.com", "api.example.com"),
            ("*.example.com", "*.example.com"),
            ("localhost", "localhost"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("2001:db8:0::1", "[2001:db8::1]"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ],
        bad: &[
            ("https://api.example.com/x", "the host alone: `api.example.com`"),
            ("api.example.com:8080", "without the port: `api.example.com`"),
            ("[::1]:80", "nothing after them"),
            ("*", "leave the field out"),
            ("*example.com", "is not a host"),
            ("a.*.com", "is not a host"),
            ("*.1.2.3.4", "not for parts of an address"),
            ("bücher.example", "ASCII form"),
            ("example.com.", "without the final dot"),
            ("a_b.example", "is not a host"),
            ("-a.example", "is not a host"),
            ("a..b", "is not a host"),
            ("", "is not a host"),
            ("256.1.1.1", "four decimal numbers"),
            ("1.2.3", "four decimal numbers"),
            ("127.0.0.0x1", "four decimal numbers"),
            ("a b", "is not a host"),
        ],
    });
    assert_eq!(HostText::parse("*.example.com").unwrap().suffix(), Some("example.com"));
    assert!(HostText::parse(&format!("{}.example", "a".repeat(63))).is_ok());
    assert!(HostText::parse(&format!("{}.example", "a".repeat(64))).is_err());
}

#[test]
fn a_network_has_no_bits_after_its_prefix() {
    check::<Cidr>(&Table {
        good: &[
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ],
        bad: &[
            ("192.0.2.1/24", "the network is `192.0.2.0/24`; the address alone is `192.0.2.1`"),
            ("2001:db8::1/32", "the network is `2001:db8::/32`"),
            ("192.0.2.0/33", "from 0 to 32"),
            ("::/129", "from 0 to 128"),
            ("192.0.2.0/", "from 0 to 32"),
            ("192.0.2.0/+8", "from 0 to 32"),
            ("192.0.2.0/08", "from 0 to 32"),
            ("::ffff:192.0.2.0/120", "write `192.0.2.0/24`"),
            ("192.0.2", "is not an IP network"),
            ("192.0.2.01", "is not an IP network"),
            ("example.com", "is not an IP network"),
            ("", "is not an IP network"),
        ],
    });
}

#[test]
fn a_network_contains_the_addresses_with_its_prefix() {
    let cases = [
        ("192.0.2.0/24", "192.0.2.255", true),
        ("192.0.2.0/24", "192.0.3.0", false),
        ("192.0.2.0/24", "::ffff:192.0.2.1", true),
        ("0.0.0.0/0", "203.0.113.1", true),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("::/0", "203.0.113.1", false),
        ("2001:db8::/32", "2001:db8:ffff::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
        ("::1/128", "::1", true),
        ("::1/128", "::2", false),
    ];
    for (network, address, expected) in cases {
        let contains = Cidr::parse(network).unwrap().contains(address.parse().unwrap());
        assert_eq!(contains, expected, "{address} in {network}");
    }
}

#[test]
fn a_listening_address_says_where_and_on_which_port() {
    check::<ListenAddress>(&Table {
        good: &[
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:8443", "[::1]:8443"),
            ("0.0.0.0:0", "0.0.0.0:0"),
        ],
        bad: &[
            (":8080", "`0.0.0.0:8080` or `[::]:8080` for all"),
            ("8080", "`127.0.0.1:8080` for this machine"),
            ("*:80", "`0.0.0.0:80`"),
            ("localhost:8080", "write `127.0.0.1:8080` or `[::1]:8080`"),
            ("::1:8443", "in brackets: `[::1]:8443`"),
            ("127.0.0.1", "add a port"),
            ("127.0.0.1:70000", "is not an address to listen on"),
            ("example.com:80", "is not an address to listen on"),
            ("", "is not an address to listen on"),
        ],
    });
}

#[test]
fn an_endpoint_is_scheme_host_and_port_without_path_and_user() {
    check::<EndpointUrl>(&Table {
        good: &[
            ("http://orders:8080", "http://orders:8080"),
            ("HTTPS://Orders.Internal/", "https://orders.internal:443"),
            ("http://127.0.0.1", "http://127.0.0.1:80"),
            ("https://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
            ("http://my_service:80", "http://my_service:80"),
        ],
        bad: &[
            ("http://user:hunter2@orders", "does not belong in a document"),
            ("http://orders:8080/api", "write `http://orders:8080`; paths are changed by a route's rewrite"),
            ("http://orders?x", "write `http://orders`"),
            ("orders:8080", "write scheme, host and port"),
            ("ftp://orders", "write scheme, host and port"),
            ("grpc://orders", "write `http://`"),
            ("http://", "is not the URL"),
            ("http://orders:0", "a port from 1 to 65535"),
            ("http://orders:65536", "a port from 1 to 65535"),
            ("http://orders:", "a port from 1 to 65535"),
            ("http://::1:80", "write scheme, host and port"),
            ("http://[::1", "write scheme, host and port"),
            ("http://[::1]x", "write scheme, host and port"),
            ("http://300.1.1.1:80", "four decimal numbers"),
        ],
    });
    let url = EndpointUrl::parse("https://[::1]:443").unwrap();
    assert_eq!(
        (url.host.as_str(), url.authority().as_str(), url.address().is_some()),
        ("::1", "[::1]", true)
    );
    let wrong = EndpointUrl::parse("http://user:hunter2@orders").unwrap_err().to_string();
    assert!(!wrong.contains("hunter2"), "{wrong}");
}

#[test]
fn a_pattern_is_not_empty_and_not_endless() {
    check::<Pattern>(&Table {
        good: &[("^a+$", "^a+$"), ("(", "(")],
        bad: &[("", "would match everything")],
    });
    assert!(Pattern::parse(&"a".repeat(4 * 1024 + 1)).is_err());
}

#[test]
fn a_secret_is_a_reference_and_what_is_not_is_never_quoted() {
    let good = ["env://ORDERS_TOKEN", "env://_x1", "file:///run/secrets/token", "file://secrets/token"];
    for text in good {
        assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
    }
    let bad = [
        "hunter2",
        "",
        "env://",
        "env://1hunter2",
        "env://hunter2 x",
        "ENV://hunter2",
        "file://",
        "file:///hunter2/",
        "file:hunter2",
        "https://hunter2",
    ];
    for text in bad {
        let wrong = text.parse::<Reference>().unwrap_err();
        assert_eq!(wrong.code, Code::SecretInDocument);
        assert!(!wrong.to_string().contains("hunter2"), "{wrong}");
    }
    // A secret of digits must not be quoted by a message about types either.
    let values = [Value::Integer("4711".into()), Value::Bool(true), Value::List(Vec::new()), Value::Null];
    for value in values {
        let mut problems = Problems::new();
        let node = Node { at: Span::SET, value };
        assert_eq!(Reference::read(&node, &mut Path::root(), &mut problems), None);
        let report = format!("{problems:?}");
        assert!(report.contains("SecretInDocument") && !report.contains("4711"), "{report}");
    }
}

#[test]
fn text_scalars_do_not_take_numbers() {
    let node = Node { at: Span::SET, value: Value::Integer("8080".into()) };
    let mut problems = Problems::new();
    assert_eq!(ListenAddress::read(&node, &mut Path::root(), &mut problems), None);
    assert_eq!(Name::read(&node, &mut Path::root(), &mut problems), None);
    assert!(problems.iter().all(|problem| problem.code == Code::WrongType));
    assert_eq!(ByteSize::read(&node, &mut Path::root(), &mut problems), Some(ByteSize(8080)));
}

#[test]
fn modes_are_words() {
    let node = |text: &str| Node { at: Span::SET, value: Value::Text { text: text.into(), quoted: false } };
    let read = |text| crate::Mode::read(&node(text), &mut Path::root(), &mut Problems::new());
    assert_eq!(
        [read("enforce"), read("shadow"), read("off"), read("Enforce"), read("on")],
        [Some(crate::Mode::Enforce), Some(crate::Mode::Shadow), Some(crate::Mode::Off), None, None]
    );
}
