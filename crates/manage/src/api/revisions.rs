//! Revisions: what was, what is, what is to be.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use bartizan_config::{
    Set,
    compare::{Comparison, DocumentChange, Side, compare},
    keep::{self, Against},
    rehearsal::Rehearsal,
    render,
    source::Sources,
};
use bartizan_model::{
    document::Document,
    problem::{Problems, Severity},
};
use bartizan_store::{
    Error, NewRevision, Put, Revision, RevisionFile, RevisionRef, RevisionRow, Rollback, SetDigest, Store,
};
use bartizan_telemetry::time::Rfc3339;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{
    App, DocumentSource,
    auth::{Apply, Caller, May, ReadDocuments},
    body::{Asked, Body, Page, expected, revision},
    now_ms,
    problem::Problem,
    trail::Deed,
};

/// A text of a set.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileView {
    /// Its name, a relative path.
    name: String,
    /// Its text.
    text: String,
}

/// A revision.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RevisionView {
    /// Its number.
    number: u64,
    /// Its tag for `If-Match`, without quotes.
    etag: String,
    /// SHA-256 over its names and texts, in hexadecimal.
    digest: String,
    /// The revision before it.
    parent: Option<u64>,
    /// The revision that it repeats, where it is a rollback.
    restores: Option<u64>,
    /// Who made it.
    author: String,
    /// Why.
    reason: String,
    /// When, RFC 3339.
    created_at: String,
    /// How many files it has.
    files: u64,
    /// How many documents are in them.
    documents: u64,
    /// How many bytes they have together.
    bytes: u64,
    /// What became of it at the gateway.
    outcome: Option<OutcomeView>,
}

/// What became of a revision at the gateway.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OutcomeView {
    /// `live` or `failed`.
    went: &'static str,
    /// Why it failed.
    detail: String,
    /// When, RFC 3339.
    at: String,
}

impl RevisionView {
    pub(crate) fn of(row: &RevisionRow) -> Self {
        RevisionView {
            number: row.number,
            etag: row.tag(),
            digest: row.digest.hex(),
            parent: row.parent,
            restores: row.restores,
            author: row.author.clone(),
            reason: row.reason.clone(),
            created_at: moment(row.created_at_ms),
            files: row.files,
            documents: row.documents,
            bytes: row.bytes,
            outcome: row.outcome.as_ref().map(|outcome| OutcomeView {
                went: outcome.went.as_str(),
                detail: outcome.detail.clone(),
                at: moment(outcome.at_ms),
            }),
        }
    }
}

/// A page of revisions, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevisionPage {
    /// The active one's number.
    active: Option<u64>,
    /// The revisions.
    revisions: Vec<RevisionView>,
    /// What `before` is on the next page, where there is one.
    next: Option<u64>,
}

/// A set to be planned.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Planned {
    /// Its texts in order.
    files: Vec<FileView>,
}

/// A set to become the active revision.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Applied {
    /// Its texts in order.
    files: Vec<FileView>,
    /// Why.
    reason: String,
    /// Apply it although its PolicyTests fail, and why. The revision and the audit trail keep it.
    even_if_tests_fail: Option<String>,
}

/// Why to roll back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RolledBack {
    /// Why.
    reason: String,
}

/// What would change, or has.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanView {
    /// The digest of the set.
    digest: String,
    /// Why it could not be applied though it compiles; failing tests are among it.
    refused: Vec<String>,
    /// Those of its PolicyTests that fail.
    failing_tests: Vec<String>,
    /// Documents, reach and what becomes weaker or stronger.
    #[schema(value_type = Object)]
    changes: Comparison,
}

/// What was made, and what it changes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MadeView {
    /// Whether there is a new revision; not where the active one has the same documents.
    changed: bool,
    /// The active revision.
    revision: RevisionView,
    /// What it changes.
    #[schema(value_type = Object)]
    changes: Comparison,
}

/// A revision with its texts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WholeView {
    /// Everything about it.
    revision: RevisionView,
    /// Its texts, if they were asked for.
    texts: Option<Vec<FileView>>,
}

/// Whether texts are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct WithTexts {
    /// Whether its texts are wanted.
    #[serde(default)]
    texts: bool,
}

/// Lists revisions.
#[utoipa::path(get, path = "/admin/v1/revisions", tag = "revisions", security(("token" = [])), params(Page),
    responses((status = 200, body = RevisionPage), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn history(
    State(app): State<App>,
    _: May<ReadDocuments>,
    Asked(page): Asked<Page>,
) -> Result<Json<RevisionPage>, Problem> {
    let revisions = app.api.store().await?.revisions();
    let active = revisions.active().await?.map(|row| row.number);
    let found = revisions.history(page.before, page.limit()).await?;
    Ok(Json(RevisionPage {
        active,
        revisions: found.rows.iter().map(RevisionView::of).collect(),
        next: found.next,
    }))
}

/// Shows a revision.
#[utoipa::path(get, path = "/admin/v1/revisions/{revision}", tag = "revisions", security(("token" = [])),
    params(("revision" = String, Path, description = "`active`, a number, a tag, or seven digits of a digest"), WithTexts),
    responses((status = 200, body = WholeView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn show(
    State(app): State<App>,
    may: May<ReadDocuments>,
    Path(which): Path<String>,
    Asked(WithTexts { texts }): Asked<WithTexts>,
) -> Result<Response, Problem> {
    if texts && may.caller.is_narrow() {
        let title = "The texts of a revision are for who may see all of its documents.";
        return Err(Problem::new(StatusCode::FORBIDDEN, "OutOfScope", title));
    }
    let which = revision(&which)?;
    let revisions = app.api.store().await?.revisions();
    let (row, files) = if texts {
        let Revision { row, files } = revisions.get(&which).await?;
        (row, Some(files))
    } else {
        (revisions.find(&which).await?, None)
    };
    let texts = files
        .map(|files| files.into_iter().map(|file| FileView { name: file.name, text: file.text }).collect());
    Ok(tagged(StatusCode::OK, &row, &WholeView { revision: RevisionView::of(&row), texts }))
}

/// Tells what applying a set would change, without changing anything.
#[utoipa::path(post, path = "/admin/v1/plan", tag = "revisions", security(("token" = [])), request_body = Planned,
    responses((status = 200, body = PlanView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn plan(
    State(app): State<App>,
    may: May<ReadDocuments>,
    Body(body): Body<Planned>,
) -> Result<Json<PlanView>, Problem> {
    let store = app.api.store().await?;
    let base = base(store, None).await?;
    let candidate = candidate(&app, &may.caller, body.files, base).await?;
    Ok(Json(PlanView {
        digest: candidate.digest.hex(),
        refused: candidate.against.standing(false).map(str::to_owned).collect(),
        failing_tests: candidate.against.failing,
        changes: candidate.changes,
    }))
}

/// Makes a set the active revision.
#[utoipa::path(post, path = "/admin/v1/revisions", tag = "revisions", security(("token" = [])), request_body = Applied,
    params(("If-Match" = Option<String>, Header, description = "The ETag of the active revision"),
        ("If-None-Match" = Option<String>, Header, description = "`*` for the first revision")),
    responses((status = 201, body = MadeView), (status = 200, body = MadeView, description = "The active one has the same documents"),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn apply(
    State(app): State<App>,
    may: May<Apply>,
    headers: HeaderMap,
    Body(body): Body<Applied>,
) -> Result<Response, Problem> {
    let store = app.api.store().await?;
    let active = store.revisions().active().await?;
    let before = active.as_ref().map(RevisionRow::tag).unwrap_or_default();
    let why = match &body.even_if_tests_fail {
        Some(waiver) => format!("{} [even if tests fail: {waiver}]", body.reason),
        None => body.reason.clone(),
    };
    let deed = Deed { action: "revision.apply", target: "revisions", before: &before, reason: &why };
    let work = async {
        refuse_on_files(&app)?;
        let expected = expected(&headers, active.as_ref())?;
        let base = base(store, active.as_ref()).await?;
        let candidate = candidate(&app, &may.caller, body.files, base).await?;
        let waiver = body.even_if_tests_fail.as_deref();
        refuse(&candidate.against, waiver)?;
        let reason = candidate.against.reason(&body.reason, waiver);
        let new = NewRevision {
            files: &candidate.files,
            digest: candidate.digest,
            documents: candidate.documents,
            author: may.caller.author(),
            reason: &reason,
        };
        Ok((store.revisions().put(new, expected, now_ms()).await?, candidate.changes))
    };
    let (put, changes) = deed.record(store, &may.caller, work, |(put, _)| put.row().tag()).await?;
    Ok(made(&put, changes))
}

/// Makes an older revision's documents the active ones again.
#[utoipa::path(post, path = "/admin/v1/revisions/{revision}/rollback", tag = "revisions", security(("token" = [])), request_body = RolledBack,
    params(("revision" = String, Path, description = "The revision to repeat"),
        ("If-Match" = Option<String>, Header, description = "The ETag of the active revision")),
    responses((status = 201, body = MadeView), (status = 200, body = MadeView, description = "The active one has the same documents"),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn roll_back(
    State(app): State<App>,
    may: May<Apply>,
    Path(to): Path<String>,
    headers: HeaderMap,
    Body(body): Body<RolledBack>,
) -> Result<Response, Problem> {
    let store = app.api.store().await?;
    let active = store.revisions().active().await?;
    let before = active.as_ref().map(RevisionRow::tag).unwrap_or_default();
    let deed = Deed { action: "revision.rollback", target: &to, before: &before, reason: &body.reason };
    let work = async {
        refuse_on_files(&app)?;
        let to = revision(&to)?;
        let expected = expected(&headers, active.as_ref())?;
        let base = base(store, active.as_ref()).await?;
        let older = store.revisions().get(&to).await?;
        let files = views(older.files);
        // What does not compile any more could not be served either.
        let candidate = candidate(&app, &may.caller, files, base).await?;
        let rollback = Rollback { to: &to, author: may.caller.author(), reason: &body.reason };
        Ok((store.revisions().roll_back(rollback, expected, now_ms()).await?, candidate.changes))
    };
    let (put, changes) = deed.record(store, &may.caller, work, |(put, _)| put.row().tag()).await?;
    Ok(made(&put, changes))
}

/// Texts as they are sent.
pub(super) fn views(files: Vec<RevisionFile>) -> Vec<FileView> {
    files.into_iter().map(|file| FileView { name: file.name, text: file.text }).collect()
}

fn made(put: &Put, changes: Comparison) -> Response {
    let row = put.row();
    let changed = matches!(put, Put::Made(_));
    let status = if changed { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = tagged(status, row, &MadeView { changed, revision: RevisionView::of(row), changes });
    if let Ok(location) = HeaderValue::try_from(format!("/admin/v1/revisions/{}", row.number)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn tagged(status: StatusCode, row: &RevisionRow, body: &impl Serialize) -> Response {
    let mut response = (status, Json(body)).into_response();
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", row.tag())) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// A gateway on files would never serve a revision; there would be two sources of truth.
pub(super) fn refuse_on_files(app: &App) -> Result<(), Problem> {
    match app.api.source {
        DocumentSource::Store => Ok(()),
        DocumentSource::Files => Err(Problem::new(
            StatusCode::CONFLICT,
            "OnFiles",
            "This gateway takes its documents from files: change those, or run it with --store.",
        )),
    }
}

/// A set that was read, judged and compared.
pub(super) struct Candidate {
    pub(super) files: Vec<RevisionFile>,
    pub(super) digest: SetDigest,
    pub(super) documents: u64,
    pub(super) against: Against,
    pub(super) changes: Comparison,
}

/// The texts that a set is compared with: those of the active revision.
pub(super) async fn base(store: &Store, active: Option<&RevisionRow>) -> Result<Vec<RevisionFile>, Problem> {
    let which = active.map_or(RevisionRef::Active, |row| RevisionRef::Number(row.number));
    match store.revisions().get(&which).await {
        Ok(revision) => Ok(revision.files),
        Err(Error::RevisionNone) => Ok(Vec::new()),
        // A damaged revision must not be in the way of the one that repairs it; everything is new then.
        Err(Error::RevisionDamaged { .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Compiles and compares a set, away from the threads that answer.
pub(super) async fn candidate(
    app: &App,
    caller: &Caller,
    files: Vec<FileView>,
    base: Vec<RevisionFile>,
) -> Result<Candidate, Problem> {
    let caller = caller.clone();
    let _place = app.api.compiling.acquire().await;
    let rehearsal = Arc::clone(&app.api.rehearsal);
    let work = move || judge(&caller, files, base, &*rehearsal);
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        let title = "The set could not be compiled; the log of the gateway says why.";
        Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", title))
    })
}

fn judge(
    caller: &Caller,
    files: Vec<FileView>,
    base: Vec<RevisionFile>,
    rehearsal: &dyn Rehearsal,
) -> Result<Candidate, Problem> {
    let pairs = |files: &[RevisionFile]| -> Vec<(String, String)> {
        files.iter().map(|file| (file.name.clone(), file.text.clone())).collect()
    };
    let files: Vec<RevisionFile> =
        files.into_iter().map(|file| RevisionFile { name: file.name, text: file.text }).collect();
    let set = Set::from_sources(Sources::kept(pairs(&files)));
    let mut problems = keep::problems(&set.sources);
    problems.extend(keep::name_problems(files.iter().map(|file| &*file.name)));
    let mut found = refusing(&set.compiled.problems, &set.sources);
    found.extend(refusing(&problems, &set.sources));
    let Some(after) = Side::of(&set).filter(|_| found.is_empty()) else {
        let title = "The documents have problems.";
        return Err(
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "SetHasProblems", title).with_problems(found)
        );
    };
    let old = Set::from_sources(Sources::kept(pairs(&base)));
    let changes = compare(Side::of(&old), after);
    in_scope(caller, &changes, &old, &set)?;
    Ok(Candidate {
        digest: SetDigest::new(set.sources.digest()),
        documents: set.documents.len() as u64,
        against: keep::reasons_against(&set, rehearsal),
        changes,
        files,
    })
}

/// Refuses a set that something stands against; failing tests unless somebody takes them upon themselves.
pub(super) fn refuse(against: &Against, waiver: Option<&str>) -> Result<(), Problem> {
    let Some(first) = against.standing(waiver.is_some()).next() else { return Ok(()) };
    let code = if against.grounds.is_empty() { "TestsFail" } else { "SetRefused" };
    let failing = against.failing.iter().map(|message| json!({ "message": message }));
    let title = match against.failing.len() {
        0 => first.to_owned(),
        failed => format!("{failed} of {} tests of the set fail.", against.tests),
    };
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, title).with_problems(failing.collect()))
}

/// Who is held to some documents changes those alone, as they were and as they are to be; and is told of no others.
fn in_scope(caller: &Caller, changes: &Comparison, old: &Set, new: &Set) -> Result<(), Problem> {
    if !caller.is_narrow() {
        return Ok(());
    }
    let reaches = |set: &Set, change: &DocumentChange| {
        let is_it = |document: &&Document| {
            document.kind().as_str() == change.kind && document.name.as_str() == change.name
        };
        set.documents.iter().find(is_it).is_none_or(|document| caller.reaches(document))
    };
    let beyond: Vec<Value> = changes
        .documents
        .iter()
        .filter(|change| !(reaches(old, change) && reaches(new, change)))
        .map(|change| json!({ "message": format!("{}/{} is out of your scope", change.kind, change.name) }))
        .collect();
    // A base that does not compile cannot be compared document by document.
    if beyond.is_empty() && (old.documents.is_empty() || Side::of(old).is_some()) {
        return Ok(());
    }
    let title = "The set changes documents that are out of your scope.";
    Err(Problem::new(StatusCode::FORBIDDEN, "OutOfScope", title).with_problems(beyond))
}

fn refusing(problems: &Problems, sources: &Sources) -> Vec<Value> {
    let of = problems.iter().filter(|problem| problem.severity == Severity::Problem);
    of.map(|problem| render::json(problem, sources)).collect()
}

/// A moment in RFC 3339.
pub fn moment(unix_ms: u64) -> String {
    let mut out = Vec::with_capacity(30);
    Rfc3339::default().write(unix_ms.saturating_mul(1_000_000), &mut out);
    String::from_utf8(out).unwrap_or_default()
}
