//! What a kubelet says of its node: a Lease that it renews, and the Node's condition Ready.
//!
//! Source: kubernetes.md 1.6, 8. A kubelet that finds somebody else's word in the condition (Unknown, after it was out
//! of touch) writes its own again. Left out: the heartbeat time of the condition, which changes every five minutes.

use std::rc::Rc;

use hopwise_engine::Time;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use super::machine::Machine;
use super::timing;
use crate::store::{Store, timestamp};

/// The namespace of the nodes' Leases.
pub const LEASE_NAMESPACE: &str = "kube-node-lease";

/// Says every [`timing::LEASE_RENEWAL`] that the node is there; as soon as the API server can be reached again, too.
pub async fn run(machine: Rc<Machine>) {
    loop {
        machine.api.reachable().await;
        machine.api.write(|store, now| renew(store, machine.name(), now));
        set_ready(&machine, true, "KubeletReady", "the kubelet posts that it is ready");
        tokio::time::sleep(timing::LEASE_RENEWAL).await;
    }
}

fn renew(store: &mut Store, node: &str, now: Time) {
    let renew_time = Some(MicroTime(timestamp(now).0));
    let known = store.patch::<Lease>(LEASE_NAMESPACE, node, now, |lease| {
        lease.spec.get_or_insert_default().renew_time = renew_time.clone();
    });
    if known.is_ok() {
        return;
    }
    let lease = Lease {
        metadata: ObjectMeta {
            namespace: Some(LEASE_NAMESPACE.into()),
            name: Some(node.into()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(node.into()),
            lease_duration_seconds: Some(timing::LEASE_DURATION_S),
            renew_time,
            ..LeaseSpec::default()
        }),
    };
    let _ = store.create(lease, now);
}

/// Posts the condition Ready of the node, unless it says so already.
pub fn set_ready(machine: &Machine, ready: bool, reason: &str, message: &str) {
    let status = if ready { "True" } else { "False" };
    let says_so = |node: &Node| {
        let mut conditions = node.status.iter().flat_map(|it| it.conditions.iter().flatten());
        conditions.any(|it| it.type_ == "Ready" && it.status == status)
    };
    let stored = machine.api.read(|store| store.get::<Node>("", machine.name()).cloned());
    if !machine.api.is_reachable() || stored.is_none_or(|node| says_so(&node)) {
        return;
    }
    machine.api.write(|store, now| {
        let condition = NodeCondition {
            type_: "Ready".into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: Some(timestamp(now)),
            last_transition_time: Some(timestamp(now)),
        };
        let _ = store.patch_status::<Node>("", machine.name(), now, |node| {
            let conditions = node.status.get_or_insert_default().conditions.get_or_insert_default();
            conditions.retain(|it| it.type_ != "Ready");
            conditions.push(condition);
        });
    });
}
