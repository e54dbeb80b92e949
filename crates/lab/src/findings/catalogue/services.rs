//! Services, nodes and load balancers: where packets go and where they stop.

use super::{Code, Text, texts};

texts! {
    NodeWithoutEndpoint {
        sees: "The client times out; nobody refuses.",
        why: "With externalTrafficPolicy Local a node serves only pods of its own. A connection to a node without such a pod is dropped in silence.",
        tell: "kubectl get pods -o wide shows no broker on the node that the address belongs to.",
        change: "Advertise the address of the node that runs the broker, or set externalTrafficPolicy to Cluster and accept the extra hop and the loss of the client's address.",
        sources: ["docs/facts/redpanda.md 1.10, section 5 row 10", "kubernetes/kubernetes#66354"],
    }
    ServiceWithoutEndpoints {
        sees: "Connections to the Service are refused at once.",
        why: "No pod behind the Service takes connections, so every node refuses them.",
        tell: "kubectl get endpointslices -l kubernetes.io/service-name=SERVICE lists no address.",
        change: "Start the pods, or correct the selector; see the Service's endpoints.",
        sources: ["docs/facts/redpanda.md 1.10"],
    }
    BrokersShareNode {
        sees: "A connection to a node reaches one of two brokers at random: NOT_LEADER_FOR_PARTITION comes and goes.",
        why: "A node port with the policy Local leads to any of the Service's pods on the node, and two brokers run on it, or may as soon as a node is lost.",
        tell: "kubectl get pods -o wide shows two brokers on one node.",
        change: "Require pods to keep off each other's nodes (podAntiAffinity with requiredDuringScheduling...), or use one Service per broker.",
        sources: ["docs/facts/redpanda.md 1.7 L12, section 5 row 33"],
    }
    SelectorMatchesNothing {
        sees: "Connections to the Service are refused, and its name has no address.",
        why: "No pod carries all labels of the Service's selector.",
        tell: "kubectl get pods -l SELECTOR lists nothing.",
        change: "Correct the selector or the pods' labels.",
        sources: ["docs/facts/kubernetes.md 4"],
    }
    SelectorMatchesOthers {
        sees: "A part of the connections is refused or answered by something that is no broker, perhaps only while a Job runs.",
        why: "Other pods carry the labels of the brokers' Service. A part of the connections goes to them.",
        tell: "kubectl get pods -l SELECTOR lists pods that are no brokers.",
        change: "Add a label to the selector that only brokers carry.",
        sources: ["docs/facts/redpanda.md 1.5, section 5 row 43"],
    }
    HeadlessHidesNotReady {
        sees: "Brokers never form a cluster, or the name of a restarted broker is missing for half a minute.",
        why: "Brokers become ready only when they have met; they meet by names that exist only when they are ready. Resolvers remember that a name is missing.",
        tell: "kubectl get service -o yaml shows publishNotReadyAddresses false or absent.",
        change: "Set publishNotReadyAddresses: true on the headless Service.",
        sources: ["docs/facts/redpanda.md section 5 rows 16 and 17", "kubernetes/kubernetes#92559", "nats-io/k8s#441"],
    }
    PortFilteredOnTheWay {
        sees: "The client times out, or is refused by something that is no broker.",
        why: "A device on the way drops or refuses the packets: a packet filter, a security group, a network policy, or a route that is missing.",
        tell: "It works from inside; tcpdump on the node shows that the packets do not come, or are not passed on.",
        change: "See the listed hop: its detail names the rule or the missing route.",
        sources: ["docs/facts/redpanda.md section 5 row 44", "redpanda-data/redpanda#10261"],
    }
    IdleFlowsForgotten {
        sees: "A client that was silent for some minutes sends a request, and it times out or is reset; the retry works.",
        why: "A Kafka client keeps an idle connection for 9 minutes (connections.max.idle.ms). The load balancer forgets it earlier, with a reset for the next packet or in silence.",
        tell: "The failures come after pauses that are longer than the load balancer's idle timeout (AWS 350 s, Azure 240 s).",
        change: "Set the client's connections.max.idle.ms, or its TCP keep-alive, below the load balancer's idle timeout.",
        sources: ["docs/facts/redpanda.md 6.3, section 5 rows 14 and 15", "confluentinc/librdkafka#3289"],
    }
    InClusterByNodePort {
        sees: "A pod that dials NODE:31092 reaches a random broker.",
        why: "The policy Local does not hold for traffic that comes from pods: kube-proxy sends it to any of the Service's brokers.",
        tell: "The client runs in a pod and its bootstrap servers are node addresses.",
        change: "Let clients inside use the internal listener.",
        sources: ["docs/facts/redpanda.md 1.10, section 5 row 51"],
    }
    Hairpin {
        sees: "A pod cannot reach its own broker through the load balancer, and times out; other pods can.",
        why: "The load balancer keeps the client's address, so a packet of a node arrives at that same node with its own address as the source, and is dropped.",
        tell: "It fails exactly for clients on the broker's own node.",
        change: "Let clients inside use the internal listener, or turn off the preservation of client addresses.",
        sources: ["docs/facts/redpanda.md section 5 row 13", "kubernetes/cloud-provider-aws#1160"],
    }
    SourceHidden {
        sees: "Logs, quotas and access lists show a node's or load balancer's address for all clients.",
        why: "A device on the way puts its own address in the place of the client's (masquerade), so that the answer comes back through it and can be translated back.",
        tell: "The broker's log names the node.",
        change: "Nothing, unless the server goes by its clients' addresses: externalTrafficPolicy Local keeps them, and so do clients that dial the pods directly.",
        sources: ["docs/facts/kubernetes.md 6"],
    }
    ExtraHop {
        sees: "Requests take a detour over another node, with traffic between nodes or zones.",
        why: "With externalTrafficPolicy Cluster any node takes a connection from outside and hands it to any pod, wherever that runs.",
        tell: "The hops of the route show two nodes.",
        change: "Dial the pod's own node, or set externalTrafficPolicy to Local so that only nodes with a pod answer.",
        sources: ["docs/facts/kubernetes.md 6"],
    }
    AffinityPins {
        sees: "One pod has most of the load.",
        why: "With sessionAffinity ClientIP each node remembers which pod it gave to an address. All clients behind one address (a NAT, a node, a load balancer) share the pod.",
        tell: "kubectl get service -o yaml shows sessionAffinity: ClientIP.",
        change: "Remove sessionAffinity if the load should spread.",
        sources: ["docs/facts/kubernetes.md 6"],
    }
    SourceRangeExcludes {
        sees: "Some clients time out at the load balancer, others do not.",
        why: "Nodes drop packets to the load balancer's address whose source is in none of the ranges; pods and nodes are no exception. The node ports and the cluster IP are not protected by the ranges.",
        tell: "Compare the client's address with spec.loadBalancerSourceRanges.",
        change: "Add the client's network to loadBalancerSourceRanges, or let clients inside use the cluster IP.",
        sources: ["docs/facts/redpanda.md 1.10"],
    }
    NothingListens {
        sees: "Connection refused, by the pod itself.",
        why: "The packet reaches the pod, and the pod's own kernel refuses it: no process listens on that port.",
        tell: "ss -ltn in the pod does not list the port.",
        change: "Correct the Service's targetPort or the port that the program listens on; see whether the program has started.",
        sources: ["docs/facts/linux.md"],
    }
    PolicyDenies {
        sees: "The client times out.",
        why: "A network policy or another packet filter of the node drops the packets. No answer is sent, so the client waits until its own time is over.",
        tell: "kubectl get networkpolicy -A lists a policy that selects the server's or the client's pods.",
        change: "Allow the client's pods and namespace, or its network, in a policy that selects the server's pods; mind the egress policies of the client's own namespace.",
        sources: ["docs/facts/kubernetes.md 9"],
    }
    BalancerAnnotationNotFollowed {
        sees: "Nothing, unless the annotation matters.",
        why: "The Service asks its cloud's load balancer for something by an annotation that is not known here, or that changes nothing of what is simulated. It may change where packets go.",
        tell: "Read the cloud's description of the annotation.",
        change: "Nothing, unless the annotation matters to your clients; the cluster file can declare the load balancer as it is.",
        sources: ["docs/cluster-file.md"],
    }
    BalancerKeepsTarget {
        sees: "For up to a minute and a half after a pod has moved or restarted, clients outside time out at its load balancer.",
        why: "The load balancer still sends connections to the pod's old node, or already to a node where it has not started. With the policy Local that node drops them. The load balancer learns where the pod is from its health checks alone (several checks, 10 to 30 seconds apart).",
        tell: "The failures begin when the pod goes and end when the load balancer's target status changes.",
        change: "Make the load balancer's health checks faster, or set externalTrafficPolicy to Cluster so that every node passes connections on, and accept the extra hop.",
        sources: ["docs/facts/redpanda.md 1.10, section 5 rows 11 and 12", "kubernetes/kubernetes#73362", "kubernetes/kubernetes#85643"],
    }
}
