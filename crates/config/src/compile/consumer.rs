//! `Consumer` → [`ConsumerPlan`].

use std::sync::Arc;

use bartizan_access::Roles;
use bartizan_message::MethodSet;
use bartizan_model::{
    document::{Kind, Spec, consumer::Contact},
    problem::Problems,
};
use http::HeaderValue;

use super::{
    attach::{Attached, Clashes},
    index::{Index, spec_of},
    inspection::Binder,
    listener::address_set,
    notice,
    team::Teams,
};
use crate::snapshot::{ConsumerPlan, ContactPlan, NameMap, TeamPlan};

/// Compiles all consumers with the policies attached to them.
pub(super) fn compile_all(
    index: &Index<'_>,
    all_roles: &Roles,
    attached: &Attached<'_, '_>,
    teams: &Teams,
    clashes: &mut Clashes,
    problems: &mut Problems,
) -> NameMap<Arc<ConsumerPlan>> {
    let mut consumers = NameMap::default();
    let mut binder = Binder::default();
    for document in index.of(Kind::Consumer) {
        let Some(spec) = spec_of!(document, Consumer) else { continue };
        let name: Arc<str> = document.name.as_str().into();
        let roles: Vec<Arc<str>> = spec.roles.iter().map(|role| role.as_str().into()).collect();
        let plan = ConsumerPlan {
            name_value: header_value(&name),
            roles_value: (!roles.is_empty()).then(|| header_value(&roles.join(","))),
            role_set: all_roles.set_of(roles.iter().map(|role| &**role)),
            roles,
            models: spec.models.iter().map(|model| model.as_str().into()).collect(),
            enabled: spec.enabled,
            addresses: (!spec.allowed_addresses.is_empty()).then(|| address_set(&spec.allowed_addresses)),
            authorization: attached.consumer_authorization(&name),
            limits: attached.consumer_limits(&name),
            contacts: contacts(index, &spec.contacts, problems),
            // Which methods there are the routes say.
            inspection: attached
                .consumer_inspection(&name)
                .iter()
                .map(|terms| binder.bind(terms, &"".into(), MethodSet::ANY))
                .collect(),
            quotas: quotas(attached, teams.of(&name), &name),
            team: teams.of(&name).cloned(),
            rotation: attached.consumer_rotation(&name, clashes),
            name: name.clone(),
        };
        consumers.insert(name, Arc::new(plan));
    }
    consumers
}

fn contacts(index: &Index<'_>, contacts: &[Contact], problems: &mut Problems) -> Vec<ContactPlan> {
    let mut plans = Vec::new();
    for contact in contacts {
        if let Some(address) = &contact.email {
            notice::check_address(address, "spec.contacts.email", problems);
        }
        let channel = contact.channel.as_ref().filter(|name| {
            index.find(Kind::NoticeChannel, name, "spec.contacts.channel", problems).is_some()
        });
        plans.push(ContactPlan {
            email: contact.email.as_ref().map(|address| address.as_str().into()),
            channel: channel.map(|name| name.as_str().into()),
        });
    }
    plans
}

/// The quotas of a consumer, its team's budget last: it is the widest that can be named beside them.
fn quotas(
    attached: &Attached<'_, '_>,
    team: Option<&Arc<TeamPlan>>,
    name: &str,
) -> Vec<Arc<bartizan_limit::QuotaPolicy>> {
    let mut quotas = attached.consumer_quotas(name);
    quotas.extend(team.and_then(|team| team.budget.clone()));
    quotas
}

/// Names consist of letters, digits, `-` and `.`, so they always are header values.
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
