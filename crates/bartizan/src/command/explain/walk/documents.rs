//! Policies as findings: who they are, where they stand, what they are attached to.

use std::sync::Arc;

use bartizan_config::snapshot::{AccessLogPlan, Bite, PolicyMention, RoutePlan};
use bartizan_model::{
    Mode,
    document::{Kind, Spec},
    problem::Span,
};
use bartizan_telemetry::RecordPlan;

use super::Walk;
use crate::command::{
    explain::report::{Effect, Finding},
    words,
};

impl Walk<'_> {
    /// A finding of a policy, without what it says.
    pub(super) fn policy(&self, label: &str, bite: Bite) -> Finding {
        let named = words::kind_and_name(label);
        let mention = named.and_then(|(kind, name)| self.mention(kind, name));
        Finding {
            by: Some(label.to_owned()),
            at: named.and_then(|(kind, name)| self.sound.place_of(kind, name)),
            mode: Some(bite.mode.as_str()),
            enforce_percent: Some(bite.percent),
            on_fault: Some(bite.on_fault.as_str()),
            targets: mention.map(|mention| mention.targets.iter().map(ToString::to_string).collect()),
            ..Finding::default()
        }
    }

    fn mention(&self, kind: Kind, name: &str) -> Option<&PolicyMention> {
        let mut mentions = self.sound.snapshot.policies.iter();
        mentions.find(|mention| mention.kind == kind && *mention.name == *name)
    }

    /// The policies of a kind that would bear on the request if they were not off.
    pub(super) fn switched_off(&self, kind: Kind, plan: &RoutePlan, consumer: Option<&str>) -> Vec<Finding> {
        let mut here =
            vec![format!("Listener/{}", self.entered.listener.plan.name), format!("Route/{}", plan.route)];
        here.push(format!("Route/{}", plan.label));
        here.extend(consumer.map(|name| format!("Consumer/{name}")));
        let is_here = |mention: &&PolicyMention| {
            mention.targets.is_empty()
                || mention.targets.iter().any(|target| here.iter().any(|known| **known == **target))
        };
        self.sound
            .snapshot
            .policies
            .iter()
            .filter(|mention| mention.kind == kind && mention.bite.mode == Mode::Off)
            .filter(is_here)
            .map(|mention| {
                let label = format!("{}/{}", kind.as_str(), mention.name);
                let finding = self.policy(&label, mention.bite);
                Finding { says: "is off: it is not looked at".to_owned(), effect: Effect::Ignored, ..finding }
            })
            .collect()
    }

    /// Where a rule stands.
    pub(super) fn rule_place(&self, plan: &RoutePlan) -> Option<String> {
        let document = self.sound.document(Kind::Route, &plan.route)?;
        let Spec::Route(spec) = &document.spec else { return None };
        // The label is `route`, `route/name` or `route/number`; a rule with a name is labelled by it.
        let label = plan.label.strip_prefix(&*plan.route).and_then(|rest| rest.strip_prefix('/'));
        let named = |rule: &&_| -> bool {
            let rule: &bartizan_model::document::route::RouteRule = rule;
            rule.name.as_ref().map(|name| name.as_str()) == label
        };
        let rules = || spec.rules.iter();
        let by_name: Option<Span> =
            label.and_then(|_| rules().find(|rule| named(&&rule.value))).map(|rule| rule.at);
        let by_number = || {
            let number = label.map_or(Some(0), |label| label.parse::<usize>().ok())?;
            rules().nth(number).map(|rule| rule.at)
        };
        self.sound.place(by_name.or_else(by_number).unwrap_or(document.at))
    }

    /// What is written down about the request; this stage always runs.
    pub(super) fn record(&self) -> Finding {
        let snapshot = &self.sound.snapshot;
        let plan: &Arc<RecordPlan> = self.plan.as_ref().map_or(&snapshot.record, |plan| &plan.record);
        let says = if plan.access_log {
            let to = match &snapshot.access_log {
                AccessLogPlan::Stdout => "standard output".to_owned(),
                AccessLogPlan::File { path, .. } => path.display().to_string(),
            };
            let mut says = format!(
                "a line to {to}; addresses {}, query values {}",
                plan.address_privacy.as_str(),
                plan.query_values.as_str()
            );
            let headers: Vec<&str> = plan.headers().iter().map(|header| header.name.as_str()).collect();
            if !headers.is_empty() {
                says.push_str(&format!(", headers {}", headers.join(", ")));
            }
            says
        } else {
            "no line in the access log; metrics count it all the same".to_owned()
        };
        let finding = match &*plan.name {
            "" => Finding { by: Some("default".to_owned()), ..Finding::default() },
            // A record has no shadow and no share.
            label => Finding { enforce_percent: None, on_fault: None, ..self.policy(label, Bite::FULL) },
        };
        Finding { says, ..finding }
    }
}
