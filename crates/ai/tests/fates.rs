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
