//! The request that is asked about: what a caller would send, and the listener it would come to.

use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
};

pub(in crate::command) use bartizan_config::entry::Entered;
use bartizan_config::{entry::Url, snapshot::Snapshot};
use bartizan_message::{AuthorityMemo, HeadLimits, PeerFacts, RequestHead, RequestId, Scheme};
use bartizan_model::{Denial, Reason, problem::shown};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};

/// A request in words.
#[derive(Debug)]
pub(in crate::command) struct Ask {
    pub(in crate::command) method: String,
    pub(in crate::command) url: Url,
    pub(in crate::command) headers: HeaderMap,
    /// The consumer whose key is taken to be valid.
    pub(in crate::command) consumer: Option<String>,
    pub(in crate::command) from: IpAddr,
}

impl Ask {
    /// Reads what was given on the command line. What a gateway would refuse is no error here.
    pub(in crate::command) fn read(
        method: &str,
        url: &str,
        headers: &[String],
        consumer: Option<&str>,
        from: IpAddr,
    ) -> Result<Self, Box<dyn Error>> {
        let url = Url::parse(url)?;
        let mut map = HeaderMap::new();
        for text in headers {
            // The value may be a credential and is not repeated.
            let (name, value) =
                text.split_once(':').ok_or("a header is written `NAME: VALUE`, for example `Accept: */*`")?;
            let name = HeaderName::from_bytes(name.trim().as_bytes())
                .map_err(|_| format!("{} is not the name of a header", shown(name)))?;
            let value = HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|_| {
                format!("the value of the header {name} has characters that no header can have")
            })?;
            map.append(name, value);
        }
        Ok(Ask { method: method.to_owned(), url, headers: map, consumer: consumer.map(str::to_owned), from })
    }

    /// The listener it comes to: the named one, else the one that fits best.
    pub(in crate::command) fn enter<'s>(
        &self,
        snapshot: &'s Snapshot,
        name: Option<&str>,
    ) -> Result<Entered<'s>, Box<dyn Error>> {
        Ok(self.url.enter(snapshot, name)?)
    }

    /// The head as the gateway would admit it, or why not.
    pub(in crate::command) fn admit(&self, entered: &Entered<'_>) -> Result<RequestHead, Denial> {
        let malformed = |detail: &str| Denial::new(Reason::MalformedRequest).because(detail);
        let method =
            Method::from_bytes(self.method.as_bytes()).map_err(|_| malformed("the method is not a word"))?;
        let uri: Uri = self.url.target.parse().map_err(|_| malformed("the request target cannot be read"))?;
        let mut headers = self.headers.clone();
        if !headers.contains_key(header::HOST) {
            let host = HeaderValue::from_str(&entered.authority)
                .map_err(|_| malformed("the host has characters that no header can have"))?;
            headers.insert(header::HOST, host);
        }
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let (mut parts, ()) = request.into_parts();
        parts.headers = headers;
        let plan = &entered.listener.plan;
        let facts = PeerFacts {
            // Any port: none is judged by it.
            peer: SocketAddr::new(self.from, 40_000),
            local: plan.addresses.first().copied().unwrap_or(SocketAddr::new(self.from, 0)),
            tls: plan.tls.is_some(),
        };
        let limits = HeadLimits {
            header_bytes: plan.admission.header_bytes_max,
            header_count: plan.admission.header_count_max,
            uri_bytes: plan.admission.uri_bytes_max,
            tolerate: plan.admission.tolerate,
        };
        let id = RequestId::accept(&parts.headers, 0);
        RequestHead::admit(&mut parts, &facts, &limits, &plan.trust, id, &mut AuthorityMemo::default())
    }

    /// The URL that was asked for, as it can be shown.
    pub(in crate::command) fn url(&self, entered: &Entered<'_>) -> String {
        let scheme =
            self.url.scheme.map_or(super::super::words::scheme(&entered.listener.plan), Scheme::as_str);
        format!("{scheme}://{}{}", entered.authority, self.url.target)
    }
}
