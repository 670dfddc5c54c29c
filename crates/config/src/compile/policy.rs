//! Policies of every kind → their plans, each with what it is attached to.

use std::sync::Arc;

use bartizan_access::Roles;
use bartizan_model::{
    Mode, OnFault,
    document::{
        Document, Kind, Spec,
        common::{HeaderChanges, TargetKind},
        cors::CorsPolicySpec,
        header::{HeaderCheck, HeaderPolicySpec},
    },
    problem::{Code, Problem, Problems, shown},
    read::Spanned,
    scalar,
};
use bartizan_telemetry::RecordPlan;
use http::{HeaderName, HeaderValue, Method};

use super::{
    attach::{Scoped, targets},
    authentication, authorization, cache,
    index::{Index, spec_of},
    inspection::{self, InspectionTerms},
    label, limit, pattern, quota, record, rotation, schema, upstream_policy,
};
use crate::snapshot::{
    AuthenticationPlan, AuthorizationPlan, Bite, CachePlan, CorsPlan, HeaderChangesPlan, HeaderCheckPlan,
    HeaderPlan, OriginPattern, RotationPlan, SchemaPlan, UpstreamPolicyPlan,
};

/// The policies of a set by kind, each list in order of name.
pub(super) struct Policies<'d> {
    pub(super) authorization: Vec<Scoped<'d, AuthorizationPlan>>,
    pub(super) authentication: Vec<Scoped<'d, AuthenticationPlan>>,
    pub(super) cache: Vec<Scoped<'d, CachePlan>>,
    pub(super) cors: Vec<Scoped<'d, CorsPlan>>,
    pub(super) headers: Vec<Scoped<'d, HeaderPlan>>,
    pub(super) inspection: Vec<Scoped<'d, InspectionTerms>>,
    pub(super) schemas: Vec<Scoped<'d, SchemaPlan>>,
    pub(super) limits: Vec<Scoped<'d, bartizan_limit::Policy>>,
    pub(super) quotas: Vec<Scoped<'d, bartizan_limit::QuotaPolicy>>,
    pub(super) records: Vec<Scoped<'d, RecordPlan>>,
    pub(super) rotations: Vec<Scoped<'d, RotationPlan>>,
    pub(super) patience: Vec<Scoped<'d, UpstreamPolicyPlan>>,
}

/// Compiles all policies.
pub(super) fn compile_all<'d>(
    index: &Index<'d>,
    roles: &Arc<Roles>,
    problems: &mut Problems,
) -> Policies<'d> {
    let authentication = authentication::compile_all(index, problems);
    let secrets: Vec<HeaderName> =
        authentication.iter().flat_map(|policy| policy.plan.secret_headers().cloned()).collect();
    Policies {
        authorization: authorization::policies(index, roles, problems),
        cache: cache::policies(index, problems),
        cors: cors(index, problems),
        headers: headers(index, problems),
        inspection: inspection::policies(index, problems),
        schemas: schema::policies(index, problems),
        limits: limits(index, problems),
        quotas: quotas(index, problems),
        records: records(index, &secrets, problems),
        rotations: rotation::policies(index, problems),
        patience: upstream_policy::policies(index, problems),
        authentication,
    }
}

/// What a policy that decides about requests before the consumer is known can be attached to.
pub(super) const BEFORE_IDENTIFY: &[TargetKind] = &[TargetKind::Listener, TargetKind::Route];

/// What a policy that decides after the consumer is known can be attached to.
pub(super) const AFTER_IDENTIFY: &[TargetKind] =
    &[TargetKind::Listener, TargetKind::Route, TargetKind::Consumer];

pub(super) fn bite(mode: Mode, percent: scalar::Percent, on_fault: OnFault) -> Bite {
    Bite { mode, percent: percent.get(), on_fault }
}

fn headers<'d>(index: &Index<'d>, problems: &mut Problems) -> Vec<Scoped<'d, HeaderPlan>> {
    let mut scoped = Vec::new();
    for document in index.of(Kind::HeaderPolicy) {
        let Some(spec) = spec_of!(document, HeaderPolicy) else { continue };
        let bite = bite(spec.mode, spec.enforce_percent, spec.on_fault);
        scoped.push(Scoped {
            document,
            plan: Arc::new(header_plan(document, spec, bite, problems)),
            bite,
            allow_override: false,
            targets: targets(index, &spec.target_refs, BEFORE_IDENTIFY, problems),
        });
    }
    scoped
}

fn header_plan(
    document: &Document,
    spec: &HeaderPolicySpec,
    bite: Bite,
    problems: &mut Problems,
) -> HeaderPlan {
    for check in spec.request.check.iter().filter(|check| check.required) {
        if let Some(forbidden) = spec.request.forbid.iter().find(|name| ***name == check.name) {
            let message = format!("the header `{}` is required and forbidden", check.name.as_str());
            problems.push(
                Problem::new(Code::FieldsClash, forbidden.at, "spec.request.forbid", message)
                    .also(check.at, "required here"),
            );
        }
    }
    HeaderPlan {
        label: label(Kind::HeaderPolicy, document.name.as_str()),
        bite,
        checks: spec.request.check.iter().filter_map(|check| header_check(check, problems)).collect(),
        forbidden: spec.request.forbid.iter().map(|name| header_name(name)).collect(),
        request: header_changes(&spec.request.change, "spec.request.change", problems),
        response: header_changes(&spec.response, "spec.response", problems),
    }
}

fn header_check(check: &Spanned<HeaderCheck>, problems: &mut Problems) -> Option<HeaderCheckPlan> {
    let path = "spec.request.check";
    let pattern = match &check.pattern {
        Some(text) => Some(pattern::whole(text.as_str(), text.at, path, problems)?),
        None => None,
    };
    let asks = check.required || pattern.is_some() || check.min_length > 0 || check.max_length.is_some();
    if !asks {
        let message = format!("the check asks nothing of the header `{}`", check.name.as_str());
        problems.push(
            Problem::new(Code::MissingField, check.at, path, message)
                .hint("write `required: true`, a `pattern` or a length; to refuse the header, use `forbid`"),
        );
    }
    let length_max = check.max_length.as_ref().map_or(usize::MAX, super::listener::size);
    if check.min_length as usize > length_max {
        let message = "`minLength` is greater than `maxLength`: no value could ever pass";
        problems.push(Problem::new(Code::FieldsClash, check.at, path, message));
    }
    Some(HeaderCheckPlan {
        name: header_name(&check.name),
        required: check.required,
        pattern,
        length_min: check.min_length as usize,
        length_max,
    })
}

/// Header changes as a plan. Headers that carry framing or the verified identity cannot be changed by documents.
pub(super) fn header_changes(
    changes: &HeaderChanges,
    path: &str,
    problems: &mut Problems,
) -> HeaderChangesPlan {
    let names = changes.set.iter().chain(&changes.add).map(|field| &field.name).chain(&changes.remove);
    for name in names {
        check_reserved(name, path, "cannot be changed", problems);
    }
    let field = |field: &bartizan_model::document::common::HeaderField| {
        (header_name(&field.name), header_value(field.value.as_str()))
    };
    HeaderChangesPlan {
        remove: changes.remove.iter().map(|name| header_name(name)).collect(),
        set: changes.set.iter().map(field).collect(),
        add: changes.add.iter().map(field).collect(),
    }
}

/// Reports a header that the gateway itself sets or strips.
pub(super) fn check_reserved(
    name: &Spanned<scalar::HeaderName>,
    path: &str,
    what: &str,
    problems: &mut Problems,
) {
    if is_reserved(name.as_str()) {
        let message = format!("the header `{}` belongs to the gateway and {what}", name.as_str());
        problems.push(Problem::new(Code::ReservedHeader, name.at, path, message).hint(
            "framing, Host, X-Request-ID, X-Consumer-* and the forwarding headers are set by the gateway",
        ));
    }
}

fn is_reserved(name: &str) -> bool {
    const RESERVED: &[&str] = &[
        "connection",
        "content-length",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-client-ipaddress",
        "x-request-id",
    ];
    RESERVED.contains(&name)
        || name.starts_with("client-cert")
        || name.starts_with("x-consumer-")
        || name.starts_with("x-forwarded-")
}

fn cors<'d>(index: &Index<'d>, problems: &mut Problems) -> Vec<Scoped<'d, CorsPlan>> {
    let mut scoped = Vec::new();
    for document in index.of(Kind::CorsPolicy) {
        let Some(spec) = spec_of!(document, CorsPolicy) else { continue };
        let bite = bite(spec.mode, spec.enforce_percent, spec.on_fault);
        scoped.push(Scoped {
            document,
            plan: Arc::new(cors_plan(document, spec, bite, problems)),
            bite,
            allow_override: spec.allow_override,
            targets: targets(index, &spec.target_refs, BEFORE_IDENTIFY, problems),
        });
    }
    scoped
}

fn cors_plan(document: &Document, spec: &CorsPolicySpec, bite: Bite, problems: &mut Problems) -> CorsPlan {
    let origins: Vec<OriginPattern> =
        spec.allow_origins.iter().filter_map(|origin| origin_pattern(origin, problems)).collect();
    if spec.allow_credentials
        && let Some(any) = spec.allow_origins.iter().find(|origin| ***origin == *"*")
    {
        problems.push(
            Problem::new(
                Code::FieldsClash,
                any.at,
                "spec.allowOrigins",
                "`*` cannot be combined with `allowCredentials`",
            )
            .hint("any page on the web could then act as the signed-in user; name the origins"),
        );
    }
    let methods: Vec<Method> = spec.allow_methods.iter().map(method).collect();
    for (names, path) in
        [(&spec.allow_headers, "spec.allowHeaders"), (&spec.expose_headers, "spec.exposeHeaders")]
    {
        for name in names.iter().filter(|name| name.as_str() == "*") {
            problems.push(
                Problem::new(Code::BadValue, name.at, path, "`*` is no header")
                    .hint("name the headers one by one"),
            );
        }
    }
    let headers: Vec<HeaderName> = spec.allow_headers.iter().map(|name| header_name(name)).collect();
    let list = |names: &[HeaderName]| {
        let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
        (!names.is_empty()).then(|| header_value(&names.join(", ")))
    };
    let expose: Vec<HeaderName> = spec.expose_headers.iter().map(|name| header_name(name)).collect();
    CorsPlan {
        label: label(Kind::CorsPolicy, document.name.as_str()),
        bite,
        origins,
        methods_value: header_value(&methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")),
        methods,
        headers_value: list(&headers),
        headers,
        expose_value: list(&expose),
        max_age_value: HeaderValue::from(spec.max_age.get().as_secs()),
        credentials: spec.allow_credentials,
    }
}

fn origin_pattern(origin: &Spanned<String>, problems: &mut Problems) -> Option<OriginPattern> {
    let parsed = parse_origin(origin);
    if let Err(hint) = parsed {
        let message = format!("{} is not an origin", shown(origin));
        problems.push(Problem::new(Code::BadValue, origin.at, "spec.allowOrigins", message).hint(hint));
    }
    parsed.ok()
}

/// RFC 6454 §6.2: scheme, host, and the port unless it is the scheme's own. The error is the hint.
fn parse_origin(text: &str) -> Result<OriginPattern, &'static str> {
    const FORM: &str = "write scheme and host without a path, for example `https://app.example.com`";
    if text == "*" {
        return Ok(OriginPattern::Any);
    }
    let text = text.to_ascii_lowercase();
    let (scheme, rest) = text.split_once("://").ok_or(FORM)?;
    let usual = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return Err(FORM),
    };
    // The colons inside of brackets are those of an IPv6 address.
    let (host, port) = match rest.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
        Some((host, port)) => (host, Some(port.parse::<u16>().map_err(|_| FORM)?)),
        None => (rest, None),
    };
    if port == Some(usual) {
        return Err("leave the port out: browsers do, where it is the scheme's own");
    }
    let host: scalar::HostText = host.parse().map_err(|_| FORM)?;
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Ok(match host.suffix() {
        Some(suffix) => OriginPattern::Wildcard {
            scheme: format!("{scheme}://").into(),
            suffix: format!(".{suffix}{port}").into(),
        },
        None => OriginPattern::Exact(format!("{scheme}://{host}{port}").into()),
    })
}

fn limits<'d>(index: &Index<'d>, problems: &mut Problems) -> Vec<Scoped<'d, bartizan_limit::Policy>> {
    let mut scoped = Vec::new();
    for document in index.of(Kind::RateLimitPolicy) {
        let Some(spec) = spec_of!(document, RateLimitPolicy) else { continue };
        let targets = targets(index, &spec.target_refs, AFTER_IDENTIFY, problems);
        if let Some(plan) = limit::compile(document, spec, problems) {
            let bite = bite(spec.mode, spec.enforce_percent, spec.on_fault);
            scoped.push(Scoped { document, plan: Arc::new(plan), bite, allow_override: false, targets });
        }
    }
    scoped
}

fn quotas<'d>(index: &Index<'d>, problems: &mut Problems) -> Vec<Scoped<'d, bartizan_limit::QuotaPolicy>> {
    let mut scoped = Vec::new();
    for document in index.of(Kind::QuotaPolicy) {
        let Some(spec) = spec_of!(document, QuotaPolicy) else { continue };
        let targets = targets(index, &spec.target_refs, AFTER_IDENTIFY, problems);
        if let Some(plan) = quota::compile(document, spec, problems) {
            let bite = bite(spec.mode, spec.enforce_percent, spec.on_fault);
            scoped.push(Scoped { document, plan: Arc::new(plan), bite, allow_override: false, targets });
        }
    }
    scoped
}

fn records<'d>(
    index: &Index<'d>,
    secrets: &[HeaderName],
    problems: &mut Problems,
) -> Vec<Scoped<'d, RecordPlan>> {
    let mut scoped = Vec::new();
    for document in index.of(Kind::RecordPolicy) {
        let Some(spec) = spec_of!(document, RecordPolicy) else { continue };
        scoped.push(Scoped {
            document,
            plan: Arc::new(record::compile(document, spec, secrets, problems)),
            bite: Bite { mode: spec.mode, ..Bite::FULL },
            allow_override: spec.allow_override,
            targets: targets(index, &spec.target_refs, BEFORE_IDENTIFY, problems),
        });
    }
    scoped
}

/// The document's header name as the `http` crate's; it was checked when it was read.
pub(super) fn header_name(name: &scalar::HeaderName) -> HeaderName {
    HeaderName::from_bytes(name.as_str().as_bytes()).unwrap_or(HeaderName::from_static("x-invalid"))
}

/// The document's header value as the `http` crate's; it was checked when it was read.
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// The document's method as the `http` crate's; it was checked when it was read.
pub(super) fn method(method: &scalar::Method) -> Method {
    Method::from_bytes(method.as_str().as_bytes()).unwrap_or(Method::GET)
}
