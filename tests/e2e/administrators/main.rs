//! Administrators who sign in by a certified OpenID provider.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helpers fail by panicking"
)]

use bartizan_e2e::openid::Provider;
use bartizan_testkit::{Client, Gateway, Origin, TempDir, gateway::command};
use serde_json::{Value, json};

/// A gateway at which one signs in by the provider.
struct House {
    gateway: Gateway,
    provider: Provider,
    data: TempDir,
}

/// Where a browser was sent, and what it was given.
struct Sent {
    to: String,
    cookies: Vec<String>,
}

impl House {
    fn start(provider: Provider) -> House {
        let data = TempDir::new();
        let origin = Origin::answering("ok");
        let set = data.path().join("set.yaml");
        let documents = format!(
            "apiVersion: management.v1\nkind: Listener\nmetadata: {{ name: web }}\nspec: {{ addresses: [\"127.0.0.1:0\"] }}\n---\n\
             apiVersion: management.v1\nkind: Upstream\nmetadata: {{ name: shop }}\nspec: {{ endpoints: [{{ url: \"{}\" }}] }}\n---\n\
             apiVersion: management.v1\nkind: Route\nmetadata: {{ name: all }}\n\
             spec: {{ rules: [{{ matches: [{{ path: {{ value: / }} }}], backendRefs: [{{ name: shop }}] }}] }}\n",
            origin.url()
        );
        std::fs::write(&set, documents).unwrap();
        let mut start =
            Gateway::starting("run").arg("--config").arg(&set).env("CONSOLE_SECRET", "browser-secret/+");
        for argument in [
            "--admin",
            "127.0.0.1:0",
            "--admin-openid-issuer",
            &provider.issuer,
            "--admin-openid-client",
            "browser",
            "--admin-openid-secret",
            "env://CONSOLE_SECRET",
            "--admin-openid-role",
            "platform=operator",
            "--admin-openid-role",
            "everybody=viewer",
            "--admin-openid-private-network",
        ] {
            start = start.arg(argument);
        }
        let dir = data.path().join("state");
        let gateway = start.arg("--admin-openid-ca").arg(&provider.authority).data_dir(&dir).start();
        let redirect = format!("http://{}/admin/v1/openid/callback", gateway.address("admin"));
        let client = json!({ "redirect_uris": [redirect], "application_type": "native", "scope": "openid profile email" });
        provider.control("/register", &client);
        // Whoever signs in is known by a number there, and called by a name here.
        provider.control("/set", &json!({ "prefix": "number-of-", "user": "ada", "groups": [] }));
        House { gateway, provider, data }
    }

    fn walk(&self, path: &str, cookies: &[String]) -> Sent {
        let cookie = cookies.join("; ");
        let headers = [("cookie", &*cookie)];
        let headers = if cookies.is_empty() { &[][..] } else { &headers[..] };
        let answer = Client::http1(self.gateway.address("admin")).call("GET", path, headers, Vec::new());
        assert_eq!(answer.status, 303, "{path}: {}", answer.text());
        Sent {
            to: answer.headers["location"].to_str().unwrap().to_owned(),
            cookies: answer
                .headers
                .get_all("set-cookie")
                .iter()
                .map(|value| value.to_str().unwrap().split(';').next().unwrap().to_owned())
                .collect(),
        }
    }

    /// To the provider and back: the address of the way back, and the cookies of the attempt.
    fn attempt(&self) -> Sent {
        let begun = self.walk("/admin/v1/openid/begin", &[]);
        assert!(begun.to.starts_with(&self.provider.issuer), "{}", begun.to);
        assert!(
            begun.to.contains("code_challenge_method=S256") && begun.to.contains("nonce="),
            "{}",
            begun.to
        );
        let back = self.provider.control("/follow", &json!({ "url": begun.to, "afresh": true }));
        let back = back["to"].as_str().unwrap_or_else(|| panic!("{back}"));
        let path = back.split_once("/admin/").unwrap().1;
        Sent { to: format!("/admin/{path}"), cookies: begun.cookies }
    }

    fn sign_in(&self) -> Sent {
        let Sent { to, cookies } = self.attempt();
        self.walk(&to, &cookies)
    }

    fn me(&self, sent: &Sent) -> Value {
        let cookie = sent.cookies.iter().find(|pair| pair.starts_with("bartizan=")).expect("a session");
        let address = self.gateway.address("admin");
        Client::http1(address).call("GET", "/admin/v1/me", &[("cookie", cookie)], Vec::new()).json()
    }

    fn users(&self, arguments: &[&str]) {
        let dir = self.data.path().join("state").display().to_string();
        let (code, _, err) = command([&["users"], arguments, &["--data-dir", &dir]].concat());
        assert_eq!(code, Some(0), "{err}");
    }
}

#[test]
fn administrators_sign_in_by_the_provider_and_their_groups_give_their_role() {
    let Some(provider) = Provider::start() else { return };
    let house = House::start(provider);
    let ways = Client::http1(house.gateway.address("admin")).get("/admin/v1/login", &[]).json();
    assert_eq!(ways["openId"], "your identity provider");

    house.provider.control("/set", &json!({ "groups": ["everybody", "platform"] }));
    let sent = house.sign_in();
    assert_eq!(sent.to, "/console/");
    let me = house.me(&sent);
    assert_eq!((&me["name"], &me["role"]), (&"ada".into(), &"operator".into()), "{me}");
    // What the groups say now counts with the next sign-in, and it is the same person.
    house.provider.control("/set", &json!({ "groups": ["everybody"] }));
    assert_eq!(house.me(&house.sign_in())["role"], "viewer");

    for (case, change, word) in [
        ("no group that means anything", json!({ "groups": ["others"] }), "NoRole"),
        ("they do not want to", json!({ "denies": true }), "Refused"),
    ] {
        house.provider.control("/set", &change);
        assert_eq!(house.sign_in().to, format!("/console/?signin={word}"), "{case}");
    }
    house.provider.control("/set", &json!({ "denies": false, "groups": ["platform"], "user": "bob" }));
    house.users(&["add", "bob", "--role", "admin"]);
    assert_eq!(house.sign_in().to, "/console/?signin=NameTaken", "nobody becomes somebody else");
    house.provider.control("/set", &json!({ "user": "ada" }));
    house.users(&["disable", "ada"]);
    assert_eq!(house.sign_in().to, "/console/?signin=Disabled");
}

#[test]
fn an_answer_belongs_to_the_browser_that_asked_and_is_used_once() {
    let Some(provider) = Provider::start() else { return };
    let house = House::start(provider);
    house.provider.control("/set", &json!({ "groups": ["platform"] }));
    let stale = "/console/?signin=StaleAttempt";
    let attempt = house.attempt();
    assert_eq!(house.walk(&attempt.to, &[]).to, stale, "another browser: the answer was forced upon it");
    assert_eq!(house.walk(&attempt.to, &attempt.cookies).to, stale, "and it is spent by that");
    let attempt = house.attempt();
    assert_eq!(house.walk(&attempt.to, &attempt.cookies).to, "/console/");
    assert_eq!(house.walk(&attempt.to, &attempt.cookies).to, stale, "a code is used once");
    let (one, other) = (house.attempt(), house.attempt());
    assert_eq!(house.walk(&one.to, &other.cookies).to, stale);
    let attempt = house.attempt();
    for (from, to) in [("state=", "state=x"), ("code=", "code=x"), ("iss=https", "iss=http")] {
        let changed = house.attempt();
        let sent = house.walk(&changed.to.replace(from, to), &changed.cookies);
        assert!(
            sent.to.starts_with("/console/?signin=")
                && sent.cookies.iter().all(|one| !one.starts_with("bartizan=")),
            "{from}"
        );
    }
    assert_eq!(house.walk("/admin/v1/openid/callback", &attempt.cookies).to, stale);
    let log = house.gateway.stderr().join("\n");
    assert!(!log.contains("browser-secret"), "{log}");
}
