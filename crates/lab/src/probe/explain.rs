//! Why a connection ended as it did, in findings of the catalogue, for someone who does not know the rule yet.
//!
//! What happened is read off the path and the rules that were asked; the Services and pods only give the names.
//! Source of the rules in words: kubernetes.md 6.2 and 6.3.

use std::collections::BTreeSet;

use hopwise_fabric::nat::rules::{Choice, SourceMatch, Verdict};
use hopwise_fabric::{Action, Hop};
use hopwise_kube::cluster::Cluster;
use hopwise_kube::store::pod_state;
use k8s_openapi::api::core::v1::{Pod, Service, ServiceSpec};

use super::{Decision, ProbeOptions, Transport, Tried};
use crate::check::facts::why_not_ready;
use crate::findings::facts::{Cluster as Facts, Service as ServiceFacts};
use crate::findings::{Code, Finding, arrange};
use crate::report::check::Outcome;

/// What there is to explain.
pub(super) struct Case<'a> {
    pub cluster: &'a Cluster,
    pub facts: &'a Facts,
    pub options: &'a ProbeOptions,
    pub tried: &'a Tried,
    pub candidates: &'a BTreeSet<String>,
}

/// What explains the connection; nothing where there is nothing to say.
pub(super) fn findings(case: &Case<'_>) -> Vec<Finding> {
    let findings = match case.tried.connection.outcome {
        Outcome::Ok => case.on_the_way(),
        Outcome::NameNotFound => vec![case.name_not_found()],
        _ => vec![case.stopped()],
    };
    arrange(findings)
}

impl<'a> Case<'a> {
    fn way(&self) -> &'a [Hop] {
        &self.tried.connection.route.forward
    }

    /// The decision that ended the way, if a rule did.
    fn ending(&self) -> Option<&'a Decision> {
        let end = self.way().last()?;
        let last = self.tried.decisions.last().filter(|decision| decision.device == end.device)?;
        matches!(last.branch.verdict, Verdict::Drop { .. } | Verdict::Reject { .. }).then_some(last)
    }

    fn facts_of(&self, decision: &Decision) -> Option<&'a ServiceFacts> {
        let (namespace, name) = decision.service()?;
        self.facts.services.iter().find(|service| service.namespace == namespace && service.name == name)
    }

    fn spec_of(&self, decision: &Decision) -> ServiceSpec {
        let Some((namespace, name)) = decision.service() else { return ServiceSpec::default() };
        let read = |store: &hopwise_kube::store::Store| store.get::<Service>(namespace, name)?.spec.clone();
        self.cluster.api().read(read).unwrap_or_default()
    }

    /// A finding about the Service of a decision.
    fn of_service(&self, code: Code, decision: &Decision, field: &str, explanation: String) -> Finding {
        let facts = self.facts_of(decision);
        let object = facts.map_or_else(|| decision.label.to_string(), ServiceFacts::object);
        Finding::new(code, object, explanation)
            .field(field)
            .at(facts.and_then(|facts| facts.position.as_ref()))
    }

    /// A finding about the address that was dialled.
    fn of_address(&self, code: Code, explanation: String) -> Finding {
        Finding::new(code, format!("Address {}", self.options.to), explanation)
    }

    fn name_not_found(&self) -> Finding {
        let host = &self.options.to.host;
        let said = &self.tried.connection.explanation;
        if self.options.from.is_external() && self.facts.is_cluster_name(host) {
            let why = format!(
                "{said}. The name belongs to the cluster's own DNS ({}), which only pods and nodes ask; the internet's \
                 resolvers do not know it",
                self.facts.domain
            );
            return self.of_address(Code::InternalAddressOutside, format!("{why}."));
        }
        let why = format!(
            "{said}. No packet was sent to the server. A Service's name exists in the namespace NAMESPACE as \
             SERVICE.NAMESPACE.svc.{}, a pod's only below the headless Service that its StatefulSet names, and only \
             while the pod is ready (or with publishNotReadyAddresses)",
            self.facts.domain
        );
        let fix =
            format!("See what the place's resolver asks: hopwise dns --from {} {host}", self.options.from);
        self.of_address(Code::NameNotResolvable, format!("{why}.")).fix(fix)
    }

    /// The way ends somewhere.
    fn stopped(&self) -> Finding {
        if let Some(decision) = self.ending() {
            return match &decision.branch.verdict {
                Verdict::Reject { .. } => self.rejected(decision),
                _ if decision.by_load_balancer => self.no_healthy_target(decision),
                _ if matches!(decision.branch.source, SourceMatch::NotIn(_)) => self.source_range(decision),
                _ => self.dropped(decision),
            };
        }
        let Some(end) = self.way().last() else {
            let said = &self.tried.connection.explanation;
            return self.of_address(Code::RouteFailed, format!("{said}. No packet was sent."));
        };
        match end.action {
            Action::Rejected if self.is_pod(&end.device) => self.nothing_listens(end),
            Action::Delivered => self.silence_behind(end),
            _ => self.lost(end),
        }
    }

    /// No endpoint anywhere: refused at once (kubernetes.md 6.2, rule 3).
    fn rejected(&self, decision: &Decision) -> Finding {
        let service = service_name(decision);
        let protocol = match self.options.transport {
            Transport::Tcp => "which a TCP client sees as \"connection refused\"",
            Transport::Udp => "which a connected UDP socket sees as \"connection refused\"",
        };
        let why = format!(
            "It is not the pod that refuses but {node}, the first node whose rules see the connection: it answers at once \
             with ICMP port unreachable, {protocol}. {node} does so because Service {service} has no usable endpoint on \
             any node; there is nobody to wait for. {selected} (If a ready pod existed, but none that the traffic policy \
             allows here, the node would drop the packet in silence instead, and the client would time out.)",
            node = decision.device,
            selected = self.selected(decision),
        );
        self.of_service(Code::ServiceWithoutEndpoints, decision, "spec.selector", why)
    }

    /// The pods of the Service, and why they take no connections.
    fn selected(&self, decision: &Decision) -> String {
        let Some(facts) = self.facts_of(decision) else {
            return "The Service is not one of the manifests.".to_owned();
        };
        if facts.selector.is_empty() {
            return "It has no selector, so its endpoints have to be written by hand.".to_owned();
        }
        if facts.selected.is_empty() {
            return format!("Its selector ({}) matches no pod.", facts.selector);
        }
        let states = facts.selected.iter().map(|pod| format!("{pod} ({})", self.state_of(pod)));
        format!("Its selector ({}) matches {}.", facts.selector, join(states))
    }

    fn state_of(&self, pod: &str) -> String {
        let (namespace, name) = pod.split_once('/').unwrap_or(("", pod));
        let state = self.cluster.api().read(|store| {
            let pod = store.get::<Pod>(namespace, name)?;
            let not_ready = why_not_ready(pod).map(|why| format!("not ready: {why}"));
            let terminating = pod_state::is_terminating(pod).then(|| "terminating".to_owned());
            Some(terminating.or(not_ready).unwrap_or_else(|| "ready".to_owned()))
        });
        state.unwrap_or_else(|| "gone".to_owned())
    }

    /// Endpoints exist, but not for this policy on this node: silence (kubernetes.md 6.2, rule 6).
    fn dropped(&self, decision: &Decision) -> Finding {
        let spec = self.spec_of(decision);
        let to_cluster_ip = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
        let internal = to_cluster_ip.into_iter().any(|ip| *ip == decision.destination.ip().to_string());
        let (policy, whom) = match internal {
            true => ("internalTrafficPolicy", "connections to the cluster IP"),
            false => ("externalTrafficPolicy", "connections from outside"),
        };
        let service = service_name(decision);
        let node = &decision.device;
        let endpoints = self.facts_of(decision).map(|facts| facts.endpoints.clone()).unwrap_or_default();
        let placed: Vec<(String, Option<String>)> =
            endpoints.into_iter().map(|pod| (pod.clone(), self.node_of(&pod))).collect();
        let shown = placed.iter().map(|(pod, node)| match node {
            Some(node) => format!("{pod} on {node}"),
            None => pod.clone(),
        });
        let check = spec.health_check_node_port.map(|port| {
            format!(" A load balancer learns which nodes have a pod by asking http://NODE:{port}/ (the health check node port).")
        });
        let why = format!(
            "{node} drops the packet without an answer{again}. Service {service} has {policy} Local: a node hands \
             {whom} only to pods of its own, and never passes them on to another node. The Service's endpoints are \
             {pods}; none of them is on {node}. It is a drop and not a refusal because somebody could answer, only not \
             here; with no endpoint anywhere the node would refuse at once.{check}",
            again = self.until_when(),
            pods = join(shown),
            check = check.unwrap_or_default(),
        );
        let nodes: BTreeSet<String> = placed.into_iter().filter_map(|(_, node)| node).collect();
        let others = join(nodes.iter().map(|node| self.with_address(node)));
        let fix = match internal {
            true => format!("Run a pod of the Service on {node}, or set {policy} to Cluster."),
            false => format!(
                "Dial a node that runs a pod of the Service ({others}), put a load balancer with health checks before the \
                 nodes, or set {policy} to Cluster: every node answers then, at the price of a hop, and the server sees \
                 the node's address instead of the client's."
            ),
        };
        let field = format!("spec.{policy}");
        self.of_service(Code::NodeWithoutEndpoint, decision, &field, why).fix(fix)
    }

    fn source_range(&self, decision: &Decision) -> Finding {
        let ranges = self.spec_of(decision).load_balancer_source_ranges.unwrap_or_default();
        let why = format!(
            "{node} drops the packet without an answer{again}. It comes from {source}, and Service {service} lets only \
             {ranges} reach its load balancer's address. The rule is in every node, so pods and nodes are held to it as \
             well; the Service's node ports and cluster IP are not covered by it.",
            node = decision.device,
            again = self.until_when(),
            source = decision.source.ip(),
            service = service_name(decision),
            ranges = join(ranges.into_iter()),
        );
        self.of_service(Code::SourceRangeExcludes, decision, "spec.loadBalancerSourceRanges", why)
    }

    fn no_healthy_target(&self, decision: &Decision) -> Finding {
        let why = format!(
            "The {device} drops the packet without an answer{again}: none of its targets passes the health check. With \
             externalTrafficPolicy Local only nodes with a ready pod pass it.",
            device = decision.device,
            again = self.until_when(),
        );
        self.of_address(Code::PortFilteredOnTheWay, why)
            .fix("See which pods of the Service are ready, and whether the targets' health checks reach the nodes.")
    }

    /// The pod's kernel refuses: nobody listens.
    fn nothing_listens(&self, end: &Hop) -> Finding {
        let answer = match self.options.transport {
            Transport::Tcp => "RST",
            Transport::Udp => "ICMP port unreachable",
        };
        let from = self.tried.decisions.iter().rev().find(|decision| !decision.targets().is_empty());
        let chosen = from.map(|decision| {
            format!(
                " {} chose the pod by the rule of {}, whose port {} leads to the pods' port {}.",
                decision.device,
                decision.label,
                decision.destination.port(),
                end.destination.port()
            )
        });
        let why = format!(
            "The way is open: the packet reaches pod {pod}, and the pod's own kernel answers with {answer}, because no \
             process listens on {port}.{chosen} Nodes do not look whether anybody listens; a pod is an endpoint as soon \
             as it is ready.",
            pod = end.device,
            port = end.destination,
            chosen = chosen.unwrap_or_default(),
        );
        match from {
            Some(decision) => self.of_service(Code::NothingListens, decision, "spec.ports.targetPort", why),
            None => Finding::new(Code::NothingListens, format!("Pod {}", end.device), why),
        }
    }

    /// The connection was accepted, and then nothing came of it.
    fn silence_behind(&self, end: &Hop) -> Finding {
        let said = &self.tried.connection.explanation;
        let why = format!(
            "{} takes the connection, and then: {said}. A load balancer that ends connections (kind proxy) accepts \
             before it has reached a target, so what goes wrong behind it shows only afterwards.",
            end.device
        );
        self.of_address(Code::RouteFailed, why).fix("Follow the listed hops behind the load balancer.")
    }

    /// The packet is dropped or refused by something that is no Service's rule.
    fn lost(&self, end: &Hop) -> Finding {
        let detail = end.detail.as_deref().unwrap_or("no reason is given");
        let silent = end.action != Action::Rejected;
        let how = if silent {
            format!("drops it without an answer{}", self.until_when())
        } else {
            "refuses it".to_owned()
        };
        let stop =
            format!("The packet to {} comes to {}, which {how}: {detail}.", end.destination, end.device);
        if let Some((service, spec)) = self.service_at(end) {
            return self.cluster_ip(end, &service, &spec, stop);
        }
        let pods = self.cluster.api().read(|store| super::deciders::pod_at(store, end.destination));
        let is_node = self.cluster.nodes().contains_key(&*end.device);
        match pods {
            Some(_) if is_node && silent => {
                let why = format!(
                    "{stop} It is the node's filter that drops it, after the Service's rule has chosen the pod: the filter \
                     sees the pod's address as the destination, and the client's as the source."
                );
                self.of_address(Code::PolicyDenies, why)
            }
            Some(pod) if self.options.from.is_external() => {
                let why = format!("{stop} {} is the address of pod {pod}.", end.destination.ip());
                self.of_address(Code::ClusterAddressOutside, why)
            }
            _ if is_node && self.is_node_address(end) => {
                let why = format!(
                    "{stop} No Service opens the port as a node port there, and no process of the node listens."
                );
                self.of_address(Code::PortNotOpened, why)
                    .fix("Dial a node port of the Service, or open this one.")
            }
            _ => self.of_address(Code::AddressLeadsNowhere, stop),
        }
    }

    /// A cluster IP where no rule is for the packet: from outside, or at a port that the Service does not have.
    fn cluster_ip(&self, end: &Hop, service: &str, spec: &ServiceSpec, stop: String) -> Finding {
        if self.options.from.is_external() {
            let why = format!(
                "{stop} {} is the cluster IP of Service {service}. No machine has that address: it stands in the rules of \
                 the nodes, which turn it into a pod's address for connections that pods and nodes open.",
                end.destination.ip()
            );
            return self.of_address(Code::ClusterAddressOutside, why);
        }
        let ports: BTreeSet<i32> = spec.ports.iter().flatten().map(|port| port.port).collect();
        let ports = join(ports.iter().map(ToString::to_string));
        let why = format!(
            "{stop} {} is the cluster IP of Service {service}, which has no port {} (its ports: {ports}). No machine has \
             the address itself; without a rule for the port the packet leaves by the default route and is lost. (In \
             nftables mode kube-proxy refuses such packets.)",
            end.destination.ip(),
            end.destination.port(),
        );
        self.of_address(Code::PortNotOpened, why).fix(format!("Dial one of the Service's ports: {ports}."))
    }

    /// The Service whose cluster IP a packet was for.
    fn service_at(&self, end: &Hop) -> Option<(String, ServiceSpec)> {
        let address = end.destination.ip().to_string();
        self.cluster.api().read(|store| {
            let service = store.list::<Service>().find(|service| {
                let spec = service.spec.as_ref();
                spec.is_some_and(|spec| {
                    spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip).any(|ip| *ip == address)
                })
            })?;
            let [namespace, name] = [&service.metadata.namespace, &service.metadata.name]
                .map(|part| part.as_deref().unwrap_or(""));
            Some((format!("{namespace}/{name}"), service.spec.clone()?))
        })
    }

    /// What is worth knowing about a way that works.
    fn on_the_way(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for pair in self.way().windows(2) {
            let (before, hop) = (&pair[0], &pair[1]);
            if hop.source.ip() != before.source.ip() {
                findings.push(self.source_hidden(before, hop));
            }
        }
        findings.extend(self.tried.decisions.iter().filter_map(|decision| self.extra_hop(decision)));
        let pins = |decision: &&Decision| match &decision.branch.verdict {
            Verdict::Translate(translation) => matches!(translation.choice, Choice::SourceAffinity(_)),
            _ => false,
        };
        if let Some(decision) = self.tried.decisions.iter().find(pins).filter(|_| self.candidates.len() > 1) {
            let why = format!(
                "{} gives every connection from {} to the same of {} pods until none has come for the time-out: \
                 sessionAffinity ClientIP, kept per node and per source address as the node sees it.",
                decision.device,
                decision.source.ip(),
                decision.targets().len()
            );
            findings.push(self.of_service(Code::AffinityPins, decision, "spec.sessionAffinity", why));
        }
        findings
    }

    /// Why the source changes at a hop.
    fn source_hidden(&self, before: &Hop, hop: &Hop) -> Finding {
        let seen = format!("the server sees {} instead of {}", hop.source.ip(), before.source.ip());
        let device = &hop.device;
        if before.action == Action::Proxied || super::deciders::is_load_balancer(device) {
            let why = format!(
                "The {device} opens or forwards the connection under its own address, so that answers come back through \
                 it: {seen}."
            );
            return self.of_address(Code::SourceHidden, why);
        }
        let decision = self
            .tried
            .decisions
            .iter()
            .find(|decision| decision.device == *device && !decision.by_load_balancer);
        let Some(decision) = decision.filter(|decision| !decision.targets().is_empty()) else {
            return self.source_of_node(before, hop, &seen);
        };
        let service = service_name(decision);
        if hop.destination.ip() == before.source.ip() {
            let why = format!(
                "Hairpin: the rule of Service {service} on {device} has chosen the very pod that dialled. A pod that got a \
                 packet from its own address would answer itself, past the node; so {device} puts its own address in, and \
                 {seen}."
            );
            return self.of_service(Code::SourceHidden, decision, "spec.selector", why).fix(
                "Nothing; a program that must not be surprised dials localhost, or its own name below the headless Service.",
            );
        }
        let spec = self.spec_of(decision);
        let is_cluster_ip =
            spec.cluster_ips.iter().flatten().any(|ip| *ip == decision.destination.ip().to_string());
        let (why, field) = match (is_cluster_ip, spec.external_traffic_policy.as_deref()) {
            (true, _) => (
                format!(
                    "The client is no pod of the cluster's pod network, so {device} masquerades its connection to the \
                     cluster IP of Service {service}: the answer has to come back through {device} to be translated \
                     back, and {seen}."
                ),
                "spec.clusterIP",
            ),
            (false, Some("Local")) => (
                format!(
                    "The connection starts on {device} itself. For its own processes the node chooses among all endpoints \
                     of Service {service}, externalTrafficPolicy Local or not, and masquerades: {seen}."
                ),
                "spec.externalTrafficPolicy",
            ),
            (false, _) => (
                format!(
                    "Service {service} has externalTrafficPolicy Cluster: {device} takes the connection for any pod on any \
                     node. The pod's answer must come back through {device}, which alone knows how to translate it back; \
                     so {device} puts its own address in the place of the client's (masquerade), and {seen}."
                ),
                "spec.externalTrafficPolicy",
            ),
        };
        let finding = self.of_service(Code::SourceHidden, decision, field, why);
        if is_cluster_ip {
            finding.fix("Nothing, unless the server goes by its clients' addresses.")
        } else {
            finding
        }
    }

    /// The source changes without a Service's rule.
    fn source_of_node(&self, before: &Hop, hop: &Hop, seen: &str) -> Finding {
        let device = &hop.device;
        let why = if before.device == *device {
            format!(
                "A process of {device} takes the address of the interface that leads to the pod (the bridge's), which is \
                 not the node's main address: {seen}."
            )
        } else {
            format!(
                "The destination is not in the pod network, so the network plugin of {device} masquerades what its pods \
                 send there: {seen}, and cannot tell the node's pods apart."
            )
        };
        Finding::new(Code::SourceHidden, format!("Node {device}"), why)
            .fix("Nothing, unless the server goes by its clients' addresses: dial pods or cluster IPs from inside.")
    }

    /// A node that takes the connection for a pod of another node.
    fn extra_hop(&self, decision: &Decision) -> Option<Finding> {
        if decision.by_load_balancer || !self.enters_by_node(decision) {
            return None;
        }
        let pod = self.tried.connection.served_by.as_deref()?;
        let node = self.node_of(pod).filter(|node| **node != *decision.device)?;
        let why = format!(
            "{first} takes the connection, and the pod it has chosen, {pod}, is on {node}: the packets go on to {node} \
             and come back the same way, one hop more each way than by {node} itself.",
            first = decision.device
        );
        Some(self.of_service(Code::ExtraHop, decision, "spec.externalTrafficPolicy", why))
    }

    /// Whether the connection came to the deciding node from elsewhere: pods and processes of the node itself pass it
    /// anyway.
    fn enters_by_node(&self, decision: &Decision) -> bool {
        let Some(at) = self.way().iter().position(|hop| hop.device == decision.device) else { return false };
        let before = self.way()[..at].last();
        before.is_some_and(|before| !self.is_pod(&before.device)) && at > 0
    }

    fn is_pod(&self, device: &str) -> bool {
        let Some((namespace, name)) = device.split_once('/') else { return false };
        !namespace.contains(' ')
            && self.cluster.api().read(|store| store.get::<Pod>(namespace, name).is_some())
    }

    fn is_node_address(&self, hop: &Hop) -> bool {
        self.cluster.nodes().values().any(|(_, address)| *address == hop.destination.ip())
    }

    fn node_of(&self, pod: &str) -> Option<String> {
        let (namespace, name) = pod.split_once('/')?;
        let read = |store: &hopwise_kube::store::Store| {
            store.get::<Pod>(namespace, name).and_then(|pod| pod_state::node_name(pod).map(ToOwned::to_owned))
        };
        self.cluster.api().read(read)
    }

    fn with_address(&self, node: &str) -> String {
        match self.cluster.nodes().get(node) {
            Some((_, address)) => format!("{node}, {address}"),
            None => node.to_owned(),
        }
    }

    /// What a client does that hears nothing.
    fn until_when(&self) -> &'static str {
        match self.options.transport {
            // Linux since 6.5 repeats a SYN each second four times, then at doubling distances (linux.md 4).
            Transport::Tcp => {
                ", so the client hears nothing, sends again each second at first and then ever more rarely, and gives up when its own time is over"
            }
            Transport::Udp => ", so the client hears nothing and waits until its own time is over",
        }
    }
}

fn service_name(decision: &Decision) -> String {
    match decision.service() {
        Some((namespace, name)) => format!("{namespace}/{name}"),
        None => decision.label.to_string(),
    }
}

/// `a`, `a and b`, `a, b and c`; `none` for none.
fn join(words: impl Iterator<Item = String>) -> String {
    let mut words: Vec<String> = words.collect();
    match (words.pop(), words.is_empty()) {
        (None, _) => "none".to_owned(),
        (Some(last), true) => last,
        (Some(last), false) => format!("{} and {last}", words.join(", ")),
    }
}
