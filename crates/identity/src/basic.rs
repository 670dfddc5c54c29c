//! Basic credentials: RFC 7617 on the wire, Argon2id where they are kept.
//!
//! A password costs tens of milliseconds to check, on purpose, so [`BasicUsers::judge`] belongs on a pool and
//! [`Verified`] remembers for a short time what held. A name that nobody has costs the same as a wrong password: it is
//! checked against somebody's, and refused whatever comes out.

mod phc;
#[cfg(test)]
mod tests;
mod verified;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use aws_lc_rs::{digest, hmac};
use zeroize::Zeroizing;

pub(crate) use self::phc::StoredPassword;
pub use self::verified::{VERIFIED_FOR, Verified, VerifiedKey};
use crate::base64::decode;

/// A name and a password as a caller sent them.
pub struct BasicCredentials {
    user: Zeroizing<String>,
    password: Zeroizing<Vec<u8>>,
}

impl BasicCredentials {
    /// Reads a value of `Authorization`: `None` where it is of another scheme, an error where it is of this one and
    /// malformed.
    pub fn read(value: &[u8]) -> Option<Result<Self, Malformed>> {
        let (scheme, rest) = match value.iter().position(|byte| *byte == b' ') {
            Some(at) => value.split_at(at),
            None => (value, &[][..]),
        };
        scheme.eq_ignore_ascii_case(b"basic").then(|| Self::read_token(rest.trim_ascii()))
    }

    fn read_token(token: &[u8]) -> Result<Self, Malformed> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Malformed);
        }
        let plain = Zeroizing::new(decode(token).ok_or(Malformed)?);
        let text = std::str::from_utf8(&plain).map_err(|_| Malformed)?;
        // RFC 7617 §2: the first colon ends the name; control characters are in neither.
        let (user, password) = text.split_once(':').ok_or(Malformed)?;
        if user.is_empty() || text.chars().any(char::is_control) {
            return Err(Malformed);
        }
        Ok(BasicCredentials {
            user: Zeroizing::new(user.to_owned()),
            password: Zeroizing::new(password.as_bytes().to_vec()),
        })
    }

    /// The name it claims. Whose it is, nobody has proven yet.
    pub fn user(&self) -> &str {
        &self.user
    }
}

impl fmt::Debug for BasicCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BasicCredentials(…)")
    }
}

/// Basic credentials that are none by their form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Proof that a name was sent with its password; only [`BasicUsers::judge`] and [`Verified::get`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct BasicIdentity {
    pub(crate) consumer: Arc<str>,
}

impl BasicIdentity {
    /// The identity of a user whose password is taken for right, for rehearsals alone; `cargo xtask tidy` holds the one
    /// place that may call it.
    pub const fn rehearsed_user(consumer: Arc<str>) -> Self {
        BasicIdentity { consumer }
    }

    /// The consumer that the user is. That such a consumer exists, the stage checks.
    pub fn consumer(&self) -> &Arc<str> {
        &self.consumer
    }
}

/// The users of one file.
pub struct BasicUsers {
    users: HashMap<Box<str>, User>,
    /// The names in the order of the file, to choose a stand-in from.
    names: Vec<Box<str>>,
    /// Chooses the stand-in for a name that nobody has, so that the same name always costs the same.
    stand_in: hmac::Key,
    digest: [u8; 32],
}

struct User {
    consumer: Arc<str>,
    password: StoredPassword,
}

impl BasicUsers {
    /// Reads lines `name:$argon2id$…` or `name:$argon2id$…:consumer`; empty lines and those that begin with `#` say
    /// nothing. Without a consumer the name is the consumer's. `seed` keys the choice of stand-ins.
    ///
    /// # Errors
    ///
    /// Every line that cannot be used, by number, without a word of its content.
    pub fn parse(text: &[u8], seed: &[u8; 32]) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let (mut users, mut names) = (HashMap::new(), Vec::new());
        let mut seen = HashSet::new();
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let read = std::str::from_utf8(line).map_err(|_| "it is not UTF-8").and_then(read_line);
            match read {
                Ok((name, _)) if !seen.insert(Box::<str>::from(name)) => {
                    problems.push(format!("line {number}: the user is listed twice"));
                }
                Ok((name, user)) => {
                    names.push(name.into());
                    users.insert(name.into(), user);
                }
                Err(problem) => problems.push(format!("line {number}: {problem}")),
            }
        }
        if names.is_empty() && problems.is_empty() {
            problems.push("there is no user in it".to_owned());
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut whole = [0; 32];
        whole.copy_from_slice(digest::digest(&digest::SHA256, text).as_ref());
        Ok(BasicUsers { users, names, stand_in: hmac::Key::new(hmac::HMAC_SHA256, seed), digest: whole })
    }

    /// Checks the password. Slow: tens of milliseconds and tens of megabytes, for known and unknown names alike.
    pub fn judge(&self, credentials: &BasicCredentials) -> Option<BasicIdentity> {
        let known = self.users.get(credentials.user());
        let user = known.or_else(|| self.stand_in(credentials.user()))?;
        let holds = user.password.verify(&credentials.password);
        // Both must be looked at: a stand-in's password, were it ever guessed, proves nothing about a name nobody has.
        (holds & known.is_some()).then(|| BasicIdentity { consumer: Arc::clone(&user.consumer) })
    }

    fn stand_in(&self, name: &str) -> Option<&User> {
        let tag = hmac::sign(&self.stand_in, name.as_bytes());
        let number = tag.as_ref().iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        let at = usize::try_from(number % u64::try_from(self.names.len()).ok()?).ok()?;
        self.users.get(self.names.get(at)?)
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none; [`BasicUsers::parse`] never makes such a table.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

impl fmt::Debug for BasicUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicUsers").field("users", &self.names.len()).finish_non_exhaustive()
    }
}

fn read_line(line: &str) -> Result<(&str, User), &'static str> {
    let mut parts = line.split(':');
    let name = parts.next().filter(|name| !name.is_empty()).ok_or("there is no name")?;
    let hash = parts.next().ok_or("there is no password after the name")?;
    let consumer = parts.next().unwrap_or(name);
    if parts.next().is_some() || consumer.is_empty() || name.chars().any(char::is_control) {
        return Err("it is not `name:hash` or `name:hash:consumer`");
    }
    Ok((name, User { consumer: consumer.into(), password: StoredPassword::parse(hash)? }))
}

/// Name and password together, encoded. RFC 7617 states no limit; nobody types four kilobytes.
const TOKEN_BYTES_MAX: usize = 4_096;
