//! Faults on a timeline.
//!
//! A fault is a time and one thing that happens, as a field of its own: `deletePod: redpanda/redpanda-1`. What can
//! happen is a [`FaultKind`]; each knows what undoes it ([`FaultKind::undo`]), so that `for: 20s` beside it schedules
//! that, and what it acts on ([`FaultKind::targets`]). The [`catalogue`] lists all. What a kind does to the cluster is in
//! `run::faults`.
//!
//! Another kind is another variant of [`FaultKind`], whose name is the field, a line in each of `undo`, `targets` and
//! `run::faults`, and an entry of the catalogue.

mod balancers;
pub mod catalogue;
mod check;
mod control_plane;
mod disks;
mod dns;
mod kind;
mod links;
mod nodes;
mod pods;
mod read;
mod share;
mod target;
#[cfg(test)]
mod tests;
mod trigger;
mod workloads;

use serde::Serialize;

pub use balancers::{FlappingBalancer, SlowRegistration};
pub use control_plane::Yes;
pub use disks::{DiskTrouble, FailingDisk, MendedDisk, SlowDisk};
pub use dns::{DnsServers, SlowDns};
pub use kind::FaultKind;
pub use links::{
    BlackHole, DelayedLink, ImpairedShare, LimitedLink, LinkAspect, MendedLink, ReorderedLink, Way,
};
pub use nodes::{
    BlockedPort, ExpiredFlows, FlowEnd, LagKubeProxy, RebootNode, RemoveTaint, Skew, SkewedClock,
    TaintEffect, TaintNode,
};
pub use pods::{ContainerName, ExitContainer, ExitReason, PodName, SlowContainer};
pub use share::Share;
pub use target::Target;
pub use trigger::{Trigger, TriggerEvent};
pub use workloads::{Cascade, DeleteWorkload, Scale, SetImage};

use super::Duration;

/// Something that happens at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// When, after the timeline's start, or after what `when` waits for.
    pub at: Duration,
    /// What it waits for; nothing if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<Trigger>,
    /// How long until it is undone; it is not undone if absent.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Duration>,
    /// What expectations call it; the field that says what happens, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// `--grace-period` of a pod's deletion; the pod's own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_period: Option<Duration>,
    /// `--force` of a pod's deletion: the object goes at once, whatever the node says.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Whether nothing is wrong if it cannot be played because its object is not there, or already as it would be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub may_miss: bool,
}

impl Fault {
    /// `kind` at a time after the timeline's start.
    pub fn at(at: Duration, kind: FaultKind) -> Fault {
        Fault {
            at,
            when: None,
            lasts: None,
            name: None,
            kind,
            grace_period: None,
            force: false,
            may_miss: false,
        }
    }

    /// What expectations call it.
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.kind.field().to_owned())
    }

    /// What expectations call its end, if it has one: `NAME.end`.
    pub fn end_name(&self) -> Option<String> {
        self.lasts.map(|_| format!("{}.end", self.name()))
    }
}
