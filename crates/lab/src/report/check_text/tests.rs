use std::collections::BTreeMap;

use super::super::check::{Api, Listener, Pod};
use super::*;
use crate::findings::{Code, Position};
use crate::place::Place;

fn hop(device: &str, action: &str, src: &str, dst: &str, at_ns: u64) -> Hop {
    let (device, action, src, dst) = (device.to_owned(), action.to_owned(), src.to_owned(), dst.to_owned());
    Hop { device, action, src, dst, at_ns, detail: None }
}

fn route(broker: i32, outcome: Outcome) -> Route {
    let client = "203.0.113.7:40000";
    let node_port = "10.0.0.10:31092";
    let pod = "10.244.0.5:9094";
    Route {
        from: Place::External(None),
        api: Api::Kafka,
        listener: "default".into(),
        broker,
        address: format!("10.0.0.1{broker}:31092"),
        outcome,
        reached: (outcome == Outcome::Ok).then(|| format!("redpanda/redpanda-{broker}")),
        source_seen: (outcome == Outcome::Ok).then(|| "203.0.113.7".to_owned()),
        hops: vec![
            hop("client", "sent", client, node_port, 1_000),
            hop("internet", "forwarded", client, node_port, 10_001_000),
            hop("node-0", "dnat", client, pod, 10_101_000),
            hop("redpanda/redpanda-0", "delivered", client, pod, 10_108_500),
        ],
        connect_ns: (outcome == Outcome::Ok).then_some(20_217_000),
        request_ns: (outcome == Outcome::Ok).then_some(20_300_000),
    }
}

fn report() -> CheckReport {
    let mut timeout = route(1, Outcome::Timeout);
    timeout.hops = vec![hop("node-1", "dropped", "203.0.113.7:40001", "10.0.0.11:31092", 0)];
    timeout.hops[0].detail = Some("no endpoint on this node".into());
    let mut finding = Finding::new(
        Code::NodeWithoutEndpoint,
        "Service redpanda/redpanda-external",
        "a client at external, told 10.0.0.11:31092 for redpanda-1, times out: node-1 drops the connection.",
    )
    .field("spec.externalTrafficPolicy")
    .at(Some(&Position { file: "redpanda.yaml".into(), line: 61 }));
    finding.routes = vec![1];
    let broker = Broker {
        id: 0,
        pod: "redpanda/redpanda-0".into(),
        node: Some("node-0".into()),
        node_address: Some("10.0.0.10".into()),
        volumes: vec!["datadir-redpanda-0".into()],
        rack: None,
        listeners: vec![Listener {
            api: Api::Kafka,
            name: "default".into(),
            bind: "0.0.0.0:9094".into(),
            advertised: Some("10.0.0.10:31092".into()),
            tls: false,
            authentication: "none".into(),
        }],
    };
    let pod = |name: &str, ready: bool| Pod {
        pod: name.into(),
        phase: if ready { "Running" } else { "Pending" }.into(),
        ready,
        node: ready.then(|| "node-0".to_owned()),
        ip: None,
        reason: (!ready).then(|| "0/1 nodes match".to_owned()),
    };
    let service = Service {
        service: "redpanda/redpanda-external".into(),
        r#type: "NodePort".into(),
        cluster_ip: Some("10.96.0.20".into()),
        node_ports: BTreeMap::from([("kafka-default".to_owned(), 31092)]),
        ingress: vec![],
    };
    CheckReport::new(
        vec![broker],
        vec![route(0, Outcome::Ok), timeout],
        vec![finding],
        vec![pod("redpanda/redpanda-0", true), pod("redpanda/redpanda-1", false)],
        vec![service],
    )
}

#[test]
fn a_report_reads_from_the_verdict_down() {
    insta::assert_snapshot!(check_text(&report(), Paper::default()), @r"
    FAIL  1 of 2 routes work; 1 error, 0 warnings, 0 notes

    error HW0005: The node has no endpoint and the traffic policy is Local
       at: redpanda.yaml:61 (Service redpanda/redpanda-external, spec.externalTrafficPolicy)
      why: a client at external, told 10.0.0.11:31092 for redpanda-1, times out: node-1 drops the
           connection.
      fix: Advertise the address of the node that runs the broker, or set externalTrafficPolicy to
           Cluster and accept the extra hop and the loss of the client's address.
      for: #1 external -> broker 1, kafka listener default (10.0.0.11:31092)

    Brokers
    ┌────┬─────────────────────┬────────────────────┬────────────────────┬─────────────────┐
    │ id ┆ pod                 ┆ node               ┆ volumes            ┆ advertised      │
    ╞════╪═════════════════════╪════════════════════╪════════════════════╪═════════════════╡
    │  0 ┆ redpanda/redpanda-0 ┆ node-0 (10.0.0.10) ┆ datadir-redpanda-0 ┆ kafka default:  │
    │    ┆                     ┆                    ┆                    ┆ 10.0.0.10:31092 │
    └────┴─────────────────────┴────────────────────┴────────────────────┴─────────────────┘

    Routes
    ┌───┬──────────┬───────────────┬────────┬─────────────────┬─────────┬──────┬──────────┬──────────┐
    │ # ┆ from     ┆ listener      ┆ broker ┆ address         ┆ outcome ┆ hops ┆  connect ┆  request │
    ╞═══╪══════════╪═══════════════╪════════╪═════════════════╪═════════╪══════╪══════════╪══════════╡
    │ 0 ┆ external ┆ kafka default ┆      0 ┆ 10.0.0.10:31092 ┆ ok      ┆    2 ┆ 20.22 ms ┆ 20.30 ms │
    │ 1 ┆ external ┆ kafka default ┆      1 ┆ 10.0.0.11:31092 ┆ timeout ┆    1 ┆        - ┆        - │
    └───┴──────────┴───────────────┴────────┴─────────────────┴─────────┴──────┴──────────┴──────────┘

    Ways (one for each place, listener and outcome)
      #0 external -> broker 0, kafka listener default (10.0.0.10:31092): ok
              0 ns  client sent 203.0.113.7:40000 -> 10.0.0.10:31092
          10.00 ms  internet forwarded 203.0.113.7:40000 -> 10.0.0.10:31092
          10.10 ms  node-0 dnat 203.0.113.7:40000 -> 10.244.0.5:9094
          10.11 ms  redpanda/redpanda-0 delivered 203.0.113.7:40000 -> 10.244.0.5:9094
      #1 external -> broker 1, kafka listener default (10.0.0.11:31092): timeout
              0 ns  node-1 dropped 203.0.113.7:40001 -> 10.0.0.11:31092 (no endpoint on this node)

    Services
    ┌────────────────────────────┬──────────┬────────────┬─────────────────────┬─────────┐
    │ service                    ┆ type     ┆ cluster IP ┆ node ports          ┆ ingress │
    ╞════════════════════════════╪══════════╪════════════╪═════════════════════╪═════════╡
    │ redpanda/redpanda-external ┆ NodePort ┆ 10.96.0.20 ┆ kafka-default 31092 ┆ -       │
    └────────────────────────────┴──────────┴────────────┴─────────────────────┴─────────┘

    Pods that are not ready
    ┌─────────────────────┬─────────┬──────┬────┬─────────────────┐
    │ pod                 ┆ phase   ┆ node ┆ ip ┆ reason          │
    ╞═════════════════════╪═════════╪══════╪════╪═════════════════╡
    │ redpanda/redpanda-1 ┆ Pending ┆ -    ┆ -  ┆ 0/1 nodes match │
    └─────────────────────┴─────────┴──────┴────┴─────────────────┘
    ");
}

#[test]
fn every_line_fits_the_paper() {
    for width in [72, 80, 100, 132] {
        let text = check_text(&report(), Paper { width, colour: false });
        for line in text.lines() {
            assert!(line.chars().count() <= usize::from(width), "{width}: {line}");
        }
    }
}

#[test]
fn colour_changes_nothing_but_colour() {
    let plain = check_text(&report(), Paper::default());
    let coloured = check_text(&report(), Paper { colour: true, ..Paper::default() });
    assert!(coloured.contains('\u{1b}') && !plain.contains('\u{1b}'));
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        stripped.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    stripped.push_str(rest);
    assert_eq!(stripped, plain);
}

#[test]
fn the_json_has_the_promised_fields_and_is_read_back() {
    let report = report();
    assert_eq!(report.verdict, Verdict::Fail);
    let json = serde_json::to_value(&report).expect("plain data");
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
    };
    assert_eq!(keys(&json), ["verdict", "brokers", "routes", "findings", "pods", "services"]);
    assert_eq!(
        keys(&json["brokers"][0]),
        ["id", "pod", "node", "node_address", "volumes", "rack", "listeners"]
    );
    assert_eq!(
        keys(&json["brokers"][0]["listeners"][0]),
        ["api", "name", "bind", "advertised", "tls", "authentication"]
    );
    assert_eq!(
        keys(&json["routes"][0]),
        [
            "from",
            "api",
            "listener",
            "broker",
            "address",
            "outcome",
            "reached",
            "source_seen",
            "hops",
            "connect_ns",
            "request_ns"
        ]
    );
    assert_eq!(keys(&json["routes"][0]["hops"][0]), ["device", "action", "src", "dst", "at_ns"]);
    assert_eq!(keys(&json["services"][0]), ["service", "type", "cluster_ip", "node_ports", "ingress"]);
    assert_eq!(keys(&json["pods"][0]), ["pod", "phase", "ready", "node", "ip", "reason"]);
    assert_eq!(json["routes"][1]["outcome"], "timeout");
    assert_eq!(serde_json::from_value::<CheckReport>(json).expect("the same"), report);
}

#[test]
fn a_listener_that_is_not_exposed_fails_nothing_by_itself() {
    let report = CheckReport::new(vec![], vec![route(0, Outcome::NotExposed)], vec![], vec![], vec![]);
    assert_eq!(report.verdict, Verdict::Pass);
}
