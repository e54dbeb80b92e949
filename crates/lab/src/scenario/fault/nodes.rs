//! Faults of nodes and of what runs on them.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::Duration;

/// A machine that loses power and boots again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RebootNode {
    /// The node.
    pub node: String,
    /// From the loss of power until the machine boots.
    pub down_for: Duration,
}

/// A TCP port that a node's firewall drops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BlockedPort {
    /// The node.
    pub node: String,
    /// The port, as pods listen on it.
    pub port: NonZeroU16,
}

/// A kube-proxy that is late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LagKubeProxy {
    /// The node.
    pub node: String,
    /// How late.
    pub by: Duration,
}

/// A node whose clock is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "SkewedFields", into = "SkewedFields")]
pub struct SkewedClock {
    /// The node.
    pub node: String,
    /// How far it is ahead of the true time, or behind it.
    pub skew: Skew,
}

/// How wrong a clock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skew {
    /// It shows a later time.
    Ahead(Duration),
    /// It shows an earlier time.
    Behind(Duration),
}

/// A wrong clock as it is written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SkewedFields {
    node: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ahead: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    behind: Option<Duration>,
}

impl Skew {
    /// Milliseconds ahead; below zero if it is behind.
    pub fn ahead_ms(self) -> i64 {
        let ms = |span: Duration| i64::try_from(span.span().as_nanos() / 1_000_000).unwrap_or(i64::MAX);
        match self {
            Skew::Ahead(by) => ms(by),
            Skew::Behind(by) => -ms(by),
        }
    }
}

impl TryFrom<SkewedFields> for SkewedClock {
    type Error = String;

    fn try_from(fields: SkewedFields) -> Result<Self, String> {
        let SkewedFields { node, ahead, behind } = fields;
        let skew = match (ahead, behind) {
            (Some(by), None) => Skew::Ahead(by),
            (None, Some(by)) => Skew::Behind(by),
            _ => return Err("expected exactly one of `ahead` and `behind`".to_owned()),
        };
        Ok(SkewedClock { node, skew })
    }
}

impl From<SkewedClock> for SkewedFields {
    fn from(clock: SkewedClock) -> SkewedFields {
        let (ahead, behind) = match clock.skew {
            Skew::Ahead(by) => (Some(by), None),
            Skew::Behind(by) => (None, Some(by)),
        };
        SkewedFields { node: clock.node, ahead, behind }
    }
}

/// Entries of a node's connection tracking table that are forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExpiredFlows {
    /// The node.
    pub node: String,
    /// The address that the client called, or that of the pod it was led to: `IP` or `IP:PORT`.
    pub to: FlowEnd,
}

/// An address, with a port or with any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct FlowEnd(pub SocketAddr);

impl TryFrom<String> for FlowEnd {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let any_port = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 0));
        let end = text.parse::<SocketAddr>().or_else(|_| any_port());
        end.map(FlowEnd)
            .map_err(|_| format!("`{text}` is no address; expected IP or IP:PORT, such as `10.96.0.10:53`"))
    }
}

impl From<FlowEnd> for String {
    fn from(end: FlowEnd) -> String {
        match end.0.port() {
            0 => end.0.ip().to_string(),
            _ => end.0.to_string(),
        }
    }
}

/// A taint that a node gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TaintNode {
    /// The node.
    pub node: String,
    /// The taint's key.
    pub key: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Its effect.
    pub effect: TaintEffect,
}

/// What a taint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// Pods that do not tolerate it are not scheduled there.
    NoSchedule,
    /// The scheduler avoids the node.
    PreferNoSchedule,
    /// Pods that do not tolerate it are evicted too.
    NoExecute,
}

/// A taint that a node loses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RemoveTaint {
    /// The node.
    pub node: String,
    /// The taint's key.
    pub key: String,
}

impl TaintEffect {
    /// The word in the node's spec.
    pub fn as_str(self) -> &'static str {
        match self {
            TaintEffect::NoSchedule => "NoSchedule",
            TaintEffect::PreferNoSchedule => "PreferNoSchedule",
            TaintEffect::NoExecute => "NoExecute",
        }
    }
}
