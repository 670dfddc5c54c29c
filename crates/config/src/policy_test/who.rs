//! Who sends the request of a test: facts in the place of a credential.

use std::{collections::BTreeMap, sync::Arc};

use bartizan_identity::{
    CertificateName, ClientCertificate, InvalidKind, KeyId, Method, NameType,
    jwt::{HeaderFacts, TokenFacts},
};
use bartizan_model::{
    Reason,
    document::policy_test::{TestCertificate, TestIdentity, TestKeyState, TestToken, TestTokenState},
    problem::shown,
    read::OneOrMany,
};
use serde_json::{Map, Value};

use crate::rehearsal::{Credential, GivenRefusal, GivenToken};

/// The id of every key in a test: tests name consumers, not keys.
const KEY_ID: &str = "PolicyTest00";

/// How long a token of a test holds, and how far it is over or in the future where it is.
const TOKEN_SECONDS: i64 = 300;
const FAR_SECONDS: i64 = 86_400;

/// The credential that is sent.
pub(super) fn credential(identity: Option<&TestIdentity>, unix_ms: u64) -> Result<Credential, String> {
    let Some(identity) = identity else { return Ok(Credential::AsSent) };
    match (&identity.consumer, &identity.user, &identity.token) {
        (None, None, None) => Ok(Credential::Absent),
        (Some(consumer), None, None) => {
            let key = KeyId::parse(KEY_ID).ok_or_else(|| "the id of a test's key is none".to_owned())?;
            Ok(Credential::ApiKey { key, consumer: consumer.shared(), flaw: flaw(identity.api_key) })
        }
        (None, Some(user), None) => Ok(Credential::User(user.shared())),
        (None, None, Some(token)) => self::token(token, unix_ms),
        _ => Err("a request has one of `consumer`, `user` and `token`".to_owned()),
    }
}

const fn flaw(state: TestKeyState) -> Option<InvalidKind> {
    match state {
        TestKeyState::Valid => None,
        TestKeyState::Expired => Some(InvalidKind::Expired),
        TestKeyState::Revoked => Some(InvalidKind::Revoked),
        TestKeyState::NotYetValid => Some(InvalidKind::NotYetValid),
        TestKeyState::Unknown => Some(InvalidKind::Unknown),
        TestKeyState::WrongSecret => Some(InvalidKind::WrongSecret),
        TestKeyState::Malformed => Some(InvalidKind::Malformed),
    }
}

fn token(token: &TestToken, unix_ms: u64) -> Result<Credential, String> {
    if token.state == TestTokenState::Forged {
        let detail = format!("token of {}: signature", token.issuer.as_str()).into();
        let (means, reason) = (Method::Jwt, Reason::CredentialInvalid);
        return Ok(Credential::Refused(Arc::new(GivenRefusal { means, reason, detail })));
    }
    let now = i64::try_from(unix_ms / 1_000).unwrap_or(i64::MAX);
    let mut claims = claims(&token.claims)?;
    let mut date = |name: &str, seconds: i64| claims.insert(name.to_owned(), seconds.into());
    match token.state {
        TestTokenState::Expired => date("exp", now - FAR_SECONDS),
        TestTokenState::NotYetValid => {
            date("nbf", now + FAR_SECONDS);
            date("exp", now + FAR_SECONDS + TOKEN_SECONDS)
        }
        TestTokenState::Valid | TestTokenState::Forged => {
            date("iat", now);
            date("exp", now + TOKEN_SECONDS)
        }
    };
    claims.insert("iss".to_owned(), token.issuer.as_str().into());
    let header = token.algorithm.as_deref().map(|algorithm| HeaderFacts {
        algorithm: algorithm.into(),
        typ: None,
        has_kid: true,
    });
    let facts = TokenFacts::read(&Value::Object(claims).to_string(), header)
        .ok_or_else(|| "the claims are more than a token may have".to_owned())?;
    Ok(Credential::Token(Arc::new(GivenToken { means: None, is_signed_form: true, facts })))
}

/// The claims as JSON. A name that begins with `/` is a pointer, as in an AuthenticationPolicy.
fn claims(given: &BTreeMap<String, OneOrMany<String>>) -> Result<Map<String, Value>, String> {
    let mut claims = Map::new();
    for (name, value) in given {
        let value = match &**value {
            [text] => Value::from(text.as_str()),
            texts => texts.iter().map(|text| Value::from(text.as_str())).collect(),
        };
        let steps: Vec<String> = match name.strip_prefix('/') {
            Some(pointer) => {
                pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
            }
            None => vec![name.clone()],
        };
        put(&mut claims, &steps, value)
            .ok_or_else(|| format!("the claim {} stands in one that is no object", shown(name)))?;
    }
    Ok(claims)
}

fn put(into: &mut Map<String, Value>, steps: &[String], value: Value) -> Option<()> {
    let (first, rest) = steps.split_first()?;
    if rest.is_empty() {
        into.insert(first.clone(), value);
        return Some(());
    }
    let inner = into.entry(first.clone()).or_insert_with(|| Value::Object(Map::new()));
    put(inner.as_object_mut()?, rest, value)
}

/// The certificate that the client shows.
pub(super) fn certificate(identity: Option<&TestIdentity>) -> Result<Option<Arc<ClientCertificate>>, String> {
    let Some(given) = identity.and_then(|identity| identity.certificate.as_ref()) else { return Ok(None) };
    let TestCertificate { dns, uri, email, common_name, fingerprint } = given;
    let stated = dns
        .iter()
        .map(|name| (NameType::Dns, name))
        .chain(uri.iter().map(|name| (NameType::Uri, name)))
        .chain(email.iter().map(|name| (NameType::Email, name)))
        .chain(common_name.iter().map(|name| (NameType::SubjectCommonName, name)))
        .chain(fingerprint.iter().map(|name| (NameType::Fingerprint, name)));
    let names: Result<Vec<_>, _> = stated
        .map(|(name_type, name)| {
            CertificateName::parse(name_type, name).map_err(|why| format!("{}: {why}", shown(name)))
        })
        .collect();
    let subject = common_name.as_deref().map_or_else(String::new, |name| format!("CN={name}"));
    Ok(Some(Arc::new(ClientCertificate::rehearsed_certificate(names?, &subject, i64::MAX))))
}
