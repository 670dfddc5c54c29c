//! Policies that only watch. While the exchange runs, copies are made of what passes; when its answer has left, they are
//! judged in a task of their own, and the record is closed with what was found. So the caller waits for nothing, and
//! no body is read otherwise than without the policy. What could not be copied or judged is told as `shadow_incomplete`.

use std::{rc::Rc, sync::Arc};

use bartizan_config::snapshot::{InspectionPlan, SchemaPlan};
use bartizan_inspect::{EngineMode, Session, Verdict};
use bartizan_model::{Mode, Reason, Stage};
use bartizan_telemetry::{RequestRecord, WouldDeny, metrics::Inspected as Counted, record::Would};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version, header};

use super::{
    judge::{AnswerCopy, HeadCopy, nothing, run, run_body},
    leak,
    pool::{Half, Piece, Trouble},
    report,
    schema::{self, Objection},
};
use crate::{
    body::{BodyCopy, Copy},
    core::Core,
    live::Live,
};

/// 512 exchanges of one core are watched at a time; more pass unwatched, and the record says so.
const WATCHED_MAX: usize = 512;

/// An exchange that is watched.
pub(crate) struct Watching {
    live: Arc<Live>,
    watchers: Watchers,
    head: HeadCopy,
    request: Body,
    answer: Option<(AnswerCopy, Body)>,
    /// Counts it among those of the core.
    place: Rc<()>,
}

/// Policies that only watch.
#[derive(Clone, Default)]
pub(crate) struct Watchers {
    pub(crate) rules: Vec<Arc<InspectionPlan>>,
    pub(crate) schemas: Vec<Arc<SchemaPlan>>,
}

impl Watchers {
    /// Notes that none of them could judge.
    pub(crate) fn incomplete(&self, core: &Core, live: &Live, record: &mut RequestRecord, why: &str) {
        for plan in &self.rules {
            incomplete(core, live, record, who(plan), why);
        }
        for plan in &self.schemas {
            incomplete(core, live, record, (&plan.label, Stage::Inspect), why);
        }
    }
}

/// A policy and the stage in which it judges.
fn who(plan: &InspectionPlan) -> (&Arc<str>, Stage) {
    (&plan.label, if plan.request.is_some() { Stage::Inspect } else { Stage::Screen })
}

/// What is known of a body that passed.
enum Body {
    /// There is none, or it came to nothing.
    Absent,
    /// It is copied.
    Copied(BodyCopy),
    /// It is there already: a policy that bites has read it.
    Read(Bytes, bool),
    /// It cannot be judged: why.
    Unjudged(&'static str),
}

impl Watching {
    /// Watches for these policies, if the core has a place for one more.
    pub(crate) fn begin(
        core: &Core,
        live: Arc<Live>,
        watchers: Watchers,
        head: HeadCopy,
    ) -> Result<Box<Self>, Watchers> {
        if Rc::strong_count(&core.watched) > WATCHED_MAX {
            return Err(watchers);
        }
        let place = Rc::clone(&core.watched);
        Ok(Box::new(Watching { live, watchers, head, request: Body::Absent, answer: None, place }))
    }

    /// A copy for the request's body to be made while it passes.
    pub(crate) fn copy_request(&mut self, core: &Core, headers: &HeaderMap) -> Option<BodyCopy> {
        let by_rules = self.watchers.rules.iter().filter_map(|plan| plan.request.map(|body| body.bytes_max));
        let bytes_max = by_rules.chain(self.watchers.schemas.iter().map(|plan| plan.bytes_max)).max()?;
        if is_encoded(headers) {
            self.request = Body::Unjudged("its body is in a content coding");
            return None;
        }
        let copy = BodyCopy::new(bytes_max, core.held.nothing());
        self.request = Body::Copied(copy.clone());
        Some(copy)
    }

    /// The request's body as a policy that bites has read it.
    pub(crate) fn has_read(&mut self, bytes: Bytes, is_cut: bool) {
        self.request = Body::Read(bytes, is_cut);
    }

    /// The request's body was not read.
    pub(crate) fn has_not_read(&mut self) {
        // What a policy that bites has read stays known.
        if !matches!(self.request, Body::Read(..)) {
            self.request = Body::Unjudged("its body was not read");
        }
    }

    /// The head of the answer; its body is copied from now on.
    pub(crate) fn answered(
        &mut self,
        core: &Core,
        (status, version): (StatusCode, Version),
        headers: &HeaderMap,
    ) {
        let halves = self.watchers.rules.iter().filter_map(|plan| plan.response);
        let bytes_max = halves.map(|body| body.bytes_max).max();
        let Some(bytes_max) = bytes_max else { return };
        let body = if is_encoded(headers) {
            Body::Unjudged("the answer's body is in a content coding")
        } else {
            Body::Copied(BodyCopy::new(bytes_max, core.held.nothing()))
        };
        self.answer = Some((AnswerCopy::of(status, version, headers), body));
    }

    /// A piece of the answer's body.
    pub(crate) fn pass(&self, piece: &[u8]) {
        if let Some((_, Body::Copied(copy))) = &self.answer {
            copy.add(piece);
        }
    }

    /// The answer has left whole.
    pub(crate) fn passed(&self) {
        if let Some((_, Body::Copied(copy))) = &self.answer {
            copy.end();
        }
    }

    /// Judges what was copied and closes the record.
    pub(crate) fn settle(self: Box<Self>, core: Rc<Core>, record: Box<RequestRecord>) {
        let open = self.watchers.clone();
        let settling = Settling { core, live: self.live.clone(), open, record: Some(record) };
        // Whoever stops the process waits for nobody that only watches.
        if settling.core.runtime.is_stopping() {
            return;
        }
        tokio::task::spawn_local(settling.judge(self));
    }
}

/// Whether a body is in a content coding, which is not read.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| {
        let coding = coding.as_bytes().trim_ascii();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    })
}

/// A record that waits for verdicts. Dropping it closes it: those that are missing are told as such.
struct Settling {
    core: Rc<Core>,
    live: Arc<Live>,
    /// Policies whose verdict is missing.
    open: Watchers,
    record: Option<Box<RequestRecord>>,
}

impl Drop for Settling {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        let why = "the exchange was over before it was judged";
        self.open.incomplete(&self.core, &self.live, &mut record, why);
        self.core.close(record);
    }
}

/// Notes that a policy in shadow could not be judged.
fn incomplete(
    core: &Core,
    live: &Live,
    record: &mut RequestRecord,
    (label, stage): (&Arc<str>, Stage),
    why: &str,
) {
    core.metrics.inspected(live.inspection_ids(label).policy, Counted::Incomplete, Mode::Shadow);
    record.would_deny(WouldDeny {
        stage,
        policy: label.clone(),
        outcome: Would::Incomplete,
        reason: Reason::InspectionIncomplete,
        detail: Some(why.into()),
    });
}

impl Settling {
    async fn judge(mut self, watching: Box<Watching>) {
        let _place = Rc::clone(&watching.place);
        let bodies = watching.bodies();
        while let Some(plan) = self.open.rules.first().cloned() {
            let Some(record) = self.record.as_deref_mut() else { return };
            watching.judge(&self.core, record, &plan, &bodies).await;
            self.open.rules.remove(0);
        }
        while let Some(plan) = self.open.schemas.first().cloned() {
            let Some(record) = self.record.as_deref_mut() else { return };
            watching.judge_form(&self.core, record, &plan, &bodies.0).await;
            self.open.schemas.remove(0);
        }
    }
}

impl Watching {
    /// Judges while somebody waits for the record.
    pub(crate) async fn judge_now(self: Box<Self>, core: &Core, record: &mut RequestRecord) {
        let bodies = self.bodies();
        for plan in &self.watchers.rules {
            self.judge(core, record, plan, &bodies).await;
        }
        for plan in &self.watchers.schemas {
            self.judge_form(core, record, plan, &bodies.0).await;
        }
    }

    fn bodies(&self) -> (Taken, Option<Taken>) {
        (self.request.taken(), self.answer.as_ref().map(|(_, body)| body.taken()))
    }

    async fn judge(
        &self,
        core: &Core,
        record: &mut RequestRecord,
        plan: &InspectionPlan,
        (request, answer): &(Taken, Option<Taken>),
    ) {
        let mut session = self.head.session(plan, EngineMode::Detect);
        let answer = self.answer.as_ref().map(|(head, _)| head).zip(answer.as_ref());
        let judged = Judging { core, plan }.exchange(&mut session, request, answer).await;
        match judged {
            Ok((verdict, unjudged)) => tell(core, &self.live, record, plan, &verdict, unjudged),
            Err(trouble) => incomplete(core, &self.live, record, who(plan), said(trouble)),
        }
        if let (Some(leaks), Some((head, (Some((bytes, _)), _)))) = (&plan.leaks, answer)
            && head.is_text()
        {
            let found = leak::look(core.runtime.judges(), leaks, bytes).await;
            match found {
                Ok(found) if found.counts.is_empty() => {}
                Ok(found) => {
                    record.leaks.extend(found.told(&plan.label, "shadow"));
                    if !leaks.masks {
                        record.would_deny(would(
                            &plan.label,
                            (Stage::Screen, Reason::ResponseRefused),
                            found.describe(),
                        ));
                    }
                }
                Err(trouble) => incomplete(core, &self.live, record, who(plan), said(trouble)),
            }
        }
    }

    /// Judges what the request's body looks like.
    async fn judge_form(
        &self,
        core: &Core,
        record: &mut RequestRecord,
        plan: &Arc<SchemaPlan>,
        body: &Taken,
    ) {
        let at = (&plan.label, Stage::Inspect);
        let is_missing = matches!(self.request, Body::Absent);
        let objection = match body {
            _ if is_missing && plan.required => Ok(Some(Objection::missing(plan))),
            _ if is_missing => Ok(None),
            _ if !self.head.is_json() && plan.others_pass => Ok(None),
            _ if !self.head.is_json() => Ok(Some(Objection::other_type(plan))),
            (Some((bytes, false)), _) if bytes.len() <= plan.bytes_max => {
                schema::judge(core.runtime.judges(), plan, bytes).await
            }
            (Some(_), _) => {
                return incomplete(core, &self.live, record, at, "its body is longer than is judged");
            }
            (None, why) => {
                return incomplete(core, &self.live, record, at, why.unwrap_or("its body was not read"));
            }
        };
        let policy = self.live.inspection_ids(&plan.label).policy;
        match objection {
            Ok(None) => core.metrics.inspected(policy, Counted::Passed, Mode::Shadow),
            Ok(Some(objection)) => {
                core.metrics.inspected(policy, Counted::Refused, Mode::Shadow);
                let detail = objection.denial.detail.as_deref().unwrap_or_default().to_owned();
                record.would_deny(would(&plan.label, (Stage::Inspect, Reason::SchemaViolation), detail));
            }
            Err(trouble) => incomplete(core, &self.live, record, at, said(trouble)),
        }
    }
}

const fn said(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Full => "too many large bodies are being judged",
        Trouble::Broken => "the judge broke",
    }
}

fn would(label: &Arc<str>, (stage, reason): (Stage, Reason), detail: String) -> WouldDeny {
    let (policy, detail) = (label.clone(), Some(detail.into()));
    WouldDeny { stage, policy, outcome: Would::Deny, reason, detail }
}

/// A body to be judged, and what of it is not.
type Taken = (Option<(Bytes, bool)>, Option<&'static str>);

impl Body {
    fn taken(&self) -> Taken {
        match self {
            Body::Absent => (None, None),
            Body::Read(bytes, is_cut) => (Some((bytes.clone(), *is_cut)), None),
            Body::Unjudged(why) => (None, Some(why)),
            Body::Copied(copy) => match copy.take() {
                Copy::Whole(bytes) => (Some((bytes, false)), None),
                Copy::Start(bytes) => (Some((bytes, true)), None),
                Copy::Unfinished => (None, Some("its body did not end")),
            },
        }
    }
}

struct Judging<'a> {
    core: &'a Core,
    plan: &'a InspectionPlan,
}

impl Judging<'_> {
    /// Judges both halves as far as the policy asks; says what was not judged.
    async fn exchange(
        &self,
        session: &mut Box<Session>,
        request: &Taken,
        answer: Option<(&AnswerCopy, &Taken)>,
    ) -> Result<(Verdict, Option<&'static str>), Trouble> {
        let mut unjudged = None;
        // Rules for answers may need what those for requests have set, so requests are judged first in any case.
        run(session).await?;
        self.body(session, Half::Request, request, &mut unjudged).await?;
        if let (Some(_), Some((head, body))) = (self.plan.response, answer) {
            head.feed(session);
            run(session).await?;
            self.body(session, Half::Response, body, &mut unjudged).await?;
        }
        Ok((session.verdict().clone(), unjudged))
    }

    async fn body(
        &self,
        session: &mut Box<Session>,
        half: Half,
        (body, missing): &Taken,
        unjudged: &mut Option<&'static str>,
    ) -> Result<(), Trouble> {
        let plan = if half == Half::Request { self.plan.request } else { self.plan.response };
        let Some(plan) = plan else { return Ok(()) };
        let reads =
            if half == Half::Request { session.reads_request_body() } else { session.wants_response_body() };
        let piece = match body {
            Some((bytes, is_cut)) if reads => {
                let is_cut = *is_cut || bytes.len() > plan.bytes_max;
                if is_cut {
                    *unjudged = Some("a body is longer than is judged");
                }
                Piece { half, bytes: bytes.slice(..bytes.len().min(plan.bytes_max)), is_cut }
            }
            _ => {
                *unjudged = unjudged.or(missing.filter(|_| reads));
                nothing(half)
            }
        };
        // The session is lent to the judge, which may be on another thread.
        let lent = std::mem::replace(session, empty(self.plan));
        *session = run_body(lent, self.core.runtime.judges(), piece).await?;
        Ok(())
    }
}

/// A session that stands in for one that is lent.
fn empty(plan: &InspectionPlan) -> Box<Session> {
    Box::new(Session::new(plan.rules.clone(), None, bartizan_inspect::Exchange::default()))
}

/// Writes a verdict into the record.
fn tell(
    core: &Core,
    live: &Live,
    record: &mut RequestRecord,
    plan: &InspectionPlan,
    verdict: &Verdict,
    unjudged: Option<&'static str>,
) {
    let half_of = |phase| {
        if phase > bartizan_inspect::rule::Phase::RequestBody { Half::Response } else { Half::Request }
    };
    for (at, found) in verdict.matches.iter().enumerate() {
        let half = half_of(found.phase);
        let judged = plan.request.is_some() || half == Half::Response;
        if judged && let Some(told) = report::matches(live, &plan.label, verdict, (at, half), true).next() {
            record.rules.push(told);
        }
    }
    let policy = live.inspection_ids(&plan.label).policy;
    let refusal = verdict
        .refusal
        .as_ref()
        .filter(|refusal| plan.request.is_some() || half_of(refusal.phase) == Half::Response);
    if let Some(refusal) = refusal {
        let (stage, reason) = match half_of(refusal.phase) {
            Half::Request => (Stage::Inspect, Reason::AttackDetected),
            Half::Response => (Stage::Screen, Reason::ResponseRefused),
        };
        core.metrics.inspected(policy, Counted::Refused, Mode::Shadow);
        record.would_deny(would(&plan.label, (stage, reason), report::why(verdict, refusal.rule)));
        return;
    }
    match verdict.incomplete.first() {
        Some(cause) => incomplete(core, live, record, who(plan), &report::described(cause)),
        None => match unjudged {
            Some(why) => incomplete(core, live, record, who(plan), why),
            None => core.metrics.inspected(policy, Counted::Passed, Mode::Shadow),
        },
    }
}
