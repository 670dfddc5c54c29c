//! What would change a refusal: who has to do what.

use bartizan_config::snapshot::Snapshot;
use bartizan_model::{
    Reason,
    document::{Kind, Spec},
};

use super::{
    super::{records::Line, set::Sound, words},
    rules,
};

/// What would change it, most likely first; nothing where nothing was refused.
pub(super) fn of(line: &Line, sound: Option<&Sound>) -> Vec<String> {
    let Some(reason) = line.reason.as_deref() else { return Vec::new() };
    let Some(reason) = Reason::ALL.iter().find(|known| known.as_str() == reason) else { return Vec::new() };
    let mut remedies = match reason {
        Reason::AttackDetected | Reason::ResponseRefused => {
            rules::remedies(&line.rules, line.policy.as_deref())
        }
        _ => Vec::new(),
    };
    // What is known of rules says more than the general word.
    if remedies.is_empty() {
        remedies = general(*reason, line);
    }
    if let Some(sound) = sound {
        remedies.extend(by_documents(*reason, line, sound));
    }
    remedies
}

fn general(reason: Reason, line: &Line) -> Vec<String> {
    let or = |text: &Option<String>, else_: &str| text.clone().unwrap_or_else(|| else_.to_owned());
    let policy = or(&line.policy, "the policy");
    let consumer = or(&line.consumer, "the caller");
    let route = or(&line.route, "the route");
    let client = or(&line.client, "the client");
    let listener = or(&line.listener, "the listener");
    let one = |text: String| vec![text];
    match reason {
        Reason::AddressDenied => one(format!(
            "call from an address that Listener/{listener} admits; {client} is none (`admission.allow`, `admission.deny`)"
        )),
        Reason::AddressLimited => one(format!(
            "fewer calls from {client}, or a higher `admission.ratePerAddress` on Listener/{listener}"
        )),
        Reason::CredentialMissing => one(format!(
            "a credential of the kind that {policy} takes, sent in the header that `WWW-Authenticate` names"
        )),
        Reason::CredentialExpired => {
            one("a new key: `bartizan keys create --consumer NAME`, then revoke the old one".to_owned())
        }
        Reason::CredentialInvalid => vec![
            "the right key: `bartizan keys list` shows which ones are in force".to_owned(),
            "a key of a consumer that the documents have".to_owned(),
        ],
        Reason::CrossSite => one(format!(
            "a page of the same origin, or the page's origin among `trustedOrigins` in {policy}; a program that is no \
             browser says `Origin` itself"
        )),
        Reason::TooManyFailures => one("waiting: too many attempts failed before".to_owned()),
        Reason::NotAllowed if policy.starts_with("Consumer/") => {
            one(format!("{policy}: `enabled: true`, or an address among its `allowedAddresses`"))
        }
        Reason::NotAllowed => one(format!(
            "a role for {consumer} that {policy} asks for on {route}, or a rule in {policy} that allows it"
        )),
        Reason::RateExceeded | Reason::QuotaExceeded => vec![
            "waiting as long as `Retry-After` said, and spreading calls out".to_owned(),
            format!("a higher limit in {policy}"),
        ],
        Reason::OutputUnbounded => one(
            "a bound in the call (`max_tokens` and its like), or `maxOutputTokens` in the Model's document"
                .to_owned(),
        ),
        Reason::PriceUnknown => {
            one("`price` in the Model's document: the gateway's own table has none for one of its targets"
                .to_owned())
        }
        Reason::UseUnknown => one(format!(
            "another path, or a route that {policy} does not apply to: pictures and speech have no bound"
        )),
        Reason::HeaderRefused => one(format!("the header as {policy} asks for it")),
        Reason::MethodNotAllowed => {
            one("a method that the answer's `Allow` names, or a rule of a Route that publishes this one"
                .to_owned())
        }
        Reason::NoRoute => {
            one("a Route for this host and path; `bartizan routes` shows what is published".to_owned())
        }
        Reason::WrongHost => {
            one(format!("a host that Listener/{listener} serves, on a connection that was opened for it"))
        }
        Reason::BodyTooLarge => {
            one(format!("a smaller body, or a higher `bodyBytes` on the rule of Route/{route}"))
        }
        Reason::HeaderTooLarge | Reason::UriTooLong => {
            one(format!("a smaller head, or higher limits in `admission` of Listener/{listener}"))
        }
        Reason::ExpectationUnknown | Reason::MalformedRequest | Reason::MethodUnknown => {
            one("another client, or this one mended: the request can be read in more than one way".to_owned())
        }
        Reason::RequestTimeout => {
            one("a client that sends faster, or longer times in `admission` and on the route".to_owned())
        }
        Reason::AttackDetected
        | Reason::InspectionIncomplete
        | Reason::PromptRefused
        | Reason::SchemaViolation => one(format!("another body, or an exception in {policy}")),
        Reason::ModelUnknown => {
            one("a model that is published: `GET /v1/models` with the key, or `bartizan models list`"
                .to_owned())
        }
        Reason::OperationNotAllowed => vec![
            format!("a role for {consumer} that {policy} asks for"),
            format!("the model among `models` of Consumer/{consumer}, where it is held to some"),
        ],
        Reason::OperationUnsupported => {
            one("a request without the field that the answer named, or a target of another provider"
                .to_owned())
        }
        Reason::ModelFailed => one(
            "a target that serves: `bartizan models probe NAME` asks each with each key and names the fault"
                .to_owned(),
        ),
        Reason::ConnectFailed | Reason::NoEndpoint => {
            one(format!("an endpoint of Upstream/{} that can be reached", or(&line.upstream, "?")))
        }
        Reason::Overloaded => {
            one("less load, or more room: connections of the upstream, cores of the gateway".to_owned())
        }
        Reason::UpstreamMisbehaved | Reason::ResponseRefused => {
            one(format!("an answer of Upstream/{} that is valid", or(&line.upstream, "?")))
        }
        Reason::UpstreamTimeout => one(format!("a faster answer, or longer `timeouts` on Route/{route}")),
        Reason::JudgeUnavailable => one(format!(
            "what {policy} needs to decide; `onFault: allow` would let such requests pass, which an audit finds"
        )),
        Reason::InternalError => one("a report of this error: it is the gateway's own".to_owned()),
    }
}

fn by_documents(reason: Reason, line: &Line, sound: &Sound) -> Vec<String> {
    let mut remedies = Vec::new();
    if line.revision.as_deref().is_some_and(|revision| *revision != *sound.snapshot.revision.id) {
        remedies.push(format!(
            "(the documents given are revision {}, not the one that judged)",
            sound.snapshot.revision.id
        ));
    }
    let Some((kind, name)) = line.policy.as_deref().and_then(words::kind_and_name) else { return remedies };
    if let Some(place) = sound.place_of(kind, name) {
        remedies.push(format!("{}/{name} stands in {place}", kind.as_str()));
    }
    match reason {
        Reason::RateExceeded => {
            if let Some(policy) = limit(&sound.snapshot, line.policy.as_deref().unwrap_or_default()) {
                remedies.push(format!(
                    "it admits {}, {}",
                    words::limits(&policy),
                    words::action(policy.action)
                ));
            }
        }
        Reason::NotAllowed => remedies.extend(roles(sound, kind, name, line)),
        _ => {}
    }
    remedies
}

fn limit(snapshot: &Snapshot, label: &str) -> Option<std::sync::Arc<bartizan_limit::Policy>> {
    let of_routes = snapshot.routes.iter().flat_map(|route| &route.limits);
    let of_consumers = snapshot.consumers.values().flat_map(|consumer| &consumer.limits);
    of_routes.chain(of_consumers).find(|policy| *policy.label == *label).cloned()
}

/// The roles that the policy asks for by name, and those that grant something on the route.
fn roles(sound: &Sound, kind: Kind, name: &str, line: &Line) -> Vec<String> {
    let mut told = Vec::new();
    if let Some(Spec::AuthorizationPolicy(spec)) = sound.document(kind, name).map(|document| &document.spec) {
        let own = spec.roles.iter().chain(spec.all_roles.iter());
        let of_rules = spec.rules.iter().flat_map(|rule| rule.roles.iter().chain(rule.all_roles.iter()));
        let mut asked: Vec<&str> = own.chain(of_rules).map(|role| role.as_str()).collect();
        asked.sort_unstable();
        asked.dedup();
        if !asked.is_empty() {
            told.push(format!("it asks for {}", asked.join(", ")));
        }
    }
    let route = line.route.as_deref().unwrap_or_default();
    let grants = sound.set.documents.iter().filter_map(|document| match &document.spec {
        Spec::Role(role) => {
            let names = role.grants.iter().flat_map(|grant| grant.routes.iter());
            let on_route =
                names.into_iter().any(|scope| scope.to_string() == route || scope.to_string() == "*");
            on_route.then(|| document.name.as_str())
        }
        _ => None,
    });
    let granting: Vec<&str> = grants.collect();
    if !granting.is_empty() {
        told.push(format!("roles that permit something on {route}: {}", granting.join(", ")));
    }
    if let Some(consumer) = line.consumer.as_ref().and_then(|name| sound.snapshot.consumers.get(&**name)) {
        let has: Vec<&str> = consumer.roles.iter().map(|role| &**role).collect();
        let has = if has.is_empty() { "no role".to_owned() } else { has.join(", ") };
        told.push(format!("{} has {has}", consumer.name));
    }
    told
}
