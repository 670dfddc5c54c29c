//! Passwords of people: which ones are good enough, and how they are kept.
//!
//! Length decides, as NIST SP 800-63B advises; rules about kinds of characters only make people write `Password1!`.
//! What is refused beside short ones is what guessers try first: words of a small list of our own, runs and repetitions,
//! the user's own name. Kept is an Argon2id hash in the PHC string format. Making and checking one takes tens of
//! milliseconds and 19 MiB on purpose: never on a thread that serves.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use crate::{base64, basic::StoredPassword};

/// Why a password is not good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordFlaw {
    /// Words that are tried first, or hardly anything beside them.
    Common,
    /// Characters that no keyboard sends.
    Control,
    /// The user's name, or hardly anything beside it.
    Name,
    /// Few different characters, or a run such as `abcdefghijkl`.
    Pattern,
    /// More bytes than are hashed.
    TooLong,
    /// Fewer characters than are needed.
    TooShort,
}

impl fmt::Display for PasswordFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PasswordFlaw::Common => f.write_str("the password is made of words that are tried first"),
            PasswordFlaw::Control => f.write_str("the password has control characters"),
            PasswordFlaw::Name => f.write_str("the password is hardly more than the user's name"),
            PasswordFlaw::Pattern => {
                f.write_str("the password repeats itself or runs along the alphabet or the keyboard")
            }
            PasswordFlaw::TooLong => write!(f, "the password has more than {PASSWORD_BYTES_MAX} bytes"),
            PasswordFlaw::TooShort => {
                write!(f, "the password needs at least {PASSWORD_CHARS_MIN} characters")
            }
        }
    }
}

/// Fewest characters: beyond what an offline guesser reaches at Argon2id's price, if the words are not common ones.
pub const PASSWORD_CHARS_MIN: usize = 12;

/// Most bytes: a sentence; more would only be work for us.
pub const PASSWORD_BYTES_MAX: usize = 512;

/// Judges a password that somebody wants to have.
///
/// # Errors
/// The first flaw that it has.
pub fn judge(password: &str, user: &str) -> Result<(), PasswordFlaw> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordFlaw::TooLong);
    }
    if password.chars().count() < PASSWORD_CHARS_MIN {
        return Err(PasswordFlaw::TooShort);
    }
    if password.chars().any(char::is_control) {
        return Err(PasswordFlaw::Control);
    }
    let plain = Zeroizing::new(plain(password));
    if is_pattern(&plain) {
        return Err(PasswordFlaw::Pattern);
    }
    let user = Zeroizing::new(self::plain(user));
    if user.len() >= 3 && rest(&plain, &[user.as_str()]) < REST_MIN {
        return Err(PasswordFlaw::Name);
    }
    let mut words: Vec<&str> = COMMON.split_ascii_whitespace().collect();
    // The longest first, so that `passwords` is not left with an `s`.
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    if rest(&plain, &words) < REST_MIN { Err(PasswordFlaw::Common) } else { Ok(()) }
}

/// Makes the text that is kept of a password. Slow on purpose. `None` where the hash fails, for want of memory say.
pub fn hash(password: &str, salt: &[u8; 16]) -> Option<String> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(HASH_BYTES)).ok()?;
    let mut made = Zeroizing::new([0; HASH_BYTES]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt, made.as_mut_slice())
        .ok()?;
    // Unpadded, as the PHC format wants it.
    let text = |bytes: &[u8]| base64::encode(bytes).trim_end_matches('=').to_owned();
    let (salt, made) = (text(salt), text(made.as_slice()));
    Some(format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1${salt}${made}"))
}

/// Whether this is the password of which `kept` was kept. Slow on purpose. A text that is no hash holds for nothing,
/// and costs nothing: where time must not tell, give [`STAND_IN`] for a user whom nobody knows.
pub fn holds(kept: &str, password: &str) -> bool {
    StoredPassword::parse(kept).is_ok_and(|stored| stored.verify(password.as_bytes()))
}

/// A hash of random bytes that nobody knows, with the costs of [`hash`].
pub const STAND_IN: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$RVPLhCsg4kxiH01cyWbfBg$2v0ti4/9bJCEJQX674c58npOgWmkB5S6mGaT4eD+ZZY";

/// Lower case, the usual replacements undone, letters and digits alone.
fn plain(text: &str) -> String {
    let undo = |c: char| match c {
        '@' => 'a',
        '$' => 's',
        '!' => 'i',
        '+' => 't',
        other => other,
    };
    text.chars().flat_map(char::to_lowercase).map(undo).filter(|c| c.is_alphanumeric()).collect()
}

/// How many letters are left when these words are taken out, also where digits stand for letters; a digit counts for
/// a third of one, for they come in dates and counts.
fn rest(plain: &str, words: &[&str]) -> usize {
    let leet: String = plain
        .chars()
        .map(|c| match c {
            '0' => 'o',
            '1' => 'i',
            '3' => 'e',
            '4' => 'a',
            '5' => 's',
            '7' => 't',
            other => other,
        })
        .collect();
    let weigh = |text: &str| {
        let mut left = Zeroizing::new(text.to_owned());
        for word in words {
            *left = left.replace(word, " ");
        }
        let digits = left.chars().filter(char::is_ascii_digit).count();
        let letters = left.chars().filter(|c| c.is_alphanumeric() && !c.is_ascii_digit()).count();
        letters + digits / 3
    };
    weigh(plain).min(weigh(&leet))
}

/// Whether most of it repeats or runs on.
fn is_pattern(plain: &str) -> bool {
    let chars: Vec<char> = plain.chars().collect();
    let different: std::collections::BTreeSet<char> = chars.iter().copied().collect();
    if different.len() < DIFFERENT_MIN {
        return true;
    }
    let follows = |pair: &[char]| match pair {
        [a, b] => {
            let (a, b) = (u32::from(*a), u32::from(*b));
            a == b || a + 1 == b || b + 1 == a || is_keyboard(pair)
        }
        _ => false,
    };
    let running = chars.windows(2).filter(|pair| follows(pair)).count();
    running * 4 >= chars.len().saturating_sub(1) * 3
}

fn is_keyboard(pair: &[char]) -> bool {
    let text: String = pair.iter().collect();
    let back: String = pair.iter().rev().collect();
    KEYBOARD.iter().any(|row| row.contains(&text) || row.contains(&back))
}

const KEYBOARD: [&str; 4] = ["1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm"];
/// OWASP's cheat sheet on password storage: 19 MiB and two passes.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const HASH_BYTES: usize = 32;
/// Letters that must be left beside common words.
const REST_MIN: usize = 5;
/// Different characters in a password.
const DIFFERENT_MIN: usize = 6;

/// What people choose when they must choose something, in plain letters. Our own list: words of the house and of
/// every other list's first page.
const COMMON: &str = "\
password passwort passord motdepasse contrasena contraseña senha parola lozinka wachtwoord heslo haslo passphrase \
passcode secret geheim secure security safe letmein letme login logon signin welcome willkommen bienvenue hello hallo \
admin administrator root user superuser sysadmin operator manager master owner guest test testing tester demo sample \
example default change changeme changeit temp temporary initial start begin access open sesame enter allow \
bartizan gateway castle server service system network cloud api console control management production staging develop \
company office business work \
qwerty qwertz azerty asdf zxcv yxcv qazwsx qweasd qaz wsx edc abc abcd abcde xyz \
iloveyou loveyou love lover baby angel princess prince sunshine sunflower flower butterfly rainbow summer winter \
autumn spring sommer monday tuesday wednesday thursday friday saturday sunday january february march april june july \
august september october november december football baseball basketball soccer hockey tennis golf dragon monkey tiger \
lion shadow superman batman spiderman starwars pokemon matrix ninja jesus heaven freedom liberty michael jordan \
computer laptop internet google facebook apple samsung windows linux microsoft android whatever nothing trustno \
cheese cookie coffee chocolate banana orange correct horse battery staple \
the and for you my mein my is it one two three four five six seven eight nine ten zero new old year";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_decides_and_what_guessers_try_first_does_not_pass() {
        for (password, user, expected) in [
            ("eleven char", "ann", Err(PasswordFlaw::TooShort)),
            ("vexed quince", "ann", Ok(())),
            ("Vierzehn Störche im Nebel", "ann", Ok(())),
            ("kT9$wq!mZ2#x", "ann", Ok(())),
            ("Password1234", "ann", Err(PasswordFlaw::Common)),
            ("P@ssw0rd!2026", "ann", Err(PasswordFlaw::Common)),
            ("admin-admin-2026", "ann", Err(PasswordFlaw::Common)),
            ("correct horse battery staple", "ann", Err(PasswordFlaw::Common)),
            ("correct horse battery quince", "ann", Ok(())),
            ("aaaaaaaaaaaaaaaa", "ann", Err(PasswordFlaw::Pattern)),
            ("abcdefghijklmnop", "ann", Err(PasswordFlaw::Pattern)),
            ("qwertyuiopasdf", "ann", Err(PasswordFlaw::Pattern)),
            ("123456789012345", "ann", Err(PasswordFlaw::Pattern)),
            ("anneliese-2026", "anneliese", Err(PasswordFlaw::Name)),
            ("anneliese quince", "anneliese", Ok(())),
            ("tab\tin a password", "ann", Err(PasswordFlaw::Control)),
        ] {
            assert_eq!(judge(password, user), expected, "{password:?}");
        }
        assert_eq!(judge(&"vexed quince ".repeat(40), "ann"), Err(PasswordFlaw::TooLong));
    }

    #[test]
    fn a_password_holds_against_its_hash_and_no_other_does() {
        let kept = hash("vexed quince", &[7; 16]).unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && !kept.contains("quince"));
        assert!(holds(&kept, "vexed quince"));
        assert!(!holds(&kept, "vexed quincf") && !holds(&kept, ""));
        assert!(!holds("", "vexed quince") && !holds("vexed quince", "vexed quince"));
        assert_ne!(kept, hash("vexed quince", &[8; 16]).unwrap(), "the salt matters");
    }

    #[test]
    fn the_stand_in_costs_what_a_real_one_costs_and_holds_for_nothing() {
        assert!(StoredPassword::parse(STAND_IN).is_ok());
        assert!(
            STAND_IN.contains("$m=19456,t=2,p=1$") && !holds(STAND_IN, "") && !holds(STAND_IN, "password")
        );
    }
}
