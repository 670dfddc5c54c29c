//! `Upstream.spec.credential`, in its several forms, and what a token exchange asks of routes.

use std::{collections::BTreeSet, sync::Arc};

use bartizan_model::{
    Reference,
    document::{
        Document, Kind, Spec,
        upstream::{
            BasicCredentialSpec, ClientCredentialsSpec, CredentialSpec, SubjectTokenType,
            TokenClientAuthentication, TokenExchangeSpec,
        },
    },
    problem::{Code, Problem, Problems, Span, shown},
    read::Spanned,
    scalar::{FetchUrl, HeaderName, Name, Time},
};

use super::{
    index::{Index, spec_of},
    policy::check_reserved,
    positive,
};
use crate::snapshot::{
    BasicCredentialPlan, CredentialPlan, ExchangePlan, HeaderCredentialPlan, MethodPlan, RouteAction,
    RoutePlan, TokenPlan, UpstreamPlan,
};

const PATH: &str = "spec.credential";

/// The credential, if what is written is exactly one.
pub(super) fn compile(
    index: &Index<'_>,
    document: &Document,
    spec: &Spanned<CredentialSpec>,
    problems: &mut Problems,
) -> Option<CredentialPlan> {
    let forms = [
        spec.header.is_some(),
        spec.basic.is_some(),
        spec.bearer.is_some(),
        spec.client_credentials.is_some(),
        spec.token_exchange.is_some(),
    ];
    if forms.into_iter().filter(|is_written| *is_written).count() != 1 {
        let message = "a credential is exactly one of `header`, `basic`, `bearer`, `clientCredentials` and `tokenExchange`";
        problems.push(Problem::new(Code::NotExactlyOne, spec.at, PATH, message));
        return None;
    }
    if spec.header.is_none()
        && (spec.prefix.is_some() || spec.value_ref.is_some() || spec.secret_name.is_some())
    {
        let message = "`prefix`, `valueRef` and `secretName` belong to `header`";
        problems.push(Problem::new(Code::FieldsClash, spec.at, PATH, message));
    }
    if let Some(basic) = &spec.basic {
        return self::basic(index, document, basic, problems).map(CredentialPlan::Basic);
    }
    if let Some(bearer) = &spec.bearer {
        let path = "spec.credential.bearer";
        let written = (&bearer.token_ref, &bearer.secret_name);
        let secret = one_secret(index, document, written, (bearer.at, "tokenRef", path), problems)?;
        let (header, prefix) = ("authorization".into(), "Bearer ".into());
        return Some(CredentialPlan::Header(HeaderCredentialPlan { header, prefix, secret }));
    }
    if let Some(client) = &spec.client_credentials {
        let asking = Asking::of_client(client);
        return token(index, document, &asking, problems).map(CredentialPlan::Token);
    }
    if let Some(spec) = &spec.token_exchange {
        return exchange(index, document, spec, problems).map(CredentialPlan::Exchange);
    }
    let header = spec.header.as_ref()?;
    self::header(index, document, spec, header, problems).map(CredentialPlan::Header)
}

fn header(
    index: &Index<'_>,
    document: &Document,
    spec: &Spanned<CredentialSpec>,
    header: &Spanned<HeaderName>,
    problems: &mut Problems,
) -> Option<HeaderCredentialPlan> {
    check_reserved(header, "spec.credential.header", "cannot carry a credential", problems);
    let written = (&spec.value_ref, &spec.secret_name);
    let secret = one_secret(index, document, written, (spec.at, "valueRef", PATH), problems)?;
    let prefix = spec.prefix.as_ref().filter(|prefix| !prefix.as_str().is_empty());
    let prefix = prefix.map_or("".into(), |prefix| format!("{} ", prefix.as_str()).into());
    Some(HeaderCredentialPlan { header: header.as_str().into(), prefix, secret })
}

fn basic(
    index: &Index<'_>,
    document: &Document,
    spec: &Spanned<BasicCredentialSpec>,
    problems: &mut Problems,
) -> Option<BasicCredentialPlan> {
    let path = "spec.credential.basic";
    // RFC 7617 §2: the first colon ends the name.
    if spec.user.is_empty() || spec.user.contains(':') || spec.user.chars().any(char::is_control) {
        let message = format!("{} cannot be a name with a password", shown(&spec.user));
        problems.push(Problem::new(Code::BadText, spec.user.at, format!("{path}.user"), message));
    }
    let written = (&spec.password_ref, &spec.secret_name);
    let password = one_secret(index, document, written, (spec.at, "passwordRef", path), problems)?;
    Some(BasicCredentialPlan { user: spec.user.as_str().into(), password })
}

/// What both ways to a token endpoint are written with.
struct Asking<'s> {
    at: Span,
    path: &'static str,
    token_url: &'s Spanned<FetchUrl>,
    client_id: &'s Spanned<String>,
    secret: (&'s Option<Reference>, &'s Option<Spanned<Name>>),
    scopes: &'s [Spanned<String>],
    audience: Option<&'s Spanned<String>>,
    authentication: TokenClientAuthentication,
    authorities: Option<&'s Reference>,
    private_network: bool,
    clear_text: bool,
    timeout: &'s Spanned<Time>,
}

impl<'s> Asking<'s> {
    fn of_client(spec: &'s Spanned<ClientCredentialsSpec>) -> Self {
        Asking {
            at: spec.at,
            path: "spec.credential.clientCredentials",
            token_url: &spec.token_url,
            client_id: &spec.client_id,
            secret: (&spec.client_secret_ref, &spec.secret_name),
            scopes: &spec.scopes,
            audience: spec.audience.as_ref(),
            authentication: spec.authentication,
            authorities: spec.authorities_ref.as_ref(),
            private_network: spec.allow_private_network,
            clear_text: spec.danger_allow_clear_text,
            timeout: &spec.timeout,
        }
    }

    fn of_exchange(spec: &'s Spanned<TokenExchangeSpec>) -> Self {
        Asking {
            at: spec.at,
            path: "spec.credential.tokenExchange",
            token_url: &spec.token_url,
            client_id: &spec.client_id,
            secret: (&spec.client_secret_ref, &spec.secret_name),
            scopes: &spec.scopes,
            audience: spec.audience.as_ref(),
            authentication: spec.authentication,
            authorities: spec.authorities_ref.as_ref(),
            private_network: spec.allow_private_network,
            clear_text: spec.danger_allow_clear_text,
            timeout: &spec.timeout,
        }
    }
}

fn exchange(
    index: &Index<'_>,
    document: &Document,
    spec: &Spanned<TokenExchangeSpec>,
    problems: &mut Problems,
) -> Option<ExchangePlan> {
    if let Some(resource) = spec.resource.as_ref().filter(|resource| !is_resource(resource)) {
        let message = format!("{} is no absolute URI without a fragment", shown(resource));
        let path = "spec.credential.tokenExchange.resource";
        problems.push(Problem::new(Code::BadUrl, resource.at, path, message));
    }
    let token = token(index, document, &Asking::of_exchange(spec), problems)?;
    Some(ExchangePlan {
        token,
        resource: spec.resource.as_ref().map(|resource| resource.as_str().into()),
        // RFC 8693 §3.
        subject_token_type: match spec.subject_token_type {
            SubjectTokenType::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            SubjectTokenType::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        },
    })
}

fn token(
    index: &Index<'_>,
    document: &Document,
    spec: &Asking<'_>,
    problems: &mut Problems,
) -> Option<TokenPlan> {
    let path = spec.path;
    if !spec.token_url.is_https() && !spec.clear_text {
        let message = "a token endpoint is asked over TLS: it is sent the gateway's secret";
        problems.push(
            Problem::new(Code::BadUrl, spec.token_url.at, format!("{path}.tokenUrl"), message)
                .hint("write `https://`; for tests on this machine there is `dangerAllowClearText`"),
        );
    }
    let mut plain = |text: &Spanned<String>, field: &str, allowed: fn(char) -> bool| {
        if text.is_empty() || !text.chars().all(allowed) {
            let message = format!("{} cannot stand here", shown(text));
            problems.push(Problem::new(Code::BadText, text.at, format!("{path}.{field}"), message));
        }
    };
    let visible = |character: char| character.is_ascii_graphic() || character == ' ';
    plain(spec.client_id, "clientId", visible);
    // RFC 6749 §3.3: scope-token.
    let of_scope = |character: char| character.is_ascii_graphic() && !matches!(character, '"' | '\\');
    spec.scopes.iter().for_each(|scope| plain(scope, "scopes", of_scope));
    spec.audience.iter().for_each(|audience| plain(audience, "audience", visible));
    let secret = one_secret(index, document, spec.secret, (spec.at, "clientSecretRef", path), problems)?;
    let scopes: Vec<&str> = spec.scopes.iter().map(|scope| scope.as_str()).collect();
    Some(TokenPlan {
        url: (**spec.token_url).clone(),
        client_id: spec.client_id.as_str().into(),
        secret,
        scope: scopes.join(" ").into(),
        audience: spec.audience.map(|audience| audience.as_str().into()),
        secret_in_form: spec.authentication == TokenClientAuthentication::Post,
        authorities: spec.authorities.map(|reference| index.locate(document, reference)),
        private_network: spec.private_network,
        clear_text: spec.clear_text,
        timeout: positive(spec.timeout, &format!("{path}.timeout"), problems),
    })
}

/// RFC 8693 §2.1: an absolute URI, which may have a query and no fragment. The issuer compares it as text.
fn is_resource(text: &str) -> bool {
    let scheme = text.split_once(':').filter(|(_, rest)| !rest.is_empty()).map(|(scheme, _)| scheme);
    let sound = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    };
    scheme.is_some_and(sound) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

/// Reports rules that send to an upstream which needs the caller's token, where no enforced policy asks for one: every
/// request would be refused there.
pub(super) fn check_exchanges(
    index: &Index<'_>,
    routes: &[Arc<RoutePlan>],
    upstreams: &[Arc<UpstreamPlan>],
    problems: &mut Problems,
) {
    let exchanges = |at: &usize| {
        let plan = upstreams.get(*at)?;
        plan.exchanges_tokens().then_some(&plan.name)
    };
    // One rule can have several plans, one per listener.
    let mut told = BTreeSet::new();
    for plan in routes {
        let RouteAction::Forward(backends) = &plan.action else { continue };
        let policy = plan.authentication.enforced.as_ref();
        if policy.is_some_and(|policy| policy.methods.iter().any(MethodPlan::takes_tokens)) {
            continue;
        }
        let Some(upstream) = backends.shares.iter().find_map(|(_, at)| exchanges(at)) else { continue };
        let document = index.of(Kind::Route).find(|document| *document.name.as_str() == *plan.route);
        let Some(document) = document.filter(|_| told.insert(&plan.label)) else { continue };
        let message = format!(
            "`{}` sends to Upstream/{upstream}, which exchanges the caller's token, and no policy asks for one",
            plan.label
        );
        problems.push(
            Problem::new(Code::TokenNeeded, document.name.at, "metadata.name", message).hint(
                "attach an AuthenticationPolicy with `type: Jwt` or `type: Introspection` to the route",
            ),
        );
    }
}

/// A secret that is written as a reference or as the name of a `Secret`. `place` is where, the reference's field, and
/// the path of both.
pub(super) fn one_secret(
    index: &Index<'_>,
    document: &Document,
    written: (&Option<Reference>, &Option<Spanned<Name>>),
    place: (Span, &str, &str),
    problems: &mut Problems,
) -> Option<Reference> {
    let (at, field, path) = place;
    match written {
        (Some(reference), None) => Some(index.locate(document, reference)),
        (None, Some(name)) => {
            let secret = index.find(Kind::Secret, name, &format!("{path}.secretName"), problems)?;
            spec_of!(secret, Secret).map(|spec| index.locate(secret, &spec.value_ref))
        }
        _ => {
            let message = match path == "spec.credential" {
                true => "a credential needs `valueRef` or `secretName`, not both".to_owned(),
                false => format!("write `{field}` or `secretName`, not both"),
            };
            problems.push(Problem::new(Code::NotExactlyOne, at, path, message));
            None
        }
    }
}
