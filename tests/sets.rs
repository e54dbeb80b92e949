//! A StatefulSet called `data/db` on a few nodes, and what happened to its pods.
//!
//! Its image is not known, so its containers answer with an echo and are ready at once. A template that names a
//! ConfigMap which is not there gives pods that never start.

use std::time::Duration;

use hopwise_kube::cluster::{Cluster, Settled};
use hopwise_kube::store::pod_state;
use hopwise_lab::simulate::{Start, Started, simulate};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMapEnvSource, EnvFromSource, Pod, PodTemplateSpec};

use crate::Given;

/// The namespace and name of the set.
pub const SET: (&str, &str) = ("data", "db");

/// A set, as its manifest says.
#[derive(Clone, Debug)]
pub struct SetOf {
    /// Its replicas.
    pub replicas: u32,
    /// `OrderedReady` or `Parallel`.
    pub policy: &'static str,
    /// More of `spec`, in YAML's flow style, each with a comma before it.
    pub more: String,
}

impl SetOf {
    /// So many pods, one after the other.
    pub fn ordered(replicas: u32) -> SetOf {
        SetOf { replicas, policy: "OrderedReady", more: String::new() }
    }

    fn manifest(&self) -> String {
        let SetOf { replicas, policy, more } = self;
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{ name: db, namespace: data }}\n\
             spec: {{ clusterIP: None, selector: {{ app: db }}, ports: [{{ port: 9092 }}] }}\n---\n\
             apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{ name: db, namespace: data }}\n\
             spec: {{ replicas: {replicas}, podManagementPolicy: {policy}, serviceName: db, \
             selector: {{ matchLabels: {{ app: db }} }}, \
             template: {{ metadata: {{ labels: {{ app: db }} }}, \
             spec: {{ containers: [{{ name: db, image: example/db:1, ports: [{{ containerPort: 9092 }}] }}] }} }}, \
             volumeClaimTemplates: [{{ metadata: {{ name: data }}, spec: {{ accessModes: [ReadWriteOnce], \
             resources: {{ requests: {{ storage: 1Gi }} }} }} }}]{more} }}\n"
        )
    }

    /// Runs `main` on the cluster of three nodes once all pods are ready.
    ///
    /// # Panics
    /// If they do not become ready, or the simulation does not end.
    pub fn run<F>(&self, others: &[&str], main: impl FnOnce(Cluster) -> F + 'static) -> F::Output
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let mut given = Given::default().nodes(3).with("db.yaml", self.manifest());
        for (index, other) in others.iter().enumerate() {
            given = given.with(&format!("other-{index}.yaml"), *other);
        }
        let ran = simulate(given.inputs(), Start::default(), |Started { cluster, settled, .. }| {
            assert_eq!(settled, Settled::Ready);
            main(cluster)
        });
        ran.expect("the simulation ends")
    }
}

/// Lets virtual time pass.
pub async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// A pod of the set.
pub fn pod(cluster: &Cluster, ordinal: u32) -> Option<Pod> {
    let name = format!("db-{ordinal}");
    cluster.api().read(|store| store.get::<Pod>(SET.0, &name).map(|pod| Pod::clone(pod)))
}

/// The ordinals of the set's pods that are there, and whether each is healthy.
pub fn pods(cluster: &Cluster) -> Vec<(u32, bool)> {
    let mut found: Vec<(u32, bool)> = cluster.api().read(|store| {
        let pods = store.list_in::<Pod>(SET.0);
        let ordinal = |pod: &Pod| pod.metadata.name.as_deref()?.strip_prefix("db-")?.parse().ok();
        pods.filter_map(|pod| Some((ordinal(pod)?, pod_state::is_healthy(pod)))).collect()
    });
    found.sort_unstable();
    found
}

/// The UIDs of the set's pods.
pub fn uids(cluster: &Cluster) -> Vec<String> {
    let uid = |(ordinal, _)| pod(cluster, ordinal).and_then(|pod| pod.metadata.uid);
    pods(cluster).into_iter().filter_map(uid).collect()
}

/// What happened to the set's pods after the first `after` events: `deleted 2`, `stopped 2`, `created 2`, `ready 2`.
pub fn history(after: usize) -> Vec<String> {
    let events = hopwise_engine::notable_events();
    let of_set = events.iter().skip(after).filter_map(|event| {
        let ordinal = event.object.strip_prefix("pod data/db-")?;
        let what = event.kind.strip_prefix("pod.")?;
        matches!(what, "deleted" | "stopped" | "created" | "ready").then(|| format!("{what} {ordinal}"))
    });
    of_set.collect()
}

/// How many events there were so far.
pub fn events_so_far() -> usize {
    hopwise_engine::notable_events().len()
}

/// Makes the pods of the set's next template never start, or start again.
///
/// # Panics
/// If there is no such set.
pub fn set_startable(cluster: &Cluster, startable: bool) {
    edit(cluster, |set| {
        let template: &mut PodTemplateSpec = &mut set.spec.get_or_insert_default().template;
        let missing = EnvFromSource {
            config_map_ref: Some(ConfigMapEnvSource {
                name: "missing".into(),
                ..ConfigMapEnvSource::default()
            }),
            ..EnvFromSource::default()
        };
        for container in template.spec.iter_mut().flat_map(|spec| &mut spec.containers) {
            container.env_from = (!startable).then(|| vec![missing.clone()]);
        }
    });
}

/// Changes the set.
///
/// # Panics
/// If there is no such set.
pub fn edit(cluster: &Cluster, change: impl FnOnce(&mut StatefulSet)) {
    let edited = cluster.api().write(|store, now| store.patch::<StatefulSet>(SET.0, SET.1, now, change));
    edited.expect("the set is there");
}
