//! **inspect** and **screen**: which policies judge, by which rules, and what they say of the head.
//!
//! A body is not asked about, so of a request that announces one the head alone is judged.

use bartizan_config::snapshot::{BodyPlan, ConsumerPlan, InspectionPlan, Oversize, RoutePlan};
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Reason, Stage, document::Kind, scalar::ByteSize};
use bartizan_proxy::stage::judge;

use super::{Walk, Way};
use crate::command::explain::report::{Effect, Finding};

impl Walk<'_> {
    pub(super) fn inspect(
        &mut self,
        head: &RequestHead,
        plan: &RoutePlan,
        consumer: Option<&ConsumerPlan>,
    ) -> Way<()> {
        let bytes_max = plan.body_bytes_max.unwrap_or(self.entered.listener.plan.admission.body_bytes_max);
        let admits = Finding::of_stage(format!("a body may have {}", ByteSize::bytes(bytes_max)));
        if let Some(denial) = judge::judge_announced(head, bytes_max) {
            return self.refuse(Stage::Inspect, Vec::new(), admits, denial);
        }
        let mut findings = vec![admits];
        for policy in judge::inspections(plan, consumer) {
            let Some(body) = policy.request else { continue };
            let denial = judge::judge_head(policy, head);
            let says = if denial.is_some() { String::new() } else { judged_by(policy, body, head) };
            let finding = Finding { says, ..self.policy(&policy.label, policy.bite) };
            let bearing = self.bearing(policy.bite, head);
            self.weigh(Stage::Inspect, &mut findings, finding, bearing, denial)?;
        }
        for policy in &plan.schemas {
            let missing = policy.required && !head.framing().announces_body();
            let denial = missing.then(|| {
                Denial::new(Reason::SchemaViolation).because("a body is required").by(policy.label.clone())
            });
            let says = if missing { String::new() } else { "judges JSON bodies by a schema".to_owned() };
            let finding = Finding { says, ..self.policy(&policy.label, policy.bite) };
            let bearing = self.bearing(policy.bite, head);
            self.weigh(Stage::Inspect, &mut findings, finding, bearing, denial)?;
        }
        let name = consumer.map(|consumer| &*consumer.name);
        findings.extend(self.switched_off(Kind::InspectionPolicy, plan, name));
        findings.extend(self.switched_off(Kind::SchemaPolicy, plan, None));
        if findings.len() == 1 {
            findings.insert(0, Finding::of_stage("no such policy"));
        }
        self.step(Stage::Inspect, findings);
        Ok(())
    }

    pub(super) fn screen(&mut self, plan: &RoutePlan, consumer: Option<&ConsumerPlan>) {
        let judging =
            judge::inspections(plan, consumer).filter_map(|policy| Some((policy, policy.response?)));
        let mut findings: Vec<Finding> = judging
            .map(|(policy, body)| {
                let says = format!(
                    "{} rules judge the answer, of its body up to {}",
                    policy.rules.rules().count(),
                    of_body(body)
                );
                Finding { says, effect: Effect::Depends, ..self.policy(&policy.label, policy.bite) }
            })
            .collect();
        if findings.is_empty() {
            findings.push(Finding::of_stage("no such policy"));
        }
        self.step(Stage::Screen, findings);
    }
}

fn judged_by(policy: &InspectionPlan, body: BodyPlan, head: &RequestHead) -> String {
    let rules = policy.rules.rules().count();
    if head.framing().announces_body() {
        format!("{rules} rules let the head pass; they judge the body as it comes, up to {}", of_body(body))
    } else {
        format!("{rules} rules let it pass")
    }
}

fn of_body(body: BodyPlan) -> String {
    let size = ByteSize::bytes(body.bytes_max as u64);
    match body.oversize {
        Oversize::Deny => format!("{size}, a larger one is refused"),
        Oversize::JudgeStart => format!("{size}, of a larger one the start"),
        Oversize::Pass => format!("{size}, a larger one passes unjudged"),
    }
}
