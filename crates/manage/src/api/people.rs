//! Who may manage, and what they did: tokens and the audit trail.

use axum::{
    Json,
    extract::{Path, State},
};
use bartizan_store::{AuditRow, NewToken, TokenRow, TokenText};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    App,
    auth::{ManageTokens, May, ReadAudit},
    body::{Asked, Body, Page},
    now_ms,
    problem::Problem,
    revisions::moment,
    role::Role,
    scope::Scope,
    trail::Deed,
};

/// A management token, without its text. Times are RFC 3339.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenView {
    /// Its id.
    id: String,
    /// Its name.
    name: String,
    /// Its role; a personal one has its user's.
    role: String,
    /// What the role is narrowed to.
    scope: Option<Scope>,
    /// Whether it is somebody's own, and ends with them.
    personal: bool,
    /// Whether it opens.
    valid: bool,
    /// When it was made.
    created_at: String,
    /// Who made it.
    created_by: String,
    /// From when it is valid no more.
    expires_at: Option<String>,
    /// When it was revoked.
    revoked_at: Option<String>,
    /// When it was last used.
    last_used_at: Option<String>,
}

impl TokenView {
    pub(crate) fn of(row: &TokenRow) -> Self {
        TokenView {
            id: row.id.clone(),
            name: row.name.clone(),
            role: row.role.clone(),
            scope: Scope::parse(&row.scope),
            personal: row.user.is_some(),
            valid: row.is_valid(now_ms()),
            created_at: moment(row.created_at_ms),
            created_by: row.created_by.clone(),
            expires_at: row.expires_at_ms.map(moment),
            revoked_at: row.revoked_at_ms.map(moment),
            last_used_at: row.last_used_at_ms.map(moment),
        }
    }
}

/// A token that was just made.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewTokenView {
    /// Its text, shown this once.
    text: String,
    /// Everything else about it.
    #[serde(flatten)]
    row: TokenView,
}

impl NewTokenView {
    pub(crate) fn of(row: &TokenRow, text: &TokenText) -> Self {
        NewTokenView { text: text.expose().to_owned(), row: TokenView::of(row) }
    }
}

/// When what lives so many seconds ends.
pub(crate) fn life(seconds: Option<u64>, now_ms: u64) -> Option<u64> {
    seconds.map(|seconds| now_ms.saturating_add(seconds.saturating_mul(1000)))
}

/// All tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenList {
    /// The tokens, oldest first.
    pub(crate) tokens: Vec<TokenView>,
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct MadeToken {
    /// What it is called, and so whoever acts by it.
    name: String,
    /// Its role.
    role: Role,
    /// What the role is narrowed to.
    #[serde(default)]
    scope: Scope,
    /// After how many seconds it is valid no more.
    expires_in_seconds: Option<u64>,
}

/// A row of the audit trail. Times are RFC 3339.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditView {
    /// Its place in the chain.
    number: u64,
    /// When.
    at: String,
    /// Who.
    actor: String,
    /// From where.
    source: String,
    /// What.
    action: String,
    /// On what.
    target: String,
    /// `begun`, `done`, `refused` or `failed`.
    phase: String,
    /// What was before.
    before: String,
    /// What was afterwards.
    after: String,
    /// Why, or why not.
    reason: String,
    /// The chain's hash up to here, in hexadecimal.
    hash: String,
}

impl From<AuditRow> for AuditView {
    fn from(row: AuditRow) -> Self {
        AuditView {
            number: row.number,
            at: moment(row.at_ms),
            actor: row.actor,
            source: row.source,
            action: row.action,
            target: row.target,
            phase: row.phase,
            before: row.before,
            after: row.after,
            reason: row.reason,
            hash: row.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

/// A page of the audit trail, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditPage {
    /// The rows.
    rows: Vec<AuditView>,
    /// What `before` is on the next page, where there is one.
    next: Option<u64>,
}

/// Lists management tokens.
#[utoipa::path(get, path = "/admin/v1/tokens", tag = "management", security(("token" = [])),
    responses((status = 200, body = TokenList), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn tokens(State(app): State<App>, _: May<ManageTokens>) -> Result<Json<TokenList>, Problem> {
    let rows = app.api.store().await?.tokens().list().await?;
    Ok(Json(TokenList { tokens: rows.iter().map(TokenView::of).collect() }))
}

/// Makes a management token. Its text is in this answer and nowhere else.
#[utoipa::path(post, path = "/admin/v1/tokens", tag = "management", security(("token" = [])), request_body = MadeToken,
    responses((status = 201, body = NewTokenView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create_token(
    State(app): State<App>,
    may: May<ManageTokens>,
    Body(body): Body<MadeToken>,
) -> Result<(StatusCode, Json<NewTokenView>), Problem> {
    let store = app.api.store().await?;
    let scope = body.scope.sound()?.to_text();
    let reason = format!("{} {scope}", body.role);
    let deed = Deed { action: "token.create", target: &body.name, before: "", reason: reason.trim_end() };
    let now = now_ms();
    let new = NewToken {
        name: &body.name,
        role: body.role.as_str(),
        created_by: may.caller.author(),
        expires_at_ms: life(body.expires_in_seconds, now),
        scope: &scope,
        user: None,
    };
    let work = async { Ok(store.tokens().create(new, now).await?) };
    let (row, text) = deed.record(store, &may.caller, work, |(row, _)| row.id.clone()).await?;
    Ok((StatusCode::CREATED, Json(NewTokenView::of(&row, &text))))
}

/// Withdraws a management token for good; doing it again changes nothing.
#[utoipa::path(post, path = "/admin/v1/tokens/{id}/revoke", tag = "management", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 200, body = TokenView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn revoke_token(
    State(app): State<App>,
    may: May<ManageTokens>,
    Path(id): Path<String>,
) -> Result<Json<TokenView>, Problem> {
    let store = app.api.store().await?;
    let deed = Deed { action: "token.revoke", target: &id, before: "", reason: "" };
    let work = async { Ok(store.tokens().revoke(&id, now_ms()).await?) };
    let row = deed.record(store, &may.caller, work, |row| row.name.clone()).await?;
    Ok(Json(TokenView::of(&row)))
}

/// Shows what was done through management.
#[utoipa::path(get, path = "/admin/v1/audit", tag = "management", security(("token" = [])), params(Page),
    responses((status = 200, body = AuditPage), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn audit(
    State(app): State<App>,
    _: May<ReadAudit>,
    Asked(page): Asked<Page>,
) -> Result<Json<AuditPage>, Problem> {
    let (rows, next) = app.api.store().await?.audit().list(page.before, page.limit()).await?;
    Ok(Json(AuditPage { rows: rows.into_iter().map(AuditView::from).collect(), next }))
}
