//! Paths of documents. A path that no request can have is a mistake, never a rule that silently matches nothing.

use std::sync::Arc;

use bartizan_message::{CanonicalPath, Tolerate};
use bartizan_model::{
    document::route::{PathMatch, PathMatchType},
    problem::{Code, Problem, Problems, Span},
    scalar::PathText,
};

use super::pattern;
use crate::snapshot::{PathTest, Segment, decoded};

const PATH_VALUE: &str = "spec.rules.matches.path.value";

/// Compiles a condition on the path.
pub(super) fn path_test(path: &PathMatch, problems: &mut Problems) -> Option<PathTest> {
    let (text, at) = (path.value.as_str(), path.value.at);
    match path.type_ {
        PathMatchType::RegularExpression => {
            pattern::whole(text, at, PATH_VALUE, problems).map(PathTest::Matches)
        }
        PathMatchType::Exact => {
            canonical(text, at, PATH_VALUE, problems)?;
            Some(PathTest::Exact(decoded(text).into()))
        }
        PathMatchType::PathPrefix => {
            canonical(text, at, PATH_VALUE, problems)?;
            Some(PathTest::Prefix(decoded(text).trim_end_matches('/').into()))
        }
        PathMatchType::Template => template(text, at, problems).map(PathTest::Template),
    }
}

/// Checks that a path is one that a request can have and that an upstream can be sent.
pub(super) fn canonical(text: &str, at: Span, path: &str, problems: &mut Problems) -> Option<()> {
    let problem = match text.parse::<PathText>() {
        Err(wrong) => {
            let problem = Problem::new(Code::BadPath, at, path, wrong.message);
            match wrong.hint {
                Some(hint) => problem.hint(hint),
                None => problem,
            }
        }
        Ok(_) if text.contains(['{', '}']) => {
            let message = format!("`{text}` has a brace, which no canonical path has");
            let hint =
                "a variable needs `type: Template`; the characters themselves are written `%7B` and `%7D`";
            Problem::new(Code::BadPath, at, path, message).hint(hint)
        }
        Ok(_) => match CanonicalPath::parse(text.as_bytes(), &Tolerate::default()) {
            Ok(canonical) if canonical == text => return Some(()),
            // Both are reachable only where the two notions of a path differ: `;`, `%2F`, double encoding.
            Ok(canonical) => {
                let message = format!("`{text}` is not canonical");
                Problem::new(Code::BadPath, at, path, message).hint(format!("write `{canonical}`"))
            }
            Err(denial) => {
                let why = denial.detail.as_deref().unwrap_or("it can be read in two ways");
                let message = format!("no request with the path `{text}` is let pass: {why}");
                Problem::new(Code::BadPath, at, path, message)
            }
        },
    };
    problems.push(problem);
    None
}

fn template(text: &str, at: Span, problems: &mut Problems) -> Option<Arc<[Segment]>> {
    // With each variable replaced by a plain segment the rest must be a canonical path.
    let mut plain = String::with_capacity(text.len());
    let mut parts: Vec<Segment> = Vec::new();
    for segment in text.strip_prefix('/').unwrap_or(text).split('/') {
        plain.push('/');
        match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) if is_variable(name) => {
                plain.push('x');
                let variable = Segment::Variable(name.into());
                if parts.contains(&variable) {
                    let message = format!("two segments of the template are named `{name}`");
                    problems.push(Problem::new(Code::BadPath, at, PATH_VALUE, message));
                    return None;
                }
                parts.push(variable);
            }
            _ if segment.contains(['{', '}']) => {
                let message = format!("the segment `{segment}` is neither text nor a variable");
                problems.push(
                    Problem::new(Code::BadPath, at, PATH_VALUE, message)
                        .hint("a variable is a whole segment: `/orders/{id}/lines`"),
                );
                return None;
            }
            _ => {
                plain.push_str(segment);
                parts.push(Segment::Literal(decoded(segment).into()));
            }
        }
    }
    let plain = if text.starts_with('/') { plain.as_str() } else { text };
    canonical(plain, at, PATH_VALUE, problems)?;
    Some(parts.into())
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}
