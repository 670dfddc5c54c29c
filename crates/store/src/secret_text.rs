//! Texts such as `bzt_<id>_<secret>`: the id finds the row, the secret is 256 random bits of which only the SHA-256 is
//! kept, for a slow hash would protect nothing there. Compared in constant time.

use std::fmt;

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
};
use zeroize::Zeroizing;

use crate::{error::Error, pepper};

/// The text of a token, session or link, in the one moment in which it is known.
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The text, for the one who is to have it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// A new text: its id, what is kept of it, and itself.
pub(crate) struct Minted {
    pub(crate) id: String,
    pub(crate) hash: [u8; 32],
    pub(crate) text: SecretText,
}

/// Makes a text with this prefix.
pub(crate) fn mint(prefix: &str) -> Result<Minted, Error> {
    let (id, secret) = (pepper::random::<8>()?, pepper::random::<32>()?);
    let id = hex(&*id);
    let secret = Zeroizing::new(hex(&*secret));
    let hash = hash(&secret);
    let text = SecretText(Zeroizing::new(format!("{prefix}{id}_{}", *secret)));
    Ok(Minted { id, hash, text })
}

/// A new public id.
pub(crate) fn id() -> Result<String, Error> {
    Ok(hex(&*pepper::random::<8>()?))
}

/// Id and secret of a text with this prefix; `None` where it is none by its form.
pub(crate) fn split<'t>(prefix: &str, text: &'t str) -> Option<(&'t str, &'t str)> {
    let (id, secret) = text.strip_prefix(prefix)?.split_once('_')?;
    (id.len() == ID_CHARS && secret.len() == SECRET_CHARS).then_some((id, secret))
}

/// Whether the secret is the one of which this hash was kept.
pub(crate) fn is_of(secret: &str, kept: &[u8]) -> bool {
    verify_slices_are_equal(&hash(secret), kept).is_ok()
}

pub(crate) fn hash(secret: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const ID_CHARS: usize = 16;
const SECRET_CHARS: usize = 64;
