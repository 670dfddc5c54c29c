//! People who manage a gateway: the first link, signing in and out, scopes, personal tokens, other addresses.

use std::time::Duration;

use bartizan_testkit::{Authority, Gateway, Origin, TempDir};
use serde_json::{Value, json};

use crate::{
    harness::{document, simple},
    management::{House, OWN, PASSWORD, cookie, link_of, run},
};

fn post(house: &House, path: &str, session: &str, body: &Value) -> crate::management::Answer {
    house.ask("POST", path, None, &[session, OWN], Some(&body.to_string()))
}

#[test]
fn the_first_start_shows_a_link_that_makes_one_admin_once() {
    let house = House::start();
    let link = link_of(&house.gateway.wait_for_stderr("#link="));
    let ways = house.ask("GET", "/admin/v1/login", None, &[], None);
    assert_eq!(ways.json["first"], true);
    let look = json!({ "link": link }).to_string();
    let look = |headers: &[&str]| house.ask("POST", "/admin/v1/links/look", None, headers, Some(&look));
    assert_eq!(look(&[OWN]).json["user"], Value::Null);
    assert_eq!(look(&[]).code(), "OtherSite", "no form of another site can spend it");
    assert_eq!(look(&[OWN, "origin: http://evil.example"]).code(), "OtherSite");
    // What is refused spends nothing.
    for (case, more, status, code) in [
        ("a common password", json!({ "name": "ann", "password": "Password-2026!" }), 422, "PasswordWeak"),
        ("a short password", json!({ "name": "ann", "password": "x7#kq" }), 422, "PasswordWeak"),
        ("no name", json!({}), 400, "BadRequest"),
        ("a name with a gap", json!({ "name": "ann smith" }), 400, "BadRequest"),
    ] {
        let answer = house.spend(&link, more);
        assert_eq!((answer.status, answer.code()), (status, code), "{case}: {}", answer.json);
    }
    let made = house.spend(&link, json!({ "name": "ann" }));
    let session = cookie(&made);
    assert_eq!(
        (&made.json["name"], &made.json["role"], &made.json["session"]),
        (&"ann".into(), &"admin".into(), &true.into())
    );
    assert_eq!(house.spend(&link, json!({ "name": "bob" })).code(), "LinkInvalid");
    let (code, out, err) = run(house.data.path(), &["users", "setup-link"]);
    assert!(code == Some(1) && out.is_empty() && err.contains("users already"), "{err}");
    assert_eq!(house.ask("GET", "/admin/v1/me", None, &[&session], None).json["name"], "ann");
    let both = house.ask("GET", "/admin/v1/me", Some("bzt_x"), &[&session], None);
    assert_eq!(both.status, 400, "two credentials are none");
    let other = house.ask("GET", "/admin/v1/me", None, &[&session, "sec-fetch-site: cross-site"], None);
    assert_eq!(other.code(), "OtherSite");
    let out = house.ask("POST", "/admin/v1/logout", None, &[&session, OWN], None);
    assert!(out.status == 204 && out.header("set-cookie").unwrap().contains("Max-Age=0"), "{}", out.head);
    assert_eq!(house.ask("GET", "/admin/v1/me", None, &[&session], None).code(), "SessionEnded");
    let log = house.gateway.stderr().join("\n");
    assert!(
        !log.contains(PASSWORD) && !log.contains(session.trim_start_matches("cookie: bartizan=")),
        "{log}"
    );
}

#[test]
fn a_second_start_shows_another_link_and_the_command_does_too() {
    let house = House::start();
    let first = link_of(&house.gateway.wait_for_stderr("#link="));
    let (code, out, err) = run(house.data.path(), &["users", "setup-link"]);
    assert_eq!(code, Some(0), "{err}");
    let second = link_of(&out);
    assert_eq!(
        house.spend(&first, json!({ "name": "ann" })).code(),
        "LinkInvalid",
        "a newer one took its place"
    );
    assert_eq!(house.spend(&second, json!({ "name": "ann" })).status, 200);
}

#[test]
fn who_guesses_waits_and_learns_no_names() {
    let house = House::start();
    let link = house.invited("ann", &["--role", "viewer"]);
    cookie(&house.spend(&link, json!({})));
    let wrong = house.log_in("ann", "not the password at all");
    let nobody = house.log_in("nobody", "not the password at all");
    assert_eq!((wrong.status, wrong.code()), (401, "LoginWrong"));
    assert_eq!(wrong.json, nobody.json, "an unknown name has the same answer");
    let mut answers = vec![];
    for _ in 0..6 {
        answers.push(house.log_in("ann", "not the password at all"));
    }
    let last = answers.last().unwrap();
    assert_eq!((last.status, last.code()), (429, "TooManyFailures"), "{}", last.json);
    assert!(last.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(house.log_in("ann", PASSWORD).status, 429, "the right one has to wait too");
    let trail = house.ask("GET", "/admin/v1/audit?limit=200", Some(&house.token("admin")), &[], None).json;
    let rows = trail["rows"].as_array().unwrap();
    let refused = |target: &str| {
        rows.iter().any(|row| {
            row["action"] == "session.begin" && row["phase"] == "refused" && row["target"] == target
        })
    };
    assert!(refused("ann") && refused("a name that nobody has"), "{trail}");
    assert!(!trail.to_string().contains("not the password"), "what was typed stands nowhere");
}

#[test]
fn users_are_added_changed_disabled_and_reset_and_their_sessions_and_tokens_end_with_it() {
    let house = House::start();
    let admin = cookie(
        &house.spend(&link_of(&house.gateway.wait_for_stderr("#link=")), json!({ "name": "root-ann" })),
    );
    let made = post(&house, "/admin/v1/users", &admin, &json!({ "name": "bob", "role": "operator" }));
    assert_eq!((made.status, &made.json["user"]["state"]), (201, &"invited".into()), "{}", made.json);
    let bob = cookie(&house.spend(&link_of(made.json["link"].as_str().unwrap()), json!({})));
    let token = json!({ "name": "laptop", "expiresInSeconds": 60, "scope": { "permissions": ["readState", "manageUsers"] } });
    let token = post(&house, "/admin/v1/me/tokens", &bob, &token);
    assert_eq!((token.status, &token.json["personal"]), (201, &true.into()), "{}", token.json);
    let text = token.json["text"].as_str().unwrap().to_owned();
    let status = |path: &str| house.ask("GET", path, Some(&text), &[], None).status;
    assert_eq!(
        (status("/admin/v1/state"), status("/admin/v1/keys"), status("/admin/v1/users")),
        (200, 403, 403)
    );
    assert_eq!(house.ask("GET", "/admin/v1/me/tokens", Some(&text), &[], None).code(), "SessionNeeded");
    let long = json!({ "name": "x", "expiresInSeconds": 999_999_999_999_u64 });
    assert_eq!(post(&house, "/admin/v1/me/tokens", &bob, &long).status, 400);

    let list = house.ask("GET", "/admin/v1/sessions", None, &[&bob], None).json;
    assert_eq!(list["sessions"].as_array().unwrap().len(), 1, "one's own alone: {list}");
    let list = house.ask("GET", "/admin/v1/sessions", None, &[&admin], None).json;
    assert_eq!(list["sessions"].as_array().unwrap().len(), 2, "{list}");
    let own = list["sessions"].as_array().unwrap().iter().find(|one| one["own"] == true).unwrap();
    let foreign = format!("/admin/v1/sessions/{}/end", own["id"].as_str().unwrap());
    assert_eq!(house.ask("POST", &foreign, None, &[&bob, OWN], None).status, 404, "nobody else's");

    let change = |body: Value| {
        house.ask("PATCH", "/admin/v1/users/bob", None, &[&admin, OWN], Some(&body.to_string()))
    };
    assert_eq!(change(json!({ "role": "viewer" })).status, 200);
    assert_eq!(house.ask("GET", "/admin/v1/keys", None, &[&bob], None).status, 403, "at once");
    let last = json!({ "disabled": true }).to_string();
    let last = house.ask("PATCH", "/admin/v1/users/root-ann", None, &[&admin, OWN], Some(&last));
    assert_eq!((last.status, last.code()), (409, "Conflict"), "{}", last.json);
    assert_eq!(change(json!({ "disabled": true })).json["state"], "disabled");
    assert_eq!(house.ask("GET", "/admin/v1/me", None, &[&bob], None).status, 401);
    assert_eq!(status("/admin/v1/state"), 401, "a personal token ends with its user");
    assert_eq!(house.log_in("bob", PASSWORD).code(), "LoginWrong");
    assert_eq!(change(json!({ "disabled": false })).json["state"], "active");
    assert_eq!(status("/admin/v1/state"), 200);

    let bob = cookie(&house.log_in("bob", PASSWORD));
    let body = json!({ "current": "another one altogether", "new": "jubilant walnut exit" });
    assert_eq!(post(&house, "/admin/v1/me/password", &bob, &body).code(), "LoginWrong");
    let body = json!({ "current": PASSWORD, "new": "jubilant walnut exit" });
    assert_eq!(post(&house, "/admin/v1/me/password", &bob, &body).status, 204);
    assert_eq!(
        house.ask("GET", "/admin/v1/me", None, &[&bob], None).status,
        200,
        "the session that did it stays"
    );
    let (code, out, err) = run(house.data.path(), &["users", "reset", "bob"]);
    assert!(code == Some(0) && out.contains("#link=bzl_"), "{err}");
    assert_eq!(house.ask("GET", "/admin/v1/me", None, &[&bob], None).status, 401);
    assert_eq!(house.log_in("bob", "jubilant walnut exit").code(), "LoginWrong");
    let (code, out, _) = run(house.data.path(), &["users", "list"]);
    assert!(code == Some(0) && out.contains("bob") && out.contains("invited"), "{out}");
}

#[test]
fn who_is_held_to_some_documents_sees_and_changes_those_alone() {
    let house = House::start();
    let policy = |name: &str, team: &str, mark: &str| {
        document(
            "HeaderPolicy",
            name,
            &format!("{{ response: {{ set: [{{ name: x-{name}, value: \"{mark}\" }}] }} }}"),
        )
        .replace(&format!("name: {name} }}"), &format!("name: {name}, labels: {{ team: {team} }} }}"))
    };
    let origin = Origin::answering("ok");
    let set = |shop: &str, bank: &str| {
        let documents = [policy("shop", "shop", shop), policy("bank", "bank", bank)];
        let parts: Vec<&str> = documents.iter().map(String::as_str).collect();
        json!([{ "name": "a.yaml", "text": simple(&origin.url(), &parts) }])
    };
    let wide = house.token("operator");
    let apply = |token: &str, files: Value| {
        let body = json!({ "files": files, "reason": "a mark" }).to_string();
        house.ask("POST", "/admin/v1/revisions", Some(token), &["if-match: *"], Some(&body))
    };
    let first = apply(&wide, set("1", "1"));
    assert_eq!(first.status, 201, "{}", first.json);
    let narrow = ["tokens", "create", "--name", "shop", "--role", "operator", "--label", "team=shop"];
    let (code, out, err) = run(house.data.path(), &narrow);
    assert_eq!(code, Some(0), "{err}");
    let narrow = out.trim();
    let list = house.ask("GET", "/admin/v1/documents", Some(narrow), &[], None).json;
    let names: Vec<&str> = list["documents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["shop"]);
    for (path, status) in [
        ("/admin/v1/documents/HeaderPolicy/shop", 200),
        ("/admin/v1/documents/HeaderPolicy/bank", 404),
        ("/admin/v1/revisions/active?texts=true", 403),
        ("/admin/v1/revisions/active", 200),
    ] {
        assert_eq!(house.ask("GET", path, Some(narrow), &[], None).status, status, "{path}");
    }
    let routes = house.ask("GET", "/admin/v1/routes", Some(narrow), &[], None).json;
    assert_eq!(routes["routes"].as_array().map(Vec::len), Some(0), "{routes}");
    let key = json!({ "consumer": "anybody" }).to_string();
    assert_eq!(house.ask("POST", "/admin/v1/keys", Some(narrow), &[], Some(&key)).code(), "OutOfScope");
    assert_eq!(apply(narrow, set("2", "1")).status, 201, "its own");
    let beyond = apply(narrow, set("2", "2"));
    assert_eq!((beyond.status, beyond.code()), (403, "OutOfScope"), "{}", beyond.json);
    assert!(beyond.json["problems"].to_string().contains("HeaderPolicy/bank"), "{}", beyond.json);
    let back = "{\"reason\":\"x\"}";
    let back =
        house.ask("POST", "/admin/v1/revisions/1/rollback", Some(narrow), &["if-match: *"], Some(back));
    assert_eq!(back.code(), "OutOfScope", "{}", back.json);

    let away = ["tokens", "create", "--name", "away", "--role", "viewer", "--address", "192.0.2.0/24"];
    let (_, out, _) = run(house.data.path(), &away);
    assert_eq!(house.ask("GET", "/admin/v1/me", Some(out.trim()), &[], None).code(), "AddressNotAllowed");
}

#[test]
fn another_address_than_loopback_needs_tls_a_name_and_a_user() {
    let data = TempDir::new();
    let origin = Origin::answering("ok");
    let set = data.path().join("first.yaml");
    std::fs::write(&set, simple(&origin.url(), &[])).unwrap();
    let set = set.display().to_string();
    let authority = Authority::new();
    let identity = authority.issue(&["localhost"]);
    let place = |name: &str, text: &str| {
        let path = data.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (cert, key) = (place("cert.pem", &identity.chain), place("key.pem", &identity.key));
    let authorities = place("ca.pem", &authority.pem());
    let tls = ["--admin-cert", &*cert, "--admin-key", &*key];
    let named = [&tls[..], &["--admin-name", "localhost"]].concat();
    let run_here = |more: &[&str]| {
        run(
            data.path(),
            &[&["run", "--config", &*set, "--admin", "0.0.0.0:0", "--workers", "1"], more].concat(),
        )
    };
    for (case, more, words) in [
        ("clear text", &[][..], "clear text"),
        ("no name", &tls[..], "--admin-name"),
        ("no user", &named[..], "no user"),
    ] {
        let (code, _, err) = run_here(more);
        assert!(code == Some(2) && err.contains(words), "{case}: {err}");
    }
    let (code, ..) = run(data.path(), &["users", "add", "ann", "--role", "admin"]);
    assert_eq!(code, Some(0));
    let (_, token, _) = run(data.path(), &["tokens", "create", "--name", "ci", "--role", "viewer"]);
    let mut start = Gateway::starting("run").arg("--config").arg(&set).arg("--admin").arg("0.0.0.0:0");
    for argument in &named {
        start = start.arg(argument);
    }
    let gateway = start.data_dir(data.path()).arg("--workers").arg("1").start();
    let port = gateway.address("admin").port();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bartizan"));
    let server = format!("https://localhost:{port}");
    command.args(["history", "--server", &server, "--cacert", &authorities]);
    let output = command.env("BARTIZAN_TOKEN", token.trim()).env("HOME", data.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let clear = std::net::TcpStream::connect(("127.0.0.1", port)).map(|mut stream| {
        use std::io::{Read, Write};
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    });
    assert!(!clear.unwrap().starts_with(b"HTTP/1.1"), "no clear text is spoken there");
}
