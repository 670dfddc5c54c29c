//! API keys of consumers: made and shown once, listed without their secrets, withdrawn.

use std::collections::HashSet;

use axum::{
    Json,
    extract::{Path, State},
};
use bartizan_config::Set;
use bartizan_identity::{KeyId, KeyText};
use bartizan_model::document::Kind;
use bartizan_store::{KeyFilter, KeyRow, NewKey};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    App,
    auth::{Caller, MakeKeys, May, ReadKeys, RevokeKeys},
    body::{Asked, Body},
    documents::read,
    now_ms,
    problem::Problem,
    revisions::moment,
    trail::Deed,
};

/// An API key, without its secret. Times are RFC 3339.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyView {
    /// Its id.
    id: String,
    /// Whose it is.
    consumer: String,
    /// What it is for.
    label: Option<String>,
    /// `active`, `expired`, `pending` or `revoked`.
    state: &'static str,
    /// When it was made.
    created_at: String,
    /// Who made it.
    created_by: Option<String>,
    /// From when it is valid no more.
    expires_at: Option<String>,
    /// When it was revoked.
    revoked_at: Option<String>,
    /// When it was last used.
    last_used_at: Option<String>,
}

impl KeyView {
    pub(super) fn of(row: &KeyRow) -> Self {
        KeyView {
            id: row.id.as_str().to_owned(),
            consumer: row.consumer.clone(),
            label: row.label.clone(),
            state: row.standing(now_ms()).as_str(),
            created_at: moment(row.created_at_ms),
            created_by: row.created_by.clone(),
            expires_at: row.expires_at_ms.map(moment),
            revoked_at: row.revoked_at_ms.map(moment),
            last_used_at: row.last_used_at_ms.map(moment),
        }
    }
}

/// A key that was just made.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewKeyView {
    /// Its text, shown this once.
    key: String,
    /// Everything else about it.
    #[serde(flatten)]
    row: KeyView,
}

impl NewKeyView {
    pub(super) fn of(row: &KeyRow, text: &KeyText) -> Self {
        NewKeyView { key: text.expose().to_owned(), row: KeyView::of(row) }
    }
}

/// Keys, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyPage {
    /// The keys.
    keys: Vec<KeyView>,
    /// What `after` is on the next page, where there is one: the id of the last key.
    next: Option<String>,
}

/// Which keys.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedKeys {
    /// Only this consumer's.
    consumer: Option<String>,
    /// Only those made after this one: `next` of the page before.
    after: Option<String>,
    /// At most so many, up to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct MadeKey {
    /// Whose it is.
    consumer: String,
    /// What it is for.
    label: Option<String>,
    /// After how many seconds it is valid no more.
    expires_in_seconds: Option<u64>,
}

/// Lists keys.
#[utoipa::path(get, path = "/admin/v1/keys", tag = "keys", security(("token" = [])), params(WantedKeys),
    responses((status = 200, body = KeyPage), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<App>,
    may: May<ReadKeys>,
    Asked(wanted): Asked<WantedKeys>,
) -> Result<Json<KeyPage>, Problem> {
    let owners = Owners::of(&app, &may.caller).await?;
    let keys = app.api.store().await?.keys();
    let after = match wanted.after.as_deref() {
        Some(id) => Some(keys.show(&id_of(id)?).await?.cursor()),
        None => None,
    };
    let limit = wanted.limit.unwrap_or(100).clamp(1, 1000);
    let page = keys.list(KeyFilter { consumer: wanted.consumer.as_deref(), after, limit }).await?;
    let next = page.next.and(page.rows.last()).map(|row| row.id.as_str().to_owned());
    Ok(Json(KeyPage {
        keys: page.rows.iter().filter(|row| owners.has(&row.consumer)).map(KeyView::of).collect(),
        next,
    }))
}

/// Makes a key. Its text is in this answer and nowhere else.
#[utoipa::path(post, path = "/admin/v1/keys", tag = "keys", security(("token" = [])), request_body = MadeKey,
    responses((status = 201, body = NewKeyView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(app): State<App>,
    may: May<MakeKeys>,
    Body(body): Body<MadeKey>,
) -> Result<(StatusCode, Json<NewKeyView>), Problem> {
    let store = app.api.store().await?;
    if !Owners::of(&app, &may.caller).await?.has(&body.consumer) {
        let title = "The consumer is out of your scope.";
        return Err(Problem::new(StatusCode::FORBIDDEN, "OutOfScope", title));
    }
    let deed = Deed { action: "key.create", target: &body.consumer, before: "", reason: "" };
    let now = now_ms();
    let new = NewKey {
        consumer: &body.consumer,
        label: body.label.as_deref(),
        expires_at_ms: body
            .expires_in_seconds
            .map(|seconds| now.saturating_add(seconds.saturating_mul(1000))),
        created_by: Some(may.caller.author()),
    };
    let work = async { Ok(store.keys().create(new, now).await?) };
    let (row, text) = deed.record(store, &may.caller, work, |(row, _)| row.id.as_str().to_owned()).await?;
    Ok((StatusCode::CREATED, Json(NewKeyView { key: text.expose().to_owned(), row: KeyView::of(&row) })))
}

/// Shows a key.
#[utoipa::path(get, path = "/admin/v1/keys/{id}", tag = "keys", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 200, body = KeyView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn show(
    State(app): State<App>,
    may: May<ReadKeys>,
    Path(id): Path<String>,
) -> Result<Json<KeyView>, Problem> {
    let row = app.api.store().await?.keys().show(&id_of(&id)?).await?;
    Owners::of(&app, &may.caller).await?.must_have(&row.consumer)?;
    Ok(Json(KeyView::of(&row)))
}

/// Withdraws a key for good; doing it again changes nothing.
#[utoipa::path(post, path = "/admin/v1/keys/{id}/revoke", tag = "keys", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 200, body = KeyView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn revoke(
    State(app): State<App>,
    may: May<RevokeKeys>,
    Path(id): Path<String>,
) -> Result<Json<KeyView>, Problem> {
    let store = app.api.store().await?;
    let id = id_of(&id)?;
    let owners = Owners::of(&app, &may.caller).await?;
    if owners.are_some() {
        owners.must_have(&store.keys().show(&id).await?.consumer)?;
    }
    let deed = Deed { action: "key.revoke", target: id.as_str(), before: "", reason: "" };
    let work = async { Ok(store.keys().revoke(&id, now_ms()).await?) };
    let gone = deed.record(store, &may.caller, work, |gone| gone.row.consumer.clone()).await?;
    Ok(Json(KeyView::of(&gone.row)))
}

/// Whose keys a caller may see and change: everybody's, or those of the Consumers in force that their scope reaches.
pub(super) struct Owners(Option<HashSet<String>>);

impl Owners {
    pub(super) async fn of(app: &App, caller: &Caller) -> Result<Self, Problem> {
        if !caller.is_narrow() {
            return Ok(Owners(None));
        }
        let caller = caller.clone();
        let look = move |set: &Set| {
            let seen = set
                .documents
                .iter()
                .filter(|document| document.kind() == Kind::Consumer && caller.reaches(document));
            seen.map(|document| document.name.to_string()).collect()
        };
        read(app, None, look).await.map(|(_, seen)| Owners(Some(seen)))
    }

    fn are_some(&self) -> bool {
        self.0.is_some()
    }

    fn has(&self, consumer: &str) -> bool {
        self.0.as_ref().is_none_or(|seen| seen.contains(consumer))
    }

    /// What is out of scope is not there.
    pub(super) fn must_have(&self, consumer: &str) -> Result<(), Problem> {
        if self.has(consumer) { Ok(()) } else { Err(Problem::missing("There is no key of this id.")) }
    }
}

/// An id alone: a whole key in a URL would stand in logs.
pub(super) fn id_of(text: &str) -> Result<KeyId, Problem> {
    KeyId::parse(text).ok_or_else(|| Problem::missing("There is no key of this id."))
}
