//! `Route`: what is published. Shapes follow the Kubernetes Gateway API's HTTPRoute.

use super::common::{HeaderChanges, ParentRef};
use crate::{
    read::Spanned,
    scalar::{ByteSize, HeaderName, HostText, Method, Name, PathText, Pattern, Time},
};

crate::document! {
    /// What is published: which requests go where. Only what a route names is reachable.
    pub struct RouteSpec {
        /// The listeners it is attached to; none means all.
        pub parent_refs: Vec<ParentRef> = Vec::new(),
        /// Host names, exact or `*.suffix`; none means any host of the listener.
        pub hostnames: Vec<Spanned<HostText>> = Vec::new(),
        /// The rules; the most specific one that matches is used.
        pub rules: Vec<Spanned<RouteRule>>,
    }
}

crate::document! {
    /// Which requests, and what becomes of them.
    pub struct RouteRule {
        /// A name for `sectionName`, metrics and `explain`.
        pub name: Option<Spanned<Name>>,
        /// A request matches the rule if it matches one of these; none means every path.
        pub matches: Vec<Spanned<RouteMatch>> = Vec::new(),
        /// Changes on the way, each kind at most once.
        pub filters: Vec<Spanned<RouteFilter>> = Vec::new(),
        /// Where requests go, shared out by weight. Required unless a filter redirects.
        pub backend_refs: Vec<Spanned<BackendRef>> = Vec::new(),
        /// Time limits.
        pub timeouts: RouteTimeouts = RouteTimeouts::default(),
        /// Most bytes of a request body; the listener's `admission.bodyBytes` where absent.
        pub body_bytes: Option<ByteSize>,
        /// Who is refused first when the gateway is overloaded.
        pub priority: RoutePriority = RoutePriority::Normal,
    }
}

crate::choice! {
    /// How much a rule matters when not everything can be served.
    pub enum RoutePriority {
        /// Never refused for overload: for the health checks of a load balancer.
        Critical = "Critical",
        /// Refused when nothing less important is left.
        High = "High",
        /// As most rules are.
        Normal = "Normal",
        /// Refused first.
        Low = "Low",
    }
}

crate::document! {
    /// Conditions that all must hold.
    pub struct RouteMatch: Default {
        /// The path.
        pub path: PathMatch = PathMatch::default(),
        /// The method is one of these; none means any.
        pub methods: Vec<Method> = Vec::new(),
        /// Conditions on headers.
        pub headers: Vec<Spanned<HeaderMatch>> = Vec::new(),
        /// Conditions on query parameters.
        pub query_params: Vec<Spanned<QueryMatch>> = Vec::new(),
    }
}

crate::choice! {
    /// How a path is compared: always the canonical path, so that `/%40me` and `/@me` are one.
    pub enum PathMatchType {
        /// The whole path.
        Exact = "Exact",
        /// Whole segments from the start: `/orders` matches `/orders` and `/orders/7`, not `/orders-old`.
        PathPrefix = "PathPrefix",
        /// The whole path, where `{name}` stands for one segment: `/orders/{id}`.
        Template = "Template",
        /// A regular expression (linear time, RE2 syntax) that must match the whole path, percent-decoded.
        RegularExpression = "RegularExpression",
    }
}

crate::document! {
    /// A condition on the path.
    pub struct PathMatch: Default {
        /// How it is compared.
        pub type_: PathMatchType as "type" = PathMatchType::PathPrefix,
        /// What it is compared with.
        pub value: Spanned<String> = Spanned::from("/".to_owned()),
    }
}

crate::choice! {
    /// How a header or query parameter is compared.
    pub enum ValueMatchType {
        /// The whole value.
        Exact = "Exact",
        /// A regular expression that must match the whole value.
        RegularExpression = "RegularExpression",
        /// It is there, whatever its value.
        Present = "Present",
    }
}

crate::document! {
    /// A condition on a header. Where the header is sent more than once, every value must match.
    pub struct HeaderMatch {
        /// How it is compared.
        pub type_: ValueMatchType as "type" = ValueMatchType::Exact,
        /// The header's name.
        pub name: HeaderName,
        /// The value or pattern; not with `type: Present`.
        pub value: Option<Spanned<Pattern>>,
    }
}

crate::document! {
    /// A condition on a query parameter. Where it is sent more than once, every value must match.
    pub struct QueryMatch {
        /// How it is compared.
        pub type_: ValueMatchType as "type" = ValueMatchType::Exact,
        /// The parameter's name, decoded.
        pub name: String,
        /// The value or pattern, decoded; not with `type: Present`.
        pub value: Option<Spanned<Pattern>>,
    }
}

crate::choice! {
    /// What a filter does.
    pub enum FilterType {
        /// Change the headers of the request before it goes to the upstream.
        RequestHeaderModifier = "RequestHeaderModifier",
        /// Change the headers of the answer before it goes to the caller.
        ResponseHeaderModifier = "ResponseHeaderModifier",
        /// Change path or host before the request goes to the upstream.
        UrlRewrite = "URLRewrite",
        /// Answer with a redirect.
        RequestRedirect = "RequestRedirect",
    }
}

crate::document! {
    /// One change; the field named like `type` is filled.
    pub struct RouteFilter {
        /// What it does.
        pub type_: FilterType as "type",
        /// With `type: RequestHeaderModifier`.
        pub request_header_modifier: Option<HeaderChanges>,
        /// With `type: ResponseHeaderModifier`.
        pub response_header_modifier: Option<HeaderChanges>,
        /// With `type: URLRewrite`.
        pub url_rewrite: Option<UrlRewrite>,
        /// With `type: RequestRedirect`.
        pub request_redirect: Option<RequestRedirect>,
    }
}

crate::document! {
    /// A changed URL.
    pub struct UrlRewrite {
        /// The `Host` that the upstream sees; the caller's where absent.
        pub hostname: Option<Spanned<HostText>>,
        /// The path that the upstream sees.
        pub path: Option<PathRewrite>,
    }
}

crate::choice! {
    /// How a path is rewritten.
    pub enum PathRewriteType {
        /// The whole path becomes `value`.
        ReplaceFullPath = "ReplaceFullPath",
        /// The matched prefix becomes `value`; only with `path.type: PathPrefix`.
        ReplacePrefixMatch = "ReplacePrefixMatch",
    }
}

crate::document! {
    /// A changed path.
    pub struct PathRewrite {
        /// How it is rewritten.
        pub type_: PathRewriteType as "type",
        /// What stands there instead.
        pub value: Spanned<PathText>,
    }
}

crate::document! {
    /// A redirect instead of an answer.
    pub struct RequestRedirect {
        /// `http` or `https`; the request's where absent.
        pub scheme: Option<RedirectScheme>,
        /// The host; the request's where absent.
        pub hostname: Option<Spanned<HostText>>,
        /// The port; the scheme's own where absent.
        pub port: Option<u16>,
        /// The path; the request's where absent.
        pub path: Option<PathRewrite>,
        /// 301, 302, 303, 307 or 308.
        pub status_code: Spanned<u16> = Spanned::from(302),
    }
}

crate::choice! {
    /// The scheme of a redirect.
    pub enum RedirectScheme {
        /// Clear text.
        Http = "http",
        /// TLS.
        Https = "https",
    }
}

crate::choice! {
    /// What a backend is.
    pub enum BackendKind {
        /// An Upstream.
        Upstream = "Upstream",
        /// All Models: the rule serves OpenAI's paths to every model, and the providers' own paths. Stands alone.
        Models = "Models",
        /// A PromptTemplate: the rule is that prompt's own API. Stands alone.
        PromptTemplate = "PromptTemplate",
    }
}

crate::document! {
    /// An upstream and its share, the models, or a prompt.
    pub struct BackendRef {
        /// What it is.
        pub kind: BackendKind = BackendKind::Upstream,
        /// The name of the upstream or the prompt; not with `kind: Models`.
        pub name: Option<Spanned<Name>>,
        /// Its share relative to the others; 0 sends nothing.
        pub weight: u32 = 1,
    }
}

crate::document! {
    /// Time limits of a request.
    pub struct RouteTimeouts: Default {
        /// From the complete head to the last byte of the answer, retries included; an answer that streams on
        /// (SSE, WebSocket, gRPC) ends then too. `0s` means no limit.
        pub request: Time = Time::seconds(0),
        /// From sending the request to the head of the upstream's answer. The default means ten minutes on a rule that
        /// serves models.
        pub backend_request: Spanned<Time> = Time::seconds(30).into(),
        /// The longest silence within the upstream's answer.
        pub idle: Spanned<Time> = Time::seconds(300).into(),
    }
}
