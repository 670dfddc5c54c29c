//! What a provider answers, until it is certain that the caller can be told something.

use std::{pin::pin, time::Instant};

use bartizan_ai::{
    Class, Decoder, Dialect, Event, Failure, Public, StreamWriter, Whole, dialect::embeddings,
};
use bartizan_message::{clean_response, response::RESPONSE_LIMITS};
use bartizan_telemetry::Exit;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, response::Parts};

use super::{Aim, Call, ask};
use crate::{
    answer::AnswerBody,
    body::{BodyWatch, Deadlines, Flow, Meter, ModelBody, Origin, Passing, Streaming, Translation, Turn},
    patience::{TimeOver, within},
    spoken,
    stage::inspect::What,
    upstream::{self, ForwardErrorKind, Pick},
};

/// Bytes of a whole answer that is translated: embeddings of many texts take several MiB.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of a failure that are read for its words.
const FAILURE_BYTES_MAX: usize = 64 * 1024;

const X_AI_LOST: HeaderName = HeaderName::from_static("x-ai-lost");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

impl Call {
    /// Asks a target with one key.
    pub(super) async fn attempt(
        &mut self,
        aim: &Aim,
        asked: &ask::Asked,
        key: Option<&HeaderValue>,
    ) -> Result<Response<AnswerBody>, Failure> {
        let stream = self.asking.is_stream();
        let head = &self.sendable.head;
        let key = aim.prepared.keys.as_ref().map(|keys| keys.header()).zip(key);
        let request = ask::request(asked, aim.place(), key, head.headers(), stream, head.raw_query())
            .ok_or_else(|| Failure::broken("the request cannot be written"))?;
        self.describe(aim, asked, stream);
        let meter = self.meter(aim, asked);
        let since = Instant::now();
        self.shared.record.asks_upstream(since, BodyWatch::default());
        let limit = self.plan.timeouts.backend_request;
        let pick = Pick { now: Some(since), ..Pick::default() };
        let mut request = Some(request);
        self.shared.record.sends(Some(meter.clone()));
        let sent = {
            let sending = pin!(upstream::send(&self.shared.core.pools, &aim.prepared, &pick, &mut request));
            within(&self.shared.connection, limit, sending).await
        };
        let sent = match sent {
            Ok(Ok(sent)) => sent,
            Ok(Err(error)) => return Err(unreached(error.kind)),
            Err(TimeOver) => return Err(Failure::of(Class::Timeout)),
        };
        self.shared.record.endpoint = Some(sent.endpoint.clone());
        let mut response = sent.response;
        let is_valid = clean_response(&mut response, None, &RESPONSE_LIMITS).is_ok();
        let (parts, body) = response.into_parts();
        let end = self.plan.timeouts.request.map(|limit| self.shared.record.started + limit);
        let deadlines = Deadlines { idle: self.plan.timeouts.idle, end };
        let origin = Origin { upstream: aim.prepared.clone(), endpoint: sent.index };
        let mut source = Streaming::new(body, origin, deadlines, BodyWatch::default());
        if !is_valid {
            return Err(Failure::broken("the provider's answer is not valid"));
        }
        if parts.headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(Failure::broken("the provider's answer is encoded"));
        }
        if !parts.status.is_success() {
            let status = parts.status.as_u16();
            let body = collect(&mut source, FAILURE_BYTES_MAX).await.unwrap_or_default();
            return Err(Failure::from_answer(status, &body, advice(&parts.headers)));
        }
        let mut answer = match &self.asking.what {
            What::Native { .. } => self.pass(asked.dialect, &parts, source, meter),
            What::Chat(_) if stream => self.stream(asked.dialect, &parts, source, meter).await?,
            What::Chat(_) => self.whole(asked.dialect, &parts, source, meter).await?,
            What::Embeddings(_) => self.vectors(asked.dialect, source, meter).await?,
        };
        if !asked.outgoing.lost.is_empty()
            && let Ok(lost) = HeaderValue::from_str(&asked.outgoing.lost.join(", "))
        {
            answer.headers_mut().insert(X_AI_LOST, lost);
        }
        Ok(answer)
    }

    /// By what the call is charged at this target.
    fn meter(&self, aim: &Aim, asked: &ask::Asked) -> Meter {
        let path = &asked.outgoing.path;
        Meter {
            started: self.shared.record.started,
            input: self.asking.input,
            is_free: path.ends_with("/count_tokens") || path.ends_with(":countTokens"),
            price: aim.target.price,
            first: None,
        }
    }

    fn describe(&mut self, aim: &Aim, asked: &ask::Asked, stream: bool) {
        let shared = &mut self.shared;
        shared.record.upstream = Some(aim.prepared.plan.name.clone());
        shared.record.upstream_id = shared.live.upstream_id(aim.target.upstream);
        if let Some(record) = &mut shared.record.model {
            record.provider = aim.llm.provider.word();
            record.target = Some(aim.target.model.clone());
            record.stream = stream;
            record.lost.clone_from(&asked.outgoing.lost);
        }
    }

    fn public(&self) -> Public {
        let plain = |character: &char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
        let id: String = self.shared.id.as_str().chars().filter(plain).collect();
        let include_usage = matches!(&self.asking.what, What::Chat(request) if request.chat.include_usage);
        Public {
            id: format!("chatcmpl-{id}"),
            model: self.asking.model.name.to_string(),
            created: self.shared.record.time_unix_nanos / 1_000_000_000,
            include_usage,
        }
    }

    /// A native answer: its bytes pass.
    fn pass(
        &self,
        dialect: Dialect,
        parts: &Parts,
        source: Box<Streaming>,
        meter: Meter,
    ) -> Response<AnswerBody> {
        let passing = Passing::new(dialect, is_stream(&parts.headers), self.shared.id.as_str());
        let body = ModelBody::new(source, Turn::Passed(passing), Vec::new(), meter);
        let mut answer = Response::new(AnswerBody::flowing(Flow::Model(Box::new(body))));
        *answer.status_mut() = parts.status;
        let kind = parts.headers.get(header::CONTENT_TYPE).cloned();
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, kind.unwrap_or(HeaderValue::from_static("application/json")));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        answer
    }

    /// A streamed answer, held until its first content.
    async fn stream(
        &mut self,
        dialect: Dialect,
        parts: &Parts,
        mut source: Box<Streaming>,
        mut meter: Meter,
    ) -> Result<Response<AnswerBody>, Failure> {
        let mut ready = Vec::new();
        let mut writer = StreamWriter::new(self.public());
        if !is_stream(&parts.headers) {
            // Some servers answer whole whatever is asked.
            let body = gathered(&mut source).await?;
            for event in dialect.answer(&body) {
                writer.event(event, &mut ready);
            }
            writer.finish(&mut ready);
            if let Some(failure) = writer.failure() {
                return Err(failure.clone());
            }
            meter.first = Some(Instant::now());
            if let Some(record) = &mut self.shared.record.model {
                meter.settle(writer.usage(), writer.delivered(), true, record);
            }
            let mut answer = Response::new(AnswerBody::whole(ready.into()));
            event_stream(answer.headers_mut());
            return Ok(answer);
        }
        let mut translation = Translation::new(dialect, writer);
        while !translation.writer().committed() && !translation.writer().over() {
            match source.next().await {
                Some(Ok(data)) => translation.take(Some(&data), &mut ready),
                None => translation.take(None, &mut ready),
                Some(Err(exit)) => return Err(broke(exit)),
            }
        }
        // A failure before the first content was not written: the caller has seen nothing yet.
        if let Some(failure) = translation.writer().failure().filter(|_| !translation.writer().committed()) {
            return Err(failure.clone());
        }
        meter.first = Some(Instant::now());
        let body = ModelBody::new(source, Turn::Translated(translation), ready, meter);
        let mut answer = Response::new(AnswerBody::flowing(Flow::Model(Box::new(body))));
        event_stream(answer.headers_mut());
        Ok(answer)
    }

    /// A whole answer, also from a provider that streams it.
    async fn whole(
        &mut self,
        dialect: Dialect,
        parts: &Parts,
        mut source: Box<Streaming>,
        mut meter: Meter,
    ) -> Result<Response<AnswerBody>, Failure> {
        let body = gathered(&mut source).await?;
        let mut whole = Whole::new();
        if is_stream(&parts.headers) {
            let mut events: Vec<Event> = Vec::new();
            let mut decoder = Decoder::new(dialect);
            decoder.push(&body, &mut events);
            decoder.finish(&mut events);
            whole.extend(events);
        } else {
            whole.extend(dialect.answer(&body));
        }
        let answer = whole.to_openai(&self.public())?.to_bytes();
        meter.first = Some(Instant::now());
        if let Some(record) = &mut self.shared.record.model {
            record.lost.extend(whole.lost().iter().map(|lost| (*lost).to_owned()));
            meter.settle(whole.usage(), answer.len() as u64, true, record);
        }
        Ok(spoken::json(StatusCode::OK, answer))
    }

    async fn vectors(
        &mut self,
        dialect: Dialect,
        mut source: Box<Streaming>,
        mut meter: Meter,
    ) -> Result<Response<AnswerBody>, Failure> {
        let body = gathered(&mut source).await?;
        let found = embeddings(dialect, &body)?;
        let What::Embeddings(request) = &self.asking.what else {
            return Err(Failure::broken("no vectors were asked for"));
        };
        let answer = request.to_openai(&found, &self.public()).to_bytes();
        meter.first = Some(Instant::now());
        let usage = found.usage.map(|usage| bartizan_ai::Usage { output: Some(0), ..usage });
        if let Some(record) = &mut self.shared.record.model {
            meter.settle(usage, 0, true, record);
        }
        Ok(spoken::json(StatusCode::OK, answer))
    }
}

fn event_stream(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
}

fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let says = |word: &[u8]| kind.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word));
    says(b"event-stream") || says(b"ndjson")
}

async fn gathered(source: &mut Streaming) -> Result<Vec<u8>, Failure> {
    collect(source, ANSWER_BYTES_MAX).await
}

async fn collect(source: &mut Streaming, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    while let Some(data) = source.next().await {
        let data = data.map_err(broke)?;
        if all.len().saturating_add(data.len()) > bytes_max {
            return Err(Failure::broken("the provider's answer is too large"));
        }
        all.extend_from_slice(&data);
    }
    Ok(all)
}

fn broke(exit: Exit) -> Failure {
    match exit {
        Exit::Timeout => Failure::of(Class::Timeout),
        _ => Failure::broken("the provider's answer broke off"),
    }
}

fn unreached(kind: ForwardErrorKind) -> Failure {
    let class = match kind {
        ForwardErrorKind::Timeout => Class::Timeout,
        ForwardErrorKind::Full | ForwardErrorKind::NoEndpoint => Class::Overloaded,
        _ => Class::Server,
    };
    let message = "the provider cannot be reached".to_owned();
    let native_code = format!("{kind:?}");
    Failure { message, native_code, ..Failure::of(class) }
}

/// Seconds that the provider asks to wait. Only read on failures: some send it with every answer.
fn advice(headers: &HeaderMap) -> Option<u32> {
    let number =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()?.trim().parse::<u32>().ok());
    number("retry-after").or_else(|| number("retry-after-ms").map(|ms| ms.div_ceil(1000)))
}
