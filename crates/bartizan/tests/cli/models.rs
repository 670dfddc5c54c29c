//! `bartizan models`: providers are added, listed, and tried with one tiny call each.

use bartizan_testkit::{
    Origin, Reply,
    provider::{Speaks, answer},
};
use serde_json::Value;

use super::{bartizan, files};

const GATEWAY: &str = r#"
apiVersion: management.v1
kind: Listener
metadata: { name: local }
spec: { addresses: ["127.0.0.1:8080"] }
---
apiVersion: management.v1
kind: Route
metadata: { name: models }
spec: { rules: [{ backendRefs: [{ kind: Models }] }] }
"#;

const KEY: &str = "canary-provider-key-0123456789";

/// What is wrong with a provider, and what it then answers.
fn fault(model: &str) -> Option<Reply> {
    let error = |status, code: &str| {
        let say = format!("no, {KEY}");
        Some(Reply::new(status, serde_json::json!({ "error": { "message": say, "code": code } }).to_string()))
    };
    match model {
        "no-key" => error(401, "invalid_api_key"),
        "no-money" => error(429, "insufficient_quota"),
        "no-model" => error(404, "model_not_found"),
        "no-mercy" => error(500, "internal"),
        "no-chat" => error(400, "unsupported_value"),
        "no-sense" => Some(Reply::ok("<html>")),
        _ => None,
    }
}

#[test]
fn a_provider_is_added_and_listed_and_its_model_serves() {
    let origin = Origin::start(|asked| answer(Speaks::Ollama, asked));
    let dir = files(&[("gateway.yaml", GATEWAY)]);
    let url = origin.url();
    let added =
        bartizan(&dir, &["models", "add", "ollama", "--url", &url, "--model", "llama3.2:3b", "--to", "."]);
    assert!(added.data().contains("models-ollama.yaml"));
    let again =
        bartizan(&dir, &["models", "add", "ollama", "--url", &url, "--model", "llama3.2:3b", "--to", "."]);
    assert!(again.code != 0 && again.err.contains("is there already"), "{}", again.err);
    let listed = bartizan(&dir, &["models", "list", "--config", "."]).data();
    assert!(listed.contains("llama3.2:3b") && listed.contains("Ollama"), "{listed}");
    let name = bartizan(&dir, &["models", "list", "--config", ".", "--format", "json"]).json();
    let name = name["models"][0]["name"].as_str().unwrap().to_owned();
    let probed = bartizan(&dir, &["models", "probe", &name, "--config", "."]);
    assert_eq!((probed.code, probed.out.as_str()), (0, "ollama llama3.2:3b: serves\n"), "{}", probed.err);
    let sent: Value = serde_json::from_slice(&origin.take_one().body).unwrap();
    assert_eq!(sent["model"], "llama3.2:3b");
}

#[test]
fn what_is_not_sound_is_not_added() {
    let dir = files(&[("gateway.yaml", GATEWAY)]);
    let wrong = bartizan(&dir, &["models", "add", "qwen", "--region", "mars", "--to", "."]);
    assert!(
        wrong.code == 1 && wrong.err.contains("mars") && wrong.err.contains("nothing was written"),
        "{}",
        wrong.err
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_probe_tries_every_key_and_names_the_fault() {
    let origin = Origin::start(|asked| {
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        let is_second = asked.header("authorization") == Some("Bearer second");
        if is_second {
            answer(Speaks::OpenAi, asked)
        } else {
            fault(body["model"].as_str().unwrap()).unwrap_or_else(|| answer(Speaks::OpenAi, asked))
        }
    });
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dir = files(&[("gateway.yaml", GATEWAY), ("key", KEY), ("key2", "second")]);
    let table = [
        ("fine", "serves"),
        ("no-key", "key: the provider does not take the key"),
        ("no-money", "quota: the account has nothing left"),
        ("no-model", "model: the provider does not have the model"),
        ("no-mercy", "provider: the provider failed"),
        ("no-chat", "request: the model does not take a plain chat"),
        ("no-sense", "provider: the provider failed"),
    ];
    let mut documents = format!(
        "---\napiVersion: management.v1\nkind: Upstream\nmetadata: {{ name: up }}\nspec: {{ kind: Llm, llm: {{ provider: OpenAi, \
         keys: [{{ valueRef: \"file://key\" }}, {{ valueRef: \"file://key2\" }}] }}, endpoints: [{{ url: \"{}\" }}] }}\n\
         ---\napiVersion: management.v1\nkind: Upstream\nmetadata: {{ name: nobody }}\nspec: {{ kind: Llm, llm: {{ provider: Ollama }}, \
         endpoints: [{{ url: \"http://{closed}\" }}] }}\n\
         ---\napiVersion: management.v1\nkind: Model\nmetadata: {{ name: far }}\nspec: {{ targets: [{{ upstream: nobody }}] }}\n",
        origin.url()
    );
    for (model, _) in table {
        documents.push_str(&format!(
            "---\napiVersion: management.v1\nkind: Model\nmetadata: {{ name: {model} }}\nspec: {{ targets: [{{ upstream: up }}] }}\n"
        ));
    }
    std::fs::write(dir.join("models.yaml"), documents).unwrap();
    for (model, says) in table {
        let probed = bartizan(&dir, &["models", "probe", model, "--config", "."]);
        assert_eq!(probed.code, i32::from(model != "fine"), "{model}: {}{}", probed.out, probed.err);
        let lines: Vec<&str> = probed.out.lines().collect();
        let [first, second] = lines[..] else { panic!("{model}: {}{}", probed.out, probed.err) };
        assert!(first.starts_with(&format!("up {model} key 1: {says}")), "{first}");
        assert_eq!(second, format!("up {model} key 2: serves"));
        assert!(!(probed.out + &probed.err).contains(KEY), "{model} tells the key");
    }
    let far = bartizan(&dir, &["models", "probe", "far", "--config", "."]);
    assert!(far.code == 1 && far.out.starts_with("nobody far: network: "), "{}{}", far.out, far.err);
    let json = bartizan(&dir, &["models", "probe", "no-money", "--config", ".", "--format", "json"]).json();
    assert_eq!(json["targets"][0]["fault"], "quota");
    assert_eq!(json["targets"][1]["serves"], true);
    let unknown = bartizan(&dir, &["models", "probe", "nothing", "--config", "."]);
    assert!(unknown.code == 2 && unknown.err.contains("nothing"), "{}", unknown.err);
}
