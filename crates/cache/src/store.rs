//! May it be kept? RFC 9111 §3, and what is stricter here.
//!
//! Only complete answers to GET without a body are kept, never pieces (206) and never what a judge refused: the stage
//! offers what has been screened. What an origin did not say may be shared is not shared.

use http::{
    HeaderMap, StatusCode,
    header::{AGE, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, COOKIE, EXPIRES, SET_COOKIE, TRAILER},
};

use crate::{
    control::{Control, RequestControl},
    entry::{Entry, Origin, tags},
    freshness::{Lifetime, initial_age, lifetime},
    key::Class,
    lookup::Asked,
    moment::Moment,
    terms::{Authorized, Terms},
    vary::Selecting,
};

/// Why an answer is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It belongs to the caller, and nothing says that it may be kept.
    Authorized,
    /// `no-store`, of the answer or of a caller that is heeded.
    NoStore,
    /// `Cache-Control` cannot be understood.
    Malformed,
    /// A part of an answer.
    Partial,
    /// `private`.
    Private,
    /// `Set-Cookie`.
    SetCookie,
    /// Its status is not one that is kept.
    Status,
    /// It is stale at once and cannot be validated.
    Stale,
    /// It is larger than the policy allows.
    TooLarge,
    /// It has fields after its body.
    Trailers,
    /// No other request can be known to match.
    Vary,
}

impl Refused {
    /// One word, for `Cache-Status` and logs.
    pub const fn word(self) -> &'static str {
        match self {
            Refused::Authorized => "authorized",
            Refused::Malformed => "malformed",
            Refused::NoStore => "no-store",
            Refused::Partial => "partial",
            Refused::Private => "private",
            Refused::SetCookie => "set-cookie",
            Refused::Stale => "stale",
            Refused::Status => "status",
            Refused::TooLarge => "too-large",
            Refused::Trailers => "trailers",
            Refused::Vary => "vary",
        }
    }
}

/// An answer that may be kept once its body has come whole.
pub struct Storable {
    origin: Origin,
    length: Option<usize>,
    body_bytes_max: usize,
}

impl Storable {
    /// The bytes that the body says it has.
    pub fn length(&self) -> Option<usize> {
        self.length
    }

    /// Most bytes that the body may have.
    pub fn body_bytes_max(&self) -> usize {
        self.body_bytes_max
    }

    /// The entry, if the body is as long as was announced. The body must have ended properly.
    pub fn complete(self, body: bytes::Bytes) -> Option<Entry> {
        if self.length.is_some_and(|length| length != body.len()) || body.len() > self.body_bytes_max {
            return None;
        }
        Some(Entry::new(self.origin, body))
    }
}

/// Whether the answer to a request may be kept. `asked_at` is when it was sent on, `now` when the head came.
///
/// # Errors
///
/// Why not.
pub fn may_store(
    asked: &Asked<'_>,
    (status, headers): (StatusCode, &HeaderMap),
    (asked_at, now): (Moment, Moment),
) -> Result<Storable, Refused> {
    let terms = asked.terms;
    let control = Control::of_response(headers, terms.targeted);
    let says = control.s_maxage.or(control.max_age).is_some() || headers.contains_key(EXPIRES);
    judge_status((status, headers), control.must_understand, terms.any_status && says)?;
    // §5.2.2.3: whoever understands the status may ignore `no-store` beside `must-understand`.
    let understands = control.must_understand && is_understood(status);
    if (control.no_store && !understands)
        || (terms.heed_callers && RequestControl::of_request(asked.headers).no_store)
    {
        return Err(Refused::NoStore);
    }
    if control.private {
        return Err(Refused::Private);
    }
    if control.is_malformed {
        return Err(Refused::Malformed);
    }
    if headers.contains_key(SET_COOKIE) && !terms.drop_set_cookie {
        return Err(Refused::SetCookie);
    }
    judge_credentials(asked, &control)?;
    let selecting = Selecting::of(headers, asked.headers).ok_or(Refused::Vary)?;
    let life = lifetime(status, headers, &control, terms, now);
    let initial_age = initial_age(headers, asked_at, now);
    judge_use((status, headers), &control, terms, (life, initial_age))?;
    let length = length(headers)?;
    if length.is_some_and(|length| length > terms.body_bytes_max) {
        return Err(Refused::TooLarge);
    }
    let mut kept = headers.clone();
    for name in [SET_COOKIE, AGE, crate::status::CACHE_STATUS] {
        kept.remove(name);
    }
    // RFC 9111 §4.2.4: what the answer says goes before what the policy allows.
    let stale = |said: Option<u64>, allowed: u64| said.unwrap_or(allowed).min(terms.stale_max_s);
    let origin = Origin {
        status,
        headers: kept,
        selecting,
        passed: asked.passed,
        kept_at: now,
        initial_age,
        lifetime: life.seconds(),
        must_validate: control.no_cache,
        forbids_stale: control.forbids_stale(),
        stale_while_revalidate: stale(control.stale_while_revalidate, terms.stale_while_revalidate_s),
        stale_if_error: stale(control.stale_if_error, terms.stale_if_error_s),
        tags: tags(headers, &terms.tag_fields),
    };
    Ok(Storable { origin, length, body_bytes_max: terms.body_bytes_max })
}

fn judge_status(
    (status, headers): (StatusCode, &HeaderMap),
    must_understand: bool,
    takes_any: bool,
) -> Result<(), Refused> {
    if status == StatusCode::PARTIAL_CONTENT || headers.contains_key(CONTENT_RANGE) {
        return Err(Refused::Partial);
    }
    if headers.contains_key(TRAILER) {
        return Err(Refused::Trailers);
    }
    // §3: final, and understood where that is asked for. Errors that pass (5xx but 501) are never kept: they would
    // outlast their cause.
    if is_understood(status) || (takes_any && !must_understand && !is_of_its_request(status)) {
        return Ok(());
    }
    Err(Refused::Status)
}

/// Statuses that are about the one request: its credentials, its range, its conditions, its pace. They are never another's.
fn is_of_its_request(status: StatusCode) -> bool {
    status.is_informational()
        || matches!(status.as_u16(), 206 | 304 | 401 | 407 | 408 | 412 | 416 | 421 | 425 | 426 | 429 | 431)
}

/// Statuses whose caching rules are known here (RFC 9110 §15).
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 302 | 303 | 307 | 308 | 404 | 405 | 410 | 414 | 451 | 501
    )
}

/// RFC 9111 §3.5, for every credential and not only for `Authorization`.
fn judge_credentials(asked: &Asked<'_>, control: &Control) -> Result<(), Refused> {
    let is_marked = control.public || control.s_maxage.is_some() || control.must_revalidate;
    let personal = matches!(asked.key.class(), Class::Of { .. });
    // Credentials that the gateway did not check are of somebody it does not know.
    let unchecked =
        !personal && (asked.headers.contains_key(AUTHORIZATION) || asked.headers.contains_key(COOKIE));
    if !asked.is_identified && !unchecked {
        return Ok(());
    }
    let own = personal && asked.terms.authorized == Authorized::Own;
    if is_marked || own { Ok(()) } else { Err(Refused::Authorized) }
}

/// What is stale at once is worth keeping only if the origin can be asked whether it still holds.
fn judge_use(
    (status, headers): (StatusCode, &HeaderMap),
    control: &Control,
    terms: &Terms,
    (life, initial_age): (Lifetime, u64),
) -> Result<(), Refused> {
    let is_stale = control.no_cache || life.seconds() <= initial_age;
    if !is_stale {
        return Ok(());
    }
    let has_validator =
        headers.contains_key(http::header::ETAG) || headers.contains_key(http::header::LAST_MODIFIED);
    // What may be used stale is of use without a validator too (RFC 5861).
    let terms_stale = [
        (control.stale_while_revalidate, terms.stale_while_revalidate_s),
        (control.stale_if_error, terms.stale_if_error_s),
    ];
    let has_grace = !control.forbids_stale()
        && matches!(life, Lifetime::Explicit(_))
        && terms_stale.iter().any(|(said, allowed)| said.unwrap_or(*allowed) > 0);
    // §3: explicit freshness, `public`, or a status that is cacheable by default.
    let says = life != Lifetime::Unknown || control.public || control.no_cache;
    if (has_validator || has_grace) && status == StatusCode::OK && says {
        Ok(())
    } else {
        Err(Refused::Stale)
    }
}

/// The announced length. One that is not a number does not reach this place, because answers are read strictly.
fn length(headers: &HeaderMap) -> Result<Option<usize>, Refused> {
    let Some(value) = headers.get(CONTENT_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or(Refused::TooLarge)
}
