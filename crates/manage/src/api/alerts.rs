//! Alerts and notices: what fires, what is silenced, what was told.

use axum::{
    Json,
    extract::{Path, State},
};
use bartizan_store::{AlertRow, NoticeRow, NoticeState, SilenceRow};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    App,
    auth::{Apply, Caller, May, ReadState},
    body::{Asked, Body},
    now_ms,
    problem::Problem,
    revisions::moment,
    trail::Deed,
};

/// An alert. Times are RFC 3339.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AlertView {
    /// Its id.
    id: String,
    /// The AlertPolicy.
    policy: String,
    /// What is watched.
    signal: String,
    /// Which of several that are counted apart.
    group: String,
    /// What is so, or was last.
    text: String,
    /// `firing`, `silenced` or `over`.
    state: &'static str,
    /// How many were counted last.
    count: u64,
    /// When it began.
    started_at: String,
    /// When it was last so.
    last_at: String,
    /// When it was over.
    ended_at: Option<String>,
}

impl AlertView {
    fn of(row: AlertRow) -> Self {
        AlertView {
            state: match (row.is_firing, row.told_at_ms) {
                (true, Some(_)) => "firing",
                (true, None) => "silenced",
                (false, _) => "over",
            },
            id: row.id,
            policy: row.policy,
            signal: row.signal,
            group: row.group,
            text: row.text,
            count: row.count,
            started_at: moment(row.started_at_ms),
            last_at: moment(row.last_at_ms),
            ended_at: row.ended_at_ms.map(moment),
        }
    }
}

/// Alerts and silences.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertPage {
    /// The alerts, those that were so last first.
    alerts: Vec<AlertView>,
    /// The silences that hold.
    silences: Vec<SilenceView>,
}

/// A silence. Empty fields match everything.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SilenceView {
    /// Its id.
    id: String,
    /// The AlertPolicy.
    policy: String,
    /// What is watched.
    signal: String,
    /// Which of several.
    group: String,
    /// Until when.
    until: String,
    /// Why.
    reason: String,
    /// Who.
    created_by: String,
}

impl SilenceView {
    fn of(row: SilenceRow) -> Self {
        SilenceView {
            id: row.id,
            policy: row.policy,
            signal: row.signal,
            group: row.group,
            until: moment(row.until_ms),
            reason: row.reason,
            created_by: row.created_by,
        }
    }
}

/// Which alerts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedAlerts {
    /// Also those that are over.
    all: Option<bool>,
}

/// A silence to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct MadeSilence {
    /// The AlertPolicy; every one where absent.
    policy: Option<String>,
    /// What is watched; everything where absent.
    signal: Option<String>,
    /// Which group; every one where absent.
    group: Option<String>,
    /// For how many seconds, at most 30 days.
    seconds: u64,
    /// Why.
    reason: String,
}

/// A notice, without what it says.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NoticeView {
    /// Its id, which receivers get too.
    id: String,
    /// By which channel.
    channel: String,
    /// What has happened.
    event: String,
    /// About which key or alert it is.
    about: String,
    /// `waiting`, `sent` or `dead`.
    state: &'static str,
    /// How often it was tried.
    attempts: u32,
    /// Why the last attempt failed.
    error: String,
    /// When it was written down.
    created_at: String,
    /// When it was sent or given up.
    ended_at: Option<String>,
}

impl NoticeView {
    fn of(row: NoticeRow) -> Self {
        NoticeView {
            id: row.id,
            channel: row.channel,
            event: row.event,
            about: row.about,
            state: row.state.as_str(),
            attempts: row.attempts,
            error: row.error,
            created_at: moment(row.created_at_ms),
            ended_at: row.ended_at_ms.map(moment),
        }
    }
}

/// Which notices.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedNotices {
    /// `waiting`, `sent` or `dead`; all where absent.
    state: Option<String>,
}

/// Lists alerts: those that fire, or all.
#[utoipa::path(get, path = "/admin/v1/alerts", tag = "alerts", security(("token" = [])), params(WantedAlerts),
    responses((status = 200, body = AlertPage), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<App>,
    may: May<ReadState>,
    Asked(wanted): Asked<WantedAlerts>,
) -> Result<Json<AlertPage>, Problem> {
    of_all(&may.caller)?;
    let alerts = app.api.store().await?.alerts();
    let rows = alerts.list(!wanted.all.unwrap_or(false), ROWS_MAX).await?;
    let silences = alerts.silences(now_ms()).await?;
    Ok(Json(AlertPage {
        alerts: rows.into_iter().map(AlertView::of).collect(),
        silences: silences.into_iter().map(SilenceView::of).collect(),
    }))
}

/// Tells nothing of what matches for a while.
#[utoipa::path(post, path = "/admin/v1/alerts/silences", tag = "alerts", security(("token" = [])), request_body = MadeSilence,
    responses((status = 201, body = SilenceView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn silence(
    State(app): State<App>,
    may: May<Apply>,
    Body(body): Body<MadeSilence>,
) -> Result<(StatusCode, Json<SilenceView>), Problem> {
    of_all(&may.caller)?;
    let store = app.api.store().await?;
    let now = now_ms();
    let wanted = SilenceRow {
        id: String::new(),
        policy: body.policy.unwrap_or_default(),
        signal: body.signal.unwrap_or_default(),
        group: body.group.unwrap_or_default(),
        until_ms: now.saturating_add(body.seconds.min(SILENCE_SECONDS_MAX).saturating_mul(1000)),
        reason: body.reason,
        created_by: may.caller.author().to_owned(),
    };
    let deed = Deed { action: "alert.silence", target: &wanted.signal, before: "", reason: &wanted.reason };
    let work = async { Ok(store.alerts().silence(&wanted, now).await?) };
    let row = deed.record(store, &may.caller, work, |row| row.id.clone()).await?;
    Ok((StatusCode::CREATED, Json(SilenceView::of(row))))
}

/// Ends a silence.
#[utoipa::path(delete, path = "/admin/v1/alerts/silences/{id}", tag = "alerts", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn unsilence(
    State(app): State<App>,
    may: May<Apply>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    of_all(&may.caller)?;
    let store = app.api.store().await?;
    let deed = Deed { action: "alert.unsilence", target: &id, before: "", reason: "" };
    let work = async {
        match store.alerts().unsilence(&id, now_ms()).await? {
            true => Ok(()),
            false => Err(Problem::missing("There is no silence of this id that holds.")),
        }
    };
    deed.record(store, &may.caller, work, |()| String::new()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists notices, newest first, without what they say.
#[utoipa::path(get, path = "/admin/v1/notices", tag = "alerts", security(("token" = [])), params(WantedNotices),
    responses((status = 200, body = Vec<NoticeView>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn notices(
    State(app): State<App>,
    may: May<ReadState>,
    Asked(wanted): Asked<WantedNotices>,
) -> Result<Json<Vec<NoticeView>>, Problem> {
    of_all(&may.caller)?;
    let state = match wanted.state.as_deref() {
        None => None,
        Some(word) => Some(
            NoticeState::parse(word)
                .ok_or_else(|| Problem::bad("A notice is `waiting`, `sent` or `dead`."))?,
        ),
    };
    let rows = app.api.store().await?.outbox().list(state, ROWS_MAX).await?;
    Ok(Json(rows.into_iter().map(NoticeView::of).collect()))
}

/// Alerts and notices are about everybody: a caller of a narrow scope has no part in them.
fn of_all(caller: &Caller) -> Result<(), Problem> {
    if caller.is_narrow() {
        let title = "Alerts and notices are about everybody, which is out of your scope.";
        return Err(Problem::new(StatusCode::FORBIDDEN, "OutOfScope", title));
    }
    Ok(())
}

/// A screen of them.
const ROWS_MAX: u32 = 200;
/// 30 days: what is to be silent longer is not to be watched.
const SILENCE_SECONDS_MAX: u64 = 30 * 86_400;
