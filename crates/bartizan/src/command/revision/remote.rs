//! A gateway's management API as the place where revisions live: what is asked, and what the answers mean. How they
//! come and go is [`super::wire`].

#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value that is only read gives null for what is not there"
)]

use std::time::Duration;

use bartizan_store::{
    NewRevision, Put, Revision, RevisionFile, RevisionNumber, RevisionOutcome, RevisionPage, RevisionRow,
    SetDigest, Went,
};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use super::{
    house::{Answer, Refused},
    wire::Wire,
};
use crate::command::when;

/// The API of a gateway, and the token that opens it.
pub(super) struct Remote {
    wire: Wire,
    token: String,
}

impl Remote {
    /// The API that `wire` leads to.
    pub(super) const fn open(wire: Wire, token: String) -> Self {
        Remote { wire, token }
    }

    /// Everything about a revision but its texts; `None` where there is none.
    pub(super) async fn find(&self, which: &str) -> Answer<Option<RevisionRow>> {
        match self.ask(Method::GET, &format!("revisions/{which}"), None, None).await? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) => row(&good(status, body)?["revision"]).map(Some),
        }
    }

    /// A revision with its texts.
    pub(super) async fn get(&self, which: &str) -> Answer<Revision> {
        let (status, body) =
            self.ask(Method::GET, &format!("revisions/{which}?texts=true"), None, None).await?;
        let body = good(status, body)?;
        let files = body["texts"].as_array().into_iter().flatten();
        let files =
            files.map(|file| RevisionFile { name: text(&file["name"]), text: text(&file["text"]) }).collect();
        Ok(Revision { row: row(&body["revision"])?, files })
    }

    /// One page of the history, newest first.
    pub(super) async fn history(&self, before: Option<RevisionNumber>, limit: u32) -> Answer<RevisionPage> {
        let before = before.map(|before| format!("&before={before}")).unwrap_or_default();
        let path = format!("revisions?limit={}{before}", limit.clamp(1, PAGE_MAX));
        let (status, body) = self.ask(Method::GET, &path, None, None).await?;
        let body = good(status, body)?;
        let rows = body["revisions"].as_array().into_iter().flatten().map(row).collect::<Answer<_>>()?;
        Ok(RevisionPage { rows, next: body["next"].as_u64() })
    }

    /// Makes a revision the active one, if the active one still is `expected`.
    pub(super) async fn put(
        &self,
        new: &NewRevision<'_>,
        expected: Option<&RevisionRow>,
        waiver: Option<&str>,
    ) -> Answer<Put> {
        let files: Vec<Value> =
            new.files.iter().map(|file| json!({ "name": file.name, "text": file.text })).collect();
        let mut body = json!({ "files": files, "reason": new.reason });
        if let (Some(why), Some(fields)) = (waiver, body.as_object_mut()) {
            fields.insert("evenIfTestsFail".to_owned(), why.into());
        }
        self.change("revisions", &body, expected).await
    }

    /// Repeats an older revision, if the active one still is `expected`.
    pub(super) async fn roll_back(
        &self,
        to: &str,
        reason: &str,
        expected: Option<&RevisionRow>,
    ) -> Answer<Put> {
        self.change(&format!("revisions/{to}/rollback"), &json!({ "reason": reason }), expected).await
    }

    /// Has it drop kept answers.
    pub(super) async fn purge(&self, what: &Value) -> Answer<Value> {
        let (status, body) = self.ask(Method::POST, "cache/purge", None, Some(what)).await?;
        good(status, body)
    }

    /// What stands at a path.
    pub(super) async fn look(&self, path: &str) -> Answer<Value> {
        let (status, body) = self.ask(Method::GET, path, None, None).await?;
        good(status, body)
    }

    /// Sends something to a path, if the active revision still is `expected`, where that is named.
    pub(super) async fn post(
        &self,
        path: &str,
        body: &Value,
        expected: Option<&RevisionRow>,
    ) -> Answer<Value> {
        let condition = expected.map(|row| ("if-match", format!("\"{}\"", row.tag())));
        let (status, body) = self.ask(Method::POST, path, condition, Some(body)).await?;
        good(status, body)
    }

    async fn change(&self, path: &str, body: &Value, expected: Option<&RevisionRow>) -> Answer<Put> {
        let condition = match expected {
            Some(row) => ("if-match", format!("\"{}\"", row.tag())),
            None => ("if-none-match", "*".to_owned()),
        };
        let (status, body) = self.ask(Method::POST, path, Some(condition), Some(body)).await?;
        let body = good(status, body)?;
        let made = row(&body["revision"])?;
        Ok(if body["changed"] == true { Put::Made(made) } else { Put::Same(made) })
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        condition: Option<(&str, String)>,
        body: Option<&Value>,
    ) -> Answer<(StatusCode, Value)> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/admin/v1/{path}"))
            .header("host", &self.wire.authority)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json");
        if let Some((name, value)) = condition {
            request = request.header(name, value);
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        // An error in it would be the token's; a message that repeats it is not wanted.
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| "the token or the revision's name cannot be sent as it is")?;
        let answer = self.wire.ask(request, ANSWER_BYTES_MAX, PATIENCE).await?;
        Ok((answer.status(), serde_json::from_slice(answer.body()).unwrap_or_default()))
    }
}

/// The body of an answer that says yes; otherwise what it says instead.
fn good(status: StatusCode, body: Value) -> Answer<Value> {
    if status.is_success() {
        return Ok(body);
    }
    let title = body["title"].as_str().map_or_else(|| format!("the gateway answers {status}"), str::to_owned);
    let problems = body["problems"].as_array().into_iter().flatten();
    let lines: String = problems.map(|one| format!("\n{}", text(&one["message"]))).collect();
    let told = format!("{title}{lines}");
    // Unauthorized, overloaded or broken: it could not run. Everything else is an answer to what was asked.
    let is_finding = status.is_client_error() && status != StatusCode::UNAUTHORIZED;
    if is_finding { Err(Box::new(Refused(told))) } else { Err(told.into()) }
}

fn row(view: &Value) -> Answer<RevisionRow> {
    let outcome = &view["outcome"];
    Ok(RevisionRow {
        number: view["number"].as_u64().ok_or(FOREIGN)?,
        digest: view["digest"].as_str().and_then(SetDigest::parse).ok_or(FOREIGN)?,
        parent: view["parent"].as_u64(),
        restores: view["restores"].as_u64(),
        author: text(&view["author"]),
        reason: text(&view["reason"]),
        created_at_ms: when::unix_ms(&text(&view["createdAt"])).ok_or(FOREIGN)?,
        files: view["files"].as_u64().ok_or(FOREIGN)?,
        documents: view["documents"].as_u64().ok_or(FOREIGN)?,
        bytes: view["bytes"].as_u64().ok_or(FOREIGN)?,
        outcome: outcome["went"].as_str().map(|went| RevisionOutcome {
            went: if went == Went::Live.as_str() { Went::Live } else { Went::Failed },
            detail: text(&outcome["detail"]),
            at_ms: when::unix_ms(&text(&outcome["at"])).unwrap_or(0),
        }),
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

const FOREIGN: &str = "the answer is not that of a management API of this version";
/// The gateway compiles a large set before it answers, and gives up after a minute itself.
const PATIENCE: Duration = Duration::from_secs(65);
/// A revision of the largest size, escaped.
const ANSWER_BYTES_MAX: usize = 160 << 20;
const PAGE_MAX: u32 = 200;
