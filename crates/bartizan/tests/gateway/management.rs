//! The management API of a running gateway: every endpoint for every role, conditions, problems, the audit trail.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Mutex,
    time::Duration,
};

use bartizan_testkit::{Authority, Gateway, Origin, Reply, TempDir, gateway::command, pki::Identity};
use serde_json::{Value, json};

use crate::harness::{WEB, document, simple, wait};

const ROLES: [&str; 5] = ["viewer", "developer", "security", "operator", "admin"];

/// Method, path, a body where one is sent, and the roles that may.
type Endpoint = (&'static str, &'static str, Option<&'static str>, &'static [&'static str]);

const ALL: &[&str] = &ROLES;
const KEYS: &[&str] = &["developer", "security", "operator", "admin"];
const APPLY: &[&str] = &["security", "operator", "admin"];

/// Every endpoint that the description names, and who may. A body that is refused for what it says was let in.
const ENDPOINTS: &[Endpoint] = &[
    ("GET", "/admin/v1/state", None, ALL),
    ("GET", "/admin/v1/me", None, ALL),
    ("GET", "/admin/v1/insight", None, KEYS),
    ("GET", "/admin/v1/documents", None, ALL),
    ("GET", "/admin/v1/documents/{kind}/{name}", None, ALL),
    ("GET", "/admin/v1/routes", None, ALL),
    ("GET", "/admin/v1/revisions", None, ALL),
    ("GET", "/admin/v1/revisions/{revision}", None, ALL),
    ("POST", "/admin/v1/plan", Some("{}"), ALL),
    ("POST", "/admin/v1/revisions", Some("{}"), APPLY),
    ("POST", "/admin/v1/revisions/{revision}/rollback", Some("{}"), APPLY),
    ("GET", "/admin/v1/rollout", None, ALL),
    ("POST", "/admin/v1/rollout", Some("{}"), APPLY),
    ("POST", "/admin/v1/rollout/plan", Some("{}"), ALL),
    ("POST", "/admin/v1/rollout/promote", Some("{}"), APPLY),
    ("POST", "/admin/v1/rollout/abort", Some("{}"), APPLY),
    ("POST", "/admin/v1/rollout/resume", Some("{}"), APPLY),
    ("GET", "/admin/v1/keys", None, KEYS),
    ("POST", "/admin/v1/keys", Some("{}"), &["operator", "admin"]),
    ("GET", "/admin/v1/keys/{id}", None, KEYS),
    ("POST", "/admin/v1/keys/{id}/revoke", None, APPLY),
    ("POST", "/admin/v1/keys/{id}/rotate", Some("{}"), &["operator", "admin"]),
    ("POST", "/admin/v1/keys/{id}/offer", Some("{}"), &["operator", "admin"]),
    ("POST", "/admin/v1/keys/{id}/leaked", Some("{}"), APPLY),
    ("GET", "/admin/v1/alerts", None, ALL),
    ("POST", "/admin/v1/alerts/silences", Some("{}"), APPLY),
    ("DELETE", "/admin/v1/alerts/silences/{id}", None, APPLY),
    ("GET", "/admin/v1/notices", None, ALL),
    ("POST", "/admin/v1/cache/purge", Some("{}"), APPLY),
    ("GET", "/admin/v1/tokens", None, &["admin"]),
    ("POST", "/admin/v1/tokens", Some("{}"), &["admin"]),
    ("POST", "/admin/v1/tokens/{id}/revoke", None, &["admin"]),
    ("GET", "/admin/v1/audit", None, &["security", "admin"]),
    ("GET", "/admin/v1/refusals", None, KEYS),
    ("GET", "/admin/v1/users", None, &["admin"]),
    ("POST", "/admin/v1/users", Some("{}"), &["admin"]),
    ("PATCH", "/admin/v1/users/{name}", Some("{}"), &["admin"]),
    ("POST", "/admin/v1/users/{name}/reset", None, &["admin"]),
    ("GET", "/admin/v1/sessions", None, SESSION),
    ("POST", "/admin/v1/sessions/{id}/end", None, SESSION),
    ("POST", "/admin/v1/logout", None, SESSION),
    ("POST", "/admin/v1/me/password", Some("{}"), SESSION),
    ("GET", "/admin/v1/me/tokens", None, SESSION),
    ("POST", "/admin/v1/me/tokens", Some("{}"), SESSION),
    ("POST", "/admin/v1/me/tokens/{id}/revoke", None, SESSION),
    ("GET", "/admin/v1/login", None, OPEN),
    ("POST", "/admin/v1/login", Some("{}"), OPEN),
    ("GET", "/admin/v1/openid/begin", None, OPEN),
    ("GET", "/admin/v1/openid/callback", None, OPEN),
    ("POST", "/admin/v1/links/look", Some("{}"), OPEN),
    ("POST", "/admin/v1/links/spend", Some("{}"), OPEN),
];

/// Everybody who is signed in; a token gets `SessionNeeded` where it is about the person.
const SESSION: &[&str] = &ROLES;
/// Nobody needs to be known.
const OPEN: &[&str] = &["nobody", "viewer", "developer", "security", "operator", "admin"];

pub(crate) struct House {
    pub(crate) gateway: Gateway,
    pub(crate) data: TempDir,
    /// The roles of which there is a person.
    users: Mutex<HashMap<String, ()>>,
}

pub(crate) const PASSWORD: &str = "vexed quince by the window";
pub(crate) const OWN: &str = "x-bartizan-request: 1";

/// The request line that carries the session of an answer.
pub(crate) fn cookie(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.json);
    let set = answer.header("set-cookie").unwrap();
    assert!(set.contains("; HttpOnly; SameSite=Strict") && set.contains("Path=/;"), "{set}");
    format!("cookie: {}", set.split(';').next().unwrap())
}

pub(crate) fn link_of(text: &str) -> String {
    text.trim().split("#link=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &&str| line.to_ascii_lowercase().starts_with(&format!("{name}: "));
        self.head.lines().find(of).map(|line| line[name.len() + 2..].trim())
    }

    pub(crate) fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }
}

impl House {
    pub(crate) fn start() -> House {
        let data = TempDir::new();
        let origin = Origin::answering("ok");
        let set = data.path().join("first.yaml");
        std::fs::write(&set, simple(&origin.url(), &[])).unwrap();
        let (code, _, err) =
            run(data.path(), &["apply", "--reason", "first", "-f", &set.display().to_string()]);
        assert_eq!(code, Some(0), "{err}");
        let gateway = Gateway::starting("run").arg("--store").data_dir(data.path());
        let gateway = gateway.arg("--admin").arg("127.0.0.1:0").arg("--workers").arg("1").start();
        House { gateway, data, users: Mutex::default() }
    }

    pub(crate) fn token(&self, role: &str) -> String {
        let arguments = ["tokens", "create", "--name", &format!("{role}-one"), "--role", role];
        let (code, out, err) = run(self.data.path(), &arguments);
        assert_eq!(code, Some(0), "{err}");
        out.trim().to_owned()
    }

    /// The cookie of somebody of this role who has just signed in.
    pub(crate) fn session(&self, role: &str) -> String {
        let mut users = self.users.lock().unwrap();
        if !users.contains_key(role) {
            let name = format!("{role}-person");
            let link = self.invited(&name, &["--role", role]);
            users.insert(role.to_owned(), ());
            return cookie(&self.spend(&link, json!({})));
        }
        drop(users);
        let body = json!({ "name": format!("{role}-person"), "password": PASSWORD }).to_string();
        cookie(&self.ask("POST", "/admin/v1/login", None, &[OWN], Some(&body)))
    }

    /// The text of the link of a new user.
    pub(crate) fn invited(&self, name: &str, arguments: &[&str]) -> String {
        let (code, out, err) = run(self.data.path(), &[&["users", "add", name], arguments].concat());
        assert_eq!(code, Some(0), "{err}");
        assert!(out.starts_with(&format!("http://{}", self.gateway.address("admin"))), "{out}");
        link_of(&out)
    }

    pub(crate) fn spend(&self, link: &str, more: Value) -> Answer {
        let mut body = json!({ "link": link, "password": PASSWORD });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.ask("POST", "/admin/v1/links/spend", None, &[OWN], Some(&body.to_string()))
    }

    pub(crate) fn log_in(&self, name: &str, password: &str) -> Answer {
        let body = json!({ "name": name, "password": password }).to_string();
        self.ask("POST", "/admin/v1/login", None, &[OWN], Some(&body))
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[&str],
        body: Option<&str>,
    ) -> Answer {
        let credential = token.map(|token| format!("authorization: Bearer {token}"));
        let mut lines: Vec<&str> = headers.to_vec();
        lines.extend(credential.as_deref());
        exchange(self.gateway.address("admin"), method, path, &lines, body)
    }
}

pub(crate) fn run(data: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let data = data.display().to_string();
    command([arguments, &["--data-dir", &data]].concat())
}

pub(crate) fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: Option<&str>,
) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    for line in headers {
        request.push_str(&format!("{line}\r\n"));
    }
    if let Some(body) = body {
        request.push_str(&format!(
            "content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
    } else {
        request.push_str("\r\n");
    }
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        json: serde_json::from_str(body).unwrap_or(Value::Null),
    }
}

#[test]
fn every_endpoint_is_open_to_the_roles_of_the_table_and_to_nobody_else() {
    let described = serde_json::to_value(bartizan_manage::api::openapi()).unwrap();
    let mut operations: Vec<(String, String)> = Vec::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        for method in ["get", "post", "put", "patch", "delete"] {
            if item.get(method).is_some() {
                operations.push((method.to_uppercase(), path.clone()));
            }
        }
    }
    operations.sort();
    let mut tabled: Vec<(String, String)> =
        ENDPOINTS.iter().map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned())).collect();
    tabled.sort();
    assert_eq!(operations, tabled, "every operation of the description is in the table");

    let house = House::start();
    let tokens: Vec<(&str, String)> = ROLES.iter().map(|role| (*role, house.token(role))).collect();
    for (method, path, body, allowed) in ENDPOINTS {
        let path = filled(path);
        let nobody = house.ask(method, &path, None, &[OWN], *body);
        if allowed.contains(&"nobody") {
            assert!(nobody.status != 401 && nobody.status < 500, "{method} {path}: {}", nobody.json);
        } else {
            assert_eq!((nobody.status, nobody.code()), (401, "TokenMissing"), "{method} {path}");
        }
        for role in ROLES {
            // A session of its own for each call: some of them end it.
            let session = house.session(role);
            let token = &tokens.iter().find(|(of, _)| *of == role).unwrap().1;
            let by_token = house.ask(method, &path, Some(token), &[OWN], *body);
            let by_session = house.ask(method, &path, None, &[&session, OWN], *body);
            let is_personal =
                path.contains("/sessions") || path.contains("/me/") || path.ends_with("/logout");
            for (by, answer) in [("token", by_token), ("session", by_session)] {
                let refused = (answer.status, answer.code()) == (403, "NotAllowed");
                let unfit = (answer.status, answer.code()) == (403, "SessionNeeded");
                let shown = format!("{role} by {by}: {method} {path}: {} {}", answer.status, answer.json);
                assert_eq!(!refused, allowed.contains(&role), "{shown}");
                // Who manages users sees everybody's sessions, by a token too.
                let others = role == "admin" && path.starts_with("/admin/v1/sessions");
                assert_eq!(unfit, is_personal && by == "token" && !others && *body != Some("{}"), "{shown}");
                // Let in, it is answered or refused for what was sent; never for a failure of ours.
                assert!(answer.status < 500 && answer.status != 401, "{shown}");
            }
            if *method != "GET" && !allowed.contains(&"nobody") {
                let bare = house.ask(method, &path, None, &[&house.session(role)], *body);
                assert_eq!(
                    (bare.status, bare.code()),
                    (403, "OtherSite"),
                    "a session's change without our header"
                );
            }
        }
    }
}

fn filled(path: &str) -> String {
    path.replace("{kind}/{name}", "Route/all")
        .replace("{revision}", "active")
        .replace("{name}", "nobody-of-this-name")
        .replace("{id}", "AAAAAAAAAAAA")
}

#[test]
fn a_change_needs_the_tag_that_was_seen_and_stands_in_the_audit_trail() {
    let house = House::start();
    let token = house.token("operator");
    let texts = |mark: &str| {
        let policy = document(
            "HeaderPolicy",
            "mark",
            &format!("{{ response: {{ set: [{{ name: x-mark, value: \"{mark}\" }}] }} }}"),
        );
        let set = simple("http://127.0.0.1:1", &[&policy]);
        json!({ "files": [{ "name": "a.yaml", "text": set }], "reason": "a mark" }).to_string()
    };
    let post = |headers: &[&str], body: &str| {
        house.ask("POST", "/admin/v1/revisions", Some(&token), headers, Some(body))
    };
    let active = house.ask("GET", "/admin/v1/revisions/active", Some(&token), &[], None);
    let tag = active.header("etag").unwrap().to_owned();
    assert!(tag.starts_with("\"r1-"), "{tag}");
    let seen = format!("if-match: {tag}");
    assert_eq!(post(&[], &texts("x")).status, 428);
    assert_eq!(post(&["if-none-match: *"], &texts("x")).status, 412);
    assert_eq!(post(&["if-match: \"r9-000000000000\""], &texts("x")).code(), "RevisionConflict");

    let plan = json!({ "files": [{ "name": "a.yaml", "text": WEB }] }).to_string();
    let plan = house.ask("POST", "/admin/v1/plan", Some(&token), &[], Some(&plan));
    assert_eq!((plan.status, plan.json["refused"].as_array().unwrap().len()), (200, 1), "{}", plan.json);
    let made = post(&[&seen], &texts("one"));
    assert_eq!((made.status, &made.json["revision"]["number"]), (201, &2.into()), "{}", made.json);
    assert_eq!(made.header("location"), Some("/admin/v1/revisions/2"));
    assert_eq!(made.json["revision"]["author"], "operator-one");
    // Somebody else who saw the same is told, and changes nothing.
    let late = post(&[&seen], &texts("two"));
    assert_eq!((late.status, late.json["active"].as_str()), (412, made.json["revision"]["etag"].as_str()));
    wait("the revision to be live", || {
        house.ask("GET", "/admin/v1/revisions/2", Some(&token), &[], None).json["revision"]["outcome"]["went"]
            == "live"
    });
    let seen = format!("if-match: {}", made.header("etag").unwrap());
    let back = house.ask(
        "POST",
        "/admin/v1/revisions/1/rollback",
        Some(&token),
        &[&seen],
        Some("{\"reason\":\"worse\"}"),
    );
    assert_eq!((back.status, &back.json["revision"]["restores"]), (201, &1.into()), "{}", back.json);

    let admin = house.token("admin");
    let trail = house.ask("GET", "/admin/v1/audit?limit=200", Some(&admin), &[], None).json;
    let rows = trail["rows"].as_array().unwrap();
    let of = |action: &str, phase: &str| {
        rows.iter().filter(|row| row["action"] == action && row["phase"] == phase).count()
    };
    assert_eq!(
        (of("revision.apply", "begun"), of("revision.apply", "done"), of("revision.apply", "refused")),
        (6, 2, 4),
        "{trail}"
    );
    assert_eq!((of("revision.rollback", "done"), of("token.create", "done")), (1, 2));
    let done = rows.iter().find(|row| row["action"] == "revision.apply" && row["phase"] == "done").unwrap();
    assert_eq!((&done["actor"], &done["source"]), (&"token:operator-one".into(), &"127.0.0.1".into()));
    assert!(
        done["before"].as_str().unwrap().starts_with("r1-")
            && done["after"].as_str().unwrap().starts_with("r2-")
    );
}

#[test]
fn what_is_wrong_is_told_as_a_problem_and_nothing_changes() {
    let house = House::start();
    let token = house.token("admin");
    let files = |name: &str, text: &str| {
        json!({ "files": [{ "name": name, "text": text }], "reason": "x" }).to_string()
    };
    let good = simple("http://127.0.0.1:1", &[]);
    for (case, body, status, code) in [
        ("no JSON", "x".to_owned(), 400, "BadRequest"),
        ("an unknown field", "{\"files\":[],\"reason\":\"x\",\"more\":1}".to_owned(), 422, "BadRequest"),
        (
            "a problem in a document",
            files("a.yaml", &good.replace("endpoints", "endpoint")),
            422,
            "SetHasProblems",
        ),
        ("an empty set", files("a.yaml", ""), 422, "SetRefused"),
        ("a name that leads elsewhere", files("../a.yaml", &good), 422, "SetHasProblems"),
        (
            "a secret",
            files("a.yaml", &format!("# -----BEGIN PRIVATE KEY-----\n{good}")),
            422,
            "SetHasProblems",
        ),
        (
            "no reason",
            json!({ "files": [{ "name": "a.yaml", "text": good }], "reason": "" }).to_string(),
            400,
            "BadRequest",
        ),
    ] {
        let answer = house.ask("POST", "/admin/v1/revisions", Some(&token), &["if-match: *"], Some(&body));
        assert_eq!((answer.status, answer.code()), (status, code), "{case}: {}", answer.json);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{case}");
    }
    for (method, path, status) in [
        ("GET", "/admin/v1/nothing", 404),
        ("DELETE", "/admin/v1/keys", 405),
        ("GET", "/admin/v1/revisions/9", 404),
        ("GET", "/admin/v1/revisions/x", 400),
        ("GET", "/admin/v1/revisions?limit=x", 400),
        ("GET", "/admin/v1/revisions?more=1", 400),
        ("GET", "/admin/v1/documents/Nothing/x", 404),
        ("GET", "/admin/v1/documents/Route/none", 404),
    ] {
        let answer = house.ask(method, path, Some(&token), &[], None);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.json);
    }
    let plain = exchange(
        house.gateway.address("admin"),
        "POST",
        "/admin/v1/keys",
        &[&format!("authorization: Bearer {token}"), "content-length: 2"],
        None,
    );
    assert_eq!(plain.status, 415, "what no form of another site can send");
    assert_eq!(house.ask("GET", "/admin/v1/revisions", Some(&token), &[], None).json["active"], 1);
}

#[test]
fn tokens_that_do_not_hold_and_requests_of_other_sites_are_refused() {
    let house = House::start();
    let token = house.token("admin");
    let status =
        |token: &str, headers: &[&str]| house.ask("GET", "/admin/v1/me", Some(token), headers, None).status;
    assert_eq!(status(&token, &[]), 200);
    assert_eq!(status(&token, &["sec-fetch-site: same-origin"]), 200);
    assert_eq!(status(&token, &["sec-fetch-site: cross-site"]), 403);
    assert_eq!(status(&token, &["authorization: Bearer x"]), 400, "two credentials are none");
    let made = house.ask(
        "POST",
        "/admin/v1/tokens",
        Some(&token),
        &[],
        Some("{\"name\":\"ci\",\"role\":\"viewer\"}"),
    );
    let (text, id) = (made.json["text"].as_str().unwrap(), made.json["id"].as_str().unwrap());
    assert_eq!((made.status, status(text, &[])), (201, 200));
    let gone = house.ask("POST", &format!("/admin/v1/tokens/{id}/revoke"), Some(&token), &[], None);
    assert_eq!((gone.status, status(text, &[])), (200, 401));
    let log = house.gateway.stderr().join("\n");
    assert!(!log.contains(text) && !log.contains(&token), "{log}");
    for _ in 0..25 {
        status("bzt_0000000000000000_0", &[]);
    }
    assert_eq!(status(&token, &[]), 429, "an address that guesses waits");
}

#[test]
fn a_key_is_made_shown_once_and_withdrawn() {
    let house = House::start();
    let token = house.token("operator");
    let body = "{\"consumer\":\"shop\",\"label\":\"nightly\",\"expiresInSeconds\":3600}";
    let made = house.ask("POST", "/admin/v1/keys", Some(&token), &[], Some(body));
    assert_eq!((made.status, &made.json["createdBy"]), (201, &"operator-one".into()), "{}", made.json);
    let (key, id) = (made.json["key"].as_str().unwrap(), made.json["id"].as_str().unwrap());
    let shown = house.ask("GET", &format!("/admin/v1/keys/{id}"), Some(&token), &[], None);
    assert_eq!((&shown.json["state"], shown.json.get("key")), (&"active".into(), None));
    assert_eq!(house.ask("GET", &format!("/admin/v1/keys/{key}"), Some(&token), &[], None).status, 404);
    let list = house.ask("GET", "/admin/v1/keys?consumer=shop&limit=1", Some(&token), &[], None);
    assert_eq!((list.json["keys"].as_array().unwrap().len(), &list.json["next"]), (1, &Value::Null));
    let gone = house.ask("POST", &format!("/admin/v1/keys/{id}/revoke"), Some(&token), &[], None);
    assert_eq!((gone.status, &gone.json["state"]), (200, &"revoked".into()));
}

#[test]
fn the_commands_speak_to_a_running_gateway() {
    let house = House::start();
    let (operator, viewer) = (house.token("operator"), house.token("viewer"));
    let server = format!("http://{}", house.gateway.address("admin"));
    let dir = TempDir::new();
    let set = dir.join("set.yaml");
    let text = |bytes: u32| {
        simple("http://127.0.0.1:1", &[])
            .replace("addresses:", &format!("admission: {{ headerCount: {bytes} }}, addresses:"))
    };
    std::fs::write(&set, text(50)).unwrap();
    let set = set.display().to_string();
    let there = |token: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bartizan"));
        command.args(arguments).args(["--server", &server]).env("BARTIZAN_TOKEN", token);
        let output = command.env("HOME", dir.path()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let plan = there(&viewer, &["plan", "-f", &set]);
    assert!(plan.0 == 0 && plan.1.contains("admission.headerCount: 100 → 50"), "{plan:?}");
    assert_eq!(there(&viewer, &["diff", "-f", &set]).0, 1);
    let refused = there(&viewer, &["apply", "-f", &set, "--reason", "x"]);
    assert!(refused.0 == 1 && refused.2.contains("The role viewer may not do this"), "{refused:?}");
    let applied = there(&operator, &["apply", "-f", &set, "--reason", "fewer"]);
    assert!(applied.0 == 0 && applied.2.contains("is live"), "{applied:?}");
    let stale = there(&operator, &["apply", "-f", &set, "--reason", "x", "--if-match", "1"]);
    assert!(stale.0 == 1 && stale.2.contains("revision r2-"), "{stale:?}");
    let shown = there(&viewer, &["get", "Listener/web"]);
    assert!(shown.0 == 0 && shown.1.contains("headerCount: 50"), "{shown:?}");
    let back = there(&operator, &["rollback", "--reason", "more"]);
    assert!(back.0 == 0 && back.2.contains("is live"), "{back:?}");
    let history = there(&viewer, &["history"]);
    assert!(
        history.0 == 0 && history.1.contains("operator-one") && history.1.lines().count() == 4,
        "{history:?}"
    );
    assert_eq!(there("bzt_wrong", &["history"]).0, 2);
    let outside = run(house.data.path(), &["history", "--server", "http://192.0.2.1:9440"]);
    assert!(outside.0 == Some(2) && outside.2.contains("clear text"), "{outside:?}");
}

/// TLS in front of a management listener, as a reverse proxy puts it there.
fn tls_front(admin: SocketAddr, identity: &Identity) -> Origin {
    Origin::start_tls(identity, move |asked| {
        let body = String::from_utf8(asked.body.to_vec()).unwrap();
        let wanted = |name: &&str| asked.header(name).is_some();
        let lines: Vec<String> = ["authorization", "if-match", "if-none-match"]
            .iter()
            .filter(|name| wanted(name))
            .map(|name| format!("{name}: {}", asked.header(name).unwrap()))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let body = Some(&*body).filter(|body| !body.is_empty());
        let answer = exchange(admin, &asked.method, &asked.target, &lines, body);
        Reply::new(answer.status, answer.json.to_string()).with("content-type", "application/json")
    })
}

#[test]
fn the_commands_speak_to_a_gateway_elsewhere_over_tls_alone() {
    let house = House::start();
    let token = house.token("operator");
    let authority = Authority::new();
    let front = tls_front(house.gateway.address("admin"), &authority.issue(&["localhost"]));
    let dir = TempDir::new();
    let place = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (known, stranger) = (place("ca.pem", &authority.pem()), place("other.pem", &Authority::new().pem()));
    let token_file = place("token", &format!("{token}\n"));
    let set = place("set.yaml", &simple("http://127.0.0.1:2", &[]));
    let port = front.address().port();
    let there = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bartizan"));
        command.args(arguments).env("HOME", dir.path()).envs(environment.iter().copied());
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let server = format!("https://localhost:{port}");
    let by_file = ["--server", &*server, "--cacert", &*known, "--token-file", &*token_file];
    let history = there(&[&["history"], &by_file[..]].concat(), &[]);
    assert!(history.0 == 0 && history.1.contains("first"), "{history:?}");
    let applied = there(&[&["apply", "-f", &*set, "--reason", "elsewhere"], &by_file[..]].concat(), &[]);
    assert!(applied.0 == 0 && applied.2.contains("is live"), "{applied:?}");

    // As pipelines do it: everything from the environment.
    let environment =
        [("BARTIZAN_SERVER", &*server), ("BARTIZAN_CACERT", &*known), ("BARTIZAN_TOKEN", &*token)];
    let plan = there(&["plan", "-f", &*set], &environment);
    assert!(plan.0 == 0 && plan.1.contains("nothing"), "{plan:?}");
    // What is said counts before it.
    let data = house.data.path().display().to_string();
    let here = there(&["history", "--data-dir", &data], &[("BARTIZAN_SERVER", "https://localhost:1")]);
    assert!(here.0 == 0 && here.1.contains("elsewhere"), "{here:?}");

    let asked = front.take().len();
    for (case, server, authorities, words) in [
        ("a certificate of another authority", &*server, &*stranger, "--cacert"),
        (
            "a name that is not in the certificate",
            &format!("https://127.0.0.1:{port}"),
            &*known,
            "certificate",
        ),
        ("clear text to a TLS port", &format!("http://localhost:{port}"), "", ""),
    ] {
        let mut arguments = vec!["history", "--server", server];
        if !authorities.is_empty() {
            arguments.extend(["--cacert", authorities]);
        }
        let refused = there(&arguments, &[("BARTIZAN_TOKEN", &*token)]);
        assert!(
            refused.0 == 2 && refused.2.contains(words) && !refused.2.contains(&token),
            "{case}: {refused:?}"
        );
    }
    assert!(asked > 0 && front.take().is_empty(), "no token was sent to whom nobody vouches for");
}

#[test]
fn a_set_whose_tests_fail_is_refused_here_too_unless_somebody_answers_for_it() {
    let house = House::start();
    let token = house.token("operator");
    let promise = "apiVersion: management.v1\nkind: PolicyTest\nmetadata: { name: nothing-is-served }\n\
                   spec: { request: { url: / }, steps: [{ expect: { decision: refuse } }] }\n";
    let body = |waiver: Option<&str>| {
        let mut body = json!({
            "files": [{ "name": "a.yaml", "text": simple("http://127.0.0.1:1", &[promise]) }],
            "reason": "a promise",
        });
        if let Some(why) = waiver {
            body["evenIfTestsFail"] = why.into();
        }
        body.to_string()
    };
    let post = |path: &str, body: &str| house.ask("POST", path, Some(&token), &["if-match: *"], Some(body));
    let plan = json!({ "files": [{ "name": "a.yaml", "text": simple("http://127.0.0.1:1", &[promise]) }] });
    let plan = post("/admin/v1/plan", &plan.to_string());
    assert_eq!(plan.json["failingTests"].as_array().map(Vec::len), Some(1), "{}", plan.json);
    let refused = post("/admin/v1/revisions", &body(None));
    assert_eq!((refused.status, refused.code()), (422, "TestsFail"), "{}", refused.json);
    assert!(
        refused.json["problems"][0]["message"].as_str().unwrap().contains("PolicyTest/nothing-is-served")
    );
    let made = post("/admin/v1/revisions", &body(Some("known")));
    assert_eq!(made.status, 201, "{}", made.json);
    assert_eq!(
        made.json["revision"]["reason"],
        "a promise [1 of 1 tests failed; applied all the same: known]"
    );
    let admin = house.token("admin");
    let trail = house.ask("GET", "/admin/v1/audit", Some(&admin), &[], None).json;
    let rows = trail["rows"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["reason"] == "a promise [even if tests fail: known]"), "{trail}");
}

#[test]
fn the_description_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schema/management-api.json");
    let text = serde_json::to_string_pretty(&bartizan_manage::api::openapi()).unwrap() + "\n";
    if std::env::var_os("BARTIZAN_REGENERATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == kept,
        "schema/management-api.json is old: set BARTIZAN_REGENERATE and run this test again"
    );
}
