//! Policies that do not do what their names say: open on faults, watching for ever, off, too wide.

use bartizan_model::{
    Mode, OnFault,
    document::{Document, Spec, record::QueryValuesName},
};

use super::{
    House,
    fix::{Fix, noted},
    label,
    rule::{
        CORS_ANY, CORS_WIDE, ENFORCED_PARTLY, FAILS_OPEN, NOT_RECORDED, QUERY_RECORDED, SHADOW_LONG,
        SWITCHED_OFF,
    },
};

/// A trial of two weeks has seen every day of the week twice.
const SHADOW_DAYS: u64 = 14;

pub(super) fn audit(house: &mut House<'_>) {
    for document in house.documents {
        if let Some(terms) = Terms::of(document) {
            bite(house, document, terms);
        }
        match &document.spec {
            Spec::CorsPolicy(spec) if spec.mode == Mode::Enforce => {
                let origins: Vec<&str> = spec.allow_origins.iter().map(|origin| origin.as_str()).collect();
                cors(house, document, &origins, spec.allow_credentials);
            }
            Spec::RecordPolicy(spec)
                if spec.mode == Mode::Enforce && spec.query_values == QueryValuesName::Full =>
            {
                let target = label(document);
                let fix = Fix::merge(&target, "queryValues: masked");
                house.find(
                    &QUERY_RECORDED,
                    document,
                    format!("{target} writes the values of queries down"),
                    fix,
                );
            }
            _ => {}
        }
    }
    for (document, plans) in house.routes() {
        if plans.iter().any(|plan| !plan.record.access_log) {
            let name = document.name.as_str();
            let message = format!("requests of Route/{name} are not written down");
            let by = plans.iter().find(|plan| !plan.record.access_log).map(|plan| plan.record.name.clone());
            let fix = by.filter(|by| !by.is_empty()).and_then(|by| Fix::merge(&by, "accessLog: true"));
            house.find(&NOT_RECORDED, document, message, fix);
        }
    }
}

/// How a policy bites.
struct Terms {
    mode: Mode,
    percent: u8,
    on_fault: OnFault,
}

impl Terms {
    fn of(document: &Document) -> Option<Self> {
        let terms = |mode, percent: &bartizan_model::scalar::Percent, on_fault| {
            Some(Terms { mode, percent: percent.get(), on_fault })
        };
        match &document.spec {
            Spec::AuthenticationPolicy(spec) => terms(spec.mode, &spec.enforce_percent, spec.on_fault),
            Spec::AuthorizationPolicy(spec) => terms(spec.mode, &spec.enforce_percent, spec.on_fault),
            Spec::CorsPolicy(spec) => terms(spec.mode, &spec.enforce_percent, spec.on_fault),
            Spec::HeaderPolicy(spec) => terms(spec.mode, &spec.enforce_percent, spec.on_fault),
            Spec::QuotaPolicy(spec) => terms(spec.mode, &spec.enforce_percent, spec.on_fault),
            Spec::RateLimitPolicy(spec) => terms(spec.mode, &spec.enforce_percent, spec.on_fault),
            _ => None,
        }
    }
}

fn bite(house: &mut House<'_>, document: &Document, terms: Terms) {
    let target = label(document);
    let enforce = || Fix::merge(&target, "mode: enforce\nenforcePercent: 100");
    if terms.on_fault == OnFault::Allow && terms.mode == Mode::Enforce {
        let fix = Fix::merge(&target, "onFault: deny");
        house.find(&FAILS_OPEN, document, format!("{target} lets requests pass when it cannot decide"), fix);
    }
    let days = house.state.days_since_change(document.at.file);
    match terms.mode {
        Mode::Shadow if days.is_some_and(|days| days > SHADOW_DAYS) => {
            let message = format!("{target} has only watched for {} days", days.unwrap_or_default());
            let note = "`bartizan log --refused` shows what it would refuse";
            house.find(&SHADOW_LONG, document, message, noted(enforce(), note));
        }
        Mode::Off => house.find(&SWITCHED_OFF, document, format!("{target} is off"), Fix::remove(&target)),
        Mode::Enforce if terms.percent < 100 => {
            let message = format!("{target} is enforced for {} % of callers", terms.percent);
            house.find(&ENFORCED_PARTLY, document, message, enforce());
        }
        Mode::Enforce | Mode::Shadow => {}
    }
}

fn cors(house: &mut House<'_>, document: &Document, origins: &[&str], credentials: bool) {
    let target = label(document);
    let fix =
        || noted(Fix::merge(&target, "allowOrigins: [\"https://www.example.com\"]"), "write your own pages");
    if origins.contains(&"*") {
        house.find(&CORS_ANY, document, format!("{target} lets pages of every origin call"), fix());
    } else if credentials && origins.iter().any(|origin| origin.contains("*.")) {
        let message = format!("{target} lets pages of all subdomains call with the user's credentials");
        house.find(&CORS_WIDE, document, message, fix());
    }
}
