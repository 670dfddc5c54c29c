//! `AuthenticationPolicy` → [`AuthenticationPlan`]: one function per method, and what holds between them.
//!
//! Token methods that look at the same places are put together where the first of them stands.

use std::sync::Arc;

use bartizan_model::{
    document::{
        Document, Kind, Spec,
        authentication::{ApiKeySource, AuthenticationMethod, AuthenticationPolicySpec, AuthenticationType},
    },
    problem::{Code, Problem, Problems, shown},
    read::Spanned,
};

use token::Compiling;

use super::{
    attach::{Scoped, targets},
    index::{Index, spec_of},
    label,
    policy::{BEFORE_IDENTIFY, bite, check_reserved, header_name},
};
use crate::snapshot::{
    ApiKeyPlan, AuthenticationPlan, BasicPlan, Bite, ClientCertificatePlan, IntrospectionPlan, JwtPlan,
    MethodPlan, OpenIdConnectPlan, TokenPlacePlan,
};

mod basic;
pub(super) mod certificate;
mod failures;
pub(super) mod sign_in;
mod token;

/// Compiles all policies, in order of name.
pub(super) fn compile_all<'d>(
    index: &Index<'d>,
    problems: &mut Problems,
) -> Vec<Scoped<'d, AuthenticationPlan>> {
    let mut scoped = Vec::new();
    let mut counts = Counts::default();
    for document in index.of(Kind::AuthenticationPolicy) {
        let Some(spec) = spec_of!(document, AuthenticationPolicy) else { continue };
        let bite = bite(spec.mode, spec.enforce_percent, spec.on_fault);
        let plan = plan(index, document, spec, bite, &mut counts, problems);
        scoped.push(Scoped {
            document,
            plan: Arc::new(plan),
            bite,
            allow_override: spec.allow_override,
            targets: targets(index, &spec.target_refs, BEFORE_IDENTIFY, problems),
        });
    }
    scoped
}

/// Numbers for the plans that the data plane prepares something for.
#[derive(Default)]
struct Counts {
    jwt: usize,
    introspection: usize,
    sign_in: usize,
}

fn plan<'d>(
    index: &Index<'d>,
    document: &'d Document,
    spec: &AuthenticationPolicySpec,
    bite: Bite,
    counts: &mut Counts,
    problems: &mut Problems,
) -> AuthenticationPlan {
    if spec.methods.is_empty() {
        problems.push(
            Problem::new(Code::EmptyList, document.name.at, "spec.methods", "an AuthenticationPolicy needs a method")
                .hint("write `methods: [{ type: ApiKey }]`; that callers need no proof is written `{ type: Anonymous }`"),
        );
    }
    let last = spec.methods.len().saturating_sub(1);
    let mut drafts: Vec<(&Spanned<AuthenticationMethod>, Draft)> = Vec::new();
    let mut anonymous = false;
    for (at, method) in spec.methods.iter().enumerate() {
        check_fields(method, problems);
        let mut compiling = Compiling { index, document, problems: &mut *problems };
        let draft = match method.type_ {
            AuthenticationType::ApiKey => Some(Draft::ApiKey(api_key(&method.api_key, problems))),
            AuthenticationType::ClientCertificate => {
                Some(Draft::ClientCertificate(certificate::compile(index, method, problems)))
            }
            AuthenticationType::Basic => {
                basic::compile(index, document, method, compiling.problems).map(Draft::Basic)
            }
            AuthenticationType::Jwt => method.jwt.as_ref().and_then(|jwt| compiling.jwt(jwt)).map(Draft::Jwt),
            AuthenticationType::Introspection => (method.introspection.as_ref())
                .and_then(|introspection| compiling.introspection(introspection))
                .map(|plan| Draft::Introspection(Box::new(plan))),
            AuthenticationType::OpenIdConnect => (method.open_id_connect.as_ref())
                .and_then(|sign_in| compiling.sign_in(sign_in))
                .map(|plan| Draft::OpenIdConnect(Box::new(plan))),
            AuthenticationType::Anonymous => {
                anonymous = true;
                if at != last {
                    let message = "`Anonymous` must stand last: nothing after it could ever be tried";
                    problems.push(Problem::new(Code::FieldsClash, method.at, "spec.methods", message));
                }
                None
            }
        };
        if let Some(draft) = draft {
            add(&mut drafts, method, draft, problems);
        }
    }
    let sign_in = spec.methods.iter().find(|method| method.type_ == AuthenticationType::OpenIdConnect);
    if let (Some(method), true) = (sign_in, anonymous) {
        let message = "with `Anonymous` nobody would ever be sent to sign in";
        problems.push(
            Problem::new(Code::FieldsClash, method.at, "spec.methods", message)
                .hint("give the pages that need no session a route and a policy of their own"),
        );
    }
    let methods = drafts.into_iter().map(|(_, draft)| draft.finish(counts)).collect();
    let label = label(Kind::AuthenticationPolicy, document.name.as_str());
    let failures = failures::compile(&label, document.name.at, &spec.failures, problems);
    AuthenticationPlan { label, bite, methods, anonymous, failures }
}

/// A method on its way to a plan.
enum Draft {
    ApiKey(ApiKeyPlan),
    ClientCertificate(ClientCertificatePlan),
    Basic(Arc<BasicPlan>),
    Jwt(JwtPlan),
    Introspection(Box<IntrospectionPlan>),
    OpenIdConnect(Box<OpenIdConnectPlan>),
}

impl Draft {
    fn finish(self, counts: &mut Counts) -> MethodPlan {
        let next = |count: &mut usize| {
            *count += 1;
            *count - 1
        };
        match self {
            Draft::ApiKey(plan) => MethodPlan::ApiKey(plan),
            Draft::ClientCertificate(plan) => MethodPlan::ClientCertificate(plan),
            Draft::Basic(plan) => MethodPlan::Basic(plan),
            Draft::Jwt(plan) => MethodPlan::Jwt(Arc::new(JwtPlan { index: next(&mut counts.jwt), ..plan })),
            Draft::Introspection(plan) => {
                let index = next(&mut counts.introspection);
                MethodPlan::Introspection(Arc::new(IntrospectionPlan { index, ..*plan }))
            }
            Draft::OpenIdConnect(plan) => {
                let index = next(&mut counts.sign_in);
                MethodPlan::OpenIdConnect(Arc::new(OpenIdConnectPlan { index, ..*plan }))
            }
        }
    }

    fn places(&self) -> Vec<TokenPlacePlan> {
        match self {
            Draft::ApiKey(plan) => vec![TokenPlacePlan::Header(plan.header.clone())],
            Draft::ClientCertificate(_) | Draft::Basic(_) => Vec::new(),
            Draft::OpenIdConnect(plan) => vec![TokenPlacePlan::Cookie(plan.cookie.clone())],
            Draft::Jwt(plan) => plan.places.clone(),
            Draft::Introspection(plan) => plan.places.clone(),
        }
    }
}

/// Puts a method behind the others, or into the one that it belongs to.
fn add<'m>(
    drafts: &mut Vec<(&'m Spanned<AuthenticationMethod>, Draft)>,
    method: &'m Spanned<AuthenticationMethod>,
    draft: Draft,
    problems: &mut Problems,
) {
    let places = draft.places();
    let mut problem = |earlier: &Spanned<AuthenticationMethod>, message: String, hint: &str| {
        let problem = Problem::new(Code::FieldsClash, method.at, "spec.methods", message);
        let problem = if hint.is_empty() { problem } else { problem.hint(hint) };
        problems.push(problem.also(earlier.at, "the earlier one"));
    };
    for (earlier, known) in drafts.iter_mut() {
        if let (Draft::ClientCertificate(_), Draft::ClientCertificate(_)) = (&*known, &draft) {
            // The first that is there decides, so a second way to read the same certificate would never be tried.
            let message =
                "a connection has one certificate: a second `ClientCertificate` would never be tried";
            problem(earlier, message.to_owned(), "");
        }
        if let (Draft::Basic(_), Draft::Basic(_)) = (&*known, &draft) {
            let message = "a second `Basic` would never be tried: write all users into one file";
            problem(earlier, message.to_owned(), "");
        }
        if let (Draft::OpenIdConnect(_), Draft::OpenIdConnect(_)) = (&*known, &draft) {
            let message =
                "a browser can be sent to one provider only: a second `OpenIdConnect` would never be asked";
            problem(earlier, message.to_owned(), "give it a route and a policy of its own");
            continue;
        }
        let known_places = known.places();
        let Some(shared) = places.iter().find(|place| known_places.contains(place)) else { continue };
        match (known, &draft) {
            (Draft::Jwt(known), Draft::Jwt(more)) if known_places == places => {
                if known.forward != more.forward || known.challenge != more.challenge {
                    let message = "two methods at one place differ in `forward` or `challenge`".to_owned();
                    problem(earlier, message, "write the same in both");
                }
                for issuer in &more.issuers {
                    if known.issuers.iter().any(|other| other.name == issuer.name) {
                        let message =
                            format!("the issuer {} has two methods at one place", shown(&issuer.name));
                        problem(earlier, message, "join them: one method may have several audiences");
                    }
                }
                known.issuers.extend(more.issuers.iter().cloned());
                return;
            }
            (Draft::Jwt(known), Draft::Introspection(_)) if known_places == places => {
                known.leaves_opaque = true;
            }
            (Draft::ApiKey(known), Draft::ApiKey(_)) => {
                let message = format!("the header `{}` is asked for twice", known.header);
                problem(earlier, message, "");
            }
            _ => {
                let message = format!("two methods look at {}", describe(shared));
                problem(
                    earlier,
                    message,
                    "give each a place of its own; `Introspection` may follow `Jwt` at the same places",
                );
            }
        }
    }
    drafts.push((method, draft));
}

fn describe(place: &TokenPlacePlan) -> String {
    match place {
        TokenPlacePlan::Bearer => "`Authorization: Bearer`".to_owned(),
        TokenPlacePlan::Header(name) => format!("the header `{name}`"),
        TokenPlacePlan::Cookie(name) => format!("the cookie `{name}`"),
    }
}

/// Each type has its own field, which must be there exactly then.
fn check_fields(method: &Spanned<AuthenticationMethod>, problems: &mut Problems) {
    let fields = [
        (AuthenticationType::Jwt, "jwt", method.jwt.as_ref().map(|field| field.at)),
        (
            AuthenticationType::Introspection,
            "introspection",
            method.introspection.as_ref().map(|field| field.at),
        ),
        (
            AuthenticationType::OpenIdConnect,
            "openIdConnect",
            method.open_id_connect.as_ref().map(|field| field.at),
        ),
    ];
    if method.basic.is_some() && method.type_ != AuthenticationType::Basic {
        let message = "`basic` has no meaning without `type: Basic`";
        problems.push(Problem::new(Code::FieldsClash, method.at, "spec.methods", message));
    }
    if method.client_certificate.is_some() && method.type_ != AuthenticationType::ClientCertificate {
        let message = "`clientCertificate` has no meaning without `type: ClientCertificate`";
        problems.push(Problem::new(Code::FieldsClash, method.at, "spec.methods", message));
    }
    for (type_, name, written) in fields {
        match (method.type_ == type_, written) {
            (true, None) => {
                let message = format!("`type: {type_}` needs the field `{name}`");
                problems.push(Problem::new(Code::MissingField, method.at, "spec.methods", message));
            }
            (false, Some(at)) => {
                let message = format!("`{name}` has no meaning with `type: {}`", method.type_);
                problems.push(Problem::new(Code::FieldsClash, at, format!("spec.methods.{name}"), message));
            }
            _ => {}
        }
    }
}

fn api_key(source: &ApiKeySource, problems: &mut Problems) -> ApiKeyPlan {
    let path = "spec.methods.apiKey.header";
    check_reserved(&source.header, path, "cannot carry a credential", problems);
    ApiKeyPlan { header: header_name(&source.header) }
}
