use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::run::{LoadedScenario, load_scenario};
use crate::scenario::{FaultKind, catalogue};

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios")
}

fn loaded() -> LoadedScenario {
    load_scenario(&scenarios().join("pod-deletion.yaml")).expect("sound")
}

fn draw(text: &str) -> Draw {
    serde_saphyr::from_str(text).expect(text)
}

const MANY: &str = "{faults: 20, within: [5s, 45s], lasts: [1s, 10s]}";

/// From when to when each fault lasts; one that passes by itself lasts no time.
fn intervals(faults: &[Fault]) -> Vec<(u64, u64, FaultKind)> {
    let lasts = |fault: &Fault| fault.lasts.map_or(0, nanoseconds);
    let at = |fault: &Fault| nanoseconds(fault.at);
    faults.iter().map(|fault| (at(fault), at(fault) + lasts(fault), fault.kind.clone())).collect()
}

/// A cluster that has something for every kind.
fn everything() -> Inputs {
    let mut inputs = load_scenario(&scenarios().join("nodeport-vs-loadbalancer.yaml")).expect("sound").inputs;
    inputs.cluster.node_local_dns = true;
    let secured = load_scenario(&scenarios().join("tls-and-sasl.yaml")).expect("sound").inputs;
    inputs.manifests.certificates = secured.manifests.certificates;
    inputs
}

/// Kinds that pass by themselves: nothing undoes them.
const PASSING: [&str; 7] = [
    "deletePod",
    "evictPod",
    "exitContainer",
    "rebootNode",
    "restartRollout",
    "flushConntrack",
    "expireLoadBalancerFlows",
];

#[test]
fn the_kinds_are_called_like_their_faults_and_every_lasting_one_is_undone() {
    let stock = Stock::of(&everything());
    for kind in KINDS {
        let targets = (kind.targets)(&stock);
        let target = targets.first().unwrap_or_else(|| panic!("nothing for {}", kind.name));
        let lasts = "3s".parse().expect("a duration");
        let made = |numbers: &[u64]| {
            let choices = &mut Listed::new(numbers);
            (kind.make)(target, &mut Making { stock: &stock, ports: stock.ports(), lasts, choices })
        };
        for made in [made(&[]), made(&[u64::MAX, u64::MAX, u64::MAX])] {
            assert_eq!(made.field(), kind.name);
            assert_eq!(made.undo().is_none(), PASSING.contains(&kind.name), "{}", kind.name);
        }
    }
}

#[test]
fn every_fault_of_the_catalogue_that_can_be_undone_can_be_drawn() {
    for entry in catalogue::entries().filter(|entry| entry.undo.is_some()) {
        assert!(kinds::kind_called(entry.field).is_some(), "{} is undone by {:?}", entry.field, entry.undo);
    }
    for kind in KINDS {
        let known = catalogue::entries().any(|entry| entry.field == kind.name);
        assert!(known, "{} is no fault of the catalogue", kind.name);
    }
}

#[test]
fn what_can_be_hit_is_written_as_it_is_read() {
    for target in Stock::of(&everything()).all() {
        assert_eq!(Target::try_from(target.to_string()), Ok(target));
    }
    let wrong = Target::try_from("deployment a/b".to_owned()).expect_err("no fault hits it");
    assert!(wrong.contains("`link A <-> B`"), "{wrong}");
}

#[test]
fn one_seed_gives_one_timeline_and_another_seed_another() {
    let LoadedScenario { mut scenario, inputs, .. } = loaded();
    scenario.draw = Some(draw(MANY));
    let [first, again, other] = [7, 7, 8].map(|seed| scenario.drawn(&inputs, seed));
    assert_eq!(first, again);
    assert_ne!(first.faults, other.faults);
    assert_eq!((first.seed, &first.draw), (7, &None));
    assert_eq!(first.faults[0], scenario.faults[0], "the scenario's own faults stay");
    assert_eq!(first.problems(), []);
    assert_eq!(first.unknown_objects(&inputs), []);
}

#[test]
fn a_drawn_timeline_is_an_ordinary_scenario() {
    let LoadedScenario { mut scenario, inputs, .. } = loaded();
    scenario.draw = Some(draw(MANY));
    let drawn = scenario.drawn(&inputs, 3);
    let text = serde_saphyr::to_string(&drawn).expect("it can be written");
    let read: Scenario = serde_saphyr::from_str(&text).expect("it can be read");
    assert_eq!(read, drawn);
    assert_eq!(read.drawn(&inputs, 3), drawn, "nothing is drawn any more");
}

#[test]
fn every_kind_that_suits_the_cluster_is_drawn_and_no_other() {
    let stock = Stock::of(&everything());
    let kinds = |text: &str| {
        let draw = draw(text);
        let all = (0..300).flat_map(|seed| draw.timeline(&stock, &mut stream_of(seed, STREAM)));
        let mut kinds: Vec<&str> = all.map(|fault| fault.kind.field()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    };
    let every = kinds(MANY);
    for kind in KINDS {
        assert_eq!(every.contains(&kind.name), kind.asked_for_because.is_none(), "{}", kind.name);
    }
    let asked_for = "{faults: 3, within: [5s, 45s], lasts: [1s, 2s], kinds: [corruptDisk, deletePod], except: [deletePod]}";
    assert_eq!(kinds(asked_for), ["corruptDisk"]);
    let some = "{faults: 3, within: [5s, 45s], lasts: [1s, 2s], kinds: [powerOffNode, deletePod], on: [node node-1]}";
    assert_eq!(kinds(some), ["powerOffNode"]);
}

#[test]
fn what_cannot_be_drawn_is_a_problem_with_its_field() {
    let LoadedScenario { mut scenario, inputs, .. } = loaded();
    let mut told = |text: &str| {
        scenario.draw = Some(draw(text));
        let found = [scenario.problems(), scenario.unknown_objects(&inputs)].concat();
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(told(MANY), [] as [&str; 0]);
    let window = "draw.within: 20 faults of up to 10s do not fit between";
    assert!(told("{faults: 20, within: [5s, 45s], lasts: [1s, 10s], atOnce: 2}")[0].starts_with(window));
    let kind = "draw.kinds[0]: no fault called `deletPod` can be drawn; expected `deletePod` perhaps";
    assert!(told("{faults: 1, within: [5s, 45s], lasts: [1s, 10s], kinds: [deletPod]}")[0].starts_with(kind));
    let except = "draw.except[0]: no fault called `deletPod` can be drawn; expected `deletePod` perhaps";
    assert!(
        told("{faults: 1, within: [5s, 45s], lasts: [1s, 10s], except: [deletPod]}")[0].starts_with(except)
    );
    let target = "draw.on[0]: there is no node node-7; expected `node node-";
    assert!(
        told("{faults: 1, within: [5s, 45s], lasts: [1s, 10s], on: [node node-7]}")[0].starts_with(target)
    );
    let late = told("{faults: 0, within: [5m, 1h], lasts: [2s, 1s], atOnce: 0}");
    let fields: Vec<&str> =
        late.iter().map(|problem| problem.split(':').next().unwrap_or_default()).collect();
    assert_eq!(fields, ["draw.faults", "draw.atOnce", "draw.lasts", "draw.within[1]"]);
    let apart = "{faults: 1, within: [5s, 45s], lasts: [1s, 10s], kinds: [deletePod], on: [node node-1]}";
    assert_eq!(
        told(apart),
        ["draw: none of the kinds can hit any of the objects; expected kinds and objects that go together"]
    );
}

proptest! {
    #[test]
    fn whatever_is_drawn_is_healed_in_its_window_and_keeps_its_distance(
        numbers in prop::collection::vec(any::<u64>(), 0..400),
        faults in 1_u32..12,
        at_once in prop::option::of(1_u32..4),
    ) {
        let draw = Draw { faults, at_once, ..draw("{faults: 1, within: [5s, 300s], lasts: [1s, 10s]}") };
        let stock = Stock::of(&loaded().inputs);
        let timeline = draw.timeline(&stock, &mut Listed::new(&numbers));
        let spans = intervals(&timeline);
        prop_assert!(!spans.is_empty());
        prop_assert!(at_once.is_none() || spans.len() == faults as usize, "there is room for all");
        let [from, to] = draw.within.map(nanoseconds);
        for (start, end, kind) in &spans {
            prop_assert!(from <= *start && *end <= to, "{kind:?}");
            let together = spans.iter().filter(|(first, last, _)| first <= start && start < last).count();
            prop_assert!(at_once.is_none_or(|most| together <= most as usize), "{together} at {start}");
            if matches!(kind, FaultKind::StopApiServer(_)) {
                let asked = |kind: &FaultKind| kinds::kind_called(kind.field()).is_some_and(|it| it.needs_api_server);
                let meets = spans.iter().any(|(first, last, other)| asked(other) && first < end && start < last);
                prop_assert!(!meets, "{spans:?}");
            }
        }
    }
}
