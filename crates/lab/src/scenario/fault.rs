//! Faults on a timeline.
//!
//! A fault is a time and one thing that happens, as a field of its own: `deletePod: redpanda/redpanda-1`. Another kind
//! of fault is another variant of [`FaultKind`] here, whose name is the field, and a line in `run::faults` that says
//! what it does to the cluster.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, VariantAccess, Visitor};
use serde::{Deserialize, Serialize, forward_to_deserialize_any};

use super::{Duration, ObjectName};

/// Something that happens at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// When, after the timeline's start.
    pub at: Duration,
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

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FaultKind {
    /// What `kubectl delete pod` does.
    DeletePod(PodName),
    /// What the eviction API does: a deletion that honours PodDisruptionBudgets.
    EvictPod(PodName),
    /// A container's process ends.
    ExitContainer(ExitContainer),
    /// The machine loses power; what was not synced to its disks is lost.
    PowerOffNode(String),
    /// The machine has power again and boots.
    PowerOnNode(String),
    /// The machine loses power and boots after a while.
    RebootNode(RebootNode),
    /// The machine is shut down in order (graceful node shutdown).
    ShutDownNode(String),
    /// The machine cannot reach the API server any more; pods and clients still reach each other.
    CutNodeFromControlPlane(String),
    /// The machine reaches the API server again.
    ReconnectNodeToControlPlane(String),
    /// Packets to and from the machine are lost; its kubelet still reaches the API server.
    CutNodeFromNetwork(String),
    /// The machine's packets come through again.
    ReconnectNodeToNetwork(String),
    /// [`FaultKind::PowerOffNode`] for every node of a zone.
    PowerOffZone(String),
    /// [`FaultKind::PowerOnNode`] for every node of a zone.
    PowerOnZone(String),
    /// [`FaultKind::CutNodeFromControlPlane`] for every node of a zone.
    CutZoneFromControlPlane(String),
    /// [`FaultKind::ReconnectNodeToControlPlane`] for every node of a zone.
    ReconnectZoneToControlPlane(String),
    /// [`FaultKind::CutNodeFromNetwork`] for every node of a zone.
    CutZoneFromNetwork(String),
    /// [`FaultKind::ReconnectNodeToNetwork`] for every node of a zone.
    ReconnectZoneToNetwork(String),
    /// The kubelet's process ends; the containers run on.
    StopKubelet(String),
    /// The kubelet runs again.
    StartKubelet(String),
    /// kube-proxy's process ends; the node keeps its rules.
    StopKubeProxy(String),
    /// kube-proxy runs again and brings the rules up to date.
    StartKubeProxy(String),
    /// kube-proxy learns of every change later than it should.
    LagKubeProxy(LagKubeProxy),
    /// The API server does not answer.
    StopApiServer(Yes),
    /// The API server answers again.
    StartApiServer(Yes),
    /// What `kubectl cordon` does.
    CordonNode(String),
    /// What `kubectl uncordon` does.
    UncordonNode(String),
    /// What `kubectl drain --ignore-daemonsets` does.
    DrainNode(String),
    /// What `kubectl taint` does.
    TaintNode(TaintNode),
    /// What `kubectl taint NODE KEY-` does.
    RemoveTaint(RemoveTaint),
    /// What `kubectl delete node` does.
    DeleteNode(String),
    /// What `kubectl scale` does.
    Scale(Scale),
    /// What `kubectl rollout restart` does.
    RestartRollout(ObjectName),
    /// What `kubectl rollout undo` does.
    RollBack(ObjectName),
    /// What `kubectl set image` does.
    SetImage(SetImage),
    /// What `kubectl delete` does to a StatefulSet or a Deployment.
    DeleteWorkload(DeleteWorkload),
    /// What `kubectl create -f` does with a file that holds one StatefulSet.
    CreateStatefulSet(String),
    /// What `kubectl delete pvc` does.
    DeleteClaim(ObjectName),
}

/// A container whose process ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExitContainer {
    /// The pod.
    pub pod: PodName,
    /// The container.
    pub container: String,
    /// The reason in the container's status.
    #[serde(default)]
    pub reason: ExitReason,
}

/// Why a container's process ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    /// It crashes: `Error`.
    #[default]
    Error,
    /// The kernel kills it for its memory.
    #[serde(rename = "OOMKilled")]
    OomKilled,
}

/// A machine that loses power and boots again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RebootNode {
    /// The node.
    pub node: String,
    /// From the loss of power until the machine boots.
    pub down_for: Duration,
}

/// A kube-proxy that is late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LagKubeProxy {
    /// The node.
    pub node: String,
    /// How late.
    pub by: Duration,
}

/// A taint that a node gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaintEffect {
    /// Pods that do not tolerate it are not scheduled there.
    NoSchedule,
    /// The scheduler avoids the node.
    PreferNoSchedule,
    /// Pods that do not tolerate it are evicted too.
    NoExecute,
}

/// A taint that a node loses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RemoveTaint {
    /// The node.
    pub node: String,
    /// The taint's key.
    pub key: String,
}

/// Another number of replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Scale {
    /// The StatefulSet or Deployment.
    pub object: ObjectName,
    /// How many.
    pub replicas: u32,
}

/// Another image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SetImage {
    /// The StatefulSet or Deployment.
    pub object: ObjectName,
    /// The container.
    pub container: String,
    /// The image.
    pub image: String,
}

/// A workload that is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DeleteWorkload {
    /// The StatefulSet or Deployment.
    pub object: ObjectName,
    /// What becomes of its pods.
    #[serde(default)]
    pub cascade: Cascade,
}

/// What becomes of the pods of a workload that is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cascade {
    /// They are deleted afterwards.
    #[default]
    Background,
    /// They stay.
    Orphan,
}

/// `true`, for what needs no more words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "bool", into = "bool")]
pub struct Yes;

/// `namespace/name` of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PodName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Fault {
    /// What expectations call it.
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.kind.field())
    }
}

impl FaultKind {
    /// The field that says what happens.
    pub fn field(&self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(fields)) => fields.into_iter().map(|(field, _)| field).next(),
            _ => None,
        }
        .unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FaultVisitor)
    }
}

/// The fields of a fault beside the one that says what happens.
const FIELDS: [&str; 5] = ["at", "name", "gracePeriod", "force", "mayMiss"];

struct FaultVisitor;

impl<'de> Visitor<'de> for FaultVisitor {
    type Value = Fault;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping with `at` and what happens, such as `deletePod: NAMESPACE/NAME`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fault, A::Error> {
        let (mut at, mut name, mut grace_period, mut force, mut may_miss) = (None, None, None, false, false);
        let mut kind: Option<FaultKind> = None;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "at" => at = Some(map.next_value()?),
                "name" => name = Some(map.next_value()?),
                "gracePeriod" => grace_period = Some(map.next_value()?),
                "force" => force = map.next_value()?,
                "mayMiss" => may_miss = map.next_value()?,
                _ => {
                    let read = FaultKind::deserialize(Entry { key: &key, map: &mut map })?;
                    if let Some(known) = kind.replace(read) {
                        let why = format!(
                            "a fault is one thing that happens, and this one is `{}` already; make another fault of \
                             `{key}`",
                            known.field()
                        );
                        return Err(A::Error::custom(why));
                    }
                }
            }
        }
        let at = at.ok_or_else(|| A::Error::missing_field("at"))?;
        let kind = kind.ok_or_else(|| {
            A::Error::custom("a fault needs what happens beside `at`; expected `deletePod: NAMESPACE/NAME` or another fault")
        })?;
        if (grace_period.is_some() || force) && !matches!(kind, FaultKind::DeletePod(_)) {
            return Err(A::Error::custom("`gracePeriod` and `force` go with `deletePod` only"));
        }
        Ok(Fault { at, name, kind, grace_period, force, may_miss })
    }
}

/// One entry of a mapping as an enum: the key is the variant, the value what it holds.
struct Entry<'a, A> {
    key: &'a str,
    map: &'a mut A,
}

impl<'de, A: MapAccess<'de>> Deserializer<'de> for Entry<'_, A> {
    type Error = A::Error;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        if variants.contains(&self.key) {
            return visitor.visit_enum(self);
        }
        // In the words of an unknown field, which it is for whoever wrote it.
        let known: Vec<String> = FIELDS.iter().chain(variants).map(|known| format!("`{known}`")).collect();
        Err(A::Error::custom(format!("unknown field `{}`, expected one of {}", self.key, known.join(", "))))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de, A: MapAccess<'de>> EnumAccess<'de> for Entry<'_, A> {
    type Error = A::Error;
    type Variant = Self;

    fn variant_seed<S: serde::de::DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), A::Error> {
        let key: StrDeserializer<'_, A::Error> = self.key.into_deserializer();
        Ok((seed.deserialize(key)?, self))
    }
}

impl<'de, A: MapAccess<'de>> VariantAccess<'de> for Entry<'_, A> {
    type Error = A::Error;

    fn newtype_variant_seed<S: serde::de::DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(seed)
    }

    fn unit_variant(self) -> Result<(), A::Error> {
        Err(A::Error::custom("every fault holds a value"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, A::Error> {
        Err(A::Error::custom("every fault holds one value"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, A::Error> {
        Err(A::Error::custom("every fault holds one value"))
    }
}

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

impl ExitReason {
    /// The reason in the container's status.
    pub fn as_str(self) -> &'static str {
        match self {
            ExitReason::Error => "Error",
            ExitReason::OomKilled => "OOMKilled",
        }
    }
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

impl TryFrom<String> for PodName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(PodName { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => {
                Err(format!("`{text}` names no pod; expected NAMESPACE/NAME, such as `redpanda/redpanda-1`"))
            }
        }
    }
}

impl From<PodName> for String {
    fn from(pod: PodName) -> String {
        pod.to_string()
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
