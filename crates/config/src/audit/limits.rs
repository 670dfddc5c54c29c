//! How much: limits that are missing, shared, avoidable or none.

use std::time::Duration;

use bartizan_limit::{KeyPart, Limit, OnAbsent, Policy};
use bartizan_model::{
    Mode,
    document::{Document, Kind, Spec},
};

use super::{
    House,
    fix::{Fix, noted},
    label,
    rule::{
        ADDRESS_UNLIMITED, BODY_LARGE, LIMIT_AVOIDABLE, LIMIT_BY_CHOICE, LIMIT_HUGE, LIMIT_SHARED,
        ROUTE_UNLIMITED, TIME_UNLIMITED,
    },
    transport::is_public,
};

/// Larger bodies than this are uploads, which deserve a route of their own.
const BODY_BYTES: u64 = 32 << 20;

/// More calls a second than one caller of an API makes.
const RATE: f64 = 1_000.0;

pub(super) fn audit(house: &mut House<'_>) {
    routes(house);
    listeners(house);
    policies(house);
}

fn bites(policy: &Policy) -> bool {
    policy.mode == Mode::Enforce && policy.enforce_percent > 0
}

fn routes(house: &mut House<'_>) {
    for (document, plans) in house.routes() {
        let name = document.name.as_str();
        let target = label(document);
        let refs = format!("targetRefs: [{{ kind: Route, name: {name} }}]\n");
        let limited = format!("{refs}limits: {{ requests: 100, timeWindow: 1m }}");
        let fix = || Fix::add("RateLimitPolicy", &format!("{name}-limit"), &limited);
        let note = "a first number: twice what the busiest honest caller does";
        if plans.iter().any(|plan| !plan.limits.iter().any(|limit| bites(limit))) {
            let message = format!("{target} has no RateLimitPolicy that bites");
            house.find(&ROUTE_UNLIMITED, document, message, noted(fix(), note));
        } else if plans
            .iter()
            .any(|plan| plan.limits.iter().filter(|limit| bites(limit)).all(|limit| is_shared(limit)))
        {
            let message = format!("{target} is only limited for all callers together");
            house.find(&LIMIT_SHARED, document, message, noted(fix(), note));
        }
        let Spec::Route(spec) = &document.spec else { continue };
        for (at, rule) in spec.rules.iter().enumerate() {
            if !rule.backend_refs.is_empty() && rule.timeouts.request.get().is_zero() {
                let path = format!("/spec/rules/{at}/timeouts");
                let fix = Fix::patch(&target, "add", &path, "{ request: 30s }");
                let message = format!("rule {} of {target} has no time limit for the whole request", at + 1);
                let note = "not for streams that rightly take long";
                house.find_at(&TIME_UNLIMITED, document, rule.at, message, noted(fix, note));
            }
            if let Some(size) = rule.body_bytes.filter(|size| size.get() > BODY_BYTES) {
                let fix = Fix::patch(&target, "replace", &format!("/spec/rules/{at}/bodyBytes"), "32MiB");
                let message = format!("rule {} of {target} admits bodies of {size}", at + 1);
                house.find_at(&BODY_LARGE, document, rule.at, message, fix);
            }
        }
    }
}

fn is_shared(policy: &Policy) -> bool {
    policy.key.iter().all(|part| matches!(part, KeyPart::Gateway | KeyPart::Route))
}

fn listeners(house: &mut House<'_>) {
    for document in house.of(Kind::Listener) {
        let Spec::Listener(spec) = &document.spec else { continue };
        let target = label(document);
        if is_public(spec) && spec.redirect_https.is_none() && spec.admission.rate_per_address.is_none() {
            let message = format!("{target} has no rate per client address");
            let fix = Fix::merge(
                &target,
                "admission: { ratePerAddress: { requests: 50, timeWindow: 1s, burst: 200 } }",
            );
            house.find(
                &ADDRESS_UNLIMITED,
                document,
                message,
                noted(fix, "more where many callers share an address"),
            );
        }
        if spec.admission.body_bytes.get() > BODY_BYTES {
            let message = format!("{target} admits bodies of {}", spec.admission.body_bytes);
            let fix = Fix::merge(&target, "admission: { bodyBytes: 1MiB }");
            house.find(&BODY_LARGE, document, message, noted(fix, "raise it on the routes that need more"));
        }
    }
}

fn policies(house: &mut House<'_>) {
    let attached = house.snapshot.routes.iter().flat_map(|plan| &plan.limits);
    let of_consumers = house.snapshot.consumers.values().flat_map(|consumer| &consumer.limits);
    let plans: Vec<_> = attached.chain(of_consumers).cloned().collect();
    for document in house.of(Kind::RateLimitPolicy) {
        let target = label(document);
        if let Some(policy) = plans.iter().find(|policy| *policy.label == *target) {
            one(house, document, &target, policy);
        }
    }
}

fn one(house: &mut House<'_>, document: &Document, target: &str, policy: &Policy) {
    let by_header = policy.key.iter().any(|part| matches!(part, KeyPart::Header(_)));
    let by_caller = policy
        .key
        .iter()
        .any(|part| matches!(part, KeyPart::Consumer | KeyPart::Team | KeyPart::ClientAddress));
    if by_header && !by_caller {
        let message = format!("{target} counts by headers alone, which callers choose");
        let fix = Fix::patch(target, "add", "/spec/key/-", "consumer");
        house.find(&LIMIT_BY_CHOICE, document, message, fix);
    }
    if policy.on_absent == OnAbsent::Skip
        && policy
            .key
            .iter()
            .any(|part| matches!(part, KeyPart::Header(_) | KeyPart::Consumer | KeyPart::Team))
    {
        let message = format!("{target} does not count callers that leave a part of its key out");
        house.find(&LIMIT_AVOIDABLE, document, message, Fix::merge(target, "onAbsent: clientAddress"));
    }
    if !is_shared(policy) && policy.limits.iter().any(is_huge) && !policy.limits.iter().any(is_tight) {
        let message = format!("{target} admits more than {RATE} calls a second to one caller");
        let fix = noted(
            Fix::merge(target, "limits: { requests: 100, timeWindow: 1s }"),
            "`bartizan log` tells the use",
        );
        house.find(&LIMIT_HUGE, document, message, fix);
    }
}

fn per_second(requests: u64, window: Duration) -> f64 {
    requests as f64 / window.as_secs_f64().max(f64::MIN_POSITIVE)
}

fn is_huge(limit: &Limit) -> bool {
    matches!(limit, Limit::Rate { requests, window, .. } if per_second(requests.get(), *window) > RATE)
}

fn is_tight(limit: &Limit) -> bool {
    !is_huge(limit)
}
