//! What becomes of the upstream's answer: kept while it flows to the caller, taken as a confirmation of what is kept, or
//! as the news that what is kept is old.
//!
//! Only what was screened comes here, and only a body that ended as it should is kept.

use std::{rc::Rc, sync::Arc};

use bartizan_cache::{
    Asked, Entry, Key, Moment, Purge, Storable, Url,
    invalidate::invalidated,
    lookup::Missing,
    may_store,
    status::{CACHE_STATUS, Handled, value},
    validate::{Merged, merge},
};
use bartizan_config::snapshot::CachePlan;
use bartizan_identity::Method as IdentifiedBy;
use bartizan_telemetry::metrics::{Cached, PolicyId, Refreshed};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header, response::Parts};

use super::{Inspected, answer, flight::Lead, moment};
use crate::{
    body::{AnswerBody, Held},
    core::Core,
    exchange::Shared,
};

/// What is to be done with the upstream's answer.
pub(crate) struct Fill {
    task: Task,
    /// Why the upstream is asked.
    pub(super) why: Missing,
    /// When.
    asked_at: Moment,
    /// Whether the end of the answer's body can be told from a connection that broke.
    is_framed: bool,
}

enum Task {
    Invalidate { method: Method, url: Url },
    Keep(Box<Question>),
}

/// The request, as far as keeping its answer needs it.
struct Question {
    key: Key,
    method: Method,
    headers: HeaderMap,
    is_identified: bool,
    passed: u64,
    /// The era of its URL when it was asked.
    era: u64,
    policy: Arc<CachePlan>,
    policy_id: PolicyId,
    /// What is kept already, and whether the upstream was asked to confirm it.
    known: Option<Known>,
    /// Those who wait for the answer.
    ticket: Ticket,
}

/// What is kept already.
struct Known {
    entry: Arc<Entry>,
    /// It is the answer if the upstream fails.
    is_fallback: bool,
    is_asked_about: bool,
}

/// Who hears of what became of the answer.
#[derive(Default)]
struct Ticket {
    lead: Option<Lead>,
    refresh: Option<Refresh>,
}

/// A refresh in the background, counted when it is over.
struct Refresh {
    core: Rc<Core>,
    policy: PolicyId,
    outcome: Refreshed,
}

impl Drop for Refresh {
    fn drop(&mut self) {
        self.core.metrics.refreshed(self.policy, self.outcome);
    }
}

impl Ticket {
    /// The answer is kept.
    fn kept(mut self) {
        if let Some(refresh) = &mut self.refresh {
            refresh.outcome = Refreshed::Renewed;
        }
    }
}

/// What the upstream's answer came to.
pub(crate) enum Filled {
    /// It goes on, and its body is kept if there is a [`Keeping`].
    Flows(Option<Box<Keeping>>),
    /// It confirms what is kept, which is the answer.
    Confirmed(Box<Response<AnswerBody>>),
    /// It says that something else has not changed.
    Misplaced,
}

impl Fill {
    pub(super) fn invalidating(method: Method, url: Url) -> Self {
        Fill::new(Task::Invalidate { method, url })
    }

    pub(super) fn keeping(
        key: Key,
        policy: Arc<CachePlan>,
        inspected: &Inspected,
        (passed, era): (u64, u64),
        policy_id: PolicyId,
    ) -> Self {
        let head = inspected.head();
        Fill::new(Task::Keep(Box::new(Question {
            key,
            method: head.method().clone(),
            headers: head.headers().clone(),
            is_identified: is_identified(inspected),
            passed,
            era,
            policy,
            policy_id,
            known: None,
            ticket: Ticket::default(),
        })))
    }

    fn new(task: Task) -> Self {
        Fill { task, why: Missing::Bypass, asked_at: Moment::default(), is_framed: false }
    }

    /// Others wait for the answer.
    pub(super) fn leads(&mut self, lead: Option<Lead>) {
        if let Task::Keep(question) = &mut self.task {
            question.ticket.lead = lead;
        }
    }

    /// Nobody waits for the answer; a stale one was given.
    pub(super) fn refreshes(&mut self, shared: &Shared) {
        if let Task::Keep(question) = &mut self.task {
            let (core, policy) = (shared.core.clone(), question.policy_id);
            question.ticket.refresh = Some(Refresh { core, policy, outcome: Refreshed::Failed });
        }
    }

    /// Asks the upstream whether `entry` still holds, if there are conditions to ask by. What the caller has is compared
    /// with the answer afterwards.
    pub(super) fn knows(
        &mut self,
        entry: Arc<Entry>,
        is_fallback: bool,
        conditions: HeaderMap,
        inspected: &mut Inspected,
    ) {
        let is_asked_about = !conditions.is_empty();
        if is_asked_about {
            self.wants_all(inspected);
            inspected.head_mut().headers_mut().extend(conditions);
        }
        if let Task::Keep(question) = &mut self.task {
            question.known = Some(Known { entry, is_fallback, is_asked_about });
        }
    }

    /// The caller's own conditions and ranges are not the cache's.
    pub(super) fn wants_all(&self, inspected: &mut Inspected) {
        let headers = inspected.head_mut().headers_mut();
        for name in [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::RANGE, header::IF_RANGE] {
            headers.remove(name);
        }
    }

    /// Notes when the upstream is asked.
    pub(crate) fn sent(&mut self, shared: &Shared) {
        self.asked_at = moment(shared);
    }

    /// Notes how the answer's body ends, which its head no longer says when it is clean. A body that ends with its
    /// connection may have been cut off, and is not kept (RFC 9112 §8).
    pub(crate) fn came(&mut self, status: StatusCode, version: Version, headers: &HeaderMap) {
        self.is_framed = version >= Version::HTTP_2
            || status == StatusCode::NO_CONTENT
            || headers.contains_key(header::CONTENT_LENGTH)
            || headers.contains_key(header::TRANSFER_ENCODING);
    }

    /// The answer if the upstream gave none, or `status`; nothing if there is none that may be used (RFC 5861 §4).
    pub(crate) fn rescue(
        self,
        shared: &mut Shared,
        status: Option<StatusCode>,
    ) -> Option<Box<Response<AnswerBody>>> {
        match self.task {
            Task::Keep(question) => question.rescue(shared, status),
            Task::Invalidate { .. } => None,
        }
    }

    /// What the screened head of the answer comes to.
    pub(crate) fn answered(self, shared: &mut Shared, parts: &Parts) -> Filled {
        let Fill { task, why, asked_at, is_framed } = self;
        let mut question = match task {
            Task::Keep(question) => question,
            Task::Invalidate { method, url } => {
                for url in invalidated(&method, &url, parts.status, &parts.headers) {
                    shared.core.runtime.shelf().purge(&Purge::Url(&url));
                }
                return Filled::Flows(None);
            }
        };
        let times = (asked_at, moment(shared));
        if parts.status == StatusCode::NOT_MODIFIED
            && let Some(known) = question.known.take_if(|known| known.is_asked_about)
        {
            return question.confirmed(&known.entry, shared, &parts.headers, times);
        }
        if is_failure(parts.status) && question.known.as_ref().is_some_and(|known| known.is_fallback) {
            return match question.rescue(shared, Some(parts.status)) {
                Some(answer) => Filled::Confirmed(answer),
                None => Filled::Flows(None),
            };
        }
        if question.method != Method::GET {
            shared.dress(CACHE_STATUS, value(Handled::SentOn { why, stored: None }));
            return Filled::Flows(None);
        }
        let judged = may_store(&question.asked(), (parts.status, &parts.headers), times);
        let stored = judged.as_ref().map(drop).map_err(|refused| *refused);
        // Nothing can be promised of a body that has not come.
        let told = stored.err().filter(|_| is_framed).map(Err);
        shared.dress(CACHE_STATUS, value(Handled::SentOn { why, stored: told }));
        let Some(storable) = judged.ok().filter(|_| is_framed) else {
            question.not_kept(shared, parts.status, times.1);
            return Filled::Flows(None);
        };
        let Question { key, era, ticket, .. } = *question;
        Filled::Flows(Some(Box::new(Keeping {
            room: storable.body_bytes_max(),
            storable,
            era,
            key,
            body: BytesMut::new(),
            held: shared.core.held.nothing(),
            core: shared.core.clone(),
            ticket,
        })))
    }
}

/// RFC 5861 §4.
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Whether the gateway knows who asks.
pub(super) fn is_identified(inspected: &Inspected) -> bool {
    inspected.identity().method() != IdentifiedBy::Anonymous
}

impl Question {
    fn asked(&self) -> Asked<'_> {
        Asked {
            key: &self.key,
            method: &self.method,
            headers: &self.headers,
            is_identified: self.is_identified,
            passed: self.passed,
            terms: &self.policy.terms,
        }
    }

    /// Nothing is kept of the answer: what was kept is old, and nobody needs to wait for such an answer soon.
    fn not_kept(self, shared: &Shared, status: StatusCode, now: Moment) {
        if status.is_server_error() {
            return;
        }
        if let Some(known) = &self.known {
            shared.core.runtime.shelf().drop_entry(&self.key, &known.entry);
        }
        if let Some(lead) = self.ticket.lead {
            lead.mark_unshared(now.steady_ms);
        }
    }

    fn rescue(self, shared: &mut Shared, status: Option<StatusCode>) -> Option<Box<Response<AnswerBody>>> {
        let known = self.known.filter(|known| known.is_fallback)?;
        let now = moment(shared);
        if let Some(lead) = self.ticket.lead {
            lead.mark_failing(now.steady_ms);
        }
        shared.record.cached = Some((self.policy_id, Cached::StaleOnError));
        let ttl = known.entry.ttl(now);
        shared.dress(CACHE_STATUS, value(Handled::Rescued { status, ttl }));
        Some(Box::new(answer(&known.entry, &self.method, &self.headers, now)))
    }

    fn confirmed(
        self,
        entry: &Arc<Entry>,
        shared: &mut Shared,
        headers: &HeaderMap,
        times: (Moment, Moment),
    ) -> Filled {
        let shelf = shared.core.runtime.shelf();
        let entry = match merge(entry, &self.asked(), headers, times) {
            Merged::Kept(merged) => {
                shelf.keep(&self.key, merged.clone(), self.era);
                self.ticket.kept();
                merged
            }
            Merged::Used(used, _) => {
                shelf.drop_entry(&self.key, entry);
                used
            }
            Merged::Mismatch => {
                shelf.drop_entry(&self.key, entry);
                return Filled::Misplaced;
            }
        };
        shared.record.cached = Some((self.policy_id, Cached::Validated));
        shared.dress(CACHE_STATUS, value(Handled::Validated { status: StatusCode::NOT_MODIFIED }));
        let mut answer = answer(&entry, &self.method, &self.headers, times.1);
        // What the upstream sets with its confirmation is for this caller.
        let cookies: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
        for cookie in cookies {
            answer.headers_mut().append(header::SET_COOKIE, cookie);
        }
        Filled::Confirmed(Box::new(answer))
    }
}

/// An answer that is kept while it flows to the caller.
pub(crate) struct Keeping {
    storable: Storable,
    key: Key,
    era: u64,
    room: usize,
    body: BytesMut,
    held: Held,
    core: Rc<Core>,
    ticket: Ticket,
}

impl Keeping {
    /// Takes a piece; false if the answer has become too large, or there is no room for it.
    #[must_use]
    pub(crate) fn add(&mut self, piece: &[u8]) -> bool {
        let fits = self.body.len() + piece.len() <= self.room && self.held.take(piece.len());
        if fits {
            self.body.extend_from_slice(piece);
        }
        fits
    }

    /// The body has ended as it should.
    pub(crate) fn complete(self) {
        let Keeping { storable, key, era, body, core, ticket, .. } = self;
        // Copied, so that no more is held than is counted.
        if let Some(entry) = storable.complete(Bytes::copy_from_slice(&body))
            && core.runtime.shelf().keep(&key, entry, era)
        {
            ticket.kept();
        }
    }
}
