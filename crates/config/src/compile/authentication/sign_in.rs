//! `OpenIdConnect` methods → their plans, and whether browsers can come back to them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bartizan_model::{
    document::{Kind, Spec, authentication::OpenIdConnectMethod},
    problem::{Code, Problem, Problems, shown},
    read::Spanned,
    scalar::{FetchUrl, PathText},
};
use http::{HeaderMap, Method};

use super::token::{Compiling, TIMEOUT_MAX};
use crate::{
    compile::index::{Index, spec_of},
    snapshot::{Lookup, OpenIdConnectPlan, RouteAsk, RouteEntry, RouteTable},
};

/// Thirty days: a browser that is left open for longer should ask who sits before it.
const LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// RFC 6265bis §4.1.3.2: browsers take such a cookie from this host over TLS only, and send it to no other.
const COOKIE_PREFIX: &str = "__Host-";

/// 64 bytes: the name stands in every request, several times where the session is large.
const COOKIE_BYTES_MAX: usize = 64;

/// As many words as anybody asks for.
const SCOPES_MAX: usize = 32;

impl Compiling<'_, '_> {
    /// The plan of one method; its index is set by whoever puts plans together.
    pub(super) fn sign_in(&mut self, method: &Spanned<OpenIdConnectMethod>) -> Option<OpenIdConnectPlan> {
        let (algorithms, macs) =
            self.algorithms(&method.algorithms, method.at, "openIdConnect.algorithms")?;
        if !macs.is_empty() {
            let message =
                "ID tokens are verified by the provider's published keys: no `HS` algorithm has one";
            self.report(Code::FieldsClash, method.at, "openIdConnect.algorithms", message, "");
        }
        self.client_id(&method.client_id, "openIdConnect.clientId");
        let discovery = match &method.discovery.url {
            Some(url) => url.clone(),
            None => {
                let url = self.discovery_url(&method.issuer, "openIdConnect.issuer")?;
                Spanned::new(url, method.issuer.at)
            }
        };
        let issuer: Arc<str> = method.issuer.as_str().into();
        let key_set = self.key_set(&discovery, Some(issuer.clone()), &method.fetch, "openIdConnect.fetch")?;
        let timeout = self.at_most(&method.timeout, TIMEOUT_MAX, "openIdConnect.timeout");
        if timeout.is_zero() {
            self.positive(&method.timeout, "openIdConnect.timeout");
        }
        self.paths(method);
        self.cookie_name(&method.session.cookie_name);
        let path = "openIdConnect.session.lifetime";
        self.positive(&method.session.lifetime, path);
        let lifetime = self.at_most(&method.session.lifetime, LIFETIME_MAX, path);
        let path = "openIdConnect.session.idle";
        self.positive(&method.session.idle, path);
        let idle = self.at_most(&method.session.idle, lifetime, path);
        let located = |one| self.index.locate(self.document, one);
        let client_secret = method.client_secret_ref.as_ref().map(located);
        let keys = method.session.keys_ref.as_ref().map(located);
        Some(OpenIdConnectPlan {
            index: 0,
            issuer,
            client_id: method.client_id.as_str().into(),
            client_secret,
            scopes: self.scopes(&method.scopes),
            algorithms,
            discovery: discovery.value,
            fetch: key_set.fetch.clone(),
            key_set,
            timeout,
            redirect_path: method.redirect_path.shared(),
            logout_path: method.logout_path.shared(),
            after_logout_path: method.after_logout_path.shared(),
            cookie: method.session.cookie_name.as_str().into(),
            lifetime,
            idle,
            keys,
            trusted_origins: self.origins(&method.trusted_origins),
            leeway: self.clock_skew(&method.clock_skew, "openIdConnect.clockSkew"),
            mapping: self.mapping(&method.claims, "openIdConnect.claims"),
        })
    }

    /// RFC 6749 §3.3: the words of a scope.
    fn scopes(&mut self, scopes: &[Spanned<String>]) -> Vec<Box<str>> {
        let is_word = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
        };
        for scope in scopes.iter().filter(|scope| !is_word(scope)) {
            let message = format!("{} is no word of a scope", shown(scope));
            self.report(Code::BadText, scope.at, "openIdConnect.scopes", message, "write one word each");
        }
        if let Some(one) = scopes.get(SCOPES_MAX) {
            let message = format!("more than {SCOPES_MAX} scopes");
            self.report(Code::TooLarge, one.at, "openIdConnect.scopes", message, "");
        }
        scopes.iter().map(|scope| scope.as_str().into()).collect()
    }

    fn paths(&mut self, method: &OpenIdConnectMethod) {
        for (name, path) in [
            ("redirectPath", &method.redirect_path),
            ("logoutPath", &method.logout_path),
            ("afterLogoutPath", &method.after_logout_path),
        ] {
            if path.as_str().contains(['{', '}', '\\']) {
                let message = "the path must be one path, without variables";
                self.report(Code::BadPath, path.at, &format!("openIdConnect.{name}"), message, "");
            }
        }
        let clash = |one: &Spanned<PathText>, other: &Spanned<PathText>| one.as_str() == other.as_str();
        if clash(&method.redirect_path, &method.logout_path) {
            let message = "browsers cannot come back and sign out at one path";
            self.report(Code::FieldsClash, method.logout_path.at, "openIdConnect.logoutPath", message, "");
        }
        if clash(&method.after_logout_path, &method.redirect_path)
            || clash(&method.after_logout_path, &method.logout_path)
        {
            let message = "whoever has signed out cannot be sent to the callback or to sign out again";
            let at = method.after_logout_path.at;
            self.report(Code::FieldsClash, at, "openIdConnect.afterLogoutPath", message, "");
        }
    }

    fn cookie_name(&mut self, name: &Spanned<String>) {
        // RFC 6265 §4.1.1: a token of RFC 9110, and no dot: what stands behind one is the gateway's.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let rest = name.strip_prefix(COOKIE_PREFIX);
        if rest.is_none_or(|rest| rest.is_empty() || !rest.bytes().all(is_plain))
            || name.len() > COOKIE_BYTES_MAX
        {
            let message = format!("{} is no name for a session's cookie", shown(name));
            let hint = "write `__Host-` and up to 57 letters, digits, `-` and `_`; the prefix keeps browsers from \
                        sending it to other hosts or without TLS";
            self.report(Code::BadText, name.at, "openIdConnect.session.cookieName", message, hint);
        }
    }

    /// RFC 6454 §6.2: scheme, host and port, as browsers write them.
    fn origins(&mut self, origins: &[Spanned<String>]) -> Vec<Box<str>> {
        let is_origin = |text: &str| {
            let url: Option<FetchUrl> = text.parse().ok();
            url.is_some_and(|url| url.is_https() && url.to_string() == format!("{text}/"))
        };
        for origin in origins.iter().filter(|origin| !is_origin(origin)) {
            let message = format!("{} is no origin with TLS", shown(origin));
            let hint = "write scheme, host and port as browsers do: `https://app.example.com`";
            self.report(Code::BadUrl, origin.at, "openIdConnect.trustedOrigins", message, hint);
        }
        origins.iter().map(|origin| origin.as_str().into()).collect()
    }
}

/// Reports methods to which no browser could come back: their paths are in no route of the policy.
pub(in crate::compile) fn check_paths(
    index: &Index<'_>,
    entries: &[(usize, RouteEntry)],
    problems: &mut Problems,
) {
    let mut by_policy: BTreeMap<&str, Vec<RouteEntry>> = BTreeMap::new();
    for (_, entry) in entries {
        if let Some(policy) = &entry.plan.authentication.enforced
            && policy.sign_in().is_some()
        {
            // By the path alone: hosts and conditions are whatever they are.
            let entry = RouteEntry { host: None, headers: Vec::new(), query: Vec::new(), ..entry.clone() };
            by_policy.entry(&policy.label).or_default().push(entry);
        }
    }
    for document in index.of(Kind::AuthenticationPolicy) {
        let Some(spec) = spec_of!(document, AuthenticationPolicy) else { continue };
        let label = super::label(Kind::AuthenticationPolicy, document.name.as_str());
        let Some(entries) = by_policy.get(&*label) else { continue };
        for method in spec.methods.iter().filter_map(|method| method.open_id_connect.as_ref()) {
            for (name, path) in [("redirectPath", &method.redirect_path), ("logoutPath", &method.logout_path)]
            {
                if !publishes(entries, path.as_str()) {
                    let message = format!("no route of the policy publishes `GET {}`", path.as_str());
                    let at = format!("spec.methods.openIdConnect.{name}");
                    problems.push(Problem::new(Code::BadPath, method.at, at, message).hint(
                        "choose a path within a route that the policy is attached to, or publish it there",
                    ));
                }
            }
        }
    }
}

fn publishes(entries: &[RouteEntry], path: &str) -> bool {
    let headers = HeaderMap::new();
    entries.iter().any(|entry| {
        let table = RouteTable::build([entry.clone()]);
        let ask = RouteAsk { host: "", path, method: &Method::GET, headers: &headers, query: None };
        matches!(table.find(&ask), Lookup::Found(_))
    })
}
