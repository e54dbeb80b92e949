use super::super::check::Hop;
use super::super::run::{Check, ClientCourse, Data, Event, Routing};
use super::*;
use crate::cost::CostItem;

fn hop(device: &str, action: &str, at_ns: u64) -> Hop {
    Hop {
        device: device.into(),
        action: action.into(),
        src: "203.0.113.7:40000".into(),
        dst: "10.0.0.10:31092".into(),
        at_ns,
        detail: None,
    }
}

fn row(route: &str, operation: &str, hops: u32, p50_ns: u64) -> LatencyRow {
    LatencyRow {
        route: route.into(),
        operation: operation.into(),
        count: 200,
        hops,
        min_ns: p50_ns - 1_000,
        p50_ns,
        p90_ns: p50_ns + 100_000,
        p99_ns: p50_ns + 200_000,
        p999_ns: p50_ns + 300_000,
        max_ns: p50_ns + 300_000,
    }
}

fn item(route: &str, item: &str, quantity: f64, usd_per_month: f64) -> CostItem {
    CostItem {
        route: route.into(),
        item: item.into(),
        unit: if item.contains("traffic") { "GB" } else { "hour" }.into(),
        quantity,
        usd_per_month,
        source: "a list".into(),
    }
}

fn way(route: &str, devices: &[&str]) -> Way {
    let mut hops = vec![hop("client", "sent", 0)];
    hops.extend(devices.iter().zip(1..).map(|(device, step)| hop(device, "forwarded", step * 1_000_000)));
    hops.push(hop("redpanda/redpanda-0", "delivered", 9_000_000));
    Way { route: route.into(), to: "redpanda-0 at 10.0.0.10:31092".into(), hops }
}

fn report() -> RunReport {
    RunReport {
        scenario: "nodeport-vs-loadbalancer".into(),
        seed: 1,
        verdict: Verdict::Fail,
        trace_hash: "8f".into(),
        simulated_ns: 61_000_000_000,
        wall_ns: 350_000_000,
        checks: vec![
            Check {
                name: "hops: nodeport is less than loadbalancer".into(),
                ok: true,
                detail: "3 and 4".into(),
            },
            Check { name: "no attempt fails after 20s".into(), ok: false, detail: "1 failed".into() },
        ],
        latency: vec![
            row("loadbalancer", "produce", 4, 20_600_000),
            row("nodeport", "produce", 3, 20_300_000),
        ],
        routing: Routing { requests: 400, to_leader: 400, metadata_refreshes: 2, ..Routing::default() },
        data: Data { acknowledged: 400, ..Data::default() },
        events: vec![Event {
            at_ns: 5_000_000_000,
            kind: "fault".into(),
            object: "Pod redpanda/redpanda-1".into(),
            detail: "deleted".into(),
        }],
        faults: vec![],
        outages: vec![],
        cost: vec![
            item("loadbalancer", "load balancers", 2190.0, 49.275),
            item("loadbalancer", "traffic to the internet", 1000.0, 90.0),
            item("nodeport", "traffic to the internet", 1000.0, 90.0),
        ],
        clients: Vec::new(),
        findings: vec![],
        ways: vec![
            way("nodeport", &["internet", "zone-a", "node-0"]),
            way("loadbalancer", &["internet", "lb-redpanda-0", "zone-a", "node-0"]),
        ],
    }
}

#[test]
fn a_report_reads_from_the_verdict_down() {
    insta::assert_snapshot!(run_text(&report(), Paper::default()), @r"
    FAIL  nodeport-vs-loadbalancer (seed 1): 1 of 2 checks hold
          400 requests: 400 to the leader, 0 misrouted, 0 retried, 0 failed; metadata refreshed 2 times.
          61.00 s simulated in 350.00 ms; trace 8f.

    Checks
      FAIL no attempt fails after 20s (1 failed)
      ok   hops: nodeport is less than loadbalancer (3 and 4)

    Latency
    ┌──────────────┬───────────┬───────┬──────┬──────────┬──────────┬──────────┬──────────┐
    │ route        ┆ operation ┆ count ┆ hops ┆      p50 ┆      p90 ┆      p99 ┆      max │
    ╞══════════════╪═══════════╪═══════╪══════╪══════════╪══════════╪══════════╪══════════╡
    │ loadbalancer ┆ produce   ┆   200 ┆    4 ┆ 20.60 ms ┆ 20.70 ms ┆ 20.80 ms ┆ 20.90 ms │
    │ nodeport     ┆ produce   ┆   200 ┆    3 ┆ 20.30 ms ┆ 20.40 ms ┆ 20.50 ms ┆ 20.60 ms │
    └──────────────┴───────────┴───────┴──────┴──────────┴──────────┴──────────┴──────────┘

    Hops (one way of each route)
      nodeport -> redpanda-0 at 10.0.0.10:31092
              0 ns  client sent 203.0.113.7:40000 -> 10.0.0.10:31092
          1.000 ms  internet forwarded 203.0.113.7:40000 -> 10.0.0.10:31092
          2.000 ms  zone-a forwarded 203.0.113.7:40000 -> 10.0.0.10:31092
          3.000 ms  node-0 forwarded 203.0.113.7:40000 -> 10.0.0.10:31092
          9.000 ms  redpanda/redpanda-0 delivered 203.0.113.7:40000 -> 10.0.0.10:31092
      loadbalancer -> redpanda-0 at 10.0.0.10:31092
              0 ns  client sent 203.0.113.7:40000 -> 10.0.0.10:31092
          1.000 ms  internet forwarded 203.0.113.7:40000 -> 10.0.0.10:31092
          2.000 ms  lb-redpanda-0 forwarded 203.0.113.7:40000 -> 10.0.0.10:31092
          3.000 ms  zone-a forwarded 203.0.113.7:40000 -> 10.0.0.10:31092
          4.000 ms  node-0 forwarded 203.0.113.7:40000 -> 10.0.0.10:31092
          9.000 ms  redpanda/redpanda-0 delivered 203.0.113.7:40000 -> 10.0.0.10:31092

    Cost per month
    ┌──────────────┬─────────────────────────┬───────────┬───────────┐
    │ route        ┆ item                    ┆  quantity ┆ per month │
    ╞══════════════╪═════════════════════════╪═══════════╪═══════════╡
    │ loadbalancer ┆ load balancers          ┆ 2190 hour ┆    $49.28 │
    │ loadbalancer ┆ traffic to the internet ┆   1000 GB ┆    $90.00 │
    │ loadbalancer ┆ total                   ┆           ┆   $139.28 │
    │ nodeport     ┆ traffic to the internet ┆   1000 GB ┆    $90.00 │
    │ nodeport     ┆ total                   ┆           ┆    $90.00 │
    └──────────────┴─────────────────────────┴───────────┴───────────┘
      price of load balancers: a list
      price of traffic to the internet: a list

    Comparison
      nodeport is faster than loadbalancer:
        - produce takes 20.30 ms against 20.60 ms in the median (300.00 µs less), p99 20.50 ms against
          20.80 ms
        - 3 hops against 4; only loadbalancer passes lb-redpanda-0
        - nodeport costs less: $90.00 against $139.28 per month; loadbalancer also pays for load
          balancers ($49.28)

    Events
         5.000 s  fault Pod redpanda/redpanda-1 deleted
    ");
}

#[test]
fn the_comparison_names_what_the_dearer_route_pays_and_passes() {
    let comparison = compare(&report()).remove(0);
    assert_eq!((comparison.lower.as_str(), comparison.higher.as_str()), ("nodeport", "loadbalancer"));
    assert_eq!(comparison.reasons[1], "3 hops against 4; only loadbalancer passes lb-redpanda-0");
    assert_eq!(
        comparison.reasons[2],
        "nodeport costs less: $90.00 against $139.28 per month; loadbalancer also pays for load balancers ($49.28)"
    );
}

#[test]
fn every_line_fits_the_paper() {
    for width in [72, 100, 132] {
        for line in run_text(&report(), Paper { width, colour: false }).lines() {
            assert!(line.chars().count() <= usize::from(width), "{width}: {line}");
        }
    }
}

#[test]
fn the_json_has_the_promised_fields_and_is_read_back() {
    let json = serde_json::to_value(report()).expect("plain data");
    let keys: Vec<&String> = json.as_object().map(|fields| fields.keys().collect()).unwrap_or_default();
    let promised = [
        "scenario",
        "seed",
        "verdict",
        "trace_hash",
        "simulated_ns",
        "wall_ns",
        "checks",
        "latency",
        "routing",
        "data",
        "events",
        "cost",
    ];
    assert_eq!(keys[..promised.len()], promised);
    assert_eq!(serde_json::from_value::<RunReport>(json).expect("the same"), report());
}

#[test]
fn an_empty_report_has_a_verdict_only() {
    let empty = RunReport {
        checks: vec![],
        latency: vec![],
        events: vec![],
        cost: vec![],
        clients: Vec::new(),
        ways: vec![],
        verdict: Verdict::Pass,
        ..report()
    };
    assert_eq!(run_text(&empty, Paper::default()).lines().count(), 3);
}

#[test]
fn clients_are_compared_where_there_were_faults() {
    let course = |client: &str, recoveries| ClientCourse {
        client: client.into(),
        profile: client.into(),
        misrouted: 2,
        connections_opened: 7,
        metadata_requests: 3,
        retries: 5,
        recoveries,
    };
    let recovery = |fault: &str, failures, recovered_ns| Recovery {
        fault: fault.into(),
        at_ns: 10_000_000_000,
        failures,
        recovered_ns,
    };
    let text = |clients| run_text(&RunReport { clients, ..report() }, Paper::default());
    let quiet = text(vec![course("java", Vec::new())]);
    assert!(!quiet.contains("Clients"), "{quiet}");
    let told = text(vec![
        course("java", vec![recovery("lost", 3, Some(30_500_000_000)), recovery("back", 0, Some(0))]),
        course("naive", vec![recovery("lost", 1, None), recovery("back", 0, Some(0))]),
    ]);
    for part in ["lost: 30.50 s", "back: not affected", "lost: never", "metadata"] {
        assert!(told.contains(part), "no {part:?} in\n{told}");
    }
}
