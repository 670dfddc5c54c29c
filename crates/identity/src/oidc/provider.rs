//! What a provider's discovery document says (OpenID Connect Discovery 1.0, RFC 8414).

use std::sync::Arc;

use bartizan_model::scalar::FetchUrl;

use crate::json::{Budget, Json, Object};

/// A provider, as its discovery document describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderMetadata {
    /// Its name, which is what `iss` must be everywhere.
    pub issuer: Arc<str>,
    /// Where browsers are sent.
    pub authorization_endpoint: FetchUrl,
    /// Where codes become tokens.
    pub token_endpoint: FetchUrl,
    /// Its keys.
    pub jwks_uri: FetchUrl,
    /// Where browsers are sent to sign out there too.
    pub end_session_endpoint: Option<FetchUrl>,
    /// Whether its answers always name it (RFC 9207 §3), so that one without `iss` is not its own.
    pub names_itself: bool,
    /// How a client with a secret proves itself.
    pub client_authentication: ClientAuthentication,
}

/// How a client with a secret proves itself at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// In `Authorization` (RFC 6749 §2.3.1); what every provider that says nothing takes.
    Basic,
    /// In the form, for providers that take nothing else.
    Post,
}

/// Why a document is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataFlaw {
    /// An endpoint is missing, is no address, or is not `https`.
    #[error("`{0}` is missing or no address that may be used")]
    Endpoint(&'static str),
    /// It takes a client's secret in no way that is used here.
    #[error("the provider takes client secrets neither by Basic nor in a form")]
    ClientAuthentication,
    /// It is no JSON object of a sensible size.
    #[error("the discovery document cannot be read")]
    Form,
    /// It is not about the issuer that was asked for.
    #[error("the discovery document is not one of this issuer")]
    Issuer,
    /// It says that it does not know `S256`.
    #[error("the provider does not know the code challenge method S256")]
    Pkce,
}

/// Real documents have fifty members, some of them lists of thirty.
const BUDGET: Budget = Budget { depth: 6, members: 256, values: 2_048 };

impl ProviderMetadata {
    /// Reads what was found at the issuer's discovery address. `clear_text` permits endpoints without TLS, where a
    /// document does.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is about another issuer, or names an endpoint that may not be used.
    pub fn read(document: &[u8], issuer: &Arc<str>, clear_text: bool) -> Result<Self, MetadataFlaw> {
        let document = Object::parse(document, BUDGET).map_err(|_| MetadataFlaw::Form)?;
        let text = |name: &str| document.get(name).and_then(Json::as_text);
        // OpenID Connect Discovery 1.0 §4.3: exactly the issuer that was asked for.
        if text("issuer") != Some(&**issuer) {
            return Err(MetadataFlaw::Issuer);
        }
        let optional = |name: &'static str| match document.get(name) {
            None => Ok(None),
            Some(value) => {
                let url = value.as_text().and_then(|text| text.parse::<FetchUrl>().ok());
                let url = url.filter(|url| url.is_https() || clear_text);
                url.map(Some).ok_or(MetadataFlaw::Endpoint(name))
            }
        };
        let endpoint = |name: &'static str| optional(name)?.ok_or(MetadataFlaw::Endpoint(name));
        let knows = |name: &str, word: &str| match document.get(name) {
            None => None,
            Some(Json::List(words)) => Some(words.iter().any(|one| one.as_text() == Some(word))),
            Some(_) => Some(false),
        };
        // RFC 8414 §2: left out, nothing is known; the challenge is sent all the same.
        if knows("code_challenge_methods_supported", "S256") == Some(false) {
            return Err(MetadataFlaw::Pkce);
        }
        let methods = "token_endpoint_auth_methods_supported";
        let client_authentication =
            match (knows(methods, "client_secret_basic"), knows(methods, "client_secret_post")) {
                // OpenID Connect Discovery 1.0 §3: Basic where nothing is said.
                (None | Some(true), _) => ClientAuthentication::Basic,
                (_, Some(true)) => ClientAuthentication::Post,
                _ => return Err(MetadataFlaw::ClientAuthentication),
            };
        let iss = "authorization_response_iss_parameter_supported";
        Ok(ProviderMetadata {
            issuer: Arc::clone(issuer),
            authorization_endpoint: endpoint("authorization_endpoint")?,
            token_endpoint: endpoint("token_endpoint")?,
            jwks_uri: endpoint("jwks_uri")?,
            end_session_endpoint: optional("end_session_endpoint")?,
            names_itself: matches!(document.get(iss), Some(Json::Bool(true))),
            client_authentication,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(change: &[(&str, &str)]) -> Result<ProviderMetadata, MetadataFlaw> {
        let mut members = vec![
            ("issuer", r#""https://id.example""#),
            ("authorization_endpoint", r#""https://id.example/auth?a=b""#),
            ("token_endpoint", r#""https://id.example/token""#),
            ("jwks_uri", r#""https://id.example/keys""#),
        ];
        for (name, value) in change {
            members.retain(|(known, _)| known != name);
            members.extend((!value.is_empty()).then_some((*name, *value)));
        }
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        ProviderMetadata::read(
            format!("{{{}}}", members.join(",")).as_bytes(),
            &"https://id.example".into(),
            false,
        )
    }

    #[test]
    fn a_document_of_the_issuer_tells_where_to_go() {
        let found = read(&[]).unwrap();
        assert_eq!(found.authorization_endpoint.to_string(), "https://id.example/auth?a=b");
        assert_eq!(found.end_session_endpoint, None);
        assert_eq!((found.names_itself, found.client_authentication), (false, ClientAuthentication::Basic));
        let found = read(&[
            ("end_session_endpoint", r#""https://id.example/end""#),
            ("authorization_response_iss_parameter_supported", "true"),
            ("code_challenge_methods_supported", r#"["plain","S256"]"#),
            ("token_endpoint_auth_methods_supported", r#"["client_secret_post"]"#),
        ])
        .unwrap();
        assert_eq!(found.end_session_endpoint.unwrap().to_string(), "https://id.example/end");
        assert_eq!((found.names_itself, found.client_authentication), (true, ClientAuthentication::Post));
    }

    #[test]
    fn a_document_that_leads_elsewhere_is_not_believed() {
        use MetadataFlaw::{ClientAuthentication, Endpoint, Form, Issuer, Pkce};
        for (change, flaw) in [
            (("issuer", r#""https://id.example/""#), Issuer),
            (("issuer", ""), Issuer),
            (("authorization_endpoint", ""), Endpoint("authorization_endpoint")),
            (("authorization_endpoint", r#""javascript:alert(1)""#), Endpoint("authorization_endpoint")),
            (("token_endpoint", r#""http://id.example/token""#), Endpoint("token_endpoint")),
            (("token_endpoint", "7"), Endpoint("token_endpoint")),
            (("jwks_uri", r#""file:///etc/passwd""#), Endpoint("jwks_uri")),
            (("end_session_endpoint", r#""http://id.example/end""#), Endpoint("end_session_endpoint")),
            (("code_challenge_methods_supported", r#"["plain"]"#), Pkce),
            (("token_endpoint_auth_methods_supported", r#"["private_key_jwt"]"#), ClientAuthentication),
            (("token_endpoint", r#"{"a":1,"a":2}"#), Form),
        ] {
            assert_eq!(read(&[change]).unwrap_err(), flaw, "{change:?}");
        }
    }
}
