//! **forward**: to which upstreams, and what they get to see.

use bartizan_config::snapshot::{Backends, Balancing, ConsumerPlan, RouteAction, RoutePlan, UpstreamPlan};
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Reason, Stage, document::Kind};
use bartizan_proxy::stage::judge;

use super::{Walk, Way};
use crate::command::{
    explain::report::{Finding, Share, Verdict},
    words,
};

impl Walk<'_> {
    pub(super) fn forward(
        &mut self,
        head: &RequestHead,
        plan: &RoutePlan,
        prefix_bytes: usize,
        consumer: Option<&ConsumerPlan>,
    ) -> Way<Verdict> {
        if plan.action.asks_a_model() {
            return Ok(Verdict::Undecided {
                stage: Stage::Inspect.as_str(),
                by: Some(format!("Route/{}", plan.label)),
                why: "the body names the model, and only a running gateway reads it".to_owned(),
            });
        }
        let RouteAction::Forward(backends) = &plan.action else {
            // `route` answers redirects.
            let denial = Denial::new(Reason::InternalError).because("a redirect reached forward");
            return self.refuse(Stage::Forward, Vec::new(), Finding::default(), denial);
        };
        let by_route = Finding {
            by: Some(format!("Route/{}", plan.label)),
            at: self.rule_place(plan),
            ..Finding::default()
        };
        let target =
            match judge::target(head, plan, prefix_bytes, &self.entered.listener.plan.admission.tolerate) {
                Ok(target) => target.to_string(),
                Err(denial) => return self.refuse(Stage::Forward, Vec::new(), by_route, denial),
            };
        let host = match &plan.rewrite.host {
            Some(host) => host.to_str().unwrap_or_default().to_owned(),
            None => head.authority().as_str().to_owned(),
        };
        let shares = self.shares(backends);
        let mut findings: Vec<Finding> = shares.iter().map(|share| self.upstream(share)).collect();
        findings.push(Finding { says: sent(head, plan, &target, &host, consumer), ..by_route });
        self.step(Stage::Forward, findings);
        Ok(Verdict::Forwarded {
            route: plan.label.to_string(),
            upstreams: shares,
            method: head.method().to_string(),
            host,
            target,
        })
    }

    fn shares(&self, backends: &Backends) -> Vec<Share> {
        let shares = words::shares(&self.sound.snapshot, backends);
        shares
            .into_iter()
            .map(|(name, percent)| Share {
                name: name.to_owned(),
                percent,
                endpoints: self.plan_of(name).map(endpoints).unwrap_or_default(),
            })
            .collect()
    }

    fn plan_of(&self, upstream: &str) -> Option<&UpstreamPlan> {
        let mut upstreams = self.sound.snapshot.upstreams.iter();
        upstreams.find(|plan| *plan.name == *upstream).map(|plan| &**plan)
    }

    fn upstream(&self, share: &Share) -> Finding {
        let mut says = Vec::new();
        if share.percent < 100 {
            says.push(format!("gets {} % of the calls", share.percent));
        }
        says.push(share.endpoints.join(", "));
        if let Some(plan) = self.plan_of(&share.name) {
            if plan.endpoints.len() > 1 {
                says.push(balancing(&plan.balancing).to_owned());
            }
            if plan.exchanges_tokens() {
                let what = "with a token in exchange for the caller's; who has none is refused";
                says.push(what.to_owned());
            } else if let Some(credential) = &plan.credential {
                says.push(format!("with a credential of its own in {}", credential.header()));
            }
            if plan.tls.as_ref().is_some_and(|tls| tls.danger_accept_any_certificate) {
                says.push("its certificate is not verified".to_owned());
            }
        }
        Finding {
            by: Some(format!("Upstream/{}", share.name)),
            at: self.sound.place_of(Kind::Upstream, &share.name),
            says: says.join("; "),
            ..Finding::default()
        }
    }
}

fn endpoints(plan: &UpstreamPlan) -> Vec<String> {
    let scheme = if plan.tls.is_some() { "https" } else { "http" };
    plan.endpoints.iter().map(|endpoint| format!("{scheme}://{}", endpoint.authority)).collect()
}

fn balancing(balancing: &Balancing) -> &'static str {
    match balancing {
        Balancing::RoundRobin => "in turn",
        Balancing::LeastRequest => "the one with the fewest requests",
        Balancing::PowerOfTwo => "the better of two at random",
        Balancing::ConsistentHash(_) => "always the same for the same key",
    }
}

/// What the upstream gets to see.
fn sent(
    head: &RequestHead,
    plan: &RoutePlan,
    target: &str,
    host: &str,
    consumer: Option<&ConsumerPlan>,
) -> String {
    let mut says = vec![format!("{} {target}, host {host}", head.method())];
    if plan.rewrite.path.is_some() || plan.rewrite.host.is_some() {
        says.push("rewritten".to_owned());
    }
    if let Some(consumer) = consumer {
        says.push(format!("X-Consumer-Name: {}", consumer.name));
        if !consumer.roles.is_empty() {
            says.push(format!("X-Consumer-Roles: {}", consumer.roles.join(",")));
        }
    }
    says.push(format!("its answer must begin within {}", words::time(plan.timeouts.backend_request)));
    if let Some(limit) = plan.timeouts.request {
        says.push(format!("and end within {}", words::time(limit)));
    }
    says.join("; ")
}
