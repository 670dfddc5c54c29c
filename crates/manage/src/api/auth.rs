//! Who calls, and whether they may: decided before a body is read.
//!
//! A token in `Authorization: Bearer`, or a session in a cookie; never both, and nothing in the URL. A browser sends its
//! cookie by itself, so a change by session needs a header that only our own page can add, and everything that a browser
//! says was sent by another site is refused. An address that presents wrong tokens is refused for the rest of the minute.

use std::{marker::PhantomData, net::IpAddr, sync::PoisonError};

use axum::extract::FromRequestParts;
use bartizan_model::document::Document;
use bartizan_store::{AuditNote, AuditPhase, SessionRow, TokenRow, UserRow};
use http::{
    HeaderMap, Method, StatusCode,
    header::{AUTHORIZATION, COOKIE, HOST, ORIGIN},
    request::Parts,
};

use super::{
    App, Peer, now_ms,
    problem::Problem,
    role::{Permission, Role},
    scope::Scope,
};

/// Somebody who proved who they are.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) who: Who,
    pub(crate) role: Role,
    /// All of them narrow: a personal token's own and its user's.
    pub(crate) scopes: Vec<Scope>,
    pub(crate) address: IpAddr,
}

/// By what they proved it.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    /// A token; a personal one with its user.
    Token(TokenRow, Option<UserRow>),
    /// A session of the page.
    Session(SessionRow, UserRow),
}

impl Caller {
    /// How the audit trail names them.
    pub(crate) fn actor(&self) -> String {
        match &self.who {
            Who::Token(token, None) => format!("token:{}", token.name),
            Who::Token(token, Some(user)) => format!("user:{} token:{}", user.name, token.name),
            Who::Session(_, user) => format!("user:{}", user.name),
        }
    }

    /// How a revision names them.
    pub(crate) fn author(&self) -> &str {
        match &self.who {
            Who::Token(token, None) => &token.name,
            Who::Token(_, Some(user)) | Who::Session(_, user) => &user.name,
        }
    }

    /// Whether role and scopes allow it.
    pub(crate) fn may(&self, permission: Permission) -> bool {
        self.role.may(permission) && self.scopes.iter().all(|scope| scope.leaves(permission))
    }

    /// Whether they are held to some documents.
    pub(crate) fn is_narrow(&self) -> bool {
        self.scopes.iter().any(Scope::is_narrow)
    }

    /// Whether they may see and change a document.
    pub(crate) fn reaches(&self, document: &Document) -> bool {
        self.scopes.iter().all(|scope| scope.reaches(document))
    }

    /// The session and its user. What concerns passwords and personal tokens is not for a token, which could otherwise
    /// outlive its own end.
    pub(crate) fn session(&self) -> Result<(&SessionRow, &UserRow), Problem> {
        match &self.who {
            Who::Session(session, user) => Ok((session, user)),
            Who::Token(..) => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "SessionNeeded",
                "This is for somebody who is signed in, not for a token.",
            )),
        }
    }
}

/// A permission as a type, so that a handler's signature says what it needs.
pub(crate) trait Needs: Send + Sync + 'static {
    const PERMISSION: Permission;
}

macro_rules! needs {
    ($($name:ident),+) => {$(
        /// See the permission of this name.
        #[derive(Debug)]
        pub(crate) struct $name;

        impl Needs for $name {
            const PERMISSION: Permission = Permission::$name;
        }
    )+};
}

needs!(
    Apply,
    ReadAudit,
    ReadDocuments,
    ReadKeys,
    ReadRequests,
    ReadState,
    RevokeKeys,
    MakeKeys,
    ManageTokens,
    ManageUsers
);

/// A caller who may do what the endpoint does. Only made here.
#[derive(Debug)]
pub(crate) struct May<N> {
    pub(crate) caller: Caller,
    _needs: PhantomData<fn() -> N>,
}

impl<N: Needs> FromRequestParts<App> for May<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Known(caller) = Known::from_request_parts(parts, app).await?;
        if caller.may(N::PERMISSION) {
            return Ok(May { caller, _needs: PhantomData });
        }
        let note = AuditNote {
            actor: &caller.actor(),
            source: &caller.address.to_string(),
            action: "permission",
            target: &format!("{} {}", parts.method, parts.uri.path()),
            phase: AuditPhase::Refused,
            before: "",
            after: "",
            reason: caller.role.as_str(),
        };
        app.api.store().await?.audit().add(note, now_ms()).await?;
        let title = if caller.role.may(N::PERMISSION) {
            "The scope does not reach this.".to_owned()
        } else {
            format!("The role {} may not do this.", caller.role)
        };
        Err(Problem::new(StatusCode::FORBIDDEN, "NotAllowed", title))
    }
}

/// A caller, whatever they may.
#[derive(Debug)]
pub(crate) struct Known(pub(crate) Caller);

impl FromRequestParts<App> for Known {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        refuse_other_sites(&parts.headers)?;
        let peer = peer(parts)?;
        let caller = match (bearer(&parts.headers)?, cookie(&parts.headers, peer)?) {
            (Some(_), Some(_)) => {
                return Err(Problem::bad("A token and a session were sent; one of them is enough."));
            }
            (Some(text), None) => by_token(app, text, peer).await?,
            (None, Some(text)) => by_session(app, text, parts, peer).await?,
            (None, None) => {
                return Err(Problem::new(
                    StatusCode::UNAUTHORIZED,
                    "TokenMissing",
                    "A token is needed: `Authorization: Bearer bzt_…`; or sign in on the page.",
                ));
            }
        };
        if caller.scopes.iter().all(|scope| scope.admits(peer.address)) {
            return Ok(Known(caller));
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "AddressNotAllowed",
            "The scope does not hold for this address.",
        ))
    }
}

/// One answer for unknown, expired and withdrawn: a caller has no use for the difference, a thief has.
fn wrong() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "TokenInvalid", "The token does not hold.")
}

async fn by_token(app: &App, text: &str, peer: Peer) -> Result<Caller, Problem> {
    if failures(app, peer.address, false) > FAILURES_MAX {
        let title = "Too many tokens did not hold; wait a minute.";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "TooManyFailures", title).retry_after(60));
    }
    let store = app.api.store().await?;
    let now = now_ms();
    let token = store.tokens().recognise(text).await?.filter(|token| token.is_valid(now));
    let Some(token) = token else {
        failures(app, peer.address, true);
        return Err(wrong());
    };
    // A personal token can do what its user can do now, and ends with them.
    let user = match &token.user {
        Some(id) => Some(store.users().of_id(id).await?.filter(UserRow::is_enabled).ok_or_else(wrong)?),
        None => None,
    };
    let role = Role::parse(user.as_ref().map_or(&token.role, |user| &user.role)).ok_or_else(wrong)?;
    let mut scopes = vec![Scope::parse(&token.scope).ok_or_else(wrong)?];
    if let Some(user) = &user {
        scopes.push(Scope::parse(&user.scope).ok_or_else(wrong)?);
    }
    store.tokens().used(&token, now).await?;
    Ok(Caller { who: Who::Token(token, user), role, scopes, address: peer.address })
}

async fn by_session(app: &App, text: &str, parts: &Parts, peer: Peer) -> Result<Caller, Problem> {
    let ended = || Problem::new(StatusCode::UNAUTHORIZED, "SessionEnded", "You are not signed in any more.");
    let found = app.api.store().await?.sessions().recognise(text, SESSION_IDLE_MS, now_ms()).await?;
    let Some((session, user)) = found else { return Err(ended()) };
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        own_page(&parts.headers, peer)?;
    }
    let role = Role::parse(&user.role).ok_or_else(ended)?;
    let scopes = vec![Scope::parse(&user.scope).ok_or_else(ended)?];
    Ok(Caller { who: Who::Session(session, user), role, scopes, address: peer.address })
}

/// Who is at the other end; put there by the listener.
pub(crate) fn peer(parts: &Parts) -> Result<Peer, Problem> {
    parts.extensions.get().copied().ok_or_else(|| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "The caller has no address.")
    })
}

/// The token of the one `Authorization` header; two of them are no credential.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (first, None) = (values.next(), values.next()) else {
        return Err(Problem::bad("There is more than one Authorization header."));
    };
    let text = first.and_then(|value| value.to_str().ok());
    let scheme = |text: &&str| text.get(..7).is_some_and(|word| word.eq_ignore_ascii_case("bearer "));
    Ok(text.filter(scheme).and_then(|text| text.get(7..)).map(str::trim))
}

/// The session's cookie; two of them are no credential.
pub(crate) fn cookie(headers: &HeaderMap, peer: Peer) -> Result<Option<&str>, Problem> {
    named_cookie(headers, cookie_name(peer))
}

/// The one cookie of this name.
pub(crate) fn named_cookie<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Problem> {
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut ours = pairs.filter(|(given, _)| *given == name).map(|(_, value)| value);
    match (ours.next(), ours.next()) {
        (first, None) => Ok(first),
        _ => Err(Problem::bad("There is more than one session.")),
    }
}

/// RFC 6265bis §4.1.3.2: a browser lets nobody but this very host set a `__Host-` cookie, and only over TLS; on loopback
/// in clear text there is no such protection to be had.
pub(crate) const fn cookie_name(peer: Peer) -> &'static str {
    if peer.secure { "__Host-bartizan" } else { "bartizan" }
}

/// Whether our own page sends this: it adds a header that no form can add and that another site's script may not add
/// without being asked first, which is never granted; and the browser agrees about where it comes from.
pub(crate) fn own_page(headers: &HeaderMap, peer: Peer) -> Result<(), Problem> {
    refuse_other_sites(headers)?;
    let refused = |title: &str| Err(Problem::new(StatusCode::FORBIDDEN, "OtherSite", title));
    if headers.get(OWN_HEADER).is_none_or(|value| value.as_bytes() != b"1") {
        return refused("Send the header `X-Bartizan-Request: 1` with a session's changes.");
    }
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let scheme = if peer.secure { "https://" } else { "http://" };
    let host = origin.to_str().ok().and_then(|origin| origin.strip_prefix(scheme));
    let own = headers.get(HOST).and_then(|host| host.to_str().ok());
    match (host, own) {
        (Some(host), Some(own)) if host.eq_ignore_ascii_case(own) => Ok(()),
        _ => refused("Requests that another site makes a browser send are refused."),
    }
}

/// A page of another site can make a browser send requests here; it says so itself.
pub(crate) fn refuse_other_sites(headers: &HeaderMap) -> Result<(), Problem> {
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    if site.is_none_or(|site| matches!(site, "same-origin" | "none")) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "OtherSite",
        "Requests that another site makes a browser send are refused.",
    ))
}

/// How many tokens or links of an address did not hold in this minute; one more when `failed`.
pub(crate) fn failures(app: &App, address: IpAddr, failed: bool) -> u32 {
    let minute = now_ms() / 60_000;
    let mut failures = app.api.failures.lock().unwrap_or_else(PoisonError::into_inner);
    if failures.minute != minute || failures.by_address.len() > ADDRESSES_MAX {
        failures.minute = minute;
        failures.by_address.clear();
    }
    if !failed {
        return failures.by_address.get(&address).copied().unwrap_or(0);
    }
    let count = failures.by_address.entry(address).or_default();
    *count = count.saturating_add(1);
    *count
}

/// The header that our own page adds.
pub(crate) const OWN_HEADER: &str = "x-bartizan-request";
/// A session that nobody uses for so long has ended: somebody left the desk.
pub(crate) const SESSION_IDLE_MS: u64 = 30 * 60_000;
/// A session ends at this age whatever happens: a working day.
pub(crate) const SESSION_LIFE_MS: u64 = 12 * 60 * 60_000;
/// Wrong tokens of an address in a minute; a script with an old token makes a few.
pub(crate) const FAILURES_MAX: u32 = 20;
/// Addresses that are counted at once.
const ADDRESSES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    const CLEAR: Peer = Peer { address: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), secure: false };
    const SECURE: Peer = Peer { secure: true, ..CLEAR };

    #[test]
    fn a_change_by_session_comes_from_our_own_page_alone() {
        let own = ("x-bartizan-request", "1");
        let host = ("host", "localhost:9440");
        for (case, given, peer, passes) in [
            (
                "our page",
                vec![own, host, ("origin", "http://localhost:9440"), ("sec-fetch-site", "same-origin")],
                CLEAR,
                true,
            ),
            ("a program", vec![own, host], CLEAR, true),
            ("our page over TLS", vec![own, host, ("origin", "https://localhost:9440")], SECURE, true),
            ("no header of ours", vec![host, ("origin", "http://localhost:9440")], CLEAR, false),
            ("another value", vec![("x-bartizan-request", "0"), host], CLEAR, false),
            ("another port", vec![own, host, ("origin", "http://localhost:9441")], CLEAR, false),
            ("another scheme", vec![own, host, ("origin", "http://localhost:9440")], SECURE, false),
            ("no origin to speak of", vec![own, host, ("origin", "null")], CLEAR, false),
            ("another site", vec![own, host, ("sec-fetch-site", "cross-site")], CLEAR, false),
            ("a neighbour", vec![own, host, ("sec-fetch-site", "same-site")], CLEAR, false),
        ] {
            assert_eq!(own_page(&headers(&given), peer).is_ok(), passes, "{case}");
        }
    }

    #[test]
    fn the_cookie_is_found_among_others_and_two_are_none() {
        let found = |text: &str, peer| {
            cookie(&headers(&[("cookie", text)]), peer).map(|found| found.map(str::to_owned))
        };
        assert_eq!(found("a=b; bartizan=x; c=d", CLEAR).unwrap().as_deref(), Some("x"));
        assert_eq!(found("bartizan=x", SECURE).unwrap(), None, "in clear text anybody could have set it");
        assert_eq!(found("__Host-bartizan=y", SECURE).unwrap().as_deref(), Some("y"));
        assert_eq!(found("xbartizan=x", CLEAR).unwrap(), None);
        assert!(found("bartizan=x; bartizan=y", CLEAR).is_err());
    }
}
