//! `AuthenticationPolicy` → [`AuthenticationPlan`]: one function per method, and what holds between them.

mod basic;
pub(super) mod certificate;
mod failures;

use std::sync::Arc;

use bartizan_model::{
    document::{
        Document, Kind, Spec,
        authentication::{ApiKeySource, AuthenticationMethod, AuthenticationPolicySpec, AuthenticationType},
    },
    problem::{Code, Problem, Problems},
    read::Spanned,
};

use super::{
    attach::{Scoped, targets},
    index::{Index, spec_of},
    label,
    policy::{BEFORE_IDENTIFY, bite, check_reserved, header_name},
};
use crate::snapshot::{ApiKeyPlan, AuthenticationPlan, Bite, MethodPlan};

/// Compiles all policies, in order of name.
pub(super) fn compile_all<'d>(
    index: &Index<'d>,
    problems: &mut Problems,
) -> Vec<Scoped<'d, AuthenticationPlan>> {
    let mut scoped = Vec::new();
    for document in index.of(Kind::AuthenticationPolicy) {
        let Some(spec) = spec_of!(document, AuthenticationPolicy) else { continue };
        let bite = bite(spec.mode, spec.enforce_percent, spec.on_fault);
        let plan = plan(index, document, spec, bite, problems);
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

fn plan(
    index: &Index<'_>,
    document: &Document,
    spec: &AuthenticationPolicySpec,
    bite: Bite,
    problems: &mut Problems,
) -> AuthenticationPlan {
    if spec.methods.is_empty() {
        problems.push(
            Problem::new(Code::EmptyList, document.name.at, "spec.methods", "an AuthenticationPolicy needs a method")
                .hint("write `methods: [{ type: ApiKey }]`; that callers need no proof is written `{ type: Anonymous }`"),
        );
    }
    let last = spec.methods.len().saturating_sub(1);
    let mut methods = Vec::new();
    let mut anonymous = false;
    for (at, method) in spec.methods.iter().enumerate() {
        for (type_, field, is_written) in [
            (AuthenticationType::ClientCertificate, "clientCertificate", method.client_certificate.is_some()),
            (AuthenticationType::Basic, "basic", method.basic.is_some()),
        ] {
            if is_written && method.type_ != type_ {
                let message = format!("`{field}` has no meaning without `type: {type_}`");
                problems.push(Problem::new(Code::FieldsClash, method.at, "spec.methods", message));
            }
        }
        match method.type_ {
            AuthenticationType::ApiKey => {
                methods.push(MethodPlan::ApiKey(api_key(method, &method.api_key, &methods, problems)));
            }
            AuthenticationType::ClientCertificate => {
                methods.push(MethodPlan::ClientCertificate(certificate::compile(method, &methods, problems)));
            }
            AuthenticationType::Basic => {
                methods.extend(basic::compile(index, document, method, &methods, problems));
            }
            AuthenticationType::Anonymous => {
                anonymous = true;
                if at != last {
                    let message = "`Anonymous` must stand last: nothing after it could ever be tried";
                    problems.push(Problem::new(Code::FieldsClash, method.at, "spec.methods", message));
                }
            }
        }
    }
    let label = label(Kind::AuthenticationPolicy, document.name.as_str());
    let failures = failures::compile(&label, document.name.at, &spec.failures, problems);
    AuthenticationPlan { label, bite, methods, anonymous, failures }
}

fn api_key(
    method: &Spanned<AuthenticationMethod>,
    source: &ApiKeySource,
    before: &[MethodPlan],
    problems: &mut Problems,
) -> ApiKeyPlan {
    let path = "spec.methods.apiKey.header";
    check_reserved(&source.header, path, "cannot carry a credential", problems);
    let header = header_name(&source.header);
    let is_same = |known: &MethodPlan| match known {
        MethodPlan::ApiKey(known) => known.header == header,
        _ => false,
    };
    if before.iter().any(is_same) {
        let message = format!("the header `{header}` is asked for twice");
        problems.push(Problem::new(Code::FieldsClash, method.at, "spec.methods", message));
    }
    ApiKeyPlan { header }
}
