//! Roles: names for sets of users, which ACLs can be bound to (redpanda.md 3.1.1, `/v1/security/roles`).

use serde::{Deserialize, Serialize};

/// The prefix of a principal that stands for a role in an ACL.
pub(crate) const ROLE_PRINCIPAL: &str = "RedpandaRole:";

/// One member of a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct RoleMember {
    /// The principal's type; `User` is the only one.
    pub principal_type: String,
    pub name: String,
}
