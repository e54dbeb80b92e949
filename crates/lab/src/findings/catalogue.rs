//! The codes of findings. A code keeps its meaning for ever; a code that is no longer used is not given again.
//!
//! `docs/findings.md` is this table in prose; a test keeps the two equal.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Severity;
use super::Severity::{Error, Note, Warning};

/// What the catalogue says about a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The code.
    pub code: Code,
    /// How bad it is, unless the finding says otherwise.
    pub severity: Severity,
    /// A few words.
    pub title: &'static str,
    /// What it means, and what clients see of it.
    pub meaning: &'static str,
    /// What to change in general.
    pub fix: &'static str,
}

macro_rules! catalogue {
    ($($name:ident $number:literal $severity:ident $title:literal $meaning:literal $fix:literal)*) => {
        /// The kind of a finding. Written as `HW` and four digits.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Code {
            $(#[doc = $title] $name = $number,)*
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// What the catalogue says about the code.
            pub fn entry(self) -> Entry {
                match self {
                    $(Code::$name => Entry {
                        code: self, severity: $severity, title: $title, meaning: $meaning, fix: $fix,
                    },)*
                }
            }
        }
    };
}

catalogue! {
    BarePodNameAdvertised 1 Error "A bare pod name is advertised"
        "The listener advertises the pod's own name without any domain, which is what the chart writes if neither external.domain nor external.addresses is set. Clients outside bootstrap, are told the name, and cannot resolve it."
        "Set external.domain (and DNS records for each broker) or external.addresses, or make the names resolvable where the clients stand."
    DomainAppendedToAddress 2 Error "A domain is appended to an IP address"
        "The advertised host is an IP address followed by a domain. The chart appends external.domain to each of external.addresses, IP addresses included. The result is a name that nobody defined."
        "Remove external.domain, or list host names instead of IP addresses."
    NameNotResolvable 3 Error "The advertised name cannot be resolved where the client stands"
        "The client was told a host name that its resolver does not know."
        "Create a DNS record for the name, advertise a name that exists, or list the name under the cluster file's externalNames if it does exist."
    EmptyAdvertisedAddress 4 Error "The advertised address is empty"
        "A broker advertises an address without a host, for instance because a look-up in the start script found nothing. Clients cannot use it."
        "Give the listener an advertised host; check the look-up that should have filled it in."
    NodeWithoutEndpoint 5 Error "The node has no endpoint and the traffic policy is Local"
        "With externalTrafficPolicy Local a node serves only pods of its own. A connection to a node without such a pod is dropped in silence: the client sees a timeout, not a refusal."
        "Advertise the address of the node that runs the broker, or set externalTrafficPolicy to Cluster and accept the extra hop and the loss of the client's address."
    ServiceWithoutEndpoints 6 Error "The Service has no endpoints"
        "No pod behind the Service takes connections, so every node refuses them at once."
        "Start the pods, or correct the selector; see the Service's endpoints."
    PortNotOpened 7 Error "No Service opens the advertised port"
        "The advertised port is neither a node port nor a load balancer's port. The chart's Services open only the first of several advertisedPorts, whatever the broker's ordinal."
        "Advertise the port that the Service opens, or open the advertised port."
    NodePortOutOfRange 8 Error "The node port is outside the range"
        "The API server rejects a Service whose node port is outside its range, so the Service never exists. The chart does not check."
        "Choose a node port within the range, or start the API server with another --service-node-port-range."
    LoadBalancerPortMismatch 9 Error "The load balancer does not listen on the advertised port"
        "The load balancer's Service has another port than the one that brokers advertise. Without advertisedPorts the chart gives the Service the internal listener's number and advertises the external one."
        "Set advertisedPorts of the listener, or give the Service the advertised port."
    SharedAdvertisedAddress 10 Error "Several brokers advertise the same address"
        "Clients cannot tell the brokers apart: a request for one of them reaches any of them, and is refused as sent to the wrong leader."
        "Give each broker an address or a port of its own; a list of addresses needs one entry per broker."
    FewerAddressesThanReplicas 11 Error "There are fewer advertised addresses than replicas"
        "The start script chooses an address by the pod's ordinal from a list that is too short. The last brokers advertise nothing."
        "List one address per replica."
    AddressOfAnotherBroker 12 Error "The advertised address leads to another broker"
        "The address belongs to a node that runs another broker. A list of addresses goes by ordinal; pods go where the scheduler puts them."
        "Advertise the node by its name or address as the pod learns it at its start (HOST_IP, NODE_NAME), or use one Service per broker."
    PrefixTemplateUnused 13 Warning "The prefix template has no effect"
        "PREFIX_TEMPLATE is set, and no address mentions it."
        "Mention $PREFIX_TEMPLATE in the address, or remove the template."
    CertificateNameMismatch 14 Warning "The certificate does not name the advertised host"
        "A client that checks the certificate refuses the connection, because the certificate holds neither the advertised name nor the advertised IP address. The chart's external certificate names only external.domain and one label below it."
        "Set external.domain so that it covers the advertised names, or bring a certificate that names them."
    BrokersShareNode 15 Warning "Two brokers can run on one node behind one node port"
        "A node port with the policy Local leads to any of the Service's pods on the node. With two brokers on one node a client reaches one of them at random."
        "Require pods to keep off each other's nodes (podAntiAffinity with requiredDuringScheduling...), or use one Service per broker."
    NoDrainBeforeStop 16 Note "Brokers are stopped without draining"
        "With two replicas or fewer a broker does not hand over its leaderships before it stops, so that clients wait for an election."
        "Run three replicas or more."
    ListenerNotExposed 17 Warning "A listener for outside has no Service"
        "The brokers advertise an address of the listener, and no NodePort or LoadBalancer Service carries its port. Clients that are told the address cannot reach it."
        "Enable the external Service, or remove the listener."
    AdvertisedListenersDiffer 18 Error "The advertised listeners do not match the listeners"
        "Metadata answers by listener name. Where a name is missing, Redpanda guesses by port or takes the first entry, and FindCoordinator answers with an error: producers work, consumer groups hang."
        "Advertise every listener of kafka_api under its own name, in the same way on every broker."
    SeedServerUnknown 19 Error "A seed server's name does not exist"
        "The name of a seed server is not one that the cluster's DNS can have: its Service does not exist, or the cluster domain is another. Brokers wait for it and never form a cluster."
        "Use the name POD.SERVICE.NAMESPACE.svc.DOMAIN with the StatefulSet's serviceName and the cluster's own domain."
    SelectorMatchesNothing 20 Error "A Service selects no pod"
        "No pod carries all labels of the Service's selector, so connections to it are refused."
        "Correct the selector or the pods' labels."
    SelectorMatchesOthers 21 Warning "A Service selects pods that are no brokers"
        "Other pods carry the labels of the brokers' Service. A part of the connections goes to them."
        "Add a label to the selector that only brokers carry."
    NodePortUsedTwice 22 Error "A node port is used twice"
        "A node port belongs to one Service in the whole cluster. The API server rejects the second Service."
        "Choose another node port for one of the two."
    MissingReference 23 Error "A referenced object does not exist"
        "A pod refers to a ConfigMap, Secret or claim that is not there. It stays in ContainerCreating."
        "Add the object to the manifests, or mark the reference as optional."
    FewerNodesThanReplicas 24 Error "There are fewer nodes than replicas"
        "The brokers refuse to share a node. Those beyond the number of nodes stay Pending."
        "Add nodes, or lower the replicas."
    HeadlessHidesNotReady 25 Warning "The headless Service hides brokers that are not ready"
        "Brokers become ready only when they have met; they meet by names that exist only when they are ready. A restarted broker's name is missing for a while, and resolvers remember that."
        "Set publishNotReadyAddresses: true on the headless Service."
    TrailingDotWithTls 26 Note "A name with a trailing dot is advertised with TLS"
        "Some clients put the name with its dot into the TLS handshake (SNI) or compare it with the certificate as it stands, and fail."
        "Advertise the name without the trailing dot on listeners with TLS."
    ListenersShareNumber 27 Error "Two listeners of a broker have the same port"
        "The second one cannot bind its port, and the broker stops at its start with an address in use."
        "Give each listener a port of its own."
    TargetsInternalListener 28 Error "A Service for outside leads to the internal listener"
        "The Service's target port is the port of a listener that advertises names inside the cluster. Clients outside bootstrap, are told internal names, and cannot resolve them."
        "Set targetPort to the external listener's port."
    LoadBalancerPending 29 Error "The load balancer is pending"
        "Nothing gives the Service a load balancer: the profile is no managed cloud and the cluster file declares no instance. Its port is closed outside."
        "Declare an instance under loadBalancers in the cluster file, install a load balancer, or use NodePort."
    DnsRecordMismatch 30 Warning "The DNS record is for another name than the advertised one"
        "The Service's external-dns annotation creates a record for a name that no broker advertises."
        "Make the annotation's host name equal to the advertised host."
    SecurityNotMeasured 31 Note "TLS and authentication are not measured"
        "Not reported any more: routes are measured with TLS and credentials as the listeners are configured."
        "Nothing."
    WrongBroker 32 Error "Another broker answers"
        "The broker behind the advertised address is not the one that advertises it. Requests for its partitions are refused, and refreshing metadata does not help."
        "Follow the listed hops: the last translation shows where the connection goes instead."
    InternalAddressOutside 33 Error "A client outside is told an internal name"
        "The client entered by a listener that advertises names of the cluster's own DNS, which exist only inside."
        "Let clients outside enter by a listener with an external advertised address; point the Service at that listener's port."
    PortFilteredOnTheWay 34 Error "The connection is dropped on the way"
        "A device on the way drops the packets in silence."
        "See the listed hop: its detail names the rule or the missing route."
    AddressLeadsNowhere 35 Error "Nothing in the cluster has the advertised address"
        "The advertised address belongs to no node and no load balancer, so packets to it leave for nowhere."
        "Advertise the address of a node or of a load balancer; check the DNS record."
    BrokerNotRunning 36 Error "The broker does not run"
        "The pod is not running or its listener is not open yet, so connections to it are refused or lost."
        "See the pod's reason."
    IdleFlowsForgotten 37 Note "The load balancer forgets idle connections before clients close them"
        "A Kafka client keeps an idle connection for 9 minutes (connections.max.idle.ms). The load balancer forgets it earlier; without a reset the next request waits until it times out."
        "Set the client's connections.max.idle.ms, or its TCP keep-alive, below the load balancer's idle timeout."
    InClusterByNodePort 38 Warning "A client inside uses a node port"
        "The policy Local does not hold for traffic that comes from pods: kube-proxy sends it to any of the Service's brokers."
        "Let clients inside use the internal listener."
    Hairpin 39 Error "A pod dials its own node through the load balancer"
        "The load balancer keeps the client's address, so a packet of a node arrives at that same node with its own address as the source, and is dropped."
        "Let clients inside use the internal listener, or turn off the preservation of client addresses."
    TlsFailed 40 Error "The TLS handshake fails"
        "Client and broker do not agree on TLS: the certificate is not trusted, has expired, or does not name the host."
        "Compare the certificate's names with the advertised host, and the client's trusted certificates with its issuer."
    AuthenticationFailed 41 Error "The broker does not accept the client"
        "The listener asks for credentials that the client does not send, or that are wrong. Redpanda closes the connection."
        "Give the client the listener's SASL mechanism, user and password."
    ProtocolMismatch 42 Error "The other side speaks another protocol"
        "A plain client talks to a TLS port, or a client of one API to the port of another."
        "Compare the port with the listener's; turn TLS on in the client if the listener has it."
    InternalListenerMissing 43 Warning "No listener advertises a name inside the cluster"
        "HTTP Proxy, Schema Registry and clients inside use the brokers' first listener. It leads out of the cluster and back in."
        "Add a listener that advertises POD.SERVICE.NAMESPACE.svc.DOMAIN, as the first of kafka_api."
    RouteFailed 44 Error "The route fails"
        "The route fails for a reason that no other finding covers."
        "See the listed hops."
    RejectedByApiServer 45 Error "The API server rejects the object"
        "The object is well-typed, and the API server's validation refuses it: kubectl prints the error, and the rest of the manifests is applied without it."
        "Correct the field."
    InitContainerFailed 46 Error "An init container does not succeed"
        "The pod's init container ends with an error, or its script uses something that is not interpreted here. The pod's containers never start."
        "Correct the line of the script that is named."
    UnknownField 47 Warning "A field is not known"
        "The kind has no such field. The API server drops it, or rejects the object under strict validation; in both cases it has no effect."
        "Correct the field's name, or remove it."
    KindNotSimulated 48 Note "A kind is not simulated"
        "Objects of this kind are left out of the simulation."
        "Nothing, unless the objects change how traffic flows."
    ImageNotKnown 49 Note "An image is not known"
        "What the image does is not known: each declared port is taken to answer with an echo, and its init containers are taken to succeed."
        "Nothing, unless clients of this check depend on what the image does."
    SecretAssumed 50 Note "A Secret is in no manifest"
        "The Secret is taken to exist, made by hand or by an operator. If it does not, the pod waits for it in ContainerCreating. One that holds a listener's certificate is taken to hold a good one: the names in it are not compared with the addresses that clients dial."
        "Make sure that the Secret exists before the pods start."
    SourceHidden 51 Note "The server sees another address than the client's"
        "A device on the way puts its own address in the place of the client's (masquerade), so that the answer comes back through it and can be translated back. Quotas, access lists and logs that go by address see the device."
        "Nothing, unless the server goes by its clients' addresses: externalTrafficPolicy Local keeps them, and so do clients that dial the pods directly."
    ExtraHop 52 Note "A node passes the connection on to another node"
        "With externalTrafficPolicy Cluster any node takes a connection from outside and hands it to any pod, wherever that runs. It costs a hop each way and traffic between nodes or zones."
        "Dial the pod's own node, or set externalTrafficPolicy to Local so that only nodes with a pod answer."
    AffinityPins 53 Note "A client stays with one pod"
        "With sessionAffinity ClientIP each node remembers which pod it gave to an address. All clients behind one address (a NAT, a node, a load balancer) share the pod."
        "Remove sessionAffinity if the load should spread."
    SourceRangeExcludes 54 Error "The client's address is not in loadBalancerSourceRanges"
        "Nodes drop packets to the load balancer's address whose source is in none of the ranges; pods and nodes are no exception. The node ports and the cluster IP are not protected by the ranges."
        "Add the client's network to loadBalancerSourceRanges, or let clients inside use the cluster IP."
    NothingListens 55 Error "Nothing listens on the pod's port"
        "The packet reaches the pod, and the pod's own kernel refuses it: no process listens on that port."
        "Correct the Service's targetPort or the port that the program listens on; see whether the program has started."
    ClusterAddressOutside 56 Error "An address of the cluster's inside is dialled from outside"
        "Cluster IPs exist only in the rules of nodes, and pod addresses only in the routes between them. Outside the cluster nobody knows a way."
        "Use a node port, a load balancer or an Ingress for clients outside."
    PolicyDenies 57 Error "A filter on the node denies the connection"
        "A network policy or another packet filter of the node drops the packets. No answer is sent, so the client waits until its own time is over."
        "Allow the client's pods and namespace, or its network, in a policy that selects the server's pods; mind the egress policies of the client's own namespace."
    BalancerAnnotationNotFollowed 58 Note "A load balancer's annotation is not followed"
        "The Service asks its cloud's load balancer for something by an annotation that is not known here, or that changes nothing of what is simulated. It may change where packets go."
        "Nothing, unless the annotation matters to your clients; the cluster file can declare the load balancer as it is."
    ProbeAssumed 59 Note "A probe or hook is not performed as declared"
        "What the probe or hook does is not modelled, in part or at all: a probe is taken to succeed while the program serves, a hook is taken to end at once."
        "Nothing, unless the probe fails in your cluster: readiness and restarts follow it there."
    CorefileIgnored 60 Note "A part of the Corefile is not simulated"
        "CoreDNS's ConfigMap holds a plugin or an option that is not simulated: names are answered as if it were not there."
        "Nothing, unless the part changes what the names of this check resolve to."
    AddressNotInCertificate 61 Error "The certificate does not hold the IP address that is dialled"
        "Clients reach the listener by an IP address, and the certificate names hosts only. A client that checks the certificate ends the handshake. Certificates of the chart hold no IP addresses."
        "Let clients dial a name that the certificate holds (a DNS record for the node or load balancer), or add the address to the Certificate's ipAddresses."
    UnknownAuthority 62 Error "The certificate is signed by an authority that clients do not trust"
        "The authority that a client of the cluster has in hand (ca.crt beside the certificate) did not sign the certificate that the listener shows. The client ends the handshake."
        "Put the authority that signed tls.crt into ca.crt and into the clients' trust stores; after an authority is replaced, issue the certificates again."
    CertificateNotValidNow 63 Error "The certificate has expired or is not valid yet"
        "The time lies outside the certificate's validity, so clients end the handshake."
        "Renew the certificate; check the clocks if it is new."
    ClientCertificateNeeded 64 Error "The listener asks for a client certificate"
        "The listener has require_client_auth, and the client shows no certificate, or one that the listener's trust store does not accept. The broker ends the handshake."
        "Give clients a certificate that an authority of the listener's truststore_file has signed."
    PlainTextPort 65 Error "A client with TLS reaches a port without"
        "The client begins a TLS handshake as the listener is configured, and the other side takes the hello for garbage: the connection leads to a port that speaks plain text."
        "Compare the Service's target port with the listener's port; turn TLS on for the listener that is reached, or off in the client."
    TlsPort 66 Error "A client without TLS reaches a port with TLS"
        "The client speaks plain text and is answered with a TLS alert, which Kafka clients report as a response of 352518912 bytes."
        "Compare the Service's target port with the listener's port; turn TLS on in the client."
    CredentialsMissing 67 Error "The listener asks for a user and none is known"
        "The listener has SASL or basic authentication, and the manifests create no user: neither RP_BOOTSTRAP_USER nor a Secret of users that the brokers' sidecar reads. A client without credentials is sent away."
        "Name users in auth.sasl (a Secret of lines user:password:mechanism), or create them by the Admin API and give them to the clients."
    CertificateNotLoaded 68 Error "A broker cannot load a certificate"
        "A certificate, key or trust store that redpanda.yaml names is not mounted or cannot be read, so the broker's process exits at its start."
        "Mount the Secret at the path that is named; see that it holds tls.crt, tls.key and ca.crt, and that the key belongs to the certificate."
    CertificateNotIssued 69 Error "A Certificate cannot be issued as it is asked for"
        "cert-manager cannot make the certificate, so its Secret never exists and the pods that mount it wait in ContainerCreating."
        "Correct the Certificate's names or the Secret of its issuer."
}

impl Code {
    /// The number in the code.
    pub fn number(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HW{:04}", self.number())
    }
}

impl FromStr for Code {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Code::ALL
            .iter()
            .find(|code| code.to_string() == text)
            .copied()
            .ok_or_else(|| format!("`{text}` is no code; expected HW0001 to HW{:04}", Code::ALL.len()))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> String {
        let mut text = String::from(
            "# Findings\n\nEvery code that `hopwise` can report, with what it means and what to change. A code keeps its meaning.\n\
             This page follows `crates/lab/src/findings/catalogue.rs`; a test compares them\n\
             (`UPDATE_DOCS=1 cargo test -p hopwise-lab` rewrites the page).\n",
        );
        for code in Code::ALL {
            let entry = code.entry();
            text.push_str(&format!(
                "\n## {code}: {}\n\nSeverity: {}.\n\n{}\n\n**What to change.** {}\n",
                entry.title,
                entry.severity.as_str(),
                entry.meaning,
                entry.fix
            ));
        }
        text
    }

    #[test]
    fn the_page_says_what_the_catalogue_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/findings.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, document()).expect("docs can be written");
        }
        let page = std::fs::read_to_string(path).expect("the page exists");
        assert!(page == document(), "docs/findings.md differs; rewrite it with UPDATE_DOCS=1");
    }

    #[test]
    fn numbers_count_up_without_gaps() {
        let numbers: Vec<u16> = Code::ALL.iter().map(|code| code.number()).collect();
        assert_eq!(numbers, (1..=Code::ALL.len() as u16).collect::<Vec<_>>());
    }

    #[test]
    fn codes_are_read_as_they_are_written() {
        for code in Code::ALL {
            assert_eq!(code.to_string().parse(), Ok(*code));
        }
        assert_eq!("HW9999".parse::<Code>().unwrap_err(), "`HW9999` is no code; expected HW0001 to HW0069");
    }
}
