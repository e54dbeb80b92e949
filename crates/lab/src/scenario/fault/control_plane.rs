//! Faults of the control plane.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `true`, for what needs no more words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "bool", into = "bool")]
pub struct Yes;

impl TryFrom<bool> for Yes {
    type Error = String;

    fn try_from(yes: bool) -> Result<Self, String> {
        yes.then_some(Yes)
            .ok_or_else(|| "expected `true`; leave the fault out if it should not happen".to_owned())
    }
}

impl From<Yes> for bool {
    fn from(_: Yes) -> bool {
        true
    }
}
