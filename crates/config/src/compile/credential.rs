//! `Upstream.spec.credential`, in its several forms.

use bartizan_model::{
    Reference,
    document::{
        Document, Kind, Spec,
        upstream::{BasicCredentialSpec, CredentialSpec},
    },
    problem::{Code, Problem, Problems, Span, shown},
    read::Spanned,
    scalar::{HeaderName, Name},
};

use super::{
    index::{Index, spec_of},
    policy::check_reserved,
};
use crate::snapshot::{BasicCredentialPlan, CredentialPlan, HeaderCredentialPlan};

const PATH: &str = "spec.credential";

/// The credential, if what is written is exactly one.
pub(super) fn compile(
    index: &Index<'_>,
    document: &Document,
    spec: &Spanned<CredentialSpec>,
    problems: &mut Problems,
) -> Option<CredentialPlan> {
    let forms = [spec.header.is_some(), spec.basic.is_some(), spec.bearer.is_some()];
    if forms.into_iter().filter(|is_written| *is_written).count() != 1 {
        let message = "a credential is exactly one of `header`, `basic` and `bearer`";
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
