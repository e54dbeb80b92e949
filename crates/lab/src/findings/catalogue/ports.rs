//! Ports: what Services open, where they lead, and what is spoken there.

use super::{Code, Text, texts};

texts! {
    PortNotOpened {
        sees: "One broker can be reached and the others refuse, or all of them.",
        why: "The advertised port is neither a node port nor a load balancer's port. The chart's Services open only the first of several advertisedPorts, whatever the broker's ordinal.",
        tell: "Compare the ports of the broker list with the PORT(S) column of kubectl get service.",
        change: "Advertise the port that the Service opens, or open the advertised port.",
        sources: ["docs/facts/redpanda.md 1.7 L1, section 5 row 7", "redpanda-data/helm-charts#660"],
    }
    NodePortOutOfRange {
        sees: "kubectl apply or helm says \"provided port is not in the valid range\", and the Service is not there.",
        why: "The API server rejects a Service whose node port is outside its range, so that none of its ports is opened. The chart does not check.",
        tell: "kubectl get service does not list the Service.",
        change: "Choose a node port within the range, or start the API server with another --service-node-port-range.",
        sources: ["docs/facts/redpanda.md 1.7 L2, section 5 row 9", "redpanda-data/redpanda#13347"],
    }
    LoadBalancerPortMismatch {
        sees: "Clients time out or are refused at the load balancer.",
        why: "The load balancer's Service has another port than the one that brokers advertise. Without advertisedPorts the chart gives the Service the internal listener's number and advertises the external one; of several it opens the first.",
        tell: "Compare the advertised port with the first number of the PORT(S) column of kubectl get service.",
        change: "Set advertisedPorts of the listener, or give the Service the advertised port.",
        sources: ["docs/facts/redpanda.md 1.7 L3 and L4", "redpanda-data/helm-charts#254"],
    }
    ListenerNotExposed {
        sees: "Clients that are told the address of this listener cannot reach it.",
        why: "The brokers advertise an address of the listener, and no NodePort or LoadBalancer Service carries its port. With external.enabled false the chart leaves the Services out and the listeners in.",
        tell: "No Service of kubectl get service -o wide has the listener's port as a target.",
        change: "Enable the external Service, or remove the listener.",
        sources: ["docs/facts/redpanda.md 1.7 L14"],
    }
    NodePortUsedTwice {
        sees: "kubectl apply says \"provided port is already allocated\", and the second Service is not there.",
        why: "A node port belongs to one Service in the whole cluster. The API server rejects the second Service.",
        tell: "kubectl get service -A shows who has the port.",
        change: "Choose another node port for one of the two.",
        sources: ["docs/facts/kubernetes.md 3"],
    }
    ListenersShareNumber {
        sees: "The broker ends at its start with \"address in use\".",
        why: "Two listeners have one port. The second one cannot bind it.",
        tell: "Compare the ports of kafka_api, admin, pandaproxy_api, schema_registry_api and rpc_server in redpanda.yaml.",
        change: "Give each listener a port of its own.",
        sources: ["docs/facts/redpanda.md section 5 row 42", "redpanda-data/redpanda#3158"],
    }
    TargetsInternalListener {
        sees: "Clients outside bootstrap, are told internal names, and cannot resolve them; or meet the internal listener's TLS and users.",
        why: "The Service's target port is the port of a listener that advertises names inside the cluster.",
        tell: "The TARGETPORT of kubectl describe service is the internal listener's (9093 in the chart).",
        change: "Set targetPort to the external listener's port.",
        sources: ["docs/facts/redpanda.md section 5 rows 2 and 8", "redpanda-data/helm-charts#1113"],
    }
    LoadBalancerPending {
        sees: "EXTERNAL-IP of the Service stays <pending>, and its port is closed outside.",
        why: "Nothing gives the Service a load balancer: the profile is no managed cloud and the cluster file declares no instance.",
        tell: "kubectl get service shows <pending>.",
        change: "Declare an instance under loadBalancers in the cluster file, install a load balancer, or use NodePort.",
        sources: ["docs/facts/kubernetes.md 6"],
    }
    ProtocolMismatch {
        sees: "The client reports an answer that it does not understand.",
        why: "A plain client talks to a TLS port, or a client of one API to the port of another.",
        tell: "Compare the port with the listener's in redpanda.yaml.",
        change: "Compare the port with the listener's; turn TLS on in the client if the listener has it.",
        sources: ["docs/facts/redpanda.md section 5 rows 24 and 25"],
    }
    PlainTextPort {
        sees: "The client says \"first record does not look like a TLS handshake\" or \"wrong version number\".",
        why: "The client begins a TLS handshake as the listener is configured, and the other side takes the hello for garbage: the connection leads to a port that speaks plain text.",
        tell: "openssl s_client -connect HOST:PORT shows no certificate.",
        change: "Compare the Service's target port with the listener's port; turn TLS on for the listener that is reached, or off in the client.",
        sources: ["docs/facts/redpanda.md section 5 rows 24 and 25"],
    }
    TlsPort {
        sees: "A Kafka client says \"invalid large response size 352518912\", an HTTP client \"malformed HTTP response\", the broker \"Wrong SSL Version number\".",
        why: "The client speaks plain text and is answered with a TLS alert. 352518912 is the first bytes of that alert, read as a length.",
        tell: "openssl s_client -connect HOST:PORT shows a certificate.",
        change: "Compare the Service's target port with the listener's port; turn TLS on in the client.",
        sources: ["docs/facts/redpanda.md section 5 rows 24 and 25"],
    }
    AdminRedirectsInside {
        sees: "Reads of the Admin API work; some writes hang, or end with a name in svc.cluster.local that cannot be resolved.",
        why: "A write that another broker has to do is answered with a redirect (307). A broker that is asked by the host of one of its advertised Kafka addresses redirects to that address of the other broker, and by any other host to the other broker's name inside.",
        tell: "curl -v -X POST ADMIN/v1/security/users shows a Location header with a name inside.",
        change: "Let clients reach each broker's Admin API at the host that its Kafka listener advertises (the same node port Service or the same load balancer), or run rpk inside the cluster.",
        sources: ["docs/facts/redpanda.md 3.1.3, section 5 row 27", "redpanda-data/redpanda#2865", "redpanda-data/redpanda#4820"],
    }
}
