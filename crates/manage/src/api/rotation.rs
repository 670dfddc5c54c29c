//! API keys that are replaced, offered to their owners, or reported as leaked.

use axum::{
    Json,
    extract::{Path, State},
};
use bartizan_identity::{KeyId, LifeTerms};
use bartizan_store::Rotation;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    App,
    auth::{MakeKeys, May, RevokeKeys},
    keys::{KeyView, NewKeyView, Owners, id_of},
    now_ms,
    problem::Problem,
    revisions::moment,
    trail::Deed,
};

/// A key and the one that replaced it.
#[derive(Serialize, ToSchema)]
pub(crate) struct RotatedView {
    /// The new key; its text is shown this once.
    new: NewKeyView,
    /// The old key, which works on through its overlap.
    old: KeyView,
}

/// A one-time link.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OfferView {
    /// The link, where the consumer's policy has a `claimUrl`.
    link: Option<String>,
    /// Its secret part.
    token: String,
    /// Until when it opens.
    expires_at: String,
}

/// Makes a key's successor by the policy of its consumer; the old key works on through the overlap.
#[utoipa::path(post, path = "/admin/v1/keys/{id}/rotate", tag = "keys", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 201, body = RotatedView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn rotate(
    State(app): State<App>,
    may: May<MakeKeys>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<RotatedView>), Problem> {
    let store = app.api.store().await?;
    let id = id_of(&id)?;
    let row = store.keys().show(&id).await?;
    Owners::of(&app, &may.caller).await?.must_have(&row.consumer)?;
    let (terms, _) = rules(&app, &row.consumer);
    let deed = Deed { action: "key.rotate", target: id.as_str(), before: "", reason: "" };
    let mut text = None;
    let work = async {
        let rotation = Rotation { terms: &terms, expires_at_ms: None, created_by: Some(may.caller.author()) };
        let deliver = |made: &bartizan_identity::KeyText| {
            text = Some(made.clone());
            Ok(())
        };
        Ok(store.keys().rotate(&id, rotation, now_ms(), deliver).await?)
    };
    let done = deed.record(store, &may.caller, work, |done| done.new.id.as_str().to_owned()).await?;
    let text = text.ok_or_else(|| Problem::bad("There is no text of the key."))?;
    let view = RotatedView { new: NewKeyView::of(&done.new, &text), old: KeyView::of(&done.old) };
    Ok((StatusCode::CREATED, Json(view)))
}

/// Makes a one-time link by which the owner of a key takes its successor over. Older links of the key open nothing more.
#[utoipa::path(post, path = "/admin/v1/keys/{id}/offer", tag = "keys", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 201, body = OfferView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn offer(
    State(app): State<App>,
    may: May<MakeKeys>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<OfferView>), Problem> {
    let store = app.api.store().await?;
    let id = id_of(&id)?;
    let row = store.keys().show(&id).await?;
    Owners::of(&app, &may.caller).await?.must_have(&row.consumer)?;
    let (terms, url) = rules(&app, &row.consumer);
    let now = now_ms();
    let deed = Deed { action: "key.offer", target: id.as_str(), before: "", reason: "" };
    let work = async { Ok(store.claims().issue(&id, &terms, now).await?) };
    let token = deed.record(store, &may.caller, work, |_| row.consumer.clone()).await?;
    let link = url.map(|url| format!("{}/claim/{}", url.trim_end_matches('/'), token.expose()));
    let expires_at = moment(now.saturating_add(bartizan_store::Claims::LIFE_MS));
    Ok((StatusCode::CREATED, Json(OfferView { link, token: token.expose().to_owned(), expires_at })))
}

/// Withdraws a key for good because its text has become known, and has its owner told.
#[utoipa::path(post, path = "/admin/v1/keys/{id}/leaked", tag = "keys", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 200, body = KeyView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn leaked(
    State(app): State<App>,
    may: May<RevokeKeys>,
    Path(id): Path<String>,
) -> Result<Json<KeyView>, Problem> {
    let store = app.api.store().await?;
    let id: KeyId = id_of(&id)?;
    Owners::of(&app, &may.caller).await?.must_have(&store.keys().show(&id).await?.consumer)?;
    let deed = Deed { action: "key.leaked", target: id.as_str(), before: "", reason: "" };
    let work = async { Ok(store.keys().report_leak(&id, now_ms()).await?) };
    let row = deed.record(store, &may.caller, work, |row| row.consumer.clone()).await?;
    Ok(Json(KeyView::of(&row)))
}

/// The rules of a consumer's keys in the documents in force; where there are none, the defaults.
fn rules(app: &App, consumer: &str) -> (LifeTerms, Option<String>) {
    let rules = app.management.key_rules.as_ref().and_then(|rules| rules(consumer));
    rules.unwrap_or_default()
}
