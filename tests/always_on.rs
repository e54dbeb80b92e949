//! Checks that are always made fail in a run in which a broker or a client breaks its promise, and hold in the same run
//! without that.

use hopwise_lab::report::check::Verdict;
use hopwise_lab::report::run::{Check, RunReport};
use hopwise_tests::runs::{always_made, run, run_changed, with_client_outside};
use hopwise_tests::scenarios;

/// A client outside that produces and fetches for half a minute while `faults` (lines of the list) are played.
fn text(producers: &str, replication: u32, faults: &[&str]) -> String {
    let does = format!(
        r"workload:
  topics: [{{name: orders, partitions: 3, replication: {replication}}}]
  producers: {{requests: 60, recordSize: 100, interval: 500ms{producers}}}
  consumers: {{requests: 120, interval: 250ms}}
"
    );
    with_client_outside("always-on", faults, &does)
}

/// The check of that name.
fn check<'a>(report: &'a RunReport, name: &str) -> &'a Check {
    always_made(report, name).unwrap_or_else(|| panic!("there is no check {name}: {:#?}", report.checks))
}

/// Adds a line of YAML at the top.
fn with(line: &str, text: &str) -> String {
    format!("{line}\n{text}")
}

/// Checks that the check fails with these words, and the run with it.
fn fails(report: &RunReport, name: &str, words: &[&str]) {
    let seen = check(report, name);
    let told = words.iter().all(|words| seen.detail.contains(words));
    assert!(!seen.ok && told, "{words:?} are not told by {seen:#?}; all checks are {:#?}", report.checks);
    assert_eq!(report.verdict, Verdict::Fail);
}

/// The check fails with these words in the scenario with the bug, holds without it, and can be turned off.
fn is_seen(text: &str, bug: &str, name: &str, words: &str) {
    let sound = run(text);
    assert!(check(&sound, name).ok, "without {bug}: {:#?}", sound.checks);
    let buggy = with(bug, text);
    fails(&run(&buggy), name, &[words]);
    let off = run_changed(&buggy, |scenario| scenario.checks = scenario.checks.clone().without(name));
    assert!(always_made(&off, name).is_none(), "{:#?}", off.checks);
}

/// Cuts the broker on node-0 off from the others for 15 s, not from clients.
const APART: [&str; 2] = [
    "{at: 5s, for: 15s, cutLink: node/node-0 <-> node/node-1}",
    "{at: 5s, for: 15s, cutLink: node/node-0 <-> node/node-2}",
];

#[test]
fn a_sound_run_tells_what_was_examined() {
    let report = run(&text("", 3, &[]));
    assert_eq!(report.verdict, Verdict::Pass, "{:#?}", report.checks);
    for name in [
        "leader",
        "advertised",
        "lost-write",
        "duplicate",
        "send-order",
        "placement",
        "poll-order",
        "one-log",
        "identity",
        "at-most-one",
        "dns",
    ] {
        assert!(check(&report, name).detail.ends_with(" examined"), "{:#?}", check(&report, name));
    }
}

#[test]
fn an_acknowledgement_before_a_majority_is_seen_by_lost_writes() {
    is_seen(&text("", 3, &APART), "brokerBug: ack-before-majority", "lost-write", "lost-write: record");
}

#[test]
fn a_log_that_is_cut_and_written_again_is_seen_by_the_order_of_sends() {
    is_seen(
        &text("", 3, &APART),
        "brokerBug: ack-before-majority",
        "send-order",
        "inconsistent-offsets: outside/",
    );
}

#[test]
fn a_client_that_never_learns_who_leads_is_seen_by_its_progress() {
    let sound = text("", 3, &["{at: 5s, rebootNode: {node: node-0, downFor: 5s}}"])
        .replace("partitions: 3", "partitions: 1")
        .replace("requests: 60", "requests: 15")
        .replace("requests: 120", "requests: 30");
    let stale = sound.replace("    place: external", "    bug: stale-metadata\n    place: external");
    let report = run(&stale);
    let seen = check(&report, "progress");
    assert!(!seen.ok && seen.detail.contains("outside's produce was to be served by"), "{seen:#?}");
    let report = run(&sound);
    assert!(check(&report, "progress").ok, "{:#?}", report.checks);
}

#[test]
fn a_broker_that_hides_aborts_is_seen_by_aborted_reads() {
    let text = text(", transactions: {partitions: 2, abortEvery: 3}", 3, &[]);
    is_seen(&text, "brokerBug: hide-aborts", "transactions", "aborted-read (G1a): outside read outside/");
}

#[test]
fn a_broker_that_forgets_its_producers_is_seen_by_duplicates() {
    // The records arrive, their acknowledgements do not, and the brokers that have them start anew.
    let faults: Vec<String> = (0..3)
        .flat_map(|index| {
            let exit = format!("{{pod: redpanda/redpanda-{index}, container: redpanda}}");
            [
                format!("{{at: 5100ms, for: 6s, cutLink: node/node-{index} -> external}}"),
                format!("{{at: 9s, exitContainer: {exit}}}"),
            ]
        })
        .collect();
    let faults: Vec<&str> = faults.iter().map(String::as_str).collect();
    let text = text(", idempotent: true", 1, &faults);
    is_seen(
        &text,
        "brokerBug: forget-producers",
        "duplicate",
        "sent again after an attempt without an answer",
    );
}

#[test]
fn a_broker_that_serves_without_leading_is_seen_by_who_answers() {
    let stale = text("", 3, &["{at: 5s, rebootNode: {node: node-0, downFor: 5s}}"])
        .replace("    place: external", "    bug: stale-metadata\n    place: external");
    let report = run(&with("brokerBug: serve-without-leading", &stale));
    let seen = check(&report, "leader");
    assert!(!seen.ok && seen.detail.contains("answered as its leader, which it was not"), "{seen:#?}");
    let report = run(&stale);
    assert!(check(&report, "leader").ok, "{:#?}", report.checks);
}

#[test]
fn names_that_lead_to_another_broker_are_seen_by_who_answers() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let cluster = std::fs::read_to_string(scenarios().join("three-zones.yaml")).expect("it is there");
    let [first, second] = ["node-0.nodes.example.com: node/node-0", "node-1.nodes.example.com: node/node-1"];
    assert!(cluster.contains(first) && cluster.contains(second));
    let crossed = cluster
        .replace(first, "node-0.nodes.example.com: node/node-1")
        .replace(second, "node-1.nodes.example.com: node/node-0");
    let path = directory.path().join("crossed.yaml");
    std::fs::write(&path, crossed).expect("the directory can be written");
    let ours = scenarios().join("three-zones.yaml").display().to_string();
    let text = with("bounds: {run: 20s}", &text("", 3, &[])).replace(&ours, &path.display().to_string());
    let report = run(&text);
    let seen = check(&report, "advertised");
    assert!(!seen.ok, "{seen:#?}");
    assert!(
        seen.detail.contains("outside asked broker 0 at node-0.nodes.example.com:31092 (10.0.0.11)"),
        "{seen:#?}"
    );
    assert!(seen.detail.contains("and broker 1 answered"), "{seen:#?}");
}

#[test]
fn a_consumer_that_goes_back_is_seen_by_the_order_of_what_it_reads() {
    let sound = text("", 3, &["{at: 5s, rebootNode: {node: node-0, downFor: 5s}}"]);
    let forgetful = sound.replace("    place: external", "    bug: forget-position\n    place: external");
    let words = ["nonmonotonic-poll: outside read offset 0 of orders/", " at offset "];
    fails(&run(&forgetful), "poll-order", &words);
    let report = run(&sound);
    assert!(check(&report, "poll-order").ok, "{:#?}", report.checks);
}

#[test]
fn a_pod_that_is_replaced_before_it_has_ended_is_seen_by_at_most_one() {
    let text = text("", 3, &["{at: 5s, deletePod: redpanda/redpanda-1}"]);
    is_seen(&text, "clusterBug: confirm-before-end", "at-most-one", "two pods redpanda/redpanda-1 run at ");
}

/// Somebody who wants a broker under another name lets a StatefulSet of that name mount the claim of the old pod.
#[test]
fn a_volume_that_another_pod_mounts_is_seen_by_identities() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("heir.yaml");
    std::fs::write(&path, heir()).expect("the directory can be written");
    let back = |how: String| {
        text("", 3, &["{at: 5s, scale: {object: statefulSet redpanda/redpanda, replicas: 2}}", &how])
    };
    let inherited = back(format!("{{at: 15s, apply: {}}}", path.display()));
    fails(
        &run(&inherited),
        "identity",
        &["is redpanda/redpanda-2's, and redpanda/heir-0 mounts it by claim datadir-redpanda-2 at "],
    );
    let report =
        run(&back("{at: 15s, scale: {object: statefulSet redpanda/redpanda, replicas: 3}}".to_owned()));
    assert!(check(&report, "identity").ok, "{:#?}", report.checks);
}

/// The example's StatefulSet under the name `heir`: one pod, whose data is on the claim of redpanda-2.
fn heir() -> String {
    let brokers = std::fs::read_to_string(scenarios().join("manifests/brokers.yaml")).expect("it is there");
    let set = brokers.rsplit("---\n").next().expect("it has documents");
    let (set, _) = set.split_once("  volumeClaimTemplates:").expect("it has claims");
    let edits = [
        ("  name: redpanda\n", "  name: heir\n"),
        ("replicas: 3", "replicas: 1"),
        (
            "    matchLabels: {app: redpanda, role: broker}\n  template",
            "    matchLabels: {set: heir}\n  template",
        ),
        (
            "      labels: {app: redpanda, role: broker}",
            "      labels: {app: redpanda, role: broker, set: heir}",
        ),
    ];
    let renamed = edits.iter().fold(set.to_owned(), |set, (from, to)| {
        assert_eq!(set.matches(from).count(), 1, "{from} in {set}");
        set.replace(from, to)
    });
    renamed + "        - name: datadir\n          persistentVolumeClaim: {claimName: datadir-redpanda-2}\n"
}

/// Somebody has written a broker's address into CoreDNS's `hosts` and forgotten about it.
#[test]
fn an_address_that_is_pinned_in_coredns_is_seen_when_its_pod_has_another() {
    const NAME: &str = "redpanda-0.redpanda.redpanda.svc.cluster.local";
    let moves = text("", 3, &["{at: 5s, deletePod: redpanda/redpanda-0}"]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("coredns.yaml");
    let pinned = |text: &str, address: &str| {
        std::fs::write(&path, corefile(&format!("{address} {NAME}"))).expect("the directory can be written");
        run(&text.replace("manifests: [", &format!("manifests: [{}, ", path.display())))
    };
    // The same Corefile with another name pinned: nobody is misled.
    let report = pinned(&moves, "192.0.2.1 unused.example.com #");
    assert!(check(&report, "dns").ok, "{:#?}", report.checks);
    // Where the pod stands at first is the same in every run.
    let address = address_of("redpanda/redpanda-0", &run(&text("", 3, &[])));
    let words = format!("{NAME}. is [{address}] for coredns-");
    fails(&pinned(&moves, &address), "dns", &[&words, "and its ready endpoints have been ["]);
}

/// CoreDNS's ConfigMap as kubeadm has it, without its cache and with a line of `hosts`.
fn corefile(host: &str) -> String {
    format!(
        r"apiVersion: v1
kind: ConfigMap
metadata: {{name: coredns, namespace: kube-system}}
data:
  Corefile: |
    .:53 {{
        hosts {{
            {host}
            fallthrough
        }}
        kubernetes cluster.local in-addr.arpa ip6.arpa {{
            pods insecure
            fallthrough in-addr.arpa ip6.arpa
            ttl 30
        }}
        forward . /etc/resolv.conf
        loadbalance
    }}
"
    )
}

/// The address at which the client's way to a pod ends.
fn address_of(pod: &str, report: &RunReport) -> String {
    let mut last = report.ways.iter().filter_map(|way| way.hops.last());
    let hop = last.find(|hop| hop.device == pod).unwrap_or_else(|| panic!("{:#?}", report.ways));
    hop.dst.rsplit_once(':').map(|(address, _)| address.to_owned()).expect("an address and a port")
}
