//! Schemas: what a body must look like. The same judge for policies that bite and for those that watch.

use std::sync::Arc;

use bartizan_config::snapshot::SchemaPlan;
use bartizan_inspect::schema::{Conformity, SchemaLimits, Violation};
use bartizan_model::{Denial, Reason};
use bytes::Bytes;
use http::{HeaderMap, header};

use super::pool::{JudgePool, Trouble};

/// What stands against a body.
pub(crate) struct Objection {
    pub(crate) denial: Denial,
    pub(crate) violations: Vec<Violation>,
}

impl Objection {
    fn new(plan: &SchemaPlan, detail: impl Into<Box<str>>, violations: Vec<Violation>) -> Self {
        let denial = Denial::new(Reason::SchemaViolation).because(detail).by(plan.label.clone());
        Objection { denial, violations }
    }

    /// There is no body where one is asked for.
    pub(crate) fn missing(plan: &SchemaPlan) -> Self {
        let violation = violation("", "required", "a body is required");
        Self::new(plan, "a body is required", vec![violation])
    }

    /// The body is not JSON by its type.
    pub(crate) fn other_type(plan: &SchemaPlan) -> Self {
        let violation = violation("", "type", "a body of the type application/json is required");
        Self::new(plan, "the body is not JSON by its Content-Type", vec![violation])
    }
}

fn violation(pointer: &str, keyword: &str, message: &str) -> Violation {
    Violation { pointer: pointer.to_owned(), keyword: keyword.to_owned(), message: message.to_owned() }
}

/// Whether a body is JSON by its one type.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
    kind.and_then(bartizan_inspect::body::Processor::for_content_type)
        == Some(bartizan_inspect::body::Processor::Json)
}

/// What stands against a body by a schema.
pub(crate) async fn judge(
    pool: &JudgePool,
    plan: &Arc<SchemaPlan>,
    body: &Bytes,
) -> Result<Option<Objection>, Trouble> {
    let (schema, bytes) = (plan.schema.clone(), body.clone());
    let judged = pool.weigh(body.len(), move || schema.judge(&bytes, &SchemaLimits::default())).await?;
    Ok(match judged {
        Conformity::Conforms => None,
        Conformity::Unreadable(unreadable) => {
            let detail = format!("at `{}`: {}", unreadable.pointer, unreadable.problem);
            let violation = violation(&unreadable.pointer, "", unreadable.problem);
            Some(Objection::new(plan, detail, vec![violation]))
        }
        Conformity::Violates { violations, more } => {
            let lines: Vec<String> =
                violations.iter().map(|one| format!("at `{}`: {}", one.pointer, one.message)).collect();
            let more = if more { "; and more" } else { "" };
            Some(Objection::new(plan, format!("{}{more}", lines.join("; ")), violations))
        }
    })
}
