//! Topology hints: which zones and nodes an endpoint is meant for.
//!
//! A Service asks for them by `trafficDistribution`, or by the annotation `topology-mode: Auto`, which comes first. The
//! field gives each endpoint its own zone (and node). The annotation gives zones endpoints in proportion to their
//! processors, and withdraws all hints where that cannot be done well; then the field does not count either.
//! A node without `allocatable` processors counts as one, if all are without; if some are, it is as in Kubernetes: no
//! hints.
//! Source: kubernetes.md 6.8, KEP-2433 (Auto), KEP-3015 and KEP-4444 (trafficDistribution).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointHints, ForNode, ForZone};

use super::endpoint_slices::ZONE_LABEL;
use crate::scheduler::parse_milli;

/// The annotations that ask for hints, the current one first.
const ANNOTATIONS: [&str; 2] =
    ["service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints"];
/// Labels of nodes that endpoints are not meant for.
const CONTROL_PLANE_LABELS: [&str; 2] =
    ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
/// How much more than its share a zone's endpoints may have to bear (KEP-2433: 20 %), as parts of ten.
const OVERLOAD_TENTHS: i128 = 12;

/// What hints a Service asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// None.
    Anywhere,
    /// Each endpoint for its own zone (`PreferClose`, `PreferSameZone`).
    SameZone,
    /// Each endpoint for its own node and zone (`PreferSameNode`).
    SameNode,
    /// In proportion to the zones' processors (annotation `topology-mode: Auto`).
    Auto,
}

impl Distribution {
    /// What `service` asks for.
    pub fn of(service: &Service) -> Distribution {
        let annotations = service.metadata.annotations.as_ref();
        let mode = ANNOTATIONS.iter().find_map(|key| annotations?.get(*key));
        if mode.is_some_and(|mode| mode.eq_ignore_ascii_case("auto")) {
            return Distribution::Auto;
        }
        let field = service.spec.as_ref().and_then(|spec| spec.traffic_distribution.as_deref());
        match field {
            Some("PreferClose" | "PreferSameZone") => Distribution::SameZone,
            Some("PreferSameNode") => Distribution::SameNode,
            _ => Distribution::Anywhere,
        }
    }
}

/// The processors of each zone, in thousandths, over nodes that are ready and not of the control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zones(BTreeMap<String, i128>);

impl Zones {
    /// The zones of these nodes; none if a node tells neither or not all tell their processors.
    pub fn of<'a>(nodes: impl Iterator<Item = &'a Node>) -> Zones {
        let mut zones: BTreeMap<String, (i128, i128)> = BTreeMap::new();
        let (mut told, mut untold) = (0, 0);
        for node in nodes.filter(|node| is_ready(node) && !is_control_plane(node)) {
            let Some(zone) = node.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE_LABEL)) else {
                return Zones::default();
            };
            let cpu = cpu_milli(node);
            let entry = zones.entry(zone.clone()).or_default();
            entry.0 += cpu.unwrap_or(0);
            entry.1 += 1;
            if cpu.is_some() { told += 1 } else { untold += 1 }
        }
        if told > 0 && untold > 0 {
            return Zones::default();
        }
        Zones(
            zones
                .into_iter()
                .map(|(zone, (cpu, nodes))| (zone, if told > 0 { cpu } else { nodes }))
                .collect(),
        )
    }
}

/// Gives the endpoints of one address family their hints, or takes them all away. Endpoints that are not ready have
/// none.
pub fn assign(distribution: Distribution, endpoints: &mut [Endpoint], zones: &Zones) {
    endpoints.iter_mut().for_each(|endpoint| endpoint.hints = None);
    let mut ready: Vec<&mut Endpoint> =
        endpoints.iter_mut().filter(|endpoint| is_ready_endpoint(endpoint)).collect();
    match distribution {
        Distribution::Anywhere => {}
        Distribution::SameZone | Distribution::SameNode => {
            for endpoint in ready {
                let node = endpoint.node_name.clone().filter(|_| distribution == Distribution::SameNode);
                endpoint.hints = hints(endpoint.zone.clone(), node);
            }
        }
        Distribution::Auto => {
            if let Some(assigned) = assigned_zones(&ready, zones) {
                for (endpoint, zone) in ready.iter_mut().zip(assigned) {
                    endpoint.hints = hints(Some(zone), None);
                }
            }
        }
    }
}

/// A zone for each endpoint, such that every zone has as many as its processors ask for, within the overload that is
/// allowed; `None` where that is impossible. Endpoints stay with their own zone as far as they can.
fn assigned_zones(endpoints: &[&mut Endpoint], zones: &Zones) -> Option<Vec<String>> {
    let count = i128::try_from(endpoints.len()).ok()?;
    let total: i128 = zones.0.values().sum();
    if zones.0.len() < 2 || total == 0 || endpoints.len() < zones.0.len() {
        return None;
    }
    // ceil(share / 1.2), the share being count * cpu / total.
    let least = |cpu: i128| (10 * count * cpu + OVERLOAD_TENTHS * total - 1) / (OVERLOAD_TENTHS * total);
    let least: BTreeMap<&String, i128> = zones.0.iter().map(|(zone, cpu)| (zone, least(*cpu))).collect();
    if least.values().sum::<i128>() > count {
        return None;
    }
    let mut assigned: Vec<String> =
        endpoints.iter().map(|endpoint| endpoint.zone.clone()).collect::<Option<_>>()?;
    let mut held: BTreeMap<String, i128> = zones.0.keys().map(|zone| (zone.clone(), 0)).collect();
    for zone in &assigned {
        *held.get_mut(zone)? += 1;
    }
    for (zone, wanted) in &least {
        while held[*zone] < *wanted {
            // The zone that is furthest above its share gives.
            let surplus = |giver: &String| held[giver] * total - count * zones.0[giver];
            let spare = |giver: &&String| held[*giver] > least[giver];
            let giver = held.keys().filter(spare).max_by_key(|giver| surplus(giver))?.clone();
            let place = assigned.iter().rposition(|of| *of == giver)?;
            assigned[place] = (*zone).clone();
            *held.get_mut(&giver)? -= 1;
            *held.get_mut(*zone)? += 1;
        }
    }
    Some(assigned)
}

fn hints(zone: Option<String>, node: Option<String>) -> Option<EndpointHints> {
    let for_zones = zone.map(|name| vec![ForZone { name }]);
    let for_nodes = node.map(|name| vec![ForNode { name }]);
    (for_zones.is_some() || for_nodes.is_some()).then_some(EndpointHints { for_zones, for_nodes })
}

fn is_ready_endpoint(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().is_none_or(|conditions| conditions.ready != Some(false))
}

/// A node that says nothing of its condition counts as ready.
fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|condition| condition.type_ == "Ready").all(|ready| ready.status == "True")
}

fn is_control_plane(node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    CONTROL_PLANE_LABELS.iter().any(|label| labels.is_some_and(|labels| labels.contains_key(*label)))
}

/// The node's allocatable processors in thousandths, if it tells them.
fn cpu_milli(node: &Node) -> Option<i128> {
    let allocatable = node.status.as_ref()?.allocatable.as_ref()?;
    parse_milli(&allocatable.get("cpu")?.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endpoints(zones: &[&str]) -> Vec<Endpoint> {
        let endpoint = |(zone, number): (&&str, u8)| Endpoint {
            addresses: vec![format!("10.0.0.{number}")],
            zone: (!zone.is_empty()).then(|| (*zone).to_owned()),
            node_name: Some(format!("node-{number}")),
            ..Endpoint::default()
        };
        zones.iter().zip(1..).map(endpoint).collect()
    }

    fn node(zone: &str, cpu: Option<&str>) -> Node {
        let allocatable = cpu.map(|cpu| json!({ "cpu": cpu }));
        let node = json!({
            "metadata": { "labels": { ZONE_LABEL: zone } }, "status": { "allocatable": allocatable }
        });
        serde_json::from_value(node).unwrap()
    }

    fn zones(nodes: &[(&str, Option<&str>)]) -> Zones {
        let nodes: Vec<Node> = nodes.iter().map(|(zone, cpu)| node(zone, *cpu)).collect();
        Zones::of(nodes.iter())
    }

    fn hinted(distribution: Distribution, of: &[&str], zones: &Zones) -> Vec<String> {
        let mut endpoints = endpoints(of);
        assign(distribution, &mut endpoints, zones);
        let zone = |endpoint: &Endpoint| Some(endpoint.hints.as_ref()?.for_zones.as_ref()?[0].name.clone());
        endpoints.iter().map(|endpoint| zone(endpoint).unwrap_or_else(|| "-".into())).collect()
    }

    #[test]
    fn the_field_gives_each_endpoint_its_own_zone_and_node() {
        assert_eq!(hinted(Distribution::SameZone, &["a", "b", ""], &Zones::default()), ["a", "b", "-"]);
        let mut of_node = endpoints(&["a"]);
        assign(Distribution::SameNode, &mut of_node, &Zones::default());
        let hints = of_node[0].hints.clone().unwrap();
        assert_eq!(hints.for_nodes.unwrap()[0].name, "node-1");
        assert_eq!(hints.for_zones.unwrap()[0].name, "a");
        assert_eq!(hinted(Distribution::Anywhere, &["a"], &Zones::default()), ["-"]);
    }

    #[test]
    fn auto_shares_out_by_processors_and_moves_no_more_than_it_must() {
        let even = zones(&[("a", None), ("b", None), ("c", None)]);
        assert_eq!(hinted(Distribution::Auto, &["a", "b", "c"], &even), ["a", "b", "c"]);
        assert_eq!(
            hinted(Distribution::Auto, &["a", "a", "a", "b", "b", "c"], &even),
            ["a", "a", "c", "b", "b", "c"]
        );
        let uneven = zones(&[("a", Some("6")), ("b", Some("2"))]);
        assert_eq!(hinted(Distribution::Auto, &["a", "b", "b", "b"], &uneven), ["a", "b", "a", "a"]);
    }

    #[test]
    fn auto_withdraws_its_hints_where_they_would_do_harm() {
        let two = zones(&[("a", Some("4")), ("b", Some("4"))]);
        assert_eq!(hinted(Distribution::Auto, &["a"], &two), ["-"], "fewer endpoints than zones");
        assert_eq!(hinted(Distribution::Auto, &["a", ""], &two), ["-", "-"], "an endpoint without a zone");
        assert_eq!(hinted(Distribution::Auto, &["a", "c"], &two), ["-", "-"], "a zone without nodes");
        let one = zones(&[("a", Some("4"))]);
        assert_eq!(hinted(Distribution::Auto, &["a", "a"], &one), ["-", "-"], "a single zone");
        let unknown = zones(&[("a", Some("4")), ("b", None)]);
        assert_eq!(
            hinted(Distribution::Auto, &["a", "b"], &unknown),
            ["-", "-"],
            "processors of some nodes only"
        );
        let overload = zones(&[("a", None), ("b", None), ("c", None)]);
        let four = ["a", "b", "c", "a"];
        assert_eq!(
            hinted(Distribution::Auto, &four, &overload),
            ["-"; 4],
            "no zone can do with 2 of 4 / 1.2"
        );
    }

    #[test]
    fn the_annotation_comes_before_the_field() {
        let service = |annotation: &str, field: &str| {
            let service = json!({
                "metadata": { "annotations": { ANNOTATIONS[0]: annotation } }, "spec": { "trafficDistribution": field }
            });
            Distribution::of(&serde_json::from_value(service).unwrap())
        };
        assert_eq!(service("Auto", "PreferSameZone"), Distribution::Auto);
        assert_eq!(service("Disabled", "PreferSameNode"), Distribution::SameNode);
        assert_eq!(service("", "PreferClose"), Distribution::SameZone);
        assert_eq!(service("", ""), Distribution::Anywhere);
    }
}
