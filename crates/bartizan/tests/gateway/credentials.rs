//! Credentials for upstreams: what the origin gets, who else never does, and how they are renewed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bartizan_testkit::{Documents, Origin, Reply};

use crate::harness::{Gate, WEB, document, route, wait};

fn set(origin: &Origin, credential: &str, files: &[(&str, &str)]) -> Documents {
    let spec = format!("{{ endpoints: [{{ url: \"{}\" }}], credential: {credential} }}", origin.url());
    let documents =
        [WEB.to_owned(), document("Upstream", "origin", &spec), route("all", "/", "origin")].join("---\n");
    let set = Documents::one(&documents);
    for (name, text) in files {
        std::fs::write(set.path().join(name), text).unwrap();
    }
    set
}

fn is_nowhere(gate: &Gate, secret: &str) {
    for text in [gate.scrape().0, gate.gateway.stdout().join("\n"), gate.gateway.stderr().join("\n")] {
        assert!(!text.contains(secret), "{secret} was written: {text}");
    }
}

#[test]
fn a_name_with_a_password_and_a_bearer_token_replace_what_a_caller_sends() {
    let origin = Origin::answering("ok");
    for (credential, file, expected) in [
        ("{ basic: { user: gateway, passwordRef: file://secret } }", "s3cret", "Basic Z2F0ZXdheTpzM2NyZXQ="),
        ("{ bearer: { tokenRef: file://secret } }", "s3cret", "Bearer s3cret"),
    ] {
        let gate = Gate::start_set(set(&origin, credential, &[("secret", file)]), |_| (), &[]);
        let answer = gate.get("/", &[("authorization", "Bearer of-the-caller")]);
        assert_eq!(answer.status, 200);
        assert_eq!(origin.take_one().header("authorization"), Some(expected));
        gate.record_of(&answer);
        is_nowhere(&gate, "s3cret");
        is_nowhere(&gate, "Z2F0ZXdheTpzM2NyZXQ");
    }
}

#[test]
fn a_file_with_a_credential_is_read_anew_when_it_changes_without_being_asked() {
    let origin = Origin::answering("ok");
    let folder = bartizan_testkit::TempDir::new();
    let path = folder.join("token");
    std::fs::write(&path, "one\n").unwrap();
    let credential = format!("{{ bearer: {{ tokenRef: \"file://{}\" }} }}", path.display());
    let gate = Gate::start_set(set(&origin, &credential, &[]), |_| (), &[]);
    let sent = || {
        assert_eq!(gate.get("/", &[]).status, 200);
        origin.take_one().header("authorization").map(str::to_owned)
    };
    assert_eq!(sent().as_deref(), Some("Bearer one"));
    std::fs::write(&path, "two\n").unwrap();
    wait("the changed token", || sent().as_deref() == Some("Bearer two"));
    // As careful tools and Kubernetes do it.
    std::fs::write(folder.join("new"), "three\n").unwrap();
    std::fs::rename(folder.join("new"), &path).unwrap();
    wait("the replaced token", || sent().as_deref() == Some("Bearer three"));
    // An empty file is refused, and the last good one stays.
    std::fs::write(&path, "").unwrap();
    wait("the refusal", || gate.scrape().value("bartizan_config_reloads_total{outcome=\"refused\"}") > 0.0);
    assert_eq!(sent().as_deref(), Some("Bearer three"));
}

/// A token endpoint that counts and answers as told.
fn endpoint(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> (Origin, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    (Origin::start(move |_| reply(count.fetch_add(1, Ordering::SeqCst) + 1)), asked)
}

fn client_credentials(tokens: &Origin) -> String {
    format!(
        "{{ clientCredentials: {{ tokenUrl: \"{}/token\", clientId: gate way, clientSecretRef: file://secret, scopes: [orders, more], \
         audience: shop, allowPrivateNetwork: true, dangerAllowClearText: true, timeout: 2s }} }}",
        tokens.url()
    )
}

#[test]
fn client_credentials_bring_a_token_that_many_requests_share_and_no_caller_sees() {
    let origin = Origin::answering("ok");
    let (tokens, asked) = endpoint(|number| {
        let body =
            format!("{{\"access_token\":\"t0ken-{number}\",\"token_type\":\"Bearer\",\"expires_in\":3600}}");
        Reply::ok(body).after(Duration::from_millis(100))
    });
    let gate =
        Gate::start_set(set(&origin, &client_credentials(&tokens), &[("secret", "s3:cret")]), |_| (), &[]);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(gate.get("/", &[("authorization", "Bearer mine")]).status, 200));
        }
    });
    assert_eq!(asked.load(Ordering::SeqCst), 1, "one exchange for all");
    for received in origin.take() {
        assert_eq!(received.header("authorization"), Some("Bearer t0ken-1"));
    }
    let exchange = tokens.take_one();
    assert_eq!((exchange.method.as_str(), exchange.target.as_str()), ("POST", "/token"));
    // RFC 6749 §2.3.1: `gate%20way:s3%3Acret`.
    assert_eq!(exchange.header("authorization"), Some("Basic Z2F0ZSUyMHdheTpzMyUzQWNyZXQ="));
    let form = String::from_utf8(exchange.body.to_vec()).unwrap();
    assert_eq!(form, "grant_type=client_credentials&scope=orders%20more&audience=shop");
    // A reload that changes nothing keeps the token.
    gate.gateway.signal("HUP");
    wait("the reload", || gate.scrape().value("bartizan_config_reloads_total{outcome=\"applied\"}") > 0.0);
    assert_eq!(gate.get("/", &[]).status, 200);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    for secret in ["s3:cret", "t0ken", "Z2F0ZSUyMHdhe"] {
        is_nowhere(&gate, secret);
    }
}

#[test]
fn a_token_is_renewed_before_it_ends_and_an_upstream_that_refuses_it_gets_another() {
    let origin = Origin::answering("ok");
    let (tokens, asked) = endpoint(|number| {
        Reply::ok(format!("{{\"access_token\":\"t{number}\",\"token_type\":\"bearer\",\"expires_in\":2}}"))
    });
    let gate = Gate::start_set(set(&origin, &client_credentials(&tokens), &[("secret", "s")]), |_| (), &[]);
    let mut seen = Vec::new();
    wait("a second token", || {
        assert_eq!(gate.get("/", &[]).status, 200, "no request fails for it");
        seen.push(origin.take_one().header("authorization").unwrap().to_owned());
        thread::sleep(Duration::from_millis(50));
        asked.load(Ordering::SeqCst) >= 3
    });
    seen.dedup();
    assert_eq!(seen[..2], ["Bearer t1", "Bearer t2"]);
}

#[test]
fn without_a_token_nothing_is_sent_and_a_failing_endpoint_is_left_alone() {
    let origin = Origin::answering("ok");
    let (tokens, asked) = endpoint(|_| Reply::new(401, "{\"error\":\"invalid_client s3cret\"}"));
    let gate =
        Gate::start_set(set(&origin, &client_credentials(&tokens), &[("secret", "s3cret")]), |_| (), &[]);
    let mut answer = None;
    for _ in 0..20 {
        let got = gate.get("/", &[("authorization", "Bearer mine")]);
        assert_eq!((got.status.as_u16(), got.json()["code"].as_str()), (502, Some("ConnectFailed")));
        answer = Some(got);
    }
    assert!(origin.take().is_empty(), "neither without a token nor with the caller's");
    assert!(asked.load(Ordering::SeqCst) <= 2, "{asked:?}");
    let record = gate.record_of(&answer.unwrap());
    assert_eq!(record["detail"], "no token for the upstream: the token endpoint answered 401");
    is_nowhere(&gate, "s3cret");
}
