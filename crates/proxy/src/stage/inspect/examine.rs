//! The way of a request through the policies of its route: the head first, before a byte of the body is read; then the
//! body, read whole as far as it is judged. Policies that bite decide here, in their order; those that only watch get
//! copies.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use bartizan_config::snapshot::{BodyPlan, ConsumerPlan, InspectionPlan, Oversize, RoutePlan, SchemaPlan};
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Mode, Reason, Stage};
use bartizan_telemetry::metrics::Inspected as Counted;
use bytes::Bytes;

use super::{
    judge::{HeadCopy, Judge, nothing},
    policies,
    pool::{Half, Piece},
    report::{self, Outcome},
    schema::{self, Objection, is_json},
    watch::{Watchers, Watching, is_encoded},
};
use crate::{
    body::{
        BodyWatch, Broken, Held, Inbound, Read, RequestBody, Tenant, Unjudged, Unread, Whole, read_request,
    },
    exchange::Shared,
    patience::{TimeOver, within},
    share::block_key,
    stage::route::mode_for,
};

/// Whose bodies a request's are: its team's, its consumer's, or those of the addresses it comes from.
pub(crate) fn tenant(consumer: Option<&ConsumerPlan>, head: &RequestHead) -> Tenant {
    let team = consumer.and_then(|consumer| consumer.team.as_ref()).map(|team| &team.name);
    match team.or(consumer.map(|consumer| &consumer.name)) {
        Some(name) => Tenant::Named(name.clone()),
        None => Tenant::Address(block_key(head.client())),
    }
}

/// Why a request does not go on.
pub(crate) enum Refused {
    /// A policy, or the body itself.
    Denied(Denial),
    /// A judge failed.
    Faulted(Arc<str>, bartizan_model::Fault),
}

/// Policies that bite, in their order.
pub(crate) struct Bench {
    judges: Vec<Judge>,
    schemas: Vec<Arc<SchemaPlan>>,
    /// Whose bodies they are.
    tenant: Tenant,
}

/// What goes on after the request was judged.
pub(crate) struct Examined {
    pub(crate) body: RequestBody,
    /// Those who judge the answer too.
    pub(crate) bench: Option<Box<Bench>>,
}

impl Bench {
    /// Takes the policies of a route and of the caller apart into those that bite and those that watch.
    pub(crate) fn open(
        shared: &mut Shared,
        head: &RequestHead,
        plan: &RoutePlan,
        consumer: Option<&ConsumerPlan>,
    ) -> Self {
        let now = match &shared.rehearsing {
            Some(given) => given.unix_ms(Stage::Inspect) / 1000,
            None => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        };
        let is_prose = plan.action.asks_a_model();
        let copy = HeadCopy::of(head, shared.id.as_str(), now).with_prose(is_prose);
        let (mut judges, mut watchers) = (Vec::new(), Vec::new());
        for policy in policies(plan, consumer) {
            match mode_for(shared, policy.bite, head) {
                Mode::Enforce => judges.push(Judge::new(policy.clone(), &copy)),
                Mode::Shadow => watchers.push(policy.clone()),
                Mode::Off => {}
            }
        }
        let (mut schemas, mut watching_schemas) = (Vec::new(), Vec::new());
        for policy in &plan.schemas {
            match mode_for(shared, policy.bite, head) {
                Mode::Enforce => schemas.push(policy.clone()),
                Mode::Shadow => watching_schemas.push(policy.clone()),
                Mode::Off => {}
            }
        }
        if !watchers.is_empty() || !watching_schemas.is_empty() {
            let live = shared.live.clone();
            let watchers = Watchers { rules: watchers, schemas: watching_schemas };
            match Watching::begin(&shared.core, live.clone(), watchers, copy) {
                Ok(watching) => shared.record.watch_inspection(watching),
                Err(unwatched) => {
                    let core = shared.core.clone();
                    unwatched.incomplete(
                        &core,
                        &live,
                        &mut shared.record,
                        "too many exchanges are being watched",
                    );
                }
            }
        }
        Bench { judges, schemas, tenant: tenant(consumer, head) }
    }

    /// Room for a body, counted as its connection's and its tenant's.
    pub(crate) fn held(&self, shared: &Shared) -> Held {
        shared.core.held.nothing_of(&shared.connection.watch.held, self.tenant.clone())
    }

    /// Judges head and body of a request.
    pub(crate) async fn request(
        self,
        shared: &mut Shared,
        head: &RequestHead,
        incoming: Option<Inbound>,
        body: (u64, BodyWatch),
    ) -> Result<Examined, Refused> {
        let examined = self.examine(shared, head, incoming, body).await;
        if shared.rehearsing.is_some()
            && let Some(watching) = shared.record.take_watching()
        {
            // Nothing waits behind a rehearsal, and its record is read at once.
            watching.judge_now(&shared.core.clone(), &mut shared.record).await;
        }
        examined
    }

    async fn examine(
        mut self,
        shared: &mut Shared,
        head: &RequestHead,
        incoming: Option<Inbound>,
        (bytes_max, body_watch): (u64, BodyWatch),
    ) -> Result<Examined, Refused> {
        let has_body = incoming.is_some();
        if let Err(refused) = self.head(shared).await {
            if let (true, Some(watching)) = (has_body, shared.record.watching()) {
                watching.has_not_read();
            }
            return Err(refused);
        }
        let body = match incoming {
            None => {
                self.without_body(shared).await?;
                RequestBody::Empty
            }
            Some(incoming) => {
                let body = Unjudged::new(incoming, &shared.connection, bytes_max, body_watch);
                self.body(shared, head, body).await?
            }
        };
        self.judges.retain(|judge| judge.plan.response.is_some());
        Ok(Examined { body, bench: (!self.judges.is_empty()).then(|| Box::new(self)) })
    }

    async fn head(&mut self, shared: &mut Shared) -> Result<(), Refused> {
        for judge in &mut self.judges {
            let ran = judge.run().await;
            // Who judges answers alone only remembers what the request was.
            if judge.plan.request.is_some() || ran.is_err() {
                weigh(shared, judge, ran.err(), Half::Request)?;
            } else {
                judge.skip_told();
            }
        }
        Ok(())
    }

    async fn without_body(&mut self, shared: &mut Shared) -> Result<(), Refused> {
        self.rules_without_body(shared).await?;
        match self.schemas.iter().find(|schema| schema.required) {
            Some(schema) => Err(object(shared, schema, Objection::missing(schema))),
            None => Ok(()),
        }
    }

    async fn rules_without_body(&mut self, shared: &mut Shared) -> Result<(), Refused> {
        for judge in self.judges.iter_mut().filter(|judge| judge.plan.request.is_some()) {
            let ran = judge.run_body(shared.core.runtime.judges(), nothing(Half::Request)).await;
            weigh(shared, judge, ran.err(), Half::Request)?;
            count(shared, judge);
        }
        Ok(())
    }

    /// Judges a body by everybody who reads it.
    async fn body(
        &mut self,
        shared: &mut Shared,
        head: &RequestHead,
        body: Box<Unjudged>,
    ) -> Result<RequestBody, Refused> {
        let encoded = is_encoded(head.headers());
        let announced = head.framing().length();
        let mut most: Option<usize> = None;
        let mut least = usize::MAX;
        for judge in &self.judges {
            let Some(plan) = reads(judge) else { continue };
            if encoded && !plan.encoded_passes {
                let denial = Denial::new(Reason::InspectionIncomplete)
                    .because("its body is in a content coding, which is not read");
                return Err(deny(shared, judge, denial));
            }
            if encoded {
                continue;
            }
            let is_over = announced.is_some_and(|bytes| bytes > plan.bytes_max as u64);
            match plan.oversize {
                Oversize::Deny if is_over => return Err(deny(shared, judge, too_large(plan))),
                Oversize::Deny => least = least.min(plan.bytes_max),
                Oversize::Pass if is_over => continue,
                Oversize::Pass | Oversize::JudgeStart => {}
            }
            most = Some(most.map_or(plan.bytes_max, |most| most.max(plan.bytes_max)));
        }
        for schema in self.schemas.clone() {
            if !is_json(head.headers()) {
                if schema.others_pass {
                    continue;
                }
                return Err(object(shared, &schema, Objection::other_type(&schema)));
            }
            if encoded {
                let denial = Denial::new(Reason::InspectionIncomplete)
                    .because("its body is in a content coding, which is not read");
                return Err(refuse(shared, &schema.label, denial));
            }
            if announced.is_some_and(|bytes| bytes > schema.bytes_max as u64) {
                return Err(refuse(shared, &schema.label, longer(schema.bytes_max)));
            }
            least = least.min(schema.bytes_max);
            most = Some(most.map_or(schema.bytes_max, |most| most.max(schema.bytes_max)));
        }
        let Some(most) = most else {
            // Nobody who bites reads it: it passes as it comes.
            let core = shared.core.clone();
            let copy =
                shared.record.watching().and_then(|watching| watching.copy_request(&core, head.headers()));
            self.rules_without_body(shared).await?;
            return Ok(RequestBody::Unjudged(match copy {
                Some(copy) => body.copied(copy),
                None => body,
            }));
        };
        let (read, held) = self.read(shared, body, most.min(least)).await?;
        let (bytes, rest) = match read {
            Read::Whole(bytes) => (bytes, None),
            Read::Start(bytes, rest) => (bytes, Some(rest)),
        };
        if let Some(watching) = shared.record.watching() {
            watching.has_read(bytes.clone(), rest.is_some());
        }
        self.judge_body(shared, &bytes, rest.is_some()).await?;
        if is_json(head.headers()) {
            self.judge_form(shared, &bytes, rest.is_some()).await?;
        }
        Ok(match rest {
            None => RequestBody::whole(Whole::of(bytes, held)),
            Some(rest) => RequestBody::Started(bytes, rest.after(held)),
        })
    }

    /// Reads a body as far as it is judged.
    async fn read(
        &self,
        shared: &mut Shared,
        body: Box<Unjudged>,
        bytes_max: usize,
    ) -> Result<(Read<Box<Unjudged>>, Held), Refused> {
        let mut held = self.held(shared);
        let reading = read_request(body, bytes_max, &mut held);
        // A rehearsal has its bodies at once, and no timer.
        let limit = shared.dress.route.as_ref().and_then(|route| route.timeouts.request);
        let limit = limit.filter(|_| shared.rehearsing.is_none());
        let read = match limit {
            None => Ok(reading.await),
            Some(limit) => {
                let left = (shared.record.started + limit).saturating_duration_since(Instant::now());
                within(&shared.connection, left, std::pin::pin!(reading)).await
            }
        };
        let denial = match read {
            Ok(Ok(read)) => return Ok((read, held)),
            Ok(Err(Unread::Broken(Broken::Refused(reason)))) => Denial::new(reason),
            Ok(Err(Unread::Broken(Broken::Gone))) => {
                Denial::new(Reason::MalformedRequest).because("the body broke off")
            }
            Ok(Err(unread @ (Unread::Ended(_) | Unread::NoRoom))) => {
                Denial::new(Reason::Overloaded).because(unread.overload().unwrap_or_default())
            }
            Err(TimeOver) => Denial::new(Reason::RequestTimeout)
                .because("the body did not come within the route's timeouts"),
        };
        if let Some(watching) = shared.record.watching() {
            watching.has_not_read();
        }
        Err(Refused::Denied(denial))
    }

    async fn judge_body(&mut self, shared: &mut Shared, bytes: &Bytes, goes_on: bool) -> Result<(), Refused> {
        for judge in &mut self.judges {
            let Some(half) = judge.plan.request else { continue };
            let is_over = goes_on || bytes.len() > half.bytes_max;
            let piece = match (reads(judge), half.oversize) {
                (None, _) => nothing(Half::Request),
                (Some(_), Oversize::Deny) if is_over => return Err(deny(shared, judge, too_large(half))),
                (Some(_), Oversize::Pass) if is_over => nothing(Half::Request),
                _ => Piece {
                    half: Half::Request,
                    bytes: bytes.slice(..bytes.len().min(half.bytes_max)),
                    is_cut: is_over,
                },
            };
            let ran = judge.run_body(shared.core.runtime.judges(), piece).await;
            weigh(shared, judge, ran.err(), Half::Request)?;
            count(shared, judge);
        }
        Ok(())
    }

    /// Judges what the body looks like.
    async fn judge_form(&mut self, shared: &mut Shared, bytes: &Bytes, goes_on: bool) -> Result<(), Refused> {
        for schema in self.schemas.clone() {
            if goes_on || bytes.len() > schema.bytes_max {
                return Err(refuse(shared, &schema.label, longer(schema.bytes_max)));
            }
            let core = shared.core.clone();
            let policy = shared.live.inspection_ids(&schema.label).policy;
            match schema::judge(core.runtime.judges(), &schema, bytes).await {
                Ok(None) => core.metrics.inspected(policy, Counted::Passed, Mode::Enforce),
                Ok(Some(objection)) => return Err(object(shared, &schema, objection)),
                Err(trouble) => {
                    core.metrics.inspected(policy, Counted::Incomplete, Mode::Enforce);
                    let on_fault = schema.bite.on_fault;
                    match report::trouble(&schema.label, on_fault, trouble, Half::Request) {
                        Outcome::Denied(denial) => return Err(Refused::Denied(denial)),
                        Outcome::Faulted(fault) => {
                            core.metrics.policy_fault(policy, on_fault);
                            return Err(Refused::Faulted(schema.label.clone(), fault));
                        }
                        Outcome::PassedFault(fault) => {
                            core.metrics.policy_fault(policy, on_fault);
                            shared.record.passed_fault(Some(schema.label.clone()), fault);
                        }
                        Outcome::Passed => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Those who judge the answer.
    pub(crate) fn judges(&mut self) -> &mut [Judge] {
        &mut self.judges
    }
}

/// How a policy reads the body of this request, if it does.
fn reads(judge: &Judge) -> Option<BodyPlan> {
    judge.plan.request.filter(|_| judge.session().is_ok_and(bartizan_inspect::Session::reads_request_body))
}

fn too_large(plan: BodyPlan) -> Denial {
    longer(plan.bytes_max)
}

fn longer(bytes_max: usize) -> Denial {
    Denial::new(Reason::BodyTooLarge).because(format!("more than the {bytes_max} bytes that are judged"))
}

/// Refuses for a schema, and tells the caller what is wrong.
fn object(shared: &mut Shared, plan: &SchemaPlan, objection: Objection) -> Refused {
    shared.dress.violations = objection.violations;
    refuse(shared, &plan.label, objection.denial)
}

/// Refuses by a policy that is no rule.
fn refuse(shared: &mut Shared, label: &Arc<str>, denial: Denial) -> Refused {
    if let Some(watching) = shared.record.watching() {
        watching.has_not_read();
    }
    let counted =
        if denial.reason == Reason::InspectionIncomplete { Counted::Incomplete } else { Counted::Refused };
    shared.core.metrics.inspected(shared.live.inspection_ids(label).policy, counted, Mode::Enforce);
    Refused::Denied(denial.by(label.clone()))
}

/// Refuses without a rule.
pub(crate) fn deny(shared: &mut Shared, judge: &Judge, denial: Denial) -> Refused {
    if let Some(watching) = shared.record.watching() {
        watching.has_not_read();
    }
    let outcome = Outcome::Denied(denial.by(judge.plan.label.clone()));
    outcome.count(&shared.core, &shared.live, &judge.plan);
    match outcome {
        Outcome::Denied(denial) => Refused::Denied(denial),
        _ => Refused::Denied(Denial::new(Reason::InternalError)),
    }
}

/// Writes down what a judge found so far, and carries its decision out.
pub(crate) fn weigh(
    shared: &mut Shared,
    judge: &mut Judge,
    trouble: Option<super::pool::Trouble>,
    half: Half,
) -> Result<(), Refused> {
    let plan = judge.plan.clone();
    let trouble = trouble.or(judge.session().err());
    let outcome = match (trouble, judge.session()) {
        (Some(trouble), _) | (None, Err(trouble)) => report::troubled(&plan, trouble, half),
        (None, Ok(session)) => {
            let verdict = session.verdict();
            let live = shared.live.clone();
            for told in report::matches(&live, &plan.label, verdict, (judge.told, half), false) {
                shared.record.rules.push(told);
            }
            let told = verdict.matches.len();
            let seen = verdict.incomplete.len();
            let outcome = if session.decision().is_refusal() {
                report::outcome(&plan, verdict, half, judge.forgiven)
            } else {
                Outcome::Passed
            };
            judge.told = told;
            judge.forgiven = seen;
            outcome
        }
    };
    if !matches!(outcome, Outcome::Passed) {
        outcome.count(&shared.core, &shared.live, &plan);
    }
    match outcome {
        Outcome::Passed => Ok(()),
        Outcome::PassedFault(fault) => {
            shared.record.passed_fault(Some(plan.label.clone()), fault);
            Ok(())
        }
        Outcome::Denied(denial) => Err(Refused::Denied(denial)),
        Outcome::Faulted(fault) => Err(Refused::Faulted(plan.label.clone(), fault)),
    }
}

/// Carries out what it means that a part of a judgement failed.
pub(crate) fn weigh_trouble(
    shared: &mut Shared,
    judge: &Judge,
    trouble: super::pool::Trouble,
    half: Half,
) -> Result<(), Refused> {
    let outcome = report::troubled(&judge.plan, trouble, half);
    outcome.count(&shared.core, &shared.live, &judge.plan);
    match outcome {
        Outcome::Passed => Ok(()),
        Outcome::PassedFault(fault) => {
            shared.record.passed_fault(Some(judge.plan.label.clone()), fault);
            Ok(())
        }
        Outcome::Denied(denial) => Err(Refused::Denied(denial)),
        Outcome::Faulted(fault) => Err(Refused::Faulted(judge.plan.label.clone(), fault)),
    }
}

/// Counts a message that passed.
pub(crate) fn count(shared: &Shared, judge: &Judge) {
    if judge.session().is_ok_and(|session| session.verdict().incomplete.is_empty()) {
        Outcome::Passed.count(&shared.core, &shared.live, &judge.plan);
    }
}

impl std::fmt::Debug for Bench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let policies: Vec<&InspectionPlan> = self.judges.iter().map(|judge| &*judge.plan).collect();
        f.debug_struct("Bench").field("policies", &policies).finish()
    }
}
