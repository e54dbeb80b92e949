//! Why a name has the records it has, or none: found by the look-up itself, told to people.
//!
//! Each variant is one rule of kubernetes.md 5.1 or 5.2; the server's reply and the explanation come from the same
//! look-up, so they cannot disagree.

use std::fmt;

use hickory_proto::rr::RecordType;

/// The rule that decided an answer. Services are written `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A Service's cluster address, which is there whether or not an endpoint is ready.
    ClusterAddress {
        /// The Service.
        service: String,
        /// Endpoints that are ready.
        ready: usize,
        /// All endpoints.
        total: usize,
    },
    /// The ready endpoints of a headless Service.
    ReadyEndpoints {
        /// The Service.
        service: String,
        /// Endpoints that are ready.
        ready: usize,
        /// All endpoints.
        total: usize,
        /// Whether `publishNotReadyAddresses` counts every endpoint as ready.
        publishes_not_ready: bool,
    },
    /// One endpoint, by its label.
    Endpoint {
        /// The Service.
        service: String,
        /// The label.
        label: String,
        /// Whether `publishNotReadyAddresses` counts every endpoint as ready.
        publishes_not_ready: bool,
    },
    /// A named port.
    NamedPort {
        /// The Service.
        service: String,
        /// `port/protocol`.
        port: String,
    },
    /// An ExternalName Service.
    Alias {
        /// The Service.
        service: String,
        /// What it is an alias of.
        target: String,
    },
    /// The address that stands in a pod's name.
    PodAddress {
        /// Whether such a pod was looked for (`pods verified`).
        verified: bool,
    },
    /// An address of a Service or of an endpoint, looked up in reverse.
    Reverse,
    /// A record of the zone itself: SOA, NS, `ns.dns`, `dns-version`.
    OwnRecord,
    /// A line of CoreDNS's `hosts` plugin.
    HostsPlugin,
    /// The name is outside the cluster, and known there.
    Outside,
    /// The name exists, with records of other types only.
    OtherTypes {
        /// What was asked.
        asked: RecordType,
        /// What there is.
        present: Vec<RecordType>,
    },
    /// A headless Service without ports has no SRV record.
    NoPorts {
        /// The Service.
        service: String,
    },
    /// The name is only there because there are names below it.
    EmptyNonTerminal,
    /// The label left of the domain is neither `svc` nor `pod`.
    NeitherServiceNorPod {
        /// The label.
        label: String,
    },
    /// Three or more labels left of a Service's name, or a form that does not exist.
    TooManyLabels,
    /// There is no such namespace.
    NoNamespace {
        /// The namespace.
        namespace: String,
    },
    /// The `namespaces` option leaves the namespace out.
    NamespaceNotServed {
        /// The namespace.
        namespace: String,
    },
    /// The namespace has no such Service.
    NoService {
        /// The Service.
        service: String,
    },
    /// A headless Service has only endpoints that are not ready, or none.
    NoReadyEndpoint {
        /// The Service.
        service: String,
        /// The labels of the endpoints that are not ready.
        not_ready: Vec<String>,
    },
    /// The endpoint is there, but it is not ready and the Service does not publish such endpoints.
    EndpointNotReady {
        /// The Service.
        service: String,
        /// The label.
        label: String,
        /// Whether the pod is being deleted.
        terminating: bool,
    },
    /// No endpoint of the Service has this label.
    NoEndpoint {
        /// The Service.
        service: String,
        /// The label.
        label: String,
        /// The labels there are.
        labels: Vec<String>,
    },
    /// An ExternalName Service has no names below it.
    BelowAlias {
        /// The Service.
        service: String,
    },
    /// The Service has no such port.
    NoPort {
        /// The Service.
        service: String,
        /// `port/protocol`.
        port: String,
        /// The ports there are, as `port/protocol`.
        ports: Vec<String>,
    },
    /// A ClusterIP Service without ready endpoint, hidden by `ignore empty_service`.
    EmptyServiceIgnored {
        /// The Service.
        service: String,
    },
    /// Names of pods are switched off (`pods disabled`).
    PodNamesDisabled,
    /// No pod of that address is in the namespace (`pods verified`), or the label is no address.
    NoPod,
    /// No Service or endpoint has that address.
    NoReverse,
    /// CoreDNS has not yet read the objects from the API server.
    NotSynced,
    /// The name is outside the cluster, and unknown there.
    UnknownOutside,
    /// No server block of the Corefile serves the name, or the block forwards nothing.
    NotServed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::ClusterAddress { .. }
            | Reason::ReadyEndpoints { .. }
            | Reason::Endpoint { .. }
            | Reason::NamedPort { .. }
            | Reason::Alias { .. }
            | Reason::PodAddress { .. }
            | Reason::Reverse
            | Reason::OwnRecord
            | Reason::HostsPlugin
            | Reason::Outside => self.fmt_answer(f),
            Reason::OtherTypes { .. } | Reason::NoPorts { .. } | Reason::EmptyNonTerminal => {
                self.fmt_no_data(f)
            }
            _ => self.fmt_no_name(f),
        }
    }
}

impl Reason {
    fn fmt_answer(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::ClusterAddress { service, ready: 0, total } => write!(
                f,
                "the cluster address of Service {service}. The name resolves although none of its {} is ready: a \
                 ClusterIP name always does, so a connection to it fails, not the look-up",
                count(*total, "endpoint")
            ),
            Reason::ClusterAddress { service, ready, total } => {
                write!(f, "the cluster address of Service {service}, behind which {ready} of {total} endpoints are ready")
            }
            Reason::ReadyEndpoints { service, ready, total, publishes_not_ready } => {
                write!(f, "Service {service} is headless: one record for each ready endpoint ({ready} of {total}")?;
                f.write_str(if *publishes_not_ready {
                    "; publishNotReadyAddresses counts every endpoint as ready, also while it terminates)"
                } else {
                    ")"
                })
            }
            Reason::Endpoint { service, label, publishes_not_ready } => {
                let ready = if *publishes_not_ready {
                    "which counts as ready whatever its pod says (publishNotReadyAddresses)"
                } else {
                    "which is ready"
                };
                write!(f, "the endpoint {label} of Service {service}, {ready}")
            }
            Reason::NamedPort { service, port } => write!(f, "the port {port} of Service {service}"),
            Reason::Alias { service, target } => {
                write!(f, "Service {service} is an ExternalName: an alias of {target}, nothing else")
            }
            Reason::PodAddress { verified: true } => f.write_str("a pod of that address is in the namespace"),
            Reason::PodAddress { verified: false } => f.write_str(
                "the address that stands in the name itself; CoreDNS does not look whether there is such a pod \
                 (`pods insecure`)",
            ),
            Reason::Reverse => f.write_str("the name of the Service or endpoint that has this address"),
            Reason::HostsPlugin => f.write_str("a line of CoreDNS's `hosts` plugin"),
            Reason::Outside => f.write_str("a name outside the cluster, as the internet's DNS has it"),
            _ => f.write_str("a record of the zone itself"),
        }
    }

    fn fmt_no_data(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::OtherTypes { asked, present } => {
                let present: Vec<String> = present.iter().map(ToString::to_string).collect();
                let family = match asked {
                    RecordType::AAAA if present.iter().any(|it| it == "A") => " It has an IPv4 address only.",
                    RecordType::A if present.iter().any(|it| it == "AAAA") => " It has an IPv6 address only.",
                    _ => "",
                };
                write!(
                    f,
                    "NODATA: the name exists ({}), but it has no record of type {asked}.{family} Unlike NXDOMAIN \
                     this says nothing against the name",
                    if present.is_empty() { "with no record at all".to_owned() } else { present.join(", ") }
                )
            }
            Reason::NoPorts { service } => {
                write!(
                    f,
                    "NODATA: Service {service} declares no port, so it has no SRV record; its addresses resolve"
                )
            }
            _ => f.write_str(
                "NODATA: the name exists only because there are names below it; it has no record of its own",
            ),
        }
    }

    fn fmt_no_name(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NeitherServiceNorPod { label } => {
                write!(f, "NXDOMAIN: left of the cluster's domain stands `svc` or `pod`, not `{label}`")
            }
            Reason::TooManyLabels => f.write_str("NXDOMAIN: no name of the cluster has that many labels or that form"),
            Reason::NoNamespace { namespace } => write!(f, "NXDOMAIN: there is no namespace {namespace}"),
            Reason::NamespaceNotServed { namespace } => {
                write!(f, "NXDOMAIN: CoreDNS's option `namespaces` leaves {namespace} out")
            }
            Reason::NoService { service } => write!(f, "NXDOMAIN: there is no Service {service}"),
            Reason::BelowAlias { service } => {
                write!(f, "NXDOMAIN: Service {service} is an ExternalName, which has no names below it")
            }
            Reason::NoPort { service, port, ports } => {
                write!(f, "NXDOMAIN: Service {service} has no port {port}; it has {}", list(ports))
            }
            Reason::EmptyServiceIgnored { service } => write!(
                f,
                "NXDOMAIN: no endpoint of Service {service} is ready, and CoreDNS is told to `ignore empty_service`"
            ),
            Reason::PodNamesDisabled => f.write_str("NXDOMAIN: names of pods are switched off (`pods disabled`)"),
            Reason::NoPod => f.write_str("NXDOMAIN: the first label is not the address of a pod of that namespace"),
            Reason::NoReverse => f.write_str("NXDOMAIN: no Service and no ready endpoint has that address"),
            Reason::NotSynced => f.write_str(
                "SERVFAIL: this CoreDNS has not read the cluster's objects since it started, because it cannot reach \
                 the API server; it cannot tell whether the name exists",
            ),
            Reason::UnknownOutside => f.write_str("NXDOMAIN: the internet's DNS has no such name"),
            Reason::NotServed => f.write_str("REFUSED: CoreDNS's configuration serves no such zone"),
            _ => self.fmt_no_endpoint(f),
        }
    }

    fn fmt_no_endpoint(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoReadyEndpoint { service, not_ready } if not_ready.is_empty() => {
                write!(f, "NXDOMAIN: Service {service} is headless and has no endpoint")
            }
            Reason::NoReadyEndpoint { service, not_ready } => write!(
                f,
                "NXDOMAIN: Service {service} is headless, and none of its endpoints is ready ({}). A headless name \
                 exists only through ready endpoints, unless publishNotReadyAddresses is true",
                list(not_ready)
            ),
            Reason::EndpointNotReady { service, label, terminating } => {
                let why = if *terminating { "is being deleted" } else { "is not ready" };
                write!(
                    f,
                    "NXDOMAIN: the pod behind {label} {why}, and publishNotReadyAddresses of Service {service} is off. \
                     Until the pod is ready the name does not exist for anybody, the pod itself and its peers included"
                )
            }
            Reason::NoEndpoint { service, label, labels } => write!(
                f,
                "NXDOMAIN: no endpoint of Service {service} is called {label}; its endpoints are {}. A pod has its \
                 hostname only below the Service that its spec.subdomain (a StatefulSet's serviceName) names",
                list(labels)
            ),
            _ => f.write_str("a record of the zone itself"),
        }
    }
}

/// Names shown of a longer list.
const SHOWN_MAX: usize = 8;

fn list(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        _ if names.len() > SHOWN_MAX => {
            format!("{} and {} more", names[..SHOWN_MAX].join(", "), names.len() - SHOWN_MAX)
        }
        _ => names.join(", "),
    }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
