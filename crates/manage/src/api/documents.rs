//! What is in force, or was: documents, and what they publish.

use std::collections::HashSet;

use axum::{
    Json,
    extract::{Path, State},
};
use bartizan_config::{
    Set,
    compare::{Reach, Side, compare},
    source::Sources,
};
use bartizan_model::document::{API_VERSION, Document, Kind};
use bartizan_store::RevisionRef;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{
    App,
    auth::{May, ReadDocuments},
    body::{Asked, revision},
    problem::Problem,
};

/// Which documents.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Of this revision; the active one where absent.
    revision: Option<String>,
    /// Of this kind.
    kind: Option<String>,
    /// How many to pass over: `next` of the page before.
    #[serde(default)]
    offset: u64,
    /// At most so many, up to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u64>,
}

/// Of which revision.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfRevision {
    /// Of this revision; the active one where absent.
    revision: Option<String>,
}

/// A page of documents, by kind and name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DocumentPage {
    /// The revision's tag.
    revision: String,
    /// The documents.
    #[schema(value_type = Vec<Object>)]
    documents: Vec<Value>,
    /// What `offset` is on the next page, where there is one.
    next: Option<u64>,
}

/// Everything that can be reached.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RoutesView {
    /// The revision's tag.
    revision: String,
    /// What is published, by listener, host and path, with what guards it.
    #[schema(value_type = Vec<Object>)]
    routes: Vec<Reach>,
}

/// Lists documents.
#[utoipa::path(get, path = "/admin/v1/documents", tag = "documents", security(("token" = [])), params(Wanted),
    responses((status = 200, body = DocumentPage), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<App>,
    may: May<ReadDocuments>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<DocumentPage>, Problem> {
    let kind = wanted.kind.as_deref().map(kind).transpose()?;
    let limit = usize::try_from(wanted.limit.unwrap_or(100).clamp(1, 1000)).unwrap_or(100);
    let offset = usize::try_from(wanted.offset).unwrap_or(usize::MAX);
    let page = move |set: &Set| {
        let mut documents: Vec<&Document> =
            set.documents.iter().filter(|document| kind.is_none_or(|kind| document.kind() == kind)).collect();
        documents.retain(|document| may.caller.reaches(document));
        documents.sort_by_key(|document| (document.kind(), document.name.as_str()));
        let part = documents.get(offset..).unwrap_or_default();
        let next = (part.len() > limit).then(|| offset.saturating_add(limit) as u64);
        (part.iter().take(limit).map(|document| view(document)).collect(), next)
    };
    let (revision, (documents, next)) = read(&app, wanted.revision.as_deref(), page).await?;
    Ok(Json(DocumentPage { revision, documents, next }))
}

/// Shows a document.
#[utoipa::path(get, path = "/admin/v1/documents/{kind}/{name}", tag = "documents", security(("token" = [])),
    params(("kind" = String, Path), ("name" = String, Path), OfRevision),
    responses((status = 200, body = Object), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn show(
    State(app): State<App>,
    may: May<ReadDocuments>,
    Path((word, name)): Path<(String, String)>,
    Asked(of): Asked<OfRevision>,
) -> Result<Json<Value>, Problem> {
    let kind = kind(&word)?;
    let find = move |set: &Set| {
        let is_meant = |document: &&Document| document.kind() == kind && document.name.as_str() == name;
        set.documents.iter().find(is_meant).filter(|document| may.caller.reaches(document)).map(view)
    };
    let (revision, found) = read(&app, of.revision.as_deref(), find).await?;
    let missing = || Problem::missing(format!("Revision {revision} has no such document."));
    found.map(Json).ok_or_else(missing)
}

/// Shows what is published, and what guards it.
#[utoipa::path(get, path = "/admin/v1/routes", tag = "documents", security(("token" = [])), params(OfRevision),
    responses((status = 200, body = RoutesView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn routes(
    State(app): State<App>,
    may: May<ReadDocuments>,
    Asked(of): Asked<OfRevision>,
) -> Result<Json<RoutesView>, Problem> {
    // Against nothing, everything that is published is opened.
    let surface = move |set: &Set| {
        let mut opened = Side::of(set).map(|side| compare(None, side).opened).unwrap_or_default();
        if may.caller.is_narrow() {
            let is_seen =
                |document: &&Document| document.kind() == Kind::Route && may.caller.reaches(document);
            let seen: HashSet<&str> =
                set.documents.iter().filter(is_seen).map(|document| document.name.as_str()).collect();
            // A rule is labelled `route` or `route/rule`.
            opened.retain(|reach| reach.route.split('/').next().is_some_and(|name| seen.contains(name)));
        }
        opened
    };
    let (revision, routes) = read(&app, of.revision.as_deref(), surface).await?;
    Ok(Json(RoutesView { revision, routes }))
}

/// Compiles a revision and looks at it, away from the threads that answer. Where files are served, the active revision
/// is what they say.
pub(crate) async fn read<T: Send + 'static>(
    app: &App,
    which: Option<&str>,
    look: impl FnOnce(&Set) -> T + Send + 'static,
) -> Result<(String, T), Problem> {
    let which = revision(which.unwrap_or("active"))?;
    if let (RevisionRef::Active, Some(set)) = (&which, app.management.served.now().set) {
        let tag = set.digest.chars().take(DIGEST_CHARS).collect();
        let looked = tokio::task::spawn_blocking(move || look(&set)).await.map_err(|_| unread())?;
        return Ok((tag, looked));
    }
    let found = app.api.store().await?.revisions().get(&which).await?;
    let _place = app.api.compiling.acquire().await;
    let work = move || {
        look(&Set::from_sources(Sources::kept(found.files.into_iter().map(|file| (file.name, file.text)))))
    };
    let looked = tokio::task::spawn_blocking(work).await.map_err(|_| unread())?;
    Ok((found.row.tag(), looked))
}

fn unread() -> Problem {
    let title = "The revision could not be read; the log of the gateway says why.";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", title)
}

/// As snapshots and logs name a set.
const DIGEST_CHARS: usize = 12;

fn kind(word: &str) -> Result<Kind, Problem> {
    let found = Kind::ALL.iter().find(|kind| kind.as_str() == word || kind.plural() == word);
    found.copied().ok_or_else(|| Problem::missing("There is no kind of this name."))
}

/// A document as it would be written.
fn view(document: &Document) -> Value {
    let mut metadata = serde_json::to_value(&document.metadata).unwrap_or_default();
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("name".to_owned(), document.name.as_str().into());
    }
    json!({
        "apiVersion": API_VERSION,
        "kind": document.kind().as_str(),
        "metadata": metadata,
        "spec": document.spec,
    })
}
