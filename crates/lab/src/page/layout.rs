//! Where everything stands in the picture: clients on the left, the internet's edge, load balancers, and on the right the
//! zones with their nodes, pods and volumes. A device of a route is found by its name.

use std::collections::{BTreeMap, BTreeSet};

use super::ways::Way;
use crate::device::Role;
use crate::recording::Topology;

const POD_WIDTH: f64 = 182.0;
const POD_HEIGHT: f64 = 46.0;
const VOLUME_HEIGHT: f64 = 20.0;
const GAP: f64 = 14.0;
/// The name, and below it room for routes that lead to the pods.
const NODE_HEADER: f64 = 44.0;
const ZONE_HEADER: f64 = 30.0;
const ZONE_LEFT: f64 = 600.0;
/// Room in a zone for its switch, left of the nodes.
const SWITCH_ROOM: f64 = 84.0;
const PODS_PER_ROW: usize = 2;
const NODE_WIDTH: f64 = PODS_PER_ROW as f64 * (POD_WIDTH + GAP) + GAP;
/// A device that packets pass: a box with its names below.
const DEVICE: f64 = 40.0;
/// Room for the names.
const DEVICE_NAMES: f64 = 36.0;
/// The most nodes that are drawn without a part in any route.
const BYSTANDERS_MAX: usize = 12;

/// A place in the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rect {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// What kind of thing stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Internet,
    Client,
    Edge,
    Balancer,
    Zone,
    Switch,
    Node,
    Pod,
    Broker,
    Volume,
}

/// Something that is drawn.
pub(super) struct Item {
    pub kind: Kind,
    pub at: Rect,
    pub title: String,
    pub below: String,
}

/// The whole picture.
pub(super) struct Layout {
    pub items: Vec<Item>,
    /// Where routes pass a device.
    pub anchors: BTreeMap<String, (f64, f64)>,
    pub width: f64,
    pub height: f64,
    /// Nodes that are not drawn.
    pub left_out: usize,
}

/// A pod that is drawn.
struct Standing {
    pod: String,
    title: String,
    below: String,
    volumes: Vec<String>,
    kind: Kind,
}

/// Lays the picture out.
pub(super) fn of(topology: &Topology, ways: &[Way]) -> Layout {
    let pods = pods_by_node(topology, ways);
    let used: BTreeSet<&str> = ways
        .iter()
        .flat_map(|way| way.hops.iter().chain(&way.reply))
        .map(|hop| hop.device.as_str())
        .collect();
    let mut layout =
        Layout { items: Vec::new(), anchors: BTreeMap::new(), width: 0.0, height: 0.0, left_out: 0 };
    let mut y = GAP;
    let mut bystanders = 0;
    for (zone, names) in zones(topology) {
        let (drawn, hidden): (Vec<&str>, Vec<&str>) = names.into_iter().partition(|name| {
            let takes_part = used.contains(name) || pods.get(*name).is_some_and(|pods| !pods.is_empty());
            bystanders += usize::from(!takes_part);
            takes_part || bystanders <= BYSTANDERS_MAX
        });
        layout.left_out += hidden.len();
        if !drawn.is_empty() {
            y = layout.zone(zone, &drawn, topology, &pods, y) + GAP;
        }
    }
    let bottom = y.max(220.0);
    let right = if layout.items.is_empty() { ZONE_LEFT } else { ZONE_LEFT + SWITCH_ROOM + NODE_WIDTH + GAP };
    (layout.width, layout.height) = (right + GAP, bottom);
    let bottom = layout.balancers(&used, topology, bottom).max(bottom);
    layout.height = bottom;
    layout.outside(ways, bottom);
    layout
}

impl Layout {
    /// A zone with its nodes, from `top` on; where it ends.
    fn zone(
        &mut self,
        zone: Option<&str>,
        nodes: &[&str],
        topology: &Topology,
        pods: &BTreeMap<String, Vec<Standing>>,
        top: f64,
    ) -> f64 {
        let frame = self.items.len();
        let mut y = top + ZONE_HEADER;
        for name in nodes {
            let address =
                topology.nodes.iter().find(|node| node.name == *name).map(|node| node.address.clone());
            let none = Vec::new();
            y = self.node(name, &address.unwrap_or_default(), pods.get(*name).unwrap_or(&none), y) + GAP;
        }
        let at = Rect { x: ZONE_LEFT, y: top, width: SWITCH_ROOM + NODE_WIDTH + GAP, height: y - top };
        let title = match zone {
            None => "no zone".to_owned(),
            // Many are called so already.
            Some(zone) if zone.contains("zone") => zone.to_owned(),
            Some(zone) => format!("zone {zone}"),
        };
        self.items.insert(frame, Item { kind: Kind::Zone, at, title, below: String::new() });
        // Without zones there is one switch, whatever it is called.
        let middle = (top + ZONE_HEADER + y) / 2.0;
        let switch = Rect { x: ZONE_LEFT + 20.0, y: middle - DEVICE / 2.0, width: DEVICE, height: DEVICE };
        self.items.push(Item {
            kind: Kind::Switch,
            at: switch,
            title: "switch".into(),
            below: String::new(),
        });
        let name = zone.map_or_else(|| "switch".to_owned(), |zone| format!("switch {zone}"));
        self.anchors.insert(name, switch.middle());
        y
    }

    fn node(&mut self, name: &str, address: &str, pods: &[Standing], top: f64) -> f64 {
        let left = ZONE_LEFT + SWITCH_ROOM;
        let frame = self.items.len();
        let mut y = top + NODE_HEADER;
        for row in pods.chunks(PODS_PER_ROW) {
            for (column, pod) in row.iter().enumerate() {
                let x = left + GAP + column as f64 * (POD_WIDTH + GAP);
                let at = Rect { x, y, width: POD_WIDTH, height: POD_HEIGHT };
                self.items.push(Item {
                    kind: pod.kind,
                    at,
                    title: pod.title.clone(),
                    below: pod.below.clone(),
                });
                self.anchors.insert(pod.pod.clone(), (x + 22.0, y));
                for (index, volume) in pod.volumes.iter().enumerate() {
                    let y = y + POD_HEIGHT + 4.0 + index as f64 * (VOLUME_HEIGHT + 4.0);
                    let at = Rect { x: x + 10.0, y, width: POD_WIDTH - 20.0, height: VOLUME_HEIGHT };
                    self.items.push(Item {
                        kind: Kind::Volume,
                        at,
                        title: volume.clone(),
                        below: String::new(),
                    });
                }
            }
            let volumes = row.iter().map(|pod| pod.volumes.len()).max().unwrap_or(0) as f64;
            y += POD_HEIGHT + volumes * (VOLUME_HEIGHT + 4.0) + GAP;
        }
        let at = Rect { x: left, y: top, width: NODE_WIDTH, height: y - top };
        self.items
            .insert(frame, Item { kind: Kind::Node, at, title: name.to_owned(), below: address.to_owned() });
        self.anchors.insert(name.to_owned(), (left, top + NODE_HEADER - 14.0));
        y
    }

    /// The load balancers, spread over the height; where they end.
    fn balancers(&mut self, used: &BTreeSet<&str>, topology: &Topology, height: f64) -> f64 {
        let devices: Vec<String> = used
            .iter()
            .filter(|device| Role::of(device) == Role::Balancer)
            .map(|device| (*device).to_owned())
            .chain(
                topology
                    .services
                    .iter()
                    .filter(|service| service.r#type == "LoadBalancer")
                    .map(|service| format!("load balancer {}", service.service)),
            )
            .collect::<BTreeSet<String>>()
            .into_iter()
            .collect();
        let step = (height / devices.len().max(1) as f64).max(DEVICE + DEVICE_NAMES + GAP);
        for (index, device) in devices.iter().enumerate() {
            let y = step * (index as f64 + 0.5) - DEVICE / 2.0;
            let at = Rect { x: 440.0, y, width: DEVICE, height: DEVICE };
            let name = device.strip_prefix("load balancer ").unwrap_or(device);
            let service = topology.services.iter().find(|service| service.service == name);
            let below = service.map(|service| service.ingress.join(", ")).unwrap_or_default();
            self.items.push(Item { kind: Kind::Balancer, at, title: name.to_owned(), below });
            self.anchors.insert(device.clone(), at.middle());
        }
        step * devices.len() as f64
    }

    /// The internet, its clients and its edge, where some route passes them.
    fn outside(&mut self, ways: &[Way], height: f64) {
        let comes_from_outside =
            |way: &&Way| way.hops.first().is_some_and(|hop| Role::of(&hop.device) == Role::Client);
        let clients: BTreeSet<&str> =
            ways.iter().filter(comes_from_outside).map(|way| way.client.as_str()).collect();
        if clients.is_empty() {
            return;
        }
        let middle = height / 2.0;
        let internet = Rect { x: GAP, y: middle - 100.0, width: 318.0, height: 200.0 };
        self.items.insert(
            0,
            Item { kind: Kind::Internet, at: internet, title: "internet".into(), below: String::new() },
        );
        let at = Rect { x: GAP + 16.0, y: middle - POD_HEIGHT / 2.0, width: 190.0, height: POD_HEIGHT };
        let below = match clients.len() {
            0..=3 => clients.iter().copied().collect::<Vec<_>>().join(", "),
            more => format!("{more} of them"),
        };
        self.items.push(Item { kind: Kind::Client, at, title: "clients outside".into(), below });
        self.anchors.insert("external".to_owned(), (at.x + at.width, middle));
        let edge = Rect {
            x: internet.x + internet.width - DEVICE / 2.0,
            y: middle - DEVICE / 2.0,
            width: DEVICE,
            height: DEVICE,
        };
        self.items.push(Item { kind: Kind::Edge, at: edge, title: "edge".into(), below: String::new() });
        self.anchors.insert("edge".to_owned(), edge.middle());
    }
}

impl Rect {
    pub fn middle(self) -> (f64, f64) {
        (self.x + self.width / 2.0, self.y + self.height / 2.0)
    }
}

/// Zones in the order in which the cluster file names them, with the names of their nodes.
fn zones(topology: &Topology) -> Vec<(Option<&str>, Vec<&str>)> {
    let mut zones: Vec<(Option<&str>, Vec<&str>)> = Vec::new();
    for node in &topology.nodes {
        let zone = node.zone.as_deref();
        match zones.iter_mut().find(|(name, _)| *name == zone) {
            Some((_, nodes)) => nodes.push(&node.name),
            None => zones.push((zone, vec![&node.name])),
        }
    }
    zones
}

/// The pods of the manifests that matter, and the pods that clients were put into, by their nodes.
fn pods_by_node(topology: &Topology, ways: &[Way]) -> BTreeMap<String, Vec<Standing>> {
    let mut pods: BTreeMap<String, Vec<Standing>> = BTreeMap::new();
    for pod in &topology.pods {
        let Some(node) = &pod.node else { continue };
        let broker = topology.brokers.iter().find(|broker| broker.pod == pod.pod);
        let address = pod.ip.clone().unwrap_or_default();
        let state = if pod.ready { "" } else { ", not ready" };
        let standing = match broker {
            Some(broker) => Standing {
                pod: pod.pod.clone(),
                title: pod.pod.clone(),
                below: format!("broker {} · {address}{state}", broker.id),
                volumes: broker.volumes.clone(),
                kind: Kind::Broker,
            },
            None => Standing {
                pod: pod.pod.clone(),
                title: pod.pod.clone(),
                below: format!("{address}{state}"),
                volumes: Vec::new(),
                kind: Kind::Pod,
            },
        };
        pods.entry(node.clone()).or_default().push(standing);
    }
    // Where a client's pod stands is told by the first node on its way.
    let mut placed: BTreeSet<&str> = BTreeSet::new();
    for way in ways {
        let [first, next, ..] = way.hops.as_slice() else { continue };
        let is_new = Role::of(&first.device) == Role::Pod
            && topology.pods.iter().all(|pod| pod.pod != first.device)
            && Role::of(&next.device) == Role::Node;
        if is_new && placed.insert(&first.device) {
            let below = format!("client · {}", first.src.rsplit_once(':').map_or("", |(ip, _)| ip));
            let (pod, title) = (first.device.clone(), first.device.clone());
            let client = Standing { pod, title, below, volumes: Vec::new(), kind: Kind::Client };
            pods.entry(next.device.clone()).or_default().push(client);
        }
    }
    pods
}
