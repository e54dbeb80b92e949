//! A deleted pod of a StatefulSet comes back as itself: its name, claim, volume, broker id and data are the old ones,
//! its uid and address are new, and a client goes on without being told.

use std::time::Duration;

use hopwise_client::{Acks, Client, FetchOptions, FetchedRecord, HostPort, Options, Record};
use hopwise_engine::host;
use hopwise_kube::cluster::{Cluster, Place, Settled};
use hopwise_kube::store::Grace;
use hopwise_lab::programs::Brokers;
use hopwise_lab::simulate::{Start, Started, simulate};
use k8s_openapi::api::core::v1::Pod;

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 6;

/// What makes a pod the pod it is, and what does not.
#[derive(Debug)]
struct Identity {
    claims: Vec<(String, String)>,
    broker: Option<i32>,
    ip: Option<String>,
    uid: Option<String>,
}

fn identify(cluster: &Cluster, brokers: &Brokers) -> Identity {
    let (ip, uid) = cluster.api().read(|store| {
        let pod = store.get::<Pod>("kafka", "rp-1").expect("the pod is there");
        (pod.status.as_ref().and_then(|status| status.pod_ip.clone()), pod.metadata.uid.clone())
    });
    Identity { claims: cluster.volumes_of("kafka", "rp-1"), broker: brokers.id_of("kafka/rp-1"), ip, uid }
}

fn record(partition: i32) -> Record {
    Record::new(format!("key {partition}"), format!("for partition {partition}"))
}

/// Makes the topic with one replica of each partition, so that only its leader's volume has it, and fills it.
async fn fill(client: Client) {
    client.create_topic(TOPIC, PARTITIONS, 1).await.expect("a topic");
    for partition in 0..PARTITIONS {
        let offset = client.produce(TOPIC, partition, &[record(partition)], Acks::All).await;
        assert_eq!(offset, Ok(0));
    }
}

async fn read(client: Client) -> Vec<Vec<FetchedRecord>> {
    let mut read = Vec::new();
    for partition in 0..PARTITIONS {
        let fetched = client.fetch(TOPIC, partition, 0, FetchOptions::default()).await.expect("the records");
        read.push(fetched.records);
    }
    read
}

async fn delete_and_compare(Started { cluster, brokers, settled, .. }: Started) {
    assert_eq!(settled, Settled::Ready);
    let site = cluster.place(&Place::InCluster, "client").await.expect("a client pod");
    let bootstrap = HostPort::new("rp-0.rp.kafka.svc.cluster.local.", 9092);
    let client = Client::new(Options { whois: Some(brokers.whois()), ..Options::new(vec![bootstrap]) });
    let client = client.expect("a bootstrap address");
    host::spawn_on(site.host, fill(client.clone())).await.expect("the client runs");
    let before = identify(&cluster, &brokers);
    let records = host::spawn_on(site.host, read(client.clone())).await.expect("the client runs");
    let topics = client.cluster().topics;
    let led = topics[TOPIC].partitions.values().filter(|view| view.leader == before.broker).count();
    assert!(led > 0, "broker {:?} leads no partition", before.broker);

    cluster.delete_pod("kafka", "rp-1", Grace::AsDeclared).expect("the pod is there");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let settled = cluster.settle(Duration::from_secs(310), Duration::from_secs(1200)).await;
    assert_eq!(settled, Settled::Ready);

    let after = identify(&cluster, &brokers);
    assert_eq!(before.claims.len(), 1);
    assert_eq!((&after.claims, after.broker), (&before.claims, before.broker));
    assert!(after.broker.is_some() && after.ip.is_some());
    assert_ne!(after.ip, before.ip);
    assert_ne!(after.uid, before.uid);
    let again = host::spawn_on(site.host, read(client)).await.expect("the client runs");
    assert_eq!(again, records);
    assert!(again.iter().all(|partition| partition.len() == 1));
}

#[test]
fn a_deleted_pod_comes_back_as_itself() {
    simulate(super::nodeport().inputs(), Start::default(), delete_and_compare).expect("the simulation ends");
}
