//! A compiled rule of a `Route`: the flat, final list of what applies to a request that matches it.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use super::{
    authentication::AuthenticationPlan,
    authorization::AuthorizationPlan,
    inspection::{InspectionPlan, SchemaPlan},
    model::PromptPlan,
    policy::{CachePlan, CorsPlan, HeaderChangesPlan, HeaderPlan, Settled, TimeoutsPlan},
    upstream_policy::UpstreamPolicyPlan,
};

/// One rule of a route with every policy that applies to it, resolved at load time.
#[derive(Debug)]
pub struct RoutePlan {
    /// Where it stands in `Snapshot::routes`.
    pub index: usize,
    /// The route's name; the metric label `route`.
    pub route: Arc<str>,
    /// `route` or `route/rule`, for people.
    pub label: Arc<str>,
    /// What becomes of a request.
    pub action: RouteAction,
    /// Who is refused first when the gateway is overloaded.
    pub priority: Priority,
    /// Changes to path and host before the upstream.
    pub rewrite: RewritePlan,
    /// Changes to the request's headers by the route's filters.
    pub request_headers: HeaderChangesPlan,
    /// Changes to the answer's headers by the route's filters.
    pub response_headers: HeaderChangesPlan,
    /// Time limits.
    pub timeouts: TimeoutsPlan,
    /// Most bytes of a request body; the listener's limit where absent.
    pub body_bytes_max: Option<u64>,
    /// Which web pages may call.
    pub cors: Settled<CorsPlan>,
    /// Conditions on headers, wide → narrow, then by name.
    pub headers: Vec<Arc<HeaderPlan>>,
    /// How callers prove who they are; none: anyone passes as nobody, and the route is listed as an exposure.
    pub authentication: Settled<AuthenticationPlan>,
    /// Who may, wide → narrow, then by name; none: whoever was identified. A consumer's own come from its plan.
    pub authorization: Vec<Arc<AuthorizationPlan>>,
    /// Limits, wide → narrow, then by name. A consumer's own come from its plan.
    pub limits: Vec<Arc<bartizan_limit::Policy>>,
    /// Quotas, wide → narrow and then by name.
    pub quotas: Vec<Arc<bartizan_limit::QuotaPolicy>>,
    /// What requests and answers are inspected by, wide → narrow, then by name.
    pub inspection: Vec<Arc<InspectionPlan>>,
    /// What bodies must look like, wide → narrow, then by name.
    pub schemas: Vec<Arc<SchemaPlan>>,
    /// Which answers are kept; none: none.
    pub caching: Option<Arc<CachePlan>>,
    /// How patient the gateway is with its upstreams.
    pub patience: Option<Arc<UpstreamPolicyPlan>>,
    /// What is written down.
    pub record: Arc<bartizan_telemetry::RecordPlan>,
}

/// How much a rule matters when not everything can be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Never refused for overload.
    Critical,
    /// Refused when nothing less important is left.
    High,
    /// As most rules are.
    #[default]
    Normal,
    /// Refused first.
    Low,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum RouteAction {
    /// It goes to one of these upstreams.
    Forward(Backends),
    /// It goes to the models.
    Models,
    /// It is a prompt of its own, for one model.
    Prompt(Arc<PromptPlan>),
    /// It is answered with a redirect.
    Redirect(RedirectPlan),
}

/// Upstreams with their shares.
#[derive(Clone, Debug)]
pub struct Backends {
    /// Indices into `Snapshot::upstreams` with the upper end of each one's share, ascending. Never empty: shares of
    /// zero are left out, and a rule whose shares are all zero is a problem.
    pub shares: Vec<(u64, usize)>,
    /// The sum of all weights, at least one.
    pub total: u64,
}

impl RouteAction {
    /// Whether the request goes to a model, whichever.
    pub const fn asks_a_model(&self) -> bool {
        matches!(self, RouteAction::Models | RouteAction::Prompt(_))
    }
}

impl Backends {
    /// The upstream for a number drawn uniformly from all of `u64`.
    pub fn pick(&self, draw: u64) -> usize {
        let [only] = self.shares.as_slice() else {
            // A 128-bit product maps the draw onto 0..total without the bias of a remainder.
            let point = ((u128::from(draw) * u128::from(self.total)) >> 64) as u64;
            let found = self.shares.iter().find(|(end, _)| point < *end).or(self.shares.last());
            return found.map_or(0, |(_, index)| *index);
        };
        only.1
    }
}

/// A redirect.
#[derive(Clone, Debug)]
pub struct RedirectPlan {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// `http` or `https`; the request's where absent.
    pub scheme: Option<&'static str>,
    /// The host; the request's where absent.
    pub host: Option<Arc<str>>,
    /// The port; the request's or the scheme's own where absent.
    pub port: Option<u16>,
    /// The path; the request's where absent.
    pub path: Option<PathRewritePlan>,
}

/// Changes to path and host before the upstream.
#[derive(Clone, Debug, Default)]
pub struct RewritePlan {
    /// The `Host` the upstream sees.
    pub host: Option<HeaderValue>,
    /// The path the upstream sees.
    pub path: Option<PathRewritePlan>,
}

/// A changed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewritePlan {
    /// The whole path becomes this.
    Full(Arc<str>),
    /// The matched prefix becomes this (without a trailing slash, `/` stored as empty).
    Prefix(Arc<str>),
}

impl PathRewritePlan {
    /// The new path for `path`, of which the first `prefix_bytes` bytes were matched as prefix.
    ///
    /// The input is canonical and the plan's text was checked at load, so the result is a path without empty or dot
    /// segments; it is made canonical once more by the caller all the same (attack case 39).
    pub fn rewrite(&self, path: &str, prefix_bytes: usize) -> String {
        match self {
            PathRewritePlan::Full(full) => full.to_string(),
            PathRewritePlan::Prefix(new) => {
                let rest = path.get(prefix_bytes..).unwrap_or("").trim_start_matches('/');
                let mut out = String::with_capacity(new.len() + rest.len() + 1);
                out.push_str(new);
                if !rest.is_empty() || out.is_empty() {
                    out.push('/');
                }
                out.push_str(rest);
                if rest.is_empty() && path.len() > 1 && path.ends_with('/') && !out.ends_with('/') {
                    out.push('/');
                }
                out
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_rewrite_replaces_whole_segments() {
        let cases = [
            ("/v2", "/api/orders/7", "/api", "/v2/orders/7"),
            ("", "/api/orders/7", "/api", "/orders/7"),
            ("", "/api", "/api", "/"),
            ("/v2", "/api", "/api", "/v2"),
            ("/v2", "/api/", "/api", "/v2/"),
            ("/v2", "/", "/", "/v2"),
            ("/v2", "/orders", "/", "/v2/orders"),
        ];
        for (new, path, prefix, expected) in cases {
            let prefix_bytes = if prefix == "/" { 0 } else { prefix.len() };
            assert_eq!(PathRewritePlan::Prefix(new.into()).rewrite(path, prefix_bytes), expected, "{path}");
        }
    }

    #[test]
    fn shares_follow_the_weights() {
        let backends = Backends { shares: vec![(3, 7), (4, 9)], total: 4 };
        let draws = 4_000_u64;
        let first = (0..draws).filter(|i| backends.pick(i * (u64::MAX / draws)) == 7).count();
        // The draws are whole numbers, so the last one may fall on either side.
        assert!(first.abs_diff(3_000) <= 1, "{first}");
    }
}
