//! Budgets that hold: reserved before a call, settled by what it used, kept over a restart.

use std::{thread, time::Duration};

use bartizan_testkit::{
    Answer, Gateway, Origin, Reply, TempDir,
    documents::Documents,
    provider::{Speaks, TOKENS, answer, provider},
};
use http::Request;
use serde_json::{Value, json};

use crate::harness::{Gate, WEB, document, wait};

/// A dollar for a million input tokens and ten for a million output tokens: what the scripted provider tells costs this
/// in picodollars.
const CALL_PICO: u64 = TOKENS.0 * 1_000_000 + TOKENS.1 * 10_000_000;

const PRICED: &str = "price: { input: 1, output: 10 }";

/// Keys, a route to models, one provider and one model, and whatever else.
fn house(origin: &Origin, model: &str, more: &[String]) -> String {
    let mut parts = vec![
        WEB.to_owned(),
        document(
            "AuthenticationPolicy",
            "keys",
            "{ methods: [{ type: ApiKey, apiKey: { header: authorization } }] }",
        ),
        document("Route", "models", "{ rules: [{ backendRefs: [{ kind: Models }] }] }"),
        document("Consumer", "anna", "{}"),
        document("Consumer", "bert", "{}"),
        document(
            "Upstream",
            "up",
            &format!(
                "{{ kind: Llm, llm: {{ provider: OpenAi }}, endpoints: [{{ url: \"{}\" }}] }}",
                origin.url()
            ),
        ),
        document("Model", "m", &format!("{{ targets: [{{ upstream: up, model: native }}], {model} }}")),
    ];
    parts.extend_from_slice(more);
    parts.join("---\n")
}

fn quota(limits: &str) -> String {
    document("QuotaPolicy", "budget", &format!("{{ limits: {limits} }}"))
}

/// Dollars as documents write them.
fn dollars(pico: u64) -> String {
    format!("{}.{:06}", pico / 1_000_000_000_000, pico / 1_000_000 % 1_000_000)
}

fn key(gate: &Gate, consumer: &str) -> String {
    let key = format!("Bearer {}", gate.key(consumer));
    wait("the key is known", || gate.client().get("/v1/models", &[("authorization", &key)]).status == 200);
    key
}

fn ask(gate: &Gate, key: &str, path: &str, body: &Value) -> Answer {
    gate.client().call(
        "POST",
        path,
        &[("authorization", key), ("content-type", "application/json")],
        body.to_string(),
    )
}

fn chat(stream: bool) -> Value {
    json!({ "model": "m", "max_tokens": TOKENS.1, "stream": stream, "messages": [{ "role": "user", "content": "hi" }] })
}

fn call(gate: &Gate, key: &str) -> Answer {
    ask(gate, key, "/v1/chat/completions", &chat(false))
}

fn code(answer: &Answer) -> String {
    answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
}

/// What the provider answers, streamed slowly: two hundred of them are under way at once.
fn slow(speaks: Speaks) -> Origin {
    Origin::start(move |asked| answer(speaks, asked).after(Duration::from_millis(400)))
}

#[test]
fn two_hundred_streams_at_once_overspend_nothing() {
    let origin = slow(Speaks::OpenAi);
    let calls = 60;
    let budget = quota(&format!("{{ cost: \"{}\", per: month }}", dollars(calls * CALL_PICO)));
    let gate = Gate::start(&house(&origin, PRICED, &[budget]));
    let key = key(&gate, "anna");
    let client = bartizan_testkit::Client::http2(gate.web()).with_authority("api.test");
    let request = || {
        client
            .request("POST", "/v1/chat/completions")
            .header("authorization", &key)
            .header("content-type", "application/json")
            .body(http_body_util::Full::from(chat(true).to_string()))
            .unwrap()
    };
    let send = |count: usize| -> Vec<Answer> {
        let requests: Vec<Request<_>> = (0..count).map(|_| request()).collect();
        client.send_all(requests).into_iter().map(|answer| answer.expect("it is answered")).collect()
    };
    let answers = send(200);
    let served = answers.iter().filter(|answer| answer.status == 200).count() as u64;
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.status == 429));
    assert!(served > 0 && served <= calls, "{served} of {calls}");
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(code(refused), "insufficient_quota");
    assert!(refused.header("retry-after").is_some());
    // What was held and not used is there again: one after the other, all of it can be used, and not a call more.
    let mut one_by_one = served;
    while call(&gate, &key).status == 200 {
        one_by_one += 1;
        assert!(one_by_one <= calls);
        thread::sleep(Duration::from_millis(20));
    }
    assert!(
        one_by_one + 4 >= calls,
        "an estimate holds a little more than a call uses: {one_by_one} of {calls}"
    );
    assert_eq!(origin.received().len() as u64, one_by_one, "a refused call never reaches the provider");
}

#[test]
fn a_restart_keeps_what_was_spent_and_a_crash_forgets_a_second_at_most() {
    let origin = provider(Speaks::OpenAi);
    let budget = quota(&format!("{{ cost: \"{}\", per: month }}", dollars(8 * CALL_PICO)));
    let documents = Documents::one(house(&origin, PRICED, &[budget]));
    let data = TempDir::new();
    let start = || {
        let start =
            Gateway::starting("run").arg("--config").arg(documents.path()).arg("--admin").arg("127.0.0.1:0");
        start.data_dir(data.path()).patiently(Duration::from_secs(120)).start()
    };
    let key = format!("Bearer {}", crate::harness::key(data.path(), "anna", None));
    let ask = |gateway: &Gateway| {
        let client = bartizan_testkit::Client::http1(gateway.address("web")).with_authority("api.test");
        let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
        client.call("POST", "/v1/chat/completions", &headers, chat(false).to_string()).status.as_u16()
    };
    let mut gateway = start();
    assert_eq!((0..3).map(|_| ask(&gateway)).collect::<Vec<_>>(), [200; 3]);
    gateway.signal("TERM");
    assert!(gateway.wait(Duration::from_secs(20)).is_some());

    let mut gateway = start();
    assert_eq!(ask(&gateway), 200);
    thread::sleep(Duration::from_millis(2_500));
    gateway.signal("KILL");
    assert!(gateway.wait(Duration::from_secs(20)).is_some());

    let gateway = start();
    let more = (0..9).filter(|_| ask(&gateway) == 200).count();
    // 4 of 8 were spent. The estimate holds more than a call uses, so the last one or two may not fit.
    assert!((2..=4).contains(&more), "{more}");
}

#[test]
fn a_call_that_fails_releases_all_that_it_held() {
    let ill = Origin::start(|_| Reply::new(400, r#"{"error":{"message":"no"}}"#));
    let budget = quota("{ tokens: 120, per: day, timeZone: Europe/Berlin }");
    let gate = Gate::start(&house(&ill, PRICED, &[budget]));
    let key = key(&gate, "anna");
    for _ in 0..20 {
        let answer = call(&gate, &key);
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
}

#[test]
fn a_caller_that_leaves_pays_for_what_was_streamed_and_for_the_prompt() {
    let piece =
        r#"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"one two three four"}}]}"#;
    let origin = Origin::start(move |_| {
        let reply = Reply::new(200, "").with("content-type", "text/event-stream");
        reply.then(Duration::ZERO, format!("{piece}\n\n")).then(Duration::from_secs(30), "data: [DONE]\n\n")
    });
    let gate = Gate::start(&house(&origin, PRICED, &[quota("{ cost: 1, per: month }")]));
    let key = key(&gate, "anna");
    let client = gate.client();
    let request = client
        .request("POST", "/v1/chat/completions")
        .header("authorization", &key)
        .header("content-type", "application/json")
        .body(http_body_util::Full::from(chat(true).to_string()))
        .unwrap();
    let mut stream = client.open(request).unwrap();
    let id = stream.headers["x-request-id"].to_str().unwrap().to_owned();
    assert!(stream.piece().unwrap().is_some());
    drop(stream);
    drop(client);
    let record = gate.gateway.wait_for_record(&id);
    let model = &record["model"];
    assert_eq!(model["usage"], "partial", "{record}");
    let (input, output) = (model["input_tokens"].as_u64().unwrap(), model["output_tokens"].as_u64().unwrap());
    assert!(input >= 20, "the prompt was sent: {record}");
    assert!((5..20).contains(&output), "eighteen letters were streamed: {record}");
    assert_eq!(model["cost_pico"], input * 1_000_000 + output * 10_000_000);
}

#[test]
fn what_cannot_be_bounded_or_priced_is_refused_under_a_budget_and_only_there() {
    let origin = provider(Speaks::OpenAi);
    let budget = || quota("[{ cost: 100, per: month }, { tokens: 1000000, per: day }]");
    let picture = json!({ "model": "m", "prompt": "a cat" });
    let unbounded = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });

    let gate = Gate::start(&house(&origin, "aliases: [n]", &[budget()]));
    let key_ = key(&gate, "anna");
    let answer = call(&gate, &key_);
    assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (403, "PriceUnknown"), "{}", answer.text());

    let gate = Gate::start(&house(&origin, PRICED, &[budget()]));
    let key_ = key(&gate, "anna");
    let answer = ask(&gate, &key_, "/v1/images/generations", &picture);
    assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (403, "UseUnknown"), "{}", answer.text());
    let answer = ask(&gate, &key_, "/v1/chat/completions", &unbounded);
    assert_eq!(
        (answer.status.as_u16(), code(&answer).as_str()),
        (400, "OutputUnbounded"),
        "{}",
        answer.text()
    );
    let vectors = ask(&gate, &key_, "/v1/embeddings", &json!({ "model": "m", "input": "hi" }));
    assert_eq!(vectors.status, 200, "vectors have no output: {}", vectors.text());

    // The model's own bound is sent where the caller has none.
    let gate = Gate::start(&house(&origin, &format!("{PRICED}, maxOutputTokens: 77"), &[budget()]));
    let key_ = key(&gate, "anna");
    origin.take();
    assert_eq!(ask(&gate, &key_, "/v1/chat/completions", &unbounded).status, 200);
    let sent: Value = serde_json::from_slice(&origin.take_one().body).unwrap();
    assert_eq!(sent["max_completion_tokens"], 77);
    let answer = ask(&gate, &key_, "/v1/responses", &json!({ "model": "m", "input": "hi" }));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent: Value = serde_json::from_slice(&origin.take_one().body).unwrap();
    assert_eq!(sent["max_output_tokens"], 77);

    // A budget that only watches changes nothing of what is sent, and a set without one refuses nothing.
    let watching = document("QuotaPolicy", "w", "{ mode: shadow, limits: { cost: 100, per: month } }");
    let gate = Gate::start(&house(&origin, "maxOutputTokens: 77", &[watching]));
    let key_ = key(&gate, "anna");
    origin.take();
    let answer = ask(&gate, &key_, "/v1/chat/completions", &unbounded);
    assert_eq!(answer.status, 200);
    let sent: Value = serde_json::from_slice(&origin.take_one().body).unwrap();
    assert_eq!(sent.get("max_completion_tokens"), None);
    let record = gate.record_of(&answer);
    assert_eq!(record["would_deny"][0]["reason"], "PriceUnknown", "{record}");
    assert_eq!(ask(&gate, &key_, "/v1/images/generations", &picture).status, 200);
}

#[test]
fn a_team_shares_its_models_and_its_budget() {
    let origin = provider(Speaks::OpenAi);
    let other = document("Model", "other", "{ targets: [{ upstream: up }] }");
    let team = document(
        "Team",
        "shop",
        "{ members: [anna, bert], models: [m], budget: { tokens: 120, per: week } }",
    );
    let carol = document("Consumer", "carol", "{}");
    let gate = Gate::start(&house(&origin, "", &[other, team, carol]));
    let (anna, bert, carol) = (key(&gate, "anna"), key(&gate, "bert"), key(&gate, "carol"));

    let listed = gate.client().get("/v1/models", &[("authorization", &anna)]);
    assert_eq!(listed.json()["data"].as_array().unwrap().len(), 1);
    let refused = ask(
        &gate,
        &anna,
        "/v1/chat/completions",
        &json!({ "model": "other", "messages": [{ "role": "user", "content": "hi" }] }),
    );
    assert_eq!((refused.status.as_u16(), code(&refused).as_str()), (403, "model_not_allowed"));

    let mut served = 0;
    while call(&gate, if served % 2 == 0 { &anna } else { &bert }).status == 200 {
        served += 1;
        thread::sleep(Duration::from_millis(20));
    }
    assert!((3..=6).contains(&served), "120 tokens for calls of 18: {served}");
    for key in [&anna, &bert] {
        let refused = call(&gate, key);
        assert_eq!(refused.status, 429);
        assert_eq!(refused.header("x-should-retry"), Some("false"), "a week is no time to wait for");
        let record = gate.record_of(&refused);
        assert_eq!(record["policy"], "Team/shop", "{record}");
        assert_eq!(record["reason"], "QuotaExceeded");
        assert!(record["detail"].as_str().unwrap().contains("team shop"), "{record}");
    }
    assert_eq!(call(&gate, &carol).status, 200, "who is in no team is not held to it");
}

#[test]
fn calls_are_counted_on_every_route_and_a_policy_that_watches_refuses_nobody() {
    let origin = Origin::answering("ok");
    let enforced =
        document("QuotaPolicy", "calls", "{ key: [gateway], limits: { requests: 3, per: month } }");
    let watching = document(
        "QuotaPolicy",
        "watching",
        "{ key: [gateway], mode: shadow, limits: { requests: 1, per: month } }",
    );
    let gate = Gate::start(&crate::harness::simple(&origin.url(), &[&enforced, &watching]));
    let answers: Vec<Answer> = (0..5).map(|_| gate.get("/", &[])).collect();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert_eq!(answers[3].json()["code"], "QuotaExceeded");
    let record = gate.record_of(&answers[1]);
    assert_eq!(record["would_deny"][0]["policy"], "QuotaPolicy/watching", "{record}");
    gate.wait_for_metric(
        r#"bartizan_ratelimit_decisions_total{policy="QuotaPolicy/calls",decision="deny",mode="enforce"}"#,
        2.0,
    );
}

#[test]
fn a_rate_of_tokens_is_settled_by_what_was_used() {
    let origin = provider(Speaks::OpenAi);
    // A call is taken for about 40 tokens and uses 18: without settling only three would fit.
    let rate = document("RateLimitPolicy", "tokens", "{ limits: { tokens: 130, timeWindow: 1h } }");
    let gate = Gate::start(&house(&origin, "", &[rate]));
    let key = key(&gate, "anna");
    let mut served = 0;
    while call(&gate, &key).status == 200 {
        served += 1;
        thread::sleep(Duration::from_millis(20));
    }
    assert!((4..=7).contains(&served), "{served}");
    let refused = call(&gate, &key);
    assert_eq!(refused.status, 429);
    assert_eq!(gate.record_of(&refused)["reason"], "RateExceeded");
}

#[test]
fn what_was_used_is_told_by_team_consumer_and_model() {
    let origin = provider(Speaks::OpenAi);
    let team = document("Team", "shop", "{ members: [anna] }");
    let gate = Gate::start(&house(&origin, &format!("{PRICED}, tellTarget: true"), &[team]));
    let (anna, bert) = (key(&gate, "anna"), key(&gate, "bert"));
    let answer = call(&gate, &anna);
    assert_eq!(answer.header("x-ai-provider"), Some("OpenAi"));
    assert_eq!(answer.header("x-ai-model"), Some("native"));
    let record = gate.record_of(&answer);
    assert_eq!(record["gen_ai.request.model"], "m", "{record}");
    assert_eq!(record["gen_ai.usage.output_tokens"], TOKENS.1);
    assert_eq!(call(&gate, &anna).status, 200);
    assert_eq!(call(&gate, &bert).status, 200);
    let series = r#"bartizan_model_tokens_total{team="shop",consumer="anna",model="m",type="input"}"#;
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    gate.wait_for_metric(series, (2 * TOKENS.0) as f64);

    let data = gate.data().to_str().unwrap().to_owned();
    let usage = || {
        let arguments = ["usage", "--by", "team,model", "--format", "json", "--data-dir", &data];
        let (code, told, errors) = bartizan_testkit::gateway::command(arguments);
        assert_eq!(code, Some(0), "{errors}");
        serde_json::from_str::<Value>(&told).unwrap()["usage"].clone()
    };
    wait("it is written down", || usage().as_array().is_some_and(|rows| rows.len() == 2));
    let rows = usage();
    let of_team = rows.as_array().unwrap().iter().find(|row| row["team"] == "shop").unwrap();
    assert_eq!((of_team["requests"].as_u64(), of_team["model"].as_str()), (Some(2), Some("m")), "{rows}");
    assert_eq!(of_team["costPicodollars"].as_u64(), Some(2 * CALL_PICO));
    let arguments = ["usage", "--month", "1999-12", "--data-dir", &data];
    let (code, told, errors) = bartizan_testkit::gateway::command(arguments);
    assert_eq!((code, told.as_str()), (Some(0), ""), "{errors}");
}

#[test]
fn the_fastest_target_of_late_is_asked_first() {
    let (fast, slow) = (provider(Speaks::OpenAi), slow(Speaks::OpenAi));
    let upstream = |name: &str, origin: &Origin| {
        let url = origin.url();
        document(
            "Upstream",
            name,
            &format!("{{ kind: Llm, llm: {{ provider: OpenAi }}, endpoints: [{{ url: \"{url}\" }}] }}"),
        )
    };
    let model = document(
        "Model",
        "quick",
        "{ strategy: LowestLatency, targets: [{ upstream: slow, model: a }, { upstream: fast, model: a }] }",
    );
    let gate = Gate::start(&house(&fast, "", &[upstream("slow", &slow), upstream("fast", &fast), model]));
    let key = key(&gate, "anna");
    let body = json!({ "model": "quick", "messages": [{ "role": "user", "content": "hi" }] });
    for _ in 0..8 {
        assert_eq!(ask(&gate, &key, "/v1/chat/completions", &body).status, 200);
    }
    assert_eq!(slow.received().len(), 1, "once, because nobody knew");
    assert_eq!(fast.received().len(), 7);
}
