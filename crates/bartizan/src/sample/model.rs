//! The sample model: answers in OpenAI's dialect without any provider, so that the first call works offline.
//!
//! It says that it is a sample and repeats what it was told; it counts words as tokens. It is no model and pretends
//! to be none.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use super::api::Body;

/// The model's name.
const NAME: &str = "sample";
/// Characters of the caller's text that are repeated.
const REPEATED_MAX: usize = 400;

/// Answers `POST /v1/chat/completions`.
pub(super) fn answer(body: &[u8]) -> Response<Body> {
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return send(StatusCode::BAD_REQUEST, "application/json", failure("the body is not JSON"));
    };
    let messages = request.get("messages").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(said) = messages.last().and_then(|last| last.get("content")).map(text_of) else {
        return send(StatusCode::BAD_REQUEST, "application/json", failure("there are no messages"));
    };
    let repeated: String = said.chars().take(REPEATED_MAX).collect();
    let says = format!("I am the sample model of this demo and know nothing. You said: {repeated}");
    let count = |text: &str| text.split_whitespace().count();
    let input: usize = messages
        .iter()
        .filter_map(|message| message.get("content"))
        .map(|content| count(&text_of(content)))
        .sum();
    let usage = json!({ "prompt_tokens": input, "completion_tokens": count(&says),
        "total_tokens": input + count(&says) });
    if request.get("stream").and_then(Value::as_bool) == Some(true) {
        return send(StatusCode::OK, "text/event-stream", stream(&says, &usage));
    }
    let answer = json!({ "id": "sample", "object": "chat.completion", "created": 0, "model": NAME, "usage": usage,
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": says }, "finish_reason": "stop" }] });
    send(StatusCode::OK, "application/json", answer.to_string())
}

fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
            texts.collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

fn stream(says: &str, usage: &Value) -> String {
    let chunk = |delta: Value, reason: Value| {
        json!({ "id": "sample", "object": "chat.completion.chunk", "created": 0, "model": NAME,
            "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] })
    };
    let mut chunks = vec![chunk(json!({ "role": "assistant", "content": "" }), Value::Null)];
    let words = says.split_inclusive(' ');
    chunks.extend(words.map(|word| chunk(json!({ "content": word }), Value::Null)));
    chunks.push(chunk(json!({}), json!("stop")));
    chunks.push(json!({ "id": "sample", "object": "chat.completion.chunk", "created": 0, "model": NAME,
        "choices": [], "usage": usage }));
    let lines: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    lines + "data: [DONE]\n\n"
}

fn failure(why: &str) -> String {
    json!({ "error": { "message": why, "type": "invalid_request_error", "param": null, "code": null } })
        .to_string()
}

fn send(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut answer = Response::new(Full::new(Bytes::from(body)).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
