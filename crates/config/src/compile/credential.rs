//! `Upstream.spec.credential`, in its several forms.

use bartizan_model::{
    Reference,
    document::{
        Document, Kind, Spec,
        upstream::{BasicCredentialSpec, ClientCredentialsSpec, CredentialSpec, TokenClientAuthentication},
    },
    problem::{Code, Problem, Problems, Span, shown},
    read::Spanned,
    scalar::{HeaderName, Name},
};

use super::{
    index::{Index, spec_of},
    policy::check_reserved,
    positive,
};
use crate::snapshot::{BasicCredentialPlan, CredentialPlan, HeaderCredentialPlan, TokenPlan};

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
    ];
    if forms.into_iter().filter(|is_written| *is_written).count() != 1 {
        let message = "a credential is exactly one of `header`, `basic`, `bearer` and `clientCredentials`";
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
        return token(index, document, client, problems).map(CredentialPlan::Token);
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

fn token(
    index: &Index<'_>,
    document: &Document,
    spec: &Spanned<ClientCredentialsSpec>,
    problems: &mut Problems,
) -> Option<TokenPlan> {
    let path = "spec.credential.clientCredentials";
    if !spec.token_url.is_https() && !spec.danger_allow_clear_text {
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
    plain(&spec.client_id, "clientId", visible);
    // RFC 6749 §3.3: scope-token.
    let of_scope = |character: char| character.is_ascii_graphic() && !matches!(character, '"' | '\\');
    spec.scopes.iter().for_each(|scope| plain(scope, "scopes", of_scope));
    spec.audience.iter().for_each(|audience| plain(audience, "audience", visible));
    let written = (&spec.client_secret_ref, &spec.secret_name);
    let secret = one_secret(index, document, written, (spec.at, "clientSecretRef", path), problems)?;
    let scopes: Vec<&str> = spec.scopes.iter().map(|scope| scope.as_str()).collect();
    Some(TokenPlan {
        url: (*spec.token_url).clone(),
        client_id: spec.client_id.as_str().into(),
        secret,
        scope: scopes.join(" ").into(),
        audience: spec.audience.as_ref().map(|audience| audience.as_str().into()),
        secret_in_form: spec.authentication == TokenClientAuthentication::Post,
        authorities: spec.authorities_ref.as_ref().map(|reference| index.locate(document, reference)),
        private_network: spec.allow_private_network,
        clear_text: spec.danger_allow_clear_text,
        timeout: positive(&spec.timeout, &format!("{path}.timeout"), problems),
    })
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
