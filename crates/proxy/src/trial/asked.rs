//! What was asked, for whoever judges it again in the shadow of a rollout: no credentials, and of the body what fits.

use std::{net::SocketAddr, sync::Arc};

use bartizan_config::{
    rehearsal::{GivenBody, GivenToken},
    replay::{Caller, Lacks, Presented, Recording, Taken},
};
use bartizan_identity::{ClientCertificate, InvalidKind, KeyId};
use bartizan_limit::Nanos;
use bartizan_message::Scheme;
use bartizan_model::Reason;
use bartizan_telemetry::{
    RequestRecord,
    capture::{BodyEnd, BodyTap},
    record::Why,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Version, header};

use super::lossy;
use crate::{capture::scheme, listener::ConnectionFacts};

/// What of a request its record does not keep.
pub(super) struct Asked {
    method: Method,
    version: Version,
    headers: HeaderMap,
    local: SocketAddr,
    presented: Presented,
    certificate: Option<Arc<ClientCertificate>>,
    pub(super) has_body: bool,
    pub(super) body: Option<BodyTap>,
    pub(super) token: Option<Arc<GivenToken>>,
}

impl Asked {
    /// Takes what is needed of a request; `named` are headers in which the gateway takes credentials.
    pub(super) fn of(
        (method, headers, version): (&Method, &HeaderMap, Version),
        has_body: bool,
        connection: &ConnectionFacts,
        named: &[HeaderName],
    ) -> Self {
        let schemes =
            headers.get_all(header::AUTHORIZATION).iter().map(|value| scheme(value.as_bytes()).into());
        let mut presented = Presented { schemes: schemes.collect(), headers: Vec::new() };
        let mut kept = headers.clone();
        kept.remove(header::HOST);
        kept.remove(header::AUTHORIZATION);
        for name in [&header::PROXY_AUTHORIZATION].into_iter().chain(named) {
            if kept.remove(name).is_some() {
                presented.headers.push(name.as_str().into());
            }
        }
        if kept.contains_key(header::COOKIE) {
            presented.headers.push("cookie".into());
        }
        Asked {
            method: method.clone(),
            version,
            headers: kept,
            local: connection.local,
            presented,
            certificate: connection.tls.as_ref().and_then(|tls| tls.client.clone()),
            has_body,
            body: None,
            token: None,
        }
    }

    /// The request as a judge takes it again; `None` where its head was never understood.
    pub(super) fn recording(self, record: &RequestRecord) -> Option<Box<Recording>> {
        let (host, path) = (record.host()?, record.path()?);
        let mut target = String::from_utf8(path.to_vec()).ok()?;
        if let Some(query) = record.query() {
            target.push('?');
            target.push_str(std::str::from_utf8(query).ok()?);
        }
        let caller = self.caller(record);
        let body = self.given_body();
        let taken = Taken {
            version: self.version,
            local: self.local,
            server_name: None,
            received: Nanos(0),
            limit: None,
            draw: None,
            cells: Vec::new(),
            presented: Some(self.presented),
            certificate: self.certificate,
            share: None,
        };
        Some(Box::new(Recording {
            taken: Some(Box::new(taken)),
            id: lossy(record.id()).into(),
            unix_nanos: record.time_unix_nanos,
            listener: record.listener.clone(),
            scheme: Some(if record.tls.is_some() { Scheme::Https } else { Scheme::Http }),
            client: Some(record.client.to_canonical()),
            method: self.method,
            host: String::from_utf8(host.to_vec()).ok()?.into(),
            target: target.into(),
            headers: self.headers,
            body,
            caller,
            lacks: Lacks::default(),
            recorded: None,
        }))
    }

    fn given_body(&self) -> GivenBody {
        let whole = |end: BodyEnd, bytes: &[u8]| {
            (end == BodyEnd::Whole).then(|| GivenBody::Whole(Bytes::copy_from_slice(bytes)))
        };
        match (&self.body, self.has_body) {
            (Some(tap), true) => tap.look(whole).unwrap_or(GivenBody::Withheld),
            (None, true) => GivenBody::Withheld,
            (_, false) => GivenBody::Absent,
        }
    }

    /// What is known of the caller: the facts of its credential, or that there was none.
    fn caller(&self, record: &RequestRecord) -> Caller {
        let key = record.credential_id().and_then(|id| KeyId::parse(std::str::from_utf8(id).ok()?));
        let flaw = match record.refusal.as_ref().map(|refusal| &refusal.why) {
            Some(Why::Denied(denial)) => match denial.reason {
                Reason::CredentialMissing => return Caller::Missing,
                Reason::CredentialExpired => Some(InvalidKind::Expired),
                Reason::CredentialInvalid => Some(InvalidKind::Unknown),
                _ => None,
            },
            _ => None,
        };
        let consumer = record.consumer.clone();
        match (&self.token, key, record.identified_by) {
            (Some(token), ..) => Caller::Token(token.clone(), consumer),
            (None, Some(key), _) => Caller::Key { key, consumer, flaw },
            (None, None, Some("client_certificate")) => Caller::Certificate(consumer),
            (None, None, Some("basic")) => consumer.map_or(Caller::Other(None), Caller::User),
            (None, None, Some(_)) => Caller::Other(consumer),
            // Where the route asks for none, what was sent was not looked at.
            (None, None, None) if !self.presented.is_empty() || self.certificate.is_some() => Caller::Unknown,
            (None, None, None) => Caller::Nobody,
        }
    }
}
