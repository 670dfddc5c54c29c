//! `Role`: what whoever has it may do.

use crate::{
    read::{OneOrMany, Spanned},
    scalar::{Condition, Method, RouteScope},
};

crate::document! {
    /// What whoever has it may do. A Consumer has the roles that it lists; an AuthorizationPolicy asks for them. A
    /// role without grants permits nothing by itself: it is a word that rules and upstreams can ask for.
    pub struct RoleSpec {
        /// What it is for, for people.
        pub description: Option<String>,
        /// What it permits.
        pub grants: Vec<Spanned<RoleGrant>> = Vec::new(),
    }
}

crate::document! {
    /// Something that a role permits.
    pub struct RoleGrant {
        /// On which routes, by name. That it is every route, also those that come later, is written `*`.
        pub routes: OneOrMany<Spanned<RouteScope>>,
        /// By which methods; none means every method.
        pub methods: Vec<Method> = Vec::new(),
        /// Only if this CEL condition holds.
        pub when: Option<Spanned<Condition>>,
    }
}
