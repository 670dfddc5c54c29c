//! Is this body what the schema says: JSON Schema over JSON bodies, all errors of a body at once.
//!
//! The crate `jsonschema` does the validating; this wraps what is dangerous about it: nothing is ever fetched (a `$ref`
//! stays inside the document), patterns run in a linear engine, bodies are read strictly (a member twice is a refusal,
//! nesting is bounded) and no value of a body is repeated. A schema that refers to itself without going deeper, which
//! would never end, is found before it is used.

mod cycle;
mod strict;
mod violation;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
pub use strict::Unreadable;
pub use violation::Violation;

/// 1 MiB of schema: larger ones are generated, and cost more memory than they are worth.
pub const SCHEMA_BYTES_MAX: usize = 1 << 20;
/// 64 levels of a schema; written ones have about ten.
pub const SCHEMA_DEPTH_MAX: usize = 64;
/// 1 MiB for the program of one pattern.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// 5,000 values: the library collects every violation before it tells the first, each with the attempts of its
/// alternatives. In a larger body only the first is told, or a hostile one would cost hundreds of megabytes.
const COLLECTED_VALUES_MAX: usize = 5_000;
/// Formats of OpenAPI that say how a program keeps a value, not what it is.
const STORAGE_FORMATS: [&str; 7] = ["int32", "int64", "float", "double", "byte", "binary", "password"];

/// How much of a body is read and told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaLimits {
    /// The deepest nesting.
    pub depth_max: usize,
    /// The most values and member names.
    pub values_max: usize,
    /// The most violations told of one body.
    pub violations_max: usize,
}

impl Default for SchemaLimits {
    fn default() -> Self {
        Self {
            // As the readers of bodies for rules.
            depth_max: 64,
            // A 1 MiB body of small numbers is far below.
            values_max: 200_000,
            // A client mends its request with these; more would only be a longer answer.
            violations_max: 32,
        }
    }
}

/// Why a schema cannot be used, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {problem}", pointer = if self.pointer.is_empty() { "/" } else { self.pointer.as_str() })]
pub struct SchemaError {
    /// A JSON pointer (RFC 6901) into the schema.
    pub pointer: String,
    /// What is wrong there.
    pub problem: String,
}

/// What a body is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Conformity {
    /// It follows the schema.
    Conforms,
    /// It does not, in these places.
    Violates {
        /// At least one, in the order of the document, at most [`SchemaLimits::violations_max`].
        violations: Vec<Violation>,
        /// Whether there are more, or may be: in a body of more than 5,000 values only the first is looked for.
        more: bool,
    },
    /// It is no JSON that can be read in one way only.
    Unreadable(Unreadable),
}

/// A compiled schema.
pub struct Schema {
    validator: Validator,
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Schema")
    }
}

impl Schema {
    /// Compiles the text of a schema. `$schema` chooses the draft; without it, it is 2020-12.
    ///
    /// # Errors
    /// What is wrong and where: no JSON, no schema, a reference that leaves the document, a pattern that the linear
    /// engine does not run, a format nobody knows.
    pub fn parse(text: &[u8]) -> Result<Self, SchemaError> {
        let at = |pointer: String, problem: String| SchemaError { pointer, problem };
        if text.len() > SCHEMA_BYTES_MAX {
            return Err(at(String::new(), format!("it is longer than {SCHEMA_BYTES_MAX} bytes")));
        }
        let limits = SchemaLimits { depth_max: SCHEMA_DEPTH_MAX, ..SchemaLimits::default() };
        let document = strict::read(text, &limits)
            .map_err(|unreadable| at(unreadable.pointer.clone(), unreadable.problem.to_string()))?;
        Self::compile(&document)
    }

    /// Compiles a schema that was read already; it must not be nested deeper than [`SCHEMA_DEPTH_MAX`].
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn compile(document: &Value) -> Result<Self, SchemaError> {
        if !(document.is_object() || document.is_boolean()) {
            return Err(SchemaError {
                pointer: String::new(),
                problem: "a schema is an object or a boolean".to_owned(),
            });
        }
        cycle::check(document)?;
        let pattern = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
        let mut options = jsonschema::options()
            .offline()
            .with_pattern_options(pattern)
            .should_validate_formats(true)
            .should_ignore_unknown_formats(false);
        for name in STORAGE_FORMATS {
            options = options.with_format(name, |_: &str| true);
        }
        let validator = options.build(document).map_err(|error| SchemaError {
            pointer: error.instance_path().as_str().to_owned(),
            // The words are about the operator's own document, and bounded.
            problem: error.to_string().chars().take(400).collect(),
        })?;
        Ok(Self { validator })
    }

    /// Judges a body.
    pub fn judge(&self, body: &[u8], limits: &SchemaLimits) -> Conformity {
        match strict::read(body, limits) {
            Ok(value) => self.judge_value(&value, limits),
            Err(unreadable) => Conformity::Unreadable(unreadable),
        }
    }

    /// Judges a value; it must not be nested deeper than the limit.
    pub fn judge_value(&self, value: &Value, limits: &SchemaLimits) -> Conformity {
        // Most bodies conform, and that is told much faster than how another does not.
        if self.validator.is_valid(value) {
            return Conformity::Conforms;
        }
        if count(value, COLLECTED_VALUES_MAX) > COLLECTED_VALUES_MAX {
            let first = self.validator.validate(value).err();
            let violation = first.map_or_else(Violation::unnamed, |error| Violation::of(&error));
            return Conformity::Violates { violations: vec![violation], more: true };
        }
        let mut errors = self.validator.iter_errors(value);
        let violations: Vec<Violation> =
            errors.by_ref().take(limits.violations_max.max(1)).map(|error| Violation::of(&error)).collect();
        if violations.is_empty() {
            // The two walks of the library disagree: the refusal stands.
            return Conformity::Violates { violations: vec![Violation::unnamed()], more: false };
        }
        Conformity::Violates { more: errors.next().is_some(), violations }
    }
}

/// How many values there are, as far as the limit.
fn count(value: &Value, limit: usize) -> usize {
    let mut count = 0;
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        count += 1;
        if count > limit {
            break;
        }
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(members) => open.extend(members.values()),
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests;
