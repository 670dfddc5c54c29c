//! A gateway with documents, keys and a scrape, in a line each.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bartizan_identity::KeyId;
use bartizan_store::{DataDir, NewKey, Store};
use bartizan_testkit::{Answer, Client, Documents, Gateway, Raw, TempDir};

/// A running gateway, its documents and its data directory.
pub(crate) struct Gate {
    pub(crate) gateway: Gateway,
    pub(crate) documents: Documents,
    data: TempDir,
}

/// A listener on a free port of `127.0.0.1`.
pub(crate) const WEB: &str = r#"
apiVersion: management.v1
kind: Listener
metadata: { name: web }
spec: { addresses: ["127.0.0.1:0"] }
"#;

/// API keys for every route. Tests poll from one address until a key is known, so guesses are not held; `failures.rs` has
/// policies of its own.
pub(crate) const API_KEYS: &str = r#"
apiVersion: management.v1
kind: AuthenticationPolicy
metadata: { name: keys }
spec: { methods: [{ type: ApiKey }], failures: { enabled: false } }
"#;

/// A document of `kind` with this name and `spec`.
pub(crate) fn document(kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: management.v1\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec: {spec}\n")
}

/// An upstream with these endpoints.
pub(crate) fn upstream(name: &str, urls: &[&str]) -> String {
    let endpoints: Vec<String> = urls.iter().map(|url| format!("{{ url: \"{url}\" }}")).collect();
    document("Upstream", name, &format!("{{ endpoints: [{}] }}", endpoints.join(", ")))
}

/// A route of every request below `prefix` to one upstream.
pub(crate) fn route(name: &str, prefix: &str, upstream: &str) -> String {
    let rule =
        format!("{{ matches: [{{ path: {{ value: {prefix} }} }}], backendRefs: [{{ name: {upstream} }}] }}");
    document("Route", name, &format!("{{ rules: [{rule}] }}"))
}

/// A listener, the upstream `origin` at `url` and the route `all` to it, then whatever is added.
pub(crate) fn simple(url: &str, more: &[&str]) -> String {
    let mut parts = vec![WEB.to_owned(), upstream("origin", &[url]), route("all", "/", "origin")];
    parts.extend(more.iter().map(|part| (*part).to_owned()));
    parts.join("---\n")
}

impl Gate {
    /// Serves one file of documents on two cores.
    pub(crate) fn start(documents: &str) -> Gate {
        Gate::start_with(documents, |_| (), &[])
    }

    /// As [`Gate::start`], after `prepare` had the data directory, with more arguments.
    pub(crate) fn start_with(documents: &str, prepare: impl FnOnce(&Path), arguments: &[&str]) -> Gate {
        Gate::start_set(Documents::one(documents), prepare, arguments)
    }

    /// As [`Gate::start`], with a variable in the gateway's environment.
    pub(crate) fn start_with_env(documents: &str, variable: (&str, &str)) -> Gate {
        Gate::launch(Documents::one(documents), |_| (), &[], Some(variable))
    }

    /// Serves a directory of documents.
    pub(crate) fn start_set(documents: Documents, prepare: impl FnOnce(&Path), arguments: &[&str]) -> Gate {
        Gate::launch(documents, prepare, arguments, None)
    }

    fn launch(
        documents: Documents,
        prepare: impl FnOnce(&Path),
        arguments: &[&str],
        variable: Option<(&str, &str)>,
    ) -> Gate {
        let data = TempDir::new();
        prepare(data.path());
        let mut start = Gateway::starting("run").arg("--config").arg(documents.path());
        start = start.arg("--admin").arg("127.0.0.1:0").arg("--workers").arg("2").data_dir(data.path());
        if let Some((name, value)) = variable {
            start = start.env(name, value);
        }
        for argument in arguments {
            start = start.arg(argument);
        }
        start = start.patiently(Duration::from_secs(120));
        Gate { gateway: start.start(), documents, data }
    }

    /// The address of the listener `web`.
    pub(crate) fn web(&self) -> SocketAddr {
        self.gateway.address("web")
    }

    /// A fresh HTTP/1.1 connection to the listener `web`.
    pub(crate) fn client(&self) -> Client {
        Client::http1(self.web()).with_authority("api.test")
    }

    /// Bytes to and from the listener `web`.
    pub(crate) fn raw(&self) -> Raw {
        Raw::connect(self.web())
    }

    /// One request on a connection of its own.
    pub(crate) fn get(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.client().get(target, headers)
    }

    /// A new key of `consumer`; it may take a second until the gateway knows it.
    pub(crate) fn key(&self, consumer: &str) -> String {
        key(self.data.path(), consumer, None)
    }

    /// The data directory.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// The metrics as they are.
    pub(crate) fn scrape(&self) -> Scrape {
        let admin = Client::http1(self.gateway.address("admin"));
        Scrape(admin.get("/metrics", &[]).text().to_owned())
    }

    /// Waits until a series has this value, which it may have in a moment: a record is closed after its answer left.
    pub(crate) fn wait_for_metric(&self, series: &str, value: f64) {
        let mut last = 0.0;
        wait(&format!("{series} to be {value}"), || {
            last = self.scrape().value(series);
            (last - value).abs() < f64::EPSILON
        });
    }

    /// The access log's line of the answered request.
    pub(crate) fn record_of(&self, answer: &Answer) -> serde_json::Value {
        self.gateway.wait_for_record(answer.header("x-request-id").expect("every answer has an id"))
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.gateway.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// A text of metrics.
pub(crate) struct Scrape(pub(crate) String);

impl Scrape {
    /// The value of a series, written as in the text; 0 where there is none.
    pub(crate) fn value(&self, series: &str) -> f64 {
        let line = self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// All series of a family with their values.
    pub(crate) fn family(&self, name: &str) -> BTreeMap<String, f64> {
        let of_family = |line: &&str| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']);
        let parsed = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        };
        self.0.lines().filter(of_family).map(parsed).collect()
    }
}

/// Waits at most ten seconds for something to be so.
pub(crate) fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A new key of `consumer` in the store of a data directory, valid for `valid` from now.
pub(crate) fn key(data: &Path, consumer: &str, valid: Option<Duration>) -> String {
    let now = now_ms();
    let expires_at_ms = valid.map(|valid| now + valid.as_millis() as u64);
    with_store(data, async |store| {
        let new = NewKey { consumer, label: None, expires_at_ms, created_by: None };
        let (_, text) = store.keys().create(new, now).await.unwrap();
        text.expose().to_owned()
    })
}

/// Revokes a key.
pub(crate) fn revoke(data: &Path, key: &str) {
    let id = KeyId::recognise(key).expect("it is a key");
    with_store(data, async |store| store.keys().revoke(&id, now_ms()).await.map(|_| ()).unwrap());
}

/// Works on the store of a data directory, beside whoever else does.
pub(crate) fn with_store<T>(data: &Path, work: impl AsyncFnOnce(&Store) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(&DataDir::open(data).unwrap()).await.unwrap();
        let out = work(&store).await;
        store.close().await;
        out
    })
}

/// Now, in Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}
