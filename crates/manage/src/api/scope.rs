//! What a role is narrowed to, for one user or one token: fewer permissions, kinds of documents, labels, addresses.
//!
//! A scope only ever takes away. It is kept as JSON; one that cannot be read lets nothing through. Who is held to kinds or
//! labels sees and changes such documents alone, and nothing that gives permissions to others: users, tokens and the
//! trail need the whole of a role.

use std::{collections::BTreeMap, net::IpAddr};

use bartizan_model::{
    document::{Document, Kind},
    scalar::Cidr,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{problem::Problem, role::Permission};

/// What a role is narrowed to. What is absent is not narrowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Scope {
    /// Only these permissions, of those that the role has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<Permission>>,
    /// Only documents of these kinds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// Only documents with all of these labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Only callers from these networks, such as `192.0.2.0/24`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

impl Scope {
    /// Reads what is kept; `None` where it cannot be read, and then nothing is allowed.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Scope::default());
        }
        // A list of nothing would be read as a scope of nothing.
        let scope: Scope = text.starts_with('{').then(|| serde_json::from_str(text).ok())??;
        scope.flaw().is_none().then_some(scope)
    }

    /// What is kept: nothing for the whole role.
    pub fn to_text(&self) -> String {
        if *self == Scope::default() {
            return String::new();
        }
        // No map in it has keys that are not text, so this cannot fail; an empty object would widen it.
        serde_json::to_string(self).unwrap_or_else(|_| "unreadable".to_owned())
    }

    /// The first word in it that means nothing.
    pub fn flaw(&self) -> Option<String> {
        if let Some(word) = self.kinds.iter().find(|word| kind(word).is_none()) {
            return Some(format!("there is no kind {word:?}"));
        }
        if let Some(text) = self.addresses.iter().find(|text| text.parse::<Cidr>().is_err()) {
            return Some(format!("{text:?} is no network; write one like 192.0.2.0/24"));
        }
        let size = self.kinds.len() + self.labels.len() + self.addresses.len();
        let longest = self.labels.iter().map(|(name, value)| name.len() + value.len()).max().unwrap_or(0);
        (size > PARTS_MAX || longest > LABEL_BYTES_MAX).then(|| "the scope is too large".to_owned())
    }

    /// As [`Scope::flaw`], as a refusal.
    pub(crate) fn sound(&self) -> Result<&Self, Problem> {
        self.flaw().map_or(Ok(self), |flaw| Err(Problem::bad(format!("The scope does not hold: {flaw}."))))
    }

    /// Whether the permission is among those that it leaves.
    pub fn leaves(&self, permission: Permission) -> bool {
        let named = self.permissions.as_ref().is_none_or(|permissions| permissions.contains(&permission));
        named && !(self.is_narrow() && permission.needs_everything())
    }

    /// Whether it holds to some documents.
    pub fn is_narrow(&self) -> bool {
        !self.kinds.is_empty() || !self.labels.is_empty()
    }

    /// Whether a document lies in it.
    pub fn reaches(&self, document: &Document) -> bool {
        let is_kind =
            self.kinds.is_empty() || self.kinds.iter().any(|word| kind(word) == Some(document.kind()));
        let labels = &document.metadata.labels;
        is_kind && self.labels.iter().all(|(name, value)| labels.get(name) == Some(value))
    }

    /// Whether callers from this address are meant.
    pub fn admits(&self, address: IpAddr) -> bool {
        let holds = |text: &String| text.parse::<Cidr>().is_ok_and(|network| network.contains(address));
        self.addresses.is_empty() || self.addresses.iter().any(holds)
    }
}

fn kind(word: &str) -> Option<Kind> {
    Kind::ALL.iter().copied().find(|kind| kind.as_str() == word)
}

/// Kinds, labels and networks together.
const PARTS_MAX: usize = 100;
const LABEL_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_only_takes_away_and_one_that_cannot_be_read_leaves_nothing() {
        let scope = Scope::parse(
            r#"{"permissions":["readKeys"],"labels":{"team":"shop"},"addresses":["192.0.2.0/24"]}"#,
        )
        .unwrap();
        assert!(scope.leaves(Permission::ReadKeys) && !scope.leaves(Permission::MakeKeys));
        assert!(scope.admits("192.0.2.7".parse().unwrap()) && !scope.admits("192.0.3.7".parse().unwrap()));
        assert_eq!(Scope::parse(&scope.to_text()), Some(scope));
        assert_eq!(Scope::parse(""), Some(Scope::default()));
        for text in [
            "x",
            "[]",
            r#"{"more":1}"#,
            r#"{"kinds":["Nothing"]}"#,
            r#"{"addresses":["192.0.2.0/99"]}"#,
            r#"{"permissions":["everything"]}"#,
        ] {
            assert_eq!(Scope::parse(text), None, "{text}");
        }
    }

    #[test]
    fn who_is_held_to_some_documents_gives_nothing_to_others() {
        let narrow = Scope { kinds: vec!["Route".to_owned()], ..Scope::default() };
        for (permission, left) in [
            (Permission::ReadDocuments, true),
            (Permission::Apply, true),
            (Permission::ManageTokens, false),
            (Permission::ManageUsers, false),
            (Permission::ReadAudit, false),
        ] {
            assert_eq!(narrow.leaves(permission), left, "{permission:?}");
            assert!(Scope::default().leaves(permission));
        }
    }
}
