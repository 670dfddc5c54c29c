//! The rules across modules, by section of RFC 9111.

use std::{hash::RandomState, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use proptest::prelude::*;

use crate::{
    Asked, Authorized, Class, Entry, Found, Key, Moment, Purge, Refused, Shelf, ShelfLimits, Terms, Url,
    condition::{is_not_modified, not_modified_headers},
    lookup,
    lookup::Missing,
    may_store,
    range::{Part, part},
    validate::{Merged, merge},
};

const T0: Moment = Moment { unix_s: 784_111_777, steady_ms: 0 };

fn after(seconds: u64) -> Moment {
    Moment { unix_s: T0.unix_s + seconds, steady_ms: seconds * 1_000 }
}

fn headers(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.split('\n').filter(|line| !line.trim().is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        headers
            .append(HeaderName::from_bytes(name.trim().as_bytes()).unwrap(), value.trim().parse().unwrap());
    }
    headers
}

fn key(target: &str, class: Class) -> Key {
    Key::of(&Method::GET, Url::new("https", "a.example", 443, target), class, "r".into()).unwrap()
}

fn anna() -> Class {
    Class::Of { consumer: "anna".into(), subject: None }
}

/// A request of the tests.
struct Ask {
    key: Key,
    headers: HeaderMap,
    is_identified: bool,
    passed: u64,
    terms: Terms,
}

impl Ask {
    fn of(class: Class, text: &str) -> Self {
        let is_identified = class != Class::Anonymous;
        Ask {
            key: key("/a", class),
            headers: headers(text),
            is_identified,
            passed: 1,
            terms: Terms::default(),
        }
    }

    fn anonymous(text: &str) -> Self {
        Ask::of(Class::Anonymous, text)
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            key: &self.key,
            method: &Method::GET,
            headers: &self.headers,
            is_identified: self.is_identified,
            passed: self.passed,
            terms: &self.terms,
        }
    }

    fn stores(&self, status: u16, answer: &str) -> Result<Entry, Refused> {
        let status = StatusCode::from_u16(status).unwrap();
        let storable = may_store(&self.asked(), (status, &headers(answer)), (T0, T0))?;
        Ok(storable.complete(Bytes::from_static(b"0123456789")).unwrap())
    }

    fn keeps(&self, shelf: &Shelf, answer: &str) {
        assert!(shelf.keep(&self.key, self.stores(200, answer).unwrap(), shelf.era(self.key.url())));
        shelf.check();
    }

    fn finds(&self, shelf: &Shelf, now: Moment) -> &'static str {
        match lookup(shelf, &self.asked(), now) {
            Found::Fresh(_) => "fresh",
            Found::Stale(_) => "stale",
            Found::Validate(..) => "validate",
            Found::Miss(Missing::Bypass) => "bypass",
            Found::Miss(Missing::OnlyIfCached) => "only-if-cached",
            Found::Miss(Missing::Uri) => "uri",
            Found::Miss(Missing::Vary) => "vary",
            Found::Miss(Missing::Stale) => "miss-stale",
            Found::Miss(Missing::Request) => "request",
        }
    }
}

fn shelf() -> Shelf {
    Shelf::new(ShelfLimits::default(), RandomState::new())
}

#[test]
fn section_3_decides_what_is_kept() {
    let ok: Result<(), Refused> = Ok(());
    let rows = [
        (200, "cache-control: max-age=9", ok),
        (200, "cache-control: max-age=9, no-store", Err(Refused::NoStore)),
        (200, "cache-control: max-age=9, private", Err(Refused::Private)),
        (200, "cache-control: max-age=9, private=\"x\"", Err(Refused::Private)),
        (200, "cache-control: max-age=9, s-maxage", Err(Refused::Malformed)),
        (200, "cache-control: max-age=9, no-store, must-understand", ok),
        (299, "cache-control: max-age=9, no-store, must-understand", Err(Refused::Status)),
        (200, "cache-control: max-age=9\nset-cookie: a=b", Err(Refused::SetCookie)),
        (200, "cache-control: max-age=9\nvary: *", Err(Refused::Vary)),
        (200, "cache-control: max-age=9\nvary: x-consumer-name", Err(Refused::Vary)),
        (206, "cache-control: max-age=9", Err(Refused::Partial)),
        (200, "cache-control: max-age=9\ncontent-range: bytes 0-1/2", Err(Refused::Partial)),
        (200, "cache-control: max-age=9\ntrailer: x", Err(Refused::Trailers)),
        (200, "cache-control: max-age=9\ncontent-length: 9999999", Err(Refused::TooLarge)),
        (200, "cache-control: max-age=0", Err(Refused::Stale)),
        (200, "cache-control: max-age=0\netag: \"x\"", ok),
        (200, "cache-control: no-cache\netag: \"x\"", ok),
        (200, "cache-control: no-cache", Err(Refused::Stale)),
        (200, "cache-control: max-age=9\nage: 9", Err(Refused::Stale)),
        (200, "", Err(Refused::Stale)),
        (200, "etag: \"x\"", Err(Refused::Stale)),
        (302, "cache-control: max-age=9", ok),
        (404, "cache-control: max-age=9", ok),
        (404, "", Err(Refused::Stale)),
        (500, "cache-control: max-age=9", Err(Refused::Status)),
        (503, "cache-control: max-age=9", Err(Refused::Status)),
        (304, "cache-control: max-age=9", Err(Refused::Status)),
        (401, "cache-control: max-age=9", Err(Refused::Status)),
    ];
    for (status, answer, expected) in rows {
        assert_eq!(Ask::anonymous("").stores(status, answer).map(drop), expected, "{status} {answer}");
    }
}

#[test]
fn section_3_5_keeps_answers_to_callers_with_credentials_only_if_marked() {
    let shared = || Class::Shared("p".into());
    let own = Terms { authorized: Authorized::Own, ..Terms::default() };
    let asks = [
        Ask::of(anna(), ""),
        Ask::of(shared(), ""),
        Ask::anonymous("authorization: x"),
        Ask::anonymous("cookie: a=b"),
        Ask { terms: own.clone(), ..Ask::of(shared(), "") },
        Ask { terms: own.clone(), ..Ask::anonymous("cookie: a=b") },
    ];
    for ask in asks {
        for (answer, expected) in [
            ("cache-control: max-age=9", Err(Refused::Authorized)),
            ("cache-control: max-age=9, public", Ok(())),
            ("cache-control: s-maxage=9", Ok(())),
            ("cache-control: max-age=9, must-revalidate", Ok(())),
            ("cache-control: max-age=9, public, private", Err(Refused::Private)),
        ] {
            assert_eq!(ask.stores(200, answer).map(drop), expected, "{:?} {answer}", ask.key);
        }
    }
    let ask = Ask { terms: own, ..Ask::of(anna(), "authorization: x") };
    assert!(ask.stores(200, "cache-control: max-age=9").is_ok());
}

#[test]
fn a_cookie_is_never_kept_even_where_its_answer_is() {
    let ask = Ask { terms: Terms { drop_set_cookie: true, ..Terms::default() }, ..Ask::anonymous("") };
    let entry = ask.stores(200, "cache-control: max-age=9\nset-cookie: a=b\nx: y").unwrap();
    assert!(!entry.headers().contains_key("set-cookie"));
    assert!(entry.headers().contains_key("x"));
}

#[test]
fn a_body_that_is_not_as_long_as_announced_is_not_kept() {
    let ask = Ask::anonymous("");
    let answer = headers("cache-control: max-age=9\ncontent-length: 3");
    let storable = || may_store(&ask.asked(), (StatusCode::OK, &answer), (T0, T0)).unwrap();
    assert!(storable().complete(Bytes::from_static(b"abc")).is_some());
    assert!(storable().complete(Bytes::from_static(b"ab")).is_none());
    assert!(storable().complete(Bytes::from_static(b"abcd")).is_none());
}

#[test]
fn section_4_uses_an_answer_while_it_is_fresh() {
    let shelf = shelf();
    let ask = Ask::anonymous("");
    assert_eq!(ask.finds(&shelf, T0), "uri");
    ask.keeps(&shelf, "cache-control: max-age=10");
    assert_eq!(ask.finds(&shelf, after(9)), "fresh");
    assert_eq!(ask.finds(&shelf, after(10)), "miss-stale");
    ask.keeps(&shelf, "cache-control: max-age=10\netag: \"x\"");
    assert_eq!(ask.finds(&shelf, after(10)), "validate");
    assert_eq!(shelf.size().0, 1);
    // A wall clock that jumps changes no age.
    assert_eq!(ask.finds(&shelf, Moment { unix_s: 0, steady_ms: 9_000 }), "fresh");
}

#[test]
fn no_caller_finds_what_is_another_s() {
    let shelf = shelf();
    let of = |consumer: &str, subject: Option<&str>| Class::Of {
        consumer: consumer.into(),
        subject: subject.map(Into::into),
    };
    let classes = [
        Class::Anonymous,
        anna(),
        of("anna", Some("i x")),
        of("anna", Some("i y")),
        of("ben", None),
        Class::Shared("p".into()),
        Class::Shared("q".into()),
    ];
    for (at, class) in classes.iter().enumerate() {
        Ask::of(class.clone(), "").keeps(&shelf, "cache-control: s-maxage=10");
        for (other, class) in classes.iter().enumerate() {
            let expected = if other <= at { "fresh" } else { "uri" };
            assert_eq!(Ask::of(class.clone(), "").finds(&shelf, T0), expected, "{class:?}");
        }
    }
}

#[test]
fn an_entry_that_passed_other_policies_is_not_used() {
    let shelf = shelf();
    let ask = Ask::anonymous("");
    ask.keeps(&shelf, "cache-control: max-age=10");
    let stricter = Ask { passed: 2, ..Ask::anonymous("") };
    assert_eq!(stricter.finds(&shelf, T0), "uri");
    stricter.keeps(&shelf, "cache-control: max-age=10");
    assert_eq!(ask.finds(&shelf, T0), "uri");
    assert_eq!(shelf.size().0, 1);
}

#[test]
fn section_4_1_gives_each_variant_to_its_requests() {
    let shelf = shelf();
    let [de, en, none] = ["accept-language: de", "accept-language: en", ""].map(Ask::anonymous);
    de.keeps(&shelf, "cache-control: max-age=10\nvary: accept-language");
    assert_eq!(
        [de.finds(&shelf, T0), en.finds(&shelf, T0), none.finds(&shelf, T0)],
        ["fresh", "vary", "vary"]
    );
    en.keeps(&shelf, "cache-control: max-age=10\nvary: accept-language");
    assert_eq!([de.finds(&shelf, T0), en.finds(&shelf, T0)], ["fresh", "fresh"]);
    assert_eq!(shelf.size().0, 2);
}

#[test]
fn a_caller_cannot_fill_the_shelf_with_variants() {
    let shelf = shelf();
    for at in 0..100 {
        Ask::anonymous(&format!("x: {at}")).keeps(&shelf, "cache-control: max-age=10\nvary: x");
    }
    assert_eq!(shelf.size().0, crate::shelf::VARIANTS_MAX);
    assert_eq!(Ask::anonymous("x: 99").finds(&shelf, T0), "fresh");
    assert_eq!(Ask::anonymous("x: 0").finds(&shelf, T0), "vary");
}

#[test]
fn section_5_2_1_is_heeded_only_where_the_policy_says_so() {
    let shelf = shelf();
    Ask::anonymous("").keeps(&shelf, "cache-control: max-age=10\netag: \"x\"");
    let heeding = Terms { heed_callers: true, ..Terms::default() };
    for (given, expected) in [
        ("cache-control: no-cache", "validate"),
        ("pragma: no-cache", "validate"),
        ("cache-control: max-age=4", "validate"),
        ("cache-control: max-age=5", "fresh"),
        ("cache-control: min-fresh=6", "validate"),
        ("cache-control: min-fresh=5", "fresh"),
        ("cache-control: max-age=4, only-if-cached", "only-if-cached"),
    ] {
        let ask = Ask::anonymous(given);
        assert_eq!(ask.finds(&shelf, after(5)), "fresh", "{given}");
        let ask = Ask { terms: heeding.clone(), ..ask };
        assert_eq!(ask.finds(&shelf, after(5)), expected, "{given}");
    }
}

#[test]
fn if_match_is_for_the_origin() {
    let shelf = shelf();
    Ask::anonymous("").keeps(&shelf, "cache-control: max-age=10");
    for name in ["if-match: \"x\"", "if-unmodified-since: Sun, 06 Nov 1994 08:49:37 GMT"] {
        assert_eq!(Ask::anonymous(name).finds(&shelf, T0), "bypass");
    }
}

#[test]
fn rfc_5861_allows_stale_answers_for_a_while_and_not_where_they_are_forbidden() {
    let shelf = shelf();
    let ask = Ask::anonymous("");
    ask.keeps(&shelf, "cache-control: max-age=10, stale-while-revalidate=5");
    assert_eq!(ask.finds(&shelf, after(15)), "stale");
    assert_eq!(ask.finds(&shelf, after(16)), "miss-stale");
    for forbidding in ["must-revalidate", "proxy-revalidate", "s-maxage=10"] {
        ask.keeps(&shelf, &format!("cache-control: max-age=10, stale-while-revalidate=5, {forbidding}"));
        assert_eq!(ask.finds(&shelf, after(12)), "miss-stale", "{forbidding}");
    }
    let entry = ask.stores(200, "cache-control: max-age=10, stale-if-error=5").unwrap();
    assert_eq!([after(15), after(16)].map(|now| entry.may_serve_on_error(now)), [true, false]);
}

#[test]
fn section_4_3_2_answers_304_for_what_the_caller_has() {
    let dated = "cache-control: max-age=9\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT";
    let tagged = "cache-control: max-age=9\netag: W/\"x\"";
    for (answer, request, expected) in [
        (tagged, "if-none-match: \"x\"", true),
        (tagged, "if-none-match: \"a\", W/\"x\"", true),
        (tagged, "if-none-match: \"a,b\", \"x\"", true),
        (tagged, "if-none-match: *", true),
        (tagged, "if-none-match: x", false),
        (tagged, "if-none-match: \"y\"", false),
        (tagged, "if-none-match: \"X\"", false),
        (dated, "if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT", true),
        (dated, "if-modified-since: Sun, 06 Nov 1994 08:49:36 GMT", false),
        (dated, "if-modified-since: yesterday", false),
        (dated, "if-none-match: \"x\"\nif-modified-since: Sun, 06 Nov 1994 08:49:37 GMT", false),
        (tagged, "", false),
    ] {
        let entry = Ask::anonymous("").stores(200, answer).unwrap();
        assert_eq!(is_not_modified(&entry, &headers(request)), expected, "{answer} {request}");
    }
    let entry = Ask::anonymous("").stores(200, &format!("{tagged}\ncontent-type: a/b")).unwrap();
    let sent = not_modified_headers(&entry, after(3));
    assert_eq!((sent["age"].as_bytes(), sent["etag"].as_bytes()), (&b"3"[..], &b"W/\"x\""[..]));
    assert!(!sent.contains_key("content-length") && !sent.contains_key("content-type"));
}

#[test]
fn if_range_gives_a_part_only_of_the_same_answer() {
    let dates = "last-modified: Sun, 06 Nov 1994 08:49:30 GMT\ndate: Sun, 06 Nov 1994 08:49:37 GMT";
    let bytes = Part::Bytes { first: 1, end: 3 };
    for (answer, request, expected) in [
        ("etag: \"x\"", "", bytes.clone()),
        ("etag: \"x\"", "if-range: \"x\"", bytes.clone()),
        ("etag: \"x\"", "if-range: \"y\"", Part::Whole),
        ("etag: W/\"x\"", "if-range: W/\"x\"", Part::Whole),
        (dates, "if-range: Sun, 06 Nov 1994 08:49:30 GMT", bytes),
        (dates, "if-range: Sun, 06 Nov 1994 08:49:31 GMT", Part::Whole),
    ] {
        let entry = Ask::anonymous("").stores(200, &format!("cache-control: max-age=9\n{answer}")).unwrap();
        let request = headers(&format!("range: bytes=1-2\n{request}"));
        assert_eq!(part(&entry, &Method::GET, &request), expected, "{answer} {request:?}");
        assert_eq!(part(&entry, &Method::HEAD, &request), Part::Whole);
    }
}

#[test]
fn section_4_3_4_freshens_an_entry_that_a_304_confirms() {
    let ask = Ask::anonymous("");
    let entry = ask.stores(200, "cache-control: max-age=10\netag: \"x\"\nx: old\ncontent-type: a/b").unwrap();
    let told =
        headers("cache-control: max-age=20\netag: \"x\"\nx: new\ncontent-type: c/d\ncontent-length: 0");
    let Merged::Kept(merged) = merge(&entry, &ask.asked(), &told, (after(30), after(30))) else {
        panic!("not kept")
    };
    assert_eq!((merged.age(after(31)), merged.ttl(after(31))), (1, 19));
    assert_eq!(
        (&merged.headers()["x"], &merged.headers()["content-type"]),
        (&"new".parse().unwrap(), &"a/b".parse().unwrap())
    );
    assert_eq!(merged.headers()["content-length"], "10");
    let other = merge(&entry, &ask.asked(), &headers("etag: \"y\""), (T0, T0));
    assert!(matches!(other, Merged::Mismatch));
    let forbidden = merge(&entry, &ask.asked(), &headers("etag: \"x\"\ncache-control: no-store"), (T0, T0));
    assert!(matches!(forbidden, Merged::Used(_, Refused::NoStore)));
}

#[test]
fn purging_takes_what_is_meant_of_every_caller_and_nothing_else() {
    let fill = || {
        let shelf = shelf();
        for class in [Class::Anonymous, anna()] {
            for (target, tag) in [("/a", "one"), ("/a/b", "two one"), ("/c", "three")] {
                let ask = Ask { key: key(target, class.clone()), ..Ask::of(class.clone(), "") };
                ask.keeps(&shelf, &format!("cache-control: s-maxage=9\ncache-tag: {tag}"));
            }
        }
        shelf
    };
    let url = |target: &str| Url::new("https", "a.example", 443, target);
    let (a, c, http) = (url("/a"), url("/c"), Url::new("http", "a.example", 443, "/"));
    for (purge, gone) in [
        (Purge::Url(&a), 2),
        (Purge::Prefix(&a), 4),
        (Purge::Prefix(&c), 2),
        (Purge::Prefix(&http), 0),
        (Purge::Tag("one"), 4),
        (Purge::Tag("on"), 0),
        (Purge::All, 6),
    ] {
        let shelf = fill();
        assert_eq!(shelf.purge(&purge), gone, "{purge:?}");
        assert_eq!(shelf.size().0, 6 - gone, "{purge:?}");
        shelf.check();
    }
}

#[test]
fn what_is_asked_for_stays_when_many_others_pass_by() {
    let shelf = Shelf::new(ShelfLimits { bytes_max: 1 << 20, entries_max: 8 }, RandomState::new());
    let ask = Ask::anonymous("");
    ask.keeps(&shelf, "cache-control: max-age=10");
    for at in 0..100 {
        assert_eq!(ask.finds(&shelf, T0), "fresh", "after {at}");
        let other = Ask { key: key(&format!("/{at}"), Class::Anonymous), ..Ask::anonymous("") };
        other.keeps(&shelf, "cache-control: max-age=10");
    }
    assert_eq!(shelf.size().0, 8);
}

#[test]
fn an_answer_that_is_larger_than_the_shelf_is_not_kept() {
    let shelf = Shelf::new(ShelfLimits { bytes_max: 600, entries_max: 8 }, RandomState::new());
    let ask = Ask::anonymous("");
    assert!(!shelf.keep(&ask.key, ask.stores(200, "cache-control: max-age=10").unwrap(), 0));
    assert_eq!(shelf.size(), (0, 0));
}

#[test]
fn an_answer_that_was_on_its_way_when_its_url_was_dropped_is_not_kept() {
    let shelf = shelf();
    let ask = Ask::anonymous("");
    let entry = || ask.stores(200, "cache-control: max-age=10").unwrap();
    let era = || shelf.era(ask.key.url());
    let other = Url::new("https", "a.example", 443, "/other");
    for (purge, kept) in [
        (Purge::Url(&other), true),
        (Purge::Url(ask.key.url()), false),
        (Purge::Tag("none"), false),
        (Purge::All, false),
    ] {
        let before = era();
        shelf.purge(&purge);
        assert_eq!(shelf.keep(&ask.key, entry(), before), kept, "{purge:?}");
        assert!(shelf.keep(&ask.key, entry(), era()), "{purge:?}");
    }
    let before = shelf.era(ask.key.url());
    // One shard may hold other URLs; when more were dropped than it remembers, it cannot know.
    for at in 0..5_000 {
        shelf.purge(&Purge::Url(&Url::new("https", "a.example", 443, &format!("/{at}"))));
    }
    assert!(!shelf.keep(&ask.key, entry(), before.min(era().saturating_sub(257))));
}

#[test]
fn nothing_secret_is_in_debug() {
    let ask = Ask::anonymous("x-key: s3cret");
    let entry = ask.stores(200, "cache-control: max-age=10\nvary: x-key\nx: s3cret").unwrap();
    assert!(!format!("{entry:?} {:?}", entry.selecting()).contains("s3cret"));
}

#[test]
fn only_the_entry_that_was_meant_is_dropped() {
    let shelf = shelf();
    let ask = Ask::anonymous("");
    ask.keeps(&shelf, "cache-control: max-age=10");
    let Found::Fresh(old) = lookup(&shelf, &ask.asked(), T0) else { panic!("not kept") };
    ask.keeps(&shelf, "cache-control: max-age=10");
    assert!(!shelf.drop_entry(&ask.key, &old));
    let Found::Fresh(new) = lookup(&shelf, &ask.asked(), T0) else { panic!("not kept") };
    assert!(!Arc::ptr_eq(&old, &new));
    assert!(shelf.drop_entry(&ask.key, &new));
    assert_eq!(ask.finds(&shelf, T0), "uri");
}

proptest! {
    /// Whatever is kept, found and purged in whatever order: counts are right, limits hold, and nobody finds what was
    /// kept for another.
    #[test]
    fn the_shelf_stays_within_its_limits(steps in proptest::collection::vec((0..5u8, 0..6u8, 0..3u8, 0..3u8), 1..200)) {
        let shelf = Shelf::new(ShelfLimits { bytes_max: 8_000, entries_max: 7 }, RandomState::new());
        for (what, target, class, variant) in steps {
            let class = match class {
                0 => Class::Anonymous,
                1 => anna(),
                _ => Class::Shared("p".into()),
            };
            let owner = format!("{class:?}");
            let key = key(&format!("/{target}"), class.clone());
            let ask = Ask { key, ..Ask::of(class, &format!("v: {variant}")) };
            match what {
                0..=1 => {
                    let answer = format!("cache-control: s-maxage=9\nvary: v\nx-owner: {owner}\nx-v: {variant}");
                    shelf.keep(&ask.key, ask.stores(200, &answer).unwrap(), shelf.era(ask.key.url()));
                }
                2 => {
                    if let Found::Fresh(entry) = lookup(&shelf, &ask.asked(), T0) {
                        prop_assert_eq!(entry.headers()["x-owner"].to_str().unwrap(), owner.as_str());
                        prop_assert_eq!(entry.headers()["x-v"].to_str().unwrap(), variant.to_string());
                    }
                }
                3 => drop(shelf.purge(&Purge::Url(ask.key.url()))),
                _ => drop(shelf.purge(&Purge::Tag("none"))),
            }
            shelf.check();
        }
    }
}
