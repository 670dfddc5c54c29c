//! What a method needs from outside before it can judge: asked for on the fetching thread, waited for with a deadline.

use std::sync::Arc;

use bartizan_identity::{
    BasicCredentials, BasicIdentity, BasicUsers, introspection::TokenDigest, oidc::Session,
};
use bartizan_model::{Fault, Stage};

use crate::{
    introspect::{Introspector, Said},
    runtime::Runtime,
    sign_in::{Provider, Renewal},
};

/// What must be looked up.
pub(super) enum Lookup {
    /// The key set of this name.
    KeySet(Arc<str>),
    /// Whether this is the user's password.
    Password(Arc<BasicUsers>, Arc<BasicCredentials>),
    /// What becomes of a session whose tokens are over.
    Renewal(Arc<Provider>, Arc<Session>),
    /// What this endpoint says of the token.
    Token(Arc<Introspector>, Box<[u8]>, TokenDigest),
}

/// What was looked up and is not remembered elsewhere.
#[derive(Default)]
pub(super) struct Asked {
    token: Option<(TokenDigest, Said)>,
    password: Option<Option<BasicIdentity>>,
    renewal: Option<Renewal>,
}

impl Asked {
    /// Whose password it is, if one was checked.
    pub(super) fn password(&self) -> Option<Option<&BasicIdentity>> {
        self.password.as_ref().map(Option::as_ref)
    }

    /// What became of the session, if that was asked.
    pub(super) fn renewal(&self) -> Option<&Renewal> {
        self.renewal.as_ref()
    }

    /// What was said of this token.
    pub(super) fn about(&self, token: &TokenDigest) -> Option<&Said> {
        self.token.as_ref().filter(|(known, _)| known == token).map(|(_, said)| said)
    }
}

impl Lookup {
    /// What could not be looked up.
    pub(super) fn fault(&self) -> Fault {
        let what = match self {
            Lookup::KeySet(name) => format!("the keys cannot be fetched: {name}"),
            Lookup::Password(..) => "the password cannot be checked now".to_owned(),
            Lookup::Renewal(..) => "the session's tokens cannot be renewed now".to_owned(),
            Lookup::Token(..) => "the issuer does not answer about the token".to_owned(),
        };
        Fault::new(Stage::Identify, what)
    }

    /// Looks it up. `still_wanted` is asked when a look-up that had to wait for its turn begins.
    pub(super) async fn run(
        &self,
        runtime: &Runtime,
        now_ms: u64,
        still_wanted: impl FnOnce() -> bool,
    ) -> Result<Asked, Fault> {
        // A rehearsal asks nobody.
        let Some(outside) = runtime.outside() else { return Err(self.fault()) };
        match self {
            Lookup::KeySet(name) => match outside.key_sets.look_up(name.clone()).await {
                Ok(()) => Ok(Asked::default()),
                Err(_) => Err(self.fault()),
            },
            Lookup::Password(users, credentials) => {
                match outside.passwords.check(users, credentials, still_wanted).await {
                    Ok(password) => Ok(Asked { password: Some(password), ..Asked::default() }),
                    Err(_) => Err(self.fault()),
                }
            }
            Lookup::Renewal(provider, session) => {
                let renewal = Some(provider.renew(outside, session).await);
                Ok(Asked { renewal, ..Asked::default() })
            }
            Lookup::Token(introspector, token, digest) => {
                match introspector.ask(&outside.fetcher, token, *digest, now_ms).await {
                    Some(said) => Ok(Asked { token: Some((*digest, said)), ..Asked::default() }),
                    None => Err(self.fault()),
                }
            }
        }
    }
}
