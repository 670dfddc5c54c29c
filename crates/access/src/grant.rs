//! What roles permit: the table of all roles of a set of documents.
//!
//! A grant names routes, methods and perhaps a condition. The table is turned round when it is built, from "what may
//! this role" to "which roles may this", per route and method; judging then asks whether the caller's set of roles
//! meets one other set. Only conditional grants are looked at one by one, and of those only the caller's.

use std::{collections::HashMap, sync::Arc};

use bartizan_message::MethodSet;

use crate::{
    expression::{Condition, Undecided},
    policy::Meter,
    role::{RoleId, RoleSet},
    subject::{Asked, Subject},
};

/// A role as documents define it.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its name.
    pub name: Arc<str>,
    /// What it permits; nothing for a role that rules and upstreams only ask for by name.
    pub grants: Vec<Grant>,
}

/// Something that a role permits.
#[derive(Clone, Debug)]
pub struct Grant {
    /// On which routes.
    pub routes: Routes,
    /// By which methods.
    pub methods: MethodSet,
    /// Only if this holds.
    pub when: Option<Condition>,
}

/// Routes that a grant names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routes {
    /// All of them, also those that come later.
    Every,
    /// These.
    Named(Vec<Arc<str>>),
}

/// All roles of a set of documents.
#[derive(Debug, Default)]
pub struct Roles {
    /// In order of name; a role's number is its place here.
    definitions: Vec<Definition>,
    ids: HashMap<Arc<str>, RoleId>,
    everywhere: Granted,
    by_route: HashMap<Arc<str>, Granted>,
}

/// Which roles may use a route.
#[derive(Debug, Default)]
struct Granted {
    /// Without condition, by the place of the method in [`MethodSet`].
    free: [RoleSet; MethodSet::COUNT],
    /// With a condition, by role.
    conditional: Vec<Conditional>,
    conditional_roles: RoleSet,
}

#[derive(Debug)]
struct Conditional {
    role: RoleId,
    methods: MethodSet,
    when: Condition,
}

/// A grant that may cover a request, for whoever has no request at hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Covering<'r> {
    pub(crate) role: RoleId,
    pub(crate) when: Option<&'r Condition>,
}

impl Roles {
    /// Builds the table. Of definitions with one name the first counts; the caller reported the others.
    pub fn new(definitions: impl IntoIterator<Item = Definition>) -> Self {
        let mut definitions: Vec<Definition> = definitions.into_iter().collect();
        definitions.sort_by(|a, b| a.name.cmp(&b.name));
        definitions.dedup_by(|later, first| later.name == first.name);
        let id = |at: usize| RoleId(u32::try_from(at).unwrap_or(u32::MAX));
        let ids = definitions.iter().enumerate().map(|(at, role)| (role.name.clone(), id(at))).collect();
        let mut everywhere = Building::default();
        let mut by_route: HashMap<Arc<str>, Building> = HashMap::new();
        for (at, definition) in definitions.iter().enumerate() {
            for grant in &definition.grants {
                match &grant.routes {
                    Routes::Every => everywhere.add(id(at), grant),
                    Routes::Named(routes) => {
                        for route in routes {
                            by_route.entry(route.clone()).or_default().add(id(at), grant);
                        }
                    }
                }
            }
        }
        Roles {
            ids,
            everywhere: everywhere.finish(),
            by_route: by_route.into_iter().map(|(route, building)| (route, building.finish())).collect(),
            definitions,
        }
    }

    /// The role of this name.
    pub fn id(&self, name: &str) -> Option<RoleId> {
        self.ids.get(name).copied()
    }

    /// The name of a role.
    pub fn name(&self, role: RoleId) -> Option<&Arc<str>> {
        self.definitions.get(role.0 as usize).map(|definition| &definition.name)
    }

    /// The roles of these names; names that no document defines are left out, for they permit nothing.
    pub fn set_of<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> RoleSet {
        names.into_iter().filter_map(|name| self.id(name)).collect()
    }

    /// All roles, in order of name.
    pub fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// The first of the caller's roles that permits what is asked.
    pub(crate) fn permits(
        &self,
        who: &Subject<'_>,
        asked: &Asked<'_>,
        meter: &mut Meter,
    ) -> Result<Option<RoleId>, Undecided> {
        let Some(method) = MethodSet::index(asked.method) else { return Ok(None) };
        let tables = || [Some(&self.everywhere), self.by_route.get(asked.route)].into_iter().flatten();
        let free = tables().find_map(|granted| granted.free.get(method)?.first_common(who.roles));
        if free.is_some() {
            return Ok(free);
        }
        let mut undecided = None;
        for granted in tables() {
            for conditional in granted.conditionals(who.roles) {
                if !conditional.methods.contains(asked.method) {
                    continue;
                }
                match meter.holds(&conditional.when, who, asked) {
                    Ok(true) => return Ok(Some(conditional.role)),
                    Ok(false) => {}
                    Err(why) => undecided = Some(why),
                }
            }
        }
        undecided.map_or(Ok(None), Err)
    }

    /// The grants of these roles that cover a route and method, those without condition first.
    pub(crate) fn covering<'r>(
        &'r self,
        roles: &'r RoleSet,
        route: &str,
        method: &http::Method,
    ) -> Vec<Covering<'r>> {
        let Some(index) = MethodSet::index(method) else { return Vec::new() };
        let tables = [Some(&self.everywhere), self.by_route.get(route)];
        let tables = || tables.into_iter().flatten();
        let free = tables().filter_map(|granted| granted.free.get(index)).flat_map(|free| free.common(roles));
        let conditional = tables().flat_map(|granted| granted.conditionals(roles));
        free.map(|role| Covering { role, when: None })
            .chain(
                conditional
                    .filter(|conditional| conditional.methods.contains(method))
                    .map(|conditional| Covering { role: conditional.role, when: Some(&conditional.when) }),
            )
            .collect()
    }
}

impl Granted {
    /// The conditional grants of these roles.
    fn conditionals<'g>(&'g self, roles: &'g RoleSet) -> impl Iterator<Item = &'g Conditional> {
        self.conditional_roles.common(roles).flat_map(|role| {
            let first = self.conditional.partition_point(|conditional| conditional.role < role);
            let of_role = self.conditional.get(first..).unwrap_or_default();
            of_role.iter().take_while(move |conditional| conditional.role == role)
        })
    }
}

/// A [`Granted`] in the making.
#[derive(Default)]
struct Building {
    free: [Vec<RoleId>; MethodSet::COUNT],
    conditional: Vec<Conditional>,
}

impl Building {
    fn add(&mut self, role: RoleId, grant: &Grant) {
        if let Some(when) = &grant.when {
            self.conditional.push(Conditional { role, methods: grant.methods, when: when.clone() });
            return;
        }
        for method in grant.methods.iter() {
            if let Some(free) = MethodSet::index(&method).and_then(|at| self.free.get_mut(at)) {
                free.push(role);
            }
        }
    }

    /// Definitions come in order of their numbers, so the conditional grants are sorted by role.
    fn finish(self) -> Granted {
        Granted {
            free: self.free.map(RoleSet::of),
            conditional_roles: self.conditional.iter().map(|conditional| conditional.role).collect(),
            conditional: self.conditional,
        }
    }
}
