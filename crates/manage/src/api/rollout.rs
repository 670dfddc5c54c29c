//! Rollouts: try a revision beside the active one, look at it, and decide.
//!
//! As with revisions, a rollout is begun by who saw what is active (`If-Match`), is judged before it begins, and stands in the
//! audit trail. It is about all callers, so nobody who is held to some documents may look at it or move it.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use bartizan_config::{
    compare::Comparison,
    rollout::{Course, Phase, RolloutPlan},
};
use bartizan_store::{Error, NewMove, NewRevision, NewRollout, RevisionRow, RolloutRow, Standing, Store};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    App,
    auth::{Apply, Caller, May, ReadDocuments},
    body::{Body, expected, revision},
    now_ms,
    problem::Problem,
    revisions::{Candidate, FileView, base, candidate, refuse, refuse_on_files, views},
    trail::Deed,
};
use crate::rollout::{Order, RolloutTerms, RolloutView, standing, view};

/// A rollout to be planned or begun.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RolloutAsked {
    /// The revision to try: its number, tag, or seven digits of its digest. Or `files`.
    revision: Option<String>,
    /// The texts to try, which become a revision that is not active yet. Or `revision`.
    files: Option<Vec<FileView>>,
    /// Why.
    reason: String,
    /// How.
    #[serde(default)]
    terms: RolloutTerms,
    /// Try it although its PolicyTests fail, and why. The revision and the audit trail keep it.
    even_if_tests_fail: Option<String>,
}

/// What a rollout would try, and how.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RolloutPlanned {
    /// The digest of the set that would be tried.
    digest: String,
    /// The tag of the active revision.
    base: String,
    /// Why it could not be begun; failing tests are among it.
    refused: Vec<String>,
    /// What would happen.
    #[schema(value_type = Object)]
    plan: RolloutPlan,
    /// Documents, reach and what becomes weaker or stronger.
    #[schema(value_type = Object)]
    changes: Comparison,
}

/// Why a rollout is moved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RolloutMoved {
    /// Why.
    reason: String,
    /// The rollout that is meant; the one that is under way where absent.
    rollout: Option<u64>,
}

/// Tells where the rollout stands that is under way, else the last one: what was seen, and by whom it was felt.
#[utoipa::path(get, path = "/admin/v1/rollout", tag = "revisions", security(("token" = [])),
    responses((status = 200, body = RolloutView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn status(
    State(app): State<App>,
    may: May<ReadDocuments>,
) -> Result<Json<RolloutView>, Problem> {
    for_everything(&may.caller)?;
    let store = app.api.store().await?;
    let row = store.rollouts().latest().await?.ok_or(Error::RolloutNone)?;
    shown(store, &row).await.map(Json)
}

/// Tells what a rollout would try and how, without beginning it.
#[utoipa::path(post, path = "/admin/v1/rollout/plan", tag = "revisions", security(("token" = [])),
    request_body = RolloutAsked,
    responses((status = 200, body = RolloutPlanned),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn plan(
    State(app): State<App>,
    may: May<ReadDocuments>,
    Body(body): Body<RolloutAsked>,
) -> Result<Json<RolloutPlanned>, Problem> {
    for_everything(&may.caller)?;
    let plan = planned(&body.terms)?;
    let store = app.api.store().await?;
    let active = store.revisions().active().await?.ok_or(Error::RevisionNone)?;
    let (candidate, _) = read(&app, store, &may.caller, (&body.revision, body.files), &active).await?;
    let mut refused: Vec<String> = candidate.against.standing(false).map(str::to_owned).collect();
    refused.extend(equal(&candidate, &active));
    if let Some(open) = store.rollouts().latest().await?.filter(is_open) {
        refused.push(Error::RolloutOpen { number: open.number }.to_string());
    }
    let digest = candidate.digest.hex();
    Ok(Json(RolloutPlanned { digest, base: active.tag(), refused, plan, changes: candidate.changes }))
}

/// Begins to try a revision beside the active one.
#[utoipa::path(post, path = "/admin/v1/rollout", tag = "revisions", security(("token" = [])),
    request_body = RolloutAsked,
    params(("If-Match" = Option<String>, Header, description = "The ETag of the active revision")),
    responses((status = 201, body = RolloutView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn start(
    State(app): State<App>,
    may: May<Apply>,
    headers: HeaderMap,
    Body(body): Body<RolloutAsked>,
) -> Result<Response, Problem> {
    for_everything(&may.caller)?;
    let store = app.api.store().await?;
    let active = store.revisions().active().await?;
    let before = active.as_ref().map(RevisionRow::tag).unwrap_or_default();
    let why = match &body.even_if_tests_fail {
        Some(waiver) => format!("{} [even if tests fail: {waiver}]", body.reason),
        None => body.reason.clone(),
    };
    let deed = Deed { action: "rollout.start", target: "rollouts", before: &before, reason: &why };
    let work = begin(&app, store, &may.caller, (&headers, active), body);
    let row = deed.record(store, &may.caller, work, |row| format!("rollout {}", row.number)).await?;
    Ok((StatusCode::CREATED, Json(shown(store, &row).await?)).into_response())
}

async fn begin(
    app: &App,
    store: &Store,
    caller: &Caller,
    (headers, active): (&HeaderMap, Option<RevisionRow>),
    body: RolloutAsked,
) -> Result<RolloutRow, Problem> {
    refuse_on_files(app)?;
    let plan = planned(&body.terms)?;
    expected(headers, active.as_ref())?;
    let active = active.ok_or(Error::RevisionNone)?;
    let (candidate, known) = read(app, store, caller, (&body.revision, body.files), &active).await?;
    let waiver = body.even_if_tests_fail.as_deref();
    refuse(&candidate.against, waiver)?;
    if let Some(same) = equal(&candidate, &active) {
        return Err(Problem::new(StatusCode::CONFLICT, "Conflict", same));
    }
    let revision = match known {
        Some(row) => row,
        None => {
            let reason = candidate.against.reason(&body.reason, waiver);
            let new = NewRevision {
                files: &candidate.files,
                digest: candidate.digest,
                documents: candidate.documents,
                author: caller.author(),
                reason: &reason,
            };
            store.revisions().propose(new, now_ms()).await?
        }
    };
    let now = now_ms();
    // It has no map whose keys are not text, so this cannot fail.
    let text = serde_json::to_string(&plan).unwrap_or_default();
    let new = NewRollout {
        candidate: revision.number,
        base: active.number,
        plan: &text,
        standing: standing(&Course::first(&plan, now)),
        author: caller.author(),
        reason: &body.reason,
    };
    Ok(store.rollouts().begin(new, now).await?)
}

/// Makes the candidate of the rollout the active revision now.
#[utoipa::path(post, path = "/admin/v1/rollout/promote", tag = "revisions", security(("token" = [])),
    request_body = RolloutMoved,
    responses((status = 200, body = RolloutView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn promote(
    State(app): State<App>,
    may: May<Apply>,
    Body(body): Body<RolloutMoved>,
) -> Result<Json<RolloutView>, Problem> {
    carry_out(&app, &may.caller, Order::Promote, body).await
}

/// Ends the rollout: the active revision serves everybody.
#[utoipa::path(post, path = "/admin/v1/rollout/abort", tag = "revisions", security(("token" = [])),
    request_body = RolloutMoved,
    responses((status = 200, body = RolloutView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn abort(
    State(app): State<App>,
    may: May<Apply>,
    Body(body): Body<RolloutMoved>,
) -> Result<Json<RolloutView>, Problem> {
    carry_out(&app, &may.caller, Order::Abort, body).await
}

/// Goes on with the rollout after a pause, with the step in which it paused.
#[utoipa::path(post, path = "/admin/v1/rollout/resume", tag = "revisions", security(("token" = [])),
    request_body = RolloutMoved,
    responses((status = 200, body = RolloutView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn resume(
    State(app): State<App>,
    may: May<Apply>,
    Body(body): Body<RolloutMoved>,
) -> Result<Json<RolloutView>, Problem> {
    carry_out(&app, &may.caller, Order::Resume, body).await
}

async fn carry_out(
    app: &App,
    caller: &Caller,
    order: Order,
    body: RolloutMoved,
) -> Result<Json<RolloutView>, Problem> {
    for_everything(caller)?;
    let store = app.api.store().await?;
    let row = store.rollouts().latest().await?.ok_or(Error::RolloutNone)?;
    let target = format!("rollout {}", row.number);
    let deed = Deed { action: order.action(), target: &target, before: &row.phase, reason: &body.reason };
    let work = async {
        refuse_on_files(app)?;
        let conflict = |title: String| Problem::new(StatusCode::CONFLICT, "Conflict", title);
        if let Some(meant) = body.rollout.filter(|meant| *meant != row.number) {
            return Err(conflict(format!("Rollout {meant} is not the last one: that is {}.", row.number)));
        }
        let (phase, step) = order.next(&row).map_err(conflict)?;
        let actor = caller.actor();
        let to = Standing { phase: phase.as_str(), step };
        let next = NewMove { to, actor: &actor, why: &body.reason, activates: phase == Phase::Promoted };
        let moved = store.rollouts().advance(row.number, row.standing(), next, now_ms()).await?;
        moved.ok_or_else(|| conflict("The rollout has moved meanwhile; look at it and try again.".to_owned()))
    };
    let row = deed.record(store, caller, work, |row| row.phase.clone()).await?;
    shown(store, &row).await.map(Json)
}

/// Reads, compiles and compares what is to be tried; with its revision, where it is one already.
async fn read(
    app: &App,
    store: &Store,
    caller: &Caller,
    (which, files): (&Option<String>, Option<Vec<FileView>>),
    active: &RevisionRow,
) -> Result<(Candidate, Option<RevisionRow>), Problem> {
    let (files, known) = match (which, files) {
        (Some(which), None) => {
            let found = store.revisions().get(&revision(which)?).await?;
            (views(found.files), Some(found.row))
        }
        (None, Some(files)) => (files, None),
        _ => return Err(Problem::bad("Name a `revision` or send `files`, one of both.")),
    };
    let base = base(store, Some(active)).await?;
    Ok((candidate(app, caller, files, base).await?, known))
}

fn equal(candidate: &Candidate, active: &RevisionRow) -> Option<String> {
    (candidate.digest == active.digest)
        .then(|| format!("revision {} has these documents already", active.tag()))
}

fn is_open(row: &RolloutRow) -> bool {
    Phase::parse(&row.phase).is_some_and(|phase| !phase.is_over())
}

fn planned(terms: &RolloutTerms) -> Result<RolloutPlan, Problem> {
    terms.plan().map_err(Problem::bad)
}

async fn shown(store: &Store, row: &RolloutRow) -> Result<RolloutView, Problem> {
    view(store, row, now_ms()).await?.ok_or_else(|| {
        let title = "The rollout was begun by another version of the gateway.";
        Problem::new(StatusCode::CONFLICT, "Conflict", title)
    })
}

/// It is about every caller: whoever is held to some documents has no part of it.
fn for_everything(caller: &Caller) -> Result<(), Problem> {
    if caller.is_narrow() {
        let title = "Rollouts are for who may see and change all documents.";
        return Err(Problem::new(StatusCode::FORBIDDEN, "OutOfScope", title));
    }
    Ok(())
}
