//! Plans become upstreams that requests can be sent to: roots and credentials are read, tables are built.
//!
//! All problems of all upstreams are reported at once, and nothing is kept of a set with one. What a reload must not
//! lose is carried over from the previous set: an endpoint's state by upstream name and authority; its place in the
//! cores' pools and its TLS sessions only where everything that decides about trust is unchanged.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use bartizan_config::snapshot::{
    LlmPlan,
    upstream::{
        Balancing, CredentialPlan, EndpointPlan, HeaderCredentialPlan, UpstreamPlan, UpstreamProtocol,
    },
};
use bartizan_model::{Reference, SecretValue};
use http::{HeaderName, HeaderValue};
use rustls::pki_types::ServerName;

use super::{
    balance::Maglev,
    credential::Credential,
    exchange::Subject,
    keys::ProviderKeys,
    state::{EndpointState, nanos},
    tls::{self, SystemRoots, TlsClient},
};
use bartizan_fetch::Fetcher;

/// All upstreams of a snapshot, in the order of their plans.
#[derive(Debug, Default)]
pub struct UpstreamSet {
    upstreams: Vec<Arc<PreparedUpstream>>,
    by_name: HashMap<Arc<str>, usize>,
}

/// One upstream, ready to be sent to.
#[derive(Debug)]
pub struct PreparedUpstream {
    /// What it was prepared from.
    pub plan: Arc<UpstreamPlan>,
    /// In the plan's order.
    pub endpoints: Vec<PreparedEndpoint>,
    /// The keys of a provider of models.
    pub keys: Option<ProviderKeys>,
    /// Unique in the process; the key of the cores' balancing state.
    pub(super) id: u64,
    pub(super) tls: Option<Arc<TlsClient>>,
    pub(super) credential: Option<Credential>,
    pub(super) maglev: Option<Maglev>,
}

/// One endpoint, ready to be connected to.
#[derive(Debug)]
pub struct PreparedEndpoint {
    /// What it was prepared from.
    pub plan: EndpointPlan,
    /// What all cores know of it; carried over reloads.
    pub state: Arc<EndpointState>,
    /// The key of the cores' connection pools: one for each upstream, endpoint, protocol and TLS identity.
    pub(super) slot: u64,
    pub(super) server_name: Option<ServerName<'static>>,
}

/// Why an upstream could not be prepared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("upstream {upstream}: {field}: {message}")]
pub struct PrepareError {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The part of its document at fault.
    pub field: &'static str,
    /// What is wrong; holds no secret.
    pub message: String,
}

pub(super) type Secrets<'a> = &'a dyn Fn(&Reference) -> Result<SecretValue, String>;

impl UpstreamSet {
    /// Prepares all `plans`, reading PEM bundles and credentials through `secrets`, and carries over what `previous`
    /// knows. Blocks on the file system where system roots are needed; nothing is connected. Fails with every
    /// problem found.
    pub fn prepare(
        plans: &[Arc<UpstreamPlan>],
        secrets: Secrets<'_>,
        previous: Option<&UpstreamSet>,
    ) -> Result<UpstreamSet, Vec<PrepareError>> {
        let mut problems = Vec::new();
        let mut system = SystemRoots::default();
        let mut set = UpstreamSet::default();
        for plan in plans {
            let before = previous.and_then(|previous| previous.get(&plan.name));
            if let Some(upstream) = prepare_one(plan, secrets, &mut system, before, &mut problems) {
                set.by_name.insert(Arc::clone(&plan.name), set.upstreams.len());
                set.upstreams.push(Arc::new(upstream));
            }
        }
        if problems.is_empty() { Ok(set) } else { Err(problems) }
    }

    /// The upstream of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<PreparedUpstream>> {
        self.by_name.get(name).and_then(|index| self.upstreams.get(*index))
    }

    /// The upstream of the plan at `index` of what the set was prepared from.
    pub fn at(&self, index: usize) -> Option<&Arc<PreparedUpstream>> {
        self.upstreams.get(index)
    }

    /// All upstreams, in the order of their plans.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<PreparedUpstream>> {
        self.upstreams.iter()
    }
}

impl PreparedUpstream {
    /// Whether requests need a token.
    pub(crate) fn takes_tokens(&self) -> bool {
        matches!(self.credential, Some(Credential::Token(_) | Credential::Exchange(_)))
    }

    /// The token that a request needs now, if its upstream takes tokens. The error is a sentence for the record.
    pub(crate) async fn token(
        &self,
        fetcher: Option<&Arc<Fetcher>>,
        subject: Option<&Subject>,
        now: Instant,
    ) -> Result<Option<HeaderValue>, Arc<str>> {
        let fetcher = fetcher.ok_or("no token can be fetched here");
        match &self.credential {
            Some(Credential::Token(source)) => source.header(fetcher?, now).await.map(Some),
            Some(Credential::Exchange(source)) => {
                let subject = subject.ok_or("the caller has no verified token")?;
                source.header(fetcher?, subject, now).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The upstream refused a request: its token is not what it was.
    pub(crate) fn doubt_token(&self, subject: Option<&Subject>, now: Instant) {
        match (&self.credential, subject) {
            (Some(Credential::Token(source)), _) => source.doubt(now),
            (Some(Credential::Exchange(source)), Some(subject)) => source.doubt(subject, now),
            _ => {}
        }
    }

    /// The scheme spoken to the endpoints.
    pub(super) fn scheme(&self) -> http::uri::Scheme {
        if self.tls.is_some() { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP }
    }
}

fn prepare_one(
    plan: &Arc<UpstreamPlan>,
    secrets: Secrets<'_>,
    system: &mut SystemRoots,
    before: Option<&Arc<PreparedUpstream>>,
    problems: &mut Vec<PrepareError>,
) -> Option<PreparedUpstream> {
    let found = problems.len();
    let mut problem =
        |(field, message)| problems.push(PrepareError { upstream: Arc::clone(&plan.name), field, message });
    let mut tls = None;
    let mut names = vec![None; plan.endpoints.len()];
    if let Some(wanted) = &plan.tls {
        let known = before.and_then(|before| before.tls.as_ref());
        match tls::prepare(plan, wanted, secrets, system, known) {
            Ok(client) => tls = Some(client),
            Err(error) => problem(error),
        }
        for (name, endpoint) in names.iter_mut().zip(&plan.endpoints) {
            match tls::server_name(wanted, &endpoint.address) {
                Ok(found) => *name = Some(found),
                Err(message) => problem(("tls.serverName", message)),
            }
        }
    }
    let mut credential = None;
    if let Some(wanted) = &plan.credential {
        let known = before.and_then(|before| before.credential.as_ref());
        match Credential::prepare(wanted, secrets, known) {
            Ok(prepared) => credential = Some(prepared),
            Err(message) => problem(("credential", message)),
        }
    }
    let mut keys = None;
    if let Some(llm) = plan.llm.as_ref().filter(|llm| !llm.keys.is_empty()) {
        match prepare_keys(llm, secrets) {
            Ok(pool) => keys = Some(pool),
            Err(message) => problem(("llm.keys", message)),
        }
    }
    if plan.endpoints.is_empty() {
        problem(("endpoints", "there is none".to_owned()));
    }
    if problems.len() > found {
        return None;
    }
    let is_same_wire =
        before.is_some_and(|before| before.plan.protocol == plan.protocol && is_same_tls(&before.tls, &tls));
    let endpoints: Vec<_> = (plan.endpoints.iter().zip(names))
        .map(|(endpoint, name)| prepare_endpoint(endpoint, name, before, is_same_wire))
        .collect();
    let maglev = match plan.balancing {
        Balancing::ConsistentHash(_) => Some(Maglev::build(
            endpoints.iter().map(|endpoint| (&*endpoint.plan.authority, endpoint.plan.weight.get())),
        )),
        _ => None,
    };
    Some(PreparedUpstream { plan: Arc::clone(plan), endpoints, keys, id: unique(), tls, credential, maglev })
}

/// [`tls::prepare`] hands the previous client on when nothing about it changed.
fn is_same_tls(before: &Option<Arc<TlsClient>>, now: &Option<Arc<TlsClient>>) -> bool {
    match (before, now) {
        (None, None) => true,
        (Some(before), Some(now)) => Arc::ptr_eq(before, now),
        _ => false,
    }
}

fn prepare_endpoint(
    plan: &EndpointPlan,
    server_name: Option<ServerName<'static>>,
    before: Option<&Arc<PreparedUpstream>>,
    is_same_wire: bool,
) -> PreparedEndpoint {
    let known = before
        .and_then(|before| before.endpoints.iter().find(|known| known.plan.authority == plan.authority));
    let slot = known
        .filter(|known| {
            is_same_wire && known.plan.address == plan.address && known.server_name == server_name
        })
        .map_or_else(unique, |known| known.slot);
    let state = match (known, before) {
        (Some(known), _) => Arc::clone(&known.state),
        (None, None) => Arc::default(),
        (None, Some(_)) => {
            // It comes to an upstream that has others.
            let state = Arc::<EndpointState>::default();
            state.join(nanos(Instant::now()));
            state
        }
    };
    PreparedEndpoint { plan: plan.clone(), state, slot, server_name }
}

fn prepare_keys(llm: &LlmPlan, secrets: Secrets<'_>) -> Result<ProviderKeys, String> {
    let (header, prefix) = llm.provider.key_header();
    let mut values = Vec::new();
    for secret in &llm.keys {
        let (header, prefix, secret) = (header.into(), prefix.into(), secret.clone());
        let plan = CredentialPlan::Header(HeaderCredentialPlan { header, prefix, secret });
        if let Credential::Header(_, value) = Credential::prepare(&plan, secrets, None)? {
            values.push(value);
        }
    }
    Ok(ProviderKeys::new(HeaderName::from_static(header), values))
}

fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

/// Whether the upstream is spoken to in HTTP/2.
pub(super) fn is_http2(upstream: &PreparedUpstream) -> bool {
    upstream.plan.protocol == UpstreamProtocol::Http2
}
