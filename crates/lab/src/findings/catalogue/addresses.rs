//! Advertised hosts: names, addresses, and whose they are.

use super::{Code, Text, texts};

texts! {
    BarePodNameAdvertised {
        sees: "Clients outside reach the bootstrap address, and then fail with \"failed to resolve redpanda-0\" or \"no such host\".",
        why: "The listener advertises the pod's own name without any domain. The chart writes that if neither external.domain nor external.addresses is set, and nobody outside the cluster can resolve it.",
        tell: "rpk cluster metadata -X brokers=BOOTSTRAP lists bare names such as redpanda-0:31092.",
        change: "Set external.domain (and DNS records for each broker) or external.addresses, or make the names resolvable where the clients stand.",
        sources: ["docs/facts/redpanda.md 1.7 L5, section 5 row 1", "redpanda-data/redpanda#1864"],
    }
    DomainAppendedToAddress {
        sees: "Clients outside cannot resolve a name such as 10.0.0.1.example.com.",
        why: "The advertised host is an IP address followed by a domain. The chart appends external.domain to each of external.addresses, IP addresses included. The result is a name that nobody defined.",
        tell: "The broker list of rpk cluster metadata shows an address with labels behind it.",
        change: "Remove external.domain, or list host names instead of IP addresses.",
        sources: ["docs/facts/redpanda.md 1.7 L10, section 5 row 46"],
    }
    NameNotResolvable {
        sees: "The client is told a host name and its resolver answers that there is no such name.",
        why: "The brokers advertise a name, and the resolver of the place where the client stands has no record of it: the record was never made, is for another name, or exists in another network's DNS only.",
        tell: "Look the advertised name up from the client's machine (nslookup NAME), not from yours.",
        change: "Create a DNS record for the name, advertise a name that exists, or list the name under the cluster file's externalNames if it does exist.",
        sources: ["docs/facts/redpanda.md section 5 row 1"],
    }
    EmptyAdvertisedAddress {
        sees: "A broker does not start, or clients are told an address like \":31092\".",
        why: "A broker advertises an address without a host, for instance because a look-up in the start script found nothing.",
        tell: "cat /etc/redpanda/redpanda.yaml in the pod: an entry of advertised_kafka_api has an empty address.",
        change: "Give the listener an advertised host; check the look-up that should have filled it in.",
        sources: ["docs/facts/redpanda.md section 5 row 3", "bitnami/charts#5975"],
    }
    SharedAdvertisedAddress {
        sees: "NOT_LEADER_FOR_PARTITION again and again, or consumers of the HTTP Proxy that are not found (40403). Refreshing metadata does not help.",
        why: "Clients cannot tell the brokers apart: several of them advertise one address, and a request for one of them reaches any of them.",
        tell: "Two brokers in the list of rpk cluster metadata have the same host and port.",
        change: "Give each broker an address or a port of its own; a list of addresses needs one entry per broker.",
        sources: ["docs/facts/redpanda.md 1.7 L6, section 5 rows 5, 29 and 30", "redpanda-data/helm-charts#258", "confluentinc/librdkafka#3277"],
    }
    FewerAddressesThanReplicas {
        sees: "The last brokers do not start, or advertise nothing; or the chart does not render (\"slice index out of range\").",
        why: "The start script chooses an address by the pod's ordinal from a list that is too short.",
        tell: "Count external.addresses and statefulset.replicas.",
        change: "List one address per replica.",
        sources: ["docs/facts/redpanda.md 1.7 L7, section 5 row 6", "redpanda-data/redpanda-operator#65"],
    }
    AddressOfAnotherBroker {
        sees: "Requests for one broker are answered by another, with NOT_LEADER_FOR_PARTITION or NOT_CONTROLLER, for ever.",
        why: "The address belongs to a node or a load balancer of another broker. A list of addresses goes by ordinal; pods go where the scheduler puts them.",
        tell: "Compare the NODE column of kubectl get pods -o wide with the node that each advertised address belongs to.",
        change: "Advertise the node by its name or address as the pod learns it at its start (HOST_IP, NODE_NAME), or use one Service per broker.",
        sources: ["docs/facts/redpanda.md 1.7 L8, section 5 row 4", "redpanda-data/helm-charts#468"],
    }
    PrefixTemplateUnused {
        sees: "The advertised names are not what the template says.",
        why: "PREFIX_TEMPLATE is set, and no address mentions it. The shell expands the template and nobody uses the result.",
        tell: "Look for $PREFIX_TEMPLATE in external.addresses.",
        change: "Mention $PREFIX_TEMPLATE in the address, or remove the template.",
        sources: ["docs/facts/redpanda.md 1.7 L9, section 5 row 47"],
    }
    AdvertisedListenersDiffer {
        sees: "Producers work and consumer groups hang, or some clients are told addresses of another listener.",
        why: "Metadata answers by listener name. Where a name is missing, Redpanda guesses by port or takes the first entry, and FindCoordinator answers with an error. A name that no listener has, and a second address under one name, are never told to anybody.",
        tell: "Compare the names in kafka_api and advertised_kafka_api of redpanda.yaml, on each broker.",
        change: "Advertise every listener of kafka_api under its own name, in the same way on every broker.",
        sources: ["docs/facts/redpanda.md 1.7 L15, 4.1, section 5 row 48", "redpanda-data/helm-charts#1150"],
    }
    DnsRecordMismatch {
        sees: "external-dns has made records, and clients cannot resolve the names that brokers advertise.",
        why: "The Service's external-dns annotation creates a record for a name that no broker advertises, for instance because the annotation leaves external.addresses out.",
        tell: "Compare the annotation external-dns.alpha.kubernetes.io/hostname with the broker list.",
        change: "Make the annotation's host name equal to the advertised host.",
        sources: ["docs/facts/redpanda.md section 5 row 39", "redpanda-data/helm-charts#1470"],
    }
    WrongBroker {
        sees: "Requests for partitions of one broker are refused, and refreshing metadata does not help.",
        why: "The broker behind the advertised address is not the one that advertises it.",
        tell: "Follow the hops of the route: the last translation shows where the connection goes instead.",
        change: "Follow the listed hops: the last translation shows where the connection goes instead.",
        sources: ["docs/facts/redpanda.md 1.7 L8"],
    }
    InternalAddressOutside {
        sees: "The bootstrap connection works, and then the client cannot resolve a name that ends in svc.cluster.local.",
        why: "The client came in by a listener that advertises names of the cluster's own DNS, which exist only inside: by a port-forward, or by a Service that leads to the internal listener. A client is told the addresses of the listener that it came in by.",
        tell: "rpk cluster metadata -X brokers=BOOTSTRAP lists names that end in svc.cluster.local.",
        change: "Let clients outside enter by a listener with an external advertised address; point the Service at that listener's port.",
        sources: ["docs/facts/redpanda.md 4.1, section 5 rows 2 and 28", "confluentinc/kafka-images#191", "bitnami/charts#3154"],
    }
    AddressLeadsNowhere {
        sees: "i/o timeout, or no route to host.",
        why: "The advertised address belongs to no node and no load balancer, so packets to it leave for nowhere: the machine is gone, or its address has changed.",
        tell: "Resolve the advertised name outside and compare the result with kubectl get nodes -o wide and the load balancers' addresses.",
        change: "Advertise the address of a node or of a load balancer; check the DNS record.",
        sources: ["docs/facts/redpanda.md section 5 rows 31 and 49"],
    }
    ClusterAddressOutside {
        sees: "A client outside gets no answer from an address of the cluster.",
        why: "Cluster IPs exist only in the rules of nodes, and pod addresses only in the routes between them. Outside the cluster nobody knows a way.",
        tell: "The address lies in the cluster's service network or pod network.",
        change: "Use a node port, a load balancer or an Ingress for clients outside.",
        sources: ["docs/facts/kubernetes.md 6"],
    }
    OtherClusterDomain {
        sees: "Names that end in svc.cluster.local do not resolve, and brokers never find each other.",
        why: "The cluster's domain is another than the one in the name: the kubelets were given a clusterDomain of their own, and the manifests were rendered for the default.",
        tell: "cat /etc/resolv.conf in any pod shows the domain in its search list.",
        change: "Set clusterDomain of the chart to the cluster's domain, and correct names that were written by hand.",
        sources: ["docs/facts/redpanda.md section 5 row 19", "redpanda-data/helm-charts#313"],
    }
    LoopbackAdvertised {
        sees: "The client dials 127.0.0.1 or localhost and is refused.",
        why: "A loopback address is the machine of whoever dials it. It can lead to a broker only where the client runs on the broker's own node, and only with kube-proxy in iptables mode: in nftables mode a node opens node ports on its own addresses alone.",
        tell: "The broker list shows 127.0.0.1 or localhost.",
        change: "Advertise the node's address or a name for it.",
        sources: ["docs/facts/redpanda.md 1.10, section 5 row 45"],
    }
}
