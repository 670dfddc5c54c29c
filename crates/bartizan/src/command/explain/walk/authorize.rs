//! **authorize**: whether the consumer may call at all, and what each policy says by which rule and role.
//!
//! Conditions are judged by the request as it was asked about and by the clock as it is.

use std::time::{SystemTime, UNIX_EPOCH};

use bartizan_access::{Subject, Verdict};
use bartizan_config::snapshot::{Captures, ConsumerPlan, RoutePlan};
use bartizan_identity::Method;
use bartizan_message::RequestHead;
use bartizan_model::{Denial, OnFault, Reason, Stage, document::Kind};
use bartizan_proxy::stage::judge;

use super::{Walk, Way};
use crate::command::explain::report::Finding;

impl Walk<'_> {
    /// The consumer's own document, then every policy in the order of the stage.
    pub(super) fn authorize(
        &mut self,
        head: &RequestHead,
        plan: &RoutePlan,
        consumer: Option<&ConsumerPlan>,
    ) -> Way<()> {
        let mut findings = Vec::new();
        if let Some(consumer) = consumer {
            findings.push(self.consumer(head, consumer)?);
        }
        let template = self.template.clone();
        let captures = Captures { template: template.as_deref(), path: head.path().as_str() };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let method = match (consumer, self.has_token) {
            (_, true) => Method::Jwt,
            (Some(_), false) => Method::ApiKey,
            (None, false) => Method::Anonymous,
        };
        let subject = judge::subject(consumer, method);
        // A token names its own subject, which is not known here.
        let sub = subject.sub.filter(|_| !self.has_token);
        let inquiry = judge::Inquiry {
            subject: Subject { sub, ..subject },
            head,
            plan,
            captures: &captures,
            now_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        };
        for policy in judge::policies(plan, consumer) {
            let bearing = self.bearing(policy.bite, head);
            let (says, denial) = match judge::judge_policy(policy, &inquiry) {
                Ok(Verdict::Allowed(ground)) => (format!("allowed by {}", ground.describe()), None),
                Ok(Verdict::Denied(refused)) => {
                    (String::new(), Some(Denial::new(Reason::NotAllowed).because(refused.describe())))
                }
                Err(fault) if policy.bite.on_fault == OnFault::Allow => {
                    (format!("cannot be decided ({}), and passes by `onFault: allow`", fault.what), None)
                }
                Err(fault) => {
                    (String::new(), Some(Denial::new(Reason::JudgeUnavailable).because(fault.what)))
                }
            };
            let finding = Finding { says, ..self.policy(&policy.label, policy.bite) };
            self.weigh(Stage::Authorize, &mut findings, finding, bearing, denial)?;
        }
        let name = consumer.map(|consumer| &*consumer.name);
        findings.extend(self.switched_off(Kind::AuthorizationPolicy, plan, name));
        if findings.is_empty() {
            findings.push(Finding::of_stage("no such policy"));
        }
        self.step(Stage::Authorize, findings);
        Ok(())
    }

    fn consumer(&mut self, head: &RequestHead, consumer: &ConsumerPlan) -> Way<Finding> {
        let mut finding = Finding {
            by: Some(format!("Consumer/{}", consumer.name)),
            at: self.sound.place_of(Kind::Consumer, &consumer.name),
            ..Finding::default()
        };
        if let Some(denial) = judge::judge_consumer(consumer, head.client()) {
            return self.refuse(Stage::Authorize, Vec::new(), finding, denial);
        }
        finding.says = match &consumer.addresses {
            Some(_) => format!("enabled, may call from {}", head.client()),
            None => "enabled, may call from anywhere".to_owned(),
        };
        if !consumer.roles.is_empty() {
            finding.says.push_str(&format!("; roles {}", consumer.roles.join(", ")));
        }
        Ok(finding)
    }
}
