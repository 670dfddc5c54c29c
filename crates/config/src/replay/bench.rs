//! A set that recorded requests are judged by.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bartizan_identity::{InvalidKind, KeyId};
use bartizan_limit::Nanos;
use bartizan_model::{Stage, problem::shown};
use http::{HeaderValue, Uri, header};

use super::{
    needs::Needs,
    recording::{Caller, Cause, Recording, Taken},
};
use crate::{
    entry::Url,
    rehearsal::{
        Credential, Decision, Given, GivenBody, GivenTls, Moment, Outcome, Props, Readings, Rehearsal,
        Rehearse, Told,
    },
    snapshot::{PublishedListener, RouteAction, Snapshot},
};

/// A set, its stage, and what its judges need.
pub struct Bench {
    snapshot: Arc<Snapshot>,
    stage: Box<dyn Rehearse>,
    needs: Needs,
    backends: HashMap<Arc<str>, Arc<[Arc<str>]>>,
    began: Option<u64>,
    /// Whether limits are judged from what cells held, where that was recorded.
    recorded_limits: bool,
}

/// What a set says of a request.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What came of it; nothing where it could not even be tried.
    pub outcome: Option<Outcome>,
    /// Why that is no judgement.
    pub unseen: Option<Unseen>,
    /// The upstreams that its rule shares requests between, if there are several.
    pub backends: Option<Arc<[Arc<str>]>>,
    /// The policies of the set that limit how many calls run at once.
    running: Arc<[Arc<str>]>,
}

/// What was needed and not recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// Which stage needed it.
    pub stage: Stage,
    /// What it was.
    pub cause: Cause,
    /// For which policy, where that is known.
    pub policy: Option<Arc<str>>,
}

impl Unseen {
    /// Something that a stage needed.
    pub const fn new(stage: Stage, cause: Cause) -> Self {
        Unseen { stage, cause, policy: None }
    }
}

/// The clock of the limit cells does not begin at zero, where a cell would have no past.
const MONOTONIC_BEGIN: Duration = Duration::from_secs(365 * 86_400);

/// From the documentation's own network (RFC 5737): stands for a client whose address is not known, and whatever looks at
/// it is not judgeable.
const NO_CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

impl Bench {
    /// Sets up a stage over the snapshot.
    pub fn new(snapshot: Arc<Snapshot>, rehearsal: &dyn Rehearsal) -> Self {
        let stage = rehearsal.set_up(snapshot.clone(), Props::default());
        let needs = Needs::of(&snapshot);
        let mut backends = HashMap::new();
        for plan in &snapshot.routes {
            if let RouteAction::Forward(shares) = &plan.action
                && shares.shares.len() > 1
            {
                let names = shares.shares.iter().filter_map(|(_, index)| snapshot.upstreams.get(*index));
                backends.insert(plan.label.clone(), names.map(|upstream| upstream.name.clone()).collect());
            }
        }
        Bench { snapshot, stage, needs, backends, began: None, recorded_limits: false }
    }

    /// Judges limits of captured requests from what their cells held, instead of recomputing them.
    #[must_use]
    pub fn with_recorded_limits(mut self) -> Self {
        self.recorded_limits = true;
        self
    }

    /// Judges a request at its recorded time. Limits keep what earlier requests took. `draw` decides between backends, so
    /// the same request is given the same one on every bench.
    pub fn judge(&mut self, asked: &Recording, draw: u64) -> Judged {
        if asked.lacks.head {
            return Judged::unseen(Unseen::new(Stage::Admit, Cause::Head));
        }
        if asked.lacks.path {
            return Judged::unseen(Unseen::new(Stage::Route, Cause::Path));
        }
        let host = bare_host(&asked.host);
        let Some(listener) = self.listener(asked) else {
            return Judged::unseen(Unseen::new(Stage::Admit, Cause::Listener));
        };
        let name = listener.plan.name.clone();
        let Some(mut given) = given(asked, listener, &host, &self.needs, self.began, draw) else {
            return Judged::unseen(Unseen::new(Stage::Admit, Cause::Head));
        };
        if let Some(taken) = &asked.taken {
            put_taken(&mut given, taken, self.recorded_limits);
        }
        self.began.get_or_insert(asked.unix_nanos);
        let mut outcome = self.stage.run(given);
        if matches!(asked.caller, Caller::Unknown | Caller::Other(_)) {
            outcome.would_deny.retain(|would| would.stage != Stage::Identify);
        }
        let rule = outcome.stages.iter().find_map(|stage| match &stage.told {
            Told::Rule(label) => Some(label.clone()),
            _ => None,
        });
        let unseen = self.unseen(asked, &name, &host, rule.as_deref(), &outcome);
        let backends = rule.and_then(|rule| self.backends.get(&rule).cloned());
        let running = self.needs.running().clone();
        Judged { outcome: Some(outcome), unseen, backends, running }
    }

    /// The recorded listener, else the one that fits best.
    fn listener(&self, asked: &Recording) -> Option<&PublishedListener> {
        let named = asked
            .listener
            .as_ref()
            .and_then(|name| self.snapshot.listeners.iter().find(|listener| listener.plan.name == *name));
        if named.is_some() {
            return named;
        }
        let url =
            Url { scheme: asked.scheme, authority: Some(asked.host.to_string()), target: String::new() };
        url.enter(&self.snapshot, None).ok().map(|entered| entered.listener)
    }

    fn unseen(
        &self,
        asked: &Recording,
        listener: &str,
        host: &str,
        rule: Option<&str>,
        outcome: &Outcome,
    ) -> Option<Unseen> {
        let last = outcome.stages.last().map_or(Stage::Admit, |stage| stage.stage);
        let first = self.needs.missing_at(listener, asked, host).filter(|(stage, _)| *stage <= last);
        if let Some((stage, cause)) = first {
            return Some(Unseen::new(stage, cause));
        }
        let consumer = outcome.consumer.as_deref();
        let missing = match (rule, &outcome.route) {
            (Some(rule), _) => self.needs.missing(rule, consumer, last, asked),
            (None, Some(route)) => self.needs.missing_on_route(route, asked),
            (None, None) => None,
        };
        if let Some((stage, cause, policy)) = missing {
            return Some(Unseen { stage, cause, policy: Some(policy) });
        }
        if let Decision::NotJudgeable(stage) = outcome.decision {
            return Some(Unseen::new(stage, Cause::Body));
        }
        self.unsure_share(asked, outcome)
    }

    /// A policy that is enforced for some callers and had something against this one.
    fn unsure_share(&self, asked: &Recording, outcome: &Outcome) -> Option<Unseen> {
        let knows_share = match asked.caller {
            Caller::Key { flaw: Some(InvalidKind::Malformed), .. } => !asked.lacks.client,
            Caller::Key { .. } => true,
            Caller::Missing | Caller::Nobody => !asked.lacks.client,
            Caller::Unknown | Caller::Other(_) => false,
            Caller::Token(..) | Caller::User(_) | Caller::Certificate(_) | Caller::Refused(_) => {
                asked.taken.as_ref().is_some_and(|taken| taken.share.is_some())
            }
        };
        if knows_share {
            return None;
        }
        let last = outcome.stages.last().map_or(Stage::Admit, |stage| stage.stage);
        let decided = outcome.decision.policy().map(|policy| (last, policy));
        let would = outcome.would_deny.iter().map(|would| (would.stage, &would.policy));
        decided
            .into_iter()
            .chain(would)
            .find(|(_, policy)| self.needs.is_partial(policy))
            .map(|(stage, policy)| Unseen { stage, cause: Cause::CallerShare, policy: Some(policy.clone()) })
    }
}

impl Judged {
    fn unseen(unseen: Unseen) -> Self {
        Judged { outcome: None, unseen: Some(unseen), backends: None, running: Arc::default() }
    }

    /// Whether this policy limits how many calls run at once.
    pub(super) fn counts_running(&self, policy: &str) -> bool {
        self.running.iter().any(|known| **known == *policy)
    }
}

/// The request as a stage takes it; `None` where no client could have sent it.
fn given(
    asked: &Recording,
    listener: &PublishedListener,
    host: &str,
    needs: &Needs,
    began: Option<u64>,
    draw: u64,
) -> Option<Given> {
    let plan = &listener.plan;
    let mut headers = asked.headers.clone();
    headers.insert(header::HOST, HeaderValue::from_str(&asked.host).ok()?);
    let credential = match &asked.caller {
        Caller::Unknown
        | Caller::Missing
        | Caller::Nobody
        | Caller::Other(_)
        // What it is known by came with the connection.
        | Caller::Certificate(_) => Credential::Absent,
        Caller::Token(token, _) => Credential::Token(token.clone()),
        Caller::User(consumer) => Credential::User(consumer.clone()),
        Caller::Refused(refusal) => Credential::Refused(refusal.clone()),
        Caller::Key { key, consumer, flaw } => {
            // The public half alone: a caller's share follows from it.
            let public =
                HeaderValue::from_str(&format!("{}{}", bartizan_identity::KEY_PREFIX, key.as_str())).ok()?;
            // Without an id a key says nothing of its caller's share.
            let has_id = *flaw != Some(InvalidKind::Malformed);
            for name in needs.key_headers().iter().filter(|_| has_id) {
                headers.insert(name.clone(), public.clone());
            }
            let consumer = consumer.clone().unwrap_or_default();
            Credential::ApiKey { key: *key, consumer, flaw: *flaw }
        }
    };
    let target: Uri = asked.target.parse().ok()?;
    let since = i128::from(asked.unix_nanos) - i128::from(began.unwrap_or(asked.unix_nanos));
    let begin = i128::try_from(MONOTONIC_BEGIN.as_nanos()).unwrap_or(0);
    let monotonic = Nanos(u64::try_from((begin + since).max(0)).unwrap_or(u64::MAX));
    let client = asked.client.unwrap_or(NO_CLIENT);
    Some(Given {
        listener: plan.name.clone(),
        // Any port: none is judged by it.
        peer: SocketAddr::new(client, 40_000),
        local: plan.addresses.first().copied().unwrap_or(SocketAddr::new(client, 0)),
        tls: plan.tls.as_ref().map(|_| GivenTls {
            version: "TLSv1.3",
            server_name: host.parse::<IpAddr>().is_err().then(|| host.into()),
            client: None,
        }),
        version: http::Version::HTTP_11,
        method: asked.method.clone(),
        target,
        headers,
        body: match &asked.body {
            GivenBody::Absent => GivenBody::Absent,
            GivenBody::Whole(bytes) => GivenBody::Whole(bytes.clone()),
            GivenBody::Withheld => GivenBody::Withheld,
        },
        received: Moment { unix_nanos: asked.unix_nanos, monotonic },
        readings: Readings::default(),
        credential,
        share: None,
        draw: Some(draw),
        cells: Vec::new(),
        keeps_running: false,
    })
}

/// What a capture knows better than a log.
fn put_taken(given: &mut Given, taken: &Taken, recorded_limits: bool) {
    given.version = taken.version;
    given.local = taken.local;
    given.draw = taken.draw.or(given.draw);
    given.share = taken.share;
    if let Some(tls) = &mut given.tls {
        tls.client.clone_from(&taken.certificate);
    }
    if let (Some(tls), Some(name)) = (&mut given.tls, &taken.server_name) {
        tls.server_name = Some(name.clone());
    }
    if recorded_limits {
        given.received.monotonic = taken.received;
        given.readings.limit = taken.limit;
        given.cells.clone_from(&taken.cells);
    }
}

/// The host in lower case, without port and brackets.
fn bare_host(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => authority,
    };
    host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase()
}

/// The id of a key in a request of which only the consumer is known.
pub(super) const KEY_ID: &str = "Replayed0000";

impl Caller {
    /// A caller with something that is no API key in the place of one.
    pub fn with_malformed_key() -> Option<Self> {
        let key = KeyId::parse(KEY_ID)?;
        Some(Caller::Key { key, consumer: None, flaw: Some(InvalidKind::Malformed) })
    }

    /// A caller with a valid API key of this consumer.
    ///
    /// # Errors
    ///
    /// The name is none.
    pub fn with_key_of(consumer: &str) -> Result<Self, String> {
        let key = KeyId::parse(KEY_ID).filter(|_| !consumer.is_empty());
        let key = key.ok_or_else(|| format!("{} is not the name of a consumer", shown(consumer)))?;
        Ok(Caller::Key { key, consumer: Some(consumer.into()), flaw: None })
    }
}
