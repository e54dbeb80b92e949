//! The manifests of a drawn cluster: a StatefulSet of brokers, its configuration, and the Services that lead to it.

use std::fmt::Write;

use super::topology::{Entrance, Topology, node_address};

/// The port of the listener for clients inside.
pub(super) const INSIDE_PORT: u16 = 9092;
/// The port of the listener for clients outside.
pub(super) const OUTSIDE_PORT: u16 = 9094;
/// The node port that all brokers share; those of single brokers follow it.
pub(super) const NODE_PORT: u16 = 31094;
/// The port of the first listener that nobody uses.
const IDLE_PORT: u16 = 9100;

const IMAGE: &str = "docker.redpanda.com/redpandadata/redpanda:v26.2.1";

/// All of them.
pub(super) fn of(topology: &Topology) -> String {
    let mut text = String::from("apiVersion: v1\nkind: Namespace\nmetadata: {name: kafka}\n");
    for part in [configuration(topology), script(topology), headless(topology), stateful_set(topology)] {
        text.push_str("---\n");
        text.push_str(&part);
    }
    text.push_str(&services(topology));
    if topology.tls {
        text.push_str(&certificates(topology));
    }
    text
}

/// Names and ports of the Kafka listeners.
fn listeners(topology: &Topology) -> Vec<(String, u16)> {
    let outside = (topology.entrance != Entrance::Headless).then(|| ("outside".to_owned(), OUTSIDE_PORT));
    let idle = (0..topology.idle_listeners).map(|index| (format!("idle-{index}"), IDLE_PORT + index));
    [("internal".to_owned(), INSIDE_PORT)].into_iter().chain(outside).chain(idle).collect()
}

fn configuration(topology: &Topology) -> String {
    let most = topology.brokers - (topology.brokers + 1) % 2;
    let seeds: String = (0..topology.brokers)
        .map(|broker| {
            format!("        - host: {{address: rp-{broker}.rp.kafka.svc.cluster.local., port: 33145}}\n")
        })
        .collect();
    let mut text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: rp, namespace: kafka}}\ndata:\n  bootstrap.yaml: |\n    \
         default_topic_replications: {}\n    enable_rack_awareness: false\n  redpanda.yaml: |\n    redpanda:\n      \
         data_directory: /var/lib/redpanda/data\n      empty_seed_starts_cluster: false\n      \
         rpc_server: {{address: 0.0.0.0, port: 33145}}\n      seed_servers:\n{seeds}      kafka_api:\n",
        most.min(3)
    );
    for (name, port) in listeners(topology) {
        let _ = writeln!(text, "        - {{name: {name}, address: 0.0.0.0, port: {port}}}");
    }
    if topology.tls {
        text.push_str("      kafka_api_tls:\n");
        for (name, _) in listeners(topology) {
            let _ = writeln!(
                text,
                "        - {{name: {name}, enabled: true, cert_file: /certs/tls.crt, key_file: /certs/tls.key, \
                 truststore_file: /certs/ca.crt}}"
            );
        }
    }
    text + "      admin:\n        - {name: internal, address: 0.0.0.0, port: 9644}\n"
}

/// Writes the addresses that a pod advertises into its own configuration.
fn script(topology: &Topology) -> String {
    let own = "${POD_NAME}.rp.kafka.svc.cluster.local.";
    let outside = match topology.entrance {
        Entrance::Headless | Entrance::LoadBalancer => {
            ("${POD_NAME}.kafka.example.com", OUTSIDE_PORT.to_string())
        }
        Entrance::NodePort => ("${HOST_IP}", NODE_PORT.to_string()),
        Entrance::NodePortPerBroker => ("${HOST_IP}", format!("$(({} + ${{POD_NAME##*-}}))", NODE_PORT + 1)),
    };
    let mut text = String::from(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: scripts, namespace: kafka}\ndata:\n  configure.sh: |\n    \
         set -eu\n    CONFIG=/etc/redpanda/redpanda.yaml\n    cp /base/redpanda.yaml \"$CONFIG\"\n    \
         cp /base/bootstrap.yaml /etc/redpanda/.bootstrap.yaml\n",
    );
    for (index, (name, port)) in listeners(topology).into_iter().enumerate() {
        let (address, port) = match name.as_str() {
            "outside" => (outside.0, outside.1.clone()),
            _ => (own, port.to_string()),
        };
        let _ = writeln!(text, "    PORT={port}");
        let _ = writeln!(
            text,
            "    rpk redpanda config --config \"$CONFIG\" set redpanda.advertised_kafka_api[{index}] \
             \"{{\\\"name\\\":\\\"{name}\\\",\\\"address\\\":\\\"{address}\\\",\\\"port\\\":${{PORT}}}}\""
        );
    }
    text
}

fn headless(topology: &Topology) -> String {
    // Brokers find each other by these names before they are ready.
    let mut text = String::from(
        "apiVersion: v1\nkind: Service\nmetadata: {name: rp, namespace: kafka}\nspec:\n  clusterIP: None\n  \
         publishNotReadyAddresses: true\n  selector: {app: rp}\n  ports:\n    - {name: admin, port: 9644}\n    \
         - {name: rpc, port: 33145}\n",
    );
    for (name, port) in listeners(topology) {
        let _ = writeln!(text, "    - {{name: {name}, port: {port}}}");
    }
    text
}

fn stateful_set(topology: &Topology) -> String {
    let ports: String = listeners(topology)
        .into_iter()
        .map(|(name, port)| format!("            - {{name: {name}, containerPort: {port}}}\n"))
        .collect();
    let policy = if topology.ordered { "OrderedReady" } else { "Parallel" };
    let (mount, volume) = match topology.tls {
        true => (
            "            - {name: certs, mountPath: /certs}\n",
            "        - name: certs\n          secret: {secretName: rp-certificate}\n",
        ),
        false => ("", ""),
    };
    format!(
        "apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: rp, namespace: kafka}}
spec:
  replicas: {replicas}
  serviceName: rp
  podManagementPolicy: {policy}
  selector:
    matchLabels: {{app: rp}}
  template:
    metadata:
      labels: {{app: rp}}
    spec:
      terminationGracePeriodSeconds: 30
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            - topologyKey: kubernetes.io/hostname
              labelSelector:
                matchLabels: {{app: rp}}
      initContainers:
        - name: configurator
          image: {IMAGE}
          command: [bash, /scripts/configure.sh]
          env: &identity
            - name: POD_NAME
              valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}
            - name: HOST_IP
              valueFrom: {{fieldRef: {{fieldPath: status.hostIP}}}}
          volumeMounts:
            - {{name: config, mountPath: /etc/redpanda}}
            - {{name: base, mountPath: /base}}
            - {{name: scripts, mountPath: /scripts}}
      containers:
        - name: redpanda
          image: {IMAGE}
          command: [rpk, redpanda, start, --advertise-rpc-addr=$(POD_NAME).rp.kafka.svc.cluster.local.:33145]
          env: *identity
          ports:
            - {{name: admin, containerPort: 9644}}
            - {{name: rpc, containerPort: 33145}}
{ports}          readinessProbe:
            httpGet: {{path: /v1/status/ready, port: admin}}
            periodSeconds: 5
          volumeMounts:
            - {{name: config, mountPath: /etc/redpanda}}
            - {{name: data, mountPath: /var/lib/redpanda/data}}
{mount}      volumes:
        - name: config
          emptyDir: {{}}
        - name: base
          configMap: {{name: rp}}
        - name: scripts
          configMap: {{name: scripts}}
{volume}  volumeClaimTemplates:
    - metadata: {{name: data}}
      spec:
        accessModes: [ReadWriteOnce]
        resources:
          requests: {{storage: 10Gi}}
",
        replicas = topology.brokers,
    )
}

/// The Services for clients outside.
fn services(topology: &Topology) -> String {
    let policy = if topology.local { "Local" } else { "Cluster" };
    let service = |name: &str, kind: &str, selector: &str, node_port: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: kafka}}\nspec:\n  type: {kind}\n  \
             externalTrafficPolicy: {policy}\n  publishNotReadyAddresses: {not_ready}\n  \
             selector: {{app: rp{selector}}}\n  ports:\n    \
             - {{name: kafka, port: {OUTSIDE_PORT}, targetPort: {OUTSIDE_PORT}{node_port}}}\n",
            not_ready = topology.publish_not_ready,
        )
    };
    let of_broker = |broker: u16| format!(", statefulset.kubernetes.io/pod-name: rp-{broker}");
    match topology.entrance {
        Entrance::Headless => String::new(),
        Entrance::NodePort => service("outside", "NodePort", "", &format!(", nodePort: {NODE_PORT}")),
        Entrance::NodePortPerBroker => (0..topology.brokers)
            .map(|broker| {
                let port = format!(", nodePort: {}", NODE_PORT + 1 + broker);
                service(&format!("outside-{broker}"), "NodePort", &of_broker(broker), &port)
            })
            .collect(),
        Entrance::LoadBalancer => (0..topology.brokers)
            .map(|broker| service(&format!("lb-{broker}"), "LoadBalancer", &of_broker(broker), ""))
            .collect(),
    }
}

/// An authority of its own and a certificate for every name that brokers advertise.
fn certificates(topology: &Topology) -> String {
    let addresses: Vec<String> = (0..topology.nodes()).map(node_address).collect();
    format!(
        "---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {{name: self-signed, namespace: kafka}}
spec: {{selfSigned: {{}}}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {{name: root, namespace: kafka}}
spec: {{secretName: root, commonName: root, isCA: true, duration: 43800h, issuerRef: {{name: self-signed}}}}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {{name: root, namespace: kafka}}
spec: {{ca: {{secretName: root}}}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {{name: rp, namespace: kafka}}
spec:
  secretName: rp-certificate
  dnsNames: ['*.rp.kafka.svc.cluster.local', '*.kafka.example.com']
  ipAddresses: [{}]
  duration: 43800h
  issuerRef: {{name: root}}
",
        addresses.join(", ")
    )
}
