//! What a browser brings back from the provider (RFC 6749 §4.1.2, RFC 9207).

use std::fmt;

use crate::oidc::{form, provider::ProviderMetadata, sign_in::SignIn};

/// What stands in the callback's query.
#[derive(Clone, PartialEq, Eq)]
pub struct Callback {
    state: String,
    issuer: Option<String>,
    outcome: Result<String, String>,
}

/// Why it is not the answer to a sign-in that began here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackFlaw {
    /// Parameters are missing, occur twice or are too long.
    #[error("the answer is malformed")]
    Malformed,
    /// It names another provider, or none where this one always names itself: RFC 9207 §2.4, mix-up.
    #[error("the answer is not the provider's that was asked")]
    Issuer,
    /// The provider did not sign anybody in; its error code.
    #[error("the provider answers {0}")]
    Refused(String),
    /// It belongs to no sign-in of this browser.
    #[error("the answer belongs to no sign-in that began in this browser")]
    State,
    /// The sign-in began too long ago.
    #[error("the sign-in took too long")]
    TooLate,
}

/// 4 KiB: codes are a few hundred bytes, and some providers' are tokens.
const VALUE_BYTES_MAX: usize = 4_096;

impl Callback {
    /// Reads the query. What must be single is refused twice (RFC 6749 §3.1).
    ///
    /// # Errors
    ///
    /// When it is malformed.
    pub fn read(query: &str) -> Result<Self, CallbackFlaw> {
        let pairs = form::read(query).ok_or(CallbackFlaw::Malformed)?;
        let single = |name: &str| {
            let mut values = pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
            match (values.next(), values.next()) {
                (value, None) if value.is_none_or(|value| value.len() <= VALUE_BYTES_MAX) => {
                    Ok(value.cloned())
                }
                _ => Err(CallbackFlaw::Malformed),
            }
        };
        let outcome = match (single("code")?, single("error")?) {
            (Some(code), None) if !code.is_empty() => Ok(code),
            (None, Some(error)) => Err(error),
            _ => return Err(CallbackFlaw::Malformed),
        };
        Ok(Callback {
            state: single("state")?.ok_or(CallbackFlaw::Malformed)?,
            issuer: single("iss")?,
            outcome,
        })
    }

    /// `state`, by which the attempt is found.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// The code, if this is the provider's answer to that attempt.
    ///
    /// # Errors
    ///
    /// When it is not, or the provider signed nobody in.
    pub fn code_for(
        &self,
        sign_in: &SignIn,
        origin: &str,
        provider: &ProviderMetadata,
        now_ms: u64,
    ) -> Result<&str, CallbackFlaw> {
        if !sign_in.secrets.is_state(&self.state) || sign_in.origin != origin {
            return Err(CallbackFlaw::State);
        }
        // RFC 9207 §2.4: compared as it is; where it must be there, its absence is another provider's answer.
        match &self.issuer {
            Some(issuer) if **issuer != *provider.issuer => return Err(CallbackFlaw::Issuer),
            None if provider.names_itself => return Err(CallbackFlaw::Issuer),
            _ => {}
        }
        if sign_in.is_over(now_ms) {
            return Err(CallbackFlaw::TooLate);
        }
        match &self.outcome {
            Ok(code) => Ok(code),
            Err(error) => Err(CallbackFlaw::Refused(word(error))),
        }
    }
}

/// RFC 6749 §4.1.2.1 has error codes as ASCII words; anything else is somebody's text and goes into no log.
pub(crate) fn word(error: &str) -> String {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    match error.len() <= 64 && !error.is_empty() && error.bytes().all(is_word) {
        true => error.to_owned(),
        false => "an error".to_owned(),
    }
}

/// Shows neither code nor state.
impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::oidc::sign_in::SIGN_IN_MS_MAX;

    const ORIGIN: &str = "https://app.example";

    fn provider(names_itself: bool) -> ProviderMetadata {
        let text = r#"{"issuer":"https://id.example","authorization_endpoint":"https://id.example/a","token_endpoint":"https://id.example/t","jwks_uri":"https://id.example/k"}"#;
        let provider =
            ProviderMetadata::read(text.as_bytes(), &Arc::from("https://id.example"), false).unwrap();
        ProviderMetadata { names_itself, ..provider }
    }

    fn begun() -> SignIn {
        SignIn::begin(std::array::from_fn(|at| at as u8), 1_000, ORIGIN, "/a")
    }

    #[test]
    fn only_the_answer_to_this_sign_in_gives_a_code() {
        let state = begun().secrets.state();
        let own = "&iss=https%3A%2F%2Fid.example";
        use CallbackFlaw::{Issuer, Malformed, Refused, State, TooLate};
        for (query, origin, names_itself, at, expected) in [
            (format!("code=c%2B1&state={state}"), ORIGIN, false, 1_000, Ok("c+1")),
            (format!("code=c&state={state}{own}"), ORIGIN, true, 1_000, Ok("c")),
            (format!("code=c&state={state}{own}&session_state=x"), ORIGIN, false, 1_000, Ok("c")),
            (format!("code=c&state={state}"), ORIGIN, true, 1_000, Err(Issuer)),
            (
                format!("code=c&state={state}&iss=https%3A%2F%2Fevil.example"),
                ORIGIN,
                false,
                1_000,
                Err(Issuer),
            ),
            (format!("code=c&state={state}&iss="), ORIGIN, false, 1_000, Err(Issuer)),
            (format!("code=c&state={}", begun().secrets.nonce()), ORIGIN, false, 1_000, Err(State)),
            (format!("code=c&state={state}"), "https://other.example", false, 1_000, Err(State)),
            (format!("code=c&state={state}"), ORIGIN, false, 1_000 + SIGN_IN_MS_MAX, Err(TooLate)),
            (
                format!("error=access_denied&state={state}"),
                ORIGIN,
                false,
                1_000,
                Err(Refused("access_denied".into())),
            ),
            (format!("error=%3Cb%3E&state={state}"), ORIGIN, false, 1_000, Err(Refused("an error".into()))),
            (format!("error=access_denied&state={state}"), ORIGIN, true, 1_000, Err(Issuer)),
            ("code=c".into(), ORIGIN, false, 1_000, Err(Malformed)),
            (format!("code=&state={state}"), ORIGIN, false, 1_000, Err(Malformed)),
            (format!("state={state}"), ORIGIN, false, 1_000, Err(Malformed)),
            (format!("code=c&code=c&state={state}"), ORIGIN, false, 1_000, Err(Malformed)),
            (format!("code=c&state={state}&state={state}"), ORIGIN, false, 1_000, Err(Malformed)),
            (format!("code=c&error=e&state={state}"), ORIGIN, false, 1_000, Err(Malformed)),
            (
                format!("code={}&state={state}", "c".repeat(VALUE_BYTES_MAX + 1)),
                ORIGIN,
                false,
                1_000,
                Err(Malformed),
            ),
            ("code=%zz".into(), ORIGIN, false, 1_000, Err(Malformed)),
            (String::new(), ORIGIN, false, 1_000, Err(Malformed)),
        ] {
            let read = Callback::read(&query);
            let found = match &read {
                Ok(callback) => callback.code_for(&begun(), origin, &provider(names_itself), at),
                Err(flaw) => Err(flaw.clone()),
            };
            assert_eq!(found, expected, "{query} {names_itself}");
        }
    }

    #[test]
    fn a_callback_shows_neither_code_nor_state() {
        let shown = format!("{:?}", Callback::read("code=secret&state=hidden").unwrap());
        assert!(!shown.contains("secret") && !shown.contains("hidden"), "{shown}");
    }
}
