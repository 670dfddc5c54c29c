//! `Upstream` → [`UpstreamPlan`].

use std::{collections::HashMap, net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use bartizan_model::{
    document::{
        Document, Kind, Spec,
        upstream::{
            ActiveHealth, EndpointSpec, HashOn, LoadBalancing, LoadBalancingAlgorithm, PassiveHealth,
            UpstreamKind, UpstreamProtocolName, UpstreamSpec, UpstreamTls,
        },
    },
    problem::{Code, Problem, Problems, shown},
    read::Spanned,
};

use super::{
    credential,
    index::{Index, spec_of},
    listener::{count, size},
    llm,
    path::canonical,
    positive,
};
use crate::snapshot::{
    ActiveCheckPlan, Balancing, ClientIdentityPlan, EndpointAddress, EndpointPlan, HashKey, PassiveCheckPlan,
    UpstreamPlan, UpstreamProtocol, UpstreamTlsPlan,
};

/// Compiles all upstreams, in order of name.
pub(super) fn compile_all(index: &Index<'_>, problems: &mut Problems) -> Vec<Arc<UpstreamPlan>> {
    index
        .of(Kind::Upstream)
        .filter_map(|document| {
            let spec = spec_of!(document, Upstream)?;
            Some(Arc::new(compile(index, document, spec, problems)))
        })
        .collect()
}

fn compile(
    index: &Index<'_>,
    document: &Document,
    spec: &UpstreamSpec,
    problems: &mut Problems,
) -> UpstreamPlan {
    let llm = llm::compile(index, document, spec, problems);
    let home = llm::home_of(spec);
    if spec.endpoints.is_empty() && spec.kind == UpstreamKind::Http {
        let message = "an upstream needs an endpoint";
        problems.push(Problem::new(Code::EmptyList, document.name.at, "spec.endpoints", message));
    }
    check_endpoints(spec, problems);
    let tls = match home {
        Some(home) => home.tls.then(|| home_tls(index, document, spec, problems)),
        None => tls(index, document, spec, problems),
    };
    UpstreamPlan {
        llm: llm.map(Arc::new),
        name: document.name.as_str().into(),
        endpoints: match home {
            Some(home) => vec![address_plan(home.host, home.port, NonZeroU32::MIN)],
            None => spec.endpoints.iter().map(|endpoint| endpoint_plan(endpoint)).collect(),
        },
        protocol: match spec.protocol {
            UpstreamProtocolName::Http1 => UpstreamProtocol::Http1,
            UpstreamProtocolName::Http2 => UpstreamProtocol::Http2,
        },
        tls,
        balancing: balancing(document, &spec.load_balancing, problems),
        active: spec.health.active.as_ref().map(|active| active_plan(document, active, problems)),
        passive: spec.health.passive.as_ref().map(|passive| passive_plan(passive, problems)),
        panic_percent: spec.health.panic_threshold.get(),
        slow_start: slow_start(&spec.load_balancing, problems),
        credential: spec
            .credential
            .as_ref()
            .and_then(|spec| credential::compile(index, document, spec, problems)),
        connect_timeout: positive(&spec.connect_timeout, "spec.connectTimeout", problems),
        idle_timeout: positive(&spec.idle_timeout, "spec.idleTimeout", problems),
        connections_max: size(&spec.connections),
        idle_max: size(&spec.connections),
    }
}

fn tls(
    index: &Index<'_>,
    document: &Document,
    spec: &UpstreamSpec,
    problems: &mut Problems,
) -> Option<UpstreamTlsPlan> {
    let first = spec.endpoints.first()?;
    if let Some(other) = spec.endpoints.iter().find(|endpoint| endpoint.url.tls != first.url.tls) {
        problems.push(
            Problem::new(
                Code::FieldsClash,
                other.at,
                "spec.endpoints",
                "http and https endpoints in one upstream",
            )
            .also(first.at, "the first endpoint's scheme is the upstream's")
            .hint("write two upstreams and share the traffic by `backendRefs`"),
        );
    }
    match (&spec.tls, first.url.tls) {
        (Some(tls), false) => {
            problems.push(
                Problem::new(
                    Code::FieldsClash,
                    tls.at,
                    "spec.tls",
                    "`tls` has no meaning for http endpoints",
                )
                .hint("write `https://` in the endpoints, or delete `tls`"),
            );
            None
        }
        (None, false) => None,
        (tls, true) => {
            if let Some(tls) = tls {
                check_tls(tls, problems);
            }
            Some(tls_plan(index, document, spec))
        }
    }
}

fn tls_plan(index: &Index<'_>, document: &Document, spec: &UpstreamSpec) -> UpstreamTlsPlan {
    let tls = spec.tls.as_ref();
    UpstreamTlsPlan {
        server_name: tls.and_then(|tls| tls.server_name.as_ref()).map(|name| name.as_str().into()),
        authorities: tls
            .and_then(|tls| tls.authorities_ref.as_ref())
            .map(|reference| index.locate(document, reference)),
        client: tls.and_then(|tls| tls.client_certificate.as_ref()).map(|client| ClientIdentityPlan {
            chain: index.locate(document, &client.chain_ref),
            key: index.locate(document, &client.key_ref),
        }),
        danger_accept_any_certificate: tls.is_some_and(|tls| tls.danger_accept_any_certificate),
    }
}

fn check_tls(tls: &Spanned<UpstreamTls>, problems: &mut Problems) {
    if tls.danger_accept_any_certificate && tls.authorities_ref.is_some() {
        let message = "`authoritiesRef` has no meaning when any certificate is accepted";
        problems.push(
            Problem::new(Code::FieldsClash, tls.at, "spec.tls", message)
                .hint("delete `dangerAcceptAnyCertificate`: with the right authorities it is not needed"),
        );
    }
    if let Some(name) = tls.server_name.as_ref().filter(|name| name.suffix().is_some()) {
        let message = "a server is asked for one name, not for a wildcard";
        problems.push(Problem::new(Code::BadValue, name.at, "spec.tls.serverName", message));
    }
}

/// An endpoint that is written twice is one endpoint with two lives: its share, health and metrics would be halved.
fn check_endpoints(spec: &UpstreamSpec, problems: &mut Problems) {
    let mut seen = HashMap::new();
    for endpoint in &spec.endpoints {
        if let Some(first) = seen.insert((&endpoint.url.host, endpoint.url.port), endpoint.at) {
            let message = format!("the endpoint `{}` is written twice", endpoint.url);
            problems.push(
                Problem::new(Code::FieldsClash, endpoint.at, "spec.endpoints", message)
                    .also(first, "first written here")
                    .hint("a larger share is written as `weight`"),
            );
        }
    }
}

/// The verification of a provider whose own address is used.
fn home_tls(
    index: &Index<'_>,
    document: &Document,
    spec: &UpstreamSpec,
    problems: &mut Problems,
) -> UpstreamTlsPlan {
    if let Some(tls) = &spec.tls {
        check_tls(tls, problems);
    }
    tls_plan(index, document, spec)
}

fn endpoint_plan(endpoint: &EndpointSpec) -> EndpointPlan {
    let weight = NonZeroU32::new(count(&endpoint.weight)).unwrap_or(NonZeroU32::MIN);
    address_plan(&endpoint.url.host, endpoint.url.port, weight)
}

fn address_plan(host: &str, port: u16, weight: NonZeroU32) -> EndpointPlan {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    let address = match literal.parse() {
        Ok(ip) => EndpointAddress::Socket(SocketAddr::new(ip, port)),
        Err(_) => EndpointAddress::Name(host.into(), port),
    };
    let authority = match &address {
        EndpointAddress::Socket(socket) => socket.to_string(),
        EndpointAddress::Name(name, port) => format!("{name}:{port}"),
    };
    EndpointPlan { authority: authority.into(), address, weight }
}

fn balancing(document: &Document, spec: &LoadBalancing, problems: &mut Problems) -> Balancing {
    let hashes_header =
        spec.algorithm == LoadBalancingAlgorithm::ConsistentHash && spec.hash_on == HashOn::Header;
    if let Some(header) = spec.header.as_ref().filter(|_| !hashes_header) {
        let message = "`header` has no meaning without `algorithm: ConsistentHash` and `hashOn: header`";
        problems.push(Problem::new(Code::FieldsClash, header.at, "spec.loadBalancing.header", message));
    }
    match spec.algorithm {
        LoadBalancingAlgorithm::RoundRobin => Balancing::RoundRobin,
        LoadBalancingAlgorithm::LeastRequest => Balancing::LeastRequest,
        LoadBalancingAlgorithm::PowerOfTwo => Balancing::PowerOfTwo,
        LoadBalancingAlgorithm::ConsistentHash => {
            Balancing::ConsistentHash(match (spec.hash_on, &spec.header) {
                (HashOn::Consumer, _) => HashKey::Consumer,
                (HashOn::ClientAddress, _) => HashKey::ClientAddress,
                (HashOn::Path, _) => HashKey::Path,
                (HashOn::Header, Some(header)) => HashKey::Header(header.as_str().into()),
                (HashOn::Header, None) => {
                    let path = "spec.loadBalancing.header";
                    let message = "`hashOn: header` needs the header's name";
                    problems.push(Problem::new(Code::MissingField, document.name.at, path, message));
                    HashKey::Consumer
                }
            })
        }
    }
}

fn slow_start(spec: &LoadBalancing, problems: &mut Problems) -> Option<Duration> {
    let slow = spec.slow_start.as_ref()?;
    if spec.algorithm == LoadBalancingAlgorithm::ConsistentHash {
        let message = "`slowStart` has no meaning with `ConsistentHash`: a key has one endpoint";
        problems.push(Problem::new(Code::FieldsClash, slow.at, "spec.loadBalancing.slowStart", message));
    }
    Some(positive(&slow.window, "spec.loadBalancing.slowStart.window", problems))
}

fn active_plan(document: &Document, active: &ActiveHealth, problems: &mut Problems) -> ActiveCheckPlan {
    canonical(active.path.as_str(), active.path.at, "spec.health.active.path", problems);
    if active.statuses.is_empty() {
        let message = "no answer at all would count as healthy";
        let path = "spec.health.active.statuses";
        problems.push(Problem::new(Code::EmptyList, document.name.at, path, message));
    }
    ActiveCheckPlan {
        path: active.path.as_str().into(),
        interval: positive(&active.interval, "spec.health.active.interval", problems),
        timeout: positive(&active.timeout, "spec.health.active.timeout", problems),
        statuses: active.statuses.iter().filter_map(|statuses| status_range(statuses, problems)).collect(),
        healthy_after: count(&active.healthy_threshold),
        unhealthy_after: count(&active.unhealthy_threshold),
    }
}

fn status_range(text: &Spanned<String>, problems: &mut Problems) -> Option<(u16, u16)> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|status| digits && (100..=599).contains(status))
    };
    match (status(low), status(high)) {
        (Some(low), Some(high)) if low <= high => Some((low, high)),
        _ => {
            let message = format!("{} is not a status or a range of them", shown(text));
            problems.push(
                Problem::new(Code::BadValue, text.at, "spec.health.active.statuses", message)
                    .hint("write for example `200` or `200-399`"),
            );
            None
        }
    }
}

fn passive_plan(passive: &PassiveHealth, problems: &mut Problems) -> PassiveCheckPlan {
    PassiveCheckPlan {
        failures: count(&passive.consecutive_failures),
        eject_for: positive(&passive.eject_for, "spec.health.passive.ejectFor", problems),
        ejected_percent_max: passive.max_ejected_percent.get(),
    }
}
