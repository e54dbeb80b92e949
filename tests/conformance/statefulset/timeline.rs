//! Cases that tell what happens to a pod of a set, second by second, after its node has lost power.
//!
//! The set runs in a whole simulated cluster with a node to spare. Each moment of a timeline says what is done then
//! and what has come about by then; words that are not known fail the case.

mod words;

use std::time::Duration;

use hopwise_kube::cluster::{Cluster, Settled};
use hopwise_kube::store::{Grace, Store, pod_state};
use hopwise_lab::simulate::{Start, Started, simulate};
use hopwise_tests::Given;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::format::{Expect, Moment};
use super::not_understood;
use crate::case::{Difference, equal};
use words::{Deed, Fact, Meaning, When};

const NAMESPACE: &str = "redpanda";
/// When a timeline that begins at `T` begins: long after the pod was evicted.
const LATER: Duration = Duration::from_secs(1_200);
/// How long "for ever" is watched.
const FOR_EVER: Duration = Duration::from_secs(3 * 3_600);
/// How late something may be seen: control loops look every so often, and so does the test.
const SLACK: Duration = Duration::from_secs(2);
/// How long a machine may take to boot and act.
const BOOT: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Runs a timeline.
pub fn run(timeline: &[Moment], expect: &Expect) -> Result<(), Difference> {
    let pod =
        words::pod_in(timeline).ok_or_else(|| not_understood("a timeline", "no pod SET-ORDINAL in it"))?;
    let moments: Result<Vec<_>, Difference> =
        timeline.iter().map(|moment| words::read(moment, &pod.name)).collect();
    let moments = moments?;
    let (replacement, pod_object) = (expect.replacement, expect.pod_object.clone());
    let inputs = Given::default().nodes(pod.ordinal + 2).with("set.yaml", manifest(&pod)).inputs();
    let ran = simulate(inputs, Start::default(), move |Started { cluster, settled, .. }| async move {
        equal(&Settled::Ready, &settled)?;
        let mut tale = Tale::begin(cluster, pod.name)?;
        for moment in &moments {
            tale.moment(&moment.0, &moment.1).await?;
        }
        tale.end(replacement, pod_object.as_deref())
    });
    ran.map_err(|error| Difference::new("a simulation that ends", error.to_string()))?
}

fn manifest(pod: &words::PodName) -> String {
    let (set, replicas) = (&pod.set, pod.ordinal + 1);
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: {set}, namespace: {NAMESPACE} }}\n\
         spec: {{ clusterIP: None, selector: {{ app: {set} }}, ports: [{{ port: 9093 }}] }}\n---\n\
         apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{ name: {set}, namespace: {NAMESPACE} }}\n\
         spec: {{ replicas: {replicas}, serviceName: {set}, selector: {{ matchLabels: {{ app: {set} }} }}, \
         template: {{ metadata: {{ labels: {{ app: {set} }} }}, spec: {{ \
         containers: [{{ name: c, image: example/broker:1, ports: [{{ containerPort: 9093 }}] }}], \
         affinity: {{ podAntiAffinity: {{ requiredDuringSchedulingIgnoredDuringExecution: [{{ \
         topologyKey: kubernetes.io/hostname, labelSelector: {{ matchLabels: {{ app: {set} }} }} }}] }} }} }} }}, \
         volumeClaimTemplates: [{{ metadata: {{ name: datadir }}, spec: {{ accessModes: [ReadWriteOnce], \
         resources: {{ requests: {{ storage: 1Gi }} }} }} }}] }}\n"
    )
}

/// A timeline that is being told.
struct Tale {
    cluster: Cluster,
    /// The pod, as it was before the fault.
    pod: String,
    before: Pod,
    node: String,
    /// When the node lost power, and when the last moment had come about, in virtual time since the start.
    fault: Duration,
    last: Duration,
    /// The moment that the timeline calls `T`.
    t: Option<Duration>,
}

fn now() -> Duration {
    Duration::from_nanos(hopwise_engine::now().as_nanos())
}

impl Tale {
    /// The pod's node loses power.
    fn begin(cluster: Cluster, pod: String) -> Result<Tale, Difference> {
        let found = cluster.api().read(|store| store.get::<Pod>(NAMESPACE, &pod).cloned());
        let before = found.ok_or_else(|| Difference::new(format!("the pod {pod}"), "none"))?;
        let node = pod_state::node_name(&before).unwrap_or_default().to_owned();
        cluster.power_off_node(&node).map_err(|error| Difference::new("power off", error.to_string()))?;
        let fault = now();
        Ok(Tale { cluster, pod, before: Pod::clone(&before), node, fault, last: fault, t: None })
    }

    /// What is done at a moment, and whether what has to come about does, when it has to.
    async fn moment(&mut self, when: &When, meanings: &[Meaning]) -> Result<(), Difference> {
        let (earliest, latest) = self.window(when);
        let deeds = meanings.iter().filter_map(|meaning| match meaning {
            Meaning::Deed(deed) => Some(deed),
            Meaning::Fact(_) => None,
        });
        let deeds: Vec<&Deed> = deeds.collect();
        let facts: Vec<&Fact> = meanings
            .iter()
            .filter_map(|meaning| match meaning {
                Meaning::Fact(fact) => Some(fact),
                Meaning::Deed(_) => None,
            })
            .collect();
        let mut latest = latest;
        if !deeds.is_empty() {
            tokio::time::sleep(earliest.saturating_sub(now())).await;
            deeds.into_iter().try_for_each(|deed| self.carry_out(deed))?;
            latest += BOOT;
        }
        if *when == When::ForEver {
            tokio::time::sleep(earliest.saturating_sub(now())).await;
        }
        self.come_about(&facts, earliest, latest).await
    }

    /// Waits until all facts hold: not before `earliest`, and by `latest`.
    async fn come_about(
        &mut self,
        facts: &[&Fact],
        earliest: Duration,
        latest: Duration,
    ) -> Result<(), Difference> {
        loop {
            let missing: Vec<&&Fact> = facts.iter().filter(|fact| !self.holds(fact)).collect();
            let (at, since) =
                (now(), |at: Duration| format!("{:.1} s", (at.saturating_sub(self.fault)).as_secs_f64()));
            if missing.is_empty() {
                if at + SLACK < earliest && !facts.is_empty() {
                    return Err(Difference::new(
                        format!("{facts:?} not before {}", since(earliest)),
                        format!("at {}", since(at)),
                    ));
                }
                self.last = at;
                return Ok(());
            }
            if at > latest + SLACK {
                return Err(Difference::new(
                    format!("{missing:?} by {} after the fault", since(latest)),
                    format!("not at {}: {:?}", since(at), self.pod_now().map(|pod| pod.status.clone())),
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn window(&mut self, when: &When) -> (Duration, Duration) {
        match when {
            When::Between(from, to) => (self.fault + *from, self.fault + *to),
            When::After(span) => (self.last + *span, self.last + *span),
            When::T(from, to) => {
                let t = *self.t.get_or_insert(self.fault + LATER);
                (t + *from, t + *to)
            }
            When::Next => (self.last, self.last + SLACK),
            When::ForEver => (self.last + FOR_EVER, self.last + FOR_EVER),
        }
    }

    fn carry_out(&self, deed: &Deed) -> Result<(), Difference> {
        let done = match deed {
            // The fault itself: it has happened.
            Deed::KubeletStops { node } => return equal(node, &self.node),
            Deed::NodeDeleted => {
                let delete = |store: &mut Store, now| {
                    store.delete::<Node>("", &self.node, None, Grace::AsDeclared, now)
                };
                self.cluster.api().write(delete).map(drop).map_err(Into::into)
            }
            Deed::KubeletReturns => self.cluster.power_on_node(&self.node),
            Deed::PodForced => self.cluster.delete_pod(NAMESPACE, &self.pod, Grace::Forced),
            Deed::OutOfService => {
                let taint = Taint {
                    key: "node.kubernetes.io/out-of-service".into(),
                    value: Some("nodeshutdown".into()),
                    effect: "NoExecute".into(),
                    ..Taint::default()
                };
                let add = |node: &mut Node| {
                    node.spec.get_or_insert_default().taints.get_or_insert_default().push(taint);
                };
                let tainted = self.cluster.api().write(|store, now| store.patch("", &self.node, now, add));
                tainted.map(drop).map_err(Into::into)
            }
        };
        done.map_err(|error| Difference::new(format!("{deed:?}"), error.to_string()))
    }

    fn holds(&self, fact: &Fact) -> bool {
        let pod = self.pod_now();
        let is_same = pod.as_ref().is_some_and(|pod| pod.metadata.uid == self.before.metadata.uid);
        let is_terminating = pod.as_ref().is_some_and(pod_state::is_terminating);
        match fact {
            Fact::NodeUnknown => {
                self.node_now().is_some_and(|node| ready_status(&node) == Some("Unknown".into()))
            }
            Fact::Unreachable(wanted) => {
                let taints = self.node_now().and_then(|node| node.spec?.taints).unwrap_or_default();
                let effects = taints.iter().filter(|taint| taint.key == "node.kubernetes.io/unreachable");
                let mut effects: Vec<&str> = effects.map(|taint| taint.effect.as_str()).collect();
                effects.sort_unstable();
                if *wanted { effects == ["NoExecute", "NoSchedule"] } else { effects.is_empty() }
            }
            Fact::PodsNotReady => self.cluster.api().read(|store| {
                store
                    .pods_on(&self.node)
                    .all(|pod| pod_state::condition(pod, "Ready").is_some_and(|it| it.status == "False"))
            }),
            Fact::EndpointDown => self.endpoint().is_some_and(|(ready, serving)| !ready && !serving),
            Fact::Terminating => is_same && is_terminating,
            Fact::SamePod => is_same,
            Fact::Spared => is_same && !is_terminating,
            Fact::Gone => !is_same,
            Fact::CreatedAgain => {
                let claims = |pod: &Pod| pod_state::claim_names(pod);
                pod.is_some_and(|pod| !is_same && claims(&pod) == claims(&self.before))
            }
        }
    }

    fn pod_now(&self) -> Option<Pod> {
        self.cluster.api().read(|store| store.get::<Pod>(NAMESPACE, &self.pod).map(|pod| Pod::clone(pod)))
    }

    fn node_now(&self) -> Option<Node> {
        self.cluster.api().read(|store| store.get::<Node>("", &self.node).map(|node| Node::clone(node)))
    }

    /// Whether the pod's endpoint is ready and serving; none if there is no such endpoint.
    fn endpoint(&self) -> Option<(bool, bool)> {
        self.cluster.api().read(|store| {
            let endpoints =
                store.list_in::<EndpointSlice>(NAMESPACE).flat_map(|it| it.endpoints.iter().flatten());
            let is_pods = |target: &k8s_openapi::api::core::v1::ObjectReference| {
                target.name.as_ref() == Some(&self.pod)
            };
            let found = endpoints.into_iter().find(|it| it.target_ref.as_ref().is_some_and(is_pods))?;
            let conditions = found.conditions.clone().unwrap_or_default();
            Some((conditions.ready.unwrap_or(true), conditions.serving.unwrap_or(true)))
        })
    }

    fn end(&self, replacement: Option<bool>, pod_object: Option<&str>) -> Result<(), Difference> {
        let pod = self.pod_now();
        let is_other = pod.as_ref().is_some_and(|pod| pod.metadata.uid != self.before.metadata.uid);
        equal(&replacement, &Some(is_other))?;
        match pod_object {
            None => Ok(()),
            Some("Terminating") => equal(&true, &self.holds(&Fact::Terminating)),
            Some("Running") => equal(&true, &self.holds(&Fact::Spared)),
            Some(other) => Err(not_understood("a pod object", other)),
        }
    }
}

fn ready_status(node: &Node) -> Option<String> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready").map(|ready| ready.status.clone())
}
