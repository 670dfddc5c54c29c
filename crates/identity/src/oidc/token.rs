//! A code, or a refresh token, for tokens (RFC 6749 §4.1.3, §6; OpenID Connect Core 1.0 §3.1.3).

use std::fmt;

use zeroize::Zeroizing;

use crate::{
    json::{Budget, Json, Number, Object},
    jwt::compact::TOKEN_BYTES_MAX,
    oidc::{callback::word, form, provider::ClientAuthentication},
};

/// Our name and secret at a provider.
#[derive(Clone)]
pub struct ClientCredentials {
    id: String,
    /// `None` for a public client, which PKCE alone protects.
    secret: Option<Zeroizing<String>>,
}

/// What is sent to the token endpoint. It holds secrets, so it shows nothing.
pub struct TokenRequest {
    /// The form.
    pub form: Zeroizing<String>,
    /// What stands behind `Basic ` in `Authorization`, before it is encoded in Base64; `None` where the form has it.
    pub basic: Option<Zeroizing<String>>,
}

impl ClientCredentials {
    /// A client, with a secret or public.
    pub fn new(id: impl Into<String>, secret: Option<String>) -> Self {
        ClientCredentials { id: id.into(), secret: secret.map(Zeroizing::new) }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Exchanges a code.
    pub fn exchange(
        &self,
        by: ClientAuthentication,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
    ) -> TokenRequest {
        self.request(
            by,
            &[
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", redirect_uri),
                ("code_verifier", verifier),
            ],
        )
    }

    /// Renews by a refresh token.
    pub fn refresh(&self, by: ClientAuthentication, refresh_token: &str) -> TokenRequest {
        self.request(by, &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)])
    }

    fn request(&self, by: ClientAuthentication, fields: &[(&str, &str)]) -> TokenRequest {
        let mut form = String::new();
        for (name, value) in fields {
            form::append(name, value, &mut form);
        }
        let mut basic = None;
        match (&self.secret, by) {
            (None, _) => form::append("client_id", &self.id, &mut form),
            (Some(secret), ClientAuthentication::Post) => {
                form::append("client_id", &self.id, &mut form);
                form::append("client_secret", secret, &mut form);
            }
            (Some(secret), ClientAuthentication::Basic) => {
                // RFC 6749 §2.3.1: both are form-encoded before they are joined.
                let mut joined = String::new();
                form::encode(self.id.as_bytes(), &mut joined);
                joined.push(':');
                form::encode(secret.as_bytes(), &mut joined);
                basic = Some(Zeroizing::new(joined));
            }
        }
        TokenRequest { form: Zeroizing::new(form), basic }
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenRequest(…)")
    }
}

/// What the token endpoint gave.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenAnswer {
    /// The ID token, not judged yet; a refresh may bring none (OpenID Connect Core 1.0 §12.2).
    pub id_token: Option<String>,
    /// What renews it.
    pub refresh_token: Option<Zeroizing<String>>,
    /// How long the access token is good, in seconds, where the provider says so.
    pub expires_in: Option<u64>,
}

/// Why there are no tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// The provider refuses this code or refresh token, and will again: `invalid_grant`.
    #[error("the provider refuses the grant")]
    Grant,
    /// The provider refuses for a reason that is not the browser's; its error code.
    #[error("the provider answers {0}")]
    Other(String),
    /// Not an answer of a token endpoint.
    #[error("the answer cannot be read")]
    Unreadable,
}

/// 4 KiB: what refresh tokens are at most; it must fit in a cookie.
const REFRESH_BYTES_MAX: usize = 4_096;

const BUDGET: Budget = Budget { depth: 4, members: 64, values: 256 };

impl TokenAnswer {
    /// Reads an answer of this status.
    ///
    /// # Errors
    ///
    /// When it brings no tokens.
    pub fn read(status: u16, body: &[u8]) -> Result<Self, TokenRefusal> {
        let answer = Object::parse(body, BUDGET).map_err(|_| TokenRefusal::Unreadable)?;
        let text = |name: &str| answer.text(name).map_err(|_| TokenRefusal::Unreadable);
        if status != 200 {
            // RFC 6749 §5.2.
            return Err(match text("error")? {
                Some("invalid_grant") => TokenRefusal::Grant,
                Some(error) => TokenRefusal::Other(word(error)),
                None => TokenRefusal::Unreadable,
            });
        }
        // RFC 6749 §5.1: which kind it is must be there, and has no case.
        if !text("token_type")?.is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"))
            || text("access_token")?.is_none()
        {
            return Err(TokenRefusal::Unreadable);
        }
        let id_token = text("id_token")?.map(str::to_owned);
        let refresh_token = text("refresh_token")?.map(|token| Zeroizing::new(token.to_owned()));
        if id_token.as_ref().is_some_and(|token| token.len() > TOKEN_BYTES_MAX)
            || refresh_token.as_ref().is_some_and(|token| token.is_empty() || token.len() > REFRESH_BYTES_MAX)
        {
            return Err(TokenRefusal::Unreadable);
        }
        let expires_in = match answer.get("expires_in") {
            Some(Json::Number(Number::Unsigned(seconds))) => Some(*seconds),
            _ => None,
        };
        Ok(TokenAnswer { id_token, refresh_token, expires_in })
    }
}

impl fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAnswer").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_proves_itself_in_the_way_the_provider_takes() {
        let client = ClientCredentials::new("gate:way", Some("s/ecret+".to_owned()));
        let by_basic = client.exchange(ClientAuthentication::Basic, "c+1", "https://a.example/cb", "v");
        let form = "grant_type=authorization_code&code=c%2B1&redirect_uri=https%3A%2F%2Fa.example%2Fcb&code_verifier=v";
        assert_eq!(*by_basic.form, form);
        assert_eq!(by_basic.basic.as_ref().map(|text| text.as_str()), Some("gate%3Away:s%2Fecret%2B"));
        let by_post = client.refresh(ClientAuthentication::Post, "r");
        let form = "grant_type=refresh_token&refresh_token=r&client_id=gate%3Away&client_secret=s%2Fecret%2B";
        assert_eq!((&**by_post.form, by_post.basic.is_none()), (form, true));
        let public = ClientCredentials::new("spa", None).refresh(ClientAuthentication::Basic, "r");
        assert_eq!(
            (&**public.form, public.basic.is_none()),
            ("grant_type=refresh_token&refresh_token=r&client_id=spa", true)
        );
        assert!(!format!("{client:?} {by_basic:?}").contains("ecret"));
    }

    #[test]
    fn an_answer_brings_tokens_or_says_why_not() {
        let ok = r#"{"access_token":"a","token_type":"bearer","id_token":"x.y.z","refresh_token":"r","expires_in":60}"#;
        let answer = TokenAnswer::read(200, ok.as_bytes()).unwrap();
        assert_eq!(answer.id_token.as_deref(), Some("x.y.z"));
        assert_eq!(answer.refresh_token.as_ref().map(|token| token.as_str()), Some("r"));
        assert_eq!(answer.expires_in, Some(60));
        assert!(!format!("{answer:?}").contains("x.y.z"));
        let long = "r".repeat(REFRESH_BYTES_MAX + 1);
        use TokenRefusal::{Grant, Other, Unreadable};
        for (status, body, refusal) in [
            (400, r#"{"error":"invalid_grant"}"#.to_owned(), Grant),
            (401, r#"{"error":"invalid_client"}"#.to_owned(), Other("invalid_client".into())),
            (400, r#"{"error":"<script>"}"#.to_owned(), Other("an error".into())),
            (500, "<html>".to_owned(), Unreadable),
            (400, "{}".to_owned(), Unreadable),
            (200, "{}".to_owned(), Unreadable),
            (200, r#"{"access_token":"a","token_type":"mac"}"#.to_owned(), Unreadable),
            (200, r#"{"access_token":"a","token_type":"bearer","id_token":7}"#.to_owned(), Unreadable),
            (
                200,
                r#"{"access_token":"a","token_type":"bearer","id_token":"a","id_token":"b"}"#.to_owned(),
                Unreadable,
            ),
            (
                200,
                format!(r#"{{"access_token":"a","token_type":"bearer","refresh_token":"{long}"}}"#),
                Unreadable,
            ),
        ] {
            assert_eq!(TokenAnswer::read(status, body.as_bytes()).unwrap_err(), refusal, "{body}");
        }
    }
}
