//! `RecordPolicy` → [`RecordPlan`], and where the access log goes.

use std::collections::HashSet;

use bartizan_model::{
    document::{
        Document, Kind, Spec,
        record::{AddressPrivacyName, QueryValuesName, RecordPolicySpec},
    },
    problem::{Code, Problem, Problems},
};
use bartizan_telemetry::{AddressPrivacy, QueryValues, RecordPlan, text::HEADERS_MAX};
use http::HeaderName;

use super::{
    index::{Index, spec_of},
    label,
    policy::header_name,
};
use crate::snapshot::AccessLogPlan;

/// Compiles one policy. `secrets` are the headers in which the gateway takes credentials.
pub(super) fn compile(
    document: &Document,
    spec: &RecordPolicySpec,
    secrets: &[HeaderName],
    problems: &mut Problems,
) -> RecordPlan {
    if spec.mode == bartizan_model::Mode::Shadow {
        problems.push(
            Problem::new(Code::NoShadow, document.name.at, "spec.mode", "a RecordPolicy has no shadow")
                .hint("it decides nothing about a request; use `enforce` or `off`"),
        );
    }
    if let Some(file) = &spec.file
        && !spec.target_refs.is_empty()
    {
        problems.push(
            Problem::new(
                Code::FieldsClash,
                file.at,
                "spec.file",
                "there is one access log for the whole gateway",
            )
            .hint("write `file` in the RecordPolicy without `targetRefs`"),
        );
    }
    let names: HashSet<&str> = spec.headers.iter().map(|name| name.as_str()).collect();
    if names.len() > HEADERS_MAX
        && let Some(last) = spec.headers.last()
    {
        let message = format!("a record holds at most {HEADERS_MAX} headers, not {}", names.len());
        problems.push(Problem::new(Code::TooLarge, last.at, "spec.headers", message));
    }
    let mut plan = RecordPlan::new(label(Kind::RecordPolicy, document.name.as_str()))
        .with_headers(spec.headers.iter().map(|name| header_name(name)), secrets);
    plan.access_log = spec.access_log;
    plan.address_privacy = match spec.address_privacy {
        AddressPrivacyName::Full => AddressPrivacy::Full,
        AddressPrivacyName::Truncated => AddressPrivacy::Truncated,
        AddressPrivacyName::Hashed => AddressPrivacy::Hashed,
    };
    plan.query_values = match spec.query_values {
        QueryValuesName::Masked => QueryValues::Masked,
        QueryValuesName::Full => QueryValues::Full,
    };
    plan
}

/// Where the access log goes: the `file` of the gateway's RecordPolicy, else standard output. That there are two such
/// policies is reported where policies meet.
pub(super) fn access_log(index: &Index<'_>) -> AccessLogPlan {
    let file = index.of(Kind::RecordPolicy).find_map(|document| {
        let spec = spec_of!(document, RecordPolicy)?;
        spec.file
            .as_ref()
            .filter(|_| spec.target_refs.is_empty() && spec.mode == bartizan_model::Mode::Enforce)
    });
    let Some(file) = file else { return AccessLogPlan::Stdout };
    AccessLogPlan::File {
        path: file.path.clone().into(),
        max_bytes: file.max_bytes.get(),
        keep: super::listener::count(&file.keep),
    }
}
