//! Faults of the way between two places.

use std::fmt;

use hopwise_kube::cluster::{Aspect, LinkEnd};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Share;
use crate::scenario::{DataSize, Duration};

/// The way between two places: `node/a <-> node/b` both ways, `node/a -> node/b` one way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Way {
    /// Where it begins.
    pub from: LinkEnd,
    /// Where it ends.
    pub to: LinkEnd,
    /// Whether the way back is meant too.
    pub both: bool,
}

/// Packets that take longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DelayedLink {
    /// Where.
    pub link: Way,
    /// How much longer, in one direction.
    pub by: Duration,
    /// By how much that varies, evenly to both sides. Packets stay in order.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub jitter: Duration,
}

/// Packets of which a part has something happen to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ImpairedShare {
    /// Where.
    pub link: Way,
    /// How many.
    pub share: Share,
}

/// Packets of which some are overtaken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ReorderedLink {
    /// Where.
    pub link: Way,
    /// How many.
    pub share: Share,
    /// How long they are held back.
    pub by: Duration,
}

/// A way with less bandwidth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LimitedLink {
    /// Where.
    pub link: Way,
    /// How much goes through in a second, in each direction.
    pub per_second: DataSize,
    /// How much may wait; more is dropped.
    #[serde(default = "queue_default")]
    pub queue: DataSize,
}

/// A way on which large packets vanish (RFC 2923 section 2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BlackHole {
    /// Where.
    pub link: Way,
    /// The largest IP packet that passes, in bytes.
    pub above: u16,
}

/// A way that is mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MendedLink {
    /// Where.
    pub link: Way,
    /// Of what; of everything if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<LinkAspect>,
}

/// What can be wrong with a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkAspect {
    /// `delayLink`.
    Delay,
    /// `loseOnLink`.
    Loss,
    /// `duplicateOnLink`.
    Duplication,
    /// `reorderOnLink`.
    Reordering,
    /// `limitLink`.
    Bandwidth,
    /// `cutLink`.
    Cut,
    /// `blackHoleLink`.
    Mtu,
}

impl LinkAspect {
    /// As the cluster calls it.
    pub fn of_cluster(self) -> Aspect {
        match self {
            LinkAspect::Delay => Aspect::Delay,
            LinkAspect::Loss => Aspect::Loss,
            LinkAspect::Duplication => Aspect::Duplication,
            LinkAspect::Reordering => Aspect::Reordering,
            LinkAspect::Bandwidth => Aspect::Bandwidth,
            LinkAspect::Cut => Aspect::Cut,
            LinkAspect::Mtu => Aspect::Mtu,
        }
    }
}

impl Way {
    /// Its directions: from where to where.
    pub fn directions(&self) -> impl Iterator<Item = (&LinkEnd, &LinkEnd)> {
        let back = self.both.then_some((&self.to, &self.from));
        [(&self.from, &self.to)].into_iter().chain(back)
    }
}

impl TryFrom<String> for Way {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text.split_once("<->").map(|ends| (ends, true));
        let Some(((from, to), both)) = parts.or_else(|| text.split_once("->").map(|ends| (ends, false)))
        else {
            return Err(format!(
                "`{text}` is no way between two places; expected `node/a <-> node/b`, or `node/a -> node/b` for one way"
            ));
        };
        let (from, to): (LinkEnd, LinkEnd) = (from.trim().parse()?, to.trim().parse()?);
        if from == to {
            return Err(format!("`{text}` leads from {from} to itself; expected two places"));
        }
        Ok(Way { from, to, both })
    }
}

impl From<Way> for String {
    fn from(way: Way) -> String {
        way.to_string()
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.from, if self.both { "<->" } else { "->" }, self.to)
    }
}

fn is_zero(duration: &Duration) -> bool {
    *duration == Duration::default()
}

/// As much as a link's queue holds by itself.
fn queue_default() -> DataSize {
    DataSize(hopwise_fabric::LinkConfig::default().queue_bytes_max)
}
