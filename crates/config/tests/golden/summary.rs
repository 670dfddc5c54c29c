//! A snapshot as text: what decides requests, in a fixed order; fields that say nothing are left out.

use std::fmt::Write as _;

use bartizan_access::{Condition, RoleSet};
use bartizan_config::snapshot::{
    AuthorizationPlan, Bite, CredentialPlan, HeaderChangesPlan, IssuerPlan, KeysPlan, ListenerPlan,
    MethodPlan, MethodSet, Priority, RouteAction, RoutePlan, Settled, Snapshot, UpstreamPlan,
};
use bartizan_model::{Mode, OnFault};

pub(super) fn write(out: &mut String, snapshot: &Snapshot) {
    for listener in &snapshot.listeners {
        write_listener(out, &listener.plan);
    }
    for upstream in &snapshot.upstreams {
        write_upstream(out, upstream);
    }
    for model in &snapshot.models.models {
        let _ = writeln!(out, "model {} {} max {:?}", model.name, model.strategy.as_str(), model.max_output);
        let mut names: Vec<_> =
            snapshot.models.by_name.keys().filter(|name| snapshot.models.get(name) == Some(model)).collect();
        names.sort();
        let _ = writeln!(out, "  names {names:?} roles {:?}", model.roles);
        for target in &model.targets {
            let upstream = snapshot.upstreams.get(target.upstream).map(|plan| plan.name.clone());
            let _ = writeln!(
                out,
                "  target {} {} weight {} {:?}",
                upstream.unwrap_or_default(),
                target.model,
                target.weight,
                target.price
            );
        }
    }
    for role in snapshot.roles.definitions() {
        let _ = writeln!(out, "role {}", role.name);
        for grant in &role.grants {
            let _ = writeln!(out, "  {:?} {}{}", grant.routes, methods(grant.methods), when(&grant.when));
        }
    }
    for channel in snapshot.channels.values() {
        let _ = writeln!(
            out,
            "channel {} within {:?} given up after {:?} {:?}",
            channel.name, channel.timeout, channel.give_up_after, channel.way
        );
    }
    for alert in &snapshot.alerts {
        let _ = writeln!(
            out,
            "alerts {} by {:?} again after {:?} over after {:?}",
            alert.name, alert.channels, alert.repeat_after, alert.recover_after
        );
        for rule in &alert.rules {
            let _ = writeln!(out, "  {rule:?}");
        }
    }
    let mut consumers: Vec<_> = snapshot.consumers.values().collect();
    consumers.sort_by_key(|consumer| &consumer.name);
    for consumer in consumers {
        if let Some(rotation) = &consumer.rotation {
            let terms = &rotation.terms;
            let _ = writeln!(
                out,
                "keys of {} {} announced {} {terms:?}",
                consumer.name, rotation.label, rotation.announce
            );
        }
        for contact in &consumer.contacts {
            let _ = writeln!(out, "contact of {} {:?} {:?}", consumer.name, contact.email, contact.channel);
        }
        if let Some(place) = consumer.rotation.as_ref().and_then(|rotation| rotation.deliver_to.as_ref()) {
            let _ = writeln!(out, "keys of {} are left at {place}", consumer.name);
        }
        if let Some(rotation) = consumer.rotation.as_ref().filter(|rotation| !rotation.notify.is_empty()) {
            let url = rotation.claim_url.as_ref().map(ToString::to_string);
            let _ =
                writeln!(out, "told of keys of {} by {:?} claims at {url:?}", consumer.name, rotation.notify);
        }
        let _ = writeln!(
            out,
            "consumer {} enabled {} roles {:?}",
            consumer.name, consumer.enabled, consumer.roles
        );
        if !consumer.models.is_empty() {
            let _ = writeln!(out, "  models {:?}", consumer.models);
        }
        if let Some(addresses) = &consumer.addresses {
            let _ = writeln!(out, "  from {addresses:?}");
        }
        consumer.authorization.iter().for_each(|policy| write_authorization(out, policy));
        consumer.limits.iter().for_each(|limit| write_limit(out, limit));
        if let Some(team) = &consumer.team {
            let _ = writeln!(out, "  team {} {:?}", team.name, team.models);
        }
        consumer.quotas.iter().for_each(|quota| write_quota(out, quota));
    }
    for plan in &snapshot.routes {
        write_route(out, snapshot, plan);
    }
    for policy in &snapshot.policies {
        let targets =
            if policy.targets.is_empty() { "gateway".to_owned() } else { policy.targets.join(", ") };
        let _ = writeln!(
            out,
            "policy {}/{}{} on {targets}",
            policy.kind.as_str(),
            policy.name,
            bite(policy.bite)
        );
    }
    if !snapshot.record.name.is_empty() {
        let _ = writeln!(out, "record {} {:?}", snapshot.record.name, snapshot.access_log);
    }
}

fn write_listener(out: &mut String, plan: &ListenerPlan) {
    let _ = writeln!(out, "listener {} {:?} http2 {}", plan.name, plan.addresses, plan.http2);
    if let Some(tls) = &plan.tls {
        let _ = writeln!(out, "  tls {:?}", tls.minimum);
        for certificate in &tls.certificates {
            let _ = writeln!(
                out,
                "  certificate {} {} {:?}",
                certificate.chain, certificate.key, certificate.hostnames
            );
        }
        if let Some(clients) = &tls.clients {
            let _ = writeln!(out, "  {clients:?}");
        }
    }
    if !plan.hostnames.is_empty() {
        let _ = writeln!(out, "  hosts {:?}", plan.hostnames);
    }
    if let Some(port) = plan.redirect_https_port {
        let _ = writeln!(out, "  redirects to port {port}");
    }
    if let Some(hsts) = &plan.hsts {
        let _ = writeln!(out, "  hsts {hsts}");
    }
    let admission = &plan.admission;
    if let Some(limit) = &admission.rate_per_address {
        write_limit(out, limit);
    }
    let _ = writeln!(
        out,
        "  connections {}/{}/{} head {} bytes {} fields uri {} body {}",
        admission.connections_max,
        admission.connections_per_address,
        admission.connections_per_prefix,
        admission.header_bytes_max,
        admission.header_count_max,
        admission.uri_bytes_max,
        admission.body_bytes_max,
    );
    if let Some(from) = &plan.proxy_protocol_from {
        let _ = writeln!(out, "  proxy protocol from {from:?}");
    }
}

fn write_upstream(out: &mut String, plan: &UpstreamPlan) {
    let _ = writeln!(out, "upstream {} {:?} {:?}", plan.name, plan.protocol, plan.balancing);
    for endpoint in &plan.endpoints {
        let _ = writeln!(
            out,
            "  endpoint {} weight {} {:?}",
            endpoint.authority, endpoint.weight, endpoint.address
        );
    }
    if let Some(llm) = &plan.llm {
        let _ = writeln!(out, "  {llm:?}");
    }
    if let Some(tls) = &plan.tls {
        let _ = writeln!(out, "  {tls:?}");
    }
    if let Some(active) = &plan.active {
        let _ = writeln!(out, "  {active:?}");
    }
    if let Some(passive) = &plan.passive {
        let _ = writeln!(out, "  {passive:?}");
    }
    if plan.panic_percent > 0 {
        let _ = writeln!(out, "  panics below {} percent", plan.panic_percent);
    }
    if let Some(window) = plan.slow_start {
        let _ = writeln!(out, "  slow start {window:?}");
    }
    match &plan.credential {
        Some(CredentialPlan::Header(plan)) => {
            let _ = writeln!(out, "  credential {}: {}{}", plan.header, plan.prefix, plan.secret);
        }
        Some(credential) => {
            let _ = writeln!(out, "  credential {credential:?}");
        }
        None => {}
    }
}

fn write_limit(out: &mut String, limit: &bartizan_limit::Policy) {
    let _ = writeln!(
        out,
        "  limit {} {:?} absent {:?} {:?} {:?}{}",
        limit.label,
        limit.key,
        limit.on_absent,
        limit.limits,
        limit.action,
        bite(Bite { mode: limit.mode, percent: limit.enforce_percent, on_fault: limit.on_fault }),
    );
}

fn write_quota(out: &mut String, quota: &bartizan_limit::QuotaPolicy) {
    let limits: Vec<String> = quota
        .limits
        .iter()
        .map(|limit| format!("{} {} per {:?}", limit.amount, limit.unit.as_str(), limit.calendar))
        .collect();
    let _ = writeln!(
        out,
        "  quota {} {:?}{} {limits:?}{}",
        quota.label,
        quota.key,
        if quota.skips_absent { " skip" } else { "" },
        bite(Bite { mode: quota.mode, percent: quota.enforce_percent, on_fault: quota.on_fault }),
    );
}

fn method(method: &MethodPlan) -> String {
    match method {
        MethodPlan::ApiKey(plan) => plan.header.to_string(),
        MethodPlan::ClientCertificate(plan) => format!("{plan:?}"),
        MethodPlan::Basic(plan) => format!("{plan:?}"),
        MethodPlan::Jwt(plan) => {
            let issuer = |issuer: &IssuerPlan| {
                let keys = match &issuer.keys {
                    KeysPlan::Fetched(set, _) => set.name.to_string(),
                    KeysPlan::Given(set, _) => format!("{} keys", set.keys().len()),
                    KeysPlan::GivenRef(reference, _) => reference.to_string(),
                    KeysPlan::Secrets(references, _) => format!("{references:?}"),
                };
                let (name, audiences) = (&issuer.name, &issuer.audiences);
                format!(
                    "{name} for {audiences:?} by {:?} of {keys}, {:?}",
                    issuer.keys.algorithms(),
                    issuer.mapping
                )
            };
            let issuers: Vec<String> = plan.issuers.iter().map(issuer).collect();
            format!(
                "Jwt {:?} opaque {} forward {}: {}",
                plan.places,
                plan.leaves_opaque,
                plan.forward,
                issuers.join("; ")
            )
        }
        MethodPlan::OpenIdConnect(plan) => {
            format!(
                "OpenIdConnect at {} as {}, back to {}, out by {}, {}, {:?} and idle {:?}, {:?}",
                plan.issuer,
                plan.client_id,
                plan.redirect_path,
                plan.logout_path,
                plan.cookie,
                plan.lifetime,
                plan.idle,
                plan.mapping
            )
        }
        MethodPlan::Introspection(plan) => {
            format!(
                "Introspection {:?} at {} for {:?}, {:?}",
                plan.places, plan.url, plan.audiences, plan.mapping
            )
        }
    }
}

fn write_route(out: &mut String, snapshot: &Snapshot, plan: &RoutePlan) {
    let action = match &plan.action {
        RouteAction::Redirect(redirect) => format!("{redirect:?}"),
        RouteAction::Models => "models".to_owned(),
        RouteAction::Prompt(prompt) => format!("prompt {} of {:?}", prompt.name, prompt.template),
        RouteAction::Forward(backends) => {
            let name = |index: usize| snapshot.upstreams.get(index).map(|upstream| &*upstream.name);
            let shares =
                backends.shares.iter().map(|(end, index)| format!("{}≤{end}", name(*index).unwrap()));
            format!("{} of {}", shares.collect::<Vec<_>>().join(" "), backends.total)
        }
    };
    let _ = writeln!(out, "route {}#{} → {action}", plan.label, plan.index);
    if plan.rewrite.host.is_some() || plan.rewrite.path.is_some() {
        let _ = writeln!(out, "  {:?}", plan.rewrite);
    }
    write_changes(out, "request", &plan.request_headers);
    write_changes(out, "response", &plan.response_headers);
    write_settled(out, "authentication", &plan.authentication, |policy| {
        let anonymous = if policy.anonymous { " or nobody" } else { "" };
        let methods: Vec<String> = policy.methods.iter().map(method).collect();
        format!("{}{} {methods:?}{anonymous}", policy.label, bite(policy.bite))
    });
    write_settled(out, "cors", &plan.cors, |policy| {
        let methods = &policy.methods_value;
        format!(
            "{}{} {:?} {methods:?} credentials {}",
            policy.label,
            bite(policy.bite),
            policy.origins,
            policy.credentials
        )
    });
    for policy in &plan.headers {
        let _ =
            writeln!(out, "  headers {}{} forbid {:?}", policy.label, bite(policy.bite), policy.forbidden);
        for check in &policy.checks {
            let _ = writeln!(out, "    {check:?}");
        }
        write_changes(out, "  request", &policy.request);
        write_changes(out, "  response", &policy.response);
    }
    plan.authorization.iter().for_each(|policy| write_authorization(out, policy));
    plan.limits.iter().for_each(|limit| write_limit(out, limit));
    plan.quotas.iter().for_each(|quota| write_quota(out, quota));
    for policy in &plan.inspection {
        let _ = writeln!(out, "  inspection {}{}", policy.label, bite(policy.bite));
        for (half, body) in [("request", policy.request), ("response", policy.response)] {
            if let Some(body) = body {
                let _ = writeln!(out, "    {half} {body:?}");
            }
        }
        if let Some(leaks) = &policy.leaks {
            let _ = writeln!(out, "    secrets {}", if leaks.masks { "masked" } else { "blocked" });
        }
    }
    for policy in &plan.schemas {
        let _ = writeln!(
            out,
            "  schema {}{} up to {} required {} others pass {}",
            policy.label,
            bite(policy.bite),
            policy.bytes_max,
            policy.required,
            policy.others_pass
        );
    }
    if let Some(policy) = &plan.caching {
        let _ = writeln!(out, "  cache {} {:?}", policy.label, policy.terms);
    }
    if let Some(policy) = &plan.patience {
        let _ = writeln!(out, "  patience {policy:?}");
    }
    if !plan.record.name.is_empty() {
        let _ = writeln!(out, "  record {:?}", plan.record);
    }
    if plan.priority != Priority::Normal {
        let _ = writeln!(out, "  priority {:?}", plan.priority);
    }
    let timeouts = &plan.timeouts;
    let _ = writeln!(
        out,
        "  timeouts {:?} {:?} {:?}{}",
        timeouts.request,
        timeouts.backend_request,
        timeouts.idle,
        plan.body_bytes_max.map(|bytes| format!(" body {bytes}")).unwrap_or_default()
    );
}

fn write_authorization(out: &mut String, plan: &AuthorizationPlan) {
    let _ = writeln!(out, "  authorization {}{}", plan.label, bite(plan.bite));
    let roles = plan.policy.roles();
    let names = |set: &RoleSet| {
        set.iter().filter_map(|role| roles.name(role)).map(|name| &**name).collect::<Vec<_>>().join(", ")
    };
    for rule in plan.policy.rules() {
        let any = rule.any.as_ref().map(|any| format!(" any of [{}]", names(any))).unwrap_or_default();
        let all = if rule.all.is_empty() { String::new() } else { format!(" all of [{}]", names(&rule.all)) };
        let granted = if rule.granted { " granted" } else { "" };
        let _ = writeln!(
            out,
            "    {} {:?}{any}{all}{granted} {}{}",
            rule.name,
            rule.effect,
            methods(rule.methods),
            when(&rule.when)
        );
    }
}

fn methods(methods: MethodSet) -> String {
    if methods == MethodSet::ANY {
        return "any method".to_owned();
    }
    methods.iter().map(|method| method.to_string()).collect::<Vec<_>>().join(" ")
}

fn when(condition: &Option<Condition>) -> String {
    condition.as_ref().map(|when| format!(" when {}", when.text())).unwrap_or_default()
}

fn write_changes(out: &mut String, what: &str, changes: &HeaderChangesPlan) {
    if !changes.is_empty() {
        let _ =
            writeln!(out, "  {what} remove {:?} set {:?} add {:?}", changes.remove, changes.set, changes.add);
    }
}

fn write_settled<T>(out: &mut String, what: &str, settled: &Settled<T>, say: impl Fn(&T) -> String) {
    if let Some(policy) = &settled.enforced {
        let _ = writeln!(out, "  {what} {}", say(policy));
    }
    for policy in &settled.shadow {
        let _ = writeln!(out, "  {what} in shadow {}", say(policy));
    }
}

/// Nothing for what is enforced for everyone and closed on faults.
fn bite(bite: Bite) -> String {
    let mut text = match bite.mode {
        Mode::Enforce if bite.percent == 100 => String::new(),
        Mode::Enforce => format!(" for {} %", bite.percent),
        mode => format!(" {}", mode.as_str()),
    };
    if bite.on_fault == OnFault::Allow {
        text.push_str(" open on faults");
    }
    text
}
