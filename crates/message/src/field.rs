//! The tables of header names: which are read, which may come once only, which are removed and when.
//!
//! One table is the documentation and the code. Looking a name up costs a hash of three of its bytes and one comparison;
//! a name that is not in the table has no meaning here and passes. Matching is on the lower-case name.

use crate::blocks;

/// What becomes of a request header of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Lists hop-by-hop names and options; read, then removed.
    Connection,
    /// Read as framing, kept.
    ContentLength,
    /// Kept; the crumbs of HTTP/2 are joined (RFC 9113 §8.2.3).
    Cookie,
    /// Read, answered by us, removed.
    Expect,
    /// States who the client is and what they asked for: read if the peer is trusted, always removed, written anew.
    Forwarding,
    /// Hop-by-hop (RFC 9110 §7.6.1): removed.
    Hop,
    /// Read, and replaced by its canonical spelling.
    Host,
    /// Claims an identity or an origin: removed unless the peer is trusted.
    Identity,
    /// Kept.
    Kept,
    /// Makes servers act on something else than what was judged, or claims what only we may say: always removed.
    Override,
    /// Kept if it is the identifier we took over, else removed.
    RequestId,
    /// `trailers` is remembered; removed.
    Te,
    /// Read as framing, removed.
    TransferEncoding,
    /// Remembered if it is an upgrade, removed.
    Upgrade,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The name, lower-case.
    pub name: &'static str,
    /// What becomes of it.
    pub treatment: Treatment,
    /// Whether a second one makes the request ambiguous: one judge would read the first, a server the last.
    pub singleton: bool,
}

const fn once(name: &'static str, treatment: Treatment) -> Field {
    Field { name, treatment, singleton: true }
}

const fn many(name: &'static str, treatment: Treatment) -> Field {
    Field { name, treatment, singleton: false }
}

/// Every request header that means something here.
pub const FIELDS: &[Field] = &[
    // Read by admit.
    many("connection", Treatment::Connection),
    once("content-length", Treatment::ContentLength),
    once("cookie", Treatment::Cookie),
    once("expect", Treatment::Expect),
    once("host", Treatment::Host),
    many("te", Treatment::Te),
    once("transfer-encoding", Treatment::TransferEncoding),
    once("upgrade", Treatment::Upgrade),
    many("x-request-id", Treatment::RequestId),
    // Hop-by-hop: meant for us, not for the upstream.
    many("http2-settings", Treatment::Hop),
    many("keep-alive", Treatment::Hop),
    many("proxy-authenticate", Treatment::Hop),
    many("proxy-authentication-info", Treatment::Hop),
    many("proxy-authorization", Treatment::Hop),
    many("proxy-connection", Treatment::Hop),
    // Who the client is, as told by a proxy.
    many("forwarded", Treatment::Forwarding),
    many("x-client-ipaddress", Treatment::Forwarding),
    many("x-forwarded-for", Treatment::Forwarding),
    many("x-forwarded-host", Treatment::Forwarding),
    many("x-forwarded-port", Treatment::Forwarding),
    many("x-forwarded-proto", Treatment::Forwarding),
    // Singletons that a policy or a server decides by.
    once("access-control-request-method", Treatment::Kept),
    once("authorization", Treatment::Kept),
    once("content-location", Treatment::Kept),
    once("content-range", Treatment::Kept),
    once("content-type", Treatment::Kept),
    once("date", Treatment::Kept),
    once("dpop", Treatment::Kept),
    once("from", Treatment::Kept),
    once("grpc-timeout", Treatment::Kept),
    once("idempotency-key", Treatment::Kept),
    once("if-modified-since", Treatment::Kept),
    once("if-range", Treatment::Kept),
    once("if-unmodified-since", Treatment::Kept),
    once("max-forwards", Treatment::Kept),
    once("origin", Treatment::Kept),
    once("range", Treatment::Kept),
    once("referer", Treatment::Kept),
    once("sec-websocket-key", Treatment::Kept),
    once("sec-websocket-version", Treatment::Kept),
    once("traceparent", Treatment::Kept),
    once("user-agent", Treatment::Kept),
    once("x-api-key", Treatment::Kept),
    // In the table because `Connection` must not name them; lists or repeatable otherwise.
    many("content-digest", Treatment::Kept),
    many("content-encoding", Treatment::Kept),
    many("if-match", Treatment::Kept),
    many("if-none-match", Treatment::Kept),
    many("repr-digest", Treatment::Kept),
    many("sec-websocket-protocol", Treatment::Kept),
    many("signature", Treatment::Kept),
    many("signature-input", Treatment::Kept),
    many("tracestate", Treatment::Kept),
    many("via", Treatment::Kept),
    // Servers that believe these act on another method, path or caller than the one judged.
    many("proxy", Treatment::Override), // CGI programs take it for HTTP_PROXY (CVE-2016-5385).
    many("x-http-method", Treatment::Override),
    many("x-http-method-override", Treatment::Override),
    many("x-method-override", Treatment::Override),
    many("x-middleware-subrequest", Treatment::Override), // CVE-2025-29927
    many("x-original-method", Treatment::Override),
    many("x-original-uri", Treatment::Override),
    many("x-original-url", Treatment::Override),
    many("x-override-url", Treatment::Override),
    many("x-rewrite-url", Treatment::Override),
    // Identity and origin by the word of whoever is in front of us.
    many("cf-connecting-ip", Treatment::Identity),
    many("cf-connecting-ipv6", Treatment::Identity),
    many("cf-ipcountry", Treatment::Identity),
    many("cf-pseudo-ipv4", Treatment::Identity),
    many("cf-visitor", Treatment::Identity),
    many("client-ip", Treatment::Identity),
    many("fastly-client-ip", Treatment::Identity),
    many("fly-client-ip", Treatment::Identity),
    many("front-end-https", Treatment::Identity),
    many("remote-email", Treatment::Identity),
    many("remote-groups", Treatment::Identity),
    many("remote-name", Treatment::Identity),
    many("remote-user", Treatment::Identity),
    many("true-client-ip", Treatment::Identity),
    many("x-appengine-user-ip", Treatment::Identity),
    many("x-azure-clientip", Treatment::Identity),
    many("x-azure-socketip", Treatment::Identity),
    many("x-client-ip", Treatment::Identity),
    many("x-cluster-client-ip", Treatment::Identity),
    many("x-envoy-external-address", Treatment::Identity),
    many("x-forwarded", Treatment::Identity),
    many("x-host", Treatment::Identity),
    many("x-http-host-override", Treatment::Identity),
    many("x-original-forwarded-for", Treatment::Identity),
    many("x-original-host", Treatment::Identity),
    many("x-originating-ip", Treatment::Identity),
    many("x-proxyuser-ip", Treatment::Identity),
    many("x-real-ip", Treatment::Identity),
    many("x-url-scheme", Treatment::Identity),
    many("x-webauth-user", Treatment::Identity),
];

/// Families of names, for those not in [`FIELDS`].
pub static FAMILIES: &[(&str, Treatment)] = &[
    // Only the gateway says who the consumer is.
    ("x-consumer-", Treatment::Override),
    // What a client's certificate is, only the gateway knows: it ended TLS itself, also behind a trusted proxy.
    ("client-cert", Treatment::Override), // RFC 9440
    ("ssl-client", Treatment::Override),
    ("tls-client", Treatment::Override),
    ("x-amzn-mtls-", Treatment::Override),
    ("x-arr-clientcert", Treatment::Override),
    ("x-client-cert", Treatment::Override),
    ("x-client-dn", Treatment::Override),
    ("x-client-verify", Treatment::Override),
    ("x-forwarded-client-cert", Treatment::Override),
    ("x-forwarded-ssl-", Treatment::Override),
    ("x-forwarded-tls-", Treatment::Override), // Traefik's PassTLSClientCert
    ("x-mtls-", Treatment::Override),
    ("x-ssl-", Treatment::Override),
    ("x-tls-client", Treatment::Override),
    ("tailscale-user-", Treatment::Identity),
    ("x-amzn-oidc-", Treatment::Identity),
    ("x-auth-request-", Treatment::Identity),
    ("x-authenticated-", Treatment::Identity),
    ("x-forwarded-", Treatment::Identity),
    ("x-goog-authenticated-user-", Treatment::Identity),
    ("x-ms-client-principal", Treatment::Identity),
    ("x-remote-", Treatment::Identity),
];

/// A set of rows of [`FIELDS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet(u128);

impl FieldSet {
    /// Adds a row; tells whether it was not there yet.
    pub(crate) fn insert(&mut self, at: Index) -> bool {
        let before = self.0;
        self.0 |= 1 << at.0;
        before != self.0
    }

    /// The names of the rows.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let at = left.trailing_zeros();
            left &= left - 1;
            FIELDS.get(at as usize).map(|field| field.name)
        })
    }
}

/// A row of [`FIELDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Index(u8);

/// The row of a lower-case name.
pub(crate) fn lookup(name: &str) -> Option<(Index, &'static Field)> {
    let bytes = name.as_bytes();
    let (Some(first), Some(middle), Some(last)) = (bytes.first(), bytes.get(bytes.len() / 2), bytes.last())
    else {
        return None;
    };
    let mut slot = hash(bytes.len(), *first, *middle, *last);
    loop {
        let at = *SLOTS.get(slot)?;
        let field = FIELDS.get(usize::from(at))?;
        if field.name == name {
            return Some((Index(at), field));
        }
        slot = (slot + 1) % SLOT_COUNT;
    }
}

/// The treatment of a lower-case name that has no row.
pub(crate) fn family(name: &str) -> Option<Treatment> {
    // Nearly every name ends here.
    if !matches!(name.as_bytes(), [b'x', b'-', ..] | [b'c' | b's' | b't', ..]) {
        return None;
    }
    FAMILIES.iter().find(|(start, _)| name.starts_with(start)).map(|(_, treatment)| *treatment)
}

/// Whether a name is one that gateways and servers confuse with another: CGI turns `_`, `.` and the like into the same
/// letter as `-`, so `x_forwarded_for` reaches a program as `X-Forwarded-For`.
pub(crate) fn is_alias_prone(name: &str) -> bool {
    blocks::any(name.as_bytes(), |byte| {
        !((byte.wrapping_sub(b'a') < 26) | (byte.wrapping_sub(b'0') < 10) | (byte == b'-'))
    })
}

/// Whether a value contains a control character (RFC 9110 §5.5). Bytes above 0x7f may pass: they are opaque.
pub(crate) fn has_control(value: &[u8]) -> bool {
    blocks::any(value, |byte| ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f))
}

/// Whether a request's `Connection` must not name this lower-case name: what would be removed is a credential, part of
/// the framing, or something else that a judge decides by.
pub(crate) fn is_guarded(name: &str) -> bool {
    match lookup(name) {
        Some((_, field)) => !matches!(field.treatment, Treatment::Hop | Treatment::Te | Treatment::Upgrade),
        None => family(name).is_some(),
    }
}

/// Four times as many slots as rows keeps the search at one step for nearly every name.
const SLOT_COUNT: usize = 512;
const EMPTY: u8 = u8::MAX;

/// Open addressing, filled at compile time.
static SLOTS: [u8; SLOT_COUNT] = slots();

const fn hash(len: usize, first: u8, middle: u8, last: u8) -> usize {
    (len * 37 + first as usize * 101 + middle as usize * 59 + last as usize * 7) % SLOT_COUNT
}

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated at compile time, where a wrong index does not compile"
)]
const fn slots() -> [u8; SLOT_COUNT] {
    assert!(FIELDS.len() <= 128, "a FieldSet has 128 bits");
    let mut slots = [EMPTY; SLOT_COUNT];
    let mut row = 0;
    while row < FIELDS.len() {
        let name = FIELDS[row].name.as_bytes();
        let mut slot = hash(name.len(), name[0], name[name.len() / 2], name[name.len() - 1]);
        while slots[slot] != EMPTY {
            slot = (slot + 1) % SLOT_COUNT;
        }
        slots[slot] = row as u8;
        row += 1;
    }
    slots
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_is_found_under_its_name_and_no_name_has_two_rows() {
        let mut seen = HashSet::new();
        for (at, field) in FIELDS.iter().enumerate() {
            let (index, found) = lookup(field.name).unwrap();
            assert_eq!((usize::from(index.0), found.name), (at, field.name));
            assert!(seen.insert(field.name), "{} twice", field.name);
            assert!(!is_alias_prone(field.name), "{}", field.name);
        }
    }

    #[test]
    fn names_without_a_row_are_not_found() {
        for name in ["", "a", "accept", "x-custom", "hosts", "hos", "x-forwarded-fo", "X-Forwarded-For"] {
            assert!(lookup(name).is_none(), "{name}");
        }
    }

    #[test]
    fn families_cover_names_that_nobody_listed() {
        let cases = [
            ("x-consumer-id", Some(Treatment::Override)),
            ("x-forwarded-prefix", Some(Treatment::Identity)),
            ("x-forwarded-client-cert", Some(Treatment::Override)),
            ("x-forwarded-tls-client-cert-info", Some(Treatment::Override)),
            ("x-client-cert-subject", Some(Treatment::Override)),
            ("x-ssl-client-s-dn", Some(Treatment::Override)),
            ("x-ssl-cert", Some(Treatment::Override)),
            ("ssl-client-verify", Some(Treatment::Override)),
            ("client-cert", Some(Treatment::Override)),
            ("client-cert-chain", Some(Treatment::Override)),
            ("x-consumer", None),
            ("x-custom", None),
            ("accept", None),
            ("cache-control", None),
        ];
        for (name, expected) in cases {
            assert_eq!(family(name), expected, "{name}");
        }
        // The quick way out of `family` must not hide a family.
        for (start, treatment) in FAMILIES {
            assert_eq!(family(start), Some(*treatment), "{start}");
        }
    }

    #[test]
    fn a_name_with_anything_but_letters_digits_and_hyphens_is_an_alias() {
        for name in ["x_forwarded_for", "x.forwarded.for", "x-forwarded~for", "x-consumer_id"] {
            assert!(is_alias_prone(name), "{name}");
        }
        assert!(!is_alias_prone("x-forwarded-for"));
    }

    #[test]
    fn control_characters_are_found_wherever_they_stand() {
        for value in [&b"\0"[..], b"a\rb", b"a\n", b"\x1f", b"abc\x7f", b"a\x0bb"] {
            assert!(has_control(value), "{value:?}");
        }
        for byte in 0..=u8::MAX {
            for place in 0..20 {
                let mut value = [b'~'; 20];
                value[place] = byte;
                assert_eq!(
                    has_control(&value),
                    byte.is_ascii_control() && byte != b'\t',
                    "{byte} at {place}"
                );
            }
        }
        for value in [&b""[..], b"a b\tc", b"\x80\xff", b" ~"] {
            assert!(!has_control(value), "{value:?}");
        }
    }

    #[test]
    fn connection_may_name_hop_by_hop_fields_but_not_what_judges_decide_by() {
        for name in
            ["authorization", "host", "content-length", "x-api-key", "x-consumer-id", "x-forwarded-prefix"]
        {
            assert!(is_guarded(name), "{name}");
        }
        for name in ["keep-alive", "te", "upgrade", "http2-settings", "x-custom", "trailer"] {
            assert!(!is_guarded(name), "{name}");
        }
    }

    #[test]
    fn a_set_lists_what_was_put_in() {
        let mut set = FieldSet::default();
        let (host, _) = lookup("host").unwrap();
        let (te, _) = lookup("te").unwrap();
        assert!(set.insert(te) && set.insert(host) && !set.insert(te));
        assert_eq!(set.names().collect::<Vec<_>>(), ["host", "te"]);
    }
}
