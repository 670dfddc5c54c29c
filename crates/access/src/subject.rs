//! Who asks, and what for: everything that authorization may look at.
//!
//! Plain borrowed facts, so that a request, a question on the command line and a test are judged alike. Nothing is
//! computed before a condition asks for it: a variable of the path is cut out of it, and a query read, only then.

use std::{borrow::Cow, fmt, net::IpAddr, sync::Arc};

use http::{HeaderMap, Method};

use crate::role::RoleSet;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The consumer's name; `None` for a caller who is nobody.
    pub consumer: Option<&'a str>,
    /// The subject: a token's `sub`, else the consumer's name.
    pub sub: Option<&'a str>,
    /// The roles that documents define.
    pub roles: &'a RoleSet,
    /// The names of all roles, also of those that no document defines.
    pub role_names: &'a [Arc<str>],
    /// Tags of the credential.
    pub tags: &'a [Arc<str>],
    /// How the caller was identified.
    pub method: &'a str,
    /// What the caller's token says; `None` for callers without one.
    pub claims: Option<&'a dyn Claims>,
}

/// What a token says.
pub trait Claims: fmt::Debug {
    /// The texts of a claim: one for a string, a number or a truth value, each for a list of such; `None` where there
    /// is no such claim, or one of another kind.
    fn get(&self, name: &str) -> Option<Vec<Cow<'_, str>>>;
}

impl Subject<'_> {
    /// A caller who is nobody.
    pub const NOBODY: Subject<'static> = Subject {
        consumer: None,
        sub: None,
        roles: RoleSet::EMPTY,
        role_names: &[],
        tags: &[],
        method: "anonymous",
        claims: None,
    };
}

/// What is asked for: the head of a request, and the route it matched.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The route's name.
    pub route: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The canonical path.
    pub path: &'a str,
    /// The host, lower-case, without port.
    pub host: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The raw query.
    pub query: Option<&'a str>,
    /// What stands in the path for a variable of the route's template; `None` where there is no such variable.
    pub variables: &'a dyn Variables,
    /// The client's address.
    pub client: IpAddr,
}

/// What stands in a path for the variables of a route's template.
pub trait Variables {
    /// The text for a variable, decoded; `None` where there is no such variable.
    fn get(&self, name: &str) -> Option<Cow<'_, str>>;
}

/// A route without variables.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoVariables;

impl Variables for NoVariables {
    fn get(&self, _: &str) -> Option<Cow<'_, str>> {
        None
    }
}
