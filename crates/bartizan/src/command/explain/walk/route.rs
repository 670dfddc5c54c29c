//! **route**: which rule; what the page's origin and the headers say; and whether it ends in a redirect.

use std::{collections::BTreeSet, sync::Arc};

use bartizan_config::snapshot::{CorsPlan, Lookup, RouteAction, RouteAsk, RoutePlan};
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Reason, Stage, document::Kind};
use bartizan_proxy::stage::judge;
use http::{HeaderValue, header};

use super::{Bearing, Walk, Way};
use crate::command::{
    explain::report::{Effect, Finding, Verdict},
    words,
};

impl Walk<'_> {
    pub(super) fn route(&mut self, head: &RequestHead) -> Way<(Arc<RoutePlan>, usize)> {
        let listener = self.entered.listener.plan.clone();
        let by_listener = Finding {
            by: Some(format!("Listener/{}", listener.name)),
            at: self.sound.place_of(Kind::Listener, &listener.name),
            ..Finding::default()
        };
        if let Some(denial) = judge::judge_host(&listener, self.entered.server_name.as_deref(), head) {
            return self.refuse(Stage::Route, Vec::new(), by_listener, denial);
        }
        if let Some(port) = listener.redirect_https_port {
            let location = judge::location(&judge::https_redirect(port), head, 0);
            let says = "redirects every request to https".to_owned();
            return self.answer(Vec::new(), Finding { says, ..by_listener }, 308, Some(location));
        }
        let (plan, prefix_bytes) = self.find(head)?;
        self.plan = Some(plan.clone());
        let mut findings = vec![self.rule(&plan)];
        self.cors(head, &plan, &mut findings)?;
        self.headers(head, &plan, &mut findings)?;
        if let RouteAction::Redirect(redirect) = &plan.action {
            let location = judge::location(redirect, head, prefix_bytes);
            let finding = Finding { says: "redirects".to_owned(), ..self.rule(&plan) };
            return self.answer(findings, finding, redirect.status.as_u16(), Some(location));
        }
        self.step(Stage::Route, findings);
        Ok((plan, prefix_bytes))
    }

    fn find(&mut self, head: &RequestHead) -> Way<(Arc<RoutePlan>, usize)> {
        let preflight = judge::preflight_method(head);
        let listener = self.entered;
        let ask = |method| RouteAsk {
            host: head.authority().host(),
            path: head.path().as_str(),
            method,
            headers: head.headers(),
            query: head.path().raw_query(),
        };
        // As the pipeline: a preflight is looked up as what it asks for only where a policy answers it.
        if let Some(method) = &preflight
            && let Lookup::Found(found) = listener.listener.routes.find(&ask(method))
            && let Some(cors) = &found.plan.cors.enforced
            && self.bearing(cors.bite, head) != Bearing::Watches
        {
            return Ok((found.plan.clone(), found.prefix_bytes));
        }
        let ask = ask(head.method());
        let denial = match listener.listener.routes.find(&ask) {
            Lookup::Found(found) => {
                self.template = found.template.cloned();
                return Ok((found.plan.clone(), found.prefix_bytes));
            }
            Lookup::OtherMethods(methods) => {
                let methods: Vec<String> = methods.iter().map(|method| method.to_string()).collect();
                let detail = format!("the path is published for {} only", methods.join(", "));
                Denial::new(Reason::MethodNotAllowed).because(detail)
            }
            Lookup::Nothing => Denial::new(Reason::NoRoute).because(format!(
                "nothing is published for {}{}; `bartizan routes` lists what is",
                ask.host, ask.path
            )),
        };
        self.refuse(Stage::Route, Vec::new(), Finding::default(), denial)
    }

    /// The rule and the ways to it.
    fn rule(&self, plan: &Arc<RoutePlan>) -> Finding {
        let entries = self.entered.listener.routes.entries();
        let ways: BTreeSet<String> = entries
            .iter()
            .filter(|entry| Arc::ptr_eq(&entry.plan, plan))
            .map(|entry| {
                let methods = words::methods(entry.methods).join(" ");
                format!("{} {} ({methods})", entry.path.word(), entry.path)
            })
            .collect();
        let more = ways.len().saturating_sub(WAYS_SHOWN);
        let mut ways: Vec<String> = ways.into_iter().take(WAYS_SHOWN).collect();
        if more > 0 {
            ways.push(format!("and {more} more"));
        }
        Finding {
            by: Some(format!("Route/{}", plan.label)),
            at: self.rule_place(plan),
            says: ways.join("\n"),
            ..Finding::default()
        }
    }

    fn cors(&mut self, head: &RequestHead, plan: &RoutePlan, findings: &mut Vec<Finding>) -> Way<()> {
        let origin = head.headers().get(header::ORIGIN);
        for policy in &plan.cors.shadow {
            findings.push(self.watched_cors(policy, origin));
        }
        findings.extend(self.switched_off(Kind::CorsPolicy, plan, None));
        let Some(policy) = plan.cors.enforced.clone() else { return Ok(()) };
        let bearing = self.bearing(policy.bite, head);
        if bearing == Bearing::Watches {
            findings.push(self.watched_cors(&policy, origin));
            return Ok(());
        }
        let finding = self.policy(&policy.label, policy.bite);
        let is_allowed = origin.is_some_and(|origin| judge::is_allowed(&policy, origin));
        let Some(method) = judge::preflight_method(head) else {
            let says = match (origin, is_allowed) {
                (None, _) => "no Origin: not a call from a web page",
                (Some(_), true) => "the page's origin is allowed",
                (Some(_), false) => "the page's origin is not allowed: the browser keeps the answer from it",
            };
            findings.push(Finding { says: says.to_owned(), ..finding });
            return Ok(());
        };
        let is_granted =
            is_allowed && policy.methods.contains(&method) && judge::headers_allowed(&policy, head.headers());
        let says = if is_granted {
            format!("preflight: the page may {method}")
        } else {
            format!(
                "preflight: the page may not {method} with these headers, and the browser will not let it"
            )
        };
        self.answer(std::mem::take(findings), Finding { says, ..finding }, 204, None)
    }

    fn watched_cors(&self, policy: &CorsPlan, origin: Option<&HeaderValue>) -> Finding {
        let finding = self.policy(&policy.label, policy.bite);
        match origin.map(|origin| judge::is_allowed(policy, origin)) {
            Some(false) => {
                let says = "the origin would get no permission".to_owned();
                Finding { says, effect: Effect::WouldRefuse, ..finding }
            }
            Some(true) => Finding { says: "the page's origin would be allowed".to_owned(), ..finding },
            None => Finding { says: "no Origin: not a call from a web page".to_owned(), ..finding },
        }
    }

    fn headers(&mut self, head: &RequestHead, plan: &RoutePlan, findings: &mut Vec<Finding>) -> Way<()> {
        for policy in &plan.headers {
            let bearing = self.bearing(policy.bite, head);
            let mut says = match policy.checks.len() + policy.forbidden.len() {
                0 => "checks nothing".to_owned(),
                _ => "all checks hold".to_owned(),
            };
            if !policy.request.is_empty() || !policy.response.is_empty() {
                says.push_str(match bearing {
                    Bearing::Watches => "; its changes are not made in shadow",
                    _ => "; changes headers",
                });
            }
            let finding = Finding { says, ..self.policy(&policy.label, policy.bite) };
            let denial = judge::judge_headers(policy, head.headers());
            self.weigh(Stage::Route, findings, finding, bearing, denial)?;
        }
        findings.extend(self.switched_off(Kind::HeaderPolicy, plan, None));
        Ok(())
    }

    /// Ends the way with an answer of the gateway's own.
    fn answer<T>(
        &mut self,
        mut findings: Vec<Finding>,
        finding: Finding,
        status: u16,
        location: Option<String>,
    ) -> Way<T> {
        let by = finding.by.clone();
        findings.push(finding.effect(Effect::Answers));
        let verdict = Verdict::Answered { stage: Stage::Route.as_str(), by, status, location };
        self.end(Stage::Route, findings, verdict)
    }
}

/// More ways to one rule would hide the rest of the table.
const WAYS_SHOWN: usize = 4;
