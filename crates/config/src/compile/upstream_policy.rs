//! `UpstreamPolicy` → [`UpstreamPolicyPlan`].

use std::sync::Arc;

use bartizan_model::{
    Mode,
    document::{
        Document, Kind, Spec,
        common::TargetKind,
        route::{BackendKind, RouteRule},
        upstream_policy::{ConcurrencySpec, MirrorSpec, RetriesSpec, RetryOn, UpstreamPolicySpec},
    },
    problem::{Code, Problem, Problems},
    read::Spanned,
    scalar::Count,
};

use super::{
    attach::{Scoped, targets},
    index::{Index, spec_of},
    label,
    policy::{BEFORE_IDENTIFY, header_name},
};
use crate::snapshot::{Bite, ConcurrencyPlan, MirrorPlan, RetriesPlan, UpstreamPolicyPlan};

/// 5: a request that failed six times will fail.
const ATTEMPTS_MAX: u64 = 5;
/// 20 percent: what retries may add to the load of an upstream in trouble.
const BUDGET_PERCENT_MAX: u8 = 20;

/// All policies of the kind.
pub(super) fn policies<'d>(
    index: &Index<'d>,
    problems: &mut Problems,
) -> Vec<Scoped<'d, UpstreamPolicyPlan>> {
    let mut scoped = Vec::new();
    for document in index.of(Kind::UpstreamPolicy) {
        let Some(spec) = spec_of!(document, UpstreamPolicy) else { continue };
        refuse_models(index, spec, problems);
        scoped.push(Scoped {
            document,
            plan: Arc::new(compile(index, document, spec, problems)),
            bite: Bite { mode: spec.mode, ..Bite::FULL },
            allow_override: spec.allow_override,
            targets: targets(index, &spec.target_refs, BEFORE_IDENTIFY, problems),
        });
    }
    scoped
}

/// Refuses a target on which the policy would say nothing: rules that serve models have an order of targets of their own.
fn refuse_models(index: &Index<'_>, spec: &UpstreamPolicySpec, problems: &mut Problems) {
    let serves_models = |rule: &RouteRule| rule.backend_refs.iter().any(|to| to.kind == BackendKind::Models);
    for target in spec.target_refs.iter().filter(|target| target.kind == TargetKind::Route) {
        let route = index.of(Kind::Route).find(|route| route.name.as_str() == target.name.as_str());
        let Some(route) = route.and_then(|route| spec_of!(route, Route)) else { continue };
        let is_meant = |rule: &&Spanned<RouteRule>| match (&target.section_name, &rule.name) {
            (None, _) => true,
            (Some(section), name) => name.as_ref().is_some_and(|name| name.as_str() == section.as_str()),
        };
        let mut meant = route.rules.iter().filter(is_meant).peekable();
        if meant.peek().is_some() && meant.all(|rule| serves_models(rule)) {
            let message =
                format!("Route/{} serves models, which no UpstreamPolicy touches", target.name.as_str());
            problems.push(
                Problem::new(Code::FieldsClash, target.at, "spec.targetRefs", message)
                    .hint("the order of a Model's `targets` says who is asked after a failure"),
            );
        }
    }
}

fn compile(
    index: &Index<'_>,
    document: &Document,
    spec: &UpstreamPolicySpec,
    problems: &mut Problems,
) -> UpstreamPolicyPlan {
    if spec.mode == Mode::Shadow {
        problems.push(
            Problem::new(Code::NoShadow, document.name.at, "spec.mode", "an UpstreamPolicy has no shadow")
                .hint("what it does is seen by upstreams only; use `enforce` or `off`"),
        );
    }
    UpstreamPolicyPlan {
        label: label(Kind::UpstreamPolicy, document.name.as_str()),
        first_byte: spec.first_byte_timeout.as_ref().map(|time| time.get()),
        deadline_header: spec.deadline_header.as_ref().map(|name| header_name(name)),
        retries: spec.retries.as_ref().map(|retries| compile_retries(retries, problems)),
        concurrency: spec.concurrency.as_ref().map(|concurrency| compile_concurrency(concurrency, problems)),
        mirror: spec.mirror.as_ref().map(|mirror| compile_mirror(index, mirror, problems)),
    }
}

fn compile_retries(spec: &RetriesSpec, problems: &mut Problems) -> RetriesPlan {
    if spec.attempts.get().get() > ATTEMPTS_MAX {
        let message = format!("`attempts` is more than {ATTEMPTS_MAX}");
        problems.push(
            Problem::new(Code::FieldsClash, spec.attempts.at, "spec.retries.attempts", message)
                .hint("each one is load for an upstream that is in trouble already"),
        );
    }
    if spec.budget_percent.get() > BUDGET_PERCENT_MAX {
        let message = format!("`budgetPercent` is more than {BUDGET_PERCENT_MAX}");
        problems.push(
            Problem::new(Code::FieldsClash, spec.budget_percent.at, "spec.retries.budgetPercent", message)
                .hint("more retries make an outage worse than it is"),
        );
    }
    let on = |what| spec.on.contains(&what);
    RetriesPlan {
        attempts: u8::try_from(spec.attempts.get().get().min(ATTEMPTS_MAX)).unwrap_or(1),
        on_connect: on(RetryOn::ConnectFailed),
        on_reset: on(RetryOn::Reset),
        on_timeout: on(RetryOn::Timeout),
        on_gateway_error: on(RetryOn::GatewayError),
        budget_percent: spec.budget_percent.get().min(BUDGET_PERCENT_MAX),
        backoff: spec.backoff.get(),
    }
}

fn compile_concurrency(spec: &ConcurrencySpec, problems: &mut Problems) -> ConcurrencyPlan {
    let number = |count: &Count| usize::try_from(count.get().get()).unwrap_or(usize::MAX);
    let most = number(&spec.requests);
    if let Some(from) = &spec.adaptive_from
        && number(from) > most
    {
        let message = "`adaptiveFrom` is greater than `requests`";
        problems.push(
            Problem::new(Code::FieldsClash, from.at, "spec.concurrency.adaptiveFrom", message)
                .also(spec.requests.at, "the most is written here"),
        );
    }
    ConcurrencyPlan { most, adaptive_from: spec.adaptive_from.as_ref().map(|from| number(from)) }
}

fn compile_mirror(index: &Index<'_>, spec: &MirrorSpec, problems: &mut Problems) -> MirrorPlan {
    let path = "spec.mirror.upstream";
    if let Some(document) = index.find(Kind::Upstream, &spec.upstream, path, problems)
        && let Some(upstream) = spec_of!(document, Upstream)
        && (upstream.credential.is_some() || upstream.llm.is_some())
    {
        let message = "copies carry no credentials, and this upstream adds one";
        problems.push(
            Problem::new(Code::FieldsClash, spec.upstream.at, path, message)
                .also(document.name.at, "the upstream is written here")
                .hint("name an upstream for copies, without `credential`"),
        );
    }
    MirrorPlan { upstream: spec.upstream.as_str().into(), percent: spec.percent.get() }
}
