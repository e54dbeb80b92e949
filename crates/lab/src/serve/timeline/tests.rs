//! Faults as steps.

use super::*;
use crate::scenario::catalogue;
use crate::serve::links::End;
use crate::serve::planned::{PlainCluster, plain};

fn scenario(faults: &str) -> Scenario {
    let text = format!("name: x\ncluster: {{}}\nmanifests: [m]\nfaults:\n{faults}expect: {{}}\n");
    serde_saphyr::from_str(&text).expect("a scenario")
}

fn brokers() -> Vec<PlannedBroker> {
    let mut brokers = plain(&PlainCluster { brokers: 3, ..PlainCluster::default() }).expect("no properties");
    for (broker, zone) in brokers.iter_mut().zip(["a", "b", "b"]) {
        broker.zone = Some(zone.to_owned());
    }
    brokers
}

fn lines(faults: &str) -> Vec<String> {
    let steps = steps(&scenario(faults), &brokers()).expect("all apply");
    let line = |step: &Step| match &step.deed {
        Deed::Process(broker, deed) => {
            format!("{}s {deed:?} {broker} {}", step.at.as_secs(), step.fault)
        }
        other => format!("{}s {other:?} {}", step.at.as_secs(), step.fault),
    };
    steps.iter().map(line).collect()
}

#[test]
fn faults_become_steps_in_the_order_of_their_times() {
    let lines = lines(
        "  - {at: 5s, powerOffZone: b}
  - {at: 2s, deletePod: plain/redpanda-0}
  - {at: 9s, rebootNode: {node: node-1, downFor: 3s}}
  - {at: 20s, for: 5s, powerOffNode: node-0}
",
    );
    assert_eq!(
        lines,
        [
            "2s Kill 0 deletePod: plain/redpanda-0",
            "3s Start 0 deletePod: plain/redpanda-0",
            "5s LosePower 1 powerOffZone: b",
            "5s LosePower 2 powerOffZone: b",
            r#"9s LosePower 1 rebootNode: {"node":"node-1","downFor":"3s"}"#,
            r#"12s Start 1 rebootNode: {"node":"node-1","downFor":"3s"}"#,
            "20s LosePower 0 powerOffNode: node-0",
            "25s Start 0 powerOnNode: node-0",
        ]
    );
}

#[test]
fn processes_disks_and_brokers_are_reached_by_their_names() {
    let lines = lines(
        "  - {at: 1s, for: 2s, hangContainer: {pod: plain/redpanda-1, container: redpanda}}
  - {at: 4s, slowContainer: {pod: plain/redpanda-1, container: redpanda, times: 20}}
  - {at: 5s, skewClock: {node: node-2, behind: 3s}}
  - {at: 6s, for: 1s, fillDisk: persistentVolumeClaim plain/datadir-redpanda-0}
  - {at: 8s, startMaintenance: plain/redpanda-2}
  - {at: 9s, restartRollout: statefulSet plain/redpanda}
",
    );
    assert_eq!(
        lines,
        [
            r#"1s Hang 1 hangContainer: {"pod":"plain/redpanda-1","container":"redpanda"}"#,
            r#"3s Resume 1 resumeContainer: {"pod":"plain/redpanda-1","container":"redpanda"}"#,
            r#"4s Slow(20) 1 slowContainer: {"pod":"plain/redpanda-1","container":"redpanda","times":20}"#,
            r#"5s SetClock(-3000) 2 skewClock: {"node":"node-2","behind":"3s"}"#,
            "6s Disk(0, Fill) fillDisk: persistentVolumeClaim plain/datadir-redpanda-0",
            r#"7s Disk(0, Mend(Some(Full))) mendDisk: {"claim":"persistentVolumeClaim plain/datadir-redpanda-0","of":"full"}"#,
            "8s Admin(2, StartMaintenance) startMaintenance: plain/redpanda-2",
            "9s Restart(2) restartRollout: statefulSet plain/redpanda",
            "9s Restart(1) restartRollout: statefulSet plain/redpanda",
            "9s Restart(0) restartRollout: statefulSet plain/redpanda",
        ]
    );
}

#[test]
fn ways_are_those_between_the_brokers_of_both_ends() {
    let ways = |faults: &str| match &steps(&scenario(faults), &brokers()).expect("it applies")[0].deed {
        Deed::Links(ways, _) => ways.clone(),
        other => panic!("{other:?}"),
    };
    let (zero, one, two) = (End::Broker(0), End::Broker(1), End::Broker(2));
    assert_eq!(ways("  - {at: 1s, cutLink: node/node-0 -> node/node-1}\n"), [(zero, one)]);
    assert_eq!(
        ways("  - {at: 1s, delayLink: {link: zone/a <-> zone/b, by: 50ms}}\n"),
        [(zero, one), (zero, two), (one, zero), (two, zero)]
    );
    assert_eq!(
        ways("  - {at: 1s, limitLink: {link: external -> node/node-2, perSecond: 1 MB}}\n"),
        [(End::Outside, two)]
    );
    let around = ways("  - {at: 1s, cutNodeFromNetwork: node-0}\n");
    assert_eq!(around.len(), 6, "{around:?}");
}

#[test]
fn what_does_not_apply_is_told_with_its_field() {
    let scenario = scenario(
        "  - {at: 1s, stopKubeProxy: node-0}
  - {at: 2s, deletePod: other/redpanda-0}
  - {at: 3s, powerOffNode: node-2}
  - {at: 4s, apply: changed.yaml}
",
    );
    let problems = steps(&scenario, &brokers()).expect_err("three do not apply");
    let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["faults[0].stopKubeProxy", "faults[1].deletePod", "faults[3].apply"]);
    assert!(problems[1].expected.contains("plain/redpanda-0"), "{}", problems[1]);
}

/// Of every kind of fault there is a step or a refusal, and each layer that brokers notice is played.
#[test]
fn every_kind_is_played_or_refused() {
    use catalogue::Layer;
    let brokers = brokers();
    for entry in catalogue::entries() {
        let refused = steps_of(scenario::Duration::default(), &entry.example, &brokers).err();
        let by_name = refused.as_ref().is_some_and(|(what, _)| what.contains("has no broker that is served"));
        let is_played = refused.is_none() || by_name;
        let expected = match entry.layer {
            Layer::Pods | Layer::Disks | Layer::Brokers => true,
            Layer::Links => entry.field != "duplicateOnLink",
            Layer::Workloads => entry.field == "restartRollout",
            Layer::Nodes => [
                "powerOffNode",
                "powerOnNode",
                "rebootNode",
                "shutDownNode",
                "cutNodeFromNetwork",
                "reconnectNodeToNetwork",
                "powerOffZone",
                "powerOnZone",
                "cutZoneFromNetwork",
                "reconnectZoneToNetwork",
                "skewClock",
                "setClock",
            ]
            .contains(&entry.field),
            Layer::ControlPlane
            | Layer::Firewalls
            | Layer::Conntrack
            | Layer::Balancers
            | Layer::Dns
            | Layer::Certificates => false,
        };
        assert_eq!(is_played, expected, "{}: {refused:?}", entry.field);
    }
}
