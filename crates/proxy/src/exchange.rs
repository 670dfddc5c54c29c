//! One request on its way: what all stages share, and the proof of how far it has come.
//!
//! Nothing that a stage decided is an `Option` in [`Shared`]: decisions live in proofs, which only their stage can
//! make. `Shared` holds what an answer needs however early it comes. An exchange is one pointer plus its proof, and is
//! never pooled, so that no field of one request can reach another.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Instant};

use bartizan_config::snapshot::{ListenerPlan, PublishedListener, RoutePlan, Snapshot};
use bartizan_inspect::schema::Violation;
use bartizan_limit::Reservation;
use bartizan_message::{RequestHead, RequestId};
use bartizan_model::{Denial, Fault, Mode, Reason, Stage};
use bartizan_telemetry::{RequestRecord, WouldDeny, record::Would};
use http::{HeaderName, HeaderValue, Response};

use crate::{
    answer::AnswerBody, body::Inbound, core::Core, listener::ConnectionFacts, live::Live,
    rehearsal::Rehearsing, share::share_on, spoken::Spoken, stage::OpenRecord, upstream::Permit,
};

/// A request that has come as far as `S` says.
#[must_use = "an exchange that is dropped answers nobody"]
pub struct Exchange<S> {
    pub(crate) shared: Box<Shared>,
    pub(crate) proof: S,
}

impl<S> Exchange<S> {
    /// Goes on with the next proof.
    pub(crate) fn prove<T>(self, next: impl FnOnce(S) -> T) -> Exchange<T> {
        Exchange { shared: self.shared, proof: next(self.proof) }
    }

    /// Ends with a refusal of `stage`.
    pub(crate) fn deny(self, stage: Stage, denial: Denial) -> Stop {
        Stop { shared: self.shared, why: Why::Denied(stage, denial) }
    }

    /// Ends because the judge of `policy` could not decide.
    pub(crate) fn fault(self, policy: Option<Arc<str>>, fault: Fault) -> Stop {
        Stop { shared: self.shared, why: Why::Faulted(policy, fault) }
    }
}

/// A request as it came from the connection.
pub struct Received {
    /// Boxed: the exchange is moved into its future before anything is read.
    pub(crate) request: Box<http::Request<Inbound>>,
}

/// What every stage may look at and every answer needs.
pub struct Shared {
    /// The core that serves the request.
    pub(crate) core: Rc<Core>,
    /// The one snapshot that judges it.
    pub(crate) live: Arc<Live>,
    /// Where in the snapshot its listener is.
    pub(crate) listener: usize,
    /// The connection it came on.
    pub(crate) connection: Rc<ConnectionFacts>,
    /// Its open record; it closes itself when the request's task is dropped.
    pub(crate) record: OpenRecord,
    /// Its id.
    pub(crate) id: RequestId,
    /// The same as a header's value, made once.
    pub(crate) id_value: HeaderValue,
    /// What the answer gets beside its own headers.
    pub(crate) dress: Dress,
    /// Permits that are given back when the answer has ended.
    pub(crate) reservation: Option<Reservation>,
    /// A place among the requests that an UpstreamPolicy lets be under way at once.
    pub(crate) permit: Option<Permit>,
    /// The caller's share (0–99), once somebody asked for it.
    pub(crate) share: Cell<Option<u8>>,
    /// What a rehearsal gives instead of clocks and credentials; `None` in live traffic.
    pub(crate) rehearsing: Option<Box<Rehearsing>>,
}

/// What stages ask of the answer, whichever it will be.
#[derive(Default)]
pub(crate) struct Dress {
    /// Headers added at the exit.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// The route whose header changes apply, once it is known.
    pub(crate) route: Option<Arc<RoutePlan>>,
    /// An enforced CorsPolicy speaks for the upstream.
    pub(crate) owns_cors: bool,
    /// The caller asked with HEAD.
    pub(crate) is_head: bool,
    /// On routes to models: in which dialect refusals are told.
    pub(crate) spoken: Option<Box<Spoken>>,
    /// What a refused caller gets instead of the refusal: browsers are sent to sign in.
    pub(crate) instead: Option<Box<Response<AnswerBody>>>,
    /// What is wrong with the body, where a schema refuses it: places and what is asked for, nothing of its values.
    pub(crate) violations: Vec<Violation>,
}

impl Shared {
    /// The same request once more, without its caller: for what the gateway asks beside the answer.
    pub(crate) fn aside(&self) -> Box<Shared> {
        let started = Instant::now();
        let plan = self.record.plan.clone();
        let unix_nanos = self.record.time_unix_nanos
            + u64::try_from(started.saturating_duration_since(self.record.started).as_nanos()).unwrap_or(0);
        let record =
            RequestRecord::open(unix_nanos, started, self.connection.client, self.record.protocol, plan);
        Box::new(Shared {
            core: self.core.clone(),
            live: self.live.clone(),
            listener: self.listener,
            connection: self.connection.clone(),
            record: OpenRecord::aside(self.core.clone(), record),
            id: self.id.clone(),
            id_value: self.id_value.clone(),
            dress: Dress::default(),
            reservation: None,
            permit: None,
            share: self.share.clone(),
            rehearsing: None,
        })
    }

    /// The snapshot.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.live.snapshot
    }

    /// The listener in the pinned snapshot; `None` if the snapshot does not have it any more.
    pub(crate) fn listener(&self) -> Option<&PublishedListener> {
        self.live.snapshot.listeners.get(self.listener)
    }

    /// The listener's settings in the pinned snapshot. A connection that was accepted under an earlier set is judged
    /// by the one in force; where that has no such listener any more, by what it was accepted under.
    pub(crate) fn listener_plan(&self) -> &ListenerPlan {
        self.listener().map_or(&self.connection.listener, |listener| &listener.plan)
    }

    /// The caller's share, the same in every stage: later ones no longer have the headers it is taken from.
    pub(crate) fn share(&self, head: &RequestHead) -> u8 {
        if let Some(share) = self.share.get() {
            return share;
        }
        let share = share_on(self.dress.route.as_deref(), head.headers(), head.client());
        self.share.set(Some(share));
        share
    }

    /// What the clock of the limit cells shows for `limit`.
    pub(crate) fn instant(&self) -> Instant {
        self.rehearsing.as_ref().map_or_else(Instant::now, |given| given.limit_at)
    }

    /// What the wall clock shows for `stage`, in milliseconds since 1970.
    pub(crate) fn unix_ms(&self, stage: Stage) -> u64 {
        if let Some(given) = &self.rehearsing {
            return given.unix_ms(stage);
        }
        // The moment at which the head was complete: the stages judge by one time, and no clock is read for it.
        self.record.time_unix_nanos / 1_000_000
    }

    /// Whether somebody will read the record's names: an access log, or whoever rehearses.
    pub(crate) fn is_described(&self) -> bool {
        self.live.logs || self.rehearsing.is_some()
    }

    /// Adds a header to the answer.
    pub(crate) fn dress(&mut self, name: HeaderName, value: HeaderValue) {
        self.dress.headers.push((name, value));
    }

    /// Notes what a policy in shadow would have done.
    pub(crate) fn would_deny(
        &mut self,
        stage: Stage,
        policy: &Arc<str>,
        reason: Reason,
        detail: Option<Box<str>>,
    ) {
        let policy = policy.clone();
        self.record.would_deny(WouldDeny { stage, policy, outcome: Would::Deny, reason, detail });
    }

    /// Carries a policy's denial out, or only notes it, as the mode says.
    pub(crate) fn weigh(
        &mut self,
        mode: Mode,
        stage: Stage,
        policy: &Arc<str>,
        denial: Denial,
    ) -> Option<Denial> {
        match mode {
            Mode::Enforce => Some(denial.by(policy.clone())),
            Mode::Shadow => {
                self.would_deny(stage, policy, denial.reason, denial.detail);
                None
            }
            Mode::Off => None,
        }
    }
}

/// The early end of a request. It gives everything back that an answer needs.
pub struct Stop {
    pub(crate) shared: Box<Shared>,
    pub(crate) why: Why,
}

/// Why a request ended early.
pub(crate) enum Why {
    /// A judge decided against it.
    Denied(Stage, Denial),
    /// A judge could not decide, and its policy does not let such requests pass.
    Faulted(Option<Arc<str>>, Fault),
    /// The stage had the answer itself: a redirect, a preflight.
    Answered(Box<Response<AnswerBody>>),
    /// The cache had an upstream's answer, to which the route's changes apply like to any other.
    Kept(Box<Response<AnswerBody>>),
}
