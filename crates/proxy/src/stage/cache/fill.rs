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
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header, response::Parts};

use super::{Inspected, answer, moment};
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
    /// What the upstream is asked to confirm.
    validating: Option<Arc<Entry>>,
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
    ) -> Self {
        let head = inspected.head();
        Fill::new(Task::Keep(Box::new(Question {
            key,
            method: head.method().clone(),
            headers: head.headers().clone(),
            is_identified: inspected.identity().method() != IdentifiedBy::Anonymous,
            passed,
            era,
            policy,
            validating: None,
        })))
    }

    fn new(task: Task) -> Self {
        Fill { task, why: Missing::Bypass, asked_at: Moment::default(), is_framed: false }
    }

    /// The question, for the cache; nothing for an unsafe request.
    pub(super) fn asked(&self) -> Option<Asked<'_>> {
        match &self.task {
            Task::Invalidate { .. } => None,
            Task::Keep(question) => Some(question.asked()),
        }
    }

    /// Asks the upstream whether `entry` still holds. What the caller has is compared with the answer afterwards.
    pub(super) fn validates(&mut self, entry: Arc<Entry>, conditions: HeaderMap, inspected: &mut Inspected) {
        self.why = Missing::Stale;
        let Task::Keep(question) = &mut self.task else { return };
        let headers = inspected.head_mut().headers_mut();
        for name in [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::RANGE, header::IF_RANGE] {
            headers.remove(name);
        }
        headers.extend(conditions);
        question.validating = Some(entry);
    }

    /// Notes when the upstream is asked.
    pub(crate) fn sent(&mut self, shared: &Shared) {
        self.asked_at = moment(shared);
    }

    /// Notes how the answer's body ends, which its head no longer says when it is clean. A body that ends with its
    /// connection may have been cut off, and is not kept (RFC 9112 §8).
    pub(crate) fn came(&mut self, version: Version, headers: &HeaderMap) {
        self.is_framed = version >= Version::HTTP_2
            || headers.contains_key(header::CONTENT_LENGTH)
            || headers.contains_key(header::TRANSFER_ENCODING);
    }

    /// What the screened head of the answer comes to.
    pub(crate) fn answered(self, shared: &mut Shared, parts: &Parts) -> Filled {
        let Fill { task, why, asked_at, is_framed } = self;
        let question = match task {
            Task::Keep(question) => question,
            Task::Invalidate { method, url } => {
                for url in invalidated(&method, &url, parts.status, &parts.headers) {
                    shared.core.runtime.shelf().purge(&Purge::Url(&url));
                }
                return Filled::Flows(None);
            }
        };
        let times = (asked_at, moment(shared));
        if let Some(entry) = &question.validating
            && parts.status == StatusCode::NOT_MODIFIED
        {
            return question.confirmed(entry, shared, &parts.headers, times);
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
        let keeping = judged.ok().filter(|_| is_framed).map(|storable| Keeping {
            room: storable.body_bytes_max(),
            storable,
            era: question.era,
            key: question.key,
            body: BytesMut::new(),
            held: shared.core.held.nothing(),
            core: shared.core.clone(),
        });
        Filled::Flows(keeping.map(Box::new))
    }
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

    fn confirmed(
        &self,
        entry: &Arc<Entry>,
        shared: &mut Shared,
        headers: &HeaderMap,
        times: (Moment, Moment),
    ) -> Filled {
        let shelf = shared.core.runtime.shelf();
        let entry = match merge(entry, &self.asked(), headers, times) {
            Merged::Kept(merged) => {
                shelf.keep(&self.key, merged.clone(), self.era);
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
        let Keeping { storable, key, era, body, core, .. } = self;
        // Copied, so that no more is held than is counted.
        if let Some(entry) = storable.complete(Bytes::copy_from_slice(&body)) {
            core.runtime.shelf().keep(&key, entry, era);
        }
    }
}
