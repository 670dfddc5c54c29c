//! The head of a request as every judge sees it: read once, strictly, and cleaned of what a caller may not say.
//!
//! [`RequestHead::admit`] is the only way to get one. It looks at each header once, refuses what can be read in two ways,
//! and on success takes the header map over without copying it; a refusal leaves the parts as they were, for the record.

mod admit;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use bartizan_model::Denial;
use http::{HeaderMap, Method, Version, request::Parts};

use crate::{
    authority::{Authority, AuthorityMemo},
    connection::Upgrade,
    facts::{HeadLimits, PeerFacts, Scheme, Trust},
    forwarded::{AddressValue, Forwarding, RfcForwarded},
    framing::Framing,
    path::CanonicalPath,
    query::Query,
    request_id::RequestId,
};

/// An admitted head. Its fields say one thing only, whoever reads them.
pub struct RequestHead {
    method: Method,
    authority: Authority,
    path: CanonicalPath,
    version: Version,
    headers: HeaderMap,
    id: RequestId,
    forwarding: Forwarding,
    peer: PeerFacts,
    framing: Framing,
    upgrade: Option<Upgrade>,
    accepts_trailers: bool,
    expects_continue: bool,
    dropped_aliases: u16,
}

impl RequestHead {
    /// Judges and cleans the head of a request. On success `parts.headers` has moved into the head and is empty; its other
    /// fields are untouched, as is everything on refusal.
    ///
    /// What must be true: `parts` come from a parser that bounded the head in time and memory, and `id` was made from the same
    /// headers by [`RequestId::accept`].
    ///
    /// # Errors
    ///
    /// * `MethodUnknown`: the method is not one of `GET HEAD POST PUT PATCH DELETE OPTIONS`, in capitals.
    /// * `MethodNotAllowed`: it is `TRACE` or `CONNECT`.
    /// * `UriTooLong`, `HeaderTooLarge`: a limit is exceeded.
    /// * `ExpectationUnknown`: `Expect` is not `100-continue`.
    /// * `MalformedRequest`: the head can be read in more than one way, or claims what it must not.
    pub fn admit(
        parts: &mut Parts,
        facts: &PeerFacts,
        limits: &HeadLimits,
        trust: &Trust,
        id: RequestId,
        memo: &mut AuthorityMemo,
    ) -> Result<Self, Denial> {
        admit::admit(parts, facts, limits, trust, id, memo)
    }

    /// The method; one of the seven that are admitted.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The host asked for, from `Host`, `:authority` or the absolute-form, which agree.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The canonical path.
    pub fn path(&self) -> &CanonicalPath {
        &self.path
    }

    /// The query, raw, without `?`.
    pub fn raw_query(&self) -> Option<&str> {
        self.path.raw_query()
    }

    /// The pairs of the query.
    pub fn query(&self) -> Query<'_> {
        Query::new(self.path.raw_query())
    }

    /// The protocol version: HTTP/1.0, 1.1 or 2.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The scheme that the client used: by the word of a trusted proxy, else that of the connection.
    pub fn scheme(&self) -> Scheme {
        self.forwarding.scheme().unwrap_or(self.peer.scheme())
    }

    /// The headers, cleaned: no hop-by-hop fields, no forged identities, no forwarding headers, one canonical `Host`, at
    /// most one `Cookie`. `Content-Length` is kept and proven; whoever changes the body must replace it.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The headers, for the stages that change them.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// The request's identifier.
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// The client's address: by the word of trusted proxies, else the peer's. An IPv4-mapped address is IPv4 here.
    pub fn client(&self) -> IpAddr {
        self.forwarding.client()
    }

    /// What is believed about the way the request came.
    pub fn forwarding(&self) -> &Forwarding {
        &self.forwarding
    }

    /// The address of the connection's other end.
    pub fn peer(&self) -> SocketAddr {
        self.peer.peer
    }

    /// The connection.
    pub fn facts(&self) -> &PeerFacts {
        &self.peer
    }

    /// Where the body ends.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The protocol to change to, if the client asks; never together with a body.
    pub fn upgrade(&self) -> Option<&Upgrade> {
        self.upgrade.as_ref()
    }

    /// Whether the client sent `TE: trailers`; gRPC upstreams ask for it.
    pub fn accepts_trailers(&self) -> bool {
        self.accepts_trailers
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// How many header lines were dropped because their names are aliases of others (`x_forwarded_for`).
    pub fn dropped_aliases(&self) -> u16 {
        self.dropped_aliases
    }

    /// Sets the forwarding headers in a map meant for the upstream. `peer` is the connection's other end.
    pub fn write_forwarding(&self, headers: &mut HeaderMap, peer: &AddressValue, rfc: RfcForwarded) {
        self.forwarding.write(headers, self.peer.scheme(), &self.authority, peer, rfc);
    }

    /// The head of a request without a body, admitted from an ordinary client under default limits, for tests.
    ///
    /// # Errors
    ///
    /// As [`RequestHead::admit`].
    #[doc(hidden)]
    pub fn for_test(request: http::Request<()>) -> Result<Self, Denial> {
        let (mut parts, ()) = request.into_parts();
        let id = RequestId::accept(&parts.headers, 1);
        let (limits, trust, mut memo) = (HeadLimits::default(), Trust::default(), AuthorityMemo::default());
        Self::admit(&mut parts, &PeerFacts::for_test(), &limits, &trust, id, &mut memo)
    }
}

impl fmt::Debug for RequestHead {
    /// Without header values and query: both carry secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("id", &self.id)
            .field("method", &self.method)
            .field("authority", &self.authority)
            .field("path", &self.path)
            .field("version", &self.version)
            .field("framing", &self.framing)
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
