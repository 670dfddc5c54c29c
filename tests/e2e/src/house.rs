//! The house under attack: one gateway with several listeners, a recording origin, and origins that misbehave.
//!
//! Started once for the whole table. What is behind a credential answers to paths with `admin` in them, so that one
//! look at the recording origin tells whether anybody got there without one.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bartizan_testkit::{
    Authority, Client, Documents, Gateway, Origin, Raw, RawOrigin, Received, Reply, TempDir, gateway::binary,
    origin::Step,
};

/// Everything a row may use.
pub struct House {
    /// The gateway.
    pub gateway: Gateway,
    /// What it published, and the reply says what it was asked.
    pub origin: Origin,
    /// Sends large answers and is not looked at by anyone.
    pub quiet: Origin,
    /// Origins that misbehave, by the name of their path below `/bad/`.
    pub bad: BTreeMap<&'static str, RawOrigin>,
    /// An API key of the consumer `shop`.
    pub key: String,
    /// The authority of the gateway's certificates, PEM.
    pub ca: String,
    /// Beside the documents for the gateway: for rows that start a second one.
    pub directory: TempDir,
    _documents: Documents,
    sentinels: AtomicU64,
}

/// A secret that the gateway adds to requests of one route; it must appear nowhere else.
pub const UPSTREAM_SECRET: &str = "canary-4f1d0c2b9a8e7766-upstream";

impl House {
    /// Builds it and waits until the gateway is ready.
    ///
    /// `bad` are the origins that misbehave, each with what it does on every connection.
    pub fn build(bad: Vec<(&'static str, Vec<Step>)>) -> House {
        let origin = Origin::start(reply);
        let quiet = Origin::start(reply);
        let bad: BTreeMap<_, _> =
            bad.into_iter().map(|(name, script)| (name, RawOrigin::playing(script))).collect();
        let directory = TempDir::new();
        let authority = Authority::new();
        for (file, names) in [("a", &["a.test", "shared.test"][..]), ("b", &["b.test"][..])] {
            let identity = authority.issue(names);
            std::fs::write(directory.join(format!("{file}.pem")), identity.chain)
                .expect("a file can be written");
            std::fs::write(directory.join(format!("{file}.key")), identity.key)
                .expect("a file can be written");
        }
        let documents = Documents::one(documents(&origin, &quiet, &bad, &directory));
        let data = directory.join("data");
        let key = mint(&data);
        let start = Gateway::starting("run")
            .data_dir(&data)
            .arg("--config")
            .arg(documents.path())
            .arg("--admin")
            .arg("127.0.0.1:0")
            .arg("--drain")
            .arg("1");
        let gateway = start.env("BARTIZAN_TEST_SECRET", UPSTREAM_SECRET).start();
        let ca = authority.pem();
        let house = House {
            gateway,
            origin,
            quiet,
            bad,
            key,
            ca,
            directory,
            _documents: documents,
            sentinels: AtomicU64::new(0),
        };
        house.wait_for_key();
        house
    }

    /// The address of a listener.
    pub fn at(&self, listener: &str) -> SocketAddr {
        self.gateway.address(listener)
    }

    /// The listener in clear text without anything special.
    pub fn plain(&self) -> SocketAddr {
        self.at("plain")
    }

    /// A new connection to it, with a patience that fits a table of hundreds.
    pub fn raw(&self) -> Raw {
        Raw::connect(self.plain()).with_timeout(Duration::from_secs(5))
    }

    /// An honest caller is served, on a connection of its own.
    ///
    /// # Errors
    /// When it is not.
    pub fn serves_others(&self) -> Result<(), String> {
        let number = self.sentinels.fetch_add(1, Ordering::Relaxed);
        let target = format!("/public/sentinel/{number}");
        let mut raw = self.raw();
        raw.send(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"));
        let answer =
            raw.try_answer_to("GET").map_err(|why| format!("an honest caller is not served: {why}"))?;
        if answer.status != 200 || !answer.text().ends_with(&target) {
            return Err(format!("an honest caller got {} {:?}", answer.status, answer.text()));
        }
        Ok(())
    }

    /// What reached the origin since the last look, without the honest callers. Whatever was on its way has arrived:
    /// a sentinel went behind it.
    ///
    /// # Errors
    /// When the honest caller is not served, or something got where nobody may get.
    pub fn reached(&self) -> Result<Vec<Received>, String> {
        self.serves_others()?;
        let all: Vec<_> = self
            .origin
            .take()
            .into_iter()
            .filter(|received| !received.target.starts_with("/public/sentinel/"))
            .collect();
        for received in &all {
            never(received)?;
        }
        Ok(all)
    }

    /// A caller who may do everything that is published.
    pub fn caller(&self) -> Client {
        Client::http1(self.plain()).with_authority("a.test")
    }

    fn wait_for_key(&self) {
        let headers = [("x-api-key", self.key.as_str())];
        for _ in 0..100 {
            if self.caller().get("/admin/ready", &headers).status == 200 {
                self.origin.take();
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the key is not live");
    }
}

/// Nothing smuggled, and nothing below `admin` without its consumer, however it is spelled.
fn never(received: &Received) -> Result<(), String> {
    let target = &received.target;
    if target.contains("smuggled") {
        return Err(format!("a smuggled request reached the origin: {received:?}"));
    }
    let admin =
        decoded(target).to_ascii_lowercase().split('?').next().is_some_and(|path| path.contains("admin"));
    if admin && received.headers.get("x-consumer-name").is_none_or(|name| name != "shop") {
        return Err(format!("a protected path was reached without a credential: {received:?}"));
    }
    Ok(())
}

/// Percent-decoded until nothing changes.
fn decoded(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..4 {
        let bytes = text.as_bytes();
        let (mut next, mut at) = (Vec::new(), 0);
        while let Some(byte) = bytes.get(at) {
            let hex = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
            match hex.and_then(|two| u8::from_str_radix(two, 16).ok()) {
                Some(value) if *byte == b'%' => {
                    next.push(value);
                    at += 3;
                }
                _ => {
                    next.push(*byte);
                    at += 1;
                }
            }
        }
        text = String::from_utf8_lossy(&next).into_owned();
    }
    text
}

/// The recording origin: it says what it was asked for, sends what the path asks for, and switches protocols for
/// whoever asks at `/public/socket`.
fn reply(received: &Received) -> Reply {
    let path = received.target.split('?').next().unwrap_or_default();
    match path {
        "/public/socket" if received.headers.contains_key("upgrade") => Reply::switching("websocket"),
        "/public/large" | "/quiet/large" => Reply::ok(vec![b'x'; 4 * 1024 * 1024]),
        "/public/trailers" => Reply::ok("body")
            .with("trailer", "x-sum, content-length, set-cookie")
            .with_trailer("x-sum", "7")
            .with_trailer("content-length", "100")
            .with_trailer("transfer-encoding", "chunked")
            .with_trailer("set-cookie", "a=b")
            .with_trailer("x-request-id", "forged"),
        "/public/private" => Reply::ok(format!("for {:?}", received.headers.get("authorization")))
            .with("cache-control", "public, max-age=3600")
            .with("x-request-id", "forged"),
        "/quiet/slow" => Reply::ok("late").after(Duration::from_millis(300)),
        _ => Reply::ok(format!("{} {}", received.method, received.target)),
    }
}

fn mint(data: &std::path::Path) -> String {
    let output = Command::new(binary())
        .args(["keys", "create", "--consumer", "shop", "--data-dir"])
        .arg(data)
        .output()
        .expect("the gateway can be started");
    let text = String::from_utf8(output.stdout).expect("a key is text");
    assert!(output.status.success(), "no key: {}", String::from_utf8_lossy(&output.stderr));
    text.trim().to_owned()
}

fn documents(
    origin: &Origin,
    quiet: &Origin,
    bad: &BTreeMap<&'static str, RawOrigin>,
    directory: &TempDir,
) -> String {
    let file = |name: &str| format!("file://{}", directory.join(name).display());
    let mut text = DOCUMENTS
        .replace("ORIGIN", &origin.url())
        .replace("QUIET", &quiet.url())
        .replace("CHAIN_A", &file("a.pem"))
        .replace("KEY_A", &file("a.key"))
        .replace("CHAIN_B", &file("b.pem"))
        .replace("KEY_B", &file("b.key"));
    let mut rules = String::new();
    for (name, origin) in bad {
        text.push_str(&format!(
            "---\napiVersion: management.v1\nkind: Upstream\nmetadata: {{ name: bad-{name} }}\n\
             spec: {{ endpoints: [{{ url: \"{}\" }}] }}\n",
            origin.url()
        ));
        rules.push_str(&format!(
            "  - {{ matches: [{{ path: {{ type: Exact, value: /bad/{name} }} }}], backendRefs: [{{ name: bad-{name} }}],\n\
             \x20     timeouts: {{ backendRequest: 3s, idle: 3s }} }}\n"
        ));
    }
    text.push_str("---\napiVersion: management.v1\nkind: Route\nmetadata: { name: bad }\nspec:\n  rules:\n");
    text.push_str(&rules);
    text
}

const DOCUMENTS: &str = include_str!("house.yaml");
