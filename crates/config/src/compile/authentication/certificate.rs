//! `type: ClientCertificate`, and the certificates that consumers list.

use std::sync::Arc;

use bartizan_identity::{
    CertificateGrants, CertificateName, CertificateRule, CertificateTable, NameTemplate, NameType, Owner,
};
use bartizan_model::{
    document::{
        Document, Kind, Spec,
        authentication::{
            AuthenticationMethod, CertificateNameType, CertificateTag, ClientCertificateSource,
        },
        consumer::ConsumerCertificate,
    },
    problem::{Code, Problem, Problems, shown},
    read::Spanned,
    scalar::Name,
};

use super::super::index::{Index, spec_of};
use crate::snapshot::ClientCertificatePlan;

/// One method.
pub(super) fn compile(
    index: &Index<'_>,
    method: &Spanned<AuthenticationMethod>,
    problems: &mut Problems,
) -> ClientCertificatePlan {
    const PATH: &str = "spec.methods.clientCertificate";
    let default = ClientCertificateSource::default();
    let source = method.client_certificate.as_ref().map_or(&default, |source| &**source);
    let from = source.from.as_ref().map(|from| name_type(**from));
    let template = source.template.as_ref().and_then(|text| match NameTemplate::parse(text) {
        Ok(template) => Some(template),
        Err(wrong) => {
            let message = format!("{} is not a template: {wrong}", shown(text));
            problems.push(
                Problem::new(Code::BadText, text.at, format!("{PATH}.template"), message)
                    .hint("for example `spiffe://example.org/ns/{namespace}/sa/{consumer}`"),
            );
            None
        }
    });
    if let Some(text) = source.template.as_ref().filter(|_| source.from.is_none()) {
        let message = "`template` needs `from`: a name of one type must not count as one of another";
        problems.push(Problem::new(Code::MissingField, text.at, format!("{PATH}.from"), message));
    }
    let grants = grants(&source.roles, &source.tags, PATH, problems);
    // A template finds the consumer by itself, so what consumers list is not looked at.
    let listed = source.template.is_none() && index.of(Kind::Consumer).any(brings_roles);
    ClientCertificatePlan {
        rule: CertificateRule { from, template },
        pass_on: source.pass_on,
        brings_roles: listed || !grants.roles.is_empty(),
        grants,
    }
}

fn brings_roles(document: &Document) -> bool {
    spec_of!(document, Consumer)
        .is_some_and(|spec| spec.certificates.iter().any(|certificate| !certificate.roles.is_empty()))
}

/// Roles and tags as they are written; whether the roles are defined is checked with those of consumers.
fn grants(
    roles: &[Spanned<Name>],
    tags: &[Spanned<CertificateTag>],
    path: &str,
    problems: &mut Problems,
) -> CertificateGrants {
    for CertificateTag { value, .. } in tags.iter().map(|tag| &**tag) {
        if value.is_empty() || value.len() > TAG_BYTES_MAX || value.chars().any(char::is_control) {
            let message = format!("{} cannot be the value of a tag", shown(value));
            problems.push(Problem::new(Code::BadText, value.at, format!("{path}.tags.value"), message));
        }
    }
    let text =
        |CertificateTag { name, value }: &CertificateTag| format!("{}={}", name.as_str(), **value).into();
    CertificateGrants {
        roles: roles.iter().map(|role| role.as_str().into()).collect(),
        tags: tags.iter().map(|tag| text(tag)).collect(),
    }
}

/// Tags are words for conditions; longer ones are texts.
const TAG_BYTES_MAX: usize = 256;

const fn name_type(word: CertificateNameType) -> NameType {
    match word {
        CertificateNameType::Dns => NameType::Dns,
        CertificateNameType::Uri => NameType::Uri,
        CertificateNameType::Email => NameType::Email,
        CertificateNameType::SubjectCommonName => NameType::SubjectCommonName,
    }
}

/// The certificates of all consumers. A name has one owner.
pub(in crate::compile) fn table(index: &Index<'_>, problems: &mut Problems) -> CertificateTable {
    let mut table = CertificateTable::default();
    for document in index.of(Kind::Consumer) {
        let Some(spec) = spec_of!(document, Consumer) else { continue };
        let consumer: Arc<str> = document.name.as_str().into();
        for certificate in &spec.certificates {
            let listener = certificate.listener.as_ref().and_then(|listener| {
                index.find(Kind::Listener, listener, "spec.certificates.listener", problems)?;
                Some(Arc::from(listener.as_str()))
            });
            let Some(name) = name(certificate, problems) else { continue };
            let shown = name.to_string();
            let grants = grants(&certificate.roles, &certificate.tags, "spec.certificates", problems).into();
            let owner = Owner { consumer: consumer.clone(), listener, grants };
            if let Some(other) = table.insert(name, owner) {
                let message = match other.consumer == consumer {
                    true => format!("the certificate `{shown}` is listed twice"),
                    false => {
                        format!("the certificate `{shown}` belongs to Consumer/{} already", other.consumer)
                    }
                };
                problems.push(Problem::new(Code::FieldsClash, certificate.at, "spec.certificates", message));
            }
        }
    }
    table
}

fn name(certificate: &Spanned<ConsumerCertificate>, problems: &mut Problems) -> Option<CertificateName> {
    const PATH: &str = "spec.certificates";
    let fields = [
        (NameType::Dns, &certificate.dns),
        (NameType::Uri, &certificate.uri),
        (NameType::Email, &certificate.email),
        (NameType::SubjectCommonName, &certificate.subject_common_name),
        (NameType::Fingerprint, &certificate.fingerprint),
    ];
    let mut written =
        fields.into_iter().filter_map(|(name_type, text)| text.as_ref().map(|text| (name_type, text)));
    let (Some((name_type, text)), None) = (written.next(), written.next()) else {
        let message = "a certificate is written as exactly one of `dns`, `uri`, `email`, `subjectCommonName` and `fingerprint`";
        problems.push(Problem::new(Code::NotExactlyOne, certificate.at, PATH, message));
        return None;
    };
    match CertificateName::parse(name_type, text) {
        Ok(name) => Some(name),
        Err(wrong) => {
            let message = format!("{} cannot stand in a certificate: {wrong}", shown(text));
            problems.push(Problem::new(Code::BadText, text.at, PATH, message));
            None
        }
    }
}
