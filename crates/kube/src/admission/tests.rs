//! One rule at a time: a sound object, and the change that breaks the rule.

use std::fmt::Write;

use insta::assert_snapshot;

use super::{NODE_PORTS_DEFAULT, admit};
use crate::manifest::Manifests;
use crate::source::Source;

/// Each rejection of `text` on a line of its own.
fn rejections(text: &str) -> String {
    let manifests = Manifests::load(&[Source::new("web.yaml", text)])
        .unwrap_or_else(|errors| panic!("{:#?}", errors.errors()));
    let mut lines = String::new();
    for rejection in admit(&manifests, NODE_PORTS_DEFAULT) {
        writeln!(lines, "{:?} {rejection}", rejection.refused).expect("text");
    }
    lines
}

fn service(name: &str, spec: &str) -> String {
    rejections(&service_text(name, spec))
}

fn service_text(name: &str, spec: &str) -> String {
    format!("{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{{spec}}}}}\n")
}

#[test]
fn node_ports() {
    assert_eq!(service("web", "type: NodePort, ports: [{port: 80, nodePort: 30000}]"), "");
    assert_snapshot!(service("web", "type: NodePort, ports: [{port: 80, nodePort: 8080}]"), @"Object web.yaml:1:108: Service default/web: spec.ports[0].nodePort: 8080 is outside of the cluster's node ports; expected a number from 30000 to 32767 (change it, or remove it so that the cluster chooses one)");
    assert_snapshot!(service("web", "type: NodePort, ports: [{port: 80, nodePort: 70000}]"), @"Object web.yaml:1:108: Service default/web: spec.ports[0].nodePort: 70000 is outside of the cluster's node ports; expected a number from 30000 to 32767 (change it, or remove it so that the cluster chooses one)");
    assert_snapshot!(service("web", "ports: [{port: 80, nodePort: 30000}]"), @"Object web.yaml:1:92: Service default/web: spec.ports[0].nodePort: 30000 is given for a Service of the type ClusterIP; expected the type NodePort or LoadBalancer (set the type, or remove the node port)");
    let both = |first: &str, second: &str| {
        let one = service_text("one", &format!("type: NodePort, ports: [{first}]"));
        let two = service_text("two", &format!("type: LoadBalancer, ports: [{second}]"));
        rejections(&format!("{one}---\n{two}"))
    };
    assert_snapshot!(both("{port: 80, nodePort: 30001}", "{port: 81, nodePort: 30001}"), @"Object web.yaml:3:112: Service default/two: spec.ports[0].nodePort: TCP node port 30001 is already taken by Service default/one; expected a node port of its own (change it, or remove it so that the cluster chooses one)");
    assert_eq!(both("{port: 80, nodePort: 30001}", "{port: 81, nodePort: 30001, protocol: UDP}"), "");
    let wrong_first = both("{port: 0, nodePort: 30001}", "{port: 81, nodePort: 30001}");
    assert_eq!(wrong_first.lines().count(), 1, "a rejected Service holds no node port: {wrong_first}");
    assert_snapshot!(
        service("web", "type: NodePort, ports: [{name: a, port: 1, nodePort: 30001}, {name: b, port: 2, nodePort: 30001}]"),
        @"Object web.yaml:1:153: Service default/web: spec.ports[1].nodePort: TCP node port 30001 is used twice in this Service; expected a node port of its own for each port (change it, or remove it so that the cluster chooses one)"
    );
}

#[test]
fn service_ports() {
    assert_snapshot!(service("web", "ports: [{port: 0}]"), @"Object web.yaml:1:78: Service default/web: spec.ports[0].port: 0 is no port number; expected a number from 1 to 65535 (change the port)");
    assert_snapshot!(service("web", "ports: [{port: 80, targetPort: 70000}]"), @"Object web.yaml:1:94: Service default/web: spec.ports[0].targetPort: 70000 is no port number; expected a number from 1 to 65535 (change the port)");
    assert_snapshot!(service("web", "ports: [{port: 80, targetPort: '8080'}]"), @"Object web.yaml:1:94: Service default/web: spec.ports[0].targetPort: `8080` is not the name of a container's port; expected at most 15 lower-case letters, digits and single `-` inside, with at least one letter (remove the quotes, so that it is a number)");
    assert_snapshot!(service("web", "ports: [{port: 80, protocol: tcp}]"), @"Object web.yaml:1:92: Service default/web: spec.ports[0].protocol: `tcp` is not supported; expected one of TCP, UDP, SCTP (did you mean TCP?)");
    assert_snapshot!(service("web", "ports: [{port: 80}, {name: b, port: 81}]"), @"Object web.yaml:1:71: Service default/web: spec.ports[0].name: is missing; expected a name for each port of a Service with several (add a name)");
    assert_snapshot!(service("web", "ports: [{name: a, port: 80}, {name: a, port: 81}]"), @"Object web.yaml:1:99: Service default/web: spec.ports[1].name: `a` is the name of two ports; expected a name of its own for each port (rename one of them)");
    assert_snapshot!(service("web", "ports: [{name: a, port: 80}, {name: b, port: 80}]"), @"Object web.yaml:1:108: Service default/web: spec.ports[1].port: TCP port 80 is listed twice; expected each port once per protocol (remove one of them)");
    assert_snapshot!(service("web", "ports: [{name: A_B, port: 80}]"), @"Object web.yaml:1:78: Service default/web: spec.ports[0].name: `A_B` is not a valid name; expected at most 63 lower-case letters, digits and `-`, with a letter or digit at both ends (change the name)");
    assert_snapshot!(service("web", "ports: []"), @"Object web.yaml:1:63: Service default/web: spec.ports: is empty; expected at least one port, unless the Service is headless (add the port that clients connect to)");
    assert_eq!(service("web", "clusterIP: None"), "");
    assert_eq!(service("web", "ports: [{name: a, port: 53}, {name: b, port: 53, protocol: UDP}]"), "");
}

#[test]
fn service_fields() {
    let ports = "ports: [{port: 80}]";
    assert_snapshot!(service("0web", ports), @"Object web.yaml:1:50: Service default/0web: metadata.name: `0web` is not a valid name; expected at most 63 lower-case letters, digits and `-`, with a letter first and a letter or digit last (change the name)");
    assert_snapshot!(service("web", &format!("type: Nodeport, {ports}")), @"Object web.yaml:1:69: Service default/web: spec.type: `Nodeport` is not supported; expected one of ClusterIP, NodePort, LoadBalancer, ExternalName (did you mean NodePort?)");
    assert_snapshot!(service("web", &format!("type: NodePort, clusterIP: None, {ports}")), @"Object web.yaml:1:90: Service default/web: spec.clusterIP: a headless Service cannot be of the type NodePort; expected an address, or none given (remove clusterIP: None, or the type)");
    assert_snapshot!(service("web", &format!("clusterIP: 10.96.0.300, {ports}")), @"Object web.yaml:1:74: Service default/web: spec.clusterIP: `10.96.0.300` is no IP address; expected an IPv4 or IPv6 address (write an address such as 192.0.2.1 or 2001:db8::1)");
    assert_snapshot!(service("web", &format!("externalTrafficPolicy: Local, {ports}")), @"Object web.yaml:1:86: Service default/web: spec.externalTrafficPolicy: is set on a Service of the type ClusterIP; expected the type NodePort or LoadBalancer, or externalIPs (remove it, or change the type)");
    assert_snapshot!(service("web", &format!("sessionAffinity: ClientIp, {ports}")), @"Object web.yaml:1:80: Service default/web: spec.sessionAffinity: `ClientIp` is not supported; expected one of None, ClientIP (did you mean ClientIP?)");
    assert_snapshot!(
        service("web", &format!("sessionAffinityConfig: {{clientIP: {{timeoutSeconds: 0}}}}, {ports}")),
        @"Object web.yaml:1:114: Service default/web: spec.sessionAffinityConfig.clientIP.timeoutSeconds: 0 s is out of range; expected 1 to 86400 seconds (change the number)"
    );
    assert_snapshot!(service("web", &format!("externalIPs: [127.0.0.1, x], {ports}")), @r"
    Object web.yaml:1:77: Service default/web: spec.externalIPs[0]: `127.0.0.1` cannot be reached from another machine; expected a unicast address that is not the loopback (change the address)
    Object web.yaml:1:88: Service default/web: spec.externalIPs[1]: `x` is no IP address; expected an IPv4 or IPv6 address (write an address such as 192.0.2.1 or 2001:db8::1)
    ");
    assert_snapshot!(
        service("web", &format!("type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.1/33], {ports}")),
        @"Object web.yaml:1:110: Service default/web: spec.loadBalancerSourceRanges[0]: `10.0.0.1/33` is no network; expected a network in CIDR notation (write a network such as 192.0.2.0/24)"
    );
    assert_snapshot!(service("web", &format!("type: NodePort, healthCheckNodePort: 30100, {ports}")), @"Object web.yaml:1:100: Service default/web: spec.healthCheckNodePort: is given for a Service that has no health check of its own; expected the type LoadBalancer with externalTrafficPolicy Local (remove it)");
    assert_snapshot!(service("web", "type: ExternalName"), @"Object web.yaml:1:56: Service default/web: spec.externalName: is empty; expected at most 253 lower-case letters, digits, `-` and `.`, with a letter or digit at both ends of each part (change the name)");
    let twice = service_text("a", &format!("clusterIP: 10.96.0.20, {ports}"));
    let twice = format!("{twice}---\n{}", service_text("b", &format!("clusterIP: 10.96.0.20, {ports}")));
    assert_snapshot!(rejections(&twice), @"Object web.yaml:3:72: Service default/b: spec.clusterIP: 10.96.0.20 is already the address of Service default/a; expected an address of its own (remove clusterIP, so that the cluster chooses one)");
}

/// A StatefulSet of these fields and this pod.
fn set(fields: &str, labels: &str, pod: &str) -> String {
    rejections(&format!(
        "apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  {fields}
  template:
    metadata: {{labels: {{{labels}}}}}
    spec: {{{pod}}}
"
    ))
}

const CONTAINERS: &str = "containers: [{name: web, image: 'web:1'}]";

#[test]
fn stateful_sets() {
    assert_eq!(set("", "app: web", CONTAINERS), "");
    assert_snapshot!(set("", "app: wep", CONTAINERS), @"Object web.yaml:8:16: StatefulSet default/web: spec.template.metadata.labels: the selector does not select the template's labels; expected every label of spec.selector, with the same value (make the labels of the selector and the template equal)");
    assert_snapshot!(set("replicas: -1", "app: web", CONTAINERS), @"Object web.yaml:6:13: StatefulSet default/web: spec.replicas: -1 is too small; expected a number of at least 0 (change the number)");
    assert_snapshot!(set("podManagementPolicy: parallel", "app: web", CONTAINERS), @"Object web.yaml:6:24: StatefulSet default/web: spec.podManagementPolicy: `parallel` is not supported; expected one of OrderedReady, Parallel (did you mean Parallel?)");
    assert_snapshot!(set("updateStrategy: {type: OnDelete, rollingUpdate: {partition: 1}}", "app: web", CONTAINERS), @"Object web.yaml:6:36: StatefulSet default/web: spec.updateStrategy.rollingUpdate: is set; expected nothing with the type OnDelete (remove it)");
    assert_snapshot!(set("volumeClaimTemplates: [{metadata: {name: d}, spec: {}}]", "app: web", CONTAINERS), @r"
    Object web.yaml:6:48: StatefulSet default/web: spec.volumeClaimTemplates[0].spec.accessModes: is empty; expected at least one access mode (add ReadWriteOnce)
    Object web.yaml:6:48: StatefulSet default/web: spec.volumeClaimTemplates[0].spec.resources.requests.storage: is missing; expected a size such as 10Gi (add the size)
    ");
    assert_snapshot!(set("", "app: web", &format!("restartPolicy: Never, {CONTAINERS}")), @"Object web.yaml:9:27: StatefulSet default/web: spec.template.spec.restartPolicy: is not Always; expected Always: the controller keeps its pods running (remove it)");
}

#[test]
fn pods_of_a_stateful_set_are_refused_one_by_one() {
    let container =
        |fields: &str| set("", "app: web", &format!("containers: [{{name: web, image: i, {fields}}}]"));
    assert_snapshot!(container("volumeMounts: [{name: data, mountPath: /data}]"), @"Pods web.yaml:9:69: StatefulSet default/web: spec.template.spec.containers[0].volumeMounts[0].name: the pod has no volume `data`; expected the name of one of the pod's volumes (add the volume, or correct the name)");
    assert_snapshot!(container("ports: [{containerPort: 0}]"), @"Pods web.yaml:9:71: StatefulSet default/web: spec.template.spec.containers[0].ports[0].containerPort: 0 is no port number; expected a number from 1 to 65535 (change the port)");
    assert_snapshot!(container("ports: [{name: schema-registry-x, containerPort: 1}]"), @"Pods web.yaml:9:62: StatefulSet default/web: spec.template.spec.containers[0].ports[0].name: `schema-registry-x` is not a valid name; expected at most 15 lower-case letters, digits and single `-` inside, with at least one letter (change the name)");
    assert_snapshot!(container("env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.node}}}]"), @"Pods web.yaml:9:97: StatefulSet default/web: spec.template.spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: `spec.node` is not available to containers; expected one of metadata.name, metadata.namespace, metadata.uid, spec.nodeName, spec.serviceAccountName, status.hostIP, status.hostIPs, status.podIP, status.podIPs, or metadata.labels['KEY'] (correct the path)");
    assert_snapshot!(container("env: [{name: A, value: x, valueFrom: {}}]"), @r"
    Pods web.yaml:9:73: StatefulSet default/web: spec.template.spec.containers[0].env[0].valueFrom: is set beside value; expected either value or valueFrom (remove one of them)
    Pods web.yaml:9:73: StatefulSet default/web: spec.template.spec.containers[0].env[0].valueFrom: 0 sources are given; expected one of fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef, fileKeyRef (keep one)
    ");
    assert_snapshot!(container("livenessProbe: {}"), @"Pods web.yaml:9:47: StatefulSet default/web: spec.template.spec.containers[0].livenessProbe: 0 handlers are given; expected one of exec, httpGet, tcpSocket, grpc (keep one)");
    assert_snapshot!(set("", "app: web", "containers: []"), @"Pods web.yaml:9:12: StatefulSet default/web: spec.template.spec.containers: is empty; expected at least one container (add a container)");
    assert_snapshot!(set("", "app: web", "containers: [{name: a, image: i}, {name: a}]"), @r"
    Pods web.yaml:9:46: StatefulSet default/web: spec.template.spec.containers[1].image: is missing; expected the name of an image (add the image)
    Pods web.yaml:9:53: StatefulSet default/web: spec.template.spec.containers[1].name: `a` is the name of two containers; expected a name of its own (rename one of them)
    ");
    assert_snapshot!(set("", "app: web", &format!("volumes: [{{name: v}}], dnsPolicy: None, {CONTAINERS}")), @r"
    Pods web.yaml:9:5: StatefulSet default/web: spec.template.spec.dnsConfig.nameservers: is empty; expected at least one name server with dnsPolicy None (add one)
    Pods web.yaml:9:22: StatefulSet default/web: spec.template.spec.volumes[0]: 0 kinds of volume are given; expected one kind, such as emptyDir, configMap, secret or persistentVolumeClaim (keep one)
    ");
}

#[test]
fn other_objects() {
    assert_snapshot!(
        rejections("{apiVersion: v1, kind: ConfigMap, metadata: {name: a_b, labels: {x: a b}}, data: {a/b: x}}"),
        @r#"
        Object web.yaml:1:52: ConfigMap default/a_b: metadata.name: `a_b` is not a valid name; expected at most 253 lower-case letters, digits, `-` and `.`, with a letter or digit at both ends of each part (change the name)
        Object web.yaml:1:69: ConfigMap default/a_b: metadata.labels.x: `a b` is not a valid label value; expected at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends (change the value, or make it an annotation)
        Object web.yaml:1:88: ConfigMap default/a_b: data["a/b"]: `a/b` is not a valid name; expected at most 253 letters, digits, `-`, `_` and `.`, but not `.` or `..` (change the name)
        "#
    );
    assert_snapshot!(
        rejections("{apiVersion: v1, kind: Secret, metadata: {name: t}, type: kubernetes.io/tls, data: {tls.crt: eA==}}"),
        @r#"Object web.yaml:1:78: Secret default/t: data["tls.key"]: is missing; expected the key `tls.key` in a Secret of the type kubernetes.io/tls (add the key)"#
    );
    assert_snapshot!(
        rejections(
            "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: b}, \
             spec: {minAvailable: 1, maxUnavailable: 10 %}}"
        ),
        @r"
        Object web.yaml:1:113: PodDisruptionBudget default/b: spec.maxUnavailable: is set beside minAvailable; expected either minAvailable or maxUnavailable (remove one of them)
        Object web.yaml:1:113: PodDisruptionBudget default/b: spec.maxUnavailable: `10 %` is no share of the pods; expected a number such as 1, or text such as 25% (change it)
        "
    );
    assert_snapshot!(
        rejections(
            "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: np}, spec: {podSelector: {}, \
             ingress: [{from: [{}], ports: [{port: 80, endPort: 70}]}]}}"
        ),
        @r"
        Object web.yaml:1:154: NetworkPolicy default/np: spec.ingress[0].ports[0].endPort: 70 ends no range of ports; expected a number not below port, which must be a number too (correct port and endPort)
        Object web.yaml:1:121: NetworkPolicy default/np: spec.ingress[0].from[0]: names no peer, or two kinds of peer; expected either ipBlock, or podSelector and namespaceSelector (keep one)
        "
    );
    assert_snapshot!(
        rejections(
            "{apiVersion: v1, kind: PersistentVolume, metadata: {name: v}, spec: {capacity: {storage: 0}, \
             accessModes: [RWO], local: {path: /d}}}"
        ),
        @r"
        Object web.yaml:1:108: PersistentVolume v: spec.accessModes[0]: `RWO` is not supported; expected one of ReadWriteOnce, ReadOnlyMany, ReadWriteMany, ReadWriteOncePod (choose one of them; capitals matter)
        Object web.yaml:1:90: PersistentVolume v: spec.capacity.storage: 0 is too small; expected a size above 0 (change the size)
        Object web.yaml:1:63: PersistentVolume v: spec.nodeAffinity: is missing; expected the node that has the local volume (add nodeAffinity.required)
        "
    );
}
