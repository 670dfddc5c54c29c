//! Signing in at an OpenID provider: the authorization code flow, as pure pieces.
//!
//! What is sent, what may come back, and what a session holds; no sockets, no clock, no randomness of its own. The code
//! is worth nothing to whoever steals it (PKCE), an answer belongs to the browser that asked (`state`), the token to
//! the sign-in that it answers (`nonce`), and the answer to the provider that was asked (`iss`, RFC 9207). Every check
//! is made whether or not the provider seems to need it.
//!
//! Reading order: [`provider`] (what its discovery document says), [`sign_in`] (one attempt and its secrets),
//! [`request`] (where the browser is sent), [`callback`] (what it brings back), [`token`] (code or refresh token for
//! tokens), [`id_token`] (who it is), [`session`] (what is kept), [`seal`] (how a browser keeps it for us).

pub mod callback;
pub mod form;
pub mod id_token;
mod pack;
pub mod provider;
pub mod request;
pub mod seal;
pub mod session;
pub mod sign_in;
pub mod token;

pub use callback::{Callback, CallbackFlaw};
pub use id_token::{Expected, IdTokenFlaw, SignedIn};
pub use provider::{ClientAuthentication, MetadataFlaw, ProviderMetadata};
pub use request::{AuthorizationRequest, EndSessionRequest};
pub use seal::{Purpose, SealFlaw, SealKeys};
pub use session::{Session, SessionRules, SessionState, SessionTerms};
pub use sign_in::{SignIn, SignInSecrets};
pub use token::{ClientCredentials, TokenAnswer, TokenRefusal, TokenRequest};
