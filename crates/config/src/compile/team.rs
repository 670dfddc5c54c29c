//! `Team` → [`TeamPlan`], and who is in which.

use std::{collections::HashMap, sync::Arc};

use bartizan_model::{
    document::{Document, Kind, Spec},
    problem::{Code, Problem, Problems},
};

use super::{
    index::{Index, spec_of},
    quota,
};
use crate::snapshot::TeamPlan;

/// The teams by the names of their members.
#[derive(Default)]
pub(super) struct Teams(HashMap<Arc<str>, Arc<TeamPlan>>);

impl Teams {
    /// The team of a consumer.
    pub(super) fn of(&self, consumer: &str) -> Option<&Arc<TeamPlan>> {
        self.0.get(consumer)
    }
}

/// Compiles all teams, in order of name.
pub(super) fn compile_all(index: &Index<'_>, problems: &mut Problems) -> Teams {
    let mut teams = Teams::default();
    let mut first: HashMap<Arc<str>, &Document> = HashMap::new();
    for document in index.of(Kind::Team) {
        let Some(spec) = spec_of!(document, Team) else { continue };
        for model in &spec.models {
            index.find(Kind::Model, model, "spec.models", problems);
        }
        let plan = Arc::new(TeamPlan {
            name: document.name.as_str().into(),
            models: spec.models.iter().map(|model| model.as_str().into()).collect(),
            budget: quota::budget(document, spec, problems).map(Arc::new),
        });
        for member in &spec.members {
            index.find(Kind::Consumer, member, "spec.members", problems);
            let name: Arc<str> = member.as_str().into();
            if let Some(other) = first.insert(name.clone(), document) {
                let (one, two) = (other.name.as_str(), document.name.as_str());
                let message = format!("Consumer/{name} is in Team/{one} and in Team/{two}");
                problems.push(
                    Problem::new(Code::FieldsClash, member.at, "spec.members", message)
                        .also(other.name.at, "the other team is here")
                        .hint("a consumer is in one team: else nobody could say whose budget it uses"),
                );
            }
            teams.0.insert(name, plan.clone());
        }
    }
    teams
}
