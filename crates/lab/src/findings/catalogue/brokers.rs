//! Brokers and their pods: starting, stopping, and who they are.

use super::{Code, Text, texts};

texts! {
    NoDrainBeforeStop {
        sees: "Whenever a broker stops, its partitions have no leader for some seconds.",
        why: "With two replicas or fewer a broker does not hand over its leaderships before it stops, so that clients wait for an election.",
        tell: "kubectl get statefulset shows two replicas or fewer.",
        change: "Run three replicas or more.",
        sources: ["docs/facts/redpanda.md 1.7 L13, 1.5"],
    }
    SeedServerUnknown {
        sees: "Brokers start and never become ready; their logs repeat that a seed server cannot be resolved.",
        why: "The name of a seed server is not one that the cluster's DNS can have: its Service does not exist, or the cluster domain is another. Brokers wait for it and never form a cluster.",
        tell: "Look the seed server's name up in a broker's pod.",
        change: "Use the name POD.SERVICE.NAMESPACE.svc.DOMAIN with the StatefulSet's serviceName and the cluster's own domain.",
        sources: ["docs/facts/redpanda.md 1.7 L16, 2.3, section 5 row 19"],
    }
    MissingReference {
        sees: "Pods stay in ContainerCreating.",
        why: "A pod refers to a ConfigMap, Secret or claim that is not there.",
        tell: "kubectl describe pod says \"configmap ... not found\".",
        change: "Add the object to the manifests, or mark the reference as optional.",
        sources: ["docs/facts/kubernetes.md 8"],
    }
    FewerNodesThanReplicas {
        sees: "A broker stays Pending, and the cluster never forms.",
        why: "The brokers refuse to share a node. Those beyond the number of nodes stay Pending.",
        tell: "kubectl describe pod says \"didn't match pod anti-affinity rules\".",
        change: "Add nodes, or lower the replicas.",
        sources: ["docs/facts/redpanda.md 1.5, section 5 row 32"],
    }
    BrokerNotRunning {
        sees: "Connections to the broker are refused or lost.",
        why: "The pod is not running, its listener is not open yet, or the broker's process has ended.",
        tell: "kubectl get pods and kubectl logs of the broker.",
        change: "See the pod's reason.",
        sources: ["docs/facts/redpanda.md 2.3"],
    }
    InternalListenerMissing {
        sees: "HTTP Proxy, Schema Registry and clients inside are slow, cost traffic, and fail when the way outside fails.",
        why: "Every Kafka listener advertises an address for outside, and those inside use the brokers' first listener. It leads out of the cluster and back in.",
        tell: "No entry of advertised_kafka_api ends in svc.DOMAIN.",
        change: "Add a listener that advertises POD.SERVICE.NAMESPACE.svc.DOMAIN, as the first of kafka_api.",
        sources: ["docs/facts/redpanda.md section 5 row 41", "helm/charts#6670"],
    }
    RouteFailed {
        sees: "The route fails.",
        why: "The route fails for a reason that no other finding covers.",
        tell: "See the listed hops.",
        change: "See the listed hops.",
        sources: ["docs/findings.md"],
    }
    InitContainerFailed {
        sees: "Pods are in Init:Error or Init:CrashLoopBackOff.",
        why: "The pod's init container ends with an error, or its script uses something that is not interpreted here. The pod's containers never start.",
        tell: "kubectl logs POD -c INIT-CONTAINER.",
        change: "Correct the line of the script that is named.",
        sources: ["docs/facts/redpanda.md 1.6"],
    }
    GhostBroker {
        sees: "The cluster stays unhealthy: rpk cluster health lists a node that is down, and the broker list has one more than there are pods.",
        why: "A broker lost its volume. Its id is on the volume, so the pod came back as a new broker, and the old id stays as a dead member until somebody decommissions it.",
        tell: "rpk redpanda admin brokers list shows a dead broker with the same internal address as one that lives.",
        change: "Decommission the dead id, and keep claims when pods are deleted.",
        sources: ["docs/facts/redpanda.md 2.3, section 5 row 34", "redpanda-data/redpanda#13133", "redpanda-data/helm-charts#253"],
    }
    IdIsNotOrdinal {
        sees: "A broker is decommissioned, and another one than was meant goes.",
        why: "A broker's id is given to it when it joins and kept on its volume; the pod's ordinal is another number. They are equal for the first brokers of a cluster at most.",
        tell: "rpk redpanda admin brokers list shows the id of each internal address.",
        change: "Look the id up by the broker's internal address before each decommission or maintenance.",
        sources: ["docs/facts/redpanda.md 0.8, 2.3, section 5 row 35", "redpanda-data/redpanda#11303"],
    }
    GraceTooShort {
        sees: "A pod that is deleted is killed while it still drains; its partitions wait for an election, and it recovers its log when it starts again.",
        why: "The time of the preStop hook counts towards terminationGracePeriodSeconds. When that is over the kubelet kills the process, whatever the hook is doing.",
        tell: "kubectl describe pod shows the container's exit code 137 after a deletion.",
        change: "Set terminationGracePeriodSeconds to twice the hook's time (the chart: 90 s for a hook of 45 s).",
        sources: ["docs/facts/redpanda.md 1.5, section 5 row 38", "redpanda-data/helm-charts#376"],
    }
    RemovedBrokerReturns {
        sees: "The pod of a broker that was decommissioned starts again and again and never becomes ready.",
        why: "A broker's identity is on its volume. The cluster remembers the identities that were decommissioned and does not let them join again.",
        tell: "kubectl logs of the broker says that its volume belonged to a broker which was removed.",
        change: "Scale the StatefulSet down after the broker is decommissioned, or delete the pod's claim so that it comes back with an empty volume, as another broker.",
        sources: ["docs/facts/redpanda.md 2.3, section 5 row 36", "redpanda-data/redpanda PR#8547"],
    }
    MaintenanceSlotTaken {
        sees: "A rolling restart stops: the preStop hook or rpk cluster maintenance enable is answered 400, and the broker is not drained.",
        why: "One broker at a time can be in maintenance. A broker that died in maintenance keeps the slot until somebody takes it out, and a ghost keeps it for ever.",
        tell: "rpk cluster maintenance status shows a broker that is draining and dead.",
        change: "rpk cluster maintenance disable for the broker that holds the slot, or decommission it if it is a ghost.",
        sources: ["docs/facts/redpanda.md 3.1, 4.5, section 5 row 37", "redpanda-data/redpanda-operator#1674", "redpanda-data/redpanda#31057"],
    }
}
