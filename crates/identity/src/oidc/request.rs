//! Where a browser is sent: to sign in, and to sign out there too.

use crate::oidc::{form, provider::ProviderMetadata, sign_in::SignInSecrets};

/// RFC 6749 §4.1.1, OpenID Connect Core 1.0 §3.1.2.1, RFC 7636 §4.3.
#[derive(Clone, Copy, Debug)]
pub struct AuthorizationRequest<'a> {
    /// Whom to ask.
    pub provider: &'a ProviderMetadata,
    /// Our name there.
    pub client_id: &'a str,
    /// Where the browser comes back to.
    pub redirect_uri: &'a str,
    /// What is asked for; `openid` is put first where it is missing.
    pub scopes: &'a [&'a str],
    /// The secrets of the attempt; only `state`, `nonce` and the challenge leave.
    pub secrets: &'a SignInSecrets,
}

impl AuthorizationRequest<'_> {
    /// The address.
    pub fn url(&self) -> String {
        let mut scope = String::from("openid");
        for word in self.scopes.iter().filter(|word| **word != "openid") {
            scope.push(' ');
            scope.push_str(word);
        }
        let mut url = open(&self.provider.authorization_endpoint.to_string());
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", self.client_id),
            ("redirect_uri", self.redirect_uri),
            ("scope", &scope),
            ("state", &self.secrets.state()),
            ("nonce", &self.secrets.nonce()),
            ("code_challenge", &self.secrets.challenge()),
            ("code_challenge_method", "S256"),
        ] {
            form::append(name, value, &mut url);
        }
        url
    }
}

/// OpenID Connect RP-Initiated Logout 1.0 §2.
#[derive(Clone, Copy, Debug)]
pub struct EndSessionRequest<'a> {
    /// Whom to ask.
    pub provider: &'a ProviderMetadata,
    /// Our name there.
    pub client_id: &'a str,
    /// The session's ID token, also one whose time is over.
    pub id_token: &'a str,
    /// Where the browser comes back to, if it is registered there.
    pub back_to: Option<&'a str>,
}

impl EndSessionRequest<'_> {
    /// The address; `None` where the provider has none.
    pub fn url(&self) -> Option<String> {
        let mut url = open(&self.provider.end_session_endpoint.as_ref()?.to_string());
        form::append("id_token_hint", self.id_token, &mut url);
        form::append("client_id", self.client_id, &mut url);
        if let Some(back_to) = self.back_to {
            form::append("post_logout_redirect_uri", back_to, &mut url);
        }
        Some(url)
    }
}

/// RFC 6749 §3.1: an endpoint may have a query of its own, which stays.
fn open(endpoint: &str) -> String {
    let joint = if endpoint.contains('?') { "&" } else { "?" };
    format!("{endpoint}{joint}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn provider(endpoint: &str) -> ProviderMetadata {
        let text = format!(
            r#"{{"issuer":"i","authorization_endpoint":"{endpoint}","token_endpoint":"https://id.example/t","jwks_uri":"https://id.example/k","end_session_endpoint":"https://id.example/end"}}"#
        );
        ProviderMetadata::read(text.as_bytes(), &Arc::from("i"), false).unwrap()
    }

    #[test]
    fn a_request_says_everything_and_not_the_verifier() {
        let secrets = SignInSecrets::new([7; SignInSecrets::BYTES]);
        for (endpoint, start) in [
            ("https://id.example/a", "https://id.example/a?"),
            ("https://id.example/a?x=1", "https://id.example/a?x=1&"),
        ] {
            let url = AuthorizationRequest {
                provider: &provider(endpoint),
                client_id: "gate&way",
                redirect_uri: "https://app.example/cb",
                scopes: &["profile", "openid", "e mail"],
                secrets: &secrets,
            }
            .url();
            assert_eq!(
                url,
                format!(
                    "{start}response_type=code&client_id=gate%26way&redirect_uri=https%3A%2F%2Fapp.example%2Fcb\
                     &scope=openid%20profile%20e%20mail&state={}&nonce={}&code_challenge={}&code_challenge_method=S256",
                    secrets.state(),
                    secrets.nonce(),
                    secrets.challenge()
                )
            );
        }
        let url = EndSessionRequest {
            provider: &provider("https://id.example/a"),
            client_id: "gateway",
            id_token: "a.b.c",
            back_to: Some("https://app.example/"),
        }
        .url();
        let expected = "https://id.example/end?id_token_hint=a.b.c&client_id=gateway\
                        &post_logout_redirect_uri=https%3A%2F%2Fapp.example%2F";
        assert_eq!(url.as_deref(), Some(expected));
    }
}
