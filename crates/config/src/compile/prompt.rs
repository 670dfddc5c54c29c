//! `PromptTemplate` → [`PromptPlan`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bartizan_ai::{
    chat::Role,
    json::{Json, Object},
    prompt::{Piece, TEXT_BYTES, Template, Turn, Variable, VariableKind, escaped, is_name, pieces},
};
use bartizan_model::{
    document::{
        Document, Kind, Spec,
        prompt::{PromptRole, PromptTemplateSpec, PromptType, PromptVariable},
    },
    problem::{Code, Problem, Problems, shown},
    read::Spanned,
};

use super::{
    index::{Index, spec_of},
    listener::count,
};
use crate::snapshot::PromptPlan;

/// The prompts by name.
pub(super) type Prompts = HashMap<Arc<str>, Arc<PromptPlan>>;

/// Compiles all prompts, in order of name.
pub(super) fn compile_all(index: &Index<'_>, problems: &mut Problems) -> Prompts {
    let mut prompts = Prompts::default();
    for document in index.of(Kind::PromptTemplate) {
        let Some(spec) = spec_of!(document, PromptTemplate) else { continue };
        let name: Arc<str> = document.name.as_str().into();
        let template = compile(index, document, spec, problems);
        prompts.insert(name.clone(), Arc::new(PromptPlan { name, template }));
    }
    prompts
}

fn compile(
    index: &Index<'_>,
    document: &Document,
    spec: &PromptTemplateSpec,
    problems: &mut Problems,
) -> Template {
    index.find(Kind::Model, &spec.model, "spec.model", problems);
    if spec.messages.is_empty() {
        let message = "a prompt needs a message";
        problems.push(Problem::new(Code::EmptyList, document.name.at, "spec.messages", message));
    }
    let variables = variables(&spec.variables, problems);
    let mut settings = Object::new();
    if let Some(most) = &spec.max_output_tokens {
        settings.set("max_tokens", u64::from(count(most)));
    }
    if let Some(percent) = &spec.temperature_percent {
        if **percent > 200 {
            let message = "a temperature is between 0 and 200 hundredths";
            problems.push(Problem::new(Code::BadValue, percent.at, "spec.temperaturePercent", message));
        }
        let text = format!("{}.{:02}", **percent / 100, **percent % 100);
        settings.set("temperature", Json::read(text.as_bytes()).unwrap_or_default());
    }
    let mut placed = Vec::new();
    let turns = spec.messages.iter().map(|message| {
        let pieces = pieces(&message.content).unwrap_or_else(|wrong| {
            problems.push(
                Problem::new(Code::BadValue, message.content.at, "spec.messages.content", wrong)
                    .hint("a place is written `{{name}}`"),
            );
            Vec::new()
        });
        for piece in &pieces {
            let Piece::Place(name) = piece else { continue };
            placed.push(name.clone());
            if !variables.contains_key(name) {
                let wrong = format!("there is no variable {}", shown(name));
                problems.push(
                    Problem::new(Code::UnknownReference, message.content.at, "spec.messages.content", wrong)
                        .hint("declare it in `variables`"),
                );
            }
        }
        let role = match message.role {
            PromptRole::System => Role::System,
            PromptRole::User => Role::User,
            PromptRole::Assistant => Role::Assistant,
        };
        Turn { role, pieces }
    });
    let turns = turns.collect();
    for variable in spec.variables.iter().filter(|variable| !placed.contains(&*variable.name)) {
        let message = format!("the variable {} has no place in the conversation", shown(&variable.name));
        problems.push(
            Problem::new(Code::FieldsClash, variable.name.at, "spec.variables.name", message).warning(),
        );
    }
    Template { model: spec.model.as_str().to_owned(), turns, variables, settings }
}

fn variables(specs: &[Spanned<PromptVariable>], problems: &mut Problems) -> BTreeMap<String, Variable> {
    const PATH: &str = "spec.variables";
    let mut variables = BTreeMap::new();
    for spec in specs {
        if !is_name(&spec.name) {
            let message = format!("{} cannot name a variable", shown(&spec.name));
            problems.push(
                Problem::new(Code::BadValue, spec.name.at, "spec.variables.name", message)
                    .hint("write letters, digits and `_`, a letter first"),
            );
            continue;
        }
        let Some(kind) = kind(spec, problems) else { continue };
        let default = spec.default.as_ref().map(|default| default_of(&kind, default, problems));
        if variables.insert(spec.name.value.clone(), Variable { kind, default }).is_some() {
            let message = format!("there are two variables {}", shown(&spec.name));
            problems.push(Problem::new(Code::DuplicateName, spec.name.at, PATH, message));
        }
    }
    variables
}

fn kind(spec: &Spanned<PromptVariable>, problems: &mut Problems) -> Option<VariableKind> {
    const PATH: &str = "spec.variables";
    let is = |kind: PromptType| spec.type_ == kind;
    let clashes = [
        (spec.max_bytes.as_ref().map(|one| one.at), is(PromptType::Text), "maxBytes", "Text"),
        (spec.minimum.as_ref().map(|one| one.at), is(PromptType::Integer), "minimum", "Integer"),
        (spec.maximum.as_ref().map(|one| one.at), is(PromptType::Integer), "maximum", "Integer"),
        (spec.values.first().map(|one| one.at), is(PromptType::Choice), "values", "Choice"),
    ];
    for (at, fits, field, kind) in clashes {
        if let Some(at) = at.filter(|_| !fits) {
            let message = format!("`{field}` has a meaning with `type: {kind}` only");
            problems.push(Problem::new(Code::FieldsClash, at, PATH, message));
        }
    }
    Some(match spec.type_ {
        PromptType::Text => {
            let bytes =
                spec.max_bytes.as_ref().map(|bytes| usize::try_from(bytes.get()).unwrap_or(usize::MAX));
            VariableKind::Text { bytes_max: bytes.unwrap_or(TEXT_BYTES) }
        }
        PromptType::Integer => {
            let least = spec.minimum.as_ref().map_or(0, |one| i64::from(**one));
            let most = spec.maximum.as_ref().map_or(i64::MAX, |one| i64::from(**one));
            if least > most {
                let message = "`minimum` is above `maximum`";
                problems.push(Problem::new(Code::FieldsClash, spec.at, PATH, message));
            }
            VariableKind::Integer { least, most }
        }
        PromptType::Boolean => VariableKind::Boolean,
        PromptType::Choice if spec.values.is_empty() => {
            let message = "a choice needs `values`";
            problems.push(Problem::new(Code::MissingField, spec.at, PATH, message));
            return None;
        }
        PromptType::Choice => {
            VariableKind::Choice(spec.values.iter().map(|value| value.value.clone()).collect())
        }
    })
}

/// A default as it is written into the conversation. It is the author's, so a text may hold what it likes.
fn default_of(kind: &VariableKind, default: &Spanned<String>, problems: &mut Problems) -> String {
    let fits = match kind {
        VariableKind::Text { .. } => return escaped(default),
        VariableKind::Integer { least, most } => {
            default.parse().is_ok_and(|number: i64| (*least..=*most).contains(&number))
        }
        VariableKind::Boolean => matches!(default.as_str(), "true" | "false"),
        VariableKind::Choice(words) => words.contains(default),
    };
    if !fits {
        let message = format!("{} is no value of the variable", shown(default));
        problems.push(Problem::new(Code::BadValue, default.at, "spec.variables.default", message));
    }
    default.value.clone()
}
