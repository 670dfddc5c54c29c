//! One way in which a body does not follow its schema, told without any value of the body: what the schema asks for is
//! the operator's, what was sent is not repeated.

use jsonschema::{
    ValidationError,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use serde_json::Value;

use super::strict::pointer;

/// 200 characters of a sentence.
const MESSAGE_CHARS_MAX: usize = 200;

/// One violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// A JSON pointer (RFC 6901) into the body; empty for the body itself.
    pub pointer: String,
    /// The keyword of the schema that is violated.
    pub keyword: String,
    /// What the schema asks for there, lower case, without a full stop.
    pub message: String,
}

impl Violation {
    pub(super) fn of(error: &ValidationError<'_>) -> Self {
        let path = error.instance_path().as_str();
        let segments: Vec<String> =
            path.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect();
        Self {
            pointer: pointer(segments.iter().map(String::as_str)),
            keyword: error.kind().keyword().to_owned(),
            message: message(error.kind()).chars().take(MESSAGE_CHARS_MAX).collect(),
        }
    }

    pub(super) fn unnamed() -> Self {
        Self {
            pointer: String::new(),
            keyword: String::new(),
            message: "it does not follow the schema".to_owned(),
        }
    }
}

/// Only what the schema says goes into the sentence.
fn message(kind: &Kind) -> String {
    match kind {
        Kind::AdditionalItems { limit } => format!("more than {limit} items"),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            format!("{} not allowed here", counted(unexpected.len(), "member is", "members are"))
        }
        Kind::AnyOf { .. } => "none of the allowed forms fits".to_owned(),
        Kind::Constant { .. } => "not the one value that is allowed".to_owned(),
        Kind::Contains => "no item is of the kind that must be there".to_owned(),
        Kind::ContentEncoding { content_encoding } => format!("not encoded as {content_encoding}"),
        Kind::ContentMediaType { content_media_type } => {
            format!("not of the media type {content_media_type}")
        }
        Kind::Enum { .. } => "none of the values that are allowed".to_owned(),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        Kind::FalseSchema => "nothing is allowed here".to_owned(),
        Kind::Format { format } => format!("not of the format {format}"),
        Kind::MaxItems { limit } => format!("must have at most {limit} items"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::MaxProperties { limit } => format!("must have at most {limit} members"),
        Kind::MinItems { limit } => format!("must have at least {limit} items"),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MinProperties { limit } => format!("must have at least {limit} members"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::Not { .. } => "is of a form that is not allowed".to_owned(),
        Kind::OneOfMultipleValid { .. } => "more than one of the allowed forms fits".to_owned(),
        Kind::OneOfNotValid { .. } => "none of the allowed forms fits".to_owned(),
        Kind::Pattern { .. } => "does not follow the pattern".to_owned(),
        Kind::PropertyNames { .. } => "the name of a member is not allowed".to_owned(),
        Kind::Required { property: Value::String(name) } => format!("the member `{name}` is missing"),
        Kind::Required { .. } => "a member is missing".to_owned(),
        Kind::Type { kind: TypeKind::Single(kind) } => format!("must be of the type {kind}"),
        Kind::Type { kind: TypeKind::Multiple(kinds) } => {
            let names: Vec<String> = kinds.iter().map(|kind| kind.to_string()).collect();
            format!("must be of one of the types {}", names.join(", "))
        }
        Kind::UnevaluatedItems { unexpected } => {
            format!("{} not allowed here", counted(unexpected.len(), "item is", "items are"))
        }
        Kind::UniqueItems => "has an item twice".to_owned(),
        // What a library of another day, or its engine, could not decide is a refusal.
        _ => "it could not be judged".to_owned(),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
