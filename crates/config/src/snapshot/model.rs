//! Compiled `Model`s: public names, and who serves them.

use std::{collections::HashMap, sync::Arc};

use bartizan_ai::{
    Dialect, Provider,
    price::{self, Price},
};
use bartizan_model::{Reference, document::model::ModelStrategy};

/// All models of a set.
#[derive(Clone, Debug, Default)]
pub struct ModelTable {
    /// In order of name.
    pub models: Vec<Arc<ModelPlan>>,
    /// By name and by alias.
    pub by_name: HashMap<Arc<str>, usize>,
}

impl ModelTable {
    /// The model of a public name or an alias.
    pub fn get(&self, name: &str) -> Option<&Arc<ModelPlan>> {
        self.models.get(*self.by_name.get(name)?)
    }
}

/// One model as callers know it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelPlan {
    /// Its name.
    pub name: Arc<str>,
    /// Who serves it, in order; never empty.
    pub targets: Vec<ModelTargetPlan>,
    /// Which target is asked first.
    pub strategy: ModelStrategy,
    /// Callers must have one of these roles; none: anybody whom the route's policies let pass.
    pub roles: Vec<Arc<str>>,
    /// Tokens of an answer where the caller sets no bound and the dialect demands one.
    pub max_output: Option<u64>,
    /// Whether callers are told who served.
    pub tells_target: bool,
}

/// A provider's model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelTargetPlan {
    /// Index into `Snapshot::upstreams`.
    pub upstream: usize,
    /// The provider's name of the model.
    pub model: Arc<str>,
    /// Its share.
    pub weight: u32,
    /// What a token costs; `None`: unknown.
    pub price: Option<Price>,
}

/// A compiled `PromptTemplate`.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptPlan {
    /// Its name.
    pub name: Arc<str>,
    /// The conversation and what callers fill in.
    pub template: bartizan_ai::prompt::Template,
}

/// What makes an upstream a provider of models.
#[derive(Clone, Debug, PartialEq)]
pub struct LlmPlan {
    /// Which one.
    pub provider: Provider,
    /// What it is spoken to in.
    pub dialect: Dialect,
    /// The pinned version of its interface.
    pub version: Option<Arc<str>>,
    /// What stands before its paths instead of the usual.
    pub base_path: Option<Arc<str>>,
    /// Where its keys lie, in order.
    pub keys: Vec<Reference>,
}

impl LlmPlan {
    /// What stands before the paths of a dialect.
    pub fn base_path(&self, dialect: Dialect) -> &str {
        self.base_path.as_deref().unwrap_or_else(|| self.provider.base_path(dialect))
    }

    /// The list price of one of its models.
    pub fn list_price(&self, model: &str) -> Option<Price> {
        price::list_price(self.provider, model)
    }

    /// Whether it understands the paths of a dialect as they are.
    pub fn speaks(&self, dialect: Dialect) -> bool {
        match dialect {
            Dialect::DashScope => self.provider == Provider::DashScope,
            Dialect::OpenAi => self.dialect.is_openai_like() && self.provider != Provider::Mistral,
            _ => self.dialect == dialect,
        }
    }
}
