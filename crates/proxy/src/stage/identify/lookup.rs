//! What a method needs from outside before it can judge: asked for on the fetching thread, waited for with a deadline.

use std::sync::Arc;

use bartizan_identity::introspection::TokenDigest;
use bartizan_model::{Fault, Stage};

use crate::{
    fetch::introspect::{Introspector, Said},
    runtime::Runtime,
};

/// What must be looked up.
pub(super) enum Lookup {
    /// The key set of this name.
    KeySet(Arc<str>),
    /// What this endpoint says of the token.
    Token(Arc<Introspector>, Box<[u8]>, TokenDigest),
}

/// What was looked up and is not remembered elsewhere.
#[derive(Default)]
pub(super) struct Asked {
    token: Option<(TokenDigest, Said)>,
}

impl Asked {
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
            Lookup::Token(..) => "the issuer does not answer about the token".to_owned(),
        };
        Fault::new(Stage::Identify, what)
    }

    /// Looks it up.
    pub(super) async fn run(&self, runtime: &Runtime, now_ms: u64) -> Result<Asked, Fault> {
        // A rehearsal asks nobody.
        let Some(outside) = runtime.outside() else { return Err(self.fault()) };
        match self {
            Lookup::KeySet(name) => match outside.key_sets.look_up(name.clone()).await {
                Ok(()) => Ok(Asked::default()),
                Err(_) => Err(self.fault()),
            },
            Lookup::Token(introspector, token, digest) => {
                match introspector.ask(&outside.fetcher, token, *digest, now_ms).await {
                    Some(said) => Ok(Asked { token: Some((*digest, said)) }),
                    None => Err(self.fault()),
                }
            }
        }
    }
}
