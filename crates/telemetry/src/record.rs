//! The open record of one request.
//!
//! The stages fill plain fields as they learn them; opening it allocates the box and nothing else. It crosses to
//! the writer's thread as one box, so everything in it is `Send`. What may be shown of it is decided by its
//! [`RecordPlan`] when it is written, not when it is filled: the request's thread neither hashes nor masks.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_model::{Denial, Fault, Reason, Stage};
use http::{HeaderMap, Method};

use crate::{
    capture::CaptureNote,
    metrics::{Cached, ListenerId, PolicyId, RouteId, UpstreamId},
    plan::RecordPlan,
    rules::{LeakCount, MatchedRules},
    text::{Slot, Texts},
};

/// Most would-deny entries kept for one request.
pub const WOULD_DENY_MAX: usize = 16;

/// What is known of one request.
pub struct RequestRecord {
    /// When the head was complete, in nanoseconds since 1970-01-01T00:00:00Z.
    pub time_unix_nanos: u64,
    /// The same moment on the clock that durations are measured with.
    pub started: Instant,
    /// What of this record may be written, and how. Set again when the route is known.
    pub plan: Arc<RecordPlan>,
    /// The client: the connection's peer, or what a trusted proxy said.
    pub client: IpAddr,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The protocol of the request.
    pub protocol: Protocol,
    /// The TLS version, for example `TLSv1.3`; `None` in clear text.
    pub tls: Option<&'static str>,
    /// The method, known or not.
    pub method: Method,
    /// The listener's name.
    pub listener: Option<Arc<str>>,
    /// The listener in the metrics.
    pub listener_id: ListenerId,
    /// The route's name.
    pub route: Option<Arc<str>>,
    /// The route in the metrics.
    pub route_id: RouteId,
    /// The upstream's name.
    pub upstream: Option<Arc<str>>,
    /// The upstream in the metrics.
    pub upstream_id: UpstreamId,
    /// The endpoint that was asked last, as written in the upstream's document.
    pub endpoint: Option<Arc<str>>,
    /// The consumer's name, once verified.
    pub consumer: Option<Arc<str>>,
    /// How the caller was identified: `api_key`, `jwt`, …; `None` for callers who are nobody.
    pub identified_by: Option<&'static str>,
    /// Where the caller's API key is in its life, if that is past `active`: `ageing`, `overlapping`.
    pub key_state: Option<&'static str>,
    /// The configured issuer of the caller's token.
    pub issuer: Option<Arc<str>>,
    /// The revision of the snapshot that served the request.
    pub revision: Option<Arc<str>>,
    /// The status that was sent; 0 when none was.
    pub status: u16,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the response's body that were handed to the connection.
    pub response_bytes: u64,
    /// From the complete head to the end of the response.
    pub total: Duration,
    /// The part of it in which the gateway waited for an upstream; `None` when none was asked.
    pub upstream_time: Option<Duration>,
    /// The part of it in which the call waited for its slot in a rate limit, or for the answer to an equal request.
    pub waited: Duration,
    /// How many endpoints were asked.
    pub upstream_attempts: u16,
    /// The policy of the cache, and what the cache did; `None` without one.
    pub cached: Option<(PolicyId, Cached)>,
    /// What a model was asked for and used; `None` where none was.
    pub model: Option<Box<ModelRecord>>,
    /// Why it was refused, if it was.
    pub refusal: Option<Refusal>,
    /// What policies in shadow would have done; see [`RequestRecord::would_deny`].
    pub would_deny: Vec<WouldDeny>,
    /// Judges that could not decide and whose policy lets such requests pass.
    pub faults: Vec<PassedFault>,
    /// Rules of inspections that matched.
    pub rules: MatchedRules,
    /// Secrets in the answer: a line for each class and policy, never their values.
    pub leaks: Vec<LeakCount>,
    /// How it ended.
    pub exit: Exit,
    /// What judges read, where the request is captured.
    pub capture: Option<Box<CaptureNote>>,
    texts: Texts,
}

impl RequestRecord {
    /// Opens the record of a request whose head arrived at `time_unix_nanos`, which is `started` on the clock of
    /// durations. On the request path use [`crate::Recorder::open`], which reuses memory.
    pub fn open(
        time_unix_nanos: u64,
        started: Instant,
        peer: SocketAddr,
        protocol: Protocol,
        plan: Arc<RecordPlan>,
    ) -> Box<Self> {
        Box::new(RequestRecord::blank(time_unix_nanos, started, peer, protocol, plan))
    }

    /// Makes a written record the open one of another request, in its old memory.
    pub(crate) fn reopen(
        self: Box<Self>,
        time_unix_nanos: u64,
        started: Instant,
        peer: SocketAddr,
        protocol: Protocol,
        plan: Arc<RecordPlan>,
    ) -> Box<Self> {
        let mut record = self;
        let mut texts = std::mem::take(&mut record.texts);
        texts.clear();
        // Everything else is as in a new record, so that nothing of the old request can show in the new one.
        *record = RequestRecord::blank(time_unix_nanos, started, peer, protocol, plan);
        record.texts = texts;
        record
    }

    fn blank(
        time_unix_nanos: u64,
        started: Instant,
        peer: SocketAddr,
        protocol: Protocol,
        plan: Arc<RecordPlan>,
    ) -> Self {
        RequestRecord {
            time_unix_nanos,
            started,
            plan,
            client: peer.ip(),
            peer,
            protocol,
            tls: None,
            method: Method::GET,
            listener: None,
            listener_id: ListenerId::NONE,
            route: None,
            route_id: RouteId::NONE,
            upstream: None,
            upstream_id: UpstreamId::NONE,
            endpoint: None,
            consumer: None,
            identified_by: None,
            key_state: None,
            issuer: None,
            revision: None,
            status: 0,
            request_bytes: 0,
            response_bytes: 0,
            total: Duration::ZERO,
            upstream_time: None,
            waited: Duration::ZERO,
            upstream_attempts: 0,
            cached: None,
            model: None,
            refusal: None,
            would_deny: Vec::new(),
            faults: Vec::new(),
            rules: MatchedRules::default(),
            leaks: Vec::new(),
            exit: Exit::Abandoned,
            capture: None,
            texts: Texts::default(),
        }
    }

    /// Sets the request id.
    pub fn set_id(&mut self, id: &str) {
        self.texts.put(Slot::Id, id.as_bytes());
    }

    /// The request id.
    pub fn id(&self) -> Option<&[u8]> {
        self.texts.get(Slot::Id)
    }

    /// Sets the host the client asked for.
    pub fn set_host(&mut self, host: &[u8]) {
        self.texts.put(Slot::Host, host);
    }

    /// The host the client asked for.
    pub fn host(&self) -> Option<&[u8]> {
        self.texts.get(Slot::Host)
    }

    /// Sets the user agent; 256 bytes of it are kept.
    pub fn set_user_agent(&mut self, value: &[u8]) {
        self.texts.put(Slot::UserAgent, value);
    }

    /// The user agent.
    pub fn user_agent(&self) -> Option<&[u8]> {
        self.texts.get(Slot::UserAgent)
    }

    /// Sets the canonical path (or, when there is none, the path as received).
    pub fn set_path(&mut self, path: &[u8]) {
        self.texts.put(Slot::Path, path);
    }

    /// The canonical path.
    pub fn path(&self) -> Option<&[u8]> {
        self.texts.get(Slot::Path)
    }

    /// Sets the query as received, without `?`. It may hold secrets; the writer masks it as the plan says.
    pub fn set_query(&mut self, query: &[u8]) {
        self.texts.put(Slot::Query, query);
    }

    /// The query as received: never print it without [`crate::redact::mask_query`].
    pub fn query(&self) -> Option<&[u8]> {
        self.texts.get(Slot::Query)
    }

    /// Sets the public id of the credential: a key's id, never the key.
    pub fn set_credential_id(&mut self, id: &str) {
        self.texts.put(Slot::Credential, id.as_bytes());
    }

    /// The public id of the credential.
    pub fn credential_id(&self) -> Option<&[u8]> {
        self.texts.get(Slot::Credential)
    }

    /// Sets the subject that a verified token names; 256 bytes of it are kept.
    pub fn set_subject(&mut self, subject: &str) {
        self.texts.put(Slot::Subject, subject.as_bytes());
    }

    /// The subject that a verified token names.
    pub fn subject(&self) -> Option<&[u8]> {
        self.texts.get(Slot::Subject)
    }

    /// Takes from `headers` those that the plan asks for. Call it once, when the plan is the route's; a value that
    /// the plan masks is not even copied.
    pub fn take_headers(&mut self, headers: &HeaderMap) {
        for (index, planned) in self.plan.headers().iter().enumerate() {
            let (Ok(index), Some(value)) = (u16::try_from(index), headers.get(&planned.name)) else {
                continue;
            };
            let shown =
                if self.plan.is_masked(planned) { crate::redact::MASK.as_bytes() } else { value.as_bytes() };
            self.texts.put_header(index, shown);
        }
    }

    /// The headers taken, each as its number in the plan and its value.
    pub fn headers(&self) -> impl Iterator<Item = (u16, &[u8])> {
        self.texts.headers()
    }

    /// Notes a refusal by decision. The stage is the one in which it happened.
    pub fn refuse(&mut self, stage: Stage, denial: Denial) {
        self.refusal = Some(Refusal { stage, why: Why::Denied(denial) });
        self.exit = Exit::Refused;
    }

    /// Notes a refusal because the judge of `policy` could not decide.
    pub fn refuse_for_fault(&mut self, policy: Option<Arc<str>>, fault: Fault) {
        self.refusal = Some(Refusal { stage: fault.stage, why: Why::Faulted { policy, fault } });
        self.exit = Exit::Refused;
    }

    /// Notes what a policy in shadow would have done. At most [`WOULD_DENY_MAX`] are kept.
    pub fn would_deny(&mut self, entry: WouldDeny) {
        if self.would_deny.len() < WOULD_DENY_MAX {
            self.would_deny.push(entry);
        }
    }

    /// Notes a judge that could not decide and whose policy says `onFault: allow`. At most [`WOULD_DENY_MAX`] are
    /// kept.
    pub fn passed_fault(&mut self, policy: Option<Arc<str>>, fault: Fault) {
        if self.faults.len() < WOULD_DENY_MAX {
            self.faults.push(PassedFault { policy, fault });
        }
    }

    /// The part of the duration that was the gateway's own: neither an upstream's nor spent waiting for a slot.
    pub fn gateway_time(&self) -> Duration {
        self.total.saturating_sub(self.upstream_time.unwrap_or_default()).saturating_sub(self.waited)
    }
}

impl fmt::Debug for RequestRecord {
    /// Shows the id and the verdict only: path, query, addresses and headers are for the writer, which masks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id().map(String::from_utf8_lossy);
        f.debug_struct("RequestRecord")
            .field("id", &id)
            .field("route", &self.route)
            .field("status", &self.status)
            .field("exit", &self.exit)
            .finish_non_exhaustive()
    }
}

/// Most targets of a model whose failure is kept for one request.
pub const MODEL_FAILURES_MAX: usize = 8;

/// What a model was asked for and used. No word of a prompt or an answer is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelRecord {
    /// `chat`, `embeddings`, or the dialect of a native path.
    pub operation: &'static str,
    /// The public name.
    pub model: Option<Arc<str>>,
    /// The caller's team.
    pub team: Option<Arc<str>>,
    /// The provider's word.
    pub provider: &'static str,
    /// The provider's name of the model.
    pub target: Option<Arc<str>>,
    /// Whether the answer is a stream.
    pub stream: bool,
    /// Input tokens.
    pub input_tokens: Option<u64>,
    /// Share of them that came from the provider's cache.
    pub cached_tokens: Option<u64>,
    /// Output tokens.
    pub output_tokens: Option<u64>,
    /// Share of them that is reasoning.
    pub reasoning_tokens: Option<u64>,
    /// `provider`, `estimated` or `partial`.
    pub usage_source: &'static str,
    /// The cost in picodollars; `None` where no price is known.
    pub cost_pico: Option<u64>,
    /// From the complete head to the first content.
    pub first_token: Option<Duration>,
    /// Targets that did not serve: upstream, and why in one word.
    pub failures: Vec<(Arc<str>, &'static str)>,
    /// Names of what the answer or the request lost on the way.
    pub lost: Vec<String>,
}

impl ModelRecord {
    /// Notes a target that did not serve. At most [`MODEL_FAILURES_MAX`] are kept.
    pub fn failed(&mut self, upstream: Arc<str>, why: &'static str) {
        if self.failures.len() < MODEL_FAILURES_MAX {
            self.failures.push((upstream, why));
        }
    }
}

/// Why a request was refused, and in which stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stage it happened in.
    pub stage: Stage,
    /// By decision, or because none could be made.
    pub why: Why,
}

/// A decision, or the lack of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A judge decided against it.
    Denied(Denial),
    /// A judge could not decide.
    Faulted {
        /// The policy whose judge it was, as `Kind/name`.
        policy: Option<Arc<str>>,
        /// What failed.
        fault: Fault,
    },
}

impl Refusal {
    /// The reason that the caller saw.
    pub fn reason(&self) -> Reason {
        match &self.why {
            Why::Denied(denial) => denial.reason,
            Why::Faulted { .. } => Reason::JudgeUnavailable,
        }
    }

    /// The policy that decided or could not.
    pub fn policy(&self) -> Option<&Arc<str>> {
        match &self.why {
            Why::Denied(denial) => denial.policy.as_ref(),
            Why::Faulted { policy, .. } => policy.as_ref(),
        }
    }

    /// The evidence, for the record only.
    pub fn detail(&self) -> Option<&str> {
        match &self.why {
            Why::Denied(denial) => denial.detail.as_deref(),
            Why::Faulted { fault, .. } => Some(&fault.what),
        }
    }
}

/// What a policy in shadow would have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WouldDeny {
    /// The stage that judged.
    pub stage: Stage,
    /// The policy, as `Kind/name`.
    pub policy: Arc<str>,
    /// Refused, delayed, or not known.
    pub outcome: Would,
    /// The reason the caller would have seen.
    pub reason: Reason,
    /// Which rule, on what evidence.
    pub detail: Option<Box<str>>,
}

/// The three things a policy in shadow can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Would {
    /// It would have refused.
    Deny,
    /// It would have let the call wait this long.
    Throttle(Duration),
    /// It could not be judged in shadow (it needed a wait or a look-up).
    Incomplete,
}

impl Would {
    /// The word in the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Would::Deny => "would_deny",
            Would::Throttle(_) => "would_throttle",
            Would::Incomplete => "shadow_incomplete",
        }
    }
}

/// A judge that could not decide, for a policy with `onFault: allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedFault {
    /// The policy, as `Kind/name`.
    pub policy: Option<Arc<str>>,
    /// What failed, in which stage.
    pub fault: Fault,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// The response left whole.
    Complete,
    /// A stage refused, and the refusal left.
    Refused,
    /// The client closed or reset before the end.
    ClientGone,
    /// The upstream closed or reset within its response.
    UpstreamReset,
    /// A time limit ended it.
    Timeout,
    /// The gateway stopped and its grace was over.
    Shutdown,
    /// An error of the gateway ended it.
    Error,
    /// It was dropped before anything was decided.
    Abandoned,
}

impl Exit {
    /// The word in the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Exit::Complete => "complete",
            Exit::Refused => "refused",
            Exit::ClientGone => "client_gone",
            Exit::UpstreamReset => "upstream_reset",
            Exit::Timeout => "timeout",
            Exit::Shutdown => "shutdown",
            Exit::Error => "error",
            Exit::Abandoned => "abandoned",
        }
    }
}

/// The protocol of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

impl Protocol {
    /// The word in the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::Http10 => "HTTP/1.0",
            Protocol::Http11 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
        }
    }
}

impl From<http::Version> for Protocol {
    /// HTTP/0.9 and HTTP/3 are not spoken; they would show as the nearest spoken version.
    fn from(version: http::Version) -> Self {
        match version {
            http::Version::HTTP_09 | http::Version::HTTP_10 => Protocol::Http10,
            http::Version::HTTP_2 | http::Version::HTTP_3 => Protocol::Http2,
            _ => Protocol::Http11,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn record_for_test() -> Box<RequestRecord> {
        let plan = Arc::new(RecordPlan::default());
        let peer = SocketAddr::from(([192, 0, 2, 7], 4711));
        RequestRecord::open(1_767_225_600_123_456_789, Instant::now(), peer, Protocol::Http11, plan)
    }

    #[test]
    fn a_record_can_cross_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Box<RequestRecord>>();
    }

    #[test]
    fn opening_a_record_allocates_no_text() {
        let record = record_for_test();
        assert_eq!(record.would_deny.capacity() + record.faults.capacity(), 0);
        assert_eq!((record.id(), record.exit), (None, Exit::Abandoned));
    }

    #[test]
    fn a_debug_line_tells_neither_query_nor_path_nor_address() {
        let mut record = record_for_test();
        record.set_id("id-1");
        record.set_path(b"/reset/hunter2");
        record.set_query(b"token=hunter2");
        let debug = format!("{record:?}");
        assert!(
            debug.contains("id-1") && !debug.contains("hunter2") && !debug.contains("192.0.2"),
            "{debug}"
        );
    }

    #[test]
    fn a_fault_is_recorded_in_its_stage_with_its_policy() {
        let mut record = record_for_test();
        record.refuse_for_fault(Some("RateLimitPolicy/p".into()), Fault::new(Stage::Limit, "no store"));
        let refusal = record.refusal.as_ref().unwrap();
        assert_eq!((refusal.stage, refusal.reason()), (Stage::Limit, Reason::JudgeUnavailable));
        assert_eq!(refusal.policy().map(|policy| &**policy), Some("RateLimitPolicy/p"));
        assert_eq!((refusal.detail(), record.exit), (Some("no store"), Exit::Refused));
    }

    #[test]
    fn the_gateway_s_own_time_is_what_neither_upstream_nor_waiting_took() {
        let mut record = record_for_test();
        record.total = Duration::from_millis(10);
        record.upstream_time = Some(Duration::from_millis(6));
        record.waited = Duration::from_millis(3);
        assert_eq!(record.gateway_time(), Duration::from_millis(1));
        record.upstream_time = Some(Duration::from_millis(60));
        assert_eq!(record.gateway_time(), Duration::ZERO, "overlapping parts do not wrap");
    }

    #[test]
    fn would_deny_entries_are_bounded() {
        let mut record = record_for_test();
        for _ in 0..100 {
            record.would_deny(WouldDeny {
                stage: Stage::Limit,
                policy: "RateLimitPolicy/p".into(),
                outcome: Would::Deny,
                reason: Reason::RateExceeded,
                detail: None,
            });
        }
        assert_eq!(record.would_deny.len(), WOULD_DENY_MAX);
    }

    #[test]
    fn a_masked_header_is_not_even_copied() {
        let mut record = record_for_test();
        let names = ["cookie", "accept"].map(http::HeaderName::from_static);
        record.plan = Arc::new(RecordPlan::new("p").with_headers(names, &[]));
        let mut headers = HeaderMap::new();
        headers.insert("cookie", "sid=hunter2".parse().unwrap());
        headers.insert("accept", "text/html".parse().unwrap());
        record.take_headers(&headers);
        assert_eq!(record.headers().collect::<Vec<_>>(), [(0, &b"***"[..]), (1, b"text/html")]);
    }
}
