//! How a caller of models is told of a refusal: in the dialect of the path that was called.

use bartizan_ai::{Dialect, Entry, Failure, Refused, entry_path, spoken::Told};
use bartizan_message::RequestHead;
use bartizan_model::Reason;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::{
    answer::{AnswerBody, wording},
    exchange::Shared,
};

/// The dialect, and what is to be said if it is more than the reason's own sentence.
pub(crate) struct Spoken {
    pub(crate) dialect: Dialect,
    /// What the path asks for; `None`: nothing that is served.
    pub(crate) entry: Option<Entry>,
    said: Option<Said>,
}

/// What is said instead of the reason's own sentence.
struct Said {
    status: StatusCode,
    message: String,
    code: String,
    field: Option<String>,
    retry_after: Option<u32>,
}

impl Spoken {
    /// For a request whose rule serves models.
    pub(crate) fn of(head: &RequestHead, prefix_bytes: usize) -> Box<Spoken> {
        let path = entry_path(head.path().as_str(), prefix_bytes);
        let entry = Entry::find(head.method().as_str(), &path);
        let dialect = entry.as_ref().map_or(Dialect::OpenAi, Entry::dialect);
        Box::new(Spoken { dialect, entry, said: None })
    }

    /// For a request whose rule is a prompt: whatever its path, it asks for a chat.
    pub(crate) fn of_prompt(head: &RequestHead) -> Box<Spoken> {
        let entry = (head.method() == http::Method::POST).then_some(Entry::Chat);
        Box::new(Spoken { dialect: Dialect::OpenAi, entry, said: None })
    }

    /// A request that cannot be read or carried.
    pub(crate) fn say_refused(&mut self, refused: &Refused) {
        self.said = Some(Said {
            status: StatusCode::BAD_REQUEST,
            message: refused.message.clone(),
            code: "unsupported_value".to_owned(),
            field: Some(refused.field.clone()).filter(|field| !field.is_empty()),
            retry_after: None,
        });
    }

    /// A sentence with the status of the reason.
    pub(crate) fn say(&mut self, reason: Reason, code: &str, message: String) {
        let (status, _) = wording(reason);
        self.said = Some(Said { status, message, code: code.to_owned(), field: None, retry_after: None });
    }

    /// A provider's failure.
    pub(crate) fn say_failure(&mut self, failure: &Failure) {
        self.said = Some(Said {
            status: StatusCode::from_u16(failure.class.status()).unwrap_or(StatusCode::BAD_GATEWAY),
            message: failure.message.clone(),
            code: failure.class.code().to_owned(),
            field: None,
            retry_after: failure.retry_after,
        });
    }

    /// The answer.
    pub(crate) fn refusal(&self, shared: &Shared, reason: Reason) -> Response<AnswerBody> {
        let (status, sentence) = wording(reason);
        let said = self.said.as_ref();
        let status = said.map_or(status, |said| said.status);
        let told = Told {
            status: status.as_u16(),
            message: said.map_or(sentence, |said| &said.message),
            code: said.map_or(reason.as_str(), |said| &said.code),
            field: said.and_then(|said| said.field.as_deref()),
            id: shared.id.as_str(),
        };
        let mut answer = json(status, told.body(self.dialect).to_bytes());
        if let Some(seconds) = said.and_then(|said| said.retry_after) {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

/// An answer of JSON.
pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Response<AnswerBody> {
    let length = HeaderValue::from(body.len());
    let mut answer = Response::new(AnswerBody::whole(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
