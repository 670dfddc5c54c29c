//! Sessions of people who signed in: a sealed cookie, judged from memory.
//!
//! A cookie that cannot be read, or is over, is an end and no guess: it cannot be guessed, and a browser keeps it long
//! after a key was changed. Such a browser is sent to sign in again, like one without a cookie.

use std::sync::Arc;

use bartizan_config::snapshot::OpenIdConnectPlan;
use bartizan_identity::{
    introspection::TokenDigest,
    jwt::TokenIdentity,
    oidc::{Session, SessionState},
};
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Fault, Reason, Stage};
use http::header;

use super::{
    Attempt, Call, Caller, Lookup, browser, caller,
    cookie::{self, Kept},
};
use crate::{
    exchange::Shared,
    sign_in::{Provider, Renewal},
    stage::route::resource,
};

/// A caller's session.
pub(super) struct Seen {
    provider: Arc<Provider>,
    session: Arc<Session>,
    /// Whether its tokens were renewed for this request, so that the browser must be given it.
    is_new: bool,
}

/// Sessions opened before, by their cookies' digests: 256 places per core.
#[derive(Default)]
pub(crate) struct SessionMemo(Vec<Option<Opened>>);

#[derive(Clone)]
struct Opened {
    cookie: TokenDigest,
    /// By which provider: another one of the process opens it for itself.
    provider: Arc<Provider>,
    session: Arc<Session>,
    identity: TokenIdentity,
}

const PLACES: usize = 256;

impl SessionMemo {
    fn place(&mut self, cookie: &TokenDigest) -> Option<&mut Option<Opened>> {
        if self.0.is_empty() {
            self.0.resize_with(PLACES, || None);
        }
        self.0.get_mut(cookie.id().bits() as usize % PLACES)
    }
}

/// Judges the session's cookie, if there is one.
pub(super) fn judge(call: &Call<'_>, plan: &OpenIdConnectPlan) -> Attempt {
    let headers = call.head.headers();
    let text = match cookie::read(headers, &plan.cookie) {
        Kept::Absent => return Attempt::Absent,
        Kept::Broken => return ended(Reason::CredentialInvalid, "the session's cookie is not whole"),
        Kept::Text(text) => text,
    };
    let Some(provider) = call.shared.live.prepared.tokens.provider(plan) else {
        return Attempt::Faulted(Fault::new(Stage::Identify, "a session cannot be judged here"));
    };
    let opened = match open(call, provider, &text) {
        Ok(opened) => opened,
        Err(attempt) => return attempt,
    };
    let now_ms = call.now_ms;
    if provider.memory().has_ended(&opened.session.id, now_ms) {
        return ended(Reason::CredentialExpired, "the session was signed out");
    }
    match opened.session.state(provider.terms(), now_ms) {
        SessionState::Over => return ended(Reason::CredentialExpired, "the session has lasted its time"),
        SessionState::Idle => return ended(Reason::CredentialExpired, "the session was idle for too long"),
        SessionState::Active => {}
        SessionState::Stale => match call.asked.and_then(|asked| asked.renewal()) {
            None => return Attempt::Needs(Lookup::Renewal(provider.clone(), opened.session)),
            Some(Renewal::Anew(session)) => return renewed(call, plan, provider, session),
            Some(Renewal::Ended) => {
                return ended(Reason::CredentialExpired, "the provider does not renew the session");
            }
            Some(Renewal::Unavailable) => {
                let what = "the session's tokens cannot be renewed now";
                return Attempt::Faulted(Fault::new(Stage::Identify, what));
            }
        },
    }
    known(call, plan, &opened, false)
}

fn ended(reason: Reason, why: &str) -> Attempt {
    Attempt::Ended(Denial::new(reason).because(why))
}

/// The session in a cookie's text, from memory where it was opened before.
#[expect(clippy::result_large_err, reason = "an attempt is handed on as it is, once a request")]
fn open(call: &Call<'_>, provider: &Arc<Provider>, text: &[u8]) -> Result<Opened, Attempt> {
    let digest = TokenDigest::of(text);
    let mut memo = call.shared.core.sessions.borrow_mut();
    let place = memo.place(&digest);
    if let Some(Some(known)) = &place
        && known.cookie == digest
        && Arc::ptr_eq(&known.provider, provider)
    {
        return Ok(known.clone());
    }
    let Some(session) = provider.open_session(text) else {
        return Err(ended(Reason::CredentialInvalid, "the session's cookie is not one of ours"));
    };
    let identity = provider.identity(&session).map_err(|flaw| nobody(&flaw))?;
    let opened = Opened { cookie: digest, provider: provider.clone(), session: Arc::new(session), identity };
    if let Some(place) = place {
        *place = Some(opened.clone());
    }
    Ok(opened)
}

/// A session whose claims do not make a caller: signing in again would change nothing, so nobody is sent to.
fn nobody(flaw: &dyn std::fmt::Display) -> Attempt {
    Attempt::Spent(format!("session: {flaw}").into())
}

fn renewed(
    call: &Call<'_>,
    plan: &OpenIdConnectPlan,
    provider: &Arc<Provider>,
    session: &Arc<Session>,
) -> Attempt {
    match provider.identity(session) {
        Ok(identity) => {
            let cookie = TokenDigest::of(&session.id);
            let opened = Opened { cookie, provider: provider.clone(), session: session.clone(), identity };
            known(call, plan, &opened, true)
        }
        Err(flaw) => nobody(&flaw),
    }
}

fn known(call: &Call<'_>, plan: &OpenIdConnectPlan, opened: &Opened, is_new: bool) -> Attempt {
    if browser::may_change(call.head)
        && !browser::is_own_page(call.head.headers(), &resource::origin(call.head), &plan.trusted_origins)
    {
        let denial = Denial::new(Reason::CrossSite);
        return Attempt::Refused(denial.because("a session came with a request of another site's page"));
    }
    match caller::of(call, opened.identity.clone(), &plan.mapping) {
        Attempt::Known(caller) => {
            let (provider, session) = (opened.provider.clone(), opened.session.clone());
            let seen = Arc::new(Seen { provider, session, is_new });
            Attempt::Known(Caller { session: Some(seen), ..caller })
        }
        Attempt::Refused(denial) => Attempt::Spent(denial.detail.unwrap_or_default()),
        other => other,
    }
}

/// Gives the browser its session again, where it was renewed or not seen for a while.
pub(super) fn keep(shared: &mut Shared, head: &RequestHead, seen: &Seen, now_ms: u64) {
    let terms = seen.provider.terms();
    if shared.rehearsing.is_some() || !(seen.is_new || seen.session.wants_touch(terms, now_ms)) {
        return;
    }
    let touched = Session { seen_ms: now_ms, ..(*seen.session).clone() };
    // Never zero, which would make the browser forget it now.
    let seconds = (touched.ends_ms(terms).saturating_sub(now_ms) / 1_000).max(1);
    let fields = (seen.provider.seal_session(&touched))
        .and_then(|text| cookie::write(head.headers(), &seen.provider.plan().cookie, &text, seconds));
    match fields {
        Some(fields) => fields.into_iter().for_each(|field| shared.dress(header::SET_COOKIE, field)),
        // The browser goes on with what it has.
        None => {
            tracing::warn!(issuer = %seen.provider.plan().issuer, "a session has become too large to be kept")
        }
    }
}
