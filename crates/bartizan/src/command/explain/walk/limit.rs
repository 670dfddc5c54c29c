//! **limit**: which buckets the call counts for, with which numbers.
//!
//! Where a bucket stands only a running gateway knows; a key part that is absent and must not be is decided here.

use std::net::IpAddr;

use bartizan_config::snapshot::{Bite, ConsumerPlan, RoutePlan};
use bartizan_limit::{KeyFacts, OnAbsent, Policy, QuotaFacts, QuotaPart};
use bartizan_message::{AddressBlock, RequestHead};
use bartizan_model::{Denial, Reason, Stage, document::Kind};

use super::{Walk, Way};
use crate::command::{
    explain::report::{Effect, Finding},
    words,
};

impl Walk<'_> {
    pub(super) fn limit(
        &mut self,
        head: &RequestHead,
        plan: &RoutePlan,
        consumer: Option<&ConsumerPlan>,
    ) -> Way<()> {
        let facts = KeyFacts {
            route: &plan.route,
            consumer: consumer.map(|consumer| &*consumer.name),
            team: consumer.and_then(|consumer| consumer.team.as_ref()).map(|team| &*team.name),
            client: block(head.client()),
            header: &|name, each| {
                head.headers().get_all(name).iter().for_each(|value| each(value.as_bytes()));
            },
        };
        let mut findings = Vec::new();
        let of_consumer = consumer.into_iter().flat_map(|consumer| &consumer.limits);
        for policy in plan.limits.iter().chain(of_consumer) {
            let bite = Bite { mode: policy.mode, percent: policy.enforce_percent, on_fault: policy.on_fault };
            let finding = self.policy(&policy.label, bite);
            let (says, effect, denial) = match (facts.bucket_of(policy), policy.on_absent) {
                (Some(bucket), _) => (in_bucket(policy, &bucket), Effect::Passes, None),
                (None, OnAbsent::Deny) => {
                    let denial = Denial::new(Reason::RateExceeded);
                    let denial = denial.because("a part of the key is absent, and the policy says to deny");
                    (String::new(), Effect::Passes, Some(denial))
                }
                (None, _) => {
                    let says = "does not apply: a part of the key is absent, and the policy says to skip";
                    (says.to_owned(), Effect::Ignored, None)
                }
            };
            let bearing = self.bearing(bite, head);
            self.weigh(Stage::Limit, &mut findings, Finding { says, effect, ..finding }, bearing, denial)?;
        }
        self.quotas(&mut findings, head, plan, consumer)?;
        let name = consumer.map(|consumer| &*consumer.name);
        findings.extend(self.switched_off(Kind::RateLimitPolicy, plan, name));
        findings.extend(self.switched_off(Kind::QuotaPolicy, plan, name));
        if findings.is_empty() {
            findings.push(Finding::of_stage("no such policy: any number of calls passes"));
        }
        self.step(Stage::Limit, findings);
        Ok(())
    }

    /// Which accounts the call counts for. What is left of them only a running gateway knows.
    fn quotas(
        &mut self,
        findings: &mut Vec<Finding>,
        head: &RequestHead,
        plan: &RoutePlan,
        consumer: Option<&ConsumerPlan>,
    ) -> Way<()> {
        let team = consumer.and_then(|consumer| consumer.team.as_ref()).map(|team| &*team.name);
        let name = consumer.map(|consumer| &*consumer.name);
        let facts = QuotaFacts { route: &plan.route, consumer: name, team, model: None };
        let of_consumer = consumer.into_iter().flat_map(|consumer| &consumer.quotas);
        for policy in plan.quotas.iter().chain(of_consumer) {
            let bite = Bite { mode: policy.mode, percent: policy.enforce_percent, on_fault: policy.on_fault };
            let finding = self.policy(&policy.label, bite);
            let by_model = policy.key.contains(&QuotaPart::Model);
            let (says, effect, denial) = match policy.bucket(&facts) {
                _ if by_model => {
                    let says = format!("counts by the model that the body asks: {}", words::quotas(policy));
                    (says, Effect::Passes, None)
                }
                Ok(bucket) => {
                    (format!("account of {bucket}: {}", words::quotas(policy)), Effect::Passes, None)
                }
                Err(_) if policy.skips_absent => {
                    let says = "does not apply: a part of the key is absent, and the policy says to skip";
                    (says.to_owned(), Effect::Ignored, None)
                }
                Err(_) => {
                    let denial = Denial::new(Reason::QuotaExceeded);
                    let denial = denial.because("a part of the key is absent, and the policy says to deny");
                    (String::new(), Effect::Passes, Some(denial))
                }
            };
            let bearing = self.bearing(bite, head);
            self.weigh(Stage::Limit, findings, Finding { says, effect, ..finding }, bearing, denial)?;
        }
        Ok(())
    }
}

/// What a policy by client address says of a client.
pub(super) fn of_address(policy: &Policy, client: IpAddr) -> String {
    let facts = KeyFacts { route: "", consumer: None, team: None, client: block(client), header: &|_, _| {} };
    in_bucket(policy, &facts.bucket_of(policy).unwrap_or_default())
}

fn in_bucket(policy: &Policy, bucket: &str) -> String {
    format!("bucket of {bucket}: {}; {}", words::limits(policy), words::action(policy.action))
}

/// The block of addresses that a client is counted in, as [`KeyFacts`] has it.
fn block(client: IpAddr) -> u128 {
    match AddressBlock::of(client) {
        AddressBlock::V4(bits) => std::net::Ipv4Addr::from_bits(bits).to_ipv6_mapped().to_bits(),
        AddressBlock::V6(bits) => u128::from(bits) << 64,
    }
}
