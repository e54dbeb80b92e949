//! How long the cluster's own parts take.
//!
//! Source: kubernetes.md 4 ("Delay chain, typical, healthy cluster") where it gives a figure; the others are
//! assumed.

use std::time::Duration;

use hopwise_engine::Time;

/// From a change of an object to a controller's look at it (assumed: watch latency of a healthy API server).
pub const CONTROLLER_LAG: Duration = Duration::from_millis(10);
/// From a pod's change of state to its EndpointSlice (kubernetes.md 4: 50 to 500 ms).
pub const ENDPOINT_SLICE_LAG: Duration = Duration::from_millis(100);
/// Least time between two syncs of one kube-proxy (kubernetes.md 8: minSyncPeriod 1 s).
pub const PROXY_SYNC_PERIOD: Duration = Duration::from_secs(1);
/// From a change of a slice to a kube-proxy's rules, when it is not in its sync period (assumed).
pub const PROXY_LAG: Duration = Duration::from_millis(50);
/// Longest time from a change of a policy, a pod or a namespace to a node's filter; each node has a time of its own
/// (assumed: agents of network plugins gather changes for about a second).
pub const POLICY_LAG_MAX: Duration = Duration::from_secs(1);
/// From a change of a slice to CoreDNS's answers (kubernetes.md 4: immediate after the watch).
pub const DNS_LAG: Duration = Duration::from_millis(10);
/// From a pod's binding to its first container (assumed: sandbox, network, image present).
pub const POD_START: Duration = Duration::from_millis(500);
/// From SIGTERM to the exit of a program that handles it (assumed).
pub const PROCESS_STOP: Duration = Duration::from_secs(1);
/// From the end of a container's process to the kubelet's notice of it (kubernetes.md 9.1: under 1 s; the kubelet looks
/// at its containers once a second).
pub const CONTAINER_NOTICE: Duration = Duration::from_millis(500);
/// How often a kubelet renews its Lease and looks at its Node (kubernetes.md 8).
pub const LEASE_RENEWAL: Duration = Duration::from_secs(10);
/// What a Lease says of how long it holds, in seconds (kubernetes.md 8).
pub const LEASE_DURATION_S: i32 = 40;
/// The longest that pods are given when their node shuts down gracefully (assumed: `shutdownGracePeriod`, which is 0
/// and so off by default, is set to the largest grace that pods usually have).
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(60);
/// How long CoreDNS waits at its start for the first objects before it serves without them (kubernetes.md 5.2).
pub const DNS_SYNC_WAIT: Duration = Duration::from_secs(5);
/// Time between two looks of external-dns at the cluster (external-dns, flag `--interval`: 1m0s).
pub const EXTERNAL_DNS_INTERVAL: Duration = Duration::from_secs(60);

/// Waits until an instant of virtual time; for ever if there is none.
pub async fn at(instant: Option<Time>) {
    match instant {
        Some(instant) => tokio::time::sleep((instant - hopwise_engine::now()).into()).await,
        None => std::future::pending().await,
    }
}
