//! Who the client is when proxies stand between: RFC 7239 `Forwarded`, `X-Forwarded-*`, `X-Client-IPAddress`.
//!
//! Such headers are believed only from a trusted peer. The chain is walked from the right, over trusted hops, and the
//! first address that is not one of them is the client; what stands left of it is nobody's word and is dropped. A chain
//! that cannot be read, or two headers that tell different clients, refuse the request: a guess here would let a caller
//! choose whose limits and rights apply.

mod element;
mod write;

use std::net::IpAddr;

use bartizan_model::Denial;
use http::{HeaderMap, HeaderName};

use self::element::{Bare, Element, parse_elements, parse_node};
pub use self::write::{AddressValue, RfcForwarded};
use crate::{
    authority::Authority,
    facts::{Scheme, Trust},
    refuse::malformed,
};

static FORWARDED: HeaderName = HeaderName::from_static("forwarded");
static X_CLIENT_IPADDRESS: HeaderName = HeaderName::from_static("x-client-ipaddress");
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Most hops of a chain that are walked: no real deployment has this many proxies of its own in a row.
const HOPS_MAX: usize = 32;

/// What is believed about the way a request came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    client: IpAddr,
    hops: Vec<IpAddr>,
    scheme: Option<Scheme>,
    host: Option<Authority>,
    port: Option<u16>,
}

impl Forwarding {
    /// The peer is the client.
    pub fn direct(peer: IpAddr) -> Self {
        Forwarding { client: peer.to_canonical(), hops: Vec::new(), scheme: None, host: None, port: None }
    }

    /// Reads the headers of a trusted `peer`; from another peer they must not be read, see [`Forwarding::direct`].
    ///
    /// # Errors
    ///
    /// `MalformedRequest` if what the proxies wrote cannot be read, or contradicts itself.
    pub fn read(headers: &HeaderMap, peer: IpAddr, trust: &Trust) -> Result<Self, Denial> {
        let peer = peer.to_canonical();
        let elements = rfc_elements(headers)?;
        let by_rfc = match &elements[..] {
            [] => None,
            elements => Some(walk(elements.iter().rev().map(Element::address), peer, trust)?),
        };
        let by_list = match list(headers, &X_FORWARDED_FOR)? {
            nodes if nodes.is_empty() => None,
            nodes => Some(walk(nodes.iter().rev().map(|node| parse_node(node, Bare::Allowed)), peer, trust)?),
        };
        let named = client_address(headers)?;
        let way = agree(by_rfc.as_ref(), by_list.as_ref(), named, peer)?;

        let said = by_rfc.as_ref().and_then(|walk| elements.iter().rev().nth(walk.depth));
        let chain = by_list.as_ref();
        let scheme = settle(
            said.and_then(|element| element.proto.as_deref()),
            pick(&list(headers, &X_FORWARDED_PROTO)?, chain)?,
            parse_scheme,
        )?;
        let host = settle(
            said.and_then(|element| element.host.as_deref()),
            pick(&list(headers, &X_FORWARDED_HOST)?, chain)?,
            Authority::parse,
        )?;
        let port = settle(None, pick(&list(headers, &X_FORWARDED_PORT)?, chain)?, parse_port)?;
        Ok(Forwarding { client: way.client, hops: way.hops, scheme, host, port })
    }

    /// The client's address.
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// The trusted proxies between the client and us, ending with the peer; empty if the peer is the client.
    pub fn hops(&self) -> &[IpAddr] {
        &self.hops
    }

    /// The scheme that the client used, if a trusted proxy told.
    pub fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    /// The authority that the client asked for, if a trusted proxy told. It is passed on, never routed by.
    pub fn host(&self) -> Option<&Authority> {
        self.host.as_ref()
    }

    /// The port that the client connected to, if a trusted proxy told.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

/// A chain, walked.
#[derive(Clone, Debug)]
struct Walk {
    client: IpAddr,
    /// From the client's neighbour to the peer.
    hops: Vec<IpAddr>,
    /// Which element, counted from the right, told the client.
    depth: usize,
    /// How many elements the chain had.
    length: usize,
}

/// Walks from the right over trusted hops.
fn walk<'a>(
    nodes: impl ExactSizeIterator<Item = Option<IpAddr>> + 'a,
    peer: IpAddr,
    trust: &Trust,
) -> Result<Walk, Denial> {
    let length = nodes.len();
    let mut hops = vec![peer];
    for (depth, node) in nodes.enumerate() {
        let address = node.ok_or_else(|| malformed("forwarding chain names a hop that is not an address"))?;
        if depth == HOPS_MAX {
            return Err(malformed("forwarding chain is too long"));
        }
        // Where all are trusted, the leftmost is as near to the client as anybody's word reaches.
        if !trust.believes(address) || depth + 1 == length {
            hops.reverse();
            return Ok(Walk { client: address, hops, depth, length });
        }
        hops.push(address);
    }
    Err(malformed("forwarding chain is empty"))
}

/// The one way that all headers tell.
fn agree(
    by_rfc: Option<&Walk>,
    by_list: Option<&Walk>,
    named: Option<IpAddr>,
    peer: IpAddr,
) -> Result<Walk, Denial> {
    let disagree = || malformed("forwarding headers tell different clients");
    let way = match (by_rfc, by_list) {
        (Some(rfc), Some(list)) if rfc.client != list.client => return Err(disagree()),
        (Some(way), _) | (None, Some(way)) => way.clone(),
        (None, None) => {
            let (client, hops) = match named {
                Some(client) => (client, vec![peer]),
                None => (peer, Vec::new()),
            };
            return Ok(Walk { client, hops, depth: 0, length: 0 });
        }
    };
    match named {
        // A proxy that names its own neighbour, a trusted hop, says less than the chain but nothing else.
        Some(named) if named != way.client && !way.hops.contains(&named) => Err(disagree()),
        _ => Ok(way),
    }
}

/// All elements of all `Forwarded` lines, from left to right.
fn rfc_elements(headers: &HeaderMap) -> Result<Vec<Element<'_>>, Denial> {
    let mut elements = Vec::new();
    for line in headers.get_all(&FORWARDED) {
        parse_elements(line.as_bytes(), &mut elements)
            .ok_or_else(|| malformed("forwarded cannot be read"))?;
    }
    if elements.is_empty() && headers.contains_key(&FORWARDED) {
        return Err(malformed("forwarded is empty"));
    }
    Ok(elements)
}

/// All elements of a comma-separated header, from left to right. Empty only if the header is absent.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Vec<&'a [u8]>, Denial> {
    let mut elements = Vec::new();
    for line in headers.get_all(name) {
        for element in line.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            elements.push(element);
        }
    }
    if elements.last().is_some_and(|last| last.is_empty()) {
        return Err(malformed("forwarding header ends with nothing"));
    }
    Ok(elements)
}

/// The element that belongs to the client's hop: the only one, the one at the same place as in the address chain, or any
/// if all are alike.
fn pick<'a>(elements: &[&'a [u8]], chain: Option<&Walk>) -> Result<Option<&'a [u8]>, Denial> {
    let Some(last) = elements.last() else { return Ok(None) };
    if elements.iter().all(|element| element == last) {
        return Ok(Some(last));
    }
    match chain {
        Some(walk) if walk.length == elements.len() => Ok(elements.iter().rev().nth(walk.depth).copied()),
        _ => Err(malformed("forwarding headers cannot be matched to the chain")),
    }
}

/// Parses what either source says; both must say the same.
fn settle<T: PartialEq>(
    by_rfc: Option<&[u8]>,
    by_list: Option<&[u8]>,
    parse: impl Fn(&[u8]) -> Result<T, Denial>,
) -> Result<Option<T>, Denial> {
    let by_rfc = by_rfc.map(&parse).transpose()?;
    let by_list = by_list.map(&parse).transpose()?;
    match (by_rfc, by_list) {
        (Some(rfc), Some(list)) if rfc != list => Err(malformed("forwarding headers contradict each other")),
        (Some(said), _) | (None, Some(said)) => Ok(Some(said)),
        (None, None) => Ok(None),
    }
}

/// `X-Client-IPAddress`: one address.
fn client_address(headers: &HeaderMap) -> Result<Option<IpAddr>, Denial> {
    match &list(headers, &X_CLIENT_IPADDRESS)?[..] {
        [] => Ok(None),
        [node] => match parse_node(node, Bare::Allowed) {
            Some(address) => Ok(Some(address)),
            None => Err(malformed("x-client-ipaddress is not an address")),
        },
        _ => Err(malformed("x-client-ipaddress is not one address")),
    }
}

fn parse_scheme(text: &[u8]) -> Result<Scheme, Denial> {
    // A WebSocket starts as a request of the scheme below it (RFC 6455 §3).
    if [&b"https"[..], b"wss"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Ok(Scheme::Https);
    }
    if [&b"http"[..], b"ws"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Ok(Scheme::Http);
    }
    Err(malformed("forwarded scheme is neither http nor https"))
}

fn parse_port(text: &[u8]) -> Result<u16, Denial> {
    element::parse_port(text).ok_or_else(|| malformed("x-forwarded-port is not a port"))
}

#[cfg(test)]
mod tests;
