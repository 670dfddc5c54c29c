//! Who may do what: five roles, and the table of what each one may.
//!
//! Deny by default: what is not in the table is not allowed. The table is small enough to be read by whoever gives a
//! role away, and it is what the tests go through, endpoint by endpoint.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that a role may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Permission {
    /// Make a revision, or roll back.
    Apply,
    /// Read the audit trail.
    ReadAudit,
    /// Read documents, revisions, routes and plans.
    ReadDocuments,
    /// List API keys; their secrets are nowhere.
    ReadKeys,
    /// See requests that were refused, and why.
    ReadRequests,
    /// See how the gateway is.
    ReadState,
    /// Withdraw API keys.
    RevokeKeys,
    /// Make API keys.
    MakeKeys,
    /// Make and withdraw management tokens.
    ManageTokens,
    /// Add, change and disable users, and end their sessions.
    ManageUsers,
}

impl Permission {
    /// Whether it is about everybody, so that no narrowed role has it.
    pub const fn needs_everything(self) -> bool {
        matches!(self, Permission::ReadAudit | Permission::ManageTokens | Permission::ManageUsers)
    }
}

/// What somebody is in the team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Writes documents and plans them; others apply.
    Developer,
    /// Judges: applies, withdraws, reads the audit trail.
    Security,
    /// Runs: applies, makes and withdraws keys.
    Operator,
    /// Everything, users and tokens included.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Role; 5] = [Role::Viewer, Role::Developer, Role::Security, Role::Operator, Role::Admin];

    /// The word in tokens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Developer => "developer",
            Role::Security => "security",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    /// The role of a word; a word that is none gives none, and so nothing.
    pub fn parse(word: &str) -> Option<Self> {
        Role::ALL.into_iter().find(|role| role.as_str() == word)
    }

    /// What the role may do: the table.
    pub const fn permissions(self) -> &'static [Permission] {
        use Permission::{
            Apply, MakeKeys, ManageTokens, ManageUsers, ReadAudit, ReadDocuments, ReadKeys, ReadRequests,
            ReadState, RevokeKeys,
        };
        match self {
            Role::Viewer => &[ReadState, ReadDocuments],
            Role::Developer => &[ReadState, ReadDocuments, ReadRequests, ReadKeys],
            Role::Security => {
                &[ReadState, ReadDocuments, ReadRequests, ReadKeys, RevokeKeys, Apply, ReadAudit]
            }
            Role::Operator => {
                &[ReadState, ReadDocuments, ReadRequests, ReadKeys, MakeKeys, RevokeKeys, Apply]
            }
            Role::Admin => &[
                ReadState,
                ReadDocuments,
                ReadRequests,
                ReadKeys,
                MakeKeys,
                RevokeKeys,
                Apply,
                ReadAudit,
                ManageTokens,
                ManageUsers,
            ],
        }
    }

    /// Whether the role may do it.
    pub fn may(self, permission: Permission) -> bool {
        self.permissions().contains(&permission)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
