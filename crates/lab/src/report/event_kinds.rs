//! The kinds of events of a run, and what each tells: what expected events, triggers of faults, reports and traces call
//! them. The parts of the cluster that note them know nothing of this list; a test compares it with what they say.

/// The kinds of events of reports, in the order of their names, and what they tell.
pub const EVENT_KINDS: [(&str, &str); 83] = [
    ("api_server.started", "the API server answers again"),
    ("api_server.stopped", "it does not answer"),
    ("broker.ready", "a broker has started and serves; the pod is the detail"),
    ("certificate.expired", "the certificate of a Secret has expired"),
    ("certificate.renewed", "it is renewed"),
    ("claim.deleted", "somebody has deleted a PersistentVolumeClaim"),
    ("conntrack.expired", "a node has forgotten its flows to an address"),
    ("conntrack.filled", "a node's connection tracking table is full"),
    ("conntrack.flushed", "a node has forgotten all its flows"),
    ("conntrack.freed", "the table has room again"),
    ("container.exited", "a container's process has ended; the detail says why"),
    ("container.hung", "a process is stopped (SIGSTOP)"),
    ("container.resumed", "it goes on"),
    ("container.slowed", "everything that a process does takes so many times as long"),
    ("container.unhealthy", "a startup or liveness probe has failed: the container is restarted"),
    ("disk.broken", "something is wrong with the disk of a claim"),
    ("disk.mended", "it is as it was"),
    ("dns.down", "name servers do not answer"),
    ("dns.forgets_answers", "their caches forget in time again"),
    ("dns.frozen", "name servers learn nothing new"),
    ("dns.keeps_answers", "their caches forget nothing"),
    ("dns.slow", "each answer takes so much longer"),
    ("dns.thawed", "name servers catch up"),
    ("dns.up", "they answer again"),
    ("fault.missed", "a fault that may miss has found nothing that it could do; the detail says why"),
    ("firewall.blocked", "a firewall drops what goes to a port"),
    ("firewall.unblocked", "it lets the port through again"),
    ("kube_proxy.lags", "kube-proxy learns of every change so much later"),
    ("kube_proxy.started", "kube-proxy runs again"),
    ("kube_proxy.stopped", "it has ended; the node keeps its rules"),
    ("kubelet.started", "a kubelet runs again"),
    ("kubelet.stopped", "it has ended; the containers run on"),
    ("link.impaired", "a way between two places is cut or worse than it was; the detail says how"),
    ("link.mended", "it is as it was"),
    ("load_balancer.addresses", "the addresses at which a load balancer serves"),
    ("load_balancer.announced", "a node announces a load balancer's address to its network"),
    ("load_balancer.created", "a Service has got its load balancer"),
    ("load_balancer.down", "a load balancer forwards nothing"),
    ("load_balancer.flows_expired", "it has dropped its flows as if they had been silent for too long"),
    ("load_balancer.refused", "a Service gets no load balancer; the detail says why"),
    ("load_balancer.registers_slowly", "it takes so long with each new target"),
    ("load_balancer.target_deregistered", "a target is to receive no new flows"),
    ("load_balancer.target_healthy", "a target receives flows"),
    ("load_balancer.target_left", "the last flows of a deregistered target are over"),
    ("load_balancer.target_unhealthy", "a target fails its checks"),
    ("load_balancer.up", "it forwards again"),
    ("node.clock_set", "a node's clock is wrong, or right again; the detail says by how much"),
    ("node.cordoned", "a node takes no new pods"),
    ("node.cut_from_control_plane", "a node cannot reach the API server"),
    ("node.cut_from_network", "a node's packets are lost"),
    ("node.deleted", "somebody has deleted a Node object"),
    ("node.drained", "every pod that had to leave has left"),
    ("node.not_ready", "the control plane has heard nothing of a kubelet for too long"),
    ("node.power_off", "a machine has lost its power"),
    ("node.power_on", "it has power again, and boots"),
    ("node.reconnected_to_control_plane", "a node reaches the API server again"),
    ("node.reconnected_to_network", "a node's packets come through again"),
    ("node.shut_down", "a machine is shut down in order"),
    ("node.tainted", "a node has got a taint"),
    ("node.uncordoned", "a node takes new pods"),
    ("node.untainted", "a taint is gone"),
    ("object.configured", "`kubectl apply` has changed an object"),
    ("object.created", "`kubectl apply` has created one"),
    ("pod.collected", "the pod garbage collector has removed a pod that no kubelet will finish"),
    ("pod.created", "a controller has created a pod"),
    ("pod.deleted", "a pod's deletion was asked for; the detail says by whom"),
    ("pod.evicted", "a pod has to leave its node"),
    ("pod.init_failed", "an init container has failed"),
    ("pod.not_ready", "a pod is not ready any more"),
    ("pod.ready", "a pod is ready"),
    ("pod.scheduled", "a pod has got its node"),
    ("pod.stopped", "all processes of a pod have ended"),
    ("pod.unschedulable", "no node suits a pod"),
    ("pod.waiting", "a pod cannot start yet; the detail says why"),
    ("volume.attached", "a volume is attached to a node"),
    ("volume.deleted", "a volume is deleted, and its data with it"),
    ("volume.detached", "a volume is detached from a node"),
    ("workload.created", "somebody has created a StatefulSet"),
    ("workload.deleted", "somebody has deleted a StatefulSet or a Deployment"),
    ("workload.restarted", "a rollout is restarted"),
    ("workload.rolled_back", "a StatefulSet goes back to its pod template before the present one"),
    ("workload.scaled", "a workload is to have so many pods"),
    ("workload.updated", "a workload's pods are to run another image"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::trace::TRACE_KINDS;

    fn below_root(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
    }

    fn sources(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).expect("the repository has sources");
        let paths = entries.map(|entry| entry.expect("a directory entry").path());
        paths
            .flat_map(|path| match path.is_dir() {
                true => sources(&path),
                false => std::fs::read_to_string(&path).into_iter().collect(),
            })
            .collect()
    }

    /// Whether a text looks like a kind: two words with a point between them.
    fn is_kind(text: &str) -> bool {
        let is_word =
            |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        text.split_once('.').is_some_and(|(object, what)| is_word(object) && is_word(what))
    }

    #[test]
    fn every_kind_that_is_noted_is_listed_once() {
        // The one thing of this form in these files that is something else: a file in a Secret.
        let other = "tls.crt";
        let files =
            [sources(&below_root("crates/kube/src")), sources(&below_root("crates/lab/src"))].concat();
        let without_tests =
            |text: &'_ String| text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
        let noting = files.iter().map(without_tests).filter(|text| text.contains("notable("));
        let noted: BTreeSet<String> = noting
            .flat_map(|text| {
                text.split('"').filter(|part| is_kind(part)).map(str::to_owned).collect::<Vec<_>>()
            })
            .filter(|kind| kind != other)
            .collect();
        let listed: Vec<&str> = EVENT_KINDS.iter().map(|(kind, _)| *kind).collect();
        assert!(listed.is_sorted(), "{listed:?}");
        assert_eq!(noted.iter().map(String::as_str).collect::<Vec<_>>(), listed);
    }

    #[test]
    fn the_guide_lists_every_kind_and_no_other() {
        let guide = std::fs::read_to_string(below_root("docs/page.md")).expect("it is there");
        let (_, table) = guide.split_once("### Instants\n").expect("it lists the instants of traces");
        let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
        let kinds = TRACE_KINDS.iter().chain(&EVENT_KINDS);
        let wanted: Vec<String> = kinds.map(|(kind, tells)| format!("| `{kind}` | {tells} |")).collect();
        assert_eq!(rows, wanted, "docs/page.md should say:\n{}", wanted.join("\n"));
    }
}
