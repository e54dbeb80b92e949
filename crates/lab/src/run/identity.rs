//! What a broker's pod is: its name, its claims, its broker, its address, and the records on its volume.

use std::rc::Rc;

use hopwise_client::{Client, FetchOptions};
use hopwise_kube::cluster::Cluster;
use k8s_openapi::api::core::v1::Pod;
use twox_hash::XxHash3_128;

use super::clients::RunningClient;
use super::verify;
use super::workload::Partition;
use crate::programs::Brokers;
use crate::scenario::{PodIdentity, PodName};

/// The parts of partitions that were on a pod's volume at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extents(Vec<(Partition, i64)>);

/// The pod as it is now, its data apart; `None` if it is not there.
pub(super) fn identify(cluster: &Cluster, brokers: &Brokers, name: &PodName) -> Option<PodIdentity> {
    let claims = cluster.volumes_of(&name.namespace, &name.name);
    cluster.api().read(|store| {
        let pod = store.get::<Pod>(&name.namespace, &name.name)?;
        Some(PodIdentity {
            pod: name.to_string(),
            ordinal: name.name.rsplit_once('-').and_then(|(_, number)| number.parse().ok()),
            claims: claims.iter().map(|(claim, volume)| format!("{claim} (volume {volume})")).collect(),
            data: None,
            broker: brokers.id_of(&name.to_string()),
            ip: pod.status.as_ref().and_then(|status| status.pod_ip.clone()),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
        })
    })
}

/// What the broker serves from its volume now: the partitions that it leads, up to their ends.
///
/// # Errors
/// What the client says.
pub(super) async fn extents(
    verifier: &RunningClient,
    partitions: Rc<[Partition]>,
    broker: Option<i32>,
) -> Result<Extents, String> {
    let client = verifier.client.clone();
    let look = async move {
        let seen = client.metadata().await.map_err(|error| error.to_string())?;
        let leader = |(topic, index): &Partition| {
            seen.topics.get(topic).and_then(|view| view.partitions.get(index)?.leader)
        };
        let mut extents = Extents::default();
        for partition in partitions.iter().filter(|partition| broker.is_some() && leader(partition) == broker)
        {
            extents.0.push((partition.clone(), verify::end_of(&client, partition).await?));
        }
        Ok(extents)
    };
    verifier.run(look).await
}

/// The records of `extents` in words and a hash: how many, and the hash of their offsets, keys and values.
///
/// # Errors
/// What the client says.
pub(super) async fn data_of(verifier: &RunningClient, extents: Extents) -> Result<String, String> {
    let client = verifier.client.clone();
    verifier.run(async move { hash(&client, &extents).await }).await
}

async fn hash(client: &Client, Extents(extents): &Extents) -> Result<String, String> {
    let (mut count, mut bytes) = (0, Vec::new());
    for (partition, end) in extents {
        for fetched in verify::read(client, partition, *end, FetchOptions::default()).await? {
            count += 1;
            bytes.extend_from_slice(&fetched.offset.to_be_bytes());
            for part in [&fetched.record.key, &fetched.record.value].into_iter().flatten() {
                bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
                bytes.extend_from_slice(part);
            }
        }
    }
    let hash = XxHash3_128::oneshot(&bytes) >> 64;
    Ok(format!("{count} records of {} partitions, hash {hash:016x}", extents.len()))
}
