//! What each client's way in uses, from what was measured, and its price.
//!
//! Load balancers, zones and the internet are read off the hops of each request; the bytes are counted from the
//! requests' contents (see `sizes`). Public addresses are those that clients outside dialled.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use hopwise_engine::Span;
use hopwise_fabric::{Device, Hop};
use hopwise_kube::cluster::Cluster;
use hopwise_kube::profile::Profile;
use k8s_openapi::api::core::v1::Service;

use super::clients::RunningClient;
use super::journal::Moved;
use crate::cost::{self, CostItem, Traffic, Usage};
use crate::scenario::Scenario;

/// How the fabric calls the load balancer of a Service: this and `namespace/name`.
const BALANCER: &str = "load balancer ";

/// The devices that matter for prices.
struct Devices {
    balancers: BTreeSet<Arc<str>>,
    /// One switch per zone.
    switches: BTreeSet<Arc<str>>,
}

/// The bill of every client; `lasted` is how long the workload took.
pub(super) fn bills(
    cluster: &Cluster,
    clients: &[RunningClient],
    scenario: &Scenario,
    profile: &Profile,
    lasted: Span,
) -> Vec<CostItem> {
    let devices = Devices::of_fabric();
    let bill = |client: &RunningClient| {
        let usage = usage(cluster, client, &devices, scenario, lasted);
        cost::monthly(&client.name, profile, &usage)
    };
    clients.iter().flat_map(bill).collect()
}

fn usage(
    cluster: &Cluster,
    client: &RunningClient,
    devices: &Devices,
    scenario: &Scenario,
    lasted: Span,
) -> Usage {
    let outside = client.place.is_external();
    let mut traffic = Traffic { record_bytes: client.tally.borrow().record_bytes, ..Traffic::default() };
    let mut balancers: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut dialled: BTreeSet<IpAddr> = BTreeSet::new();
    for attempt in client.journal.attempts() {
        if outside {
            dialled.extend(attempt.record.ip);
        }
        let Some(route) = &attempt.record.route else { continue };
        balancers.extend(devices.balancers_on(&route.forward));
        let Moved { sent, received } = attempt.moved;
        for (path, bytes) in [(&route.forward, sent), (&route.reply, received)] {
            if devices.balancers_on(path).next().is_some() {
                traffic.load_balancer_bytes += bytes;
            }
            traffic.cross_zone_bytes += bytes * devices.zone_changes(path);
        }
        traffic.egress_bytes += if outside { received } else { 0 };
    }
    let connections = client.client.counters().connections_opened as f64;
    Usage {
        load_balancers: u32::try_from(balancers.len()).unwrap_or(u32::MAX),
        load_balancer_rules: balancers.iter().map(|name| ports_of(cluster, name)).sum(),
        public_addresses: u32::try_from(dialled.len()).unwrap_or(u32::MAX),
        new_connections_per_second: connections / (lasted.as_nanos().max(1) as f64 / 1e9),
        active_connections: connections,
        measured: traffic,
        monthly_record_bytes: scenario.cost.monthly_volume.bytes() as f64,
    }
}

/// The ports of the load balancer's Service: each is a rule of it.
fn ports_of(cluster: &Cluster, balancer: &str) -> u32 {
    let name = balancer.strip_prefix(BALANCER).and_then(|name| name.split_once('/'));
    let ports = name.and_then(|(namespace, name)| {
        cluster
            .api()
            .read(|store| Some(store.get::<Service>(namespace, name)?.spec.as_ref()?.ports.as_ref()?.len()))
    });
    u32::try_from(ports.unwrap_or(0)).unwrap_or(u32::MAX)
}

impl Devices {
    fn of_fabric() -> Devices {
        let (mut balancers, mut switches) = (BTreeSet::new(), BTreeSet::new());
        hopwise_fabric::with(|fabric| {
            for (device, name) in fabric.device_names() {
                match fabric.device_mut(device) {
                    Some(Device::LoadBalancer(_)) => balancers.insert(name),
                    Some(Device::Switch(_)) => switches.insert(name),
                    _ => false,
                };
            }
        });
        Devices { balancers, switches }
    }

    fn balancers_on<'a>(&'a self, path: &'a [Hop]) -> impl Iterator<Item = Arc<str>> + 'a {
        path.iter().map(|hop| hop.device.clone()).filter(|device| self.balancers.contains(device))
    }

    /// How often a path passes from the switch of one zone to that of another.
    fn zone_changes(&self, path: &[Hop]) -> u64 {
        let mut switches: Vec<&Arc<str>> =
            path.iter().map(|hop| &hop.device).filter(|device| self.switches.contains(*device)).collect();
        switches.dedup();
        switches.len().saturating_sub(1) as u64
    }
}

#[cfg(test)]
mod tests {
    use hopwise_engine::Time;
    use hopwise_fabric::Action;

    use super::*;

    #[test]
    fn zones_change_where_two_switches_meet() {
        let switches = ["switch a".into(), "switch b".into()].into();
        let devices = Devices { balancers: BTreeSet::new(), switches };
        let path = |names: &[&str]| -> Vec<Hop> {
            let (source, destination) = (([10, 0, 0, 1], 1).into(), ([10, 0, 0, 2], 2).into());
            let hop = |name: &&str| Hop {
                device: (*name).into(),
                action: Action::Switched,
                source,
                destination,
                at: Time::ZERO,
                time_to_live: 64,
                detail: None,
                answer: None,
            };
            names.iter().map(hop).collect()
        };
        assert_eq!(devices.zone_changes(&path(&["pod", "node-0", "switch a", "node-1", "pod"])), 0);
        assert_eq!(devices.zone_changes(&path(&["pod", "node-0", "switch a", "switch b", "node-1"])), 1);
        assert_eq!(devices.zone_changes(&path(&["edge", "switch b", "node-1"])), 0);
        assert_eq!(devices.zone_changes(&[]), 0);
    }
}
