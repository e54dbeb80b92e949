//! Clusters drawn at random: the fixture's brokers in other numbers, on other nodes, exposed in other ways.

use std::fmt::Write;

use hopwise_tests::Given;
use proptest::prelude::*;

/// How brokers are exposed to clients outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// One NodePort Service; the address of a broker's node is advertised.
    NodePort,
    /// A LoadBalancer Service per broker; a name of its own is advertised.
    LoadBalancer,
    /// Not at all: the headless Service only.
    Headless,
}

/// A cluster, and what happens to it.
#[derive(Clone, Debug)]
pub struct Draw {
    /// Brokers.
    pub brokers: u16,
    /// Nodes.
    pub nodes: u16,
    /// Zones that the nodes are in, in turn.
    pub zones: u16,
    /// How clients outside come in.
    pub exposure: Exposure,
    /// Whether the Services have the traffic policy Local.
    pub local: bool,
    /// Whether two brokers may not share a node.
    pub apart: bool,
    /// The profile.
    pub profile: &'static str,
    /// The ordinal of the pod that is deleted, if one is.
    pub deleted: Option<u16>,
    /// The seed of the simulation.
    pub seed: u64,
}

impl Draw {
    /// Any.
    pub fn any() -> impl Strategy<Value = Draw> {
        let exposure =
            prop_oneof![Just(Exposure::NodePort), Just(Exposure::LoadBalancer), Just(Exposure::Headless)];
        let profile = prop_oneof![Just("bare-metal"), Just("aws")];
        let sizes = (1..=7_u16, 1..=7_u16, 1..=3_u16);
        let deleted = prop::option::of(0..7_u16);
        (sizes, exposure, any::<bool>(), any::<bool>(), profile, deleted, any::<u64>()).prop_map(
            |((brokers, nodes, zones), exposure, local, apart, profile, deleted, seed)| Draw {
                brokers,
                nodes,
                zones,
                exposure,
                local,
                apart,
                profile,
                deleted: deleted.map(|ordinal| ordinal % brokers),
                seed,
            },
        )
    }

    /// Its manifests and its cluster file.
    pub fn given(&self) -> Given {
        let mut given = Given::fixtures(&["brokers.yaml"])
            .edit("replicas: 3", &format!("replicas: {}", self.brokers))
            .edit(&seed_servers(3), &seed_servers(self.brokers))
            .cluster(self.cluster_file());
        if !self.apart {
            given = given.edit(APART, "");
        }
        match self.exposure {
            Exposure::Headless => {
                let listener = line_with(&given, "{name: outside, address: 0.0.0.0");
                let advertised = line_with(&given, "advertised_kafka_api[1]");
                given.edit(&listener, "").edit(&advertised, "")
            }
            Exposure::NodePort => given.with("services.yaml", self.node_port_service()),
            Exposure::LoadBalancer => given
                .edit(r#"OUTSIDE="${HOST_IP}""#, r#"OUTSIDE="${POD_NAME}.kafka.example.com""#)
                .edit("OUTSIDE_PORT=31094", "OUTSIDE_PORT=9094")
                .with("services.yaml", self.load_balancer_services()),
        }
    }

    fn cluster_file(&self) -> String {
        let mut text = format!("profile: {}\nnodes:\n", self.profile);
        for node in 0..self.nodes {
            let zone = node % self.zones;
            let _ =
                writeln!(text, "  - {{name: node-{node}, zone: zone-{zone}, address: 10.0.0.{}}}", node + 10);
        }
        if self.exposure == Exposure::LoadBalancer {
            text.push_str("externalNames:\n");
            for broker in 0..self.brokers {
                let _ = writeln!(text, "  rp-{broker}.kafka.example.com: service/kafka/lb-{broker}");
            }
        }
        text
    }

    fn policy(&self) -> &'static str {
        if self.local { "Local" } else { "Cluster" }
    }

    fn node_port_service(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: outside, namespace: kafka}}\nspec:\n  type: NodePort\n  \
             externalTrafficPolicy: {}\n  selector: {{app: rp}}\n  ports:\n    \
             - {{name: kafka, port: 9094, targetPort: 9094, nodePort: 31094}}\n",
            self.policy()
        )
    }

    fn load_balancer_services(&self) -> String {
        let service = |broker: u16| {
            format!(
                "---\napiVersion: v1\nkind: Service\nmetadata: {{name: lb-{broker}, namespace: kafka}}\nspec:\n  \
                 type: LoadBalancer\n  externalTrafficPolicy: {}\n  \
                 selector: {{app: rp, statefulset.kubernetes.io/pod-name: rp-{broker}}}\n  ports:\n    \
                 - {{name: kafka, port: 9094, targetPort: 9094}}\n",
                self.policy()
            )
        };
        (0..self.brokers).map(service).collect()
    }
}

/// The rule of the fixture that keeps brokers off each other's nodes.
const APART: &str = "      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            - topologyKey: kubernetes.io/hostname
              labelSelector:
                matchLabels: {app: rp}
";

fn seed_servers(brokers: u16) -> String {
    let server = |broker: u16| {
        format!("        - host: {{address: rp-{broker}.rp.kafka.svc.cluster.local., port: 33145}}\n")
    };
    (0..brokers).map(server).collect()
}

/// The line of the manifests that holds `part`, with its end.
fn line_with(given: &Given, part: &str) -> String {
    let mut lines = given.manifests.iter().flat_map(|(_, text)| text.lines());
    let line = lines.find(|line| line.contains(part)).unwrap_or_else(|| panic!("no manifest says {part:?}"));
    format!("{line}\n")
}
