//! `matches` of a rule → the ways to it.

use std::sync::Arc;

use bartizan_model::{
    document::route::{HeaderMatch, QueryMatch, RouteMatch, ValueMatchType},
    problem::{Code, Problem, Problems, Span},
    read::Spanned,
    scalar::Pattern,
};
use http::{HeaderName, Method};

use super::{
    path::path_test,
    pattern,
    policy::{header_name, method},
};
use crate::snapshot::{HostPattern, MethodSet, PathTest, RouteEntry, RoutePlan, ValueTest};

/// One of a rule's `matches`, compiled.
pub(super) struct Way {
    path: PathTest,
    methods: MethodSet,
    headers: Vec<(HeaderName, ValueTest)>,
    query: Vec<(Arc<str>, ValueTest)>,
}

impl Way {
    /// Compiles all conditions; all that are wrong are reported.
    pub(super) fn compile(one: &RouteMatch, problems: &mut Problems) -> Option<Self> {
        let path = path_test(&one.path, problems);
        let headers: Vec<_> = one.headers.iter().map(|header| header_test(header, problems)).collect();
        let query: Vec<_> = one.query_params.iter().map(|param| query_test(param, problems)).collect();
        let methods: Vec<Method> = one.methods.iter().map(method).collect();
        Some(Way {
            path: path?,
            methods: if methods.is_empty() { MethodSet::ANY } else { MethodSet::of(&methods) },
            headers: headers.into_iter().collect::<Option<_>>()?,
            query: query.into_iter().collect::<Option<_>>()?,
        })
    }

    /// The methods it is open for.
    pub(super) const fn methods(&self) -> MethodSet {
        self.methods
    }

    /// The way to a rule for requests to `host`.
    pub(super) fn entry(&self, host: Option<HostPattern>, plan: Arc<RoutePlan>) -> RouteEntry {
        RouteEntry {
            host,
            path: self.path.clone(),
            methods: self.methods,
            headers: self.headers.clone(),
            query: self.query.clone(),
            plan,
        }
    }
}

fn header_test(header: &Spanned<HeaderMatch>, problems: &mut Problems) -> Option<(HeaderName, ValueTest)> {
    let test = value_test(
        header.type_,
        header.value.value.as_ref(),
        header.at,
        "spec.rules.matches.headers",
        problems,
    )?;
    Some((header_name(&header.name), test))
}

fn query_test(param: &Spanned<QueryMatch>, problems: &mut Problems) -> Option<(Arc<str>, ValueTest)> {
    let test = value_test(
        param.type_,
        param.value.value.as_ref(),
        param.at,
        "spec.rules.matches.queryParams",
        problems,
    )?;
    Some((param.name.as_str().into(), test))
}

fn value_test(
    type_: ValueMatchType,
    value: Option<&Spanned<Pattern>>,
    at: Span,
    path: &str,
    problems: &mut Problems,
) -> Option<ValueTest> {
    match (type_, value) {
        (ValueMatchType::Present, None) => Some(ValueTest::Present),
        (ValueMatchType::Exact, Some(value)) => Some(ValueTest::Exact(value.as_str().into())),
        (ValueMatchType::RegularExpression, Some(value)) => {
            pattern::whole(value.as_str(), value.at, path, problems).map(ValueTest::Matches)
        }
        (ValueMatchType::Present, Some(value)) => {
            let message = "`value` has no meaning with `type: Present`";
            problems.push(Problem::new(Code::FieldsClash, value.at, path, message));
            None
        }
        (_, None) => {
            problems.push(Problem::new(
                Code::MissingField,
                at,
                path,
                format!("`type: {type_}` needs a `value`"),
            ));
            None
        }
    }
}
