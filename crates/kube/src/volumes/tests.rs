//! Claims, volumes and classes in a store.

use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use super::*;
use crate::store::Resource;

const NOW: Time = Time::ZERO;

fn bind(
    store: &mut Store,
    namespace: &str,
    name: &str,
    node: Option<&Node>,
    now: Time,
) -> Result<VolumeId, BindError> {
    let mut available = Available::of(store);
    super::bind(store, &mut available, namespace, name, node, now)
}

fn reach(store: &Store, namespace: &str, claim: &str, node: &Node) -> Reach {
    ClaimReach::of(store, &Available::of(store), namespace, claim).on(node)
}

fn put<T: Resource + serde::de::DeserializeOwned>(store: &mut Store, object: Value) -> std::sync::Arc<T> {
    store.create(serde_json::from_value::<T>(object).unwrap(), NOW).unwrap()
}

fn claim(store: &mut Store, name: &str, spec: Value) {
    let mut claim: PersistentVolumeClaim =
        serde_json::from_value(json!({ "metadata": { "name": name, "namespace": "ns" }, "spec": spec }))
            .unwrap();
    admit_claim(store, &mut claim);
    store.create(claim, NOW).unwrap();
}

fn node(store: &mut Store, name: &str, zone: &str) -> Node {
    let labels = json!({ "topology.kubernetes.io/zone": zone });
    Node::clone(&put::<Node>(store, json!({ "metadata": { "name": name, "labels": labels } })))
}

fn size(size: &str) -> Value {
    json!({ "resources": { "requests": { "storage": size } } })
}

fn static_volume(store: &mut Store, name: &str, size: &str, hostname: &str) {
    let term = json!({ "matchExpressions": [{ "key": "kubernetes.io/hostname", "operator": "In", "values": [hostname] }] });
    let spec = json!({
        "capacity": { "storage": size }, "storageClassName": "disks",
        "nodeAffinity": { "required": { "nodeSelectorTerms": [term] } }
    });
    put::<PersistentVolume>(store, json!({ "metadata": { "name": name }, "spec": spec }));
}

#[test]
fn the_default_class_binds_when_the_first_pod_is_scheduled() {
    for (disk, on_other_node, in_other_zone) in [
        (Disk::Network, Reach::Bound, Reach::Bound),
        (Disk::Zonal, Reach::Bound, Reach::OutOfReach),
        (Disk::Local, Reach::OutOfReach, Reach::OutOfReach),
    ] {
        let mut store = Store::default();
        install_default_class(&mut store, disk, NOW).unwrap();
        let nodes = [("node-0", "a"), ("node-1", "a"), ("node-2", "b")]
            .map(|(name, zone)| node(&mut store, name, zone));
        claim(&mut store, "data-0", size("1Gi"));
        assert_eq!(
            bind(&mut store, "ns", "data-0", None, NOW),
            Err(BindError::WaitsForConsumer("ns/data-0".into()))
        );
        assert_eq!(reach(&store, "ns", "data-0", &nodes[2]), Reach::CanBind);
        let volume = bind(&mut store, "ns", "data-0", Some(&nodes[0]), NOW).unwrap();
        assert_eq!(volume_of(&store, "ns", "data-0"), Some(volume.clone()));
        assert_eq!(bind(&mut store, "ns", "data-0", Some(&nodes[2]), NOW), Ok(volume));
        let found = nodes.each_ref().map(|node| reach(&store, "ns", "data-0", node));
        assert_eq!(found, [Reach::Bound, on_other_node, in_other_zone], "{disk:?}");
    }
}

#[test]
fn the_default_class_is_not_added_to_a_cluster_that_has_one() {
    let mut store = Store::default();
    let annotations = json!({ DEFAULT_CLASS_ANNOTATION: "true" });
    let class = json!({ "metadata": { "name": "own", "annotations": annotations }, "provisioner": "example.com/disk" });
    put::<StorageClass>(&mut store, class);
    install_default_class(&mut store, Disk::Network, NOW).unwrap();
    assert_eq!(store.list::<StorageClass>().count(), 1);
    claim(&mut store, "data-0", json!({}));
    assert!(bind(&mut store, "ns", "data-0", None, NOW).is_ok());
    let volume = store.list::<PersistentVolume>().next().unwrap();
    assert_eq!(volume.spec.as_ref().unwrap().storage_class_name.as_deref(), Some("own"));
}

#[test]
fn existing_volumes_bind_one_to_one_smallest_first_and_within_reach() {
    let mut store = Store::default();
    let nodes = ["node-0", "node-1"].map(|name| node(&mut store, name, "a"));
    let class = json!({
        "metadata": { "name": "disks" }, "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer"
    });
    put::<StorageClass>(&mut store, class);
    static_volume(&mut store, "large", "100Gi", "node-0");
    static_volume(&mut store, "small", "10Gi", "node-0");
    static_volume(&mut store, "other", "10Gi", "node-1");
    let mut spec = size("5Gi");
    spec["storageClassName"] = json!("disks");
    for name in ["data-0", "data-1", "data-2"] {
        claim(&mut store, name, spec.clone());
    }
    let mut bound = |name: &str, node: &Node| bind(&mut store, "ns", name, Some(node), NOW);
    assert_eq!(bound("data-0", &nodes[0]), Ok(VolumeId("small".into())));
    assert_eq!(bound("data-1", &nodes[0]), Ok(VolumeId("large".into())));
    assert_eq!(bound("data-2", &nodes[0]), Err(BindError::NothingFits("ns/data-2".into())));
    assert_eq!(bound("data-2", &nodes[1]), Ok(VolumeId("other".into())));
    assert_eq!(reach(&store, "ns", "data-2", &nodes[0]), Reach::OutOfReach);
}

#[test]
fn a_claim_that_names_its_volume_gets_that_or_nothing() {
    let mut store = Store::default();
    static_volume(&mut store, "mine", "1Gi", "node-0");
    claim(&mut store, "a", json!({ "volumeName": "mine", "storageClassName": "disks" }));
    claim(&mut store, "b", json!({ "volumeName": "mine", "storageClassName": "disks" }));
    claim(&mut store, "c", json!({ "volumeName": "gone", "storageClassName": "disks" }));
    assert_eq!(bind(&mut store, "ns", "a", None, NOW), Ok(VolumeId("mine".into())));
    assert!(matches!(bind(&mut store, "ns", "b", None, NOW), Err(BindError::VolumeTaken { .. })));
    assert!(matches!(bind(&mut store, "ns", "c", None, NOW), Err(BindError::NoVolume { .. })));
    assert!(matches!(bind(&mut store, "ns", "d", None, NOW), Err(BindError::NoClaim(_))));
}

#[test]
fn a_missing_class_is_named() {
    let mut store = Store::default();
    let here = node(&mut store, "node-0", "a");
    claim(&mut store, "a", json!({ "storageClassName": "fast" }));
    let refused = bind(&mut store, "ns", "a", Some(&here), NOW).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "claim ns/a: StorageClass \"fast\" does not exist; create it or name another"
    );
    assert_eq!(reach(&store, "ns", "a", &here), Reach::NothingToBind);
}

#[test]
fn immediate_zonal_disks_go_round_the_zones() {
    let mut store = Store::default();
    for (name, zone) in [("node-0", "a"), ("node-1", "b"), ("node-2", "c")] {
        node(&mut store, name, zone);
    }
    put::<StorageClass>(
        &mut store,
        json!({ "metadata": { "name": "ebs" }, "provisioner": "ebs.csi.aws.com" }),
    );
    let mut zones = Vec::new();
    for name in ["data-db-0", "data-db-1", "data-db-2"] {
        claim(&mut store, name, json!({ "storageClassName": "ebs" }));
        let VolumeId(volume) = bind(&mut store, "ns", name, None, NOW).unwrap();
        let volume = store.get::<PersistentVolume>("", &volume).unwrap().clone();
        let in_reach = |node: &&std::sync::Arc<Node>| can_reach(&volume, node);
        let names: Vec<_> =
            store.list::<Node>().filter(in_reach).map(|node| node.metadata.name.clone().unwrap()).collect();
        zones.push(names.join(" "));
    }
    assert_eq!(zones, ["node-0", "node-1", "node-2"]);
}

#[test]
fn a_deleted_claim_lives_as_long_as_its_pod_and_takes_its_data_along() {
    let mut store = Store::default();
    install_default_class(&mut store, Disk::Network, NOW).unwrap();
    let here = node(&mut store, "node-0", "a");
    claim(&mut store, "data-0", size("1Gi"));
    let volume = bind(&mut store, "ns", "data-0", Some(&here), NOW).unwrap();
    let volumes = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "data-0" } }]);
    let pod = json!({ "metadata": { "name": "p", "namespace": "ns" }, "spec": { "containers": [], "nodeName": "node-0", "volumes": volumes } });
    put::<Pod>(&mut store, pod);
    store.delete::<PersistentVolumeClaim>("ns", "data-0", None, Grace::AsDeclared, NOW).unwrap();
    assert_eq!(reclaim(&mut store, NOW), Ok(vec![]));
    assert_eq!(reach(&store, "ns", "data-0", &here), Reach::ClaimTerminating);
    store.remove::<Pod>("ns", "p", None, NOW).unwrap();
    assert_eq!(reclaim(&mut store, NOW), Ok(vec![volume.clone()]));
    claim(&mut store, "data-0", size("1Gi"));
    assert_ne!(bind(&mut store, "ns", "data-0", Some(&here), NOW), Ok(volume));
}

#[test]
fn a_retained_volume_is_released_and_not_bound_again() {
    let mut store = Store::default();
    static_volume(&mut store, "disk", "1Gi", "node-0");
    claim(&mut store, "a", json!({ "storageClassName": "disks" }));
    bind(&mut store, "ns", "a", None, NOW).unwrap();
    store.delete::<PersistentVolumeClaim>("ns", "a", None, Grace::AsDeclared, NOW).unwrap();
    assert_eq!(reclaim(&mut store, NOW), Ok(vec![]));
    assert!(store.get::<PersistentVolume>("", "disk").is_some());
    claim(&mut store, "a", json!({ "storageClassName": "disks" }));
    assert!(bind(&mut store, "ns", "a", None, NOW).is_err());
}

#[test]
fn a_pod_that_is_not_bound_does_not_keep_a_deleted_claim() {
    let mut store = Store::default();
    install_default_class(&mut store, Disk::Network, NOW).unwrap();
    claim(&mut store, "data-0", size("1Gi"));
    let volumes = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "data-0" } }]);
    let pod = json!({ "metadata": { "name": "p", "namespace": "ns" }, "spec": { "containers": [], "volumes": volumes } });
    put::<Pod>(&mut store, pod);
    store.delete::<PersistentVolumeClaim>("ns", "data-0", None, Grace::AsDeclared, NOW).unwrap();
    reclaim(&mut store, NOW).unwrap();
    assert!(store.get::<PersistentVolumeClaim>("ns", "data-0").is_none());
}

#[test]
fn a_volume_outlives_its_deletion_while_a_claim_has_it() {
    let mut store = Store::default();
    install_default_class(&mut store, Disk::Network, NOW).unwrap();
    let here = node(&mut store, "node-0", "a");
    claim(&mut store, "data-0", size("1Gi"));
    let volume = bind(&mut store, "ns", "data-0", Some(&here), NOW).unwrap();
    store.delete::<PersistentVolume>("", &volume.0, None, Grace::AsDeclared, NOW).unwrap();
    assert_eq!(reclaim(&mut store, NOW), Ok(vec![]));
    store.delete::<PersistentVolumeClaim>("ns", "data-0", None, Grace::AsDeclared, NOW).unwrap();
    assert_eq!(reclaim(&mut store, NOW), Ok(vec![volume]));
}

#[test]
fn a_pod_waits_until_its_disk_is_attached_to_its_node_alone() {
    use attach_detach::Request;
    let mut store = Store::default();
    install_default_class(&mut store, Disk::Zonal, NOW).unwrap();
    let here = node(&mut store, "node-0", "a");
    node(&mut store, "node-1", "a");
    claim(&mut store, "data-0", size("1Gi"));
    let volumes = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "data-0" } }]);
    let pod = |name: &str, node: &str| -> Pod {
        let spec = json!({ "containers": [], "nodeName": node, "volumes": volumes });
        serde_json::from_value(json!({ "metadata": { "name": name, "namespace": "ns" }, "spec": spec }))
            .unwrap()
    };
    let (first, second) = (pod("p", "node-0"), pod("q", "node-1"));
    let waits = |store: &Store, pod: &Pod| attachment::waits_for(store, pod);
    assert_eq!(waits(&store, &first).as_deref(), Some("persistentvolumeclaim \"data-0\" is not bound"));
    let VolumeId(disk) = bind(&mut store, "ns", "data-0", Some(&here), NOW).unwrap();
    let used = attachment::use_of(&store, &first).unwrap();
    assert_eq!((used.node.as_str(), used.volumes), ("node-0", [(disk.clone(), false)].into()));
    assert_eq!(waits(&store, &first), Some(format!("volume \"{disk}\" is not attached to node node-0 yet")));
    let there = ("node-0".to_owned(), disk.clone());
    attachment::record(&mut store, &Request::Attach(there.1.clone(), there.0.clone()), NOW).unwrap();
    assert_eq!(waits(&store, &first), Some(format!("volume \"{disk}\" is being attached to node node-0")));
    attachment::record(&mut store, &Request::Attached(there.1.clone(), there.0.clone()), NOW).unwrap();
    assert_eq!(waits(&store, &first), None);
    assert!(waits(&store, &second).unwrap().starts_with("Multi-Attach error for volume"));
    // A disk is not deleted while a machine has it.
    store.delete::<PersistentVolumeClaim>("ns", "data-0", None, Grace::AsDeclared, NOW).unwrap();
    assert_eq!(reclaim(&mut store, NOW), Ok(vec![]));
    attachment::record(&mut store, &Request::Detach(there.1.clone(), there.0.clone()), NOW).unwrap();
    assert_eq!(reclaim(&mut store, NOW), Ok(vec![]));
    attachment::record(&mut store, &Request::Detached(there.1, there.0), NOW).unwrap();
    assert_eq!(reclaim(&mut store, NOW), Ok(vec![VolumeId(disk)]));
}

#[test]
fn a_local_disk_is_never_attached() {
    let mut store = Store::default();
    install_default_class(&mut store, Disk::Local, NOW).unwrap();
    let here = node(&mut store, "node-0", "a");
    claim(&mut store, "data-0", size("1Gi"));
    let VolumeId(disk) = bind(&mut store, "ns", "data-0", Some(&here), NOW).unwrap();
    assert!(!attachment::needs_attachment(store.get::<PersistentVolume>("", &disk).unwrap()));
}
