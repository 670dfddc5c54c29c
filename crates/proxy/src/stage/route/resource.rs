//! What a route publishes about itself as a protected resource (RFC 9728).
//!
//! A resource is the URL that a caller asked for: its metadata stands at the same path behind the well-known prefix,
//! names that URL as `resource` (§3.3 has clients compare them), and tells whose tokens the route takes. Published
//! where a policy says so, and public then: it must be readable without a token.

use bartizan_config::snapshot::{AuthenticationPlan, MethodPlan, RouteAsk};
use bartizan_message::RequestHead;
use bytes::Bytes;
use http::{HeaderValue, Method, Response, header};
use serde_json::{Value, json};

use super::Lookup;
use crate::{answer::AnswerBody, exchange::Shared};

/// RFC 9728 §3.
const PREFIX: &str = "/.well-known/oauth-protected-resource";

/// The metadata that is asked for, if it is and a policy publishes it.
pub(super) fn metadata(shared: &Shared, head: &RequestHead) -> Option<Response<AnswerBody>> {
    if !shared.live.publishes_resources || !matches!(*head.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let rest = head.path().as_str().strip_prefix(PREFIX)?;
    let path = match rest {
        "" => "/",
        rest if rest.starts_with('/') => rest,
        _ => return None,
    };
    let policy = policy(shared, head, path)?;
    let mut issuers: Vec<&str> = Vec::new();
    let mut scopes: Vec<&str> = Vec::new();
    for method in policy.methods.iter().filter(|method| method.challenge().is_some_and(|plan| plan.metadata))
    {
        scopes.extend(
            method.challenge().and_then(|plan| plan.scope.as_deref()).iter().flat_map(|all| all.split(' ')),
        );
        match method {
            MethodPlan::Jwt(plan) => issuers.extend(plan.issuers.iter().map(|issuer| &*issuer.name)),
            MethodPlan::Introspection(plan) => issuers.extend(plan.issuer.as_deref()),
            MethodPlan::ApiKey(_)
            | MethodPlan::ClientCertificate(_)
            | MethodPlan::Basic(_)
            | MethodPlan::OpenIdConnect(_) => {}
        }
    }
    // §2: issuers are URLs; a name that is none says nothing to a client.
    issuers.retain(|issuer| issuer.starts_with("https://") || issuer.starts_with("http://"));
    let mut document = json!({
        "resource": format!("{}{path}", origin(head)),
        "authorization_servers": issuers,
        "bearer_methods_supported": ["header"],
    });
    if let (false, Value::Object(members)) = (scopes.is_empty(), &mut document) {
        members.insert("scopes_supported".to_owned(), scopes.into());
    }
    let mut answer = Response::new(AnswerBody::whole(Bytes::from(document.to_string())));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    // Clients in pages must read it before they have anything to be recognised by.
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    Some(answer)
}

/// Where the metadata of what was asked for stands, for the challenge (§5.1).
pub(crate) fn address(head: &RequestHead) -> String {
    let path = head.path().as_str();
    format!("{}{PREFIX}{}", origin(head), if path == "/" { "" } else { path })
}

/// Scheme, host and port that the caller knows us by, as browsers write them.
pub(crate) fn origin(head: &RequestHead) -> String {
    let (scheme, authority) = (head.scheme().as_str(), head.authority());
    let usual = if scheme == "https" { 443 } else { 80 };
    match authority.port().filter(|port| *port != usual) {
        Some(port) => format!("{scheme}://{}:{port}", authority.host()),
        None => format!("{scheme}://{}", authority.host()),
    }
}

/// The policy of the route at `path`, whatever method it takes, if it publishes.
fn policy<'s>(shared: &'s Shared, head: &RequestHead, path: &str) -> Option<&'s AuthenticationPlan> {
    let listener = shared.listener()?;
    let find = |method: &Method| {
        let ask =
            RouteAsk { host: head.authority().host(), path, method, headers: head.headers(), query: None };
        listener.routes.find(&ask)
    };
    let found = match find(&Method::GET) {
        Lookup::Found(found) => found,
        Lookup::Nothing => return None,
        Lookup::OtherMethods(methods) => match methods.iter().next().map(|method| find(&method)) {
            Some(Lookup::Found(found)) => found,
            _ => return None,
        },
    };
    let policy = found.plan.authentication.enforced.as_deref()?;
    policy.publishes().then_some(policy)
}
