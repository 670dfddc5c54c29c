//! The rules of the canonical path, each with its nearest neighbour on the other side.

use proptest::prelude::*;

use super::*;

const STRICT: Tolerate = Tolerate {
    dot_segments: DotSegments::Refuse,
    empty_segments: EmptySegments::Refuse,
    encoded_slash: EncodedSlash::Refuse,
    parameters: Parameters::Refuse,
};

fn strict(raw: &str) -> Result<CanonicalPath, Denial> {
    CanonicalPath::parse(raw.as_bytes(), &STRICT)
}

#[test]
fn a_path_that_is_read_one_way_has_one_spelling() {
    let cases = [
        ("/", "/"),
        ("/orders", "/orders"),
        ("/orders/", "/orders/"),
        ("/orders/7/items", "/orders/7/items"),
        ("/%6frders/%37", "/orders/7"),
        ("/a%2db%5fc%7Ed%2E", "/a-b_c~d."),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/caf%C3%A9", "/caf%C3%A9"),
        ("/a%20b", "/a%20b"),
        ("/a%3fb%23c", "/a%3Fb%23c"),
        ("/a%3bx=1", "/a%3Bx=1"),
        ("/a:b@c!$&'()*+,=", "/a:b@c!$&'()*+,="),
        ("/.well-known/security.txt", "/.well-known/security.txt"),
        ("/...", "/..."),
        ("/..a/b../.c", "/..a/b../.c"),
        ("/a.b", "/a.b"),
        ("/100%25", "/100%25"),
        ("/100%25x", "/100%25x"),
        ("/100%25/a", "/100%25/a"),
    ];
    for (raw, expected) in cases {
        assert_eq!(strict(raw).unwrap_or_else(|d| panic!("{raw}: {d}")), expected, "{raw}");
    }
}

#[test]
fn a_path_that_servers_read_differently_is_refused() {
    let cases = [
        "",
        "orders",
        "*",
        "//",
        "/a//b",
        "//admin",
        "/a//",
        "/.",
        "/..",
        "/./a",
        "/a/.",
        "/a/..",
        "/a/../b",
        "/public/..;/admin",
        "/public/..;x=1/admin",
        "/public/.;/admin",
        "/public/;/admin",
        "/admin;x",
        "/a;v=1/b",
        "/%2e",
        "/%2E%2e/a",
        "/.%2e/a",
        "/%2e./a",
        "/%2e%2e;/a",
        "/..%3b/%2e%2e",
        "/a%2fb",
        "/a%2Fb",
        "/..%2fadmin",
        "/a\\b",
        "/a%5cb",
        "/a%5Cb",
        "/..\\admin",
        "/%252e%252e/admin",
        "/%252f",
        "/a%25%32%66",
        "/a%252%66",
        "/a%25%326",
        "/%c0%ae%c0%ae/",
        "/%c0%af",
        "/%e0%80%af",
        "/%ff",
        "/%c3",
        "/%ed%a0%80",
        "/a%00b",
        "/a\0b",
        "/a%0d%0ab",
        "/a%0a",
        "/a%1f",
        "/a%7f",
        "/a%c2%85b",
        "/a\nb",
        "/a\tb",
        "/a b",
        "/a#b",
        "/a?b",
        "/a%",
        "/a%4",
        "/a%g1",
        "/a%4g",
        "/a%+1",
        "/café",
        "/a\"b",
        "/a<b",
        "/a>b",
        "/a{b}",
        "/a|b",
        "/a^b",
        "/a`b",
        "/a[b]",
    ];
    for raw in cases {
        assert!(strict(raw).is_err(), "{raw:?} was admitted as {:?}", strict(raw));
    }
}

#[test]
fn merging_settles_empty_segments_and_nothing_else() {
    let tolerate = Tolerate { empty_segments: EmptySegments::Merge, ..STRICT };
    let parse = |raw: &str| CanonicalPath::parse(raw.as_bytes(), &tolerate);
    for (raw, expected) in
        [("//", "/"), ("/a//b", "/a/b"), ("//a///b//", "/a/b/"), ("///", "/"), ("/a", "/a")]
    {
        assert_eq!(parse(raw).unwrap(), expected, "{raw}");
    }
    for raw in ["/a//../b", "/a%2f/b", "/a;/b"] {
        assert!(parse(raw).is_err(), "{raw}");
    }
}

#[test]
fn resolving_settles_dot_segments_below_the_root_only() {
    let tolerate = Tolerate { dot_segments: DotSegments::Resolve, ..STRICT };
    let parse = |raw: &str| CanonicalPath::parse(raw.as_bytes(), &tolerate);
    let cases = [
        ("/a/../b", "/b"),
        ("/a/./b", "/a/b"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/.", "/"),
        ("/a/b/%2e%2e/c", "/a/c"),
        ("/a/b/../../c/", "/c/"),
    ];
    for (raw, expected) in cases {
        assert_eq!(parse(raw).unwrap(), expected, "{raw}");
    }
    for raw in ["/..", "/../a", "/a/../../b", "/a/..;/b", "/a//../b", "/a/..%2fb"] {
        assert!(parse(raw).is_err(), "{raw}");
    }
}

#[test]
fn keeping_an_encoded_slash_never_hides_a_dot_segment() {
    let tolerate = Tolerate { encoded_slash: EncodedSlash::Keep, ..STRICT };
    let parse = |raw: &str| CanonicalPath::parse(raw.as_bytes(), &tolerate);
    assert_eq!(parse("/a%2fb").unwrap(), "/a%2Fb");
    assert_eq!(parse("/a%2F.b/c").unwrap(), "/a%2F.b/c");
    for raw in [
        "/a%2f..%2fb",
        "/..%2fb",
        "/a%2f.",
        "/a%2f%2fb",
        "/%2fa",
        "/a%2f",
        "/a%2f%2e%2e",
        "/a%5cb",
        "/a%252fb",
    ] {
        assert!(parse(raw).is_err(), "{raw}");
    }
}

#[test]
fn keeping_parameters_never_admits_one_on_a_dot_or_empty_segment() {
    let tolerate = Tolerate { parameters: Parameters::Keep, dot_segments: DotSegments::Resolve, ..STRICT };
    let parse = |raw: &str| CanonicalPath::parse(raw.as_bytes(), &tolerate);
    assert_eq!(parse("/a;v=1/b;x").unwrap(), "/a;v=1/b;x");
    assert_eq!(parse("/...;v=1").unwrap(), "/...;v=1");
    for raw in ["/..;/a", "/a/..;x=1/b", "/.;/a", "/;/a", "/a/;x", "/%2e%2e;/a"] {
        assert!(parse(raw).is_err(), "{raw}");
    }
}

#[test]
fn a_canonical_target_is_shared_and_keeps_its_query() {
    let target = PathAndQuery::from_static("/orders/7?a=%2f..%2f&b");
    let path = CanonicalPath::of(&target, &STRICT).unwrap();
    assert_eq!(path, "/orders/7");
    assert_eq!(path.raw_query(), Some("a=%2f..%2f&b"));
    assert_eq!(path.target().as_str().as_ptr(), target.as_str().as_ptr());

    let path = CanonicalPath::of(&PathAndQuery::from_static("/%6frders?a=1"), &STRICT).unwrap();
    assert_eq!(path.target().as_str(), "/orders?a=1");
}

#[test]
fn a_target_without_a_path_means_the_root() {
    let uri: http::Uri = "http://example.com?a=1".parse().unwrap();
    let path = CanonicalPath::of(uri.path_and_query().unwrap(), &STRICT).unwrap();
    assert_eq!(path.target().as_str(), "/?a=1");
}

#[test]
fn a_rewritten_path_keeps_the_query_and_obeys_the_same_rules() {
    let path = CanonicalPath::of(&PathAndQuery::from_static("/v1/orders?a=1"), &STRICT).unwrap();
    assert_eq!(path.with_path(b"/orders", &STRICT).unwrap().target().as_str(), "/orders?a=1");
    assert!(path.with_path(b"/../orders", &STRICT).is_err());
    assert!(path.with_path(b"orders", &STRICT).is_err());
}

#[test]
fn segments_are_what_lies_between_slashes() {
    let of = |raw: &str| strict(raw).unwrap().segments().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(of("/"), [""]);
    assert_eq!(of("/a/b"), ["a", "b"]);
    assert_eq!(of("/a/"), ["a", ""]);
    assert_eq!(CanonicalPath::asterisk().segments().collect::<Vec<_>>(), ["*"]);
    assert!(CanonicalPath::asterisk().is_asterisk() && !strict("/").unwrap().is_asterisk());
}

#[test]
fn the_decoded_form_is_the_same_for_literal_and_encoded_characters() {
    assert_eq!(strict("/%40admin").unwrap().decoded(), "/@admin");
    assert_eq!(strict("/@admin").unwrap().decoded(), "/@admin");
    assert_eq!(strict("/caf%c3%a9").unwrap().decoded(), "/café");
}

#[test]
fn debug_does_not_show_the_query() {
    let path = CanonicalPath::of(&PathAndQuery::from_static("/a?token=secret"), &STRICT).unwrap();
    assert_eq!(format!("{path:?}"), "\"/a\"");
}

/// Text made of what path attacks are made of.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "//", ".", "..", "%2e", "%2E", "%2f", "%5c", "\\", ";", ";x=1", "%25", "%252e", "%32", "%65",
        "%00", "a", "Z9", "~", "%7e", "%c3%a9", "%C0%AE", "%", "%4", "?", "#", "@", "%40", " ", "é", "*",
        "%3b", "2e", "2F",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

fn any_tolerance() -> impl Strategy<Value = Tolerate> {
    any::<[bool; 4]>().prop_map(|[dots, empty, slash, parameters]| Tolerate {
        dot_segments: if dots { DotSegments::Resolve } else { DotSegments::Refuse },
        empty_segments: if empty { EmptySegments::Merge } else { EmptySegments::Refuse },
        encoded_slash: if slash { EncodedSlash::Keep } else { EncodedSlash::Refuse },
        parameters: if parameters { Parameters::Keep } else { Parameters::Refuse },
    })
}

fn is_clean(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    path.starts_with('/')
        && !["//", "/./", "/../", "\\", "%5c", "%00", "%2e", "#", "?", "/..;", "/.;"]
            .iter()
            .any(|bad| lower.contains(bad))
        && !lower.ends_with("/.")
        && !lower.ends_with("/..")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_canonical_path_is_a_fixed_point_and_clean(raw in hostile(), tolerate in any_tolerance()) {
        if let Ok(path) = CanonicalPath::parse(raw.as_bytes(), &tolerate) {
            prop_assert!(is_clean(path.as_str()), "{:?} became {:?}", raw, path);
            prop_assert_eq!(&CanonicalPath::parse(path.as_str().as_bytes(), &tolerate).unwrap(), &path);
        }
    }

    #[test]
    fn a_strict_path_means_what_was_sent_and_has_no_encoded_slash(raw in hostile()) {
        if let Ok(path) = CanonicalPath::parse(raw.as_bytes(), &STRICT) {
            let once = path.decoded().into_owned();
            prop_assert_eq!(once.as_bytes(), decode(raw.as_bytes()));
            prop_assert!(!path.as_str().contains("%2F") && !path.as_str().contains("%2f"));
            prop_assert!(!path.as_str().contains(';'));
            // Whoever decodes a second time finds nothing new.
            prop_assert_eq!(decode(once.as_bytes()), once.as_bytes());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(raw in prop::collection::vec(any::<u8>(), 0..200), tolerate in any_tolerance()) {
        if let Ok(path) = CanonicalPath::parse(&raw, &tolerate) {
            prop_assert!(is_clean(path.as_str()));
        }
    }
}
