//! Credentials by the beginnings that their issuers gave them, so that they can be found. Each reader checks length,
//! alphabet, what stands before and behind, and that the random part is not a placeholder such as `xxxx`.

use std::ops::Range;

use super::{Anchor, LeakClass, LeakGroup, Reader};

/// 512 bytes: no token below is longer.
const TOKEN_BYTES_MAX: usize = 512;
/// 16 KiB: an RSA key of 16,384 bits takes 13.
pub(super) const PEM_BYTES_MAX: usize = 16 << 10;
/// 6 different signs: a random text of 20 has more, a placeholder fewer.
const DIFFERENT_MIN: usize = 6;

/// The beginnings.
pub(super) fn anchors() -> impl Iterator<Item = Anchor> {
    use LeakClass as Class;
    let table: &[(Class, Reader, &[&'static str])] = &[
        (Class::AnthropicKey, |text, at| token(text, at, is_wordlike, 40..=256), &["sk-ant-"]),
        (Class::AwsAccessKey, |text, at| token(text, at, is_base32, 16..=16), &["AKIA", "ASIA"]),
        (
            Class::AwsSecretKey,
            |text, at| assigned(text, at, is_base64, 40..=40),
            &["aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "SecretAccessKey", "secretAccessKey"],
        ),
        (Class::AzureStorageKey, |text, at| assigned(text, at, is_base64, 86..=88), &["AccountKey"]),
        (Class::BartizanKey, bartizan, &["bzk_"]),
        (
            Class::ConnectionPassword,
            password,
            &[
                "postgres://",
                "postgresql://",
                "mysql://",
                "mariadb://",
                "mongodb://",
                "mongodb+srv://",
                "redis://",
                "rediss://",
                "amqp://",
                "amqps://",
                "sqlserver://",
            ],
        ),
        (
            Class::DigitalOceanToken,
            |text, at| token(text, at, is_hex, 64..=64),
            &["dop_v1_", "doo_v1_", "dor_v1_"],
        ),
        (
            Class::GitHubToken,
            |text, at| token(text, at, is_alphanumeric, 36..=251),
            &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
        ),
        (Class::GitHubToken, |text, at| token(text, at, is_wordlike, 40..=251), &["github_pat_"]),
        (
            Class::GitLabToken,
            |text, at| token(text, at, is_wordlike, 20..=64),
            &["glpat-", "gldt-", "glrt-", "glcbt-"],
        ),
        (Class::GoogleKey, |text, at| token(text, at, is_wordlike, 35..=35), &["AIza"]),
        (Class::GoogleKey, |text, at| token(text, at, is_wordlike, 28..=28), &["GOCSPX-"]),
        (Class::GoogleKey, |text, at| token(text, at, is_dotted, 60..=TOKEN_BYTES_MAX), &["ya29."]),
        (Class::HuggingFaceToken, |text, at| token(text, at, is_alphanumeric, 34..=40), &["hf_"]),
        (Class::NpmToken, |text, at| token(text, at, is_alphanumeric, 36..=36), &["npm_"]),
        (
            Class::OpenAiKey,
            |text, at| token(text, at, is_wordlike, 40..=256),
            &["sk-proj-", "sk-svcacct-", "sk-admin-"],
        ),
        (Class::OpenAiKey, openai, &["T3BlbkFJ"]),
        (Class::PrivateKey, pem, &["-----BEGIN "]),
        (
            Class::PypiToken,
            |text, at| token(text, at, is_wordlike, 50..=TOKEN_BYTES_MAX),
            &["pypi-AgEIcHlwaS5vcmc"],
        ),
        (Class::SendGridKey, |text, at| token(text, at, is_dotted, 66..=66), &["SG."]),
        (
            Class::ShopifyToken,
            |text, at| token(text, at, is_hex, 32..=32),
            &["shpat_", "shpca_", "shppa_", "shpss_"],
        ),
        (
            Class::SlackToken,
            |text, at| token(text, at, is_wordlike, 20..=256),
            &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xapp-"],
        ),
        (Class::SlackToken, |text, at| token(text, at, is_dotted, 40..=256), &["xoxe."]),
        (
            Class::SlackToken,
            |text, at| token_anywhere(text, at, is_path, 40..=60),
            &["hooks.slack.com/services/"],
        ),
        (Class::StripeKey, |text, at| token(text, at, is_alphanumeric, 20..=256), &["sk_live_", "rk_live_"]),
        (Class::StripeKey, |text, at| token(text, at, is_base64, 32..=64), &["whsec_"]),
        (Class::VaultToken, |text, at| token(text, at, is_wordlike, 80..=256), &["hvs.", "hvb."]),
        (Class::JsonWebToken, jwt, &["eyJ"]),
    ];
    table
        .iter()
        .flat_map(|(class, read, texts)| {
            texts.iter().map(|text| Anchor { text: text.as_bytes(), class: *class, read: *read })
        })
        .collect::<Vec<_>>()
        .into_iter()
}

/// Something in a text that began and has not ended: more text could make a secret of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) start: usize,
    /// Whether it is a private key, which has an end of its own.
    pub(super) is_key: bool,
}

impl Opening {
    /// What stands at the end of `text` behind a beginning, if it goes to the end and could go on.
    pub(super) fn at(text: &[u8], at: Range<usize>, class: LeakClass) -> Option<Self> {
        if class.group() != LeakGroup::Secret {
            return None;
        }
        let rest = text.get(at.end..)?;
        let is_key = class == LeakClass::PrivateKey;
        let is_open = match class {
            LeakClass::PrivateKey => text.len() - at.start < PEM_BYTES_MAX && is_open_key(rest),
            LeakClass::AwsSecretKey | LeakClass::AzureStorageKey => {
                let gap = rest.iter().take(GAP_BYTES_MAX).take_while(|byte| is_gap(**byte)).count();
                is_open_token(rest.get(gap..)?, is_secret)
            }
            LeakClass::ConnectionPassword => is_open_token(rest, |byte| !ends_authority(byte)),
            LeakClass::SlackToken => is_open_token(rest, is_secret),
            _ => begins_a_word(text, at.start) && is_open_token(rest, is_secret),
        };
        is_open.then_some(Self { start: at.start, is_key })
    }

    /// Whether it certainly is still open after the text grew beyond `before` bytes; otherwise look again. Only keys are so
    /// long that this is worth knowing.
    pub(super) fn goes_on(self, text: &[u8], before: usize) -> bool {
        let (length, new) = (text.len() - self.start.min(text.len()), text.get(before..).unwrap_or_default());
        self.is_key && length < PEM_BYTES_MAX && !new.contains(&b'-')
    }
}

fn is_open_token(rest: &[u8], of: impl Fn(u8) -> bool) -> bool {
    rest.len() <= TOKEN_BYTES_MAX && rest.iter().all(|byte| of(*byte))
}

/// Whether what follows `-----BEGIN ` is a private key without its end.
fn is_open_key(rest: &[u8]) -> bool {
    let head = rest.get(..rest.len().min(LABEL_BYTES_MAX)).unwrap_or_default();
    let Some(end) = memchr::memmem::find(head, b"-----") else {
        return rest.len() < LABEL_BYTES_MAX && !rest.contains(&b'\n');
    };
    let label = head.get(..end).unwrap_or_default();
    let closing = memchr::memmem::find(rest, b"-----END ");
    is_private_key(label)
        && closing
            .is_none_or(|closing| rest.len() < closing + b"-----END ".len() + label.len() + b"-----".len())
}

/// Bytes that some secret has behind its beginning.
pub(super) fn is_secret(byte: u8) -> bool {
    is_dotted(byte) || is_base64(byte)
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn is_wordlike(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn is_dotted(byte: u8) -> bool {
    is_wordlike(byte) || byte == b'.'
}

fn is_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'/'
}

fn is_base32(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'2'..=b'7')
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

/// How many bytes from `at` on are of an alphabet, as far as a token goes.
fn run(text: &[u8], at: usize, of: fn(u8) -> bool) -> usize {
    text.iter().skip(at).take(TOKEN_BYTES_MAX + 1).take_while(|byte| of(**byte)).count()
}

fn begins_a_word(text: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).and_then(|at| text.get(at)) else { return true };
    if !before.is_ascii_alphanumeric() && *before != b'_' {
        return true;
    }
    // `\nAKIA…` inside a JSON string: the letter belongs to the escape.
    matches!(before, b'n' | b't' | b'r') && at.checked_sub(2).and_then(|at| text.get(at)) == Some(&b'\\')
}

fn is_random(text: &[u8]) -> bool {
    let mut seen = [false; 256];
    let mut different = 0;
    for byte in text {
        if let Some(place) = seen.get_mut(usize::from(*byte))
            && !*place
        {
            *place = true;
            different += 1;
        }
    }
    different >= DIFFERENT_MIN
}

/// A beginning at the start of a word, then a run of an alphabet of the right length.
fn token(
    text: &[u8],
    at: Range<usize>,
    of: fn(u8) -> bool,
    lengths: std::ops::RangeInclusive<usize>,
) -> Option<Range<usize>> {
    begins_a_word(text, at.start).then(|| token_anywhere(text, at, of, lengths)).flatten()
}

fn token_anywhere(
    text: &[u8],
    at: Range<usize>,
    of: fn(u8) -> bool,
    lengths: std::ops::RangeInclusive<usize>,
) -> Option<Range<usize>> {
    let length = run(text, at.end, of);
    let end = at.end + length;
    (lengths.contains(&length) && is_random(text.get(at.end..end)?)).then_some(at.start..end)
}

/// 12 bytes between a name and its value: quotes, escapes, a sign and some spaces.
const GAP_BYTES_MAX: usize = 12;

fn is_gap(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'\\' | b' ' | b':' | b'=' | b'>' | b'\t')
}

/// A name, then `=` or `:` with quotes and spaces around, then the value.
fn assigned(
    text: &[u8],
    at: Range<usize>,
    of: fn(u8) -> bool,
    lengths: std::ops::RangeInclusive<usize>,
) -> Option<Range<usize>> {
    let between = text.get(at.end..)?.iter().take(GAP_BYTES_MAX);
    let gap = between.take_while(|byte| is_gap(**byte)).count();
    let sign = text.get(at.end..at.end + gap)?.iter().any(|byte| matches!(byte, b':' | b'=' | b'>'));
    let start = at.end + gap;
    let length = run(text, start, of);
    (sign && lengths.contains(&length) && is_random(text.get(start..start + length)?))
        .then_some(start..start + length)
}

/// The legacy form: `sk-`, 20 signs, the marker, 20 signs.
fn openai(text: &[u8], at: Range<usize>) -> Option<Range<usize>> {
    let start = at.start.checked_sub(23)?;
    let head = text.get(start..at.start)?;
    let is_one = head.starts_with(b"sk-")
        && head.iter().skip(3).all(u8::is_ascii_alphanumeric)
        && begins_a_word(text, start)
        && run(text, at.end, is_alphanumeric) == 20;
    is_one.then_some(start..at.end + 20)
}

/// `bzk_`, id (12), `_`, secret (43), checksum (6): docs/decisions/0004-api-keys.md. The checksum decides.
fn bartizan(text: &[u8], at: Range<usize>) -> Option<Range<usize>> {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let end = at.start + 66;
    let key = text.get(at.start..end)?;
    let (covered, claimed) = key.split_at_checked(60)?;
    let mut value = crc32fast::hash(covered);
    let mut sum = [b'0'; 6];
    for place in sum.iter_mut().rev() {
        *place = DIGITS.get((value % 62) as usize).copied().unwrap_or(b'0');
        value /= 62;
    }
    (claimed == sum).then_some(at.start..end)
}

/// 40 bytes for the label of a key and the hyphens behind it.
const LABEL_BYTES_MAX: usize = 40;

fn is_private_key(label: &[u8]) -> bool {
    label.ends_with(b"PRIVATE KEY") || label == b"PGP PRIVATE KEY BLOCK"
}

/// From the opening line of a private key to its closing one.
fn pem(text: &[u8], at: Range<usize>) -> Option<Range<usize>> {
    let head = text.get(at.end..(at.end + LABEL_BYTES_MAX).min(text.len()))?;
    let label = memchr::memmem::find(head, b"-----").and_then(|end| head.get(..end))?;
    if !is_private_key(label) {
        return None;
    }
    let limit = (at.start + PEM_BYTES_MAX).min(text.len());
    let body = text.get(at.end..limit)?;
    // Without its end it is as much of the key as there is.
    let end = memchr::memmem::find(body, b"-----END ")
        .map(|found| at.end + found + b"-----END ".len() + label.len() + b"-----".len());
    Some(at.start..end.unwrap_or(limit).min(text.len()))
}

fn ends_authority(byte: u8) -> bool {
    matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'\\' | b'<' | b'>') || byte.is_ascii_whitespace()
}

/// `scheme://user:password@host`: the password.
fn password(text: &[u8], at: Range<usize>) -> Option<Range<usize>> {
    let authority = text.get(at.end..(at.end + TOKEN_BYTES_MAX).min(text.len()))?;
    let length = authority.iter().position(|byte| ends_authority(*byte));
    let authority = authority.get(..length.unwrap_or(authority.len()))?;
    let host = memchr::memrchr(b'@', authority)?;
    let user = memchr::memchr(b':', authority.get(..host)?)?;
    let start = at.end + user + 1;
    let secret = text.get(start..at.end + host)?;
    // `<password>`, `${PASSWORD}`, `***` are how documentation writes one.
    let written = secret.is_empty()
        || secret.starts_with(b"$")
        || secret.starts_with(b"{")
        || secret.iter().all(|byte| *byte == b'*');
    (!written).then_some(start..at.end + host)
}

/// Three parts in Base64 with dots; the first is a JSON object that names its algorithm.
fn jwt(text: &[u8], at: Range<usize>) -> Option<Range<usize>> {
    // Inside a longer run it is none; reading each of many would read the run as often.
    let inside =
        at.start.checked_sub(1).and_then(|at| text.get(at)).is_some_and(|byte| matches!(byte, b'.' | b'-'));
    if inside || !begins_a_word(text, at.start) {
        return None;
    }
    let bounded = text.get(at.start..(at.start + (8 << 10)).min(text.len()))?;
    let length = bounded.iter().take_while(|byte| is_dotted(**byte)).count();
    let token = bounded.get(..length)?;
    let parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
    let [head, claims, seal] = parts.as_slice() else { return None };
    let mut decoded = Vec::new();
    let standard: Vec<u8> = head
        .iter()
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    let _ = crate::transform::Transform::Base64Decode.apply(&standard, &mut decoded);
    let named = memchr::memmem::find(&decoded, b"\"alg\"").is_some();
    (named && claims.starts_with(b"eyJ") && seal.len() >= 16).then_some(at.start..at.start + length)
}
