//! Credentials for upstreams: read once, kept as the header that is sent, shown to nobody.

use std::{fmt, sync::Arc};

use bartizan_config::snapshot::upstream::{BasicCredentialPlan, CredentialPlan, HeaderCredentialPlan};
use bartizan_model::{Reference, SecretValue};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{exchange::ExchangeSource, prepare::Secrets, token::TokenSource};
use bartizan_identity::base64::encode;

/// A credential, ready to be sent.
pub(super) enum Credential {
    /// The same for every request.
    Header(HeaderName, HeaderValue),
    /// A token that is asked for before each request.
    Token(Arc<TokenSource>),
    /// A token in exchange for the caller's.
    Exchange(Arc<ExchangeSource>),
}

impl Credential {
    /// Reads what the plan refers to. The error holds nothing of the secret.
    /// What is kept of tokens goes on from `before`.
    pub(super) fn prepare(
        plan: &CredentialPlan,
        secrets: Secrets<'_>,
        before: Option<&Credential>,
    ) -> Result<Self, String> {
        match plan {
            CredentialPlan::Header(plan) => Credential::header(plan, secrets),
            CredentialPlan::Basic(plan) => Credential::basic(plan, secrets),
            CredentialPlan::Token(plan) => {
                let before = match before {
                    Some(Credential::Token(source)) => Some(source),
                    _ => None,
                };
                TokenSource::prepare(plan, secrets, before).map(Credential::Token)
            }
            CredentialPlan::Exchange(plan) => {
                let before = match before {
                    Some(Credential::Exchange(source)) => Some(source),
                    _ => None,
                };
                ExchangeSource::prepare(plan, secrets, before).map(Credential::Exchange)
            }
        }
    }

    /// Sets the credential; whatever stood in its field is gone. Fails where a token is needed and none is there: a
    /// request without its credential, or with the caller's in its place, is never sent.
    pub(super) fn dress(
        &self,
        token: Option<HeaderValue>,
        headers: &mut HeaderMap,
    ) -> Result<(), &'static str> {
        match self {
            Credential::Header(name, value) => headers.insert(name.clone(), value.clone()),
            Credential::Token(_) | Credential::Exchange(_) => {
                headers.insert(header::AUTHORIZATION, token.ok_or("there is no token")?)
            }
        };
        Ok(())
    }

    fn header(plan: &HeaderCredentialPlan, secrets: Secrets<'_>) -> Result<Self, String> {
        let name = HeaderName::from_bytes(plan.header.as_bytes())
            .map_err(|_| format!("`{}` is not a header name", plan.header))?;
        let secret = read(&plan.secret, secrets)?;
        Ok(Credential::Header(name, secret_value(&plan.prefix, secret.expose(), &plan.secret)?))
    }

    fn basic(plan: &BasicCredentialPlan, secrets: Secrets<'_>) -> Result<Self, String> {
        let password = read(&plan.password, secrets)?;
        if password.expose().iter().any(u8::is_ascii_control) {
            return Err(format!("{} holds control characters, which a password cannot", plan.password));
        }
        let mut pair = plan.user.as_bytes().to_vec();
        pair.push(b':');
        pair.extend_from_slice(password.expose());
        // Taken over, so that the copy is wiped like the secret itself.
        let pair = SecretValue::new(pair);
        let token = SecretValue::new(encode(pair.expose()).into_bytes());
        let value = secret_value("Basic ", token.expose(), &plan.password)?;
        Ok(Credential::Header(header::AUTHORIZATION, value))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Header(name, _) => write!(f, "Credential({name}: …)"),
            Credential::Token(source) => source.fmt(f),
            Credential::Exchange(source) => source.fmt(f),
        }
    }
}

fn read(reference: &Reference, secrets: Secrets<'_>) -> Result<SecretValue, String> {
    let secret = secrets(reference)?;
    match secret.expose().is_empty() {
        true => Err(format!("{reference} is empty")),
        false => Ok(secret),
    }
}

/// `prefix` and `secret` as a header's value that no debug output shows.
fn secret_value(prefix: &str, secret: &[u8], from: &Reference) -> Result<HeaderValue, String> {
    let mut bytes = Vec::with_capacity(prefix.len() + secret.len());
    bytes.extend_from_slice(prefix.as_bytes());
    bytes.extend_from_slice(secret);
    let mut value = HeaderValue::from_maybe_shared(bytes::Bytes::from(bytes))
        .map_err(|_| format!("{from} holds bytes a header cannot carry"))?;
    value.set_sensitive(true);
    Ok(value)
}
