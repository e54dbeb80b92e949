use super::*;
use crate::findings::{Code, Finding};
use crate::place::Place;
use crate::report::probe::ProbeReport;

fn hop(device: &str, action: &str, src: &str, dst: &str, at_ns: u64, detail: Option<&str>) -> Hop {
    let [device, action, src, dst] = [device, action, src, dst].map(str::to_owned);
    Hop { device, action, src, dst, at_ns, detail: detail.map(str::to_owned) }
}

fn through_another_node() -> Probe {
    let label = Some("Service demo/echo port echo");
    Probe {
        report: ProbeReport {
            outcome: Outcome::Ok,
            candidates: vec!["demo/echo-0".into(), "demo/echo-1".into()],
            served_by: [("demo/echo-1".to_owned(), 3)].into(),
            source_seen: Some("10.0.0.10".into()),
            masqueraded: true,
            hops: vec![
                hop("external", "sent", "198.51.100.101:40000", "10.0.0.10:31000", 5_000, None),
                hop("edge", "forwarded", "198.51.100.101:40000", "10.0.0.10:31000", 10_005_000, None),
                hop("node-0", "dnat+snat", "10.0.0.10:50000", "10.244.1.2:7000", 10_010_000, label),
                hop("demo/echo-1", "delivered", "10.0.0.10:50000", "10.244.1.2:7000", 10_020_000, None),
            ],
            ttl_seen: Some(61),
            connect_ns: Some(20_400_000),
        },
        from: Place::External(None),
        to: "nodes.example.com:31000".into(),
        transport: Transport::Tcp,
        addresses: vec!["10.0.0.10".into(), "10.0.0.11".into()],
        outcomes: [("ok".to_owned(), 3)].into(),
        said: String::new(),
        findings: vec![Finding::new(Code::SourceHidden, "Service demo/echo", "Because of the policy.")],
    }
}

#[test]
fn a_way_that_works_tells_who_could_be_chosen_and_what_each_hop_did() {
    insta::assert_snapshot!(probe_text(&through_another_node(), Paper::default()));
}

#[test]
fn a_way_that_ends_tells_where_and_why() {
    let works = through_another_node();
    let mut hops = works.report.hops[..2].to_vec();
    let why = "externalTrafficPolicy Local and no endpoint of Service demo/echo on node-0";
    hops.push(hop("node-0", "dropped", "198.51.100.101:40000", "10.0.0.10:31000", 10_010_000, Some(why)));
    let report = ProbeReport {
        outcome: Outcome::Timeout,
        candidates: vec![],
        served_by: [].into(),
        source_seen: None,
        masqueraded: false,
        hops,
        ttl_seen: None,
        connect_ns: Some(10_000_000_000),
    };
    let probe = Probe {
        report,
        outcomes: [("timeout".to_owned(), 1)].into(),
        said: "connecting to 10.0.0.10:31000: no answer within 10s".into(),
        findings: vec![Finding::new(Code::NodeWithoutEndpoint, "Service demo/echo", "No pod is there.")],
        ..works
    };
    insta::assert_snapshot!(probe_text(&probe, Paper::default()));
}

#[test]
fn the_json_has_the_fields_of_the_command_line_and_no_others() {
    let json = serde_json::to_value(through_another_node()).expect("plain data");
    let keys: Vec<&str> = json.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut promised = [
        "outcome",
        "candidates",
        "served_by",
        "source_seen",
        "masqueraded",
        "hops",
        "ttl_seen",
        "connect_ns",
    ];
    let mut seen = keys.clone();
    seen.sort_unstable();
    promised.sort_unstable();
    assert_eq!(seen, promised);
    let read: ProbeReport = serde_json::from_value(json).expect("a report");
    assert_eq!(read, through_another_node().report);
}
