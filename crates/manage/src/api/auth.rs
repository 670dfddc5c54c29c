//! Who calls, and whether they may: decided before a body is read.
//!
//! A token in `Authorization: Bearer`, never in the URL. An address that presents wrong tokens is refused for the rest
//! of the minute. A browser that was sent here by another site is refused, whatever it carries.

use std::{marker::PhantomData, net::IpAddr, sync::PoisonError};

use axum::extract::FromRequestParts;
use bartizan_store::{AuditNote, AuditPhase, TokenRow};
use http::{HeaderMap, StatusCode, header::AUTHORIZATION, request::Parts};

use super::{
    App, Peer, now_ms,
    problem::Problem,
    role::{Permission, Role},
};

/// Somebody who proved who they are.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) token: TokenRow,
    pub(crate) role: Role,
    pub(crate) address: IpAddr,
}

impl Caller {
    /// How the audit trail names them.
    pub(crate) fn actor(&self) -> String {
        format!("token:{}", self.token.name)
    }

    /// How a revision names them.
    pub(crate) fn author(&self) -> &str {
        &self.token.name
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

needs!(Apply, ReadAudit, ReadDocuments, ReadKeys, ReadState, RevokeKeys, MakeKeys, ManageTokens);

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
        if caller.role.may(N::PERMISSION) {
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
        let title = format!("The role {} may not do this.", caller.role);
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
        let Some(Peer(address)) = parts.extensions.get().copied() else {
            return Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                "The caller has no address.",
            ));
        };
        if failures(app, address, false) > FAILURES_MAX {
            let title = "Too many tokens did not hold; wait a minute.";
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "TooManyFailures", title));
        }
        let wrong = |title: &str| Problem::new(StatusCode::UNAUTHORIZED, "TokenInvalid", title);
        let Some(text) = bearer(&parts.headers)? else {
            return Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "TokenMissing",
                "A token is needed: `Authorization: Bearer bzt_…`.",
            ));
        };
        let tokens = app.api.store().await?.tokens();
        let now = now_ms();
        let token = tokens.recognise(text).await?.filter(|token| token.is_valid(now));
        let role = token.as_ref().and_then(|token| Role::parse(&token.role));
        // One answer for unknown, expired and withdrawn: a caller has no use for the difference, a thief has.
        let (Some(token), Some(role)) = (token, role) else {
            failures(app, address, true);
            return Err(wrong("The token does not hold."));
        };
        tokens.used(&token, now).await?;
        Ok(Known(Caller { token, role, address }))
    }
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

/// A page of another site can make a browser send requests here; it says so itself.
fn refuse_other_sites(headers: &HeaderMap) -> Result<(), Problem> {
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

/// How many tokens of an address did not hold in this minute; one more when `failed`.
fn failures(app: &App, address: IpAddr, failed: bool) -> u32 {
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

/// Wrong tokens of an address in a minute; a script with an old token makes a few.
const FAILURES_MAX: u32 = 20;
/// Addresses that are counted at once.
const ADDRESSES_MAX: usize = 10_000;
