//! `Model` → [`ModelPlan`], and the table of public names.

use std::{collections::HashMap, sync::Arc};

use bartizan_ai::price::Price;
use bartizan_model::{
    document::{
        Document, Kind, Spec,
        model::{ModelPrice, ModelSpec, ModelTarget},
    },
    problem::{Code, Problem, Problems, Span},
    read::Spanned,
};

use super::{
    index::{Index, spec_of},
    listener::count,
};
use crate::snapshot::{ModelPlan, ModelTable, ModelTargetPlan, UpstreamPlan};

/// Compiles all models, in order of name.
pub(super) fn compile_all(
    index: &Index<'_>,
    upstreams: &[Arc<UpstreamPlan>],
    problems: &mut Problems,
) -> ModelTable {
    let mut table = ModelTable::default();
    let mut names: HashMap<&str, Span> = HashMap::new();
    for document in index.of(Kind::Model) {
        names.insert(document.name.as_str(), document.name.at);
    }
    for document in index.of(Kind::Model) {
        let Some(spec) = spec_of!(document, Model) else { continue };
        let at = table.models.len();
        table.by_name.insert(document.name.as_str().into(), at);
        for alias in &spec.aliases {
            if let Some(first) = names.insert(alias.as_str(), alias.at) {
                let message = format!("two models are called `{}`", alias.as_str());
                problems.push(
                    Problem::new(Code::DuplicateName, alias.at, "spec.aliases", message)
                        .also(first, "the first one is here"),
                );
                continue;
            }
            table.by_name.insert(alias.as_str().into(), at);
        }
        for role in &spec.roles {
            index.find(Kind::Role, role, "spec.roles", problems);
        }
        table.models.push(Arc::new(compile(index, document, spec, upstreams, problems)));
    }
    table
}

/// Whether the models a consumer may use are there.
pub(super) fn check_consumers(index: &Index<'_>, problems: &mut Problems) {
    for document in index.of(Kind::Consumer) {
        let Some(spec) = spec_of!(document, Consumer) else { continue };
        for model in &spec.models {
            index.find(Kind::Model, model, "spec.models", problems);
        }
    }
}

fn compile(
    index: &Index<'_>,
    document: &Document,
    spec: &ModelSpec,
    upstreams: &[Arc<UpstreamPlan>],
    problems: &mut Problems,
) -> ModelPlan {
    if spec.targets.is_empty() {
        let message = "a model needs a target";
        problems.push(Problem::new(Code::EmptyList, document.name.at, "spec.targets", message));
    }
    let price = spec.price.as_ref().map(|price| price_of(price));
    let targets = spec.targets.iter();
    ModelPlan {
        name: document.name.as_str().into(),
        targets: targets.filter_map(|one| target(index, document, one, price, upstreams, problems)).collect(),
        strategy: spec.strategy,
        roles: spec.roles.iter().map(|role| role.as_str().into()).collect(),
        tells_target: spec.tell_target,
        max_output: spec.max_output_tokens.as_ref().map(|tokens| u64::from(count(tokens))),
    }
}

fn target(
    index: &Index<'_>,
    document: &Document,
    target: &Spanned<ModelTarget>,
    price: Option<Price>,
    upstreams: &[Arc<UpstreamPlan>],
    problems: &mut Problems,
) -> Option<ModelTargetPlan> {
    const PATH: &str = "spec.targets.upstream";
    let found = index.find(Kind::Upstream, &target.upstream, PATH, problems)?;
    let at = upstreams.iter().position(|plan| *plan.name == *found.name.as_str())?;
    let Some(llm) = upstreams.get(at).and_then(|plan| plan.llm.as_ref()) else {
        // An upstream that is to be one and is not whole has its own problem.
        let is_http = spec_of!(found, Upstream)
            .is_none_or(|spec| spec.kind == bartizan_model::document::upstream::UpstreamKind::Http);
        if is_http {
            let message = format!("Upstream/{} is no provider of models", target.upstream.as_str());
            problems.push(
                Problem::new(Code::FieldsClash, target.upstream.at, PATH, message)
                    .hint("write `kind: Llm` and `llm` in the Upstream"),
            );
        }
        return None;
    };
    let model: Arc<str> = match &target.model {
        Some(model) => model.as_str().into(),
        None => document.name.as_str().into(),
    };
    let price = price.or_else(|| llm.list_price(&model));
    Some(ModelTargetPlan { upstream: at, model, weight: count(&target.weight), price })
}

/// Millionths of a dollar for a million tokens are picodollars for one.
fn price_of(price: &ModelPrice) -> Price {
    Price {
        input: price.input.millionths(),
        output: price.output.millionths(),
        cached_input: price.cached_input.map(|price| price.millionths()),
        cache_write: price.cache_write.map(|price| price.millionths()),
    }
}
