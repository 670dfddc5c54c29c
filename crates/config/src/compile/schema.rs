//! `SchemaPolicy` → compiled schemas.

use std::sync::Arc;

use bartizan_inspect::{Files as _, schema::Schema};
use bartizan_model::{
    document::{
        Document, Kind, Spec,
        schema::{OnOtherType, SchemaPolicySpec, SchemaSource},
    },
    problem::{Code, Problem, Problems},
};

use super::{
    attach::{Scoped, targets},
    index::{Index, spec_of},
    inspection::{BODY_BYTES_MAX, TARGETS},
    label,
    policy::bite,
};
use crate::snapshot::{Bite, SchemaPlan};

/// Compiles all policies.
pub(super) fn policies<'d>(index: &Index<'d>, problems: &mut Problems) -> Vec<Scoped<'d, SchemaPlan>> {
    let mut scoped = Vec::new();
    for document in index.of(Kind::SchemaPolicy) {
        let Some(spec) = spec_of!(document, SchemaPolicy) else { continue };
        let bite = bite(spec.mode, spec.enforce_percent, spec.on_fault);
        let targets = targets(index, &spec.target_refs, TARGETS, problems);
        let Some(plan) = plan(index, document, spec, bite, problems) else { continue };
        scoped.push(Scoped { document, plan: Arc::new(plan), bite, allow_override: false, targets });
    }
    scoped
}

fn plan(
    index: &Index<'_>,
    document: &Document,
    spec: &SchemaPolicySpec,
    bite: Bite,
    problems: &mut Problems,
) -> Option<SchemaPlan> {
    let bytes = spec.body_bytes.get();
    if bytes == 0 || bytes > BODY_BYTES_MAX {
        let message = format!("between 1 byte and {} MiB of a body can be judged", BODY_BYTES_MAX >> 20);
        problems.push(Problem::new(Code::BadValue, spec.body_bytes.at, "spec.bodyBytes", message));
    }
    match schema(index, document, &spec.schema) {
        Ok(schema) => Some(SchemaPlan {
            label: label(Kind::SchemaPolicy, document.name.as_str()),
            bite,
            schema: Arc::new(schema),
            bytes_max: usize::try_from(bytes.min(BODY_BYTES_MAX)).unwrap_or(usize::MAX),
            required: spec.required,
            others_pass: *spec.on_other_type == OnOtherType::Allow,
        }),
        Err(message) => {
            problems.push(Problem::new(Code::BadSchema, spec.schema.at, "spec.schema", message));
            None
        }
    }
}

fn schema(index: &Index<'_>, document: &Document, source: &SchemaSource) -> Result<Schema, String> {
    match source {
        SchemaSource::Inline(text) => Schema::parse(text.as_bytes()).map_err(|error| error.to_string()),
        SchemaSource::File(path) => {
            let path = index.path(document, path);
            let told = |why: String| format!("`{path}`: {why}");
            let bytes = index.rule_files().read(&path).map_err(told)?;
            Schema::parse(&bytes).map_err(|error| told(error.to_string()))
        }
    }
}
