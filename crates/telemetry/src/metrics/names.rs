//! Registered names: each becomes a small number that indexes the cores' tables.
//!
//! Numbers are given once per process and survive reloads, so counters never jump back. A process that meets more
//! names than a limit (for example by endless reloads with new ones) counts the rest under one shared name.

use std::{collections::HashMap, sync::Arc};

use super::label::ConnectionState;

/// The label of what has no name: a request that met no route, a call without an upstream.
pub const NONE: &str = "_none";

/// The label that all names beyond a limit share.
pub const OVERFLOW: &str = "_overflow";

/// Most listeners with counters of their own.
pub const LISTENERS_MAX: usize = 256;
/// Most routes with counters of their own.
pub const ROUTES_MAX: usize = 4096;
/// Most upstreams with counters of their own.
pub const UPSTREAMS_MAX: usize = 2048;
/// Most endpoints with counters of their own.
pub const ENDPOINTS_MAX: usize = 4096;
/// Most policies with counters of their own.
pub const POLICIES_MAX: usize = 4096;

/// Most groups of rules with counters of their own.
pub const RULE_GROUPS_MAX: usize = 4096;

/// Most bytes of a name in a label. Names in documents are shorter; this guards against a caller's mistake.
const NAME_BYTES_MAX: usize = 256;

macro_rules! ids {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name(pub(super) u32);

        impl $name {
            /// Nothing in particular: counted under [`NONE`].
            pub const NONE: Self = $name(0);

            pub(super) const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::NONE
            }
        }
    )+};
}

ids! {
    /// A registered listener.
    ListenerId,
    /// A registered route.
    RouteId,
    /// A registered upstream.
    UpstreamId,
    /// A registered endpoint of an upstream.
    EndpointId,
    /// A registered policy.
    PolicyId,
    /// A registered group of rules of a policy.
    RuleGroupId,
}

/// All registered names.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) listeners: Table,
    pub(super) routes: Table,
    pub(super) upstreams: Table,
    pub(super) endpoints: Table,
    pub(super) policies: Table,
    pub(super) rule_groups: Table,
    healthy: HashMap<EndpointId, bool>,
    connections: HashMap<EndpointId, [u64; ConnectionState::COUNT]>,
}

impl Default for Names {
    fn default() -> Self {
        Names {
            listeners: Table::new(LISTENERS_MAX),
            routes: Table::new(ROUTES_MAX),
            upstreams: Table::new(UPSTREAMS_MAX),
            endpoints: Table::new(ENDPOINTS_MAX),
            policies: Table::new(POLICIES_MAX),
            rule_groups: Table::new(RULE_GROUPS_MAX),
            healthy: HashMap::new(),
            connections: HashMap::new(),
        }
    }
}

impl Names {
    pub(super) fn listener(&mut self, name: &str) -> ListenerId {
        ListenerId(self.listeners.number([name, ""]))
    }

    pub(super) fn route(&mut self, name: &str) -> RouteId {
        RouteId(self.routes.number([name, ""]))
    }

    pub(super) fn upstream(&mut self, name: &str) -> UpstreamId {
        UpstreamId(self.upstreams.number([name, ""]))
    }

    pub(super) fn endpoint(&mut self, upstream: &str, endpoint: &str) -> EndpointId {
        EndpointId(self.endpoints.number([upstream, endpoint]))
    }

    pub(super) fn policy(&mut self, name: &str) -> PolicyId {
        PolicyId(self.policies.number([name, ""]))
    }

    pub(super) fn rule_group(&mut self, policy: &str, group: &str) -> RuleGroupId {
        RuleGroupId(self.rule_groups.number([policy, group]))
    }

    pub(super) fn set_endpoint_healthy(&mut self, endpoint: EndpointId, healthy: Option<bool>) {
        // What shares a number has no health of its own to tell.
        if endpoint.0 == FIRST_SHARED || endpoint.0 == SECOND_SHARED {
            return;
        }
        match healthy {
            Some(healthy) => self.healthy.insert(endpoint, healthy),
            None => self.healthy.remove(&endpoint),
        };
    }

    pub(super) fn set_endpoint_connections(
        &mut self,
        endpoint: EndpointId,
        open: Option<[u64; ConnectionState::COUNT]>,
    ) {
        if endpoint.0 == FIRST_SHARED || endpoint.0 == SECOND_SHARED {
            return;
        }
        match open {
            Some(open) => self.connections.insert(endpoint, open),
            None => self.connections.remove(&endpoint),
        };
    }

    /// How many connections are in each state.
    pub(super) fn endpoint_connections(&self, number: usize) -> Option<[u64; ConnectionState::COUNT]> {
        self.connections.get(&EndpointId(u32::try_from(number).ok()?)).copied()
    }

    pub(super) fn endpoint_healthy(&self, number: usize) -> Option<bool> {
        self.healthy.get(&EndpointId(u32::try_from(number).ok()?)).copied()
    }
}

/// The number of [`NONE`].
const FIRST_SHARED: u32 = 0;
/// The number of [`OVERFLOW`].
const SECOND_SHARED: u32 = 1;

/// A name of one or two parts.
pub(super) type Name = [Arc<str>; 2];

/// Names of one kind, numbered from 0.
#[derive(Debug)]
pub(super) struct Table {
    limit: usize,
    numbers: HashMap<Name, u32>,
    names: Vec<Name>,
}

impl Table {
    fn new(limit: usize) -> Self {
        let mut table = Table { limit, numbers: HashMap::new(), names: Vec::new() };
        table.add([NONE.into(), NONE.into()], FIRST_SHARED);
        table.add([OVERFLOW.into(), OVERFLOW.into()], SECOND_SHARED);
        table
    }

    fn number(&mut self, name: [&str; 2]) -> u32 {
        let name: Name = name.map(|part| {
            let kept = crate::text::cut(part.as_bytes(), NAME_BYTES_MAX);
            String::from_utf8_lossy(kept).into()
        });
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        match u32::try_from(self.names.len()) {
            Ok(number) if self.names.len() < self.limit => {
                self.add(name, number);
                number
            }
            _ => SECOND_SHARED,
        }
    }

    fn add(&mut self, name: Name, number: u32) {
        self.numbers.insert(name.clone(), number);
        self.names.push(name);
    }

    /// All names, in the order of their numbers.
    pub(super) fn names(&self) -> &[Name] {
        &self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number() {
        let mut names = Names::default();
        let first = names.route("orders");
        assert_ne!(first, names.route("users"));
        assert_eq!(first, names.route("orders"));
        assert_ne!(first, RouteId::NONE);
    }

    #[test]
    fn names_beyond_the_limit_share_one_number() {
        let mut names = Names::default();
        let numbers: Vec<_> = (0..5000).map(|n| names.route(&format!("r{n}"))).collect();
        assert_eq!(numbers[4093].index(), ROUTES_MAX - 1);
        assert!(numbers[4094..].iter().all(|id| id.0 == SECOND_SHARED));
        assert_eq!(names.routes.names().len(), ROUTES_MAX);
        assert_eq!(names.route("r7"), numbers[7], "those that came first keep theirs");
    }

    #[test]
    fn an_endpoint_is_known_by_its_upstream_too() {
        let mut names = Names::default();
        assert_ne!(names.endpoint("a", "10.0.0.1:80"), names.endpoint("b", "10.0.0.1:80"));
        assert_ne!(names.endpoint("a", "b"), names.endpoint("", "ab"));
    }

    #[test]
    fn what_shares_a_number_has_no_health() {
        let mut names = Names::default();
        names.set_endpoint_healthy(EndpointId::NONE, Some(true));
        assert_eq!(names.endpoint_healthy(0), None);
        let endpoint = names.endpoint("a", "b");
        names.set_endpoint_healthy(endpoint, Some(false));
        assert_eq!(names.endpoint_healthy(endpoint.index()), Some(false));
        names.set_endpoint_healthy(endpoint, None);
        assert_eq!(names.endpoint_healthy(endpoint.index()), None);
    }
}
