//! Clusters of brokers, drawn so that every one of them is sound: whatever its size, each broker can be reached.

use proptest::prelude::*;

use super::manifests;

/// A cluster: nodes in zones, brokers, and the ways in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Brokers, at most one on a node.
    pub brokers: u16,
    /// Nodes that no broker needs: none with [`Entrance::NodePort`], where clients would begin at nodes that answer nobody.
    pub spare_nodes: u16,
    /// Zones that the nodes are in, in turn.
    pub zones: u16,
    /// How clients outside come in.
    pub entrance: Entrance,
    /// Whether the Services for clients outside have the traffic policy Local: always with [`Entrance::NodePort`], and never
    /// with [`Entrance::NodePortPerBroker`].
    pub local: bool,
    /// Whether Services have the addresses of pods that are not ready too.
    pub publish_not_ready: bool,
    /// Whether the listeners speak TLS, with certificates that cert-manager's objects ask for.
    pub tls: bool,
    /// Kafka listeners that nobody uses, beside the others.
    pub idle_listeners: u16,
    /// Whether pods start one after the other.
    pub ordered: bool,
    /// Whether each node runs NodeLocal DNSCache.
    pub node_local_dns: bool,
    /// Where it stands: `bare-metal`, where no load balancer comes by itself, or `aws`.
    pub profile: &'static str,
}

/// How clients outside come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// Not at all: brokers are reached by their pods' own names, which the headless Service gives them.
    Headless,
    /// One NodePort Service for all; the address of a broker's node tells which.
    NodePort,
    /// A NodePort Service per broker; the port tells which, at any node.
    NodePortPerBroker,
    /// A LoadBalancer Service and a name per broker.
    LoadBalancer,
}

impl Topology {
    /// Any: one to `brokers_max` brokers.
    pub fn any(brokers_max: u16) -> impl Strategy<Value = Topology> {
        let entrance = prop_oneof![
            Just(Entrance::NodePort),
            Just(Entrance::NodePortPerBroker),
            Just(Entrance::LoadBalancer),
            Just(Entrance::Headless)
        ];
        let sizes = (1..=brokers_max, 0..=2_u16, 1..=3_u16);
        let services = (entrance, any::<bool>(), any::<bool>());
        let listeners = (prop::bool::weighted(0.2), 0..=1_u16);
        let surroundings = (any::<bool>(), any::<bool>(), prop_oneof![Just("bare-metal"), Just("aws")]);
        (sizes, services, listeners, surroundings).prop_map(|(sizes, services, listeners, surroundings)| {
            let ((brokers, spare_nodes, zones), (entrance, local, publish_not_ready)) = (sizes, services);
            let ((tls, idle_listeners), (ordered, node_local_dns, profile)) = (listeners, surroundings);
            Topology {
                brokers,
                spare_nodes: if entrance == Entrance::NodePort { 0 } else { spare_nodes },
                zones,
                entrance,
                local: match entrance {
                    Entrance::NodePort => true,
                    Entrance::NodePortPerBroker => false,
                    Entrance::LoadBalancer | Entrance::Headless => local,
                },
                publish_not_ready,
                tls,
                idle_listeners,
                // A broker that founds the cluster waits for all others (redpanda.md 2.3), which would never start.
                ordered: ordered && brokers == 1,
                node_local_dns,
                profile: if entrance == Entrance::LoadBalancer { "aws" } else { profile },
            }
        })
    }

    /// Its nodes.
    pub fn nodes(&self) -> u16 {
        self.brokers + self.spare_nodes
    }

    /// Its manifests, as one file.
    pub fn manifests(&self) -> String {
        manifests::of(self)
    }

    /// Its cluster file.
    pub fn cluster_file(&self) -> serde_json::Value {
        let node = |index: u16| {
            serde_json::json!({
                "name": format!("node-{index}"),
                "zone": format!("zone-{}", index % self.zones),
                "address": node_address(index),
            })
        };
        let mut file = serde_json::json!({
            "profile": self.profile,
            "nodeLocalDNS": self.node_local_dns,
            "nodes": (0..self.nodes()).map(node).collect::<Vec<_>>(),
        });
        if self.entrance == Entrance::LoadBalancer {
            let name = |broker| (outside_name(broker), format!("service/kafka/lb-{broker}").into());
            let names: serde_json::Map<String, serde_json::Value> = (0..self.brokers).map(name).collect();
            file["externalNames"] = names.into();
        }
        file
    }

    /// The Kafka listener that clients enter by.
    pub fn listener(&self) -> &'static str {
        if self.entrance == Entrance::Headless { "internal" } else { "outside" }
    }

    /// Where clients begin: an address of each broker.
    pub fn bootstrap(&self) -> Vec<String> {
        let address = |broker: u16| match self.entrance {
            Entrance::Headless => {
                format!("rp-{broker}.rp.kafka.svc.cluster.local.:{}", manifests::INSIDE_PORT)
            }
            Entrance::NodePort => format!("{}:{}", node_address(broker), manifests::NODE_PORT),
            Entrance::NodePortPerBroker => {
                format!("{}:{}", node_address(broker), manifests::NODE_PORT + 1 + broker)
            }
            Entrance::LoadBalancer => format!("{}:{}", outside_name(broker), manifests::OUTSIDE_PORT),
        };
        (0..self.brokers).map(address).collect()
    }
}

/// The name of a broker for clients outside.
pub(super) fn outside_name(broker: u16) -> String {
    format!("rp-{broker}.kafka.example.com")
}

pub(super) fn node_address(node: u16) -> String {
    let number = u32::from(node) + 10;
    format!("10.0.{}.{}", number / 256, number % 256)
}
