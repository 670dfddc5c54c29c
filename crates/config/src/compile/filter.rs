//! Filters of a rule: what is changed on the way, or answered instead.

use bartizan_model::{
    document::route::{
        FilterType, PathMatchType, PathRewrite, PathRewriteType, RedirectScheme, RequestRedirect,
        RouteFilter, RouteMatch, RouteRule, UrlRewrite,
    },
    problem::{Code, Problem, Problems, Span},
    read::Spanned,
    scalar::HostText,
};
use http::{HeaderValue, StatusCode};

use super::{path::canonical, policy::header_changes};
use crate::snapshot::{HeaderChangesPlan, PathRewritePlan, RedirectPlan, RewritePlan};

const PATH: &str = "spec.rules.filters";

/// What the filters of a rule say.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) rewrite: RewritePlan,
    pub(super) request_headers: HeaderChangesPlan,
    pub(super) response_headers: HeaderChangesPlan,
    pub(super) redirect: Option<RedirectPlan>,
    /// Whether a redirect is asked for, be it a valid one or not.
    pub(super) redirects: bool,
}

impl Parts {
    /// Compiles all filters; each kind may stand once.
    pub(super) fn compile(
        rule: &RouteRule,
        matches: &[Spanned<RouteMatch>],
        problems: &mut Problems,
    ) -> Self {
        let mut parts = Parts::default();
        let mut seen: Vec<FilterType> = Vec::new();
        for filter in &rule.filters {
            if seen.contains(&filter.type_) {
                let message = format!("the filter {} is written twice", filter.type_);
                problems.push(Problem::new(Code::FieldsClash, filter.at, PATH, message));
            }
            seen.push(filter.type_);
            parts.filter(filter, matches, problems);
        }
        let idle =
            |type_: &FilterType| matches!(type_, FilterType::UrlRewrite | FilterType::RequestHeaderModifier);
        parts.redirects = seen.contains(&FilterType::RequestRedirect);
        if parts.redirects
            && let Some(filter) = rule.filters.iter().find(|filter| idle(&filter.type_))
        {
            let message = format!("{} has no meaning beside a redirect", filter.type_);
            problems.push(
                Problem::new(Code::FieldsClash, filter.at, PATH, message)
                    .hint("a redirect is answered by the gateway; nothing is sent to an upstream"),
            );
        }
        parts
    }

    fn filter(
        &mut self,
        filter: &Spanned<RouteFilter>,
        matches: &[Spanned<RouteMatch>],
        problems: &mut Problems,
    ) {
        let written = [
            (FilterType::RequestHeaderModifier, filter.request_header_modifier.is_some()),
            (FilterType::ResponseHeaderModifier, filter.response_header_modifier.is_some()),
            (FilterType::UrlRewrite, filter.url_rewrite.is_some()),
            (FilterType::RequestRedirect, filter.request_redirect.is_some()),
        ];
        if written.iter().any(|(type_, is_written)| *is_written != (*type_ == filter.type_)) {
            problems.push(
                Problem::new(
                    Code::NotExactlyOne,
                    filter.at,
                    PATH,
                    "a filter needs exactly the field named like its `type`",
                )
                .hint(format!("with `type: {}` write the field of that name and no other", filter.type_)),
            );
            return;
        }
        if let Some(changes) = &filter.request_header_modifier {
            self.request_headers = header_changes(changes, PATH, problems);
        }
        if let Some(changes) = &filter.response_header_modifier {
            self.response_headers = header_changes(changes, PATH, problems);
        }
        if let Some(rewrite) = &filter.url_rewrite {
            self.rewrite = rewrite_plan(rewrite, filter.at, matches, problems);
        }
        if let Some(spec) = &filter.request_redirect {
            self.redirect = redirect_plan(spec, filter.at, matches, problems);
        }
    }
}

fn rewrite_plan(
    rewrite: &UrlRewrite,
    at: Span,
    matches: &[Spanned<RouteMatch>],
    problems: &mut Problems,
) -> RewritePlan {
    if rewrite.hostname.is_none() && rewrite.path.is_none() {
        let message = "the rewrite changes nothing";
        problems.push(
            Problem::new(Code::MissingField, at, PATH, message).hint("write `hostname`, `path` or both"),
        );
    }
    RewritePlan {
        host: rewrite.hostname.as_ref().and_then(|host| {
            check_host(host, problems);
            HeaderValue::from_str(host.as_str()).ok()
        }),
        path: rewrite.path.as_ref().map(|path| path_rewrite(path, at, matches, problems)),
    }
}

fn check_host(host: &Spanned<HostText>, problems: &mut Problems) {
    if host.suffix().is_some() {
        let message = "a request cannot be sent to a wildcard host";
        problems.push(Problem::new(Code::BadValue, host.at, PATH, message));
    }
}

fn path_rewrite(
    path: &PathRewrite,
    at: Span,
    matches: &[Spanned<RouteMatch>],
    problems: &mut Problems,
) -> PathRewritePlan {
    // Checked here, because a rewritten path that is not canonical would be refused with each request.
    canonical(path.value.as_str(), path.value.at, PATH, problems);
    match path.type_ {
        PathRewriteType::ReplaceFullPath => PathRewritePlan::Full(path.value.as_str().into()),
        PathRewriteType::ReplacePrefixMatch => {
            if matches.iter().any(|one| one.path.type_ != PathMatchType::PathPrefix) {
                let message = "`ReplacePrefixMatch` needs `path.type: PathPrefix` in every match";
                problems.push(Problem::new(Code::FieldsClash, at, PATH, message));
            }
            PathRewritePlan::Prefix(path.value.as_str().trim_end_matches('/').into())
        }
    }
}

fn redirect_plan(
    spec: &RequestRedirect,
    at: Span,
    matches: &[Spanned<RouteMatch>],
    problems: &mut Problems,
) -> Option<RedirectPlan> {
    let before = problems.total();
    if !matches!(*spec.status_code, 301 | 302 | 303 | 307 | 308) {
        problems.push(
            Problem::new(Code::BadValue, spec.status_code.at, PATH, "this status does not redirect")
                .hint("write 301, 302, 303, 307 or 308"),
        );
    }
    if spec.scheme.is_none() && spec.hostname.is_none() && spec.port.is_none() && spec.path.is_none() {
        let message = "the redirect leads back to the same address";
        problems.push(
            Problem::new(Code::MissingField, at, PATH, message)
                .hint("write `scheme`, `hostname`, `port` or `path`"),
        );
    }
    if spec.port == Some(0) {
        problems.push(Problem::new(Code::BadValue, at, PATH, "a redirect cannot lead to port 0"));
    }
    if let Some(host) = &spec.hostname {
        check_host(host, problems);
    }
    let path = spec.path.as_ref().map(|path| path_rewrite(path, at, matches, problems));
    if problems.total() > before {
        return None;
    }
    Some(RedirectPlan {
        status: StatusCode::from_u16(*spec.status_code).ok()?,
        scheme: spec.scheme.map(RedirectScheme::as_str),
        host: spec.hostname.as_ref().map(|host| host.as_str().into()),
        port: spec.port,
        path,
    })
}
