//! Which endpoints of a Service a node may use.
//!
//! Source: kubernetes.md 6.1 and 6.8.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::discovery::v1::{EndpointConditions, EndpointSlice};

/// One endpoint of one Service port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it listens.
    pub address: SocketAddr,
    /// Condition ready.
    pub ready: bool,
    /// Condition serving.
    pub serving: bool,
    /// Condition terminating.
    pub terminating: bool,
    /// Whether it is on this node. An endpoint of unknown node is not.
    pub local: bool,
    /// The zones it is meant for.
    pub zone_hints: Vec<String>,
    /// The nodes it is meant for.
    pub node_hints: Vec<String>,
}

/// Which sets a Service's policies use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedBy {
    /// internalTrafficPolicy Local.
    pub internal_local: bool,
    /// externalTrafficPolicy Local.
    pub external_local: bool,
    /// Whether the Service has a node port, load balancer address or external IP.
    pub external: bool,
}

/// The endpoints that a node may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// For policy Cluster; none if no policy of the Service asks for it.
    pub cluster: Option<Vec<SocketAddr>>,
    /// For policy Local; none if no policy of the Service asks for it.
    pub local: Option<Vec<SocketAddr>>,
    /// Whether some endpoint anywhere is usable.
    pub has_any: bool,
}

/// Sorts endpoints into the cluster set and the local set of a node in `zone`. `node` is the node's name if
/// hints for nodes are honoured.
pub fn select(
    candidates: &[Candidate],
    used_by: UsedBy,
    node: Option<&str>,
    zone: Option<&str>,
) -> Selection {
    let has_any = candidates.iter().any(|one| one.ready || (one.serving && one.terminating));
    let cluster = (!used_by.internal_local || used_by.external).then(|| {
        let all: Vec<&Candidate> = candidates.iter().collect();
        let ready: Vec<&Candidate> = all.iter().copied().filter(|one| one.ready).collect();
        if ready.is_empty() { draining(&all) } else { addresses(&hinted(ready, node, zone)) }
    });
    let local = (used_by.internal_local || (used_by.external_local && used_by.external)).then(|| {
        let all: Vec<&Candidate> = candidates.iter().filter(|one| one.local).collect();
        let ready: Vec<&Candidate> = all.iter().copied().filter(|one| one.ready).collect();
        if ready.is_empty() { draining(&all) } else { addresses(&ready) }
    });
    Selection { cluster, local, has_any }
}

/// The endpoints that still serve while they terminate: the fallback when nothing is ready.
fn draining(candidates: &[&Candidate]) -> Vec<SocketAddr> {
    let serving = |one: &&&Candidate| one.serving && one.terminating;
    candidates.iter().filter(serving).map(|one| one.address).collect()
}

fn addresses(candidates: &[&Candidate]) -> Vec<SocketAddr> {
    candidates.iter().map(|one| one.address).collect()
}

/// Narrows ready endpoints by their hints: to this node's, else to this zone's; not at all if one has no hint
/// or none matches.
fn hinted<'a>(ready: Vec<&'a Candidate>, node: Option<&str>, zone: Option<&str>) -> Vec<&'a Candidate> {
    let by_node = node.and_then(|node| narrowed(&ready, node, |one| &one.node_hints));
    let by_zone = || {
        let zone = zone.filter(|zone| !zone.is_empty())?;
        narrowed(&ready, zone, |one| &one.zone_hints)
    };
    by_node.or_else(by_zone).unwrap_or(ready)
}

fn narrowed<'a>(
    ready: &[&'a Candidate],
    wanted: &str,
    hints: impl Fn(&Candidate) -> &Vec<String>,
) -> Option<Vec<&'a Candidate>> {
    if ready.iter().any(|one| hints(one).is_empty()) {
        return None;
    }
    let matching: Vec<&Candidate> =
        ready.iter().copied().filter(|one| hints(one).iter().any(|hint| hint == wanted)).collect();
    (!matching.is_empty()).then_some(matching)
}

/// The endpoints of one Service port in its slices, by address; an endpoint that is in two slices counts
/// once.
pub(super) fn candidates(
    slices: &[&EndpointSlice],
    port_name: &str,
    protocol: &str,
    node: &str,
    ipv4: bool,
) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    let family = if ipv4 { "IPv4" } else { "IPv6" };
    for slice in slices.iter().filter(|slice| slice.address_type == family) {
        let matching = slice.ports.iter().flatten().find(|port| {
            port.name.as_deref().unwrap_or("") == port_name
                && port.protocol.as_deref().unwrap_or("TCP") == protocol
        });
        let number = matching.and_then(|port| port.port).and_then(|port| u16::try_from(port).ok());
        let Some(number) = number.filter(|number| *number != 0) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let Some(ip) = endpoint.addresses.first().and_then(|text| text.parse::<IpAddr>().ok()) else {
                continue;
            };
            let conditions = endpoint.conditions.as_ref();
            let condition = |of: fn(&EndpointConditions) -> Option<bool>| conditions.and_then(of);
            // An unset condition counts as ready, serving, and not terminating.
            let ready = condition(|it| it.ready).unwrap_or(true);
            let zones = endpoint.hints.iter().flat_map(|hints| hints.for_zones.iter().flatten());
            let nodes = endpoint.hints.iter().flat_map(|hints| hints.for_nodes.iter().flatten());
            found.push(Candidate {
                address: SocketAddr::new(ip, number),
                ready,
                serving: condition(|it| it.serving).unwrap_or(ready),
                terminating: condition(|it| it.terminating).unwrap_or(false),
                local: endpoint.node_name.as_deref() == Some(node),
                zone_hints: zones.map(|zone| zone.name.clone()).collect(),
                node_hints: nodes.map(|node| node.name.clone()).collect(),
            });
        }
    }
    // The first of those with one address stays: sorting keeps their order.
    found.sort_by_key(|candidate| candidate.address);
    found.dedup_by_key(|candidate| candidate.address);
    found
}
