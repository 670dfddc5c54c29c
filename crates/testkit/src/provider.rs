//! A provider of models that answers by a script: each dialect's smallest true answer, cut into pieces anywhere.
//!
//! The texts have the shapes of the recordings (and of the official SDK's types for DashScope, which has none). Who
//! wants real ones gives an exchange of [`crate::recorded`].

#![expect(clippy::indexing_slicing, reason = "an index into a JSON value answers null or makes the member")]

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    origin::{Origin, Received, Reply},
    recorded::Exchange,
};

/// What the provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// OpenAI's chat, and all that is like it.
    OpenAi,
    /// Anthropic's Messages.
    Anthropic,
    /// Gemini's `generateContent`.
    Gemini,
    /// Ollama's `/api/chat`.
    Ollama,
    /// DashScope's own.
    DashScope,
}

/// The text that every answer says.
pub const SAYS: &str = "Grüße, world!";
/// Input and output tokens that every answer tells.
pub const TOKENS: (u64, u64) = (11, 7);

/// A provider on a free port; answers chats and embeddings, streamed where the request asks for it.
pub fn provider(speaks: Speaks) -> Origin {
    Origin::start(move |asked| answer(speaks, asked))
}

/// A provider that answers with recorded exchanges, one after the other, cut at places that the seed decides.
pub fn replaying(exchanges: Vec<Exchange>, seed: u64) -> Origin {
    let next = AtomicU64::new(0);
    Origin::start(move |_| {
        let turn = next.fetch_add(1, Ordering::Relaxed);
        let at = usize::try_from(turn).unwrap_or(0) % exchanges.len().max(1);
        let exchange = exchanges.get(at).expect("there is an exchange to replay");
        let kind = exchange.headers.iter().find(|(name, _)| name == "content-type");
        let kind = kind.map_or("application/json", |(_, value)| value.as_str());
        pieces(exchange.status, kind, &exchange.body, seed.wrapping_add(turn))
    })
}

/// The answer to one request.
pub fn answer(speaks: Speaks, asked: &Received) -> Reply {
    let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    let path = asked.target.split('?').next().unwrap_or_default();
    if path.contains("mbed") {
        return reply(&embeddings(speaks, &body).to_string(), "application/json");
    }
    if path.ends_with("/count_tokens") {
        return reply(r#"{"input_tokens":11}"#, "application/json");
    }
    if path.ends_with("/responses") {
        return responses(body["stream"] == true);
    }
    if path.ends_with("/transcriptions") {
        let usage = json!({ "type": "tokens", "input_tokens": TOKENS.0, "output_tokens": TOKENS.1,
            "total_tokens": TOKENS.0 + TOKENS.1 });
        return reply(&json!({ "text": SAYS, "usage": usage }).to_string(), "application/json");
    }
    let streams = body["stream"] == true
        || path.contains("streamGenerateContent")
        || asked.header("x-dashscope-sse") == Some("enable");
    let calls = body.to_string().contains("call the tool");
    match (streams, speaks) {
        (false, _) => reply(&whole(speaks, calls).to_string(), "application/json"),
        (true, Speaks::Ollama) => reply(&stream(speaks, calls), "application/x-ndjson"),
        (true, _) => reply(&stream(speaks, calls), "text/event-stream"),
    }
}

fn reply(body: &str, kind: &str) -> Reply {
    static SEED: AtomicU64 = AtomicU64::new(1);
    pieces(200, kind, body.as_bytes(), SEED.fetch_add(1, Ordering::Relaxed))
}

/// A body in pieces whose borders fall anywhere, also within a character.
fn pieces(status: u16, kind: &str, body: &[u8], seed: u64) -> Reply {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut reply = Reply::new(status, "").with("content-type", kind);
    // What must not reach a caller.
    for (name, value) in [
        ("openai-organization", "org-canary"),
        ("set-cookie", "session=canary"),
        ("x-ratelimit-remaining-tokens", "1"),
        ("retry-after", "3"),
    ] {
        reply = reply.with(name, value);
    }
    let mut rest = body;
    while !rest.is_empty() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let length = 1 + usize::try_from(random % 97).unwrap_or(0);
        let (piece, more) = rest.split_at(length.min(rest.len()));
        reply = reply.then(Duration::ZERO, piece.to_vec());
        rest = more;
    }
    reply
}

const ARGUMENTS: &str = r#"{"city":"Zürich"}"#;

fn usage() -> Value {
    json!({ "prompt_tokens": TOKENS.0, "completion_tokens": TOKENS.1, "total_tokens": TOKENS.0 + TOKENS.1 })
}

fn whole(speaks: Speaks, calls: bool) -> Value {
    let arguments: Value = serde_json::from_str(ARGUMENTS).unwrap_or_default();
    let call = json!({ "id": "call_1", "type": "function", "function": { "name": "weather", "arguments": ARGUMENTS } });
    match speaks {
        Speaks::OpenAi => {
            let message = if calls {
                json!({ "role": "assistant", "content": null, "tool_calls": [call] })
            } else {
                json!({ "role": "assistant", "content": SAYS, "refusal": null })
            };
            let reason = if calls { "tool_calls" } else { "stop" };
            json!({ "id": "chatcmpl-canary", "object": "chat.completion", "created": 1, "model": "native",
                "choices": [{ "index": 0, "message": message, "finish_reason": reason, "logprobs": null }],
                "usage": usage() })
        }
        Speaks::Anthropic => {
            let block = if calls {
                json!({ "type": "tool_use", "id": "toolu_1", "name": "weather", "input": arguments })
            } else {
                json!({ "type": "text", "text": SAYS })
            };
            json!({ "id": "msg_canary", "type": "message", "role": "assistant", "model": "native",
                "content": [block], "stop_reason": if calls { "tool_use" } else { "end_turn" }, "stop_sequence": null,
                "usage": { "input_tokens": TOKENS.0, "output_tokens": TOKENS.1 } })
        }
        Speaks::Gemini => gemini(calls, true),
        Speaks::Ollama => {
            let mut message = json!({ "role": "assistant", "content": if calls { "" } else { SAYS } });
            if calls {
                message["tool_calls"] =
                    json!([{ "function": { "name": "weather", "arguments": arguments } }]);
            }
            json!({ "model": "native", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": true,
                "done_reason": "stop", "prompt_eval_count": TOKENS.0, "eval_count": TOKENS.1 })
        }
        Speaks::DashScope => dashscope(
            if calls {
                json!({ "role": "assistant", "content": "", "tool_calls": [call] })
            } else {
                json!({ "role": "assistant", "content": SAYS })
            },
            if calls { "tool_calls" } else { "stop" },
        ),
    }
}

fn gemini(calls: bool, last: bool) -> Value {
    let arguments: Value = serde_json::from_str(ARGUMENTS).unwrap_or_default();
    let part = if calls {
        json!({ "functionCall": { "name": "weather", "args": arguments }, "thoughtSignature": "c2ln" })
    } else {
        json!({ "text": SAYS })
    };
    let mut candidate = json!({ "content": { "parts": [part], "role": "model" }, "index": 0 });
    if last {
        candidate["finishReason"] = json!("STOP");
    }
    json!({ "candidates": [candidate], "modelVersion": "native", "responseId": "canary", "usageMetadata": {
        "promptTokenCount": TOKENS.0, "candidatesTokenCount": TOKENS.1, "totalTokenCount": TOKENS.0 + TOKENS.1 } })
}

fn dashscope(message: Value, reason: &str) -> Value {
    json!({ "request_id": "canary", "output": { "choices": [{ "finish_reason": reason, "message": message }] },
        "usage": { "input_tokens": TOKENS.0, "output_tokens": TOKENS.1, "total_tokens": TOKENS.0 + TOKENS.1 } })
}

/// The text in two increments.
fn halves() -> (&'static str, &'static str) {
    SAYS.split_at(SAYS.find(',').unwrap_or(0))
}

fn stream(speaks: Speaks, calls: bool) -> String {
    let (first, second) = halves();
    let (left, right) = ARGUMENTS.split_at(8);
    match speaks {
        Speaks::OpenAi => {
            let chunk = |delta: Value, reason: Value| {
                json!({ "id": "chatcmpl-canary", "object": "chat.completion.chunk", "created": 1, "model": "native",
                    "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] })
            };
            let mut chunks = vec![chunk(json!({ "role": "assistant", "content": "" }), Value::Null)];
            if calls {
                let begin = json!({ "index": 0, "id": "call_1", "type": "function",
                    "function": { "name": "weather", "arguments": left } });
                chunks.push(chunk(json!({ "tool_calls": [begin] }), Value::Null));
                let more = json!({ "index": 0, "function": { "arguments": right } });
                chunks.push(chunk(json!({ "tool_calls": [more] }), Value::Null));
            } else {
                chunks.push(chunk(json!({ "content": first }), Value::Null));
                chunks.push(chunk(json!({ "content": second }), Value::Null));
            }
            chunks.push(chunk(json!({}), json!(if calls { "tool_calls" } else { "stop" })));
            let mut last = chunk(json!({}), Value::Null);
            last["choices"] = json!([]);
            last["usage"] = usage();
            chunks.push(last);
            let lines: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
            format!(": PROCESSING\n\n{lines}data: [DONE]\n\n")
        }
        Speaks::Anthropic => anthropic_stream(calls),
        Speaks::Gemini => format!("data: {}\r\n\r\n", gemini(calls, true)),
        Speaks::Ollama => {
            let line = |content: &str| json!({ "model": "native", "message": { "role": "assistant", "content": content }, "done": false });
            if calls {
                return format!("{}\n", whole(Speaks::Ollama, true));
            }
            let mut last = whole(Speaks::Ollama, false);
            last["message"]["content"] = json!("");
            format!("{}\n{}\n{last}\n", line(first), line(second))
        }
        Speaks::DashScope => {
            let frame = |number: u32, body: Value| {
                format!("id:{number}\nevent:result\n:HTTP_STATUS/200\ndata:{body}\n\n")
            };
            if calls {
                return frame(1, whole(Speaks::DashScope, true));
            }
            let message = |text: &str| json!({ "role": "assistant", "content": text });
            let begin = frame(1, dashscope(message(first), "null"));
            begin + &frame(2, dashscope(message(second), "null")) + &frame(3, dashscope(message(""), "stop"))
        }
    }
}

fn anthropic_stream(calls: bool) -> String {
    let (first, second) = halves();
    let (left, right) = ARGUMENTS.split_at(8);
    let usage = json!({ "input_tokens": TOKENS.0, "output_tokens": 1 });
    let mut events =
        vec![json!({ "type": "message_start", "message": { "id": "msg_canary", "type": "message",
        "role": "assistant", "model": "native", "content": [], "stop_reason": null, "stop_sequence": null,
        "usage": usage } })];
    let block = if calls {
        json!({ "type": "tool_use", "id": "toolu_1", "name": "weather", "input": {} })
    } else {
        json!({ "type": "text", "text": "" })
    };
    events.push(json!({ "type": "content_block_start", "index": 0, "content_block": block }));
    events.push(json!({ "type": "ping" }));
    for (text, arguments) in [(first, left), (second, right)] {
        let delta = if calls {
            json!({ "type": "input_json_delta", "partial_json": arguments })
        } else {
            json!({ "type": "text_delta", "text": text })
        };
        events.push(json!({ "type": "content_block_delta", "index": 0, "delta": delta }));
    }
    events.push(json!({ "type": "content_block_stop", "index": 0 }));
    let reason = if calls { "tool_use" } else { "end_turn" };
    events.push(json!({ "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null },
        "usage": { "input_tokens": TOKENS.0, "output_tokens": TOKENS.1 } }));
    events.push(json!({ "type": "message_stop" }));
    let line =
        |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default());
    events.iter().map(line).collect()
}

/// OpenAI's Responses, for native paths.
fn responses(streams: bool) -> Reply {
    let done = json!({ "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "native",
        "output": [{ "type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
            "content": [{ "type": "output_text", "text": SAYS, "annotations": [] }] }],
        "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
        "usage": { "input_tokens": TOKENS.0, "output_tokens": TOKENS.1, "total_tokens": TOKENS.0 + TOKENS.1,
            "input_tokens_details": { "cached_tokens": 0 }, "output_tokens_details": { "reasoning_tokens": 0 } } });
    if !streams {
        return reply(&done.to_string(), "application/json");
    }
    let mut begun = done.clone();
    begun["status"] = json!("in_progress");
    begun["output"] = json!([]);
    begun["usage"] = Value::Null;
    let part = json!({ "type": "output_text", "text": "", "annotations": [] });
    let item = json!({ "type": "message", "id": "msg_1", "status": "in_progress", "role": "assistant", "content": [] });
    let events = [
        json!({ "type": "response.created", "sequence_number": 0, "response": begun }),
        json!({ "type": "response.output_item.added", "sequence_number": 0, "output_index": 0, "item": item }),
        json!({ "type": "response.content_part.added", "sequence_number": 0, "item_id": "msg_1", "output_index": 0,
            "content_index": 0, "part": part }),
        json!({ "type": "response.output_text.delta", "sequence_number": 0, "item_id": "msg_1", "output_index": 0,
            "content_index": 0, "delta": SAYS, "logprobs": [] }),
        json!({ "type": "response.completed", "sequence_number": 1, "response": done }),
    ];
    let line =
        |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default());
    reply(&events.iter().map(line).collect::<String>(), "text/event-stream")
}

fn embeddings(speaks: Speaks, asked: &Value) -> Value {
    let vector = json!([0.5, 1.0]);
    let count = match speaks {
        Speaks::Gemini => asked["requests"].as_array().map_or(1, Vec::len),
        Speaks::DashScope => asked["input"]["texts"].as_array().map_or(1, Vec::len),
        _ => asked["input"].as_array().map_or(1, Vec::len),
    };
    let all = |one: &dyn Fn(usize) -> Value| (0..count).map(one).collect::<Vec<_>>();
    match speaks {
        Speaks::Gemini => json!({ "embeddings": all(&|_| json!({ "values": vector })) }),
        Speaks::Ollama => json!({ "embeddings": all(&|_| vector.clone()), "prompt_eval_count": TOKENS.0 }),
        Speaks::DashScope => {
            json!({ "request_id": "canary", "usage": { "total_tokens": TOKENS.0 }, "output": {
            "embeddings": all(&|at| json!({ "text_index": at, "embedding": vector })) } })
        }
        _ => json!({ "object": "list", "model": "native", "id": "e1",
            "data": all(&|at| json!({ "object": "embedding", "index": at, "embedding": vector })),
            "usage": { "prompt_tokens": TOKENS.0, "total_tokens": TOKENS.0, "completion_tokens": 0 } }),
    }
}
