//! What is read, and what is taken for granted about it.

use super::{Code, Text, texts};

texts! {
    RejectedByApiServer {
        sees: "kubectl prints an error, and the rest of the manifests is applied without the object.",
        why: "The object is well-typed, and the API server's validation refuses it.",
        tell: "kubectl apply --dry-run=server says the same.",
        change: "Correct the field.",
        sources: ["docs/facts/kubernetes.md 3"],
    }
    UnknownField {
        sees: "A setting has no effect.",
        why: "The kind has no such field. The API server drops it, or rejects the object under strict validation.",
        tell: "kubectl explain KIND.FIELD does not know it.",
        change: "Correct the field's name, or remove it.",
        sources: ["docs/facts/kubernetes.md 3"],
    }
    KindNotSimulated {
        sees: "Nothing.",
        why: "Objects of this kind are left out of the simulation.",
        tell: "Nothing to tell.",
        change: "Nothing, unless the objects change how traffic flows.",
        sources: ["README.md"],
    }
    ImageNotKnown {
        sees: "Nothing.",
        why: "What the image does is not known: each declared port is taken to answer with an echo, and its init containers are taken to succeed.",
        tell: "Nothing to tell.",
        change: "Nothing, unless clients of this check depend on what the image does.",
        sources: ["README.md"],
    }
    SecretAssumed {
        sees: "If the Secret does not exist, pods stay in ContainerCreating.",
        why: "The Secret is in no manifest and is taken to exist, made by hand or by an operator. One that holds a listener's certificate is taken to hold a good one: the names in it are not compared with the addresses that clients dial.",
        tell: "kubectl get secret NAME.",
        change: "Make sure that the Secret exists before the pods start.",
        sources: ["docs/facts/redpanda.md 1.3"],
    }
    ProbeAssumed {
        sees: "Nothing, unless the probe or hook fails in your cluster.",
        why: "What the probe or hook does is not modelled, in part or at all: a probe is taken to succeed while the program serves, a hook is taken to end at once.",
        tell: "Run the probe's command in the pod.",
        change: "Nothing, unless the probe fails in your cluster: readiness and restarts follow it there.",
        sources: ["docs/facts/kubernetes.md 8"],
    }
    CorefileIgnored {
        sees: "Names may be answered in another way than here.",
        why: "CoreDNS's ConfigMap holds a plugin or an option that is not simulated: names are answered as if it were not there.",
        tell: "Compare hopwise dns with nslookup in a pod.",
        change: "Nothing, unless the part changes what the names of this check resolve to.",
        sources: ["docs/facts/kubernetes.md 7"],
    }
}
