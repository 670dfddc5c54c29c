//! Models: every provider through the real binary, in OpenAI's dialect and in its own.

use bartizan_testkit::{
    Answer, Origin, Reply,
    origin::Received,
    provider::{SAYS, Speaks, TOKENS, answer, provider, replaying},
    recorded,
};
use serde_json::{Value, json};

use crate::harness::{Gate, WEB, document, wait};

/// The key that must never be seen by a caller, and where it is.
const CANARY: &str = "canary-provider-key-0123456789";

/// The gateway's keys where the clients of each provider put them, and a route to all models.
fn house(providers: &[(&str, &str, &Origin)], more: &[&str]) -> String {
    let mut parts = vec![
        WEB.to_owned(),
        document(
            "AuthenticationPolicy",
            "keys",
            "{ methods: [{ type: ApiKey }, { type: ApiKey, apiKey: { header: x-goog-api-key } }, \
             { type: ApiKey, apiKey: { header: authorization } }] }",
        ),
        document("Route", "models", "{ rules: [{ backendRefs: [{ kind: Models }] }] }"),
        document("Consumer", "shop", "{}"),
    ];
    for (name, llm, origin) in providers {
        let spec = format!(
            "{{ kind: Llm, llm: {{ {llm}, keys: [{{ valueRef: env://CANARY }}] }}, endpoints: [{{ url: \"{}\" }}] }}",
            origin.url()
        );
        parts.push(document("Upstream", name, &spec));
    }
    parts.extend(more.iter().map(|part| (*part).to_owned()));
    parts.join("---\n")
}

fn model(name: &str, upstream: &str, target: &str) -> String {
    document("Model", name, &format!("{{ targets: [{{ upstream: {upstream}, model: {target} }}] }}"))
}

fn start(documents: &str) -> (Gate, String) {
    let gate = Gate::start_with_env(documents, ("CANARY", CANARY));
    let key = known_key(&gate, "shop");
    (gate, key)
}

/// A key that the gateway already knows.
fn known_key(gate: &Gate, consumer: &str) -> String {
    let key = gate.key(consumer);
    let bearer = format!("Bearer {key}");
    wait("the key is known", || gate.client().get("/v1/models", &[("authorization", &bearer)]).status == 200);
    key
}

fn ask(gate: &Gate, key: &str, path: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {key}");
    gate.client().call(
        "POST",
        path,
        &[("authorization", &bearer), ("content-type", "application/json")],
        body.to_string(),
    )
}

fn chat(model: &str, content: &str, stream: bool) -> Value {
    json!({ "model": model, "messages": [{ "role": "system", "content": "Be kind." }, { "role": "user", "content": content }],
        "stream": stream, "stream_options": if stream { json!({ "include_usage": true }) } else { Value::Null },
        "tools": [{ "type": "function", "function": { "name": "weather", "parameters": { "type": "object" } } }] })
}

/// The chunks of a stream; it must end in `[DONE]`.
fn chunks(answer: &Answer) -> Vec<Value> {
    let text = answer.text();
    let mut lines: Vec<&str> = text.split("\n\n").filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.pop(), Some("data: [DONE]"), "{text}");
    lines.iter().map(|line| serde_json::from_str(line.strip_prefix("data: ").unwrap()).unwrap()).collect()
}

fn no_secret(answer: &Answer) {
    let head = format!("{:?}", answer.headers);
    for telling in ["canary", "org-", "set-cookie", "x-ratelimit"] {
        assert!(!head.contains(telling), "{telling} in {head}");
        assert!(!answer.text().contains(telling), "{telling} in {}", answer.text());
    }
}

#[test]
fn rules_about_attacks_judge_the_head_of_a_chat_and_how_its_body_is_built_but_not_its_prose() {
    let origin = provider(Speaks::OpenAi);
    let inspection = document("InspectionPolicy", "attacks", "{ ruleSets: [baseline] }");
    let documents = house(
        &[("openai", "provider: OpenAi", &origin)],
        &[&model("public", "openai", "native-1"), &inspection],
    );
    let (gate, key) = start(&documents);
    let prose = "Why is `1' UNION SELECT password FROM users--` an attack, and <script>alert(1)</script>?";
    let answered = ask(&gate, &key, "/v1/chat/completions", &chat("public", prose, false));
    assert_eq!(answered.status, 200, "{}", gate.record_of(&answered));
    let asked =
        ask(&gate, &key, "/v1/chat/completions?q=1%27+union+select+1,2--+-", &chat("public", "hi", false));
    assert_eq!(
        (asked.status.as_u16(), gate.record_of(&asked)["reason"].as_str()),
        (403, Some("AttackDetected"))
    );
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", &*bearer), ("content-type", "application/json")];
    let twice = r#"{"model":"public","model":"other","messages":[{"role":"user","content":"hi"}]}"#;
    let refused = gate.client().call("POST", "/v1/chat/completions", &headers, twice);
    let reason = gate.record_of(&refused)["reason"].clone();
    assert_eq!((refused.status.as_u16(), reason.as_str()), (403, Some("InspectionIncomplete")));
}

const PROVIDERS: [(&str, &str, Speaks, &str, &str); 7] = [
    ("openai", "provider: OpenAi", Speaks::OpenAi, "/v1/chat/completions", "authorization"),
    ("anthropic", "provider: Anthropic", Speaks::Anthropic, "/v1/messages", "x-api-key"),
    ("gemini", "provider: Gemini", Speaks::Gemini, "/v1beta/models/native-1:", "x-goog-api-key"),
    ("mistral", "provider: Mistral", Speaks::OpenAi, "/v1/chat/completions", "authorization"),
    ("qwen", "provider: DashScope", Speaks::OpenAi, "/compatible-mode/v1/chat/completions", "authorization"),
    (
        "qwen-native",
        "provider: DashScope, dialect: Native",
        Speaks::DashScope,
        "/api/v1/services/aigc/text-generation/generation",
        "authorization",
    ),
    ("llama", "provider: Ollama", Speaks::Ollama, "/api/chat", "authorization"),
];

#[test]
fn every_provider_answers_in_openais_dialect_whole_and_streamed() {
    for (name, llm, speaks, path, header) in PROVIDERS {
        let origin = provider(speaks);
        let (gate, key) = start(&house(&[(name, llm, &origin)], &[&model("public", name, "native-1")]));

        let whole = ask(&gate, &key, "/v1/chat/completions", &chat("public", "hi", false));
        assert_eq!(whole.status, 200, "{name}: {}", whole.text());
        no_secret(&whole);
        let body: Value = serde_json::from_str(whole.text()).unwrap();
        assert_eq!(body["model"], "public", "{name}");
        assert_eq!(body["choices"][0]["message"]["content"], SAYS, "{name}");
        assert_eq!(body["choices"][0]["finish_reason"], "stop", "{name}");
        assert_eq!(body["usage"]["prompt_tokens"], TOKENS.0, "{name}");
        assert_eq!(body["usage"]["completion_tokens"], TOKENS.1, "{name}");

        let called = ask(&gate, &key, "/v1/chat/completions", &chat("public", "call the tool", false));
        let body: Value = serde_json::from_str(called.text()).unwrap();
        let call = &body["choices"][0]["message"]["tool_calls"][0];
        assert_eq!(call["function"]["name"], "weather", "{name}: {body}");
        let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
        assert_eq!(arguments, json!({ "city": "Zürich" }), "{name}");
        assert_eq!(body["choices"][0]["finish_reason"], "tool_calls", "{name}");

        let streamed = ask(&gate, &key, "/v1/chat/completions", &chat("public", "hi", true));
        assert_eq!(streamed.header("content-type"), Some("text/event-stream; charset=utf-8"), "{name}");
        no_secret(&streamed);
        let chunks = chunks(&streamed);
        let text: String =
            chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
        assert_eq!(text, SAYS, "{name}");
        assert_eq!(chunks.last().unwrap()["usage"]["completion_tokens"], TOKENS.1, "{name}");

        for asked in origin.received() {
            sent(&asked, name, path, header, &key);
        }
    }
}

/// What the provider was sent: its key, its path, its model, and nothing of the caller's.
fn sent(asked: &Received, name: &str, path: &str, header: &str, key: &str) {
    assert!(asked.target.starts_with(path), "{name}: {}", asked.target);
    let expected = if header == "authorization" { format!("Bearer {CANARY}") } else { CANARY.to_owned() };
    assert_eq!(asked.header(header), Some(expected.as_str()), "{name}");
    let head = format!("{:?} {}", asked.headers, asked.target);
    assert!(!head.contains(key), "{name}: the caller's key: {head}");
    for gone in ["x-consumer-name", "x-forwarded-for", "x-request-id"] {
        assert!(asked.header(gone).is_none(), "{name}: {gone}");
    }
    if name != "gemini" {
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!(body["model"], "native-1", "{name}");
    }
}

#[test]
fn usage_is_asked_for_always_and_told_to_those_who_asked() {
    let origin = provider(Speaks::OpenAi);
    let (gate, key) = start(&house(
        &[("openai", "provider: OpenAi", &origin)],
        &[&model("public", "openai", "gpt-4o-mini")],
    ));
    let mut body = chat("public", "hi", true);
    body.as_object_mut().unwrap().remove("stream_options");
    let answer = ask(&gate, &key, "/v1/chat/completions", &body);
    assert!(!answer.text().contains("usage"), "{}", answer.text());
    let asked: Value = serde_json::from_slice(&origin.received()[0].body).unwrap();
    assert_eq!(asked["stream_options"]["include_usage"], true);
}

#[test]
fn the_record_tells_tokens_and_cost_and_no_word_of_the_prompt() {
    let origin = provider(Speaks::OpenAi);
    let (gate, key) = start(&house(
        &[("openai", "provider: OpenAi", &origin)],
        &[&model("public", "openai", "gpt-4o-mini")],
    ));
    for stream in [false, true] {
        let answer =
            ask(&gate, &key, "/v1/chat/completions", &chat("public", "secret-of-the-prompt", stream));
        let id = answer.header("x-request-id").unwrap().to_owned();
        let line = gate.gateway.wait_for_record(&id);
        let model = &line["model"];
        assert_eq!(model["operation"], "chat");
        assert_eq!(model["name"], "public");
        assert_eq!(model["provider"], "OpenAi");
        assert_eq!(model["target"], "gpt-4o-mini");
        assert_eq!(model["input_tokens"], TOKENS.0);
        assert_eq!(model["output_tokens"], TOKENS.1);
        assert_eq!(model["usage"], "provider");
        // 11 tokens at 0.15 and 7 at 0.60 dollars for a million.
        assert_eq!(model["cost_pico"], 11 * 150_000 + 7 * 600_000);
        assert!(!line.to_string().contains("secret-of-the-prompt"));
        assert!(!line.to_string().contains(CANARY));
    }
}

#[test]
fn the_next_target_serves_what_the_first_cannot_and_callers_see_nothing_of_it() {
    let ill = Origin::start(|_| {
        Reply::new(529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#)
    });
    let well = provider(Speaks::OpenAi);
    let spec = "{ targets: [{ upstream: ill, model: claude }, { upstream: well, model: gpt }] }";
    let (gate, key) = start(&house(
        &[("ill", "provider: Anthropic", &ill), ("well", "provider: OpenAi", &well)],
        &[&document("Model", "public", spec)],
    ));
    for stream in [false, true] {
        let answer = ask(&gate, &key, "/v1/chat/completions", &chat("public", "hi", stream));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains("Grüße"));
    }
    assert_eq!((ill.received().len(), well.received().len()), (2, 2));
}

#[test]
fn a_stream_that_fails_before_its_first_content_is_a_status_and_after_it_an_event() {
    let error =
        r#"data: {"error":{"message":"The model is overloaded","code":"overloaded","type":"server_error"}}"#;
    let role = r#"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#;
    let content = r#"data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}"#;
    let early = format!("{role}\n\n{error}\n\n");
    let late = format!("{role}\n\n{content}\n\n{error}\n\n");
    let cut = format!("{role}\n\n{content}\n\n");
    for (body, status, end) in
        [(early, 503, None), (late, 200, Some("overloaded")), (cut, 200, Some("broken"))]
    {
        let origin =
            Origin::start(move |_| Reply::ok(body.clone()).with("content-type", "text/event-stream"));
        let (gate, key) =
            start(&house(&[("up", "provider: Compatible", &origin)], &[&model("public", "up", "m")]));
        let answer = ask(&gate, &key, "/v1/chat/completions", &chat("public", "hi", true));
        assert_eq!(answer.status, status as u16, "{}", answer.text());
        match end {
            None => {
                let body: Value = serde_json::from_str(answer.text()).unwrap();
                assert_eq!(body["error"]["code"], "provider_overloaded");
            }
            Some(word) => {
                assert!(answer.text().contains("Hel") && answer.text().contains(word), "{}", answer.text());
                assert!(!answer.text().contains("[DONE]"));
            }
        }
    }
}

#[test]
fn no_failure_of_a_provider_tells_its_key_or_its_account() {
    const STATUSES: [u16; 13] = [400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 529];
    let say = format!("Incorrect API key {CANARY} of org-canary123 at https://internal.canary.example");
    let body = json!({ "error": { "message": say, "type": CANARY, "code": CANARY } }).to_string();
    // The model's name says which status comes.
    let origin = Origin::start(move |asked| {
        let model: Value = serde_json::from_slice(&asked.body).unwrap();
        let status = model["model"].as_str().unwrap().parse().unwrap();
        Reply::new(status, body.clone()).with("x-canary", "canary")
    });
    let models: Vec<String> =
        STATUSES.iter().map(|status| model(&format!("m-{status}"), "up", &format!("\"{status}\""))).collect();
    let models: Vec<&str> = models.iter().map(String::as_str).collect();
    let (gate, key) = start(&house(&[("up", "provider: Compatible", &origin)], &models));
    for status in STATUSES {
        for stream in [false, true] {
            let answer =
                ask(&gate, &key, "/v1/chat/completions", &chat(&format!("m-{status}"), "hi", stream));
            assert!(answer.status.as_u16() >= 400, "{status}");
            no_secret(&answer);
            let body: Value = serde_json::from_str(answer.text()).unwrap();
            assert!(body["error"]["message"].is_string(), "{status}: {body}");
        }
    }
    let log = gate.gateway.stderr().join("\n") + &gate.gateway.stdout().join("\n");
    assert!(!log.contains(CANARY));
}

#[test]
fn callers_see_and_use_the_models_that_they_may() {
    let origin = provider(Speaks::OpenAi);
    let more = [
        model("open", "up", "m"),
        document("Role", "dear", "{}"),
        document("Model", "closed", "{ roles: [dear], targets: [{ upstream: up, model: m }] }"),
        document("Consumer", "held", "{ roles: [dear], models: [closed] }"),
    ];
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let (gate, shop) = start(&house(&[("up", "provider: Compatible", &origin)], &more));
    let held = known_key(&gate, "held");
    for (key, may, may_not) in [(&shop, "open", "closed"), (&held, "closed", "open")] {
        let bearer = format!("Bearer {key}");
        let list = gate.client().get("/v1/models", &[("authorization", &bearer)]);
        let list: Value = serde_json::from_str(list.text()).unwrap();
        let names: Vec<&str> =
            list["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
        assert_eq!(names, [may]);
        assert_eq!(ask(&gate, key, "/v1/chat/completions", &chat(may, "hi", false)).status, 200);
        let refused = ask(&gate, key, "/v1/chat/completions", &chat(may_not, "hi", false));
        assert_eq!(refused.status, 403, "{}", refused.text());
    }
    let unknown = ask(&gate, &shop, "/v1/chat/completions", &chat("nothing", "hi", false));
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("model_not_found"));
    assert_eq!(origin.received().len(), 2, "what is refused is not asked");
}

#[test]
fn refusals_speak_the_dialect_of_the_path() {
    let origin = provider(Speaks::OpenAi);
    let (gate, _) = start(&house(&[("up", "provider: Compatible", &origin)], &[&model("public", "up", "m")]));
    let table = [
        ("/v1/chat/completions", "/error/type", json!("authentication_error")),
        ("/v1/messages", "/error/type", json!("authentication_error")),
        ("/v1beta/models/public:generateContent", "/error/status", json!("UNAUTHENTICATED")),
        ("/api/v1/services/aigc/text-generation/generation", "/code", json!("CredentialMissing")),
    ];
    for (path, pointer, want) in table {
        let answer = gate.client().call("POST", path, &[], "{}");
        assert_eq!(answer.status, 401, "{path}");
        let body: Value = serde_json::from_str(answer.text()).unwrap();
        assert_eq!(body.pointer(pointer), Some(&want), "{path}: {body}");
    }
}

#[test]
fn native_paths_pass_untouched_with_the_providers_key() {
    let table = [
        ("provider: Anthropic", Speaks::Anthropic, "/v1/messages", "x-api-key", true),
        ("provider: Anthropic", Speaks::Anthropic, "/v1/messages/count_tokens", "authorization", true),
        ("provider: OpenAi", Speaks::OpenAi, "/v1/responses", "authorization", true),
        (
            "provider: Gemini",
            Speaks::Gemini,
            "/v1beta/models/native-1:generateContent",
            "x-goog-api-key",
            false,
        ),
        (
            "provider: Gemini",
            Speaks::Gemini,
            "/v1beta/models/native-1:streamGenerateContent?alt=sse",
            "x-goog-api-key",
            false,
        ),
        (
            "provider: DashScope",
            Speaks::DashScope,
            "/api/v1/services/aigc/text-generation/generation",
            "authorization",
            true,
        ),
    ];
    for (llm, speaks, path, header, names_model) in table {
        let origin = provider(speaks);
        let (gate, key) = start(&house(&[("up", llm, &origin)], &[&model("native-1", "up", "native-1")]));
        // Odd spacing and an unknown field: the bytes must arrive as they are.
        let body = if names_model {
            r#"{"model" :"native-1",  "brand_new":[1.0] }"#
        } else {
            r#"{"contents" : [],"x":1.50}"#
        };
        let value = if header == "authorization" { format!("Bearer {key}") } else { key.clone() };
        let answer =
            gate.client().call("POST", path, &[(header, &value), ("content-type", "application/json")], body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(!format!("{:?}", answer.headers).contains("canary"), "{path}");
        let asked = &origin.received()[0];
        assert_eq!(&asked.body[..], body.as_bytes(), "{path}");
        assert_eq!(asked.target, path);
        assert!(!format!("{:?}", asked.headers).contains(&key), "{path}");
        let direct = answer_of(speaks, asked);
        assert_eq!(answer.text(), direct, "{path}: the answer's bytes pass");
    }
    // A provider of another dialect is refused with a word that helps.
    let origin = provider(Speaks::OpenAi);
    let (gate, key) = start(&house(&[("up", "provider: OpenAi", &origin)], &[&model("public", "up", "m")]));
    let refused = ask(&gate, &key, "/v1/messages", &json!({ "model": "public" }));
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("/v1/chat/completions"), "{}", refused.text());
}

/// What the script answers to the same request.
fn answer_of(speaks: Speaks, asked: &Received) -> String {
    let origin = Origin::start(move |asked| answer(speaks, asked));
    let client = bartizan_testkit::Client::http1(origin.address());
    let sse = asked.header("x-dashscope-sse").unwrap_or_default().to_owned();
    client.call("POST", &asked.target, &[("x-dashscope-sse", &sse)], asked.body.to_vec()).text().to_owned()
}

#[test]
fn embeddings_come_from_every_provider_that_has_them() {
    for (name, llm, speaks, _, _) in PROVIDERS {
        let origin = provider(speaks);
        let (gate, key) = start(&house(&[(name, llm, &origin)], &[&model("public", name, "native-1")]));
        let body = json!({ "model": "public", "input": ["a", "b"], "encoding_format": "base64" });
        let answer = ask(&gate, &key, "/v1/embeddings", &body);
        if name == "anthropic" {
            assert_eq!(answer.status, 400);
            continue;
        }
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let body: Value = serde_json::from_str(answer.text()).unwrap();
        assert_eq!(body["data"].as_array().unwrap().len(), 2, "{name}");
        assert_eq!(body["data"][1]["embedding"], "AAAAPwAAgD8=", "{name}");
        assert_eq!(body["model"], "public");
    }
}

#[test]
fn recorded_streams_cut_anywhere_reach_the_caller_whole() {
    let Some(exchanges) = recorded::exchanges() else { return };
    let seed = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into();
    println!("seed {seed}");
    let table = [
        ("openai", "provider: OpenAi", "/v1/chat/completions"),
        ("mistral", "provider: Mistral", "/v1/chat/completions"),
        ("deepseek", "provider: DeepSeek", "/chat/completions"),
        ("anthropic", "provider: Anthropic", "/v1/messages"),
        ("gemini", "provider: Gemini", ":streamGenerateContent"),
        ("ollama", "provider: Ollama", "/api/chat"),
    ];
    for (name, llm, path) in table {
        // What failed at the provider is another test's; the words come back whole or the stream is no valid one.
        let of_provider = exchanges.iter().filter(|one| {
            one.provider == name && one.path.ends_with(path) && one.is_stream() && one.status == 200
        });
        let sound = of_provider.filter(|one| !String::from_utf8_lossy(&one.body).contains("\"error\":{"));
        let some: Vec<_> = sound.take(4).cloned().collect();
        assert!(!some.is_empty(), "{name}: nothing is recorded");
        let origin = replaying(some.clone(), seed);
        let (gate, key) = start(&house(&[(name, llm, &origin)], &[&model("public", name, "native-1")]));
        for recorded in &some {
            let answer = ask(&gate, &key, "/v1/chat/completions", &chat("public", "hi", true));
            let source = &recorded.source;
            assert_eq!(answer.status, 200, "{source}: {}", answer.text());
            let chunks = chunks(&answer);
            assert!(chunks.iter().all(|chunk| chunk["model"] == "public"), "{source}");
            let reasons =
                chunks.iter().filter(|chunk| chunk["choices"][0]["finish_reason"].is_string()).count();
            assert!(reasons >= 1, "{source}: {}", answer.text());
        }
    }
}

#[test]
fn a_stream_that_breaks_off_behind_its_reason_is_an_error_all_the_same() {
    // Gemini has no end mark, and may go on behind a reason: only the transport knows whether the answer is whole.
    let chunk = |text: &str| {
        let part = json!({ "candidates": [{ "content": { "parts": [{ "text": text }] }, "finishReason": "STOP", "index": 0 }] });
        format!("data: {part}\r\n\r\n")
    };
    for breaks in [false, true] {
        let body = chunk("Hel");
        let origin = Origin::start(move |_| {
            let reply = Reply::new(200, "").with("content-type", "text/event-stream");
            let reply = reply.then(std::time::Duration::ZERO, body.clone());
            // What is sent before a connection breaks is only read for certain when there is a pause between.
            let reply = reply.then(std::time::Duration::from_millis(200), ": later\r\n\r\n");
            if breaks { reply.breaking_off() } else { reply }
        });
        let (gate, key) =
            start(&house(&[("up", "provider: Gemini", &origin)], &[&model("public", "up", "m")]));
        let answer = ask(&gate, &key, "/v1/chat/completions", &chat("public", "hi", true));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.text().contains("[DONE]"), !breaks, "{}", answer.text());
        assert_eq!(answer.text().contains("provider_answer_broken"), breaks, "{}", answer.text());
    }
}

/// A form as the official clients send it.
fn form(model: &str) -> String {
    format!(
        "--xYz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n\
         RIFF\u{0}\r\n--xY\r\n--xYz\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--xYz--\r\n"
    )
}

#[test]
fn a_form_with_a_file_passes_with_the_providers_name_of_the_model() {
    let origin = provider(Speaks::OpenAi);
    let budget = document(
        "QuotaPolicy",
        "budget",
        "{ targetRefs: [{ kind: Consumer, name: poor }], limits: { tokens: 1000, per: day } }",
    );
    let more = [model("public", "up", "whisper-1"), document("Consumer", "poor", "{}"), budget];
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let (gate, key) = start(&house(&[("up", "provider: OpenAi", &origin)], &more));
    let send = |key: &str, body: String| {
        let bearer = format!("Bearer {key}");
        let kind = "multipart/form-data; boundary=xYz";
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        gate.client().call("POST", "/v1/audio/transcriptions", &headers, body)
    };
    let answer = send(&key, form("public"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["text"], SAYS);
    no_secret(&answer);
    let asked = origin.take_one();
    assert_eq!(asked.target, "/v1/audio/transcriptions");
    assert_eq!(asked.header("content-type"), Some("multipart/form-data; boundary=xYz"));
    assert_eq!(asked.header("authorization"), Some(format!("Bearer {CANARY}").as_str()));
    assert_eq!(String::from_utf8_lossy(&asked.body), form("whisper-1"));
    let line = gate.gateway.wait_for_record(answer.header("x-request-id").unwrap());
    assert_eq!(line["model"]["input_tokens"], TOKENS.0);

    // Two models in one form could be read in two ways; nobody is asked.
    let two = form("public")
        .replace("--xYz--", "--xYz\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nx\r\n--xYz--");
    assert_eq!(send(&key, two).status, 400);
    assert_eq!(send(&key, form("unknown")).status, 404);
    let poor = known_key(&gate, "poor");
    let refused = send(&poor, form("public"));
    assert_eq!(refused.status, 403, "nothing in a form bounds what it uses: {}", refused.text());
    assert!(refused.text().contains("UseUnknown"), "{}", refused.text());
    assert!(origin.received().is_empty());
}

#[test]
fn the_record_tells_who_served_and_why_others_did_not() {
    let ill = Origin::start(|_| {
        Reply::new(529, r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#)
    });
    let closed = Origin::start(|_| Reply::new(401, r#"{"error":{"message":"no","code":"invalid_api_key"}}"#));
    let well = provider(Speaks::OpenAi);
    let providers = [
        ("ill", "provider: Anthropic", &ill),
        ("closed", "provider: OpenAi", &closed),
        ("well", "provider: OpenAi", &well),
    ];
    for (strategy, weights) in
        [("Ordered", [1, 1, 1]), ("Weighted", [1_000_000, 1, 1]), ("LowestLatency", [1, 1, 1])]
    {
        let spec = format!(
            "{{ strategy: {strategy}, targets: [{{ upstream: ill, model: a, weight: {} }}, \
             {{ upstream: closed, model: b, weight: {} }}, {{ upstream: well, model: c, weight: {} }}] }}",
            weights[0], weights[1], weights[2]
        );
        let (gate, key) = start(&house(&providers, &[&document("Model", "public", &spec)]));
        let answer = ask(&gate, &key, "/v1/chat/completions", &chat("public", "hi", false));
        assert_eq!(answer.status, 200, "{strategy}: {}", answer.text());
        let line = gate.gateway.wait_for_record(answer.header("x-request-id").unwrap());
        let told = &line["model"];
        assert_eq!(line["upstream"], "well", "{strategy}");
        assert_eq!((&told["provider"], &told["target"]), (&json!("OpenAi"), &json!("c")), "{strategy}");
        let failures = told["failures"].to_string();
        assert!(
            failures.contains("ill") && failures.contains("provider_overloaded"),
            "{strategy}: {failures}"
        );
        assert!(failures.contains("closed") && failures.contains("provider_key"), "{strategy}: {failures}");
        assert!(!failures.contains("well"), "{strategy}: {failures}");
        let fallbacks: f64 = gate.scrape().family("bartizan_model_fallbacks_total").values().sum();
        assert!((fallbacks - 2.0).abs() < 0.1, "{strategy}: {fallbacks}");
    }
}
