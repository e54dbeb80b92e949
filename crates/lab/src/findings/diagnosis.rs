//! Why a route failed: the finding that explains what a client met.
//!
//! Where the linter already has the finding, the route is added to it; otherwise a new one is made. The choice goes by
//! how the attempt ended, what the address is, and where the last packet of the way stopped.

use hopwise_security::tls::TlsFailure;

use super::facts::{Broker, Cluster, Listener, Service, ServiceKind, address_with_domain, is_address};
use super::lint::{api_title, field, owner, title};
use super::{Code, Finding, Severity, arrange};
use crate::report::check::{Hop, Outcome, Route};

/// What is known of a route's attempt beside its outcome.
#[derive(Clone, Debug, Default)]
pub struct Reason {
    /// Why TLS failed, if it did.
    pub tls: Option<TlsFailure>,
    /// Whether the client had a user and a password.
    pub has_login: bool,
    /// The status of an HTTP answer.
    pub status: Option<u16>,
}

/// The linter's findings together with one for each failed route, each with the indexes of the routes it explains.
/// `reasons` belong to the routes by their indexes; a route without one is explained by its outcome.
pub fn explain(
    cluster: &Cluster,
    routes: &[Route],
    reasons: &[Reason],
    mut findings: Vec<Finding>,
) -> Vec<Finding> {
    for (index, route) in routes.iter().enumerate().filter(|(_, route)| needs_a_finding(cluster, route)) {
        let reason = reasons.get(index).cloned().unwrap_or_default();
        let mut finding = diagnose(cluster, route, &reason);
        let known = findings.iter_mut().find(|known| {
            known.code == finding.code && known.object == finding.object && known.field == finding.field
        });
        match known {
            Some(known) => {
                known.severity = known.severity.min(finding.severity);
                known.routes.push(index);
            }
            None => {
                finding.routes.push(index);
                findings.push(finding);
            }
        }
    }
    arrange(findings)
}

/// Every failure does; a listener that is not exposed does only if it advertises an address for outside to a client
/// outside.
fn needs_a_finding(cluster: &Cluster, route: &Route) -> bool {
    match route.outcome {
        Outcome::Ok => false,
        Outcome::NotExposed => {
            let broker = cluster.brokers.iter().find(|broker| broker.id == route.broker);
            let listener = broker.and_then(|broker| broker.listener(route.api, &route.listener));
            route.from.is_external() && listener.is_some_and(|listener| cluster.is_for_outside(listener))
        }
        _ => true,
    }
}

/// The finding that explains one route that did not end well.
pub fn diagnose(cluster: &Cluster, route: &Route, reason: &Reason) -> Finding {
    let case =
        Case { cluster, route, broker: cluster.brokers.iter().find(|broker| broker.id == route.broker) };
    match route.outcome {
        Outcome::NameNotFound => case.name_not_found(),
        Outcome::Timeout | Outcome::Unreachable | Outcome::Refused => case.stopped(),
        Outcome::WrongBroker => case.wrong_broker(),
        Outcome::NotExposed => case.not_exposed(),
        Outcome::TlsFailed => case.tls_failed(reason.tls.as_ref()),
        Outcome::AuthenticationFailed if case.asks_for_a_user() && !reason.has_login => case.handshake(
            Code::CredentialsMissing,
            "has no credentials: the manifests create no user. The broker closes the connection",
        ),
        Outcome::AuthenticationFailed => {
            case.handshake(Code::AuthenticationFailed, "the broker does not accept its credentials")
        }
        Outcome::ProtocolMismatch => match reason.status {
            Some(status) if status >= 500 => case.behind_the_service(status),
            _ => case.other_protocol(reason.tls.as_ref()),
        },
        Outcome::Ok => {
            case.listener(Code::RouteFailed, "The route works.".to_owned()).severity(Severity::Note)
        }
    }
}

struct Case<'a> {
    cluster: &'a Cluster,
    route: &'a Route,
    broker: Option<&'a Broker>,
}

impl<'a> Case<'a> {
    /// A finding about the listener that the client was told of.
    fn listener(&self, code: Code, explanation: String) -> Finding {
        let object = match self.broker {
            Some(broker) => owner(self.cluster, broker),
            // What was dialled is no broker's.
            None if self.route.listener.is_empty() => {
                return Finding::new(code, format!("Address {}", self.route.address), explanation);
            }
            None => format!("Broker {}", self.route.broker),
        };
        Finding::new(code, object, explanation)
            .field(field(self.route.api, &self.route.listener))
            .at(self.broker.and_then(|broker| broker.position.as_ref()))
    }

    /// A finding about a Service.
    fn service(&self, code: Code, service: &Service, field: &str, explanation: String) -> Finding {
        Finding::new(code, service.object(), explanation).field(field).at(service.position.as_ref())
    }

    fn pod(&self) -> &str {
        self.broker.map_or("the broker", |broker| &broker.pod)
    }

    /// `the client at external, told 10.0.0.10:31092 for redpanda-0,`
    fn client(&self) -> String {
        let Self { route, .. } = self;
        match self.broker {
            None if route.listener.is_empty() => {
                format!("a client at {}, dialling {},", route.from, route.address)
            }
            _ => format!("a client at {}, told {} for {},", route.from, route.address, self.pod()),
        }
    }

    fn name_not_found(&self) -> Finding {
        let (host, _) = host_and_port(&self.route.address);
        let outside = self.route.from.is_external();
        if let Some(finding) = self.not_running().filter(|_| !outside && self.cluster.is_cluster_name(host)) {
            return finding;
        }
        let code = if host.is_empty() {
            Code::EmptyAdvertisedAddress
        } else if address_with_domain(host).is_some() {
            Code::DomainAppendedToAddress
        } else if self.broker.is_some_and(|broker| broker.pod == host) {
            Code::BarePodNameAdvertised
        } else if self.cluster.is_of_other_domain(host) {
            Code::OtherClusterDomain
        } else if outside && self.cluster.is_cluster_name(host) {
            Code::InternalAddressOutside
        } else {
            Code::NameNotResolvable
        };
        let why = match code {
            Code::EmptyAdvertisedAddress => "is given no host at all".to_owned(),
            Code::OtherClusterDomain => {
                format!(
                    "asks its resolver for \"{host}\", and the domain of this cluster is {}",
                    self.cluster.domain
                )
            }
            Code::InternalAddressOutside => format!(
                "asks its resolver for \"{host}\". The name belongs to the cluster's own DNS ({}), which only pods and \
                 nodes ask",
                self.cluster.domain
            ),
            _ if outside => format!(
                "asks its resolver for \"{host}\" and is answered that there is no such name. The cluster file lists \
                 no external name of that kind"
            ),
            _ => format!("asks the cluster's DNS for \"{host}\" and is answered that there is no such name"),
        };
        let listener = title(self.route.api, &self.route.listener);
        self.listener(code, format!("{listener}: {} {why}.", self.client()))
    }

    /// The broker does not run, so nothing that leads to it can work.
    fn not_running(&self) -> Option<Finding> {
        let broker = self.broker.filter(|broker| !broker.running)?;
        let reason = broker.reason.as_deref().unwrap_or("it has not started");
        let explanation = format!("{} fails: {} does not run ({reason}).", self.client(), broker.pod);
        Some(Finding::new(Code::BrokerNotRunning, broker.object(), explanation).at(broker.position.as_ref()))
    }

    /// Timeout, refusal, unreachable: the address leads somewhere, and the way ends there.
    fn stopped(&self) -> Finding {
        let early = self.loopback().or_else(|| self.pending()).or_else(|| self.kept_target());
        if let Some(finding) = early.or_else(|| self.local_drop()) {
            return finding;
        }
        if let Some(finding) = self.not_running() {
            return finding;
        }
        if let Some(finding) = self.empty_service().or_else(|| self.closed_port()).or_else(|| self.nowhere())
        {
            return finding;
        }
        match self.last_stop() {
            // Where a packet with the node's own address as its source is not caught as a hairpin, the kernel calls it a
            // martian (linux.md).
            Some(hop)
                if hop
                    .detail
                    .as_deref()
                    .is_some_and(|it| it.contains("hairpin") || it.contains("martian")) =>
            {
                let explanation = format!("{} {}.", self.client(), stop(hop));
                self.listener(Code::Hairpin, explanation)
            }
            Some(hop) if self.route.outcome == Outcome::Refused && hop.action == "delivered" => {
                let explanation = format!(
                    "{} reaches {} and is refused: nothing listens on {} there yet, or no longer.",
                    self.client(),
                    hop.device,
                    hop.dst
                );
                match self.broker {
                    Some(broker) => Finding::new(Code::BrokerNotRunning, broker.object(), explanation),
                    None => self.listener(Code::BrokerNotRunning, explanation),
                }
            }
            Some(hop) if matches!(hop.action.as_str(), "dropped" | "lost" | "rejected") => {
                self.listener(Code::PortFilteredOnTheWay, format!("{} fails: {}.", self.client(), stop(hop)))
            }
            Some(hop) => self.listener(
                Code::RouteFailed,
                format!("{} ends with {}: {}.", self.client(), self.route.outcome.as_str(), stop(hop)),
            ),
            None => self.listener(
                Code::RouteFailed,
                format!(
                    "{} ends with {} before a packet is sent.",
                    self.client(),
                    self.route.outcome.as_str()
                ),
            ),
        }
    }

    /// Row 45: the address is whoever dials it.
    fn loopback(&self) -> Option<Finding> {
        let (host, _) = host_and_port(&self.route.address);
        let is_loopback =
            host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        is_loopback.then(|| {
            let explanation = format!(
                "{} dials the machine that it stands on itself, and nobody answers there{}. kube-proxy opens node ports on \
                 127.0.0.1 in iptables mode alone, for IPv4, and each node answers for its own brokers.",
                self.client(),
                self.last_stop().map(|hop| format!(": {}", stop(hop))).unwrap_or_default()
            );
            self.listener(Code::LoopbackAdvertised, explanation)
        })
    }

    /// Rows 11 and 12: the load balancer still sends to a node that the Service has no pod on.
    fn kept_target(&self) -> Option<Finding> {
        let hop = self.last_stop().filter(|hop| hop.action == "dropped")?;
        // The node's rules have no pod of the Service, or still have one that is gone.
        let is_without =
            |detail: &&str| detail.contains("Local and no endpoint") || detail.contains("pod is gone");
        hop.detail.as_deref().filter(is_without)?;
        let balancer = self.route.hops.iter().find_map(|hop| hop.device.strip_prefix("load balancer "))?;
        let (namespace, name) = balancer.split_once('/')?;
        let service = self.cluster.services.iter().find(|it| it.namespace == namespace && it.name == name)?;
        let explanation = format!(
            "{} times out: the load balancer of {} gives the connection to {}, which has no pod of the Service any more, \
             or not yet, and drops it. The load balancer learns that from its health checks alone.",
            self.client(),
            service.object(),
            hop.device,
        );
        Some(self.service(Code::BalancerKeepsTarget, service, "spec.externalTrafficPolicy", explanation))
    }

    /// The load balancer of the broker's Service is pending.
    fn pending(&self) -> Option<Finding> {
        let (host, port) = host_and_port(&self.route.address);
        if self.cluster.node(host).is_some() || self.cluster.managed_load_balancers {
            return None;
        }
        let service = self.services().find(|service| {
            service.kind == ServiceKind::LoadBalancer
                && service.ingress.is_empty()
                && service.ports.iter().any(|own| Some(own.port) == port)
        })?;
        let explanation = format!(
            "{} finds nobody: {} waits for a load balancer, and the profile {} has none.",
            self.client(),
            service.object(),
            self.cluster.profile
        );
        Some(self.service(Code::LoadBalancerPending, service, "status.loadBalancer.ingress", explanation))
    }

    /// kubernetes.md 6.2 rule 6: endpoints exist, none on this node, the policy is Local.
    fn local_drop(&self) -> Option<Finding> {
        let hop = self.last_stop().filter(|hop| hop.action == "dropped")?;
        let node = self.cluster.node(&hop.device)?;
        let (_, port) = host_and_port(&hop.dst);
        let service =
            self.cluster.services.iter().find(|service| {
                service.local_policy && !service.endpoints.is_empty() && opens(service, port)
            })?;
        let on_node = |pod: &String| {
            self.cluster
                .brokers
                .iter()
                .any(|broker| broker.pod_key() == *pod && broker.node.as_deref() == Some(node.name.as_str()))
        };
        if service.endpoints.iter().any(on_node) {
            return None;
        }
        let instead = match self.broker.and_then(|broker| broker.node.as_deref()) {
            Some(own) => format!("{} runs on {own}", self.pod()),
            None => format!("{} runs nowhere", self.pod()),
        };
        let explanation = format!(
            "{} times out: {} drops the connection to {}. {} has externalTrafficPolicy Local and no endpoint on {}; \
             {instead}.",
            self.client(),
            hop.device,
            hop.dst,
            service.object(),
            node.name,
        );
        Some(self.service(Code::NodeWithoutEndpoint, service, "spec.externalTrafficPolicy", explanation))
    }

    /// kubernetes.md 6.2 rule 3: no endpoint anywhere.
    fn empty_service(&self) -> Option<Finding> {
        let (_, port) = host_and_port(&self.route.address);
        let service = self.cluster.services.iter().find(|service| {
            service.endpoints.is_empty() && !service.selector.is_empty() && opens(service, port)
        })?;
        let explanation = format!(
            "{} is refused: {} has no endpoints{}.",
            self.client(),
            service.object(),
            self.last_stop().map(|hop| format!("; {}", stop(hop))).unwrap_or_default()
        );
        Some(self.service(Code::ServiceWithoutEndpoints, service, "spec.selector", explanation))
    }

    /// The address is a node's or a load balancer's, and no Service opens the port there (L1, L3, L4, row 33).
    fn closed_port(&self) -> Option<Finding> {
        let (host, port) = host_and_port(&self.route.address);
        let addresses = self.cluster.external_addresses(host);
        let node =
            addresses.iter().find_map(|own| self.cluster.node(own)).or_else(|| self.cluster.node(host));
        let balancer = self.cluster.services.iter().find(|service| {
            self.cluster.is_reached_at(service, host)
                || addresses.iter().any(|own| self.cluster.is_reached_at(service, own))
        });
        let (place, code, open) = match (node, balancer) {
            (Some(node), _) => {
                let open = self.cluster.services.iter().any(|service| {
                    service.ports.iter().any(|own| own.node_port.is_some() && own.node_port == port)
                });
                (format!("node {}", node.name), Code::PortNotOpened, open)
            }
            (None, Some(service)) => {
                let open = service.ports.iter().any(|own| Some(own.port) == port);
                (service.object(), Code::LoadBalancerPortMismatch, open)
            }
            (None, None) => return None,
        };
        if open {
            return None;
        }
        let port = port.map_or("the port".to_owned(), |port| format!("port {port}"));
        let explanation = format!(
            "{} is not answered: no Service opens {port} at {place}{}.",
            self.client(),
            self.last_stop().map(|hop| format!("; {}", stop(hop))).unwrap_or_default()
        );
        Some(self.listener(code, explanation))
    }

    /// The address belongs to nothing in the cluster.
    fn nowhere(&self) -> Option<Finding> {
        let (host, _) = host_and_port(&self.route.address);
        if !self.route.from.is_external() || self.cluster.is_cluster_name(host) {
            return None;
        }
        let addresses = self.cluster.external_addresses(host);
        let known =
            addresses.iter().any(|own| {
                self.cluster.node(own).is_some()
                    || self.cluster.services.iter().any(|service| self.cluster.is_reached_at(service, own))
            }) || self.cluster.services.iter().any(|service| self.cluster.is_reached_at(service, host));
        if known {
            return None;
        }
        let resolved = match addresses.as_slice() {
            [only] if only == host => String::new(),
            _ => format!(" ({})", addresses.join(", ")),
        };
        let explanation = format!(
            "{} sends packets to {host}{resolved}, which is the address of no node and no load balancer{}.",
            self.client(),
            self.last_stop().map(|hop| format!("; {}", stop(hop))).unwrap_or_default()
        );
        Some(self.listener(Code::AddressLeadsNowhere, explanation))
    }

    fn wrong_broker(&self) -> Finding {
        let reached = self.route.reached.as_deref().unwrap_or("another pod");
        let (host, _) = host_and_port(&self.route.address);
        let same_address = self.cluster.brokers.iter().filter(|broker| {
            broker
                .listener(self.route.api, &self.route.listener)
                .and_then(|listener| listener.advertised.as_ref())
                .is_some_and(|address| address.to_string() == self.route.address)
        });
        let shared = same_address.count() > 1;
        let node_of = |pod: &str| {
            let broker = self.cluster.brokers.iter().find(|broker| broker.pod_key() == pod)?;
            broker.node.clone()
        };
        let own_node = self.broker.and_then(|broker| broker.node.clone());
        let (code, why) = if shared {
            (Code::SharedAdvertisedAddress, "several brokers advertise this one address".to_owned())
        } else if !self.route.from.is_external() && self.cluster.node(host).is_some() {
            (
                Code::InClusterByNodePort,
                "the policy Local does not bind traffic from pods: kube-proxy chose among all brokers of the Service"
                    .to_owned(),
            )
        } else if own_node.is_some() && own_node == node_of(reached) {
            let node = own_node.unwrap_or_default();
            (Code::BrokersShareNode, format!("both run on {node}, behind one node port"))
        } else if let Some(node) = node_of(reached) {
            let own = own_node.unwrap_or_else(|| "no node".to_owned());
            (
                Code::AddressOfAnotherBroker,
                format!("the address leads to {node}; {} runs on {own}", self.pod()),
            )
        } else {
            (Code::WrongBroker, "see the listed hops".to_owned())
        };
        let explanation = format!("{} reaches {reached}: {why}.", self.client());
        let severity = if code == Code::InClusterByNodePort { Severity::Warning } else { Severity::Error };
        let object = if code == Code::BrokersShareNode {
            let mut finding = self.listener(code, explanation);
            finding.field = Some("spec.template.spec.affinity.podAntiAffinity".to_owned());
            finding
        } else {
            self.listener(code, explanation)
        };
        object.severity(severity)
    }

    fn not_exposed(&self) -> Finding {
        let explanation = format!(
            "{} of {}: no Service carries it to where a client at {} could reach it.",
            title(self.route.api, &self.route.listener),
            self.pod(),
            self.route.from
        );
        self.listener(Code::ListenerNotExposed, explanation)
    }

    fn own_listener(&self) -> Option<&'a Listener> {
        self.broker.and_then(|broker| broker.listener(self.route.api, &self.route.listener))
    }

    fn asks_for_a_user(&self) -> bool {
        self.own_listener().is_some_and(|listener| listener.authentication)
    }

    /// The handshake failed, and the client or the broker said why.
    fn tls_failed(&self, failure: Option<&TlsFailure>) -> Finding {
        let Some(failure) = failure else {
            return self.handshake(Code::TlsFailed, "the TLS handshake fails");
        };
        let code = match failure {
            TlsFailure::WrongName { expected, .. } => {
                let advertised = self.own_listener().is_some_and(|listener| listener.advertised.is_some());
                if is_address(expected) && !advertised {
                    Code::AddressNotInCertificate
                } else {
                    Code::CertificateNameMismatch
                }
            }
            TlsFailure::UnknownAuthority => Code::UnknownAuthority,
            TlsFailure::Expired | TlsFailure::NotYetValid => Code::CertificateNotValidNow,
            TlsFailure::ClientCertificateMissing | TlsFailure::CertificateRefused(_) => {
                Code::ClientCertificateNeeded
            }
            _ => Code::TlsFailed,
        };
        self.handshake(code, &format!("the TLS handshake fails: {failure}")).severity(Severity::Error)
    }

    /// Plain text met TLS, or two protocols met.
    fn other_protocol(&self, failure: Option<&TlsFailure>) -> Finding {
        let own = self.own_listener();
        let has_tls = own.is_some_and(|listener| listener.tls.is_some());
        match failure {
            Some(failure) if has_tls => {
                self.handshake(Code::PlainTextPort, &format!("the TLS handshake fails: {failure}"))
            }
            None if own.is_some() && !has_tls && self.reaches_tls() => {
                self.handshake(Code::TlsPort, "is answered with a TLS alert")
            }
            _ => self.handshake(Code::ProtocolMismatch, "the answer is in another protocol"),
        }
    }

    /// Row 40: HTTP Proxy and Schema Registry are Kafka clients themselves, and that side of them fails.
    fn behind_the_service(&self, status: u16) -> Finding {
        self.handshake(
            Code::ServiceCannotReachBrokers,
            &format!(
                "is answered {status}: the Kafka client inside {} cannot work",
                api_title(self.route.api)
            ),
        )
    }

    /// Whether the way ends at the port of a listener with TLS.
    fn reaches_tls(&self) -> bool {
        let Some(reached) = self.route.reached.as_deref() else { return false };
        let port = self.last_stop().and_then(|hop| host_and_port(&hop.dst).1);
        let brokers = self.cluster.brokers.iter().filter(|broker| broker.pod_key() == reached);
        let mut listeners = brokers.flat_map(|broker| &broker.listeners);
        listeners.any(|listener| Some(listener.port) == port && listener.tls.is_some())
    }

    fn handshake(&self, code: Code, what: &str) -> Finding {
        let reached = self.route.reached.as_deref().unwrap_or("the broker");
        self.listener(code, format!("{} connects to {reached}, and {what}.", self.client()))
    }

    /// The Services that select the broker.
    fn services(&self) -> impl Iterator<Item = &'a Service> {
        let pod = self.broker.map(Broker::pod_key);
        self.cluster
            .services
            .iter()
            .filter(move |service| pod.as_ref().is_some_and(|pod| service.selected.contains(pod)))
    }

    fn last_stop(&self) -> Option<&'a Hop> {
        self.route.hops.last()
    }
}

/// Where the way ends, in words: `node-1 dropped 10.0.0.9:4000 -> 10.0.0.11:31092 (why)`.
fn stop(hop: &Hop) -> String {
    let detail = hop.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
    format!("the way ends at {}, {} {} -> {}{detail}", hop.device, hop.action, hop.src, hop.dst)
}

fn opens(service: &Service, port: Option<u16>) -> bool {
    let Some(port) = port else { return false };
    service
        .ports
        .iter()
        .any(|own| own.node_port == Some(port) || (service.kind != ServiceKind::NodePort && own.port == port))
}

/// Splits `host:port`, `[v6]:port` and a lone host.
fn host_and_port(address: &str) -> (&str, Option<u16>) {
    let Some((host, port)) = address.rsplit_once(':') else { return (address, None) };
    match port.parse() {
        Ok(port) => (host.trim_start_matches('[').trim_end_matches(']'), Some(port)),
        Err(_) => (address, None),
    }
}

#[cfg(test)]
mod tests;
