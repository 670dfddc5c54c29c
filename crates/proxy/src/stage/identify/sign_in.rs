//! The way of a browser that signs in: sent to the provider, back with a code, and out again.
//!
//! All three end here, in an answer of the gateway's own, and reach no upstream. Being sent to sign in is a refusal
//! that shows a page: it is recorded and counted as one.

use std::sync::Arc;

use bartizan_config::snapshot::{AuthenticationPlan, OpenIdConnectPlan};
use bartizan_identity::oidc::{Callback, CallbackFlaw, SignIn, sign_in::SIGN_IN_MS_MAX};
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Fault, Mode, Reason, Stage};
use http::{HeaderValue, Method, Response, StatusCode, header};

use super::{
    Attempt, Call, Routed, browser, caller,
    cookie::{self, Kept},
    failures::Counting,
    note, now_ms,
    place::{cookies, crumb_names},
};
use crate::{
    answer::AnswerBody,
    exchange::{Exchange, Shared, Stop, Why},
    sign_in::{Provider, SignInFailure},
    stage::route::resource,
};

/// Four: tabs in which one browser begins to sign in before the first comes back. More are leftovers.
const PENDING_MAX: usize = 4;

/// What a request to one of the method's own paths asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    /// The browser comes back from the provider.
    Callback,
    /// Somebody signs out.
    SignOut,
}

/// The errand of a request, if it has one. A policy that only watches signs nobody in.
pub(super) fn errand<'p>(
    policy: &'p AuthenticationPlan,
    head: &RequestHead,
) -> Option<(&'p Arc<OpenIdConnectPlan>, Errand)> {
    let plan = policy.sign_in().filter(|_| policy.bite.mode == Mode::Enforce)?;
    let path = head.path().as_str();
    match *head.method() {
        Method::GET if *path == *plan.redirect_path => Some((plan, Errand::Callback)),
        Method::GET | Method::POST if *path == *plan.logout_path => Some((plan, Errand::SignOut)),
        _ => None,
    }
}

/// Does it; every errand ends here.
pub(super) async fn run(
    mut x: Exchange<Routed>,
    policy: &AuthenticationPlan,
    (plan, errand): (&Arc<OpenIdConnectPlan>, Errand),
) -> Stop {
    let done = match errand {
        Errand::Callback => callback(&mut x, policy, plan).await,
        Errand::SignOut => sign_out(&x, plan).await,
    };
    match done {
        Ok(answer) => Stop { shared: x.shared, why: Why::Answered(Box::new(answer)) },
        Err(Failure::Denied(denial)) => {
            x.shared.core.metrics.auth_failure(denial.reason);
            x.deny(Stage::Identify, denial.by(policy.label.clone()))
        }
        Err(Failure::Faulted(what)) => {
            let id = x.shared.live.policy_id(&policy.label);
            x.shared.core.metrics.policy_fault(id, bartizan_model::OnFault::Deny);
            x.fault(Some(policy.label.clone()), Fault::new(Stage::Identify, what))
        }
    }
}

/// Why an errand failed.
enum Failure {
    Denied(Denial),
    Faulted(String),
}

impl Failure {
    fn invalid(why: impl Into<String>) -> Self {
        Failure::Denied(Denial::new(Reason::CredentialInvalid).because(why.into()))
    }
}

impl From<SignInFailure> for Failure {
    fn from(failure: SignInFailure) -> Self {
        match failure {
            SignInFailure::Refused(why) => Failure::invalid(format!("sign-in: {why}")),
            SignInFailure::Unavailable(what) => Failure::Faulted(format!("sign-in: {what}")),
        }
    }
}

fn provider<'s>(shared: &'s Shared, plan: &OpenIdConnectPlan) -> Result<&'s Arc<Provider>, Failure> {
    let provider = shared.live.prepared.tokens.provider(plan);
    provider.ok_or_else(|| Failure::Faulted("only the provider can tell: it is not asked here".to_owned()))
}

// === To the provider ===

/// The answer that sends a browser to sign in; `None` where the caller is no browser that could, and the fault where
/// the provider's address cannot be had.
pub(super) async fn begin(
    shared: &Shared,
    head: &RequestHead,
    plan: &OpenIdConnectPlan,
) -> Result<Option<Response<AnswerBody>>, Fault> {
    // A browser without TLS would keep no such cookie, and come back for ever.
    if shared.rehearsing.is_some() || !browser::navigates(head) || !keeps_cookies(head) {
        return Ok(None);
    }
    let fault = |what: &str| Fault::new(Stage::Identify, what.to_owned());
    let Ok(provider) = provider(shared, plan) else { return Err(fault("the provider is not prepared")) };
    let Some(outside) = shared.core.runtime.outside() else { return Err(fault("nobody is asked here")) };
    let metadata = provider.metadata(outside).await;
    let metadata = metadata.ok_or_else(|| fault("the provider's discovery document cannot be had"))?;
    let origin = resource::origin(head);
    let target = head.path().target().as_str();
    let (sign_in, sealed, url) = provider
        .begin(&metadata, &origin, target, now_ms())
        .ok_or_else(|| fault("there is no randomness"))?;
    let name = cookie_name(plan, &sign_in.secrets.state());
    let mut answer = redirect(&url).ok_or_else(|| fault("the provider's address cannot be sent"))?;
    let headers = answer.headers_mut();
    let prefix = format!("{}.s", plan.cookie);
    let pending: Vec<&str> = crumb_names(head.headers()).filter(|name| name.starts_with(&prefix)).collect();
    if pending.len() >= PENDING_MAX {
        for field in cookie::forget_all(head.headers(), |name| name.starts_with(prefix.as_bytes())) {
            headers.append(header::SET_COOKIE, field);
        }
    }
    let field = cookie::set(&name, &sealed, SIGN_IN_MS_MAX / 1_000);
    headers.append(header::SET_COOKIE, field.ok_or_else(|| fault("the sign-in's cookie cannot be set"))?);
    Ok(Some(answer))
}

/// Whether a browser keeps `Secure` cookies of this host: over TLS, or of its own machine (W3C Secure Contexts §3.1).
fn keeps_cookies(head: &RequestHead) -> bool {
    let host = head.authority().host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    let is_own_machine = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    head.scheme().as_str() == "https" || is_own_machine
}

/// Named after the state, so that tabs that begin at once do not take each other's.
fn cookie_name(plan: &OpenIdConnectPlan, state: &str) -> String {
    let tag: String =
        state.chars().filter(|char| char.is_ascii_alphanumeric() || "-_".contains(*char)).take(8).collect();
    format!("{}.s{tag}", plan.cookie)
}

// === Back from it ===

async fn callback(
    x: &mut Exchange<Routed>,
    policy: &AuthenticationPlan,
    plan: &OpenIdConnectPlan,
) -> Result<Response<AnswerBody>, Failure> {
    let head = x.proof.head();
    let counting = Counting::of_callback(&x.shared, policy, head);
    if let Some(held) = counting.as_ref().and_then(Counting::held) {
        let retry_after = bartizan_limit::header::retry_after(held.retry_after);
        let denial = Denial::new(Reason::TooManyFailures).because(held.by.as_str());
        drop(counting);
        x.shared.dress(header::RETRY_AFTER, retry_after.into());
        return Err(Failure::Denied(denial));
    }
    let finished = finish(&x.shared, head, plan).await;
    if let (Err(Failure::Denied(_)), Some(counting)) = (&finished, &counting) {
        counting.note_failure();
    }
    drop(counting);
    let (answer, caller) = finished?;
    note(&mut x.shared, &caller);
    Ok(answer)
}

async fn finish(
    shared: &Shared,
    head: &RequestHead,
    plan: &OpenIdConnectPlan,
) -> Result<(Response<AnswerBody>, super::Caller), Failure> {
    let provider = provider(shared, plan)?;
    let Some(outside) = shared.core.runtime.outside() else {
        return Err(Failure::Faulted("nobody is asked here".to_owned()));
    };
    let refused = |flaw: CallbackFlaw| Failure::invalid(format!("sign-in: {flaw}"));
    let callback = Callback::read(head.path().raw_query().unwrap_or_default()).map_err(refused)?;
    let name = cookie_name(plan, callback.state());
    let sign_in = pending(provider, head, &name).ok_or_else(|| refused(CallbackFlaw::State))?;
    let session = provider.finish(outside, &callback, &sign_in, &resource::origin(head)).await?;
    // Whom no document lets in learns it now, and not after another way round.
    let identity =
        provider.identity(&session).map_err(|flaw| Failure::invalid(format!("session: {flaw}")))?;
    let call = Call { shared, head, now_ms: now_ms(), notes_use: true, asked: None };
    let caller = match caller::of(&call, identity, &plan.mapping) {
        Attempt::Known(caller) => caller,
        Attempt::Refused(denial) => return Err(Failure::Denied(denial)),
        _ => return Err(Failure::invalid("the session makes no caller")),
    };
    let seconds = provider.terms().lifetime_ms / 1_000;
    let sealed = provider.seal_session(&session);
    let fields = sealed
        .as_ref()
        .and_then(|text| cookie::write(head.headers(), &plan.cookie, text, seconds))
        .ok_or_else(|| {
            let size = sealed.map_or(0, |text| text.len());
            Failure::Faulted(format!("sign-in: a session of {size} characters is larger than browsers keep"))
        })?;
    // A relative address, so that the way back cannot lead to another host.
    let mut answer = redirect(&sign_in.target)
        .ok_or_else(|| Failure::Faulted("sign-in: the way back cannot be sent".to_owned()))?;
    let headers = answer.headers_mut();
    for field in fields.into_iter().chain(cookie::forget(&name)) {
        headers.append(header::SET_COOKIE, field);
    }
    Ok((answer, caller))
}

/// The sign-in that this browser began under this name.
fn pending(provider: &Provider, head: &RequestHead, name: &str) -> Option<SignIn> {
    let mut values = cookies(head.headers(), name);
    match (values.next(), values.next()) {
        (Some(value), None) => provider.open_sign_in(value),
        _ => None,
    }
}

// === Out again ===

async fn sign_out(x: &Exchange<Routed>, plan: &OpenIdConnectPlan) -> Result<Response<AnswerBody>, Failure> {
    let (shared, head) = (&x.shared, x.proof.head());
    let provider = provider(shared, plan)?;
    let origin = resource::origin(head);
    // Another site's page, or its image, must not sign anybody out.
    if !browser::is_own_page(head.headers(), &origin, &plan.trusted_origins) {
        let denial = Denial::new(Reason::CrossSite);
        return Err(Failure::Denied(denial.because("signing out was asked for by another site's page")));
    }
    let session = match cookie::read(head.headers(), &plan.cookie) {
        Kept::Text(text) => provider.open_session(&text),
        Kept::Absent | Kept::Broken => None,
    };
    let mut url = None;
    if let Some(session) = &session {
        provider.memory().end(session.id, session.ends_ms(provider.terms()), now_ms());
        if let Some(outside) = shared.core.runtime.outside() {
            let back_to = format!("{origin}{}", plan.after_logout_path);
            url = provider.end_session_url(outside, session, &back_to).await;
        }
    }
    // Without the provider, or without a session there, only here.
    let mut answer = redirect(url.as_deref().unwrap_or(&plan.after_logout_path))
        .ok_or_else(|| Failure::Faulted("signing out: the address cannot be sent".to_owned()))?;
    for field in cookie::forget_all(head.headers(), |name| plan.owns_cookie(name)) {
        answer.headers_mut().append(header::SET_COOKIE, field);
    }
    Ok(answer)
}

/// RFC 9700 §4.12: 303, so that no browser sends a form on. Nobody keeps it, and no page behind it learns its address.
fn redirect(to: &str) -> Option<Response<AnswerBody>> {
    let mut answer = Response::new(AnswerBody::empty());
    *answer.status_mut() = StatusCode::SEE_OTHER;
    let headers = answer.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::try_from(to).ok()?);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    Some(answer)
}
