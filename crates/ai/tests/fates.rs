//! Each dialect does with every field of OpenAI's request what its table says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

use bartizan_ai::{
    Dialect, Request, Target,
    chat::{FIELDS, Fate},
    dialect::DIALECTS,
    json::Json,
};

/// A value that asks for something, per field. `model`, `messages` and the two that need others stand in the base.
fn asking(field: &str) -> &'static str {
    match field {
        "audio" => r#"{"voice":"a","format":"wav"}"#,
        "enable_thinking" | "logprobs" | "store" => "true",
        "parallel_tool_calls" => "false",
        "extra_content" | "metadata" | "moderation" | "prompt_cache_options" | "web_search_options" => {
            r#"{"a":"b"}"#
        }
        "frequency_penalty" | "presence_penalty" => "0.5",
        "function_call" => r#"{"name":"f"}"#,
        "functions" => r#"[{"name":"f"}]"#,
        "logit_bias" => r#"{"1":2}"#,
        "max_completion_tokens" | "max_tokens" | "thinking_budget" => "77",
        "modalities" => r#"["text","audio"]"#,
        "n" | "top_logprobs" => "2",
        "prediction" => r#"{"type":"content","content":"x"}"#,
        "reasoning_effort" => r#""medium""#,
        "response_format" => {
            r#"{"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object"}}}"#
        }
        "seed" => "7",
        "service_tier" => r#""flex""#,
        "stop" => r#"["END"]"#,
        "stream" => "true",
        "stream_options" => r#"{"include_usage":true}"#,
        "temperature" | "top_p" => "0.25",
        "tool_choice" => r#""none""#,
        "tools" => r#"[{"type":"function","function":{"name":"other"}}]"#,
        "top_k" => "40",
        _ => r#""word""#,
    }
}

fn base() -> Json {
    Json::read(
        br#"{"model":"m","messages":[{"role":"user","content":"hi"}],
             "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]}"#,
    )
    .unwrap()
}

fn with(field: &str) -> Request {
    let Json::Object(mut object) = base() else { panic!("an object") };
    if field == "model" || field == "messages" {
        let value = if field == "model" { "\"m2\"" } else { r#"[{"role":"user","content":"other"}]"# };
        object.set(field, Json::read(value.as_bytes()).unwrap());
    } else {
        object.set(field, Json::read(asking(field).as_bytes()).unwrap());
    }
    if field == "stream_options" {
        object.set("stream", true);
    }
    Request::read(&Json::from(object).to_bytes()).unwrap()
}

#[test]
fn every_table_names_every_field_once() {
    for dialect in DIALECTS {
        let names: Vec<_> = dialect.fates().iter().map(|(name, _)| *name).collect();
        assert_eq!(names, FIELDS, "{dialect:?}");
    }
}

#[test]
fn every_field_has_the_fate_that_its_table_says() {
    let target = Target { model: "model-of-the-target", max_output: None, version: None };
    let plain = Request::read(&base().to_bytes()).unwrap();
    let mut tried = 0;
    for dialect in DIALECTS {
        let without = dialect.request(&plain, &target).unwrap();
        assert_eq!(without.lost, Vec::<String>::new(), "{dialect:?}: nothing asked, nothing lost");
        for (field, fate) in dialect.fates() {
            let at = format!("{field} at {dialect:?}");
            let with = dialect.request(&with(field), &target);
            match fate {
                Fate::Refused => {
                    let refused = with.expect_err(&at);
                    assert_eq!(refused.field, *field, "{at}");
                }
                Fate::Lost => {
                    let with = with.expect(&at);
                    assert_eq!(with.lost, [*field], "{at}");
                    assert_eq!(with.body, without.body, "{at}: what is lost leaves no trace");
                }
                Fate::Carried => {
                    let with = with.expect(&at);
                    assert_eq!(with.lost, Vec::<String>::new(), "{at}");
                    // The model is the target's; usage is asked for in any case.
                    let same = *field == "model" || *field == "stream_options";
                    let differs = (&with.path, &with.body) != (&without.path, &without.body);
                    assert!(same || differs, "{at}: what is carried shows");
                }
            }
            tried += 1;
        }
    }
    assert_eq!(tried, DIALECTS.len() * FIELDS.len());
}

#[test]
fn a_field_that_nobody_knows_is_lost_where_requests_are_written_anew() {
    let body = br#"{"model":"m","messages":[{"role":"user","content":"hi"}],"brand_new":1,"sp ace":2}"#;
    let request = Request::read(body).unwrap();
    let target = Target { model: "t", max_output: None, version: None };
    for dialect in DIALECTS {
        let outgoing = dialect.request(&request, &target).unwrap();
        let sent = String::from_utf8(outgoing.body).unwrap();
        match dialect {
            Dialect::OpenAi | Dialect::Compatible | Dialect::DashScopeCompatible => {
                assert!(sent.contains("brand_new"), "{dialect:?}")
            }
            _ => assert!(
                !sent.contains("brand_new") && outgoing.lost == ["brand_new", "unknown"],
                "{dialect:?}"
            ),
        }
    }
}

#[test]
fn callers_cannot_choose_where_a_request_goes_or_with_which_key() {
    for field in ["api_base", "base_url", "api_key", "extra_headers", "custom_llm_provider"] {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],"{field}":"x"}}"#);
        assert_eq!(Request::read(body.as_bytes()).unwrap_err().field, field);
    }
    let twice = br#"{"model":"cheap","messages":[{"role":"user","content":"hi"}],"model":"dear"}"#;
    assert!(Request::read(twice).is_err());
}

/// The page `docs/ai/dialects.md`: what becomes of each field at each provider, from the tables themselves.
fn page() -> String {
    let mut page = String::from(PAGE_HEAD);
    page.push_str("| field |");
    DIALECTS.iter().for_each(|dialect| page.push_str(&format!(" {} |", dialect.name())));
    page.push_str("\n|---|");
    page.push_str(&"---|".repeat(DIALECTS.len()));
    page.push('\n');
    for (at, field) in FIELDS.iter().enumerate() {
        page.push_str(&format!("| `{field}` |"));
        for dialect in DIALECTS {
            let word = match dialect.fates()[at].1 {
                Fate::Carried => "yes",
                Fate::Lost => "lost",
                Fate::Refused => "**refused**",
            };
            page.push_str(&format!(" {word} |"));
        }
        page.push('\n');
    }
    page.push_str(PAGE_TAIL);
    page
}

#[test]
fn the_page_of_dialects_is_fresh() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ai/dialects.md");
    if std::env::var_os("BARTIZAN_REGENERATE").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let have = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(have, page(), "run `cargo xtask fixtures`");
}

const PAGE_HEAD: &str = "\
# What becomes of a request in each dialect

`POST /v1/chat/completions` takes OpenAI's request for every model. What the provider behind it has no place for is
either **lost** (the answer's header `X-AI-Lost` and the record name it) or **refused** with 400, because an answer
without it would not be what was asked for. A value that asks for nothing (`null`, `false`, `n: 1`, a penalty of 0 …)
is always fine. Fields that nobody knows pass to servers of OpenAI's dialect and are lost elsewhere. `api_base`,
`api_key`, `extra_headers` and their like are refused everywhere.

This page is written from the tables in `crates/ai/src/dialect/`, and a test holds the code to them.

";

const PAGE_TAIL: &str = "
## Within a field

* **Messages between turns from the system** become the user's, marked `[system]`, at Anthropic, and part of the system
  instruction at Gemini; `X-AI-Lost` says `messages.role`. Names of speakers (`messages.name`) are lost where requests
  are written anew, `image_url.detail` and `tools.function.strict` where the provider has no such thing.
* **Temperature** above 1 is 1 at Anthropic. With thinking, or with `version: 2026-10-21`, sampling is lost there.
* **reasoning_effort** becomes `thinking` with an effort or, for models before 4.6, a budget at Anthropic; a level
  (Gemini 3) or a budget (2.5) at Gemini; `think` at Ollama; `enable_thinking` and `thinking_budget` at DashScope.
* **response_format** `json_object` is refused at Anthropic: give a schema.
* **tool_choice** `required` or a name is refused at Ollama; `required` is `auto` at DashScope, and with thinking at
  Anthropic (`X-AI-Lost: tool_choice`).
* **Pictures** by address go to Anthropic (https) and DashScope; Gemini and Ollama take data URIs only, because the
  gateway fetches nothing.
* **Reasoning** comes as `reasoning_content`. Opaque blocks that a provider wants back come as `extra_content` of the
  message (`anthropic.thinking_blocks`, `google.thought_signatures`) and of calls (`google.thought_signature`): send the
  message back as it came. A client that drops them loses Gemini 3's tool turns.

## In answers

Blocks of the provider's own tools, citations, media, executed code, filter results, costs and timings have no place in
OpenAI's chat; the record names what was left out. The answer's `id`, `model` and `created` are the gateway's own.
";
