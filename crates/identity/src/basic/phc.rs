//! One stored password: `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`, the PHC string format.
//!
//! Argon2id version 19 alone; older and other hashes are refused rather than supported, because whoever can write the
//! file can also write it anew. The parameters have a floor, below which a stolen file is soon guessed, and a ceiling,
//! above which each call would be an attack on ourselves.

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

use crate::base64::decode;

/// A password that can be checked and not read.
pub(crate) struct StoredPassword {
    argon: Argon2<'static>,
    salt: Box<[u8]>,
    hash: Box<[u8]>,
}

impl StoredPassword {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "the password is no hash of the form `$argon2id$v=19$m=…,t=…,p=…$salt$hash`";
        let mut parts = text.split('$');
        let (Some(""), Some("argon2id"), Some("v=19")) = (parts.next(), parts.next(), parts.next()) else {
            return Err(FORM);
        };
        let (Some(costs), Some(salt), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(FORM);
        };
        let mut costs = costs.split(',');
        let mut cost = |name: &str| -> Option<u32> {
            let digits = costs.next()?.strip_prefix(name)?.strip_prefix('=')?;
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        let (Some(memory), Some(passes), Some(lanes)) = (cost("m"), cost("t"), cost("p")) else {
            return Err(FORM);
        };
        if costs.next().is_some() {
            return Err(FORM);
        }
        let salt = decode(salt.as_bytes()).ok_or(FORM)?;
        let hash = decode(hash.as_bytes()).ok_or(FORM)?;
        if !(8..=64).contains(&salt.len()) || !(16..=64).contains(&hash.len()) {
            return Err("the salt must have 8 to 64 bytes and the hash 16 to 64");
        }
        if memory < MEMORY_KIB_MIN || u64::from(memory) * u64::from(passes) < WORK_MIN {
            return Err("the parameters are weaker than OWASP's least: use `m=19456,t=2,p=1` or more");
        }
        if memory > MEMORY_KIB_MAX || passes > PASSES_MAX || lanes > LANES_MAX {
            return Err("the parameters cost more than 64 MiB, 16 passes or 8 lanes");
        }
        let params = Params::new(memory, passes, lanes, Some(hash.len())).map_err(|_| FORM)?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        Ok(StoredPassword { argon, salt: salt.into(), hash: hash.into() })
    }

    /// Whether this is the password. A failure of the hash itself counts as no.
    pub(crate) fn verify(&self, password: &[u8]) -> bool {
        let mut made = Zeroizing::new(vec![0; self.hash.len()]);
        self.argon.hash_password_into(password, &self.salt, &mut made).is_ok()
            && verify_slices_are_equal(&made, &self.hash).is_ok()
    }
}

/// OWASP's cheat sheet on password storage: from 7 MiB and 5 passes to 46 MiB and one, always about this product.
const MEMORY_KIB_MIN: u32 = 7_168;
const WORK_MIN: u64 = 35_840;
/// 64 MiB: RFC 9106 §4's second recommended option, and with a few of them at once still no danger to the process.
const MEMORY_KIB_MAX: u32 = 65_536;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 8;
