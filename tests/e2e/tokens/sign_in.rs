//! People who sign in by a browser: the code flow against the provider, and everything that goes wrong around it.
//!
//! The test is the browser on the gateway's side, with a jar of its own; the provider's side of it is in
//! `provider.mjs`, so that the provider's forms and cookies are real too.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use bartizan_e2e::openid::Provider;
use bartizan_testkit::{Answer, Client};
use serde_json::{Value, json};

use crate::house::{House, SHOP};

const SESSION: &str = "__Host-bartizan-session";
const PAGE: &[(&str, &str)] =
    &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("accept", "text/html")];
const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");

/// A browser, as far as the gateway sees it.
struct Browser {
    client: Client,
    origin: String,
    jar: RefCell<BTreeMap<String, String>>,
}

impl Browser {
    fn of(house: &House) -> Browser {
        let address = house.gateway.address("web");
        let jar = RefCell::default();
        Browser { client: Client::http1(address), origin: format!("http://{address}"), jar }
    }

    fn call(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let cookies =
            self.jar.borrow().iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        let cookies = cookies.join("; ");
        let mut all = headers.to_vec();
        if !cookies.is_empty() {
            all.push(("cookie", &cookies));
        }
        let answer = self.client.call(method, path, &all, Vec::new());
        for line in answer.headers.get_all("set-cookie") {
            let line = line.to_str().unwrap();
            let (pair, attributes) = line.split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            assert!(name.starts_with("__Host-"), "{line}");
            for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
                assert!(attributes.split("; ").any(|one| one == attribute), "{attribute}: {line}");
            }
            assert!(!attributes.contains("Domain"), "{line}");
            if attributes.contains("Max-Age=0") {
                self.jar.borrow_mut().remove(name);
            } else {
                self.jar.borrow_mut().insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    fn open(&self, path: &str) -> Answer {
        self.call("GET", path, PAGE)
    }

    /// Opens a page without a session; the address of the provider that it is sent to.
    fn begin(&self, path: &str) -> String {
        let answer = self.open(path);
        assert_eq!(answer.status, 303, "{}", answer.text());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        answer.header("location").unwrap().to_owned()
    }

    /// What the provider makes of it: path and query of the callback.
    fn at(&self, provider: &Provider, url: &str) -> String {
        let answer = provider.control("/follow", &json!({ "url": url }));
        let to = answer["to"].as_str().unwrap_or_else(|| panic!("{answer}"));
        to.strip_prefix(&self.origin).unwrap_or_else(|| panic!("sent to {to}")).to_owned()
    }

    /// Signs in from `path`; where it lands.
    fn sign_in(&self, provider: &Provider, path: &str) -> String {
        let callback = self.at(provider, &self.begin(path));
        let answer = self.open(&callback);
        assert_eq!(answer.status, 303, "{callback}: {}", answer.text());
        answer.header("location").unwrap().to_owned()
    }

    fn session(&self) -> Option<String> {
        self.jar.borrow().get(SESSION).cloned()
    }

    fn forget(&self) {
        self.jar.borrow_mut().clear();
    }
}

fn method(provider: &Provider, more: &str) -> String {
    format!(
        "{{ type: OpenIdConnect, openIdConnect: {{ issuer: \"{}\", clientId: browser, \
         clientSecretRef: \"env://BROWSER_SECRET\", redirectPath: /orders/callback, logoutPath: /orders/logout, \
         afterLogoutPath: /orders/bye, claims: {{ consumer: sub, roles: groups }}, fetch: {}, {more} }} }}",
        provider.issuer,
        provider.fetch()
    )
}

/// A gateway at which people sign in, and a browser.
fn house(provider: &Provider, more: &str) -> (House, Browser) {
    let house = House::of(&method(provider, more), &[SHOP]);
    let browser = Browser::of(&house);
    register(provider, &browser);
    (house, browser)
}

fn register(provider: &Provider, browser: &Browser) {
    let (redirect, out) =
        (format!("{}/orders/callback", browser.origin), format!("{}/orders/bye", browser.origin));
    provider
        .control("/register", &json!({ "redirect_uris": [redirect], "post_logout_redirect_uris": [out] }));
}

fn reason(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

fn parameter(url: &str, name: &str) -> String {
    let query = url.split_once('?').unwrap().1;
    let pair = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    pair.unwrap_or_else(|| panic!("{name} in {url}")).to_owned()
}

#[test]
fn somebody_signs_in_and_is_the_consumer_that_the_token_names() {
    let Some(provider) = Provider::start() else { return };
    let (house, browser) = house(&provider, "");
    let url = browser.begin("/orders/7?a=b&c=%2F");
    assert!(url.starts_with(&format!("{}/auth?", provider.issuer)), "{url}");
    assert_eq!(parameter(&url, "code_challenge_method"), "S256");
    assert_eq!(parameter(&url, "response_type"), "code");
    assert!(!url.contains("verifier"));
    let callback = browser.at(&provider, &url);
    let answer = browser.open(&callback);
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, Some("/orders/7?a=b&c=%2F")));
    // The attempt's own cookie is gone, the session's is there, and nothing of either says who it is.
    assert_eq!(browser.jar.borrow().keys().cloned().collect::<Vec<_>>(), [SESSION]);
    let answer = browser.open("/orders/7?a=b&c=%2F");
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "hello"));
    let received = house.origin.take().pop().unwrap();
    assert_eq!(received.header("x-consumer-name"), Some("shop"));
    assert_eq!(received.header("x-consumer-roles"), Some("buyer,buyers"));
    assert_eq!(received.header("cookie"), None, "the session never reaches the upstream");
    // Neither do cookies of the method that the browser has beside those of the pages.
    let left = [("cookie", format!("theme=dark; {SESSION}=1x; {SESSION}.sAAAA=y; {SESSION}.1=z"))];
    let _ = browser.client.get("/orders", &[("cookie", &left[0].1)]);
    assert!(house.origin.take().is_empty(), "a broken session is refused");
}

/// A route of its own, on which this policy holds instead of the one for all.
fn other_route(name: &str, policies: &[&str]) -> Vec<String> {
    let route = format!(
        "apiVersion: management.v1\nkind: Route\nmetadata: {{ name: {name} }}\n\
         spec: {{ rules: [{{ matches: [{{ path: {{ value: /{name} }} }}], backendRefs: [{{ name: origin }}] }}] }}\n"
    );
    let policy = |(at, spec): (usize, &&str)| {
        format!(
            "apiVersion: management.v1\nkind: AuthenticationPolicy\nmetadata: {{ name: {name}-{at} }}\n\
             spec: {{ targetRefs: [{{ kind: Route, name: {name} }}], {spec} }}\n"
        )
    };
    std::iter::once(route).chain(policies.iter().enumerate().map(policy)).collect()
}

#[test]
fn the_upstream_of_another_route_never_gets_the_session() {
    let Some(provider) = Provider::start() else { return };
    let other = other_route("open", &["methods: [{ type: Anonymous }]"]);
    let documents: Vec<&str> = std::iter::once(SHOP).chain(other.iter().map(|text| &**text)).collect();
    let house = House::of(&method(&provider, ""), &documents);
    let browser = Browser::of(&house);
    register(&provider, &browser);
    browser.sign_in(&provider, "/orders");
    let session = browser.session().unwrap();
    house.origin.take();
    let cookies = format!("theme=dark; {SESSION}={session}; basket=7");
    assert_eq!(browser.client.get("/open", &[("cookie", &cookies)]).status, 200);
    let received = house.origin.take_one();
    assert_eq!(received.header("cookie"), Some("theme=dark; basket=7"));
    assert_eq!(received.header("x-consumer-name"), None, "nobody asked there who it is");
}

#[test]
fn a_sign_in_in_shadow_sends_nobody_away_and_says_who_would_have_been_refused() {
    let Some(provider) = Provider::start() else { return };
    let shadow = format!("mode: shadow, methods: [{}]", method(&provider, ""));
    let other = other_route("trial", &["methods: [{ type: Anonymous }]", &shadow]);
    let documents: Vec<&str> = std::iter::once(SHOP).chain(other.iter().map(|text| &**text)).collect();
    let house = House::of(&method(&provider, ""), &documents);
    let browser = Browser::of(&house);
    register(&provider, &browser);
    let would_deny = |answer: &Answer| {
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "hello"));
        assert!(answer.header("set-cookie").is_none() && answer.header("location").is_none());
        let id = answer.header("x-request-id").unwrap();
        house.gateway.wait_for_record(id)["would_deny"].clone()
    };
    let stranger = would_deny(&browser.open("/trial"));
    assert_eq!(stranger[0]["policy"], "AuthenticationPolicy/trial-1", "{stranger}");
    assert_eq!(stranger[0]["reason"], "CredentialMissing", "{stranger}");
    browser.sign_in(&provider, "/orders");
    let known = would_deny(&browser.open("/trial"));
    assert!(known.is_null(), "{known}");
}

#[test]
fn only_somebody_who_opens_a_page_is_sent_to_sign_in() {
    let Some(provider) = Provider::start() else { return };
    let (house, browser) = house(&provider, "");
    for (method, headers) in [
        ("GET", &[("accept", "application/json")][..]),
        ("GET", &[]),
        ("GET", &[("sec-fetch-mode", "cors"), ("accept", "text/html")]),
        ("POST", PAGE),
        ("HEAD", PAGE),
    ] {
        let answer = browser.call(method, "/orders", headers);
        assert_eq!(answer.status, 401, "{method} {headers:?}");
        assert_eq!(answer.header("www-authenticate"), Some("Cookie"));
        assert!(answer.headers.get("set-cookie").is_none());
    }
    // The way back is the page that was opened, and never another host.
    for (path, lands) in [
        ("/orders//evil.example", 400),
        ("/orders/%2F%2Fevil.example", 400),
        ("/orders/@evil.example?to=//evil.example", 303),
    ] {
        // A browser of its own: after a 400 the connection is closed.
        assert_eq!(Browser::of(&house).open(path).status, lands, "{path}");
    }
    // So many tabs, and no more: leftovers are cleared away.
    for _ in 0..9 {
        browser.begin("/orders");
    }
    assert!(browser.jar.borrow().len() <= 5, "{:?}", browser.jar.borrow().keys());
}

#[test]
fn an_answer_that_is_not_to_this_browsers_sign_in_signs_nobody_in() {
    let Some(provider) = Provider::start() else { return };
    let (house, browser) = house(&provider, "");
    let other = Browser::of(&house);
    let invalid = (401, "CredentialInvalid".to_owned());
    // Somebody else's answer, planted in this browser: its state belongs to no sign-in here.
    let planted = other.at(&provider, &other.begin("/orders"));
    browser.begin("/orders");
    assert_eq!(reason(&browser.open(&planted)), invalid);
    // Without any sign-in at all.
    browser.forget();
    assert_eq!(reason(&browser.open(&planted)), invalid);
    // In the browser that began, once.
    let kept = other.jar.borrow().clone();
    assert_eq!(other.open(&planted).status, 303);
    // Again, with the attempt's cookie put back: answered before.
    *other.jar.borrow_mut() = kept;
    assert_eq!(reason(&other.open(&planted)), invalid);
    // A state that is off by one character, another issuer, no issuer where this one always names itself, no code.
    let url = browser.begin("/orders");
    let callback = browser.at(&provider, &url);
    assert!(callback.contains("&iss="), "{callback}");
    let (state, issuer) = (parameter(&callback, "state"), parameter(&callback, "iss"));
    let other_state: String = state.chars().rev().collect();
    for changed in [
        callback.replace(&state, &other_state),
        callback.replace(&issuer, "https%3A%2F%2Fevil.example"),
        callback.replace(&format!("&iss={issuer}"), ""),
        callback.replace("code=", "kode="),
        format!("{callback}&code=x"),
        "/orders/callback".to_owned(),
    ] {
        assert_eq!(reason(&browser.open(&changed)), invalid, "{changed}");
    }
    // None of them spoilt the real one.
    assert_eq!(browser.open(&callback).status, 303);
    // Somebody who does not want to.
    browser.forget();
    provider.control("/set", &json!({ "denies": true }));
    let url = browser.begin("/orders");
    provider.control("/follow", &json!({ "url": &url, "afresh": true }));
    let refused = browser.at(&provider, &browser.begin("/orders"));
    assert!(refused.contains("error="), "{refused}");
    assert_eq!(reason(&browser.open(&refused)), invalid);
    assert_eq!(browser.session(), None);
}

#[test]
fn an_id_token_that_is_not_for_this_sign_in_signs_nobody_in() {
    let Some(provider) = Provider::start() else { return };
    let attempt = |browser: &Browser, change: &dyn Fn(&str) -> Value| {
        let url = browser.begin("/orders");
        let callback = browser.at(&provider, &url);
        let token = provider.mint(&change(&parameter(&url, "nonce")));
        let answer = json!({ "access_token": "a", "token_type": "Bearer", "id_token": token });
        provider.control("/set", &json!({ "tokenAnswer": answer }));
        let answer = browser.open(&callback);
        provider.control("/set", &json!({ "tokenAnswer": null }));
        answer
    };
    let token = |nonce: &str, payload: Value| {
        let mut all = json!({ "aud": "browser", "nonce": nonce });
        all.as_object_mut().unwrap().extend(payload.as_object().unwrap().clone());
        all.as_object_mut()
            .unwrap()
            .insert("sub".into(), payload.get("sub").cloned().unwrap_or("shop".into()));
        json!({ "header": { "typ": "JWT" }, "payload": all })
    };
    let (first, browser) = house(&provider, "");
    assert_eq!(attempt(&browser, &|nonce| token(nonce, json!({}))).status, 303, "as it should be");
    drop(first);
    type Case<'c> = (&'c str, u16, &'c dyn Fn(&str) -> Value);
    let cases: &[Case<'_>] = &[
        ("another nonce", 401, &|_| token("another", json!({}))),
        ("no nonce", 401, &|nonce| token(nonce, json!({ "nonce": null }))),
        ("expired", 401, &|nonce| token(nonce, json!({ "exp": 1_000 }))),
        ("another client", 401, &|nonce| token(nonce, json!({ "aud": "other" }))),
        ("for two, and not for us", 401, &|nonce| {
            token(nonce, json!({ "aud": ["browser", "x"], "azp": "x" }))
        }),
        ("another issuer", 401, &|nonce| token(nonce, json!({ "iss": "https://evil.example" }))),
        ("nobody", 401, &|nonce| token(nonce, json!({ "sub": "" }))),
        ("no consumer", 401, &|nonce| token(nonce, json!({ "sub": "stranger" }))),
        ("an access token", 401, &|nonce| {
            let mut wanted = token(nonce, json!({}));
            wanted["header"]["typ"] = "at+jwt".into();
            wanted
        }),
        ("somebody else's signature", 401, &|nonce| {
            let mut wanted = token(nonce, json!({}));
            wanted["by"] = "other".into();
            wanted
        }),
        ("no signature", 401, &|nonce| {
            let mut wanted = token(nonce, json!({}));
            wanted["by"] = "nobody".into();
            wanted["header"]["alg"] = "none".into();
            wanted
        }),
        ("larger than browsers keep", 503, &|nonce| {
            // Within what a token may be, and a cookie not.
            token(nonce, json!({ "more": "x".repeat(5_000), "most": "y".repeat(5_000) }))
        }),
    ];
    // A house for each few of them: whoever fails so often must wait.
    for few in cases.chunks(6) {
        let (_house, browser) = house(&provider, "");
        for (name, status, change) in few {
            let answer = attempt(&browser, *change);
            assert_eq!(answer.status, *status, "{name}: {}", answer.text());
            assert_eq!(browser.session(), None, "{name}");
        }
    }
}

#[test]
fn whoever_invents_answers_must_wait() {
    let Some(provider) = Provider::start() else { return };
    let (_house, browser) = house(&provider, "");
    let before = provider.count("/token");
    let mut answers = (0..40).map(|number| {
        let answer = browser.open(&format!("/orders/callback?code=c&state=invented-{number}"));
        (reason(&answer), answer.header("retry-after").is_some())
    });
    assert!(answers.any(|(found, retry)| found == (429, "TooManyFailures".to_owned()) && retry));
    assert_eq!(provider.count("/token"), before, "the provider hears nothing of it");
}

#[test]
fn tokens_are_renewed_once_and_whoever_is_no_longer_welcome_is_out() {
    let Some(provider) = Provider::start() else { return };
    provider.control("/set", &json!({ "idTokenTTL": 6 }));
    let (house, browser) = house(&provider, "");
    browser.sign_in(&provider, "/orders");
    let old = browser.session().unwrap();
    provider.control("/set", &json!({ "groups": ["admins"] }));
    assert_eq!(browser.open("/orders").status, 200);
    assert_eq!(house.origin.take().pop().unwrap().header("x-consumer-roles"), Some("buyer,buyers"));
    thread::sleep(Duration::from_millis(6_300));
    let before = provider.count("/token");
    let cookie = format!("{SESSION}={old}");
    // Parts of one page, all with the old cookie, and one that comes late.
    thread::scope(|scope| {
        for _ in 0..6 {
            let client = Client::http1(house.gateway.address("web"));
            let cookie = &cookie;
            scope.spawn(move || assert_eq!(client.get("/orders", &[("cookie", cookie)]).status, 200));
        }
    });
    assert_eq!(browser.open("/orders").status, 200);
    assert_eq!(provider.count("/token") - before, 1, "one refresh for all of them");
    assert_ne!(browser.session().unwrap(), old, "the browser is given the new one");
    let received = house.origin.take().pop().unwrap();
    assert_eq!(received.header("x-consumer-roles"), Some("buyer,admins"), "what the provider says now");
    // Signed with a key that nobody has seen yet.
    provider.control("/rotate", &json!({}));
    thread::sleep(Duration::from_millis(6_300));
    assert_eq!(browser.open("/orders").status, 200);
    // The provider is down: closed, and open again when it is back.
    thread::sleep(Duration::from_millis(6_300));
    provider.control("/set", &json!({ "down": true }));
    assert_eq!(reason(&browser.open("/orders")), (503, "JudgeUnavailable".to_owned()));
    provider.control("/set", &json!({ "down": false }));
    assert_eq!(browser.open("/orders").status, 200);
    // The provider does not want them any more.
    provider.control("/set", &json!({ "tokenStatus": 400, "tokenAnswer": { "error": "invalid_grant" } }));
    thread::sleep(Duration::from_millis(6_300));
    let answer = browser.call("GET", "/orders", &[("accept", "application/json")]);
    assert_eq!(reason(&answer), (401, "CredentialExpired".to_owned()));
    assert_eq!(browser.open("/orders").status, 303);
}

#[test]
fn a_session_outlives_a_change_of_the_key_that_seals_it() {
    let Some(provider) = Provider::start() else { return };
    let files = bartizan_testkit::TempDir::new();
    let path = files.path().join("keys");
    let (old, new) = (
        "old-0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a",
        "new-0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a",
    );
    std::fs::write(&path, old).unwrap();
    let (house, browser) =
        house(&provider, &format!("session: {{ keysRef: \"file://{}\" }}", path.display()));
    browser.sign_in(&provider, "/orders");
    let first = browser.jar.borrow().clone();
    let status = || browser.call("GET", "/orders", &[("accept", "application/json")]).status;
    // A new key in front: it seals, and the old one still opens. The file is watched.
    house.changing(|| std::fs::write(&path, format!("{new}\n{old}\n")).unwrap());
    assert_eq!(status(), 200);
    browser.forget();
    browser.sign_in(&provider, "/orders");
    house.changing(|| std::fs::write(&path, new).unwrap());
    assert_eq!(status(), 200, "sealed by the new one");
    *browser.jar.borrow_mut() = first;
    assert_eq!(status(), 401, "sealed by one that is gone");
}

#[test]
fn a_session_that_was_tampered_with_is_none() {
    let Some(provider) = Provider::start() else { return };
    let (house, browser) = house(&provider, "");
    browser.sign_in(&provider, "/orders");
    let session = browser.session().unwrap();
    let get = |session: &str| {
        let cookie = format!("{SESSION}={session}");
        browser.client.get("/orders", &[("cookie", &cookie), ("accept", "application/json")])
    };
    assert_eq!(get(&session).status, 200);
    for at in [0, 1, 4, 8, 20, session.len() / 2, session.len() - 1] {
        let mut changed = session.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert_eq!(
            reason(&get(std::str::from_utf8(&changed).unwrap())),
            (401, "CredentialInvalid".to_owned()),
            "{at}"
        );
    }
    assert_eq!(get(&session[..session.len() - 4]).status, 401);
    assert_eq!(get(&format!("{session}AAAA")).status, 401);
    // A sign-in's cookie is no session.
    let begun = Browser::of(&house);
    begun.begin("/orders");
    let sealed = begun.jar.borrow().values().next().unwrap().clone();
    assert_eq!(get(&format!("1{sealed}")).status, 401);
    // Whoever opens a page with it is sent to sign in again, and not away for ever.
    browser.jar.borrow_mut().insert(SESSION.to_owned(), "1garbage".to_owned());
    assert_eq!(browser.sign_in(&provider, "/orders"), "/orders");
    assert_eq!(browser.open("/orders").status, 200);
}

#[test]
fn another_sites_page_changes_nothing_with_a_session() {
    let Some(provider) = Provider::start() else { return };
    let (_house, browser) = house(&provider, "trustedOrigins: [\"https://admin.example\"]");
    browser.sign_in(&provider, "/orders");
    let own_origin = browser.origin.clone();
    for (method, headers, status) in [
        ("POST", &[OWN][..], 200),
        ("POST", &[("origin", own_origin.as_str())], 200),
        ("POST", &[("origin", "https://admin.example"), ("sec-fetch-site", "cross-site")], 200),
        ("POST", &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")], 403),
        ("POST", &[("sec-fetch-site", "same-site")], 403),
        ("DELETE", &[("origin", "null")], 403),
        ("PUT", &[], 403),
        ("GET", &[("sec-fetch-site", "cross-site")], 200),
        (
            "GET",
            &[("upgrade", "websocket"), ("connection", "upgrade"), ("origin", "https://evil.example")],
            403,
        ),
    ] {
        let answer = browser.call(method, "/orders", headers);
        assert_eq!(answer.status, status, "{method} {headers:?}: {}", answer.text());
        if status == 403 {
            assert_eq!(reason(&answer).1, "CrossSite");
        }
    }
    // Nor does it sign anybody out.
    let answer = browser.call("GET", "/orders/logout", &[("sec-fetch-site", "cross-site")]);
    assert_eq!(reason(&answer), (403, "CrossSite".to_owned()));
    assert_eq!(browser.open("/orders").status, 200);
}

#[test]
fn whoever_signs_out_is_out_here_and_at_the_provider() {
    let Some(provider) = Provider::start() else { return };
    let (_house, browser) = house(&provider, "");
    browser.sign_in(&provider, "/orders");
    let stolen = browser.jar.borrow().clone();
    let answer = browser.call("POST", "/orders/logout", &[OWN]);
    assert_eq!(answer.status, 303, "{}", answer.text());
    assert!(browser.jar.borrow().is_empty(), "the browser keeps nothing");
    let url = answer.header("location").unwrap();
    assert!(url.starts_with(&format!("{}/session/end?", provider.issuer)), "{url}");
    assert_eq!(browser.at(&provider, url), "/orders/bye");
    // A copy of the cookie is worth nothing any more.
    *browser.jar.borrow_mut() = stolen;
    let answer = browser.call("GET", "/orders", &[("accept", "application/json")]);
    assert_eq!(reason(&answer), (401, "CredentialExpired".to_owned()));
    // Without a session, and without the provider, only here.
    browser.forget();
    let answer = browser.call("GET", "/orders/logout", &[OWN]);
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, Some("/orders/bye")));
}

#[test]
fn without_the_provider_nobody_signs_in_and_who_is_in_stays() {
    let Some(provider) = Provider::start() else { return };
    let (house, browser) = house(&provider, "");
    browser.sign_in(&provider, "/orders");
    let begun = Browser::of(&house);
    let callback = begun.at(&provider, &begun.begin("/orders"));
    provider.control("/set", &json!({ "down": true }));
    assert_eq!(browser.open("/orders").status, 200);
    assert_eq!(reason(&begun.open(&callback)), (503, "JudgeUnavailable".to_owned()));
    assert_eq!(begun.session(), None);
    // One that never answered sends nobody anywhere.
    provider.control("/set", &json!({ "down": true }));
    let late = House::of(&method(&provider, ""), &[SHOP]);
    assert_eq!(reason(&Browser::of(&late).open("/orders")), (503, "JudgeUnavailable".to_owned()));
    assert_eq!(late.client().get("/orders", &[]).status, 401);
    provider.control("/set", &json!({ "down": false }));
    let end = Instant::now() + Duration::from_secs(10);
    while Browser::of(&late).open("/orders").status != 303 {
        assert!(Instant::now() < end, "the provider is back");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn sessions_end_by_age_and_by_idleness() {
    let Some(provider) = Provider::start() else { return };
    let (_house, browser) = house(&provider, "session: { lifetime: 4s, idle: 2s }");
    browser.sign_in(&provider, "/orders");
    let began = Instant::now();
    let expired = (401, "CredentialExpired".to_owned());
    let call = || browser.call("GET", "/orders", &[("accept", "application/json")]);
    // Used all the time it lasts as long as it may, and no longer.
    while began.elapsed() < Duration::from_millis(3_400) {
        assert_eq!(call().status, 200, "{:?}", began.elapsed());
        thread::sleep(Duration::from_millis(300));
    }
    thread::sleep(Duration::from_millis(4_200).saturating_sub(began.elapsed()));
    assert_eq!(reason(&call()), expired);
    // Unused it is over sooner.
    browser.forget();
    browser.sign_in(&provider, "/orders");
    thread::sleep(Duration::from_millis(2_200));
    assert_eq!(reason(&call()), expired);
    // A page is led to the provider again, which still knows who it is.
    assert_eq!(browser.sign_in(&provider, "/orders"), "/orders");
}
