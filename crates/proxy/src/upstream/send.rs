//! One exchange with an upstream: choose, connect, send, and at most one retry that is provably harmless.
//!
//! A request is tried again only when not one byte of it can have been acted upon: the connection could not be
//! opened, or hyper gave the request back because it had written nothing. A kept connection that turns out closed is
//! no attempt: its request goes to a fresh connection at the same endpoint. Another endpoint is tried once, within a
//! budget of a fifth of the requests, so that an outage is not multiplied. Everything else is the caller's decision,
//! for which [`ForwardError::retry`] states what is known.

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_config::snapshot::upstream::Balancing;
use http::{HeaderName, HeaderValue, Request, Response, Uri, Version, header, uri};

use super::{
    RequestBody,
    answer::{self, Asked},
    balance::{Field, least_request, power_of_two},
    body::{InFlight, Lease, Line, UpstreamBody},
    endpoint::EndpointPool,
    error::{Failure, ForwardError, ForwardErrorKind, Retry},
    exchange::Subject,
    health::{Outcome, report},
    line::{Http1, Http2},
    pool::{CorePools, Turns},
    prepare::{PreparedEndpoint, PreparedUpstream, is_http2},
};
use bartizan_fetch::Fetcher;

/// What the caller knows that decides which endpoint is chosen.
#[derive(Clone, Copy, Default)]
pub struct Pick<'a> {
    /// The hash of the key, for consistent hashing ([`super::balance::hash_key`]); without one any endpoint is as good.
    pub hash: Option<u64>,
    /// The time as the caller knows it; one reading of the clock less.
    pub now: Option<Instant>,
    /// Where to note the endpoint being tried, so that a caller whose deadline passes can [`report`] on it. One that is
    /// noted there before has just failed, and is asked only if there is no other.
    pub chosen: Option<&'a Cell<Option<usize>>>,
    /// What tokens are fetched with, for an upstream that takes tokens.
    pub fetcher: Option<&'a Arc<Fetcher>>,
    /// The caller's verified token, for an upstream that exchanges it.
    pub subject: Option<&'a Subject>,
    /// Where to note an endpoint that was given up for another one, and why.
    pub given_up: Option<&'a Cell<Option<(usize, ForwardErrorKind)>>>,
}

/// An exchange whose response head has come.
#[derive(Debug)]
pub struct Sent<B: RequestBody> {
    /// The response; its body decides about the connection. After a 101 use `hyper::upgrade::on` and
    /// [`UpstreamBody::take_tunnel`]. Boxed, because it is handed through many hands.
    pub response: Box<Response<UpstreamBody<B>>>,
    /// The endpoint's authority.
    pub endpoint: Arc<str>,
    /// The endpoint's index in the plan, for [`report`].
    pub index: usize,
    /// 1, or 2 if another endpoint had to be tried.
    pub attempts: u8,
    /// How long connecting took, TLS included; none for a connection that was open.
    pub connect: Option<Duration>,
    /// Whether the connection had been used before.
    pub reused: bool,
}

/// Sends the request in `slot` to an endpoint of `upstream` and waits for the response head.
///
/// The request stays in the caller's slot until it is written: each copy of it in a future is one more to move.
/// It must be final: judged, its hop-by-hop fields removed, its `Host` set, and its framing headers such
/// that they agree with the body. What is added here is the upstream's credential (replacing a field of that name)
/// and the protocol's request line. There is no deadline but the one for connecting; dropping the future at any
/// point ends the exchange and closes what cannot be used again.
pub async fn send<B: RequestBody>(
    core: &CorePools<B>,
    upstream: &PreparedUpstream,
    pick: &Pick<'_>,
    slot: &mut Option<Request<B>>,
) -> Result<Sent<B>, ForwardError> {
    let turns = core.turns(upstream);
    turns.earn();
    let token = match upstream.takes_tokens() {
        // Boxed: few upstreams take tokens, and waiting for one would make every request's future larger.
        true => {
            let now = pick.now.unwrap_or_else(Instant::now);
            Box::pin(upstream.token(pick.fetcher, pick.subject, now)).await
        }
        false => Ok(None),
    };
    let token = token.map_err(|why| {
        let detail = format!("no token for the upstream: {why}");
        nowhere(ForwardErrorKind::ConnectFailed, Retry::Never, &detail)
    })?;
    let Some(request) = slot.as_mut() else {
        return Err(nowhere(ForwardErrorKind::Unsendable, Retry::Never, "there is no request"));
    };
    let asked = Asked::of(request);
    if let Err(detail) = dress(upstream, token, asked, request) {
        return Err(nowhere(ForwardErrorKind::Unsendable, Retry::Never, detail));
    }
    let mut started = pick.now.unwrap_or_else(Instant::now);
    let failed = pick.chosen.and_then(Cell::take);
    let other = failed.and_then(|failed| choose(core, upstream, &turns, pick, Some(failed), started));
    let Some(mut index) = other.or_else(|| choose(core, upstream, &turns, pick, None, started)) else {
        return Err(nowhere(ForwardErrorKind::NoEndpoint, Retry::Yes, "no endpoint is healthy"));
    };
    let mut attempts = 1;
    let mut is_fresh = false;
    loop {
        let Some(endpoint) = upstream.endpoints.get(index) else {
            return Err(nowhere(ForwardErrorKind::NoEndpoint, Retry::Yes, "no such endpoint"));
        };
        if let Some(chosen) = pick.chosen {
            chosen.set(Some(index));
        }
        let pool = core.pool(upstream, endpoint);
        let attempt = Attempt { core, upstream, endpoint, pool: &pool, asked, is_fresh, started };
        let Unsent { failure, was_reused } = match attempt.run(slot).await {
            Ok(Answered { response, connect, reused }) => {
                report(upstream, index, Outcome::Answered(response.status()), started);
                let endpoint = Arc::clone(&pool.authority);
                return Ok(Sent { response, endpoint, index, attempts, connect, reused });
            }
            Err(unsent) => *unsent,
        };
        started = Instant::now();
        // Where nothing of it was written, the request is back in its slot.
        let is_back = slot.is_some();
        if is_back && was_reused && !is_fresh {
            is_fresh = true;
            continue;
        }
        if failure.kind.is_the_endpoints() {
            report(upstream, index, Outcome::Failed, started);
        }
        let other = match is_back && attempts == 1 {
            true => choose(core, upstream, &turns, pick, Some(index), started).filter(|_| turns.spend()),
            false => None,
        };
        let Some(other) = other else {
            return Err(failure.into_error(Arc::clone(&endpoint.plan.authority), attempts));
        };
        if let Some(given_up) = pick.given_up {
            given_up.set(Some((index, failure.kind)));
        }
        (index, attempts, is_fresh) = (other, 2, false);
    }
}

/// One try at one endpoint.
struct Attempt<'a, B> {
    core: &'a CorePools<B>,
    upstream: &'a PreparedUpstream,
    endpoint: &'a PreparedEndpoint,
    pool: &'a Rc<EndpointPool<B>>,
    asked: Asked,
    is_fresh: bool,
    started: Instant,
}

struct Answered<B: RequestBody> {
    response: Box<Response<UpstreamBody<B>>>,
    connect: Option<Duration>,
    reused: bool,
}

/// A failed try. Boxed, so that the way of success does not carry room for it.
struct Unsent {
    failure: Failure,
    was_reused: bool,
}

impl<B: RequestBody> Attempt<'_, B> {
    /// Takes the request out of its slot once it is written; before, it stays there for another try.
    async fn run(&self, slot: &mut Option<Request<B>>) -> Result<Answered<B>, Box<Unsent>> {
        let in_flight = InFlight::count(Rc::clone(self.pool));
        let (line, reused) = match self.kept_line() {
            Some(line) => (line, true),
            // Boxed: connecting is rare, and its state would make every request's future several times as large.
            None => Box::pin(self.open_line())
                .await
                .map_err(|failure| Box::new(Unsent { failure, was_reused: false }))?,
        };
        let connect = (!reused).then(|| self.started.elapsed());
        let mut lease = Lease::new(line, in_flight, self.upstream.plan.idle_max);
        let lost = |failure| Box::new(Unsent { failure, was_reused: reused });
        let Some(request) = slot.take() else { return Err(lost(Failure::misbehaved("there is no request"))) };
        let answered = match lease.line() {
            Some(Line::Http1(Http1 { sender, watch, .. })) => {
                watch.arm();
                let answered = sender.try_send_request(request).await;
                let is_untouched = watch.is_untouched();
                watch.disarm();
                answered.map_err(|error| (error, reused && is_untouched))
            }
            Some(Line::Http2(Http2 { sender, streams })) => {
                // Boxed, for its state is not that of HTTP/1.1 and would stand beside it.
                let answered = Box::pin(sender.try_send_request(request)).await;
                if answered.as_ref().is_err_and(|error| error.message().is_some()) {
                    streams.retire();
                }
                answered.map_err(|error| (error, reused))
            }
            None => return Err(lost(Failure::misbehaved("the connection is gone"))),
        };
        let response = match answered {
            Ok(response) => response,
            Err((mut error, was_untouched)) => {
                *slot = error.take_message();
                let mut failure = Failure::of_exchange(error.into_error(), was_untouched);
                if slot.is_some() {
                    (failure.kind, failure.retry) = (ForwardErrorKind::Reset, Retry::Yes);
                }
                return Err(lost(failure));
            }
        };
        match answer::judge(&response, self.asked) {
            Ok(answer::Connection::Reusable) => {}
            Ok(answer::Connection::Suspect) => lease.idle_max = 0,
            Err(detail) => return Err(lost(Failure::misbehaved(detail))),
        }
        let is_tunnel = response.status() == http::StatusCode::SWITCHING_PROTOCOLS;
        let response = Box::new(response.map(|incoming| UpstreamBody::new(incoming, lease, is_tunnel)));
        Ok(Answered { response, connect, reused })
    }

    /// A connection that is open and free.
    fn kept_line(&self) -> Option<Line<B>> {
        if is_http2(self.upstream) {
            return self.pool.take_stream().map(Line::Http2);
        }
        if self.is_fresh {
            return None;
        }
        self.pool.take_idle(self.started, self.upstream).map(Line::Http1)
    }

    /// Opens a connection, or waits for one where as many are open as may be.
    async fn open_line(&self) -> Result<(Line<B>, bool), Failure> {
        let Attempt { core, upstream, endpoint, pool, is_fresh, .. } = *self;
        if is_http2(upstream) {
            let (line, reused) = pool.open_http2(&core.resolver, upstream, endpoint).await?;
            return Ok((Line::Http2(line), reused));
        }
        let (line, reused) = pool.open_http1(&core.resolver, upstream, endpoint, is_fresh).await?;
        Ok((Line::Http1(line), reused))
    }
}

/// The endpoint for this request.
fn choose<B: RequestBody>(
    core: &CorePools<B>,
    upstream: &PreparedUpstream,
    turns: &Turns,
    pick: &Pick<'_>,
    except: Option<usize>,
    now: Instant,
) -> Option<usize> {
    let field = Field::new(upstream, now, except);
    if field.len() == 1 {
        return field.is_available(0).then_some(0);
    }
    let mut rotation = turns.rotation.borrow_mut();
    match (&upstream.plan.balancing, &upstream.maglev, pick.hash) {
        (Balancing::RoundRobin, _, _) => rotation.next(&field),
        (Balancing::LeastRequest, _, _) => least_request(&field, &mut rotation),
        (Balancing::ConsistentHash(_), Some(maglev), Some(hash)) => maglev.pick(&field, hash),
        (Balancing::PowerOfTwo | Balancing::ConsistentHash(_), _, _) => {
            power_of_two(&field, || core.dice.roll())
        }
    }
}

/// Adds the credential and puts the request line into the form the protocol wants.
fn dress<B>(
    upstream: &PreparedUpstream,
    token: Option<HeaderValue>,
    asked: Asked,
    request: &mut Request<B>,
) -> Result<(), &'static str> {
    if let Some(credential) = &upstream.credential {
        credential.dress(token, request.headers_mut())?;
    }
    if is_http2(upstream) {
        return dress_http2(upstream, asked, request);
    }
    *request.version_mut() = Version::HTTP_11;
    // RFC 9112 §3.2.1: origin-form; the host is told by the caller's `Host` alone.
    if request.uri().authority().is_some() {
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.unwrap_or_else(|| uri::PathAndQuery::from_static("/")).into();
    }
    Ok(())
}

fn dress_http2<B>(
    upstream: &PreparedUpstream,
    asked: Asked,
    request: &mut Request<B>,
) -> Result<(), &'static str> {
    if asked.is_upgrade {
        return Err("HTTP/2 has no upgrade");
    }
    let host = request.headers_mut().remove(header::HOST).ok_or("there is no host")?;
    let authority = uri::Authority::try_from(host.as_bytes()).map_err(|_| "the host is not an authority")?;
    let mut parts = uri::Parts::default();
    parts.scheme = Some(upstream.scheme());
    parts.authority = Some(authority);
    parts.path_and_query =
        request.uri().path_and_query().cloned().or(Some(uri::PathAndQuery::from_static("/")));
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| "the target is not a path")?;
    *request.version_mut() = Version::HTTP_2;
    // gRPC refuses calls without it; it is hop-by-hop, so it is ours to say, and trailers do pass.
    let headers = request.headers_mut();
    let takes_trailers = headers.get(header::TE).is_some_and(|te| te == "trailers")
        || (headers.get(header::CONTENT_TYPE))
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    // RFC 9113 §8.2.2: connection-specific fields make a message malformed.
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, header::TE] {
        headers.remove(name);
    }
    for name in [HeaderName::from_static("keep-alive"), HeaderName::from_static("proxy-connection")] {
        headers.remove(name);
    }
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    Ok(())
}

fn nowhere(kind: ForwardErrorKind, retry: Retry, detail: &str) -> ForwardError {
    ForwardError { kind, endpoint: None, retry, attempts: 0, detail: detail.to_owned(), source: None }
}
