//! Client quotas: limits for users and clients (KIP-546).

use serde::{Deserialize, Serialize};

/// For whom a quota is: a user, a client id, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct QuotaEntity {
    pub user: Option<QuotaName>,
    pub client_id: Option<QuotaName>,
    pub client_id_prefix: Option<QuotaName>,
}

/// A name, or everybody who has no quota of his own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum QuotaName {
    Default,
    Name(String),
}
