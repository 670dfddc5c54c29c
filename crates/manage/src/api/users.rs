//! Users and their sessions: for who manages them, and for everybody about themselves.

use axum::{
    Json,
    extract::{Path, State},
};
use bartizan_store::{LinkFor, NewToken, NewUser, SessionRow, UserChange, UserRow};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    App,
    auth::{Known, ManageUsers, May, SESSION_IDLE_MS},
    body::Body,
    login::{Secret, sound_name},
    now_ms,
    people::{NewTokenView, TokenList, TokenView, life},
    problem::Problem,
    revisions::moment,
    role::{Permission, Role},
    scope::Scope,
    trail::Deed,
};

/// A user. Times are RFC 3339.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserView {
    /// Their name.
    name: String,
    /// Their role.
    role: String,
    /// What the role is narrowed to.
    scope: Option<Scope>,
    /// `active`, `disabled`, or `invited` where no password was set yet.
    state: &'static str,
    /// The OpenID provider that proves them.
    issuer: Option<String>,
    /// When they were added.
    created_at: String,
    /// Who added them.
    created_by: String,
    /// When they last signed in.
    login_at: Option<String>,
}

impl UserView {
    fn of(row: &UserRow) -> Self {
        UserView {
            name: row.name.clone(),
            role: row.role.clone(),
            scope: Scope::parse(&row.scope),
            state: match (row.is_enabled(), row.has_password || row.issuer.is_some()) {
                (false, _) => "disabled",
                (true, true) => "active",
                (true, false) => "invited",
            },
            issuer: row.issuer.clone(),
            created_at: moment(row.created_at_ms),
            created_by: row.created_by.clone(),
            login_at: row.login_at_ms.map(moment),
        }
    }
}

/// Everybody.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserList {
    /// The users, oldest first.
    users: Vec<UserView>,
}

/// A user, and the link by which they set a password.
#[derive(Serialize, ToSchema)]
pub(crate) struct InvitedView {
    /// The link below this listener's address, shown this once; it holds for a day.
    link: String,
    /// The user.
    user: UserView,
}

/// A user to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MadeUser {
    /// Their name.
    name: String,
    /// Their role.
    role: Role,
    /// What the role is narrowed to.
    #[serde(default)]
    scope: Scope,
}

/// What is to be different.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangedUser {
    /// Their role.
    role: Option<Role>,
    /// What the role is narrowed to.
    scope: Option<Scope>,
    /// Whether they may sign in no more.
    disabled: Option<bool>,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionView {
    /// Its id.
    id: String,
    /// Whose it is.
    user: String,
    /// From where it was begun.
    address: String,
    /// What the browser calls itself.
    agent: String,
    /// Whether it is the one that asks.
    own: bool,
    /// When it was begun.
    created_at: String,
    /// When it was last used, exact to the minute.
    seen_at: String,
    /// When it ends at the latest.
    expires_at: String,
}

impl SessionView {
    fn of(row: &SessionRow, own: &str) -> Self {
        SessionView {
            id: row.id.clone(),
            user: row.user_name.clone(),
            address: row.address.clone(),
            agent: row.agent.clone(),
            own: row.id == own,
            created_at: moment(row.created_at_ms),
            seen_at: moment(row.seen_at_ms),
            expires_at: moment(row.expires_at_ms),
        }
    }
}

/// Sessions, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionList {
    /// The sessions.
    sessions: Vec<SessionView>,
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPassword {
    /// The one that held until now.
    #[schema(value_type = String)]
    current: Secret,
    /// The one that is to hold.
    #[schema(value_type = String)]
    new: Secret,
}

/// A personal token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct OwnToken {
    /// What it is called.
    name: String,
    /// What it is narrowed to, within what its user may.
    #[serde(default)]
    scope: Scope,
    /// After how many seconds it is valid no more, at most a year.
    expires_in_seconds: u64,
}

/// Lists users.
#[utoipa::path(get, path = "/admin/v1/users", tag = "users", security(("token" = [])),
    responses((status = 200, body = UserList), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): State<App>, _: May<ManageUsers>) -> Result<Json<UserList>, Problem> {
    let rows = app.api.store().await?.users().list().await?;
    Ok(Json(UserList { users: rows.iter().map(UserView::of).collect() }))
}

/// Adds a user. The link by which they set a password is in this answer and nowhere else.
#[utoipa::path(post, path = "/admin/v1/users", tag = "users", security(("token" = [])), request_body = MadeUser,
    responses((status = 201, body = InvitedView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(app): State<App>,
    may: May<ManageUsers>,
    Body(body): Body<MadeUser>,
) -> Result<(StatusCode, Json<InvitedView>), Problem> {
    let store = app.api.store().await?;
    let name = sound_name(body.name)?;
    let scope = body.scope.sound()?.to_text();
    let reason = format!("{} {scope}", body.role);
    let deed = Deed { action: "user.create", target: &name, before: "", reason: reason.trim_end() };
    let work = async {
        let new =
            NewUser { name: &name, role: body.role.as_str(), scope: &scope, created_by: may.caller.author() };
        let user = store.users().add(new, now_ms()).await?;
        let link = store.users().link(LinkFor::User(&user.id), INVITATION_LIFE_MS, now_ms()).await?;
        Ok((user, link))
    };
    let (user, link) = deed.record(store, &may.caller, work, |(user, _)| told(user)).await?;
    let link = format!("{LINK_PATH}{}", link.expose());
    Ok((StatusCode::CREATED, Json(InvitedView { link, user: UserView::of(&user) })))
}

/// Changes a user's role or scope, disables or enables them. Who is disabled is signed out.
#[utoipa::path(patch, path = "/admin/v1/users/{name}", tag = "users", security(("token" = [])), request_body = ChangedUser,
    params(("name" = String, Path)),
    responses((status = 200, body = UserView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn change(
    State(app): State<App>,
    may: May<ManageUsers>,
    Path(name): Path<String>,
    Body(body): Body<ChangedUser>,
) -> Result<Json<UserView>, Problem> {
    let store = app.api.store().await?;
    let scope = body.scope.as_ref().map(Scope::sound).transpose()?.map(Scope::to_text);
    let before = told(&store.users().find(&name).await?);
    let deed = Deed { action: "user.change", target: &name, before: &before, reason: "" };
    let change =
        UserChange { role: body.role.map(Role::as_str), scope: scope.as_deref(), disabled: body.disabled };
    let work = async { Ok(store.users().change(&name, change, now_ms()).await?) };
    Ok(Json(UserView::of(&deed.record(store, &may.caller, work, told).await?)))
}

/// Takes a user's password away, ends their sessions, and makes a link by which they set another.
#[utoipa::path(post, path = "/admin/v1/users/{name}/reset", tag = "users", security(("token" = [])),
    params(("name" = String, Path)),
    responses((status = 200, body = InvitedView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn reset(
    State(app): State<App>,
    may: May<ManageUsers>,
    Path(name): Path<String>,
) -> Result<Json<InvitedView>, Problem> {
    let store = app.api.store().await?;
    let before = told(&store.users().find(&name).await?);
    let deed = Deed { action: "user.reset", target: &name, before: &before, reason: "" };
    let work = async {
        let user = store.users().reset(&name, now_ms()).await?;
        let link = store.users().link(LinkFor::User(&user.id), INVITATION_LIFE_MS, now_ms()).await?;
        Ok((user, link))
    };
    let (user, link) = deed.record(store, &may.caller, work, |(user, _)| told(user)).await?;
    let link = format!("{LINK_PATH}{}", link.expose());
    Ok(Json(InvitedView { link, user: UserView::of(&user) }))
}

/// Lists sessions: one's own, and everybody's for who manages users.
#[utoipa::path(get, path = "/admin/v1/sessions", tag = "users", security(("token" = [])),
    responses((status = 200, body = SessionList), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn sessions(
    State(app): State<App>,
    Known(caller): Known,
) -> Result<Json<SessionList>, Problem> {
    let (of, own) = whose(&caller)?;
    let rows = app.api.store().await?.sessions().list(of.as_deref(), SESSION_IDLE_MS, now_ms()).await?;
    Ok(Json(SessionList { sessions: rows.iter().map(|row| SessionView::of(row, &own)).collect() }))
}

/// Ends a session: one's own, or anybody's for who manages users.
#[utoipa::path(post, path = "/admin/v1/sessions/{id}/end", tag = "users", security(("token" = [])),
    params(("id" = String, Path)),
    responses((status = 204, description = "It has ended"), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn end_session(
    State(app): State<App>,
    Known(caller): Known,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let (of, _) = whose(&caller)?;
    let store = app.api.store().await?;
    let deed = Deed { action: "session.end", target: &id, before: "", reason: "" };
    let work = async {
        let ended = store.sessions().end(&id, of.as_deref(), now_ms()).await?;
        if ended { Ok(()) } else { Err(Problem::missing("There is no session of this id.")) }
    };
    deed.record(store, &caller, work, |()| String::new()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whose sessions the caller may see, everybody's or one user's; and the session that asks.
fn whose(caller: &super::auth::Caller) -> Result<(Option<String>, String), Problem> {
    let own = caller.session();
    if caller.may(Permission::ManageUsers) {
        return Ok((None, own.map(|(session, _)| session.id.clone()).unwrap_or_default()));
    }
    own.map(|(session, user)| (Some(user.id.clone()), session.id.clone()))
}

/// Changes one's own password; every other session of one's own ends.
#[utoipa::path(post, path = "/admin/v1/me/password", tag = "users", security(("session" = [])), request_body = NewPassword,
    responses((status = 204, description = "It holds from now on"), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn set_password(
    State(app): State<App>,
    Known(caller): Known,
    Body(NewPassword { current, new }): Body<NewPassword>,
) -> Result<StatusCode, Problem> {
    let store = app.api.store().await?;
    let (session, user) = caller.session()?;
    let deed = Deed { action: "user.password", target: &user.name, before: "", reason: "" };
    let work = async {
        app.api.try_password(&user.name, caller.address)?;
        let kept = store.users().with_password(&user.name).await?.and_then(|(_, kept)| kept);
        if !app.api.hashing.holds(kept, current).await? {
            let title = "The current password is another one.";
            return Err(Problem::new(StatusCode::FORBIDDEN, "LoginWrong", title));
        }
        app.api.password_held(&user.name, caller.address);
        let kept = app.api.hashing.keep(new, &user.name).await?;
        Ok(store.users().set_password(&user.id, &kept, Some(&session.id), now_ms()).await?)
    };
    deed.record(store, &caller, work, |()| String::new()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists one's own tokens.
#[utoipa::path(get, path = "/admin/v1/me/tokens", tag = "users", security(("session" = [])),
    responses((status = 200, body = TokenList), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn own_tokens(
    State(app): State<App>,
    Known(caller): Known,
) -> Result<Json<TokenList>, Problem> {
    let (_, user) = caller.session()?;
    let rows = app.api.store().await?.tokens().list().await?;
    let own = rows.iter().filter(|row| row.user.as_deref() == Some(&user.id));
    Ok(Json(TokenList { tokens: own.map(TokenView::of).collect() }))
}

/// Makes a token of one's own: it can do what its user can, narrowed by its scope. Its text is in this answer alone.
#[utoipa::path(post, path = "/admin/v1/me/tokens", tag = "users", security(("session" = [])), request_body = OwnToken,
    responses((status = 201, body = NewTokenView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create_own_token(
    State(app): State<App>,
    Known(caller): Known,
    Body(body): Body<OwnToken>,
) -> Result<(StatusCode, Json<NewTokenView>), Problem> {
    let store = app.api.store().await?;
    let (_, user) = caller.session()?;
    let scope = body.scope.sound()?.to_text();
    let seconds = body.expires_in_seconds;
    if !(1..=OWN_TOKEN_SECONDS_MAX).contains(&seconds) {
        return Err(Problem::bad("A personal token holds between a second and a year."));
    }
    let deed = Deed { action: "token.create", target: &body.name, before: "", reason: &scope };
    let now = now_ms();
    let new = NewToken {
        name: &body.name,
        role: &user.role,
        created_by: &user.name,
        expires_at_ms: life(Some(seconds), now),
        scope: &scope,
        user: Some(&user.id),
    };
    let work = async { Ok(store.tokens().create(new, now).await?) };
    let (row, text) = deed.record(store, &caller, work, |(row, _)| row.id.clone()).await?;
    Ok((StatusCode::CREATED, Json(NewTokenView::of(&row, &text))))
}

/// Withdraws a token of one's own for good.
#[utoipa::path(post, path = "/admin/v1/me/tokens/{id}/revoke", tag = "users", security(("session" = [])),
    params(("id" = String, Path)),
    responses((status = 200, body = TokenView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn revoke_own_token(
    State(app): State<App>,
    Known(caller): Known,
    Path(id): Path<String>,
) -> Result<Json<TokenView>, Problem> {
    let store = app.api.store().await?;
    let (_, user) = caller.session()?;
    let deed = Deed { action: "token.revoke", target: &id, before: "", reason: "" };
    let work = async {
        let rows = store.tokens().list().await?;
        if !rows.iter().any(|row| row.id == id && row.user.as_deref() == Some(&user.id)) {
            return Err(Problem::missing("There is no token of yours of this id."));
        }
        Ok(store.tokens().revoke(&id, now_ms()).await?)
    };
    Ok(Json(TokenView::of(&deed.record(store, &caller, work, |row| row.name.clone()).await?)))
}

/// A user in the audit trail.
fn told(user: &UserRow) -> String {
    let state = if user.is_enabled() { "" } else { " disabled" };
    let scope = if user.scope.is_empty() { String::new() } else { format!(" {}", user.scope) };
    format!("{}{state}{scope}", user.role)
}

/// Where the page finds a link's text; behind the `#`, so that it stands in no server's log.
pub(crate) const LINK_PATH: &str = "/console/#link=";
/// An invitation is sent to somebody who may be asleep.
const INVITATION_LIFE_MS: u64 = 24 * 60 * 60_000;
const OWN_TOKEN_SECONDS_MAX: u64 = 366 * 24 * 60 * 60;
