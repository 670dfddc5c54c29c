//! One attempt to sign in: its secrets, and where it leads afterwards.
//!
//! Three values of 256 bits each, drawn by whoever begins: `state` names the attempt to the browser, `nonce` binds the
//! ID token to it, and the verifier (RFC 7636) binds the code. All of it waits in a sealed cookie of the browser that
//! began, so nothing is kept here for people who never come back.

use std::fmt;

use aws_lc_rs::{constant_time, digest};

use crate::{
    base64url,
    oidc::pack::{Pack, Unpack},
};

/// The secrets of one attempt.
#[derive(Clone, PartialEq, Eq)]
pub struct SignInSecrets([u8; Self::BYTES]);

impl SignInSecrets {
    /// How much randomness they are made of.
    pub const BYTES: usize = 96;

    /// From random bytes, which must never be used again.
    pub const fn new(random: [u8; Self::BYTES]) -> Self {
        SignInSecrets(random)
    }

    /// `state`: names the attempt to the browser that began it.
    pub fn state(&self) -> String {
        self.part(0)
    }

    /// `nonce`: names it to the provider, which puts it into the ID token.
    pub fn nonce(&self) -> String {
        self.part(32)
    }

    /// `code_verifier` (RFC 7636 §4.1): 43 characters; only the token endpoint ever gets it.
    pub fn verifier(&self) -> String {
        self.part(64)
    }

    /// `code_challenge` by `S256` (RFC 7636 §4.2). `plain` is never used: it would tell the verifier.
    pub fn challenge(&self) -> String {
        base64url::encode(digest::digest(&digest::SHA256, self.verifier().as_bytes()).as_ref())
    }

    /// Whether `state` is this attempt's, in a time that does not tell how much of it is right.
    #[must_use]
    pub fn is_state(&self, state: &str) -> bool {
        constant_time::verify_slices_are_equal(self.state().as_bytes(), state.as_bytes()).is_ok()
    }

    fn part(&self, from: usize) -> String {
        base64url::encode(self.0.get(from..from + 32).unwrap_or_default())
    }
}

/// Shows nothing.
impl fmt::Debug for SignInSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignInSecrets(…)")
    }
}

/// What is remembered of an attempt until the browser comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// Its secrets.
    pub secrets: SignInSecrets,
    /// When it began.
    pub began_ms: u64,
    /// Scheme, host and port that the browser knows us by, without a path. The way back never leaves it.
    pub origin: String,
    /// Path and query that the browser asked for; see [`is_local_target`].
    pub target: String,
}

/// Ten minutes: so long somebody may look for a password or a second factor.
pub const SIGN_IN_MS_MAX: u64 = 600_000;

/// 2 KiB: a longer target is not led back to; the browser then lands on `/`.
const TARGET_BYTES_MAX: usize = 2_048;

impl SignIn {
    /// Begins one. A target that is too long, or would lead elsewhere, becomes `/`.
    pub fn begin(random: [u8; SignInSecrets::BYTES], now_ms: u64, origin: &str, target: &str) -> Self {
        let is_kept = target.len() <= TARGET_BYTES_MAX && is_local_target(target);
        SignIn {
            secrets: SignInSecrets::new(random),
            began_ms: now_ms,
            origin: origin.to_owned(),
            target: if is_kept { target.to_owned() } else { "/".to_owned() },
        }
    }

    /// Whether its time is over, or the clock was turned back behind its beginning.
    pub fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.began_ms.saturating_add(SIGN_IN_MS_MAX)
            || now_ms.saturating_add(CLOCK_MS) < self.began_ms
    }

    /// As bytes, to be sealed.
    pub fn encode(&self) -> Vec<u8> {
        Pack::of_version(VERSION)
            .fixed(&self.secrets.0)
            .number(self.began_ms)
            .text(self.origin.as_bytes())
            .text(self.target.as_bytes())
            .finish()
    }

    /// From bytes that were sealed.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut record = Unpack::of_version(VERSION, bytes)?;
        let secrets = SignInSecrets(record.fixed()?);
        let began_ms = record.number()?;
        let (origin, target) = (record.text()?.to_owned(), record.text()?.to_owned());
        (record.is_done() && is_local_target(&target)).then_some(SignIn { secrets, began_ms, origin, target })
    }
}

/// Whether a browser that is sent to it stays on this host: one slash and no second (nor a backslash, which browsers
/// take for one), and visible ASCII only, since browsers drop tabs and line breaks before they read.
pub fn is_local_target(target: &str) -> bool {
    let mut bytes = target.bytes();
    bytes.next() == Some(b'/')
        && !matches!(bytes.next(), Some(b'/' | b'\\'))
        && target.bytes().all(|byte| byte.is_ascii_graphic())
}

const VERSION: u8 = 1;

/// A minute: nodes that share a key may differ in their clocks.
const CLOCK_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn random() -> [u8; SignInSecrets::BYTES] {
        std::array::from_fn(|at| at as u8)
    }

    #[test]
    fn the_challenge_is_the_verifiers_hash_as_in_rfc_7636() {
        // RFC 7636 appendix B.
        let octets = [
            116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212, 37, 77, 105,
            214, 191, 240, 91, 88, 5, 88, 83, 132, 141, 121,
        ];
        let mut random = random();
        random[64..].copy_from_slice(&octets);
        let secrets = SignInSecrets::new(random);
        assert_eq!(secrets.verifier(), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(secrets.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert!(
            secrets.is_state(&secrets.state())
                && !secrets.is_state(&secrets.nonce())
                && !secrets.is_state("")
        );
        assert_eq!(format!("{secrets:?}"), "SignInSecrets(…)");
    }

    #[test]
    fn an_attempt_reads_back_and_nothing_else_does() {
        let began = SignIn::begin(random(), 1_000, "https://app.example", "/a?b=c");
        let bytes = began.encode();
        assert_eq!(SignIn::decode(&bytes), Some(began.clone()));
        assert_eq!(SignIn::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(SignIn::decode(&[&bytes[..], b"x"].concat()), None);
        assert_eq!(SignIn::decode(&[&[9], &bytes[1..]].concat()), None);
        assert_eq!(SignIn::decode(b""), None);
        assert!(!began.is_over(1_000 + SIGN_IN_MS_MAX - 1));
        assert!(began.is_over(1_000 + SIGN_IN_MS_MAX));
        let ahead = SignIn { began_ms: 1_000_000, ..began };
        assert!(!ahead.is_over(1_000_000 - 60_000) && ahead.is_over(1_000_000 - 60_001));
    }

    #[test]
    fn the_way_back_never_leaves_the_host() {
        for (target, local) in [
            ("/", true),
            ("/a/b?c=//d", true),
            ("/@evil.example", true),
            ("", false),
            ("a", false),
            ("//evil.example", false),
            ("/\\evil.example", false),
            ("\\\\evil.example", false),
            ("/\t/evil.example", false),
            ("/a\r\nset-cookie: x", false),
            ("https://evil.example/", false),
            ("/ä", false),
        ] {
            assert_eq!(is_local_target(target), local, "{target:?}");
            let kept = SignIn::begin(random(), 0, "https://app.example", target).target;
            assert_eq!(kept, if local { target } else { "/" });
        }
        let long = format!("/{}", "a".repeat(TARGET_BYTES_MAX));
        assert_eq!(SignIn::begin(random(), 0, "https://app.example", &long).target, "/");
        let forged = SignIn { target: "//evil.example".to_owned(), ..SignIn::begin(random(), 0, "", "/") };
        assert_eq!(SignIn::decode(&forged.encode()), None);
    }
}
