//! Whom to believe, and what is passed on.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::address::{AddressSet, Cidr};

const PEER: &str = "10.0.0.1";

fn trust() -> Trust {
    let proxies: AddressSet =
        ["10.0.0.0/8", "2001:db8:a::/48"].iter().map(|t| t.parse::<Cidr>().unwrap()).collect();
    Trust { proxies }
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn read(lines: &[(&str, &str)]) -> Result<Forwarding, Denial> {
    Forwarding::read(&headers(lines), PEER.parse().unwrap(), &trust())
}

#[test]
fn the_client_is_the_first_untrusted_address_from_the_right() {
    type Case = (&'static [(&'static str, &'static str)], &'static str, &'static [&'static str]);
    let cases: &[Case] = &[
        (&[], PEER, &[]),
        (&[("x-forwarded-for", "192.0.2.1")], "192.0.2.1", &[PEER]),
        (&[("x-forwarded-for", "203.0.113.9, 192.0.2.1")], "192.0.2.1", &[PEER]),
        (&[("x-forwarded-for", "192.0.2.1, 10.0.0.2")], "192.0.2.1", &["10.0.0.2", PEER]),
        (
            &[("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "10.0.0.2")],
            "192.0.2.1",
            &["10.0.0.2", PEER],
        ),
        (&[("x-forwarded-for", "10.0.0.3, 10.0.0.2")], "10.0.0.3", &["10.0.0.2", PEER]),
        (&[("x-forwarded-for", "evil, unknown, 192.0.2.1")], "192.0.2.1", &[PEER]),
        (&[("x-forwarded-for", "192.0.2.1:1234")], "192.0.2.1", &[PEER]),
        (&[("x-forwarded-for", "2001:db8::1")], "2001:db8::1", &[PEER]),
        (&[("x-forwarded-for", "::ffff:192.0.2.1, ::ffff:10.0.0.2")], "192.0.2.1", &["10.0.0.2", PEER]),
        (&[("forwarded", "for=203.0.113.9, for=192.0.2.1")], "192.0.2.1", &[PEER]),
        (
            &[("forwarded", "for=\"[2001:db8::1]:99\"; proto=https, for=\"[2001:db8:a::1]\"")],
            "2001:db8::1",
            &["2001:db8:a::1", PEER],
        ),
        (&[("x-client-ipaddress", "192.0.2.1")], "192.0.2.1", &[PEER]),
        (&[("x-client-ipaddress", "192.0.2.1"), ("x-forwarded-for", "192.0.2.1")], "192.0.2.1", &[PEER]),
        (
            &[("x-client-ipaddress", "10.0.0.2"), ("x-forwarded-for", "192.0.2.1, 10.0.0.2")],
            "192.0.2.1",
            &["10.0.0.2", PEER],
        ),
        (&[("forwarded", "for=192.0.2.1"), ("x-forwarded-for", "192.0.2.1")], "192.0.2.1", &[PEER]),
    ];
    for (lines, client, hops) in cases {
        let way = read(lines).unwrap_or_else(|denial| panic!("{lines:?}: {denial}"));
        assert_eq!(way.client().to_string(), *client, "{lines:?}");
        assert_eq!(way.hops().iter().map(IpAddr::to_string).collect::<Vec<_>>(), *hops, "{lines:?}");
    }
}

#[test]
fn what_a_trusted_proxy_wrote_wrongly_is_refused_and_never_guessed() {
    let cases: &[&[(&str, &str)]] = &[
        &[("x-forwarded-for", "")],
        &[("x-forwarded-for", "192.0.2.1,")],
        &[("x-forwarded-for", "192.0.2.1, unknown")],
        &[("x-forwarded-for", "192.0.2.1, , 10.0.0.2")],
        &[("x-forwarded-for", "192.0.2.1, example.com")],
        &[("x-forwarded-for", "192.0.2.256")],
        &[("forwarded", "")],
        &[("forwarded", "for=unknown")],
        &[("forwarded", "for=_hidden")],
        &[("forwarded", "proto=https")],
        &[("forwarded", "for=\"x, for=192.0.2.1")],
        &[("forwarded", "for=192.0.2.1"), ("x-forwarded-for", "192.0.2.2")],
        &[("x-client-ipaddress", "192.0.2.1"), ("x-forwarded-for", "192.0.2.2")],
        &[("x-client-ipaddress", "192.0.2.1, 192.0.2.2")],
        &[("x-client-ipaddress", "192.0.2.1"), ("x-client-ipaddress", "192.0.2.1")],
        &[("x-client-ipaddress", "client")],
        &[("x-forwarded-proto", "ftp")],
        &[("x-forwarded-proto", "https, http")],
        &[("x-forwarded-proto", "")],
        &[("x-forwarded-host", "a@b")],
        &[("x-forwarded-host", "a.example, b.example")],
        &[("x-forwarded-port", "http")],
        &[("forwarded", "for=192.0.2.1;proto=http"), ("x-forwarded-proto", "https")],
    ];
    for lines in cases {
        assert!(read(lines).is_err(), "{lines:?} was believed: {:?}", read(lines));
    }
    let long = vec!["10.0.0.2"; HOPS_MAX + 1].join(",");
    assert!(read(&[("x-forwarded-for", &long)]).is_err());
}

#[test]
fn scheme_and_host_belong_to_the_clients_hop() {
    let way = read(&[
        ("x-forwarded-for", "203.0.113.9, 192.0.2.1, 10.0.0.2"),
        ("x-forwarded-proto", "http, https, http"),
        ("x-forwarded-host", "evil.example, Shop.example:8443, inner.example"),
        ("x-forwarded-port", "8443"),
    ])
    .unwrap();
    assert_eq!(way.scheme(), Some(Scheme::Https));
    assert_eq!(way.host().unwrap(), "shop.example:8443");
    assert_eq!(way.port(), Some(8443));

    let way =
        read(&[("forwarded", "for=203.0.113.9;proto=http, for=192.0.2.1;proto=https;host=shop.example")])
            .unwrap();
    assert_eq!(way.scheme(), Some(Scheme::Https));
    assert_eq!(way.host().unwrap(), "shop.example");

    assert_eq!(read(&[("x-forwarded-proto", "https, https")]).unwrap().scheme(), Some(Scheme::Https));
    assert_eq!(read(&[("x-forwarded-proto", "wss")]).unwrap().scheme(), Some(Scheme::Https));
}

fn write(way: &Forwarding, before: &[(&str, &str)], rfc: RfcForwarded) -> Vec<String> {
    let mut map = headers(before);
    way.write(
        &mut map,
        Scheme::Http,
        &Authority::parse(b"api.example").unwrap(),
        &AddressValue::of(PEER.parse().unwrap()),
        rfc,
    );
    let mut lines: Vec<_> = map.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
    lines.sort();
    lines
}

#[test]
fn a_direct_client_is_told_as_it_is() {
    for (address, text) in [
        ("192.0.2.1", "192.0.2.1"),
        ("10.0.0.255", "10.0.0.255"),
        ("::ffff:1.20.100.0", "1.20.100.0"),
        ("2001:db8::1", "2001:db8::1"),
    ] {
        let way = Forwarding::direct(address.parse().unwrap());
        let expected = [
            format!("x-client-ipaddress: {text}"),
            format!("x-forwarded-for: {text}"),
            "x-forwarded-host: api.example".to_owned(),
            "x-forwarded-proto: http".to_owned(),
        ];
        assert_eq!(write(&way, &[], RfcForwarded::Omit), expected);
    }
}

#[test]
fn forged_values_are_replaced_and_the_chain_starts_with_the_client() {
    let way = read(&[
        ("x-forwarded-for", "evil, 192.0.2.1, 10.0.0.2"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example"),
        ("x-forwarded-port", "443"),
    ])
    .unwrap();
    let before = [
        ("x-forwarded-for", "evil"),
        ("x-forwarded-for", "evil"),
        ("forwarded", "for=evil"),
        ("host", "api.example"),
    ];
    assert_eq!(
        write(&way, &before, RfcForwarded::Omit),
        [
            "host: api.example",
            "x-client-ipaddress: 192.0.2.1",
            "x-forwarded-for: 192.0.2.1, 10.0.0.2, 10.0.0.1",
            "x-forwarded-host: shop.example",
            "x-forwarded-port: 443",
            "x-forwarded-proto: https",
        ]
    );
    assert_eq!(
        write(&way, &[], RfcForwarded::Write).first().unwrap(),
        "forwarded: for=192.0.2.1;host=\"shop.example\";proto=https, for=10.0.0.2, for=10.0.0.1"
    );
    let v6 = Forwarding::direct("2001:db8::1".parse().unwrap());
    assert_eq!(
        write(&v6, &[], RfcForwarded::Write).first().unwrap(),
        "forwarded: for=\"[2001:db8::1]\";host=\"api.example\";proto=http"
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(client in any::<u32>(), hops in prop::collection::vec(0u32..0xff_ffff, 0..5)) {
        let client = IpAddr::V4((client | 0x8000_0000).into());
        let mut chain = vec![client];
        chain.extend(hops.iter().map(|low| IpAddr::V4((0x0a00_0000 | low).into())));
        let text = chain.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
        let way = read(&[("x-forwarded-for", &text)]).unwrap();
        prop_assert_eq!(way.client(), client);
        let mut map = HeaderMap::new();
        way.write(&mut map, Scheme::Http, &Authority::parse(b"a").unwrap(), &AddressValue::of(PEER.parse().unwrap()), RfcForwarded::Write);
        map.remove("x-forwarded-for");
        map.remove("x-client-ipaddress");
        // Read by a server whose peer we are: the last hop it sees in the chain is our own peer.
        let again = Forwarding::read(&map, PEER.parse().unwrap(), &trust()).unwrap();
        prop_assert_eq!(again.client(), client);
    }

    #[test]
    fn arbitrary_chains_never_panic(name in prop::sample::select(vec!["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-client-ipaddress"]), value in "[ -~]{0,80}") {
        let _ = read(&[(name, &value)]);
    }

    #[test]
    fn a_client_cannot_choose_its_address_by_what_it_sends_before_the_proxy_appends(sent in "[ -~]{0,60}") {
        // The proxy appends its element to the line that the client sent.
        if let Ok(way) = read(&[("forwarded", &format!("{sent}, for=192.0.2.1"))]) {
            prop_assert_eq!(way.client().to_string(), "192.0.2.1");
        }
        if let Ok(way) = read(&[("x-forwarded-for", &format!("{sent}, 192.0.2.1"))]) {
            prop_assert_eq!(way.client().to_string(), "192.0.2.1");
        }
    }
}
