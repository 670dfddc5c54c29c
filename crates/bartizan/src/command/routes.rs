//! `bartizan routes`: the exposed surface. What is not in this table cannot be reached.

use std::{
    collections::{BTreeSet, HashMap},
    process::ExitCode,
};

use bartizan_config::snapshot::{
    AuthenticationPlan, MethodPlan, PublishedListener, RouteAction, RouteEntry, RoutePlan, Settled, ValueTest,
};
use bartizan_model::{
    Mode,
    document::Kind,
    problem::{Code, Severity},
};
use serde::Serialize;

use super::{
    print::{self, Format, NONE, Outcome},
    set::{ConfigArg, Sound},
    words,
};

/// What `routes` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// How the table is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Shows the surface.
pub(crate) fn run(args: &Args) -> ExitCode {
    print::exit(show(args))
}

fn show(args: &Args) -> Outcome {
    Sound::with(&args.config.paths, |sound| {
        let surface = Surface::of(sound);
        match args.format {
            Format::Json => print::json(&surface)?,
            Format::Text => {
                print::data(&surface.table())?;
                surface.explain_exposures();
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Everything that can be reached.
#[derive(Serialize)]
pub(super) struct Surface<'s> {
    pub(super) listeners: Vec<Door<'s>>,
    pub(super) routes: Vec<Row<'s>>,
}

/// A listener.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Door<'s> {
    name: &'s str,
    protocol: &'static str,
    addresses: Vec<String>,
    hostnames: Vec<String>,
    /// The port that every request is sent on to; then no route can be reached here.
    redirect_https: Option<u16>,
}

/// One way to reach a rule.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row<'s> {
    pub(super) listener: &'s str,
    pub(super) host: String,
    pub(super) path_type: &'static str,
    pub(super) path: String,
    pub(super) methods: Vec<String>,
    /// What else a request must have: `header x-beta = 1`.
    pub(super) conditions: Vec<String>,
    pub(super) route: &'s str,
    pub(super) rule: &'s str,
    /// Whether the listener serves the host at all.
    pub(super) reachable: bool,
    pub(super) identify: Vec<String>,
    pub(super) authorize: Vec<String>,
    pub(super) limits: Vec<String>,
    pub(super) inspect: Vec<String>,
    pub(super) headers: Vec<String>,
    pub(super) cors: Vec<String>,
    pub(super) upstreams: Vec<Share<'s>>,
    pub(super) redirect: Option<u16>,
    pub(super) exposures: Vec<&'static str>,
}

/// An upstream and its share.
#[derive(Serialize)]
pub(super) struct Share<'s> {
    pub(super) name: &'s str,
    pub(super) percent: u64,
}

impl<'s> Surface<'s> {
    pub(super) fn of(sound: &'s Sound) -> Self {
        let exposed = Exposed::of(sound);
        let listeners = &sound.snapshot.listeners;
        let serving = listeners.iter().filter(|listener| listener.plan.redirect_https_port.is_none());
        Surface {
            listeners: listeners.iter().map(Door::of).collect(),
            routes: serving
                .flat_map(|listener| {
                    listener
                        .routes
                        .entries()
                        .into_iter()
                        .map(|entry| Row::of(sound, &exposed, listener, entry))
                })
                .collect(),
        }
    }

    fn table(&self) -> String {
        let header = ["LISTENER", "HOST", "PATH", "METHODS", "ROUTE", "POLICIES", "UPSTREAM", "EXPOSURES"];
        let redirecting = self.listeners.iter().filter_map(|door| {
            let port = door.redirect_https?;
            let to = format!("308 to https, port {port}");
            let row = [door.name, "*", "prefix /", "any", NONE, NONE, &to, NONE];
            Some(row.map(str::to_owned).to_vec())
        });
        print::table(&header, redirecting.chain(self.routes.iter().map(Row::cells)))
    }

    /// The codes in the last column, in words.
    fn explain_exposures(&self) {
        let found: BTreeSet<&str> =
            self.routes.iter().flat_map(|row| row.exposures.iter().copied()).collect();
        for code in Code::ALL.iter().filter(|code| found.contains(code.as_str())) {
            print::note(&format!("{code}  {}", code.meaning()));
        }
        if self.routes.is_empty() && self.listeners.iter().all(|door| door.redirect_https.is_none()) {
            print::note("nothing is published: the set has no Listener or no Route");
        }
    }
}

impl<'s> Door<'s> {
    fn of(listener: &'s PublishedListener) -> Self {
        let plan = &listener.plan;
        Door {
            name: &plan.name,
            protocol: words::scheme(plan),
            addresses: plan.addresses.iter().map(ToString::to_string).collect(),
            hostnames: plan.hostnames.iter().map(words::host).collect(),
            redirect_https: plan.redirect_https_port,
        }
    }
}

impl<'s> Row<'s> {
    fn of(
        sound: &'s Sound,
        exposed: &Exposed<'_>,
        listener: &'s PublishedListener,
        entry: &'s RouteEntry,
    ) -> Self {
        let plan = &entry.plan;
        let of_headers =
            plan.headers.iter().map(|policy| biting(&policy.label, policy.bite.mode, policy.bite.percent));
        let of_authorization = plan
            .authorization
            .iter()
            .map(|policy| biting(&policy.label, policy.bite.mode, policy.bite.percent));
        let of_inspection =
            plan.inspection.iter().map(|policy| biting(&policy.label, policy.bite.mode, policy.bite.percent));
        let of_schemas =
            plan.schemas.iter().map(|policy| biting(&policy.label, policy.bite.mode, policy.bite.percent));
        let of_cors =
            all(&plan.cors).map(|policy| biting(&policy.label, policy.bite.mode, policy.bite.percent));
        let (upstreams, redirect) = match &plan.action {
            RouteAction::Forward(backends) => (words::shares(&sound.snapshot, backends), None),
            RouteAction::Models => (words::of_models(&sound.snapshot), None),
            RouteAction::Prompt(prompt) => (words::of_prompt(&sound.snapshot, prompt), None),
            RouteAction::Redirect(redirect) => (Vec::new(), Some(redirect.status.as_u16())),
        };
        Row {
            listener: &listener.plan.name,
            host: host(listener, entry),
            path_type: entry.path.word(),
            path: entry.path.to_string(),
            methods: words::methods(entry.methods),
            conditions: conditions(entry),
            route: &plan.route,
            rule: &plan.label,
            reachable: is_reachable(listener, entry),
            identify: all(&plan.authentication).map(identify).collect(),
            authorize: of_authorization.collect(),
            limits: plan
                .limits
                .iter()
                .map(|policy| {
                    let name = biting(&policy.label, policy.mode, policy.enforce_percent);
                    format!("{name}: {}", words::limits(policy))
                })
                .chain(plan.quotas.iter().map(|policy| {
                    let name = biting(&policy.label, policy.mode, policy.enforce_percent);
                    format!("{name}: {}", words::quotas(policy))
                }))
                .collect(),
            inspect: of_inspection.chain(of_schemas).collect(),
            headers: of_headers.collect(),
            cors: of_cors.collect(),
            upstreams: upstreams.into_iter().map(|(name, percent)| Share { name, percent }).collect(),
            redirect,
            exposures: exposed.met_by(sound, listener, plan),
        }
    }

    /// The policies that a request meets, by stage; that nobody asks who calls, or how often, is said too.
    fn policies(&self) -> Vec<String> {
        let some = |stage: &str, names: &[String]| -> Vec<String> {
            names.iter().map(|name| format!("{stage} {name}")).collect()
        };
        let always = |stage: &str, names: &[String]| match names {
            [] => vec![format!("{stage} none")],
            names => some(stage, names),
        };
        [
            always("identify", &self.identify),
            some("authorize", &self.authorize),
            always("limit", &self.limits),
            some("inspect", &self.inspect),
            some("headers", &self.headers),
            some("cors", &self.cors),
        ]
        .concat()
    }

    fn cells(&self) -> Vec<String> {
        let short = match self.path_type {
            "Exact" => "exact",
            "PathPrefix" => "prefix",
            "Template" => "template",
            _ => "regex",
        };
        let mut path = format!("{short} {}", self.path);
        for condition in &self.conditions {
            path.push_str(&format!("\n{condition}"));
        }
        let mut host = self.host.clone();
        if !self.reachable {
            host.push_str("\n(not served here)");
        }
        let to = match self.redirect {
            Some(status) => format!("redirect {status}"),
            None => list(self.upstreams.iter().map(|share| match share.percent {
                100 => share.name.to_owned(),
                percent => format!("{} {percent} %", share.name),
            })),
        };
        vec![
            self.listener.to_owned(),
            host,
            path,
            self.methods.join(" "),
            self.rule.to_owned(),
            list(self.policies().into_iter()),
            to,
            list(self.exposures.iter().map(|code| (*code).to_owned())),
        ]
    }
}

/// One below the other; a dash for none.
fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { NONE.to_owned() } else { items.join("\n") }
}

/// A policy's name without its kind, which the column tells.
fn biting(label: &str, mode: Mode, percent: u8) -> String {
    let name = label.split_once('/').map_or(label, |(_, name)| name);
    words::biting(name, mode, percent)
}

fn all<T>(settled: &Settled<T>) -> impl Iterator<Item = &T> {
    settled.enforced.iter().chain(&settled.shadow).map(|policy| &**policy)
}

fn identify(policy: &AuthenticationPlan) -> String {
    let methods = policy.methods.iter().map(|method| match method {
        MethodPlan::ApiKey(plan) => format!("key in {}", plan.header),
        other => other.describe(),
    });
    let ways: Vec<String> = methods.chain(policy.anonymous.then(|| "anonymous".to_owned())).collect();
    format!("{}: {}", biting(&policy.label, policy.bite.mode, policy.bite.percent), ways.join(", "))
}

fn host(listener: &PublishedListener, entry: &RouteEntry) -> String {
    match &entry.host {
        Some(host) => words::host(host),
        None if listener.plan.hostnames.is_empty() => "*".to_owned(),
        None => listener.plan.hostnames.iter().map(words::host).collect::<Vec<_>>().join(" "),
    }
}

/// Whether a request for the entry's host gets past the listener's own host names.
fn is_reachable(listener: &PublishedListener, entry: &RouteEntry) -> bool {
    use bartizan_config::snapshot::HostPattern::{Exact, Suffix};
    let served = &listener.plan.hostnames;
    served.is_empty()
        || entry.host.as_ref().is_none_or(|host| {
            served.iter().any(|pattern| match (pattern, host) {
                (pattern, Exact(name)) => pattern.matches(name),
                // Of two suffixes, one must end in the other; a name served must lie under the suffix.
                (Exact(name), suffix) => suffix.matches(name),
                (Suffix(one), Suffix(other)) => one == other || pattern.matches(other) || host.matches(one),
            })
        })
}

fn conditions(entry: &RouteEntry) -> Vec<String> {
    let condition = |what: &str, name: &str, test: &ValueTest| match test {
        ValueTest::Exact(value) => format!("{what} {name} = {value}"),
        ValueTest::Matches(regex) => format!("{what} {name} ~ {}", regex.as_str()),
        ValueTest::Present => format!("{what} {name}"),
    };
    let headers = entry.headers.iter().map(|(name, test)| condition("header", name.as_str(), test));
    let query = entry.query.iter().map(|(name, test)| condition("query", name, test));
    headers.chain(query).collect()
}

/// What is exposed, by document; the exposures of routes are told of each rule by its plan.
struct Exposed<'s>(HashMap<(Kind, &'s str), BTreeSet<&'static str>>);

impl<'s> Exposed<'s> {
    fn of(sound: &'s Sound) -> Self {
        let mut exposed: HashMap<(Kind, &str), BTreeSet<&'static str>> = HashMap::new();
        let problems = sound.set.compiled.problems.iter();
        for problem in problems.filter(|problem| problem.severity == Severity::Exposure) {
            if let Some(document) = sound.document_at(problem.at).filter(|found| found.kind() != Kind::Route)
            {
                let name = (document.kind(), document.name.as_str());
                exposed.entry(name).or_default().insert(problem.code.as_str());
            }
        }
        Exposed(exposed)
    }

    /// The exposures of a rule and of everything that a request to it meets.
    fn met_by(&self, sound: &Sound, listener: &PublishedListener, plan: &RoutePlan) -> Vec<&'static str> {
        let enforced = plan.authentication.enforced.as_ref();
        let own = [
            (enforced.is_none(), Code::RouteOpen),
            (enforced.is_some_and(|policy| policy.anonymous), Code::RouteAnonymous),
            (plan.limits.is_empty(), Code::RouteUnlimited),
        ];
        let mut found: BTreeSet<&'static str> =
            own.into_iter().filter(|(is_so, _)| *is_so).map(|(_, code)| code.as_str()).collect();
        let mut met = vec![(Kind::Listener, &*listener.plan.name)];
        if let RouteAction::Forward(backends) = &plan.action {
            let shares = words::shares(&sound.snapshot, backends);
            met.extend(shares.into_iter().map(|(name, _)| (Kind::Upstream, name)));
        }
        let labels = all(&plan.authentication)
            .map(|policy| &policy.label)
            .chain(all(&plan.cors).map(|policy| &policy.label))
            .chain(plan.headers.iter().map(|policy| &policy.label))
            .chain(plan.limits.iter().map(|policy| &policy.label))
            .chain(plan.quotas.iter().map(|policy| &policy.label))
            .chain(plan.inspection.iter().map(|policy| &policy.label))
            .chain(plan.schemas.iter().map(|policy| &policy.label));
        met.extend(labels.filter_map(|label| words::kind_and_name(label)));
        found.extend(met.iter().filter_map(|name| self.0.get(name)).flatten().copied());
        found.into_iter().collect()
    }
}
